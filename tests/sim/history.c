/* tests/sim/history.c: what clients saw of keys, and whether it can have been so. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
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

void sim_history_close(struct sim *sim)
{
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

void sim_history_judge(struct sim *sim)
{
    uint64_t *revisions = calloc(sim->history.value + 1, sizeof(*revisions)); /* By value. */
    uint32_t count = 0;
    struct moment *moments = sort_moments(&sim->history, &count);

    ASSERT(revisions != NULL);
    for (uint32_t i = 0; i < count; i++) {
        const struct sim_operation *operation = &sim->history.operations[moments[i].operation];

        if (moments[i].is_end && has_revision(operation)) {
            check_value(sim, revisions, operation);
        }
        sim->totals.checked_count += moments[i].is_end ? 0 : 1;
    }
    note_unknown(sim, revisions);
    check_time(sim, moments, count);
    free(moments);
    free(revisions);
}
