/* tests/support/log/test_log.c: drives a log and remembers what it must hold. */
#include "tests/support/log/test_log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "log/format.h"

enum { SCRATCH_SIZE = 4 << 20 };

struct log_options test_log_options(void)
{
    return (struct log_options){
        .prefix = "raft",
        .cluster = "cluster-of-tests",
        .incarnation = 7,
        .segment_size = TEST_SEGMENT_SIZE,
        .batch_size_max = TEST_BATCH_SIZE_MAX,
        .segment_count_max = 100,
        .segments_ahead = 1,
    };
}

struct test_log *test_log_open(const struct log_options *options)
{
    struct test_log *test = calloc(1, sizeof(*test));

    ASSERT(test != NULL);
    test->disk = memory_disk_open();
    test->options = *options;
    test->staged.base_index = 1;
    test->flight.base_index = 1;
    test->durable.base_index = 1;
    test->memory =
        aligned_alloc(ARENA_ALIGNMENT, size_round_up(log_memory_size(options), ARENA_ALIGNMENT));
    test->scratch = malloc(SCRATCH_SIZE);
    ASSERT(test->memory != NULL && test->scratch != NULL);
    enum error error = test_log_try_open(test);

    ASSERT(error == ERR_OK);
    return test;
}

void test_log_close(struct test_log *test)
{
    memory_disk_close(test->disk);
    free(test->memory);
    free(test->scratch);
    free(test);
}

enum error test_log_try_open(struct test_log *test)
{
    struct arena arena;

    arena_init(&arena, test->memory, log_memory_size(&test->options));
    enum error error = log_open(&test->log, &arena, &test->options, test->disk, &test->recovery);

    ASSERT((error == ERR_OK) == (test->log != NULL));
    return error;
}

void test_log_restart(struct test_log *test)
{
    memory_disk_crash(test->disk, NULL, NULL);
    enum error error = test_log_try_open(test);

    ASSERT(error == ERR_OK);
    test->staged = test->durable;
    test->flight = test->durable;
}

/* --- Records --------------------------------------------------------------------------------- */

static uint8_t filler(log_index index, uint32_t version, uint32_t at)
{
    /* Zeros among the rest, so that whole sectors of zeros come about in large records. */
    return (at / 700 + index) % 3 == 0 ? 0 : (uint8_t)(index * 31 + (uint64_t)version * 17 + at);
}

static void make_record(uint8_t *to, log_index index, struct test_record record)
{
    ASSERT(record.size >= TEST_RECORD_SIZE_MIN);
    store_u32(to, record.size);
    store_u64(to + 4, index);
    store_u32(to + 12, record.version);
    for (uint32_t at = TEST_RECORD_SIZE_MIN; at < record.size; at++) {
        to[at] = filler(index, record.version, at);
    }
}

static bool record_matches(const uint8_t *data, log_index index, struct test_record record)
{
    if (load_u32(data) != record.size || load_u64(data + 4) != index ||
        load_u32(data + 12) != record.version) {
        return false;
    }
    for (uint32_t at = TEST_RECORD_SIZE_MIN; at < record.size; at++) {
        if (data[at] != filler(index, record.version, at)) {
            return false;
        }
    }
    return true;
}

bool test_records_match(const struct test_model *model, log_index first_index, uint32_t count,
                        struct bytes records)
{
    for (uint32_t i = 0; i < count; i++) {
        log_index index = first_index + i;

        if (index > model->last_index || records.size < model->records[index].size ||
            !record_matches(records.data, index, model->records[index])) {
            return false;
        }
        records = bytes_skip(records, model->records[index].size);
    }
    return records.size == 0;
}

/* --- Driving --------------------------------------------------------------------------------- */

uint64_t test_log_stage(struct test_log *test, log_index first_index, uint32_t count, uint32_t size,
                        const char *hard_state)
{
    struct test_model *model = &test->staged;
    struct bytes state = hard_state == NULL ? bytes_of(NULL, 0) : bytes_of_text(hard_state);
    size_t split = (size_t)(count / 2) * size;
    size_t whole = (size_t)count * size;

    ASSERT(whole <= SCRATCH_SIZE && first_index + count <= TEST_INDEX_MAX + 1);
    for (uint32_t i = 0; i < count; i++) {
        struct test_record record = {.version = ++test->version, .size = size};

        model->records[first_index + i] = record;
        make_record(test->scratch + (size_t)i * size, first_index + i, record);
    }
    model->last_index = first_index + count - 1;
    if (hard_state != NULL) {
        memcpy(model->hard_state, state.data, state.size);
        model->hard_state_size = state.size;
    }
    uint64_t ticket = log_stage(test->log, first_index, count, bytes_of(test->scratch, split),
                                bytes_of(test->scratch + split, whole - split), state);

    ASSERT(log_last_index(test->log) == model->last_index);
    return ticket;
}

