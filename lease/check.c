/* lease/check.c: the invariants of docs/lease.md, by their numbers, over the whole table. */
#include "lease/internal.h"

struct totals {
    uint64_t session_count;
    uint64_t place_count;
    uint64_t holder_count; /* Locks. */
    uint64_t waiter_count; /* Waiter records. */
    uint64_t queued_count; /* The locks' own counts of waiters, added up. */
    uint64_t claim_count;
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
    struct lease_key key = lease_key_place(session.filed_ms, id);
    ASSERT_VALUES(table_get(table, lease_key_bytes(&key), &place), id, 0); /* 3 */
}

static void check_place(struct table *table, struct bytes rest, struct bytes value)
{
    struct lease_session session;

    ASSERT(rest.size == 16); /* 1 */
    lease_place_decode(value);
    uint64_t filed_ms = load_u64_ordered(rest.data);
    lease_session_id id = load_u64_ordered(rest.data + 8);
    ASSERT_VALUES(lease_session_load(table, id, &session), id, filed_ms);    /* 3 */
    ASSERT_VALUES(session.filed_ms == filed_ms, session.filed_ms, filed_ms); /* 3 */
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

static void check_lock(struct table *table, struct bytes name, struct bytes value,
                       const struct lease_meta *meta)
{
    struct lease_lock lock;
    struct lease_session session;
    uint64_t ticket;

    ASSERT(name.size >= 1 && name.size <= LEASE_NAME_SIZE_MAX); /* 1 */
    lease_lock_decode(value, &lock);
    ASSERT_VALUES(lease_session_load(table, lock.holder, &session), lock.holder,
                  lock.token);                                                          /* 4 */
    ASSERT_VALUES(lease_claim_load(table, lock.holder, name, &ticket), lock.holder, 0); /* 4 */
    ASSERT_VALUES(ticket <= lock.ticket_last, ticket, lock.ticket_last);                /* 4 */
    ASSERT_VALUES(lock.token <= meta->token_last, lock.token, meta->token_last);        /* 5 */
    check_queue(table, name, &lock);
}

static void check_waiter(struct table *table, struct bytes rest, struct bytes value)
{
    struct lease_waiter waiter;
    struct lease_session session;
    struct lease_lock lock;
    uint64_t claimed;

    ASSERT(rest.size >= 1 + 1 + 8 && rest.size == 1 + (size_t)rest.data[0] + 8); /* 1 */
    struct bytes name = bytes_of(rest.data + 1, rest.data[0]);
    uint64_t ticket = load_u64_ordered(rest.data + 1 + name.size);
    lease_waiter_decode(value, &waiter);
    ASSERT_VALUES(lease_lock_load(table, name, &lock), waiter.session, ticket);            /* 7 */
    ASSERT_VALUES(lock.holder != waiter.session, waiter.session, ticket);                  /* 7 */
    ASSERT_VALUES(lease_session_load(table, waiter.session, &session), waiter.session, 0); /* 7 */
    ASSERT(lease_claim_load(table, waiter.session, name, &claimed));                       /* 7 */
    ASSERT_VALUES(claimed == ticket, claimed, ticket);                                     /* 7 */
}

static void check_claim(struct table *table, struct bytes rest, struct bytes value)
{
    struct lease_lock lock;
    struct bytes waiter_value;
    struct lease_waiter waiter;

    ASSERT(rest.size > 8); /* 1 */
    lease_session_id session = load_u64_ordered(rest.data);
    struct bytes name = bytes_skip(rest, 8);
    uint64_t ticket = lease_claim_decode(value);
    ASSERT_VALUES(lease_lock_load(table, name, &lock), session, ticket); /* 8 */
    if (lock.holder == session) {
        return;
    }
    struct lease_key key = lease_key_waiter(name, ticket);
    ASSERT_VALUES(table_get(table, lease_key_bytes(&key), &waiter_value), session, ticket); /* 8 */
    lease_waiter_decode(waiter_value, &waiter);
    ASSERT_VALUES(waiter.session == session, waiter.session, session); /* 8 */
}

static void check_record(struct table *table, struct bytes key, struct bytes value,
                         struct totals *totals)
{
    struct lease_lock lock;
    struct bytes rest = bytes_skip(key, 2);

    switch (key.data[1]) {
    case LEASE_KIND_CLAIM:
        totals->claim_count++;
        check_claim(table, rest, value);
        break;
    case LEASE_KIND_PLACE:
        totals->place_count++;
        check_place(table, rest, value);
        break;
    case LEASE_KIND_LOCK:
        lease_lock_decode(value, &lock);
        totals->holder_count++;
        totals->queued_count += lock.waiter_count;
        check_lock(table, rest, value, &totals->meta);
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
    ASSERT_VALUES(totals.session_count == totals.meta.session_count, totals.session_count,
                  totals.meta.session_count); /* 2 */
    ASSERT_VALUES(totals.place_count == totals.session_count, totals.place_count,
                  totals.session_count); /* 3 */
    ASSERT_VALUES(totals.waiter_count == totals.queued_count, totals.waiter_count,
                  totals.queued_count); /* 6 */
    ASSERT_VALUES(totals.claim_count == totals.holder_count + totals.waiter_count,
                  totals.claim_count, totals.holder_count); /* 8 */
}
