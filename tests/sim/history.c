/* tests/sim/history.c: what clients saw of keys, and whether it can have been so. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/text.h"
#include "jepsen/history.h"
#include "jepsen/wgl.h"
#include "tests/sim/sim.h"

uint32_t sim_history_begin(struct sim *sim, const struct sim_operation *operation)
{
    struct sim_history *history = &sim->history;

    if (history->count == history->capacity) {
        history->capacity = history->capacity == 0 ? 1024 : 2 * history->capacity;
        history->operations =
            realloc(history->operations, history->capacity * sizeof(*history->operations));
        ASSERT(history->operations != NULL);
    }
    history->operations[history->count] = *operation;
    history->operations[history->count].end = SIM_NEVER;
    return history->count++;
}

void sim_history_end(struct sim *sim, uint32_t number)
{
    struct sim_operation *operation = &sim->history.operations[number];

    ASSERT(operation->end == SIM_NEVER);
    operation->end = sim->history.order++;
    operation->end_ms = sim_now_ms(sim);
}

void sim_history_drop(struct sim *sim, uint32_t number)
{
    sim->history.operations[number].key = SIM_KEY_COUNT_MAX;
}

void sim_history_note(struct sim *sim, struct bytes text, uint64_t index)
{
    struct sim_history *history = &sim->history;
    uint64_t value = sim_value_of(text);

    SIM_CHECK(sim, writes_were_asked_for, value != 0 && value <= history->value, value, index);
    while (value >= history->write_capacity) {
        uint64_t capacity = history->write_capacity == 0 ? 1024 : 2 * history->write_capacity;

        history->writes = realloc(history->writes, capacity * sizeof(*history->writes));
        ASSERT(history->writes != NULL);
        memset(history->writes + history->write_capacity, 0,
               (capacity - history->write_capacity) * sizeof(*history->writes));
        history->write_capacity = capacity;
    }
    if (history->writes[value] == 0) {
        history->writes[value] = index;
    }
}

void sim_history_close(struct sim *sim)
{
    free(sim->history.writes);
    free(sim->history.operations);
}

/* --- Revisions ----------------------------------------------------------------------------------
 */

/* A revision is the index of the entry that wrote the value: it orders the writes of a key. So each
 * value has one revision (a request that is retried is executed once), and no operation that began
 * after the end of another may go back behind it. */
static bool has_revision(const struct sim_operation *operation)
{
    return operation->end != SIM_NEVER && !operation->is_refused && !operation->is_absent;
}

static void check_value(struct sim *sim, uint64_t *revisions, const struct sim_operation *operation)
{
    if (operation->kind == SIM_DELETE) {
        return;
    }
    SIM_CHECK(sim, values_were_written,
              operation->value != 0 && operation->value <= sim->history.value, operation->value,
              sim->history.value);
    uint64_t *revision = &revisions[operation->value];

    if (*revision == 0) {
        *revision = operation->revision;
    }
    SIM_CHECK(sim, each_write_has_one_revision, *revision == operation->revision,
              operation->revision, *revision);
}

/* A beginning or an end. */
struct moment {
    uint64_t order;
    uint32_t operation;
    bool is_end;
};

static int compare_moments(const void *a, const void *b)
{
    const struct moment *left = a;
    const struct moment *right = b;

    return (left->order > right->order) - (left->order < right->order);
}

static struct moment *sort_moments(const struct sim_history *history, uint32_t *count)
{
    struct moment *moments = malloc((2ul * history->count + 1) * sizeof(*moments));

    ASSERT(moments != NULL);
    *count = 0;
    for (uint32_t i = 0; i < history->count; i++) {
        const struct sim_operation *operation = &history->operations[i];

        if (operation->key == SIM_KEY_COUNT_MAX) {
            continue;
        }
        moments[(*count)++] = (struct moment){.order = operation->begin, .operation = i};
        if (operation->end != SIM_NEVER) {
            moments[(*count)++] =
                (struct moment){.order = operation->end, .operation = i, .is_end = true};
        }
    }
    qsort(moments, *count, sizeof(*moments), compare_moments);
    return moments;
}

static void check_time(struct sim *sim, const struct moment *moments, uint32_t count)
{
    const struct sim_history *history = &sim->history;
    uint64_t newest[SIM_KEY_COUNT_MAX] = {0}; /* Of what has ended. */
    uint64_t *before = calloc(history->count + 1ul, sizeof(*before));

    ASSERT(before != NULL);
    for (uint32_t i = 0; i < count; i++) {
        const struct sim_operation *operation = &history->operations[moments[i].operation];
        uint64_t *known = &newest[operation->key];

        if (!moments[i].is_end) {
            before[moments[i].operation] = *known;
        } else if (has_revision(operation)) {
            SIM_CHECK(sim, reads_and_writes_follow_time,
                      operation->revision > before[moments[i].operation] ||
                          (operation->kind == SIM_GET &&
                           operation->revision == before[moments[i].operation]),
                      operation->revision, before[moments[i].operation]);
            *known = operation->revision > *known ? operation->revision : *known;
        }
    }
    free(before);
}

static void note_unknown(struct sim *sim, const uint64_t *revisions)
{
    for (uint32_t i = 0; i < sim->history.count; i++) {
        const struct sim_operation *operation = &sim->history.operations[i];

        if (operation->end == SIM_NEVER && operation->value != 0 &&
            operation->key < SIM_KEY_COUNT_MAX && revisions[operation->value] != 0) {
            SOMETIMES(sim, unknown_write_applied);
        }
    }
}

