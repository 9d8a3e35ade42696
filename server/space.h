/* server/space.h: how much room the disk of the data folder has left, looked up now and then.
 *
 * Looking it up may wait for the file system, so a thread of libuv's pool does it, never two at a
 * time. What came out lies here until it is taken. */
#ifndef SERVER_SPACE_H
#define SERVER_SPACE_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/macros.h"

struct space {
    uv_timer_t timer;
    uv_work_t work;
    const char *path; /* NULL: it was not opened. */
    bool is_under_way;
    bool has_failed;
    uint64_t looked_up_size; /* By the thread. */
    bool is_new;             /* `free_size` was not taken yet. */
    uint64_t free_size;
};

/* `path` is borrowed until the loop has run out. */
void space_open(struct space *space, uv_loop_t *loop, const char *path);

/* True, and `*free_size` is what there is for this user, in bytes, if that was looked up since. */
MUST_USE bool space_take(struct space *space, uint64_t *free_size);
bool space_is_new(const struct space *space);

/* Its handle is closed; the loop has to run until that, and what is under way, is done. */
void space_close(struct space *space);

#endif
