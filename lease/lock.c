/* lease/lock.c: asking for a lock, queueing for it, and giving it up.
 *
 * What each costs in writes, of an exclusive lock: an uncontended acquire 3 (lock, claim, counter
 * of grants), its release 2 (claim, lock); queueing 3 (lock, waiter, claim); a release that passes
 * the lock on 4 (claim, lock, waiter, counter). A shared hold, or one of permits, has a record of
 * its own: one write more to take it, two more to pass it on. */
#include "lease/internal.h"

enum {
    /* A repeated request that has at most that many before it learns its exact position. */
    POSITION_EXACT_MAX = 64,
};

const char *lease_refusal_text(enum lease_refusal refusal)
{
    switch (refusal) {
    case LEASE_NOT_REFUSED:
        return "";
    case LEASE_OTHER_KIND:
        return "one of the two, this request or those who hold the lock, counts permits; use "
               "another name, or wait until nobody holds it";
    case LEASE_OTHER_LIMIT:
        return "the lock counts another number of permits; ask with that number, or wait until "
               "nobody holds it";
    case LEASE_OTHER_REQUEST:
        return "this session holds the lock or waits for it already, in another mode or number of "
               "permits; release it first";
    }
    UNREACHABLE();
}

bool lease_request_is_valid(const struct lease_request *request)
{
    bool counts = request->mode == LEASE_PERMITS;
    bool fits = counts ? request->limit >= 1 && request->limit <= LEASE_PERMIT_COUNT_MAX &&
                             request->units >= 1 && request->units <= request->limit
                       : request->limit == 0 && request->units == 0;

    return fits && request->name.size >= 1 && request->name.size <= LEASE_NAME_SIZE_MAX &&
           request->owner.size <= LEASE_OWNER_SIZE_MAX &&
           request->metadata.size <= LEASE_METADATA_SIZE_MAX &&
           request->delay_ms <= LEASE_DELAY_MS_MAX;
}

static uint32_t units_of(const struct lease_request *request)
{
    return request->mode == LEASE_PERMITS ? request->units : 1;
}

static void waiter_enqueue(struct table *table, const struct lease_request *request,
                           struct lease_lock *lock)
{
    struct lease_waiter waiter = {
        .session = request->session,
        .mode = request->mode,
        .units = units_of(request),
        .delay_ms = request->delay_ms,
        .owner = request->owner,
        .metadata = request->metadata,
    };

    ASSERT(lock->waiter_count < UINT32_MAX && lock->ticket_last < UINT64_MAX);
    lock->waiter_count++;
    lock->ticket_last++;
    waiter.ticket = lock->ticket_last;
    const struct lease_claim claim = {.ticket = waiter.ticket};
    /* The lock first: what an exclusive hold says is borrowed from the table. */
    lease_lock_store(table, request->name, lock);
    lease_waiter_store(table, request->name, &waiter);
    lease_claim_store(table, request->session, request->name, &claim);
}

/* The position of a request that queued earlier: exact near the head, else at most too large by
 * the requests that left the queue in front of it. */
static uint64_t waiter_position(struct table *table, struct bytes name,
                                const struct lease_lock *lock, uint64_t ticket)
{
    struct lease_waiter waiter = {.ticket = 0};
    uint64_t ticket_first = ticket;

    for (uint64_t position = 1; position <= POSITION_EXACT_MAX + 1; position++) {
        if (!lease_is_present(table, lease_waiter_seek(table, name, waiter.ticket, &waiter))) {
            return position;
        }
        if (position == 1) {
            ticket_first = waiter.ticket;
        }
        if (waiter.ticket == ticket) {
            return position;
        }
    }
    uint64_t span = ticket - ticket_first + 1;
    return span < lock->waiter_count ? span : lock->waiter_count;
}

/* Nobody waits, and it fits. */
static lease_token grant_at_once(struct table *table, const struct lease_request *request,
                                 struct lease_lock *lock, uint64_t log_ms,
                                 struct lease_effects *effects)
{
    struct lease_hold hold = {
        .session = request->session,
        .granted_ms = log_ms,
        .units = units_of(request),
        .delay_ms = request->delay_ms,
        .owner = request->owner,
        .metadata = request->metadata,
    };

    ASSERT(lock->waiter_count == 0);
    lock->mode = request->mode;
    lock->limit = request->limit;
    lease_token token =
        lease_hold_add(table, request->name, lock, &hold, (struct lease_claim){.ticket = 0});
    lease_event_add(effects, LEASE_GRANTED, request->name, &hold, false);
    lease_lock_store(table, request->name, lock);
    lease_note_election(effects, request->name);
    return token;
}

static enum error refuse(struct lease_acquired *acquired, enum lease_refusal refusal)
{
    acquired->refusal = refusal;
    return ERR_REFUSED;
}

static void name_holder(struct table *table, struct bytes name, const struct lease_lock *lock,
                        struct lease_acquired *acquired)
{
    struct lease_hold hold = lock->hold;

    if (lock->mode != LEASE_EXCLUSIVE &&
        !lease_is_present(table, lease_hold_seek(table, name, 0, &hold))) {
        return;
    }
    acquired->holder = hold.session;
    acquired->holder_token = hold.token;
}

/* The session holds the lock or waits for it: it asks again. */
static enum error ask_again(struct table *table, const struct lease_request *request,
                            struct lease_lock *lock, const struct lease_claim *claim,
                            struct lease_acquired *acquired)
{
    struct lease_hold hold;
    struct lease_waiter waiter;

