/* server/seek_memo.c: a small cache, one place for each hash. */
#include "server/seek_memo.h"

#include <string.h>

#include "base/assert.h"
#include "base/checksum.h"

void seek_memos_forget(struct seek_memos *memos)
{
    for (uint32_t i = 0; i < SEEK_MEMO_COUNT; i++) {
        memos->all[i].is_known = false;
    }
}

struct seek_memo *seek_memos_find(struct seek_memos *memos, struct bytes from, bool inclusive)
{
    struct seek_memo *memo = &memos->all[(checksum(from, 0) + inclusive) % SEEK_MEMO_COUNT];

    ASSERT_VALUES(from.size <= TABLE_KEY_SIZE_MAX, from.size, TABLE_KEY_SIZE_MAX);
    if (!memo->is_known || memo->inclusive != inclusive ||
        !bytes_equal(bytes_of(memo->from, memo->from_size), from)) {
        memo->is_known = false;
        memo->inclusive = inclusive;
        memo->from_size = (uint16_t)from.size;
        if (from.size != 0) {
            memcpy(memo->from, from.data, from.size);
        }
    }
    return memo;
}
