/* tests/unit/node/snapshot_receive_test.c: a snapshot goes from one node's disk to another's in
 * chunks, goes on where it broke off, and counts only when every byte is the offered one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "tests/support/base/memory_table.h"
#include "tests/support/log/memory_disk.h"
#include "tests/support/node/snapshot_fixture.h"

enum { INDEX = 30, SLOT = 2, SEED_COUNT = 20, STEP_COUNT_MAX = 100 * 1000 };

struct pair {
    struct snapshot_fixture source;
    struct snapshot_fixture target;
    struct prng prng;
    uint64_t sent_size;
};

static int open_pair(void **state)
{
    static struct pair pair;

    memset(&pair, 0, sizeof(pair));
    prng_init(&pair.prng, 1);
    snapshot_fixture_open(&pair.source);
    snapshot_fixture_open(&pair.target);
    snapshot_fixture_change(pair.source.table, &pair.prng, 3000, 1000, 2000);
    assert_true(snapshot_fixture_save(&pair.source, INDEX));
    *state = &pair;
    return 0;
}

static int close_pair(void **state)
{
    struct pair *pair = *state;

    snapshot_fixture_close(&pair->source);
    snapshot_fixture_close(&pair->target);
    return 0;
}

static struct snapshot_file offer_of(struct pair *pair)
{
    const struct snapshot_file *newest = snapshots_newest(pair->source.snapshots);

    assert_non_null(newest);
    return *newest;
}

/* Reads on at `offset`, or hands over what was read there before. */
static void send_chunk(struct pair *pair, uint64_t offset)
{
    struct snapshot_chunk chunk;

    if (snapshots_send_state(pair->source.snapshots, SLOT, &chunk) != SNAPSHOT_SEND_READY) {
        return;
    }
    assert_int_equal(chunk.error, ERR_OK);
    if (chunk.offset != offset || chunk.bytes.size == 0) {
        if (offset < offer_of(pair).size) {
            snapshots_send_read(pair->source.snapshots, SLOT, offset);
        }
        return;
    }
    enum error error = snapshots_receive_chunk(pair->target.snapshots, offset, chunk.bytes);
    assert_true(error == ERR_OK || error == ERR_OVERLOADED);
    pair->sent_size += error == ERR_OK ? chunk.bytes.size : 0;
}

/* One step of both; false when nothing moves any more. */
static bool step(struct pair *pair)
{
    struct snapshot_chunk chunk;
    uint64_t offset;

    if (snapshots_receive_state(pair->target.snapshots, &offset) == SNAPSHOT_RECEIVE_TAKING) {
        send_chunk(pair, offset);
    }
    bool source_moves = snapshot_fixture_step(&pair->source);
    bool target_moves = snapshot_fixture_step(&pair->target);
    bool reads =
        snapshots_send_state(pair->source.snapshots, SLOT, &chunk) == SNAPSHOT_SEND_READING;
    enum snapshot_receive_state state = snapshots_receive_state(pair->target.snapshots, &offset);
    bool takes = state == SNAPSHOT_RECEIVE_TAKING && offset < offer_of(pair).size;

    return source_moves || target_moves || reads || takes;
}

/* Offers, and steps until the target has `size_max` bytes, or the whole and tells of it. */
static struct snapshot_event transfer(struct pair *pair, uint64_t size_max)
{
    struct snapshot_event event = {.kind = SNAPSHOT_REMOVED};
    struct snapshot_file offer = offer_of(pair);
    uint64_t offset = 0;

