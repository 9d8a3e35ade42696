/* node/watches.c: who watches what, and how far each has come in the feed (docs/watch.md).
 *
 *   watch -> IDLE -> LAGGING <-> STALLED      IDLE      has all of the feed; found by its prefix
 *              ^      |   ^                   LAGGING   has a place in the feed, and its turn comes
 *              +------+   |                   STALLED   likewise; its connection has no room
 *                     v   | credit            BLOCKED   likewise; its credit is used up
 *                   BLOCKED
 *
 * Nothing is queued for a watch: it only remembers a place in the feed. A change is sent at once to
 * those that are IDLE and match, as long as the turn's budget lasts; whoever cannot be sent it
 * remembers its position and leaves the index. So a change costs what matches it and no more, and a
 * watch that nobody reads costs nothing. When its place falls off the feed it ends COMPACTED. */
#include "node/watches_internal.h"

size_t watches_memory_size(const struct node_options *options)
{
    return feed_memory_size(options->feed_size, options->feed_count_max) +
           arena_cost(options->watch_count_max, sizeof(struct watch)) +
           arena_cost(ring_capacity(options->watch_count_max), sizeof(struct list));
}

void watches_open(struct node *node, struct arena *arena)
{
    struct watches *watches = &node->watches;
    uint64_t bucket_count = ring_capacity(node->options.watch_count_max);
    uint64_t revision = machine_applied_index(node->machine);

    node->feed = feed_open(arena, node->options.feed_size, node->options.feed_count_max, revision);
    machine_feed(node->machine, node->feed);
    watches->all = arena_take(arena, node->options.watch_count_max, sizeof(struct watch));
    watches->buckets = arena_take(arena, bucket_count, sizeof(struct list));
    for (uint64_t i = 0; i < bucket_count; i++) {
        list_init(&watches->buckets[i]);
    }
    watches->mask = bucket_count - 1;
    list_init(&watches->free);
    list_init(&watches->lagging);
    list_init(&watches->stalled);
    watches->epoch = feed_epoch(node->feed);
    watches->seen_revision = revision;
    watches->leaderless_ms = NEVER;
    watch_refill(watches);
}

/* --- Now and then ----------------------------------------------------------------------------- */

/* The place up to which it has everything. */
static struct feed_place place_of(const struct watches *watches, const struct watch *watch)
{
    const struct feed_place seen = {.revision = watches->seen_revision, .number = FEED_ALL};

    return watch->state == WATCH_IDLE && feed_place_compare(watch->after, seen) < 0 ? seen
                                                                                    : watch->after;
}

/* Puts it where it belongs in the feed; false when that is not there any more. */
static bool locate(struct node *node, struct watch *watch)
{
    if (!feed_find(node->feed, watch->after, &watch->position)) {
        return false;
    }
    watch_move(&node->watches, watch,
               watch->position == node->watches.dispatched ? WATCH_IDLE : WATCH_LAGGING);
    return true;
}

/* A snapshot took the state's place. */
static void follow_state(struct node *node)
{
    struct watches *watches = &node->watches;

    if (watches->epoch == feed_epoch(node->feed)) {
        return;
    }
    for (uint32_t i = 0; i < watches->used; i++) {
        if (watches->all[i].state != WATCH_FREE) {
            watches->all[i].after = place_of(watches, &watches->all[i]);
        }
    }
    watches->epoch = feed_epoch(node->feed);
    watches->dispatched = feed_end(node->feed);
    watches->seen_revision = feed_revision(node->feed);
    for (uint32_t i = 0; i < watches->used; i++) {
        struct watch *watch = &watches->all[i];

        if (watch->state != WATCH_FREE && !locate(node, watch)) {
            watch_end(node, watch, ERR_COMPACTED);
        }
    }
}

/* Looks at some of them in turn: who has heard nothing for long is told how far it is, and who has
 * fallen off the feed while it was waited for is told that. */
static void sweep(struct node *node)
{
    struct watches *watches = &node->watches;

    if (watches->count == 0 || node->now_ms < watches->sweep_ms) {
        return;
    }
    watches->sweep_ms = node->now_ms + WATCH_SWEEP_MS;
    uint32_t count = watches->used < WATCH_SWEEP_COUNT_MAX ? watches->used : WATCH_SWEEP_COUNT_MAX;

    for (; count > 0; count--) {
        watches->sweep_cursor = (watches->sweep_cursor + 1) % watches->used;
        struct watch *watch = &watches->all[watches->sweep_cursor];
        bool waits = watch->state == WATCH_BLOCKED || watch->state == WATCH_STALLED;

        if (waits && watch->position < feed_first(node->feed)) {
            watch_end(node, watch, ERR_COMPACTED);
        } else if (watch->state == WATCH_IDLE &&
                   node->now_ms - watch->told_ms >= WATCH_PROGRESS_MS &&
                   watch->after.revision < watches->seen_revision) {
            watch_send_progress(node, watch);
        }
    }
}

