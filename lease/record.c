/* lease/record.c: the values of the lease folder's records; the layouts are in internal.h.
 *
 * Decoding asserts: the table checks what it stores, so a wrong value is a bug of ours. */
#include "lease/internal.h"

#include <string.h>

enum {
    RECORD_VERSION = 2,
    META_SIZE = 1 + 8 + 8 + 8,
    SESSION_SIZE = 1 + 1 + 4 + 8 + 8 + 8, /* Without texts, like those below. */
    HOLD_SIZE = 8 + 8 + 8 + 8 + 4 + 4,
    LOCK_SIZE = 1 + 1 + 1 + 4 + 4 + 4 + 4 + 8 + 8,
    WAITER_SIZE = 1 + 8 + 1 + 4 + 4,
    AUDIT_SIZE = 1 + 8 + 8 + 8 + 8,
    CLAIM_SIZE = 1 + 8 + 8,
    PLACE_SIZE = 1,
    TEXTS_SIZE_MAX = 1 + LEASE_OWNER_SIZE_MAX + LEASE_METADATA_SIZE_MAX,
};

/* --- The kinds in turn ------------------------------------------------------------------------ */

static bool record_get(struct table *table, struct lease_key key, struct bytes *value)
{
    return table_get(table, lease_key_bytes(&key), value);
}

static void record_put(struct table *table, struct lease_key key, struct bytes value)
{
    table_put(table, lease_key_bytes(&key), value);
}

/* The first record of a list behind `from`, and its number; false at the end of the list. */
static bool list_seek(struct table *table, const struct lease_key *from, uint64_t *number,
                      struct bytes *value)
{
    struct bytes key;
    size_t size = from->size - 8;

    if (!table_seek(table, lease_key_bytes(from), false, &key, value) ||
        !bytes_has_prefix(key, bytes_of(from->data, size))) {
        return false;
    }
    ASSERT_VALUES(key.size == from->size, key.size, from->size);
    *number = load_u64_ordered(key.data + size);
    return true;
}

/* The record is there: every caller has read it, or what promises it. */
static void record_delete(struct table *table, struct lease_key key)
{
    bool found = table_delete(table, lease_key_bytes(&key));

    ASSERT(found || table_error(table) != ERR_OK);
}

/* Appends a text of at most 255 bytes to a value of `size` bytes; gives the new size. */
static size_t value_add(uint8_t *data, size_t size, struct bytes text)
{
    ASSERT_VALUES(text.size <= UINT8_MAX, text.size, size);
    if (text.size != 0) {
        memcpy(data + size, text.data, text.size);
    }
    return size + text.size;
}

/* The same, with its size in front. */
static size_t value_add_sized(uint8_t *data, size_t size, struct bytes text)
{
    ASSERT_VALUES(text.size <= UINT8_MAX, text.size, size);
    data[size] = (uint8_t)text.size;
    return value_add(data, size + 1, text);
}

/* What is left of a value behind `size` bytes. */
static struct bytes value_rest(struct bytes value, size_t size)
{
    ASSERT_VALUES(value.size >= size, value.size, size);
    ASSERT_VALUES(value.data[0] == RECORD_VERSION, value.data[0], RECORD_VERSION);
    return bytes_skip(value, size);
}

/* Takes a text with its size off what is left. */
static struct bytes value_take(struct bytes *rest)
{
    ASSERT(rest->size >= 1 && rest->size >= 1 + (size_t)rest->data[0]);
    struct bytes text = bytes_of(rest->data + 1, rest->data[0]);

    *rest = bytes_skip(*rest, 1 + text.size);
    return text;
}

static enum lease_mode mode_of(uint8_t byte)
{
    ASSERT_VALUES(byte <= LEASE_PERMITS, byte, LEASE_PERMITS);
    return (enum lease_mode)byte;
}

static void value_check(struct bytes value, size_t size)
{
    ASSERT_VALUES(value.size == size, value.size, size);
    ASSERT_VALUES(value.data[0] == RECORD_VERSION, value.data[0], RECORD_VERSION);
}

static void meta_decode(struct bytes value, struct lease_meta *meta)
{
    value_check(value, META_SIZE);
    meta->token_last = load_u64(value.data + 1);
    meta->session_count = load_u64(value.data + 9);
    meta->audit_last = load_u64(value.data + 17);
}

void lease_meta_load(struct table *table, struct lease_meta *meta)
{
    struct bytes value;

    *meta = (struct lease_meta){0};
    if (record_get(table, lease_key_meta(), &value)) {
        meta_decode(value, meta);
    }
}

