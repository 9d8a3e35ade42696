/* node/snapshot.c: the life of all snapshots of a node: opening, the turn, completions, events. */
#include "node/snapshot.h"

#include "base/assert.h"
#include "node/snapshot_internal.h"

enum { SLOT_BITS = 8, SLOT_MASK = 0xFF, PURPOSE_MASK = 0xFF };

#define TAG_MASK UINT64_C(0xFFFF000000000000)

void snapshot_options_init(struct snapshot_options *options)
{
    *options = (struct snapshot_options){
        .slice_size = 64 << 10,
        .bytes_per_second = 64 << 20,
        .save_ms_max = 600000,
        .pinned_bytes_max = UINT64_C(1) << 30,
    };
}

size_t snapshots_memory_size(void)
{
    return arena_cost(1, sizeof(struct snapshots)) + snapshots_files_memory_size() +
           snapshots_scan_memory_size() + snapshots_save_memory_size() +
           snapshots_send_memory_size() + snapshots_receive_memory_size();
}

enum error snapshots_open(struct snapshots **opened, struct arena *arena,
                          const struct snapshot_options *options, struct disk *disk,
                          struct table *table)
{
    struct snapshots *snapshots = arena_take(arena, 1, sizeof(*snapshots));

    ASSERT(options->slice_size > 0 && options->bytes_per_second > 0);
    memset(snapshots, 0, sizeof(*snapshots));
    snapshots->options = *options;
    snapshots->disk = disk;
    snapshots->table = table;
    snapshots_scan_open(&snapshots->scan, arena);
    snapshots_save_open(&snapshots->save, arena);
    snapshots_send_open(snapshots->senders, arena);
    snapshots_receive_open(&snapshots->receive, arena);
    enum error error = snapshots_files_open(snapshots, arena);
    if (error == ERR_OK) {
        *opened = snapshots;
    }
    return error;
}

void snapshots_submit(struct snapshots *snapshots, enum purpose purpose, uint32_t slot,
                      struct disk_request *request)
{
    ASSERT_VALUES(slot <= SLOT_MASK, slot, purpose);
    request->lane = DISK_LANE_SNAPSHOT;
    request->tag = SNAPSHOT_TAG_BASE | (uint64_t)purpose << SLOT_BITS | slot;
    snapshots->flight_count++;
    disk_submit(snapshots->disk, request);
}

bool snapshots_complete(struct snapshots *snapshots, const struct disk_completion *completion)
{
    uint32_t slot = (uint32_t)(completion->tag & SLOT_MASK);

    if ((completion->tag & TAG_MASK) != SNAPSHOT_TAG_BASE) {
        return false;
    }
    ASSERT_VALUES(snapshots->flight_count > 0, completion->tag, completion->error);
    snapshots->flight_count--;
    switch ((enum purpose)(completion->tag >> SLOT_BITS & PURPOSE_MASK)) {
    case PURPOSE_SAVE_WRITE:
        snapshots_save_written(snapshots, slot, completion->error);
        return true;
    case PURPOSE_SAVE_PUBLISH:
        snapshots_save_published(snapshots, completion->error);
        return true;
    case PURPOSE_SCAN:
        snapshots_scan_completed(&snapshots->scan, completion->error);
        return true;
    case PURPOSE_RECEIVE_WRITE:
        snapshots_receive_written(snapshots, slot, completion->error);
        return true;
    case PURPOSE_RECEIVE_PUBLISH:
        snapshots_receive_published(snapshots, completion->error);
        return true;
    case PURPOSE_SEND:
        snapshots_send_completed(snapshots, slot, completion->error);
        return true;
    case PURPOSE_REMOVE:
        snapshots_files_completed(snapshots, completion->error);
        return true;
    }
    UNREACHABLE();
}

void snapshots_advance(struct snapshots *snapshots, uint64_t now_ms)
{
    ASSERT_VALUES(now_ms >= snapshots->now_ms, now_ms, snapshots->now_ms);
    snapshots->now_ms = now_ms;
    snapshots->has_more = false;
    snapshots_files_advance(snapshots);
    if (snapshots->is_stopping) {
        return;
    }
    snapshots_save_advance(snapshots);
    snapshots_load_advance(snapshots);
    snapshots_receive_advance(snapshots);
}