static void retry_stalled(struct node *node)
{
    struct watches *watches = &node->watches;

    if (list_is_empty(&watches->stalled) || node->now_ms < watches->retry_ms) {
        return;
    }
    watches->retry_ms = node->now_ms + WATCH_RETRY_MS;
    while (!list_is_empty(&watches->stalled)) {
        watch_move(watches, CONTAINER_OF(list_first(&watches->stalled), struct watch, queue),
                   WATCH_LAGGING);
    }
}

/* Another node may do better: this one's state is being replaced, or nobody leads, for longer than
 * an election takes. */
static bool is_cut_off(const struct node *node)
{
    uint64_t since_ms = node->watches.leaderless_ms;

    if (node_state_is_away(node)) {
        return true;
    }
    return since_ms != NEVER &&
           node->now_ms - since_ms >= WATCH_PATIENCE * (uint64_t)node->options.election_ms_max;
}

/* Their places are good at other nodes. */
static void end_cut_off(struct node *node)
{
    struct watches *watches = &node->watches;

    if (node->status.leader != 0) {
        watches->leaderless_ms = NEVER;
    } else if (watches->leaderless_ms == NEVER) {
        watches->leaderless_ms = node->now_ms;
    }
    if (watches->count == 0 || !is_cut_off(node)) {
        return;
    }
    for (uint32_t i = 0; i < watches->used; i++) {
        if (watches->all[i].state != WATCH_FREE) {
            watch_end(node, &watches->all[i], ERR_NO_QUORUM);
        }
    }
}

void watches_tick(struct node *node)
{
    follow_state(node);
    end_cut_off(node);
    retry_stalled(node);
    watch_refill(&node->watches);
    watch_serve_all(node);
    watch_refill(&node->watches); /* What is applied until the next time has its own. */
    sweep(node);
}

uint64_t watches_wake_ms(const struct node *node)
{
    const struct watches *watches = &node->watches;

    if (watches->count == 0) {
        return FAR_FUTURE_MS;
    }
    if (!list_is_empty(&watches->lagging)) {
        return node->now_ms;
    }
    bool retries = !list_is_empty(&watches->stalled) && watches->retry_ms < watches->sweep_ms;
    uint64_t due_ms = retries ? watches->retry_ms : watches->sweep_ms;

    return due_ms > node->now_ms ? due_ms : node->now_ms;
}

/* --- Requests --------------------------------------------------------------------------------- */

bool watches_are_asked(enum wire_method method)
{
    return method == WIRE_METHOD_watch || method == WIRE_METHOD_watch_cancel ||
           method == WIRE_METHOD_watch_credit;
}

static bool refuse(struct node *node, const struct origin *origin, const struct wire_watch *request)
{
    if (node->is_stopping) {
        answer_retry(node, origin, ERR_STOPPING, 0);
        return true;
    }
    if (node->raft == NULL) {
        refuse_not_formed(node, origin);
        return true;
    }
    if (is_cut_off(node)) {
        answer_not_leader(node, origin); /* Another node can serve it, this one cannot now. */
        return true;
    }
    if (watch_find(node, origin, request->watch) != NULL) {
        answer_error(node, origin, ERR_MALFORMED,
                     "the connection has a watch of that number: give each another one");
        return true;
    }
    if (node->watches.count == node->options.watch_count_max ||
        node->connections[origin->connection].watch_count == WATCH_CONNECTION_COUNT_MAX) {
        answer_retry(node, origin, ERR_OVERLOADED, RETRY_MS_WATCHES);
        return true;
    }
    return false;
}

static void refuse_compacted(struct node *node, const struct origin *origin)
{
    const struct wire_failure failure = {
        .code = ERR_COMPACTED,
        .text = bytes_of_text("it begins before the oldest change that is kept: list what is "
                              "there, and watch from the revision of the list"),
        .oldest_revision = feed_oldest(node->feed),
    };

    answer_failure(node, origin, &failure);
}

