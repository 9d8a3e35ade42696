/* server/table_lmdb.c: the ordered table in LMDB; the one file that knows LMDB.
 *
 * Two databases: "state" holds the pairs, "meta" their hash, so that no key of the state machine
 * is reserved. One write transaction is open from the first call after a commit to the next
 * commit; reads go through it and see its writes. */
#define _GNU_SOURCE /* NOLINT(bugprone-reserved-identifier): the C library's own switch. */
#include "server/table_lmdb.h"

#include <errno.h>
#include <limits.h>
#include <lmdb.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/checksum.h"
#include "server/failpoint.h"
#include "server/folder.h"
#include "server/table_marker.h"

enum {
    CHECKSUM_SIZE = 8,
    STORED_SIZE_MAX = TABLE_VALUE_SIZE_MAX + CHECKSUM_SIZE,
    FILE_MODE = 0600,
};

/* Equal tables have equal hashes whatever implements them: tests compare this one's with the
 * in-memory table's. */
static const uint64_t checksum_seed = 0;

static const char hash_key[] = "hash";

struct table {
    MDB_env *environment;
    MDB_txn *transaction; /* NULL between a commit and the next call. */
    MDB_cursor *cursor;   /* Of the transaction, on `state`. */
    MDB_dbi state;
    MDB_dbi meta;
    uint64_t hash;
    uint64_t dirty_bytes;
    enum error error;
    char folder[PATH_MAX];             /* DIR */
    char environment_folder[PATH_MAX]; /* DIR/env */
    /* What is to be stored, copied here first: a caller's bytes may be borrowed from a page that
     * LMDB moves in the very call that stores them. */
    uint8_t key[TABLE_KEY_SIZE_MAX];
    uint8_t stored[STORED_SIZE_MAX];
};

static enum error error_of(int code)
{
    if (code == MDB_SUCCESS) {
        return ERR_OK;
    }
    if (code == MDB_MAP_FULL || code == MDB_TXN_FULL || code == ENOSPC || code == EDQUOT) {
        return ERR_NO_SPACE;
    }
    if (code == MDB_CORRUPTED || code == MDB_PAGE_NOTFOUND || code == MDB_INVALID ||
        code == MDB_VERSION_MISMATCH) {
        return ERR_CORRUPT;
    }
    return ERR_IO;
}

static MDB_val val_of(struct bytes bytes)
{
    /* LMDB never writes through a key or a value that it is given. */
    return (MDB_val){.mv_size = bytes.size, .mv_data = (void *)(uintptr_t)bytes.data};
}

static struct bytes bytes_of_val(MDB_val val)
{
    return bytes_of(val.mv_data, val.mv_size);
}

/* --- Transactions ----------------------------------------------------------------------------- */

/* Remembers the first failure and gives the transaction up. */
static void fail(struct table *table, enum error error)
{
    ASSERT(error != ERR_OK);
    if (table->error == ERR_OK) {
        table->error = error;
    }
    if (table->transaction != NULL) {
        mdb_cursor_close(table->cursor);
        mdb_txn_abort(table->transaction);
        table->cursor = NULL;
        table->transaction = NULL;
    }
}

/* False when the table has failed; otherwise a transaction is open. */
static bool transaction_begin(struct table *table)
{
    if (table->error != ERR_OK) {
        return false;
    }
    if (table->transaction != NULL) {
        return true;
    }
    int code = mdb_txn_begin(table->environment, NULL, 0, &table->transaction);
    if (code != MDB_SUCCESS) {
        table->transaction = NULL;
        fail(table, error_of(code));
        return false;
    }
    code = mdb_cursor_open(table->transaction, table->state, &table->cursor);
    if (code != MDB_SUCCESS) {
        mdb_txn_abort(table->transaction);
        table->transaction = NULL;
        fail(table, error_of(code));
        return false;
    }
    return true;
}

static enum error transaction_end(struct table *table)
{
    uint8_t hash[sizeof(uint64_t)];
    MDB_val key = val_of(bytes_of_text(hash_key));
    MDB_val value = val_of(bytes_of(hash, sizeof(hash)));

    store_u64(hash, table->hash);
    int code = mdb_put(table->transaction, table->meta, &key, &value, 0);
    if (code != MDB_SUCCESS) {
        return error_of(code);
    }
    mdb_cursor_close(table->cursor);
    code = mdb_txn_commit(table->transaction);
    /* Committed or not, LMDB has freed it. */
    table->cursor = NULL;
    table->transaction = NULL;
    return error_of(code);
}

void table_commit(struct table *table)
{
    if (table->error != ERR_OK || table->dirty_bytes == 0) {
        return;
    }
    ASSERT(table->transaction != NULL);
    enum error error = transaction_end(table);
    if (error != ERR_OK) {
        fail(table, error);
        return;
    }
    table->dirty_bytes = 0;
}

