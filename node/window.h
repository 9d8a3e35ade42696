/* node/window.h: the results that sessions may ask for again, so that a retry is executed once.
 *
 * A session's requests apply strictly in sequence. The results of its last WINDOW_RESULT_COUNT
 * requests are part of the replicated state. The windows in use live in memory; a window that
 * changed is written to the table when its transaction is committed, and when its place is needed
 * for another session (least recently used first). */
#ifndef NODE_WINDOW_H
#define NODE_WINDOW_H

#include <stdint.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/macros.h"
#include "base/table.h"

enum {
    WINDOW_RESULT_COUNT = 64,     /* Also the most requests of a session that may be in flight. */
    WINDOW_RESULT_SIZE_MAX = 256, /* Bytes of one result's body. */
    WINDOW_KEY_PREFIX = 'w',      /* Of the table's keys. */
};

struct windows; /* Opaque: the windows of all sessions. */

size_t windows_memory_size(void);
struct windows *windows_open(struct arena *arena, struct table *table);

/* The table was replaced: what is kept of the old one, written out or not, counts no more. */
void windows_forget(struct windows *windows);

/* The sessions are gone with their cluster: no results are kept, in the table either. */
void windows_clear(struct windows *windows);

enum window_verdict {
    WINDOW_NEXT,     /* The next one in sequence: execute it, then windows_store(). */
    WINDOW_REPEATED, /* Executed before: *result is what it gave. */
    WINDOW_STALE,    /* Executed before, but the result is not kept any more. */
    WINDOW_GAP,      /* An earlier one has not come yet: refuse. */
};

struct window_result {
    enum error error;
    struct bytes body; /* Borrowed until the next call. */
};

/* `session` and `sequence` are not 0. */
enum window_verdict windows_look(struct windows *windows, uint64_t session, uint64_t sequence,
                                 struct window_result *result);

/* What the request that windows_look() found to be next gave. */
void windows_store(struct windows *windows, uint64_t session, uint64_t sequence,
                   const struct window_result *result);

/* The session is gone. */
void windows_drop(struct windows *windows, uint64_t session);

/* Writes all changed windows to the table. */
void windows_flush(struct windows *windows);

/* Asserts that lists and index agree. */
void windows_check(const struct windows *windows);

#endif
