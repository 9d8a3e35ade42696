/* tests/support/log/test_log.h: a log over a memory disk, and a model of what it must hold.
 *
 * Every record that is staged is made from its index and a version that is never used twice, so a
 * record that comes back tells which of several copies it is. The model is kept three times: as
 * staged, as in flight, as durable. */
#ifndef TESTS_SUPPORT_LOG_TEST_LOG_H
#define TESTS_SUPPORT_LOG_TEST_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/macros.h"
#include "log/log.h"
#include "tests/support/log/memory_disk.h"

enum {
    TEST_RECORD_SIZE_MIN = 16,
    TEST_INDEX_MAX = 2000,
    TEST_SEGMENT_SIZE = 64 << 10,
    TEST_BATCH_SIZE_MAX = 16 << 10,
};

struct test_record {
    uint32_t version;
    uint32_t size;
};

struct test_model {
    log_index base_index; /* Records before it are void; 1 in a log that never restarted. */
    log_index last_index;
    struct test_record records[TEST_INDEX_MAX + 1];
    uint8_t hard_state[LOG_HARD_STATE_SIZE_MAX];
    size_t hard_state_size;
};

struct test_log {
    struct disk *disk;
    struct log_options options;
    struct log *log; /* NULL after a refused opening. */
    struct log_recovery recovery;
    void *memory;
    uint8_t *scratch;
    uint32_t version;
    struct test_model staged;
    struct test_model flight;
    struct test_model durable;
    log_index dropped_index; /* Highest index given to log_drop(). */
};

/* Small segments of 64 KiB and batches of 16 KiB, prefix "raft", one segment ahead. */
struct log_options test_log_options(void);

/* A log on a new disk; asserts that it opens. */
struct test_log *test_log_open(const struct log_options *options);
void test_log_close(struct test_log *test);

/* Opens what is on the disk, whatever it says. The model is not touched. */
MUST_USE enum error test_log_try_open(struct test_log *test);

/* Drops what is pending, then opens again and asserts that this is granted. What was durable is
 * from now on the model of all. */
void test_log_restart(struct test_log *test);

/* Stages `count` records of `size` bytes each from `first_index` on, in two runs, and a hard state
 * (NULL: unchanged). Returns the ticket. */
uint64_t test_log_stage(struct test_log *test, log_index first_index, uint32_t count, uint32_t size,
                        const char *hard_state);

/* log_restart(), and the model follows. */
uint64_t test_log_begin_anew(struct test_log *test, log_index next_index, const char *hard_state);

/* log_flush(), and the model follows. */
void test_log_flush(struct test_log *test);

/* Completes the oldest request; false when nothing is pending. */
bool test_log_complete(struct test_log *test);

/* Flushes and completes until nothing is left to do. */
void test_log_settle(struct test_log *test);

/* log_drop(), if that moves anything. */
void test_log_drop(struct test_log *test, log_index index);

/* The highest index that the caller may call committed: durable, and not about to be cut. */
log_index test_log_safe_index(const struct test_log *test);

/* Stages at the end, and settles. */
void test_log_append(struct test_log *test, uint32_t count, uint32_t size);

/* Three acknowledged batches of one block each, at 4096, 8192 and 12288 of an empty log: records
 * 1-2 with hard state "term 1", 3-5, and again 5-6 with "term 2". */
void test_log_make_three_batches(struct test_log *test);

/* Is what the opened log says and reads back exactly this model, from the log's first record on?
 * That is nowhere behind what was dropped last, nor before the base. Prints the first difference.
 * Reads synchronously: only directly after opening. */
MUST_USE bool test_log_matches(struct test_log *test, const struct test_model *model);

/* Opens a damaged disk. When that is granted, every record is the durable model's, though there may
 * be fewer (asserted). */
MUST_USE enum error test_log_open_damaged(struct test_log *test);

/* After a crash: is it the durable model, or the one in flight? A hard state may be ahead of its
 * batch, because its block is written first. */
MUST_USE bool test_log_survived(struct test_log *test);

/* Are its records exactly those of the model in flight? */
MUST_USE bool test_log_holds_flight(struct test_log *test);

/* Are these the model's records from `first_index` on, one after the other? */
MUST_USE bool test_records_match(const struct test_model *model, log_index first_index,
                                 uint32_t count, struct bytes records);

/* These records of the model, as a leader would send them. Borrowed until the next call. */
struct bytes test_records_make(struct test_log *test, const struct test_model *model,
                               log_index first_index, uint32_t count);

/* Opens a log with rot and repairs it from the durable model until it opens whole. The last
 * `doubt_count` records in front of the damage are not known to be committed: from the first that
 * is not the model's they are given anew. The first refusal ends it. */
MUST_USE enum error test_log_repair(struct test_log *test, uint32_t doubt_count);

/* Keeps the sectors of a 64-bit map, or the first `count`: for memory_disk_crash(). */
bool test_keep_first(void *count, uint32_t sector);
bool test_keep_mapped(void *map, uint32_t sector);

#endif