    assert_non_null(snapshots_send_begin(pair->source.snapshots, SLOT));
    for (uint32_t i = 0; snapshots_receive_begin(pair->target.snapshots, &offer) != ERR_OK; i++) {
        ASSERT(i < STEP_COUNT_MAX);
        (void)snapshot_fixture_step(&pair->target);
    }
    for (uint32_t i = 0; step(pair); i++) {
        ASSERT(i < STEP_COUNT_MAX);
        while (snapshots_next_event(pair->target.snapshots, &event)) {
            if (event.kind == SNAPSHOT_RECEIVED || event.kind == SNAPSHOT_RECEIVE_FAILED) {
                snapshots_send_end(pair->source.snapshots, SLOT);
                return event;
            }
        }
        if (snapshots_receive_state(pair->target.snapshots, &offset) == SNAPSHOT_RECEIVE_TAKING &&
            offset >= size_max) {
            break;
        }
    }
    snapshots_send_end(pair->source.snapshots, SLOT);
    return (struct snapshot_event){.kind = SNAPSHOT_REMOVED};
}

static void assert_has_all(struct pair *pair)
{
    snapshot_fixture_settle(&pair->target);
    assert_true(bytes_equal(snapshot_fixture_bytes(&pair->source, INDEX),
                            snapshot_fixture_bytes(&pair->target, INDEX)));
    assert_int_equal(memory_disk_file_count(pair->target.disk), 1);
    assert_int_equal(snapshots_load_now(pair->target.snapshots, INDEX), ERR_OK);
    assert_true(snapshot_fixture_tables_equal(pair->source.table, pair->target.table));
    struct snapshot_base base =
        snapshots_base(pair->target.snapshots, snapshots_newest(pair->target.snapshots));
    assert_true(
        bytes_equal(base.configuration, snapshot_fixture_base(&pair->source, INDEX).configuration));
}

static void what_is_sent_arrives_byte_for_byte(void **state)
{
    struct pair *pair = *state;

    assert_int_equal(transfer(pair, UINT64_MAX).kind, SNAPSHOT_RECEIVED);
    assert_int_equal(pair->sent_size, offer_of(pair).size);
    assert_has_all(pair);
}

static void a_broken_transfer_goes_on_where_it_was(void **state)
{
    struct pair *pair = *state;
    uint64_t size = offer_of(pair).size;

    assert_int_equal(transfer(pair, size / 3).kind, SNAPSHOT_REMOVED);
    snapshots_receive_stop(pair->target.snapshots);
    (void)snapshot_fixture_step(&pair->target);
    assert_int_equal(transfer(pair, 2 * size / 3).kind, SNAPSHOT_REMOVED);
    snapshots_receive_stop(pair->target.snapshots);
    assert_int_equal(transfer(pair, UINT64_MAX).kind, SNAPSHOT_RECEIVED);
    assert_int_equal(pair->sent_size, size);
    assert_has_all(pair);
}

static void a_transfer_goes_on_after_a_restart_with_the_blocks_that_are_good(void **state)
{
    struct pair *pair = *state;
    uint64_t size = offer_of(pair).size;

    assert_int_equal(transfer(pair, size / 2).kind, SNAPSHOT_REMOVED);
    while (snapshot_fixture_step(&pair->target)) {
    }
    memory_disk_flip_bit(pair->target.disk, "snap-000000000000001e.part", 8 * (size / 4));
    snapshot_fixture_reopen(&pair->target);
    uint64_t sent_before = pair->sent_size;
    assert_int_equal(transfer(pair, UINT64_MAX).kind, SNAPSHOT_RECEIVED);
    assert_in_range(pair->sent_size - sent_before, 3 * size / 4,
                    3 * size / 4 + SNAPSHOT_BLOCK_SIZE_MAX);
    assert_has_all(pair);
}

static bool keep_by_chance(void *context, uint32_t sector)
{
    (void)sector;
    return prng_below(context, 100) != 0;
}

