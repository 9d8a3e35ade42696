/* tests/fuzz/fuzz_log.c: the input as a little program that writes segment files, right and wrong
 * ones, which log_open() then has to judge.
 *
 * Random bytes would never get behind the first checksum, so the input says what is in a batch and
 * the batch is sealed with valid checksums; other instructions damage what was written. Laws:
 * nothing crashes; a log that was opened can be read to its end; a refusal changes nothing; opening
 * again comes to the same end, and finds nothing torn any more. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "log/format.h"
#include "log/hard_state.h"
#include "log/log.h"
#include "tests/support/log/memory_disk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    SEGMENT_SIZE = 64 << 10,
    BATCH_SIZE_MAX = 16 << 10,
    SEGMENT_COUNT_MAX = 3,
    INSTRUCTION_SIZE = 12,
    RECORD_COUNT_MAX = 16,
    ARENA_SIZE = 4 << 20,
};

static const struct log_options options = {
    .prefix = "fuzz",
    .cluster = {1, 2, 3},
    .incarnation = 4,
    .segment_size = SEGMENT_SIZE,
    .batch_size_max = BATCH_SIZE_MAX,
    .segment_count_max = SEGMENT_COUNT_MAX + 2,
    .segments_ahead = 1,
};

/* What the program has written, and how it would go on if it made no mistake. */
struct writer {
    uint8_t files[SEGMENT_COUNT_MAX][SEGMENT_SIZE];
    uint8_t state[LOG_STATE_FILE_SIZE];
    bool has_state;
    struct log_place place;
    uint64_t sequence;
    uint64_t index;
    uint64_t checksum;
    struct log_hard_state hard_state;
};

static struct log_identity identity(void)
{
    struct log_identity identity = {.incarnation = options.incarnation};

    memcpy(identity.cluster, options.cluster, sizeof(identity.cluster));
    return identity;
}

static void begin_segment(struct writer *writer)
{
    if (writer->place.segment == SEGMENT_COUNT_MAX) {
        return;
    }
    writer->place =
        (struct log_place){.segment = writer->place.segment + 1, .offset = LOG_BLOCK_SIZE};
    struct log_segment_header header = {.identity = identity(),
                                        .sequence = writer->place.segment,
                                        .first_batch_sequence = writer->sequence,
                                        .previous_checksum = writer->checksum,
                                        .segment_size = SEGMENT_SIZE,
                                        .next_index = writer->index};
    log_segment_encode(writer->files[writer->place.segment - 1], &header);
}

/* An end batch never has records: no checksum can tell that it does. */
static uint32_t record_count(const uint8_t *at)
{
    return at[1] % RECORD_COUNT_MAX;
}

static uint32_t write_records(uint8_t *body, const uint8_t *at)
{
    uint32_t count = record_count(at);
    uint32_t size = LOG_RECORD_SIZE_MIN + (uint32_t)at[2];

    for (uint32_t i = 0; i < count; i++) {
        store_u32(body + (size_t)i * size, at[3] == 255 && i == count / 2 ? size + 1 : size);
        memset(body + (size_t)i * size + 4, at[3], size - 4);
    }
    return count * size;
}

/* at: records, their size, their bytes, kind, errors in sequence, index, cut, count, chain. */
static void write_batch(struct writer *writer, const uint8_t *at)
{
    static uint8_t batch[BATCH_SIZE_MAX];
    memset(batch, 0, sizeof(batch));
    uint32_t body_size = write_records(batch + LOG_BATCH_HEADER_SIZE, at);
    uint32_t count = record_count(at);
    bool is_cut = at[4] % 5 == LOG_BATCH_TRUNCATE;
    bool is_base = at[4] % 5 == LOG_BATCH_SNAPSHOT_BASE;
    uint64_t first_index = is_cut    ? at[7] % (writer->index + 1)
                           : is_base ? (uint64_t)at[6] << (at[7] % 57)
                                     : writer->index + at[6] / 192;
    uint64_t resume_sequence = at[9] % 8 == 7 ? writer->sequence + at[10] % 8 : 0;
    struct log_batch_header header = {
        .kind = (enum log_batch_kind)(at[4] % 5),
        .sequence = writer->sequence + at[5] / 192,
        .identity = identity(),
        .first_index = first_index,
        .cut_index = is_cut    ? first_index
                     : is_base ? 0
                               : at[7] / 192,
        .record_count = count + at[8] / 192,
        .body_size = body_size,
        .total_size = log_batch_total_size(body_size),
        .hard_state = writer->hard_state,
        .previous_checksum = writer->checksum + at[9] / 192,
        .resume_sequence = resume_sequence,
        .resume_checksum = resume_sequence != 0 ? at[10] : 0,
    };
    if (header.kind == 0 || header.total_size > SEGMENT_SIZE - writer->place.offset ||
        header.total_size > BATCH_SIZE_MAX) {
        return;
    }
    log_batch_seal(batch, &header, writer->place);
    memcpy(writer->files[writer->place.segment - 1] + writer->place.offset, batch,
           header.total_size);
    writer->place.offset += header.total_size;
    writer->sequence = log_batch_next_sequence(&header);
    writer->index = first_index + count;
    writer->checksum = log_batch_next_chain(&header);
}

