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

    while (at < lock->waiter_count && lock->waiters[at].session != session) {
        at++;
    }
    return at;
}

/* What the session itself holds; hold_count when nothing. */
static uint32_t hold_find(const struct model_lock *lock, lease_session_id session)
{
    uint32_t at = 0;

    while (at < lock->hold_count &&
           (lock->holds[at].session != session || lock->holds[at].lost_until_ms != 0)) {
        at++;
    }
    return at;
}

bool model_holds(const struct model *model, uint32_t at, lease_session_id session)
{
    return hold_find(&model->locks[at], session) < model->locks[at].hold_count;
}

static uint32_t hold_find_token(const struct model_lock *lock, lease_token token)
{
    uint32_t at = 0;

    while (at < lock->hold_count && lock->holds[at].token != token) {
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

static void hold_remove(struct model_lock *lock, uint32_t at)
{
    ASSERT(at < lock->hold_count);
    lock->hold_count--;
    memmove(&lock->holds[at], &lock->holds[at + 1],
            (lock->hold_count - at) * sizeof(lock->holds[0]));
}

static bool fits(const struct model_lock *lock, enum lease_mode mode, uint32_t units)
{
    uint32_t used = 0;

    for (uint32_t i = 0; i < lock->hold_count; i++) {
        if (mode == LEASE_EXCLUSIVE || lock->holds[i].mode == LEASE_EXCLUSIVE) {
            return false;
        }
        used += lock->holds[i].units;
    }
    return mode != LEASE_PERMITS || used + units <= lock->limit;
}

static lease_token grant(struct model *model, struct model_lock *lock,
                         const struct model_waiter *waiter, uint64_t log_ms)
{
    ASSERT(lock->hold_count < MODEL_HOLD_COUNT_MAX);
    lock->holds[lock->hold_count++] = (struct model_hold){
        .session = waiter->session,
        .token = ++model->token_last,
        .mode = waiter->mode,
        .units = waiter->units,
        .delay_ms = waiter->delay_ms,
        .granted_ms = log_ms,
    };
    return model->token_last;
}

static void tell(const struct model_lock *lock, lease_session_id session, lease_token token,
                 struct lease_grant *to)
{
    to->session = session;
    to->token = token;
    to->name_size = lock->name_size;
    memcpy(to->name, lock->name, lock->name_size);
}

static void call_begin(struct model *model, const struct lease_effects *effects, uint32_t reserve)
{
    uint32_t used = effects->grant_count + reserve;

    model->skip_count = 0;
    model->grants_left = used < LEASE_GRANT_COUNT_MAX ? LEASE_GRANT_COUNT_MAX - used : 0;
}

/* To the first in the queue while they fit. Those that are due are skipped, until enough were. */
static void pass_on(struct model *model, struct model_lock *lock, uint64_t log_ms,
                    struct lease_effects *effects)
{
    bool was_behind = lock->is_behind;

    lock->is_behind = false;
    while (lock->waiter_count > 0 && fits(lock, lock->waiters[0].mode, lock->waiters[0].units)) {
        struct model_waiter waiter = lock->waiters[0];
        bool is_alive = model_session_is_alive(model, waiter.session, log_ms);
        if (model->grants_left == 0) {
            lock->is_behind = true;
            lock->file_ms = was_behind ? lock->file_ms : log_ms;
            model->behind_count++;
            return;
        }
        waiter_remove(lock, 0);
        if (!is_alive && model->skip_count < LEASE_SKIP_COUNT_MAX) {
            model->skip_count++;
            continue;
        }
        model->grants_left--;
        lease_token token = grant(model, lock, &waiter, log_ms);
        if (is_alive) {
            tell(lock, waiter.session, token, &effects->grants[effects->grant_count++]);
        } else {
            model->due_holder_count++;
        }
    }
    lock->limit = lock->hold_count == 0 ? 0 : lock->limit;
}

/* Not given up by its session. */
static void lose(struct model *model, struct model_lock *lock, uint32_t at, uint64_t log_ms,
                 struct lease_effects *effects)
{
    struct model_hold *hold = &lock->holds[at];

    if (hold->delay_ms != 0) {
        hold->lost_until_ms = log_ms + hold->delay_ms;
        model->lost_count++;
        return;
    }
    hold_remove(lock, at);
    pass_on(model, lock, log_ms, effects);
}

/* One step: the session's first lock or queue in the order of names, else the session itself. */
static bool dismantle_step(struct model *model, lease_session_id id, bool is_clean, uint64_t log_ms,
                           struct lease_effects *effects)
{
    for (uint32_t i = 0; i < MODEL_NAME_COUNT; i++) {
        struct model_lock *lock = &model->locks[i];
        uint32_t queued = waiter_find(lock, id);
        uint32_t held = hold_find(lock, id);
        if (held < lock->hold_count && !is_clean) {
            lose(model, lock, held, log_ms, effects);
            return false;
        }
        if (held < lock->hold_count) {
            hold_remove(lock, held);
            pass_on(model, lock, log_ms, effects);
            return false;
        }
        if (queued < lock->waiter_count) {
            waiter_remove(lock, queued);
            pass_on(model, lock, log_ms, effects);
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

/* What is to be done first of all that is due: a session, or something of a lock. */
struct due {
    bool found;
    uint64_t at_ms;
    uint64_t number; /* Of the session, of the lost hold, or 0 for a queue. */
    uint32_t lock;   /* MODEL_NAME_COUNT: it is a session. */
};

static void due_offer(struct due *due, uint64_t at_ms, uint64_t number, uint32_t lock)
{
    bool is_earlier = at_ms < due->at_ms || (at_ms == due->at_ms && number < due->number);
    /* A session comes before what has a name; names are offered in their order. */
    bool is_tie = at_ms == due->at_ms && number == due->number;

    if (!due->found || is_earlier || (is_tie && lock == MODEL_NAME_COUNT)) {
        *due = (struct due){.found = true, .at_ms = at_ms, .number = number, .lock = lock};
    }
}

static struct due due_find(const struct model *model, uint64_t log_ms)
{
    struct due due = {.found = false};

    for (uint32_t i = 0; i < MODEL_NAME_COUNT; i++) {
        const struct model_lock *lock = &model->locks[i];
        if (lock->is_behind && lock->file_ms <= log_ms) {
            due_offer(&due, lock->file_ms, 0, i);
        }
        for (uint32_t j = 0; j < lock->hold_count; j++) {
            const struct model_hold *hold = &lock->holds[j];
            if (hold->lost_until_ms != 0 && hold->lost_until_ms <= log_ms) {
                due_offer(&due, hold->lost_until_ms, hold->token, i);
            }
        }
    }
    for (uint32_t i = 0; i < model->session_count; i++) {
        if (model->sessions[i].deadline_ms <= log_ms) {
            due_offer(&due, model->sessions[i].deadline_ms, model->sessions[i].id,
                      MODEL_NAME_COUNT);
        }
    }
    return due;
}

static void due_act(struct model *model, const struct due *due, uint64_t log_ms,
                    struct lease_effects *effects)
{
    if (due->lock == MODEL_NAME_COUNT) {
        bool is_clean = model->sessions[model_session_find(model, due->number)].is_ended;
        (void)dismantle_step(model, due->number, is_clean, log_ms, effects);
        return;
    }
    struct model_lock *lock = &model->locks[due->lock];
    if (due->number != 0) {
        hold_remove(lock, hold_find_token(lock, due->number));
    }
    pass_on(model, lock, log_ms, effects);
}

bool model_advance(struct model *model, uint64_t log_ms, struct lease_effects *effects)
{
    call_begin(model, effects, 1);
    for (uint32_t step = 0; step + 1 < LEASE_GRANT_COUNT_MAX && model->grants_left > 0; step++) {
        struct due due = due_find(model, log_ms);
        if (!due.found) {
            return false;
        }
        due_act(model, &due, log_ms, effects);
    }
    return due_find(model, log_ms).found;
}

bool model_next_deadline(const struct model *model, uint64_t *deadline_ms)
{
    struct due due = due_find(model, UINT64_MAX);

    *deadline_ms = due.at_ms;
    return due.found;
}

enum error model_session_end(struct model *model, lease_session_id id, uint64_t log_ms,
                             struct lease_effects *effects)
{
    uint32_t used = (uint32_t)size_max(effects->grant_count, effects->ended_count);

    call_begin(model, effects, 0);
    if (!model_session_is_alive(model, id, log_ms)) {
        return ERR_SESSION_EXPIRED;
    }
    for (; used < LEASE_GRANT_COUNT_MAX && model->grants_left > 0; used++) {
        if (dismantle_step(model, id, true, log_ms, effects)) {
            return ERR_OK;
        }
    }
    struct model_session *session = &model->sessions[model_session_find(model, id)];
    session->deadline_ms = log_ms;
    session->is_ended = true;
    return ERR_OK;
}

static enum error refuse(struct lease_acquired *acquired, enum lease_refusal refusal)
{
    acquired->refusal = refusal;
    return ERR_REFUSED;
}

static bool is_same(const struct model_waiter *waiter, enum lease_mode mode, uint32_t units)
{
    return waiter->mode == mode && waiter->units == units;
}

enum error model_acquire(struct model *model, const struct lease_request *request, uint32_t at,
                         uint64_t log_ms, struct lease_effects *effects,
                         struct lease_acquired *acquired)
{
    struct model_lock *lock = &model->locks[at];
    uint32_t queued = waiter_find(lock, request->session);
    uint32_t held = hold_find(lock, request->session);
    struct model_waiter wanted = {.session = request->session,
                                  .mode = request->mode,
                                  .units = request->mode == LEASE_PERMITS ? request->units : 1,
                                  .delay_ms = request->delay_ms};

    call_begin(model, effects, 0);
    *acquired = (struct lease_acquired){0};
    if (!model_session_is_alive(model, request->session, log_ms)) {
        return ERR_SESSION_EXPIRED;
    }
    if (lock->hold_count != 0 && (lock->limit != 0) != (request->mode == LEASE_PERMITS)) {
        return refuse(acquired, LEASE_OTHER_KIND);
    }
    if (lock->hold_count != 0 && lock->limit != request->limit) {
        return refuse(acquired, LEASE_OTHER_LIMIT);
    }
    if (held < lock->hold_count) {
        const struct model_hold *hold = &lock->holds[held];
        if (hold->mode != wanted.mode || hold->units != wanted.units) {
            return refuse(acquired, LEASE_OTHER_REQUEST);
        }
        acquired->token = hold->token;
        return ERR_OK;
    }
    if (queued < lock->waiter_count &&
        !is_same(&lock->waiters[queued], wanted.mode, wanted.units)) {
        return refuse(acquired, LEASE_OTHER_REQUEST);
    }
    lock->limit = request->limit;
    if (lock->waiter_count == 0 && fits(lock, wanted.mode, wanted.units)) {
        acquired->token = grant(model, lock, &wanted, log_ms);
        return ERR_OK;
    }
    if (!request->wait) {
        acquired->holder = lock->holds[0].session;
        acquired->holder_token = lock->holds[0].token;
        if (queued < lock->waiter_count) {
            waiter_remove(lock, queued);
            pass_on(model, lock, log_ms, effects);
        }
        return ERR_HELD;
    }
    if (queued == lock->waiter_count) {
        lock->waiters[lock->waiter_count++] = wanted;
    }
    acquired->position = queued + 1;
    return ERR_OK;
}

enum error model_release(struct model *model, lease_session_id session, uint32_t at,
                         lease_token token, uint64_t log_ms, struct lease_effects *effects)
{
    struct model_lock *lock = &model->locks[at];
    uint32_t queued = waiter_find(lock, session);
    uint32_t held = hold_find(lock, session);

    call_begin(model, effects, 0);
    if (!model_session_is_alive(model, session, log_ms)) {
        return ERR_SESSION_EXPIRED;
    }
    if (held < lock->hold_count) {
        if (token != 0 && token != lock->holds[held].token) {
            return ERR_FENCED;
        }
        hold_remove(lock, held);
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
    pass_on(model, lock, log_ms, effects);
    return ERR_OK;
}

enum error model_break(struct model *model, uint32_t at, lease_token token, uint64_t log_ms,
                       struct lease_effects *effects)
{
    struct model_lock *lock = &model->locks[at];
    uint32_t held = hold_find_token(lock, token);

    call_begin(model, effects, 0);
    if (lock->hold_count == 0) {
        return ERR_NOT_FOUND;
    }
    if (held == lock->hold_count) {
        return ERR_FENCED;
    }
    model->audit_count++;
    if (lock->holds[held].lost_until_ms != 0) {
        hold_remove(lock, held);
        pass_on(model, lock, log_ms, effects);
        return ERR_OK;
    }
    effects->revoked_count = 1;
    tell(lock, lock->holds[held].session, token, &effects->revoked);
    lose(model, lock, held, log_ms, effects);
    return ERR_OK;
}
