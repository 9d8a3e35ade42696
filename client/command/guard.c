/* client/command/guard.c: the guard process, and its parent's side of the pipes. */
#define _GNU_SOURCE
#include "client/command/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/macros.h"
#include "client/command/clock.h"
#include "client/command/guard_plan.h"

enum guard_order { ORDER_WATCH, ORDER_EXTEND, ORDER_RELEASE };

/* Written and read whole: it is smaller than PIPE_BUF. */
struct order {
    uint64_t deadline_ms;
    int64_t group;
    enum guard_order order;
};

/* What the guard says: an answer to ORDER_WATCH and ORDER_RELEASE, and a notice. */
enum { REPLY_UNTOUCHED = 'u', REPLY_ENDED = 'e', NOTICE_ENDING = '!' };

enum { GUARD_IN_FD = 0, GUARD_OUT_FD = 1, REPLY_TIMEOUT_MS = 1000 };

struct guarding {
    struct guard_plan plan;
    uint64_t ttl_ms;
    pid_t group; /* 0: none. */
    bool has_ended;
    int timer_fd;
};

/* --- In the guard process --------------------------------------------------------------------- */

static void say(char byte)
{
    /* Nobody to tell is no reason to stop: the parent may be gone or frozen. */
    ssize_t written = write(GUARD_OUT_FD, &byte, 1);

    ASSERT(written <= 1);
}

static void end_group(struct guarding *guarding, int number)
{
    ASSERT(guarding->group > 1);
    if (!guarding->has_ended) {
        guarding->has_ended = true;
        say(NOTICE_ENDING);
    }
    kill(-guarding->group, number);
    /* A stopped process acts on SIGTERM only when it is continued. */
    kill(-guarding->group, SIGCONT);
}

static void step(struct guarding *guarding)
{
    if (guarding->group == 0) {
        return;
    }
    switch (guard_plan_step(&guarding->plan, clock_now_ms())) {
    case GUARD_NOTHING:
        return;
    case GUARD_TERMINATE:
        end_group(guarding, SIGTERM);
        return;
    case GUARD_KILL:
        end_group(guarding, SIGKILL);
        return;
    }
    UNREACHABLE();
}

static void carry_out(struct guarding *guarding, const struct order *order)
{
    switch (order->order) {
    case ORDER_WATCH:
        guarding->group = (pid_t)order->group;
        guarding->has_ended = false;
        guard_plan_init(&guarding->plan, guarding->ttl_ms, order->deadline_ms);
        /* The parent may have been frozen since it was granted the lock. */
        step(guarding);
        say(guarding->has_ended ? REPLY_ENDED : REPLY_UNTOUCHED);
        return;
    case ORDER_EXTEND:
        guard_plan_extend(&guarding->plan, order->deadline_ms);
        return;
    case ORDER_RELEASE:
        guarding->group = 0;
        say(guarding->has_ended ? REPLY_ENDED : REPLY_UNTOUCHED);
        return;
    }
    UNREACHABLE();
}

/* The timer also runs while the machine is suspended, and goes off when it wakes up. */
static void arm(const struct guarding *guarding)
{
    struct itimerspec timer = {.it_interval = {0}};

    if (guarding->group != 0) {
        uint64_t sleep_ms = guard_plan_sleep_ms(&guarding->plan, clock_now_ms());

        if (sleep_ms != UINT64_MAX) {
            timer.it_value.tv_sec = (time_t)(sleep_ms / 1000);
            timer.it_value.tv_nsec = (long)(sleep_ms % 1000) * 1000000;
        }
    }
    int failed = timerfd_settime(guarding->timer_fd, 0, &timer, NULL);

    ASSERT(failed == 0);
}

/* True until the parent is gone. Deadlines are looked at before any message: a renewal that comes
 * too late must not undo what is due. */
static bool turn(struct guarding *guarding)
{
    struct pollfd waiting[] = {{.fd = GUARD_IN_FD, .events = POLLIN},
                               {.fd = guarding->timer_fd, .events = POLLIN}};
    struct order order;
    uint64_t expirations;

    arm(guarding);
    int ready = poll(waiting, COUNT_OF(waiting), -1);

    step(guarding);
    if (ready < 0) {
        return true;
    }
    if (waiting[1].revents != 0) {
        ssize_t size = read(guarding->timer_fd, &expirations, sizeof(expirations));
        ASSERT(size <= (ssize_t)sizeof(expirations));
    }
    if (waiting[0].revents == 0) {
        return true;
    }
    ssize_t size = read(GUARD_IN_FD, &order, sizeof(order));

    if (size == (ssize_t)sizeof(order)) {
        carry_out(guarding, &order);
        return true;
    }
    return size < 0 && errno == EINTR;
}

