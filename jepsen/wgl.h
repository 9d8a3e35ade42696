/* jepsen/wgl.h: is a history linearizable? The search of Wing and Gong, with Lowe's memory.
 *
 * Each object is checked alone, which is sound and complete (Herlihy and Wing 1990, locality).
 * Operations that failed are left out; those with an unknown outcome may take effect at any later
 * time or never. The verdict depends on the history and on limits of steps and memory only, not on
 * the machine, unless a limit of time cuts it short. */
#ifndef JEPSEN_WGL_H
#define JEPSEN_WGL_H

#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"
#include "base/text.h"
#include "jepsen/history.h"

/* UNKNOWN is never a pass. */
enum wgl_verdict { WGL_VALID, WGL_INVALID, WGL_UNKNOWN };

/* X(name, text): why there is no verdict. */
#define WGL_REASON_LIST(X)                                                                         \
    X(NONE, "nothing stands against it")                                                           \
    X(STEPS, "the limit of steps was reached")                                                     \
    X(MEMORY, "the limit of memory was reached")                                                   \
    X(TIME, "the limit of time was reached")                                                       \
    X(ADDED_TWICE, "one element was added twice to a set: give each addition its own")

#define WGL_AS_REASON(name, text) WGL_REASON_##name,
enum wgl_reason { WGL_REASON_LIST(WGL_AS_REASON) WGL_REASON_COUNT };
#undef WGL_AS_REASON

struct wgl_limits {
    uint64_t step_count_max; /* Of the model, for each object. */
    size_t memory_size_max;  /* Bytes of remembered configurations, for each object. */
    uint32_t time_ms_max;    /* For the whole check; 0: none. */
};

/* 20 million steps, 512 MiB, no limit of time. */
struct wgl_limits wgl_default_limits(void);

struct wgl_report {
    enum wgl_verdict verdict; /* INVALID if any object is, else UNKNOWN if any object is. */
    uint32_t valid_count;     /* Objects. */
    uint32_t invalid_count;
    uint32_t unknown_count;
    uint32_t operation_count; /* Without those that failed. */
    uint64_t step_count;
    uint64_t configuration_count; /* Remembered, over all objects. */
    /* Of the bad object that fails earliest; without one, of the first unknown object. All arrays
     * belong to the checker, until its next check. */
    uint32_t key;           /* HISTORY_NONE when all are valid. */
    enum wgl_reason reason; /* With UNKNOWN. */
    const uint32_t *placed; /* The longest order that holds so far, as numbers of operations. */
    uint32_t placed_count;
    const uint32_t *open; /* Those that were to come next and cannot be placed. */
    uint32_t open_count;
    uint32_t stuck; /* The one of them whose answer ends the search; HISTORY_NONE if unknown. */
};

struct wgl;

/* NULL when there is not the memory. To be closed. */
struct wgl *wgl_open(const struct wgl_limits *limits);
void wgl_close(struct wgl *wgl);

MUST_USE enum wgl_verdict wgl_check(struct wgl *wgl, const struct history *history,
                                    struct wgl_report *report);

const char *wgl_verdict_name(enum wgl_verdict verdict);

/* The verdict, and the failing part: the last operations of the order that holds, and those that
 * cannot be placed. */
void wgl_explain(const struct wgl_report *report, const struct history *history, struct text *text);

#endif
