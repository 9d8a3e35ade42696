/* lease/key.c: the keys of the lease folder's records; the layouts are in internal.h. */
#include "lease/internal.h"

#include <string.h>

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

struct lease_key lease_key_audit(uint64_t number)
{
    struct lease_key key;

    key_begin(&key, LEASE_KIND_AUDIT);
    key_add_number(&key, number);
    return key;
}

struct lease_key lease_key_place(uint64_t filed_ms, uint64_t number, struct bytes name)
{
    struct lease_key key;

    ASSERT(number != 0 || name.size != 0);
    key_begin(&key, LEASE_KIND_PLACE);
    key_add_number(&key, filed_ms);
    key_add_number(&key, number);
    key_add_name(&key, name);
    return key;
}

struct lease_key lease_key_lock(struct bytes name)
{
    struct lease_key key;

    key_begin(&key, LEASE_KIND_LOCK);
    key_add_name(&key, name);
    return key;
}

/* Of a list of each lock: names that begin alike do not mix, as the size stands in front. */
static struct lease_key key_in_list(uint8_t kind, struct bytes name, uint64_t number)
{
    struct lease_key key;

    ASSERT(name.size <= LEASE_NAME_SIZE_MAX);
    key_begin(&key, kind);
    key.data[key.size++] = (uint8_t)name.size;
    key_add_name(&key, name);
    key_add_number(&key, number);
    return key;
}

struct lease_key lease_key_hold(struct bytes name, lease_token token)
{
    return key_in_list(LEASE_KIND_HOLD, name, token);
}

struct lease_key lease_key_waiter(struct bytes name, uint64_t ticket)
{
    return key_in_list(LEASE_KIND_WAITER, name, ticket);
}

struct lease_key lease_key_session(lease_session_id session)
{
    struct lease_key key;

    key_begin(&key, LEASE_KIND_SESSION);
    key_add_number(&key, session);
    return key;
}

struct lease_key lease_key_meta(void)
{
    struct lease_key key;

    key_begin(&key, LEASE_KIND_META);
    return key;
}

struct lease_key lease_key_places(void)
{
    struct lease_key key;

    key_begin(&key, LEASE_KIND_PLACE);
    return key;
}
