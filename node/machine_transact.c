/* node/machine_transact.c: decodes all that is to be done, then looks, then changes. */
#include "node/machine_transact.h"

#include "base/assert.h"
#include "kv/transaction.h"
#include "lease/lease.h"

/* What each pair of an answer has besides its key and value. */
enum { PAIR_OVERHEAD = 128, ANSWER_OVERHEAD = 256 };

_Static_assert((int)TRANSACT_FOUND_SIZE_MAX + (int)KV_TRANSACTION_COUNT_MAX * PAIR_OVERHEAD +
                       ANSWER_OVERHEAD + WIRE_ENVELOPE_SIZE_MAX <=
                   (int)WIRE_FRAME_SIZE_MAX,
               "what the gets find fits one answer");
_Static_assert((int)KV_TRANSACTION_COUNT_MAX <= 64, "each operation has a bit");

struct branch {
    uint32_t count;
    struct kv_operation operations[KV_TRANSACTION_COUNT_MAX];
};

/* --- Decoding ----------------------------------------------------------------------------------
 */

static bool test_of(struct bytes text, enum kv_test *test)
{
    static const char *const names[] = {
        [KV_EXISTS] = "exists",
        [KV_ABSENT] = "absent",
        [KV_EQUAL] = "equal",
        [KV_REVISION_EQUAL] = "revision_equal",
        [KV_REVISION_LESS] = "revision_less",
        [KV_REVISION_GREATER] = "revision_greater",
    };

    for (uint32_t i = 0; i < COUNT_OF(names); i++) {
        if (bytes_equal(text, bytes_of_text(names[i]))) {
            *test = (enum kv_test)i;
            return true;
        }
    }
    return false;
}

static bool action_of(struct bytes text, enum kv_action *action)
{
    static const char *const names[] = {
        [KV_PUT] = "put",
        [KV_DELETE] = "delete",
        [KV_GET] = "get",
    };

    for (uint32_t i = 0; i < COUNT_OF(names); i++) {
        if (bytes_equal(text, bytes_of_text(names[i]))) {
            *action = (enum kv_action)i;
            return true;
        }
    }
    return false;
}

static enum error take_compare(struct bytes *rest, struct kv_compare *compare, const char **problem)
{
    struct wire_compare decoded;
    enum error error = wire_compare_decode(rest, &decoded);

    if (error != ERR_OK) {
        *problem = "a compare has a key, a test, and perhaps a value or a revision";
        return error;
    }
    *compare = (struct kv_compare){
        .key = decoded.key, .value = decoded.value, .revision = decoded.revision};
    if (!test_of(decoded.test, &compare->test)) {
        *problem = "a test is exists, absent, equal, revision_equal, revision_less or "
                   "revision_greater";
        return ERR_MALFORMED;
    }
    return ERR_OK;
}

static enum error take_operation(struct bytes *rest, uint64_t session,
                                 struct kv_operation *operation, const char **problem)
{
    struct wire_operation decoded;
    enum error error = wire_operation_decode(rest, &decoded);

    if (error != ERR_OK) {
        *problem = "an operation has an action, a key, and of a put a value";
        return error;
    }
    *operation = (struct kv_operation){
        .key = decoded.key, .value = decoded.value, .session = decoded.bind ? session : 0};
    if (!action_of(decoded.action, &operation->action)) {
        *problem = "an action is put, delete or get";
        return ERR_MALFORMED;
    }
    if (operation->action != KV_PUT && (decoded.bind || decoded.value.size != 0)) {
        *problem = "only a put has a value, or binds";
        return ERR_MALFORMED;
    }
    if (decoded.bind && session == 0) {
        *problem = "a key is bound to the session of the request: give session and sequence";
        return ERR_MALFORMED;
    }
    return ERR_OK;
}

static enum error take_branch(struct wire_items items, uint64_t session, struct branch *branch,
                              const char **problem)
{
    enum error error = ERR_OK;

    ASSERT_VALUES(items.count <= KV_TRANSACTION_COUNT_MAX, items.count, KV_TRANSACTION_COUNT_MAX);
    branch->count = items.count;
    for (uint32_t i = 0; i < items.count && error == ERR_OK; i++) {
        error = take_operation(&items.raw, session, &branch->operations[i], problem);
    }
    return error == ERR_INCOMPLETE ? ERR_MALFORMED : error;
}

static enum error check_compares(struct wire_items items, const char **problem)
{
    struct kv_compare compare;
    enum error error = ERR_OK;

