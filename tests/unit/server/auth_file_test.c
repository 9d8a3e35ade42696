/* tests/unit/server/auth_file_test.c: the file of tokens is kept secret, or refused. */
#define _GNU_SOURCE /* NOLINT(bugprone-reserved-identifier): the C library's own switch. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "server/auth_file.h"
#include "tests/support/server/temporary_folder.h"

struct file {
    struct temporary_folder folder;
    char path[TEMPORARY_PATH_SIZE + 8];
    struct credentials credentials;
    struct config_problem problem;
};

static void file_open(struct file *file, const char *text, mode_t mode)
{
    memset(file, 0, sizeof(*file));
    temporary_folder_open(&file->folder);
    (void)snprintf(file->path, sizeof(file->path), "%s/auth", file->folder.path);
    temporary_file_write(&file->folder, "auth", text, strlen(text));
    assert_int_equal(chmod(file->path, mode), 0);
}

static void a_file_of_its_owner_and_group_is_read(void **state)
{
    struct file file;

    (void)state;
    file_open(&file, "admin sekret\n", 0640);
    assert_true(auth_file_read(file.path, &file.credentials, &file.problem));

    assert_non_null(credentials_find(&file.credentials, bytes_of_text("sekret")));
    temporary_folder_close(&file.folder);
}

static void a_file_that_others_may_touch_is_refused(void **state)
{
    static const mode_t modes[] = {0644, 0602, 0777};
    struct file file;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(modes); i++) {
        file_open(&file, "admin sekret\n", modes[i]);
        assert_false(auth_file_read(file.path, &file.credentials, &file.problem));

        assert_int_equal(file.problem.exit_status, CONFIG_EXIT_INVALID);
        assert_non_null(strstr(file.problem.text, "chmod o="));
        assert_non_null(strstr(file.problem.text, file.path));
        temporary_folder_close(&file.folder);
    }
}

static void a_file_that_is_not_valid_or_not_there_is_refused_without_its_content(void **state)
{
    struct file file;

    (void)state;
    file_open(&file, "admin sekret\nother sekret\n", 0600);
    assert_false(auth_file_read(file.path, &file.credentials, &file.problem));
    assert_non_null(strstr(file.problem.text, "line 2"));
    assert_null(strstr(file.problem.text, "sekret"));
    assert_false(auth_file_read(file.folder.path, &file.credentials, &file.problem));
    assert_non_null(strstr(file.problem.text, "not a file"));
    temporary_folder_close(&file.folder);
    assert_false(auth_file_read(file.path, &file.credentials, &file.problem));
    assert_non_null(strstr(file.problem.text, "No such file"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_of_its_owner_and_group_is_read),
        cmocka_unit_test(a_file_that_others_may_touch_is_refused),
        cmocka_unit_test(a_file_that_is_not_valid_or_not_there_is_refused_without_its_content),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
