/* tests/unit/jepsen/history_test.c: what a history takes, what it refuses, and its files. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/macros.h"
#include "jepsen/history.h"
#include "tests/support/jepsen/generate.h"

static const struct history_limits small = {
    .operation_count_max = 2,
    .process_count_max = 2,
    .key_count_max = 1,
    .value_count_max = 2,
    .text_size_max = 8,
};

static const struct history_call get = {.function = HISTORY_GET};

static void equal_values_have_one_number(void **state)
{
    (void)state;
    struct history *history = generate_empty();
    history_value first;
    history_value second;
    history_value other;

    assert_int_equal(history_value_of(history, bytes_of_text("a"), &first), ERR_OK);
    assert_int_equal(history_value_of(history, bytes_of_text("b"), &other), ERR_OK);
    assert_int_equal(history_value_of(history, bytes_of_text("a"), &second), ERR_OK);

    assert_int_equal(first, second);
    assert_int_not_equal(first, other);
    assert_int_not_equal(first, HISTORY_ABSENT);
    assert_true(bytes_equal(history_value_bytes(history, other), bytes_of_text("b")));
    history_close(history);
}

static void a_list_is_not_the_value_with_its_bytes(void **state)
{
    (void)state;
    struct history *history = generate_empty();
    history_value items[2];
    history_value list;
    history_value text;
    uint8_t bytes[4];

    assert_int_equal(history_value_of(history, bytes_of_text("a"), &items[0]), ERR_OK);
    assert_int_equal(history_list_of(history, items, 1, &list), ERR_OK);
    store_u32(bytes, items[0]);
    assert_int_equal(history_value_of(history, bytes_of(bytes, 4), &text), ERR_OK);

    assert_int_not_equal(list, text);
    assert_true(history_value_is_list(history, list));
    assert_int_equal(history_list_count(history, list), 1);
    assert_int_equal(history_list_at(history, list, 0), items[0]);
    items[1] = list;
    assert_int_equal(history_list_of(history, items, 2, &list), ERR_INVALID);
    items[1] = HISTORY_ABSENT;
    assert_int_equal(history_list_of(history, items, 2, &list), ERR_INVALID);
    history_close(history);
}

static void members_are_without_order_and_items_with(void **state)
{
    (void)state;
    struct history *history = generate_empty();
    history_value items[2];
    history_value forwards;
    history_value backwards;

    assert_int_equal(history_value_of(history, bytes_of_text("a"), &items[0]), ERR_OK);
    assert_int_equal(history_value_of(history, bytes_of_text("b"), &items[1]), ERR_OK);
    assert_int_equal(history_list_of(history, items, 2, &forwards), ERR_OK);
    history_value swapped[2] = {items[1], items[0]};
    assert_int_equal(history_list_of(history, swapped, 2, &backwards), ERR_OK);

    struct history_digest a = history_list_members(history, forwards);
    struct history_digest b = history_list_members(history, backwards);
    assert_memory_equal(&a, &b, sizeof(a));
    a = history_list_items(history, forwards);
    b = history_list_items(history, backwards);
    assert_memory_not_equal(&a, &b, sizeof(a));
    history_close(history);
}

static void a_full_history_refuses_and_keeps_what_it_has(void **state)
{
    (void)state;
    struct history *history = history_open(&small);
    struct bytes key = bytes_of_text("k");
    history_value value;

    assert_int_equal(history_call(history, 2, key, &get, 1), ERR_FULL);
    assert_int_equal(history_call(history, 0, key, &get, 1), ERR_OK);
    assert_int_equal(history_call(history, 1, bytes_of_text("other"), &get, 1), ERR_OK);
    assert_int_equal(history_answer(history, 0, HISTORY_INFO, NULL, 2), ERR_OK);
    assert_int_equal(history_call(history, 0, key, &get, 3), ERR_FULL);
    assert_int_equal(history_value_of(history, bytes_of_text("123"), &value), ERR_FULL);
    assert_int_equal(history_value_of(history, bytes_of_text("12"), &value), ERR_OK);
    assert_int_equal(history_value_of(history, bytes_of_text("12"), &value), ERR_OK);

    assert_int_equal(history_operation_count(history), 2);
    assert_int_equal(history_event_count(history), 3);
    assert_int_equal(history_operation_at(history, 0)->outcome, HISTORY_INFO);
    assert_int_equal(history_operation_at(history, 1)->outcome, HISTORY_PENDING);
    history_close(history);
}

static void a_process_has_one_call_at_a_time(void **state)
{
    (void)state;
    struct history *history = generate_empty();
    struct bytes key = bytes_of_text("k");

    assert_int_equal(history_answer(history, 0, HISTORY_INFO, NULL, 1), ERR_NOT_FOUND);
    assert_int_equal(history_call(history, 0, key, &get, 1), ERR_OK);
    assert_int_equal(history_outstanding(history, 0), 0);
    assert_int_equal(history_call(history, 0, key, &get, 1), ERR_IN_USE);
    assert_int_equal(history_answer(history, 0, HISTORY_FAILED, NULL, 1), ERR_OK);
    assert_int_equal(history_outstanding(history, 0), HISTORY_NONE);
    assert_int_equal(history_call(history, 0, key, &get, 1), ERR_OK);
    history_close(history);
}

static void time_does_not_go_back(void **state)
{
    (void)state;
    struct history *history = generate_empty();
    struct bytes key = bytes_of_text("k");

    assert_int_equal(history_call(history, 0, key, &get, 5), ERR_OK);
    assert_int_equal(history_call(history, 1, key, &get, 4), ERR_INVALID);
    assert_int_equal(history_answer(history, 0, HISTORY_INFO, NULL, 4), ERR_INVALID);
    assert_int_equal(history_answer(history, 0, HISTORY_INFO, NULL, 5), ERR_OK);
    history_close(history);
}

static void calls_and_answers_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    struct history *history = generate_empty();
    struct bytes key = bytes_of_text("k");
    struct history_call put = {.function = HISTORY_PUT};
    struct history_call acquire = {.function = HISTORY_ACQUIRE};
    struct history_answer answer = {.refused = true};

    assert_int_equal(history_call(history, 0, key, &put, 1), ERR_INVALID);
    assert_int_equal(history_call(history, 0, key, &acquire, 1), ERR_INVALID);
    assert_int_equal(history_call(history, 0, key, &get, 1), ERR_OK);
    assert_int_equal(history_answer(history, 0, HISTORY_OK, &answer, 1), ERR_INVALID);
    answer = (struct history_answer){.value = 77};
    assert_int_equal(history_answer(history, 0, HISTORY_OK, &answer, 1), ERR_INVALID);
    acquire.owner = 1;
    assert_int_equal(history_call(history, 1, key, &acquire, 1), ERR_OK);
    answer = (struct history_answer){.token = 0};
    assert_int_equal(history_answer(history, 1, HISTORY_OK, &answer, 1), ERR_INVALID);
    history_close(history);
}

static enum error read_text(struct history *history, const char *text, struct history_fault *fault)
{
    FILE *file = tmpfile();

    assert_non_null(file);
    assert_int_equal(fputs(text, file) >= 0, 1);
    rewind(file);
    enum error error = history_read(history, file, fault);
    assert_int_equal(fclose(file), 0);
    return error;
}

static char *write_text(const struct history *history)
{
    char *text = NULL;
    size_t size;
    FILE *file = open_memstream(&text, &size);

    assert_non_null(file);
    assert_int_equal(history_write(history, file), ERR_OK);
    assert_int_equal(fclose(file), 0);
    return text;
}

static void what_is_written_is_read_back(void **state)
{
    (void)state;
    struct prng prng;

    prng_init(&prng, 6);
    for (uint32_t round = 0; round < 40; round++) {
        struct generate_options options = {
            .object = (enum history_object)(round % 4),
            .operation_count = 100,
            .process_count = 8,
            .key_count = 3,
            .info_percent = 10,
            .failed_percent = 10,
            .has_revisions = round % 2 == 0,
        };
        struct history *history = generate_history(&prng, &options);
        struct history *copy = generate_empty();
        struct history_fault fault;
        char *text = write_text(history);

        assert_int_equal(read_text(copy, text, &fault), ERR_OK);
        char *again = write_text(copy);

        assert_string_equal(text, again);
        free(text);
        free(again);
        history_close(copy);
        history_close(history);
    }
}

static void any_bytes_are_read_back(void **state)
{
    (void)state;
    struct history *history = generate_empty();
    struct history *copy = generate_empty();
    struct history_call put = {.function = HISTORY_PUT};
    struct history_fault fault;
    uint8_t bytes[256];

    for (unsigned i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t)i;
    }
    assert_int_equal(history_value_of(history, bytes_of(bytes, 256), &put.value), ERR_OK);
    assert_int_equal(history_call(history, 0, bytes_of(bytes, 256), &put, 1), ERR_OK);
    char *text = write_text(history);

    assert_int_equal(read_text(copy, text, &fault), ERR_OK);

    assert_true(bytes_equal(history_key_name(copy, 0), bytes_of(bytes, 256)));
    assert_true(bytes_equal(history_value_bytes(copy, 1), bytes_of(bytes, 256)));
    free(text);
    history_close(copy);
    history_close(history);
}

static void notes_and_fields_of_others_are_stepped_over(void **state)
{
    (void)state;
    struct history *history = generate_empty();
    struct history_fault fault;

    enum error error = read_text(
        history,
        "{\"process\":\"nemesis\",\"type\":\"info\",\"f\":\"kill\",\"value\":{\"n1\":[\"]\\\"}\"]}}"
        "\n"
        "\n"
        " { \"process\" : 3 , \"type\" : \"invoke\", \"f\":\"put\" ,\"key\":7,\"value\":12,"
        "\"node\":\"n1\",\"extra\":[{},[1]]}\r\n"
        "{\"process\":3,\"type\":\"ok\",\"f\":\"put\",\"key\":\"7\",\"revision\":4,\"error\":null}",
        &fault);

    assert_int_equal(error, ERR_OK);
    assert_int_equal(history_operation_count(history), 1);
    const struct history_operation *put = history_operation_at(history, 0);
    assert_true(bytes_equal(history_value_bytes(history, put->call.value), bytes_of_text("12")));
    assert_true(bytes_equal(history_key_name(history, put->key), bytes_of_text("7")));
    assert_int_equal(put->outcome, HISTORY_OK);
    assert_int_equal(put->answer.revision, 4);
    history_close(history);
}

#define HEAD "{\"process\":0,\"type\":\"invoke\",\"f\":\"put\",\"key\":\"x\",\"value\":\"1\"}\n"

/* A second line that is refused, and a part of what is said about it. */
static const char *const bad_lines[][2] = {
    {"[]", "{ expected"},
    {"{}", "without fields"},
    {"{\"process\":0", "no , or }"},
    {"{\"process\" 0}", "no :"},
    {"{process:0}", "quoted name"},
    {"{\"process\":0,}", "quoted name"},
    {"{\"process\":}", "not JSON"},
    {"{\"process\":0} x", "behind the end"},
    {"{\"key\":\"x", "closing quote"},
    {"{\"key\":\"\\q\"}", "escape"},
    {"{\"key\":\"\\u0100\"}", "escape"},
    {"{\"key\":\"\\u00g0\"}", "escape"},
    {"{\"key\":\"a\tb\"}", "control"},
    {"{\"key\":[1", "never closed"},
    {"{\"f\":\"put\"}", "\"process\""},
    {"{\"process\":-1}", "\"process\""},
    {"{\"process\":1,\"time\":1.5}", "\"time\""},
    {"{\"process\":1,\"f\":\"jump\",\"type\":\"ok\",\"key\":\"x\"}", "\"f\""},
    {"{\"process\":1,\"f\":\"put\",\"type\":\"ok\"}", "\"key\""},
    {"{\"process\":1,\"f\":\"put\",\"type\":\"yes\",\"key\":\"x\"}", "\"type\""},
    {"{\"process\":1,\"f\":\"put\",\"type\":\"ok\",\"key\":\"x\"}", "called nothing"},
    {"{\"process\":0,\"f\":\"get\",\"type\":\"ok\",\"key\":\"x\"}", "not that of"},
    {"{\"process\":0,\"f\":\"put\",\"type\":\"ok\",\"key\":\"y\"}", "not that of"},
    {"{\"process\":0,\"f\":\"put\",\"type\":\"ok\",\"key\":\"x\",\"revision\":\"1\"}",
     "\"revision\""},
    {"{\"process\":0,\"f\":\"put\",\"type\":\"ok\",\"key\":\"x\",\"refused\":true}",
     "does not fit"},
    {"{\"process\":0,\"f\":\"put\",\"type\":\"invoke\",\"key\":\"x\",\"value\":\"2\"}", "waits"},
    {"{\"process\":1,\"f\":\"put\",\"type\":\"invoke\",\"key\":\"x\",\"value\":[1]}", "\"value\""},
    {"{\"process\":1,\"f\":\"put\",\"type\":\"invoke\",\"key\":\"x\"}", "\"value\""},
    {"{\"process\":1,\"f\":\"cas\",\"type\":\"invoke\",\"key\":\"x\",\"value\":[1]}",
     "[expected, new]"},
    {"{\"process\":1,\"f\":\"cas\",\"type\":\"invoke\",\"key\":\"x\",\"value\":1}", "list"},
    {"{\"process\":1,\"f\":\"cas\",\"type\":\"invoke\",\"key\":\"x\",\"value\":[[],1]}", "list"},
    {"{\"process\":1,\"f\":\"acquire\",\"type\":\"invoke\",\"key\":\"x\"}", "\"owner\""},
    {"{\"process\":5000,\"f\":\"get\",\"type\":\"invoke\",\"key\":\"x\"}", "no room"},
};

