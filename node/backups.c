/* node/backups.c: a client fetches a snapshot from the leader, piece by piece.
 *
 * What it opens has everything that was acknowledged before it asked: the leader first commits an
 * entry of its own and then takes a snapshot at that entry or beyond. Each piece is asked for by
 * itself, so a client that does not read costs nothing; while it goes on asking its file is kept,
 * also when newer ones have come. Clients that are gone or silent give their place up. */
#include "base/assert.h"
#include "node/internal.h"

static uint32_t slot_of(const struct node *node, const struct backup *backup)
{
    return (uint32_t)SNAPSHOT_SENDER_COUNT_MAX + (uint32_t)(backup - node->backups.slots);
}

/* --- Opening ---------------------------------------------------------------------------------- */

static void answer_opened(struct node *node, const struct origin *origin,
                          const struct wire_snapshot_open_result *result)
{
    uint8_t memory[FAILURE_SIZE_MAX];
    struct buffer body = buffer_of(memory, sizeof(memory));
    bool fits = wire_snapshot_open_result_encode(result, &body);

    ASSERT_VALUES(fits, body.size, body.capacity);
    answer_body(node, origin, buffer_bytes(&body));
}

void backups_answer(struct node *node, const struct origin *origin, raft_index index)
{
    const struct snapshot_file *newest = snapshots_newest(node->snapshots);
    struct wire_snapshot_open_result result = {.index = index};

    ASSERT(index != 0);
    if (newest != NULL && newest->index >= index) {
        result = (struct wire_snapshot_open_result){
            .index = newest->index,
            .size = newest->size,
            .term = newest->term,
            .id = newest->id,
            .state_hash = snapshots_base(node->snapshots, newest).state_hash,
        };
    } else if (index <= machine_applied_index(node->machine)) {
        compaction_want(node, index); /* What is not applied yet may never be: it is not wanted. */
    }
    answer_opened(node, origin, &result);
}

/* An entry that does nothing: when it is applied, so is all that was acknowledged before. */
static void propose_tick(struct node *node, const struct origin *origin)
{
    const struct envelope envelope = {.method = ENVELOPE_TICK,
                                      .log_ms = cluster_time_stamp(&node->time)};
    raft_index index = 0;

    if (!requests_have_room(node)) {
        answer_retry(node, origin, ERR_OVERLOADED, requests_retry_ms(node));
        return;
    }
    enum error error = requests_propose(node, &envelope, &index);

    if (error != ERR_OK) {
        answer_not_proposed(node, origin, error);
        return;
    }
    struct pending *pending = requests_add(node, index);

    pending->method = WIRE_METHOD_snapshot_open;
    pending->origin = *origin;
}

void backups_open(struct node *node, const struct origin *origin, struct bytes params)
{
    struct wire_snapshot_open open;
    enum error error = wire_snapshot_open_decode(&params, &open);

    ASSERT_VALUES(error == ERR_OK, error, params.size); /* Admission has decoded it. */
    if (open.index_min > node->status.last_index) {
        answer_error(node, origin, ERR_REFUSED,
                     "the log has no such index: open a snapshot without naming one");
    } else if (open.index_min != 0) {
        backups_answer(node, origin, open.index_min);
    } else {
        propose_tick(node, origin);
    }
}

/* --- Reading ---------------------------------------------------------------------------------- */

static bool is_same_client(const struct origin *a, const struct origin *b)
{
    return a->connection == b->connection && a->generation == b->generation;
}

static void release(struct node *node, struct backup *backup)
{
    snapshots_send_end(node->snapshots, slot_of(node, backup));
    *backup = (struct backup){0};
}

/* The client's own slot, else a free one; NULL. */
static struct backup *slot_for(struct node *node, const struct origin *origin)
{
    struct backup *free = NULL;

    for (uint32_t i = 0; i < SNAPSHOT_BACKUP_COUNT_MAX; i++) {
        struct backup *backup = &node->backups.slots[i];

        if (backup->index != 0 && is_same_client(&backup->origin, origin)) {
            return backup;
        }
        if (backup->index == 0) {
            free = backup;
        }
    }
    return free;
}

