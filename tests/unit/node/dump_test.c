/* Tests of node/dump.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/dump.h"
#include "node/envelope.h"
#include "raft/entry.h"

static uint8_t record_memory[4096];
static uint8_t line_memory[DUMP_LINE_SIZE_MAX];

static struct bytes make_record(struct envelope envelope, enum raft_entry_kind kind)
{
    uint8_t payload[2048];
    struct buffer out = buffer_of(record_memory, sizeof(record_memory));

    envelope_encode(payload, &envelope);
    memcpy(payload + ENVELOPE_SIZE, envelope.params.data, envelope.params.size);
    const struct raft_entry entry = {
        .index = 7,
        .term = 2,
        .kind = kind,
        .payload = bytes_of(payload, ENVELOPE_SIZE + envelope.params.size),
    };
    raft_entry_encode_header(buffer_extend(&out, RAFT_ENTRY_HEADER_SIZE), &entry);
    assert_true(buffer_append(&out, entry.payload));
    return buffer_bytes(&out);
}

static void assert_line(struct bytes records, const char *expected)
{
    struct buffer line = buffer_of(line_memory, sizeof(line_memory));

    assert_true(dump_record(&records, &line));
    assert_int_equal(records.size, 0);
    line_memory[line.size] = '\0';
    assert_string_equal((const char *)line_memory, expected);
    assert_false(dump_record(&records, &line));
}

static void a_command_shows_its_params(void **state)
{
    uint8_t memory[64];
    struct buffer params = buffer_of(memory, sizeof(memory));
    const struct wire_session_end end = {.session = 5};
    assert_true(wire_session_end_encode(&end, &params));

    struct bytes record = make_record((struct envelope){.method = WIRE_METHOD_session_end,
                                                        .log_ms = 1500,
                                                        .params = buffer_bytes(&params)},
                                      RAFT_ENTRY_COMMAND);

    assert_line(record, "{\"index\":7,\"term\":2,\"kind\":\"command\",\"method\":\"session_end\","
                        "\"log_ms\":1500,\"session\":0,\"sequence\":0,"
                        "\"params\":{\"method\":\"session_end\",\"session\":5}}");
    (void)state;
}

static void renewals_show_their_sessions(void **state)
{
    uint8_t sessions[16];
    store_u64(sessions, 3);
    store_u64(sessions + 8, 9);

    struct bytes record = make_record(
        (struct envelope){.method = ENVELOPE_RENEW, .log_ms = 8, .params = bytes_of(sessions, 16)},
        RAFT_ENTRY_COMMAND);

    assert_line(record, "{\"index\":7,\"term\":2,\"kind\":\"command\",\"method\":\"renew\","
                        "\"log_ms\":8,\"session\":0,\"sequence\":0,\"count\":2,"
                        "\"sessions\":[3,9]}");
    (void)state;
}

static void a_no_op_shows_its_stamp(void **state)
{
    struct bytes record = make_record(
        (struct envelope){.method = ENVELOPE_TICK, .log_ms = 4, .params = bytes_of("", 0)},
        RAFT_ENTRY_NOOP);

    assert_line(record, "{\"index\":7,\"term\":2,\"kind\":\"noop\",\"method\":\"tick\","
                        "\"log_ms\":4,\"session\":0,\"sequence\":0}");
    (void)state;
}

static void bytes_that_are_no_entry_give_a_line_all_the_same(void **state)
{
    assert_line(bytes_of_text("garbage"), "{\"problem\":\"the bytes are not an entry\"}");
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_command_shows_its_params),
        cmocka_unit_test(renewals_show_their_sessions),
        cmocka_unit_test(a_no_op_shows_its_stamp),
        cmocka_unit_test(bytes_that_are_no_entry_give_a_line_all_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
