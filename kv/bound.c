/* kv/bound.c: which keys belong to a session, and their end.
 *
 *   'k' 'b' session[8] key   bound    version[1]     the key's head names the session
 *   'k' 'e' session[8]       ended    version[1]     its keys are being deleted
 *
 * The session is big endian, so that its order is the table's. */
#include "kv/internal.h"

#include <string.h>

#include "base/assert.h"

enum {
    RECORD_VERSION = 1,
    KIND_SIZE = 2,
    PREFIX_SIZE = KIND_SIZE + 8,
};

_Static_assert((int)PREFIX_SIZE + KV_KEY_SIZE_MAX <= (int)TABLE_KEY_SIZE_MAX,
               "every bound key fits the table");

struct record_key {
    size_t size;
    uint8_t data[PREFIX_SIZE + KV_KEY_SIZE_MAX];
};

/* The key may be empty: the beginning of a session's. */
static struct record_key record_key_of(uint8_t kind, uint64_t session, struct bytes key)
{
    struct record_key record;

    ASSERT(session != 0);
    ASSERT_VALUES(key.size <= KV_KEY_SIZE_MAX, key.size, KV_KEY_SIZE_MAX);
    record.data[0] = KV_KEY_PREFIX;
    record.data[1] = kind;
    store_u64_ordered(record.data + KIND_SIZE, session);
    if (key.size != 0) {
        memcpy(record.data + PREFIX_SIZE, key.data, key.size);
    }
    record.size = PREFIX_SIZE + key.size;
    return record;
}

static struct bytes record_key_bytes(const struct record_key *key)
{
    return bytes_of(key->data, key->size);
}

static void store(struct table *table, const struct record_key *key)
{
    static const uint8_t version[] = {RECORD_VERSION};

    table_put(table, record_key_bytes(key), bytes_of(version, sizeof(version)));
}

static void erase(struct table *table, const struct record_key *key)
{
    bool found = table_delete(table, record_key_bytes(key));

    ASSERT(found || table_error(table) != ERR_OK);
}

void kv_bound_store(struct table *table, uint64_t session, struct bytes key)
{
    struct record_key record = record_key_of(KV_KIND_BOUND, session, key);

    ASSERT(key.size >= 1);
    store(table, &record);
}

void kv_bound_erase(struct table *table, uint64_t session, struct bytes key)
{
    struct record_key record = record_key_of(KV_KIND_BOUND, session, key);

    ASSERT(key.size >= 1);
    erase(table, &record);
}

bool kv_bound_exists(struct table *table, uint64_t session, struct bytes key)
{
    struct record_key record = record_key_of(KV_KIND_BOUND, session, key);
    struct bytes value;

    return table_get(table, record_key_bytes(&record), &value);
}

/* The first key of the session, copied behind its prefix; false when it has none. */
static bool first_of(struct table *table, uint64_t session, struct record_key *first)
{
    struct record_key begin = record_key_of(KV_KIND_BOUND, session, bytes_of(NULL, 0));
    struct bytes key;
    struct bytes value;

    if (!table_seek(table, record_key_bytes(&begin), false, &key, &value) ||
        !bytes_has_prefix(key, record_key_bytes(&begin))) {
        return false;
    }
    ASSERT_VALUES(key.size <= sizeof(first->data), key.size, session);
    memcpy(first->data, key.data, key.size);
    first->size = key.size;
    return true;
}

bool kv_session_end(struct table *table, uint64_t session)
{
    struct record_key first;

    if (!first_of(table, session, &first)) {
        return false;
    }
    struct record_key ended = record_key_of(KV_KIND_ENDED, session, bytes_of(NULL, 0));
    store(table, &ended);
    return true;
}

enum kv_dropped kv_drop(struct table *table, struct kv_dropped_key *dropped)
{
    static const uint8_t begin[] = {KV_KEY_PREFIX, KV_KIND_ENDED};
    struct bytes prefix = bytes_of(begin, sizeof(begin));
    struct record_key first;
    struct bytes key;
    struct bytes value;

    if (!table_seek(table, prefix, false, &key, &value) || !bytes_has_prefix(key, prefix)) {
        return KV_DROPPED_NOTHING;
    }
    ASSERT_VALUES(key.size == PREFIX_SIZE, key.size, PREFIX_SIZE);
    uint64_t session = load_u64_ordered(key.data + KIND_SIZE);

    if (first_of(table, session, &first)) {
        struct bytes gone = bytes_skip(record_key_bytes(&first), PREFIX_SIZE);
        bool found = kv_delete(table, gone);

        ASSERT_VALUES(found || table_error(table) != ERR_OK, session, first.size);
        ASSERT_VALUES(gone.size >= 1 && gone.size <= sizeof(dropped->data), gone.size, session);
        dropped->size = gone.size;
        memcpy(dropped->data, gone.data, gone.size);
        return KV_DROPPED_KEY;
    }
    struct record_key ended = record_key_of(KV_KIND_ENDED, session, bytes_of(NULL, 0));
    erase(table, &ended);
    return KV_DROPPED_SESSION;
}

void kv_restart(struct table *table)
{
    static const uint8_t begin[] = {KV_KEY_PREFIX, KV_KIND_BOUND};
    struct bytes prefix = bytes_of(begin, sizeof(begin));
    struct kv_dropped_key dropped;
    struct bytes key;
    struct bytes value;

    while (table_seek(table, prefix, false, &key, &value) && bytes_has_prefix(key, prefix)) {
        (void)kv_session_end(table, load_u64_ordered(key.data + KIND_SIZE));
        while (kv_drop(table, &dropped) != KV_DROPPED_NOTHING) {
            continue;
        }
    }
    /* Sessions that had ended before, and whose keys others have written since. */
    while (kv_drop(table, &dropped) != KV_DROPPED_NOTHING) {
        continue;
    }
}

/* --- Invariants, by their numbers in docs/kv.md ----------------------------------------------- */

void kv_bound_check(struct table *table, struct bytes rest, struct bytes value)
{
    ASSERT(rest.size > 8 && rest.size <= 8 + (size_t)KV_KEY_SIZE_MAX); /* 1 */
    ASSERT(value.size == 1 && value.data[0] == RECORD_VERSION);        /* 1 */
    uint64_t session = load_u64_ordered(rest.data);
    uint64_t named = kv_session_of(table, bytes_skip(rest, 8));

    ASSERT_VALUES(session != 0 && named == session, named, session); /* 5 */
}

void kv_ended_check(struct bytes rest, struct bytes value)
{
    ASSERT(rest.size == 8);                                     /* 1 */
    ASSERT(value.size == 1 && value.data[0] == RECORD_VERSION); /* 1 */
    ASSERT(load_u64_ordered(rest.data) != 0);                   /* 1 */
}