static void change_state(struct writer *writer, const uint8_t *at)
{
    writer->hard_state.generation += 1U + at[1] / 192U;
    writer->hard_state.size = 1U + at[2] % (unsigned)LOG_HARD_STATE_SIZE_MAX;
    memset(writer->hard_state.data, 0, sizeof(writer->hard_state.data));
    memset(writer->hard_state.data, at[3], writer->hard_state.size);
    struct log_state_block block = {.identity = identity(),
                                    .hard_state = writer->hard_state,
                                    .batch_sequence = writer->sequence + at[4] / 192};
    uint32_t number = log_state_block_number(writer->hard_state.generation);

    log_state_encode(writer->state + (size_t)number * LOG_BLOCK_SIZE, &block);
    writer->has_state = true;
}

/* at: file, offset in three bytes, what to do, with how many bytes. */
static void damage(struct writer *writer, const uint8_t *at)
{
    uint32_t file = at[1] % (SEGMENT_COUNT_MAX + 1);
    bool is_state = file == SEGMENT_COUNT_MAX;
    uint8_t *bytes = is_state ? writer->state : writer->files[file];
    uint32_t file_size = is_state ? LOG_STATE_FILE_SIZE : SEGMENT_SIZE;
    uint32_t offset = (load_u32(at + 2) & 0xffffff) % file_size;
    uint32_t size = (uint32_t)size_min((size_t)load_u16(at + 6) + 1, file_size - offset);

    if (at[5] % 3 == 0) {
        bytes[offset] ^= at[8];
    } else if (at[5] % 3 == 1) {
        memset(bytes + offset, 0, size);
    } else { /* As a sector that was never written. */
        memset(bytes + (size_t)(offset / DISK_SECTOR_SIZE) * DISK_SECTOR_SIZE, 0, DISK_SECTOR_SIZE);
    }
}

static void step(struct writer *writer, const uint8_t *at)
{
    switch (at[0] % 8) {
    case 0:
        begin_segment(writer);
        return;
    case 1:
        change_state(writer, at);
        return;
    case 2:
        damage(writer, at);
        return;
    default:
        write_batch(writer, at);
        return;
    }
}

static struct disk *make_disk(struct writer *writer, struct bytes program)
{
    struct disk *disk = memory_disk_open();
    struct disk_name name;

    memset(writer, 0, sizeof(*writer));
    writer->sequence = 1;
    writer->index = 1;
    begin_segment(writer);
    for (; program.size >= INSTRUCTION_SIZE; program = bytes_skip(program, INSTRUCTION_SIZE)) {
        step(writer, program.data);
    }
    for (uint64_t segment = 1; segment <= writer->place.segment; segment++) {
        /* What is left of the program shortens the last file. */
        bool is_last = segment == writer->place.segment;
        size_t cut = is_last && program.size != 0 ? 16 * (size_t)program.data[0] : 0;
        log_segment_name(&name, options.prefix, segment);
        memory_disk_put(disk, name.text, bytes_of(writer->files[segment - 1], SEGMENT_SIZE - cut));
    }
    if (writer->has_state) {
        log_state_name(&name, options.prefix);
        memory_disk_put(disk, name.text, bytes_of(writer->state, LOG_STATE_FILE_SIZE));
    }
    return disk;
}

