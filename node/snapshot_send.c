/* node/snapshot_send.c: the bytes of a whole file, read piece by piece for peers. */
#include "base/assert.h"
#include "node/snapshot_internal.h"

/* An offset need not be aligned: up to one block of the disk more is read before it. */
enum { READ_CAPACITY = SNAPSHOT_CHUNK_SIZE_MAX + DISK_ALIGNMENT };

size_t snapshots_send_memory_size(void)
{
    return SNAPSHOT_READER_COUNT_MAX * arena_cost(1, READ_CAPACITY + DISK_ALIGNMENT);
}

void snapshots_send_open(struct sender *senders, struct arena *arena)
{
    for (uint32_t slot = 0; slot < SNAPSHOT_READER_COUNT_MAX; slot++) {
        senders[slot].memory = arena_take_aligned(arena, READ_CAPACITY, DISK_ALIGNMENT);
    }
}

static struct sender *sender_at(struct snapshots *snapshots, uint32_t slot)
{
    ASSERT_VALUES(slot < SNAPSHOT_READER_COUNT_MAX, slot, SNAPSHOT_READER_COUNT_MAX);
    return &snapshots->senders[slot];
}

static const struct snapshot_file *begin(struct snapshots *snapshots, struct sender *sender,
                                         const struct snapshot_file *file)
{
    ASSERT(sender->state == SNAPSHOT_SEND_FREE);
    sender->file = *file;
    sender->state = sender->in_flight ? SNAPSHOT_SEND_READING : SNAPSHOT_SEND_READY;
    sender->chunk = (struct snapshot_chunk){.error = ERR_OK};
    snapshots_files_find(snapshots, file->index)->pin_count++;
    return &sender->file;
}

const struct snapshot_file *snapshots_send_begin(struct snapshots *snapshots, uint32_t slot)
{
    const struct snapshot_file *newest = snapshots_newest(snapshots);

    if (newest == NULL || snapshots->is_stopping) {
        return NULL;
    }
    return begin(snapshots, sender_at(snapshots, slot), newest);
}

const struct snapshot_file *snapshots_send_begin_at(struct snapshots *snapshots, uint32_t slot,
                                                    raft_index index, uint64_t id)
{
    const struct kept *kept = snapshots_files_find(snapshots, index);

    if (kept == NULL || kept->file.id != id || snapshots->is_stopping) {
        return NULL;
    }
    return begin(snapshots, sender_at(snapshots, slot), &kept->file);
}

const struct snapshot_file *snapshots_send_file(const struct snapshots *snapshots, uint32_t slot)
{
    ASSERT_VALUES(slot < SNAPSHOT_READER_COUNT_MAX, slot, SNAPSHOT_READER_COUNT_MAX);
    ASSERT(snapshots->senders[slot].state != SNAPSHOT_SEND_FREE);
    return &snapshots->senders[slot].file;
}

void snapshots_send_read(struct snapshots *snapshots, uint32_t slot, uint64_t offset)
{
    struct sender *sender = sender_at(snapshots, slot);
    const struct kept *kept = snapshots_files_find(snapshots, sender->file.index);

    ASSERT(sender->state == SNAPSHOT_SEND_READY);
    ASSERT_VALUES(offset < sender->file.size, offset, sender->file.size);
    sender->chunk = (struct snapshot_chunk){.offset = offset, .error = ERR_OK};
    if (kept == NULL || kept->file.id != sender->file.id) {
        sender->chunk.error = ERR_CORRUPT; /* Refused since, or replaced by another. */
        return;
    }
    sender->skip = (size_t)(offset % DISK_ALIGNMENT);
    uint64_t begin = offset - sender->skip;
    struct disk_request request = {.operation = DISK_READ,
                                   .offset = begin,
                                   .data = sender->memory,
                                   .size = size_min(READ_CAPACITY, sender->file.size - begin)};
    if (sender->skip == 0) {
        request.size = size_min(request.size, SNAPSHOT_CHUNK_SIZE_MAX);
    }
    snapshot_name(&request.name, SNAPSHOT_NAME_WHOLE, sender->file.index);
    /* Told as the chunk when it has come. */
    sender->chunk.bytes =
        bytes_of(sender->memory + sender->skip,
                 size_min((size_t)request.size - sender->skip, SNAPSHOT_CHUNK_SIZE_MAX));
    sender->in_flight = true;
    sender->is_stale = false;
    sender->state = SNAPSHOT_SEND_READING;
    snapshots_submit(snapshots, PURPOSE_SEND, slot, &request);
}

void snapshots_send_completed(struct snapshots *snapshots, uint32_t slot, enum error error)
{
    struct sender *sender = sender_at(snapshots, slot);

    ASSERT(sender->in_flight);
    sender->in_flight = false;
    if (sender->state == SNAPSHOT_SEND_FREE) {
        return;
    }
    ASSERT(sender->state == SNAPSHOT_SEND_READING);
    sender->state = SNAPSHOT_SEND_READY;
    if (!sender->is_stale) {
        sender->chunk.error = error;
    }
    if (sender->is_stale || error != ERR_OK) {
        sender->chunk.bytes = bytes_of(NULL, 0);
    }
    sender->is_stale = false;
}

enum snapshot_send_state snapshots_send_state(const struct snapshots *snapshots, uint32_t slot,
                                              struct snapshot_chunk *chunk)
{
    const struct sender *sender = &snapshots->senders[slot];

    ASSERT_VALUES(slot < SNAPSHOT_READER_COUNT_MAX, slot, SNAPSHOT_READER_COUNT_MAX);
    if (sender->state == SNAPSHOT_SEND_READY) {
        *chunk = sender->chunk;
    }
    return sender->state;
}

void snapshots_send_end(struct snapshots *snapshots, uint32_t slot)
{
    struct sender *sender = sender_at(snapshots, slot);

    if (sender->state == SNAPSHOT_SEND_FREE) {
        return;
    }
    for (uint32_t i = 0; i < snapshots->files.kept_count; i++) {
        struct kept *kept = &snapshots->files.kept[i];

        if (kept->file.index == sender->file.index) {
            ASSERT(kept->pin_count > 0);
            kept->pin_count--;
        }
    }
    sender->state = SNAPSHOT_SEND_FREE;
    sender->is_stale = sender->in_flight;
}
