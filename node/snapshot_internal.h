/* node/snapshot_internal.h: what the files behind node/snapshot.h share; nobody else includes it.
 *
 * Of saving, loading and receiving one is under way at a time; sending goes on beside them. Every
 * request of the disk belongs to one of the purposes below, and its memory is not touched before it
 * has completed, whatever was given up meanwhile. */
#ifndef NODE_SNAPSHOT_INTERNAL_H
#define NODE_SNAPSHOT_INTERNAL_H

#include "node/snapshot.h"

enum {
    NAME_COUNT_MAX = 64, /* Files in the folder that begin with "snap-". */
    KEPT_COUNT_MAX = 16, /* Whole ones and refused ones: two, and one for each sender at most. */
    REMOVAL_COUNT_MAX = 128, /* All of those, and what is given up before they are gone. */
    KEEP_COUNT = 2,          /* Whole files that stay once a newer one is durable. */
    WRITE_SIZE = 256 << 10,  /* A buffer of a save is written when it has as much. */
    READ_SIZE = 256 << 10,
    SAVE_BUFFER_SIZE = WRITE_SIZE + SNAPSHOT_BLOCK_SIZE_MAX + SNAPSHOT_HEAD_SIZE_MAX,
    SCAN_BUFFER_SIZE = 4 * READ_SIZE + SNAPSHOT_BLOCK_SIZE_MAX,
    WAIT_MS = 1, /* Until the table is asked again whether its commit is written. */
};

/* Who waits for a completion: bits 8 to 15 of its tag. The slot is in bits 0 to 7. */
enum purpose {
    PURPOSE_SAVE_WRITE,
    PURPOSE_SAVE_PUBLISH,
    PURPOSE_SCAN,
    PURPOSE_RECEIVE_WRITE,
    PURPOSE_RECEIVE_PUBLISH,
    PURPOSE_SEND,
    PURPOSE_REMOVE,
};

/* --- Files: snapshot_files.c ------------------------------------------------------------------ */

struct kept {
    struct snapshot_file file;
    struct snapshot_base base; /* The configuration lies in `configuration`. */
    bool is_refused;           /* Never used again; goes with the next removal. */
    uint32_t pin_count;        /* Senders that read it. */
    uint8_t configuration[SNAPSHOT_CONFIGURATION_SIZE_MAX];
};

struct files {
    struct kept kept[KEPT_COUNT_MAX]; /* In ascending order of the index. */
    uint32_t kept_count;
    struct disk_name removals[REMOVAL_COUNT_MAX]; /* A ring; the first is under way. */
    uint32_t removal_first;
    uint32_t removal_count;
    bool is_removing;
    raft_index foreign_index; /* Of the newest file of another version; 0: there is none. */
    uint8_t *page;            /* SNAPSHOT_HEAD_SIZE_MAX, for opening. */
};

/* --- A walk over the blocks of one file: snapshot_scan.c -------------------------------------- */

enum scan_step {
    SCAN_BLOCK,   /* One more block was good. */
    SCAN_WAIT,    /* For the disk. */
    SCAN_WHOLE,   /* That was the end, and everything agrees. */
    SCAN_REFUSED, /* `error` says why; the chain tells how far it was good. */
};

struct scan {
    struct disk_name name;
    uint64_t size;
    uint64_t read_offset; /* Of the next read. */
    uint8_t *memory;      /* SCAN_BUFFER_SIZE. */
    size_t begin;         /* What was read and not looked at: from here, */
    size_t end;           /* to here. */
    size_t flight_size;   /* Being read to `end`; 0: nothing is. */
    bool is_stale;        /* What is being read was asked for by an earlier scan. */
    enum error error;
    struct snapshot_chain chain;
    struct snapshot_base base; /* From the head on; the configuration lies in `configuration`. */
    size_t last_key_size;
    uint8_t last_key[TABLE_KEY_SIZE_MAX];
    uint8_t configuration[SNAPSHOT_CONFIGURATION_SIZE_MAX];
};

/* --- Saving ----------------------------------------------------------------------------------- */

enum save_state { SAVE_IDLE, SAVE_WRITING, SAVE_PUBLISHING, SAVE_REMOVING };

struct save_buffer {
    struct buffer buffer;
    bool in_flight;
};

struct save {
    enum save_state state;
    struct snapshot_base base;
    struct snapshot_chain chain;
    struct snapshot_block block;
    struct save_buffer buffers[2];
    uint32_t filling;
    uint64_t staged_size; /* Bytes given to the disk. */
    bool has_pair;        /* `key` and `value`, which belong to the next block. */
    bool has_end;         /* All of it is in the buffers or on the disk. */
    struct bytes key;
    struct bytes value;
    uint64_t begin_ms;
    uint64_t token_ms; /* When tokens were counted last. */
    int64_t tokens;    /* Bytes that may be taken now; the pace. */
    bool table_waits;
    enum error error; /* Of a write. */
    uint8_t configuration[SNAPSHOT_CONFIGURATION_SIZE_MAX];
};

/* --- Receiving -------------------------------------------------------------------------------- */

struct receive {
    enum snapshot_receive_state state;
    struct snapshot_file offer;
    bool is_resumable;     /* IDLE, and everything below is as the last transfer left it. */
    raft_index part_index; /* Of the part in the folder; 0: none. */
    uint64_t part_size;    /* As opening found it; 0: not from an earlier life. */
    struct save_buffer buffers[2];
    uint32_t filling;
    uint64_t taken_size;  /* Bytes that have come. */
    uint64_t staged_size; /* Of them: given to the disk. */
    enum error error;
};

