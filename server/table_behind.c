/* server/table_behind.c: two memtables in front of LMDB.
 *
 *      active    takes every change
 *      frozen    is being written, or NULL; its keys that are active too are hidden
 *      LMDB      as it was when the last writing ended
 *
 * A key is looked up from top to bottom, and its first entry counts, tombstones included. The
 * frozen memtable is dropped, and LMDB's reader refreshed, only at the end of a call that changes
 * the table or commits: what reads have lent lies in them. */
#define _GNU_SOURCE /* NOLINT(bugprone-reserved-identifier): the C library's own switch. */
#include "server/table_behind.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/arena.h"
#include "base/assert.h"
#include "base/bytes.h"
#include "server/memtable.h"
#include "server/seek_memo.h"
#include "server/table_committer.h"
#include "server/table_lmdb.h"

/* What the layers below the active memtable have of a key. */
struct below {
    struct memtable_entry *frozen; /* NULL: no entry. */
    bool is_there;
    struct bytes value;
    uint64_t sum;
};

/* The layers' answer to the last question by a key. Who writes a pair has mostly just read it.
 * Known until the table changes. */
struct lookup {
    bool is_known;
    uint16_t key_size;
    uint8_t key[TABLE_KEY_SIZE_MAX];
    uint64_t hash;
    struct memtable_entry *active; /* NULL: no entry; then */
    struct below below;
};

struct table {
    struct table_lmdb *lmdb;
    struct table_committer *committer;
    struct memtable *active;
    struct memtable *frozen; /* NULL: nothing is being written. */
    struct memtable *spare;  /* NULL: it is the frozen one. */
    uint64_t hash;
    enum error error;
    struct seek_memos memos;
    struct lookup lookup;
    bool snapshot_is_open;
    bool is_loading;
    void *memory; /* Of both memtables. */
    size_t memory_size;
};

static void fail(struct table *table, enum error error)
{
    ASSERT(error != ERR_OK);
    if (table->error == ERR_OK) {
        table->error = error;
    }
}

/* --- From memory to LMDB ---------------------------------------------------------------------- */

/* A snapshot is of what was frozen before it was opened: it begins as soon as LMDB has that, and
 * before LMDB is given more. False when the table has failed. */
static bool snapshot_begin(struct table *table)
{
    if (table->snapshot_is_open && !table_lmdb_walk_is_open(table->lmdb)) {
        enum error error = table_lmdb_walk_open(table->lmdb);

        if (error != ERR_OK) {
            fail(table, error);
            return false;
        }
    }
    return true;
}

/* The frozen memtable is in LMDB now, or the table has failed. */
static void thaw(struct table *table)
{
    ASSERT(table->frozen != NULL);
    enum error error = table_committer_error(table->committer);

    if (error == ERR_OK) {
        error = table_lmdb_refresh(table->lmdb);
    }
    if (error != ERR_OK) {
        fail(table, error);
    } else {
        (void)snapshot_begin(table);
    }
    seek_memos_forget(&table->memos);
    memtable_clear(table->frozen);
    table->spare = table->frozen;
    table->frozen = NULL;
}

/* Hands the active memtable over, if need be after waiting for the one before. */
static void freeze(struct table *table)
{
    table->lookup.is_known = false;
    table_committer_wait(table->committer);
    if (table->frozen != NULL) {
        thaw(table);
    }
    if (table->error != ERR_OK) {
        return;
    }
    table->frozen = table->active;
    table->active = table->spare;
    table->spare = NULL;
    ASSERT(memtable_size(table->active) == 0);
    table_committer_start(table->committer, table->frozen, table->hash);
}

/* At the end of each change: what was lent before it is not valid any more. */
static void settle(struct table *table)
{
    table->lookup.is_known = false;
    if (table->frozen != NULL && table_committer_is_idle(table->committer)) {
        thaw(table);
    }
    if (memtable_is_full(table->active)) {
        freeze(table);
    }
}

void table_commit(struct table *table)
{
    if (table_error(table) == ERR_OK && memtable_size(table->active) != 0) {
        freeze(table);
    }
}

bool table_commit_would_wait(const struct table *table)
{
    return !table_committer_is_idle(table->committer);
}

/* --- Reading ---------------------------------------------------------------------------------- */

static struct bytes lend(const struct memtable_entry *entry)
{
    return memtable_entry_value(entry);
}

