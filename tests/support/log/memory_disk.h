/* tests/support/log/memory_disk.h: log/disk.h in memory, with every fault a test can ask for.
 *
 * Nothing completes by itself: submitted requests wait, each lane in order, until the test
 * completes them or crashes the disk. What has completed is durable; of the write at the head of a
 * lane a crash keeps the sectors the test says. Files are sparse in effect: large fillings cost
 * what is touched. Nothing here is global: any number of disks can live side by side. */
#ifndef TESTS_SUPPORT_LOG_MEMORY_DISK_H
#define TESTS_SUPPORT_LOG_MEMORY_DISK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/macros.h"
#include "log/disk.h"

/* --- Life ------------------------------------------------------------------------------------ */

struct disk *memory_disk_open(void);
void memory_disk_close(struct disk *disk);

/* A disk with the same files, nothing pending and no fault planned. */
struct disk *memory_disk_copy(const struct disk *disk);

/* --- Completing ------------------------------------------------------------------------------ */

/* Requests that were submitted and not completed. */
uint32_t memory_disk_pending_count(const struct disk *disk);

/* The request at the head of a lane, or NULL. Valid until it completes. */
const struct disk_request *memory_disk_head(const struct disk *disk, enum disk_lane lane);

/* Carries out the head of the lane; false when the lane is empty. */
bool memory_disk_complete_lane(struct disk *disk, enum disk_lane lane,
                               struct disk_completion *completion);

/* Carries out the oldest request of all lanes; false when there is none. */
bool memory_disk_complete_next(struct disk *disk, struct disk_completion *completion);

/* --- Crashing -------------------------------------------------------------------------------- */

/* Which sectors of a write reach the disk: called for each, from 0. */
typedef bool memory_disk_keep(void *context, uint32_t sector);

/* The power fails. Of the write at the head of each lane the sectors that `keep` says are on the
 * disk (NULL: none); everything else that is pending never happened. Of a file that was staged and
 * not published the sectors that `keep` says (NULL: not even the file), others read as zeros. A
 * publishing at the head of its lane has happened when `keep` says so for sector 0. */
void memory_disk_crash(struct disk *disk, memory_disk_keep *keep, void *context);

/* --- Faults ---------------------------------------------------------------------------------- */

/* The `nth` operation from now on (1: the next), synchronous or not, fails with `error`; a write
 * that fails has changed every second of its sectors. 0 takes the plan back. */
void memory_disk_fail(struct disk *disk, uint64_t nth, enum error error);

/* The same, and so does every operation behind it until memory_disk_fail() is called. */
void memory_disk_fail_from(struct disk *disk, uint64_t nth, enum error error);

/* Operations carried out since the disk was opened, failed ones included. */
uint64_t memory_disk_operation_count(const struct disk *disk);

/* No more room: fillings and saves that would let the files exceed it fail with ERR_NO_SPACE. */
void memory_disk_limit(struct disk *disk, uint64_t size_max);

/* --- The files ------------------------------------------------------------------------------- */

uint32_t memory_disk_file_count(const struct disk *disk);

/* In order of the names. */
const char *memory_disk_file_name(const struct disk *disk, uint32_t number);

/* The bytes of a file, or no bytes when there is none. Borrowed until the file changes. */
struct bytes memory_disk_file(const struct disk *disk, const char *name);

/* Makes or replaces a file. */
void memory_disk_put(struct disk *disk, const char *name, struct bytes bytes);

/* These need the file, and the place in it, to exist. */
void memory_disk_remove(struct disk *disk, const char *name);
void memory_disk_flip_bit(struct disk *disk, const char *name, uint64_t bit);
void memory_disk_overwrite(struct disk *disk, const char *name, uint64_t offset,
                           struct bytes bytes);
void memory_disk_zero(struct disk *disk, const char *name, uint64_t offset, uint64_t size);

/* Are all files the same, name by name and byte by byte? */
MUST_USE bool memory_disk_equal(const struct disk *a, const struct disk *b);

#endif
