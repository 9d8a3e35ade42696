/* tests/unit/client/owner_test.c: the label of a session says who asks. */
#define _GNU_SOURCE /* NOLINT(bugprone-reserved-identifier): the C library's own switch. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/owner.h"

static void it_names_the_process_and_the_words_of_the_command(void **state)
{
    char program[] = "./deploy.sh";
    char option[] = "--all";
    char *command[] = {program, option, NULL};
    char label[256];
    char end[64];

    (void)state;
    owner_label(label, sizeof label, command);
    (void)snprintf(end, sizeof end, " pid %ld ./deploy.sh --all", (long)getpid());

    assert_non_null(strchr(label, '@'));
    assert_true(strlen(label) > strlen(end));
    assert_string_equal(label + strlen(label) - strlen(end), end);
}

static void without_a_command_it_ends_in_our_own_name(void **state)
{
    char label[256];

    (void)state;
    owner_label(label, sizeof label, NULL);

    assert_string_equal(strrchr(label, ' '), " owner_test");
}

static void what_is_not_printable_is_replaced(void **state)
{
    char word[] = "a\tb\x80\n";
    char *command[] = {word, NULL};
    char label[256];

    (void)state;
    owner_label(label, sizeof label, command);

    assert_string_equal(strrchr(label, ' '), " a?b??");
}

static void a_long_one_is_cut(void **state)
{
    char word[300];
    char *command[] = {word, NULL};
    char label[256];

    (void)state;
    memset(word, 'x', sizeof word - 1);
    word[sizeof word - 1] = '\0';
    owner_label(label, sizeof label, command);

    assert_int_equal(strlen(label), sizeof label - 1);
    assert_int_equal(label[sizeof label - 2], 'x');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_names_the_process_and_the_words_of_the_command),
        cmocka_unit_test(without_a_command_it_ends_in_our_own_name),
        cmocka_unit_test(what_is_not_printable_is_replaced),
        cmocka_unit_test(a_long_one_is_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
