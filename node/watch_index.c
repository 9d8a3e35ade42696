/* node/watch_index.c: the watches there are, and which of them a change is for.
 *
 * Those that are IDLE lie in a hash table by space and prefix. A change looks up each size of
 * prefix that is in use, up to the size of its own name: it costs what matches it, however many
 * others there are. */
#include "node/watches_internal.h"

/* --- The index: by space, kind of match and prefix -------------------------------------------- */

uint64_t watch_hash_begin(const struct watches *watches, enum feed_space space)
{
    return watches->seed ^ ((uint64_t)space + 1) * UINT64_C(0x9E3779B97F4A7C15);
}

/* FNV-1a. */
uint64_t watch_hash_step(uint64_t hash, uint8_t byte)
{
    return (hash ^ byte) * UINT64_C(0x100000001B3);
}

struct list *watch_bucket(const struct watches *watches, uint64_t hash)
{
    return &watches->buckets[(hash * UINT64_C(0x9E3779B97F4A7C15) >> 32) & watches->mask];
}

static struct bytes prefix_of(const struct watch *watch)
{
    return bytes_of(watch->prefix, watch->prefix_size);
}

bool watch_matches(const struct watch *watch, const struct feed_change *change)
{
    return feed_space_of(change->kind) == watch->space &&
           (watch->is_exact ? bytes_equal(change->name, prefix_of(watch))
                            : bytes_has_prefix(change->name, prefix_of(watch)));
}

/* --- Places of each
 * ----------------------------------------------------------------------------------- */

void watch_move(struct watches *watches, struct watch *watch, enum watch_state next)
{
    uint32_t *length_count = &watches->length_counts[watch->space][watch->prefix_size];

    if (watch->state == WATCH_IDLE) {
        ASSERT(*length_count > 0 && watches->idle_count > 0);
        (*length_count)--;
        watches->idle_count--;
    }
    list_remove(&watch->queue);
    watch->state = next;
    switch (next) {
    case WATCH_FREE:
        list_push_back(&watches->free, &watch->queue);
        return;
    case WATCH_IDLE:
        (*length_count)++;
        watches->idle_count++;
        list_push_back(watch_bucket(watches, watch->hash), &watch->queue);
        return;
    case WATCH_LAGGING:
        list_push_back(&watches->lagging, &watch->queue);
        return;
    case WATCH_STALLED:
        list_push_back(&watches->stalled, &watch->queue);
        return;
    case WATCH_BLOCKED:
        return;
    }
    UNREACHABLE();
}

void watch_drop(struct node *node, struct watch *watch)
{
    struct connection *connection = &node->connections[watch->connection];

    ASSERT(watch->state != WATCH_FREE && connection->watch_count > 0);
    connection->watch_count--;
    node->watches.count--;
    list_remove(&watch->sibling);
    watch_move(&node->watches, watch, WATCH_FREE);
}

void watches_connected(struct node *node, world_connection number)
{
    list_init(&node->connections[number].watches);
    node->connections[number].watch_count = 0;
}

void watches_disconnected(struct node *node, world_connection number)
{
    struct list *siblings = &node->connections[number].watches;

    while (!list_is_empty(siblings)) {
        watch_drop(node, CONTAINER_OF(list_first(siblings), struct watch, sibling));
    }
    ASSERT(node->connections[number].watch_count == 0);
}

struct watch *watch_find(const struct node *node, const struct origin *origin, uint64_t number)
{
    const struct list *siblings = &node->connections[origin->connection].watches;

    for (struct list *at = siblings->next; at != siblings; at = at->next) {
        struct watch *watch = CONTAINER_OF(at, struct watch, sibling);

        if (watch->number == number) {
            return watch;
        }
    }
    return NULL;
}

static struct watch *take_free(struct node *node)
{
    struct watches *watches = &node->watches;
    struct list *first = list_pop_front(&watches->free);

    if (first != NULL) {
        return CONTAINER_OF(first, struct watch, queue);
    }
    ASSERT_VALUES(watches->used < node->options.watch_count_max, watches->used, watches->count);
    return &watches->all[watches->used++];
}

struct watch *watch_take(struct node *node, const struct origin *origin,
                         const struct wire_watch *request)
{
    struct watches *watches = &node->watches;
    struct connection *connection = &node->connections[origin->connection];
    struct watch *watch = take_free(node);

    if (watches->count == 0) {
        watches->seed = node->identity.incarnation; /* Nobody outside knows it. */
    }
    memset(watch, 0, offsetof(struct watch, prefix));
    list_init(&watch->queue);
    list_init(&watch->sibling);
    watch->state = WATCH_BLOCKED;
    watch->connection = origin->connection;
    watch->space = request->locks ? FEED_LOCKS : FEED_KEYS;
    watch->is_exact = request->exact;
    watch->number = request->watch;
    watch->credit = request->credit;
    watch->told_ms = node->now_ms;
    watch->prefix_size = (uint16_t)request->prefix.size;
    watch->hash = watch_hash_begin(watches, watch->space);
    for (size_t i = 0; i < request->prefix.size; i++) {
        watch->prefix[i] = request->prefix.data[i];
        watch->hash = watch_hash_step(watch->hash, request->prefix.data[i]);
    }
    list_push_back(&connection->watches, &watch->sibling);
    connection->watch_count++;
    watches->count++;
    return watch;
}
