/* node/formation.c: from empty disks to one cluster, and one more disk into it.
 *
 * The node with the lowest name mints the cluster's id when every other member of --cluster, on a
 * live connection, says that its disk is empty and that it has the same list of members. It saves
 * the result before it says so. Each other member adopts it if its own incarnation is the listed
 * one. So two wiped nodes of three never found a new cluster: the third does not say that it is
 * empty. A node whose list has nobody else waits a moment before it founds a cluster of one: if it
 * is the wiped first member of one that has grown, the others dial it, and it joins them.
 *
 * With --restore all of them must have the same backup: then the state in it is what they found the
 * cluster with (backing.c).
 *
 * A node that finds others formed waits. When a committed configuration has it as a member, those
 * who know that tell it the same frame, with its id in it: it saves that, and opens its log. Until
 * it says that it is formed it is told again: a crash at any point heals. */
#include "base/assert.h"
#include "node/internal.h"

/* Places of the members in the order of their names. */
static void sort_places(const struct node *node, uint32_t places[NODE_MEMBER_COUNT_MAX])
{
    for (uint32_t i = 0; i < node->options.member_count; i++) {
        uint32_t at = i;

        while (at > 0 && bytes_compare(bytes_of_text(node->peers[i].name),
                                       bytes_of_text(node->peers[places[at - 1]].name)) < 0) {
            places[at] = places[at - 1];
            at--;
        }
        places[at] = i;
    }
}

void formation_open(struct node *node)
{
    uint32_t places[NODE_MEMBER_COUNT_MAX] = {0};
    struct text text;

    sort_places(node, places);
    text_init(&text, node->formation.members, sizeof(node->formation.members));
    for (uint32_t i = 0; i < node->options.member_count; i++) {
        text_add(&text, i == 0 ? "" : ",");
        text_add(&text, node->peers[places[i]].name);
    }
    ASSERT(!text.truncated);
    node->formation.line_ms = node->now_ms + FORMATION_LINE_MS / 5;
    node->formation.begin_ms = node->now_ms + FORMATION_ALONE_MS;
}

static void log_formed(struct node *node)
{
    struct line line;

    line_begin(&line, "formed");
    if (node->identity.joined_index == 0) {
        line_add(&line, "members", node->formation.members);
    } else {
        line_add_u64(&line, "joined", node->identity.joined_index);
    }
    line_add_u64(&line, "id", node->identity.self);
    line_write(node, WORLD_INFO, &line);
}

/* Before anybody hears of it. */
static bool save(struct node *node, const struct identity *identity)
{
    enum error error = identity_save(node->disk, identity);

    if (error != ERR_OK) {
        node_fail(node, error_text(error), "writing the file identity",
                  "check the data folder and start again");
        return false;
    }
    node->identity = *identity;
    return true;
}

static void settle(struct node *node, const struct identity *identity)
{
    if (!backing_found(node, identity) || !save(node, identity) || !backing_remove(node)) {
        return;
    }
    log_formed(node);
    if (recovery_run(node) != ERR_OK) {
        ASSERT(node->problem != NULL);
        return;
    }
    backing_end(node);
    for (uint32_t i = 0; i < NODE_PEER_COUNT_MAX; i++) {
        peers_send_hello(node, i);
    }
}

static bool is_ready_to_form(const struct node *node, const struct peer *peer)
{
    return peer->connection_count > 0 && !peer->hello_formed && peer->hello_agrees &&
           peer->hello_restores == node->backing.id;
}

static bool all_are_ready(const struct node *node)
{
    bool is_alone = node->options.member_count == 1;

    if (node->identity.joins || (is_alone && node->now_ms < node->formation.begin_ms)) {
        return false;
    }
    for (uint32_t i = 0; i < node->options.member_count; i++) {
        if (i != node->options.self && !is_ready_to_form(node, &node->peers[i])) {
            return false;
        }
    }
    return true;
}

static bool describe_listed(const struct node *node, uint32_t place, struct member *member)
{
    const struct peer *peer = &node->peers[place];

    if (place == node->options.self) {
        return member_set(member, node->identity.incarnation, bytes_of_text(peer->name),
                          bytes_of_text(node->options.addresses[place]),
                          bytes_of_text(node->options.client_address));
    }
    return members_describe(node, place, member);
}

static void mint(struct node *node, const uint32_t places[NODE_MEMBER_COUNT_MAX])
{
    struct identity identity = node->identity;

    identity.formed = true;
    identity.self = 1;
    identity.member_count = node->options.member_count;
    world_entropy(node->world, identity.cluster, IDENTITY_CLUSTER_SIZE);
    identity.cluster[0] |= 1; /* Zeros mean: not formed. */
    for (uint32_t i = 0; i < identity.member_count; i++) {
        identity.members[i].id = i + 1;
        if (!describe_listed(node, places[i], &identity.members[i].member)) {
            return; /* Its hello was checked: it cannot be. */
        }
    }
    settle(node, &identity);
    for (uint32_t i = 0; i < NODE_PEER_COUNT_MAX && node->problem == NULL; i++) {
        if (formation_is_lacking(node, &node->peers[i])) {
            peers_send_form(node, i);
        }
    }
}