static void a_bad_line_is_named_and_those_before_it_count(void **state)
{
    (void)state;

    for (size_t i = 0; i < COUNT_OF(bad_lines); i++) {
        struct history *history = generate_empty();
        struct history_fault fault;
        char text[512];

        (void)snprintf(text, sizeof(text), HEAD "%s\n", bad_lines[i][0]);
        enum error error = read_text(history, text, &fault);

        if (error == ERR_OK || fault.line != 2 || strstr(fault.text, bad_lines[i][1]) == NULL) {
            fail_msg("%s: %s at line %u: %s", bad_lines[i][0], error_name(error), fault.line,
                     fault.text);
        }
        assert_int_equal(history_operation_count(history), 1);
        history_close(history);
    }
}

/* Lines that were damaged at random are read or refused, and nothing else happens. */
static void damaged_lines_do_no_harm(void **state)
{
    (void)state;
    struct generate_options options = {
        .object = HISTORY_LIST, .operation_count = 20, .process_count = 3, .key_count = 2};
    struct history_fault fault;
    uint32_t refused = 0;
    struct prng prng;

    prng_init(&prng, 7);
    struct history *history = generate_history(&prng, &options);
    char *text = write_text(history);
    size_t size = strlen(text);
    for (uint32_t round = 0; round < 2000; round++) {
        char *damaged = strdup(text);
        struct history *copy = generate_empty();
        assert_non_null(damaged);
        damaged[prng_below(&prng, size)] = "\"\\[]{},:0u\x01\xff"[prng_below(&prng, 12)];
        damaged[prng_between(&prng, size / 2, size)] = '\0';
        refused += read_text(copy, damaged, &fault) != ERR_OK;
        history_close(copy);
        free(damaged);
    }
    assert_true(refused > 1000);
    free(text);
    history_close(history);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_values_have_one_number),
        cmocka_unit_test(a_list_is_not_the_value_with_its_bytes),
        cmocka_unit_test(members_are_without_order_and_items_with),
        cmocka_unit_test(a_full_history_refuses_and_keeps_what_it_has),
        cmocka_unit_test(a_process_has_one_call_at_a_time),
        cmocka_unit_test(time_does_not_go_back),
        cmocka_unit_test(calls_and_answers_that_do_not_fit_are_refused),
        cmocka_unit_test(what_is_written_is_read_back),
        cmocka_unit_test(any_bytes_are_read_back),
        cmocka_unit_test(notes_and_fields_of_others_are_stepped_over),
        cmocka_unit_test(a_bad_line_is_named_and_those_before_it_count),
        cmocka_unit_test(damaged_lines_do_no_harm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
