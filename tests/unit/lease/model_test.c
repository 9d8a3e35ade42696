/* tests/unit/lease/model_test.c: random schedules agree with the model, and leave no residue. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/macros.h"
#include "lease/lease.h"
#include "tests/support/base/memory_table.h"
#include "tests/support/lease/schedule.h"

enum { SEED_COUNT = 6, STEP_COUNT = 1500, SHORT_SEED_COUNT = 2000, SHORT_STEP_COUNT = 40 };

/* Long queues on few locks. */
static const struct schedule_profile contended = {
    .session_count_max = 40,
    .name_count = 4,
    .renew_share = 35,
    .release_share = 20,
    .end_share = 1,
    .ttl_ms_max = 1000,
    .advance_ms_max = 20,
    .open_share = 12,
};

/* Few sessions with more locks each than one call passes on. */
static const struct schedule_profile greedy = {
    .session_count_max = 5,
    .name_count = MODEL_NAME_COUNT,
    .renew_share = 10,
    .release_share = 2,
    .end_share = 1,
    .ttl_ms_max = 5000,
    .advance_ms_max = 10,
    .open_share = 12,
};

/* Sessions that come and go, many at the same stamp. */
static const struct schedule_profile short_lived = {
    .session_count_max = 40,
    .name_count = 20,
    .renew_share = 20,
    .release_share = 20,
    .end_share = 5,
    .ttl_ms_max = 100,
    .advance_ms_max = 40,
    .open_share = 12,
};

/* Queues in which more sessions die at once than one call skips. Without renewals, see model.h. */
static const struct schedule_profile crowded = {
    .session_count_max = MODEL_SESSION_COUNT_MAX,
    .name_count = 1,
    .renew_share = 0,
    .release_share = 2,
    .end_share = 1,
    .ttl_ms_max = 20000,
    .advance_ms_max = 10,
    .open_share = 45,
    .leap_ms = 20000,
};

/* Everything at once: modes, permits, lock delays, forced unlocks. */
static const struct schedule_profile mixed = {
    .session_count_max = 12,
    .name_count = 60,
    .renew_share = 20,
    .release_share = 25,
    .end_share = 2,
    .ttl_ms_max = 1500,
    .advance_ms_max = 30,
    .open_share = 25,
    .shared_share = 60,
    .permit_share = 30,
    .delay_ms_max = 400,
    .break_share = 4,
};

/* The same on few locks. */
static const struct schedule_profile mixed_contended = {
    .session_count_max = 20,
    .name_count = 4,
    .renew_share = 25,
    .release_share = 20,
    .end_share = 2,
    .ttl_ms_max = 800,
    .advance_ms_max = 25,
    .open_share = 30,
    .shared_share = 60,
    .permit_share = 2,
    .delay_ms_max = 300,
    .break_share = 4,
};

/* More readers behind one writer than one call grants to. */
static const struct schedule_profile readers = {
    .session_count_max = MODEL_SESSION_COUNT_MAX,
    .name_count = 1,
    .renew_share = 0,
    .release_share = 0,
    .end_share = 0,
    .ttl_ms_max = 20000,
    .advance_ms_max = 5,
    .open_share = 45,
    .leap_ms = 4000,
    .shared_share = 99,
    .writer_first = true,
};

static void run_steps(const struct schedule_profile *profile, uint64_t seed, uint32_t step_count,
                      struct schedule *schedule)
{
    struct table *table = memory_table_open();

    schedule_init(schedule, table, profile, seed);
    for (uint32_t step = 0; step < step_count; step++) {
        schedule_step(schedule);
    }
    schedule_drain(schedule);
    /* Only the counters are left, and the audit. */
    assert_int_equal(memory_table_count(table), 1 + schedule->model.audit_count);
    memory_table_close(table);
}

static void run(const struct schedule_profile *profile, uint64_t seed, struct schedule *schedule)
{
    run_steps(profile, seed, STEP_COUNT, schedule);
}

static void contended_schedules_agree_with_the_model(void **state)
{
    static struct schedule schedule;

    (void)state;
    for (uint64_t seed = 1; seed <= SEED_COUNT; seed++) {
        run(&contended, seed, &schedule);
        assert_true(schedule.granted_count > 20);
        assert_true(schedule.ended_count > 5);
    }
}

static void greedy_schedules_agree_with_the_model(void **state)
{
    static struct schedule schedule;
    uint64_t more_count = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= SEED_COUNT; seed++) {
        run(&greedy, seed, &schedule);
        more_count += schedule.expired_more_count;
        assert_true(schedule.granted_count > 20);
    }
    /* The bound of one call was met, or this test would say little. */
    assert_true(more_count > 3);
}

static void short_lived_schedules_agree_with_the_model(void **state)
{
    static struct schedule schedule;

    (void)state;
    for (uint64_t seed = 1; seed <= SEED_COUNT; seed++) {
        run(&short_lived, seed, &schedule);
        assert_true(schedule.ended_count > 100);
    }
}

static void crowded_schedules_agree_with_the_model(void **state)
{
    static struct schedule schedule;
    uint64_t due_holder_count = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= SEED_COUNT; seed++) {
        run(&crowded, seed, &schedule);
        due_holder_count += schedule.model.due_holder_count;
        assert_true(schedule.granted_count > 5);
    }
    /* The bound of skipped waiters was met, or this test would say little. */
    assert_true(due_holder_count > 2);
}

