/* tests/support/lease/model.c: lease/ as plain arrays. */
#include "tests/support/lease/model.h"

#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/macros.h"

struct bytes model_name(const struct model *model, uint32_t at)
{
    ASSERT(at < MODEL_NAME_COUNT);
    return bytes_of(model->locks[at].name, model->locks[at].name_size);
}

/* Inserts a lock where its name belongs. */
static void name_insert(struct model *model, uint32_t count, const struct model_lock *lock)
{
    uint32_t at = 0;

    while (at < count &&
           bytes_compare(model_name(model, at), bytes_of(lock->name, lock->name_size)) < 0) {
        at++;
    }
    memmove(&model->locks[at + 1], &model->locks[at], (count - at) * sizeof(*lock));
    model->locks[at] = *lock;
}

void model_init(struct model *model)
{
    static const uint8_t letters[] = {0x00, 'a', 'b', 0xff};
    uint32_t count = 0;

    memset(model, 0, sizeof(*model));
    for (uint8_t size = 1; size <= 3; size++) {
        for (uint32_t number = 0; number < 1u << (2 * size); number++) {
            struct model_lock lock = {.name_size = size};
            for (uint32_t i = 0; i < size; i++) {
                lock.name[i] = letters[number >> (2 * i) & 3];
            }
            name_insert(model, count, &lock);
            count++;
        }
    }
    ASSERT_VALUES(count == MODEL_NAME_COUNT, count, MODEL_NAME_COUNT);
}

uint32_t model_session_find(const struct model *model, lease_session_id id)
{
    uint32_t at = 0;

    while (at < model->session_count && model->sessions[at].id != id) {
        at++;
    }
    return at;
}

bool model_session_is_alive(const struct model *model, lease_session_id id, uint64_t log_ms)
{
    uint32_t at = model_session_find(model, id);

    return at < model->session_count && model->sessions[at].deadline_ms > log_ms;
}

void model_session_open(struct model *model, lease_session_id id, uint32_t ttl_ms, uint64_t log_ms)
{
    ASSERT(model->session_count < MODEL_SESSION_COUNT_MAX);
    model->sessions[model->session_count++] = (struct model_session){
        .id = id, .ttl_ms = ttl_ms, .opened_ms = log_ms, .deadline_ms = log_ms + ttl_ms};
}

enum error model_session_renew(struct model *model, lease_session_id id, uint64_t log_ms)
{
    if (!model_session_is_alive(model, id, log_ms)) {
        return ERR_SESSION_EXPIRED;
    }
    struct model_session *session = &model->sessions[model_session_find(model, id)];
    session->deadline_ms = log_ms + session->ttl_ms;
    return ERR_OK;
}

static uint32_t waiter_find(const struct model_lock *lock, lease_session_id session)
{
    uint32_t at = 0;

    while (at < lock->waiter_count && lock->waiters[at] != session) {
        at++;
    }
    return at;
}

static void waiter_remove(struct model_lock *lock, uint32_t at)
{
    ASSERT(at < lock->waiter_count);
    lock->waiter_count--;
    memmove(&lock->waiters[at], &lock->waiters[at + 1],
            (lock->waiter_count - at) * sizeof(lock->waiters[0]));
}

static void tell(const struct model_lock *lock, struct lease_effects *effects)
{
    struct lease_grant *grant = &effects->grants[effects->grant_count++];

    grant->session = lock->holder;
    grant->token = lock->token;
    grant->name_size = lock->name_size;
    memcpy(grant->name, lock->name, lock->name_size);
}

/* To the first waiter that is alive, or to the first of all once enough were skipped. */
static void pass_on(struct model *model, struct model_lock *lock, uint64_t log_ms,
                    struct lease_effects *effects)
{
    lock->holder = 0;
    while (lock->waiter_count > 0 && lock->holder == 0) {
        lease_session_id session = lock->waiters[0];
        bool is_alive = model_session_is_alive(model, session, log_ms);
        waiter_remove(lock, 0);
        if (!is_alive && model->skip_count < LEASE_SKIP_COUNT_MAX) {
            model->skip_count++;
            continue;
        }
        lock->holder = session;
        lock->token = ++model->token_last;
        lock->granted_ms = log_ms;
        if (is_alive) {
            tell(lock, effects);
        } else {
            model->due_holder_count++;
        }
    }
}

