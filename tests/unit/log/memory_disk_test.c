/* tests/unit/log/memory_disk_test.c: the disk that all other tests rely on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdalign.h>
#include <string.h>

#include "tests/support/log/memory_disk.h"

enum { FILE_SIZE = 16 << 10 };

static const struct disk_name file_name = {.text = "file"};

struct fixture {
    alignas(DISK_ALIGNMENT) uint8_t data[8192];
    struct disk *disk;
};

static void fixture_open(struct fixture *fixture)
{
    memset(fixture->data, 0xEE, sizeof(fixture->data));
    fixture->disk = memory_disk_open();
    assert_int_equal(disk_fill(fixture->disk, &file_name, FILE_SIZE), ERR_OK);
}

static void submit_write(struct fixture *fixture, enum disk_lane lane, uint64_t offset,
                         uint64_t tag)
{
    struct disk_request request = {.operation = DISK_WRITE,
                                   .lane = lane,
                                   .name = file_name,
                                   .offset = offset,
                                   .data = fixture->data,
                                   .size = 4096,
                                   .tag = tag};

    disk_submit(fixture->disk, &request);
}

static uint8_t byte_at(const struct fixture *fixture, size_t offset)
{
    return memory_disk_file(fixture->disk, "file").data[offset];
}

static bool keep_third(void *context, uint32_t sector)
{
    (void)context;
    return sector == 2;
}

static void lanes_are_carried_out_in_order_and_independently(void **state)
{
    struct fixture fixture;
    struct disk_completion completion;
    (void)state;

    fixture_open(&fixture);
    submit_write(&fixture, DISK_LANE_BACKGROUND, 0, 1);
    submit_write(&fixture, DISK_LANE_LOG, 4096, 2);
    submit_write(&fixture, DISK_LANE_LOG, 8192, 3);

    assert_true(memory_disk_complete_lane(fixture.disk, DISK_LANE_LOG, &completion));
    assert_int_equal(completion.tag, 2);
    assert_int_equal(byte_at(&fixture, 4096), 0xEE);
    assert_int_equal(byte_at(&fixture, 8192), 0);
    assert_true(memory_disk_complete_next(fixture.disk, &completion));
    assert_int_equal(completion.tag, 1);
    assert_true(memory_disk_complete_next(fixture.disk, &completion));
    assert_int_equal(completion.tag, 3);
    assert_false(memory_disk_complete_next(fixture.disk, &completion));
    memory_disk_close(fixture.disk);
}

static void crash_keeps_the_chosen_sectors_of_the_head_only(void **state)
{
    struct fixture fixture;
    (void)state;

    fixture_open(&fixture);
    submit_write(&fixture, DISK_LANE_LOG, 0, 1);
    submit_write(&fixture, DISK_LANE_LOG, 4096, 2);
    memory_disk_crash(fixture.disk, keep_third, NULL);

    assert_int_equal(byte_at(&fixture, 1023), 0);
    assert_int_equal(byte_at(&fixture, 1024), 0xEE);
    assert_int_equal(byte_at(&fixture, 1535), 0xEE);
    assert_int_equal(byte_at(&fixture, 1536), 0);
    assert_int_equal(byte_at(&fixture, 4096 + 1024), 0);
    assert_int_equal(memory_disk_pending_count(fixture.disk), 0);
    memory_disk_close(fixture.disk);
}

static void planned_operation_fails_once_and_writes_every_second_sector(void **state)
{
    struct fixture fixture;
    struct disk_completion completion;
    (void)state;

    fixture_open(&fixture);
    memory_disk_fail(fixture.disk, 2, ERR_NO_SPACE);
    for (uint64_t i = 0; i < 3; i++) {
        submit_write(&fixture, DISK_LANE_LOG, i * 4096, i);
        assert_true(memory_disk_complete_next(fixture.disk, &completion));
        assert_int_equal(completion.error, i == 1 ? ERR_NO_SPACE : ERR_OK);
    }
    assert_int_equal(byte_at(&fixture, 4096), 0);
    assert_int_equal(byte_at(&fixture, 4096 + 512), 0xEE);
    memory_disk_close(fixture.disk);
}

static void copy_is_equal_until_one_of_them_changes(void **state)
{
    struct fixture fixture;
    (void)state;

    fixture_open(&fixture);
    struct disk *copy = memory_disk_copy(fixture.disk);

    assert_true(memory_disk_equal(copy, fixture.disk));
    memory_disk_flip_bit(copy, "file", 77);
    assert_false(memory_disk_equal(copy, fixture.disk));
    assert_int_equal(byte_at(&fixture, 9), 0);
    memory_disk_close(copy);
    memory_disk_close(fixture.disk);
}

static void names_are_listed_in_order_and_by_prefix(void **state)
{
    struct fixture fixture;
    struct disk_name names[2];
    uint32_t count = 0;
    (void)state;

    fixture_open(&fixture);
    memory_disk_put(fixture.disk, "b-2", bytes_of_text("2"));
    memory_disk_put(fixture.disk, "b-1", bytes_of_text("1"));
    assert_int_equal(disk_list(fixture.disk, "b-", names, 2, &count), ERR_OK);
    assert_int_equal(count, 2);
    assert_string_equal(names[0].text, "b-1");
    assert_string_equal(names[1].text, "b-2");
    assert_int_equal(disk_list(fixture.disk, "", names, 2, &count), ERR_FULL);
    memory_disk_close(fixture.disk);
}

static void rename_replaces_and_remove_of_nothing_is_no_error(void **state)
{
    struct fixture fixture;
    struct disk_completion completion;
    struct disk_request request = {
        .operation = DISK_REMOVE, .lane = DISK_LANE_BACKGROUND, .name = {.text = "nothing"}};
    struct disk_name other = {.text = "other"};
    (void)state;

    fixture_open(&fixture);
    memory_disk_put(fixture.disk, "other", bytes_of_text("x"));
    assert_int_equal(disk_rename(fixture.disk, &other, &file_name), ERR_OK);
    assert_int_equal(memory_disk_file_count(fixture.disk), 1);
    assert_int_equal(memory_disk_file(fixture.disk, "file").size, 1);
    assert_int_equal(disk_rename(fixture.disk, &other, &file_name), ERR_MISSING);
    disk_submit(fixture.disk, &request);
    assert_true(memory_disk_complete_next(fixture.disk, &completion));
    assert_int_equal(completion.error, ERR_OK);
    memory_disk_close(fixture.disk);
}

static void reading_behind_the_end_gives_zeros_and_no_space_is_told(void **state)
{
    struct fixture fixture;
    struct disk_completion completion;
    uint64_t size_read = 1;
    (void)state;

    fixture_open(&fixture);
    assert_int_equal(
        disk_read(fixture.disk, &file_name, FILE_SIZE - 4096, fixture.data, 8192, &size_read),
        ERR_OK);
    assert_int_equal(size_read, 4096);
    struct disk_request request = {.operation = DISK_READ,
                                   .lane = DISK_LANE_BACKGROUND,
                                   .name = file_name,
                                   .offset = FILE_SIZE,
                                   .data = fixture.data,
                                   .size = 4096};
    memset(fixture.data, 1, sizeof(fixture.data));
    disk_submit(fixture.disk, &request);
    assert_true(memory_disk_complete_next(fixture.disk, &completion));
    assert_int_equal(completion.error, ERR_OK);
    assert_int_equal(fixture.data[0] + fixture.data[4095], 0);
    memory_disk_limit(fixture.disk, FILE_SIZE + 4096);
    struct disk_name second = {.text = "second"};
    assert_int_equal(disk_fill(fixture.disk, &second, 8192), ERR_NO_SPACE);
    assert_int_equal(disk_fill(fixture.disk, &second, 4096), ERR_OK);
    memory_disk_close(fixture.disk);
}

static void stage(struct fixture *fixture, uint64_t offset)
{
    struct disk_completion completion;
    struct disk_request request = {.operation = DISK_STAGE,
                                   .lane = DISK_LANE_SNAPSHOT,
                                   .name = {.text = "staged"},
                                   .offset = offset,
                                   .data = fixture->data,
                                   .size = 4096};

    disk_submit(fixture->disk, &request);
    assert_true(memory_disk_complete_next(fixture->disk, &completion));
    assert_int_equal(completion.error, ERR_OK);
}

static void what_is_staged_may_be_lost_until_it_is_published(void **state)
{
    struct fixture fixture;
    struct disk_completion completion;
    struct disk_request request = {.operation = DISK_PUBLISH,
                                   .lane = DISK_LANE_SNAPSHOT,
                                   .name = {.text = "staged"},
                                   .target = {.text = "whole"},
                                   .size = 8192};
    (void)state;

    fixture_open(&fixture);
    stage(&fixture, 0);
    stage(&fixture, 4096);
    memory_disk_crash(fixture.disk, keep_third, NULL);
    struct bytes staged = memory_disk_file(fixture.disk, "staged");
    assert_int_equal(staged.size, 8192);
    assert_int_equal(staged.data[1023], 0);
    assert_int_equal(staged.data[1024], 0xEE);
    assert_int_equal(staged.data[1536], 0);
    memory_disk_crash(fixture.disk, NULL, NULL);
    assert_int_equal(memory_disk_file(fixture.disk, "staged").size, 0);

    stage(&fixture, 0);
    stage(&fixture, 4096);
    disk_submit(fixture.disk, &request);
    assert_true(memory_disk_complete_next(fixture.disk, &completion));
    memory_disk_crash(fixture.disk, NULL, NULL);
    assert_int_equal(memory_disk_file(fixture.disk, "staged").size, 0);
    assert_int_equal(memory_disk_file(fixture.disk, "whole").size, 8192);
    assert_int_equal(memory_disk_file(fixture.disk, "whole").data[8191], 0xEE);
    memory_disk_close(fixture.disk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lanes_are_carried_out_in_order_and_independently),
        cmocka_unit_test(crash_keeps_the_chosen_sectors_of_the_head_only),
        cmocka_unit_test(what_is_staged_may_be_lost_until_it_is_published),
        cmocka_unit_test(planned_operation_fails_once_and_writes_every_second_sector),
        cmocka_unit_test(copy_is_equal_until_one_of_them_changes),
        cmocka_unit_test(names_are_listed_in_order_and_by_prefix),
        cmocka_unit_test(rename_replaces_and_remove_of_nothing_is_no_error),
        cmocka_unit_test(reading_behind_the_end_gives_zeros_and_no_space_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
