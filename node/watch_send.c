/* node/watch_send.c: what watchers are told: new changes at once, and older ones in turn. */
#include "node/watches_internal.h"

void watch_refill(struct watches *watches)
{
    watches->send_left = WATCH_SEND_COUNT_MAX;
    watches->bytes_left = WATCH_SEND_BYTES_MAX;
}

/* --- What watchers are told ------------------------------------------------------------------- */

/* True when it was sent: then it has cost credit and budget. */
static bool send_change(struct node *node, struct watch *watch, const struct feed_change *change)
{
    size_t size =
        change->name.size + change->value.size + change->owner.size + change->metadata.size;
    size_t capacity = size + WATCH_NOTICE_SIZE;
    uint8_t *memory =
        world_reserve_beside(node->world, watch->connection, capacity, WATCH_ROOM_REST);

    if (memory == NULL) {
        return false;
    }
    struct buffer out = buffer_of(memory, capacity);
    const struct wire_changed changed = {
        .watch = watch->number,
        .revision = change->place.revision,
        .number = change->place.number,
        .kind = bytes_of_text(feed_kind_name(change->kind)),
        .name = change->name,
        .value = change->value,
        .session = change->session,
        .token = change->token,
        .owner = change->owner,
        .metadata = change->metadata,
        .kept = change->is_kept,
    };
    bool fits = wire_notice_begin(&out, WIRE_NOTICE_changed) && wire_changed_encode(&changed, &out);

    ASSERT_VALUES(fits, out.size, capacity);
    world_commit(node->world, watch->connection, out.size);
    watch->credit -= (int64_t)(size + WATCH_CHANGE_COST);
    watch->after = change->place;
    watch->told_ms = node->now_ms;
    node->watches.send_left--;
    node->watches.bytes_left -= size_min(node->watches.bytes_left, out.size);
    return true;
}

/* So that it can go on from here later, however little happens to what it watches. Costs nothing,
 * and can be left out. */
void watch_send_progress(struct node *node, struct watch *watch)
{
    uint64_t revision = node->watches.seen_revision;
    uint8_t *memory =
        world_reserve_beside(node->world, watch->connection, NOTICE_SIZE_MAX, WATCH_ROOM_REST);

    if (memory == NULL) {
        return;
    }
    struct buffer out = buffer_of(memory, NOTICE_SIZE_MAX);
    const struct wire_changed changed = {.watch = watch->number, .revision = revision};
    bool fits = wire_notice_begin(&out, WIRE_NOTICE_changed) && wire_changed_encode(&changed, &out);

    ASSERT_VALUES(fits, out.size, out.capacity);
    world_commit(node->world, watch->connection, out.size);
    watch->after = (struct feed_place){.revision = revision, .number = FEED_ALL};
    watch->told_ms = node->now_ms;
}

void watch_end(struct node *node, struct watch *watch, enum error error)
{
    world_connection number = watch->connection;
    const struct wire_watch_ended ended = {
        .watch = watch->number,
        .code = (uint32_t)error,
        .oldest_revision = error == ERR_COMPACTED ? feed_oldest(node->feed) : 0,
    };
    uint8_t *memory = world_reserve(node->world, number, NOTICE_SIZE_MAX);

    watch_drop(node, watch);
    if (memory == NULL) {
        connection_drop(node, number); /* It does not read what it is sent. */
        return;
    }
    struct buffer out = buffer_of(memory, NOTICE_SIZE_MAX);
    bool fits =
        wire_notice_begin(&out, WIRE_NOTICE_watch_ended) && wire_watch_ended_encode(&ended, &out);

    ASSERT_VALUES(fits, out.size, out.capacity);
    world_commit(node->world, number, out.size);
}

/* --- A new change ----------------------------------------------------------------------------- */

