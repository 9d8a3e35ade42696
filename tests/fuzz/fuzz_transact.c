/* tests/fuzz/fuzz_transact.c: bytes as the params of a transaction, on a small state.
 *
 * Laws: what the check takes is carried out or REFUSED, and what it does not take changes nothing;
 * the answer is read again, and has a pair for each get that found its key; what is kept of it fits
 * a result of a session; the state keeps its invariants. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/assert.h"
#include "kv/kv.h"
#include "lease/lease.h"
#include "node/machine_transact.h"
#include "node/window.h"
#include "tests/support/base/memory_table.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LIVE_SESSION = 1, DEAD_SESSION = 2, REVISION = 10, LOG_MS = 1000 };

static uint8_t items_memory[WIRE_FRAME_SIZE_MAX];
static uint8_t answer_memory[WIRE_FRAME_SIZE_MAX];

/* A large value costs much time: only inputs of an even size find one. */
static struct table *open_state(bool has_large)
{
    static uint8_t large[KV_VALUE_SIZE_MAX];
    struct table *table = memory_table_open();

    lease_session_open(table, LIVE_SESSION, 5000, bytes_of(NULL, 0), LOG_MS);
    kv_put(table, bytes_of_text("a"), bytes_of_text("1"), 0, 3);
    kv_put(table, bytes_of_text("b"), bytes_of_text("2"), LIVE_SESSION, 4);
    kv_put(table, bytes_of_text("c"), bytes_of_text("3"), DEAD_SESSION, 5);
    if (has_large) {
        kv_put(table, bytes_of_text("d"), bytes_of(large, sizeof(large)), 0, 6);
    }
    return table;
}

static void check_results(const struct buffer *kept, const struct buffer *answer)
{
    struct wire_transact_result short_result;
    struct wire_transact_result result;
    struct bytes rest = buffer_bytes(kept);
    struct wire_pair pair;

    ASSERT(wire_transact_result_decode(&rest, &short_result) == ERR_OK && rest.size == 0);
    rest = buffer_bytes(answer);
    ASSERT(wire_transact_result_decode(&rest, &result) == ERR_OK && rest.size == 0);
    ASSERT(short_result.repeated && !result.repeated && short_result.pairs.count == 0);
    ASSERT(short_result.found == result.found && short_result.succeeded == result.succeeded);
    for (uint32_t i = 0; i < result.pairs.count; i++) {
        ASSERT(wire_pair_decode(&result.pairs.raw, &pair) == ERR_OK);
        ASSERT(pair.session != DEAD_SESSION);
    }
    ASSERT(result.pairs.raw.size == 0);
}

static void run(struct bytes params, uint64_t session)
{
    uint8_t kept_memory[WINDOW_RESULT_SIZE_MAX];
    struct buffer items = buffer_of(items_memory, sizeof(items_memory));
    struct buffer answer = buffer_of(answer_memory, sizeof(answer_memory));
    struct buffer kept = buffer_of(kept_memory, sizeof(kept_memory));
    struct table *table = open_state(params.size % 2 == 0);
    const struct transact transact = {
        .table = table,
        .session = session,
        .revision = REVISION,
        .log_ms = LOG_MS,
        .items = &items,
        .kept = &kept,
        .answer = &answer,
    };
    struct wire_transact request;
    const char *problem = NULL;
    struct bytes rest = params;
    uint64_t hash = table_hash(table);
    enum error checked = wire_transact_decode(&rest, &request);

    if (checked == ERR_OK) {
        request.session = session;
        checked = transact_check(&request, &problem);
    }
    enum error applied = transact_apply(&transact, params);

    if (checked != ERR_OK) {
        ASSERT(applied == checked && table_hash(table) == hash);
    } else {
        ASSERT(applied == ERR_OK || applied == ERR_REFUSED);
    }
    if (applied == ERR_OK) {
        check_results(&kept, &answer);
    }
    kv_check(table);
    memory_table_close(table);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    run(bytes_of(data, size), 0);
    run(bytes_of(data, size), LIVE_SESSION);
    return 0;
}
