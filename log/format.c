/* log/format.c: encodes and decodes what log/format.h draws. Pure. */
#include "log/format.h"

#include <string.h>

#include "base/assert.h"
#include "base/checksum.h"

enum {
    SEGMENT_MAGIC = 0x47534648, /* "HFSG" */
    BATCH_MAGIC = 0x54424648,   /* "HFBT" */

    AT_CHECKSUM = 0,
    AT_COVERED = 8, /* Where the bytes begin that a leading checksum covers. */
    AT_MAGIC = 8,
    AT_VERSION = 12,

    SEGMENT_AT_CLUSTER = 16,
    SEGMENT_AT_INCARNATION = 32,
    SEGMENT_AT_SEQUENCE = 40,
    SEGMENT_AT_FIRST_BATCH = 48,
    SEGMENT_AT_PREVIOUS = 56,
    SEGMENT_AT_SIZE = 64,
    SEGMENT_AT_NEXT_INDEX = 72,

    BATCH_AT_KIND = 14,
    BATCH_AT_SEQUENCE = 16,
    BATCH_AT_CLUSTER = 24,
    BATCH_AT_INCARNATION = 40,
    BATCH_AT_FIRST_INDEX = 48,
    BATCH_AT_CUT_INDEX = 56,
    BATCH_AT_RECORD_COUNT = 64,
    BATCH_AT_BODY_SIZE = 68,
    BATCH_AT_TOTAL_SIZE = 72,
    BATCH_AT_STATE_SIZE = 76,
    BATCH_AT_STATE_GENERATION = 80,
    BATCH_AT_STATE = 88,
    BATCH_AT_PREVIOUS = 152,
    BATCH_AT_TRAILER = 160,
    BATCH_AT_RESUME_SEQUENCE = 168,
    BATCH_AT_RESUME_CHECKSUM = 176,

    TRAILER_AT_SEQUENCE = LOG_TRAILER_COVER_COUNT * 8,
    TRAILER_AT_TOTAL_SIZE = TRAILER_AT_SEQUENCE + 8,
    TRAILER_AT_NUMBER = TRAILER_AT_TOTAL_SIZE + 4,
    TRAILER_AT_CHECKSUM = TRAILER_AT_NUMBER + 4,
};

/* Of sequences and indexes: no sum of them can overflow. */
#define NUMBER_MAX (UINT64_MAX / 2)

_Static_assert(TRAILER_AT_CHECKSUM + 8 == LOG_SECTOR_SIZE, "a trailer sector is one sector");
_Static_assert(BATCH_AT_STATE + LOG_HARD_STATE_SIZE_MAX == BATCH_AT_PREVIOUS,
               "the largest hard state fits its field");
_Static_assert(LOG_PREFIX_LENGTH_MAX + sizeof("-0123456789abcdef.seg") <= DISK_NAME_SIZE,
               "the longest name of a segment fits");
_Static_assert(LOG_BATCH_HEADER_SIZE < LOG_SECTOR_SIZE, "a header is written whole or not at all");

bool log_is_zero(const uint8_t *data, size_t size)
{
    ASSERT(data != NULL || size == 0);
    /* A run is all zeros if its first byte is and every byte equals the one before it. */
    return size == 0 || (data[0] == 0 && memcmp(data, data + 1, size - 1) == 0);
}

bool log_identity_equal(const struct log_identity *a, const struct log_identity *b)
{
    return a->incarnation == b->incarnation &&
           memcmp(a->cluster, b->cluster, LOG_CLUSTER_SIZE) == 0;
}

enum error log_identity_compare(const struct log_identity *own, const struct log_identity *found)
{
    if (memcmp(own->cluster, found->cluster, LOG_CLUSTER_SIZE) != 0) {
        return ERR_WRONG_CLUSTER;
    }
    return own->incarnation == found->incarnation ? ERR_OK : ERR_WRONG_NODE;
}

bool log_hard_state_equal(const struct log_hard_state *a, const struct log_hard_state *b)
{
    return a->generation == b->generation &&
           bytes_equal(bytes_of(a->data, a->size), bytes_of(b->data, b->size));
}