uint64_t test_log_begin_anew(struct test_log *test, log_index next_index, const char *hard_state)
{
    struct test_model *model = &test->staged;
    struct bytes state = hard_state == NULL ? bytes_of(NULL, 0) : bytes_of_text(hard_state);

    ASSERT(next_index <= TEST_INDEX_MAX);
    model->base_index = next_index;
    model->last_index = next_index - 1;
    if (hard_state != NULL) {
        memcpy(model->hard_state, state.data, state.size);
        model->hard_state_size = state.size;
    }
    uint64_t ticket = log_restart(test->log, next_index, state);

    ASSERT(log_last_index(test->log) == model->last_index);
    ASSERT(log_first_index(test->log) == next_index);
    return ticket;
}

void test_log_drop(struct test_log *test, log_index index)
{
    ASSERT(index <= test->durable.last_index);
    log_drop(test->log, index);
    log_check(test->log);
    ASSERT(log_first_index(test->log) <= index + 1);
    test->dropped_index = index > test->dropped_index ? index : test->dropped_index;
}

static bool records_equal(struct test_record a, struct test_record b)
{
    return a.version == b.version && a.size == b.size;
}

log_index test_log_safe_index(const struct test_log *test)
{
    log_index index = test->durable.base_index - 1;

    if (test->staged.base_index != test->durable.base_index ||
        test->flight.base_index != test->durable.base_index) {
        return 0; /* A restart is on its way. */
    }
    while (index < test->durable.last_index && index < test->staged.last_index &&
           index < test->flight.last_index &&
           records_equal(test->durable.records[index + 1], test->staged.records[index + 1]) &&
           records_equal(test->durable.records[index + 1], test->flight.records[index + 1])) {
        index++;
    }
    return index;
}

void test_log_flush(struct test_log *test)
{
    bool was_in_flight = log_counters(test->log).write_in_flight;

    log_flush(test->log);
    log_check(test->log);
    if (!was_in_flight && log_counters(test->log).write_in_flight) {
        test->flight = test->staged;
    }
}

bool test_log_complete(struct test_log *test)
{
    struct disk_completion completion;
    uint64_t durable_ticket = log_durable_ticket(test->log);

    if (!memory_disk_complete_next(test->disk, &completion)) {
        return false;
    }
    bool is_ours = log_complete(test->log, &completion);

    ASSERT(is_ours);
    log_check(test->log);
    if (log_durable_ticket(test->log) > durable_ticket) {
        test->durable = test->flight;
    }
    return true;
}

void test_log_settle(struct test_log *test)
{
    do {
        test_log_flush(test);
    } while (test_log_complete(test));
}

void test_log_append(struct test_log *test, uint32_t count, uint32_t size)
{
    test_log_stage(test, log_last_index(test->log) + 1, count, size, NULL);
    test_log_settle(test);
}

void test_log_make_three_batches(struct test_log *test)
{
    test_log_stage(test, 1, 2, 200, "term 1");
    test_log_settle(test);
    test_log_stage(test, 3, 3, 300, NULL);
    test_log_settle(test);
    test_log_stage(test, 5, 2, 400, "term 2");
    test_log_settle(test);
}

/* --- Comparing ------------------------------------------------------------------------------- */

static bool state_matches(const struct test_log *test, const struct test_model *model)
{
    return bytes_equal(test->recovery.hard_state,
                       bytes_of(model->hard_state, model->hard_state_size));
}

/* The first index that is not as the model says; 0 when all are. */
static log_index first_difference(struct test_log *test, const struct test_model *model)
{
    if (log_last_index(test->log) != model->last_index ||
        test->recovery.last_index != model->last_index) {
        return model->last_index + 1;
    }
    log_index first_index = log_first_index(test->log);
    log_index allowed_index =
        model->base_index > test->dropped_index + 1 ? model->base_index : test->dropped_index + 1;

    if (first_index != test->recovery.first_index || first_index > allowed_index ||
        first_index < model->base_index) {
        return allowed_index;
    }
    for (log_index index = first_index; index <= model->last_index;) {
        struct log_fetched fetched;
        enum error error = log_read_now(test->log, index, &fetched);

        if (error != ERR_OK || fetched.record_count == 0 || fetched.first_index != index ||
            !test_records_match(model, index, fetched.record_count, fetched.records)) {
            return index;
        }
        index += fetched.record_count;
    }
    return 0;
}