void lease_meta_store(struct table *table, const struct lease_meta *meta)
{
    uint8_t data[META_SIZE] = {RECORD_VERSION};

    store_u64(data + 1, meta->token_last);
    store_u64(data + 9, meta->session_count);
    store_u64(data + 17, meta->audit_last);
    record_put(table, lease_key_meta(), bytes_of(data, sizeof(data)));
}

void lease_session_decode(struct bytes value, struct lease_session *session)
{
    session->owner = value_rest(value, SESSION_SIZE);
    session->is_ended = value.data[1] != 0;
    session->ttl_ms = load_u32(value.data + 2);
    session->opened_ms = load_u64(value.data + 6);
    session->deadline_ms = load_u64(value.data + 14);
    session->filed_ms = load_u64(value.data + 22);
    ASSERT_VALUES(session->owner.size <= LEASE_OWNER_SIZE_MAX, session->owner.size, value.size);
    ASSERT(session->filed_ms <= session->deadline_ms);
}

bool lease_session_load(struct table *table, lease_session_id id, struct lease_session *session)
{
    struct bytes value;

    if (!record_get(table, lease_key_session(id), &value)) {
        return false;
    }
    lease_session_decode(value, session);
    return true;
}

void lease_session_store(struct table *table, lease_session_id id,
                         const struct lease_session *session)
{
    uint8_t data[SESSION_SIZE + LEASE_OWNER_SIZE_MAX] = {RECORD_VERSION};

    ASSERT(id != 0);
    ASSERT(session->filed_ms <= session->deadline_ms);
    data[1] = session->is_ended ? 1 : 0;
    store_u32(data + 2, session->ttl_ms);
    store_u64(data + 6, session->opened_ms);
    store_u64(data + 14, session->deadline_ms);
    store_u64(data + 22, session->filed_ms);
    size_t size = value_add(data, SESSION_SIZE, session->owner);
    record_put(table, lease_key_session(id), bytes_of(data, size));
}

void lease_session_erase(struct table *table, lease_session_id id)
{
    record_delete(table, lease_key_session(id));
}

void lease_place_decode(struct bytes value)
{
    value_check(value, PLACE_SIZE);
}

void lease_place_store(struct table *table, uint64_t filed_ms, uint64_t number, struct bytes name)
{
    static const uint8_t data[PLACE_SIZE] = {RECORD_VERSION};

    record_put(table, lease_key_place(filed_ms, number, name), bytes_of(data, sizeof(data)));
}

void lease_place_erase(struct table *table, uint64_t filed_ms, uint64_t number, struct bytes name)
{
    record_delete(table, lease_key_place(filed_ms, number, name));
}

static void name_copy(struct lease_name *name, struct bytes from)
{
    ASSERT(from.size <= LEASE_NAME_SIZE_MAX);
    name->size = (uint8_t)from.size;
    if (from.size != 0) {
        memcpy(name->data, from.data, from.size);
    }
}

bool lease_place_first(struct table *table, struct lease_place *place)
{
    struct lease_key first = lease_key_places();
    struct bytes key;
    struct bytes value;

    if (!table_seek(table, lease_key_bytes(&first), true, &key, &value) ||
        !bytes_has_prefix(key, lease_key_bytes(&first))) {
        return false;
    }
    lease_place_decode(value);
    ASSERT_VALUES(key.size >= first.size + 16, key.size, first.size + 16);
    place->filed_ms = load_u64_ordered(key.data + first.size);
    place->number = load_u64_ordered(key.data + first.size + 8);
    name_copy(&place->name, bytes_skip(key, first.size + 16));
    return true;
}

/* --- Locks, their holds and waiters ----------------------------------------------------------- */

static void hold_read(struct bytes rest, struct lease_hold *hold)
{
    ASSERT_VALUES(rest.size > HOLD_SIZE, rest.size, HOLD_SIZE);
    const uint8_t *data = rest.data;

    hold->session = load_u64(data);
    hold->token = load_u64(data + 8);
    hold->granted_ms = load_u64(data + 16);
    hold->lost_until_ms = load_u64(data + 24);
    hold->units = load_u32(data + 32);
    hold->delay_ms = load_u32(data + 36);
    rest = bytes_skip(rest, HOLD_SIZE);
    hold->owner = value_take(&rest);
    hold->metadata = rest;
    ASSERT_VALUES(rest.size <= LEASE_METADATA_SIZE_MAX, rest.size, hold->token);
    ASSERT(hold->session != 0 && hold->token != 0 && hold->units != 0);
}

