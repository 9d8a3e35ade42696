/* tests/unit/wire/utf8_test.c: what is UTF-8, by the table of RFC 3629. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "tests/support/wire/edge.h"
#include "wire/internal.h"

static bool is_utf8(const char *text)
{
    struct edge edge = edge_open(64);
    bool verdict = wire_is_utf8(edge_place(&edge, bytes_of_text(text)));

    edge_close(&edge);
    return verdict;
}

static void characters_of_every_length_are_utf8(void **state)
{
    (void)state;

    assert_true(is_utf8(""));
    assert_true(is_utf8("plain"));
    assert_true(is_utf8("\xc2\x80\xdf\xbf"));
    assert_true(is_utf8("\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf"));
    assert_true(is_utf8("\xf0\x90\x80\x80\xf4\x8f\xbf\xbf tail"));
    assert_true(wire_is_utf8(bytes_of("a\0b", 3)));
}

static void what_is_cut_overlong_or_out_of_range_is_not_utf8(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "\x80",
        "\xbf",
        "\xc0\x80",
        "\xc1\xbf",
        "\xc3",
        "\xc3(",
        "\xe0\x9f\xbf",
        "\xed\xa0\x80",
        "\xed\xbf\xbf",
        "\xe2\x82",
        "\xf0\x8f\xbf\xbf",
        "\xf4\x90\x80",
        "\xf4\x90\x80\x80",
        "\xf5\x80\x80\x80",
        "\xff",
        "\xf0\x9f\x92",
        "ok \xfe",
        "\xe2\x28\xa1",
        "\xf0\x9f\x28\x80",
    };

    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        assert_false(is_utf8(wrong[i]));
    }
}

static void control_characters_are_text_but_not_printable(void **state)
{
    (void)state;

    assert_true(wire_is_printable(bytes_of_text("a b\xc3\xa9~")));
    assert_true(wire_is_utf8(bytes_of_text("a\n")));
    assert_false(wire_is_printable(bytes_of_text("a\n")));
    assert_false(wire_is_printable(bytes_of_text("\x7f")));
    assert_false(wire_is_printable(bytes_of_text("\xff")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(characters_of_every_length_are_utf8),
        cmocka_unit_test(what_is_cut_overlong_or_out_of_range_is_not_utf8),
        cmocka_unit_test(control_characters_are_text_but_not_printable),
    };
    return cmocka_run_group_tests_name("wire/utf8", tests, NULL, NULL);
}
