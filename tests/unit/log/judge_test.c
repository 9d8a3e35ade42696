/* tests/unit/log/judge_test.c: empty, torn or rotten: each row of the table in docs/log.md. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "log/judge.h"

enum {
    REGION_SIZE = 64 << 10,
    SEQUENCE = 17,
    PREVIOUS = 12345,
    BODY_SIZE = 40000, /* Two trailer sectors. */
    LARGE_SIZE = 45056,
};

static const struct log_place place = {.segment = 2, .offset = 40960};

struct region {
    uint8_t *data;
    uint32_t total_size;
};

/* Seals one record of `body_size` bytes, of sectors that are not zero, at `offset`. */
static uint32_t put_batch(uint8_t *data, uint32_t offset, uint32_t body_size, uint64_t sequence)
{
    struct log_batch_header header = {
        .kind = LOG_BATCH_APPEND,
        .sequence = sequence,
        .first_index = 1,
        .record_count = 1,
        .body_size = body_size,
        .total_size = log_batch_total_size(body_size),
        .previous_checksum = PREVIOUS,
    };
    struct log_place at = {.segment = place.segment, .offset = place.offset + offset};

    memset(data + offset + LOG_BATCH_HEADER_SIZE, 0x5A, body_size);
    store_u32(data + offset + LOG_BATCH_HEADER_SIZE, body_size);
    log_batch_seal(data + offset, &header, at);
    return header.total_size;
}

static int open_region(void **state)
{
    struct region *region = calloc(1, sizeof(*region));

    assert_non_null(region);
    region->data = calloc(1, REGION_SIZE);
    assert_non_null(region->data);
    region->total_size = put_batch(region->data, 0, BODY_SIZE, SEQUENCE);
    assert_int_equal(region->total_size, LARGE_SIZE);
    *state = region;
    return 0;
}

static int close_region(void **state)
{
    struct region *region = *state;

    free(region->data);
    free(region);
    return 0;
}

static struct log_tail judge(const struct region *region)
{
    return log_tail_judge(bytes_of(region->data, REGION_SIZE), place, SEQUENCE, PREVIOUS);
}

static void zero_sector(struct region *region, uint32_t number)
{
    memset(region->data + (size_t)number * LOG_SECTOR_SIZE, 0, LOG_SECTOR_SIZE);
}

static void damage_sector(struct region *region, uint32_t number)
{
    region->data[(size_t)number * LOG_SECTOR_SIZE + 300] ^= 4;
}

static uint32_t last_sector(const struct region *region)
{
    return region->total_size / LOG_SECTOR_SIZE - 1;
}

static void zeros_are_the_end_of_the_log(void **state)
{
    struct region *region = *state;

    memset(region->data, 0, REGION_SIZE);
    assert_int_equal(judge(region).verdict, LOG_TAIL_EMPTY);
}

static void any_one_missing_sector_is_torn(void **state)
{
    struct region *region = *state;
    uint8_t *whole = malloc(REGION_SIZE);

    assert_non_null(whole);
    memcpy(whole, region->data, REGION_SIZE);
    for (uint32_t number = 0; number <= last_sector(region); number++) {
        if (log_is_zero(whole + (size_t)number * LOG_SECTOR_SIZE, LOG_SECTOR_SIZE)) {
            continue;
        }
        zero_sector(region, number);
        struct log_tail tail = judge(region);
        assert_int_equal(tail.verdict, LOG_TAIL_TORN);
        assert_int_equal(tail.damage_offset, number * LOG_SECTOR_SIZE);
        assert_true(tail.used_size >= region->total_size - LOG_BLOCK_SIZE);
        memcpy(region->data, whole, REGION_SIZE);
    }
    free(whole);
}

static void any_one_damaged_sector_is_rot(void **state)
{
    struct region *region = *state;

    for (uint32_t number = 0; number <= last_sector(region); number++) {
        damage_sector(region, number);
        assert_int_equal(judge(region).verdict, LOG_TAIL_ROTTEN);
        damage_sector(region, number);
    }
}

static void missing_header_and_a_damaged_sector_is_rot(void **state)
{
    struct region *region = *state;

    zero_sector(region, 0);
    damage_sector(region, 5);
    assert_int_equal(judge(region).verdict, LOG_TAIL_ROTTEN);
    assert_int_equal(judge(region).damage_offset, 5 * LOG_SECTOR_SIZE);
}

static void missing_header_and_one_trailer_sector_left_still_proves_rot(void **state)
{
    struct region *region = *state;

    /* The first trailer sector vouches for sector 5 alone; the last one is missing. */
    zero_sector(region, 0);
    zero_sector(region, last_sector(region));
    damage_sector(region, 5);
    assert_int_equal(judge(region).verdict, LOG_TAIL_ROTTEN);
    damage_sector(region, 5);
    assert_int_equal(judge(region).verdict, LOG_TAIL_TORN);
}

static void header_and_trailer_missing_is_torn(void **state)
{
    struct region *region = *state;

    zero_sector(region, 0);
    zero_sector(region, last_sector(region));
    zero_sector(region, last_sector(region) - 1);
    assert_int_equal(judge(region).verdict, LOG_TAIL_TORN);
    assert_int_equal(judge(region).damage_offset, 0);
}

static void damaged_header_is_rot_though_no_trailer_is_left(void **state)
{
    struct region *region = *state;

    region->data[100] ^= 1;
    zero_sector(region, last_sector(region));
    zero_sector(region, last_sector(region) - 1);
    assert_int_equal(judge(region).verdict, LOG_TAIL_ROTTEN);
}

