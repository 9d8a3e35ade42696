/* node/reads.c: linearizable reads.
 *
 * All reads of a turn share one ReadIndex round (Raft dissertation 6.4) and are served, in order,
 * once the entry that the round names is applied, a bounded number in each turn: lists must not
 * delay the heartbeats. When too many rounds are under way, later reads wait and share the next
 * one. */
#include "base/assert.h"
#include "node/internal.h"

size_t reads_memory_size(const struct node_options *options)
{
    return arena_cost(ring_capacity(options->request_count_max), sizeof(struct read)) +
           arena_cost(1, READ_PARAMS_BYTES);
}

void reads_open(struct node *node, struct arena *arena)
{
    uint64_t capacity = ring_capacity(node->options.request_count_max);

    node->reads.ring = arena_take(arena, capacity, sizeof(struct read));
    node->reads.mask = capacity - 1;
    node->reads.params = arena_take(arena, 1, READ_PARAMS_BYTES);
}

static struct read_batch *batch_at(struct reads *reads, uint64_t id)
{
    ASSERT_VALUES(id >= reads->batch_head && id < reads->batch_tail, id, reads->batch_tail);
    return &reads->batches[id & (READ_BATCH_COUNT_MAX - 1)];
}

/* Where params of that size would lie, or UINT64_MAX when there is no room. */
static uint64_t place_of_params(const struct reads *reads, size_t size)
{
    uint64_t at = reads->params_tail;
    uint64_t offset = at % READ_PARAMS_BYTES;

    if (offset + size > READ_PARAMS_BYTES) {
        at += READ_PARAMS_BYTES - offset;
    }
    return at + size - reads->params_head > READ_PARAMS_BYTES ? UINT64_MAX : at;
}

/* Copies the params behind those of the reads before; where they would straddle the end, the rest
 * of the ring is skipped. */
static void keep_params(struct reads *reads, struct read *read, struct bytes params)
{
    uint64_t at = place_of_params(reads, params.size);

    ASSERT_VALUES(at != UINT64_MAX, reads->params_head, reads->params_tail);
    read->params_offset = (uint32_t)(at % READ_PARAMS_BYTES);
    read->params_size = (uint32_t)params.size;
    memcpy(reads->params + read->params_offset, params.data, params.size);
    reads->params_tail = at + params.size;
    read->params_end = reads->params_tail;
}

static bool is_scan(const struct read *read)
{
    return waiting_lane_of(read->method) == LANE_SCANS;
}

bool reads_have_room(const struct node *node, size_t params_size)
{
    const struct reads *reads = &node->reads;

    return params_size > READ_PARAMS_SIZE_MAX || /* Refused, however much room there is. */
           (reads->tail - reads->head < node->options.request_count_max &&
            place_of_params(reads, params_size) != UINT64_MAX);
}

void reads_add(struct node *node, const struct origin *origin, enum wire_method method,
               struct bytes params)
{
    struct reads *reads = &node->reads;
    struct read read = {.origin = *origin, .method = method};

    ASSERT_VALUES(params.size > 0, params.size, method);
    if (params.size > READ_PARAMS_SIZE_MAX) {
        answer_retry(node, origin, ERR_TOO_LARGE, 0);
        return;
    }
    ASSERT_VALUES(reads_have_room(node, params.size), reads->head, reads->tail);
    keep_params(reads, &read, params);
    reads->ring[reads->tail & reads->mask] = read;
    reads->tail++;
    reads->scan_count += is_scan(&read) ? 1 : 0;
}

/* The oldest read is done with. */
static void pop(struct reads *reads)
{
    ASSERT(reads->head < reads->asked);
    reads->params_head = reads->ring[reads->head & reads->mask].params_end;
    reads->scan_count -= is_scan(&reads->ring[reads->head & reads->mask]) ? 1 : 0;
    reads->head++;
    if (reads->head == reads->tail) {
        reads->params_head = 0;
        reads->params_tail = 0;
    }
}

/* A round also tells the followers what is committed: one without reads does that alone. */
void reads_ask(struct node *node)
{
    struct reads *reads = &node->reads;

    if ((reads->asked == reads->tail && !node->passing.has_news) ||
        reads->batch_tail - reads->batch_head == READ_BATCH_COUNT_MAX) {
        return;
    }
    enum error error = raft_read(node->raft, reads->batch_tail, node->now_ms);

    if (error == ERR_OVERLOADED) {
        return; /* They wait for the next turn, and share its round. */
    }
    node->passing.has_news = false;
    reads->batches[reads->batch_tail & (READ_BATCH_COUNT_MAX - 1)] = (struct read_batch){
        .state = error == ERR_OK ? READ_BATCH_WAITS : READ_BATCH_FAILED,
        .count = (uint32_t)(reads->tail - reads->asked),
    };
    reads->batch_tail++;
    reads->asked = reads->tail;
}

