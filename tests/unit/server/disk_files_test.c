/* tests/unit/server/disk_files_test.c: what a lane does where the file system refuses O_DIRECT, and
 * what it does to the page cache. */
#define _GNU_SOURCE /* NOLINT(bugprone-reserved-identifier): the C library's own switch. */
#include "server/disk_files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/assert.h"
#include "tests/support/server/temporary_folder.h"

enum { FILE_SIZE = 16 * DISK_ALIGNMENT };

struct fixture {
    struct temporary_folder temporary;
    struct disk_folder folder;
    struct disk_files files;
    struct disk_name name;
    uint8_t *memory; /* FILE_SIZE + DISK_ALIGNMENT zeros, aligned. */
};

static int open_fixture(void **state)
{
    static struct fixture fixture;

    memset(&fixture, 0, sizeof(fixture));
    temporary_folder_open(&fixture.temporary);
    fixture.memory = aligned_alloc(DISK_ALIGNMENT, FILE_SIZE + DISK_ALIGNMENT);
    ASSERT(fixture.memory != NULL);
    memset(fixture.memory, 0, FILE_SIZE + DISK_ALIGNMENT);
    fixture.folder.descriptor = open(fixture.temporary.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ASSERT(fixture.folder.descriptor >= 0);
    fixture.folder.zeros = fixture.memory;
    fixture.name = (struct disk_name){.text = "file"};
    disk_files_open(&fixture.files, &fixture.folder);
    *state = &fixture;
    return 0;
}

static int close_fixture(void **state)
{
    struct fixture *fixture = *state;

    disk_files_close(&fixture->files);
    close(fixture->folder.descriptor);
    free(fixture->memory);
    temporary_folder_close(&fixture->temporary);
    return 0;
}

static void fill_all(struct fixture *fixture, uint64_t size)
{
    struct disk_fill fill;

    assert_int_equal(disk_fill_begin(&fixture->files, &fill, &fixture->name, size), ERR_OK);
    while (fill.offset < fill.size) {
        assert_int_equal(disk_fill_step(&fixture->files, &fill), ERR_OK);
    }
    assert_int_equal(disk_fill_end(&fixture->files, &fill), ERR_OK);
}

/* How many pages of the file lie in the page cache. */
static size_t cached_page_count(struct fixture *fixture)
{
    unsigned char pages[FILE_SIZE / DISK_ALIGNMENT];
    size_t count = 0;
    int descriptor = openat(fixture->folder.descriptor, fixture->name.text, O_RDONLY | O_CLOEXEC);
    void *mapped = mmap(NULL, FILE_SIZE, PROT_READ, MAP_SHARED, descriptor, 0);

    ASSERT(descriptor >= 0 && mapped != MAP_FAILED);
    ASSERT(mincore(mapped, FILE_SIZE, pages) == 0);
    for (size_t i = 0; i < sizeof(pages); i++) {
        count += pages[i] & 1;
    }
    ASSERT(munmap(mapped, FILE_SIZE) == 0);
    close(descriptor);
    return count;
}

/* Memory that is off the alignment makes the kernel refuse the write and not the opening, as some
 * file systems do for all memory. */
static void fill_goes_on_buffered_when_only_its_write_is_refused(void **state)
{
    struct fixture *fixture = *state;

    fixture->folder.zeros = fixture->memory + 1;
    fill_all(fixture, FILE_SIZE);

    assert_int_equal(temporary_file_size(&fixture->temporary, "file"), FILE_SIZE);
    assert_false(temporary_file_exists(&fixture->temporary, "file.tmp"));
}

static void direct_read_leaves_nothing_in_the_page_cache(void **state)
{
    struct fixture *fixture = *state;
    uint64_t size_read;

    fill_all(fixture, FILE_SIZE);
    memset(fixture->memory, 0x5a, FILE_SIZE);
    assert_int_equal(disk_files_write(&fixture->files, &fixture->name, 0,
                                      bytes_of(fixture->memory, FILE_SIZE), true),
                     ERR_OK);
    memset(fixture->memory, 0, FILE_SIZE);
    if (atomic_load(&fixture->folder.is_buffered)) {
        skip(); /* A file system without O_DIRECT has no other way than its cache. */
    }

    assert_int_equal(disk_files_read_direct(&fixture->files, &fixture->name, 0, fixture->memory,
                                            FILE_SIZE, &size_read),
                     ERR_OK);
    assert_int_equal(size_read, FILE_SIZE);
    assert_int_equal(fixture->memory[0], 0x5a);
    assert_int_equal(fixture->memory[FILE_SIZE - 1], 0x5a);
    assert_int_equal(cached_page_count(fixture), 0);
}

static void direct_read_goes_on_buffered_where_it_is_refused(void **state)
{
    struct fixture *fixture = *state;
    uint64_t size_read;

    temporary_file_write(&fixture->temporary, "file", "abcdef", 6);

    assert_int_equal(disk_files_read_direct(&fixture->files, &fixture->name, 0, fixture->memory + 1,
                                            DISK_ALIGNMENT, &size_read),
                     ERR_OK);
    assert_int_equal(size_read, 6);
    assert_memory_equal(fixture->memory + 1, "abcdef", 6);
    assert_false(atomic_load(&fixture->folder.is_buffered));
}

static void direct_read_stops_at_an_end_off_the_alignment(void **state)
{
    struct fixture *fixture = *state;
    uint64_t size_read;

    temporary_file_write(&fixture->temporary, "file", "abcdef", 6);

    assert_int_equal(disk_files_read_direct(&fixture->files, &fixture->name, 0, fixture->memory,
                                            DISK_ALIGNMENT, &size_read),
                     ERR_OK);
    assert_int_equal(size_read, 6);
    assert_memory_equal(fixture->memory, "abcdef", 6);
}

#define LAW(name) cmocka_unit_test_setup_teardown(name, open_fixture, close_fixture)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LAW(fill_goes_on_buffered_when_only_its_write_is_refused),
        LAW(direct_read_leaves_nothing_in_the_page_cache),
        LAW(direct_read_goes_on_buffered_where_it_is_refused),
        LAW(direct_read_stops_at_an_end_off_the_alignment),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
