/* tests/unit/base/text_test.c: text is bounded, escaped and always a prefix of what was added. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/text.h"
#include "tests/support/base/death.h"

struct fixture {
    char memory[256];
    struct text text;
};

static void open(struct fixture *fixture)
{
    text_init(&fixture->text, fixture->memory, sizeof(fixture->memory));
}

static void text_is_put_together_piece_by_piece(void **state)
{
    (void)state;
    struct fixture fixture;
    open(&fixture);

    text_add(&fixture.text, "term=");
    text_add_u64(&fixture.text, 7);
    text_add_bytes(&fixture.text, bytes_of("!?", 1));
    text_add(&fixture.text, "");
    text_add_bytes(&fixture.text, bytes_of(NULL, 0));

    assert_string_equal(fixture.memory, "term=7!");
    assert_int_equal(fixture.text.size, 7);
    assert_false(fixture.text.truncated);
}

static void text_that_fits_exactly_is_not_truncated(void **state)
{
    (void)state;
    char memory[] = "123456";
    struct text text;
    text_init(&text, memory, 6);

    text_add(&text, "abc");
    text_add(&text, "de");

    assert_string_equal(memory, "abcde");
    assert_false(text.truncated);
}

static void what_does_not_fit_is_cut_and_nothing_follows(void **state)
{
    (void)state;
    char memory[] = "12345#";
    struct text text;
    text_init(&text, memory, 5);

    text_add(&text, "ab");
    text_add(&text, "cdefg");
    text_add(&text, "");
    text_add_u64(&text, 1);

    assert_string_equal(memory, "abcd");
    assert_int_equal(text.size, 4);
    assert_true(text.truncated);
    assert_int_equal(memory[5], '#');
}

static void a_piece_after_the_cut_is_not_taken_even_if_it_fits(void **state)
{
    (void)state;
    char memory[4];
    struct text text;
    text_init(&text, memory, sizeof(memory));
    text_add(&text, "abc");
    text_add(&text, "d");

    text.size = 2;
    memory[2] = '\0';
    text_add(&text, "e");

    assert_string_equal(memory, "ab");
}

static void no_capacity_takes_nothing(void **state)
{
    (void)state;
    struct text text;
    text_init(&text, NULL, 0);

    text_add(&text, "a");

    assert_true(text.truncated);
    assert_int_equal(text.size, 0);
}

static void a_plain_value_is_not_quoted(void **state)
{
    (void)state;
    struct fixture fixture;
    open(&fixture);

    text_add_quoted(&fixture.text, bytes_of_text("10.0.0.1:7000/\xc3\xa9"));

    assert_string_equal(fixture.memory, "10.0.0.1:7000/\xc3\xa9");
}

static void assert_quoted(struct bytes value, const char *expected)
{
    struct fixture fixture;
    open(&fixture);

    text_add_quoted(&fixture.text, value);

    assert_string_equal(fixture.memory, expected);
}

static void a_value_that_could_be_misread_is_quoted(void **state)
{
    (void)state;

    assert_quoted(bytes_of_text(""), "\"\"");
    assert_quoted(bytes_of_text("two words"), "\"two words\"");
    assert_quoted(bytes_of_text("a=b"), "\"a=b\"");
    assert_quoted(bytes_of_text("say \"hi\""), "\"say \\\"hi\\\"\"");
    assert_quoted(bytes_of_text("back\\slash"), "\"back\\\\slash\"");
}

static void a_value_cannot_begin_a_new_line_of_the_log(void **state)
{
    (void)state;

    assert_quoted(bytes_of("a\nb\x00\x1f\x7f", 6), "\"a\\x0ab\\x00\\x1f\\x7f\"");
}

static void bytes_that_are_not_text_are_escaped_in_a_log_line(void **state)
{
    (void)state;

    assert_quoted(bytes_of_text("\xff"), "\"\\xff\"");
    assert_quoted(bytes_of_text("\xc3"), "\"\\xc3\"");
}

static void assert_json(struct bytes value, const char *expected)
{
    struct fixture fixture;
    open(&fixture);

    text_add_json(&fixture.text, value);

    assert_string_equal(fixture.memory, expected);
}

static void json_strings_are_quoted_and_escaped(void **state)
{
    (void)state;

    assert_json(bytes_of_text(""), "\"\"");
    assert_json(bytes_of_text("a b=c/d"), "\"a b=c/d\"");
    assert_json(bytes_of_text("\"\\"), "\"\\\"\\\\\"");
    assert_json(bytes_of("\x00\n\x1f\x7f", 4), "\"\\u0000\\u000a\\u001f\\u007f\"");
}

static void json_keeps_valid_utf8(void **state)
{
    (void)state;

    assert_json(bytes_of_text("\xc2\x80 \xdf\xbf"), "\"\xc2\x80 \xdf\xbf\"");
    assert_json(bytes_of_text("\xe0\xa0\x80 \xed\x9f\xbf \xef\xbf\xbf"),
                "\"\xe0\xa0\x80 \xed\x9f\xbf \xef\xbf\xbf\"");
    assert_json(bytes_of_text("\xf0\x90\x80\x80 \xf4\x8f\xbf\xbf"),
                "\"\xf0\x90\x80\x80 \xf4\x8f\xbf\xbf\"");
}

static void json_replaces_each_byte_that_is_not_utf8(void **state)
{
    (void)state;

    assert_json(bytes_of_text("a\x80z"), "\"a\\ufffdz\"");
    assert_json(bytes_of_text("\xc1\xbf"), "\"\\ufffd\\ufffd\"");
    assert_json(bytes_of_text("\xe0\x9f\xbf"), "\"\\ufffd\\ufffd\\ufffd\"");
    assert_json(bytes_of_text("\xed\xa0\x80"), "\"\\ufffd\\ufffd\\ufffd\"");
    assert_json(bytes_of_text("\xf0\x8f\xbf\xbf"), "\"\\ufffd\\ufffd\\ufffd\\ufffd\"");
    assert_json(bytes_of_text("\xf4\x90\x80\x80"), "\"\\ufffd\\ufffd\\ufffd\\ufffd\"");
    assert_json(bytes_of_text("\xf5"), "\"\\ufffd\"");
}

static void json_never_reads_beyond_a_cut_character(void **state)
{
    (void)state;

    assert_json(bytes_of("\xe2\x82\xac", 2), "\"\\ufffd\\ufffd\"");
    assert_json(bytes_of("\xf0\x9f\x98\x80", 3), "\"\\ufffd\\ufffd\\ufffd\"");
}

static void numbers_are_written_in_full(void **state)
{
    (void)state;
    struct fixture fixture;
    open(&fixture);

    text_add_u64(&fixture.text, 0);
    text_add(&fixture.text, " ");
    text_add_u64(&fixture.text, UINT64_MAX);

    assert_string_equal(fixture.memory, "0 18446744073709551615");
}

static void hexadecimal_numbers_have_a_fixed_width(void **state)
{
    (void)state;
    struct fixture fixture;
    open(&fixture);

    text_add_hex(&fixture.text, 0xabc, 4);
    text_add(&fixture.text, " ");
    text_add_hex(&fixture.text, 0x1234, 2);
    text_add(&fixture.text, " ");
    text_add_hex(&fixture.text, 0xfedcba9876543210, 16);

    assert_string_equal(fixture.memory, "0abc 34 fedcba9876543210");
}

static void fixed_point_numbers_keep_their_zeros(void **state)
{
    (void)state;
    struct fixture fixture;
    open(&fixture);

    text_add_fixed(&fixture.text, 1500, 3);
    text_add(&fixture.text, " ");
    text_add_fixed(&fixture.text, 7, 2);
    text_add(&fixture.text, " ");
    text_add_fixed(&fixture.text, 7, 0);
    text_add(&fixture.text, " ");
    text_add_fixed(&fixture.text, UINT64_MAX, 9);

    assert_string_equal(fixture.memory, "1.500 0.07 7 18446744073.709551615");
}

static void decimal_numbers_are_read(void **state)
{
    (void)state;
    uint64_t value;

    assert_true(text_parse_u64(bytes_of_text("0"), &value) && value == 0);
    assert_true(text_parse_u64(bytes_of_text("0042"), &value) && value == 42);
    assert_true(text_parse_u64(bytes_of("123456", 3), &value) && value == 123);
    assert_true(text_parse_u64(bytes_of_text("18446744073709551615"), &value));
    assert_true(value == UINT64_MAX);
}

static void anything_but_a_number_of_64_bits_is_refused(void **state)
{
    (void)state;
    const char *const refused[] = {
        "",
        "-1",
        "+1",
        " 1",
        "1 ",
        "1.0",
        "0x10",
        "1e",
        "a",
        "/9:",
        ":",
        "18446744073709551616",
        "184467440737095516150",
    };
    uint64_t value = 5;

    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        assert_false(text_parse_u64(bytes_of_text(refused[i]), &value));
    }
    assert_int_equal(value, 5);
}

static void ask_for_no_digits(void)
{
    struct fixture fixture;
    open(&fixture);
    text_add_hex(&fixture.text, 1, 0);
}

static void ask_for_too_many_decimals(void)
{
    struct fixture fixture;
    open(&fixture);
    text_add_fixed(&fixture.text, 1, 10);
}

static void impossible_widths_abort(void **state)
{
    (void)state;

    assert_true(dies(ask_for_no_digits, "digits >= 1 && digits <= 16"));
    assert_true(dies(ask_for_too_many_decimals, "decimals <= TEXT_DECIMALS_MAX"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_is_put_together_piece_by_piece),
        cmocka_unit_test(text_that_fits_exactly_is_not_truncated),
        cmocka_unit_test(what_does_not_fit_is_cut_and_nothing_follows),
        cmocka_unit_test(a_piece_after_the_cut_is_not_taken_even_if_it_fits),
        cmocka_unit_test(no_capacity_takes_nothing),
        cmocka_unit_test(a_plain_value_is_not_quoted),
        cmocka_unit_test(a_value_that_could_be_misread_is_quoted),
        cmocka_unit_test(a_value_cannot_begin_a_new_line_of_the_log),
        cmocka_unit_test(bytes_that_are_not_text_are_escaped_in_a_log_line),
        cmocka_unit_test(json_strings_are_quoted_and_escaped),
        cmocka_unit_test(json_keeps_valid_utf8),
        cmocka_unit_test(json_replaces_each_byte_that_is_not_utf8),
        cmocka_unit_test(json_never_reads_beyond_a_cut_character),
        cmocka_unit_test(numbers_are_written_in_full),
        cmocka_unit_test(hexadecimal_numbers_have_a_fixed_width),
        cmocka_unit_test(fixed_point_numbers_keep_their_zeros),
        cmocka_unit_test(decimal_numbers_are_read),
        cmocka_unit_test(anything_but_a_number_of_64_bits_is_refused),
        cmocka_unit_test(impossible_widths_abort),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
