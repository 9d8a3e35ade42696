/* tests/unit/server/data_folder_test.c: who may use a folder. */
#include "server/data_folder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "tests/support/server/temporary_folder.h"

struct fixture {
    struct temporary_folder folder;
    char path[TEMPORARY_PATH_SIZE + 16]; /* A folder in it that does not exist yet. */
};

static int open_fixture(void **state)
{
    static struct fixture fixture;

    temporary_folder_open(&fixture.folder);
    (void)snprintf(fixture.path, sizeof(fixture.path), "%s/a/b", fixture.folder.path);
    *state = &fixture;
    return 0;
}

static int close_fixture(void **state)
{
    struct fixture *fixture = *state;

    temporary_folder_close(&fixture->folder);
    return 0;
}

static void missing_folders_are_made(void **state)
{
    struct fixture *fixture = *state;
    int lock;

    assert_int_equal(data_folder_open(fixture->path, &lock), ERR_OK);

    assert_true(temporary_file_exists(&fixture->folder, "a/b/format"));
    assert_false(temporary_file_exists(&fixture->folder, "a/b/format.tmp"));
    data_folder_close(lock);
}

static void folder_in_use_is_refused_until_it_is_closed(void **state)
{
    struct fixture *fixture = *state;
    int first;
    int second;

    assert_int_equal(data_folder_open(fixture->path, &first), ERR_OK);
    assert_int_equal(data_folder_open(fixture->path, &second), ERR_IN_USE);
    data_folder_close(first);
    assert_int_equal(data_folder_open(fixture->path, &second), ERR_OK);
    data_folder_close(second);
}

static void folder_of_another_version_is_refused(void **state)
{
    struct fixture *fixture = *state;
    int lock;

    assert_int_equal(data_folder_open(fixture->path, &lock), ERR_OK);
    data_folder_close(lock);
    temporary_file_write(&fixture->folder, "a/b/format", "holdfast data 2\n", 16);

    assert_int_equal(data_folder_open(fixture->path, &lock), ERR_VERSION);
    assert_int_equal(data_folder_check(fixture->path), ERR_VERSION);
}

static void folder_that_is_a_file_is_refused(void **state)
{
    struct fixture *fixture = *state;
    int lock;

    temporary_file_write(&fixture->folder, "a", "", 0);

    assert_int_equal(data_folder_open(fixture->path, &lock), ERR_IO);
}

static void looking_at_a_folder_makes_nothing(void **state)
{
    struct fixture *fixture = *state;

    assert_int_equal(data_folder_check(fixture->folder.path), ERR_MISSING);
    assert_int_equal(data_folder_check(fixture->path), ERR_MISSING);
    assert_false(temporary_file_exists(&fixture->folder, "format"));
    assert_false(temporary_file_exists(&fixture->folder, "lock"));
}

#define LAW(name) cmocka_unit_test_setup_teardown(name, open_fixture, close_fixture)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LAW(missing_folders_are_made),
        LAW(folder_in_use_is_refused_until_it_is_closed),
        LAW(folder_of_another_version_is_refused),
        LAW(folder_that_is_a_file_is_refused),
        LAW(looking_at_a_folder_makes_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
