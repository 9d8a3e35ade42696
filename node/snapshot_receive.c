/* node/snapshot_receive.c: a leader's snapshot comes in chunks, and counts once it is verified. */
#include "base/assert.h"
#include "node/snapshot_internal.h"

size_t snapshots_receive_memory_size(void)
{
    return arena_cost(1, 2 * (size_t)WRITE_SIZE + DISK_ALIGNMENT);
}

void snapshots_receive_open(struct receive *receive, struct arena *arena)
{
    uint8_t *memory = arena_take_aligned(arena, 2 * (size_t)WRITE_SIZE, DISK_ALIGNMENT);

    for (uint32_t i = 0; i < 2; i++) {
        receive->buffers[i].buffer = buffer_of(memory + (size_t)i * WRITE_SIZE, WRITE_SIZE);
    }
}

static bool is_writing_to_disk(const struct receive *receive)
{
    return receive->buffers[0].in_flight || receive->buffers[1].in_flight;
}

static bool is_same(const struct snapshot_file *a, const struct snapshot_file *b)
{
    return a->index == b->index && a->term == b->term && a->size == b->size && a->id == b->id;
}

/* --- Beginning -------------------------------------------------------------------------------- */

/* The next byte is the one at `offset`, which the disk's writes may begin at. */
static void take_from(struct receive *receive, uint64_t offset)
{
    ASSERT_VALUES(offset % DISK_ALIGNMENT == 0, offset, receive->offer.size);
    receive->taken_size = offset;
    receive->staged_size = offset;
    receive->filling = 0;
    receive->buffers[0].buffer.size = 0;
    receive->buffers[1].buffer.size = 0;
    receive->state = SNAPSHOT_RECEIVE_TAKING;
}

/* A part of another snapshot goes. One of the same index, from an earlier life of the process, is
 * looked through; the rest of such a part is written over. */
static void begin_anew(struct snapshots *snapshots, const struct snapshot_file *offer)
{
    struct receive *receive = &snapshots->receive;
    bool is_checked = receive->part_index == offer->index && receive->part_size != 0;

    if (receive->part_index != 0 && receive->part_index != offer->index) {
        snapshots_files_remove(snapshots, SNAPSHOT_NAME_PART, receive->part_index);
    }
    receive->offer = *offer;
    receive->error = ERR_OK;
    receive->part_index = offer->index;
    take_from(receive, 0);
    if (is_checked) {
        uint64_t size = size_min(receive->part_size, offer->size);

        snapshots_scan_begin(&snapshots->scan, SNAPSHOT_NAME_PART, offer->index, size);
        receive->state = SNAPSHOT_RECEIVE_CHECKING;
        snapshots->has_more = true;
    }
    receive->part_size = 0;
}

enum error snapshots_receive_begin(struct snapshots *snapshots, const struct snapshot_file *offer)
{
    struct receive *receive = &snapshots->receive;
    const struct snapshot_file *newest = snapshots_newest(snapshots);

    if (offer->index == 0 || offer->size < SNAPSHOT_FILE_SIZE_MIN ||
        offer->size % DISK_ALIGNMENT != 0) {
        return ERR_INVALID;
    }
    if (newest != NULL && newest->index >= offer->index) {
        return ERR_STALE;
    }
    bool is_taking =
        receive->state == SNAPSHOT_RECEIVE_TAKING || receive->state == SNAPSHOT_RECEIVE_CHECKING;
    if (is_taking && is_same(&receive->offer, offer)) {
        return ERR_OK;
    }
    if (is_taking) {
        snapshots_receive_stop(snapshots);
        receive->is_resumable = false;
    }
    snapshots_save_abort(snapshots);
    if (snapshots->is_stopping || receive->state != SNAPSHOT_RECEIVE_IDLE ||
        snapshots->is_loading || snapshots->save.state != SAVE_IDLE ||
        snapshots_files_are_removing(snapshots, offer->index)) {
        return ERR_OVERLOADED;
    }
    if (receive->is_resumable && is_same(&receive->offer, offer)) {
        receive->state = SNAPSHOT_RECEIVE_TAKING;
        return ERR_OK;
    }
    if (is_writing_to_disk(receive)) {
        return ERR_OVERLOADED; /* Of the part that is given up. */
    }
    begin_anew(snapshots, offer);
    return ERR_OK;
}

enum snapshot_receive_state snapshots_receive_state(const struct snapshots *snapshots,
                                                    uint64_t *offset)
{
    if (snapshots->receive.state == SNAPSHOT_RECEIVE_TAKING) {
        *offset = snapshots->receive.taken_size;
    }
    return snapshots->receive.state;
}

