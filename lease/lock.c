/* lease/lock.c: taking a lock, queueing for it, giving it up and passing it on.
 *
 * What each costs in writes: an uncontended acquire 3 (lock, claim, counter of grants), its release
 * 2 (claim, lock); queueing 3 (lock, waiter, claim); a release that passes the lock on 4 (claim,
 * lock, waiter, counter). */
#include "lease/internal.h"

#include <string.h>

enum {
    /* A repeated request that has at most that many before it learns its exact position. */
    POSITION_EXACT_MAX = 64,
};

static lease_token token_take(struct table *table)
{
    struct lease_meta meta;

    lease_meta_load(table, &meta);
    ASSERT(meta.token_last < UINT64_MAX);
    meta.token_last++;
    lease_meta_store(table, &meta);
    return meta.token_last;
}

static void waiter_enqueue(struct table *table, struct bytes name, struct lease_lock *lock,
                           lease_session_id session, struct bytes owner)
{
    ASSERT(lock->holder != session);
    ASSERT(lock->waiter_count < UINT32_MAX && lock->ticket_last < UINT64_MAX);
    lock->waiter_count++;
    lock->ticket_last++;
    struct lease_waiter waiter = {.ticket = lock->ticket_last, .session = session, .owner = owner};
    /* The lock first: its owner is borrowed from the table. */
    lease_lock_store(table, name, lock);
    lease_waiter_store(table, name, &waiter);
    lease_claim_store(table, session, name, waiter.ticket);
}

