/* Tests of node/watermark.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/watermark.h"

enum { LOW = 2, HIGH = 4, VALUES = 6, LENGTH = 6 };

/* The newest value at or beyond a mark decides. */
static bool expected(const uint32_t *values, uint32_t count)
{
    for (uint32_t i = count; i > 0; i--) {
        if (values[i - 1] >= HIGH || values[i - 1] <= LOW) {
            return values[i - 1] >= HIGH;
        }
    }
    return false;
}

static void the_last_mark_that_was_reached_decides_in_every_sequence(void **state)
{
    uint32_t count = 1;
    for (int i = 0; i < LENGTH; i++) {
        count *= VALUES;
    }

    for (uint32_t sequence = 0; sequence < count; sequence++) {
        struct watermark watermark = {.low = LOW, .high = HIGH};
        uint32_t values[LENGTH];
        uint32_t rest = sequence;

        for (uint32_t i = 0; i < LENGTH; i++) {
            values[i] = rest % VALUES;
            rest /= VALUES;
            assert_int_equal(watermark_note(&watermark, values[i]), expected(values, i + 1));
        }
    }
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_mark_that_was_reached_decides_in_every_sequence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
