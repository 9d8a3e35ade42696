/* tests/support/client/model_state.c: see model_state.h. */
#include "tests/support/client/model_state.h"

#include <string.h>

void model_open(struct model *model, uint64_t now_ms)
{
    memset(model, 0, sizeof *model);
    model->now_ms = now_ms;
    model->refusal = ERR_OVERLOADED;
    model->retry_after_ms = 20;
}

struct model_session *model_session(struct model *model, uint64_t id)
{
    for (uint32_t i = 0; id != 0 && i < MODEL_SESSION_COUNT; i++) {
        if (model->sessions[i].id == id) {
            return &model->sessions[i];
        }
    }
    return NULL;
}

static struct model_lock *lock_of(struct model *model, struct bytes name)
{
    struct model_lock *free_lock = NULL;

    for (uint32_t i = 0; i < MODEL_LOCK_COUNT; i++) {
        struct model_lock *lock = &model->locks[i];
        if (lock->name_size == 0) {
            free_lock = free_lock == NULL ? lock : free_lock;
        } else if (bytes_equal(bytes_of(lock->name, lock->name_size), name)) {
            return lock;
        }
    }
    ASSERT(free_lock != NULL && name.size < MODEL_NAME_SIZE);
    memcpy(free_lock->name, name.data, name.size);
    free_lock->name_size = (uint32_t)name.size;
    return free_lock;
}

struct model_lock *model_lock(struct model *model, const char *name)
{
    return lock_of(model, bytes_of_text(name));
}

static void notify(struct model *model, const struct model_lock *lock)
{
    struct model_session *session = model_session(model, lock->holder);

    if (session == NULL || session->notify < 0 || model->notice_count == 64) {
        return;
    }
    struct model_notice *notice = &model->notices[model->notice_count];
    model->notice_count++;
    notice->connection = session->notify;
    notice->granted = (struct wire_granted){.session = lock->holder, .token = lock->token};
    memcpy(notice->name, lock->name, MODEL_NAME_SIZE);
    notice->granted.name.size = lock->name_size;
}

static void grant(struct model *model, struct model_lock *lock, uint64_t session)
{
    model->tokens++;
    model->lock_grant_ms = model->now_ms;
    lock->holder = session;
    lock->token = model->tokens;
}

static void leave_queue(struct model_lock *lock, uint64_t session)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < lock->waiter_count; i++) {
        if (lock->waiters[i] != session) {
            lock->waiters[kept++] = lock->waiters[i];
        }
    }
    lock->waiter_count = kept;
}

static void free_lock(struct model *model, struct model_lock *lock)
{
    lock->holder = 0;
    lock->token = 0;
    if (lock->waiter_count > 0) {
        uint64_t next = lock->waiters[0];
        leave_queue(lock, next);
        grant(model, lock, next);
        notify(model, lock);
    }
}

void model_end_session(struct model *model, struct model_session *session)
{
    session->alive = false;
    for (uint32_t i = 0; i < MODEL_LOCK_COUNT; i++) {
        leave_queue(&model->locks[i], session->id);
    }
    for (uint32_t i = 0; i < MODEL_LOCK_COUNT; i++) {
        if (model->locks[i].name_size != 0 && model->locks[i].holder == session->id) {
            free_lock(model, &model->locks[i]);
        }
    }
}

void model_advance(struct model *model, uint64_t now_ms)
{
    model->now_ms = now_ms;
    for (uint32_t i = 0; i < MODEL_SESSION_COUNT; i++) {
        struct model_session *session = &model->sessions[i];
        if (session->alive && now_ms >= session->deadline_ms) {
            model_end_session(model, session);
        }
    }
}

void model_forget(struct model *model, int connection)
{
    for (uint32_t i = 0; i < MODEL_SESSION_COUNT; i++) {
        if (model->sessions[i].notify == connection) {
            model->sessions[i].notify = -1;
        }
    }
    for (uint32_t i = 0; i < model->notice_count; i++) {
        if (model->notices[i].connection == connection) {
            model->notices[i].connection = -1;
        }
    }
}

