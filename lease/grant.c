/* lease/grant.c: who may hold a lock next, and what becomes of a hold that ends.
 *
 * One rule grants: the first in the queue, as long as it fits what is held. So nobody passes one
 * that waits, and a hold that ends is followed by the next in the same step.
 *
 *            +----------- given up, or lost without a lock delay -----------+
 *            |                                                              v
 *   waits -> holds -> lost (its session is gone or was unlocked by force) -> gone
 *                     it counts as held until the lock delay is over
 *
 * Many shared requests may follow one exclusive hold. A call makes no more grants than it has room
 * to tell; what is left is filed, and lease_advance() goes on with it. As whoever asks meanwhile
 * queues behind, the order stays. */
#include "lease/internal.h"

#include <string.h>

#include "base/checksum.h"

static lease_token token_take(struct table *table)
{
    struct lease_meta meta;

    lease_meta_load(table, &meta);
    ASSERT(meta.token_last < UINT64_MAX);
    meta.token_last++;
    lease_meta_store(table, &meta);
    return meta.token_last;
}

void lease_pass_begin(struct lease_pass *pass, uint64_t log_ms, struct lease_effects *effects,
                      uint32_t reserve)
{
    ASSERT(effects->grant_count <= LEASE_GRANT_COUNT_MAX);
    uint32_t room = LEASE_GRANT_COUNT_MAX - effects->grant_count;

    pass->log_ms = log_ms;
    pass->grants_left = room > reserve ? room - reserve : 0;
    pass->skips_left = LEASE_SKIP_COUNT_MAX;
    pass->effects = effects;
}

uint64_t lease_election_bit(struct bytes name)
{
    return UINT64_C(1) << (checksum(name, 0) % 64);
}

void lease_note_election(struct lease_effects *effects, struct bytes name)
{
    if (lease_is_election(name)) {
        effects->elections |= lease_election_bit(name);
    }
}

bool lease_lock_fits(const struct lease_lock *lock, enum lease_mode mode, uint32_t units)
{
    if (lock->hold_count == 0) {
        return true;
    }
    if (lock->mode == LEASE_PERMITS) {
        return units <= lock->limit - lock->used;
    }
    return lock->mode == LEASE_SHARED && mode == LEASE_SHARED && lock->hold_count < UINT32_MAX;
}

/* False when nothing fits, whoever is first in the queue. */
static bool has_room(const struct lease_lock *lock)
{
    return lock->hold_count == 0 || lock->mode == LEASE_SHARED ||
           (lock->mode == LEASE_PERMITS && lock->used < lock->limit);
}

bool lease_lock_is_held_by(const struct lease_lock *lock, lease_session_id session)
{
    return lock->mode == LEASE_EXCLUSIVE && lock->hold.session == session &&
           lock->hold.lost_until_ms == 0;
}

lease_token lease_hold_add(struct table *table, struct bytes name, struct lease_lock *lock,
                           struct lease_hold *hold, struct lease_claim claim)
{
    bool was_queued = claim.ticket != 0;