/* Until the first of the slots is free, if nobody asks there again. */
static uint32_t retry_ms(const struct node *node)
{
    uint64_t heard_ms = node->now_ms;

    for (uint32_t i = 0; i < SNAPSHOT_BACKUP_COUNT_MAX; i++) {
        uint64_t of_slot_ms = node->backups.slots[i].heard_ms;

        heard_ms = of_slot_ms < heard_ms ? of_slot_ms : heard_ms;
    }
    uint64_t until_ms = heard_ms + BACKUP_IDLE_MS;
    uint64_t left_ms = until_ms > node->now_ms ? until_ms - node->now_ms : 1;

    return (uint32_t)size_min(left_ms, RETRY_MS_MAX);
}

/* The slot has the file that is asked for. */
static bool take_file(struct node *node, struct backup *backup,
                      const struct wire_snapshot_read *read)
{
    if (backup->index == read->index && backup->id == read->id) {
        return true;
    }
    release(node, backup);
    if (snapshots_send_begin_at(node->snapshots, slot_of(node, backup), read->index, read->id) ==
        NULL) {
        return false;
    }
    backup->index = read->index;
    backup->id = read->id;
    return true;
}

static bool is_reading(const struct node *node, const struct backup *backup)
{
    struct snapshot_chunk chunk;

    return snapshots_send_state(node->snapshots, slot_of(node, backup), &chunk) !=
           SNAPSHOT_SEND_READY;
}

void backups_read(struct node *node, const struct origin *origin, struct bytes params)
{
    struct wire_snapshot_read read;
    enum error error = wire_snapshot_read_decode(&params, &read);
    struct backup *backup = slot_for(node, origin);

    ASSERT_VALUES(error == ERR_OK, error, params.size); /* Admission has decoded it. */
    if (backup == NULL) {
        answer_retry(node, origin, ERR_OVERLOADED, retry_ms(node));
        return;
    }
    if (backup->is_asked) { /* The disk is at it: as long as a commit takes. */
        answer_retry(node, origin, ERR_OVERLOADED, requests_retry_ms(node));
        return;
    }
    if (read.index == 0 || !take_file(node, backup, &read)) {
        answer_error(node, origin, ERR_NOT_FOUND,
                     "this node does not have that snapshot, or not any more: open it again");
        return;
    }
    backup->origin = *origin;
    backup->heard_ms = node->now_ms;
    if (is_reading(node, backup)) { /* For the slot's last client. */
        answer_retry(node, origin, ERR_OVERLOADED, requests_retry_ms(node));
        return;
    }
    if (read.offset >= snapshots_send_file(node->snapshots, slot_of(node, backup))->size) {
        answer_error(node, origin, ERR_MALFORMED, "the offset is not in the file");
        return;
    }
    snapshots_send_read(node->snapshots, slot_of(node, backup), read.offset);
    backup->is_asked = true;
}

static void answer_chunk(struct node *node, struct backup *backup,
                         const struct snapshot_chunk *chunk)
{
    const struct wire_snapshot_read_result result = {.offset = chunk->offset,
                                                     .bytes = chunk->bytes};
    struct buffer message = buffer_of(node->scratch, WIRE_FRAME_SIZE_MAX);

    backup->is_asked = false;
    if (chunk->error != ERR_OK || chunk->bytes.size == 0) {
        answer_error(node, &backup->origin, ERR_NOT_FOUND,
                     "the file could not be read: open a snapshot again");
        release(node, backup);
        return;
    }
    bool fits = wire_result_begin(&message, backup->origin.rpc_id) &&
                wire_snapshot_read_result_encode(&result, &message);

    ASSERT_VALUES(fits, message.size, message.capacity);
    answer_scratch(node, &backup->origin, &message);
}

static bool is_gone(const struct node *node, const struct backup *backup)
{
    const struct connection *connection = &node->connections[backup->origin.connection];

    return connection->generation != backup->origin.generation ||
           (connection->state != CONNECTION_CLIENT && connection->state != CONNECTION_PEER) ||
           node->now_ms >= backup->heard_ms + BACKUP_IDLE_MS;
}

void backups_tick(struct node *node)
{
    for (uint32_t i = 0; i < SNAPSHOT_BACKUP_COUNT_MAX; i++) {
        struct backup *backup = &node->backups.slots[i];
        struct snapshot_chunk chunk;

        if (backup->index == 0) {
            continue;
        }
        if (is_gone(node, backup)) {
            release(node, backup);
        } else if (backup->is_asked && snapshots_send_state(node->snapshots, slot_of(node, backup),
                                                            &chunk) == SNAPSHOT_SEND_READY) {
            answer_chunk(node, backup, &chunk);
        }
    }
}
