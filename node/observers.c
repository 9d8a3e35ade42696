/* node/observers.c: whoever observes an election waits here for the next leader.
 *
 * An entry that may have changed an election leaves its bit (lease/lease.h). The observers of that
 * bit are looked at once in the turn, however many entries there were. */
#include "node/observers.h"

#include "base/assert.h"
#include "node/internal.h"
#include "node/machine_read.h"

size_t observers_memory_size(void)
{
    return arena_cost(OBSERVER_COUNT_MAX, sizeof(struct observer));
}

void observers_open(struct node *node, struct arena *arena)
{
    node->observers = (struct observers){
        .items = arena_take(arena, OBSERVER_COUNT_MAX, sizeof(struct observer)),
        .due_ms = NEVER,
    };
}

static struct bytes name_of(const struct observer *observer)
{
    return bytes_of(observer->name, observer->name_size);
}

static bool has_changed(struct node *node, const struct observer *observer)
{
    struct machine_leader leader;

    machine_reader_leader(node->table, name_of(observer), &leader);
    return leader.hold.token != observer->token ||
           (observer->token != 0 &&
            !bytes_equal(leader.hold.metadata, bytes_of(observer->value, observer->value_size)));
}

/* False when the table has failed: then nobody is answered. */
static bool answer(struct node *node, const struct observer *observer)
{
    uint8_t memory[WIRE_ENVELOPE_SIZE_MAX + LEASE_NAME_SIZE_MAX];
    struct buffer params = buffer_of(memory, sizeof(memory));
    const struct wire_election_show show = {.name = name_of(observer)};
    struct buffer out = buffer_of(node->scratch, WIRE_FRAME_SIZE_MAX);
    bool fits = wire_election_show_encode(&show, &params) &&
                wire_result_begin(&out, observer->origin.rpc_id);

    ASSERT_VALUES(fits, params.size, out.size);
    enum error error = machine_read(node->machine, WIRE_METHOD_election_show, buffer_bytes(&params),
                                    cluster_time_now(&node->time), &out);

    if (node_table_has_failed(node)) {
        return false;
    }
    ASSERT_VALUES(error == ERR_OK, error, observer->token);
    answer_scratch(node, &observer->origin, &out);
    return true;
}

/* The last one takes its place. */
static void take_out(struct observers *observers, uint32_t at)
{
    ASSERT_VALUES(at < observers->count, at, observers->count);
    observers->count--;
    observers->items[at] = observers->items[observers->count];
}

/* Those whose connection is gone give up their places. */
static void sweep(struct node *node)
{
    struct observers *observers = &node->observers;

    for (uint32_t i = observers->count; i > 0; i--) {
        const struct origin *origin = &observers->items[i - 1].origin;
        const struct connection *connection = &node->connections[origin->connection];

        if (connection->generation != origin->generation ||
            connection->state != CONNECTION_CLIENT) {
            take_out(observers, i - 1);
        }
    }
}

bool observers_take(struct node *node, const struct origin *origin, struct bytes params)
{
    struct observers *observers = &node->observers;
    struct wire_election_show show;
    enum error error = wire_election_show_decode(&params, &show);

    ASSERT_VALUES(error == ERR_OK, error, origin->rpc_id); /* Admission has decoded it, too. */
    if (show.wait_ms == 0 || !node_leads(node) || node->is_stopping) {
        return false;
    }
    struct observer observer = {
        .origin = *origin,
        .until_ms = node->now_ms + size_min(show.wait_ms, OBSERVER_WAIT_MS_MAX),
        .token = show.token,
        .name_size = (uint8_t)show.name.size,
        .value_size = (uint8_t)show.value.size,
    };
    memcpy(observer.name, show.name.data, show.name.size);
    if (show.value.size != 0) {
        memcpy(observer.value, show.value.data, show.value.size);
    }
    bool is_news = has_changed(node, &observer);

    if (node_table_has_failed(node)) {
        return true;
    }
    if (is_news) {
        return false;
    }
    if (observers->count == OBSERVER_COUNT_MAX) {
        sweep(node);
    }
    if (observers->count == OBSERVER_COUNT_MAX) {
        answer_retry(node, origin, ERR_OVERLOADED, RETRY_MS_OVERLOADED);
        return true;
    }
    observers->items[observers->count] = observer;
    observers->count++;
    if (observers->due_ms == NEVER || observer.until_ms < observers->due_ms) {
        observers->due_ms = observer.until_ms;
    }
    return true;
}

void observers_serve(struct node *node)
{
    struct observers *observers = &node->observers;
    uint64_t changed = observers->changed;

    observers->changed = 0;
    if (changed == 0) {
        return;
    }
    for (uint32_t i = observers->count; i > 0; i--) {
        const struct observer *observer = &observers->items[i - 1];

        if ((lease_election_bit(name_of(observer)) & changed) == 0 ||
            !has_changed(node, observer)) {
            continue;
        }
        if (!answer(node, observer)) {
            return;
        }
        take_out(observers, i - 1);
    }
}

void observers_tick(struct node *node)
{
    struct observers *observers = &node->observers;

    if (observers->due_ms == NEVER || node->now_ms < observers->due_ms) {
        return;
    }
    observers->due_ms = NEVER;
    for (uint32_t i = observers->count; i > 0; i--) {
        const struct observer *observer = &observers->items[i - 1];

        if (node->now_ms >= observer->until_ms) {
            if (!answer(node, observer)) {
                return;
            }
            take_out(observers, i - 1);
        } else if (observers->due_ms == NEVER || observer->until_ms < observers->due_ms) {
            observers->due_ms = observer->until_ms;
        }
    }
}

void observers_leadership_lost(struct node *node)
{
    struct observers *observers = &node->observers;

    for (uint32_t i = 0; i < observers->count; i++) {
        answer_not_leader(node, &observers->items[i].origin);
    }
    observers->count = 0;
    observers->due_ms = NEVER;
}
