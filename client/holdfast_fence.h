/* client/holdfast_fence.h: the resource's side of a lock: no write with an old token.
 *
 * Tokens of one lock only rise. A resource that remembers the greatest it has seen, and refuses
 * every lower one, is safe from a holder that was paused, cut off or wrong about the time. What it
 * cannot do: stop a late write before the newer holder's token was seen here; tell apart requests
 * of one holder; or help when a write goes through without asking. The answer must be one step with
 * the write: hold the resource's own lock around both. One fence for each lock's name. */
#ifndef CLIENT_HOLDFAST_FENCE_H
#define CLIENT_HOLDFAST_FENCE_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A plain value, all zero at first, for who keeps it beside the data and makes both durable in one
 * step. */
struct holdfast_fence {
    uint64_t greatest;
};

/* True: the write may go on, and the token is the greatest seen. False: a newer holder was here, or
 * the token is 0, which no grant has. */
bool holdfast_fence_accept(struct holdfast_fence *fence, uint64_t token);

/* The same in a small file, for who has no such place. It is locked against other processes while
 * it is open; within one, calls are made one at a time. */
struct holdfast_fence_file;

enum holdfast_fence_verdict {
    HOLDFAST_FENCE_ACCEPTED,
    HOLDFAST_FENCE_STALE,  /* As false above. */
    HOLDFAST_FENCE_BROKEN, /* The file could not be written: nothing is accepted any more, until it
                              is opened again. */
};

/* Creates the file when there is none. NULL: `*why` says what is wrong and what to do, and `errno`
 * what the system said, or 0. */
struct holdfast_fence_file *holdfast_fence_open(const char *path, const char **why);

/* A greater token is on the disk, twice, before it is accepted: neither a crash at any moment nor
 * the loss of one of the file's two blocks brings an old token back. */
enum holdfast_fence_verdict holdfast_fence_file_accept(struct holdfast_fence_file *fence,
                                                       uint64_t token);
uint64_t holdfast_fence_file_greatest(const struct holdfast_fence_file *fence);
/* NULL: does nothing. */
void holdfast_fence_close(struct holdfast_fence_file *fence);

#ifdef __cplusplus
}
#endif

#endif