/* --- Reading ---------------------------------------------------------------------------------- */

/* Takes the checksum off a stored value; false, and the table has failed, when it does not match.
 */
static bool value_is_sound(struct table *table, struct bytes key, struct bytes stored,
                           struct bytes *value)
{
    if (stored.size < CHECKSUM_SIZE) {
        fail(table, ERR_CORRUPT);
        return false;
    }
    *value = bytes_of(stored.data, stored.size - CHECKSUM_SIZE);
    if (load_u64(stored.data + value->size) != checksum_pair(key, *value, checksum_seed)) {
        fail(table, ERR_CORRUPT);
        return false;
    }
    return true;
}

static void key_check(struct bytes key)
{
    ASSERT_VALUES(key.size >= 1 && key.size <= TABLE_KEY_SIZE_MAX, key.size, TABLE_KEY_SIZE_MAX);
}

bool table_get(struct table *table, struct bytes key, struct bytes *value)
{
    MDB_val lookup = val_of(key);
    MDB_val stored;

    key_check(key);
    if (!transaction_begin(table)) {
        return false;
    }
    int code = mdb_get(table->transaction, table->state, &lookup, &stored);
    if (code == MDB_NOTFOUND) {
        return false;
    }
    if (code != MDB_SUCCESS) {
        fail(table, error_of(code));
        return false;
    }
    return value_is_sound(table, key, bytes_of_val(stored), value);
}

bool table_seek(struct table *table, struct bytes from, bool inclusive, struct bytes *key,
                struct bytes *value)
{
    MDB_val found = val_of(from);
    MDB_val stored;

    ASSERT_VALUES(from.size <= TABLE_KEY_SIZE_MAX, from.size, TABLE_KEY_SIZE_MAX);
    if (!transaction_begin(table)) {
        return false;
    }
    /* LMDB knows no empty keys: everything is behind one. */
    int code =
        mdb_cursor_get(table->cursor, &found, &stored, from.size == 0 ? MDB_FIRST : MDB_SET_RANGE);
    if (code == MDB_SUCCESS && !inclusive && bytes_equal(bytes_of_val(found), from)) {
        code = mdb_cursor_get(table->cursor, &found, &stored, MDB_NEXT);
    }
    if (code == MDB_NOTFOUND) {
        return false;
    }
    if (code != MDB_SUCCESS) {
        fail(table, error_of(code));
        return false;
    }
    *key = bytes_of_val(found);
    return value_is_sound(table, *key, bytes_of_val(stored), value);
}

/* --- Writing ---------------------------------------------------------------------------------- */

/* The checksum of the value at the cursor, for the hash; it must be sound to be taken out of it. */
static bool checksum_take(struct table *table, struct bytes key, MDB_val stored, uint64_t *sum)
{
    struct bytes value;

    if (!value_is_sound(table, key, bytes_of_val(stored), &value)) {
        return false;
    }
    *sum = load_u64(value.data + value.size);
    return true;
}

void table_put(struct table *table, struct bytes key, struct bytes value)
{
    uint64_t sum_old = 0;

    key_check(key);
    ASSERT_VALUES(value.size <= TABLE_VALUE_SIZE_MAX, value.size, TABLE_VALUE_SIZE_MAX);
    if (!transaction_begin(table)) {
        return;
    }
    uint64_t sum = checksum_pair(key, value, checksum_seed);
    memcpy(table->key, key.data, key.size);
    if (value.size != 0) {
        memcpy(table->stored, value.data, value.size);
    }
    store_u64(table->stored + value.size, sum);
    MDB_val lookup = val_of(bytes_of(table->key, key.size));
    MDB_val stored = val_of(bytes_of(table->stored, value.size + CHECKSUM_SIZE));
    MDB_val old = stored;
    /* One descent: a new key is stored; an old one is found, and then replaced where it is. */
    int code = mdb_cursor_put(table->cursor, &lookup, &old, MDB_NOOVERWRITE);
    if (code == MDB_KEYEXIST) {
        if (!checksum_take(table, bytes_of(table->key, key.size), old, &sum_old)) {
            return;
        }
        code = mdb_cursor_put(table->cursor, &lookup, &stored, MDB_CURRENT);
    }
    if (code != MDB_SUCCESS) {
        fail(table, error_of(code));
        return;
    }
    table->hash += sum - sum_old;
    table->dirty_bytes += key.size + value.size;
}