uint64_t snapshots_wake_ms(const struct snapshots *snapshots)
{
    bool removes = snapshots->files.removal_count != 0 && !snapshots->files.is_removing;

    if (snapshots->is_stopping) {
        return SNAPSHOT_NEVER_MS;
    }
    if (snapshots->has_more || removes || snapshots_receive_is_due(snapshots)) {
        return snapshots->now_ms;
    }
    return snapshots_save_wake_ms(snapshots);
}

void snapshots_stop(struct snapshots *snapshots)
{
    snapshots->is_stopping = true;
    snapshots_save_abort(snapshots);
    snapshots_load_abort(snapshots);
    snapshots_receive_stop(snapshots);
}

bool snapshots_are_idle(const struct snapshots *snapshots)
{
    return snapshots->flight_count == 0;
}

/* --- Events ----------------------------------------------------------------------------------- */

void snapshots_tell(struct snapshots *snapshots, enum snapshot_event_kind kind, raft_index index,
                    enum error error, uint64_t size, const struct disk_name *name)
{
    struct event_ring *ring = &snapshots->events;

    if (ring->tail - ring->head == SNAPSHOT_EVENT_COUNT_MAX) {
        ring->head++;
    }
    ring->events[ring->tail++ % SNAPSHOT_EVENT_COUNT_MAX] = (struct snapshot_event){
        .kind = kind, .index = index, .error = error, .size = size, .name = *name};
}

bool snapshots_next_event(struct snapshots *snapshots, struct snapshot_event *event)
{
    struct event_ring *ring = &snapshots->events;

    if (ring->head == ring->tail) {
        return false;
    }
    *event = ring->events[ring->head++ % SNAPSHOT_EVENT_COUNT_MAX];
    return true;
}

/* --- Invariants, numbered as in docs/snapshot.md ---------------------------------------------- */

static void check_files(const struct snapshots *snapshots)
{
    const struct files *files = &snapshots->files;
    uint32_t pins = 0;
    uint32_t senders = 0;

    for (uint32_t i = 0; i < files->kept_count; i++) {
        const struct kept *kept = &files->kept[i];

        /* (1) Files are known by ascending indexes, each whole in size. */
        ASSERT(i == 0 || files->kept[i - 1].file.index < kept->file.index);
        if (!kept->is_refused) {
            ASSERT(kept->base.index == kept->file.index);
            ASSERT_VALUES(kept->file.size >= SNAPSHOT_FILE_SIZE_MIN &&
                              kept->file.size % DISK_ALIGNMENT == 0,
                          kept->file.size, kept->file.index);
        }
        pins += kept->pin_count;
    }
    for (uint32_t slot = 0; slot < SNAPSHOT_READER_COUNT_MAX; slot++) {
        senders += snapshots->senders[slot].state != SNAPSHOT_SEND_FREE ? 1 : 0;
    }
    /* (2) A file is kept for each sender. */
    ASSERT_VALUES(pins == senders, pins, senders);
}

void snapshots_check(const struct snapshots *snapshots)
{
    const struct save *save = &snapshots->save;
    const struct receive *receive = &snapshots->receive;

    check_files(snapshots);
    /* (3) Of saving, loading and receiving one is under way. */
    bool saves = save->state == SAVE_WRITING || save->state == SAVE_PUBLISHING;
    bool receives = receive->state != SNAPSHOT_RECEIVE_IDLE;
    ASSERT((saves ? 1 : 0) + (snapshots->is_loading ? 1 : 0) + (receives ? 1 : 0) <= 1);
    /* (4) Nothing is published before all of it was given to the disk and has arrived there. */
    if (save->state == SAVE_PUBLISHING) {
        ASSERT(save->has_end && save->staged_size == save->chain.offset);
        ASSERT(!save->buffers[0].in_flight && !save->buffers[1].in_flight);
    }
    if (receive->state == SNAPSHOT_RECEIVE_PUBLISHING) {
        ASSERT_VALUES(receive->staged_size == receive->offer.size, receive->staged_size,
                      receive->offer.size);
    }
    /* (5) What was received is never more than was offered, and was taken in order. */
    ASSERT(receive->staged_size <= receive->taken_size);
    ASSERT(receive->taken_size <= receive->offer.size);
}
