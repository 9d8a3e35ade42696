/* node/snapshot_load.c: the table is replaced by what a snapshot says. */
#include "base/assert.h"
#include "node/snapshot_internal.h"

static enum error begin(struct snapshots *snapshots, raft_index index)
{
    const struct kept *kept = snapshots_files_find(snapshots, index);

    if (snapshots->is_stopping || snapshots->is_loading ||
        snapshots->receive.state != SNAPSHOT_RECEIVE_IDLE) {
        return ERR_OVERLOADED;
    }
    if (kept == NULL) {
        return ERR_MISSING;
    }
    snapshots_save_abort(snapshots);
    snapshots_scan_begin(&snapshots->scan, SNAPSHOT_NAME_WHOLE, index, kept->file.size);
    table_load_begin(snapshots->table);
    snapshots->is_loading = true;
    snapshots->has_more = true;
    snapshots->load_index = index;
    return ERR_OK;
}

enum error snapshots_load_begin(struct snapshots *snapshots, raft_index index)
{
    /* The table would have to wait for what it is writing before it can throw it away. */
    return table_commit_would_wait(snapshots->table) ? ERR_OVERLOADED : begin(snapshots, index);
}

/* The end of a load, well or not; ERR_OK when the table is loaded. */
static enum error finish(struct snapshots *snapshots, enum scan_step step)
{
    const struct kept *kept = snapshots_files_find(snapshots, snapshots->load_index);
    const struct scan *scan = &snapshots->scan;
    enum error error = scan->error;

    ASSERT(snapshots->is_loading);
    if (step == SCAN_WHOLE && (kept == NULL || kept->file.id != scan->chain.checksum ||
                               table_hash(snapshots->table) != scan->base.state_hash)) {
        error = ERR_CORRUPT;
    }
    table_load_end(snapshots->table, error == ERR_OK);
    snapshots->is_loading = false;
    enum error table_failure = table_error(snapshots->table);
    if (table_failure != ERR_OK) {
        error = table_failure;
    } else if (error == ERR_CORRUPT || error == ERR_VERSION || error == ERR_WRONG_CLUSTER) {
        snapshots_files_refuse(snapshots, snapshots->load_index);
    }
    snapshots_tell(snapshots, error == ERR_OK ? SNAPSHOT_LOADED : SNAPSHOT_LOAD_FAILED,
                   snapshots->load_index, error, scan->chain.offset, &scan->name);
    return error;
}

void snapshots_load_advance(struct snapshots *snapshots)
{
    if (!snapshots->is_loading) {
        return;
    }
    enum scan_step step = snapshots_scan_slice(snapshots, snapshots->table);

    if (step == SCAN_WHOLE || step == SCAN_REFUSED) {
        (void)finish(snapshots, step);
    }
}

void snapshots_load_abort(struct snapshots *snapshots)
{
    if (snapshots->is_loading) {
        table_load_end(snapshots->table, false);
        snapshots->is_loading = false;
        snapshots_tell(snapshots, SNAPSHOT_LOAD_FAILED, snapshots->load_index, ERR_CANCELLED, 0,
                       &snapshots->scan.name);
    }
}

enum error snapshots_load_now(struct snapshots *snapshots, raft_index index)
{
    enum error error = begin(snapshots, index);
    enum scan_step step = SCAN_WAIT;

    if (error != ERR_OK) {
        return error;
    }
    while (step == SCAN_WAIT || step == SCAN_BLOCK) {
        snapshots_scan_fill_now(&snapshots->scan, snapshots->disk);
        step = snapshots_scan_take(&snapshots->scan, snapshots->options.cluster, snapshots->table);
    }
    return finish(snapshots, step);
}
