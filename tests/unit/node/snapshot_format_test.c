/* tests/unit/node/snapshot_format_test.c: names and blocks of snapshot files. */
#include "node/snapshot_format.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/checksum.h"

enum { MEMORY_SIZE = 3 * SNAPSHOT_BLOCK_SIZE_MAX };

static uint8_t memory[MEMORY_SIZE];

static const struct snapshot_base base = {
    .cluster = "cluster of tests",
    .index = 0x2a,
    .term = 3,
    .log_ms = 5000,
    .state_hash = 77,
    .configuration_index = 9,
};

static struct snapshot_base base_with(const char *configuration)
{
    struct snapshot_base copy = base;

    copy.configuration = bytes_of_text(configuration);
    return copy;
}

static void names_are_read_as_they_are_written(void **state)
{
    static const enum snapshot_name_kind kinds[] = {SNAPSHOT_NAME_WHOLE, SNAPSHOT_NAME_NEW,
                                                    SNAPSHOT_NAME_PART};
    struct disk_name name;
    raft_index index = 0;
    (void)state;

    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        snapshot_name(&name, kinds[i], UINT64_C(0xfedcba9876543210));
        assert_int_equal(snapshot_name_parse(&name, &index), kinds[i]);
        assert_int_equal(index, UINT64_C(0xfedcba9876543210));
    }
    snapshot_name(&name, SNAPSHOT_NAME_PART, 0x2a);
    assert_string_equal(name.text, "snap-000000000000002a.part");
}

static void other_names_are_not_ours(void **state)
{
    static const char *const others[] = {"",
                                         "snap-",
                                         "snap-2a",
                                         "snap-0000000000000000",
                                         "snap-000000000000002A",
                                         "snap-000000000000002a0",
                                         "snap-000000000000002a.old",
                                         "snap-000000000000002a.new.part",
                                         "snop-000000000000002a"};
    (void)state;

    for (size_t i = 0; i < COUNT_OF(others); i++) {
        struct disk_name name = {.text = ""};
        raft_index index;

        memcpy(name.text, others[i], strlen(others[i]));
        assert_int_equal(snapshot_name_parse(&name, &index), SNAPSHOT_NAME_OTHER);
    }
}

static void head_is_read_as_it_was_written(void **state)
{
    struct buffer out = buffer_of(memory, MEMORY_SIZE);
    struct snapshot_base written = base_with("members");
    struct snapshot_chain writer;
    struct snapshot_chain reader = {.index = base.index};
    struct snapshot_block_view view;
    struct snapshot_base found;
    (void)state;

    snapshot_write_head(&writer, &written, &out);
    assert_int_equal(snapshot_read_block(&reader, buffer_bytes(&out), &view), ERR_OK);
    assert_int_equal(view.kind, SNAPSHOT_HEAD);
    assert_int_equal(view.size, out.size);
    assert_int_equal(snapshot_read_head(view.body, base.index, &found), ERR_OK);
    assert_memory_equal(found.cluster, written.cluster, SNAPSHOT_CLUSTER_SIZE);
    assert_int_equal(found.index, written.index);
    assert_int_equal(found.term, written.term);
    assert_int_equal(found.log_ms, written.log_ms);
    assert_int_equal(found.state_hash, written.state_hash);
    assert_int_equal(found.configuration_index, written.configuration_index);
    assert_true(bytes_equal(found.configuration, written.configuration));
    assert_int_equal(reader.checksum, writer.checksum);
    assert_int_equal(reader.offset, writer.offset);
}

static void the_largest_configuration_fits(void **state)
{
    static char configuration[SNAPSHOT_CONFIGURATION_SIZE_MAX + 1];
    struct buffer out = buffer_of(memory, SNAPSHOT_HEAD_SIZE_MAX);
    struct snapshot_chain writer;
    (void)state;

    memset(configuration, 'c', SNAPSHOT_CONFIGURATION_SIZE_MAX);
    struct snapshot_base written = base_with(configuration);
    snapshot_write_head(&writer, &written, &out);
    assert_int_equal(out.size, SNAPSHOT_HEAD_SIZE_MAX);
}

static void a_pair_begins_the_next_block_when_it_does_not_fit(void **state)
{
    static uint8_t value[SNAPSHOT_BLOCK_SIZE];
    struct buffer out = buffer_of(memory, MEMORY_SIZE);
    struct snapshot_base written = base_with("");
    struct snapshot_block block = {.out = NULL};
    struct snapshot_chain chain;
    struct bytes key = bytes_of_text("key");
    size_t most = SNAPSHOT_BLOCK_SIZE - SNAPSHOT_BLOCK_HEADER_SIZE - 2 * SNAPSHOT_PAIR_HEADER_SIZE -
                  2 * key.size;
    (void)state;

    snapshot_write_head(&chain, &written, &out);
    snapshot_block_open(&block, &out);
    assert_true(snapshot_block_add(&block, &chain, key, bytes_of(value, 100)));
    assert_false(snapshot_block_add(&block, &chain, key, bytes_of(value, most - 99)));
    assert_true(snapshot_block_add(&block, &chain, key, bytes_of(value, most - 100)));
    assert_false(snapshot_block_add(&block, &chain, key, bytes_of(NULL, 0)));
    size_t begin = out.size;
    snapshot_block_close(&block, &chain);
    assert_int_equal(out.size, begin);
    assert_int_equal(out.size % SNAPSHOT_BLOCK_SIZE, DISK_ALIGNMENT);

    /* One that fits nowhere gets a block of its own. */
    snapshot_block_open(&block, &out);
    assert_true(snapshot_block_add(&block, &chain, key, bytes_of(value, sizeof(value))));
    snapshot_block_close(&block, &chain);
    assert_int_equal(chain.offset, out.size);
    assert_int_equal(chain.pair_count, 3);
}

