/* tests/support/lease/schedule.c: commands drawn at random, compared with the model. */
#include "tests/support/lease/schedule.h"

#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/macros.h"

enum { POSITION_EXACT_MAX = 65, LEAP_RARITY = 60 };

void schedule_init(struct schedule *schedule, struct table *table,
                   const struct schedule_profile *profile, uint64_t seed)
{
    memset(schedule, 0, sizeof(*schedule));
    schedule->table = table;
    schedule->profile = *profile;
    schedule->log_ms = 1000;
    prng_init(&schedule->prng, seed);
    model_init(&schedule->model);
}

/* --- Comparison ------------------------------------------------------------------------------- */

static void compare_effects(struct schedule *schedule)
{
    const struct lease_effects *got = &schedule->effects;
    const struct lease_effects *expected = &schedule->effects_expected;

    ASSERT_VALUES(got->grant_count == expected->grant_count, got->grant_count,
                  expected->grant_count);
    ASSERT_VALUES(got->ended_count == expected->ended_count, got->ended_count,
                  expected->ended_count);
    for (uint32_t i = 0; i < got->grant_count; i++) {
        const struct lease_grant *a = &got->grants[i];
        const struct lease_grant *b = &expected->grants[i];
        ASSERT_VALUES(a->session == b->session, a->session, b->session);
        ASSERT_VALUES(a->token == b->token, a->token, b->token);
        ASSERT(bytes_equal(bytes_of(a->name, a->name_size), bytes_of(b->name, b->name_size)));
    }
    for (uint32_t i = 0; i < got->ended_count; i++) {
        ASSERT_VALUES(got->ended[i] == expected->ended[i], got->ended[i], expected->ended[i]);
    }
    for (; schedule->grants_seen < got->grant_count; schedule->grants_seen++) {
        lease_token token = got->grants[schedule->grants_seen].token;
        ASSERT_VALUES(token > schedule->token_last, token, schedule->token_last);
        schedule->token_last = token;
        schedule->granted_count++;
    }
}

static void compare_queue(struct schedule *schedule, const struct model_lock *lock)
{
    struct lease_waiter_view view = {.ticket = 0};
    struct bytes name = bytes_of(lock->name, lock->name_size);

    for (uint32_t i = 0; i < lock->waiter_count; i++) {
        uint64_t before = view.ticket;
        ASSERT(lease_waiter_next(schedule->table, name, before, &view));
        ASSERT_VALUES(view.session == lock->waiters[i], view.session, lock->waiters[i]);
        ASSERT_VALUES(view.ticket > before, view.ticket, before);
    }
    ASSERT(!lease_waiter_next(schedule->table, name, view.ticket, &view));
}

static void compare_locks(struct schedule *schedule)
{
    struct lease_lock_view view = {.name = bytes_of(NULL, 0)};
    struct bytes all = bytes_of(NULL, 0);

    for (uint32_t i = 0; i < MODEL_NAME_COUNT; i++) {
        const struct model_lock *lock = &schedule->model.locks[i];
        struct bytes name = model_name(&schedule->model, i);
        if (lock->holder == 0) {
            ASSERT(!lease_lock_get(schedule->table, name, &(struct lease_lock_view){0}));
            continue;
        }
        ASSERT(lease_lock_next(schedule->table, all, view.name, &view));
        ASSERT(bytes_equal(view.name, name));
        ASSERT_VALUES(view.holder == lock->holder, view.holder, lock->holder);
        ASSERT_VALUES(view.token == lock->token, view.token, lock->token);
        ASSERT_VALUES(view.granted_ms == lock->granted_ms, view.granted_ms, lock->granted_ms);
        ASSERT_VALUES(view.waiter_count == lock->waiter_count, view.waiter_count,
                      lock->waiter_count);
        compare_queue(schedule, lock);
    }
    ASSERT(!lease_lock_next(schedule->table, all, view.name, &view));
}