bool table_delete(struct table *table, struct bytes key)
{
    MDB_val lookup = val_of(key);
    MDB_val stored;
    uint64_t sum;

    key_check(key);
    if (!transaction_begin(table)) {
        return false;
    }
    int code = mdb_cursor_get(table->cursor, &lookup, &stored, MDB_SET_KEY);
    if (code == MDB_NOTFOUND) {
        return false;
    }
    if (code == MDB_SUCCESS) {
        if (!checksum_take(table, key, stored, &sum)) {
            return false;
        }
        code = mdb_cursor_del(table->cursor, 0);
    }
    if (code != MDB_SUCCESS) {
        fail(table, error_of(code));
        return false;
    }
    table->hash -= sum;
    table->dirty_bytes += key.size;
    return true;
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

/* --- Opening and closing ---------------------------------------------------------------------- */

/* Without a marker of the present identity, everything is removed. */
static enum error environment_claim(const char *folder, const char *environment, bool *was_clean)
{
    enum error error = table_marker_take(folder, was_clean);

    if (error != ERR_OK || *was_clean) {
        return error;
    }
    error = folder_remove_files(environment, "");
    return error == ERR_OK ? folder_sync(environment) : error;
}

/* Opens both databases and reads the hash. */
static int databases_open(struct table *table)
{
    MDB_txn *transaction;
    MDB_val key = val_of(bytes_of_text(hash_key));
    MDB_val value;

    int code = mdb_txn_begin(table->environment, NULL, 0, &transaction);
    if (code != MDB_SUCCESS) {
        return code;
    }
    code = mdb_dbi_open(transaction, "state", MDB_CREATE, &table->state);
    if (code == MDB_SUCCESS) {
        code = mdb_dbi_open(transaction, "meta", MDB_CREATE, &table->meta);
    }
    if (code == MDB_SUCCESS) {
        code = mdb_get(transaction, table->meta, &key, &value);
        table->hash =
            code == MDB_SUCCESS && value.mv_size == sizeof(uint64_t) ? load_u64(value.mv_data) : 0;
        code = code == MDB_NOTFOUND ? MDB_SUCCESS : code;
    }
    if (code != MDB_SUCCESS) {
        mdb_txn_abort(transaction);
        return code;
    }
    return mdb_txn_commit(transaction);
}

static enum error environment_open(struct table *table, uint64_t map_size)
{
    int code = mdb_env_create(&table->environment);

    if (code != MDB_SUCCESS) {
        return error_of(code);
    }
    code = mdb_env_set_mapsize(table->environment, map_size);
    if (code == MDB_SUCCESS) {
        code = mdb_env_set_maxdbs(table->environment, 2);
    }
    if (code == MDB_SUCCESS) {
        /* Not synced: what a crash leaves is thrown away. Never MDB_WRITEMAP: a stray write of
         * ours would go straight into the state. */
        code = mdb_env_open(table->environment, table->environment_folder,
                            MDB_NOSYNC | MDB_NOTLS | MDB_NORDAHEAD, FILE_MODE);
    }
    if (code == MDB_SUCCESS) {
        code = databases_open(table);
    }
    if (code != MDB_SUCCESS) {
        mdb_env_close(table->environment);
        errno = code > 0 ? code : 0;
        return error_of(code);
    }
    return ERR_OK;
}

enum error table_lmdb_open(struct table **opened, const char *folder, uint64_t map_size,
                           bool *was_clean)
{
    struct table *table = calloc(1, sizeof(*table));
    enum error error;

    if (table == NULL) {
        errno = ENOMEM;
        return ERR_IO;
    }
    if (!folder_join(table->folder, sizeof(table->folder), folder, ".") ||
        !folder_join(table->environment_folder, sizeof(table->environment_folder), folder, "env")) {
        errno = ENAMETOOLONG;
        error = ERR_IO;
        goto undo_table;
    }
    error = folder_make(table->environment_folder);
    if (error == ERR_OK) {
        error = environment_claim(folder, table->environment_folder, was_clean);
    }
    if (error == ERR_OK) {
        error = environment_open(table, map_size);
    }
    if (error == ERR_CORRUPT) {
        /* It was closed cleanly and has rotted since: as disposable as any other. */
        *was_clean = false;
        error = folder_remove_files(table->environment_folder, "");
        if (error == ERR_OK) {
            error = environment_open(table, map_size);
        }
    }
    if (error != ERR_OK) {
        goto undo_table;
    }
    *opened = table;
    return ERR_OK;

undo_table:
    free(table);
    return error;
}

void table_lmdb_close(struct table *table)
{
    if (table == NULL) {
        return;
    }
    if (table->transaction != NULL) {
        mdb_cursor_close(table->cursor);
        mdb_txn_abort(table->transaction);
    }
    mdb_env_close(table->environment);
    free(table);
}

enum error table_lmdb_close_clean(struct table *table)
{
    table_commit(table);
    enum error error = table->error;
    if (error == ERR_OK) {
        error = error_of(FAILPOINT("env", "sync", mdb_env_sync(table->environment, 1)));
    }
    if (error == ERR_OK) {
        /* The names of LMDB's files, before the marker that vouches for them. */
        error = folder_sync(table->environment_folder);
    }
    if (error == ERR_OK) {
        error = table_marker_leave(table->folder);
    }
    table_lmdb_close(table);
    return error;
}
