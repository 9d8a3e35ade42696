/* server/failpoint/failpoint.c: reads the plan, counts hits, does what the plan says.
 *
 * Linked by `make FAILPOINTS=1` alone. The plan is `POINT=ACTION[@N[+]];...`: at the N-th hit of
 * POINT (N+: from then on; default: at each) error, nospace, stall(MS) or exit. The variable
 * HOLDFAST_FAILPOINTS gives it; the file that HOLDFAST_FAILPOINTS_FILE names is read again whenever
 * another file has taken its place. Both are taken out of the environment. */
#define _GNU_SOURCE /* NOLINT(bugprone-reserved-identifier): the C library's own switch. */
#include "server/failpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/macros.h"
#include "base/text.h"
#include "server/folder.h"

enum {
    PLAN_SIZE_MAX = 4096,
    NAME_SIZE = 64,
    EXIT_STATUS_PLAN = 78,  /* The plan makes no sense. */
    EXIT_STATUS_POINT = 99, /* The action "exit". */
    STALL_MS_MAX = 600 * 1000,
    NS_PER_MS = 1000 * 1000,
    MS_PER_SECOND = 1000,
};

/* Every step that has points around it; the list that tests go through. */
static const char *const steps[] = {
    "log.write",       "log.sync",        "log.read",       "log.fill",      "log.rename",
    "log.remove",      "hard.write",      "hard.sync",      "hard.read",     "hard.rename",
    "hard.remove",     "identity.read",   "identity.write", "identity.sync", "identity.rename",
    "identity.remove", "snapshot.read",   "snapshot.write", "snapshot.cut",  "snapshot.sync",
    "snapshot.rename", "snapshot.remove", "folder.sync",    "format.write",  "format.sync",
    "format.rename",   "marker.remove",   "marker.write",   "marker.sync",   "env.sync",
    "memory.get",
};

enum action { ACTION_NONE, ACTION_ERROR, ACTION_NO_SPACE, ACTION_STALL, ACTION_EXIT };

struct point {
    enum action action;
    uint64_t stall_ms;
    uint64_t nth; /* Acts at this hit only; 0: at each. */
    bool goes_on; /* And at each behind it. */
    uint64_t hits;
};

enum { STEP_COUNT = COUNT_OF(steps), BEFORE = 0, AFTER = 1 };

/* Of a process that exists to be broken: state for all threads, which the product never has. */
static struct {
    pthread_mutex_t mutex;
    struct point points[STEP_COUNT][2];
    char file[PATH_MAX]; /* "": none. */
    struct stat file_seen;
} plan = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static void refuse(const char *what, struct bytes text)
{
    fprintf(stderr,
            "holdfastd: HOLDFAST_FAILPOINTS: %s \"%.*s\"; write POINT=error|nospace|stall(MS)|exit"
            "[@N[+]];..., and HOLDFAST_FAILPOINTS=list for the points\n",
            what, (int)text.size, (const char *)text.data);
    _exit(EXIT_STATUS_PLAN);
}

/* --- The plan --------------------------------------------------------------------------------- */

static bool point_name(char name[NAME_SIZE], size_t step, int side)
{
    struct text text;

    text_init(&text, name, NAME_SIZE);
    text_add(&text, steps[step]);
    text_add(&text, side == BEFORE ? ".before" : ".after");
    return !text.truncated;
}

static struct point *point_find(struct bytes wanted)
{
    for (size_t step = 0; step < STEP_COUNT; step++) {
        for (int side = BEFORE; side <= AFTER; side++) {
            char name[NAME_SIZE];

            ASSERT(point_name(name, step, side));
            if (bytes_equal(wanted, bytes_of_text(name))) {
                return &plan.points[step][side];
            }
        }
    }
    return NULL;
}

/* The bytes before the first `mark`, or all; `*rest` is what follows the mark. */
static struct bytes cut_at(struct bytes text, char mark, struct bytes *rest)
{
    const uint8_t *found = text.size == 0 ? NULL : memchr(text.data, mark, text.size);
    size_t size = found == NULL ? text.size : (size_t)(found - text.data);

