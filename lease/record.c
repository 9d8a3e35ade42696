/* lease/record.c: keys and values of the lease folder's records; the layouts are in internal.h.
 *
 * Decoding asserts: the table checks what it stores, so a wrong value is a bug of ours. */
#include "lease/internal.h"

#include <string.h>

enum {
    RECORD_VERSION = 1,
    META_SIZE = 1 + 8 + 8,
    SESSION_SIZE = 1 + 4 + 8 + 8 + 8, /* Without the owner, like the next two. */
    LOCK_SIZE = 1 + 8 + 8 + 8 + 8 + 4,
    WAITER_SIZE = 1 + 8,
    CLAIM_SIZE = 1 + 8,
    PLACE_SIZE = 1,
};

/* --- Keys ------------------------------------------------------------------------------------- */

static void key_begin(struct lease_key *key, uint8_t kind)
{
    key->data[0] = LEASE_KEY_PREFIX;
    key->data[1] = kind;
    key->size = 2;
}

static void key_add_number(struct lease_key *key, uint64_t number)
{
    ASSERT(key->size + 8 <= sizeof(key->data));
    store_u64_ordered(key->data + key->size, number);
    key->size += 8;
}

static void key_add_name(struct lease_key *key, struct bytes name)
{
    ASSERT_VALUES(name.size <= LEASE_NAME_SIZE_MAX, name.size, LEASE_NAME_SIZE_MAX);
    ASSERT(key->size + name.size <= sizeof(key->data));
    if (name.size != 0) {
        memcpy(key->data + key->size, name.data, name.size);
    }
    key->size += name.size;
}

struct lease_key lease_key_claim(lease_session_id session, struct bytes name)
{
    struct lease_key key;

    key_begin(&key, LEASE_KIND_CLAIM);
    key_add_number(&key, session);
    key_add_name(&key, name);
    return key;
}

struct lease_key lease_key_place(uint64_t filed_ms, lease_session_id session)
{
    struct lease_key key;

    key_begin(&key, LEASE_KIND_PLACE);
    key_add_number(&key, filed_ms);
    key_add_number(&key, session);
    return key;
}

struct lease_key lease_key_lock(struct bytes name)
{
    struct lease_key key;

    key_begin(&key, LEASE_KIND_LOCK);
    key_add_name(&key, name);
    return key;
}

struct lease_key lease_key_waiter(struct bytes name, uint64_t ticket)
{
    struct lease_key key;

    ASSERT(name.size <= LEASE_NAME_SIZE_MAX);
    key_begin(&key, LEASE_KIND_WAITER);
    key.data[key.size++] = (uint8_t)name.size;
    key_add_name(&key, name);
    key_add_number(&key, ticket);
    return key;
}

struct lease_key lease_key_session(lease_session_id session)
{
    struct lease_key key;

    key_begin(&key, LEASE_KIND_SESSION);
    key_add_number(&key, session);
    return key;
}

static struct lease_key key_meta(void)
{
    struct lease_key key;

    key_begin(&key, LEASE_KIND_META);
    return key;
}

/* --- The kinds in turn ------------------------------------------------------------------------ */

static bool record_get(struct table *table, struct lease_key key, struct bytes *value)
{
    return table_get(table, lease_key_bytes(&key), value);
}

static void record_put(struct table *table, struct lease_key key, struct bytes value)
{
    table_put(table, lease_key_bytes(&key), value);
}

/* The record is there: every caller has read it, or what promises it. */
static void record_delete(struct table *table, struct lease_key key)
{
    bool found = table_delete(table, lease_key_bytes(&key));

    ASSERT(found || table_error(table) != ERR_OK);
}

/* Appends the owner to a value of `size` bytes; gives all of it. */
static struct bytes value_with_owner(uint8_t *data, size_t size, struct bytes owner)
{
    ASSERT_VALUES(owner.size <= LEASE_OWNER_SIZE_MAX, owner.size, LEASE_OWNER_SIZE_MAX);
    if (owner.size != 0) {
        memcpy(data + size, owner.data, owner.size);
    }
    return bytes_of(data, size + owner.size);
}

