/* node/places.c: whom we speak with: names, addresses, and which disk stands behind a name.
 *
 * Before the cluster is formed the places are those of --cluster. Afterwards they are those of the
 * members, as the configuration says, of those that leave until they know it, and of a few nodes
 * that ask to join or know newer members than we do. */
#include "base/assert.h"
#include "node/internal.h"

bool place_is_used(const struct node *node, uint32_t place)
{
    ASSERT_VALUES(place < NODE_PEER_COUNT_MAX, place, NODE_PEER_COUNT_MAX);
    return node->peers[place].name[0] != '\0';
}

uint32_t place_of_name(const struct node *node, struct bytes name)
{
    for (uint32_t i = 0; i < NODE_PEER_COUNT_MAX; i++) {
        if (i != node->options.self && place_is_used(node, i) &&
            bytes_equal(bytes_of_text(node->peers[i].name), name)) {
            return i;
        }
    }
    return NO_PEER;
}

uint32_t place_of_id(const struct node *node, raft_id id)
{
    ASSERT(id != 0);
    for (uint32_t i = 0; i < NODE_PEER_COUNT_MAX; i++) {
        if (i != node->options.self && node->peers[i].id == id) {
            return i;
        }
    }
    return NO_PEER;
}

/* --- Addresses -------------------------------------------------------------------------------- */

static bool stands(const struct peer *peer)
{
    return peer->link_up[WORLD_LANE_BULK] || peer->link_up[WORLD_LANE_FAST];
}

static void dial(struct node *node, uint32_t place, enum address_source source)
{
    struct peer *peer = &node->peers[place];

    ASSERT(place != node->options.self);
    peer->dialed = source;
    peer->dialed_ms = node->now_ms;
    world_set_peer(node->world, place, bytes_of_text(peer->name),
                   bytes_of_text(peer->addresses[source]));
}

/* The next source with an address that differs from the present one; the same when there is none.
 */
static enum address_source next_source(const struct peer *peer)
{
    const char *present = peer->addresses[peer->dialed];

    for (uint32_t i = 1; i < ADDRESS_SOURCE_COUNT; i++) {
        uint32_t source = ((uint32_t)peer->dialed + i) % ADDRESS_SOURCE_COUNT;
        const char *address = peer->addresses[source];

        if (address[0] != '\0' && !bytes_equal(bytes_of_text(address), bytes_of_text(present))) {
            return (enum address_source)source;
        }
    }
    return peer->dialed;
}

void place_set_address(struct node *node, uint32_t place, enum address_source source,
                       struct bytes address)
{
    struct peer *peer = &node->peers[place];
    char *to = peer->addresses[source];
    bool had_any = peer->addresses[peer->dialed][0] != '\0';
    bool is_dialed = had_any && bytes_equal(bytes_of_text(peer->addresses[peer->dialed]), address);

    ASSERT_VALUES(address.size <= NODE_ADDRESS_SIZE_MAX, address.size, source);
    if (bytes_equal(bytes_of_text(to), address)) {
        return;
    }
    bool was_dialed = peer->dialed == source;

    memset(to, 0, NODE_ADDRESS_SIZE_MAX + 1);
    if (address.size > 0) {
        memcpy(to, address.data, address.size);
    }
    if (is_dialed) {
        peer->dialed = source;
    } else if (address.size > 0 && (!had_any || was_dialed || !stands(peer))) {
        dial(node, place, source);
    }
}

/* --- Coming and going ------------------------------------------------------------------------- */

void places_open(struct node *node)
{
    for (uint32_t i = 0; i < node->options.member_count; i++) {
        struct peer *peer = &node->peers[i];
        struct bytes name = bytes_of_text(node->options.members[i]);

        memcpy(peer->name, name.data, name.size);
        peer->is_listed = true;
        if (i != node->options.self) {
            place_set_address(node, i, ADDRESS_LISTED, bytes_of_text(node->options.addresses[i]));
        }
    }
    struct bytes client = bytes_of_text(node->options.client_address);

    memcpy(node->peers[node->options.self].client, client.data, client.size);
}

static bool is_heard_lately(const struct node *node, const struct peer *peer)
{
    return peer->heard_ms != NEVER && node->now_ms - peer->heard_ms < STRANGER_MS;
}

static bool is_kept(const struct node *node, uint32_t place)
{
    const struct peer *peer = &node->peers[place];

    if (place == node->options.self || is_heard_lately(node, peer)) {
        return true;
    }
    if (node->raft == NULL) {
        return peer->is_listed;
    }
    return peer->is_member || (peer->id != 0 && raft_is_departing(node->raft, peer->id));
}

static void release(struct node *node, uint32_t place)
{
    struct peer *peer = &node->peers[place];

    ASSERT(place != node->options.self);
    for (uint32_t i = 0; i < node->options.connection_count_max; i++) {
        if (node->connections[i].state == CONNECTION_PEER && node->connections[i].peer == place) {
            connection_drop(node, i);
        }
    }
    ASSERT_VALUES(peer->connection_count == 0, peer->connection_count, place);
    world_set_peer(node->world, place, bytes_of_text(peer->name), bytes_of(NULL, 0));
    memset(peer, 0, sizeof(*peer));
}