/* --- The search ---------------------------------------------------------------------------------
 */

static void must(struct sim *sim, enum error error)
{
    SIM_CHECK(sim, histories_are_recorded, error == ERR_OK, error, 0);
}

/* A value is named by its number. */
static history_value named(struct sim *sim, struct history *history, uint64_t value)
{
    history_value known = HISTORY_ABSENT;

    if (value != 0) {
        uint8_t bytes[8];

        store_u64(bytes, value);
        must(sim, history_value_of(history, bytes_of(bytes, sizeof(bytes)), &known));
    }
    return known;
}

static void record_call(struct sim *sim, struct history *history, const struct moment *moment)
{
    static const enum history_function functions[] = {
        [SIM_PUT] = HISTORY_PUT,
        [SIM_GET] = HISTORY_GET,
        [SIM_CAS] = HISTORY_CAS,
        [SIM_DELETE] = HISTORY_DELETE,
    };
    const struct sim_operation *operation = &sim->history.operations[moment->operation];
    const uint8_t key = (uint8_t)('0' + operation->key);
    struct history_call call = {.function = functions[operation->kind]};

    if (operation->kind == SIM_PUT || operation->kind == SIM_CAS) {
        call.value = named(sim, history, operation->value);
    }
    if (operation->kind == SIM_CAS) {
        call.expected = named(sim, history, operation->expected);
    }
    must(sim, history_call(history, moment->operation, bytes_of(&key, 1), &call, moment->order));
}

static void record_answer(struct sim *sim, struct history *history, const struct moment *moment)
{
    const struct sim_operation *operation = &sim->history.operations[moment->operation];
    struct history_answer answer = {
        .revision = operation->is_refused ? 0 : operation->revision,
        .refused = operation->is_refused,
    };

    if (operation->kind == SIM_GET) {
        answer.value = named(sim, history, operation->value);
    }
    must(sim, history_answer(history, moment->operation, HISTORY_OK, &answer, moment->order));
}

/* Each operation is a process of its own: one whose outcome is not known is never answered. */
static void check_linearizable(struct sim *sim, const struct moment *moments, uint32_t count)
{
    const struct history_limits limits = {
        .operation_count_max = count + 1,
        .process_count_max = sim->history.count + 1,
        .key_count_max = SIM_KEY_COUNT_MAX,
        .value_count_max = (uint32_t)sim->history.value + 2,
        .text_size_max = 16 * (sim->history.value + 2) + 64,
    };
    const struct wgl_limits bounds = {.step_count_max = 20000000, .memory_size_max = 512u << 20};
    struct history *history = history_open(&limits);
    struct wgl *wgl = wgl_open(&bounds);
    struct wgl_report report;

    ASSERT(history != NULL && wgl != NULL);
    for (uint32_t i = 0; i < count; i++) {
        if (moments[i].is_end) {
            record_answer(sim, history, &moments[i]);
        } else {
            record_call(sim, history, &moments[i]);
        }
    }
    enum wgl_verdict verdict = wgl_check(wgl, history, &report);

    if (verdict == WGL_INVALID) {
        char memory[2000];
        struct text text;

        text_init(&text, memory, sizeof(memory));
        wgl_explain(&report, history, &text);
        fprintf(stderr, "%s\n", memory);
    }
    SIM_CHECK(sim, keys_are_linearizable, verdict != WGL_INVALID, verdict, report.key);
    /* Beyond the limits of the search there is no verdict: that is never a pass. */
    SIM_CHECK(sim, histories_are_judged, verdict == WGL_VALID, report.reason, report.key);
    wgl_close(wgl);
    history_close(history);
}

static void collect_revisions(struct sim *sim, uint64_t *revisions)
{
    for (uint32_t i = 0; i < sim->history.count; i++) {
        const struct sim_operation *operation = &sim->history.operations[i];

        if (operation->key < SIM_KEY_COUNT_MAX && has_revision(operation)) {
            check_value(sim, revisions, operation);
        }
    }
}

/* What became of writes without an answer, as far as it is certain: one that is in no committed
 * entry never had an effect, and one that was read had its effect. The others stay open. */
static void settle_unknown(struct sim *sim, const uint64_t *revisions)
{
    struct sim_history *history = &sim->history;

    for (uint32_t i = 0; i < history->count; i++) {
        struct sim_operation *operation = &history->operations[i];

        if (operation->end != SIM_NEVER || operation->key == SIM_KEY_COUNT_MAX ||
            operation->value == 0) {
            continue;
        }
        if (revisions[operation->value] != 0) {
            operation->revision = revisions[operation->value];
            operation->end = history->order++;
        } else if (!history->writes_are_partial && (operation->value >= history->write_capacity ||
                                                    history->writes[operation->value] == 0)) {
            sim_history_drop(sim, i);
        }
    }
}

void sim_history_judge(struct sim *sim)
{
    uint64_t *revisions = calloc(sim->history.value + 1, sizeof(*revisions)); /* By value. */
    uint32_t count = 0;

    ASSERT(revisions != NULL);
    collect_revisions(sim, revisions);
    note_unknown(sim, revisions);
    settle_unknown(sim, revisions);
    struct moment *moments = sort_moments(&sim->history, &count);

    for (uint32_t i = 0; i < count; i++) {
        sim->totals.checked_count += moments[i].is_end ? 0 : 1;
    }
    check_time(sim, moments, count);
    check_linearizable(sim, moments, count);
    free(moments);
    free(revisions);
}