static struct bytes value_owner(struct bytes value, size_t size)
{
    struct bytes owner = bytes_skip(value, size);

    ASSERT_VALUES(value.data[0] == RECORD_VERSION, value.data[0], RECORD_VERSION);
    ASSERT_VALUES(owner.size <= LEASE_OWNER_SIZE_MAX, owner.size, LEASE_OWNER_SIZE_MAX);
    return owner;
}

static void value_check(struct bytes value, size_t size)
{
    ASSERT_VALUES(value.size == size, value.size, size);
    ASSERT_VALUES(value.data[0] == RECORD_VERSION, value.data[0], RECORD_VERSION);
}

void lease_meta_decode(struct bytes value, struct lease_meta *meta)
{
    value_check(value, META_SIZE);
    meta->token_last = load_u64(value.data + 1);
    meta->session_count = load_u64(value.data + 9);
}

void lease_meta_load(struct table *table, struct lease_meta *meta)
{
    struct bytes value;

    *meta = (struct lease_meta){0};
    if (record_get(table, key_meta(), &value)) {
        lease_meta_decode(value, meta);
    }
}

void lease_meta_store(struct table *table, const struct lease_meta *meta)
{
    uint8_t data[META_SIZE] = {RECORD_VERSION};

    store_u64(data + 1, meta->token_last);
    store_u64(data + 9, meta->session_count);
    record_put(table, key_meta(), bytes_of(data, sizeof(data)));
}

void lease_session_decode(struct bytes value, struct lease_session *session)
{
    session->owner = value_owner(value, SESSION_SIZE);
    session->ttl_ms = load_u32(value.data + 1);
    session->opened_ms = load_u64(value.data + 5);
    session->deadline_ms = load_u64(value.data + 13);
    session->filed_ms = load_u64(value.data + 21);
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
    store_u32(data + 1, session->ttl_ms);
    store_u64(data + 5, session->opened_ms);
    store_u64(data + 13, session->deadline_ms);
    store_u64(data + 21, session->filed_ms);
    record_put(table, lease_key_session(id), value_with_owner(data, SESSION_SIZE, session->owner));
}

void lease_session_erase(struct table *table, lease_session_id id)
{
    record_delete(table, lease_key_session(id));
}

void lease_place_decode(struct bytes value)
{
    value_check(value, PLACE_SIZE);
}

void lease_place_store(struct table *table, uint64_t filed_ms, lease_session_id session)
{
    static const uint8_t data[PLACE_SIZE] = {RECORD_VERSION};

    record_put(table, lease_key_place(filed_ms, session), bytes_of(data, sizeof(data)));
}

void lease_place_erase(struct table *table, uint64_t filed_ms, lease_session_id session)
{
    record_delete(table, lease_key_place(filed_ms, session));
}

bool lease_place_first(struct table *table, uint64_t *filed_ms, lease_session_id *session)
{
    struct lease_key first;
    struct bytes key;
    struct bytes value;

    key_begin(&first, LEASE_KIND_PLACE);
    if (!table_seek(table, lease_key_bytes(&first), true, &key, &value) ||
        !bytes_has_prefix(key, lease_key_bytes(&first))) {
        return false;
    }
    lease_place_decode(value);
    ASSERT_VALUES(key.size == first.size + 16, key.size, first.size + 16);
    *filed_ms = load_u64_ordered(key.data + first.size);
    *session = load_u64_ordered(key.data + first.size + 8);
    return true;
}