void model_tell(struct model *model, int connection, struct buffer *output)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < model->notice_count; i++) {
        struct model_notice notice = model->notices[i];
        if (notice.connection != connection) {
            model->notices[kept++] = notice;
            continue;
        }
        notice.granted.name.data = (const uint8_t *)notice.name;
        bool fits = wire_notice_begin(output, WIRE_NOTICE_granted) &&
                    wire_granted_encode(&notice.granted, output);
        ASSERT(fits);
    }
    model->notice_count = kept;
}

/* --- Applying -------------------------------------------------------------------------------- */

struct model_key *model_key(struct model *model, struct bytes name)
{
    for (uint32_t i = 0; i < MODEL_KEY_COUNT; i++) {
        struct model_key *key = &model->keys[i];
        if (key->name_size == 0) {
            ASSERT(name.size < MODEL_NAME_SIZE);
            memcpy(key->name, name.data, name.size);
            key->name_size = (uint32_t)name.size;
            return key;
        }
        if (bytes_equal(bytes_of(key->name, key->name_size), name)) {
            return key;
        }
    }
    UNREACHABLE();
}

static enum error apply_put(struct model *model, const struct wire_put *put, struct buffer *result)
{
    struct model_key *key = model_key(model, put->key);
    size_t size = size_min(put->value.size, MODEL_VALUE_SIZE);

    memcpy(key->value, put->value.data, size);
    key->value_size = (uint32_t)size;
    model->revisions++;
    key->revision = model->revisions;
    struct wire_put_result put_result = {.revision = key->revision};
    return wire_put_result_encode(&put_result, result) ? ERR_OK : ERR_FULL;
}

static enum error apply_acquire(struct model *model, const struct wire_lock_acquire *acquire,
                                struct wire_failure *failure, struct buffer *result)
{
    struct model_lock *lock = lock_of(model, acquire->name);
    struct wire_lock_acquire_result acquired = {0};

    if (lock->holder == 0) {
        grant(model, lock, acquire->session);
    }
    if (lock->holder == acquire->session) {
        acquired.token = lock->token;
    } else if (!acquire->wait) {
        leave_queue(lock, acquire->session);
        failure->holder = lock->holder;
        failure->holder_token = lock->token;
        return ERR_HELD;
    } else {
        uint32_t at = 0;
        while (at < lock->waiter_count && lock->waiters[at] != acquire->session) {
            at++;
        }
        if (at == lock->waiter_count) {
            ASSERT(at < MODEL_WAITER_COUNT);
            lock->waiters[at] = acquire->session;
            lock->waiter_count++;
        }
        acquired.position = at + 1;
    }
    return wire_lock_acquire_result_encode(&acquired, result) ? ERR_OK : ERR_FULL;
}

static enum error apply_release(struct model *model, const struct wire_lock_release *release,
                                struct buffer *result)
{
    struct model_lock *lock = lock_of(model, release->name);
    struct wire_lock_release_result released = {0};
    uint32_t before = lock->waiter_count;

    leave_queue(lock, release->session);
    if (lock->holder == release->session) {
        if (release->token != 0 && release->token != lock->token) {
            return ERR_FENCED;
        }
        free_lock(model, lock);
    } else if (before == lock->waiter_count) {
        return ERR_NOT_FOUND;
    }
    return wire_lock_release_result_encode(&released, result) ? ERR_OK : ERR_FULL;
}

enum error model_apply(struct model *model, enum wire_method method,
                       const struct model_request *request, struct wire_failure *failure,
                       struct buffer *result)
{
    model->applied_count++;
    if (method == WIRE_METHOD_put) {
        return apply_put(model, &request->body.put, result);
    }
    if (method == WIRE_METHOD_lock_acquire) {
        return apply_acquire(model, &request->body.acquire, failure, result);
    }
    return apply_release(model, &request->body.release, result);
}
