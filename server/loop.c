/* server/loop.c: poll, then one turn of the node, then write. */
#define _GNU_SOURCE /* NOLINT(bugprone-reserved-identifier): the C library's own switch. */
#include "server/loop.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>

#include "base/assert.h"
#include "server/disk_posix.h"
#include "server/space.h"
#include "server/world_uv.h"

enum {
    EVENT_COUNT_MAX = WORLD_EVENT_COUNT_MAX,
    STOP_MS_MAX = 5000,        /* The node has so long to hand over and finish. */
    SLOW_TURN_MS = 100,        /* A turn that took longer is worth a line. */
    WAKE_MS_MAX = 60 * 1000,   /* The timer is set anew at least so often. */
    COMPLETION_COUNT_MAX = 64, /* Of the disk, taken in one turn. */
};

_Static_assert((int)COMPLETION_COUNT_MAX >= (int)DISK_REQUEST_COUNT_MAX,
               "all completions are taken in one turn");

struct loop {
    uv_loop_t uv;
    uv_async_t wake;
    uv_check_t check;
    uv_prepare_t prepare;
    uv_idle_t due; /* Active: the next poll does not wait. */
    uv_timer_t timer;
    uv_timer_t stop_timer;
    uv_signal_t signals[2];
    struct space space;
    struct clock clock;
    struct logger *logger;
    struct node *node; /* NULL while the loop does not run. */
    struct world *world;
    struct disk *disk;
    uint64_t wake_ms;      /* When the timer is set to. */
    bool is_due;           /* A turn is due without any event. */
    bool disk_is_ready;    /* Completions may be waiting. */
    bool is_stopping;      /* A signal came; */
    bool is_told_stopping; /* and the node knows. */
    bool is_late;
    struct node_event events[EVENT_COUNT_MAX];
};

uv_loop_t *loop_uv(struct loop *loop)
{
    return &loop->uv;
}

uv_async_t *loop_wake(struct loop *loop)
{
    return &loop->wake;
}

struct clock *loop_clock(struct loop *loop)
{
    return &loop->clock;
}

/* --- Callbacks: they only take note ----------------------------------------------------------- */

static void woken(uv_async_t *wake)
{
    struct loop *loop = wake->data;

    loop->disk_is_ready = true;
}

static void timer_fired(uv_timer_t *timer)
{
    struct loop *loop = timer->data;

    loop->wake_ms = 0; /* It is not set any more. */
    loop->is_due = true;
}

static void idle(uv_idle_t *due)
{
    (void)due;
}

static void stop_expired(uv_timer_t *timer)
{
    struct loop *loop = timer->data;

    loop->is_late = true;
    uv_stop(&loop->uv);
}

static void signalled(uv_signal_t *handle, int number)
{
    struct loop *loop = handle->data;
    char memory[LOGGER_LINE_SIZE];
    struct text line;

    if (loop->is_stopping) {
        return;
    }
    loop->is_stopping = true;
    logger_line_begin(&line, memory, "signal");
    logger_line_add(&line, "name", number == SIGTERM ? "SIGTERM" : "SIGINT");
    logger_write(loop->logger, WORLD_INFO, bytes_of(line.data, line.size));
    ASSERT(uv_timer_start(&loop->stop_timer, stop_expired, STOP_MS_MAX, 0) == 0);
}

/* --- The turn --------------------------------------------------------------------------------- */

/* What there is for the node, in the order in which it should see it. */
static uint32_t gather(struct loop *loop)
{
    uint32_t count = 0;

    if (loop->disk_is_ready) {
        struct disk_completion completions[COMPLETION_COUNT_MAX];
        uint32_t taken = disk_posix_take(loop->disk, completions, COMPLETION_COUNT_MAX);

        loop->disk_is_ready = false;
        for (uint32_t i = 0; i < taken; i++) {
            loop->events[count++] =
                (struct node_event){.kind = NODE_DISK_DONE, .completion = completions[i]};
        }
    }
    struct node_event room = {.kind = NODE_DISK_SPACE};

    if (space_take(&loop->space, &room.free_size)) {
        loop->events[count++] = room;
    }
    if (loop->is_stopping && !loop->is_told_stopping) {
        loop->is_told_stopping = true;
        loop->events[count++] = (struct node_event){.kind = NODE_STOP};
    }
    return count + world_uv_gather(loop->world, loop->events + count, EVENT_COUNT_MAX - count);
}

static bool has_news(const struct loop *loop)
{
    return loop->disk_is_ready || space_is_new(&loop->space) ||
           (loop->is_stopping && !loop->is_told_stopping) || world_uv_is_ready(loop->world);
}

/* Runs before every poll: timers and closed handles may have left work that no socket announces,
 * and a poll that waits would leave it lying. */
static void prepare(uv_prepare_t *handle)
{
    struct loop *loop = handle->data;

    if (loop->is_due || has_news(loop)) {
        ASSERT(uv_idle_start(&loop->due, idle) == 0);
    }
}

static void timer_arm(struct loop *loop, uint64_t now_ms)
{
    uint64_t wake_ms = node_wake_ms(loop->node);

    if (wake_ms > now_ms + WAKE_MS_MAX) {
        wake_ms = now_ms + WAKE_MS_MAX;
    }
    if (wake_ms == loop->wake_ms) {
        return;
    }
    loop->wake_ms = wake_ms;
    ASSERT(uv_timer_start(&loop->timer, timer_fired, wake_ms <= now_ms ? 0 : wake_ms - now_ms, 0) ==
           0);
}

static void slow_turn_log(struct loop *loop, uint64_t took_ms)
{
    char memory[LOGGER_LINE_SIZE];
    struct text line;

    logger_line_begin(&line, memory, "slow_turn");
    logger_line_add_number(&line, "took_ms", took_ms);
    logger_write(loop->logger, WORLD_WARNING, bytes_of(line.data, line.size));
}

