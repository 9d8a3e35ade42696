/* node/rescue.h: the way back from a lost majority, in the folder of one node that is left.
 *
 * Offline: no node runs on the folder. rescue_open() looks and tells; rescue_run() makes of all
 * that the folder has a new cluster with this node as its only member (node/refounding.h). All
 * entries of the log are taken for committed: some may have been acknowledged, nobody is left to
 * ask. What this node had not got is lost. A crash at any point leaves the old folder or the new
 * one. */
#ifndef NODE_RESCUE_H
#define NODE_RESCUE_H

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/macros.h"
#include "base/table.h"
#include "log/disk.h"
#include "node/identity.h"
#include "node/node.h"
#include "raft/configuration.h"

struct rescue; /* Opaque; lives in the arena's memory. */

/* What the folder has. Of several, the one with the larger last term is to be recovered; of equal
 * terms the one with the larger last index (Raft §5.4.1). */
struct rescue_report {
    const struct identity *identity;
    const struct raft_configuration *members; /* The newest list in it, committed or not. */
    raft_index snapshot_index;                /* Of the newest whole snapshot; 0: there is none. */
    raft_index last_index;                    /* Of the last entry that can be used, */
    raft_term last_term;                      /* and its term. */
    raft_index commit_index;                  /* Known to be committed at least. */
    const char *loss; /* What of its own this folder has lost already; NULL: nothing. */
};

/* Of all that it needs, and aligned. */
size_t rescue_memory_size(const struct node_options *options);

/* Reads identity, snapshots and log; `options` tell the sizes of the log alone. What a power cut
 * has torn is cut off, as by any start. ERR_MISSING: the folder belongs to no cluster; ERR_CORRUPT,
 * ERR_VERSION, ERR_IO...; then `*problem` says what and what to do. */
MUST_USE enum error rescue_open(struct rescue **rescue, struct arena *arena,
                                const struct node_options *options, struct disk *disk,
                                const char **problem);

void rescue_describe(const struct rescue *rescue, struct rescue_report *report);

/* What is drawn for the new cluster. */
struct rescue_lots {
    uint8_t cluster[IDENTITY_CLUSTER_SIZE]; /* Not all zeros. */
    uint64_t incarnation;                   /* Above NODE_MEMBER_COUNT_MAX: no id of a formation. */
};

/* `table` is thrown away first, and must not pass for clean afterwards. An error leaves the old
 * folder, or one whose recovery is completed by the next start. */
MUST_USE enum error rescue_run(struct rescue *rescue, struct table *table,
                               const struct rescue_lots *lots, const char **problem);

#endif