    ASSERT(hold->units != 0 && lock->used <= UINT32_MAX - hold->units);
    hold->token = token_take(table);
    lock->used += hold->units;
    lock->hold_count++;
    if (lock->mode == LEASE_EXCLUSIVE) {
        ASSERT(lock->hold_count == 1);
        lock->hold = *hold;
    } else {
        lease_hold_store(table, name, hold);
        claim.token = hold->token;
    }
    /* An exclusive holder's claim may stay as it queued with it. */
    if (!was_queued || claim.token != 0) {
        lease_claim_store(table, hold->session, name, &claim);
    }
    return hold->token;
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

static lease_token grant_to_waiter(struct table *table, struct bytes name, struct lease_lock *lock,
                                   const struct lease_waiter *waiter, struct lease_pass *pass)
{
    ASSERT(waiter->owner.size + waiter->metadata.size <= sizeof(pass->text));
    memcpy(pass->text, waiter->owner.data, waiter->owner.size);
    memcpy(pass->text + waiter->owner.size, waiter->metadata.data, waiter->metadata.size);
    struct lease_hold hold = {
        .session = waiter->session,
        .granted_ms = pass->log_ms,
        .units = waiter->units,
        .delay_ms = waiter->delay_ms,
        .owner = bytes_of(pass->text, waiter->owner.size),
        .metadata = bytes_of(pass->text + waiter->owner.size, waiter->metadata.size),
    };

    ASSERT(lock->waiter_count > 0 && pass->grants_left > 0);
    lock->waiter_count--;
    lock->mode = waiter->mode;
    pass->grants_left--;
    lease_waiter_erase(table, name, waiter->ticket);
    lease_token token =
        lease_hold_add(table, name, lock, &hold, (struct lease_claim){.ticket = waiter->ticket});

    lease_event_add(pass->effects, LEASE_GRANTED, name, &hold, false);
    return token;
}

/* Grants to the first in the queue while they fit; those whose session is due are taken out on the
 * way. True when more may be granted than this call does.
 *
 * When no skip is left, the first waiter becomes a holder even if its session is due. It is told
 * nothing. Its session is in lease_advance()'s backlog, which takes this claim as any other and
 * passes the hold on from there. Meanwhile the lock is held, so that whoever asks queues behind. */
static bool grant_queue(struct table *table, struct bytes name, struct lease_lock *lock,
                        struct lease_pass *pass)
{
    struct lease_waiter waiter;

    while (lock->waiter_count > 0 && has_room(lock)) {
        if (!lease_is_present(table, lease_waiter_seek(table, name, 0, &waiter)) ||
            !lease_lock_fits(lock, waiter.mode, waiter.units)) {
            return false;
        }
        if (pass->grants_left == 0) {
            return true;
        }
        bool is_alive = lease_session_is_alive(table, waiter.session, pass->log_ms);
        if (is_alive || pass->skips_left == 0) {
            lease_token token = grant_to_waiter(table, name, lock, &waiter, pass);
            if (is_alive) {
                effects_add_grant(pass->effects, name, waiter.session, token);
            }
            continue;
        }
        pass->skips_left--;
        lock->waiter_count--;
        lease_waiter_erase(table, name, waiter.ticket);
        lease_claim_erase(table, waiter.session, name);
    }
    return false;
}

/* Passes on what was freed, and stores the lock, or forgets it when nobody holds it. */
static void lock_settle(struct table *table, struct bytes name, struct lease_lock *lock,
                        struct lease_pass *pass)
{
    bool was_filed = lock->is_filed;
    bool has_more = grant_queue(table, name, lock, pass);

    lease_note_election(pass->effects, name);

    if (lock->hold_count == 0) {
        ASSERT(lock->waiter_count == 0 || table_error(table) != ERR_OK);
        lease_lock_erase(table, name);
    } else {
        lock->is_filed = has_more;
        lock->filed_ms = was_filed || !has_more ? lock->filed_ms : pass->log_ms;
        lease_lock_store(table, name, lock);
    }
    if (was_filed && !has_more) {
        lease_place_erase(table, lock->filed_ms, 0, name);
    } else if (!was_filed && has_more) {
        lease_place_store(table, lock->filed_ms, 0, name);
    }
}

void lease_hold_drop(struct table *table, struct bytes name, struct lease_lock *lock,
                     const struct lease_hold *hold, struct lease_pass *pass)
{
    ASSERT_VALUES(lock->hold_count > 0, hold->session, hold->token);
    ASSERT_VALUES(lock->used >= hold->units, lock->used, hold->units);
    lock->hold_count--;
    lock->used -= hold->units;
    if (lock->mode != LEASE_EXCLUSIVE) {
        lease_hold_erase(table, name, hold->token);
    }
    lock_settle(table, name, lock, pass);
}

void lease_hold_lose(struct table *table, struct bytes name, struct lease_lock *lock,
                     struct lease_hold *hold, struct lease_pass *pass)
{
    lease_session_id session = hold->session;

