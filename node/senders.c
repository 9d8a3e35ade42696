/* node/senders.c: who may speak with us.
 *
 * A frame names cluster, disk (incarnation) and, once formed, the sender's id. Members are known by
 * their disk. Of the others:
 *   - a node that is not formed asks to join: it is heard, and its frames other than HELLO are not;
 *   - a node of our cluster that is no member as far as we know is newer than what we know when it
 *     knows a configuration that is newer than our committed one, or leads us: then its messages
 *     are taken, because it may need our vote, or lead (dissertation 4.1, traps 9 and 35);
 *   - otherwise it was removed, or its disk was replaced, and is told so. */
#include "base/assert.h"
#include "node/internal.h"

static const uint8_t no_cluster[IDENTITY_CLUSTER_SIZE];

static bool is_formed(const struct wire_frame *frame)
{
    return memcmp(frame->cluster, no_cluster, IDENTITY_CLUSTER_SIZE) != 0;
}

/* No list that could have the sender, beyond our committed one. Who leads while it leaves knows the
 * same list as we do, and is heard until it has handed over; others that know it have started again
 * and forgot that it is committed. Unless they are told so they campaign for ever, once nobody has
 * the log any more that would say it
 * (who_forgot_its_removal_is_turned_away_when_the_log_is_gone). */
static bool knows_nothing_newer(const struct node *node, const struct wire_frame *frame,
                                raft_index configuration)
{
    raft_index committed = node->members.committed.index;

    return configuration < committed ||
           (configuration == committed && frame->source != node->status.leader);
}

/* What is wrong with the sender of a frame, once we belong to a cluster. */
static enum error judge(const struct node *node, const struct wire_frame *frame,
                        raft_index configuration, const char **text)
{
    struct member member;

    ASSERT(node->identity.formed);
    if (is_formed(frame) &&
        memcmp(frame->cluster, node->identity.cluster, IDENTITY_CLUSTER_SIZE) != 0) {
        *text = "it belongs to another cluster: check --cluster and --data of both nodes";
        return ERR_WRONG_CLUSTER;
    }
    const struct raft_member *listed = members_find_disk(node, frame->incarnation, &member);

    if (!is_formed(frame)) {
        return ERR_OK;
    }
    if (frame->source == 0 || (listed != NULL && listed->id != frame->source)) {
        *text = "it has another id than its disk says";
        return ERR_WRONG_NODE;
    }
    if (listed == NULL && knows_nothing_newer(node, frame, configuration) &&
        !raft_is_departing(node->raft, frame->source)) {
        *text = "it was removed, or its disk was replaced: start it with an empty data folder to "
                "join anew";
        return ERR_REMOVED;
    }
    return ERR_OK;
}

/* The usual frame: of the member whose place this is. */
static bool is_known(const struct node *node, const struct peer *peer,
                     const struct wire_frame *frame)
{
    return peer->is_member && peer->id == frame->source &&
           peer->incarnation == frame->incarnation &&
           memcmp(frame->cluster, node->identity.cluster, IDENTITY_CLUSTER_SIZE) == 0;
}

bool senders_allow(struct node *node, world_connection number, const struct wire_frame *frame)
{
    const struct connection *connection = &node->connections[number];
    struct peer *peer = &node->peers[connection->peer];
    const char *text = "";

    ASSERT(connection->state == CONNECTION_PEER);
    if (frame->incarnation != connection->incarnation || !is_formed(frame)) {
        refuse_peer(node, number, ERR_MALFORMED, "its frame is not as its hello said");
        return false;
    }
    peer->heard_ms = node->now_ms;
    if (!node->identity.formed) {
        return true;
    }
    if (is_known(node, peer, frame)) {
        peer->member_ms = node->now_ms;
        return true;
    }
    enum error error = judge(node, frame, connection->configuration, &text);

    if (error != ERR_OK) {
        refuse_peer(node, number, error, text);
        return false;
    }
    return true;
}

