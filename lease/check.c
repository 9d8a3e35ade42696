/* lease/check.c: the invariants of docs/lease.md, by their numbers, over the whole table. */
#include "lease/internal.h"

struct totals {
    uint64_t session_count;
    uint64_t place_count;  /* Of sessions, */
    uint64_t lost_count;   /* of holds that are lost, */
    uint64_t filed_count;  /* and of queues. */
    uint64_t hold_count;   /* Holds, in locks' records and in their own. */
    uint64_t ghost_count;  /* Those that are lost. */
    uint64_t held_count;   /* The locks' own counts of holds, added up. */
    uint64_t waiter_count; /* Waiter records. */
    uint64_t queued_count; /* The locks' own counts of waiters, added up. */
    uint64_t behind_count; /* Locks whose queue has a place. */
    uint64_t claim_count;
    uint64_t audit_count;
    uint64_t audit_last;
    struct lease_meta meta;
    bool has_meta;
};

static void check_session(struct table *table, struct bytes rest, struct bytes value)
{
    struct lease_session session;
    struct bytes place;

    ASSERT(rest.size == 8); /* 1 */
    lease_session_id id = load_u64_ordered(rest.data);
    lease_session_decode(value, &session);
    ASSERT(id != 0 && session.ttl_ms != 0);                         /* 1 */
    ASSERT_VALUES(session.opened_ms <= session.deadline_ms, id, 0); /* 3 */
    ASSERT_VALUES(session.filed_ms <= session.deadline_ms, id, 0);  /* 3 */
    struct lease_key key = lease_key_place(session.filed_ms, id, bytes_of(NULL, 0));
    ASSERT_VALUES(table_get(table, lease_key_bytes(&key), &place), id, 0); /* 3 */
}

static void check_place(struct table *table, struct bytes rest, struct bytes value,
                        struct totals *totals)
{
    struct lease_session session;
    struct lease_lock lock;
    struct lease_hold hold;

    ASSERT(rest.size >= 16); /* 1 */
    lease_place_decode(value);
    uint64_t filed_ms = load_u64_ordered(rest.data);
    uint64_t number = load_u64_ordered(rest.data + 8);
    struct bytes name = bytes_skip(rest, 16);
    if (name.size == 0) {
        totals->place_count++;
        ASSERT_VALUES(lease_session_load(table, number, &session), number, filed_ms); /* 3 */
        ASSERT_VALUES(session.filed_ms == filed_ms, session.filed_ms, filed_ms);      /* 3 */
        return;
    }
    ASSERT_VALUES(lease_lock_load(table, name, &lock), number, filed_ms); /* 9 */
    if (number == 0) {
        totals->filed_count++;
        ASSERT(lock.is_filed && lock.filed_ms == filed_ms); /* 9 */
        return;
    }
    totals->lost_count++;
    hold = lock.hold;
    ASSERT(lock.mode == LEASE_EXCLUSIVE || lease_hold_load(table, name, number, &hold)); /* 9 */
    ASSERT_VALUES(hold.token == number, hold.token, number);                             /* 9 */
    ASSERT_VALUES(hold.lost_until_ms == filed_ms, hold.lost_until_ms, filed_ms);         /* 9 */
}

static void check_queue(struct table *table, struct bytes name, const struct lease_lock *lock)
{
    struct lease_waiter waiter = {.ticket = 0};
    uint32_t count = 0;

    while (lease_waiter_seek(table, name, waiter.ticket, &waiter)) {
        count++;
    }
    ASSERT_VALUES(count == lock->waiter_count, count, lock->waiter_count);               /* 6 */
    ASSERT_VALUES(waiter.ticket <= lock->ticket_last, waiter.ticket, lock->ticket_last); /* 6 */
}

/* A hold, in the lock's record or in one of its own. */
static void check_hold(struct table *table, struct bytes name, const struct lease_lock *lock,
                       const struct lease_hold *hold, struct totals *totals)
{
    struct lease_session session;
    struct lease_claim claim;
    lease_token own = lock->mode == LEASE_EXCLUSIVE ? 0 : hold->token;

    totals->hold_count++;
    ASSERT_VALUES(hold->token <= totals->meta.token_last, hold->token,
                  totals->meta.token_last);                              /* 5 */
    ASSERT(hold->units == 1 || lock->mode == LEASE_PERMITS);             /* 4 */
    ASSERT_VALUES(hold->delay_ms <= LEASE_DELAY_MS_MAX, hold->token, 0); /* 1 */
    if (hold->lost_until_ms != 0) {
        totals->ghost_count++;
        return;
    }
    ASSERT_VALUES(lease_session_load(table, hold->session, &session), hold->session,
                  hold->token);                                                            /* 4 */
    ASSERT_VALUES(lease_claim_load(table, hold->session, name, &claim), hold->session, 0); /* 4 */
    ASSERT_VALUES(claim.token == own, claim.token, own);                                   /* 4 */
    ASSERT_VALUES(claim.ticket <= lock->ticket_last, claim.ticket, lock->ticket_last);     /* 4 */
}