static struct arena arena_of_memory(void)
{
    static _Alignas(DISK_ALIGNMENT) uint8_t memory[ARENA_SIZE];
    struct arena arena;

    arena_init(&arena, memory, sizeof(memory));
    return arena;
}

static void read_all(struct log *log)
{
    log_index next = log_first_index(log);

    while (next <= log_last_index(log)) {
        struct log_fetched fetched;
        ASSERT(log_read_now(log, next, &fetched) == ERR_OK);
        ASSERT(fetched.first_index == next && fetched.record_count >= 1);
        ASSERT(log_records_are_whole(fetched.records, fetched.record_count));
        next += fetched.record_count;
    }
    ASSERT(next == log_last_index(log) + 1);
}

struct opened {
    enum error error;
    struct log_recovery recovery;
    struct log_hard_state hard_state;
};

static struct opened open_log(struct disk *disk)
{
    struct opened opened = {.error = ERR_OK};
    struct arena arena = arena_of_memory();
    struct log *log = NULL;

    ASSERT(log_memory_size(&options) <= ARENA_SIZE);
    opened.error = log_open(&log, &arena, &options, disk, &opened.recovery);
    if (opened.error != ERR_OK) {
        return opened;
    }
    ASSERT(opened.recovery.verdict != LOG_ROTTEN);
    ASSERT_VALUES(opened.recovery.last_index == log_last_index(log), opened.recovery.last_index,
                  log_last_index(log));
    opened.hard_state.size = (uint32_t)opened.recovery.hard_state.size;
    if (opened.hard_state.size != 0) {
        memcpy(opened.hard_state.data, opened.recovery.hard_state.data, opened.hard_state.size);
    }
    log_check(log);
    read_all(log);
    return opened;
}

/* A log with rot is read and repaired with what it has: whatever comes of it, nothing breaks. */
static void repair(struct disk *disk)
{
    struct log_options rotten = options;
    struct arena arena = arena_of_memory();
    struct log_recovery recovery;
    struct log *log = NULL;

    rotten.accepts_rot = true;
    if (log_open(&log, &arena, &rotten, disk, &recovery) != ERR_OK || !log_is_rotten(log)) {
        return;
    }
    struct log_damage damage = log_damage(log);
    enum error error = log_repair_end(log, damage.end_index == damage.first_index);

    ASSERT(error == ERR_OK || error == ERR_CORRUPT || error == ERR_FULL || error == ERR_INVALID);
}

static void dump_all(struct disk *disk)
{
    struct arena arena = arena_of_memory();
    struct log_dump *dump = NULL;
    struct log_batch_view view;
    uint32_t count = 0;

    ASSERT(log_dump_memory_size(&options) <= ARENA_SIZE);
    if (log_dump_open(&dump, &arena, &options, disk) != ERR_OK) {
        return;
    }
    while (log_dump_next(dump, &view)) {
        ASSERT(view.error != ERR_OK || log_records_are_whole(view.records, view.record_count));
        count++;
    }
    ASSERT(count <= SEGMENT_COUNT_MAX * SEGMENT_SIZE / LOG_BLOCK_SIZE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct writer writer;
    struct disk *disk = make_disk(&writer, bytes_of(data, size));
    struct disk *before = memory_disk_copy(disk);

    dump_all(disk);
    ASSERT(memory_disk_equal(before, disk));
    struct opened first = open_log(disk);
    if (first.error != ERR_OK) {
        ASSERT(memory_disk_equal(before, disk));
    }
    struct opened second = open_log(disk);
    ASSERT_VALUES(first.error == second.error, first.error, second.error);
    if (first.error == ERR_OK) {
        ASSERT(second.recovery.verdict == LOG_CLEAN);
        ASSERT(first.recovery.last_index == second.recovery.last_index);
        ASSERT(first.hard_state.size == second.hard_state.size);
        ASSERT(memcmp(first.hard_state.data, second.hard_state.data, first.hard_state.size) == 0);
    }
    if (first.error == ERR_CORRUPT) {
        repair(disk);
    }
    memory_disk_close(before);
    memory_disk_close(disk);
    return 0;
}