    *rest = found == NULL ? bytes_of(NULL, 0) : bytes_skip(text, size + 1);
    return bytes_of(text.data, size);
}

static bool action_parse(struct bytes text, struct point *point)
{
    static const char stall[] = "stall(";

    if (bytes_equal(text, bytes_of_text("error"))) {
        point->action = ACTION_ERROR;
    } else if (bytes_equal(text, bytes_of_text("nospace"))) {
        point->action = ACTION_NO_SPACE;
    } else if (bytes_equal(text, bytes_of_text("exit"))) {
        point->action = ACTION_EXIT;
    } else if (bytes_has_prefix(text, bytes_of_text(stall)) && text.data[text.size - 1] == ')') {
        struct bytes number = bytes_skip(text, sizeof(stall) - 1);

        point->action = ACTION_STALL;
        number.size--;
        return text_parse_u64(number, &point->stall_ms) && point->stall_ms <= STALL_MS_MAX;
    } else {
        return false;
    }
    return true;
}

static void item_apply(struct bytes item)
{
    struct bytes rest;
    struct bytes nth;
    struct bytes name = cut_at(item, '=', &rest);
    struct bytes action = cut_at(rest, '@', &nth);
    struct point parsed = {.action = ACTION_NONE};
    struct point *point = point_find(name);

    if (nth.size != 0 && nth.data[nth.size - 1] == '+') {
        parsed.goes_on = true;
        nth.size--;
    }
    if (point == NULL) {
        refuse("no point is named", name);
        return;
    }
    if (!action_parse(action, &parsed) ||
        (nth.size != 0 && (!text_parse_u64(nth, &parsed.nth) || parsed.nth == 0))) {
        refuse("cannot read", item);
    }
    *point = parsed;
}

/* Replaces the whole plan; hits are counted anew. */
static void plan_apply(struct bytes text)
{
    memset(plan.points, 0, sizeof(plan.points));
    while (text.size != 0) {
        struct bytes rest;
        struct bytes item = cut_at(text, ';', &rest);

        while (item.size != 0 && item.data[item.size - 1] == '\n') {
            item.size--;
        }
        if (item.size != 0) {
            item_apply(item);
        }
        text = rest;
    }
}

/* Reads the file again if it is another than the last time; whoever writes it renames it there. */
static void plan_refresh(void)
{
    char text[PLAN_SIZE_MAX];
    struct stat status;

    if (plan.file[0] == '\0' || stat(plan.file, &status) != 0 ||
        (status.st_ino == plan.file_seen.st_ino &&
         status.st_mtim.tv_sec == plan.file_seen.st_mtim.tv_sec &&
         status.st_mtim.tv_nsec == plan.file_seen.st_mtim.tv_nsec)) {
        return;
    }
    int descriptor = open(plan.file, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) {
        return;
    }
    ssize_t size = read(descriptor, text, sizeof(text));
    close(descriptor);
    if (size < 0 || size == (ssize_t)sizeof(text)) {
        refuse("cannot read the file", bytes_of_text(plan.file));
        return;
    }
    plan.file_seen = status;
    plan_apply(bytes_of(text, (size_t)size));
}

static void list_and_exit(void)
{
    for (size_t step = 0; step < STEP_COUNT; step++) {
        printf("%s.before\n%s.after\n", steps[step], steps[step]);
    }
    fflush(stdout);
    _exit(0);
}

