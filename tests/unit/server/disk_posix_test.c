/* tests/unit/server/disk_posix_test.c: real files in a folder of the test.
 *
 * The source is included: linked from its archive it would come behind a disk in memory, which
 * implements the same seam. */
#include "server/disk_posix.c" /* NOLINT(bugprone-suspicious-include): see above. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/server/temporary_folder.h"

enum { FILE_SIZE = 1 << 20 };

static const uint64_t huge_size = UINT64_C(1) << 32;

struct fixture {
    struct temporary_folder folder;
    uv_loop_t loop;
    uv_async_t wake;
    struct disk *disk;
    uint8_t *page; /* Aligned memory of FILE_SIZE bytes. */
};

static void woken(uv_async_t *wake)
{
    (void)wake;
}

static void closed(uv_handle_t *handle)
{
    (void)handle;
}

static int open_fixture(void **state)
{
    static struct fixture fixture;
    void *page;

    temporary_folder_open(&fixture.folder);
    assert_int_equal(uv_loop_init(&fixture.loop), 0);
    assert_int_equal(uv_async_init(&fixture.loop, &fixture.wake, woken), 0);
    assert_int_equal(disk_posix_open(&fixture.disk, fixture.folder.path, &fixture.wake), ERR_OK);
    assert_int_equal(posix_memalign(&page, DISK_ALIGNMENT, FILE_SIZE), 0);
    fixture.page = page;
    *state = &fixture;
    return 0;
}

static int close_fixture(void **state)
{
    struct fixture *fixture = *state;

    disk_posix_close(fixture->disk);
    uv_close((uv_handle_t *)&fixture->wake, closed);
    assert_int_equal(uv_run(&fixture->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&fixture->loop), 0);
    free(fixture->page);
    temporary_folder_close(&fixture->folder);
    return 0;
}

static struct disk_name name_of(const char *text)
{
    struct disk_name name = {{0}};

    assert_true(strlen(text) < sizeof(name.text));
    memcpy(name.text, text, strlen(text));
    return name;
}

static struct disk_request request_of(struct fixture *fixture, enum disk_operation operation,
                                      const char *name, uint64_t tag)
{
    return (struct disk_request){
        .operation = operation,
        .lane = operation == DISK_WRITE ? DISK_LANE_LOG : DISK_LANE_BACKGROUND,
        .name = name_of(name),
        .data = fixture->page,
        .size = DISK_ALIGNMENT,
        .tag = tag,
    };
}

/* Awaits the next completion. */
static struct disk_completion await(struct fixture *fixture)
{
    struct disk_completion completion;

    while (disk_posix_take(fixture->disk, &completion, 1) == 0) {
        (void)uv_run(&fixture->loop, UV_RUN_ONCE);
    }
    return completion;
}

static enum error carried_out(struct fixture *fixture, const struct disk_request *request)
{
    disk_submit(fixture->disk, request);
    struct disk_completion completion = await(fixture);

    assert_int_equal(completion.tag, request->tag);
    return completion.error;
}

static bool all_are(const uint8_t *data, size_t size, uint8_t byte)
{
    for (size_t i = 0; i < size; i++) {
        if (data[i] != byte) {
            return false;
        }
    }
    return true;
}

static void make_file(struct fixture *fixture, const char *name)
{
    struct disk_name made = name_of(name);

    assert_int_equal(disk_fill(fixture->disk, &made, FILE_SIZE), ERR_OK);
}

static void write_is_read_back(void **state)
{
    struct fixture *fixture = *state;
    uint8_t found[DISK_ALIGNMENT];

    make_file(fixture, "log-1");
    memset(fixture->page, 0x5a, DISK_ALIGNMENT);
    struct disk_request request = request_of(fixture, DISK_WRITE, "log-1", 7);
    request.offset = DISK_ALIGNMENT;

    assert_int_equal(carried_out(fixture, &request), ERR_OK);
    assert_int_equal(
        temporary_file_read(&fixture->folder, "log-1", request.offset, found, sizeof(found)),
        sizeof(found));
    assert_true(all_are(found, sizeof(found), 0x5a));
    memset(fixture->page, 0, DISK_ALIGNMENT);
    request.operation = DISK_READ;
    request.lane = DISK_LANE_BACKGROUND;
    assert_int_equal(carried_out(fixture, &request), ERR_OK);
    assert_true(all_are(fixture->page, DISK_ALIGNMENT, 0x5a));
    assert_int_equal(temporary_file_size(&fixture->folder, "log-1"), FILE_SIZE);
}

