/* server/seek_memo.h: what seeks in an older table have found, for those that are made again.
 *
 * A memo holds the first pair behind `from` that no newer table has. Until the older table changes
 * it can only move on, as no key ever leaves the newer ones. So a queue that is emptied from its
 * front is not walked from its beginning again and again. Pure. */
#ifndef SERVER_SEEK_MEMO_H
#define SERVER_SEEK_MEMO_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/table.h"

enum { SEEK_MEMO_COUNT = 16 };

struct seek_memo {
    bool is_known; /* Else only where the seek begins. */
    bool inclusive;
    bool is_end; /* There is no such pair. */
    uint16_t from_size;
    uint8_t from[TABLE_KEY_SIZE_MAX];
    struct bytes key; /* Borrowed from the older table. */
    struct bytes stored;
};

struct seek_memos {
    struct seek_memo all[SEEK_MEMO_COUNT];
};

/* The older table has changed: nothing is known any more. */
void seek_memos_forget(struct seek_memos *memos);

/* That of this seek; one that is not known yet takes the place of another. `from` has at most
 * TABLE_KEY_SIZE_MAX bytes. */
struct seek_memo *seek_memos_find(struct seek_memos *memos, struct bytes from, bool inclusive);

#endif