/* False when the table has failed. */
static bool look_below(struct table *table, const struct memtable_key *key, struct below *below)
{
    *below = (struct below){0};
    if (table->frozen != NULL) {
        below->frozen = memtable_find(table->frozen, key);
    }
    if (below->frozen != NULL) {
        below->is_there = below->frozen->is_live;
        below->value = lend(below->frozen);
        below->sum = below->is_there ? below->frozen->sum : 0;
        return true;
    }
    enum error error = table_lmdb_get(table->lmdb, key->bytes, &below->value, &below->sum);
    below->is_there = error == ERR_OK;
    if (error != ERR_OK && error != ERR_NOT_FOUND) {
        fail(table, error);
        return false;
    }
    return true;
}

static struct memtable_key looked_up_key(const struct lookup *lookup)
{
    return (struct memtable_key){bytes_of(lookup->key, lookup->key_size), lookup->hash};
}

/* NULL when the table has failed. */
static const struct lookup *look_up(struct table *table, struct bytes key)
{
    struct lookup *lookup = &table->lookup;

    if (table_error(table) != ERR_OK) {
        return NULL;
    }
    if (lookup->is_known && bytes_equal(looked_up_key(lookup).bytes, key)) {
        return lookup;
    }
    const struct memtable_key hashed = memtable_key_of(key);

    lookup->is_known = false;
    lookup->hash = hashed.hash;
    lookup->active = memtable_find(table->active, &hashed);
    if (lookup->active == NULL && !look_below(table, &hashed, &lookup->below)) {
        return NULL;
    }
    memcpy(lookup->key, key.data, key.size);
    lookup->key_size = (uint16_t)key.size;
    lookup->is_known = true;
    return lookup;
}

bool table_get(struct table *table, struct bytes key, struct bytes *value)
{
    const struct lookup *lookup = look_up(table, key);

    if (lookup == NULL) {
        return false;
    }
    if (lookup->active != NULL) {
        *value = lend(lookup->active);
        return lookup->active->is_live;
    }
    *value = lookup->below.value;
    return lookup->below.is_there;
}

static bool is_in_memory(const struct table *table, struct bytes key)
{
    struct memtable_key lookup = memtable_key_of(key);

    return memtable_find(table->active, &lookup) != NULL ||
           (table->frozen != NULL && memtable_find(table->frozen, &lookup) != NULL);
}

/* The first pair of LMDB that no memtable has, as the memo of the seek; NULL when the table has
 * failed. */
static const struct seek_memo *seek_lmdb(struct table *table, struct bytes from, bool inclusive)
{
    struct seek_memo *memo = seek_memos_find(&table->memos, from, inclusive);
    struct bytes key = memo->is_known ? memo->key : from;

    while (!memo->is_known || (!memo->is_end && is_in_memory(table, memo->key))) {
        enum error error = table_lmdb_seek(table->lmdb, key, !memo->is_known && inclusive,
                                           &memo->key, &memo->stored);

        if (error != ERR_OK && error != ERR_NOT_FOUND) {
            memo->is_known = false;
            fail(table, error);
            return NULL;
        }
        memo->is_known = true;
        memo->is_end = error == ERR_NOT_FOUND;
        key = memo->key;
    }
    return memo;
}

static const struct memtable_entry *lesser(const struct memtable_entry *a,
                                           const struct memtable_entry *b)
{
    if (a == NULL || b == NULL) {
        return a == NULL ? b : a;
    }
    return bytes_compare(memtable_entry_key(a), memtable_entry_key(b)) < 0 ? a : b;
}

bool table_seek(struct table *table, struct bytes from, bool inclusive, struct bytes *key,
                struct bytes *value)
{
    uint64_t sum;

    ASSERT_VALUES(from.size <= TABLE_KEY_SIZE_MAX, from.size, TABLE_KEY_SIZE_MAX);
    if (table_error(table) != ERR_OK) {
        return false;
    }
    const struct seek_memo *memo = seek_lmdb(table, from, inclusive);
    if (memo == NULL) {
        return false;
    }
    const struct memtable_entry *entry = memtable_seek(table->active, from, inclusive);
    if (table->frozen != NULL) {
        entry = lesser(entry, memtable_seek(table->frozen, from, inclusive));
    }
    if (entry != NULL &&
        (memo->is_end || bytes_compare(memtable_entry_key(entry), memo->key) < 0)) {
        *key = memtable_entry_key(entry);
        *value = lend(entry);
        return true;
    }
    if (memo->is_end) {
        return false;
    }
    *key = memo->key;
    enum error error = table_lmdb_value(memo->key, memo->stored, value, &sum);
    if (error != ERR_OK) {
        fail(table, error);
    }
    return error == ERR_OK;
}

