/* node/backing.c: a backup founds a cluster: holdfastd --restore.
 *
 * The file `restore` lies in the folder of a node that belongs to no cluster yet. All members that
 * are listed must have the same one, so they found the cluster together, each from its own copy,
 * and arrive at the same state: what they make of it depends on the file and on who the members are
 * alone. The snapshot is durable before the identity says that there is a cluster. A node that
 * joins another way has no use for the file. */
#include "base/assert.h"
#include "node/internal.h"
#include "node/refounding.h"
#include "node/snapshot_file.h"

static const struct disk_name file_name = {.text = NODE_RESTORE_NAME};

/* What snapshots will have later: they are opened once the cluster is known. */
static uint8_t *take_memory(const struct node *node)
{
    struct arena spare = node->snapshot_arena;

    ASSERT(node->snapshots == NULL);
    return arena_take_aligned(&spare, snapshot_file_memory_size(), DISK_ALIGNMENT);
}

static void fail(struct node *node, enum error error, const char *what)
{
    node_fail(node, error_text(error), what,
              error == ERR_NO_SPACE ? "make room on the disk and start again"
                                    : "check the disk; start again, with an empty folder if it "
                                      "comes back");
}

enum error backing_open(struct node *node)
{
    struct snapshot_found found;
    uint64_t size = 0;
    enum error error = disk_size(node->disk, &file_name, &size);

    if (error == ERR_MISSING) {
        return ERR_OK;
    }
    if (error == ERR_OK && node->identity.formed) {
        return disk_remove(node->disk, &file_name); /* A crash came between. */
    }
    if (error == ERR_OK) {
        error = snapshot_file_read(node->disk, &file_name, NULL, node->table, take_memory(node),
                                   &found);
    }
    if (error == ERR_OK) {
        machine_reload(node->machine);
        error = machine_applied_index(node->machine) == found.file.index
                    ? refounding_turn(node->machine, node->table, 1)
                    : ERR_CORRUPT;
    }
    if (error != ERR_OK) {
        fail(node, error, "reading the file restore");
        return error;
    }
    node->backing = (struct backing){.id = found.file.id, .term = found.file.term};
    return ERR_OK;
}

/* It has become a member of a cluster that goes on. */
static void forget(struct node *node)
{
    table_load_begin(node->table);
    table_load_end(node->table, false);
    machine_reload(node->machine);
}

bool backing_found(struct node *node, const struct identity *identity)
{
    enum error error = ERR_OK;

    if (node->backing.id == 0) {
        return true;
    }
    if (identity->joined_index != 0) {
        forget(node);
    } else {
        error = refounding_write(node->disk, node->machine, node->table, identity,
                                 node->backing.term, take_memory(node));
    }
    if (error != ERR_OK) {
        fail(node, error, "writing the restored state");
        return false;
    }
    return true;
}

bool backing_remove(struct node *node)
{
    enum error error = node->backing.id == 0 ? ERR_OK : disk_remove(node->disk, &file_name);

    if (error != ERR_OK) {
        fail(node, error, "removing the file restore");
    }
    return error == ERR_OK;
}

void backing_end(struct node *node)
{
    struct line line;

    if (node->backing.id == 0) {
        return;
    }
    line_begin(&line, "restored_backup");
    line_add_u64(&line, "index", machine_applied_index(node->machine));
    line_add_u64(&line, "id", node->backing.id);
    line_write(node, WORLD_INFO, &line);
    node->backing = (struct backing){0};
}
