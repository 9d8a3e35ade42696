/* tests/unit/base/duration_test.c: what people write is read exactly or refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/duration.h"
#include "base/macros.h"

static const uint64_t ten_years_ms = 10ULL * 365 * 24 * 3600 * 1000;

static uint64_t parsed(const char *text)
{
    uint64_t duration_ms = 0;

    assert_true(duration_parse(text, &duration_ms));
    return duration_ms;
}

static void every_unit_is_read(void **state)
{
    (void)state;

    assert_true(parsed("500ms") == 500);
    assert_true(parsed("10s") == 10000);
    assert_true(parsed("2m") == 120000);
    assert_true(parsed("1h") == 3600000);
    assert_true(parsed("0s") == 0);
}

static void up_to_three_decimals_are_read(void **state)
{
    (void)state;

    assert_true(parsed("1.5s") == 1500);
    assert_true(parsed("0.001s") == 1);
    assert_true(parsed("1.05m") == 63000);
    assert_true(parsed("0.125h") == 450000);
    assert_true(parsed("3.000ms") == 3);
}

static void ten_years_are_the_longest(void **state)
{
    (void)state;
    uint64_t duration_ms = 1;

    assert_true(parsed("87600h") == ten_years_ms);
    assert_true(parsed("315360000s") == ten_years_ms);
    assert_false(duration_parse("87600.001h", &duration_ms));
    assert_false(duration_parse("315360000001ms", &duration_ms));
    assert_false(duration_parse("18446744073709551615h", &duration_ms));
    assert_false(duration_parse("18446744073709551616ms", &duration_ms));
    assert_true(duration_ms == 1);
}

static void anything_else_is_refused_and_changes_nothing(void **state)
{
    (void)state;
    const char *const refused[] = {
        "",     "s",    "10",    ".5s",  "1.s",  "1.2345s", "1..5s",   "-1s",
        "+1s",  " 1s",  "1s ",   "1 s",  "1S",   "1d",      "250us",   "1e3s",
        "1mss", "1ms2", "2m10s", "0x1s", "1,5s", "0.5ms",   "1.0001m",
    };
    uint64_t duration_ms = 1234;

    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        assert_false(duration_parse(refused[i], &duration_ms));
    }
    assert_true(duration_ms == 1234);
}

static void text_is_short_and_exact(void **state)
{
    (void)state;
    char text[DURATION_TEXT_SIZE];

    assert_string_equal(duration_to_text(0, text), "0ms");
    assert_string_equal(duration_to_text(250, text), "250ms");
    assert_string_equal(duration_to_text(1000, text), "1s");
    assert_string_equal(duration_to_text(1500, text), "1.5s");
    assert_string_equal(duration_to_text(10007, text), "10.007s");
    assert_string_equal(duration_to_text(60000, text), "1m");
    assert_string_equal(duration_to_text(130000, text), "2m10s");
    assert_string_equal(duration_to_text(3600000, text), "1h");
    assert_string_equal(duration_to_text(3600001, text), "1h0.001s");
    assert_string_equal(duration_to_text(ten_years_ms - 1, text), "87599h59m59.999s");
}

static void the_longest_text_fits(void **state)
{
    (void)state;
    char text[DURATION_TEXT_SIZE];

    assert_string_equal(duration_to_text(UINT64_MAX, text), "5124095576030h25m51s");
    assert_string_equal(duration_to_text(UINT64_MAX - 1551616, text), "5124095576029h59m59s");
}

static void durations_of_one_unit_are_read_back(void **state)
{
    (void)state;
    const uint64_t durations[] = {0, 1, 999, 1000, 1001, 59999, 60000, 3600000, 7200000};
    char text[DURATION_TEXT_SIZE];

    for (size_t i = 0; i < COUNT_OF(durations); i++) {
        assert_true(parsed(duration_to_text(durations[i], text)) == durations[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_unit_is_read),
        cmocka_unit_test(up_to_three_decimals_are_read),
        cmocka_unit_test(ten_years_are_the_longest),
        cmocka_unit_test(anything_else_is_refused_and_changes_nothing),
        cmocka_unit_test(text_is_short_and_exact),
        cmocka_unit_test(the_longest_text_fits),
        cmocka_unit_test(durations_of_one_unit_are_read_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