void snapshots_receive_stop(struct snapshots *snapshots)
{
    struct receive *receive = &snapshots->receive;

    if (receive->state == SNAPSHOT_RECEIVE_TAKING) {
        receive->state = SNAPSHOT_RECEIVE_IDLE;
        receive->is_resumable = true;
    } else if (receive->state == SNAPSHOT_RECEIVE_CHECKING) {
        receive->state = SNAPSHOT_RECEIVE_IDLE;
        receive->is_resumable = false;
        receive->part_size = receive->offer.size; /* Looked through again next time. */
    }
}

/* --- Ending ----------------------------------------------------------------------------------- */

static void give_up(struct receive *receive, enum error error)
{
    ASSERT(error != ERR_OK && receive->state != SNAPSHOT_RECEIVE_IDLE);
    receive->state = SNAPSHOT_RECEIVE_REMOVING;
    receive->error = error;
}

/* The part goes once nothing is on its way to it; and the file, if its name is not durable. */
static void remove_part(struct snapshots *snapshots)
{
    struct receive *receive = &snapshots->receive;
    struct disk_name name;

    if (is_writing_to_disk(receive)) {
        return;
    }
    snapshots_files_remove(snapshots, SNAPSHOT_NAME_PART, receive->offer.index);
    if (receive->staged_size == receive->offer.size &&
        snapshots_files_find(snapshots, receive->offer.index) == NULL) {
        snapshots_files_remove(snapshots, SNAPSHOT_NAME_WHOLE, receive->offer.index);
    }
    snapshots_files_advance(snapshots);
    snapshot_name(&name, SNAPSHOT_NAME_PART, receive->offer.index);
    snapshots_tell(snapshots, SNAPSHOT_RECEIVE_FAILED, receive->offer.index, receive->error,
                   receive->taken_size, &name);
    receive->state = SNAPSHOT_RECEIVE_IDLE;
    receive->is_resumable = false;
    receive->part_index = 0;
}

static void publish(struct snapshots *snapshots)
{
    struct receive *receive = &snapshots->receive;
    struct disk_request request = {.operation = DISK_PUBLISH, .size = receive->offer.size};

    snapshot_name(&request.name, SNAPSHOT_NAME_PART, receive->offer.index);
    snapshot_name(&request.target, SNAPSHOT_NAME_WHOLE, receive->offer.index);
    receive->state = SNAPSHOT_RECEIVE_PUBLISHING;
    snapshots_submit(snapshots, PURPOSE_RECEIVE_PUBLISH, 0, &request);
}

void snapshots_receive_published(struct snapshots *snapshots, enum error error)
{
    struct receive *receive = &snapshots->receive;
    struct disk_name name;

    ASSERT(receive->state == SNAPSHOT_RECEIVE_PUBLISHING);
    if (error != ERR_OK) {
        give_up(receive, error);
        return;
    }
    struct snapshot_file file = snapshots_scan_file(&snapshots->scan);
    receive->state = SNAPSHOT_RECEIVE_IDLE;
    receive->is_resumable = false;
    receive->part_index = 0;
    snapshots_files_add(snapshots, &file, &snapshots->scan.base);
    snapshots_files_trim(snapshots, KEEP_COUNT);
    snapshot_name(&name, SNAPSHOT_NAME_WHOLE, file.index);
    snapshots_tell(snapshots, SNAPSHOT_RECEIVED, file.index, ERR_OK, file.size, &name);
}

/* --- Taking ----------------------------------------------------------------------------------- */

static void stage(struct snapshots *snapshots)
{
    struct receive *receive = &snapshots->receive;
    struct save_buffer *filled = &receive->buffers[receive->filling];
    struct disk_request request = {.operation = DISK_STAGE,
                                   .offset = receive->staged_size,
                                   .data = filled->buffer.data,
                                   .size = filled->buffer.size};

    ASSERT(!filled->in_flight && request.size != 0);
    ASSERT_VALUES(request.size % DISK_ALIGNMENT == 0, request.size, request.offset);
    snapshot_name(&request.name, SNAPSHOT_NAME_PART, receive->offer.index);
    receive->staged_size += request.size;
    filled->in_flight = true;
    snapshots_submit(snapshots, PURPOSE_RECEIVE_WRITE, receive->filling, &request);
    receive->filling = 1 - receive->filling;
}

void snapshots_receive_written(struct snapshots *snapshots, uint32_t slot, enum error error)
{
    struct receive *receive = &snapshots->receive;

    ASSERT(slot < 2 && receive->buffers[slot].in_flight);
    receive->buffers[slot].in_flight = false;
    receive->buffers[slot].buffer.size = 0;
    if (error == ERR_OK) {
        return;
    }
    receive->is_resumable = false;
    if (receive->state == SNAPSHOT_RECEIVE_TAKING) {
        give_up(receive, error);
    }
}

static size_t room_of(const struct save_buffer *half)
{
    return half->in_flight ? 0 : buffer_room(&half->buffer);
}