static void offer(struct node *node, struct watch *watch, uint64_t position,
                  const struct feed_change *change)
{
    struct watches *watches = &node->watches;

    if (feed_place_compare(change->place, watch->after) <= 0) {
        return; /* It was told by another node, which was ahead of this one. */
    }
    if (watch->credit > 0 && watches->send_left > 0 && watches->bytes_left > 0 &&
        send_change(node, watch, change)) {
        return;
    }
    watch->position = position;
    watch_move(watches, watch, watch->credit > 0 ? WATCH_LAGGING : WATCH_BLOCKED);
}

/* All that are IDLE with the prefix of that hash and size, or with all of the name. */
static void offer_bucket(struct node *node, uint64_t hash, size_t prefix_size, uint64_t position,
                         const struct feed_change *change)
{
    struct list *bucket = watch_bucket(&node->watches, hash);
    struct list *at = bucket->next;

    while (at != bucket) {
        struct watch *watch = CONTAINER_OF(at, struct watch, queue);

        at = at->next;
        if (watch->hash == hash && watch->prefix_size == prefix_size &&
            watch_matches(watch, change)) {
            offer(node, watch, position, change);
        }
    }
}

static void dispatch(struct node *node, uint64_t position)
{
    const struct watches *watches = &node->watches;
    const struct feed_change change = feed_at(node->feed, position);
    enum feed_space space = feed_space_of(change.kind);
    uint64_t hash = watch_hash_begin(watches, space);

    ASSERT(change.name.size <= KV_KEY_SIZE_MAX);
    for (size_t size = 0;; size++) {
        if (watches->length_counts[space][size] != 0) {
            offer_bucket(node, hash, size, position, &change);
        }
        if (size == change.name.size) {
            return;
        }
        hash = watch_hash_step(hash, change.name.data[size]);
    }
}

void watches_applied(struct node *node)
{
    struct watches *watches = &node->watches;
    uint64_t end = feed_end(node->feed);

    for (; watches->dispatched < end && watches->idle_count > 0; watches->dispatched++) {
        /* One entry never fills the feed (FEED_SIZE_MIN), so nothing has fallen off. */
        dispatch(node, watches->dispatched);
    }
    watches->dispatched = end;
    watches->seen_revision = feed_revision(node->feed);
}

/* --- Those that are behind -------------------------------------------------------------------- */

/* Goes on with one of them, a bounded way. */
static void serve(struct node *node, struct watch *watch)
{
    struct watches *watches = &node->watches;
    uint32_t left = WATCH_SCAN_COUNT_MAX;

    if (watch->position < feed_first(node->feed)) {
        watch_end(node, watch, ERR_COMPACTED);
        return;
    }
    while (watch->position < watches->dispatched) {
        struct feed_change change = feed_at(node->feed, watch->position);

        bool is_for_it = watch_matches(watch, &change);

        if (is_for_it && watch->credit <= 0) {
            watch_move(watches, watch, WATCH_BLOCKED);
            return;
        }
        if (left == 0 || watches->send_left == 0 || watches->bytes_left == 0) {
            watch_move(watches, watch, WATCH_LAGGING); /* Behind the others. */
            return;
        }
        if (is_for_it && !send_change(node, watch, &change)) {
            watch_move(watches, watch, WATCH_STALLED);
            return;
        }
        watch->after = change.place;
        watch->position++;
        left--;
        watches->scan_left -= watches->scan_left > 0 ? 1 : 0;
    }
    watch_move(watches, watch, WATCH_IDLE);
}

void watch_serve_all(struct node *node)
{
    struct watches *watches = &node->watches;

    watches->scan_left = WATCH_SCAN_TURN_MAX;
    /* Each at most once in a turn: one that goes on is put behind those that wait. */
    for (uint32_t left = watches->count; left > 0 && watches->scan_left > 0; left--) {
        if (list_is_empty(&watches->lagging) || watches->send_left == 0 ||
            watches->bytes_left == 0) {
            return;
        }
        serve(node, CONTAINER_OF(list_first(&watches->lagging), struct watch, queue));
    }
}