static void header_alone_is_torn(void **state)
{
    struct region *region = *state;

    memset(region->data + LOG_SECTOR_SIZE, 0, REGION_SIZE - LOG_SECTOR_SIZE);
    assert_int_equal(judge(region).verdict, LOG_TAIL_TORN);
    assert_int_equal(judge(region).used_size, LOG_BLOCK_SIZE);
}

static void later_batch_behind_a_torn_one_makes_it_rot(void **state)
{
    struct region *region = *state;

    (void)put_batch(region->data, region->total_size, 100, SEQUENCE + 1);
    zero_sector(region, 0);
    assert_int_equal(judge(region).verdict, LOG_TAIL_ROTTEN);
}

static void trailer_of_a_later_batch_makes_it_rot(void **state)
{
    struct region *region = *state;
    uint32_t size = put_batch(region->data, region->total_size, 100, SEQUENCE + 1);

    /* Of both batches only the later one's trailer and the earlier one's body are left. */
    zero_sector(region, 0);
    zero_sector(region, last_sector(region));
    zero_sector(region, last_sector(region) - 1);
    memset(region->data + region->total_size, 0, size - LOG_SECTOR_SIZE);
    assert_int_equal(judge(region).verdict, LOG_TAIL_ROTTEN);
}

static void header_of_a_later_batch_makes_it_rot(void **state)
{
    struct region *region = *state;
    uint32_t size = put_batch(region->data, region->total_size, 100, SEQUENCE + 1);

    /* Of the later batch only its first sector is left. */
    zero_sector(region, 0);
    zero_sector(region, last_sector(region));
    zero_sector(region, last_sector(region) - 1);
    memset(region->data + region->total_size + LOG_SECTOR_SIZE, 0, size - LOG_SECTOR_SIZE);
    assert_int_equal(judge(region).verdict, LOG_TAIL_ROTTEN);
}

static void intact_batch_that_does_not_continue_the_chain_is_rot(void **state)
{
    struct region *region = *state;
    struct bytes bytes = bytes_of(region->data, REGION_SIZE);

    assert_int_equal(log_tail_judge(bytes, place, SEQUENCE + 1, PREVIOUS).verdict, LOG_TAIL_ROTTEN);
    assert_int_equal(log_tail_judge(bytes, place, SEQUENCE, PREVIOUS + 1).verdict, LOG_TAIL_ROTTEN);
}

static void bytes_behind_the_end_of_a_torn_batch_are_rot(void **state)
{
    struct region *region = *state;

    zero_sector(region, 3);
    region->data[REGION_SIZE - 1] = 1;
    assert_int_equal(judge(region).verdict, LOG_TAIL_ROTTEN);
}

static void batch_that_reaches_beyond_the_region_is_rot(void **state)
{
    struct region *region = *state;
    struct bytes bytes = bytes_of(region->data, LARGE_SIZE - LOG_BLOCK_SIZE);

    assert_int_equal(log_tail_judge(bytes, place, SEQUENCE, PREVIOUS).verdict, LOG_TAIL_ROTTEN);
}

static void zeros_that_were_written_do_not_count_as_missing(void **state)
{
    struct region *region = *state;
    uint8_t *data = region->data;

    /* Sectors 4 to 20 are zeros that belong there; a rotten one among the rest is no tear. */
    memset(data, 0, REGION_SIZE);
    struct log_batch_header header = {.kind = LOG_BATCH_APPEND,
                                      .sequence = SEQUENCE,
                                      .first_index = 1,
                                      .record_count = 1,
                                      .body_size = BODY_SIZE,
                                      .total_size = LARGE_SIZE,
                                      .previous_checksum = PREVIOUS};
    memset(data + LOG_BATCH_HEADER_SIZE, 0x5A, BODY_SIZE);
    memset(data + (size_t)4 * LOG_SECTOR_SIZE, 0, (size_t)17 * LOG_SECTOR_SIZE);
    store_u32(data + LOG_BATCH_HEADER_SIZE, BODY_SIZE);
    log_batch_seal(data, &header, place);

    damage_sector(region, 30);
    assert_int_equal(judge(region).verdict, LOG_TAIL_ROTTEN);
    assert_int_equal(judge(region).damage_offset, 30 * LOG_SECTOR_SIZE);
}

int main(void)
{
#define LAW(law) cmocka_unit_test_setup_teardown(law, open_region, close_region)
    const struct CMUnitTest tests[] = {
        LAW(zeros_are_the_end_of_the_log),
        LAW(any_one_missing_sector_is_torn),
        LAW(any_one_damaged_sector_is_rot),
        LAW(missing_header_and_a_damaged_sector_is_rot),
        LAW(missing_header_and_one_trailer_sector_left_still_proves_rot),
        LAW(header_and_trailer_missing_is_torn),
        LAW(damaged_header_is_rot_though_no_trailer_is_left),
        LAW(header_alone_is_torn),
        LAW(later_batch_behind_a_torn_one_makes_it_rot),
        LAW(trailer_of_a_later_batch_makes_it_rot),
        LAW(header_of_a_later_batch_makes_it_rot),
        LAW(intact_batch_that_does_not_continue_the_chain_is_rot),
        LAW(bytes_behind_the_end_of_a_torn_batch_are_rot),
        LAW(batch_that_reaches_beyond_the_region_is_rot),
        LAW(zeros_that_were_written_do_not_count_as_missing),
    };
#undef LAW
    return cmocka_run_group_tests(tests, NULL, NULL);
}
