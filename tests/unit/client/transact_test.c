/* tests/unit/client/transact_test.c: transactions from the public call to its result. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <uv.h>

#include "client/client.h"
#include "tests/support/client/fake_server.h"

/* --- What came back, in the order of what was asked ---------------------------------------------
 */

struct answered {
    struct core_call call;
    struct client_scratch *scratch;
    struct holdfast_result result;
    uint8_t request[256];
    uint8_t answer[256];
};

static struct wire_items operations(struct answered *answered)
{
    static const struct {
        const char *action;
        const char *key;
    } rows[] = {{"get", "a"}, {"put", "b"}, {"get", "c"}, {"delete", "d"}, {"get", "e"}};
    struct buffer buffer = buffer_of(answered->request, sizeof(answered->request));

    for (uint32_t i = 0; i < COUNT_OF(rows); i++) {
        const struct wire_operation operation = {.action = bytes_of_text(rows[i].action),
                                                 .key = bytes_of_text(rows[i].key)};

        assert_true(wire_operation_encode(&operation, &buffer));
    }
    return (struct wire_items){.raw = buffer_bytes(&buffer), .count = COUNT_OF(rows)};
}

/* "a", "d" and "e" were there; the answer has both pairs unless it is a repeated one. */
static void answer(struct answered *answered, bool is_repeated)
{
    struct buffer buffer = buffer_of(answered->answer, sizeof(answered->answer));
    const struct wire_pair a = {
        .key = bytes_of_text("a"), .value = bytes_of_text("1"), .revision = 5, .session = 3};
    const struct wire_pair e = {
        .key = bytes_of_text("e"), .value = bytes_of_text("2"), .revision = 6};
    struct wire_transact_result *result = &answered->call.answer.transact;

    answered->scratch = calloc(1, sizeof(*answered->scratch));
    answered->call.request.transact.success = operations(answered);
    *result = (struct wire_transact_result){
        .succeeded = true, .revision = 9, .found = 1 | 8 | 16, .repeated = is_repeated};
    if (!is_repeated) {
        assert_true(wire_pair_encode(&a, &buffer) && wire_pair_encode(&e, &buffer));
        result->pairs = (struct wire_items){.raw = buffer_bytes(&buffer), .count = 2};
    }
    transact_result(answered->scratch, &answered->call, &answered->result);
}

static void each_operation_has_its_result(void **state)
{
    struct answered answered = {.result = {.revision = 0}};
    const struct holdfast_operation_result *at;

    (void)state;
    answer(&answered, false);
    at = answered.result.operations;

    assert_true(answered.result.succeeded && answered.result.revision == 9);
    assert_int_equal(answered.result.operation_count, 5);
    assert_true(at[0].found && at[0].pair.revision == 5 && at[0].pair.session == 3);
    assert_memory_equal(at[0].pair.value, "1", 1);
    assert_true(!at[1].found && at[1].pair.revision == 9);
    assert_true(!at[2].found && at[2].pair.value == NULL && !at[2].value_is_lost);
    assert_true(at[3].found && at[3].pair.revision == 0);
    assert_true(at[4].found && at[4].pair.revision == 6 && !at[4].value_is_lost);
    assert_memory_equal(at[4].pair.value, "2", 1);
    assert_memory_equal(at[4].pair.key, "e", 1);
    free(answered.scratch);
}

static void a_repeated_answer_lacks_what_was_read_and_says_so(void **state)
{
    struct answered answered = {.result = {.revision = 0}};
    const struct holdfast_operation_result *at;

    (void)state;
    answer(&answered, true);
    at = answered.result.operations;

    assert_true(at[0].found && at[0].value_is_lost && at[0].pair.value == NULL);
    assert_true(!at[2].found && !at[2].value_is_lost);
    assert_true(at[3].found && !at[3].value_is_lost);
    assert_true(at[4].found && at[4].value_is_lost);
    free(answered.scratch);
}

/* --- What is not sent ---------------------------------------------------------------------------
 */

struct told {
    uv_sem_t sem;
    enum holdfast_status status;
    enum holdfast_outcome outcome;
};

static void on_told(const struct holdfast_result *result, void *context)
{
    struct told *told = context;

    told->status = result->status;
    told->outcome = result->outcome;
    uv_sem_post(&told->sem);
}

static enum holdfast_status ask(struct holdfast *client, struct holdfast_session *session,
                                const struct holdfast_transaction *transaction)
{
    struct told told;

    assert_int_equal(uv_sem_init(&told.sem, 0), 0);
    assert_non_null(holdfast_transact(client, session, transaction, on_told, &told));
    uv_sem_wait(&told.sem);
    uv_sem_destroy(&told.sem);
    assert_true(told.status == HOLDFAST_OK || told.outcome == HOLDFAST_REJECTED);
    return told.status;
}

/* The server is silent: what is refused was not sent, and uses up no sequence. */
static void what_no_node_takes_is_refused_unsent(void **state)
{
    static const uint8_t large[524289];
    struct fake_server *server = fake_server_open(FAKE_SILENT);
    struct holdfast_options options = {.endpoints = fake_server_address(server), .timeout_ms = 500};
    struct holdfast_operation put = {.action = HOLDFAST_PUT, .key = "a", .key_size = 1};
    struct holdfast_operation many[65];
    struct holdfast_compare compare = {.test = (enum holdfast_test)77, .key = "a", .key_size = 1};
    struct holdfast_transaction transaction = {.success = &put, .success_count = 1};
    struct holdfast *client;

    (void)state;
    assert_int_equal(holdfast_open(&client, &options), HOLDFAST_OK);
    for (uint32_t i = 0; i < COUNT_OF(many); i++) {
        many[i] = put;
    }
    put.key_size = 0;
    assert_int_equal(ask(client, NULL, &transaction), HOLDFAST_MALFORMED);
    put.key_size = 1;
    put.action = HOLDFAST_BIND;
    assert_int_equal(ask(client, NULL, &transaction), HOLDFAST_MALFORMED);
    put.action = (enum holdfast_action)77;
    assert_int_equal(ask(client, NULL, &transaction), HOLDFAST_MALFORMED);
    put.action = HOLDFAST_PUT;
    put.value = large;
    put.value_size = sizeof large;
    assert_int_equal(ask(client, NULL, &transaction), HOLDFAST_TOO_LARGE);
    transaction.success = many;
    transaction.success_count = 65;
    assert_int_equal(ask(client, NULL, &transaction), HOLDFAST_TOO_LARGE);
    transaction.success_count = 3;
    for (uint32_t i = 0; i < 3; i++) {
        many[i].value = large;
        many[i].value_size = 400000;
    }
    assert_int_equal(ask(client, NULL, &transaction), HOLDFAST_TOO_LARGE);
    transaction = (struct holdfast_transaction){.compares = &compare, .compare_count = 1};
    assert_int_equal(ask(client, NULL, &transaction), HOLDFAST_MALFORMED);
    holdfast_close(client, NULL, NULL);
    fake_server_close(server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_operation_has_its_result),
        cmocka_unit_test(a_repeated_answer_lacks_what_was_read_and_says_so),
        cmocka_unit_test(what_no_node_takes_is_refused_unsent),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