/* --- Names ----------------------------------------------------------------------------------- */

static size_t add_text(struct disk_name *name, size_t length, const char *text)
{
    size_t size = strlen(text);

    ASSERT_VALUES(length + size < DISK_NAME_SIZE, length, size);
    memcpy(name->text + length, text, size);
    return length + size;
}

void log_segment_name(struct disk_name *name, const char *prefix, uint64_t sequence)
{
    ASSERT(strlen(prefix) <= LOG_PREFIX_LENGTH_MAX);
    memset(name, 0, sizeof(*name));
    size_t length = add_text(name, 0, prefix);

    length = add_text(name, length, "-");
    for (unsigned i = 0; i < 16; i++) {
        name->text[length++] = "0123456789abcdef"[sequence >> (60 - 4 * i) & 15];
    }
    length = add_text(name, length, ".seg");
    ASSERT(length < DISK_NAME_SIZE);
}

void log_state_name(struct disk_name *name, const char *prefix)
{
    ASSERT(strlen(prefix) <= LOG_PREFIX_LENGTH_MAX);
    memset(name, 0, sizeof(*name));
    size_t length = add_text(name, 0, prefix);

    length = add_text(name, length, "-state");
    ASSERT(length < DISK_NAME_SIZE);
}

void log_leftover_name(struct disk_name *name, const char *prefix, enum log_leftover leftover)
{
    ASSERT(strlen(prefix) <= LOG_PREFIX_LENGTH_MAX);
    memset(name, 0, sizeof(*name));
    size_t length = add_text(name, 0, prefix);

    length = add_text(name, length, leftover == LOG_LEFTOVER_REPAIR ? "-repair" : "-removed");
    ASSERT(length < DISK_NAME_SIZE);
}

bool log_segment_name_parse(const struct disk_name *name, const char *prefix, uint64_t *sequence)
{
    size_t prefix_length = strlen(prefix);
    uint64_t number = 0;

    ASSERT(prefix_length <= LOG_PREFIX_LENGTH_MAX);
    for (size_t i = prefix_length + 1; i < prefix_length + 17; i++) {
        char digit = name->text[i];

        number = number << 4 | (uint64_t)(digit >= 'a' ? digit - 'a' + 10 : digit - '0');
    }
    /* Writing the number again and comparing is shorter than judging every character. */
    struct disk_name expected;
    log_segment_name(&expected, prefix, number);
    if (strlen(name->text) != strlen(expected.text) ||
        memcmp(name->text, expected.text, strlen(expected.text)) != 0) {
        return false;
    }
    *sequence = number;
    return true;
}

/* --- Segment header -------------------------------------------------------------------------- */

static uint64_t seed_of(struct log_place place)
{
    ASSERT_VALUES(place.segment < UINT64_C(1) << 32, place.segment, place.offset);
    return place.segment << 32 | place.offset;
}

static struct log_place place_behind(struct log_place place, uint32_t distance)
{
    ASSERT_VALUES(distance <= UINT32_MAX - place.offset, distance, place.offset);
    return (struct log_place){.segment = place.segment, .offset = place.offset + distance};
}

static uint64_t checksum_behind_first(const uint8_t *data, size_t size, struct log_place place)
{
    ASSERT(size > AT_COVERED);
    return checksum(bytes_of(data + AT_COVERED, size - AT_COVERED), seed_of(place));
}

void log_segment_encode(uint8_t block[LOG_BLOCK_SIZE], const struct log_segment_header *header)
{
    struct log_place place = {.segment = header->sequence, .offset = 0};

    ASSERT(header->sequence >= 1);
    ASSERT(header->first_batch_sequence >= 1);
    memset(block, 0, LOG_BLOCK_SIZE);
    store_u32(block + AT_MAGIC, SEGMENT_MAGIC);
    store_u16(block + AT_VERSION, LOG_FORMAT_VERSION);
    memcpy(block + SEGMENT_AT_CLUSTER, header->identity.cluster, LOG_CLUSTER_SIZE);
    store_u64(block + SEGMENT_AT_INCARNATION, header->identity.incarnation);
    store_u64(block + SEGMENT_AT_SEQUENCE, header->sequence);
    store_u64(block + SEGMENT_AT_FIRST_BATCH, header->first_batch_sequence);
    store_u64(block + SEGMENT_AT_PREVIOUS, header->previous_checksum);
    store_u32(block + SEGMENT_AT_SIZE, header->segment_size);
    store_u64(block + SEGMENT_AT_NEXT_INDEX, header->next_index);
    store_u64(block + AT_CHECKSUM, checksum_behind_first(block, LOG_BLOCK_SIZE, place));
}

