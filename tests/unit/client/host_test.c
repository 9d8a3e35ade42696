/* tests/unit/client/host_test.c: the clock of deadlines, on a machine that pauses and is suspended
 * between any two readings. This program's clock_gettime() is that machine. */
#define _GNU_SOURCE /* NOLINT(bugprone-reserved-identifier): the C library's own switch. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "client/host.h"

enum { NS_IN_S = 1000000000, NS_IN_MS = 1000000, READING_NS = 1000, PLACE_COUNT = 12 };

#define PAUSE_NS (5LL * NS_IN_S)

struct machine {
    bool is_scripted;    /* Else the clocks are the real ones. */
    int64_t running_ns;  /* What the monotonic clocks count, */
    int64_t sleeping_ns; /* and what they do not. */
    uint32_t readings;
    uint32_t pause_at; /* Before this reading, */
    uint32_t pauses;   /* so many times in a row: */
    bool suspends;     /* of the machine, not only of the process. */
};

static struct machine machine;

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): theirs are reserved. */
int clock_gettime(clockid_t clock, struct timespec *time)
{
    if (!machine.is_scripted) {
        return (int)syscall(SYS_clock_gettime, clock, time);
    }
    machine.running_ns += READING_NS;
    if (machine.readings >= machine.pause_at &&
        machine.readings < machine.pause_at + machine.pauses) {
        machine.running_ns += machine.suspends ? 0 : PAUSE_NS;
        machine.sleeping_ns += machine.suspends ? PAUSE_NS : 0;
    }
    machine.readings++;
    int64_t now_ns = machine.running_ns + (clock == CLOCK_BOOTTIME ? machine.sleeping_ns : 0);
    time->tv_sec = (time_t)(now_ns / NS_IN_S);
    time->tv_nsec = (long)(now_ns % NS_IN_S);
    return 0;
}

/* Milliseconds of the whole time, and what the library takes for it. */
static uint64_t whole_ms(void)
{
    return (uint64_t)(machine.running_ns + machine.sleeping_ns) / NS_IN_MS;
}

static void assert_time_is_of_a_moment_within_the_call(struct machine scripted)
{
    machine = scripted;
    uint64_t before_ms = whole_ms();
    uint64_t now_ms = host_now_ms();
    uint64_t after_ms = whole_ms();
    machine.is_scripted = false;

    assert_in_range(now_ms, before_ms - 1, after_ms);
}

static void a_pause_between_two_readings_changes_nothing(void **state)
{
    (void)state;
    for (uint32_t place = 0; place < PLACE_COUNT; place++) {
        for (uint32_t pauses = 0; pauses < 8; pauses++) {
            assert_time_is_of_a_moment_within_the_call((struct machine){.is_scripted = true,
                                                                        .running_ns = NS_IN_S,
                                                                        .sleeping_ns = PAUSE_NS,
                                                                        .pause_at = place,
                                                                        .pauses = pauses});
        }
    }
}

static void a_suspension_between_two_readings_is_counted(void **state)
{
    (void)state;
    for (uint32_t place = 0; place < PLACE_COUNT; place++) {
        assert_time_is_of_a_moment_within_the_call((struct machine){.is_scripted = true,
                                                                    .running_ns = NS_IN_S,
                                                                    .pause_at = place,
                                                                    .pauses = 1,
                                                                    .suspends = true});
    }
}

/* What counts behind a pause in the midst of the readings is the time behind it. */
static void a_pause_amid_the_readings_of_a_suspension_does_not_make_it_early(void **state)
{
    (void)state;
    for (uint32_t place = 1; place < 3; place++) {
        machine = (struct machine){
            .is_scripted = true, .running_ns = NS_IN_S, .pause_at = place, .pauses = 1};
        uint64_t now_ms = host_now_ms();
        uint64_t after_ms = whole_ms();
        machine.is_scripted = false;

        assert_in_range(now_ms, after_ms - 1, after_ms);
    }
}

static void
a_machine_that_always_pauses_is_asked_no_more_than_a_bounded_number_of_times(void **state)
{
    (void)state;
    machine = (struct machine){.is_scripted = true, .running_ns = NS_IN_S, .pauses = UINT32_MAX};
    (void)host_now_ms();
    machine.is_scripted = false;

    assert_true(machine.readings <= 1000);
}

static void the_real_clock_does_not_go_back_by_more_than_a_millisecond(void **state)
{
    uint64_t last_ms = host_now_ms();

    (void)state;
    for (int i = 0; i < 10000; i++) {
        uint64_t now_ms = host_now_ms();
        assert_true(now_ms + 1 >= last_ms);
        last_ms = now_ms;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pause_between_two_readings_changes_nothing),
        cmocka_unit_test(a_suspension_between_two_readings_is_counted),
        cmocka_unit_test(a_pause_amid_the_readings_of_a_suspension_does_not_make_it_early),
        cmocka_unit_test(
            a_machine_that_always_pauses_is_asked_no_more_than_a_bounded_number_of_times),
        cmocka_unit_test(the_real_clock_does_not_go_back_by_more_than_a_millisecond),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
