/* node/snapshot_save.c: the table's pairs are written into a new snapshot, paced, in slices. */
#include "base/assert.h"
#include "node/snapshot_internal.h"

enum { MS_PER_SECOND = 1000, BURST_SLICE_COUNT = 4 };

_Static_assert(SAVE_BUFFER_SIZE % DISK_ALIGNMENT == 0, "buffers follow each other");
_Static_assert(WRITE_SIZE % DISK_ALIGNMENT == 0, "writes are aligned");

size_t snapshots_save_memory_size(void)
{
    return arena_cost(1, 2 * (size_t)SAVE_BUFFER_SIZE + DISK_ALIGNMENT);
}

void snapshots_save_open(struct save *save, struct arena *arena)
{
    uint8_t *memory = arena_take_aligned(arena, 2 * (size_t)SAVE_BUFFER_SIZE, DISK_ALIGNMENT);

    for (uint32_t i = 0; i < 2; i++) {
        save->buffers[i].buffer =
            buffer_of(memory + (size_t)i * SAVE_BUFFER_SIZE, SAVE_BUFFER_SIZE);
    }
}

bool snapshots_are_saving(const struct snapshots *snapshots)
{
    return snapshots->save.state != SAVE_IDLE;
}

static bool is_writing_to_disk(const struct save *save)
{
    return save->buffers[0].in_flight || save->buffers[1].in_flight;
}

/* --- Beginning -------------------------------------------------------------------------------- */

static void init(struct snapshots *snapshots, const struct snapshot_base *base)
{
    struct save *save = &snapshots->save;

    save->base = *base;
    memcpy(save->base.cluster, snapshots->options.cluster, SNAPSHOT_CLUSTER_SIZE);
    if (base->configuration.size != 0) {
        memcpy(save->configuration, base->configuration.data, base->configuration.size);
    }
    save->base.configuration = bytes_of(save->configuration, base->configuration.size);
    save->buffers[0].buffer.size = 0;
    save->buffers[1].buffer.size = 0;
    save->block = (struct snapshot_block){.out = NULL};
    save->filling = 0;
    save->staged_size = 0;
    save->has_pair = false;
    save->has_end = false;
    save->table_waits = false;
    save->error = ERR_OK;
    save->tokens = snapshots->options.slice_size;
    snapshot_write_head(&save->chain, &save->base, &save->buffers[0].buffer);
}

enum error snapshots_save_begin(struct snapshots *snapshots, const struct snapshot_base *base,
                                uint64_t now_ms)
{
    struct save *save = &snapshots->save;
    const struct snapshot_file *newest = snapshots_newest(snapshots);

    ASSERT_VALUES(base->configuration.size <= SNAPSHOT_CONFIGURATION_SIZE_MAX,
                  base->configuration.size, base->index);
    if (newest != NULL && newest->index >= base->index) {
        return ERR_STALE;
    }
    if (snapshots->is_stopping || save->state != SAVE_IDLE || snapshots->is_loading ||
        snapshots->receive.state != SNAPSHOT_RECEIVE_IDLE ||
        snapshots_files_are_removing(snapshots, base->index) ||
        !table_snapshot_open(snapshots->table)) {
        return ERR_OVERLOADED;
    }
    init(snapshots, base);
    save->begin_ms = now_ms;
    save->token_ms = now_ms;
    save->state = SAVE_WRITING;
    snapshots->has_more = true;
    snapshots_files_trim(snapshots, KEEP_COUNT - 1);
    return ERR_OK;
}

/* --- Ending ----------------------------------------------------------------------------------- */

/* The file goes once nothing is on its way to it; then that it failed is told. */
static void give_up(struct snapshots *snapshots, enum error error)
{
    struct save *save = &snapshots->save;

    ASSERT(save->state == SAVE_WRITING || save->state == SAVE_PUBLISHING);
    table_snapshot_close(snapshots->table);
    save->state = SAVE_REMOVING;
    save->error = error;
}

/* Nothing that was published without being durable may be found later. */
static void remove_file(struct snapshots *snapshots)
{
    struct save *save = &snapshots->save;
    raft_index index = save->base.index;
    struct disk_name name;

    if (is_writing_to_disk(save)) {
        return;
    }
    if (save->staged_size != 0) {
        snapshots_files_remove(snapshots, SNAPSHOT_NAME_NEW, index);
    }
    if (save->has_end && save->staged_size == save->chain.offset) {
        snapshots_files_remove(snapshots, SNAPSHOT_NAME_WHOLE, index);
    }
    snapshots_files_advance(snapshots);
    snapshot_name(&name, SNAPSHOT_NAME_NEW, index);
    snapshots_tell(snapshots, SNAPSHOT_SAVE_FAILED, index, save->error, save->staged_size, &name);
    save->state = SAVE_IDLE;
}