static void check_holds(struct table *table, struct bytes name, const struct lease_lock *lock,
                        struct totals *totals)
{
    struct lease_hold hold = {.token = 0};
    uint32_t count = 0;
    uint64_t used = 0;

    if (lock->mode == LEASE_EXCLUSIVE) {
        check_hold(table, name, lock, &lock->hold, totals);
        count = 1;
        used = lock->hold.units;
    }
    while (lease_hold_seek(table, name, hold.token, &hold)) {
        check_hold(table, name, lock, &hold, totals);
        count++;
        used += hold.units;
    }
    ASSERT_VALUES(count == lock->hold_count, count, lock->hold_count); /* 4 */
    ASSERT_VALUES(used == lock->used, used, lock->used);               /* 4 */
    if (lock->mode == LEASE_PERMITS) {
        ASSERT_VALUES(used <= lock->limit, used, lock->limit); /* 10 */
    } else {
        ASSERT(lock->limit == 0);                         /* 10 */
        ASSERT(lock->mode == LEASE_SHARED || count == 1); /* 10 */
    }
}

/* What stands first in the queue waits because it does not fit, or because its turn is to come. */
static void check_head(struct table *table, struct bytes name, const struct lease_lock *lock)
{
    struct lease_waiter waiter;

    if (lock->waiter_count != 0 && !lock->is_filed) {
        ASSERT(lease_waiter_seek(table, name, 0, &waiter));        /* 6 */
        ASSERT(!lease_lock_fits(lock, waiter.mode, waiter.units)); /* 11 */
    }
}

static void check_lock(struct table *table, struct bytes name, struct bytes value,
                       struct totals *totals)
{
    struct lease_lock lock;

    ASSERT(name.size >= 1 && name.size <= LEASE_NAME_SIZE_MAX); /* 1 */
    lease_lock_decode(value, &lock);
    totals->held_count += lock.hold_count;
    totals->queued_count += lock.waiter_count;
    totals->behind_count += lock.is_filed ? 1 : 0;
    check_holds(table, name, &lock, totals);
    check_queue(table, name, &lock);
    check_head(table, name, &lock);
}

static void check_waiter(struct table *table, struct bytes rest, struct bytes value)
{
    struct lease_waiter waiter;
    struct lease_session session;
    struct lease_lock lock;
    struct lease_claim claim;

    ASSERT(rest.size >= 1 + 1 + 8 && rest.size == 1 + (size_t)rest.data[0] + 8); /* 1 */
    struct bytes name = bytes_of(rest.data + 1, rest.data[0]);
    uint64_t ticket = load_u64_ordered(rest.data + 1 + name.size);
    lease_waiter_decode(value, &waiter);
    ASSERT_VALUES(lease_lock_load(table, name, &lock), waiter.session, ticket);            /* 7 */
    ASSERT_VALUES(!lease_lock_is_held_by(&lock, waiter.session), waiter.session, ticket);  /* 7 */
    ASSERT((waiter.mode == LEASE_PERMITS) == (lock.mode == LEASE_PERMITS));                /* 7 */
    ASSERT(waiter.mode == LEASE_PERMITS ? waiter.units <= lock.limit : waiter.units == 1); /* 7 */
    ASSERT_VALUES(lease_session_load(table, waiter.session, &session), waiter.session, 0); /* 7 */
    ASSERT(lease_claim_load(table, waiter.session, name, &claim));                         /* 7 */
    ASSERT_VALUES(claim.ticket == ticket, claim.ticket, ticket);                           /* 7 */
    ASSERT(claim.token == 0);                                                              /* 7 */
}

static void check_claim(struct table *table, struct bytes rest, struct bytes value)
{
    struct lease_lock lock;
    struct lease_hold hold;
    struct lease_waiter waiter;
    struct lease_claim claim;

    ASSERT(rest.size > 8); /* 1 */
    lease_session_id session = load_u64_ordered(rest.data);
    struct bytes name = bytes_skip(rest, 8);
    lease_claim_decode(value, &claim);
    ASSERT_VALUES(lease_lock_load(table, name, &lock), session, claim.ticket); /* 8 */
    if (lease_lock_is_held_by(&lock, session)) {
        return;
    }
    if (claim.token != 0) {
        ASSERT_VALUES(lease_hold_load(table, name, claim.token, &hold), session, 0); /* 8 */
        ASSERT_VALUES(hold.session == session, hold.session, session);               /* 8 */
        ASSERT(hold.lost_until_ms == 0);                                             /* 8 */
        return;
    }
    ASSERT_VALUES(lease_waiter_load(table, name, claim.ticket, &waiter), session, 0); /* 8 */
    ASSERT_VALUES(waiter.session == session, waiter.session, session);                /* 8 */
}