static void take_watch(struct node *node, const struct origin *origin,
                       const struct wire_watch *request)
{
    uint8_t memory[NOTICE_SIZE_MAX];
    struct buffer body = buffer_of(memory, sizeof(memory));
    struct feed_place after = {.revision = request->revision, .number = request->number};

    if (refuse(node, origin, request)) {
        return;
    }
    if (after.revision == 0) {
        after.revision = feed_revision(node->feed);
    }
    if (request->revision == 0 || after.number == 0) {
        after.number = FEED_ALL;
    }
    struct watch *watch = watch_take(node, origin, request);

    watch->after = after;
    if (!locate(node, watch)) {
        watch_drop(node, watch);
        refuse_compacted(node, origin);
        return;
    }
    const struct wire_watch_result result = {.revision = after.revision};
    bool fits = wire_watch_result_encode(&result, &body);

    ASSERT_VALUES(fits, body.size, body.capacity);
    answer_body(node, origin, buffer_bytes(&body));
}

static void take_cancel(struct node *node, const struct origin *origin, uint64_t number)
{
    uint8_t memory[NOTICE_SIZE_MAX];
    struct buffer body = buffer_of(memory, sizeof(memory));
    const struct wire_watch_cancel_result result = {0};
    struct watch *watch = watch_find(node, origin, number);
    bool fits = wire_watch_cancel_result_encode(&result, &body);

    ASSERT_VALUES(fits, body.size, body.capacity);
    if (watch == NULL) {
        answer_error(node, origin, ERR_NOT_FOUND, "the connection has no watch of that number");
        return;
    }
    watch_drop(node, watch);
    answer_body(node, origin, buffer_bytes(&body));
}

static void take_credit(struct node *node, const struct origin *origin,
                        const struct wire_watch_credit *request)
{
    uint8_t memory[NOTICE_SIZE_MAX];
    struct buffer body = buffer_of(memory, sizeof(memory));
    const struct wire_watch_credit_result result = {0};
    struct watch *watch = watch_find(node, origin, request->watch);
    bool fits = wire_watch_credit_result_encode(&result, &body);

    ASSERT_VALUES(fits, body.size, body.capacity);
    if (watch == NULL) {
        answer_error(node, origin, ERR_NOT_FOUND, "the connection has no watch of that number");
        return;
    }
    watch->credit += request->credit;
    if (watch->credit > UINT32_MAX) {
        watch->credit = UINT32_MAX;
    }
    if (watch->state == WATCH_BLOCKED && watch->credit > 0) {
        watch_move(&node->watches, watch, WATCH_LAGGING);
    }
    answer_body(node, origin, buffer_bytes(&body));
}

void watches_take(struct node *node, const struct origin *origin, const struct wire_rpc *rpc)
{
    struct bytes params = rpc->body;
    struct wire_watch watch;
    struct wire_watch_cancel cancel;
    struct wire_watch_credit credit;

    ASSERT(watches_are_asked(rpc->method));
    /* Decoded once already, at admission. */
    if (rpc->method == WIRE_METHOD_watch && wire_watch_decode(&params, &watch) == ERR_OK) {
        take_watch(node, origin, &watch);
    } else if (rpc->method == WIRE_METHOD_watch_cancel &&
               wire_watch_cancel_decode(&params, &cancel) == ERR_OK) {
        take_cancel(node, origin, cancel.watch);
    } else if (rpc->method == WIRE_METHOD_watch_credit &&
               wire_watch_credit_decode(&params, &credit) == ERR_OK) {
        take_credit(node, origin, &credit);
    }
}

/* --- Invariants (docs/watch.md) --------------------------------------------------------------- */

void watches_check(const struct node *node)
{
    const struct watches *watches = &node->watches;
    uint32_t count = 0;
    uint32_t idle_count = 0;

    feed_check(node->feed);
    for (uint32_t i = 0; i < watches->used; i++) {
        const struct watch *watch = &watches->all[i];

        if (watch->state == WATCH_FREE) {
            continue;
        }
        count++;
        idle_count += watch->state == WATCH_IDLE ? 1 : 0;
        ASSERT(node->connections[watch->connection].state == CONNECTION_CLIENT);
        if (watch->state == WATCH_BLOCKED) {
            ASSERT(watch->credit <= 0);
        } else {
            ASSERT(list_is_linked(&watch->queue));
        }
    }
    ASSERT_VALUES(count == watches->count, count, watches->count);
    ASSERT_VALUES(idle_count == watches->idle_count, idle_count, watches->idle_count);
}