void snapshots_save_abort(struct snapshots *snapshots)
{
    if (snapshots->save.state == SAVE_WRITING) {
        give_up(snapshots, ERR_CANCELLED);
    }
}

static void publish(struct snapshots *snapshots)
{
    struct save *save = &snapshots->save;
    struct disk_request request = {.operation = DISK_PUBLISH, .size = save->chain.offset};

    ASSERT_VALUES(save->staged_size == save->chain.offset, save->staged_size, save->chain.offset);
    snapshot_name(&request.name, SNAPSHOT_NAME_NEW, save->base.index);
    snapshot_name(&request.target, SNAPSHOT_NAME_WHOLE, save->base.index);
    table_snapshot_close(snapshots->table);
    save->state = SAVE_PUBLISHING;
    snapshots_submit(snapshots, PURPOSE_SAVE_PUBLISH, 0, &request);
}

void snapshots_save_published(struct snapshots *snapshots, enum error error)
{
    struct save *save = &snapshots->save;
    const struct snapshot_file file = {
        .index = save->base.index,
        .term = save->base.term,
        .size = save->chain.offset,
        .id = save->chain.checksum,
        .pair_count = save->chain.pair_count,
    };
    struct disk_name name;

    ASSERT(save->state == SAVE_PUBLISHING);
    if (error != ERR_OK) {
        give_up(snapshots, error);
        return;
    }
    save->state = SAVE_IDLE;
    snapshots_files_add(snapshots, &file, &save->base);
    snapshots_files_trim(snapshots, KEEP_COUNT);
    snapshots_receive_overtaken(snapshots, file.index);
    snapshot_name(&name, SNAPSHOT_NAME_WHOLE, file.index);
    snapshots_tell(snapshots, SNAPSHOT_SAVED, file.index, ERR_OK, file.size, &name);
}

/* --- Writing ---------------------------------------------------------------------------------- */

static void stage(struct snapshots *snapshots)
{
    struct save *save = &snapshots->save;
    struct save_buffer *filled = &save->buffers[save->filling];
    struct disk_request request = {.operation = DISK_STAGE,
                                   .offset = save->staged_size,
                                   .data = filled->buffer.data,
                                   .size = filled->buffer.size};

    ASSERT(save->block.out == NULL && !filled->in_flight);
    ASSERT_VALUES(request.size % DISK_ALIGNMENT == 0, request.size, request.offset);
    snapshot_name(&request.name, SNAPSHOT_NAME_NEW, save->base.index);
    save->staged_size += request.size;
    filled->in_flight = true;
    snapshots_submit(snapshots, PURPOSE_SAVE_WRITE, save->filling, &request);
    save->filling = 1 - save->filling;
}

void snapshots_save_written(struct snapshots *snapshots, uint32_t slot, enum error error)
{
    struct save *save = &snapshots->save;

    ASSERT(slot < 2 && save->buffers[slot].in_flight);
    save->buffers[slot].in_flight = false;
    save->buffers[slot].buffer.size = 0;
    if (error != ERR_OK && save->state == SAVE_WRITING) {
        give_up(snapshots, error);
    }
}

/* The next pair, kept until a block has taken it. False when there is none now. */
static bool next_pair(struct snapshots *snapshots)
{
    struct save *save = &snapshots->save;

    if (save->has_pair) {
        return true;
    }
    switch (table_snapshot_next(snapshots->table, &save->key, &save->value)) {
    case TABLE_SNAPSHOT_PAIR:
        save->has_pair = true;
        return true;
    case TABLE_SNAPSHOT_END:
        save->has_end = true;
        return false;
    case TABLE_SNAPSHOT_WAIT:
        save->table_waits = true;
        return false;
    case TABLE_SNAPSHOT_FAILED:
        give_up(snapshots, table_error(snapshots->table));
        return false;
    }
    UNREACHABLE();
}

