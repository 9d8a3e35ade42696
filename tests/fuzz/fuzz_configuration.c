/* tests/fuzz/fuzz_configuration.c: any bytes as a configuration, as it lies in entries of the log,
 * in snapshots and in AppendEntries, and as the entries around it.
 *
 * Laws: nothing outside of the input is read; what is refused leaves the configuration untouched;
 * what is taken is valid, makes the same bytes again, and is sound in an entry at its own index and
 * nowhere else; so is what nodes keep of each member in it. The head of a snapshot gives back the
 * bytes that it was made with. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "node/member.h"
#include "node/snapshot_format.h"
#include "raft/configuration.h"
#include "raft/raft.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t encoded[RAFT_CONFIGURATION_SIZE_MAX];

static void check_member(struct bytes context)
{
    uint8_t again[RAFT_CONTEXT_SIZE_MAX];
    struct member member;

    if (!member_decode(context, &member)) {
        return;
    }
    ASSERT(member_is_valid(&member));
    uint32_t size = member_encode(again, &member);

    ASSERT(bytes_equal(bytes_of(again, size), context));
}

static void check_entry(const struct raft_configuration *configuration, struct bytes bytes)
{
    struct raft_entry entry = {
        .index = configuration->index,
        .term = 1,
        .kind = RAFT_ENTRY_CONFIGURATION,
        .payload = bytes,
    };

    ASSERT(raft_entry_is_sound(&entry));
    entry.index++;
    ASSERT(!raft_entry_is_sound(&entry));
}

static void check_configuration(struct bytes bytes)
{
    struct raft_configuration configuration;
    struct raft_configuration untouched;

    memset(&configuration, 0xA5, sizeof(configuration));
    untouched = configuration;
    if (!raft_configuration_decode(bytes, &configuration)) {
        ASSERT(memcmp(&configuration, &untouched, sizeof(configuration)) == 0);
        return;
    }
    ASSERT(raft_configuration_is_valid(&configuration));
    uint32_t size = raft_configuration_encode(encoded, &configuration);

    ASSERT(bytes_equal(bytes_of(encoded, size), bytes));
    check_entry(&configuration, bytes);
    for (uint32_t i = 0; i < configuration.member_count; i++) {
        const struct raft_member *member = &configuration.members[i];

        ASSERT(raft_configuration_find(&configuration, member->id) == member);
        check_member(bytes_of(member->context, member->context_size));
    }
}

static void check_entries(struct bytes bytes)
{
    struct bytes rest = bytes;
    struct raft_entry entry;

    while (raft_entry_next(&rest, &entry)) {
        ASSERT(rest.size < bytes.size);
        ASSERT(entry.payload.data + entry.payload.size == rest.data);
        if (entry.kind == RAFT_ENTRY_CONFIGURATION && raft_entry_is_sound(&entry)) {
            check_configuration(entry.payload);
        }
    }
}

static void check_hard_state(struct bytes bytes)
{
    uint8_t again[RAFT_HARD_STATE_SIZE];
    struct raft_hard_state state;

    if (raft_hard_state_decode(bytes, &state)) {
        raft_hard_state_encode(again, &state);
        ASSERT(bytes_equal(bytes_of(again, sizeof(again)), bytes));
    }
}

static void check_snapshot_head(struct bytes bytes)
{
    static uint8_t memory[SNAPSHOT_HEAD_SIZE_MAX];
    const struct snapshot_base base = {.index = 7, .term = 2, .configuration = bytes};
    struct snapshot_chain written = {.index = base.index};
    struct snapshot_chain chain = {.index = base.index};
    struct buffer out = buffer_of(memory, sizeof(memory));
    struct snapshot_block_view view;
    struct snapshot_base found;

    if (bytes.size > SNAPSHOT_CONFIGURATION_SIZE_MAX) {
        return;
    }
    snapshot_write_head(&written, &base, &out);
    ASSERT(snapshot_read_block(&chain, buffer_bytes(&out), &view) == ERR_OK);
    ASSERT(view.kind == SNAPSHOT_HEAD);
    ASSERT(snapshot_read_head(view.body, base.index, &found) == ERR_OK);
    ASSERT(bytes_equal(found.configuration, bytes));
    /* And the input as a head that was believed. */
    if (snapshot_read_head(bytes, base.index, &found) == ERR_OK) {
        ASSERT(found.configuration.size <= bytes.size);
        check_configuration(found.configuration);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes bytes = bytes_of(data, size);

    check_configuration(bytes);
    check_member(bytes);
    check_entries(bytes);
    check_hard_state(bytes);
    check_snapshot_head(bytes);
    return 0;
}
