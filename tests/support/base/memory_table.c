/* tests/support/base/memory_table.c: a skip list whose lent bytes go stale at the next change. */
#include "tests/support/base/memory_table.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/checksum.h"
#include "base/macros.h"

enum {
    LEVEL_COUNT_MAX = 16,
    STALE_BYTE = 0xdd, /* What bytes that were lent out read as, once they are no longer valid. */
};

/* Key and value lie in one block apart from the node, so that the block can move. */
struct node {
    uint8_t *data; /* The key, then the value. */
    size_t key_size;
    size_t value_size;
    struct node *lent_next; /* In the list of nodes whose block was lent out. */
    bool lent;
    unsigned level_count;
    struct node *next[]; /* One for each level. */
};

/* Copies of all pairs, in key order. */
struct snapshot {
    uint64_t count;
    uint64_t next;
    uint64_t dirty_total; /* Of the table, when it was opened. */
    bool is_pending;      /* The first step says that the commit is still being written. */
    struct node *lent;
    struct node *pairs[];
};

struct table {
    struct node *head; /* Has every level and no key. */
    struct node *lent;
    uint64_t count;
    uint64_t hash;
    uint64_t dirty_bytes;
    uint64_t dirty_total; /* Ever written. */
    uint64_t commit_count;
    uint64_t call_count;
    uint64_t level_state; /* Of the generator of levels: fixed at open, so runs repeat. */
    bool is_slow;
    bool failure_armed;
    uint64_t failure_call; /* The value of call_count at which the armed failure strikes. */
    enum error failure;
    enum error error;
    struct snapshot *snapshot;
    bool is_loading;
    struct node *last[LEVEL_COUNT_MAX]; /* While loading: where the next pair goes. */
};

static void *allocate(size_t size)
{
    void *memory = malloc(size_max(size, 1));

    ASSERT(memory != NULL);
    return memory;
}

static struct node *node_open(unsigned level_count)
{
    size_t size = sizeof(struct node) + level_count * sizeof(struct node *);
    struct node *node = allocate(size);

    memset(node, 0, size);
    node->level_count = level_count;
    return node;
}

static void node_close(struct node *node)
{
    free(node->data);
    free(node);
}

static struct bytes node_key(const struct node *node)
{
    return bytes_of(node->data, node->key_size);
}

static struct bytes node_value(const struct node *node)
{
    return bytes_of(node->data + node->key_size, node->value_size);
}

/* This node and all behind it. */
static void nodes_close(struct node *node)
{
    while (node != NULL) {
        struct node *next = node->next[0];
        node_close(node);
        node = next;
    }
}

struct table *memory_table_open(void)
{
    struct table *table = allocate(sizeof(*table));

    memset(table, 0, sizeof(*table));
    table->head = node_open(LEVEL_COUNT_MAX);
    table->level_state = 0x9e3779b97f4a7c15u;
    table->error = ERR_OK;
    return table;
}

void memory_table_close(struct table *table)
{
    if (table == NULL) {
        return;
    }
    table_snapshot_close(table);
    nodes_close(table->head->next[0]);
    node_close(table->head);
    free(table);
}

uint64_t memory_table_commit_count(const struct table *table)
{
    return table->commit_count;
}

void memory_table_set_slow(struct table *table, bool is_slow)
{
    table->is_slow = is_slow;
}

uint64_t memory_table_count(const struct table *table)
{
    return table->count;
}

uint64_t memory_table_call_count(const struct table *table)
{
    return table->call_count;
}

void memory_table_fail_after(struct table *table, uint64_t call_count, enum error error)
{
    ASSERT(error != ERR_OK);
    table->failure_armed = true;
    table->failure_call = table->call_count + call_count + 1;
    table->failure = error;
}

/* Counts the call; false when the table has failed, or fails now. */
static bool call_count(struct table *table)
{
    table->call_count++;
    if (table->failure_armed && table->call_count >= table->failure_call) {
        table->failure_armed = false;
        if (table->error == ERR_OK) {
            table->error = table->failure;
        }
    }
    return table->error == ERR_OK;
}

/* The same for calls that are forbidden while a load is under way. */
static bool call_begin(struct table *table)
{
    ASSERT(!table->is_loading);
    return call_count(table);
}

static void lend(struct table *table, struct node *node)
{
    if (!node->lent) {
        node->lent = true;
        node->lent_next = table->lent;
        table->lent = node;
    }
}

/* Moves every block that was lent out, and spoils the old one. */
static void lent_expire(struct table *table)
{
    while (table->lent != NULL) {
        struct node *node = table->lent;
        size_t size = node->key_size + node->value_size;
        uint8_t *data = allocate(size);

        memcpy(data, node->data, size);
        memset(node->data, STALE_BYTE, size);
        free(node->data);
        node->data = data;
        node->lent = false;
        table->lent = node->lent_next;
    }
}

/* The first node whose key is not below `key`, or NULL; `before` gets its predecessors. */
static struct node *find(const struct table *table, struct bytes key,
                         struct node *before[LEVEL_COUNT_MAX])
{
    struct node *node = table->head;