static uint32_t free_place(const struct node *node)
{
    for (uint32_t i = 0; i < NODE_PEER_COUNT_MAX; i++) {
        if (!place_is_used(node, i)) {
            return i;
        }
    }
    return NO_PEER;
}

static uint32_t occupy(struct node *node, uint32_t place, struct bytes name)
{
    struct peer *peer = &node->peers[place];

    ASSERT_VALUES(name.size > 0 && name.size <= NODE_NAME_SIZE_MAX, name.size, place);
    ASSERT(!place_is_used(node, place));
    memcpy(peer->name, name.data, name.size);
    peer->dialed_ms = node->now_ms;
    return place;
}

/* Nodes of a cluster are as many as a cluster has, and two that leave. They must not wait for those
 * that ask to join, nor behind the first few of themselves: whoever has lost its log, or has just
 * joined, knows the founders alone, and its leader is one of many strangers
 * (a_node_without_its_log_hears_its_leader_among_members_that_it_forgot). */
uint32_t place_take(struct node *node, struct bytes name, bool is_formed)
{
    uint32_t count = 0;
    uint32_t place = free_place(node);

    for (uint32_t i = 0; i < NODE_PEER_COUNT_MAX; i++) {
        const struct peer *peer = &node->peers[i];
        bool is_of_a_cluster = peer->is_member || peer->is_listed || peer->hello_formed;

        count += place_is_used(node, i) && is_of_a_cluster == is_formed ? 1 : 0;
    }
    if (place == NO_PEER || count >= (is_formed ? MEMBER_PLACE_COUNT_MAX : STRANGER_COUNT_MAX)) {
        return NO_PEER;
    }
    return occupy(node, place, name);
}

/* A member has a place in any case: a stranger's, where there is no other. */
static uint32_t member_place(struct node *node, struct bytes name)
{
    uint32_t place = place_of_name(node, name);

    if (place != NO_PEER) {
        return place;
    }
    place = free_place(node);
    for (uint32_t i = 0; place == NO_PEER && i < NODE_PEER_COUNT_MAX; i++) {
        if (i != node->options.self && !node->peers[i].is_member) {
            release(node, i);
            place = i;
        }
    }
    ASSERT_VALUES(place != NO_PEER, name.size, NODE_PEER_COUNT_MAX);
    return occupy(node, place, name);
}

void place_set_id(struct node *node, uint32_t place, raft_id id, uint64_t incarnation)
{
    struct peer *peer = &node->peers[place];

    if (peer->id != id) {
        peer->fetch_index = 0;
    }
    peer->id = id;
    peer->incarnation = incarnation;
}

/* --- Members ---------------------------------------------------------------------------------- */

/* Of several disks with one name it is the one that speaks, member here or not: we may be fed a log
 * whose lists are older than its sender, who then must get our answers
 * (who_is_fed_old_lists_answers_the_new_disk). Else it is the newest member. */
static void refresh_member(struct node *node, const struct raft_member *listed)
{
    struct member member;

    member_of(listed, &member);
    if (bytes_equal(bytes_of_text(member.name), bytes_of_text(node->options.name))) {
        return;
    }
    uint32_t place = member_place(node, bytes_of_text(member.name));
    struct peer *peer = &node->peers[place];
    bool is_other_there = peer->id != 0 && peer->connection_count > 0 &&
                          peer->incarnation == peer->hello_incarnation &&
                          peer->incarnation != member.incarnation;

    peer->is_member = true;
    if (is_other_there) {
        return;
    }
    place_set_id(node, place, listed->id, member.incarnation);
    if (peer->client[0] == '\0') {
        memcpy(peer->client, member.client, sizeof(peer->client));
    }
    place_set_address(node, place, ADDRESS_CONFIGURED, bytes_of_text(member.peer));
}

static void refresh(struct node *node, const struct raft_configuration *configuration)
{
    for (uint32_t i = 0; i < configuration->member_count; i++) {
        refresh_member(node, &configuration->members[i]);
    }
}

void places_refresh(struct node *node)
{
    const struct raft_configuration *present = raft_configuration(node->raft);
    bool was_member[NODE_PEER_COUNT_MAX];

    for (uint32_t i = 0; i < NODE_PEER_COUNT_MAX; i++) {
        was_member[i] = node->peers[i].is_member;
        node->peers[i].is_member = false;
    }
    node->peers[node->options.self].id = node->identity.self;
    if (present->index != node->members.committed.index) {
        refresh(node, &node->members.committed);
    }
    refresh(node, present);
    for (uint32_t i = 0; i < NODE_PEER_COUNT_MAX; i++) {
        struct peer *peer = &node->peers[i];

        if (was_member[i] && !peer->is_member) {
            peer->heard_ms = NEVER; /* It stays only as long as it departs. */
        }
    }
}

void places_tick(struct node *node)
{
    for (uint32_t i = 0; i < NODE_PEER_COUNT_MAX; i++) {
        struct peer *peer = &node->peers[i];

        if (i == node->options.self || !place_is_used(node, i)) {
            continue;
        }
        if (!is_kept(node, i)) {
            release(node, i);
            continue;
        }
        enum address_source next = next_source(peer);

        if (!stands(peer) && next != peer->dialed &&
            node->now_ms - peer->dialed_ms >= DIAL_PATIENCE_MS) {
            dial(node, i, next);
        }
    }
}