/* --- Writing ---------------------------------------------------------------------------------- */

/* A tombstone in the active memtable for a key that it does not have. */
static struct memtable_entry *add(struct table *table, const struct lookup *lookup)
{
    const struct memtable_key key = looked_up_key(lookup);

    if (lookup->below.frozen != NULL) {
        memtable_hide(table->frozen, lookup->below.frozen);
    }
    return memtable_add(table->active, &key, lookup->below.is_there);
}

void table_put(struct table *table, struct bytes key, struct bytes value)
{
    uint64_t sum_old;

    ASSERT_VALUES(value.size <= TABLE_VALUE_SIZE_MAX, value.size, TABLE_VALUE_SIZE_MAX);
    const struct lookup *lookup = look_up(table, key);
    if (lookup == NULL) {
        return;
    }
    struct memtable_entry *entry = lookup->active;
    if (entry != NULL) {
        sum_old = entry->is_live ? entry->sum : 0;
    } else {
        entry = add(table, lookup);
        sum_old = lookup->below.sum;
    }
    uint64_t sum = table_lmdb_sum(key, value);
    memtable_store(table->active, entry, value, sum);
    table->hash += sum - sum_old;
    settle(table);
}

bool table_delete(struct table *table, struct bytes key)
{
    const struct lookup *lookup = look_up(table, key);

    if (lookup == NULL) {
        return false;
    }
    struct memtable_entry *entry = lookup->active;
    if (entry != NULL) {
        if (!entry->is_live) {
            return false;
        }
        memtable_erase(table->active, entry);
        table->hash -= entry->sum;
    } else {
        if (!lookup->below.is_there) {
            return false;
        }
        (void)add(table, lookup);
        table->hash -= lookup->below.sum;
    }
    settle(table);
    return true;
}

uint64_t table_dirty_bytes(const struct table *table)
{
    return memtable_size(table->active);
}

uint64_t table_hash(const struct table *table)
{
    return table->hash;
}

enum error table_error(const struct table *table)
{
    if (table->error == ERR_OK && table->frozen != NULL &&
        table_committer_is_idle(table->committer)) {
        return table_committer_error(table->committer);
    }
    return table->error;
}

/* --- The read snapshot ------------------------------------------------------------------------ */

bool table_snapshot_open(struct table *table)
{
    ASSERT(!table->is_loading);
    if (table->snapshot_is_open || table_error(table) != ERR_OK || table_dirty_bytes(table) != 0) {
        return false;
    }
    table->snapshot_is_open = true;
    return table->frozen != NULL || snapshot_begin(table);
}

enum table_snapshot_step table_snapshot_next(struct table *table, struct bytes *key,
                                             struct bytes *value)
{
    ASSERT(table->snapshot_is_open);
    if (table_error(table) != ERR_OK) {
        return TABLE_SNAPSHOT_FAILED;
    }
    if (!table_lmdb_walk_is_open(table->lmdb)) {
        if (!table_committer_is_idle(table->committer)) {
            return TABLE_SNAPSHOT_WAIT;
        }
        if (!snapshot_begin(table)) {
            return TABLE_SNAPSHOT_FAILED;
        }
    }
    enum error error = table_lmdb_walk_next(table->lmdb, key, value);
    if (error == ERR_NOT_FOUND) {
        return TABLE_SNAPSHOT_END;
    }
    if (error != ERR_OK) {
        fail(table, error);
        return TABLE_SNAPSHOT_FAILED;
    }
    return TABLE_SNAPSHOT_PAIR;
}

uint64_t table_snapshot_pinned_bytes(const struct table *table)
{
    return table_lmdb_walk_growth(table->lmdb);
}

void table_snapshot_close(struct table *table)
{
    table->snapshot_is_open = false;
    table_lmdb_walk_close(table->lmdb);
}

/* --- Bulk load: past the memtables, which stay empty -------------------------------------------
 */

/* Everything goes, once nothing is being written any more; that also holds for the files of a load
 * that is given up while those from before it are still being removed. */
