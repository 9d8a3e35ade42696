/* node/snapshot.h: snapshots of the state: saved, kept, loaded, sent and received.
 *
 * Everything runs in slices: snapshots_advance() does a bounded piece of whatever is under way and
 * submits to the disk's snapshot lane; completions come back through snapshots_complete(). Nothing
 * here is fatal: what fails is given up, told by an event, and may be tried again later. A file
 * counts only under its final name, which it gets once it is whole and synced; so no crash leaves
 * something that looks like a snapshot and is none.
 *
 *   save     IDLE --begin--> WRITING --all pairs, hash right--> PUBLISHING --durable--> IDLE: SAVED
 *                               |                                   |
 *                               +--- failed, aborted, too long, ----+--> REMOVING --> IDLE:
 *                                    pins too much                       SAVE_FAILED
 *
 *   load     IDLE --begin--> READING --end, hash right--> IDLE: LOADED
 *                               +--- refused, aborted ---> IDLE: LOAD_FAILED; the table is empty
 *
 *   receive  IDLE --begin--> CHECKING (what an earlier transfer left) --> TAKING
 *            TAKING --all bytes--> VERIFYING --whole--> PUBLISHING --durable--> IDLE: RECEIVED
 *            CHECKING, TAKING --- stopped ---> IDLE; the part stays, and is gone on with
 *            any other --- failed or refused ---> REMOVING --> IDLE: RECEIVE_FAILED
 *
 *   send     one reader for each peer: FREE --begin--> READY <--read / chunk--> READING; end: FREE
 *
 * The newest whole file is never removed. Before a save begins all others are, except those being
 * sent; so there are two files at most (one and the one being written, or two whole ones), which is
 * what keeps the folder within its bound. */
#ifndef NODE_SNAPSHOT_H
#define NODE_SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/macros.h"
#include "base/table.h"
#include "log/disk.h"
#include "node/snapshot_format.h"

struct snapshots; /* Opaque; lives in the arena's memory. */

enum {
    SNAPSHOT_SENDER_COUNT_MAX = 8, /* Peers that are sent to at once. */
    SNAPSHOT_BACKUP_COUNT_MAX = 2, /* Clients that fetch a file at once. */
    SNAPSHOT_READER_COUNT_MAX = SNAPSHOT_SENDER_COUNT_MAX + SNAPSHOT_BACKUP_COUNT_MAX,
    SNAPSHOT_CHUNK_SIZE_MAX = 64 << 10, /* Of one read for a peer, and of one received chunk. */
    SNAPSHOT_EVENT_COUNT_MAX = 64,
};

#define SNAPSHOT_TAG_BASE UINT64_C(0x534E000000000000)
#define SNAPSHOT_NEVER_MS UINT64_MAX

struct snapshot_options {
    uint8_t cluster[SNAPSHOT_CLUSTER_SIZE];
    uint32_t slice_size;       /* Bytes of blocks handled in one advance: one block at least. */
    uint64_t bytes_per_second; /* Pace of a save. */
    uint64_t save_ms_max;      /* A save that takes longer is given up, */
    uint64_t pinned_bytes_max; /* and one that keeps more of the table's old pages. */
};

/* Sensible values; the cluster is left zero. */
void snapshot_options_init(struct snapshot_options *options);

/* One whole file. */
struct snapshot_file {
    raft_index index;
    raft_term term;
    uint64_t size; /* Bytes; a multiple of DISK_ALIGNMENT. */
    uint64_t id;   /* Stands for every byte: equal ids, equal files. */
    uint64_t pair_count;
};

/* --- Life ------------------------------------------------------------------------------------- */

size_t snapshots_memory_size(void);

/* Looks through the folder with the disk's synchronous calls: head and end of each file are read,
 * what lies between is verified when it is loaded. Files that are broken, of another cluster or of
 * another version are told by events, and never used; only broken and unfinished ones are removed,
 * later. ERR_IO; ERR_FULL when there are too many files. `disk` and `table` outlive it. */
