/* Tests of node/promise.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/promise.h"
#include "tests/support/log/memory_disk.h"

static uint32_t settle(struct disk *disk, uint32_t promise_ms)
{
    uint32_t wait_ms = 1;

    assert_int_equal(promise_settle(disk, promise_ms, &wait_ms), ERR_OK);
    return wait_ms;
}

static void a_disk_that_never_promised_waits_for_what_it_promises_now(void **state)
{
    struct disk *disk = memory_disk_open();

    assert_int_equal(settle(disk, 0), 0);
    assert_int_equal(memory_disk_file_count(disk), 0);
    assert_int_equal(settle(disk, 200), 200);

    memory_disk_close(disk);
    (void)state;
}

static void the_longest_promise_is_never_forgotten(void **state)
{
    struct disk *disk = memory_disk_open();

    assert_int_equal(settle(disk, 200), 200);
    memory_disk_crash(disk, NULL, NULL);
    assert_int_equal(settle(disk, 50), 200);
    assert_int_equal(settle(disk, 0), 200);
    assert_int_equal(settle(disk, 300), 300);
    assert_int_equal(settle(disk, 200), 300);

    memory_disk_close(disk);
    (void)state;
}

static void a_file_that_cannot_be_believed_may_have_said_the_most(void **state)
{
    struct disk *disk = memory_disk_open();

    assert_int_equal(settle(disk, 200), 200);
    for (uint64_t bit = 0; bit < 8 * PROMISE_SIZE; bit++) {
        memory_disk_flip_bit(disk, "promise", bit);
        assert_int_equal(settle(disk, 200), PROMISE_MS_MAX);
        memory_disk_flip_bit(disk, "promise", bit);
    }

    assert_int_equal(settle(disk, 200), 200);
    memory_disk_close(disk);
    (void)state;
}

static void a_promise_that_cannot_be_written_down_is_not_given(void **state)
{
    struct disk *disk = memory_disk_open();
    uint32_t wait_ms = 0;

    memory_disk_limit(disk, 0);

    assert_int_equal(promise_settle(disk, 200, &wait_ms), ERR_NO_SPACE);
    memory_disk_close(disk);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_disk_that_never_promised_waits_for_what_it_promises_now),
        cmocka_unit_test(the_longest_promise_is_never_forgotten),
        cmocka_unit_test(a_file_that_cannot_be_believed_may_have_said_the_most),
        cmocka_unit_test(a_promise_that_cannot_be_written_down_is_not_given),
    };
    return cmocka_run_group_tests_name("node/promise", tests, NULL, NULL);
}