static void compare_sessions(struct schedule *schedule)
{
    struct lease_session_view view = {.id = 0};
    uint64_t first_ms = UINT64_MAX;
    uint64_t deadline_ms = 0;

    for (uint32_t i = 0; i < schedule->model.session_count; i++) {
        const struct model_session *session = &schedule->model.sessions[i];
        first_ms = session->deadline_ms < first_ms ? session->deadline_ms : first_ms;
        bool alive = session->deadline_ms > schedule->log_ms;
        ASSERT(lease_session_is_alive(schedule->table, session->id, schedule->log_ms) == alive);
        if (alive) {
            ASSERT(lease_session_next(schedule->table, view.id, schedule->log_ms, &view));
            ASSERT_VALUES(view.id == session->id, view.id, session->id);
            ASSERT_VALUES(view.deadline_ms == session->deadline_ms, view.deadline_ms,
                          session->deadline_ms);
            ASSERT(view.opened_ms == session->opened_ms && view.ttl_ms == session->ttl_ms);
        }
    }
    ASSERT(!lease_session_next(schedule->table, view.id, schedule->log_ms, &view));
    ASSERT(lease_session_count(schedule->table) == schedule->model.session_count);
    bool found = lease_next_deadline(schedule->table, &deadline_ms);
    ASSERT(found == (schedule->model.session_count > 0));
    if (found) {
        ASSERT_VALUES(deadline_ms <= first_ms, deadline_ms, first_ms);
    }
}

static void compare(struct schedule *schedule)
{
    schedule->ended_count += schedule->effects.ended_count;
    compare_effects(schedule);
    compare_locks(schedule);
    compare_sessions(schedule);
    lease_check(schedule->table);
    ASSERT(table_error(schedule->table) == ERR_OK);
}

/* --- Commands --------------------------------------------------------------------------------- */

/* Mostly one that exists, at times one that is gone or never was. */
static lease_session_id draw_session(struct schedule *schedule)
{
    const struct model *model = &schedule->model;

    if (model->session_count == 0 || prng_below(&schedule->prng, 20) == 0) {
        return prng_below(&schedule->prng, schedule->session_last + 2) + 1;
    }
    return model->sessions[prng_below(&schedule->prng, model->session_count)].id;
}

static void command_open(struct schedule *schedule)
{
    uint32_t ttl_ms = (uint32_t)prng_between(&schedule->prng, 1, schedule->profile.ttl_ms_max);

    /* As with log indices, ids that are skipped never exist. */
    schedule->session_last += prng_between(&schedule->prng, 1, 3);
    lease_session_open(schedule->table, schedule->session_last, ttl_ms, bytes_of_text("owner"),
                       schedule->log_ms);
    model_session_open(&schedule->model, schedule->session_last, ttl_ms, schedule->log_ms);
}

static void command_renew(struct schedule *schedule)
{
    lease_session_id id = draw_session(schedule);
    enum error expected = model_session_renew(&schedule->model, id, schedule->log_ms);
    enum error got = lease_session_renew(schedule->table, id, schedule->log_ms);

    ASSERT_VALUES(got == expected, got, expected);
}

static void command_end(struct schedule *schedule)
{
    lease_session_id id = draw_session(schedule);
    enum error expected =
        model_session_end(&schedule->model, id, schedule->log_ms, &schedule->effects_expected);
    enum error got = lease_session_end(schedule->table, id, schedule->log_ms, &schedule->effects);

    ASSERT_VALUES(got == expected, got, expected);
}

