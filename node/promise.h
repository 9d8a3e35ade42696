/* node/promise.h: the longest promise that a voter with this disk has ever given.
 *
 * A voter that starts has forgotten until when it promised a leader to vote for nobody else, so it
 * waits out the longest promise first (docs/raft.md, Promises). What it is configured to promise
 * now says nothing about that: an operator may have lowered it. So the disk has one small file,
 * `promise`, which is written before a longer promise is given and never says less afterwards:
 *
 *     0       4         8          12         16
 *     | magic | version | promise  | reserved | checksum
 *     | u32   | u32     | u32 (ms) | u32 0    | u64
 *
 * Little endian; the checksum covers all before it. A disk without the file has promised nothing.
 */
#ifndef NODE_PROMISE_H
#define NODE_PROMISE_H

#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/macros.h"
#include "log/disk.h"

enum {
    PROMISE_SIZE = 24,
    PROMISE_MS_MAX = 60000, /* No promise is longer. */
};

void promise_encode(uint8_t to[PROMISE_SIZE], uint32_t promise_ms);

/* ERR_CORRUPT (size, checksum, more than PROMISE_MS_MAX), ERR_VERSION. */
MUST_USE enum error promise_decode(struct bytes bytes, uint32_t *promise_ms);

/* From now on promises of `promise_ms` are given; `*wait_ms` is what a voter must wait that starts
 * with this disk. Only while a node is being opened. A file that cannot be believed may have said
 * PROMISE_MS_MAX, and is left as it is. ERR_IO, ERR_NO_SPACE. */
MUST_USE enum error promise_settle(struct disk *disk, uint32_t promise_ms, uint32_t *wait_ms);

#endif