enum error snapshots_receive_chunk(struct snapshots *snapshots, uint64_t offset, struct bytes bytes)
{
    struct receive *receive = &snapshots->receive;

    if (receive->state != SNAPSHOT_RECEIVE_TAKING || offset != receive->taken_size ||
        bytes.size == 0 || bytes.size > SNAPSHOT_CHUNK_SIZE_MAX ||
        bytes.size > receive->offer.size - receive->taken_size) {
        return ERR_INVALID;
    }
    if (receive->buffers[receive->filling].in_flight ||
        room_of(&receive->buffers[0]) + room_of(&receive->buffers[1]) < bytes.size) {
        return ERR_OVERLOADED;
    }
    receive->taken_size += bytes.size;
    while (bytes.size != 0) {
        struct buffer *buffer = &receive->buffers[receive->filling].buffer;
        struct bytes fitting = bytes_of(bytes.data, size_min(bytes.size, buffer_room(buffer)));
        bool fits = buffer_append(buffer, fitting);

        ASSERT(fits && fitting.size != 0);
        bytes = bytes_skip(bytes, fitting.size);
        if (buffer_room(buffer) == 0 ||
            (bytes.size == 0 && receive->taken_size == receive->offer.size)) {
            stage(snapshots);
        }
    }
    return ERR_OK;
}

/* --- The turn --------------------------------------------------------------------------------- */

/* What an earlier life left: good as far as its blocks are. */
static void check_slice(struct snapshots *snapshots)
{
    struct receive *receive = &snapshots->receive;
    const struct scan *scan = &snapshots->scan;
    enum scan_step step = snapshots_scan_slice(snapshots, NULL);

    if (step == SCAN_WAIT || step == SCAN_BLOCK) {
        return;
    }
    /* As far as can be told now it may be of another file than the offered one: then none counts.
     */
    bool is_good = step == SCAN_REFUSED ? scan->error == ERR_CORRUPT
                                        : scan->chain.checksum == receive->offer.id;
    bool is_of_term = scan->base.term == receive->offer.term;
    take_from(receive, is_good && is_of_term ? scan->chain.offset : 0);
    snapshots->has_more = true;
}

static void begin_verifying(struct snapshots *snapshots)
{
    struct receive *receive = &snapshots->receive;

    if (receive->staged_size == receive->offer.size && !is_writing_to_disk(receive)) {
        snapshots_scan_begin(&snapshots->scan, SNAPSHOT_NAME_PART, receive->offer.index,
                             receive->offer.size);
        receive->state = SNAPSHOT_RECEIVE_VERIFYING;
    }
}

static void verify_slice(struct snapshots *snapshots)
{
    struct receive *receive = &snapshots->receive;
    const struct scan *scan = &snapshots->scan;
    enum scan_step step = snapshots_scan_slice(snapshots, NULL);

    if (step == SCAN_REFUSED) {
        give_up(receive, scan->error);
    } else if (step == SCAN_WHOLE) {
        struct snapshot_file found = snapshots_scan_file(scan);

        if (is_same(&found, &receive->offer)) {
            publish(snapshots);
        } else {
            give_up(receive, ERR_CORRUPT);
        }
    }
}

bool snapshots_receive_is_due(const struct snapshots *snapshots)
{
    const struct receive *receive = &snapshots->receive;
    bool has_come =
        receive->state == SNAPSHOT_RECEIVE_TAKING && receive->staged_size == receive->offer.size;

    return (has_come || receive->state == SNAPSHOT_RECEIVE_REMOVING) &&
           !is_writing_to_disk(receive);
}

void snapshots_receive_overtaken(struct snapshots *snapshots, raft_index index)
{
    struct receive *receive = &snapshots->receive;

    ASSERT(receive->state == SNAPSHOT_RECEIVE_IDLE);
    if (receive->part_index != 0 && receive->part_index <= index) {
        snapshots_files_remove(snapshots, SNAPSHOT_NAME_PART, receive->part_index);
        receive->part_index = 0;
        receive->part_size = 0;
        receive->is_resumable = false;
    }
}

void snapshots_receive_advance(struct snapshots *snapshots)
{
    struct receive *receive = &snapshots->receive;

    switch (receive->state) {
    case SNAPSHOT_RECEIVE_IDLE:
    case SNAPSHOT_RECEIVE_PUBLISHING:
        return;
    case SNAPSHOT_RECEIVE_CHECKING:
        check_slice(snapshots);
        return;
    case SNAPSHOT_RECEIVE_TAKING:
        begin_verifying(snapshots);
        if (receive->state == SNAPSHOT_RECEIVE_VERIFYING) {
            verify_slice(snapshots);
        }
        return;
    case SNAPSHOT_RECEIVE_VERIFYING:
        verify_slice(snapshots);
        return;
    case SNAPSHOT_RECEIVE_REMOVING:
        remove_part(snapshots);
        return;
    }
    UNREACHABLE();
}
