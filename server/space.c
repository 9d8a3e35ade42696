/* server/space.c: how much room the disk of the data folder has left, looked up now and then. */
#define _GNU_SOURCE /* NOLINT(bugprone-reserved-identifier): the C library's own switch. */
#include "server/space.h"

#include <sys/statvfs.h>

#include "base/assert.h"

enum { LOOK_INTERVAL_MS = 1000 };

/* On a thread of the pool. */
static void look_up(uv_work_t *work)
{
    struct space *space = work->data;
    struct statvfs status;

    space->has_failed = statvfs(space->path, &status) != 0;
    space->looked_up_size =
        space->has_failed ? 0 : (uint64_t)status.f_bavail * (uint64_t)status.f_frsize;
}

/* A look-up that failed tells nothing: what was known stays. */
static void looked_up(uv_work_t *work, int status)
{
    struct space *space = work->data;

    space->is_under_way = false;
    if (status == 0 && !space->has_failed) {
        space->free_size = space->looked_up_size;
        space->is_new = true;
    }
}

static void due(uv_timer_t *timer)
{
    struct space *space = timer->data;

    if (!space->is_under_way) {
        space->is_under_way = true;
        ASSERT(uv_queue_work(timer->loop, &space->work, look_up, looked_up) == 0);
    }
}

void space_open(struct space *space, uv_loop_t *loop, const char *path)
{
    ASSERT(path != NULL && space->path == NULL);
    *space = (struct space){.path = path};
    space->timer.data = space;
    space->work.data = space;
    ASSERT(uv_timer_init(loop, &space->timer) == 0);
    ASSERT(uv_timer_start(&space->timer, due, 0, LOOK_INTERVAL_MS) == 0);
}

bool space_is_new(const struct space *space)
{
    return space->is_new;
}

bool space_take(struct space *space, uint64_t *free_size)
{
    bool is_new = space->is_new;

    *free_size = space->free_size;
    space->is_new = false;
    return is_new;
}

void space_close(struct space *space)
{
    if (space->path != NULL && !uv_is_closing((uv_handle_t *)&space->timer)) {
        uv_close((uv_handle_t *)&space->timer, NULL);
    }
}