void lease_lock_decode(struct bytes value, struct lease_lock *lock)
{
    lock->owner = value_owner(value, LOCK_SIZE);
    lock->holder = load_u64(value.data + 1);
    lock->token = load_u64(value.data + 9);
    lock->granted_ms = load_u64(value.data + 17);
    lock->ticket_last = load_u64(value.data + 25);
    lock->waiter_count = load_u32(value.data + 33);
    ASSERT(lock->holder != 0 && lock->token != 0);
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
    uint8_t data[LOCK_SIZE + LEASE_OWNER_SIZE_MAX] = {RECORD_VERSION};

    ASSERT(lock->holder != 0 && lock->token != 0);
    store_u64(data + 1, lock->holder);
    store_u64(data + 9, lock->token);
    store_u64(data + 17, lock->granted_ms);
    store_u64(data + 25, lock->ticket_last);
    store_u32(data + 33, lock->waiter_count);
    record_put(table, lease_key_lock(name), value_with_owner(data, LOCK_SIZE, lock->owner));
}

void lease_lock_erase(struct table *table, struct bytes name)
{
    record_delete(table, lease_key_lock(name));
}

void lease_waiter_decode(struct bytes value, struct lease_waiter *waiter)
{
    waiter->owner = value_owner(value, WAITER_SIZE);
    waiter->session = load_u64(value.data + 1);
    ASSERT(waiter->session != 0);
}

void lease_waiter_store(struct table *table, struct bytes name, const struct lease_waiter *waiter)
{
    uint8_t data[WAITER_SIZE + LEASE_OWNER_SIZE_MAX] = {RECORD_VERSION};

    ASSERT(waiter->ticket != 0 && waiter->session != 0);
    store_u64(data + 1, waiter->session);
    record_put(table, lease_key_waiter(name, waiter->ticket),
               value_with_owner(data, WAITER_SIZE, waiter->owner));
}

void lease_waiter_erase(struct table *table, struct bytes name, uint64_t ticket)
{
    record_delete(table, lease_key_waiter(name, ticket));
}

bool lease_waiter_seek(struct table *table, struct bytes name, uint64_t after,
                       struct lease_waiter *waiter)
{
    struct lease_key from = lease_key_waiter(name, after);
    struct bytes key;
    struct bytes value;
    size_t size = from.size - 8;

    if (!table_seek(table, lease_key_bytes(&from), false, &key, &value) ||
        !bytes_has_prefix(key, bytes_of(from.data, size))) {
        return false;
    }
    ASSERT_VALUES(key.size == from.size, key.size, from.size);
    lease_waiter_decode(value, waiter);
    waiter->ticket = load_u64_ordered(key.data + size);
    return true;
}

uint64_t lease_claim_decode(struct bytes value)
{
    value_check(value, CLAIM_SIZE);
    return load_u64(value.data + 1);
}

bool lease_claim_load(struct table *table, lease_session_id session, struct bytes name,
                      uint64_t *ticket)
{
    struct bytes value;

    if (!record_get(table, lease_key_claim(session, name), &value)) {
        return false;
    }
    *ticket = lease_claim_decode(value);
    return true;
}

void lease_claim_store(struct table *table, lease_session_id session, struct bytes name,
                       uint64_t ticket)
{
    uint8_t data[CLAIM_SIZE] = {RECORD_VERSION};

    store_u64(data + 1, ticket);
    record_put(table, lease_key_claim(session, name), bytes_of(data, sizeof(data)));
}

void lease_claim_erase(struct table *table, lease_session_id session, struct bytes name)
{
    record_delete(table, lease_key_claim(session, name));
}

bool lease_claim_first(struct table *table, lease_session_id session, struct lease_name *name,
                       uint64_t *ticket)
{
    struct lease_key from = lease_key_claim(session, bytes_of(NULL, 0));
    struct bytes key;
    struct bytes value;

    if (!table_seek(table, lease_key_bytes(&from), false, &key, &value) ||
        !bytes_has_prefix(key, lease_key_bytes(&from))) {
        return false;
    }
    *ticket = lease_claim_decode(value);
    struct bytes rest = bytes_skip(key, from.size);
    ASSERT(rest.size >= 1 && rest.size <= LEASE_NAME_SIZE_MAX);
    name->size = (uint8_t)rest.size;
    memcpy(name->data, rest.data, rest.size);
    return true;
}
