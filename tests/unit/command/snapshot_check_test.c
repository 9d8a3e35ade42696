/* Tests of client/command/snapshot_check.c: is a saved snapshot file whole? */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/bytes.h"
#include "base/checksum.h"
#include "client/command/snapshot_check.h"

enum { BLOCK_SIZE = 4096, BLOCK_COUNT = 3, FILE_SIZE = BLOCK_SIZE * BLOCK_COUNT, INDEX = 42 };

#define MAGIC UINT32_C(0x4E534648)

/* Head, pairs and end, as node/snapshot_format.h draws them. */
struct file {
    uint8_t data[FILE_SIZE];
};

static void seal(uint8_t *block)
{
    store_u64(block, checksum(bytes_of(block + 8, BLOCK_SIZE - 8), MAGIC));
}

static void make(struct file *file)
{
    memset(file, 0, sizeof(*file));
    for (uint32_t i = 0; i < BLOCK_COUNT; i++) {
        uint8_t *block = file->data + (size_t)i * BLOCK_SIZE;

        store_u32(block + 8, MAGIC);
        store_u16(block + 12, 1);
        store_u16(block + 14, (uint16_t)(i + 1));
        store_u32(block + 16, BLOCK_SIZE);
        store_u32(block + 20, 8);
        store_u64(block + 24, i);
        store_u64(block + 32, INDEX);
        store_u64(block + 40, i == 0 ? 0 : load_u64(block - BLOCK_SIZE));
        store_u64(block + 48, 0x1234 + i);
        seal(block);
    }
}

/* How many bytes are good. */
static uint64_t check(const struct file *file, struct snapshot_check *check)
{
    *check = (struct snapshot_check){.index = INDEX};
    while (check->offset < FILE_SIZE) {
        const uint8_t *block = file->data + check->offset;
        uint32_t size = snapshot_check_size(block);

        if (size != BLOCK_SIZE || !snapshot_check_take(check, bytes_of(block, size))) {
            break;
        }
    }
    return check->offset;
}

static void a_whole_file_is_good_up_to_its_end(void **state)
{
    struct file file;
    struct snapshot_check checked;

    make(&file);

    assert_int_equal(check(&file, &checked), FILE_SIZE);
    assert_true(checked.has_end);
    assert_int_equal(checked.checksum, load_u64(file.data + FILE_SIZE - BLOCK_SIZE));
    (void)state;
}

static void every_flipped_bit_is_found_in_its_block(void **state)
{
    struct file file;
    struct snapshot_check checked;

    make(&file);
    for (size_t bit = 0; bit < (size_t)8 * FILE_SIZE; bit += 5) {
        file.data[bit / 8] ^= (uint8_t)(1U << (bit % 8));
        assert_int_equal(check(&file, &checked), bit / 8 / BLOCK_SIZE * BLOCK_SIZE);
        assert_false(checked.has_end);
        file.data[bit / 8] ^= (uint8_t)(1U << (bit % 8));
    }
    (void)state;
}

static void a_block_of_another_place_or_file_is_refused(void **state)
{
    struct file file;
    struct file other;
    struct snapshot_check checked;

    make(&file);
    make(&other);
    store_u64(other.data + 48, 7);
    seal(other.data);
    memcpy(file.data, other.data, BLOCK_SIZE);
    assert_int_equal(check(&file, &checked), BLOCK_SIZE);

    make(&file);
    memcpy(file.data + BLOCK_SIZE, file.data + (size_t)2 * BLOCK_SIZE, BLOCK_SIZE);
    assert_int_equal(check(&file, &checked), BLOCK_SIZE);
    (void)state;
}

static void a_newer_version_is_checked_by_what_is_frozen(void **state)
{
    struct file file;
    struct snapshot_check checked;

    make(&file);
    for (uint32_t i = 0; i < BLOCK_COUNT; i++) {
        uint8_t *block = file.data + (size_t)i * BLOCK_SIZE;

        store_u16(block + 12, 9);
        store_u64(block + 24, 0); /* Whatever it means there. */
        seal(block);
    }
    assert_int_equal(check(&file, &checked), FILE_SIZE);
    file.data[BLOCK_SIZE + 100] ^= 1;
    assert_int_equal(check(&file, &checked), BLOCK_SIZE);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_file_is_good_up_to_its_end),
        cmocka_unit_test(every_flipped_bit_is_found_in_its_block),
        cmocka_unit_test(a_block_of_another_place_or_file_is_refused),
        cmocka_unit_test(a_newer_version_is_checked_by_what_is_frozen),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