static void restarts_and_power_cuts_at_any_time_lose_no_more_than_the_tail(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEED_COUNT; seed++) {
        void *opened;
        assert_int_equal(open_pair(&opened), 0);
        struct pair *pair = opened;

        prng_init(&pair->prng, seed);
        for (uint32_t cut = 0; cut < 4; cut++) {
            uint64_t size = prng_below(&pair->prng, offer_of(pair).size);
            struct snapshot_event event = transfer(pair, size);

            assert_int_not_equal(event.kind, SNAPSHOT_RECEIVE_FAILED);
            if (event.kind == SNAPSHOT_RECEIVED) {
                break;
            }
            if (prng_below(&pair->prng, 2) == 0) {
                memory_disk_crash(pair->target.disk, keep_by_chance, &pair->prng);
            }
            snapshot_fixture_reopen(&pair->target);
        }
        if (snapshots_newest(pair->target.snapshots) == NULL) {
            assert_int_equal(transfer(pair, UINT64_MAX).kind, SNAPSHOT_RECEIVED);
        }
        assert_has_all(pair);
        assert_int_equal(close_pair(&opened), 0);
    }
}

static void a_flipped_bit_on_the_way_is_found_before_the_file_counts(void **state)
{
    struct pair *pair = *state;
    uint64_t size = offer_of(pair).size;

    assert_int_equal(transfer(pair, size / 2).kind, SNAPSHOT_REMOVED);
    while (snapshot_fixture_step(&pair->target)) {
    }
    memory_disk_flip_bit(pair->target.disk, "snap-000000000000001e.part", 8 * (size / 4));
    struct snapshot_event event = transfer(pair, UINT64_MAX);
    assert_int_equal(event.kind, SNAPSHOT_RECEIVE_FAILED);
    assert_int_equal(event.error, ERR_CORRUPT);
    snapshot_fixture_settle(&pair->target);
    assert_int_equal(memory_disk_file_count(pair->target.disk), 0);
    assert_null(snapshots_newest(pair->target.snapshots));

    assert_int_equal(transfer(pair, UINT64_MAX).kind, SNAPSHOT_RECEIVED);
    assert_has_all(pair);
}

static void a_whole_file_that_is_not_the_offered_one_is_refused(void **state)
{
    struct pair *pair = *state;
    struct snapshot_fixture other;

    /* The same index and size under another id. */
    struct snapshot_file offer = offer_of(pair);
    struct bytes bytes = snapshot_fixture_bytes(&pair->source, INDEX);
    offer.id++;
    snapshot_fixture_open(&other);
    assert_int_equal(snapshots_receive_begin(other.snapshots, &offer), ERR_OK);
    for (uint64_t at = 0; at < bytes.size;) {
        size_t size = size_min(SNAPSHOT_CHUNK_SIZE_MAX, bytes.size - at);
        enum error error =
            snapshots_receive_chunk(other.snapshots, at, bytes_of(bytes.data + at, size));

        assert_true(error == ERR_OK || error == ERR_OVERLOADED);
        at += error == ERR_OK ? size : 0;
        (void)snapshot_fixture_step(&other);
    }
    struct snapshot_event event;
    assert_true(snapshot_fixture_await(&other, SNAPSHOT_RECEIVE_FAILED, &event));
    assert_int_equal(event.error, ERR_CORRUPT);
    snapshot_fixture_settle(&other);
    assert_int_equal(memory_disk_file_count(other.disk), 0);
    snapshot_fixture_close(&other);
}

static void chunks_that_are_not_wanted_change_nothing(void **state)
{
    struct pair *pair = *state;
    struct snapshots *target = pair->target.snapshots;
    struct snapshot_file offer = offer_of(pair);
    static uint8_t zeros[SNAPSHOT_CHUNK_SIZE_MAX + 1];
    uint64_t offset;

    assert_int_equal(snapshots_receive_chunk(target, 0, bytes_of(zeros, 1)), ERR_INVALID);
    assert_int_equal(snapshots_receive_begin(target, &offer), ERR_OK);
    assert_int_equal(snapshots_receive_chunk(target, 1, bytes_of(zeros, 1)), ERR_INVALID);
    assert_int_equal(snapshots_receive_chunk(target, 0, bytes_of(zeros, 0)), ERR_INVALID);
    assert_int_equal(snapshots_receive_chunk(target, 0, bytes_of(zeros, sizeof(zeros))),
                     ERR_INVALID);
    assert_int_equal(snapshots_receive_chunk(target, 0, bytes_of(zeros, 5)), ERR_OK);
    assert_int_equal(snapshots_receive_chunk(target, 0, bytes_of(zeros, 5)), ERR_INVALID);
    assert_int_equal(snapshots_receive_state(target, &offset), SNAPSHOT_RECEIVE_TAKING);
    assert_int_equal(offset, 5);
}

