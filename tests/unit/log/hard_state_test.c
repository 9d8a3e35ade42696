/* tests/unit/log/hard_state_test.c: the two blocks, and what is believed of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "log/hard_state.h"
#include "tests/support/log/golden.h"

static const struct log_identity identity = {.cluster = "cluster-of-tests", .incarnation = 7};

struct fixture {
    uint8_t file[LOG_STATE_FILE_SIZE];
    struct log_state_evidence evidence;
    struct log_state_choice choice;
};

static struct log_hard_state state_of(uint64_t generation, const char *text)
{
    struct log_hard_state state = {.generation = generation, .size = (uint32_t)strlen(text)};

    memcpy(state.data, text, strlen(text));
    return state;
}

static void put_block(struct fixture *fixture, uint64_t generation, const char *text,
                      uint64_t batch_sequence)
{
    struct log_state_block block = {.identity = identity,
                                    .hard_state = state_of(generation, text),
                                    .batch_sequence = batch_sequence};

    log_state_encode(fixture->file + (generation % 2) * LOG_BLOCK_SIZE, &block);
}

/* Generations 4 and 5 are in the file, 5 also in the last batch, number 10. */
static struct fixture make_fixture(void)
{
    struct fixture fixture = {.evidence = {.identity = identity,
                                           .hard_state = state_of(5, "five"),
                                           .batch_sequence = 10}};

    put_block(&fixture, 4, "four", 8);
    put_block(&fixture, 5, "five", 10);
    return fixture;
}

static enum error choose(struct fixture *fixture)
{
    return log_state_choose(fixture->file, &fixture->evidence, &fixture->choice);
}

static void newest_of_both_blocks_and_the_batches_is_chosen(void **state)
{
    struct fixture fixture = make_fixture();
    (void)state;

    assert_int_equal(choose(&fixture), ERR_OK);
    assert_int_equal(fixture.choice.hard_state.generation, 5);
    put_block(&fixture, 6, "six", 11);
    assert_int_equal(choose(&fixture), ERR_OK);
    assert_int_equal(fixture.choice.hard_state.generation, 6);
    fixture.evidence.hard_state = state_of(7, "seven");
    assert_int_equal(choose(&fixture), ERR_OK);
    assert_int_equal(fixture.choice.hard_state.generation, 7);
    assert_true(fixture.choice.needs_repair);
}

static void empty_file_and_no_batch_mean_there_is_none(void **state)
{
    struct fixture fixture = {.evidence = {.identity = identity}};
    (void)state;

    assert_int_equal(choose(&fixture), ERR_OK);
    assert_int_equal(fixture.choice.hard_state.generation, 0);
    assert_false(fixture.choice.needs_repair);
}

static void one_damaged_block_is_repaired_from_the_other_copies(void **state)
{
    (void)state;
    for (unsigned number = 0; number < 2; number++) {
        struct fixture fixture = make_fixture();

        fixture.file[number * LOG_BLOCK_SIZE + 70] ^= 1;
        assert_int_equal(choose(&fixture), ERR_OK);
        assert_true(fixture.choice.needs_repair);
        assert_int_equal(fixture.choice.hard_state.generation, 5);
    }
}

static void no_valid_block_is_corrupt_when_the_batches_know_a_hard_state(void **state)
{
    struct fixture fixture = make_fixture();
    (void)state;

    fixture.file[70] ^= 1;
    fixture.file[LOG_BLOCK_SIZE + 70] ^= 1;
    assert_int_equal(choose(&fixture), ERR_CORRUPT);
    fixture.evidence.hard_state = (struct log_hard_state){.generation = 0};
    assert_int_equal(choose(&fixture), ERR_OK);
}

static void two_values_of_one_generation_are_corrupt(void **state)
{
    struct fixture fixture = make_fixture();
    (void)state;

    fixture.evidence.hard_state = state_of(5, "fife");
    assert_int_equal(choose(&fixture), ERR_CORRUPT);
}

static void block_that_names_a_batch_that_is_not_there_is_corrupt(void **state)
{
    struct fixture fixture = make_fixture();
    (void)state;

    fixture.evidence.batch_sequence = 9;
    assert_int_equal(choose(&fixture), ERR_OK);
    fixture.evidence.batch_sequence = 8;
    assert_int_equal(choose(&fixture), ERR_CORRUPT);
}

static void foreign_file_is_refused(void **state)
{
    struct fixture fixture = make_fixture();
    (void)state;

    fixture.evidence.identity.incarnation++;
    assert_int_equal(choose(&fixture), ERR_WRONG_NODE);
    fixture.evidence.identity.cluster[0]++;
    assert_int_equal(choose(&fixture), ERR_WRONG_CLUSTER);
}

static void every_flipped_bit_of_a_block_is_found(void **state)
{
    struct fixture fixture = make_fixture();
    struct log_state_block block;
    (void)state;

    for (uint32_t bit = 0; bit < 8 * LOG_BLOCK_SIZE; bit++) {
        fixture.file[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(log_state_decode(fixture.file, 0, &block), ERR_CORRUPT);
        fixture.file[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

static void block_at_the_other_place_is_corrupt(void **state)
{
    struct fixture fixture = make_fixture();
    struct log_state_block block;
    (void)state;

    assert_int_equal(log_state_decode(fixture.file, 1, &block), ERR_CORRUPT);
    assert_int_equal(log_state_decode(fixture.file + LOG_BLOCK_SIZE, 0, &block), ERR_CORRUPT);
}

static void rebuilt_file_keeps_what_is_valid(void **state)
{
    struct fixture fixture = make_fixture();
    struct log_state_block block = {
        .identity = identity, .hard_state = state_of(5, "five"), .batch_sequence = 11};
    uint8_t older[LOG_BLOCK_SIZE];
    (void)state;

    memcpy(older, fixture.file, sizeof(older));
    fixture.file[LOG_BLOCK_SIZE + 70] ^= 1;
    log_state_rebuild(fixture.file, &block);
    assert_memory_equal(fixture.file, older, sizeof(older));
    assert_int_equal(choose(&fixture), ERR_OK);
    assert_false(fixture.choice.needs_repair);

    fixture.file[70] ^= 1;
    log_state_rebuild(fixture.file, &block);
    assert_true(log_is_zero(fixture.file, LOG_BLOCK_SIZE));
}

static void bytes_of_a_block_stay_as_they_are(void **state)
{
    struct fixture fixture = make_fixture();
    (void)state;

    assert_true(log_golden_matches("hard-state-block",
                                   bytes_of(fixture.file + LOG_BLOCK_SIZE, LOG_BLOCK_SIZE)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(newest_of_both_blocks_and_the_batches_is_chosen),
        cmocka_unit_test(empty_file_and_no_batch_mean_there_is_none),
        cmocka_unit_test(one_damaged_block_is_repaired_from_the_other_copies),
        cmocka_unit_test(no_valid_block_is_corrupt_when_the_batches_know_a_hard_state),
        cmocka_unit_test(two_values_of_one_generation_are_corrupt),
        cmocka_unit_test(block_that_names_a_batch_that_is_not_there_is_corrupt),
        cmocka_unit_test(foreign_file_is_refused),
        cmocka_unit_test(every_flipped_bit_of_a_block_is_found),
        cmocka_unit_test(block_at_the_other_place_is_corrupt),
        cmocka_unit_test(rebuilt_file_keeps_what_is_valid),
        cmocka_unit_test(bytes_of_a_block_stay_as_they_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
