/* log/judge.c: tells a torn write from rot, sector by sector. Pure. */
#include "log/judge.h"

#include "base/assert.h"

/* What is being judged, and what the sectors say about the batch that should be here. */
struct judging {
    struct bytes region;
    struct log_place place;
    uint64_t sequence;
    uint32_t total_size; /* Of the batch, when its header or a trailer sector tells it; else 0. */
};

static const uint8_t *sector_at(const struct judging *judging, uint32_t number)
{
    ASSERT((size_t)(number + 1) * LOG_SECTOR_SIZE <= judging->region.size);
    return judging->region.data + (size_t)number * LOG_SECTOR_SIZE;
}

static bool sector_is_zero(const struct judging *judging, uint32_t number)
{
    return log_is_zero(sector_at(judging, number), LOG_SECTOR_SIZE);
}

static struct log_place sector_place(const struct judging *judging, uint32_t number)
{
    ASSERT(number <= judging->region.size / LOG_SECTOR_SIZE);
    return (struct log_place){.segment = judging->place.segment,
                              .offset = judging->place.offset + number * LOG_SECTOR_SIZE};
}

static struct log_tail verdict_at(enum log_tail_verdict verdict, uint32_t sector_number)
{
    ASSERT(verdict != LOG_TAIL_EMPTY);
    return (struct log_tail){.verdict = verdict, .damage_offset = sector_number * LOG_SECTOR_SIZE};
}

/* Takes a batch's size from a witness. False when it contradicts the region or another witness. */
static bool learn_size(struct judging *judging, uint32_t total_size)
{
    ASSERT(total_size != 0);
    if (total_size > judging->region.size ||
        (judging->total_size != 0 && judging->total_size != total_size)) {
        return false;
    }
    judging->total_size = total_size;
    return true;
}

/* A valid trailer sector is a witness: it must belong to the batch that should be here. */
static bool trailer_agrees(struct judging *judging, const struct log_trailer *trailer,
                           uint32_t number)
{
    if (trailer->batch_sequence != judging->sequence || !learn_size(judging, trailer->total_size)) {
        return false;
    }
    uint32_t sector_count = trailer->total_size / LOG_SECTOR_SIZE;
    uint32_t trailer_count = log_batch_trailer_count(trailer->total_size);

    ASSERT(trailer->number < trailer_count);
    return number == sector_count - trailer_count + trailer->number;
}

/* Walks the sectors behind the first and hears every witness. False when one of them proves that
 * a later batch was written here, or that the batch did not begin here. */
static bool hear_witnesses(struct judging *judging, uint32_t *witness_number)
{
    uint32_t sector_count = (uint32_t)(judging->region.size / LOG_SECTOR_SIZE);

    ASSERT(sector_count >= 1);
    for (uint32_t number = 1; number < sector_count; number++) {
        struct log_batch_header header;
        struct log_trailer trailer;
        struct log_place place = sector_place(judging, number);
        const uint8_t *sector = sector_at(judging, number);

        *witness_number = number;
        if (sector_is_zero(judging, number)) {
            continue;
        }
        /* The inside of a batch holds no header that is valid at its place: this is a later one. */
        if (place.offset % LOG_BLOCK_SIZE == 0 &&
            log_batch_decode(sector, place, &header) != ERR_CORRUPT) {
            return false;
        }
        if (log_trailer_decode(sector, place, &trailer) &&
            !trailer_agrees(judging, &trailer, number)) {
            return false;
        }
    }
    return true;
}

/* The batch's extent is known: every sector that fails must read as zeros, and one must fail. */
static struct log_tail judge_sectors(const struct judging *judging)
{
    uint32_t sector_count = judging->total_size / LOG_SECTOR_SIZE;
    uint32_t trailer_count = log_batch_trailer_count(judging->total_size);
    uint32_t covered_count = sector_count - trailer_count;
    uint32_t torn_number = UINT32_MAX;

    ASSERT(judging->total_size <= judging->region.size);
    for (uint32_t number = 0; number < sector_count; number++) {
        uint32_t t =
            number < covered_count ? number / LOG_TRAILER_COVER_COUNT : number - covered_count;
        const uint8_t *trailer_sector = sector_at(judging, covered_count + t);
        struct log_trailer trailer;
        bool trailer_is_valid =
            log_trailer_decode(trailer_sector, sector_place(judging, covered_count + t), &trailer);
        bool is_right = trailer_is_valid;

        if (number < covered_count) {
            /* Without its trailer sector nothing can be said against a sector. */
            is_right = !trailer_is_valid || log_sector_matches(judging->region.data, judging->place,
                                                               trailer_sector, number);
        }
        if (is_right) {
            continue;
        }
        if (!sector_is_zero(judging, number)) {
            return verdict_at(LOG_TAIL_ROTTEN, number);
        }
        torn_number = torn_number < number ? torn_number : number;
    }
    /* A header that reads as zeros is missing even where the rest of its sector was zeros. */
    if (sector_is_zero(judging, 0)) {
        torn_number = 0;
    }
    return torn_number == UINT32_MAX ? verdict_at(LOG_TAIL_ROTTEN, 0)
                                     : verdict_at(LOG_TAIL_TORN, torn_number);
}

static struct log_tail judge(struct judging *judging, uint64_t previous_checksum)
{
    struct log_batch_header header;
    uint32_t witness_number = 0;

    ASSERT(judging->sequence >= 1);
    if (log_batch_decode(judging->region.data, judging->place, &header) == ERR_OK) {
        if (header.sequence != judging->sequence || header.previous_checksum != previous_checksum ||
            !learn_size(judging, header.total_size)) {
            return verdict_at(LOG_TAIL_ROTTEN, 0);
        }
    } else if (!sector_is_zero(judging, 0)) {
        return verdict_at(LOG_TAIL_ROTTEN, 0);
    }
    if (!hear_witnesses(judging, &witness_number)) {
        /* The later write proves that this one had ended: the damage is at its front. */
        return verdict_at(LOG_TAIL_ROTTEN, 0);
    }
    if (judging->total_size == 0) {
        /* Neither header nor trailer came through: a write that began and did not end. */
        return verdict_at(LOG_TAIL_TORN, 0);
    }
    uint32_t behind = judging->total_size;

    if (!log_is_zero(judging->region.data + behind, judging->region.size - behind)) {
        return verdict_at(LOG_TAIL_ROTTEN, behind / LOG_SECTOR_SIZE);
    }
    return judge_sectors(judging);
}

struct log_tail log_tail_judge(struct bytes region, struct log_place place, uint64_t sequence,
                               uint64_t previous_checksum)
{
    struct judging judging = {.region = region, .place = place, .sequence = sequence};
    uint32_t used_size = (uint32_t)region.size;

    ASSERT(region.size >= LOG_BLOCK_SIZE && region.size % LOG_BLOCK_SIZE == 0);
    while (used_size > 0 && log_is_zero(region.data + used_size - LOG_BLOCK_SIZE, LOG_BLOCK_SIZE)) {
        used_size -= LOG_BLOCK_SIZE;
    }
    if (used_size == 0) {
        return (struct log_tail){.verdict = LOG_TAIL_EMPTY};
    }
    struct log_tail tail = judge(&judging, previous_checksum);

    tail.used_size = used_size;
    return tail;
}
