/* tests/unit/base/credentials_test.c: files of tokens, and whose a token is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/credentials.h"
#include "base/macros.h"

static bool parse(struct credentials *credentials, const char *text, char *problem)
{
    return credentials_parse(credentials, bytes_of(text, strlen(text)), problem);
}

static const char *owner(const struct credentials *credentials, const char *token)
{
    const struct credential *found = credentials_find(credentials, bytes_of_text(token));

    return found == NULL ? "" : found->name;
}

static void each_line_is_a_name_and_a_token(void **state)
{
    struct credentials credentials;
    char problem[CREDENTIALS_PROBLEM_SIZE];

    (void)state;
    assert_true(parse(&credentials, "# who may\n\n a\tone \r\nb two\na three", problem));

    assert_int_equal(credentials.count, 3);
    assert_string_equal(owner(&credentials, "one"), "a");
    assert_string_equal(owner(&credentials, "two"), "b");
    assert_string_equal(owner(&credentials, "three"), "a");
}

static void a_token_is_known_only_as_a_whole(void **state)
{
    static const char *const wrong[] = {"", "o", "on", "onf", "ones", "One", "one\1", "zone"};
    struct credentials credentials;
    char problem[CREDENTIALS_PROBLEM_SIZE];

    (void)state;
    assert_true(parse(&credentials, "a one\nb other", problem));

    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        assert_string_equal(owner(&credentials, wrong[i]), "");
    }
    /* The bytes behind a stored token are zeros, and no part of it. */
    assert_null(credentials_find(&credentials, bytes_of("one\0", 4)));
}

static void the_longest_token_and_the_last_of_many_are_known(void **state)
{
    struct credentials credentials;
    char problem[CREDENTIALS_PROBLEM_SIZE];
    char text[64 * CREDENTIAL_COUNT_MAX];
    size_t size = 0;
    char longest[CREDENTIAL_TOKEN_SIZE_MAX + 4];

    (void)state;
    for (unsigned i = 0; i < CREDENTIAL_COUNT_MAX; i++) {
        size += (size_t)snprintf(text + size, sizeof(text) - size, "name%u token%u\n", i, i);
    }
    assert_true(parse(&credentials, text, problem));
    assert_string_equal(owner(&credentials, "token0"), "name0");
    assert_string_equal(owner(&credentials, "token127"), "name127");
    memset(longest, 't', sizeof(longest));
    memcpy(longest, "a ", 2);
    longest[2 + CREDENTIAL_TOKEN_SIZE_MAX] = '\0';
    assert_true(parse(&credentials, longest, problem));
    assert_string_equal(owner(&credentials, longest + 2), "a");
}

static void a_file_that_is_not_valid_is_refused_with_its_line_and_nothing_of_it(void **state)
{
    static const char *const wrong[] = {"a sekret\nb sekret", "a sekret more", "sekret",
                                        "a sek\1ret",         "# nothing\n",   ""};
    struct credentials credentials;
    char problem[CREDENTIALS_PROBLEM_SIZE];
    char text[64 * (CREDENTIAL_COUNT_MAX + 1)];
    size_t size = 0;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        assert_false(parse(&credentials, wrong[i], problem));
        assert_null(strstr(problem, "sek"));
        assert_true(strlen(problem) > 10);
    }
    assert_false(parse(&credentials, "a one\nb one", problem));
    assert_non_null(strstr(problem, "line 2:"));
    (void)snprintf(text, sizeof(text), "a %0256d", 0);
    assert_false(parse(&credentials, text, problem));
    (void)snprintf(text, sizeof(text), "%065d t", 1);
    assert_false(parse(&credentials, text, problem));
    for (unsigned i = 0; i <= CREDENTIAL_COUNT_MAX; i++) {
        size += (size_t)snprintf(text + size, sizeof(text) - size, "n t%u\n", i);
    }
    assert_false(parse(&credentials, text, problem));
    assert_non_null(strstr(problem, "line 129:"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_line_is_a_name_and_a_token),
        cmocka_unit_test(a_token_is_known_only_as_a_whole),
        cmocka_unit_test(the_longest_token_and_the_last_of_many_are_known),
        cmocka_unit_test(a_file_that_is_not_valid_is_refused_with_its_line_and_nothing_of_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