void reads_ready(struct node *node, const struct raft_effects *effects)
{
    for (uint32_t i = 0; i < effects->read_count; i++) {
        const struct raft_read_ready *ready = &effects->reads[i];

        if (ready->id < node->reads.batch_head) {
            continue; /* Failed already, when leadership was lost. */
        }
        struct read_batch *batch = batch_at(&node->reads, ready->id);

        if (batch->state == READ_BATCH_WAITS) {
            batch->state = ready->error == ERR_OK ? READ_BATCH_READY : READ_BATCH_FAILED;
            batch->index = ready->index;
            node->reads.promised_count += ready->by_promises ? batch->count : 0;
        }
    }
}

void reads_begin(struct node *node)
{
    node->reads.served_count = 0;
    node->reads.served_bytes = 0;
    node->reads.has_more = false;
}

/* False when the table has failed: then there is no answer. */
static bool serve_one(struct node *node, const struct read *read)
{
    struct bytes params = bytes_of(node->reads.params + read->params_offset, read->params_size);

    if (read->method == WIRE_METHOD_election_show && observers_take(node, &read->origin, params)) {
        return node->problem == NULL;
    }
    struct buffer out = buffer_of(node->scratch, WIRE_FRAME_SIZE_MAX);
    bool fits = wire_result_begin(&out, read->origin.rpc_id);

    ASSERT_VALUES(fits, out.size, out.capacity);
    enum error error =
        machine_read(node->machine, read->method, params, cluster_time_now(&node->time), &out);

    if (node_table_has_failed(node)) {
        return false;
    }
    if (error == ERR_OK) {
        answer_scratch(node, &read->origin, &out);
    } else {
        answer_retry(node, &read->origin, error, 0);
    }
    node->reads.served_bytes += out.size;
    return true;
}

/* As many of the batch as the turn's budget allows. False when that is over, or the table is. */
static bool serve_batch(struct node *node, struct read_batch *batch)
{
    struct reads *reads = &node->reads;

    ASSERT(batch->state != READ_BATCH_WAITS);
    while (batch->count > 0) {
        const struct read *read = &reads->ring[reads->head & reads->mask];

        if (reads->served_count == SERVE_COUNT_MAX || reads->served_bytes >= SERVE_BYTES_MAX) {
            reads->has_more = true;
            return false;
        }
        if (batch->state == READ_BATCH_FAILED) {
            answer_not_leader(node, &read->origin);
        } else if (!serve_one(node, read)) {
            return false;
        }
        pop(reads);
        batch->count--;
        reads->served_count++;
    }
    return true;
}

void reads_serve(struct node *node)
{
    struct reads *reads = &node->reads;

    while (reads->batch_head < reads->batch_tail) {
        struct read_batch *batch = batch_at(reads, reads->batch_head);

        if (batch->state == READ_BATCH_WAITS ||
            (batch->state == READ_BATCH_READY &&
             batch->index > machine_applied_index(node->machine))) {
            return;
        }
        if (!serve_batch(node, batch)) {
            return;
        }
        reads->batch_head++;
    }
}

/* What was not asked yet can be asked elsewhere at once. A batch whose round has ended is still
 * good: its index was confirmed while we led. */
void reads_leadership_lost(struct node *node)
{
    struct reads *reads = &node->reads;

    for (uint64_t id = reads->batch_head; id < reads->batch_tail; id++) {
        struct read_batch *batch = batch_at(reads, id);

        if (batch->state == READ_BATCH_WAITS) {
            batch->state = READ_BATCH_FAILED;
        }
    }
    if (reads->asked == reads->tail) {
        return;
    }
    for (uint64_t i = reads->asked; i < reads->tail; i++) {
        answer_not_leader(node, &reads->ring[i & reads->mask].origin);
        reads->scan_count -= is_scan(&reads->ring[i & reads->mask]) ? 1 : 0;
    }
    /* They are the newest: the rings shrink from behind. */
    reads->tail = reads->asked;
    reads->params_tail = reads->tail == reads->head
                             ? reads->params_head
                             : reads->ring[(reads->tail - 1) & reads->mask].params_end;
}