enum error log_segment_decode(const uint8_t block[LOG_BLOCK_SIZE], uint64_t sequence,
                              struct log_segment_header *header)
{
    struct log_place place = {.segment = sequence, .offset = 0};

    ASSERT(sequence >= 1);
    if (log_is_zero(block, LOG_BLOCK_SIZE)) {
        return ERR_MISSING;
    }
    if (load_u64(block + AT_CHECKSUM) != checksum_behind_first(block, LOG_BLOCK_SIZE, place) ||
        load_u32(block + AT_MAGIC) != SEGMENT_MAGIC) {
        return ERR_CORRUPT;
    }
    if (load_u16(block + AT_VERSION) != LOG_FORMAT_VERSION) {
        return ERR_VERSION;
    }
    memcpy(header->identity.cluster, block + SEGMENT_AT_CLUSTER, LOG_CLUSTER_SIZE);
    header->identity.incarnation = load_u64(block + SEGMENT_AT_INCARNATION);
    header->sequence = load_u64(block + SEGMENT_AT_SEQUENCE);
    header->first_batch_sequence = load_u64(block + SEGMENT_AT_FIRST_BATCH);
    header->previous_checksum = load_u64(block + SEGMENT_AT_PREVIOUS);
    header->segment_size = load_u32(block + SEGMENT_AT_SIZE);
    header->next_index = load_u64(block + SEGMENT_AT_NEXT_INDEX);
    if (header->first_batch_sequence > NUMBER_MAX || header->next_index > NUMBER_MAX) {
        return ERR_CORRUPT;
    }
    return header->sequence == sequence ? ERR_OK : ERR_CORRUPT;
}

/* --- Batch ----------------------------------------------------------------------------------- */

static uint32_t divide_up(uint32_t count, uint32_t unit)
{
    ASSERT(unit != 0);
    return count / unit + (count % unit != 0);
}

uint32_t log_batch_trailer_count(uint32_t total_size)
{
    ASSERT_VALUES(total_size % LOG_BLOCK_SIZE == 0, total_size, LOG_BLOCK_SIZE);
    /* Of every 62 sectors at most 61 are covered by the one that is a trailer. */
    return divide_up(total_size / LOG_SECTOR_SIZE, LOG_TRAILER_COVER_COUNT + 1);
}

uint32_t log_batch_body_capacity(uint32_t total_size)
{
    ASSERT(total_size >= LOG_BLOCK_SIZE);
    return total_size - LOG_BATCH_HEADER_SIZE -
           log_batch_trailer_count(total_size) * LOG_SECTOR_SIZE;
}

uint32_t log_batch_total_size(uint32_t body_size)
{
    ASSERT(body_size <= UINT32_MAX / 2);
    uint32_t covered = divide_up(LOG_BATCH_HEADER_SIZE + body_size, LOG_SECTOR_SIZE);
    uint32_t sectors = covered + divide_up(covered, LOG_TRAILER_COVER_COUNT);
    uint32_t size = (uint32_t)size_round_up((size_t)sectors * LOG_SECTOR_SIZE, LOG_BLOCK_SIZE);

    ASSERT_VALUES(log_batch_body_capacity(size) >= body_size, size, body_size);
    return size;
}

/* Of sector `number` of a batch: of the first sector only what is behind the header. */
static uint64_t sector_checksum(const uint8_t *batch, struct log_place place, uint32_t number)
{
    uint32_t from = number * LOG_SECTOR_SIZE;
    uint32_t skipped = number == 0 ? LOG_BATCH_HEADER_SIZE : 0;

    ASSERT(skipped < LOG_SECTOR_SIZE);
    return checksum(bytes_of(batch + from + skipped, LOG_SECTOR_SIZE - skipped),
                    seed_of(place_behind(place, from)));
}

