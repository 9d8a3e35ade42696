/* kv/kv.c: pairs in the table: a head for each key, and the value within it or beside it.
 *
 *   'k' 'h' key   head    version[1] form[1] revision[8] value     form INLINE: all of the value
 *                         version[1] form[1] revision[8]           form APART: it lies beside
 *   'k' 'v' key   value   the value's bytes alone
 *
 * A small value costs one record. A large one lies apart, so that it goes from the log's entry to
 * the table without being copied together with its head. Numbers are little endian. */
#include "kv/kv.h"

#include <string.h>

#include "base/assert.h"

enum {
    KIND_HEAD = 'h',
    KIND_VALUE = 'v',

    RECORD_VERSION = 1,
    FORM_INLINE = 0,
    FORM_APART = 1,

    KEY_HEAD_SIZE = 2, /* Before the key of the pair. */
    HEAD_SIZE = 1 + 1 + 8,
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
    ASSERT_VALUES(value.data[1] <= FORM_APART, value.data[1], FORM_APART);
    head->apart = value.data[1] == FORM_APART;
    head->revision = load_u64(value.data + 2);
    head->value = bytes_skip(value, HEAD_SIZE);
    ASSERT_VALUES(head->revision != 0, value.size, 0);
    ASSERT_VALUES(head->value.size <= INLINE_SIZE_MAX, head->value.size, INLINE_SIZE_MAX);
    if (head->apart) {
        ASSERT_VALUES(head->value.size == 0, head->value.size, 0);
    }
}

static bool head_load(struct table *table, struct bytes key, struct head *head)
{
    struct record_key record = record_key_of(KIND_HEAD, key);
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
        struct record_key record = record_key_of(KIND_VALUE, key);
        bool found = table_get(table, record_key_bytes(&record), &value);
        ASSERT(found || table_error(table) != ERR_OK);
        if (!found) {
            return false;
        }
    }
    *pair = (struct kv_pair){.key = key, .value = value, .revision = head->revision};
    return true;
}

bool kv_get(struct table *table, struct bytes key, struct kv_pair *pair)
{
    struct head head;

    return head_load(table, key, &head) && pair_of(table, key, &head, pair);
}

static void value_erase(struct table *table, struct bytes key)
{
    struct record_key record = record_key_of(KIND_VALUE, key);
    bool found = table_delete(table, record_key_bytes(&record));

    ASSERT(found || table_error(table) != ERR_OK);
}

void kv_put(struct table *table, struct bytes key, struct bytes value, kv_revision revision)
{
    struct head present;
    struct record_key record = record_key_of(KIND_HEAD, key);
    uint8_t data[HEAD_SIZE + INLINE_SIZE_MAX];
    size_t size = HEAD_SIZE;
    bool apart = value.size > INLINE_SIZE_MAX;

    ASSERT(revision != 0);
    ASSERT_VALUES(value.size <= KV_VALUE_SIZE_MAX, value.size, KV_VALUE_SIZE_MAX);
    if (head_load(table, key, &present)) {
        ASSERT_VALUES(present.revision <= revision, present.revision, revision);
        if (present.apart && !apart) {
            value_erase(table, key);
        }
    }
    data[0] = RECORD_VERSION;
    data[1] = apart ? FORM_APART : FORM_INLINE;
    store_u64(data + 2, revision);
    if (apart) {
        struct record_key beside = record_key_of(KIND_VALUE, key);
        table_put(table, record_key_bytes(&beside), value);
    } else if (value.size != 0) {
        memcpy(data + HEAD_SIZE, value.data, value.size);
        size += value.size;
    }
    table_put(table, record_key_bytes(&record), bytes_of(data, size));
}

bool kv_delete(struct table *table, struct bytes key)
{
    struct head present;
    struct record_key record = record_key_of(KIND_HEAD, key);

    if (!head_load(table, key, &present)) {
        return false;
    }
    if (present.apart) {
        value_erase(table, key);
    }
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
    kv_put(table, key, value, revision);
    return ERR_OK;
}

bool kv_next(struct table *table, struct bytes prefix, struct bytes after, struct kv_pair *pair)
{
    bool inclusive = bytes_compare(after, prefix) < 0;
    struct record_key from = record_key_of(KIND_HEAD, inclusive ? prefix : after);
    struct record_key begin = record_key_of(KIND_HEAD, prefix);
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
}

void kv_check(struct table *table)
{
    static const uint8_t prefix[] = {KV_KEY_PREFIX};
    struct bytes key = bytes_of(prefix, sizeof(prefix));
    struct bytes value;
    struct head head;

    while (table_seek(table, key, false, &key, &value) && key.data[0] == KV_KEY_PREFIX) {
        ASSERT(key.size > KEY_HEAD_SIZE); /* 1 */
        struct bytes rest = bytes_skip(key, KEY_HEAD_SIZE);
        if (key.data[1] == KIND_HEAD) {
            check_head(table, rest, value);
        } else {
            ASSERT_VALUES(key.data[1] == KIND_VALUE, key.data[1], key.size); /* 1 */
            ASSERT(head_load(table, rest, &head) && head.apart);             /* 4 */
        }
    }
}