/* A whole small file; its size. */
static size_t write_file(void)
{
    struct buffer out = buffer_of(memory, MEMORY_SIZE);
    struct snapshot_base written = base_with("members");
    struct snapshot_block block = {.out = NULL};
    struct snapshot_chain chain;

    written.state_hash = checksum_pair(bytes_of_text("a"), bytes_of_text("value"), TABLE_HASH_SEED);
    snapshot_write_head(&chain, &written, &out);
    snapshot_block_open(&block, &out);
    assert_true(snapshot_block_add(&block, &chain, bytes_of_text("a"), bytes_of_text("value")));
    snapshot_block_close(&block, &chain);
    snapshot_write_end(&chain, &out);
    return out.size;
}

/* The id stands for every byte of the file: this is how one of version 2 looks, for ever. */
static void the_format_does_not_change(void **state)
{
    (void)state;
    assert_int_equal(write_file(), 3 * DISK_ALIGNMENT);
    assert_int_equal(checksum(bytes_of(memory, 3 * DISK_ALIGNMENT), 0),
                     UINT64_C(0xf12ab945f722a472));
}

static void a_later_version_is_told_from_damage(void **state)
{
    struct snapshot_chain chain = {.index = base.index};
    struct snapshot_block_view view;
    struct snapshot_end end;
    uint8_t *last = memory + 2 * (size_t)DISK_ALIGNMENT;
    (void)state;

    (void)write_file();
    store_u16(memory + 12, SNAPSHOT_FORMAT_VERSION + 1);
    assert_int_equal(snapshot_read_block(&chain, bytes_of(memory, DISK_ALIGNMENT), &view),
                     ERR_CORRUPT);
    store_u64(memory, checksum(bytes_of(memory + 8, DISK_ALIGNMENT - 8), SNAPSHOT_MAGIC));
    assert_int_equal(snapshot_read_block(&chain, bytes_of(memory, DISK_ALIGNMENT), &view),
                     ERR_VERSION);
    store_u16(last + 12, SNAPSHOT_FORMAT_VERSION + 1);
    store_u64(last, checksum(bytes_of(last + 8, DISK_ALIGNMENT - 8), SNAPSHOT_MAGIC));
    assert_int_equal(snapshot_read_end(last, base.index, &end), ERR_VERSION);
}

static void blocks_are_incomplete_until_all_of_them_is_there(void **state)
{
    struct snapshot_chain chain = {.index = base.index};
    struct snapshot_block_view view;
    (void)state;

    (void)write_file();
    for (size_t size = 0; size < DISK_ALIGNMENT; size++) {
        assert_int_equal(snapshot_read_block(&chain, bytes_of(memory, size), &view),
                         ERR_INCOMPLETE);
    }
    assert_int_equal(snapshot_read_block(&chain, bytes_of(memory, DISK_ALIGNMENT), &view), ERR_OK);
}

static void blocks_out_of_turn_are_refused(void **state)
{
    struct snapshot_chain chain = {.index = base.index};
    struct snapshot_block_view view;
    struct bytes file = bytes_of(memory, 3 * DISK_ALIGNMENT);
    (void)state;

    (void)write_file();
    assert_int_equal(snapshot_read_block(&chain, bytes_skip(file, DISK_ALIGNMENT), &view),
                     ERR_CORRUPT);
    assert_int_equal(snapshot_read_block(&chain, file, &view), ERR_OK);
    struct snapshot_chain after_head = chain;
    assert_int_equal(snapshot_read_block(&chain, file, &view), ERR_CORRUPT);
    /* The end, before its pairs were counted. */
    assert_int_equal(snapshot_read_block(&chain, bytes_skip(file, 2 * DISK_ALIGNMENT), &view),
                     ERR_CORRUPT);
    after_head.index++;
    assert_int_equal(snapshot_read_block(&after_head, bytes_skip(file, DISK_ALIGNMENT), &view),
                     ERR_CORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_read_as_they_are_written),
        cmocka_unit_test(other_names_are_not_ours),
        cmocka_unit_test(head_is_read_as_it_was_written),
        cmocka_unit_test(the_largest_configuration_fits),
        cmocka_unit_test(a_pair_begins_the_next_block_when_it_does_not_fit),
        cmocka_unit_test(the_format_does_not_change),
        cmocka_unit_test(a_later_version_is_told_from_damage),
        cmocka_unit_test(blocks_are_incomplete_until_all_of_them_is_there),
        cmocka_unit_test(blocks_out_of_turn_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