/* Thousands of short ones: shapes of the beginning of a lock's life. */
static void short_mixed_schedules_agree_with_the_model(void **state)
{
    static struct schedule schedule;
    uint64_t seen[6] = {0};

    (void)state;
    for (uint64_t seed = 1; seed <= SHORT_SEED_COUNT; seed++) {
        run_steps(seed % 2 == 0 ? &mixed : &mixed_contended, seed, SHORT_STEP_COUNT, &schedule);
        seen[0] += schedule.shared_count;
        seen[1] += schedule.permits_count;
        seen[2] += schedule.model.lost_count;
        seen[3] += schedule.model.audit_count;
        seen[4] += schedule.lost_count;
        seen[5] += schedule.kept_count;
    }
    for (uint32_t i = 0; i < COUNT_OF(seen); i++) {
        assert_true(seen[i] > SHORT_SEED_COUNT / 10);
    }
}

static void long_mixed_schedules_agree_with_the_model(void **state)
{
    static struct schedule schedule;

    (void)state;
    for (uint64_t seed = 1; seed <= SEED_COUNT; seed++) {
        run(&mixed, seed, &schedule);
        assert_true(schedule.permits_count > 10);
        run(&mixed_contended, seed, &schedule);
        assert_true(schedule.shared_count > 10);
        assert_true(schedule.granted_count > 20);
    }
}

static void more_readers_than_one_call_grants_agree_with_the_model(void **state)
{
    static struct schedule schedule;
    uint64_t behind_count = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= SEED_COUNT; seed++) {
        run(&readers, seed, &schedule);
        behind_count += schedule.model.behind_count;
    }
    /* The bound of grants was met, or this test would say little. */
    assert_true(behind_count > 2);
}

static void same_commands_give_the_same_table(void **state)
{
    struct table *tables[] = {memory_table_open(), memory_table_open()};
    static struct schedule schedules[2];

    (void)state;
    for (uint32_t i = 0; i < COUNT_OF(tables); i++) {
        schedule_init(&schedules[i], tables[i], &mixed_contended, 77);
    }
    for (uint32_t step = 0; step < STEP_COUNT; step++) {
        schedule_step(&schedules[0]);
        schedule_step(&schedules[1]);
        /* Commits are each node's own affair. */
        table_commit(tables[1]);
        assert_int_equal(table_hash(tables[0]), table_hash(tables[1]));
    }
    assert_true(memory_table_count(tables[0]) > 10);
    memory_table_close(tables[0]);
    memory_table_close(tables[1]);
}

/* All pairs of one table, loaded into an empty one, as a snapshot brings them. */
static struct table *loaded_copy(struct table *table)
{
    struct table *copy = memory_table_open();
    struct bytes key;
    struct bytes value;

    table_commit(table);
    assert_true(table_snapshot_open(table));
    table_load_begin(copy);
    for (;;) {
        enum table_snapshot_step step = table_snapshot_next(table, &key, &value);
        if (step == TABLE_SNAPSHOT_END) {
            break;
        }
        assert_true(step == TABLE_SNAPSHOT_PAIR || step == TABLE_SNAPSHOT_WAIT);
        if (step == TABLE_SNAPSHOT_PAIR) {
            table_load_put(copy, key, value);
        }
    }
    table_load_end(copy, true);
    table_snapshot_close(table);
    return copy;
}

static void state_that_was_loaded_goes_on_like_the_one_it_was_taken_from(void **state)
{
    struct table *tables[] = {memory_table_open(), memory_table_open()};
    static struct schedule schedules[2];

    (void)state;
    for (uint32_t i = 0; i < COUNT_OF(tables); i++) {
        schedule_init(&schedules[i], tables[i], &mixed_contended, 78);
    }
    for (uint32_t step = 0; step < STEP_COUNT; step++) {
        schedule_step(&schedules[0]);
        schedule_step(&schedules[1]);
        if (step % 100 == 50) {
            struct table *copy = loaded_copy(tables[1]);
            memory_table_close(tables[1]);
            tables[1] = copy;
            schedules[1].table = copy;
        }
        assert_int_equal(table_hash(tables[0]), table_hash(tables[1]));
    }
    assert_true(schedules[0].model.audit_count > 10 && schedules[0].model.lost_count > 10);
    memory_table_close(tables[0]);
    memory_table_close(tables[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(contended_schedules_agree_with_the_model),
        cmocka_unit_test(greedy_schedules_agree_with_the_model),
        cmocka_unit_test(short_lived_schedules_agree_with_the_model),
        cmocka_unit_test(crowded_schedules_agree_with_the_model),
        cmocka_unit_test(short_mixed_schedules_agree_with_the_model),
        cmocka_unit_test(long_mixed_schedules_agree_with_the_model),
        cmocka_unit_test(more_readers_than_one_call_grants_agree_with_the_model),
        cmocka_unit_test(same_commands_give_the_same_table),
        cmocka_unit_test(state_that_was_loaded_goes_on_like_the_one_it_was_taken_from),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