MUST_USE enum error snapshots_open(struct snapshots **snapshots, struct arena *arena,
                                   const struct snapshot_options *options, struct disk *disk,
                                   struct table *table);

/* False when the completion is not one of ours (SNAPSHOT_TAG_BASE in the upper 16 bits). */
MUST_USE bool snapshots_complete(struct snapshots *snapshots,
                                 const struct disk_completion *completion);

/* One slice of everything that is under way. Once a turn, after the completions. */
void snapshots_advance(struct snapshots *snapshots, uint64_t now_ms);

/* When to advance next, if no completion comes before; SNAPSHOT_NEVER_MS. */
uint64_t snapshots_wake_ms(const struct snapshots *snapshots);

/* Gives up what is under way and submits nothing more but removals; then idle soon. */
void snapshots_stop(struct snapshots *snapshots);

/* Nothing is on its way to the disk. */
bool snapshots_are_idle(const struct snapshots *snapshots);

/* Asserts every invariant of docs/snapshot.md. */
void snapshots_check(const struct snapshots *snapshots);

enum snapshot_event_kind {
    SNAPSHOT_SAVED,
    SNAPSHOT_SAVE_FAILED, /* ERR_TIMEOUT: too long; ERR_FULL: pins too much; ERR_CORRUPT: what the
                             table gave is not what its hash says. */
    SNAPSHOT_LOADED,
    SNAPSHOT_LOAD_FAILED, /* ERR_CORRUPT: that file is not used any more. The table is empty. */
    SNAPSHOT_RECEIVED,
    SNAPSHOT_RECEIVE_FAILED,
    SNAPSHOT_REFUSED, /* A file that opening, or a reader, found to be unusable. */
    SNAPSHOT_REMOVED,
};

struct snapshot_event {
    enum snapshot_event_kind kind;
    raft_index index;
    enum error error;
    uint64_t size; /* Of the file, where it is known. */
    struct disk_name name;
};

/* The next thing that happened, in order; false when there is none. At most
 * SNAPSHOT_EVENT_COUNT_MAX wait for that: of more the oldest are lost. */
MUST_USE bool snapshots_next_event(struct snapshots *snapshots, struct snapshot_event *event);

/* --- Files ------------------------------------------------------------------------------------ */

/* The newest whole file, or NULL. Borrowed until the next advance. */
const struct snapshot_file *snapshots_newest(const struct snapshots *snapshots);

/* The newest whole file below `index`: where to turn when that one was refused. */
const struct snapshot_file *snapshots_newest_below(const struct snapshots *snapshots,
                                                   raft_index index);

/* The index of the newest whole file that another version wrote, as it was at the opening; 0: none.
 * It is of no use here, and is left where it is. */
raft_index snapshots_of_another_version(const struct snapshots *snapshots);

/* What its head says. The configuration is borrowed until the next advance. */
struct snapshot_base snapshots_base(const struct snapshots *snapshots,
                                    const struct snapshot_file *file);

/* None of them is to be used any more, whatever is in them: they are removed. */
void snapshots_discard(struct snapshots *snapshots);

/* --- Saving ----------------------------------------------------------------------------------- */

/* Begins a snapshot of the table as it is, right after its commit at `base->index`, whose hash is
 * `base->state_hash`; the cluster id is filled in. The configuration is copied. ERR_OVERLOADED:
 * something else uses the table or the lane, or the commit did not take everything: at another
 * commit. ERR_STALE: there is one at or beyond this index. */
MUST_USE enum error snapshots_save_begin(struct snapshots *snapshots,
                                         const struct snapshot_base *base, uint64_t now_ms);
bool snapshots_are_saving(const struct snapshots *snapshots);
void snapshots_save_abort(struct snapshots *snapshots);

/* --- Loading ---------------------------------------------------------------------------------- */