static uint64_t trailer_checksum(const uint8_t *batch, uint32_t total_size, struct log_place place)
{
    uint32_t size = log_batch_trailer_count(total_size) * LOG_SECTOR_SIZE;
    uint32_t from = total_size - size;

    ASSERT(size < total_size);
    return checksum(bytes_of(batch + from, size), seed_of(place_behind(place, from)));
}

static void seal_trailer(uint8_t *batch, const struct log_batch_header *header,
                         struct log_place place)
{
    uint32_t trailer_count = log_batch_trailer_count(header->total_size);
    uint32_t covered_count = header->total_size / LOG_SECTOR_SIZE - trailer_count;

    ASSERT(covered_count <= trailer_count * LOG_TRAILER_COVER_COUNT);
    for (uint32_t t = 0; t < trailer_count; t++) {
        uint32_t from = (covered_count + t) * LOG_SECTOR_SIZE;
        uint8_t *sector = batch + from;

        memset(sector, 0, LOG_SECTOR_SIZE);
        for (uint32_t i = 0; i < LOG_TRAILER_COVER_COUNT; i++) {
            uint32_t number = t * LOG_TRAILER_COVER_COUNT + i;

            if (number >= covered_count) {
                break;
            }
            store_u64(sector + (size_t)i * 8, sector_checksum(batch, place, number));
        }
        store_u64(sector + TRAILER_AT_SEQUENCE, header->sequence);
        store_u32(sector + TRAILER_AT_TOTAL_SIZE, header->total_size);
        store_u32(sector + TRAILER_AT_NUMBER, t);
        store_u64(sector + TRAILER_AT_CHECKSUM, checksum(bytes_of(sector, TRAILER_AT_CHECKSUM),
                                                         seed_of(place_behind(place, from))));
    }
}

static void seal_header(uint8_t *batch, struct log_batch_header *header, struct log_place place)
{
    ASSERT(header->hard_state.size <= LOG_HARD_STATE_SIZE_MAX);
    memset(batch, 0, LOG_BATCH_HEADER_SIZE);
    store_u32(batch + AT_MAGIC, BATCH_MAGIC);
    store_u16(batch + AT_VERSION, LOG_FORMAT_VERSION);
    store_u16(batch + BATCH_AT_KIND, (uint16_t)header->kind);
    store_u64(batch + BATCH_AT_SEQUENCE, header->sequence);
    memcpy(batch + BATCH_AT_CLUSTER, header->identity.cluster, LOG_CLUSTER_SIZE);
    store_u64(batch + BATCH_AT_INCARNATION, header->identity.incarnation);
    store_u64(batch + BATCH_AT_FIRST_INDEX, header->first_index);
    store_u64(batch + BATCH_AT_CUT_INDEX, header->cut_index);
    store_u32(batch + BATCH_AT_RECORD_COUNT, header->record_count);
    store_u32(batch + BATCH_AT_BODY_SIZE, header->body_size);
    store_u32(batch + BATCH_AT_TOTAL_SIZE, header->total_size);
    store_u32(batch + BATCH_AT_STATE_SIZE, header->hard_state.size);
    store_u64(batch + BATCH_AT_STATE_GENERATION, header->hard_state.generation);
    memcpy(batch + BATCH_AT_STATE, header->hard_state.data, header->hard_state.size);
    store_u64(batch + BATCH_AT_PREVIOUS, header->previous_checksum);
    store_u64(batch + BATCH_AT_TRAILER, header->trailer_checksum);
    store_u64(batch + BATCH_AT_RESUME_SEQUENCE, header->resume_sequence);
    store_u64(batch + BATCH_AT_RESUME_CHECKSUM, header->resume_checksum);
    header->checksum = checksum_behind_first(batch, LOG_BATCH_HEADER_SIZE, place);
    store_u64(batch + AT_CHECKSUM, header->checksum);
}

