/* node/disk_space.h: disks that are nearly full, and writes that are refused because of them.
 *
 * Every node decides for its own disk whether that is low, and tells all others. While a majority
 * of the voters is low a leader refuses what needs room; fewer low disks stop nothing. */
#ifndef NODE_DISK_SPACE_H
#define NODE_DISK_SPACE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"
#include "raft/configuration.h"
#include "wire/frame.h"
#include "wire/wire.h"

struct node;
struct origin;

/* What a node says of its disk. */
struct told_space {
    uint64_t incarnation; /* Of that disk; 0: nothing is known. */
    uint64_t free_size;   /* Bytes. */
    bool is_low;
};

struct disk_space {
    struct told_space own;
    uint64_t tell_ms;  /* When the others are told again. */
    uint64_t judge_ms; /* When it is looked at again who is low. */
    bool refuses;      /* A majority is low. */
};

/* The world says how many bytes our disk has left. */
void disk_space_take(struct node *node, uint64_t free_size);

/* The node at that place says it of its own. False when the frame is not valid. */
MUST_USE bool disk_space_take_frame(struct node *node, uint32_t place,
                                    const struct wire_frame *frame);

/* Tells and judges, when that is due. Raft is open. */
void disk_space_tick(struct node *node);

/* When it is to be looked at again, or UINT64_MAX. */
uint64_t disk_space_wake_ms(const struct node *node);

/* NULL: nothing is known. */
const struct told_space *disk_space_of(const struct node *node, const struct raft_member *listed);

/* True: the write has been refused, with a sentence that names the low disks. */
MUST_USE bool disk_space_refuses(struct node *node, const struct origin *origin,
                                 enum wire_method method);

#endif
