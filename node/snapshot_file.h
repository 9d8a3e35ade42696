/* node/snapshot_file.h: one snapshot file by itself, read or written at once.
 *
 * For what is done before a node is open: a backup that is to found a cluster, a folder that is to
 * be recovered. Everything with the disk's synchronous calls, and every check of node/snapshot.h is
 * made. Nothing is believed before the end of the file was seen. */
#ifndef NODE_SNAPSHOT_FILE_H
#define NODE_SNAPSHOT_FILE_H

#include "node/snapshot.h"
#include "raft/configuration.h"

/* What a file is, and how far it was good. */
struct snapshot_found {
    struct snapshot_file file;
    uint8_t cluster[SNAPSHOT_CLUSTER_SIZE];
    uint64_t log_ms;
    struct raft_configuration configuration;
    uint64_t offset; /* With ERR_CORRUPT and ERR_VERSION: of the first bytes that are not good. */
};

/* Of the memory that both need, aligned to DISK_ALIGNMENT. */
size_t snapshot_file_memory_size(void);

/* Reads the whole file. Its pairs take the place of those of `table`, unless that is NULL; of a
 * file that is refused the table is left empty. `cluster`: whose it must be; NULL: anybody's.
 * ERR_MISSING, ERR_IO; ERR_CORRUPT; ERR_VERSION: another version wrote it; ERR_WRONG_CLUSTER; or
 * the table's. */
MUST_USE enum error snapshot_file_read(struct disk *disk, const struct disk_name *name,
                                       const uint8_t *cluster, struct table *table, uint8_t *memory,
                                       struct snapshot_found *found);

/* Writes the table as the whole snapshot at `base->index`, durable on return. `base->state_hash` is
 * the table's. ERR_IO, ERR_NO_SPACE, or the table's. */
MUST_USE enum error snapshot_file_write(struct disk *disk, const struct snapshot_base *base,
                                        struct table *table, uint8_t *memory);

#endif
