/* kv/kv.c: pairs in the table: a head for each key, and the value within it or beside it.
 *
 *   'k' 'h' key   head    version[1] form[1] revision[8] session[8] value
 *   'k' 'v' key   value   the value's bytes alone
 *
 * Form is a sum: APART: the head has no value, it lies beside; BOUND: the head has a session, and
 * the session has a record of the key (bound.c).
 *
 * A small value costs one record. A large one lies apart, so that it goes from the log's entry to
 * the table without being copied together with its head. Numbers are little endian. */
#include "kv/internal.h"

#include <string.h>

#include "base/assert.h"

enum {
    RECORD_VERSION = 2,
    FORM_APART = 1,
    FORM_BOUND = 2,

    KEY_HEAD_SIZE = 2, /* Before the key of the pair. */
    HEAD_SIZE = 1 + 1 + 8,
    SESSION_SIZE = 8,
    INLINE_SIZE_MAX = 2048,
};

_Static_assert((int)KEY_HEAD_SIZE + KV_KEY_SIZE_MAX <= (int)TABLE_KEY_SIZE_MAX,
               "every key fits the table");
_Static_assert((int)KV_VALUE_SIZE_MAX <= (int)TABLE_VALUE_SIZE_MAX, "every value fits the table");

struct record_key {
    size_t size;
    uint8_t data[KEY_HEAD_SIZE + KV_KEY_SIZE_MAX];
};

struct head {
    kv_revision revision;
    uint64_t session; /* 0: bound to none. */
    bool apart;
    struct bytes value; /* Borrowed from the table; empty when apart. */
};

/* The key may be empty here: the beginning of a range. */
static struct record_key record_key_of(uint8_t kind, struct bytes key)
{
    struct record_key record;

    ASSERT_VALUES(key.size <= KV_KEY_SIZE_MAX, key.size, KV_KEY_SIZE_MAX);
    record.data[0] = KV_KEY_PREFIX;
    record.data[1] = kind;
    if (key.size != 0) {
        memcpy(record.data + KEY_HEAD_SIZE, key.data, key.size);
    }
    record.size = KEY_HEAD_SIZE + key.size;
    return record;
}

static struct bytes record_key_bytes(const struct record_key *key)
{
    return bytes_of(key->data, key->size);
}

static void head_decode(struct bytes value, struct head *head)
{
    ASSERT_VALUES(value.size >= HEAD_SIZE, value.size, HEAD_SIZE);
    ASSERT_VALUES(value.data[0] == RECORD_VERSION, value.data[0], RECORD_VERSION);
    ASSERT_VALUES(value.data[1] <= FORM_APART + FORM_BOUND, value.data[1], value.size);
    head->apart = (value.data[1] & FORM_APART) != 0;
    head->revision = load_u64(value.data + 2);
    head->value = bytes_skip(value, HEAD_SIZE);
    head->session = 0;
    if ((value.data[1] & FORM_BOUND) != 0) {
        ASSERT_VALUES(head->value.size >= SESSION_SIZE, head->value.size, SESSION_SIZE);
        head->session = load_u64(head->value.data);
        head->value = bytes_skip(head->value, SESSION_SIZE);
        ASSERT_VALUES(head->session != 0, value.size, head->revision);
    }
    ASSERT_VALUES(head->revision != 0, value.size, 0);
    ASSERT_VALUES(head->value.size <= INLINE_SIZE_MAX, head->value.size, INLINE_SIZE_MAX);
    if (head->apart) {
        ASSERT_VALUES(head->value.size == 0, head->value.size, 0);
    }
}

static bool head_load(struct table *table, struct bytes key, struct head *head)
{
    struct record_key record = record_key_of(KV_KIND_HEAD, key);
    struct bytes value;

    ASSERT(key.size >= 1);
    if (!table_get(table, record_key_bytes(&record), &value)) {
        return false;
    }
    head_decode(value, head);
    return true;
}

/* The value lies in the head or beside it. False only when the table has failed. */
static bool pair_of(struct table *table, struct bytes key, const struct head *head,
                    struct kv_pair *pair)
{
    struct bytes value = head->value;

    if (head->apart) {
        struct record_key record = record_key_of(KV_KIND_VALUE, key);
        bool found = table_get(table, record_key_bytes(&record), &value);
        ASSERT(found || table_error(table) != ERR_OK);
        if (!found) {
            return false;
        }
    }
    *pair = (struct kv_pair){
        .key = key, .value = value, .revision = head->revision, .session = head->session};
    return true;
}

bool kv_get(struct table *table, struct bytes key, struct kv_pair *pair)
{
    struct head head;

    return head_load(table, key, &head) && pair_of(table, key, &head, pair);
}

uint64_t kv_session_of(struct table *table, struct bytes key)
{
    struct head head;

    return head_load(table, key, &head) ? head.session : 0;
}

static void value_erase(struct table *table, struct bytes key)
{
    struct record_key record = record_key_of(KV_KIND_VALUE, key);
    bool found = table_delete(table, record_key_bytes(&record));

    ASSERT(found || table_error(table) != ERR_OK);
}

/* Takes away what the present pair has beside its head and the next one will not. */
static void present_clear(struct table *table, struct bytes key, const struct head *present,
                          bool apart, uint64_t session)
{
    if (present->apart && !apart) {
        value_erase(table, key);
    }
    if (present->session != 0 && present->session != session) {
        kv_bound_erase(table, present->session, key);
    }
}