    if (claim->token != 0) {
        if (!lease_is_present(table, lease_hold_load(table, request->name, claim->token, &hold))) {
            return ERR_OK;
        }
        if (lock->mode != request->mode || hold.units != units_of(request)) {
            return refuse(acquired, LEASE_OTHER_REQUEST);
        }
        acquired->token = claim->token;
        return ERR_OK;
    }
    if (!lease_is_present(table, lease_waiter_load(table, request->name, claim->ticket, &waiter))) {
        return ERR_OK;
    }
    if (waiter.mode != request->mode || waiter.units != units_of(request)) {
        return refuse(acquired, LEASE_OTHER_REQUEST);
    }
    if (request->wait) {
        acquired->position = waiter_position(table, request->name, lock, claim->ticket);
        return ERR_OK;
    }
    return ERR_HELD;
}

enum error lease_lock_acquire(struct table *table, const struct lease_request *request,
                              uint64_t log_ms, struct lease_effects *effects,
                              struct lease_acquired *acquired)
{
    struct bytes name = request->name;
    struct lease_lock lock = {0};
    struct lease_claim claim;
    struct lease_pass pass;

    *acquired = (struct lease_acquired){0};
    if (!lease_request_is_valid(request)) {
        return ERR_MALFORMED;
    }
    if (!lease_session_is_alive(table, request->session, log_ms)) {
        return ERR_SESSION_EXPIRED;
    }
    if (!lease_lock_load(table, name, &lock)) {
        acquired->token = grant_at_once(table, request, &lock, log_ms, effects);
        return ERR_OK;
    }
    if ((lock.mode == LEASE_PERMITS) != (request->mode == LEASE_PERMITS)) {
        return refuse(acquired, LEASE_OTHER_KIND);
    }
    if (lock.limit != request->limit) {
        return refuse(acquired, LEASE_OTHER_LIMIT);
    }
    if (lease_lock_is_held_by(&lock, request->session)) {
        if (request->mode != LEASE_EXCLUSIVE) {
            return refuse(acquired, LEASE_OTHER_REQUEST);
        }
        acquired->token = lock.hold.token;
        return ERR_OK;
    }
    bool has_claim = lease_claim_load(table, request->session, name, &claim);
    if (has_claim) {
        enum error error = ask_again(table, request, &lock, &claim, acquired);
        if (error != ERR_HELD) {
            return error;
        }
    } else if (lock.waiter_count == 0 && lease_lock_fits(&lock, request->mode, units_of(request))) {
        acquired->token = grant_at_once(table, request, &lock, log_ms, effects);
        return ERR_OK;
    } else if (request->wait) {
        waiter_enqueue(table, request, &lock);
        acquired->position = lock.waiter_count;
        return ERR_OK;
    }
    name_holder(table, name, &lock, acquired);
    if (has_claim) {
        lease_pass_begin(&pass, log_ms, effects, 0);
        lease_waiter_withdraw(table, name, &lock, request->session, claim.ticket, &pass);
    }
    return ERR_HELD;
}

enum error lease_lock_release(struct table *table, lease_session_id session, struct bytes name,
                              lease_token token, uint64_t log_ms, struct lease_effects *effects)
{
    struct lease_lock lock;
    struct lease_claim claim = {.ticket = 0};
    struct lease_hold hold;
    struct lease_pass pass;

    ASSERT_VALUES(name.size >= 1 && name.size <= LEASE_NAME_SIZE_MAX, name.size, session);
    lease_pass_begin(&pass, log_ms, effects, 0);
    if (!lease_session_is_alive(table, session, log_ms)) {
        return ERR_SESSION_EXPIRED;
    }
    if (!lease_lock_load(table, name, &lock)) {
        return ERR_NOT_FOUND;
    }
    if (lease_lock_is_held_by(&lock, session)) {
        hold = lock.hold;
    } else if (!lease_claim_load(table, session, name, &claim)) {
        return ERR_NOT_FOUND;
    } else if (claim.token == 0) {
        if (token != 0) {
            return ERR_FENCED; /* A waiter has no token yet. */
        }
        lease_waiter_withdraw(table, name, &lock, session, claim.ticket, &pass);
        return ERR_OK;
    } else if (!lease_is_present(table, lease_hold_load(table, name, claim.token, &hold))) {
        return ERR_OK;
    }
    if (token != 0 && token != hold.token) {
        return ERR_FENCED;
    }
    lease_event_add(effects, LEASE_RELEASED, name, &hold, false);
    lease_claim_erase(table, session, name);
    lease_hold_drop(table, name, &lock, &hold, &pass);
    return ERR_OK;
}

enum error lease_lock_proclaim(struct table *table, const struct lease_proclamation *proclamation,
                               uint64_t log_ms, struct lease_effects *effects)
{
    struct lease_lock lock;

    if (proclamation->metadata.size > LEASE_METADATA_SIZE_MAX) {
        return ERR_MALFORMED;
    }
    if (!lease_session_is_alive(table, proclamation->session, log_ms)) {
        return ERR_SESSION_EXPIRED;
    }
    if (!lease_lock_load(table, proclamation->name, &lock) ||
        !lease_lock_is_held_by(&lock, proclamation->session)) {
        return ERR_NOT_FOUND;
    }
    if (proclamation->token != 0 && proclamation->token != lock.hold.token) {
        return ERR_FENCED;
    }
    lock.hold.metadata = proclamation->metadata;
    lease_lock_store(table, proclamation->name, &lock);
    lease_note_election(effects, proclamation->name);
    return ERR_OK;
}