bool test_log_matches(struct test_log *test, const struct test_model *model)
{
    log_index index = first_difference(test, model);

    if (index != 0) {
        fprintf(stderr, "the log of %llu records differs from the model of %llu at %llu\n",
                (unsigned long long)log_last_index(test->log),
                (unsigned long long)model->last_index, (unsigned long long)index);
        return false;
    }
    if (!state_matches(test, model)) {
        fprintf(stderr, "the hard state differs\n");
        return false;
    }
    return true;
}

enum error test_log_open_damaged(struct test_log *test)
{
    enum error error = test_log_try_open(test);

    if (error != ERR_OK) {
        return error;
    }
    for (log_index index = log_first_index(test->log); index <= log_last_index(test->log);) {
        struct log_fetched fetched;

        ASSERT(log_read_now(test->log, index, &fetched) == ERR_OK);
        ASSERT(test_records_match(&test->durable, index, fetched.record_count, fetched.records));
        index += fetched.record_count;
    }
    return error;
}

bool test_log_survived(struct test_log *test)
{
    if (first_difference(test, &test->durable) == 0 &&
        (state_matches(test, &test->durable) || state_matches(test, &test->flight))) {
        return true;
    }
    return test_log_matches(test, &test->flight);
}

bool test_log_holds_flight(struct test_log *test)
{
    return first_difference(test, &test->flight) == 0;
}

struct bytes test_records_make(struct test_log *test, const struct test_model *model,
                               log_index first_index, uint32_t count)
{
    size_t size = 0;

    ASSERT(first_index >= 1 && first_index + count <= model->last_index + 1);
    for (log_index index = first_index; index < first_index + count; index++) {
        ASSERT(size + model->records[index].size <= SCRATCH_SIZE);
        make_record(test->scratch + size, index, model->records[index]);
        size += model->records[index].size;
    }
    return bytes_of(test->scratch, size);
}

/* The first record from `index` on, at most `end_index`, that the log does not have as the model
 * says. */
static log_index first_wrong(struct test_log *test, log_index index, log_index end_index)
{
    struct log_fetched fetched;

    while (index < end_index && index <= test->durable.last_index &&
           log_read_now(test->log, index, &fetched) == ERR_OK) {
        size_t size = log_records_size(fetched.records, 1);

        if (!test_records_match(&test->durable, index, 1, bytes_of(fetched.records.data, size))) {
            break;
        }
        index++;
    }
    return index;
}

/* Gives what is missing, a few records at a time. */
static enum error repair_once(struct test_log *test, uint32_t doubt_count)
{
    const struct test_model *model = &test->durable;
    struct log_damage damage = log_damage(test->log);
    log_index first_index = log_first_index(test->log);
    log_index index = damage.first_index > doubt_count ? damage.first_index - doubt_count : 1;
    log_index end_index = damage.end_index == 0 ? model->last_index + 1 : damage.end_index;

    index = index < first_index ? first_index : index;
    index = index > damage.first_index ? damage.first_index : index;
    index = first_wrong(test, index, damage.first_index);
    index = index < model->base_index ? model->base_index : index; /* A snapshot holds the rest. */
    end_index = end_index < index ? index : end_index;
    do {
        uint32_t count = end_index - index < 3 ? (uint32_t)(end_index - index) : 3;
        enum error error =
            log_repair(test->log, index, count, test_records_make(test, model, index, count));

        if (error != ERR_OK) {
            return error;
        }
        index += count;
    } while (index < end_index);
    return log_repair_end(test->log, damage.end_index != 0);
}

enum error test_log_repair(struct test_log *test, uint32_t doubt_count)
{
    enum error error = ERR_OK;

    test->options.accepts_rot = true;
    for (unsigned round = 0; error == ERR_OK && round < 100; round++) {
        error = test_log_try_open(test);
        if (error == ERR_OK && !log_is_rotten(test->log)) {
            break;
        }
        if (error == ERR_OK) {
            error = repair_once(test, doubt_count);
        }
    }
    test->options.accepts_rot = false;
    return error;
}

bool test_keep_first(void *count, uint32_t sector)
{
    return sector < *(const uint32_t *)count;
}

bool test_keep_mapped(void *map, uint32_t sector)
{
    return sector < 64 && (*(const uint64_t *)map >> sector & 1) != 0;
}