/* The place of the sender; NO_PEER after a refusal. */
static uint32_t find_place(struct node *node, world_connection number,
                           const struct wire_frame *frame, const struct wire_peer_hello *hello)
{
    const struct connection *connection = &node->connections[number];
    uint32_t place = place_of_name(node, hello->name);
    const char *text = NULL;
    enum error error = ERR_WRONG_NODE;

    if (bytes_equal(hello->name, bytes_of_text(node->options.name))) {
        text = "its name is ours: give each node a name of its own";
    } else if (place == NO_PEER && !node->identity.formed && !is_formed(frame)) {
        text = "its name is not in the list of members here";
    } else if (place == NO_PEER && connection->state == CONNECTION_PEER_NEW) {
        place = place_take(node, hello->name, is_formed(frame));
        text = place == NO_PEER ? "too many nodes ask to join: add or stop some first" : NULL;
        error = ERR_OVERLOADED;
    }
    if (text == NULL && connection->state == CONNECTION_PEER && connection->peer != place) {
        text = "it has another name than before";
    }
    if (text != NULL) {
        refuse_peer(node, number, error, text);
        return NO_PEER;
    }
    return place;
}

static void note_applicant(struct node *node, const struct peer *peer, bool is_new)
{
    struct line line;

    if (!is_new || node->raft == NULL || peer->hello_formed || peer->is_member) {
        return;
    }
    line_begin(&line, "asks_to_join");
    line_add(&line, "peer", peer->name);
    line_add(&line, "text", "add it with `holdfast member add`, or stop it");
    line_write_limited(node, WORLD_INFO, &line, &node->peer_lines);
}

/* What the hello says is kept; whom raft hears from there, too. */
static void note_hello(struct node *node, uint32_t place, const struct wire_frame *frame,
                       const struct wire_peer_hello *hello)
{
    struct peer *peer = &node->peers[place];
    bool is_new = peer->hello_incarnation != frame->incarnation;
    struct member member;

    peer->heard_ms = node->now_ms;
    peer->hello_formed = hello->formed;
    peer->hello_agrees =
        bytes_equal(hello->members, bytes_of_text(node->formation.members)) && !hello->joins;
    peer->hello_restores = hello->restores;
    peer->passing.takes_forwards = hello->takes_forwards;
    peer->hello_incarnation = frame->incarnation;
    memset(peer->client, 0, sizeof(peer->client));
    memcpy(peer->client, hello->client.data, hello->client.size);
    place_set_address(node, place, ADDRESS_TOLD, hello->peer);
    note_applicant(node, peer, is_new);
    if (hello->formed) {
        formation_note_others(node);
    }
    const struct raft_member *listed =
        node->raft == NULL ? NULL : members_find_disk(node, frame->incarnation, &member);

    /* Without a log it is kept too: where we are to join, the list that we begin with may have
     * another disk of that name than the one that will feed us
     * (who_starts_to_join_once_more_answers_the_new_disk). */
    if (listed != NULL) {
        peer->member_ms = node->now_ms;
        place_set_id(node, place, listed->id, frame->incarnation);
    } else if (frame->source != 0) {
        place_set_id(node, place, frame->source, frame->incarnation);
    }
}

/* Texts become C strings, so they hold no zero byte. */
static bool is_valid(const struct wire_frame *frame, const struct wire_peer_hello *hello)
{
    struct member member;

    return frame->incarnation != 0 && hello->formed == is_formed(frame) &&
           (frame->source != 0) == hello->formed &&
           member_set(&member, frame->incarnation, hello->name, hello->peer, hello->client);
}

void senders_take_hello(struct node *node, world_connection number, const struct wire_frame *frame)
{
    struct connection *connection = &node->connections[number];
    struct wire_peer_hello hello;
    struct bytes body = frame->body;
    const char *text = "";

    if (wire_peer_hello_decode(&body, &hello) != ERR_OK || !is_valid(frame, &hello)) {
        refuse_peer(node, number, ERR_MALFORMED, "its hello is not valid");
        return;
    }
    enum error error =
        node->identity.formed ? judge(node, frame, hello.configuration, &text) : ERR_OK;

    if (connection->state == CONNECTION_PEER_NEW) {
        connection->peer = place_of_name(node, hello.name); /* So a refusal can name it. */
    }
    if (error != ERR_OK) {
        refuse_peer(node, number, error, text);
        return;
    }
    uint32_t place = find_place(node, number, frame, &hello);

    if (place == NO_PEER) {
        return;
    }
    if (connection->state == CONNECTION_PEER_NEW) {
        connection->peer = place;
        connection_move(node, number, CONNECTION_PEER);
    }
    connection->incarnation = frame->incarnation;
    connection->configuration = hello.configuration;
    note_hello(node, place, frame, &hello);
    if (formation_is_lacking(node, &node->peers[place])) {
        peers_send_form(node, place);
    }
}