static void buffered_write_takes_the_place_of_a_refused_direct_one(void **state)
{
    struct fixture *fixture = *state;
    uint8_t found[DISK_ALIGNMENT];

    disk_posix_refuse_direct(fixture->disk);
    make_file(fixture, "log-1");
    memset(fixture->page, 0x77, DISK_ALIGNMENT);
    struct disk_request request = request_of(fixture, DISK_WRITE, "log-1", 1);

    assert_int_equal(carried_out(fixture, &request), ERR_OK);
    assert_true(disk_posix_is_buffered(fixture->disk));
    assert_int_equal(temporary_file_read(&fixture->folder, "log-1", 0, found, sizeof(found)),
                     sizeof(found));
    assert_true(all_are(found, sizeof(found), 0x77));
}

static void requests_of_a_lane_complete_in_order(void **state)
{
    struct fixture *fixture = *state;

    make_file(fixture, "log-1");
    for (uint64_t tag = 0; tag < DISK_REQUEST_COUNT_MAX; tag++) {
        struct disk_request request = request_of(fixture, DISK_WRITE, "log-1", tag);
        request.offset = tag * DISK_ALIGNMENT;
        disk_submit(fixture->disk, &request);
    }

    for (uint64_t tag = 0; tag < DISK_REQUEST_COUNT_MAX; tag++) {
        struct disk_completion completion = await(fixture);
        assert_int_equal(completion.tag, tag);
        assert_int_equal(completion.error, ERR_OK);
    }
}

static void missing_file_is_said_to_be_missing(void **state)
{
    struct fixture *fixture = *state;
    struct disk_name name = name_of("log-1");
    struct disk_request write = request_of(fixture, DISK_WRITE, "log-1", 1);
    struct disk_request read = request_of(fixture, DISK_READ, "log-1", 2);
    uint64_t size;

    assert_int_equal(disk_size(fixture->disk, &name, &size), ERR_MISSING);
    assert_int_equal(disk_read(fixture->disk, &name, 0, fixture->page, 1, &size), ERR_MISSING);
    assert_int_equal(disk_posix_failure(fixture->disk).number, 0);
    assert_int_equal(carried_out(fixture, &write), ERR_MISSING);
    assert_int_equal(carried_out(fixture, &read), ERR_MISSING);

    struct disk_failure failure = disk_posix_failure(fixture->disk);
    assert_int_equal(failure.number, ENOENT);
    assert_string_equal(failure.operation, "open");
    assert_string_equal(failure.name.text, "log-1");
}

static void filled_file_is_zeros_under_its_own_name_only(void **state)
{
    struct fixture *fixture = *state;
    struct disk_request request = request_of(fixture, DISK_FILL, "log-2", 3);

    request.size = UINT64_C(3) * FILE_SIZE;
    assert_int_equal(carried_out(fixture, &request), ERR_OK);

    assert_int_equal(temporary_file_size(&fixture->folder, "log-2"), 3 * FILE_SIZE);
    assert_false(temporary_file_exists(&fixture->folder, "log-2.tmp"));
    memset(fixture->page, 1, FILE_SIZE);
    assert_int_equal(temporary_file_read(&fixture->folder, "log-2", UINT64_C(2) * FILE_SIZE,
                                         fixture->page, FILE_SIZE),
                     FILE_SIZE);
    assert_true(all_are(fixture->page, FILE_SIZE, 0));
}