/* Holds of their own belong to a lock that counts them. */
static void check_hold_key(struct table *table, struct bytes rest, struct bytes value)
{
    struct lease_hold hold;
    struct lease_lock lock;

    ASSERT(rest.size >= 1 + 1 + 8 && rest.size == 1 + (size_t)rest.data[0] + 8); /* 1 */
    lease_hold_decode(value, &hold);
    ASSERT(hold.token == load_u64_ordered(rest.data + rest.size - 8)); /* 1 */
    ASSERT_VALUES(lease_lock_load(table, bytes_of(rest.data + 1, rest.data[0]), &lock),
                  hold.session, hold.token); /* 4 */
    ASSERT(lock.mode != LEASE_EXCLUSIVE);    /* 4 */
}

static void check_audit(struct bytes rest, struct bytes value, struct totals *totals)
{
    struct lease_audit_view audit;

    ASSERT(rest.size == 8); /* 1 */
    lease_audit_decode(value, &audit);
    totals->audit_count++;
    totals->audit_last = load_u64_ordered(rest.data);
}

static void check_record(struct table *table, struct bytes key, struct bytes value,
                         struct totals *totals)
{
    struct bytes rest = bytes_skip(key, 2);

    switch (key.data[1]) {
    case LEASE_KIND_AUDIT:
        check_audit(rest, value, totals);
        break;
    case LEASE_KIND_CLAIM:
        totals->claim_count++;
        check_claim(table, rest, value);
        break;
    case LEASE_KIND_PLACE:
        check_place(table, rest, value, totals);
        break;
    case LEASE_KIND_HOLD:
        check_hold_key(table, rest, value);
        break;
    case LEASE_KIND_LOCK:
        check_lock(table, rest, value, totals);
        break;
    case LEASE_KIND_META:
        ASSERT(rest.size == 0); /* 1 */
        totals->has_meta = true;
        break;
    case LEASE_KIND_WAITER:
        totals->waiter_count++;
        check_waiter(table, rest, value);
        break;
    case LEASE_KIND_SESSION:
        totals->session_count++;
        check_session(table, rest, value);
        break;
    default:
        ASSERT_VALUES(false, key.data[1], key.size); /* 1 */
    }
}

static void check_totals(const struct totals *totals)
{
    uint64_t audit_count = totals->meta.audit_last < LEASE_AUDIT_COUNT_MAX ? totals->meta.audit_last
                                                                           : LEASE_AUDIT_COUNT_MAX;

    ASSERT_VALUES(totals->session_count == totals->meta.session_count, totals->session_count,
                  totals->meta.session_count); /* 2 */
    ASSERT_VALUES(totals->place_count == totals->session_count, totals->place_count,
                  totals->session_count); /* 3 */
    ASSERT_VALUES(totals->hold_count == totals->held_count, totals->hold_count,
                  totals->held_count); /* 4 */
    ASSERT_VALUES(totals->waiter_count == totals->queued_count, totals->waiter_count,
                  totals->queued_count); /* 6 */
    ASSERT_VALUES(totals->claim_count + totals->ghost_count ==
                      totals->hold_count + totals->waiter_count,
                  totals->claim_count, totals->ghost_count); /* 8 */
    ASSERT_VALUES(totals->lost_count == totals->ghost_count, totals->lost_count,
                  totals->ghost_count); /* 9 */
    ASSERT_VALUES(totals->filed_count == totals->behind_count, totals->filed_count,
                  totals->behind_count);                                                 /* 9 */
    ASSERT_VALUES(totals->audit_count == audit_count, totals->audit_count, audit_count); /* 12 */
    ASSERT_VALUES(totals->audit_last == (audit_count == 0 ? 0 : totals->meta.audit_last),
                  totals->audit_last, totals->meta.audit_last); /* 12 */
}

void lease_check(struct table *table)
{
    static const uint8_t prefix[] = {LEASE_KEY_PREFIX};
    struct bytes key = bytes_of(prefix, sizeof(prefix));
    struct bytes value;
    struct totals totals = {0};
    uint64_t count = 0;

    if (table_error(table) != ERR_OK) {
        return;
    }
    lease_meta_load(table, &totals.meta);
    while (table_seek(table, key, false, &key, &value) && key.data[0] == LEASE_KEY_PREFIX) {
        ASSERT(key.size >= 2); /* 1 */
        check_record(table, key, value, &totals);
        count++;
    }
    ASSERT(table_error(table) != ERR_OK || count == 0 || totals.has_meta); /* 2 */
    check_totals(&totals);
}
