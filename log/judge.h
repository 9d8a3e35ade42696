/* log/judge.h: is what follows the last good batch the end of the log, a torn write, or rot?
 *
 * The rules, their reasons and what they cannot tell apart are a table in docs/log.md. Pure. */
#ifndef LOG_JUDGE_H
#define LOG_JUDGE_H

#include <stdint.h>

#include "base/bytes.h"
#include "log/format.h"

enum log_tail_verdict {
    LOG_TAIL_EMPTY,  /* Nothing was ever written here. */
    LOG_TAIL_TORN,   /* One write was begun and did not end; it was never acknowledged. */
    LOG_TAIL_ROTTEN, /* Something here was written whole and is damaged now. */
};

struct log_tail {
    enum log_tail_verdict verdict;
    uint32_t damage_offset; /* Of the first sector that speaks against the batch, in the region. */
    uint32_t used_size;     /* Up to here, in whole blocks, something is not zero. */
};

/* `region` begins where the next batch would and is no longer than the largest batch; the caller
 * has seen that everything behind it in the segment is zeros, and found no intact batch of this
 * sequence at its start. `sequence` and `previous_checksum` are what the next batch would have. */
struct log_tail log_tail_judge(struct bytes region, struct log_place place, uint64_t sequence,
                               uint64_t previous_checksum);

#endif