static void fill_of_an_odd_size_is_exact(void **state)
{
    struct fixture *fixture = *state;
    struct disk_name name = name_of("small");

    assert_int_equal(disk_fill(fixture->disk, &name, 1000), ERR_OK);

    assert_int_equal(temporary_file_size(&fixture->folder, "small"), 1000);
}

static void fill_rests_only_while_it_is_ahead_of_its_pace(void **state)
{
    (void)state;
    assert_int_equal(fill_rest_ns(FILL_SIZE_PER_SECOND / 2, SECOND_NS / 4, 0), SECOND_NS / 4);
    assert_int_equal(fill_rest_ns(FILL_SIZE_PER_SECOND / 2, SECOND_NS / 2, 0), 0);
    assert_int_equal(fill_rest_ns(FILL_SIZE_PER_SECOND / 2, SECOND_NS, 0), 0);
}

/* Or the log would wait for its next segment. */
static void fill_is_faster_than_the_log_beside_it(void **state)
{
    const uint64_t segment = UINT64_C(1) << 30; /* The largest that a node takes. */

    (void)state;
    assert_int_equal(fill_rest_ns(segment, SECOND_NS, segment / 5 * 4), 0);
    assert_int_not_equal(fill_rest_ns(segment, SECOND_NS, segment / 4 * 3), 0);
}

/* A segment ahead may not be needed; what fails after it is what ended the node. */
static void failed_fill_gives_way_to_the_failure_after_it(void **state)
{
    struct fixture *fixture = *state;
    struct disk_request fill = request_of(fixture, DISK_FILL, "log-2", 1);
    struct disk_request write = request_of(fixture, DISK_WRITE, "log-1", 2);
    struct disk_request other = request_of(fixture, DISK_WRITE, "log-3", 3);

    fill.size = UINT64_C(1) << 60; /* More than any file system has. */
    assert_int_not_equal(carried_out(fixture, &fill), ERR_OK);
    assert_string_equal(disk_posix_failure(fixture->disk).name.text, "log-2");
    assert_false(temporary_file_exists(&fixture->folder, "log-2.tmp"));
    assert_int_equal(carried_out(fixture, &write), ERR_MISSING);
    assert_int_equal(carried_out(fixture, &other), ERR_MISSING);

    assert_string_equal(disk_posix_failure(fixture->disk).name.text, "log-1");
}

static void stop_interrupts_a_fill(void **state)
{
    struct fixture *fixture = *state;
    struct disk_request request = request_of(fixture, DISK_FILL, "huge", 3);
    uint64_t begin_ns = now_ns();

    request.size = huge_size;
    disk_submit(fixture->disk, &request);
    disk_posix_close(fixture->disk);

    assert_true(now_ns() - begin_ns < (uint64_t)5 * SECOND_NS);
    assert_false(temporary_file_exists(&fixture->folder, "huge"));
    assert_int_equal(disk_posix_open(&fixture->disk, fixture->folder.path, &fixture->wake), ERR_OK);
}

static void read_behind_the_end_gives_zeros(void **state)
{
    struct fixture *fixture = *state;
    struct disk_request request = request_of(fixture, DISK_READ, "short", 1);

    temporary_file_write(&fixture->folder, "short", "abc", 3);
    memset(fixture->page, 0xff, DISK_ALIGNMENT);

    assert_int_equal(carried_out(fixture, &request), ERR_OK);
    assert_memory_equal(fixture->page, "abc", 3);
    assert_true(all_are(fixture->page + 3, DISK_ALIGNMENT - 3, 0));
}

static void synchronous_read_stops_at_the_end(void **state)
{
    struct fixture *fixture = *state;
    struct disk_name name = name_of("short");
    uint64_t size_read;

    temporary_file_write(&fixture->folder, "short", "abcdef", 6);

    assert_int_equal(disk_read(fixture->disk, &name, 2, fixture->page, 100, &size_read), ERR_OK);
    assert_int_equal(size_read, 4);
    assert_memory_equal(fixture->page, "cdef", 4);
}

