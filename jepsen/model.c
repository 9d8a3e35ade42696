/* jepsen/model.c: registers, locks, sets and lists. */
#include "jepsen/model.h"

#include <string.h>

#include "base/assert.h"

/* What the words of a state mean. */
enum {
    REGISTER_VALUE = 0,
    REGISTER_REVISION = 1, /* Of the last change; at least so much when it is a floor. */
    REGISTER_IS_FLOOR = 2, /* 1: the last change's revision is not known. */

    LOCK_OWNER = 0, /* 0: free. */
    LOCK_TOKEN = 1, /* Of the owner; 0: a grant whose token nobody was told. */
    LOCK_LAST = 2,  /* No later token is as small as this. */

    DIGEST_COUNT = 0,
    DIGEST_SUMS = 1,
};

static bool is_answered(const struct history_operation *operation)
{
    return operation->outcome == HISTORY_OK;
}

/* The register changes to `value`. A revision must be beyond the one before; a change whose
 * revision is not known has one beyond it as well. */
static bool register_change(const struct history_operation *operation, history_value value,
                            struct model_state *state)
{
    uint64_t revision = is_answered(operation) ? operation->answer.revision : 0;

    if (revision != 0 && revision <= state->words[REGISTER_REVISION]) {
        return false;
    }
    state->words[REGISTER_VALUE] = value;
    state->words[REGISTER_IS_FLOOR] = revision == 0;
    state->words[REGISTER_REVISION] =
        revision != 0 ? revision : state->words[REGISTER_REVISION] + 1;
    return true;
}

static bool register_get(const struct history_operation *operation, struct model_state *state)
{
    uint64_t revision = operation->answer.revision;
    bool is_floor = state->words[REGISTER_IS_FLOOR] != 0;

    if (!is_answered(operation)) {
        return true;
    }
    if (operation->answer.value != state->words[REGISTER_VALUE]) {
        return false;
    }
    if (revision == 0) {
        return true;
    }
    if (is_floor ? revision < state->words[REGISTER_REVISION]
                 : revision != state->words[REGISTER_REVISION]) {
        return false;
    }
    state->words[REGISTER_REVISION] = revision;
    state->words[REGISTER_IS_FLOOR] = 0;
    return true;
}

static bool register_cas(const struct history_operation *operation, struct model_state *state)
{
    bool matches = operation->call.expected == state->words[REGISTER_VALUE];

    if (is_answered(operation) && operation->answer.refused) {
        return !matches;
    }
    return matches && register_change(operation, operation->call.value, state);
}

static bool register_delete(const struct history_operation *operation, struct model_state *state)
{
    bool is_there = state->words[REGISTER_VALUE] != HISTORY_ABSENT;

    if (is_answered(operation) && operation->answer.refused) {
        return !is_there;
    }
    return is_there && register_change(operation, HISTORY_ABSENT, state);
}

static bool lock_acquire(const struct history_operation *operation, struct model_state *state)
{
    uint64_t *words = state->words;
    uint64_t owner = operation->call.owner;
    uint64_t token = operation->answer.token;

    if (!is_answered(operation)) {
        if (words[LOCK_OWNER] != 0) {
            return false;
        }
        words[LOCK_OWNER] = owner;
        words[LOCK_TOKEN] = 0;
        return true;
    }
    if (operation->answer.refused) {
        return words[LOCK_OWNER] != 0 && words[LOCK_OWNER] != owner;
    }
    if (words[LOCK_OWNER] == owner && words[LOCK_TOKEN] != 0) {
        return token == words[LOCK_TOKEN];
    }
    if ((words[LOCK_OWNER] != 0 && words[LOCK_OWNER] != owner) || token <= words[LOCK_LAST]) {
        return false;
    }
    words[LOCK_OWNER] = owner;
    words[LOCK_TOKEN] = token;
    words[LOCK_LAST] = token;
    return true;
}

/* A release names its grant by a token, or means whatever the owner has. A grant whose token
 * nobody was told has one beyond the last. */
static bool lock_release(const struct history_operation *operation, struct model_state *state)
{
    uint64_t *words = state->words;
    uint64_t token = operation->call.token;
    bool holds = words[LOCK_OWNER] == operation->call.owner;

    if (holds && token != 0) {
        holds = words[LOCK_TOKEN] == 0 ? token > words[LOCK_LAST] : token == words[LOCK_TOKEN];
    }
    if (is_answered(operation) && operation->answer.refused) {
        /* Which token a grant has that nobody was told is open: it may have been another. */
        return !holds || (token != 0 && words[LOCK_TOKEN] == 0);
    }
    if (!holds) {
        return false;
    }
    words[LOCK_OWNER] = 0;
    words[LOCK_TOKEN] = 0;
    if (token > words[LOCK_LAST]) {
        words[LOCK_LAST] = token;
    }
    return true;
}

static struct history_digest digest_load(const struct model_state *state)
{
    return (struct history_digest){
        .count = state->words[DIGEST_COUNT],
        .sums = {state->words[DIGEST_SUMS], state->words[DIGEST_SUMS + 1]},
    };
}

static bool digest_store(struct model_state *state, struct history_digest digest)
{
    state->words[DIGEST_COUNT] = digest.count;
    state->words[DIGEST_SUMS] = digest.sums[0];
    state->words[DIGEST_SUMS + 1] = digest.sums[1];
    return true;
}

static bool digest_is_read(const struct history_operation *operation,
                           const struct model_state *state, struct history_digest seen)
{
    struct history_digest present = digest_load(state);

    return !is_answered(operation) ||
           (seen.count == present.count && seen.sums[0] == present.sums[0] &&
            seen.sums[1] == present.sums[1]);
}

bool model_step(const struct history *history, const struct history_operation *operation,
                struct model_state *state)
{
    history_value seen = operation->answer.value;
    struct history_digest digest;

    ASSERT(operation->outcome != HISTORY_FAILED);
    switch (operation->call.function) {
    case HISTORY_GET:
        return register_get(operation, state);
    case HISTORY_PUT:
        return register_change(operation, operation->call.value, state);
    case HISTORY_CAS:
        return register_cas(operation, state);
    case HISTORY_DELETE:
        return register_delete(operation, state);
    case HISTORY_ACQUIRE:
        return lock_acquire(operation, state);
    case HISTORY_RELEASE:
        return lock_release(operation, state);
    case HISTORY_ADD:
        digest = digest_load(state);
        history_digest_add_member(&digest, operation->call.value);
        return digest_store(state, digest);
    case HISTORY_APPEND:
        digest = digest_load(state);
        history_digest_add_item(&digest, operation->call.value);
        return digest_store(state, digest);
    case HISTORY_MEMBERS:
        return digest_is_read(operation, state, history_list_members(history, seen));
    case HISTORY_ITEMS:
        return digest_is_read(operation, state, history_list_items(history, seen));
    case HISTORY_FUNCTION_COUNT:
        break;
    }
    UNREACHABLE();
}

history_value model_register_value(const struct model_state *state)
{
    return (history_value)state->words[REGISTER_VALUE];
}

uint64_t model_list_size(const struct model_state *state)
{
    return state->words[DIGEST_COUNT];
}

bool model_changes(const struct history_operation *operation)
{
    bool reads = operation->call.function == HISTORY_GET ||
                 operation->call.function == HISTORY_MEMBERS ||
                 operation->call.function == HISTORY_ITEMS;

    return !reads && !(is_answered(operation) && operation->answer.refused);
}
