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
    schedule->effects.events = &schedule->events;
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
    ASSERT_VALUES(got->revoked_count == expected->revoked_count, got->revoked_count,
                  expected->revoked_count);
    if (got->revoked_count != 0) {
        ASSERT(got->revoked.session == expected->revoked.session);
        ASSERT(got->revoked.token == expected->revoked.token);
        ASSERT(bytes_equal(bytes_of(got->revoked.name, got->revoked.name_size),
                           bytes_of(expected->revoked.name, expected->revoked.name_size)));
    }
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
        ASSERT_VALUES(view.session == lock->waiters[i].session, view.session,
                      lock->waiters[i].session);
        ASSERT(view.mode == lock->waiters[i].mode && view.units == lock->waiters[i].units);
        ASSERT_VALUES(view.ticket > before, view.ticket, before);
    }
    ASSERT(!lease_waiter_next(schedule->table, name, view.ticket, &view));
}

static void compare_holds(struct schedule *schedule, const struct model_lock *lock,
                          const struct lease_lock_view *whole)
{
    struct lease_hold_view view = {.token = 0};
    struct bytes name = bytes_of(lock->name, lock->name_size);
    uint32_t used = 0;

    for (uint32_t i = 0; i < lock->hold_count; i++) {
        const struct model_hold *hold = &lock->holds[i];
        ASSERT(lease_hold_next(schedule->table, name, view.token, &view));
        ASSERT_VALUES(view.token == hold->token, view.token, hold->token);
        ASSERT_VALUES(view.session == hold->session, view.session, hold->session);
        ASSERT_VALUES(view.units == hold->units, view.units, hold->units);
        ASSERT_VALUES(view.granted_ms == hold->granted_ms, view.granted_ms, hold->granted_ms);
        ASSERT(whole->mode == hold->mode);
        ASSERT(view.is_lost == (hold->lost_until_ms != 0));
        ASSERT(!view.is_lost || view.deadline_ms == hold->lost_until_ms);
        used += hold->units;
    }
    ASSERT(!lease_hold_next(schedule->table, name, view.token, &view));
    ASSERT_VALUES(whole->used == used, whole->used, used);
    /* Never more than permits; never two when one is exclusive. */
    ASSERT_VALUES(whole->mode != LEASE_PERMITS || used <= whole->limit, used, whole->limit);
    ASSERT(whole->mode != LEASE_EXCLUSIVE || lock->hold_count == 1);
    schedule->shared_count += lock->hold_count > 1 ? 1 : 0;
    schedule->permits_count += whole->mode == LEASE_PERMITS && used == whole->limit ? 1 : 0;
}

static void compare_locks(struct schedule *schedule)
{
    struct lease_lock_view view = {.name = bytes_of(NULL, 0)};
    struct bytes all = bytes_of(NULL, 0);

    for (uint32_t i = 0; i < schedule->profile.name_count; i++) {
        const struct model_lock *lock = &schedule->model.locks[i];
        struct bytes name = model_name(&schedule->model, i);
        if (lock->hold_count == 0) {
            ASSERT(!lease_lock_get(schedule->table, name, &(struct lease_lock_view){0}));
            continue;
        }
        ASSERT(lease_lock_next(schedule->table, all, view.name, &view));
        ASSERT(bytes_equal(view.name, name));
        ASSERT_VALUES(view.holder == lock->holds[0].session, view.holder, lock->holds[0].session);
        ASSERT_VALUES(view.token == lock->holds[0].token, view.token, lock->holds[0].token);
        ASSERT_VALUES(view.limit == lock->limit, view.limit, lock->limit);
        ASSERT_VALUES(view.hold_count == lock->hold_count, view.hold_count, lock->hold_count);
        ASSERT_VALUES(view.waiter_count == lock->waiter_count, view.waiter_count,
                      lock->waiter_count);
        compare_holds(schedule, lock, &view);
        compare_queue(schedule, lock);
    }
    ASSERT(!lease_lock_next(schedule->table, all, view.name, &view));
}