static void removed_file_is_gone_and_removing_it_again_is_no_error(void **state)
{
    struct fixture *fixture = *state;
    struct disk_request request = request_of(fixture, DISK_REMOVE, "log-1", 1);

    make_file(fixture, "log-1");

    assert_int_equal(carried_out(fixture, &request), ERR_OK);
    assert_false(temporary_file_exists(&fixture->folder, "log-1"));
    assert_int_equal(carried_out(fixture, &request), ERR_OK);
}

/* An open descriptor would go on writing into the removed file. */
static void write_after_a_removal_goes_to_the_new_file(void **state)
{
    struct fixture *fixture = *state;
    struct disk_request write = request_of(fixture, DISK_WRITE, "log-1", 1);
    struct disk_request drop = request_of(fixture, DISK_REMOVE, "log-1", 2);
    struct disk_request make = request_of(fixture, DISK_FILL, "log-1", 3);
    uint8_t found[1];

    memset(fixture->page, 9, DISK_ALIGNMENT);
    make_file(fixture, "log-1");
    assert_int_equal(carried_out(fixture, &write), ERR_OK);
    assert_int_equal(carried_out(fixture, &drop), ERR_OK);
    make.size = FILE_SIZE;
    assert_int_equal(carried_out(fixture, &make), ERR_OK);

    assert_int_equal(carried_out(fixture, &write), ERR_OK);
    assert_int_equal(temporary_file_read(&fixture->folder, "log-1", 0, found, 1), 1);
    assert_int_equal(found[0], 9);
}

static void list_is_sorted_and_leaves_out_what_is_not_finished(void **state)
{
    struct fixture *fixture = *state;
    struct disk_name names[3];
    uint32_t count;

    temporary_file_write(&fixture->folder, "log-2", "", 0);
    temporary_file_write(&fixture->folder, "log-1", "", 0);
    temporary_file_write(&fixture->folder, "log-3.tmp", "", 0);
    temporary_file_write(&fixture->folder, "other", "", 0);

    assert_int_equal(disk_list(fixture->disk, "log-", names, 3, &count), ERR_OK);
    assert_int_equal(count, 2);
    assert_string_equal(names[0].text, "log-1");
    assert_string_equal(names[1].text, "log-2");
    assert_int_equal(disk_list(fixture->disk, "log-", names, 1, &count), ERR_FULL);
}

static void unfinished_files_are_removed_when_the_folder_is_opened(void **state)
{
    struct fixture *fixture = *state;

    temporary_file_write(&fixture->folder, "log-3.tmp", "", 0);
    temporary_file_write(&fixture->folder, "log-4", "", 0);
    disk_posix_close(fixture->disk);
    assert_int_equal(disk_posix_open(&fixture->disk, fixture->folder.path, &fixture->wake), ERR_OK);

    assert_false(temporary_file_exists(&fixture->folder, "log-3.tmp"));
    assert_true(temporary_file_exists(&fixture->folder, "log-4"));
}

static void disk_without_a_loop_changes_nothing(void **state)
{
    struct fixture *fixture = *state;
    struct disk *reader;

    temporary_file_write(&fixture->folder, "log-3.tmp", "", 0);
    ASSERT(disk_posix_open(&reader, fixture->folder.path, NULL) == ERR_OK);
    disk_posix_close(reader);

    assert_true(temporary_file_exists(&fixture->folder, "log-3.tmp"));
}

static void saved_file_replaces_the_one_before(void **state)
{
    struct fixture *fixture = *state;
    struct disk_name name = name_of("identity");
    uint64_t size_read;

    assert_int_equal(disk_save(fixture->disk, &name, bytes_of_text("a longer text")), ERR_OK);
    assert_int_equal(disk_save(fixture->disk, &name, bytes_of_text("short")), ERR_OK);

    assert_int_equal(disk_read(fixture->disk, &name, 0, fixture->page, 100, &size_read), ERR_OK);
    assert_int_equal(size_read, 5);
    assert_memory_equal(fixture->page, "short", 5);
}

