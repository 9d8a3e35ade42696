/* lease/view.c: reading sessions, locks and queues, in the order of ids, names and tickets. */
#include "lease/internal.h"

bool lease_session_next(struct table *table, lease_session_id after, uint64_t log_ms,
                        struct lease_session_view *view)
{
    struct lease_key from = lease_key_session(after);
    struct lease_session session;
    struct bytes key;
    struct bytes value;

    while (table_seek(table, lease_key_bytes(&from), false, &key, &value) &&
           bytes_has_prefix(key, bytes_of(from.data, 2))) {
        ASSERT_VALUES(key.size == from.size, key.size, from.size);
        lease_session_decode(value, &session);
        lease_session_id id = load_u64_ordered(key.data + 2);
        if (!lease_session_is_due(&session, log_ms)) {
            *view = (struct lease_session_view){
                .id = id,
                .ttl_ms = session.ttl_ms,
                .opened_ms = session.opened_ms,
                .deadline_ms = session.deadline_ms,
                .owner = session.owner,
            };
            return true;
        }
        from = lease_key_session(id);
    }
    return false;
}

/* False only when the table has failed. */
static bool hold_view_of(struct table *table, const struct lease_hold *hold,
                         struct lease_hold_view *view)
{
    struct lease_session session = {.deadline_ms = hold->lost_until_ms};

    if (hold->lost_until_ms == 0 &&
        !lease_is_present(table, lease_session_load(table, hold->session, &session))) {
        return false;
    }
    *view = (struct lease_hold_view){
        .session = hold->session,
        .token = hold->token,
        .granted_ms = hold->granted_ms,
        .deadline_ms = session.deadline_ms,
        .units = hold->units,
        .is_lost = hold->lost_until_ms != 0,
        .owner = hold->owner,
        .metadata = hold->metadata,
    };
    return true;
}

/* False only when the table has failed. */
static bool lock_view_of(struct table *table, struct bytes name, const struct lease_lock *lock,
                         struct lease_lock_view *view)
{
    struct lease_hold hold = lock->hold;
    struct lease_hold_view first;

    if ((lock->mode != LEASE_EXCLUSIVE &&
         !lease_is_present(table, lease_hold_seek(table, name, 0, &hold))) ||
        !hold_view_of(table, &hold, &first)) {
        return false;
    }
    *view = (struct lease_lock_view){
        .name = name,
        .mode = lock->mode,
        .limit = lock->limit,
        .used = lock->used,
        .hold_count = lock->hold_count,
        .waiter_count = lock->waiter_count,
        .holder = first.session,
        .token = first.token,
        .granted_ms = first.granted_ms,
        .deadline_ms = first.deadline_ms,
        .owner = first.owner,
    };
    return true;
}

bool lease_lock_get(struct table *table, struct bytes name, struct lease_lock_view *view)
{
    struct lease_lock lock;

    ASSERT_VALUES(name.size >= 1 && name.size <= LEASE_NAME_SIZE_MAX, name.size, 0);
    return lease_lock_load(table, name, &lock) && lock_view_of(table, name, &lock, view);
}

bool lease_lock_next(struct table *table, struct bytes prefix, struct bytes after,
                     struct lease_lock_view *view)
{
    bool inclusive = bytes_compare(after, prefix) < 0;
    struct lease_key from = lease_key_lock(inclusive ? prefix : after);
    struct lease_key begin = lease_key_lock(prefix);
    struct lease_lock lock;
    struct bytes key;
    struct bytes value;

    if (!table_seek(table, lease_key_bytes(&from), inclusive, &key, &value) ||
        !bytes_has_prefix(key, lease_key_bytes(&begin))) {
        return false;
    }
    lease_lock_decode(value, &lock);
    return lock_view_of(table, bytes_skip(key, 2), &lock, view);
}

bool lease_hold_next(struct table *table, struct bytes name, lease_token after,
                     struct lease_hold_view *view)
{
    struct lease_lock lock;
    struct lease_hold hold;

    ASSERT_VALUES(name.size >= 1 && name.size <= LEASE_NAME_SIZE_MAX, name.size, after);
    if (!lease_lock_load(table, name, &lock)) {
        return false;
    }
    if (lock.mode == LEASE_EXCLUSIVE) {
        return lock.hold.token > after && hold_view_of(table, &lock.hold, view);
    }
    return lease_hold_seek(table, name, after, &hold) && hold_view_of(table, &hold, view);
}

bool lease_waiter_next(struct table *table, struct bytes name, uint64_t after,
                       struct lease_waiter_view *view)
{
    struct lease_waiter waiter;

    ASSERT_VALUES(name.size >= 1 && name.size <= LEASE_NAME_SIZE_MAX, name.size, after);
    if (!lease_waiter_seek(table, name, after, &waiter)) {
        return false;
    }
    *view = (struct lease_waiter_view){
        .session = waiter.session,
        .ticket = waiter.ticket,
        .mode = waiter.mode,
        .units = waiter.units,
        .owner = waiter.owner,
        .metadata = waiter.metadata,
    };
    return true;
}