/* All pairs were taken: the state that was begun with, or nothing. */
static void take_end(struct snapshots *snapshots)
{
    struct save *save = &snapshots->save;

    if (save->block.out != NULL) {
        snapshot_block_close(&save->block, &save->chain);
    }
    if (save->chain.hash != save->base.state_hash) {
        give_up(snapshots, ERR_CORRUPT);
        return;
    }
    snapshot_write_end(&save->chain, &save->buffers[save->filling].buffer);
    stage(snapshots);
}

/* One pair further. False when the buffers are with the disk, or there is none now. */
static bool take_pair(struct snapshots *snapshots)
{
    struct save *save = &snapshots->save;

    if (save->buffers[save->filling].in_flight || !next_pair(snapshots)) {
        return false;
    }
    if (save->block.out == NULL) {
        snapshot_block_open(&save->block, &save->buffers[save->filling].buffer);
    }
    if (snapshot_block_add(&save->block, &save->chain, save->key, save->value)) {
        save->tokens -= (int64_t)(SNAPSHOT_PAIR_HEADER_SIZE + save->key.size + save->value.size);
        save->has_pair = false;
        return true;
    }
    snapshot_block_close(&save->block, &save->chain);
    if (save->buffers[save->filling].buffer.size >= WRITE_SIZE) {
        stage(snapshots);
    }
    return true;
}

/* The nearer the table is to what a save may pin, the faster it has to be over: up to four times.
 */
static uint64_t bytes_per_second(const struct snapshots *snapshots)
{
    const struct snapshot_options *options = &snapshots->options;
    uint64_t pinned = table_snapshot_pinned_bytes(snapshots->table);
    uint64_t eighths = 8 * pinned / (options->pinned_bytes_max + 1);

    return options->bytes_per_second + options->bytes_per_second * 3 * eighths / 8;
}

/* The pace: so many bytes a second, and a few slices at once after a wait. */
static void refill(struct snapshots *snapshots)
{
    struct save *save = &snapshots->save;
    uint64_t elapsed_ms = snapshots->now_ms - save->token_ms;
    int64_t most = (int64_t)snapshots->options.slice_size * BURST_SLICE_COUNT;

    if (elapsed_ms >= MS_PER_SECOND) {
        save->tokens = most;
    } else {
        save->tokens += (int64_t)(elapsed_ms * bytes_per_second(snapshots) / MS_PER_SECOND);
    }
    save->tokens = save->tokens > most ? most : save->tokens;
    save->token_ms = snapshots->now_ms;
}

static void write_slice(struct snapshots *snapshots)
{
    struct save *save = &snapshots->save;

    refill(snapshots);
    int64_t until = save->tokens - (int64_t)snapshots->options.slice_size;
    if (until < 0) {
        until = 0;
    }
    save->table_waits = false;
    while (save->tokens > until && take_pair(snapshots)) {
    }
    if (save->state == SAVE_WRITING && save->has_end && !save->buffers[save->filling].in_flight) {
        take_end(snapshots);
    }
}

void snapshots_save_advance(struct snapshots *snapshots)
{
    struct save *save = &snapshots->save;

    if (save->state == SAVE_WRITING) {
        if (snapshots->now_ms - save->begin_ms > snapshots->options.save_ms_max) {
            give_up(snapshots, ERR_TIMEOUT);
        } else if (table_snapshot_pinned_bytes(snapshots->table) >
                   snapshots->options.pinned_bytes_max) {
            give_up(snapshots, ERR_FULL);
        } else if (save->has_end) {
            if (!is_writing_to_disk(save)) {
                publish(snapshots);
            }
        } else {
            write_slice(snapshots);
        }
    }
    if (save->state == SAVE_REMOVING) {
        remove_file(snapshots);
    }
}

uint64_t snapshots_save_wake_ms(const struct snapshots *snapshots)
{
    const struct save *save = &snapshots->save;

    if (save->state == SAVE_REMOVING && !is_writing_to_disk(save)) {
        return snapshots->now_ms;
    }
    if (save->state != SAVE_WRITING || save->has_end || save->buffers[save->filling].in_flight) {
        return SNAPSHOT_NEVER_MS; /* A completion comes. */
    }
    if (save->table_waits) {
        return snapshots->now_ms + WAIT_MS;
    }
    if (save->tokens > 0) {
        return snapshots->now_ms;
    }
    return snapshots->now_ms + 1 +
           (uint64_t)-save->tokens * MS_PER_SECOND / snapshots->options.bytes_per_second;
}