static void renamed_file_replaces_its_target(void **state)
{
    struct fixture *fixture = *state;
    struct disk_name source = name_of("new");
    struct disk_name target = name_of("old");
    uint64_t size;

    temporary_file_write(&fixture->folder, "old", "old", 3);
    assert_int_equal(disk_read(fixture->disk, &target, 0, fixture->page, 100, &size), ERR_OK);
    temporary_file_write(&fixture->folder, "new", "newer", 5);

    assert_int_equal(disk_rename(fixture->disk, &source, &target), ERR_OK);
    assert_int_equal(disk_read(fixture->disk, &target, 0, fixture->page, 100, &size), ERR_OK);
    assert_memory_equal(fixture->page, "newer", 5);
    assert_int_equal(size, 5);
    assert_int_equal(disk_size(fixture->disk, &source, &size), ERR_MISSING);
}

static void staged_bytes_are_a_file_once_they_are_published(void **state)
{
    struct fixture *fixture = *state;
    struct disk_name source = name_of("snap.new");
    struct disk_name target = name_of("snap");
    uint64_t whole = UINT64_C(2) * DISK_ALIGNMENT;
    uint64_t size = 0;

    memset(fixture->page, 's', DISK_ALIGNMENT);
    struct bytes page = bytes_of(fixture->page, DISK_ALIGNMENT);
    assert_int_equal(disk_stage(fixture->disk, &source, 0, page), ERR_OK);
    assert_int_equal(disk_stage(fixture->disk, &source, DISK_ALIGNMENT, page), ERR_OK);
    assert_int_equal(disk_size(fixture->disk, &target, &size), ERR_MISSING);

    assert_int_equal(disk_publish(fixture->disk, &source, &target, whole), ERR_OK);
    assert_int_equal(disk_size(fixture->disk, &source, &size), ERR_MISSING);
    assert_int_equal(disk_size(fixture->disk, &target, &size), ERR_OK);
    assert_int_equal(size, whole);
    assert_int_equal(disk_remove(fixture->disk, &target), ERR_OK);
    assert_int_equal(disk_size(fixture->disk, &target, &size), ERR_MISSING);
    assert_int_equal(disk_remove(fixture->disk, &target), ERR_OK);
}

static void a_list_that_is_too_long_gives_as_many_as_fit(void **state)
{
    struct fixture *fixture = *state;
    struct disk_name names[2];
    uint32_t count = 0;

    temporary_file_write(&fixture->folder, "many-1", "", 0);
    temporary_file_write(&fixture->folder, "many-2", "", 0);
    temporary_file_write(&fixture->folder, "many-3", "", 0);

    assert_int_equal(disk_list(fixture->disk, "many-", names, 2, &count), ERR_FULL);
    assert_int_equal(count, 2);
    assert_memory_equal(names[0].text, "many-", 5);
    assert_memory_equal(names[1].text, "many-", 5);
}

static void synchronous_write_changes_only_its_range(void **state)
{
    struct fixture *fixture = *state;
    struct disk_name name = name_of("file");
    uint8_t found[6];

    temporary_file_write(&fixture->folder, "file", "abcdef", 6);

    assert_int_equal(disk_write(fixture->disk, &name, 2, (const uint8_t *)"XY", 2), ERR_OK);
    assert_int_equal(temporary_file_read(&fixture->folder, "file", 0, found, 6), 6);
    assert_memory_equal(found, "abXYef", 6);
}

#define LAW(name) cmocka_unit_test_setup_teardown(name, open_fixture, close_fixture)

static struct disk_request staging(struct fixture *fixture, const char *name, uint64_t offset,
                                   uint8_t byte, uint64_t tag)
{
    struct disk_request request = request_of(fixture, DISK_STAGE, name, tag);

    request.lane = DISK_LANE_SNAPSHOT;
    request.offset = offset;
    memset(fixture->page, byte, DISK_ALIGNMENT);
    return request;
}