void log_batch_seal(uint8_t *batch, struct log_batch_header *header, struct log_place place)
{
    ASSERT_VALUES(place.offset % LOG_BLOCK_SIZE == 0, place.segment, place.offset);
    ASSERT(header->sequence >= 1);
    ASSERT_VALUES(header->body_size <= log_batch_body_capacity(header->total_size),
                  header->body_size, header->total_size);
    uint32_t used = LOG_BATCH_HEADER_SIZE + header->body_size;

    memset(batch + used, 0, header->total_size - used);
    seal_trailer(batch, header, place);
    header->trailer_checksum = trailer_checksum(batch, header->total_size, place);
    seal_header(batch, header, place);
}

static bool kind_is_known(unsigned kind)
{
    ASSERT(kind <= UINT16_MAX);
    return kind >= LOG_BATCH_APPEND && kind <= LOG_BATCH_END;
}

/* What a sealed header never says, however it came about. */
static bool header_is_sound(const struct log_batch_header *header)
{
    const struct log_hard_state *state = &header->hard_state;

    ASSERT(state->size <= LOG_HARD_STATE_SIZE_MAX);
    if (header->sequence == 0 || header->first_index == 0 || header->total_size == 0 ||
        header->sequence > NUMBER_MAX || header->first_index > NUMBER_MAX ||
        header->resume_sequence > NUMBER_MAX || header->total_size % LOG_BLOCK_SIZE != 0 ||
        header->body_size > log_batch_body_capacity(header->total_size)) {
        return false;
    }
    if ((header->kind == LOG_BATCH_TRUNCATE) != (header->cut_index == header->first_index) ||
        (header->kind != LOG_BATCH_TRUNCATE && header->cut_index != 0)) {
        return false;
    }
    if (header->kind == LOG_BATCH_END && (header->record_count != 0 || header->body_size != 0)) {
        return false;
    }
    if (header->resume_sequence == 0 ? header->resume_checksum != 0
                                     : header->resume_sequence <= header->sequence) {
        return false;
    }
    return (state->generation == 0) == (state->size == 0);
}

enum error log_batch_decode(const uint8_t *data, struct log_place place,
                            struct log_batch_header *header)
{
    ASSERT_VALUES(place.offset % LOG_BLOCK_SIZE == 0, place.segment, place.offset);
    if (load_u32(data + AT_MAGIC) != BATCH_MAGIC ||
        load_u64(data + AT_CHECKSUM) != checksum_behind_first(data, LOG_BATCH_HEADER_SIZE, place)) {
        return ERR_CORRUPT;
    }
    unsigned kind = load_u16(data + BATCH_AT_KIND);
    uint32_t state_size = load_u32(data + BATCH_AT_STATE_SIZE);

    if (load_u16(data + AT_VERSION) != LOG_FORMAT_VERSION || !kind_is_known(kind)) {
        return ERR_VERSION;
    }
    if (state_size > LOG_HARD_STATE_SIZE_MAX) {
        return ERR_CORRUPT;
    }
    *header = (struct log_batch_header){
        .kind = (enum log_batch_kind)kind,
        .sequence = load_u64(data + BATCH_AT_SEQUENCE),
        .identity = {.incarnation = load_u64(data + BATCH_AT_INCARNATION)},
        .first_index = load_u64(data + BATCH_AT_FIRST_INDEX),
        .cut_index = load_u64(data + BATCH_AT_CUT_INDEX),
        .record_count = load_u32(data + BATCH_AT_RECORD_COUNT),
        .body_size = load_u32(data + BATCH_AT_BODY_SIZE),
        .total_size = load_u32(data + BATCH_AT_TOTAL_SIZE),
        .hard_state = {.generation = load_u64(data + BATCH_AT_STATE_GENERATION),
                       .size = state_size},
        .previous_checksum = load_u64(data + BATCH_AT_PREVIOUS),
        .trailer_checksum = load_u64(data + BATCH_AT_TRAILER),
        .checksum = load_u64(data + AT_CHECKSUM),
        .resume_sequence = load_u64(data + BATCH_AT_RESUME_SEQUENCE),
        .resume_checksum = load_u64(data + BATCH_AT_RESUME_CHECKSUM),
    };
    memcpy(header->identity.cluster, data + BATCH_AT_CLUSTER, LOG_CLUSTER_SIZE);
    memcpy(header->hard_state.data, data + BATCH_AT_STATE, state_size);
    return header_is_sound(header) ? ERR_OK : ERR_CORRUPT;
}