static void offers_that_cannot_be_are_refused(void **state)
{
    struct pair *pair = *state;
    struct snapshot_file offer = offer_of(pair);

    assert_int_equal(snapshots_receive_begin(pair->source.snapshots, &offer), ERR_STALE);
    offer.size++;
    assert_int_equal(snapshots_receive_begin(pair->target.snapshots, &offer), ERR_INVALID);
    offer.size = DISK_ALIGNMENT;
    assert_int_equal(snapshots_receive_begin(pair->target.snapshots, &offer), ERR_INVALID);
    offer = offer_of(pair);
    offer.index = 0;
    assert_int_equal(snapshots_receive_begin(pair->target.snapshots, &offer), ERR_INVALID);
}

static void a_newer_offer_replaces_the_transfer(void **state)
{
    struct pair *pair = *state;
    uint64_t size = offer_of(pair).size;

    assert_int_equal(transfer(pair, size / 2).kind, SNAPSHOT_REMOVED);
    snapshot_fixture_change(pair->source.table, &pair->prng, 100, 1000, 2000);
    assert_true(snapshot_fixture_save(&pair->source, INDEX + 1));
    assert_int_equal(transfer(pair, UINT64_MAX).kind, SNAPSHOT_RECEIVED);
    snapshot_fixture_settle(&pair->target);
    assert_int_equal(memory_disk_file_count(pair->target.disk), 1);
    assert_int_equal(snapshots_newest(pair->target.snapshots)->index, INDEX + 1);
}

static void an_own_snapshot_that_is_newer_removes_the_part(void **state)
{
    struct pair *pair = *state;

    assert_int_equal(transfer(pair, offer_of(pair).size / 2).kind, SNAPSHOT_REMOVED);
    snapshots_receive_stop(pair->target.snapshots);
    snapshot_fixture_settle(&pair->target);
    assert_int_equal(memory_disk_file_count(pair->target.disk), 1);
    assert_true(snapshot_fixture_save(&pair->target, INDEX + 5));
    snapshot_fixture_settle(&pair->target);
    assert_int_equal(memory_disk_file_count(pair->target.disk), 1);
    assert_int_equal(snapshots_newest(pair->target.snapshots)->index, INDEX + 5);
}

static void any_failed_operation_of_the_receiver_is_told_and_not_final(void **state)
{
    bool failed = true;

    (void)state;
    for (uint64_t nth = 1; failed; nth++) {
        void *opened;
        assert_int_equal(open_pair(&opened), 0);
        struct pair *pair = opened;

        uint64_t done = memory_disk_operation_count(pair->target.disk);
        memory_disk_fail(pair->target.disk, nth, ERR_NO_SPACE);
        enum snapshot_event_kind kind = transfer(pair, UINT64_MAX).kind;
        failed = memory_disk_operation_count(pair->target.disk) - done >= nth;
        assert_int_equal(kind, failed ? SNAPSHOT_RECEIVE_FAILED : SNAPSHOT_RECEIVED);
        memory_disk_fail(pair->target.disk, 0, ERR_OK);
        if (failed) {
            assert_null(snapshots_newest(pair->target.snapshots));
            assert_int_equal(transfer(pair, UINT64_MAX).kind, SNAPSHOT_RECEIVED);
        }
        assert_has_all(pair);
        assert_int_equal(close_pair(&opened), 0);
    }
}