    for (unsigned level = LEVEL_COUNT_MAX; level-- > 0;) {
        while (node->next[level] != NULL && bytes_compare(node_key(node->next[level]), key) < 0) {
            node = node->next[level];
        }
        before[level] = node;
    }
    return node->next[0];
}

static struct node *find_exact(const struct table *table, struct bytes key,
                               struct node *before[LEVEL_COUNT_MAX])
{
    struct node *node = find(table, key, before);

    return node != NULL && bytes_equal(node_key(node), key) ? node : NULL;
}

/* One level with 3/4, two with 3/16, ...: xorshift64, from a fixed state. */
static unsigned level_count_draw(struct table *table)
{
    unsigned level_count = 1;

    table->level_state ^= table->level_state << 13;
    table->level_state ^= table->level_state >> 7;
    table->level_state ^= table->level_state << 17;
    for (uint64_t bits = table->level_state >> 8; (bits & 3) == 0 && level_count < LEVEL_COUNT_MAX;
         bits >>= 2) {
        level_count++;
    }
    return level_count;
}

static void node_fill(struct node *node, struct bytes key, struct bytes value)
{
    uint8_t *data = allocate(key.size + value.size);

    memcpy(data, key.data, key.size);
    if (value.size != 0) {
        memcpy(data + key.size, value.data, value.size);
    }
    if (node->data != NULL) {
        memset(node->data, STALE_BYTE, node->key_size + node->value_size);
        free(node->data);
    }
    node->data = data;
    node->key_size = key.size;
    node->value_size = value.size;
}

static struct node *node_insert(struct table *table, struct node *before[LEVEL_COUNT_MAX])
{
    struct node *node = node_open(level_count_draw(table));

    ASSERT(node->level_count >= 1);
    for (unsigned level = 0; level < node->level_count; level++) {
        node->next[level] = before[level]->next[level];
        before[level]->next[level] = node;
    }
    table->count++;
    return node;
}

bool table_get(struct table *table, struct bytes key, struct bytes *value)
{
    struct node *before[LEVEL_COUNT_MAX];

    ASSERT_VALUES(key.size >= 1 && key.size <= TABLE_KEY_SIZE_MAX, key.size, TABLE_KEY_SIZE_MAX);
    if (!call_begin(table)) {
        return false;
    }
    struct node *node = find_exact(table, key, before);
    if (node == NULL) {
        return false;
    }
    lend(table, node);
    *value = node_value(node);
    return true;
}

void table_put(struct table *table, struct bytes key, struct bytes value)
{
    struct node *before[LEVEL_COUNT_MAX];

    ASSERT_VALUES(key.size >= 1 && key.size <= TABLE_KEY_SIZE_MAX, key.size, TABLE_KEY_SIZE_MAX);
    ASSERT_VALUES(value.size <= TABLE_VALUE_SIZE_MAX, value.size, TABLE_VALUE_SIZE_MAX);
    if (!call_begin(table)) {
        return;
    }
    struct node *node = find_exact(table, key, before);
    if (node == NULL) {
        node = node_insert(table, before);
    } else {
        table->hash -= checksum_pair(node_key(node), node_value(node), TABLE_HASH_SEED);
    }
    table->hash += checksum_pair(key, value, TABLE_HASH_SEED);
    table->dirty_bytes += key.size + value.size;
    table->dirty_total += key.size + value.size;
    node_fill(node, key, value);
    /* Only now: `key` and `value` may themselves be borrowed from the table. */
    lent_expire(table);
}

bool table_delete(struct table *table, struct bytes key)
{
    struct node *before[LEVEL_COUNT_MAX];

    ASSERT_VALUES(key.size >= 1 && key.size <= TABLE_KEY_SIZE_MAX, key.size, TABLE_KEY_SIZE_MAX);
    if (!call_begin(table)) {
        return false;
    }
    struct node *node = find_exact(table, key, before);
    if (node == NULL) {
        return false;
    }
    for (unsigned level = 0; level < node->level_count; level++) {
        ASSERT(before[level]->next[level] == node);
        before[level]->next[level] = node->next[level];
    }
    table->count--;
    table->hash -= checksum_pair(node_key(node), node_value(node), TABLE_HASH_SEED);
    table->dirty_bytes += node->key_size;
    lent_expire(table);
    node_close(node);
    return true;
}

bool table_seek(struct table *table, struct bytes from, bool inclusive, struct bytes *key,
                struct bytes *value)
{
    struct node *before[LEVEL_COUNT_MAX];

    ASSERT_VALUES(from.size <= TABLE_KEY_SIZE_MAX, from.size, TABLE_KEY_SIZE_MAX);
    if (!call_begin(table)) {
        return false;
    }
    struct node *node = find(table, from, before);
    if (node != NULL && !inclusive && bytes_equal(node_key(node), from)) {
        node = node->next[0];
    }
    if (node == NULL) {
        return false;
    }
    lend(table, node);
    *key = node_key(node);
    *value = node_value(node);
    return true;
}