bool log_batch_is_intact(const uint8_t *batch, const struct log_batch_header *header,
                         struct log_place place)
{
    uint32_t trailer_count = log_batch_trailer_count(header->total_size);
    uint32_t covered_count = header->total_size / LOG_SECTOR_SIZE - trailer_count;

    ASSERT(header->total_size >= LOG_BLOCK_SIZE);
    if (trailer_checksum(batch, header->total_size, place) != header->trailer_checksum) {
        return false;
    }
    for (uint32_t number = 0; number < covered_count; number++) {
        uint32_t t = number / LOG_TRAILER_COVER_COUNT;
        const uint8_t *trailer = batch + (size_t)(covered_count + t) * LOG_SECTOR_SIZE;

        if (!log_sector_matches(batch, place, trailer, number)) {
            return false;
        }
    }
    return log_records_are_whole(log_batch_records(batch, header), header->record_count);
}

uint64_t log_batch_next_sequence(const struct log_batch_header *header)
{
    ASSERT(header->sequence >= 1);
    return header->resume_sequence != 0 ? header->resume_sequence : header->sequence + 1;
}

uint64_t log_batch_next_chain(const struct log_batch_header *header)
{
    return header->resume_sequence != 0 ? header->resume_checksum : header->checksum;
}

struct bytes log_batch_records(const uint8_t *batch, const struct log_batch_header *header)
{
    ASSERT(header->body_size <= log_batch_body_capacity(header->total_size));
    return bytes_of(batch + LOG_BATCH_HEADER_SIZE, header->body_size);
}

/* --- Trailer --------------------------------------------------------------------------------- */

bool log_trailer_decode(const uint8_t *sector, struct log_place place, struct log_trailer *trailer)
{
    ASSERT_VALUES(place.offset % LOG_SECTOR_SIZE == 0, place.segment, place.offset);
    if (load_u64(sector + TRAILER_AT_CHECKSUM) !=
        checksum(bytes_of(sector, TRAILER_AT_CHECKSUM), seed_of(place))) {
        return false;
    }
    *trailer = (struct log_trailer){
        .batch_sequence = load_u64(sector + TRAILER_AT_SEQUENCE),
        .total_size = load_u32(sector + TRAILER_AT_TOTAL_SIZE),
        .number = load_u32(sector + TRAILER_AT_NUMBER),
    };
    return trailer->total_size != 0 && trailer->total_size % LOG_BLOCK_SIZE == 0 &&
           trailer->number < log_batch_trailer_count(trailer->total_size);
}

bool log_sector_matches(const uint8_t *batch, struct log_place batch_place,
                        const uint8_t *trailer_sector, uint32_t number)
{
    uint32_t i = number % LOG_TRAILER_COVER_COUNT;

    ASSERT(trailer_sector > batch);
    return load_u64(trailer_sector + (size_t)i * 8) == sector_checksum(batch, batch_place, number);
}

/* --- Records --------------------------------------------------------------------------------- */

bool log_records_are_whole(struct bytes records, uint32_t record_count)
{
    ASSERT(records.data != NULL || records.size == 0);
    while (record_count != 0 && records.size >= LOG_RECORD_SIZE_MIN) {
        uint32_t size = load_u32(records.data);

        if (size < LOG_RECORD_SIZE_MIN || size > LOG_RECORD_SIZE_MAX || size > records.size) {
            return false;
        }
        records = bytes_skip(records, size);
        record_count--;
    }
    return record_count == 0 && records.size == 0;
}

size_t log_records_size(struct bytes records, uint64_t record_count)
{
    size_t at = 0;

    for (uint64_t i = 0; i < record_count; i++) {
        ASSERT_VALUES(at + LOG_RECORD_SIZE_MIN <= records.size, at, records.size);
        uint32_t size = load_u32(records.data + at);

        ASSERT_VALUES(size >= LOG_RECORD_SIZE_MIN && size <= records.size - at, size, at);
        at += size;
    }
    return at;
}
