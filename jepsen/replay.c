/* jepsen/replay.c: one pass over calls and answers, with the least place in the log that each
 * operation can have. */
#include "jepsen/replay.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "jepsen/model.h"
#include "jepsen/show.h"
#include "jepsen/tokens.h"

/* A revision that the history tells of. */
struct change {
    uint64_t revision;
    uint32_t key;
    history_value value; /* Of a register, from then on. */
    uint32_t writer;     /* Number of the operation; HISTORY_NONE: only reads tell. */
    uint32_t reader;     /* One of those. */
};

/* A change whose revision is not known. */
struct stray {
    uint32_t key;
    history_value value;
    uint64_t floor; /* Its revision is larger, if it has one. */
    uint32_t number;
};

struct replay {
    const struct history *history;
    struct replay_report *report;
    struct change *changes; /* First by revision, then by key and revision. */
    uint32_t change_count;
    struct stray *strays; /* In the order of calls, then by key, value and floor. */
    uint32_t stray_count;
    uint32_t *stray_from; /* By key: the call of the first of its strays; HISTORY_NONE: none. */
    uint64_t *floors;     /* By operation: the place of the log that was reached at its call. */
    uint32_t *order;      /* Operations by place of call and answer. */
};

static int compare(uint64_t a, uint64_t b)
{
    return a < b ? -1 : a > b ? 1 : 0;
}

static int compare_revisions(const void *left, const void *right)
{
    const struct change *a = left;
    const struct change *b = right;
    int order = compare(a->revision, b->revision);

    /* Writers before those that only read. */
    return order != 0 ? order : compare(a->writer, b->writer);
}

static int compare_keys(const void *left, const void *right)
{
    const struct change *a = left;
    const struct change *b = right;
    int order = compare(a->key, b->key);

    return order != 0 ? order : compare(a->revision, b->revision);
}

static int compare_strays(const void *left, const void *right)
{
    const struct stray *a = left;
    const struct stray *b = right;
    int order = compare(a->key, b->key);

    order = order == 0 ? compare(a->value, b->value) : order;
    order = order == 0 ? compare(a->floor, b->floor) : order;
    return order != 0 ? order : compare(a->number, b->number);
}

static bool break_law(struct replay *replay, enum replay_law law, uint32_t operation,
                      uint32_t other)
{
    if (replay->report->valid) {
        replay->report->valid = false;
        replay->report->law = law;
        replay->report->operation = operation;
        replay->report->other = other;
    }
    return false;
}

/* --- What the history tells of the log -------------------------------------------------------- */

static history_value value_after(const struct history_operation *operation)
{
    bool writes =
        operation->call.function == HISTORY_PUT || operation->call.function == HISTORY_CAS;

    return writes ? operation->call.value : HISTORY_ABSENT;
}

static void collect(struct replay *replay, uint32_t number)
{
    const struct history_operation *operation = history_operation_at(replay->history, number);
    bool is_ok = operation->outcome == HISTORY_OK;
    uint64_t revision = is_ok ? operation->answer.revision : 0;
    bool changes = model_changes(operation);

    replay->order[operation->called_at] = number;
    if (operation->answered_at != HISTORY_NONE) {
        replay->order[operation->answered_at] = number;
    }
    if (operation->outcome == HISTORY_FAILED) {
        return;
    }
    if (changes && revision == 0) {
        replay->strays[replay->stray_count++] = (struct stray){
            .key = operation->key, .value = value_after(operation), .number = number};
        if (replay->stray_from[operation->key] == HISTORY_NONE) {
            replay->stray_from[operation->key] = operation->called_at;
        }
    }
    if (revision != 0) {
        replay->changes[replay->change_count++] = (struct change){
            .revision = revision,
            .key = operation->key,
            .value = changes ? value_after(operation) : operation->answer.value,
            .writer = changes ? number : HISTORY_NONE,
            .reader = number,
        };
    }
}

/* All that tell of one revision tell the same; one of them remains. */
static bool merge_changes(struct replay *replay)
{
    struct change *changes = replay->changes;
    uint32_t kept = 0;

    qsort(changes, replay->change_count, sizeof(*changes), compare_revisions);
    for (uint32_t i = 0; i < replay->change_count; i++) {
        const struct change *last = kept == 0 ? NULL : &changes[kept - 1];
        if (last == NULL || last->revision != changes[i].revision) {
            changes[kept++] = changes[i];
            continue;
        }
        if (changes[i].writer != HISTORY_NONE || last->key != changes[i].key) {
            return break_law(replay, REPLAY_ONE_CHANGE, changes[i].reader, last->reader);
        }
        if (last->value != changes[i].value) {
            return break_law(replay, REPLAY_VALUE_SEEN, changes[i].reader, last->reader);
        }
    }
    replay->change_count = kept;
    qsort(changes, kept, sizeof(*changes), compare_keys);
    return true;
}

/* The first change of `key` with a revision > `revision`; the change before it, if it is of the
 * key, is the one that is in force at `revision`. */