static void a_file_that_is_being_sent_is_not_removed(void **state)
{
    struct pair *pair = *state;
    struct snapshot_fixture *source = &pair->source;

    assert_non_null(snapshots_send_begin(source->snapshots, 0));
    for (raft_index index = INDEX + 1; index < INDEX + 5; index++) {
        assert_true(snapshot_fixture_save(source, index));
        snapshot_fixture_settle(source);
        assert_true(snapshot_fixture_bytes(source, INDEX).size != 0);
    }
    assert_int_equal(memory_disk_file_count(source->disk), 3);
    snapshots_send_end(source->snapshots, 0);
    assert_true(snapshot_fixture_save(source, INDEX + 9));
    snapshot_fixture_settle(source);
    assert_int_equal(memory_disk_file_count(source->disk), 2);
    assert_int_equal(snapshot_fixture_bytes(source, INDEX).size, 0);
}

static void reads_begin_at_any_byte(void **state)
{
    struct pair *pair = *state;
    struct snapshot_fixture *source = &pair->source;
    struct bytes whole = snapshot_fixture_bytes(source, INDEX);

    assert_non_null(snapshots_send_begin(source->snapshots, SLOT));
    for (uint32_t i = 0; i < 200; i++) {
        uint64_t offset = i == 0 ? whole.size - 1 : prng_below(&pair->prng, whole.size);
        struct snapshot_chunk chunk;

        snapshots_send_read(source->snapshots, SLOT, offset);
        snapshot_fixture_settle(source);
        assert_int_equal(snapshots_send_state(source->snapshots, SLOT, &chunk),
                         SNAPSHOT_SEND_READY);
        assert_int_equal(chunk.offset, offset);
        assert_int_equal(chunk.bytes.size,
                         size_min(SNAPSHOT_CHUNK_SIZE_MAX, whole.size - (size_t)offset));
        assert_memory_equal(chunk.bytes.data, whole.data + offset, chunk.bytes.size);
    }
}

static void a_reader_that_was_ended_never_hands_its_bytes_to_the_next(void **state)
{
    struct pair *pair = *state;
    struct snapshot_fixture *source = &pair->source;
    struct snapshot_chunk chunk;

    assert_non_null(snapshots_send_begin(source->snapshots, SLOT));
    snapshots_send_read(source->snapshots, SLOT, 0);
    snapshots_send_end(source->snapshots, SLOT);
    assert_non_null(snapshots_send_begin(source->snapshots, SLOT));
    assert_int_equal(snapshots_send_state(source->snapshots, SLOT, &chunk), SNAPSHOT_SEND_READING);
    snapshot_fixture_settle(source);
    assert_int_equal(snapshots_send_state(source->snapshots, SLOT, &chunk), SNAPSHOT_SEND_READY);
    assert_int_equal(chunk.bytes.size, 0);
    assert_int_equal(chunk.error, ERR_OK);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_pair, close_pair)
    const struct CMUnitTest tests[] = {
        TEST(what_is_sent_arrives_byte_for_byte),
        TEST(a_broken_transfer_goes_on_where_it_was),
        TEST(a_transfer_goes_on_after_a_restart_with_the_blocks_that_are_good),
        cmocka_unit_test(restarts_and_power_cuts_at_any_time_lose_no_more_than_the_tail),
        TEST(a_flipped_bit_on_the_way_is_found_before_the_file_counts),
        TEST(a_whole_file_that_is_not_the_offered_one_is_refused),
        TEST(chunks_that_are_not_wanted_change_nothing),
        TEST(offers_that_cannot_be_are_refused),
        TEST(a_newer_offer_replaces_the_transfer),
        TEST(an_own_snapshot_that_is_newer_removes_the_part),
        cmocka_unit_test(any_failed_operation_of_the_receiver_is_told_and_not_final),
        TEST(a_file_that_is_being_sent_is_not_removed),
        TEST(reads_begin_at_any_byte),
        TEST(a_reader_that_was_ended_never_hands_its_bytes_to_the_next),
    };
#undef TEST

    return cmocka_run_group_tests(tests, NULL, NULL);
}