static void command_acquire(struct schedule *schedule)
{
    struct lease_acquired a;
    struct lease_acquired b;
    lease_session_id id = draw_session(schedule);
    uint32_t at = (uint32_t)prng_below(&schedule->prng, schedule->profile.name_count);
    bool wait = prng_below(&schedule->prng, 4) != 0;
    bool was_free = schedule->model.locks[at].holder == 0;
    enum error expected = model_acquire(&schedule->model, id, at, wait, schedule->log_ms, &a);
    enum error got = lease_lock_acquire(schedule->table, id, model_name(&schedule->model, at), wait,
                                        bytes_of_text("me"), schedule->log_ms, &b);

    ASSERT_VALUES(got == expected, got, expected);
    ASSERT_VALUES(b.token == a.token, b.token, a.token);
    /* Exact near the head; further back it may be too large, as lease/lease.h says. */
    ASSERT_VALUES(b.position >= a.position, b.position, a.position);
    if (a.position <= POSITION_EXACT_MAX) {
        ASSERT_VALUES(b.position == a.position, b.position, a.position);
    } else {
        ASSERT(b.position <= schedule->model.locks[at].waiter_count);
    }
    ASSERT_VALUES(b.holder == a.holder, b.holder, a.holder);
    ASSERT_VALUES(b.holder_token == a.holder_token, b.holder_token, a.holder_token);
    if (was_free && b.token != 0) {
        ASSERT_VALUES(b.token > schedule->token_last, b.token, schedule->token_last);
        schedule->token_last = b.token;
    }
}

static void command_release(struct schedule *schedule)
{
    uint32_t at = (uint32_t)prng_below(&schedule->prng, schedule->profile.name_count);
    const struct model_lock *lock = &schedule->model.locks[at];
    bool by_holder = lock->holder != 0 && prng_below(&schedule->prng, 3) != 0;
    lease_session_id id = by_holder ? lock->holder : draw_session(schedule);
    lease_token token = prng_below(&schedule->prng, 2) == 0 ? 0 : lock->token;
    token += prng_below(&schedule->prng, 8) == 0 ? 1 : 0;
    enum error expected = model_release(&schedule->model, id, at, token, schedule->log_ms,
                                        &schedule->effects_expected);
    enum error got = lease_lock_release(schedule->table, id, model_name(&schedule->model, at),
                                        token, schedule->log_ms, &schedule->effects);

    ASSERT_VALUES(got == expected, got, expected);
}

static void advance(struct schedule *schedule)
{
    schedule->effects.grant_count = 0;
    schedule->effects.ended_count = 0;
    schedule->effects_expected.grant_count = 0;
    schedule->effects_expected.ended_count = 0;
    schedule->grants_seen = 0;
    bool expected = model_advance(&schedule->model, schedule->log_ms, &schedule->effects_expected);
    bool got = lease_advance(schedule->table, schedule->log_ms, &schedule->effects);
    ASSERT_VALUES(got == expected, got, expected);
    ASSERT(schedule->effects.grant_count < LEASE_GRANT_COUNT_MAX);
    schedule->expired_more_count += got ? 1 : 0;
    compare_effects(schedule);
}

void schedule_step(struct schedule *schedule)
{
    const struct schedule_profile *profile = &schedule->profile;
    uint64_t choice = prng_below(&schedule->prng, 100);

    if (prng_below(&schedule->prng, 3) != 0) {
        schedule->log_ms += prng_between(&schedule->prng, 0, profile->advance_ms_max);
    }
    if (schedule->model.session_count == profile->session_count_max &&
        prng_below(&schedule->prng, LEAP_RARITY) == 0) {
        schedule->log_ms += profile->leap_ms;
    }
    advance(schedule);
    if (schedule->model.session_count < profile->session_count_max &&
        prng_below(&schedule->prng, 100) < profile->open_share) {
        command_open(schedule);
    } else if (choice < profile->renew_share) {
        command_renew(schedule);
    } else if (choice < profile->renew_share + profile->release_share) {
        command_release(schedule);
    } else if (choice < profile->renew_share + profile->release_share + profile->end_share) {
        command_end(schedule);
    } else {
        command_acquire(schedule);
    }
    compare(schedule);
}

void schedule_drain(struct schedule *schedule)
{
    while (schedule->model.session_count > 0) {
        schedule->log_ms += schedule->profile.ttl_ms_max / 4 + 1;
        advance(schedule);
        compare(schedule);
    }
}