void kv_put(struct table *table, struct bytes key, struct bytes value, uint64_t session,
            kv_revision revision)
{
    struct head present = {.session = 0};
    struct record_key record = record_key_of(KV_KIND_HEAD, key);
    uint8_t data[HEAD_SIZE + SESSION_SIZE + INLINE_SIZE_MAX];
    struct buffer head = buffer_of(data, sizeof(data));
    bool apart = value.size > INLINE_SIZE_MAX;
    uint8_t *fixed = buffer_extend(&head, HEAD_SIZE + (session == 0 ? 0 : (size_t)SESSION_SIZE));

    ASSERT(revision != 0 && fixed != NULL);
    ASSERT_VALUES(value.size <= KV_VALUE_SIZE_MAX, value.size, KV_VALUE_SIZE_MAX);
    if (head_load(table, key, &present)) {
        ASSERT_VALUES(present.revision <= revision, present.revision, revision);
        present_clear(table, key, &present, apart, session);
    }
    fixed[0] = RECORD_VERSION;
    fixed[1] = (uint8_t)((apart ? FORM_APART : 0) + (session != 0 ? FORM_BOUND : 0));
    store_u64(fixed + 2, revision);
    if (session != 0) {
        store_u64(fixed + HEAD_SIZE, session);
    }
    if (apart) {
        struct record_key beside = record_key_of(KV_KIND_VALUE, key);
        table_put(table, record_key_bytes(&beside), value);
    } else {
        bool fits = buffer_append(&head, value);
        ASSERT_VALUES(fits, value.size, head.size);
    }
    table_put(table, record_key_bytes(&record), buffer_bytes(&head));
    if (session != 0 && session != present.session) {
        kv_bound_store(table, session, key);
    }
}

bool kv_delete(struct table *table, struct bytes key)
{
    struct head present;
    struct record_key record = record_key_of(KV_KIND_HEAD, key);

    if (!head_load(table, key, &present)) {
        return false;
    }
    present_clear(table, key, &present, false, 0);
    return table_delete(table, record_key_bytes(&record));
}

enum error kv_compare_and_swap(struct table *table, struct bytes key,
                               const struct kv_expected *expected, struct bytes value,
                               kv_revision revision)
{
    struct kv_pair present;
    bool found = kv_get(table, key, &present);

    ASSERT(revision != 0);
    if (!found && !expected->absent) {
        return ERR_NOT_FOUND;
    }
    if (found && (expected->absent || !bytes_equal(present.value, expected->value))) {
        return ERR_MISMATCH;
    }
    kv_put(table, key, value, 0, revision);
    return ERR_OK;
}

bool kv_next(struct table *table, struct bytes prefix, struct bytes after, struct kv_pair *pair)
{
    bool inclusive = bytes_compare(after, prefix) < 0;
    struct record_key from = record_key_of(KV_KIND_HEAD, inclusive ? prefix : after);
    struct record_key begin = record_key_of(KV_KIND_HEAD, prefix);
    struct head head;
    struct bytes key;
    struct bytes value;

    if (!table_seek(table, record_key_bytes(&from), inclusive, &key, &value) ||
        !bytes_has_prefix(key, record_key_bytes(&begin))) {
        return false;
    }
    head_decode(value, &head);
    return pair_of(table, bytes_skip(key, KEY_HEAD_SIZE), &head, pair);
}

/* --- Invariants, by their numbers in docs/kv.md ----------------------------------------------- */

static void check_head(struct table *table, struct bytes key, struct bytes value)
{
    struct head head;
    struct kv_pair pair;

    ASSERT(key.size >= 1 && key.size <= KV_KEY_SIZE_MAX); /* 1 */
    head_decode(value, &head);                            /* 2 */
    if (head.apart) {
        ASSERT(pair_of(table, key, &head, &pair));                                        /* 3 */
        ASSERT_VALUES(pair.value.size > INLINE_SIZE_MAX, pair.value.size, head.revision); /* 3 */
        ASSERT_VALUES(pair.value.size <= KV_VALUE_SIZE_MAX, pair.value.size, 0);          /* 3 */
    }
    if (head.session != 0) {
        ASSERT_VALUES(kv_bound_exists(table, head.session, key), head.session, 0); /* 5 */
    }
}

static void check_value(struct table *table, struct bytes key)
{
    struct head head;

    ASSERT(head_load(table, key, &head) && head.apart); /* 4 */
}

static void check_record(struct table *table, struct bytes key, struct bytes value)
{
    struct bytes rest = bytes_skip(key, KEY_HEAD_SIZE);

    switch (key.data[1]) {
    case KV_KIND_BOUND:
        kv_bound_check(table, rest, value);
        return;
    case KV_KIND_ENDED:
        kv_ended_check(rest, value);
        return;
    case KV_KIND_HEAD:
        check_head(table, rest, value);
        return;
    case KV_KIND_VALUE:
        check_value(table, rest);
        return;
    default:
        ASSERT_VALUES(false, key.data[1], key.size); /* 1 */
    }
}

void kv_check(struct table *table)
{
    static const uint8_t prefix[] = {KV_KEY_PREFIX};
    struct bytes key = bytes_of(prefix, sizeof(prefix));
    struct bytes value;

    while (table_seek(table, key, false, &key, &value) && key.data[0] == KV_KEY_PREFIX) {
        ASSERT(key.size > KEY_HEAD_SIZE); /* 1 */
        check_record(table, key, value);
    }
}
