/* node/refounding.h: a saved state founds a new cluster.
 *
 * What both ways have in common, a backup that is restored (node/backing.c) and a folder that is
 * recovered (node/rescue.h). The new cluster has another id, so nodes and snapshots of the old one
 * are refused. Sessions end and locks are free. The counter of grants and the index of the log rise
 * by REFOUNDING_STEP: what the old cluster did after the state was saved is not known, and no
 * token, revision or number of a session that it gave then may be given again. */
#ifndef NODE_REFOUNDING_H
#define NODE_REFOUNDING_H

#include <stdint.h>

#include "base/error.h"
#include "base/macros.h"
#include "log/disk.h"
#include "node/identity.h"
#include "node/machine.h"
#include "raft/entry.h"

#define REFOUNDING_STEP (UINT64_C(1) << 40)

/* The table, which has the old state, becomes the new one, by `steps` of it. ERR_FULL when there
 * are no more tokens or indexes. */
MUST_USE enum error refounding_turn(struct machine *machine, struct table *table, uint64_t steps);

/* Writes the new state as the snapshot that the log of `identity` goes on from; durable on return.
 * `term`: the last of the old cluster; `memory` as at snapshot_file_write(). The snapshot counts
 * for nothing before the identity is saved. */
MUST_USE enum error refounding_write(struct disk *disk, struct machine *machine,
                                     struct table *table, const struct identity *identity,
                                     raft_term term, uint8_t *memory);

/* Puts the identity, whose snapshot at `index` is durable, into the place of another one that has a
 * log: a crash leaves either the old folder, or one that refounding_finish() completes. */
MUST_USE enum error refounding_replace(struct disk *disk, const struct identity *identity,
                                       raft_index index);

/* Before an identity is read: completes what refounding_replace() has begun. ERR_OK when there is
 * nothing to do. */
MUST_USE enum error refounding_finish(struct disk *disk);

#endif