/* One step: the session's first lock or queue in the order of names, else the session itself. */
static bool dismantle_step(struct model *model, lease_session_id id, uint64_t log_ms,
                           struct lease_effects *effects)
{
    for (uint32_t i = 0; i < MODEL_NAME_COUNT; i++) {
        struct model_lock *lock = &model->locks[i];
        uint32_t at = waiter_find(lock, id);
        if (lock->holder == id) {
            pass_on(model, lock, log_ms, effects);
            return false;
        }
        if (at < lock->waiter_count) {
            waiter_remove(lock, at);
            return false;
        }
    }
    uint32_t at = model_session_find(model, id);
    model->session_count--;
    memmove(&model->sessions[at], &model->sessions[at + 1],
            (model->session_count - at) * sizeof(model->sessions[0]));
    effects->ended[effects->ended_count++] = id;
    return true;
}

/* The session that is due first (ties by id); session_count when none is due. */
static uint32_t due_find(const struct model *model, uint64_t log_ms)
{
    uint32_t first = model->session_count;
    uint64_t deadline_ms = log_ms;

    for (uint32_t i = 0; i < model->session_count; i++) {
        bool is_due = model->sessions[i].deadline_ms <= log_ms;
        if (is_due &&
            (first == model->session_count || model->sessions[i].deadline_ms < deadline_ms)) {
            first = i;
            deadline_ms = model->sessions[i].deadline_ms;
        }
    }
    return first;
}

bool model_advance(struct model *model, uint64_t log_ms, struct lease_effects *effects)
{
    model->skip_count = 0;
    for (uint32_t step = 0; step + 1 < LEASE_GRANT_COUNT_MAX; step++) {
        uint32_t at = due_find(model, log_ms);
        if (at == model->session_count) {
            return false;
        }
        (void)dismantle_step(model, model->sessions[at].id, log_ms, effects);
    }
    return due_find(model, log_ms) < model->session_count;
}

enum error model_session_end(struct model *model, lease_session_id id, uint64_t log_ms,
                             struct lease_effects *effects)
{
    uint32_t used = (uint32_t)size_max(effects->grant_count, effects->ended_count);

    model->skip_count = 0;
    if (!model_session_is_alive(model, id, log_ms)) {
        return ERR_SESSION_EXPIRED;
    }
    for (; used < LEASE_GRANT_COUNT_MAX; used++) {
        if (dismantle_step(model, id, log_ms, effects)) {
            return ERR_OK;
        }
    }
    model->sessions[model_session_find(model, id)].deadline_ms = log_ms;
    return ERR_OK;
}

enum error model_acquire(struct model *model, lease_session_id session, uint32_t at, bool wait,
                         uint64_t log_ms, struct lease_acquired *acquired)
{
    struct model_lock *lock = &model->locks[at];
    uint32_t queued = waiter_find(lock, session);

    *acquired = (struct lease_acquired){0};
    if (!model_session_is_alive(model, session, log_ms)) {
        return ERR_SESSION_EXPIRED;
    }
    if (lock->holder == 0) {
        lock->holder = session;
        lock->token = ++model->token_last;
        lock->granted_ms = log_ms;
    }
    if (lock->holder == session) {
        acquired->token = lock->token;
        return ERR_OK;
    }
    if (!wait) {
        acquired->holder = lock->holder;
        acquired->holder_token = lock->token;
        if (queued < lock->waiter_count) {
            waiter_remove(lock, queued);
        }
        return ERR_HELD;
    }
    if (queued == lock->waiter_count) {
        lock->waiters[lock->waiter_count++] = session;
    }
    acquired->position = queued + 1;
    return ERR_OK;
}

enum error model_release(struct model *model, lease_session_id session, uint32_t at,
                         lease_token token, uint64_t log_ms, struct lease_effects *effects)
{
    struct model_lock *lock = &model->locks[at];
    uint32_t queued = waiter_find(lock, session);

    model->skip_count = 0;
    if (!model_session_is_alive(model, session, log_ms)) {
        return ERR_SESSION_EXPIRED;
    }
    if (lock->holder == session) {
        if (token != 0 && token != lock->token) {
            return ERR_FENCED;
        }
        pass_on(model, lock, log_ms, effects);
        return ERR_OK;
    }
    if (queued == lock->waiter_count) {
        return ERR_NOT_FOUND;
    }
    if (token != 0) {
        return ERR_FENCED;
    }
    waiter_remove(lock, queued);
    return ERR_OK;
}
