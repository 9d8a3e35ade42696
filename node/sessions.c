/* node/sessions.c: which connection spoke last for a session: there its events are told.
 *
 * Only sessions that an applied entry has shown to be alive come in, and each leaves when the
 * machine ends it, so no client can fill the map. Removal shifts the followers back, so that there
 * are no tombstones. */
#include "base/assert.h"
#include "node/internal.h"

static uint64_t slot_count(const struct node_options *options)
{
    /* Admission counts sessions before they are applied; those under way come on top. */
    return ring_capacity(2 * ((uint64_t)options->session_count_max + options->request_count_max));
}

size_t sessions_memory_size(const struct node_options *options)
{
    return arena_cost(slot_count(options), sizeof(struct session_slot));
}

void sessions_open(struct node *node, struct arena *arena)
{
    uint64_t count = slot_count(&node->options);

    node->sessions.slots = arena_take(arena, count, sizeof(struct session_slot));
    memset(node->sessions.slots, 0, count * sizeof(struct session_slot));
    node->sessions.mask = count - 1;
}

static uint64_t home_of(const struct sessions *sessions, uint64_t session)
{
    /* Fibonacci hashing: session ids are log indexes, often close together. */
    return (session * UINT64_C(0x9E3779B97F4A7C15) >> 20) & sessions->mask;
}

/* The slot of the session, or the free one where it would be. */
static uint64_t find(const struct sessions *sessions, uint64_t session)
{
    uint64_t at = home_of(sessions, session);

    ASSERT(session != 0);
    while (sessions->slots[at].session != 0 && sessions->slots[at].session != session) {
        at = (at + 1) & sessions->mask;
    }
    return at;
}

static void forget(struct sessions *sessions, uint64_t session)
{
    uint64_t hole = find(sessions, session);

    if (sessions->slots[hole].session == 0) {
        return;
    }
    ASSERT(sessions->count > 0);
    sessions->count--;
    for (uint64_t at = (hole + 1) & sessions->mask; sessions->slots[at].session != 0;
         at = (at + 1) & sessions->mask) {
        uint64_t home = home_of(sessions, sessions->slots[at].session);

        /* It may move back unless its home lies behind the hole. */
        if (((at - home) & sessions->mask) >= ((at - hole) & sessions->mask)) {
            sessions->slots[hole] = sessions->slots[at];
            hole = at;
        }
    }
    sessions->slots[hole] = (struct session_slot){0};
}

void sessions_note(struct node *node, uint64_t session, const struct origin *origin)
{
    struct sessions *sessions = &node->sessions;
    struct session_slot *slot = &sessions->slots[find(sessions, session)];

    if (slot->session == 0) {
        if (sessions->count >= (sessions->mask + 1) / 4 * 3) {
            return; /* It learns of a grant when it asks again. */
        }
        sessions->count++;
        slot->session = session;
    }
    slot->connection = origin->connection;
    slot->generation = origin->generation;
}

/* A notice with nothing behind its beginning. */
static struct buffer notice_begin(uint8_t memory[NOTICE_SIZE_MAX], enum wire_method notice)
{
    struct buffer out = buffer_of(memory, NOTICE_SIZE_MAX);
    bool fits = wire_notice_begin(&out, notice);

    ASSERT_VALUES(fits, out.size, out.capacity);
    return out;
}

/* To the connection that spoke last for the session, if it is still there. Where that is a node
 * which has passed its requests on, that node tells the client when it applies the same entry: it
 * is only to hear soon that the entry is committed. */
static void send_notice(struct node *node, uint64_t session, struct bytes notice)
{
    const struct session_slot *slot = &node->sessions.slots[find(&node->sessions, session)];

    if (slot->session == 0) {
        return;
    }
    const struct connection *connection = &node->connections[slot->connection];

    if (connection->generation != slot->generation) {
        return;
    }
    if (connection->state == CONNECTION_PEER) {
        passing_note_news(node, connection->peer);
    }
    if (connection->state != CONNECTION_CLIENT) {
        return;
    }
    uint8_t *room = world_reserve(node->world, slot->connection, notice.size);

    if (room == NULL) {
        connection_drop(node, slot->connection); /* It does not read what it is sent. */
        return;
    }
    memcpy(room, notice.data, notice.size);
    world_commit(node->world, slot->connection, notice.size);
}

static void tell_granted(struct node *node, const struct lease_grant *grant)
{
    uint8_t memory[NOTICE_SIZE_MAX];
    struct buffer out = notice_begin(memory, WIRE_NOTICE_granted);
    const struct wire_granted granted = {
        .session = grant->session,
        .name = bytes_of(grant->name, grant->name_size),
        .token = grant->token,
    };
    bool fits = wire_granted_encode(&granted, &out);

    ASSERT_VALUES(fits, out.size, out.capacity);
    send_notice(node, grant->session, buffer_bytes(&out));
}

static void tell_revoked(struct node *node, const struct lease_grant *hold, uint64_t number)
{
    uint8_t memory[NOTICE_SIZE_MAX];
    struct buffer out = notice_begin(memory, WIRE_NOTICE_revoked);
    const struct wire_revoked revoked = {
        .session = hold->session,
        .name = bytes_of(hold->name, hold->name_size),
        .token = hold->token,
        .number = number,
    };
    bool fits = wire_revoked_encode(&revoked, &out);

    ASSERT_VALUES(fits, out.size, out.capacity);
    send_notice(node, hold->session, buffer_bytes(&out));
}

static void tell_ended(struct node *node, uint64_t session)
{
    uint8_t memory[NOTICE_SIZE_MAX];
    struct buffer out = notice_begin(memory, WIRE_NOTICE_session_ended);
    const struct wire_session_ended ended = {.session = session};
    bool fits = wire_session_ended_encode(&ended, &out);

    ASSERT_VALUES(fits, out.size, out.capacity);
    send_notice(node, session, buffer_bytes(&out));
}

void sessions_notify(struct node *node, const struct lease_effects *effects)
{
    ASSERT(effects->grant_count <= LEASE_GRANT_COUNT_MAX);
    ASSERT(effects->ended_count <= LEASE_GRANT_COUNT_MAX);
    ASSERT(effects->revoked_count <= 1);
    /* Whoever loses a lock is told before whoever gets it. */
    if (effects->revoked_count != 0) {
        tell_revoked(node, &effects->revoked, effects->revoked_number);
    }
    for (uint32_t i = 0; i < effects->grant_count; i++) {
        tell_granted(node, &effects->grants[i]);
    }
    for (uint32_t i = 0; i < effects->ended_count; i++) {
        tell_ended(node, effects->ended[i]);
        forget(&node->sessions, effects->ended[i]);
    }
}
