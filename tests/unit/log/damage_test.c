/* tests/unit/log/damage_test.c: lives and damage at random: repaired or refused, never believed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/prng.h"
#include "log/format.h"
#include "log/log.h"
#include "tests/support/log/memory_disk.h"
#include "tests/support/log/test_log.h"

static void live(struct test_log *test, struct prng *prng)
{
    static const char *const states[] = {"one", "two", "three"};

    test_log_stage(test, 1, 0, 0, "zero");
    for (unsigned i = 0; i < 60; i++) {
        log_index last = log_last_index(test->log);
        bool cuts = prng_below(prng, 6) == 0 && last > test->staged.base_index + 3;
        uint64_t cut_count = cuts ? prng_between(prng, 1, 3) : 0;
        uint32_t size = (uint32_t)prng_between(prng, TEST_RECORD_SIZE_MIN, 2500);

        test_log_stage(test, last + 1 - cut_count, (uint32_t)prng_between(prng, 3, 5), size,
                       prng_below(prng, 8) == 0 ? states[i % 3] : NULL);
        test_log_settle(test);
        if (prng_below(prng, 150) == 0) {
            test_log_begin_anew(test, log_last_index(test->log) + 5, NULL);
            test_log_settle(test);
        }
    }
    memory_disk_crash(test->disk, NULL, NULL);
}

static const char *any_segment(const struct disk *disk, struct prng *prng)
{
    /* The last name is that of the hard state file. */
    return memory_disk_file_name(disk,
                                 (uint32_t)prng_below(prng, memory_disk_file_count(disk) - 1));
}

/* The segment with the newest batch. What is zeroed there looks like a tear (docs/log.md). */
static bool is_last_begun(const struct disk *disk, const char *name)
{
    const char *last = memory_disk_file_name(disk, 0);

    for (uint32_t i = 0; i + 1 < memory_disk_file_count(disk); i++) {
        const char *other = memory_disk_file_name(disk, i);

        last = log_is_zero(memory_disk_file(disk, other).data, 512) ? last : other;
    }
    return strcmp(last, name) == 0;
}

/* As disks do it: a bit, a lost sector, a lost stretch, a lost file. */
static void damage_somewhere(struct disk *disk, struct prng *prng)
{
    const char *name = any_segment(disk, prng);
    uint64_t offset = prng_below(prng, TEST_SEGMENT_SIZE / 512) * 512;

    switch (is_last_begun(disk, name) ? 7 : prng_below(prng, 8)) {
    case 0:
        memory_disk_zero(disk, name, offset, 512);
        return;
    case 1:
        memory_disk_zero(disk, name, offset, size_min(TEST_SEGMENT_SIZE - offset, 20000));
        return;
    case 2:
        if (memory_disk_file_count(disk) > 2 && strcmp(name, memory_disk_file_name(disk, 0)) != 0) {
            memory_disk_remove(disk, name);
        }
        return;
    default:
        memory_disk_flip_bit(disk, name, prng_below(prng, UINT64_C(8) * TEST_SEGMENT_SIZE));
    }
}

/* LOG_SEEDS=n in the environment runs that many. */
static uint64_t seed_count(uint64_t usual)
{
    const char *text = getenv("LOG_SEEDS");

    return text == NULL ? usual : strtoull(text, NULL, 10);
}

static void any_damage_is_repaired_or_refused_and_never_believed(void **state)
{
    unsigned repaired_count = 0;
    unsigned refused_count = 0;
    (void)state;

    for (uint64_t seed = 1; seed <= seed_count(150); seed++) {
        struct log_options options = test_log_options();
        struct test_log *test = test_log_open(&options);
        struct prng prng;

        prng_init(&prng, seed);
        live(test, &prng);
        for (uint64_t i = prng_between(&prng, 1, 3); i > 0; i--) {
            damage_somewhere(test->disk, &prng);
        }
        bool is_rotten = test_log_try_open(test) == ERR_CORRUPT;
        enum error error = test_log_repair(test, 9);

        assert_true(error == ERR_OK || error == ERR_CORRUPT || error == ERR_FULL);
        if (error == ERR_OK && is_rotten) {
            assert_true(test_log_matches(test, &test->durable));
            repaired_count++;
        }
        refused_count += error != ERR_OK;
        test_log_close(test);
    }
    assert_true(repaired_count > 60);
    assert_true(refused_count < repaired_count / 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_damage_is_repaired_or_refused_and_never_believed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
