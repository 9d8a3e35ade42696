/* node/formation.c: from empty disks to one cluster.
 *
 * The node with the lowest name mints the cluster's id when every other member, on a live
 * connection, says that its disk is empty and that it has the same list of members. It saves the
 * result before it says so. Each other member adopts it if its own incarnation is the listed one.
 * So two wiped nodes of three never found a new cluster: the third does not say that it is empty.
 * A formed node hands the result on to a listed member that missed it. */
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
}

void formation_adopt_members(struct node *node)
{
    ASSERT(node->identity.formed);
    for (uint32_t i = 0; i < node->options.member_count; i++) {
        struct peer *peer = &node->peers[i];
        const struct identity_member *member =
            identity_find(&node->identity, bytes_of_text(peer->name));

        ASSERT(member != NULL);
        peer->id = member->id;
        peer->incarnation = member->incarnation;
    }
}

static void log_formed(struct node *node)
{
    struct line line;

    line_begin(&line, "formed");
    line_add(&line, "members", node->formation.members);
    line_add_u64(&line, "id", node->identity.self);
    line_write(node, WORLD_INFO, &line);
}

/* The identity is saved before anybody hears of it. */
static void settle(struct node *node, const struct identity *identity)
{
    enum error error = identity_save(node->disk, identity);

    if (error != ERR_OK) {
        node_fail(node, error_text(error), "writing the file identity",
                  "check the data folder and start again");
        return;
    }
    node->identity = *identity;
    formation_adopt_members(node);
    log_formed(node);
    if (recovery_run(node) != ERR_OK) {
        ASSERT(node->problem != NULL);
        return;
    }
    for (uint32_t i = 0; i < node->options.member_count; i++) {
        if (i != node->options.self) {
            peers_send_hello(node, i);
        }
    }
}

static bool is_ready_to_form(const struct peer *peer)
{
    return peer->connection_count > 0 && !peer->hello_formed && peer->hello_agrees;
}

static bool all_are_ready(const struct node *node)
{
    for (uint32_t i = 0; i < node->options.member_count; i++) {
        if (i != node->options.self && !is_ready_to_form(&node->peers[i])) {
            return false;
        }
    }
    return true;
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
        struct identity_member *member = &identity.members[i];
        const struct peer *peer = &node->peers[places[i]];

        memcpy(member->name, peer->name, sizeof(member->name));
        member->id = i + 1;
        member->incarnation =
            places[i] == node->options.self ? identity.incarnation : peer->hello_incarnation;
    }
    settle(node, &identity);
    for (uint32_t i = 0; i < node->options.member_count && node->problem == NULL; i++) {
        if (i != node->options.self) {
            peers_send_form(node, i);
        }
    }
}

/* A form in which two members share a name or an id would be saved, and then never be started
 * from: no vote could be told from another. */
static bool has_duplicates(const struct identity *identity)
{
    ASSERT(identity->member_count <= NODE_MEMBER_COUNT_MAX);
    for (uint32_t i = 0; i < identity->member_count; i++) {
        const struct identity_member *member = &identity->members[i];

        for (uint32_t j = 0; j < i; j++) {
            const struct identity_member *other = &identity->members[j];

            if (member->id == other->id ||
                bytes_equal(bytes_of_text(member->name), bytes_of_text(other->name))) {
                return true;
            }
        }
    }
    return false;
}

/* Every member of the form must be one of ours, and the other way round. */
static bool read_form(const struct node *node, const struct wire_frame *frame,
                      struct identity *identity)
{
    struct wire_peer_form form;
    struct bytes body = frame->body;

    if (wire_peer_form_decode(&body, &form) != ERR_OK ||
        form.cluster.size != IDENTITY_CLUSTER_SIZE ||
        form.members.count != node->options.member_count) {
        return false;
    }
    memcpy(identity->cluster, form.cluster.data, IDENTITY_CLUSTER_SIZE);
    identity->member_count = form.members.count;
    for (uint32_t i = 0; i < form.members.count; i++) {
        struct wire_peer_member member;
        struct identity_member *to = &identity->members[i];

        if (wire_peer_member_decode(&form.members.raw, &member) != ERR_OK ||
            member.name.size > NODE_NAME_SIZE_MAX || member.id == 0) {
            return false;
        }
        memset(to->name, 0, sizeof(to->name));
        memcpy(to->name, member.name.data, member.name.size);
        to->id = member.id;
        to->incarnation = member.incarnation;
    }
    for (uint32_t i = 0; i < node->options.member_count; i++) {
        if (identity_find(identity, bytes_of_text(node->peers[i].name)) == NULL) {
            return false;
        }
    }
    return !has_duplicates(identity);
}

void formation_take_form(struct node *node, world_connection number, const struct wire_frame *frame)
{
    struct identity identity = node->identity;

    if (identity.formed) {
        return; /* The frame's cluster was compared already: it is ours. */
    }
    if (!read_form(node, frame, &identity)) {
        refuse_peer(node, number, ERR_MALFORMED, "its cluster has other members than we were told");
        return;
    }
    const struct identity_member *self =
        identity_find(&identity, bytes_of_text(node->options.name));

    ASSERT(self != NULL);
    if (self->incarnation != identity.incarnation) {
        refuse_peer(node, number, ERR_WRONG_NODE,
                    "its cluster was formed with another disk of ours: this one was wiped or "
                    "replaced; we wait until membership is changed");
        return;
    }
    identity.formed = true;
    identity.self = self->id;
    settle(node, &identity);
}

void formation_describe(const struct node *node, struct text *text)
{
    text_add(text, "the cluster is not formed yet");
    for (uint32_t i = 0; i < node->options.member_count; i++) {
        const struct peer *peer = &node->peers[i];
        const char *reason =
            peer->connection_count == 0 ? " is silent: start it"
            : peer->hello_formed  ? " belongs to a cluster already: our disk was wiped or replaced"
            : !peer->hello_agrees ? " has another list of members: compare --cluster"
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
    line_begin(&line, "waiting_to_form");
    line_add_bytes(&line, "text", bytes_of(text.data, text.size));
    line_write(node, WORLD_INFO, &line);
}

bool formation_is_lacking(const struct node *node, const struct peer *peer)
{
    return node->identity.formed && peer->connection_count > 0 && !peer->hello_formed &&
           peer->hello_incarnation == peer->incarnation;
}

static void hand_on(struct node *node)
{
    for (uint32_t i = 0; i < node->options.member_count; i++) {
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
        hand_on(node);
        return;
    }
    sort_places(node, places);
    if (places[0] == node->options.self && all_are_ready(node)) {
        mint(node, places);
        return;
    }
    log_waiting(node);
}