static void discard(struct table *table)
{
    table_committer_wait(table->committer);
    if (table->frozen != NULL) {
        thaw(table);
    }
    seek_memos_forget(&table->memos);
    table->lookup.is_known = false;
    memtable_clear(table->active);
    table->hash = 0;
    if (table->error == ERR_OK) {
        enum error error = table_lmdb_load_begin(table->lmdb);

        if (error != ERR_OK) {
            fail(table, error);
        }
        table_committer_dispose(table->committer);
    }
}

void table_load_begin(struct table *table)
{
    ASSERT(!table->is_loading && !table->snapshot_is_open);
    table->is_loading = true;
    discard(table);
}

void table_load_put(struct table *table, struct bytes key, struct bytes value)
{
    ASSERT(table->is_loading);
    ASSERT_VALUES(key.size >= 1 && key.size <= TABLE_KEY_SIZE_MAX, key.size, TABLE_KEY_SIZE_MAX);
    ASSERT_VALUES(value.size <= TABLE_VALUE_SIZE_MAX, value.size, TABLE_VALUE_SIZE_MAX);
    if (table->error != ERR_OK) {
        return;
    }
    uint64_t sum = table_lmdb_sum(key, value);
    enum error error = table_lmdb_load_put(table->lmdb, key, value, sum);
    if (error != ERR_OK) {
        fail(table, error);
        return;
    }
    table->hash += sum;
}

void table_load_end(struct table *table, bool keep)
{
    ASSERT(table->is_loading);
    table->is_loading = false;
    if (!keep) {
        table_lmdb_load_abort(table->lmdb);
        discard(table);
    }
    if (table->error == ERR_OK) {
        enum error error = table_lmdb_load_end(table->lmdb, table->hash);

        if (error != ERR_OK) {
            fail(table, error);
        }
    }
}

/* --- Opening and closing ---------------------------------------------------------------------- */

size_t table_behind_memory_max(size_t memtable_size)
{
    return sizeof(struct table) + 2 * memtable_memory_size(memtable_size) + TABLE_LMDB_MEMORY_MAX;
}

/* Pages that are never touched cost nothing. */
static enum error memtables_open(struct table *table, size_t size)
{
    struct arena arena;

    table->memory_size = 2 * memtable_memory_size(size);
    table->memory = mmap(NULL, table->memory_size, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (table->memory == MAP_FAILED) {
        return ERR_IO;
    }
    arena_init(&arena, table->memory, table->memory_size);
    table->active = memtable_open(&arena, size);
    table->spare = memtable_open(&arena, size);
    return ERR_OK;
}

enum error table_behind_open(struct table **opened, const char *folder, uint64_t map_size,
                             size_t memtable_size, bool *was_clean)
{
    struct table *table = calloc(1, sizeof(*table));
    enum error error;

    if (table == NULL) {
        errno = ENOMEM;
        return ERR_IO;
    }
    table->error = ERR_OK;
    error = memtables_open(table, memtable_size);
    if (error != ERR_OK) {
        goto undo_table;
    }
    error = table_lmdb_open(&table->lmdb, folder, map_size, was_clean);
    if (error != ERR_OK) {
        goto undo_memtables;
    }
    error = table_committer_open(&table->committer, table->lmdb, memtable_count_max(table->active));
    if (error != ERR_OK) {
        goto undo_lmdb;
    }
    table->hash = table_lmdb_hash(table->lmdb);
    *opened = table;
    return ERR_OK;

undo_lmdb:
    table_lmdb_close(table->lmdb);
undo_memtables:
    (void)munmap(table->memory, table->memory_size);
undo_table:
    free(table);
    return error;
}

/* All but LMDB. */
static void close_front(struct table *table)
{
    table_committer_close(table->committer);
    (void)munmap(table->memory, table->memory_size);
    free(table);
}

void table_behind_close(struct table *table)
{
    if (table == NULL) {
        return;
    }
    struct table_lmdb *lmdb = table->lmdb;

    close_front(table);
    table_lmdb_close(lmdb);
}

enum error table_behind_close_clean(struct table *table)
{
    struct table_lmdb *lmdb = table->lmdb;

    ASSERT(!table->is_loading);
    table_commit(table);
    table_committer_wait(table->committer);
    enum error error = table_error(table);
    close_front(table);
    if (error != ERR_OK) {
        table_lmdb_close(lmdb);
        return error;
    }
    return table_lmdb_close_clean(lmdb);
}