static void stage_and_publish(struct fixture *fixture)
{
    uint8_t found[2 * DISK_ALIGNMENT];
    struct disk_request request = staging(fixture, "snap.new", 0, 9, 1);

    /* What an earlier file of the name had is gone. */
    temporary_file_write(&fixture->folder, "snap.new", found, sizeof(found));
    assert_int_equal(carried_out(fixture, &request), ERR_OK);
    assert_int_equal(temporary_file_size(&fixture->folder, "snap.new"), DISK_ALIGNMENT);
    request = staging(fixture, "snap.new", DISK_ALIGNMENT, 8, 2);
    assert_int_equal(carried_out(fixture, &request), ERR_OK);
    request = staging(fixture, "snap.new", 2 * (uint64_t)DISK_ALIGNMENT, 7, 3);
    assert_int_equal(carried_out(fixture, &request), ERR_OK);
    request.operation = DISK_PUBLISH;
    request.target = name_of("snap");
    request.size = 2 * (uint64_t)DISK_ALIGNMENT;
    assert_int_equal(carried_out(fixture, &request), ERR_OK);

    assert_false(temporary_file_exists(&fixture->folder, "snap.new"));
    assert_int_equal(temporary_file_size(&fixture->folder, "snap"), sizeof(found));
    assert_int_equal(temporary_file_read(&fixture->folder, "snap", 0, found, sizeof(found)),
                     sizeof(found));
    assert_true(all_are(found, DISK_ALIGNMENT, 9));
    assert_true(all_are(found + DISK_ALIGNMENT, DISK_ALIGNMENT, 8));
    /* Written again under the same name: the descriptor of the published file is not used. */
    request = staging(fixture, "snap.new", 0, 6, 4);
    assert_int_equal(carried_out(fixture, &request), ERR_OK);
    assert_int_equal(temporary_file_read(&fixture->folder, "snap", 0, found, DISK_ALIGNMENT),
                     DISK_ALIGNMENT);
    assert_true(all_are(found, DISK_ALIGNMENT, 9));
}

static void staged_file_gets_its_name_when_it_is_published(void **state)
{
    stage_and_publish(*state);
}

static void staging_works_without_direct_writes(void **state)
{
    struct fixture *fixture = *state;

    disk_posix_refuse_direct(fixture->disk);
    stage_and_publish(fixture);
}

static void publishing_what_is_not_there_is_an_error(void **state)
{
    struct fixture *fixture = *state;
    struct disk_request request = request_of(fixture, DISK_PUBLISH, "snap.new", 3);

    request.lane = DISK_LANE_SNAPSHOT;
    request.target = name_of("snap");
    assert_int_equal(carried_out(fixture, &request), ERR_MISSING);
    assert_false(temporary_file_exists(&fixture->folder, "snap"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LAW(staged_file_gets_its_name_when_it_is_published),
        LAW(staging_works_without_direct_writes),
        LAW(publishing_what_is_not_there_is_an_error),
        LAW(write_is_read_back),
        LAW(buffered_write_takes_the_place_of_a_refused_direct_one),
        LAW(requests_of_a_lane_complete_in_order),
        LAW(missing_file_is_said_to_be_missing),
        LAW(filled_file_is_zeros_under_its_own_name_only),
        LAW(fill_of_an_odd_size_is_exact),
        LAW(fill_rests_only_while_it_is_ahead_of_its_pace),
        LAW(fill_is_faster_than_the_log_beside_it),
        LAW(failed_fill_gives_way_to_the_failure_after_it),
        LAW(stop_interrupts_a_fill),
        LAW(read_behind_the_end_gives_zeros),
        LAW(synchronous_read_stops_at_the_end),
        LAW(removed_file_is_gone_and_removing_it_again_is_no_error),
        LAW(write_after_a_removal_goes_to_the_new_file),
        LAW(list_is_sorted_and_leaves_out_what_is_not_finished),
        LAW(unfinished_files_are_removed_when_the_folder_is_opened),
        LAW(disk_without_a_loop_changes_nothing),
        LAW(saved_file_replaces_the_one_before),
        LAW(renamed_file_replaces_its_target),
        LAW(staged_bytes_are_a_file_once_they_are_published),
        LAW(a_list_that_is_too_long_gives_as_many_as_fit),
        LAW(synchronous_write_changes_only_its_range),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
