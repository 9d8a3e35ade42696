/* tests/unit/log/format_test.c: the bytes on the disk. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "log/format.h"
#include "tests/support/log/golden.h"

static const struct log_identity identity = {
    .cluster = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16},
    .incarnation = 0x1122334455667788,
};

static const struct log_place place = {.segment = 3, .offset = 8192};

/* A batch of two records, 600 and 300 bytes. */
static struct log_batch_header seal_two_records(uint8_t batch[LOG_BLOCK_SIZE],
                                                enum log_batch_kind kind)
{
    struct log_batch_header header = {
        .kind = kind,
        .sequence = 42,
        .identity = identity,
        .first_index = 1000,
        .cut_index = kind == LOG_BATCH_TRUNCATE ? 1000 : 0,
        .record_count = kind == LOG_BATCH_END ? 0 : 2,
        .body_size = kind == LOG_BATCH_END ? 0 : 900,
        .total_size = LOG_BLOCK_SIZE,
        .hard_state = {.generation = 9, .size = 5, .data = "state"},
        .previous_checksum = 0xABCDEF,
    };

    memset(batch, 0, LOG_BLOCK_SIZE);
    if (header.body_size != 0) {
        memset(batch + LOG_BATCH_HEADER_SIZE, 'r', 900);
        store_u32(batch + LOG_BATCH_HEADER_SIZE, 600);
        store_u32(batch + LOG_BATCH_HEADER_SIZE + 600, 300);
    }
    log_batch_seal(batch, &header, place);
    return header;
}

static void smallest_batch_that_holds_a_body_is_chosen(void **state)
{
    (void)state;
    for (uint32_t size = 0; size < 3 << 20; size += size < 70000 ? 1 : 977) {
        uint32_t total_size = log_batch_total_size(size);

        assert_int_equal(total_size % LOG_BLOCK_SIZE, 0);
        assert_true(log_batch_body_capacity(total_size) >= size);
        if (total_size > LOG_BLOCK_SIZE) {
            assert_true(log_batch_body_capacity(total_size - LOG_BLOCK_SIZE) < size);
        }
    }
}

static void trailer_covers_every_other_sector(void **state)
{
    (void)state;
    for (uint32_t size = LOG_BLOCK_SIZE; size <= 4 << 20; size += LOG_BLOCK_SIZE) {
        uint32_t trailer_count = log_batch_trailer_count(size);
        uint32_t covered_count = size / LOG_SECTOR_SIZE - trailer_count;

        assert_true(covered_count <= trailer_count * LOG_TRAILER_COVER_COUNT);
    }
}

static void names_lead_back_to_their_numbers(void **state)
{
    static const uint64_t numbers[] = {0, 1, 42, 0xFFFFFFFF, UINT64_MAX};
    (void)state;

    for (unsigned i = 0; i < 5; i++) {
        struct disk_name name;
        uint64_t number = 7;

        log_segment_name(&name, "fifteen-letters", numbers[i]);
        assert_true(log_segment_name_parse(&name, "fifteen-letters", &number));
        assert_int_equal(number, numbers[i]);
    }
}

static void other_names_are_not_taken_for_segments(void **state)
{
    static const char *const names[] = {
        "raft-000000000000001.seg",
        "raft-00000000000000001.seg",
        "raft-000000000000000g.seg",
        "raft-000000000000000A.seg",
        "raft-0000000000000001.seg~",
        "raft_0000000000000001.seg",
        "raft-0000000000000001",
        "raft-state",
        "raft-",
        "rafu-0000000000000001.seg",
        "",
        "raft-0000000000000001.SEG",
    };
    (void)state;

    for (unsigned i = 0; i < COUNT_OF(names); i++) {
        struct disk_name name = {.text = ""};
        uint64_t number = 7;

        memcpy(name.text, names[i], strlen(names[i]));
        assert_false(log_segment_name_parse(&name, "raft", &number));
        assert_int_equal(number, 7);
    }
}

static void sealed_batch_decodes_to_what_was_sealed(void **state)
{
    uint8_t batch[LOG_BLOCK_SIZE];
    struct log_batch_header sealed = seal_two_records(batch, LOG_BATCH_TRUNCATE);
    struct log_batch_header header;
    (void)state;

    assert_int_equal(log_batch_decode(batch, place, &header), ERR_OK);
    assert_true(log_batch_is_intact(batch, &header, place));
    assert_int_equal(header.kind, LOG_BATCH_TRUNCATE);
    assert_int_equal(header.sequence, 42);
    assert_true(log_identity_equal(&header.identity, &identity));
    assert_int_equal(header.first_index, 1000);
    assert_int_equal(header.cut_index, 1000);
    assert_int_equal(header.record_count, 2);
    assert_true(log_hard_state_equal(&header.hard_state, &sealed.hard_state));
    assert_int_equal(header.previous_checksum, 0xABCDEF);
    assert_int_equal(header.checksum, sealed.checksum);
    assert_int_equal(log_batch_records(batch, &header).size, 900);
}

