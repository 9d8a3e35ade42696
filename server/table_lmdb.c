/* server/table_lmdb.c: one read transaction and one write transaction at a time; the one file that
 * knows LMDB.
 *
 * Two databases: "state" holds the pairs, "meta" their hash, so that no key of the state machine
 * is reserved. The reader is refreshed before the next write begins, so it never keeps pages from
 * being used again that the write could have used. */
#define _GNU_SOURCE /* NOLINT(bugprone-reserved-identifier): the C library's own switch. */
#include "server/table_lmdb.h"

#include <errno.h>
#include <limits.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/checksum.h"
#include "base/table.h"
#include "server/failpoint.h"
#include "server/folder.h"
#include "server/table_marker.h"

enum {
    CHECKSUM_SIZE = 8,
    FILE_MODE = 0600,
    LOAD_SIZE = 1 << 20, /* Of one transaction of a bulk load, so that each ends quickly. */
};

static const char hash_key[] = "hash";
static const char old_suffix[] = ".old";

struct table_lmdb {
    uint64_t hash;        /* As it was at opening. */
    MDB_env *environment; /* NULL after a load_begin() that failed. */
    MDB_env *old;         /* NULL, or what table_lmdb_dispose() closes. */
    MDB_dbi state;
    MDB_dbi meta;
    MDB_txn *reader;
    MDB_cursor *cursor; /* Of the reader, on `state`. */
    MDB_txn *walk;      /* NULL: no walk is open. */
    MDB_cursor *walk_cursor;
    size_t walk_page_count; /* In use when it began. */
    MDB_txn *load;          /* NULL: nothing is put at the moment. */
    MDB_cursor *load_cursor;
    size_t load_size; /* Put in this transaction. */
    uint64_t map_size;
    char folder[PATH_MAX];             /* DIR */
    char environment_folder[PATH_MAX]; /* DIR/env */
};