/* Appends it to a value of `size` bytes; gives the new size. */
static size_t hold_add(uint8_t *data, size_t size, const struct lease_hold *hold)
{
    ASSERT(hold->session != 0 && hold->token != 0 && hold->units != 0);
    store_u64(data + size, hold->session);
    store_u64(data + size + 8, hold->token);
    store_u64(data + size + 16, hold->granted_ms);
    store_u64(data + size + 24, hold->lost_until_ms);
    store_u32(data + size + 32, hold->units);
    store_u32(data + size + 36, hold->delay_ms);
    size = value_add_sized(data, size + HOLD_SIZE, hold->owner);
    return value_add(data, size, hold->metadata);
}

void lease_hold_decode(struct bytes value, struct lease_hold *hold)
{
    hold_read(value_rest(value, 1), hold);
}

bool lease_hold_load(struct table *table, struct bytes name, lease_token token,
                     struct lease_hold *hold)
{
    struct bytes value;

    if (!record_get(table, lease_key_hold(name, token), &value)) {
        return false;
    }
    lease_hold_decode(value, hold);
    return true;
}

void lease_hold_store(struct table *table, struct bytes name, const struct lease_hold *hold)
{
    uint8_t data[1 + HOLD_SIZE + TEXTS_SIZE_MAX] = {RECORD_VERSION};
    size_t size = hold_add(data, 1, hold);

    record_put(table, lease_key_hold(name, hold->token), bytes_of(data, size));
}

void lease_hold_erase(struct table *table, struct bytes name, lease_token token)
{
    record_delete(table, lease_key_hold(name, token));
}

bool lease_hold_seek(struct table *table, struct bytes name, lease_token after,
                     struct lease_hold *hold)
{
    struct lease_key from = lease_key_hold(name, after);
    struct bytes value;
    uint64_t token;

    if (!list_seek(table, &from, &token, &value)) {
        return false;
    }
    lease_hold_decode(value, hold);
    ASSERT_VALUES(hold->token == token, hold->token, token);
    return true;
}

void lease_lock_decode(struct bytes value, struct lease_lock *lock)
{
    struct bytes rest = value_rest(value, LOCK_SIZE);

    *lock = (struct lease_lock){
        .mode = mode_of(value.data[1]),
        .is_filed = value.data[2] != 0,
        .limit = load_u32(value.data + 3),
        .used = load_u32(value.data + 7),
        .hold_count = load_u32(value.data + 11),
        .waiter_count = load_u32(value.data + 15),
        .ticket_last = load_u64(value.data + 19),
        .filed_ms = load_u64(value.data + 27),
    };
    if (lock->mode == LEASE_EXCLUSIVE) {
        hold_read(rest, &lock->hold);
    } else {
        ASSERT_VALUES(rest.size == 0, rest.size, lock->mode);
    }
    ASSERT(lock->hold_count != 0);
}

bool lease_lock_load(struct table *table, struct bytes name, struct lease_lock *lock)
{
    struct bytes value;

    if (!record_get(table, lease_key_lock(name), &value)) {
        return false;
    }
    lease_lock_decode(value, lock);
    return true;
}

void lease_lock_store(struct table *table, struct bytes name, const struct lease_lock *lock)
{
    uint8_t data[LOCK_SIZE + HOLD_SIZE + TEXTS_SIZE_MAX] = {RECORD_VERSION};
    size_t size = LOCK_SIZE;

    ASSERT(lock->hold_count != 0);
    data[1] = (uint8_t)lock->mode;
    data[2] = lock->is_filed ? 1 : 0;
    store_u32(data + 3, lock->limit);
    store_u32(data + 7, lock->used);
    store_u32(data + 11, lock->hold_count);
    store_u32(data + 15, lock->waiter_count);
    store_u64(data + 19, lock->ticket_last);
    store_u64(data + 27, lock->filed_ms);
    if (lock->mode == LEASE_EXCLUSIVE) {
        size = hold_add(data, size, &lock->hold);
    }
    record_put(table, lease_key_lock(name), bytes_of(data, size));
}

void lease_lock_erase(struct table *table, struct bytes name)
{
    record_delete(table, lease_key_lock(name));
}

void lease_waiter_decode(struct bytes value, struct lease_waiter *waiter)
{
    struct bytes rest = value_rest(value, WAITER_SIZE);

    waiter->session = load_u64(value.data + 1);
    waiter->mode = mode_of(value.data[9]);
    waiter->units = load_u32(value.data + 10);
    waiter->delay_ms = load_u32(value.data + 14);
    waiter->owner = value_take(&rest);
    waiter->metadata = rest;
    ASSERT_VALUES(rest.size <= LEASE_METADATA_SIZE_MAX, rest.size, waiter->session);
    ASSERT(waiter->session != 0 && waiter->units != 0);
}

bool lease_waiter_load(struct table *table, struct bytes name, uint64_t ticket,
                       struct lease_waiter *waiter)
{
    struct bytes value;

