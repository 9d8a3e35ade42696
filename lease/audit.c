/* lease/audit.c: forced unlocks, and the record that each leaves. */
#include "lease/internal.h"

#include <string.h>

static bool break_is_valid(const struct lease_break *request)
{
    return request->name.size >= 1 && request->name.size <= LEASE_NAME_SIZE_MAX &&
           request->reason.size >= 1 && request->reason.size <= LEASE_REASON_SIZE_MAX &&
           request->by.size <= LEASE_OWNER_SIZE_MAX;
}

/* The hold with that token. */
static bool hold_find(struct table *table, struct bytes name, lease_token token,
                      const struct lease_lock *lock, struct lease_hold *hold)
{
    if (lock->mode == LEASE_EXCLUSIVE) {
        *hold = lock->hold;
        return hold->token == token;
    }
    return lease_hold_load(table, name, token, hold);
}

/* The newest LEASE_AUDIT_COUNT_MAX are kept. */
static void audit_add(struct table *table, const struct lease_break *request,
                      const struct lease_hold *hold, uint64_t log_ms)
{
    struct lease_meta meta;
    struct lease_audit_view audit = {
        .log_ms = log_ms,
        .wall_ms = request->wall_ms,
        .session = hold->session,
        .token = hold->token,
        .name = request->name,
        .owner = hold->owner,
        .by = request->by,
        .reason = request->reason,
    };

    lease_meta_load(table, &meta);
    meta.audit_last++;
    audit.number = meta.audit_last;
    /* The record first: the owner is borrowed from the table. */
    lease_audit_store(table, &audit);
    lease_meta_store(table, &meta);
    if (audit.number > LEASE_AUDIT_COUNT_MAX) {
        lease_audit_erase(table, audit.number - LEASE_AUDIT_COUNT_MAX);
    }
}

enum error lease_lock_break(struct table *table, const struct lease_break *request, uint64_t log_ms,
                            struct lease_effects *effects)
{
    struct bytes name = request->name;
    struct lease_lock lock;
    struct lease_hold hold;
    struct lease_pass pass;

    if (!break_is_valid(request)) {
        return ERR_MALFORMED;
    }
    if (!lease_lock_load(table, name, &lock)) {
        return ERR_NOT_FOUND;
    }
    if (!hold_find(table, name, request->token, &lock, &hold)) {
        return ERR_FENCED;
    }
    audit_add(table, request, &hold, log_ms);
    /* Again, as the table has changed. */
    if (!lease_is_present(table, lease_lock_load(table, name, &lock)) ||
        !lease_is_present(table, hold_find(table, name, request->token, &lock, &hold))) {
        return ERR_OK;
    }
    lease_pass_begin(&pass, log_ms, effects, 0);
    lease_event_add(effects, LEASE_BROKEN, name, &hold,
                    hold.lost_until_ms == 0 && hold.delay_ms != 0);
    if (hold.lost_until_ms != 0) {
        lease_place_erase(table, hold.lost_until_ms, hold.token, name);
        lease_hold_drop(table, name, &lock, &hold, &pass);
        return ERR_OK;
    }
    ASSERT(effects->revoked_count == 0);
    effects->revoked_count = 1;
    effects->revoked.session = hold.session;
    effects->revoked.token = hold.token;
    effects->revoked_number = lease_audit_last(table);
    effects->revoked.name_size = (uint8_t)name.size;
    memcpy(effects->revoked.name, name.data, name.size);
    lease_hold_lose(table, name, &lock, &hold, &pass);
    return ERR_OK;
}

bool lease_audit_next(struct table *table, uint64_t after, struct lease_audit_view *view)
{
    struct lease_key from = lease_key_audit(after);
    struct bytes key;
    struct bytes value;

    if (!table_seek(table, lease_key_bytes(&from), false, &key, &value) ||
        !bytes_has_prefix(key, bytes_of(from.data, 2))) {
        return false;
    }
    ASSERT_VALUES(key.size == from.size, key.size, from.size);
    lease_audit_decode(value, view);
    view->number = load_u64_ordered(key.data + 2);
    return true;
}

bool lease_revoked_next(struct table *table, lease_session_id session, uint64_t *next,
                        uint32_t *looks_left, struct lease_audit_view *view)
{
    ASSERT(session != 0 && *next != 0);
    while (*looks_left > 0 && lease_audit_next(table, *next - 1, view)) {
        *next = view->number + 1;
        (*looks_left)--;
        if (view->session == session) {
            return true;
        }
    }
    return false;
}

uint64_t lease_audit_last(struct table *table)
{
    struct lease_meta meta;

    lease_meta_load(table, &meta);
    return meta.audit_last;
}