    ASSERT_VALUES(hold->lost_until_ms == 0, session, hold->token);
    if (hold->delay_ms == 0) {
        lease_claim_erase(table, session, name);
        lease_hold_drop(table, name, lock, hold, pass);
        return;
    }
    hold->lost_until_ms = pass->log_ms + hold->delay_ms;
    /* The hold first: its texts are borrowed from the table. */
    if (lock->mode == LEASE_EXCLUSIVE) {
        lock->hold = *hold;
        lease_lock_store(table, name, lock);
    } else {
        lease_hold_store(table, name, hold);
    }
    lease_claim_erase(table, session, name);
    lease_place_store(table, hold->lost_until_ms, hold->token, name);
    lease_note_election(pass->effects, name);
}

void lease_waiter_withdraw(struct table *table, struct bytes name, struct lease_lock *lock,
                           lease_session_id session, uint64_t ticket, struct lease_pass *pass)
{
    bool may_grant = has_room(lock);

    ASSERT_VALUES(lock->waiter_count > 0, session, ticket);
    lock->waiter_count--;
    if (!may_grant) {
        /* The lock first: what an exclusive hold says is borrowed from the table. */
        lease_lock_store(table, name, lock);
    }
    lease_waiter_erase(table, name, ticket);
    lease_claim_erase(table, session, name);
    if (may_grant) {
        lock_settle(table, name, lock, pass);
    }
}

/* The hold that a claim or a place promises. False only when the table has failed. */
static bool hold_find(struct table *table, struct bytes name, const struct lease_lock *lock,
                      lease_token token, struct lease_hold *hold)
{
    if (lock->mode == LEASE_EXCLUSIVE) {
        *hold = lock->hold;
        return true;
    }
    return lease_is_present(table, lease_hold_load(table, name, token, hold));
}

void lease_claim_drop(struct table *table, lease_session_id session, struct bytes name,
                      const struct lease_claim *claim, bool is_clean, struct lease_pass *pass)
{
    struct lease_lock lock;
    struct lease_hold hold;

    if (!lease_is_present(table, lease_lock_load(table, name, &lock))) {
        return;
    }
    if (claim->token == 0 && !lease_lock_is_held_by(&lock, session)) {
        lease_waiter_withdraw(table, name, &lock, session, claim->ticket, pass);
        return;
    }
    if (!hold_find(table, name, &lock, claim->token, &hold)) {
        return;
    }
    lease_event_add(pass->effects, is_clean ? LEASE_RELEASED : LEASE_LOST, name, &hold,
                    !is_clean && hold.delay_ms != 0);
    if (is_clean) {
        lease_claim_erase(table, session, name);
        lease_hold_drop(table, name, &lock, &hold, pass);
    } else {
        lease_hold_lose(table, name, &lock, &hold, pass);
    }
}

void lease_place_act(struct table *table, const struct lease_place *place, struct lease_pass *pass)
{
    struct bytes name = lease_name_bytes(&place->name);
    struct lease_lock lock;
    struct lease_hold hold;

    ASSERT(place->name.size != 0 && pass->grants_left > 0);
    if (!lease_is_present(table, lease_lock_load(table, name, &lock))) {
        return;
    }
    if (place->number == 0) {
        ASSERT_VALUES(lock.is_filed && lock.filed_ms == place->filed_ms, lock.filed_ms,
                      place->filed_ms);
        lock_settle(table, name, &lock, pass);
    } else if (hold_find(table, name, &lock, place->number, &hold)) {
        ASSERT_VALUES(hold.token == place->number, hold.token, place->number);
        ASSERT_VALUES(hold.lost_until_ms == place->filed_ms, hold.lost_until_ms, place->filed_ms);
        lease_event_add(pass->effects, LEASE_RELEASED, name, &hold, false);
        lease_place_erase(table, place->filed_ms, place->number, name);
        lease_hold_drop(table, name, &lock, &hold, pass);
    }
}