static uint32_t change_after(const struct replay *replay, uint32_t key, uint64_t revision)
{
    uint32_t low = 0;
    uint32_t high = replay->change_count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const struct change *change = &replay->changes[middle];
        if (change->key < key || (change->key == key && change->revision <= revision)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static bool is_of_key(const struct replay *replay, uint32_t at, uint32_t key)
{
    return at < replay->change_count && replay->changes[at].key == key;
}

/* The value that the known changes before `next` lead to. */
static history_value value_before(const struct replay *replay, uint32_t next, uint32_t key)
{
    return next != 0 && is_of_key(replay, next - 1, key) ? replay->changes[next - 1].value
                                                         : HISTORY_ABSENT;
}

/* --- The pass --------------------------------------------------------------------------------- */

/* A read that names its revision is behind that change, and before the next. */
static bool place_read(struct replay *replay, uint32_t number,
                       const struct history_operation *operation, uint64_t *floor)
{
    uint64_t revision = operation->answer.revision;
    uint64_t place = replay->floors[number] > revision ? replay->floors[number] : revision;
    uint32_t next = change_after(replay, operation->key, revision);

    if (is_of_key(replay, next, operation->key) && replay->changes[next].revision <= place) {
        return break_law(replay, REPLAY_FRESH, number, replay->changes[next].reader);
    }
    *floor = *floor > place ? *floor : place;
    return true;
}

/* Whether an operation that was told no, or that nothing is there, can be where `value` is. */
static bool is_explained(const struct history_operation *operation, history_value value)
{
    return operation->call.function == HISTORY_CAS ? value != operation->call.expected
                                                   : value == HISTORY_ABSENT;
}

/* It is at the first place from its floor on where the value explains it. */
static bool place_refusal(struct replay *replay, uint32_t number,
                          const struct history_operation *operation, uint64_t *floor)
{
    uint32_t key = operation->key;
    uint32_t next = change_after(replay, key, replay->floors[number]);
    uint64_t place = replay->floors[number];
    history_value value = value_before(replay, next, key);

    if (replay->stray_from[key] < operation->answered_at) {
        replay->report->undecided_count++;
        return true;
    }
    while (!is_explained(operation, value)) {
        if (!is_of_key(replay, next, key)) {
            return break_law(replay, REPLAY_REFUSED, number,
                             next == 0 ? HISTORY_NONE : replay->changes[next - 1].reader);
        }
        place = replay->changes[next].revision;
        value = replay->changes[next].value;
        next++;
    }
    *floor = *floor > place ? *floor : place;
    return true;
}

static bool place_answer(struct replay *replay, uint32_t number, uint64_t *floor)
{
    const struct history_operation *operation = history_operation_at(replay->history, number);
    enum history_function function = operation->call.function;
    uint64_t revision = operation->answer.revision;

    if (operation->outcome != HISTORY_OK) {
        return true;
    }
    if (model_changes(operation) && revision != 0) {
        replay->report->operation_count++;
        if (revision <= replay->floors[number]) {
            return break_law(replay, REPLAY_REAL_TIME, number, HISTORY_NONE);
        }
        *floor = *floor > revision ? *floor : revision;
        return true;
    }
    if (function == HISTORY_GET && revision != 0) {
        replay->report->operation_count++;
        return place_read(replay, number, operation, floor);
    }
    if ((function == HISTORY_GET && operation->answer.value == HISTORY_ABSENT) ||
        ((function == HISTORY_CAS || function == HISTORY_DELETE) && operation->answer.refused)) {
        replay->report->operation_count++;
        return place_refusal(replay, number, operation, floor);
    }
    replay->report->undecided_count++;
    return true;
}

static bool place_all(struct replay *replay)
{
    uint64_t floor = 0; /* What was answered so far is not behind it in the log. */

    for (uint32_t at = 0; at < history_event_count(replay->history); at++) {
        uint32_t number = replay->order[at];
        if (history_operation_at(replay->history, number)->called_at == at) {
            replay->floors[number] = floor;
        } else if (!place_answer(replay, number, &floor)) {
            return false;
        }
    }
    return true;
}

/* --- Values ----------------------------------------------------------------------------------- */

/* The first stray that would set `key` to `value`, by floor; the count when there is none. */
static uint32_t first_stray(const struct replay *replay, uint32_t key, history_value value)
{
    uint32_t low = 0;
    uint32_t high = replay->stray_count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const struct stray *stray = &replay->strays[middle];
        if (stray->key < key || (stray->key == key && stray->value < value)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static bool is_stray_of(const struct replay *replay, uint32_t at, uint32_t key, history_value value,
                        uint64_t revision)
{
    return at < replay->stray_count && replay->strays[at].key == key &&
           replay->strays[at].value == value && replay->strays[at].floor < revision;
}

/* A cas or a delete found what it expects just before its revision. */
static bool check_expected(struct replay *replay, uint32_t at)
{
    const struct change *change = &replay->changes[at];
    const struct history_operation *operation =
        history_operation_at(replay->history, change->writer);
    history_value value = value_before(replay, at, change->key);

    if (operation->call.function == HISTORY_DELETE && value == HISTORY_ABSENT) {
        if (replay->stray_from[change->key] < operation->answered_at) {
            replay->report->undecided_count++;
            return true;
        }
        return break_law(replay, REPLAY_EXPECTED, change->writer, HISTORY_NONE);
    }
    if (operation->call.function == HISTORY_CAS && value != operation->call.expected) {
        uint32_t stray = first_stray(replay, change->key, operation->call.expected);
        if (is_stray_of(replay, stray, change->key, operation->call.expected, change->revision)) {
            replay->report->undecided_count++;
            return true;
        }
        return break_law(replay, REPLAY_EXPECTED, change->writer,
                         at != 0 && is_of_key(replay, at - 1, change->key)
                             ? replay->changes[at - 1].reader
                             : HISTORY_NONE);
    }
    return true;
}

/* Each change that only reads tell of was made by another stray. Those of one register and one
 * value come with growing revisions, and every stray that fits one fits all later ones: so each
 * takes the first that is left: `taken` counts them, at the first stray of the value. */
static bool check_writer(struct replay *replay, uint32_t at, uint32_t *taken)
{
    const struct change *change = &replay->changes[at];
    uint32_t stray = first_stray(replay, change->key, change->value);

    if (stray < replay->stray_count &&
        is_stray_of(replay, stray + taken[stray], change->key, change->value, change->revision)) {
        const struct stray *found = &replay->strays[stray + taken[stray]++];
        /* Whether a cas found what it expects depends on more that nobody was told. */
        replay->report->undecided_count +=
            history_operation_at(replay->history, found->number)->call.function == HISTORY_CAS;
        return true;
    }
    return break_law(replay, REPLAY_VALUE_SEEN, change->reader, HISTORY_NONE);
}

static bool check_values(struct replay *replay, uint32_t *taken)
{
    for (uint32_t i = 0; i < replay->stray_count; i++) {
        replay->strays[i].floor = replay->floors[replay->strays[i].number];
    }
    qsort(replay->strays, replay->stray_count, sizeof(*replay->strays), compare_strays);
    for (uint32_t at = 0; at < replay->change_count; at++) {
        const struct change *change = &replay->changes[at];
        if (history_key_object(replay->history, change->key) != HISTORY_REGISTER) {
            continue;
        }
        bool holds = change->writer == HISTORY_NONE ? check_writer(replay, at, taken)
                                                    : check_expected(replay, at);
        if (!holds) {
            return false;
        }
    }
    return true;
}

/* --- The verdict ------------------------------------------------------------------------------ */

static void *take(size_t count, size_t size)
{
    return calloc(count + 1, size);
}

static enum error check_all(struct replay *replay, uint32_t *taken)
{
    uint32_t count = history_operation_count(replay->history);

    memset(replay->stray_from, 0xff,
           history_key_count(replay->history) * sizeof(*replay->stray_from));
    for (uint32_t i = 0; i < count; i++) {
        collect(replay, i);
    }
    if (merge_changes(replay) && place_all(replay) && check_values(replay, taken)) {
        return tokens_check(replay->history, replay->report);
    }
    return ERR_OK;
}

enum error replay_check(const struct history *history, struct replay_report *report)
{
    size_t count = history_operation_count(history);
    struct replay replay = {
        .history = history,
        .report = report,
        .changes = take(count, sizeof(*replay.changes)),
        .strays = take(count, sizeof(*replay.strays)),
        .stray_from = take(history_key_count(history), sizeof(*replay.stray_from)),
        .floors = take(count, sizeof(*replay.floors)),
        .order = take(history_event_count(history), sizeof(*replay.order)),
    };
    uint32_t *taken = take(count, sizeof(*taken)); /* Of check_writer(). */
    enum error error = ERR_FULL;

    *report = (struct replay_report){.valid = true, .other = HISTORY_NONE};
    if (replay.changes != NULL && replay.strays != NULL && replay.stray_from != NULL &&
        replay.floors != NULL && replay.order != NULL && taken != NULL) {
        error = check_all(&replay, taken);
    }
    free(replay.changes);
    free(replay.strays);
    free(replay.stray_from);
    free(replay.floors);
    free(replay.order);
    free(taken);
    return error;
}

void replay_explain(const struct replay_report *report, const struct history *history,
                    struct text *text)
{
#define REPLAY_AS_TEXT(name, text) text,
    static const char *const laws[] = {REPLAY_LAW_LIST(REPLAY_AS_TEXT)};
#undef REPLAY_AS_TEXT

    text_add(text, report->valid ? "valid: " : "invalid: ");
    text_add_u64(text, report->operation_count);
    text_add(text, " operations placed, ");
    text_add_u64(text, report->undecided_count);
    text_add(text, " left to the search\n");
    if (report->valid) {
        return;
    }
    ASSERT(report->law < REPLAY_LAW_COUNT);
    text_add(text, "broken: ");
    text_add(text, laws[report->law]);
    text_add(text, "\n");
    show_object_name(history, history_operation_at(history, report->operation)->key, text);
    text_add(text, ":\n");
    show_operation(history, report->operation, text);
    if (report->other != HISTORY_NONE) {
        text_add(text, "against:\n");
        show_operation(history, report->other, text);
    }
}