/* True when the node has finished or cannot go on. */
static bool turn_once(struct loop *loop, uint64_t now_ms)
{
    uint32_t count = gather(loop);

    node_turn(loop->node, loop->events, count, now_ms);
    if (node_problem(loop->node) != NULL) {
        /* What it has said in this turn may rest on what failed: none of it leaves. */
        return true;
    }
    world_uv_settle(loop->world, loop->events, count);
    return loop->is_told_stopping && node_is_stopped(loop->node);
}

/* Runs after every poll. A node that always has more to do is not run for ever here: its wake time
 * is then now, and the next turn comes after one look at the sockets. */
static void turn(uv_check_t *check)
{
    struct loop *loop = check->data;
    uint64_t now_ms = clock_now_ms(&loop->clock);
    uint64_t begin_ms = now_ms;
    bool is_over = false;

    loop->is_due = false;
    (void)uv_idle_stop(&loop->due);
    if (!has_news(loop) && now_ms < node_wake_ms(loop->node)) {
        timer_arm(loop, now_ms);
        return;
    }
    world_uv_repeat(loop->world);
    do {
        is_over = turn_once(loop, now_ms);
        now_ms = clock_now_ms(&loop->clock);
    } while (!is_over && world_uv_is_ready(loop->world));
    if (now_ms - begin_ms >= SLOW_TURN_MS) {
        slow_turn_log(loop, now_ms - begin_ms);
    }
    if (is_over) {
        uv_stop(&loop->uv);
        return;
    }
    timer_arm(loop, now_ms);
}

/* --- Opening, running, closing ---------------------------------------------------------------- */

static void handles_open(struct loop *loop)
{
    ASSERT(uv_check_init(&loop->uv, &loop->check) == 0);
    ASSERT(uv_prepare_init(&loop->uv, &loop->prepare) == 0);
    ASSERT(uv_idle_init(&loop->uv, &loop->due) == 0);
    ASSERT(uv_timer_init(&loop->uv, &loop->timer) == 0);
    ASSERT(uv_timer_init(&loop->uv, &loop->stop_timer) == 0);
    loop->wake.data = loop;
    loop->check.data = loop;
    loop->prepare.data = loop;
    loop->timer.data = loop;
    loop->stop_timer.data = loop;
}

static int signals_open(struct loop *loop)
{
    static const int numbers[] = {SIGTERM, SIGINT};
    int code = 0;

    for (size_t i = 0; i < COUNT_OF(numbers) && code == 0; i++) {
        ASSERT(uv_signal_init(&loop->uv, &loop->signals[i]) == 0);
        loop->signals[i].data = loop;
        code = uv_signal_start(&loop->signals[i], signalled, numbers[i]);
    }
    return code;
}

struct loop *loop_open(struct logger *logger)
{
    struct loop *loop = calloc(1, sizeof(*loop));
    int code;

    if (loop == NULL) {
        return NULL;
    }
    loop->logger = logger;
    clock_init(&loop->clock);
    code = uv_loop_init(&loop->uv);
    if (code != 0) {
        goto undo_memory;
    }
    code = uv_async_init(&loop->uv, &loop->wake, woken);
    if (code != 0) {
        goto undo_loop;
    }
    handles_open(loop);
    code = signals_open(loop);
    if (code != 0) {
        loop_close(loop);
        errno = -code;
        return NULL;
    }
    return loop;

undo_loop:
    (void)uv_loop_close(&loop->uv);
undo_memory:
    free(loop);
    errno = -code;
    return NULL;
}

void loop_watch_space(struct loop *loop, const char *path)
{
    space_open(&loop->space, &loop->uv, path);
}

enum loop_end loop_run(struct loop *loop, struct node *node, struct world *world, struct disk *disk)
{
    ASSERT(loop->node == NULL);
    loop->node = node;
    loop->world = world;
    loop->disk = disk;
    loop->disk_is_ready = true;
    ASSERT(uv_prepare_start(&loop->prepare, prepare) == 0);
    ASSERT(uv_check_start(&loop->check, turn) == 0);
    timer_arm(loop, clock_now_ms(&loop->clock));
    (void)uv_run(&loop->uv, UV_RUN_DEFAULT);
    ASSERT(uv_prepare_stop(&loop->prepare) == 0);
    ASSERT(uv_check_stop(&loop->check) == 0);
    (void)uv_idle_stop(&loop->due);
    loop->node = NULL;
    if (node_problem(node) != NULL) {
        return LOOP_FAILED;
    }
    return loop->is_late ? LOOP_LATE : LOOP_STOPPED;
}

static void handle_close(uv_handle_t *handle)
{
    if (!uv_is_closing(handle)) {
        uv_close(handle, NULL);
    }
}

void loop_close(struct loop *loop)
{
    /* Whatever was opened on the loop by others has been closed by them already. */
    handle_close((uv_handle_t *)&loop->wake);
    handle_close((uv_handle_t *)&loop->check);
    handle_close((uv_handle_t *)&loop->prepare);
    handle_close((uv_handle_t *)&loop->due);
    handle_close((uv_handle_t *)&loop->timer);
    handle_close((uv_handle_t *)&loop->stop_timer);
    space_close(&loop->space);
    for (size_t i = 0; i < COUNT_OF(loop->signals); i++) {
        if (loop->signals[i].data != NULL) {
            handle_close((uv_handle_t *)&loop->signals[i]);
        }
    }
    (void)uv_run(&loop->uv, UV_RUN_DEFAULT);
    ASSERT(uv_loop_close(&loop->uv) == 0);
    free(loop);
}
