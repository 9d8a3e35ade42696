/* jepsen/wgl.c: checks every object, and says what is wrong with the worst. */
#include "jepsen/wgl.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "jepsen/object.h"
#include "jepsen/search.h"
#include "jepsen/show.h"

/* How much of the failing part is shown. */
enum { SHOWN_PLACED_MAX = 12, SHOWN_OPEN_MAX = 20 };

struct wgl {
    struct wgl_limits limits;
    uint32_t *placed; /* Of the report. */
    uint32_t *open;
};

struct wgl_limits wgl_default_limits(void)
{
    return (struct wgl_limits){
        .step_count_max = UINT64_C(20) * 1000 * 1000,
        .memory_size_max = (size_t)512 * 1024 * 1024,
    };
}

struct wgl *wgl_open(const struct wgl_limits *limits)
{
    struct wgl *wgl = calloc(1, sizeof(*wgl));

    if (wgl != NULL) {
        wgl->limits = *limits;
    }
    return wgl;
}

void wgl_close(struct wgl *wgl)
{
    if (wgl != NULL) {
        free(wgl->placed);
        free(wgl->open);
        free(wgl);
    }
}

static void *take_copy(const uint32_t *from, uint32_t count)
{
    uint32_t *copy = malloc(count * sizeof(*copy) + 1);

    if (copy != NULL) {
        memcpy(copy, from, count * sizeof(*copy));
    }
    return copy;
}

/* Makes the object that was searched last the one that the report shows. Without memory the report
 * names the object, and shows no operations. */
static void show_object(struct wgl *wgl, const struct search_best *best, uint32_t key,
                        enum wgl_reason reason, struct wgl_report *report)
{
    free(wgl->placed);
    free(wgl->open);
    wgl->placed = take_copy(best->placed, best->placed_count);
    wgl->open = take_copy(best->open, best->open_count);
    report->key = key;
    report->reason = reason;
    report->placed = wgl->placed;
    report->placed_count = wgl->placed == NULL ? 0 : best->placed_count;
    report->open = wgl->open;
    report->open_count = wgl->open == NULL ? 0 : best->open_count;
    report->stuck = best->stuck;
}

static void count_verdict(struct wgl_report *report, enum wgl_verdict verdict)
{
    switch (verdict) {
    case WGL_VALID:
        report->valid_count++;
        return;
    case WGL_INVALID:
        report->invalid_count++;
        return;
    case WGL_UNKNOWN:
        report->unknown_count++;
        return;
    }
    UNREACHABLE();
}

static void check_objects(struct wgl *wgl, struct objects *objects, struct search *search,
                          uint64_t end_ms, struct wgl_report *report)
{
    uint32_t earliest = HISTORY_NONE;

    for (uint32_t key = 0; key < history_key_count(objects->history); key++) {
        struct object object = objects_of_key(objects, key);
        enum wgl_reason reason = WGL_REASON_ADDED_TWICE;
        enum wgl_verdict verdict = WGL_UNKNOWN;
        search->best = (struct search_best){
            .placed = search->best.placed, .open = search->best.open, .stuck = HISTORY_NONE};
        if (!object.is_ambiguous) {
            verdict = search_object(search, &object, wgl->limits.step_count_max, end_ms, &reason);
            report->step_count += search->step_count;
            report->configuration_count += search->configurations.count;
        }
        report->operation_count += object.required_count + object.optional_count;
        count_verdict(report, verdict);
        if (verdict == WGL_INVALID && search->best.stuck_at < earliest) {
            earliest = search->best.stuck_at;
            show_object(wgl, &search->best, key, reason, report);
        } else if (verdict == WGL_UNKNOWN && report->key == HISTORY_NONE) {
            show_object(wgl, &search->best, key, reason, report);
        }
    }
}

enum wgl_verdict wgl_check(struct wgl *wgl, const struct history *history,
                           struct wgl_report *report)
{
    uint64_t end_ms =
        wgl->limits.time_ms_max == 0 ? 0 : search_clock_ms() + wgl->limits.time_ms_max;
    struct objects objects;
    struct search search;

    *report = (struct wgl_report){.key = HISTORY_NONE, .stuck = HISTORY_NONE};
    enum error objects_error = objects_open(&objects, history);
    enum error search_error = search_open(&search, history, wgl->limits.memory_size_max);
    if (objects_error == ERR_OK && search_error == ERR_OK) {
        check_objects(wgl, &objects, &search, end_ms, report);
        report->verdict = report->invalid_count != 0   ? WGL_INVALID
                          : report->unknown_count != 0 ? WGL_UNKNOWN
                                                       : WGL_VALID;
    } else {
        report->verdict = WGL_UNKNOWN;
        report->reason = WGL_REASON_MEMORY;
    }
    search_close(&search);
    objects_close(&objects);
    return report->verdict;
}

const char *wgl_verdict_name(enum wgl_verdict verdict)
{
    switch (verdict) {
    case WGL_VALID:
        return "valid";
    case WGL_INVALID:
        return "invalid";
    case WGL_UNKNOWN:
        return "unknown";
    }
    UNREACHABLE();
}

static const char *reason_text(enum wgl_reason reason)
{
#define WGL_AS_TEXT(name, text) text,
    static const char *const texts[] = {WGL_REASON_LIST(WGL_AS_TEXT)};
#undef WGL_AS_TEXT

    ASSERT(reason < WGL_REASON_COUNT);
    return texts[reason];
}

static void add_placed(const struct wgl_report *report, const struct history *history,
                       struct text *text)
{
    uint32_t first =
        report->placed_count > SHOWN_PLACED_MAX ? report->placed_count - SHOWN_PLACED_MAX : 0;

    text_add(text, "the longest order that holds places ");
    text_add_u64(text, report->placed_count);
    text_add(text, first == 0 ? " operations:\n" : " operations, the last of them:\n");
    for (uint32_t i = first; i < report->placed_count; i++) {
        show_operation(history, report->placed[i], text);
    }
}

static void add_open(const struct wgl_report *report, const struct history *history,
                     struct text *text)
{
    uint32_t count =
        report->open_count < SHOWN_OPEN_MAX ? report->open_count : (uint32_t)SHOWN_OPEN_MAX;

    text_add(text, "none of these can come next:\n");
    for (uint32_t i = 0; i < count; i++) {
        show_operation(history, report->open[i], text);
    }
    if (count < report->open_count) {
        text_add(text, "  and ");
        text_add_u64(text, report->open_count - count);
        text_add(text, " more\n");
    }
    text_add(text, "and this one was answered before anything else was called:\n");
    show_operation(history, report->stuck, text);
}

void wgl_explain(const struct wgl_report *report, const struct history *history, struct text *text)
{
    text_add(text, wgl_verdict_name(report->verdict));
    text_add(text, ": ");
    text_add_u64(text, report->operation_count);
    text_add(text, " operations on ");
    text_add_u64(text, report->valid_count + report->invalid_count + report->unknown_count);
    text_add(text, " objects, ");
    text_add_u64(text, report->invalid_count);
    text_add(text, " invalid, ");
    text_add_u64(text, report->unknown_count);
    text_add(text, " unknown\n");
    if (report->verdict == WGL_UNKNOWN) {
        text_add(text, reason_text(report->reason));
        text_add(text, "\n");
    }
    if (report->key == HISTORY_NONE) {
        return;
    }
    show_object_name(history, report->key, text);
    text_add(text, ": ");
    add_placed(report, history, text);
    if (report->stuck != HISTORY_NONE) {
        add_open(report, history, text);
    }
}