static _Noreturn void guard_main(uint64_t ttl_ms, int in_fd, int out_fd)
{
    struct guarding guarding = {.ttl_ms = ttl_ms};
    const int ignored[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGPIPE, SIGTSTP};

    /* Away from the terminal, and from every signal that is meant for the parent's group. */
    setsid();
    prctl(PR_SET_NAME, "holdfast-guard");
    for (size_t i = 0; i < COUNT_OF(ignored); i++) {
        signal(ignored[i], SIG_IGN);
    }
    /* Above the standard ones first, so that neither takes the other's place. */
    in_fd = fcntl(in_fd, F_DUPFD, STDERR_FILENO + 1);
    out_fd = fcntl(out_fd, F_DUPFD, STDERR_FILENO + 1);
    if (in_fd < 0 || out_fd < 0 || dup2(in_fd, GUARD_IN_FD) < 0 || dup2(out_fd, GUARD_OUT_FD) < 0) {
        _exit(1);
    }
    /* A reader of our output must not wait for the guard. */
    if (close_range(GUARD_OUT_FD + 1, ~0U, 0) != 0) {
        _exit(1);
    }
    guarding.timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);
    if (guarding.timer_fd < 0) {
        _exit(1);
    }
    while (turn(&guarding)) {
    }
    if (guarding.group != 0) {
        end_group(&guarding, SIGKILL);
    }
    _exit(0);
}

/* --- In the parent ---------------------------------------------------------------------------- */

bool guard_open(struct guard *guard, uint64_t ttl_ms)
{
    int there[2];
    int back[2];

    ASSERT(ttl_ms > 0);
    if (pipe2(there, O_CLOEXEC) != 0) {
        return false;
    }
    if (pipe2(back, O_CLOEXEC) != 0 || fcntl(there[1], F_SETFL, O_NONBLOCK) != 0) {
        goto undo_there;
    }
    guard->pid = fork();
    if (guard->pid < 0) {
        goto undo_back;
    }
    if (guard->pid == 0) {
        close(there[1]);
        close(back[0]);
        guard_main(ttl_ms, there[0], back[1]);
    }
    close(there[0]);
    close(back[1]);
    guard->to_fd = there[1];
    guard->from_fd = back[0];
    return true;

undo_back:
    close(back[0]);
    close(back[1]);
undo_there:
    close(there[0]);
    close(there[1]);
    return false;
}

static bool give(const struct guard *guard, const struct order *order)
{
    return write(guard->to_fd, order, sizeof(*order)) == (ssize_t)sizeof(*order);
}

/* The guard's next reply; 0 when it is gone or silent. Notices on the way are passed over: the
 * reply that follows says the same. */
static char await_reply(const struct guard *guard)
{
    struct pollfd waiting = {.fd = guard->from_fd, .events = POLLIN};
    uint64_t until_ms = clock_now_ms() + REPLY_TIMEOUT_MS;

    for (;;) {
        uint64_t now_ms = clock_now_ms();
        uint64_t left_ms = now_ms < until_ms ? until_ms - now_ms : 0;
        char byte;

        /* Also when no time is left: this process may have been the frozen one. */
        int ready = poll(&waiting, 1, (int)left_ms);

        if (ready == 0 && left_ms == 0) {
            return 0;
        }
        if (ready <= 0) {
            continue;
        }
        ssize_t size = read(guard->from_fd, &byte, 1);

        if (size == 1 && byte != NOTICE_ENDING) {
            return byte;
        }
        if (size == 0 || (size < 0 && errno != EINTR)) {
            return 0;
        }
    }
}

/* SIGKILL ends a stopped process too. */
static void end_process(struct guard *guard)
{
    ASSERT(guard->pid >= 0);
    if (guard->pid == 0) {
        return;
    }
    kill(guard->pid, SIGKILL);
    while (waitpid(guard->pid, NULL, 0) < 0 && errno == EINTR) {
    }
    guard->pid = 0;
}

static bool ask(struct guard *guard, const struct order *order)
{
    char reply = give(guard, order) ? await_reply(guard) : 0;

    if (reply == 0) {
        end_process(guard);
    }
    return reply == REPLY_UNTOUCHED;
}

bool guard_watch(struct guard *guard, pid_t group, uint64_t deadline_ms)
{
    const struct order order = {.deadline_ms = deadline_ms, .group = group, .order = ORDER_WATCH};

    ASSERT(group > 1);
    return ask(guard, &order);
}

void guard_extend(struct guard *guard, uint64_t deadline_ms)
{
    const struct order order = {.deadline_ms = deadline_ms, .order = ORDER_EXTEND};
    bool given = give(guard, &order);

    ASSERT(given || errno != EINVAL);
}

enum guard_notice guard_look(struct guard *guard)
{
    struct pollfd waiting = {.fd = guard->from_fd, .events = POLLIN};
    char byte;

    if (poll(&waiting, 1, 0) <= 0) {
        return GUARD_IS_QUIET;
    }
    ssize_t size = read(guard->from_fd, &byte, 1);

    if (size == 0) {
        return GUARD_IS_GONE;
    }
    ASSERT(size < 0 || byte == NOTICE_ENDING);
    return size < 0 ? GUARD_IS_QUIET : GUARD_IS_ENDING;
}

bool guard_release(struct guard *guard)
{
    const struct order order = {.order = ORDER_RELEASE};

    return ask(guard, &order);
}

void guard_close(struct guard *guard)
{
    ASSERT(guard->to_fd > STDERR_FILENO && guard->from_fd > STDERR_FILENO);
    end_process(guard);
    close(guard->to_fd);
    close(guard->from_fd);
}