/* Replaces the table by the snapshot at `index`. From now on until the event the table is not to
 * be used by anybody else; a save under way is given up. ERR_MISSING: no such whole file.
 * ERR_OVERLOADED: something is being loaded or received, or a commit of the table is still being
 * written: ask again a little later. */
MUST_USE enum error snapshots_load_begin(struct snapshots *snapshots, raft_index index);

/* The same at once, with the disk's synchronous calls: only while opening. ERR_CORRUPT and
 * ERR_VERSION as in SNAPSHOT_LOAD_FAILED. The event is told too. */
MUST_USE enum error snapshots_load_now(struct snapshots *snapshots, raft_index index);

/* --- Sending ---------------------------------------------------------------------------------- */

/* The reader of `slot` (below SNAPSHOT_READER_COUNT_MAX) takes the newest file and keeps it from
 * being removed. NULL when there is none. Borrowed until snapshots_send_end(). */
const struct snapshot_file *snapshots_send_begin(struct snapshots *snapshots, uint32_t slot);

/* The same with the file at `index`, if it has this id. */
const struct snapshot_file *snapshots_send_begin_at(struct snapshots *snapshots, uint32_t slot,
                                                    raft_index index, uint64_t id);

/* Of a slot that is not free. */
const struct snapshot_file *snapshots_send_file(const struct snapshots *snapshots, uint32_t slot);

/* Asks for the bytes from `offset` on, SNAPSHOT_CHUNK_SIZE_MAX or up to the end of the file. Any
 * offset below the size. One read at a time. */
void snapshots_send_read(struct snapshots *snapshots, uint32_t slot, uint64_t offset);

enum snapshot_send_state { SNAPSHOT_SEND_FREE, SNAPSHOT_SEND_READY, SNAPSHOT_SEND_READING };

struct snapshot_chunk {
    uint64_t offset;
    struct bytes
        bytes;        /* Empty before the first read. Borrowed until the next call for the slot. */
    enum error error; /* Of the read. */
};

/* READY: `*chunk` is what was read last. */
enum snapshot_send_state snapshots_send_state(const struct snapshots *snapshots, uint32_t slot,
                                              struct snapshot_chunk *chunk);

/* It is no error that the slot is free. A read under way ends by itself. */
void snapshots_send_end(struct snapshots *snapshots, uint32_t slot);

/* --- Receiving -------------------------------------------------------------------------------- */

/* What a leader offers; a save under way is given up. Whatever part of it is here already, from
 * this or an earlier transfer, is gone on with. A transfer of something else that is under way is
 * given up; its part is removed. ERR_OVERLOADED: the last one is still being verified, published or
 * removed. ERR_STALE: that snapshot, or a newer one, is here. ERR_INVALID: it cannot be a snapshot.
 */
MUST_USE enum error snapshots_receive_begin(struct snapshots *snapshots,
                                            const struct snapshot_file *offer);

enum snapshot_receive_state {
    SNAPSHOT_RECEIVE_IDLE,
    SNAPSHOT_RECEIVE_CHECKING,
    SNAPSHOT_RECEIVE_TAKING,
    SNAPSHOT_RECEIVE_VERIFYING,
    SNAPSHOT_RECEIVE_PUBLISHING,
    SNAPSHOT_RECEIVE_REMOVING,
};

/* TAKING: `*offset` is the next byte that is wanted. */
enum snapshot_receive_state snapshots_receive_state(const struct snapshots *snapshots,
                                                    uint64_t *offset);

/* At most SNAPSHOT_CHUNK_SIZE_MAX bytes, copied. ERR_INVALID: not the offset that is wanted, or
 * beyond the end: nothing was taken. ERR_OVERLOADED: the disk is behind: the same again later. */
MUST_USE enum error snapshots_receive_chunk(struct snapshots *snapshots, uint64_t offset,
                                            struct bytes bytes);

/* The transfer has ended too early. What came stays for the next one. */
void snapshots_receive_stop(struct snapshots *snapshots);

#endif