static void compare_sessions(struct schedule *schedule)
{
    struct lease_session_view view = {.id = 0};
    uint64_t first_ms = 0;
    uint64_t deadline_ms = 0;

    for (uint32_t i = 0; i < schedule->model.session_count; i++) {
        const struct model_session *session = &schedule->model.sessions[i];
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
    ASSERT(found == model_next_deadline(&schedule->model, &first_ms));
    if (found) {
        ASSERT_VALUES(deadline_ms <= first_ms, deadline_ms, first_ms);
    }
}

/* --- What the events tell --------------------------------------------------------------------- */

static uint32_t name_of(const struct schedule *schedule, const struct lease_event *event)
{
    for (uint32_t i = 0; i < schedule->profile.name_count; i++) {
        if (bytes_equal(model_name(&schedule->model, i), bytes_of(event->text, event->name_size))) {
            return i;
        }
    }
    UNREACHABLE();
}

static struct schedule_hold *told_hold(struct schedule *schedule, lease_token token)
{
    for (uint32_t i = 0; i < schedule->told_count; i++) {
        if (schedule->told[i].token == token) {
            return &schedule->told[i];
        }
    }
    return NULL;
}

static void take_event(struct schedule *schedule, const struct lease_event *event)
{
    struct schedule_hold *hold = told_hold(schedule, event->token);
    struct bytes owner = bytes_of(event->text + event->name_size, event->owner_size);
    struct bytes metadata = bytes_of(owner.data + owner.size, event->metadata_size);

    ASSERT(event->token != 0 && event->session != 0);
    ASSERT(bytes_equal(owner, bytes_of_text("me")));
    ASSERT(bytes_equal(metadata, bytes_of_text("more")));
    if (event->kind == LEASE_GRANTED) {
        ASSERT(hold == NULL && !event->is_kept);
        ASSERT(schedule->told_count < SCHEDULE_HOLD_COUNT_MAX);
        schedule->told[schedule->told_count++] = (struct schedule_hold){
            .name = name_of(schedule, event), .session = event->session, .token = event->token};
        return;
    }
    ASSERT_VALUES(hold != NULL, event->token, event->kind);
    ASSERT(hold->name == name_of(schedule, event) && hold->session == event->session);
    /* One that is lost is lost once; breaking it again, or the end of the delay, ends it. */
    ASSERT(event->kind != LEASE_LOST || !hold->is_lost);
    ASSERT(!event->is_kept || !hold->is_lost);
    schedule->lost_count += event->kind != LEASE_RELEASED ? 1 : 0;
    schedule->kept_count += event->is_kept ? 1 : 0;
    if (event->is_kept) {
        hold->is_lost = true;
    } else {
        *hold = schedule->told[--schedule->told_count];
    }
}

/* Whoever knows the events alone knows every hold. */
static void compare_events(struct schedule *schedule)
{
    uint32_t count = 0;

    for (; schedule->events_seen < schedule->events.count; schedule->events_seen++) {
        take_event(schedule, &schedule->events.items[schedule->events_seen]);
    }
    for (uint32_t i = 0; i < schedule->profile.name_count; i++) {
        const struct model_lock *lock = &schedule->model.locks[i];

        for (uint32_t j = 0; j < lock->hold_count; j++) {
            const struct schedule_hold *told = told_hold(schedule, lock->holds[j].token);

            ASSERT_VALUES(told != NULL, i, lock->holds[j].token);
            ASSERT(told->name == i && told->session == lock->holds[j].session);
            ASSERT(told->is_lost == (lock->holds[j].lost_until_ms != 0));
        }
        count += lock->hold_count;
    }
    ASSERT_VALUES(count == schedule->told_count, count, schedule->told_count);
}

static void compare(struct schedule *schedule)
{
    schedule->ended_count += schedule->effects.ended_count;
    compare_effects(schedule);
    compare_locks(schedule);
    compare_events(schedule);
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

/* Locks of one name mostly agree on what they are. */
static void draw_mode(struct schedule *schedule, uint32_t at, struct lease_request *request)
{
    const struct schedule_profile *profile = &schedule->profile;
    bool counts = at % 100 < profile->permit_share;

    if (profile->permit_share != 0 && prng_below(&schedule->prng, 30) == 0) {
        counts = !counts;
    }
    if (counts) {
        request->mode = LEASE_PERMITS;
        request->limit = 2 + at % 3 + (prng_below(&schedule->prng, 30) == 0 ? 1 : 0);
        request->units = (uint32_t)prng_between(&schedule->prng, 1, request->limit);
    } else if (profile->writer_first && schedule->model.locks[at].hold_count == 0) {
        request->mode = LEASE_EXCLUSIVE;
    } else if (profile->shared_share != 0 &&
               prng_below(&schedule->prng, 100) < profile->shared_share) {
        request->mode = LEASE_SHARED;
    }
    if (profile->delay_ms_max != 0 && prng_below(&schedule->prng, 2) == 0) {
        request->delay_ms = (uint32_t)prng_between(&schedule->prng, 1, profile->delay_ms_max);
    }
}

static void command_acquire(struct schedule *schedule)
{
    struct lease_acquired a;
    struct lease_acquired b;
    uint32_t at = 0;
    struct lease_request request = {.session = draw_session(schedule),
                                    .owner = bytes_of_text("me"),
                                    .metadata = bytes_of_text("more")};

    at = (uint32_t)prng_below(&schedule->prng, schedule->profile.name_count);
    request.name = model_name(&schedule->model, at);
    request.wait = prng_below(&schedule->prng, 4) != 0;
    draw_mode(schedule, at, &request);
    bool was_held = model_holds(&schedule->model, at, request.session);
    enum error expected = model_acquire(&schedule->model, &request, at, schedule->log_ms,
                                        &schedule->effects_expected, &a);
    enum error got =
        lease_lock_acquire(schedule->table, &request, schedule->log_ms, &schedule->effects, &b);

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
    ASSERT_VALUES(b.refusal == a.refusal, b.refusal, a.refusal);
    if (!was_held && b.token != 0) {
        ASSERT_VALUES(b.token > schedule->token_last, b.token, schedule->token_last);
        schedule->token_last = b.token;
    }
}

/* One of the lock's holds; NULL when nobody holds it. */
static const struct model_hold *draw_hold(struct schedule *schedule, const struct model_lock *lock)
{
    if (lock->hold_count < 2) {
        return lock->hold_count == 0 ? NULL : &lock->holds[0];
    }
    return &lock->holds[prng_below(&schedule->prng, lock->hold_count)];
}

static void command_release(struct schedule *schedule)
{
    uint32_t at = (uint32_t)prng_below(&schedule->prng, schedule->profile.name_count);
    const struct model_lock *lock = &schedule->model.locks[at];
    const struct model_hold *hold = draw_hold(schedule, lock);
    bool by_holder = hold != NULL && prng_below(&schedule->prng, 3) != 0;
    lease_session_id id = by_holder ? hold->session : draw_session(schedule);
    lease_token token = hold == NULL || prng_below(&schedule->prng, 2) == 0 ? 0 : hold->token;
    token += prng_below(&schedule->prng, 8) == 0 ? 1 : 0;
    enum error expected = model_release(&schedule->model, id, at, token, schedule->log_ms,
                                        &schedule->effects_expected);
    enum error got = lease_lock_release(schedule->table, id, model_name(&schedule->model, at),
                                        token, schedule->log_ms, &schedule->effects);

    ASSERT_VALUES(got == expected, got, expected);
}

static void command_break(struct schedule *schedule)
{
    uint32_t at = (uint32_t)prng_below(&schedule->prng, schedule->profile.name_count);
    const struct model_hold *hold = draw_hold(schedule, &schedule->model.locks[at]);
    struct lease_break request = {
        .name = model_name(&schedule->model, at),
        .token = hold == NULL ? 1 : hold->token,
        .by = bytes_of_text("operator"),
        .reason = bytes_of_text("because"),
    };

    request.token += prng_below(&schedule->prng, 8) == 0 ? 1 : 0;
    enum error expected = model_break(&schedule->model, at, request.token, schedule->log_ms,
                                      &schedule->effects_expected);
    enum error got =
        lease_lock_break(schedule->table, &request, schedule->log_ms, &schedule->effects);

    ASSERT_VALUES(got == expected, got, expected);
}

static void advance(struct schedule *schedule)
{
    schedule->effects.grant_count = 0;
    schedule->effects.ended_count = 0;
    schedule->effects.revoked_count = 0;
    schedule->effects.elections = 0;
    schedule->effects_expected.revoked_count = 0;
    schedule->effects_expected.grant_count = 0;
    schedule->effects_expected.ended_count = 0;
    schedule->events.count = 0;
    schedule->events_seen = 0;
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
    } else if (choice < profile->renew_share + profile->release_share + profile->end_share +
                            profile->break_share) {
        command_break(schedule);
    } else {
        command_acquire(schedule);
    }
    compare(schedule);
}

void schedule_drain(struct schedule *schedule)
{
    uint64_t deadline_ms = 0;

    while (model_next_deadline(&schedule->model, &deadline_ms)) {
        schedule->log_ms += schedule->profile.ttl_ms_max / 4 + 1;
        advance(schedule);
        compare(schedule);
    }
}