    if (!record_get(table, lease_key_waiter(name, ticket), &value)) {
        return false;
    }
    lease_waiter_decode(value, waiter);
    waiter->ticket = ticket;
    return true;
}

void lease_waiter_store(struct table *table, struct bytes name, const struct lease_waiter *waiter)
{
    uint8_t data[WAITER_SIZE + TEXTS_SIZE_MAX] = {RECORD_VERSION};

    ASSERT(waiter->ticket != 0 && waiter->session != 0 && waiter->units != 0);
    store_u64(data + 1, waiter->session);
    data[9] = (uint8_t)waiter->mode;
    store_u32(data + 10, waiter->units);
    store_u32(data + 14, waiter->delay_ms);
    size_t size = value_add_sized(data, WAITER_SIZE, waiter->owner);
    size = value_add(data, size, waiter->metadata);
    record_put(table, lease_key_waiter(name, waiter->ticket), bytes_of(data, size));
}

void lease_waiter_erase(struct table *table, struct bytes name, uint64_t ticket)
{
    record_delete(table, lease_key_waiter(name, ticket));
}

bool lease_waiter_seek(struct table *table, struct bytes name, uint64_t after,
                       struct lease_waiter *waiter)
{
    struct lease_key from = lease_key_waiter(name, after);
    struct bytes value;
    uint64_t ticket;

    if (!list_seek(table, &from, &ticket, &value)) {
        return false;
    }
    lease_waiter_decode(value, waiter);
    waiter->ticket = ticket;
    return true;
}

/* --- Claims and the audit --------------------------------------------------------------------- */

void lease_claim_decode(struct bytes value, struct lease_claim *claim)
{
    value_check(value, CLAIM_SIZE);
    claim->ticket = load_u64(value.data + 1);
    claim->token = load_u64(value.data + 9);
}

bool lease_claim_load(struct table *table, lease_session_id session, struct bytes name,
                      struct lease_claim *claim)
{
    struct bytes value;

    if (!record_get(table, lease_key_claim(session, name), &value)) {
        return false;
    }
    lease_claim_decode(value, claim);
    return true;
}

void lease_claim_store(struct table *table, lease_session_id session, struct bytes name,
                       const struct lease_claim *claim)
{
    uint8_t data[CLAIM_SIZE] = {RECORD_VERSION};

    store_u64(data + 1, claim->ticket);
    store_u64(data + 9, claim->token);
    record_put(table, lease_key_claim(session, name), bytes_of(data, sizeof(data)));
}

void lease_claim_erase(struct table *table, lease_session_id session, struct bytes name)
{
    record_delete(table, lease_key_claim(session, name));
}

bool lease_claim_first(struct table *table, lease_session_id session, struct lease_name *name,
                       struct lease_claim *claim)
{
    struct lease_key from = lease_key_claim(session, bytes_of(NULL, 0));
    struct bytes key;
    struct bytes value;

    if (!table_seek(table, lease_key_bytes(&from), false, &key, &value) ||
        !bytes_has_prefix(key, lease_key_bytes(&from))) {
        return false;
    }
    lease_claim_decode(value, claim);
    name_copy(name, bytes_skip(key, from.size));
    ASSERT(name->size >= 1);
    return true;
}

void lease_audit_decode(struct bytes value, struct lease_audit_view *audit)
{
    struct bytes rest = value_rest(value, AUDIT_SIZE);

    audit->log_ms = load_u64(value.data + 1);
    audit->wall_ms = load_u64(value.data + 9);
    audit->session = load_u64(value.data + 17);
    audit->token = load_u64(value.data + 25);
    audit->name = value_take(&rest);
    audit->owner = value_take(&rest);
    audit->by = value_take(&rest);
    audit->reason = rest;
    ASSERT(audit->name.size != 0 && audit->token != 0 && audit->session != 0);
}

void lease_audit_store(struct table *table, const struct lease_audit_view *audit)
{
    uint8_t data[AUDIT_SIZE + 3 * (1 + UINT8_MAX) + LEASE_REASON_SIZE_MAX] = {RECORD_VERSION};

    ASSERT(audit->number != 0 && audit->name.size != 0 && audit->reason.size != 0);
    store_u64(data + 1, audit->log_ms);
    store_u64(data + 9, audit->wall_ms);
    store_u64(data + 17, audit->session);
    store_u64(data + 25, audit->token);
    size_t size = value_add_sized(data, AUDIT_SIZE, audit->name);
    size = value_add_sized(data, size, audit->owner);
    size = value_add_sized(data, size, audit->by);
    size = value_add(data, size, audit->reason);
    record_put(table, lease_key_audit(audit->number), bytes_of(data, size));
}

void lease_audit_erase(struct table *table, uint64_t number)
{
    record_delete(table, lease_key_audit(number));
}
