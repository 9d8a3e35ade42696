#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "raft/configuration.h"

/* Joint: 1 leaves, 2 stays, 3 comes, 4 learns and is to vote for 2. */
static struct raft_configuration sample(void)
{
    struct raft_configuration configuration = {
        .index = 7,
        .member_count = 4,
        .members = {{.id = 1, .parts = RAFT_PART_OUTGOING},
                    {.id = 2, .parts = RAFT_PART_VOTER | RAFT_PART_OUTGOING},
                    {.id = 3, .parts = RAFT_PART_VOTER, .context_size = 2, .context = "ab"},
                    {.id = 4, .parts = RAFT_PART_LEARNER, .is_promoted = true, .replaces = 2}},
    };

    return configuration;
}

static void configuration_has_a_fixed_layout(void **state)
{
    const uint8_t expected[] = {
        1, 0, 2, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0,                  /* version, count, index */
        5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 'x', /* member 5 votes */
        6, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 4, 1, 0, 0,      /* member 6 learns */
    };
    struct raft_configuration configuration = {
        .index = 9,
        .member_count = 2,
        .members = {{.id = 5, .parts = RAFT_PART_VOTER, .context_size = 1, .context = "x"},
                    {.id = 6, .parts = RAFT_PART_LEARNER, .is_promoted = true, .replaces = 5}},
    };
    uint8_t bytes[RAFT_CONFIGURATION_SIZE_MAX];
    (void)state;

    assert_int_equal(raft_configuration_encode(bytes, &configuration), sizeof(expected));
    assert_memory_equal(bytes, expected, sizeof(expected));
}

static void configuration_survives_encoding(void **state)
{
    struct raft_configuration configuration = sample();
    struct raft_configuration decoded;
    uint8_t bytes[RAFT_CONFIGURATION_SIZE_MAX];
    (void)state;

    uint32_t size = raft_configuration_encode(bytes, &configuration);
    assert_true(raft_configuration_decode(bytes_of(bytes, size), &decoded));

    assert_memory_equal(&decoded, &configuration, sizeof(decoded));
    assert_true(raft_configuration_is_joint(&decoded));
    assert_int_equal(raft_configuration_find(&decoded, 3)->context_size, 2);
    assert_null(raft_configuration_find(&decoded, 5));
}

static void largest_configuration_fits(void **state)
{
    struct raft_configuration configuration = {.index = 1, .member_count = RAFT_MEMBER_COUNT_MAX};
    struct raft_configuration decoded;
    uint8_t bytes[RAFT_CONFIGURATION_SIZE_MAX];
    (void)state;
    for (uint32_t i = 0; i < RAFT_MEMBER_COUNT_MAX; i++) {
        configuration.members[i].id = i + 1;
        configuration.members[i].parts = RAFT_PART_VOTER;
        configuration.members[i].context_size = RAFT_CONTEXT_SIZE_MAX;
        memset(configuration.members[i].context, (int)i, RAFT_CONTEXT_SIZE_MAX);
    }

    uint32_t size = raft_configuration_encode(bytes, &configuration);

    assert_int_equal(size, RAFT_CONFIGURATION_SIZE_MAX);
    assert_true(raft_configuration_decode(bytes_of(bytes, size), &decoded));
}

static void bytes_that_are_not_whole_are_refused(void **state)
{
    struct raft_configuration configuration = sample();
    struct raft_configuration decoded = {.index = 99};
    uint8_t bytes[RAFT_CONFIGURATION_SIZE_MAX] = {0};
    (void)state;
    uint32_t size = raft_configuration_encode(bytes, &configuration);

    for (uint32_t cut = 0; cut < size; cut++) {
        assert_false(raft_configuration_decode(bytes_of(bytes, cut), &decoded));
    }
    assert_false(raft_configuration_decode(bytes_of(bytes, size + 1), &decoded));
    assert_int_equal(decoded.index, 99);
}

static void bytes_that_make_no_sense_are_refused(void **state)
{
    /* Position and value: version, count, reserved, id, parts of a voter, flags, context size. */
    const uint8_t bad[][2] = {{0, 2},  {2, 3},  {2, 200}, {4, 1},   {16, 0},
                              {32, 0}, {32, 5}, {33, 2},  {35, 255}};
    struct raft_configuration configuration = sample();
    struct raft_configuration decoded;
    uint8_t bytes[RAFT_CONFIGURATION_SIZE_MAX];
    (void)state;

    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        uint32_t size = raft_configuration_encode(bytes, &configuration);
        bytes[bad[i][0]] = bad[i][1];
        assert_false(raft_configuration_decode(bytes_of(bytes, size), &decoded));
    }
}

static void configurations_that_cannot_be_are_not_valid(void **state)
{
    struct raft_configuration cases[9];
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        cases[i] = sample();
        assert_true(raft_configuration_is_valid(&cases[i]));
    }

    cases[0].members[1].id = 0;
    cases[1].members[1].id = 3; /* Twice. */
    cases[2].members[0].parts = 0;
    cases[3].members[3].parts = RAFT_PART_LEARNER | RAFT_PART_VOTER;
    cases[4].members[3].replaces = 4; /* Itself. */
    cases[5].members[2].is_promoted = true;
    cases[6].member_count = RAFT_MEMBER_COUNT_MAX + 1;
    cases[7].member_count = 1; /* Only one that leaves. */
    cases[8].member_count = 0;

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_false(raft_configuration_is_valid(&cases[i]));
    }
    cases[8].index = 0; /* A node that waits to be added. */
    assert_true(raft_configuration_is_valid(&cases[8]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(configuration_has_a_fixed_layout),
        cmocka_unit_test(configuration_survives_encoding),
        cmocka_unit_test(largest_configuration_fits),
        cmocka_unit_test(bytes_that_are_not_whole_are_refused),
        cmocka_unit_test(bytes_that_make_no_sense_are_refused),
        cmocka_unit_test(configurations_that_cannot_be_are_not_valid),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