static void end_of_a_segment_carries_no_records(void **state)
{
    uint8_t batch[LOG_BLOCK_SIZE];
    struct log_batch_header header = seal_two_records(batch, LOG_BATCH_APPEND);
    (void)state;

    header.kind = LOG_BATCH_END;
    log_batch_seal(batch, &header, place);

    assert_int_equal(log_batch_decode(batch, place, &header), ERR_CORRUPT);
}

static void padding_is_zeros_whatever_the_memory_held_before(void **state)
{
    struct log_batch_header header = {.kind = LOG_BATCH_APPEND,
                                      .sequence = 42,
                                      .first_index = 1000,
                                      .total_size = LOG_BLOCK_SIZE};
    uint8_t batch[LOG_BLOCK_SIZE];
    uint32_t padding = log_batch_body_capacity(LOG_BLOCK_SIZE);
    (void)state;

    memset(batch, 0xEE, sizeof(batch));
    log_batch_seal(batch, &header, place);
    assert_true(log_is_zero(batch + LOG_BATCH_HEADER_SIZE, padding));
}

static void every_flipped_bit_of_a_batch_is_found(void **state)
{
    uint8_t batch[LOG_BLOCK_SIZE];
    struct log_batch_header header;
    (void)state;

    (void)seal_two_records(batch, LOG_BATCH_APPEND);
    for (uint32_t bit = 0; bit < 8 * LOG_BLOCK_SIZE; bit++) {
        batch[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_true(log_batch_decode(batch, place, &header) != ERR_OK ||
                    !log_batch_is_intact(batch, &header, place));
        batch[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

static void batch_is_valid_at_its_own_place_only(void **state)
{
    static const struct log_place others[] = {{.segment = 3, .offset = 4096},
                                              {.segment = 3, .offset = 12288},
                                              {.segment = 2, .offset = 8192},
                                              {.segment = 4, .offset = 8192}};
    uint8_t batch[LOG_BLOCK_SIZE];
    struct log_batch_header header;
    struct log_trailer trailer;
    (void)state;

    (void)seal_two_records(batch, LOG_BATCH_APPEND);
    for (unsigned i = 0; i < 4; i++) {
        struct log_place last = {.segment = others[i].segment, .offset = others[i].offset + 3584};

        assert_int_equal(log_batch_decode(batch, others[i], &header), ERR_CORRUPT);
        assert_false(log_trailer_decode(batch + 3584, last, &trailer));
    }
}

static void large_batch_has_a_trailer_sector_for_each_61_sectors(void **state)
{
    enum { BODY_SIZE = 1 << 20 };
    uint32_t total_size = log_batch_total_size(BODY_SIZE);
    uint8_t *batch = calloc(1, total_size);
    struct log_batch_header header = {.kind = LOG_BATCH_APPEND,
                                      .sequence = 5,
                                      .first_index = 1,
                                      .record_count = 1,
                                      .body_size = BODY_SIZE,
                                      .total_size = total_size};
    struct log_trailer trailer;
    (void)state;

    assert_non_null(batch);
    store_u32(batch + LOG_BATCH_HEADER_SIZE, BODY_SIZE);
    log_batch_seal(batch, &header, place);
    assert_true(log_batch_is_intact(batch, &header, place));
    for (uint32_t t = 0; t < log_batch_trailer_count(total_size); t++) {
        uint32_t from = total_size - (log_batch_trailer_count(total_size) - t) * LOG_SECTOR_SIZE;
        struct log_place at = {.segment = place.segment, .offset = place.offset + from};

        assert_true(log_trailer_decode(batch + from, at, &trailer));
        assert_int_equal(trailer.number, t);
        assert_int_equal(trailer.batch_sequence, 5);
        assert_int_equal(trailer.total_size, total_size);
    }
    free(batch);
}

static void segment_header_is_valid_under_its_own_number_only(void **state)
{
    struct log_segment_header header = {.identity = identity,
                                        .sequence = 3,
                                        .first_batch_sequence = 42,
                                        .previous_checksum = 0xABCDEF,
                                        .segment_size = 64 << 20};
    struct log_segment_header decoded;
    uint8_t block[LOG_BLOCK_SIZE];
    (void)state;

    log_segment_encode(block, &header);
    assert_int_equal(log_segment_decode(block, 3, &decoded), ERR_OK);
    assert_int_equal(decoded.first_batch_sequence, 42);
    assert_int_equal(decoded.previous_checksum, 0xABCDEF);
    assert_int_equal(decoded.segment_size, 64 << 20);
    assert_int_equal(log_segment_decode(block, 4, &decoded), ERR_CORRUPT);
    memset(block, 0, sizeof(block));
    assert_int_equal(log_segment_decode(block, 3, &decoded), ERR_MISSING);
}

static void every_flipped_bit_of_a_segment_header_is_found(void **state)
{
    struct log_segment_header header = {.sequence = 3, .first_batch_sequence = 42};
    uint8_t block[LOG_BLOCK_SIZE];
    (void)state;

    log_segment_encode(block, &header);
    for (uint32_t bit = 0; bit < 8 * LOG_BLOCK_SIZE; bit++) {
        struct log_segment_header decoded;

        block[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(log_segment_decode(block, 3, &decoded), ERR_CORRUPT);
        block[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

static void records_that_do_not_fill_the_body_are_not_whole(void **state)
{
    uint8_t data[16] = {8, 0, 0, 0, 1, 1, 1, 1, 8, 0, 0, 0, 2, 2, 2, 2};
    (void)state;

    assert_true(log_records_are_whole(bytes_of(data, 16), 2));
    assert_true(log_records_are_whole(bytes_of(data, 0), 0));
    assert_false(log_records_are_whole(bytes_of(data, 16), 1));
    assert_false(log_records_are_whole(bytes_of(data, 16), 3));
    assert_false(log_records_are_whole(bytes_of(data, 15), 2));
    data[0] = 3;
    assert_false(log_records_are_whole(bytes_of(data, 16), 2));
    data[0] = 17;
    assert_false(log_records_are_whole(bytes_of(data, 16), 1));
}

static void zeros_are_recognized_whatever_their_number(void **state)
{
    uint8_t data[513] = {0};
    (void)state;

    for (size_t size = 0; size <= 513; size++) {
        assert_true(log_is_zero(data, size));
        if (size > 0) {
            data[size - 1] = 1;
            assert_false(log_is_zero(data, size));
            data[size - 1] = 0;
        }
    }
}

/* --- Golden bytes ---------------------------------------------------------------------------- */

static void bytes_of_each_kind_of_batch_stay_as_they_are(void **state)
{
    static const struct {
        enum log_batch_kind kind;
        const char *name;
    } kinds[] = {{LOG_BATCH_APPEND, "batch-append"},
                 {LOG_BATCH_TRUNCATE, "batch-truncate"},
                 {LOG_BATCH_SNAPSHOT_BASE, "batch-snapshot-base"},
                 {LOG_BATCH_END, "batch-end"}};
    uint8_t batch[LOG_BLOCK_SIZE];
    (void)state;

    for (unsigned i = 0; i < COUNT_OF(kinds); i++) {
        (void)seal_two_records(batch, kinds[i].kind);
        assert_true(log_golden_matches(kinds[i].name, bytes_of(batch, sizeof(batch))));
    }
}

static void golden_batch_still_decodes(void **state)
{
    uint8_t batch[LOG_BLOCK_SIZE];
    struct buffer buffer = buffer_of(batch, sizeof(batch));
    struct log_batch_header header;
    (void)state;

    assert_true(log_golden_read("batch-append", &buffer));
    assert_int_equal(log_batch_decode(batch, place, &header), ERR_OK);
    assert_true(log_batch_is_intact(batch, &header, place));
    assert_int_equal(header.sequence, 42);
}

static void bytes_of_a_segment_header_stay_as_they_are(void **state)
{
    struct log_segment_header header = {.identity = identity,
                                        .sequence = 3,
                                        .first_batch_sequence = 42,
                                        .previous_checksum = 0xABCDEF,
                                        .segment_size = 64 << 20};
    uint8_t block[LOG_BLOCK_SIZE];
    (void)state;

    log_segment_encode(block, &header);
    assert_true(log_golden_matches("segment-header", bytes_of(block, sizeof(block))));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(smallest_batch_that_holds_a_body_is_chosen),
        cmocka_unit_test(trailer_covers_every_other_sector),
        cmocka_unit_test(names_lead_back_to_their_numbers),
        cmocka_unit_test(other_names_are_not_taken_for_segments),
        cmocka_unit_test(sealed_batch_decodes_to_what_was_sealed),
        cmocka_unit_test(end_of_a_segment_carries_no_records),
        cmocka_unit_test(padding_is_zeros_whatever_the_memory_held_before),
        cmocka_unit_test(every_flipped_bit_of_a_batch_is_found),
        cmocka_unit_test(batch_is_valid_at_its_own_place_only),
        cmocka_unit_test(large_batch_has_a_trailer_sector_for_each_61_sectors),
        cmocka_unit_test(segment_header_is_valid_under_its_own_number_only),
        cmocka_unit_test(every_flipped_bit_of_a_segment_header_is_found),
        cmocka_unit_test(records_that_do_not_fill_the_body_are_not_whole),
        cmocka_unit_test(zeros_are_recognized_whatever_their_number),
        cmocka_unit_test(bytes_of_each_kind_of_batch_stay_as_they_are),
        cmocka_unit_test(golden_batch_still_decodes),
        cmocka_unit_test(bytes_of_a_segment_header_stay_as_they_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
