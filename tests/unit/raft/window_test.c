#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/prng.h"
#include "raft/internal.h"

enum { RING_SIZE = 256, SLOT_COUNT = 16 };

struct fixture {
    struct raft_window window;
    uint8_t data[RING_SIZE];
    struct raft_slot slots[SLOT_COUNT];
};

static void open_window(struct fixture *fixture)
{
    memset(fixture, 0, sizeof(*fixture));
    raft_window_init(&fixture->window, fixture->data, RING_SIZE, fixture->slots, SLOT_COUNT);
}

/* Fills the entry with its index, so that its bytes can be told from all others. */
static bool push(struct fixture *fixture, uint32_t size)
{
    raft_index index = fixture->window.first_index + fixture->window.count;
    uint8_t *place = raft_window_push(&fixture->window, 1, size);

    if (place != NULL) {
        memset(place, (int)(index & 0xff), size);
    }
    return place != NULL;
}

static void entry_never_straddles_the_wrap(void **state)
{
    struct fixture fixture;
    (void)state;
    open_window(&fixture);
    assert_true(push(&fixture, 100));
    assert_true(push(&fixture, 100));
    raft_window_drop_first(&fixture.window);

    assert_true(push(&fixture, 80)); /* 56 bytes are left at the end: it goes to the start. */

    assert_int_equal(raft_window_slot(&fixture.window, 3)->offset, 0);
    assert_false(push(&fixture, 21)); /* Only 20 are left before the first. */
    assert_true(push(&fixture, 20));
}

static void slice_over_the_wrap_has_two_runs(void **state)
{
    struct fixture fixture;
    (void)state;
    open_window(&fixture);
    assert_true(push(&fixture, 100));
    assert_true(push(&fixture, 100));
    raft_window_drop_first(&fixture.window);
    assert_true(push(&fixture, 80));

    struct raft_slice slice = raft_window_slice(&fixture.window, 2, 1000);

    assert_int_equal(slice.count, 2);
    assert_int_equal(slice.first.size, 100);
    assert_int_equal(slice.first.data[0], 2);
    assert_int_equal(slice.second.size, 80);
    assert_int_equal(slice.second.data[0], 3);
}

static void slice_has_at_least_one_entry_and_no_more_than_fit(void **state)
{
    struct fixture fixture;
    (void)state;
    open_window(&fixture);
    assert_true(push(&fixture, 30));
    assert_true(push(&fixture, 30));
    assert_true(push(&fixture, 30));

    assert_int_equal(raft_window_slice(&fixture.window, 1, 10).count, 1);
    assert_int_equal(raft_window_slice(&fixture.window, 1, 60).count, 2);
    assert_int_equal(raft_window_slice(&fixture.window, 2, 1000).count, 2);
}

static void truncation_before_the_window_empties_it(void **state)
{
    struct fixture fixture;
    (void)state;
    open_window(&fixture);
    assert_true(push(&fixture, 30));
    assert_true(push(&fixture, 30));
    raft_window_drop_first(&fixture.window);

    raft_window_truncate(&fixture.window, 1);

    assert_int_equal(fixture.window.count, 0);
    assert_int_equal(fixture.window.first_index, 1);
}

static void bytes_after_counts_what_is_behind(void **state)
{
    struct fixture fixture;
    (void)state;
    open_window(&fixture);
    assert_true(push(&fixture, 30));
    assert_true(push(&fixture, 40));
    assert_true(push(&fixture, 50));
    raft_window_drop_first(&fixture.window);

    assert_int_equal(raft_window_bytes_after(&fixture.window, 0), 90);
    assert_int_equal(raft_window_bytes_after(&fixture.window, 2), 50);
    assert_int_equal(raft_window_bytes_after(&fixture.window, 3), 0);
}

static void check_bytes(const struct fixture *fixture)
{
    for (uint32_t i = 0; i < fixture->window.count; i++) {
        raft_index index = fixture->window.first_index + i;
        const struct raft_slot *slot = raft_window_slot(&fixture->window, index);
        for (uint32_t j = 0; j < slot->size; j++) {
            assert_int_equal(fixture->data[slot->offset + j], index & 0xff);
        }
    }
}

static void no_entry_is_ever_overwritten(void **state)
{
    struct fixture fixture;
    struct prng prng;
    uint32_t pushed = 0;
    (void)state;
    open_window(&fixture);
    prng_init(&prng, 1);

    for (uint32_t i = 0; i < 20000; i++) {
        uint64_t choice = prng_below(&prng, 10);
        if (choice < 6) {
            pushed += push(&fixture, 1 + (uint32_t)prng_below(&prng, 80));
        } else if (choice < 9 && fixture.window.count > 0) {
            raft_window_drop_first(&fixture.window);
        } else {
            raft_window_truncate(&fixture.window,
                                 fixture.window.first_index +
                                     prng_below(&prng, (uint64_t)fixture.window.count + 1));
        }
        check_bytes(&fixture);
        if (fixture.window.count > 0) {
            struct raft_slice slice =
                raft_window_slice(&fixture.window, fixture.window.first_index, UINT64_MAX);
            assert_int_equal(slice.count, fixture.window.count);
        }
    }
    assert_true(pushed > 5000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entry_never_straddles_the_wrap),
        cmocka_unit_test(slice_over_the_wrap_has_two_runs),
        cmocka_unit_test(slice_has_at_least_one_entry_and_no_more_than_fit),
        cmocka_unit_test(truncation_before_the_window_empties_it),
        cmocka_unit_test(bytes_after_counts_what_is_behind),
        cmocka_unit_test(no_entry_is_ever_overwritten),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