static bool read_members(struct bytes raw, struct identity *identity)
{
    for (uint32_t i = 0; i < identity->member_count; i++) {
        struct wire_peer_member member;
        struct identity_member *to = &identity->members[i];

        if (wire_peer_member_decode(&raw, &member) != ERR_OK ||
            !member_set(&to->member, member.incarnation, member.name, member.peer, member.client)) {
            return false;
        }
        to->id = member.id;
    }
    return true;
}

/* False unless the form is whole and could be saved. Whether it is for us says our id in it. */
static bool read_form(const struct wire_frame *frame, struct identity *identity)
{
    struct wire_peer_form form;
    struct bytes body = frame->body;

    if (wire_peer_form_decode(&body, &form) != ERR_OK ||
        form.cluster.size != IDENTITY_CLUSTER_SIZE || form.members.count > NODE_MEMBER_COUNT_MAX) {
        return false;
    }
    memcpy(identity->cluster, form.cluster.data, IDENTITY_CLUSTER_SIZE);
    identity->member_count = form.members.count;
    if (!read_members(form.members.raw, identity)) {
        return false;
    }
    const struct identity_member *listed = identity_find(identity, bytes_of_text(identity->name));
    bool is_of_formation = listed != NULL && listed->member.incarnation == identity->incarnation;

    identity->formed = true;
    identity->joins = false;
    identity->self = form.self;
    identity->joined_index = is_of_formation ? 0 : form.joined;
    return identity_is_consistent(identity);
}

void formation_take_form(struct node *node, world_connection number, const struct wire_frame *frame)
{
    struct identity identity = node->identity;

    if (identity.formed) {
        return; /* The frame's cluster was compared already: it is ours. */
    }
    if (!read_form(frame, &identity)) {
        refuse_peer(node, number, ERR_MALFORMED,
                    "its form of the cluster is not valid, or is for another disk than ours");
        return;
    }
    settle(node, &identity);
}

/* Otherwise members that were all removed and wiped, one after the other, would found a second
 * cluster beside the one that went on without them. */
void formation_note_others(struct node *node)
{
    struct identity identity = node->identity;

    if (identity.formed || identity.joins) {
        return;
    }
    identity.joins = true;
    save(node, &identity);
}

void formation_describe(const struct node *node, struct text *text)
{
    if (node->identity.joins) {
        text_add(text, "the cluster is formed and this disk is empty: it joins when a leader adds "
                       "it, by itself in place of a wiped disk of that name, else after `holdfast "
                       "member add ");
        text_add(text, node->options.name);
        text_add(text, "`");
        return;
    }
    text_add(text, "the cluster is not formed yet");
    for (uint32_t i = 0; i < node->options.member_count; i++) {
        const struct peer *peer = &node->peers[i];
        const char *reason = peer->connection_count == 0 ? " is silent: start it"
                             : !peer->hello_agrees
                                 ? " has another list of members: compare --cluster"
                             : peer->hello_restores != node->backing.id
                                 ? " has another backup, or none: give all the same --restore"
                                 : NULL;

        if (i != node->options.self && reason != NULL) {
            text_add(text, "; ");
            text_add(text, peer->name);
            text_add(text, reason);
        }
    }
}

static void log_waiting(struct node *node)
{
    char memory[LINE_SIZE_MAX / 2];
    struct text text;
    struct line line;

    if (node->now_ms < node->formation.line_ms) {
        return;
    }
    node->formation.line_ms = node->now_ms + FORMATION_LINE_MS;
    text_init(&text, memory, sizeof(memory));
    formation_describe(node, &text);
    line_begin(&line, node->identity.joins ? "waiting_to_join" : "waiting_to_form");
    line_add_bytes(&line, "text", bytes_of(text.data, text.size));
    line_write(node, WORLD_INFO, &line);
}

bool formation_is_lacking(const struct node *node, const struct peer *peer)
{
    struct member member;

    if (node->raft == NULL || peer->connection_count == 0 || peer->hello_formed) {
        return false;
    }
    const struct raft_member *listed = members_find_disk(node, peer->hello_incarnation, &member);

    return listed != NULL &&
           raft_configuration_find(&node->members.committed, listed->id) != NULL &&
           bytes_equal(bytes_of_text(member.name), bytes_of_text(peer->name));
}

void formation_hand_on(struct node *node)
{
    for (uint32_t i = 0; i < NODE_PEER_COUNT_MAX; i++) {
        if (formation_is_lacking(node, &node->peers[i])) {
            peers_send_form(node, i);
        }
    }
}

/* Frames may be lost: they are sent again to who has not heard. */
static void hand_on_again(struct node *node)
{
    for (uint32_t i = 0; i < NODE_PEER_COUNT_MAX; i++) {
        const struct peer *peer = &node->peers[i];

        if (formation_is_lacking(node, peer) &&
            node->now_ms >= peer->form_ms + FORMATION_RETRY_MS) {
            peers_send_form(node, i);
        }
    }
}

/* Once in each turn. */
void formation_tick(struct node *node)
{
    uint32_t places[NODE_MEMBER_COUNT_MAX] = {0};

    if (node->identity.formed) {
        hand_on_again(node);
        return;
    }
    sort_places(node, places);
    if (places[0] == node->options.self && all_are_ready(node)) {
        mint(node, places);
        return;
    }
    log_waiting(node);
}