void table_commit(struct table *table)
{
    if (!call_begin(table)) {
        return;
    }
    lent_expire(table);
    table->dirty_bytes = 0;
    table->commit_count++;
}

bool table_commit_would_wait(const struct table *table)
{
    return table->is_slow;
}

uint64_t table_dirty_bytes(const struct table *table)
{
    return table->dirty_bytes;
}

uint64_t table_hash(const struct table *table)
{
    return table->hash;
}

enum error table_error(const struct table *table)
{
    return table->error;
}

/* --- The read snapshot: copies of all pairs --------------------------------------------------- */

bool table_snapshot_open(struct table *table)
{
    if (table->snapshot != NULL || !call_begin(table) || table->dirty_bytes != 0) {
        return false;
    }
    struct snapshot *snapshot =
        allocate(sizeof(*snapshot) + (size_t)table->count * sizeof(struct node *));

    *snapshot =
        (struct snapshot){.dirty_total = table->dirty_total, .is_pending = table->count % 2 == 0};
    for (const struct node *node = table->head->next[0]; node != NULL; node = node->next[0]) {
        struct node *copy = node_open(1);

        node_fill(copy, node_key(node), node_value(node));
        snapshot->pairs[snapshot->count++] = copy;
    }
    ASSERT_VALUES(snapshot->count == table->count, snapshot->count, table->count);
    table->snapshot = snapshot;
    return true;
}

/* What was lent is spoilt as soon as it may be. */
static void snapshot_expire(struct snapshot *snapshot)
{
    if (snapshot->lent != NULL) {
        memset(snapshot->lent->data, STALE_BYTE,
               snapshot->lent->key_size + snapshot->lent->value_size);
        node_close(snapshot->lent);
        snapshot->lent = NULL;
    }
}

enum table_snapshot_step table_snapshot_next(struct table *table, struct bytes *key,
                                             struct bytes *value)
{
    struct snapshot *snapshot = table->snapshot;

    ASSERT(snapshot != NULL);
    if (!call_begin(table)) {
        return TABLE_SNAPSHOT_FAILED;
    }
    if (snapshot->is_pending) {
        snapshot->is_pending = false;
        return TABLE_SNAPSHOT_WAIT;
    }
    snapshot_expire(snapshot);
    if (snapshot->next == snapshot->count) {
        return TABLE_SNAPSHOT_END;
    }
    snapshot->lent = snapshot->pairs[snapshot->next++];
    *key = node_key(snapshot->lent);
    *value = node_value(snapshot->lent);
    return TABLE_SNAPSHOT_PAIR;
}

uint64_t table_snapshot_pinned_bytes(const struct table *table)
{
    return table->snapshot == NULL ? 0 : table->dirty_total - table->snapshot->dirty_total;
}

void table_snapshot_close(struct table *table)
{
    struct snapshot *snapshot = table->snapshot;

    if (snapshot == NULL) {
        return;
    }
    snapshot_expire(snapshot);
    while (snapshot->next < snapshot->count) {
        node_close(snapshot->pairs[snapshot->next++]);
    }
    free(snapshot);
    table->snapshot = NULL;
}

/* --- Bulk load -------------------------------------------------------------------------------- */

static void clear(struct table *table)
{
    lent_expire(table);
    nodes_close(table->head->next[0]);
    for (unsigned level = 0; level < LEVEL_COUNT_MAX; level++) {
        table->head->next[level] = NULL;
        table->last[level] = table->head;
    }
    table->count = 0;
    table->hash = 0;
    table->dirty_bytes = 0;
}

void table_load_begin(struct table *table)
{
    ASSERT(table->snapshot == NULL);
    if (!call_begin(table)) {
        return;
    }
    clear(table);
    table->is_loading = true;
}

void table_load_put(struct table *table, struct bytes key, struct bytes value)
{
    ASSERT_VALUES(key.size >= 1 && key.size <= TABLE_KEY_SIZE_MAX, key.size, TABLE_KEY_SIZE_MAX);
    ASSERT_VALUES(value.size <= TABLE_VALUE_SIZE_MAX, value.size, TABLE_VALUE_SIZE_MAX);
    if (!call_count(table)) {
        return;
    }
    ASSERT(table->is_loading);
    if (table->last[0] != table->head) {
        ASSERT(bytes_compare(node_key(table->last[0]), key) < 0);
    }
    struct node *node = node_insert(table, table->last);
    for (unsigned level = 0; level < node->level_count; level++) {
        table->last[level] = node;
    }
    node_fill(node, key, value);
    table->hash += checksum_pair(key, value, TABLE_HASH_SEED);
    table->dirty_total += key.size + value.size;
}

void table_load_end(struct table *table, bool keep)
{
    bool is_sound = call_count(table);

    if (table->is_loading && (!keep || !is_sound)) {
        clear(table);
    }
    table->is_loading = false;
}