/* Before main(): allocations are counted from the first. */
__attribute__((constructor)) static void failpoint_open(void)
{
    const char *text = getenv("HOLDFAST_FAILPOINTS");
    const char *file = getenv("HOLDFAST_FAILPOINTS_FILE");

    if (text != NULL && strcmp(text, "list") == 0) {
        list_and_exit();
    }
    if (text != NULL) {
        plan_apply(bytes_of_text(text));
    }
    if (file != NULL) {
        if (strlen(file) >= sizeof(plan.file)) {
            refuse("the path is too long", bytes_of_text(file));
        }
        memcpy(plan.file, file, strlen(file) + 1);
        plan_refresh();
    }
    /* The configuration refuses names that it does not know. */
    (void)unsetenv("HOLDFAST_FAILPOINTS");
    (void)unsetenv("HOLDFAST_FAILPOINTS_FILE");
}

/* --- Hits ------------------------------------------------------------------------------------- */

/* "raft-state.tmp" is the hard state, "raft-000...1" the log, any other name its own kind. */
static const char *kind_of(const char *file)
{
    if (strncmp(file, "raft-state", sizeof("raft-state") - 1) == 0) {
        return "hard";
    }
    if (strncmp(file, "raft-", sizeof("raft-") - 1) == 0) {
        return "log";
    }
    if (strncmp(file, "snap-", sizeof("snap-") - 1) == 0) {
        return "snapshot";
    }
    return file;
}

static size_t step_find(const char *file, const char *step)
{
    char name[NAME_SIZE];
    struct text text;

    text_init(&text, name, sizeof(name));
    text_add(&text, kind_of(file));
    text_add(&text, ".");
    text_add(&text, step);
    for (size_t i = 0; i < STEP_COUNT; i++) {
        if (strcmp(steps[i], name) == 0) {
            return i;
        }
    }
    fprintf(stderr, "failpoint: add \"%s\" to the list of steps\n", name);
    abort();
}

static void stall(uint64_t stall_ms)
{
    struct timespec rest = {.tv_sec = (time_t)(stall_ms / MS_PER_SECOND),
                            .tv_nsec = (long)(stall_ms % MS_PER_SECOND * NS_PER_MS)};

    while (nanosleep(&rest, &rest) != 0 && errno == EINTR) {
    }
    dprintf(STDERR_FILENO, "stall=over\n");
}

/* What is to happen at this hit, and one line that says so. */
static struct point hit(const char *file, const char *step, int side)
{
    size_t at = step_find(file, step);
    char name[NAME_SIZE];

    ASSERT(pthread_mutex_lock(&plan.mutex) == 0);
    plan_refresh();
    struct point *point = &plan.points[at][side];
    point->hits++;
    struct point taken = *point;
    ASSERT(pthread_mutex_unlock(&plan.mutex) == 0);
    if (taken.action == ACTION_NONE || taken.hits < taken.nth ||
        (taken.nth != 0 && taken.hits != taken.nth && !taken.goes_on)) {
        return (struct point){.action = ACTION_NONE};
    }
    ASSERT(point_name(name, at, side));
    dprintf(STDERR_FILENO, "failpoint=%s hit=%llu file=%s\n", name, (unsigned long long)taken.hits,
            file);
    return taken;
}

/* An errno, or 0 when the step goes on. */
static int act(const char *file, const char *step, int side)
{
    struct point point = hit(file, step, side);

    switch (point.action) {
    case ACTION_NONE:
        return 0;
    case ACTION_ERROR:
        return EIO;
    case ACTION_NO_SPACE:
        return ENOSPC;
    case ACTION_STALL:
        stall(point.stall_ms);
        return 0;
    case ACTION_EXIT:
        _exit(EXIT_STATUS_POINT);
    }
    UNREACHABLE();
}

bool failpoint_before(const char *file, const char *step)
{
    int number = act(file, step, BEFORE);

    if (number == 0) {
        return false;
    }
    errno = number;
    return true;
}

int failpoint_after(const char *file, const char *step, int number)
{
    return number != 0 ? number : act(file, step, AFTER);
}

int failpoint_after_call(const char *file, const char *step, int result)
{
    if (result != 0) {
        return result;
    }
    int number = act(file, step, AFTER);
    if (number == 0) {
        return 0;
    }
    errno = number;
    return -1;
}