    for (uint32_t i = 0; i < items.count && error == ERR_OK; i++) {
        error = take_compare(&items.raw, &compare, problem);
    }
    return error == ERR_INCOMPLETE ? ERR_MALFORMED : error;
}

enum error transact_check(const struct wire_transact *request, const char **problem)
{
    struct branch branch;
    enum error error = check_compares(request->compares, problem);

    if (error == ERR_OK) {
        error = take_branch(request->success, request->session, &branch, problem);
    }
    if (error == ERR_OK) {
        error = take_branch(request->failure, request->session, &branch, problem);
    }
    return error;
}

/* --- Applying ----------------------------------------------------------------------------------
 */

void transact_bury(struct table *table, struct feed *feed, struct bytes key, uint64_t log_ms)
{
    uint64_t session = kv_session_of(table, key);

    if (session != 0 && !lease_session_is_alive(table, session, log_ms)) {
        bool found = kv_delete(table, key);

        ASSERT_VALUES(found || table_error(table) != ERR_OK, session, log_ms);
        if (feed != NULL) {
            feed_delete(feed, key);
        }
    }
}

/* The compares were checked. */
static bool all_hold(const struct transact *transact, struct wire_items items)
{
    bool hold = true;

    for (uint32_t i = 0; i < items.count && hold; i++) {
        struct kv_compare compare;
        const char *problem = NULL;
        enum error error = take_compare(&items.raw, &compare, &problem);

        ASSERT_VALUES(error == ERR_OK, error, i);
        transact_bury(transact->table, transact->feed, compare.key, transact->log_ms);
        hold = kv_compare_holds(transact->table, &compare);
    }
    return hold;
}

static void add_pair(struct buffer *items, const struct kv_pair *pair, uint32_t *count)
{
    const struct wire_pair item = {.key = pair->key,
                                   .value = pair->value,
                                   .revision = pair->revision,
                                   .session = pair->session};
    bool fits = wire_pair_encode(&item, items);

    ASSERT_VALUES(fits, items->size, pair->value.size);
    (*count)++;
}

static void tell(const struct transact *transact, const struct kv_operation *operation, bool found)
{
    if (transact->feed == NULL) {
        return;
    }
    if (operation->action == KV_PUT) {
        feed_put(transact->feed, operation->key, operation->value);
    } else if (operation->action == KV_DELETE && found) {
        feed_delete(transact->feed, operation->key);
    }
}

static void execute(const struct transact *transact, const struct branch *branch,
                    struct wire_transact_result *result)
{
    uint32_t pair_count = 0;

    transact->items->size = 0;
    for (uint32_t i = 0; i < branch->count; i++) {
        const struct kv_operation *operation = &branch->operations[i];
        struct kv_pair pair;
        bool found = kv_operation_execute(transact->table, operation, transact->revision, &pair);

        tell(transact, operation, found);
        if (found) {
            result->found |= UINT64_C(1) << i;
            if (operation->action == KV_GET) {
                add_pair(transact->items, &pair, &pair_count);
            }
        }
    }
    result->pairs = (struct wire_items){.raw = buffer_bytes(transact->items), .count = pair_count};
}

static void give_results(const struct transact *transact, struct wire_transact_result *result)
{
    struct wire_transact_result kept = *result;

    kept.pairs = (struct wire_items){.count = 0};
    kept.repeated = true;
    bool fits = wire_transact_result_encode(&kept, transact->kept) &&
                wire_transact_result_encode(result, transact->answer);

    ASSERT_VALUES(fits, transact->kept->size, transact->items->size);
}

enum error transact_apply(const struct transact *transact, struct bytes params)
{
    struct wire_transact request;
    struct branch branch;
    struct wire_transact_result result = {.revision = transact->revision};
    const char *problem = NULL;
    enum error error = wire_transact_decode(&params, &request);

    if (error == ERR_OK) {
        request.session = transact->session;
        error = transact_check(&request, &problem);
    }
    if (error != ERR_OK) {
        return error;
    }
    result.succeeded = all_hold(transact, request.compares);
    error = take_branch(result.succeeded ? request.success : request.failure, transact->session,
                        &branch, &problem);
    ASSERT_VALUES(error == ERR_OK, error, transact->revision);
    for (uint32_t i = 0; i < branch.count; i++) {
        transact_bury(transact->table, transact->feed, branch.operations[i].key, transact->log_ms);
    }
    if (kv_found_size(transact->table, branch.operations, branch.count) > TRANSACT_FOUND_SIZE_MAX) {
        return ERR_REFUSED;
    }
    execute(transact, &branch, &result);
    give_results(transact, &result);
    return ERR_OK;
}