/* --- Sending ---------------------------------------------------------------------------------- */

struct sender {
    enum snapshot_send_state state;
    bool in_flight; /* A read is; perhaps of an earlier transfer: then it is stale. */
    bool is_stale;
    struct snapshot_file file;
    struct snapshot_chunk chunk;
    uint8_t *memory; /* SNAPSHOT_CHUNK_SIZE_MAX and one block of the disk before it. */
    size_t skip;     /* Bytes read before the offset that was asked for. */
};

struct event_ring {
    struct snapshot_event events[SNAPSHOT_EVENT_COUNT_MAX];
    uint64_t head;
    uint64_t tail;
};

struct snapshots {
    struct snapshot_options options;
    struct disk *disk;
    struct table *table;
    bool is_stopping;
    bool has_more; /* The slice of this turn ended it. */
    uint32_t flight_count;
    uint64_t now_ms;
    struct files files;
    struct scan scan;
    struct save save;
    bool is_loading;
    raft_index load_index;
    struct receive receive;
    struct sender senders[SNAPSHOT_READER_COUNT_MAX];
    struct event_ring events;
};

/* --- snapshot.c ------------------------------------------------------------------------------- */

/* On the snapshot lane; `request` has everything but lane and tag. */
void snapshots_submit(struct snapshots *snapshots, enum purpose purpose, uint32_t slot,
                      struct disk_request *request);
void snapshots_tell(struct snapshots *snapshots, enum snapshot_event_kind kind, raft_index index,
                    enum error error, uint64_t size, const struct disk_name *name);

/* --- snapshot_files.c ------------------------------------------------------------------------- */

size_t snapshots_files_memory_size(void);
MUST_USE enum error snapshots_files_open(struct snapshots *snapshots, struct arena *arena);

/* The one at this index that may be used, or NULL. */
struct kept *snapshots_files_find(struct snapshots *snapshots, raft_index index);

/* A file has become whole and durable. */
void snapshots_files_add(struct snapshots *snapshots, const struct snapshot_file *file,
                         const struct snapshot_base *base);
void snapshots_files_refuse(struct snapshots *snapshots, raft_index index);

/* Removes all that is refused, and of the others all but the newest `keep_count`. */
void snapshots_files_trim(struct snapshots *snapshots, uint32_t keep_count);
void snapshots_files_remove(struct snapshots *snapshots, enum snapshot_name_kind kind,
                            raft_index index);
/* Whether removals of this index are still to come. */
bool snapshots_files_are_removing(const struct snapshots *snapshots, raft_index index);
void snapshots_files_advance(struct snapshots *snapshots);
void snapshots_files_completed(struct snapshots *snapshots, enum error error);

/* --- snapshot_scan.c -------------------------------------------------------------------------- */

size_t snapshots_scan_memory_size(void);
void snapshots_scan_open(struct scan *scan, struct arena *arena);

/* `size` is a multiple of DISK_ALIGNMENT. */
void snapshots_scan_begin(struct scan *scan, enum snapshot_name_kind kind, raft_index index,
                          uint64_t size);
/* Asks for more where there is room, at once. */
void snapshots_scan_fill_now(struct scan *scan, struct disk *disk);
void snapshots_scan_completed(struct scan *scan, enum error error);

/* Looks at one block. `cluster`: whose it must be; NULL: anybody's. `table`: where the pairs go;
 * NULL: nowhere. */
enum scan_step snapshots_scan_take(struct scan *scan, const uint8_t *cluster, struct table *table);

/* Blocks until the slice is used up or something else than SCAN_BLOCK comes: what it was. */
enum scan_step snapshots_scan_slice(struct snapshots *snapshots, struct table *table);

/* What a whole file is, once the scan has come to its end. */
struct snapshot_file snapshots_scan_file(const struct scan *scan);

/* --- snapshot_save.c, snapshot_load.c, snapshot_send.c, snapshot_receive.c -------------------- */

size_t snapshots_save_memory_size(void);
void snapshots_save_open(struct save *save, struct arena *arena);
void snapshots_save_advance(struct snapshots *snapshots);
uint64_t snapshots_save_wake_ms(const struct snapshots *snapshots);
void snapshots_save_written(struct snapshots *snapshots, uint32_t slot, enum error error);
void snapshots_save_published(struct snapshots *snapshots, enum error error);

void snapshots_load_advance(struct snapshots *snapshots);
void snapshots_load_abort(struct snapshots *snapshots);

size_t snapshots_send_memory_size(void);
void snapshots_send_open(struct sender *senders, struct arena *arena);
void snapshots_send_completed(struct snapshots *snapshots, uint32_t slot, enum error error);

size_t snapshots_receive_memory_size(void);
void snapshots_receive_open(struct receive *receive, struct arena *arena);
void snapshots_receive_advance(struct snapshots *snapshots);
bool snapshots_receive_is_due(const struct snapshots *snapshots);
/* There is a whole file at `index`: a part that is not beyond it goes. */
void snapshots_receive_overtaken(struct snapshots *snapshots, raft_index index);
void snapshots_receive_written(struct snapshots *snapshots, uint32_t slot, enum error error);
void snapshots_receive_published(struct snapshots *snapshots, enum error error);

#endif