static void waiter_withdraw(struct table *table, struct bytes name, struct lease_lock *lock,
                            lease_session_id session, uint64_t ticket)
{
    ASSERT(lock->holder != session);
    ASSERT_VALUES(lock->waiter_count > 0, session, ticket);
    lock->waiter_count--;
    lease_lock_store(table, name, lock);
    lease_waiter_erase(table, name, ticket);
    lease_claim_erase(table, session, name);
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

/* One parameter more than the rule: an entry's fields as they come, and the answer. */
/* NOLINTNEXTLINE(readability-function-size) */
enum error lease_lock_acquire(struct table *table, lease_session_id session, struct bytes name,
                              bool wait, struct bytes owner, uint64_t log_ms,
                              struct lease_acquired *acquired)
{
    struct lease_lock lock;
    uint64_t ticket;

    ASSERT_VALUES(name.size >= 1 && name.size <= LEASE_NAME_SIZE_MAX, name.size, session);
    *acquired = (struct lease_acquired){0};
    if (!lease_session_is_alive(table, session, log_ms)) {
        return ERR_SESSION_EXPIRED;
    }
    if (!lease_lock_load(table, name, &lock)) {
        lock = (struct lease_lock){.holder = session, .granted_ms = log_ms, .owner = owner};
        lock.token = token_take(table);
        lease_lock_store(table, name, &lock);
        lease_claim_store(table, session, name, 0);
        acquired->token = lock.token;
        return ERR_OK;
    }
    if (lock.holder == session) {
        acquired->token = lock.token;
        return ERR_OK;
    }
    bool queued = lease_claim_load(table, session, name, &ticket);
    if (wait && queued) {
        acquired->position = waiter_position(table, name, &lock, ticket);
        return ERR_OK;
    }
    if (wait) {
        waiter_enqueue(table, name, &lock, session, owner);
        acquired->position = lock.waiter_count;
        return ERR_OK;
    }
    acquired->holder = lock.holder;
    acquired->holder_token = lock.token;
    if (queued) {
        waiter_withdraw(table, name, &lock, session, ticket);
    }
    return ERR_HELD;
}

static void effects_add_grant(struct lease_effects *effects, struct bytes name,
                              lease_session_id session, lease_token token)
{
    ASSERT_VALUES(effects->grant_count < LEASE_GRANT_COUNT_MAX, session, token);
    struct lease_grant *grant = &effects->grants[effects->grant_count++];
    grant->session = session;
    grant->token = token;
    grant->name_size = (uint8_t)name.size;
    memcpy(grant->name, name.data, name.size);
}

static void grant_to_waiter(struct table *table, struct bytes name, struct lease_lock *lock,
                            const struct lease_waiter *waiter, uint64_t log_ms)
{
    uint8_t owner[LEASE_OWNER_SIZE_MAX];

    /* Copied: taking the token changes the table, from which the waiter's owner is borrowed. */
    ASSERT(waiter->owner.size <= sizeof(owner));
    memcpy(owner, waiter->owner.data, waiter->owner.size);
    lock->owner = bytes_of(owner, waiter->owner.size);
    lock->holder = waiter->session;
    lock->granted_ms = log_ms;
    lock->token = token_take(table);
    lease_lock_store(table, name, lock);
    lease_waiter_erase(table, name, waiter->ticket);
    lock->owner = bytes_of(NULL, 0);
}

struct lease_pass lease_pass_begin(uint64_t log_ms, struct lease_effects *effects)
{
    ASSERT(effects->grant_count <= LEASE_GRANT_COUNT_MAX);
    return (struct lease_pass){
        .log_ms = log_ms, .skips_left = LEASE_SKIP_COUNT_MAX, .effects = effects};
}

/* The holder's lock goes to the first waiter that is alive; waiters that are not are taken out of
 * the queue on the way. Without any the lock is forgotten.
 *
 * When no skip is left, the first waiter becomes the holder even if its session is due. It is told
 * nothing. Its session is in lease_advance()'s backlog, which takes this claim as any other and
 * passes the lock on from there. Meanwhile the lock is held, so that whoever asks queues behind. */
static void lock_pass_on(struct table *table, struct bytes name, struct lease_lock *lock,
                         struct lease_pass *pass)
{
    struct lease_waiter waiter;

    lease_claim_erase(table, lock->holder, name);
    while (lease_waiter_seek(table, name, 0, &waiter)) {
        ASSERT_VALUES(lock->waiter_count > 0, waiter.session, waiter.ticket);
        lock->waiter_count--;
        bool is_alive = lease_session_is_alive(table, waiter.session, pass->log_ms);
        if (is_alive || pass->skips_left == 0) {
            grant_to_waiter(table, name, lock, &waiter, pass->log_ms);
            if (is_alive) {
                effects_add_grant(pass->effects, name, lock->holder, lock->token);
            }
            return;
        }
        pass->skips_left--;
        lease_waiter_erase(table, name, waiter.ticket);
        lease_claim_erase(table, waiter.session, name);
    }
    ASSERT(lock->waiter_count == 0 || table_error(table) != ERR_OK);
    lease_lock_erase(table, name);
}

void lease_claim_drop(struct table *table, lease_session_id session, struct bytes name,
                      uint64_t ticket, struct lease_pass *pass)
{
    struct lease_lock lock;

    if (!lease_is_present(table, lease_lock_load(table, name, &lock))) {
        return;
    }
    if (lock.holder == session) {
        lock_pass_on(table, name, &lock, pass);
    } else {
        waiter_withdraw(table, name, &lock, session, ticket);
    }
}

enum error lease_lock_release(struct table *table, lease_session_id session, struct bytes name,
                              lease_token token, uint64_t log_ms, struct lease_effects *effects)
{
    struct lease_lock lock;
    uint64_t ticket;

    ASSERT_VALUES(name.size >= 1 && name.size <= LEASE_NAME_SIZE_MAX, name.size, session);
    if (!lease_session_is_alive(table, session, log_ms)) {
        return ERR_SESSION_EXPIRED;
    }
    if (!lease_lock_load(table, name, &lock)) {
        return ERR_NOT_FOUND;
    }
    if (lock.holder == session) {
        if (token != 0 && token != lock.token) {
            return ERR_FENCED;
        }
        struct lease_pass pass = lease_pass_begin(log_ms, effects);
        lock_pass_on(table, name, &lock, &pass);
        return ERR_OK;
    }
    if (!lease_claim_load(table, session, name, &ticket)) {
        return ERR_NOT_FOUND;
    }
    if (token != 0) {
        return ERR_FENCED; /* A waiter has no token yet. */
    }
    waiter_withdraw(table, name, &lock, session, ticket);
    return ERR_OK;
}