static enum error error_of(int code)
{
    if (code == MDB_SUCCESS) {
        return ERR_OK;
    }
    if (code == MDB_NOTFOUND) {
        return ERR_NOT_FOUND;
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

/* --- Reading ---------------------------------------------------------------------------------- */

uint64_t table_lmdb_sum(struct bytes key, struct bytes value)
{
    return checksum_pair(key, value, TABLE_HASH_SEED);
}

enum error table_lmdb_value(struct bytes key, struct bytes stored, struct bytes *value,
                            uint64_t *sum)
{
    if (stored.size < CHECKSUM_SIZE) {
        return ERR_CORRUPT;
    }
    *value = bytes_of(stored.data, stored.size - CHECKSUM_SIZE);
    *sum = load_u64(stored.data + value->size);
    return *sum == table_lmdb_sum(key, *value) ? ERR_OK : ERR_CORRUPT;
}

uint64_t table_lmdb_hash(const struct table_lmdb *lmdb)
{
    return lmdb->hash;
}

enum error table_lmdb_get(struct table_lmdb *lmdb, struct bytes key, struct bytes *value,
                          uint64_t *sum)
{
    MDB_val lookup = val_of(key);
    MDB_val stored;
    int code = mdb_get(lmdb->reader, lmdb->state, &lookup, &stored);

    if (code != MDB_SUCCESS) {
        return error_of(code);
    }
    return table_lmdb_value(key, bytes_of_val(stored), value, sum);
}

enum error table_lmdb_seek(struct table_lmdb *lmdb, struct bytes from, bool inclusive,
                           struct bytes *key, struct bytes *stored)
{
    MDB_val found = val_of(from);
    MDB_val value;
    /* LMDB knows no empty keys: everything is behind one. */
    int code =
        mdb_cursor_get(lmdb->cursor, &found, &value, from.size == 0 ? MDB_FIRST : MDB_SET_RANGE);

    if (code == MDB_SUCCESS && !inclusive && bytes_equal(bytes_of_val(found), from)) {
        code = mdb_cursor_get(lmdb->cursor, &found, &value, MDB_NEXT);
    }
    if (code == MDB_SUCCESS) {
        *key = bytes_of_val(found);
        *stored = bytes_of_val(value);
    }
    return error_of(code);
}

enum error table_lmdb_refresh(struct table_lmdb *lmdb)
{
    mdb_txn_reset(lmdb->reader);
    int code = mdb_txn_renew(lmdb->reader);

    if (code == MDB_SUCCESS) {
        code = mdb_cursor_renew(lmdb->reader, lmdb->cursor);
    }
    return error_of(code);
}

/* --- Writing ---------------------------------------------------------------------------------- */

/* The cursor stays where it was, so that neighbours cost no descent. */
static int entry_write(MDB_cursor *cursor, const struct memtable_entry *entry)
{
    MDB_val key = val_of(memtable_entry_key(entry));
    MDB_val stored = {.mv_size = (size_t)entry->value_size + CHECKSUM_SIZE};
    int code;

    if (!entry->is_live) {
        code = mdb_cursor_get(cursor, &key, &stored, MDB_SET);
        /* Whoever made the tombstone has seen the pair. */
        ASSERT_VALUES(code != MDB_NOTFOUND, entry->key_size, entry->sum);
        return code == MDB_SUCCESS ? mdb_cursor_del(cursor, 0) : code;
    }
    code = mdb_cursor_put(cursor, &key, &stored, MDB_RESERVE);
    if (code == MDB_SUCCESS) {
        uint8_t *data = stored.mv_data;

        if (entry->value_size != 0) {
            memcpy(data, entry->value, entry->value_size);
        }
        store_u64(data + entry->value_size, entry->sum);
    }
    return code;
}

static int entries_write(struct table_lmdb *lmdb, MDB_txn *transaction,
                         const struct memtable_entry *const *entries, uint32_t count)
{
    MDB_cursor *cursor;
    int code = mdb_cursor_open(transaction, lmdb->state, &cursor);

    if (code != MDB_SUCCESS) {
        return code;
    }
    for (uint32_t i = 0; i < count && code == MDB_SUCCESS; i++) {
        code = entry_write(cursor, entries[i]);
    }
    mdb_cursor_close(cursor);
    return code;
}

enum error table_lmdb_write(struct table_lmdb *lmdb, const struct memtable_entry *const *entries,
                            uint32_t count, uint64_t hash)
{
    uint8_t bytes[sizeof(hash)];
    MDB_val key = val_of(bytes_of_text(hash_key));
    MDB_val value = val_of(bytes_of(bytes, sizeof(bytes)));
    MDB_txn *transaction;
    int code = mdb_txn_begin(lmdb->environment, NULL, 0, &transaction);

    if (code != MDB_SUCCESS) {
        return error_of(code);
    }
    store_u64(bytes, hash);
    code = entries_write(lmdb, transaction, entries, count);
    if (code == MDB_SUCCESS) {
        code = mdb_put(transaction, lmdb->meta, &key, &value, 0);
    }
    if (code != MDB_SUCCESS) {
        mdb_txn_abort(transaction);
        return error_of(code);
    }
    return error_of(mdb_txn_commit(transaction));
}

/* --- Walking ---------------------------------------------------------------------------------- */

static size_t page_count(const struct table_lmdb *lmdb)
{
    MDB_envinfo info;

    (void)mdb_env_info(lmdb->environment, &info); /* Fails without an environment only. */
    return info.me_last_pgno + 1;
}

bool table_lmdb_walk_is_open(const struct table_lmdb *lmdb)
{
    return lmdb->walk != NULL;
}

enum error table_lmdb_walk_open(struct table_lmdb *lmdb)
{
    ASSERT(lmdb->walk == NULL);
    int code = mdb_txn_begin(lmdb->environment, NULL, MDB_RDONLY, &lmdb->walk);

    if (code != MDB_SUCCESS) {
        lmdb->walk = NULL;
        return error_of(code);
    }
    code = mdb_cursor_open(lmdb->walk, lmdb->state, &lmdb->walk_cursor);
    if (code != MDB_SUCCESS) {
        mdb_txn_abort(lmdb->walk);
        lmdb->walk = NULL;
        return error_of(code);
    }
    lmdb->walk_page_count = page_count(lmdb);
    return ERR_OK;
}

enum error table_lmdb_walk_next(struct table_lmdb *lmdb, struct bytes *key, struct bytes *value)
{
    MDB_val found;
    MDB_val stored;
    uint64_t sum;

    ASSERT(lmdb->walk != NULL);
    int code = mdb_cursor_get(lmdb->walk_cursor, &found, &stored, MDB_NEXT);
    if (code != MDB_SUCCESS) {
        return error_of(code);
    }
    *key = bytes_of_val(found);
    return table_lmdb_value(*key, bytes_of_val(stored), value, &sum);
}

uint64_t table_lmdb_walk_growth(const struct table_lmdb *lmdb)
{
    MDB_stat status;

    if (lmdb->walk == NULL || mdb_env_stat(lmdb->environment, &status) != MDB_SUCCESS) {
        return 0;
    }
    return (uint64_t)(page_count(lmdb) - lmdb->walk_page_count) * status.ms_psize;
}

void table_lmdb_walk_close(struct table_lmdb *lmdb)
{
    if (lmdb->walk != NULL) {
        mdb_cursor_close(lmdb->walk_cursor);
        mdb_txn_abort(lmdb->walk);
        lmdb->walk = NULL;
    }
}

/* --- Loading ---------------------------------------------------------------------------------- */

void table_lmdb_load_abort(struct table_lmdb *lmdb)
{
    if (lmdb->load != NULL) {
        mdb_cursor_close(lmdb->load_cursor);
        mdb_txn_abort(lmdb->load);
        lmdb->load = NULL;
    }
}

static int load_open(struct table_lmdb *lmdb)
{
    int code = mdb_txn_begin(lmdb->environment, NULL, 0, &lmdb->load);

    if (code != MDB_SUCCESS) {
        lmdb->load = NULL;
        return code;
    }
    code = mdb_cursor_open(lmdb->load, lmdb->state, &lmdb->load_cursor);
    if (code != MDB_SUCCESS) {
        mdb_txn_abort(lmdb->load);
        lmdb->load = NULL;
    }
    lmdb->load_size = 0;
    return code;
}

static int load_commit(struct table_lmdb *lmdb)
{
    MDB_txn *transaction = lmdb->load;

    mdb_cursor_close(lmdb->load_cursor);
    lmdb->load = NULL; /* Committed or not, LMDB frees it. */
    return mdb_txn_commit(transaction);
}

enum error table_lmdb_load_put(struct table_lmdb *lmdb, struct bytes key, struct bytes value,
                               uint64_t sum)
{
    MDB_val lookup = val_of(key);
    MDB_val stored = {.mv_size = value.size + CHECKSUM_SIZE};
    int code = lmdb->load == NULL ? load_open(lmdb) : MDB_SUCCESS;

    if (code != MDB_SUCCESS) {
        return error_of(code);
    }
    code = mdb_cursor_put(lmdb->load_cursor, &lookup, &stored, MDB_RESERVE | MDB_APPEND);
    if (code != MDB_SUCCESS) {
        table_lmdb_load_abort(lmdb);
        return error_of(code);
    }
    uint8_t *data = stored.mv_data;
    if (value.size != 0) {
        memcpy(data, value.data, value.size);
    }
    store_u64(data + value.size, sum);
    lmdb->load_size += key.size + value.size;
    return lmdb->load_size < LOAD_SIZE ? ERR_OK : error_of(load_commit(lmdb));
}

enum error table_lmdb_load_end(struct table_lmdb *lmdb, uint64_t hash)
{
    enum error error = ERR_OK;

    if (lmdb->load != NULL) {
        error = error_of(load_commit(lmdb));
    }
    if (error == ERR_OK) {
        error = table_lmdb_write(lmdb, NULL, 0, hash);
    }
    return error == ERR_OK ? table_lmdb_refresh(lmdb) : error;
}

/* --- Opening and closing ---------------------------------------------------------------------- */

/* Without a marker of the present identity, everything is removed. */
static enum error environment_claim(const char *folder, const char *environment, bool *was_clean)
{
    enum error error = table_marker_take(folder, was_clean);

    if (error != ERR_OK) {
        return error;
    }
    error = folder_remove_files(environment, *was_clean ? old_suffix : "");
    return error == ERR_OK ? folder_sync(environment) : error;
}

static int hash_load(struct table_lmdb *lmdb, MDB_txn *transaction)
{
    MDB_val key = val_of(bytes_of_text(hash_key));
    MDB_val value;
    int code = mdb_get(transaction, lmdb->meta, &key, &value);

    if (code == MDB_SUCCESS && value.mv_size != sizeof(lmdb->hash)) {
        return MDB_CORRUPTED;
    }
    lmdb->hash = code == MDB_SUCCESS ? load_u64(value.mv_data) : 0;
    return code == MDB_NOTFOUND ? MDB_SUCCESS : code;
}

/* Opens both databases and reads the hash. */
static int databases_open(struct table_lmdb *lmdb)
{
    MDB_txn *transaction;
    int code = mdb_txn_begin(lmdb->environment, NULL, 0, &transaction);

    if (code != MDB_SUCCESS) {
        return code;
    }
    code = mdb_dbi_open(transaction, "state", MDB_CREATE, &lmdb->state);
    if (code == MDB_SUCCESS) {
        code = mdb_dbi_open(transaction, "meta", MDB_CREATE, &lmdb->meta);
    }
    if (code == MDB_SUCCESS) {
        code = hash_load(lmdb, transaction);
    }
    if (code != MDB_SUCCESS) {
        mdb_txn_abort(transaction);
        return code;
    }
    return mdb_txn_commit(transaction);
}

static int reader_open(struct table_lmdb *lmdb)
{
    int code = mdb_txn_begin(lmdb->environment, NULL, MDB_RDONLY, &lmdb->reader);

    if (code != MDB_SUCCESS) {
        return code;
    }
    code = mdb_cursor_open(lmdb->reader, lmdb->state, &lmdb->cursor);
    if (code != MDB_SUCCESS) {
        mdb_txn_abort(lmdb->reader);
    }
    return code;
}

static void reader_close(struct table_lmdb *lmdb)
{
    mdb_cursor_close(lmdb->cursor);
    mdb_txn_abort(lmdb->reader);
}

static enum error environment_open(struct table_lmdb *lmdb)
{
    int code = mdb_env_create(&lmdb->environment);

    if (code != MDB_SUCCESS) {
        return error_of(code);
    }
    code = mdb_env_set_mapsize(lmdb->environment, lmdb->map_size);
    if (code == MDB_SUCCESS) {
        code = mdb_env_set_maxdbs(lmdb->environment, 2);
    }
    if (code == MDB_SUCCESS) {
        /* Not synced: what a crash leaves is thrown away. Never MDB_WRITEMAP: a stray write of
         * ours would go straight into the state. */
        code = mdb_env_open(lmdb->environment, lmdb->environment_folder,
                            MDB_NOSYNC | MDB_NOTLS | MDB_NORDAHEAD, FILE_MODE);
    }
    if (code == MDB_SUCCESS) {
        code = databases_open(lmdb);
    }
    if (code == MDB_SUCCESS) {
        code = reader_open(lmdb);
    }
    if (code != MDB_SUCCESS) {
        mdb_env_close(lmdb->environment);
        lmdb->environment = NULL;
        errno = code > 0 ? code : 0;
        return error_of(code);
    }
    return ERR_OK;
}

static void environment_close(struct table_lmdb *lmdb)
{
    table_lmdb_walk_close(lmdb);
    table_lmdb_load_abort(lmdb);
    if (lmdb->old != NULL) {
        mdb_env_close(lmdb->old); /* Its files go with the next opening. */
        lmdb->old = NULL;
    }
    if (lmdb->environment != NULL) {
        reader_close(lmdb);
        mdb_env_close(lmdb->environment);
        lmdb->environment = NULL;
    }
}

/* False, with errno, when a file that is there cannot be renamed. */
static bool file_rename(const struct table_lmdb *lmdb, const char *source, const char *target)
{
    char from[PATH_MAX];
    char to[PATH_MAX];

    if (!folder_join(from, sizeof(from), lmdb->environment_folder, source) ||
        !folder_join(to, sizeof(to), lmdb->environment_folder, target)) {
        errno = ENAMETOOLONG;
        return false;
    }
    return rename(from, to) == 0 || errno == ENOENT;
}

enum error table_lmdb_dispose(struct table_lmdb *lmdb)
{
    if (lmdb->old == NULL) {
        return ERR_OK;
    }
    mdb_env_close(lmdb->old);
    lmdb->old = NULL;
    return folder_remove_files(lmdb->environment_folder, old_suffix);
}

/* Not by deleting every pair: a file that has grown would never become smaller. LMDB knows its
 * files by their descriptors, so they may get other names under its hands. */
enum error table_lmdb_load_begin(struct table_lmdb *lmdb)
{
    ASSERT(lmdb->walk == NULL && lmdb->load == NULL && lmdb->old == NULL);
    reader_close(lmdb);
    lmdb->old = lmdb->environment;
    lmdb->environment = NULL;
    if (!file_rename(lmdb, "data.mdb", "data.old") || !file_rename(lmdb, "lock.mdb", "lock.old")) {
        return folder_error(errno);
    }
    return environment_open(lmdb);
}

enum error table_lmdb_open(struct table_lmdb **opened, const char *folder, uint64_t map_size,
                           bool *was_clean)
{
    struct table_lmdb *lmdb = calloc(1, sizeof(*lmdb));
    enum error error;

    if (lmdb == NULL) {
        errno = ENOMEM;
        return ERR_IO;
    }
    lmdb->map_size = map_size;
    if (!folder_join(lmdb->folder, sizeof(lmdb->folder), folder, ".") ||
        !folder_join(lmdb->environment_folder, sizeof(lmdb->environment_folder), folder, "env")) {
        errno = ENAMETOOLONG;
        error = ERR_IO;
        goto undo_lmdb;
    }
    error = folder_make(lmdb->environment_folder);
    if (error == ERR_OK) {
        error = environment_claim(folder, lmdb->environment_folder, was_clean);
    }
    if (error == ERR_OK) {
        error = environment_open(lmdb);
    }
    if (error == ERR_CORRUPT) {
        /* It was closed cleanly and has rotted since: as disposable as any other. */
        *was_clean = false;
        error = folder_remove_files(lmdb->environment_folder, "");
        if (error == ERR_OK) {
            error = environment_open(lmdb);
        }
    }
    if (error != ERR_OK) {
        goto undo_lmdb;
    }
    *opened = lmdb;
    return ERR_OK;

undo_lmdb:
    free(lmdb);
    return error;
}

void table_lmdb_close(struct table_lmdb *lmdb)
{
    if (lmdb == NULL) {
        return;
    }
    environment_close(lmdb);
    free(lmdb);
}

enum error table_lmdb_close_clean(struct table_lmdb *lmdb)
{
    enum error error = error_of(FAILPOINT("env", "sync", mdb_env_sync(lmdb->environment, 1)));

    if (error == ERR_OK) {
        /* The names of LMDB's files, before the marker that vouches for them. */
        error = folder_sync(lmdb->environment_folder);
    }
    if (error == ERR_OK) {
        error = table_marker_leave(lmdb->folder);
    }
    table_lmdb_close(lmdb);
    return error;
}
