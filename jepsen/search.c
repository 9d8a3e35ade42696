/* jepsen/search.c: the search itself. */
#define _GNU_SOURCE
#include "jepsen/search.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/assert.h"

/* How far a search goes whose only purpose is to show where it ends. */
enum { EXPLAIN_STEP_COUNT_MAX = 500 * 1000 };

/* After how many candidates the clock is looked at. */
enum { CLOCK_PERIOD = 4096 };

enum entry_kind { ENTRY_CALL, ENTRY_END, ENTRY_OPTIONAL, ENTRY_HEAD };

/* Calls and ends of required operations are in one list, calls of optional ones in another, both
 * in the order of the history. What takes effect is lifted out, and put back in reverse. */
struct search_entry {
    uint32_t next;
    uint32_t previous;
    uint32_t at;      /* Place in the history. */
    uint32_t index;   /* Of the operation, among the required or among the optional. */
    uint32_t partner; /* Of a call: its end. */
    enum entry_kind kind;
};

/* One operation that took effect. */
struct search_frame {
    uint32_t entry;  /* Its call. */
    uint32_t number; /* In the history. */
    bool is_forced;  /* Nothing else was to be tried instead. */
    struct model_state before;
};

/* The two lists begin and end at these entries. */
enum { REQUIRED_HEAD = 0, OPTIONAL_HEAD = 1, HEAD_COUNT = 2 };

/* What one run works with. */
struct run {
    struct search *search;
    const struct object *object;
    struct search_entry *entries;
    struct search_frame *frames;
    uint32_t depth;
    uint32_t saved_depth; /* Frames below are as they were when `best` was saved. */
    uint32_t cursor;      /* The entry to be looked at next. */
    uint32_t end;         /* The first end ahead, when the cursor is behind it. */
    bool is_register;     /* Of which something was seen. */
    bool is_explaining;   /* Without looking ahead: an order goes on as long as it holds. */
    bool is_exhausted;    /* There is nothing to try, wherever the cursor is. */
    struct model_state state;
    struct member_set required;
    struct member_set optional;
    uint32_t rank; /* How many changes with a known revision took effect. */
    uint64_t hash; /* Of the required set: the hashes of its members, added up. */
};

static void *take(size_t count, size_t size)
{
    return malloc(count * size + 1);
}

enum error search_open(struct search *search, const struct history *history, size_t memory_size_max)
{
    size_t count = history_operation_count(history);

    *search = (struct search){
        .history = history,
        .entries = take(2 * count + HEAD_COUNT, sizeof(*search->entries)),
        .frames = take(count, sizeof(*search->frames)),
        .unseen = calloc(history_value_count(history), sizeof(*search->unseen)),
        .words = take((size_t)member_set_words((uint32_t)count) + 2, sizeof(*search->words)),
        .best = {.placed = take(count, sizeof(uint32_t)), .open = take(count, sizeof(uint32_t))},
    };
    enum error error = configurations_open(&search->configurations, memory_size_max);
    if (search->entries == NULL || search->frames == NULL || search->unseen == NULL ||
        search->words == NULL || search->best.placed == NULL || search->best.open == NULL) {
        return ERR_FULL;
    }
    return error;
}

void search_close(struct search *search)
{
    free(search->entries);
    free(search->frames);
    free(search->unseen);
    free(search->words);
    free(search->best.placed);
    free(search->best.open);
    configurations_close(&search->configurations);
}

uint64_t search_clock_ms(void)
{
    struct timespec now;

    ASSERT(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* --- The lists -------------------------------------------------------------------------------- */

static void lift(struct search_entry *entries, uint32_t at)
{
    entries[entries[at].previous].next = entries[at].next;
    entries[entries[at].next].previous = entries[at].previous;
}

static void put_back(struct search_entry *entries, uint32_t at)
{
    entries[entries[at].previous].next = at;
    entries[entries[at].next].previous = at;
}

static int compare_entries(const void *left, const void *right)
{
    const struct search_entry *a = left;
    const struct search_entry *b = right;

    if (a->at != b->at) {
        return a->at < b->at ? -1 : 1;
    }
    return a->index < b->index ? -1 : a->index > b->index ? 1 : 0;
}

/* Links the entries from `first` on, which lie in their order, behind `head`. */
static void link_all(struct search_entry *entries, uint32_t head, uint32_t first, uint32_t count)
{
    uint32_t last = head;

    for (uint32_t i = first; i < first + count; i++) {
        entries[last].next = i;
        entries[i].previous = last;
        last = i;
    }
    entries[last].next = head;
    entries[head].previous = last;
}

static void build_lists(struct run *run)
{
    struct search_entry *entries = run->entries;
    const struct object *object = run->object;
    uint32_t count = HEAD_COUNT;
    /* Where the calls lie after sorting, by operation. Frames are not in use yet. */
    struct search_frame *calls = run->frames;

    entries[REQUIRED_HEAD] = (struct search_entry){.kind = ENTRY_HEAD};
    entries[OPTIONAL_HEAD] = (struct search_entry){.kind = ENTRY_HEAD};
    for (uint32_t i = 0; i < object->required_count; i++) {
        const struct object_operation *operation = &object->required[i];
        entries[count++] =
            (struct search_entry){.at = operation->called_at, .index = i, .kind = ENTRY_CALL};
        entries[count++] =
            (struct search_entry){.at = operation->answered_at, .index = i, .kind = ENTRY_END};
    }
    qsort(entries + HEAD_COUNT, count - HEAD_COUNT, sizeof(*entries), compare_entries);
    for (uint32_t i = HEAD_COUNT; i < count; i++) {
        if (entries[i].kind == ENTRY_CALL) {
            calls[entries[i].index].entry = i;
        }
    }
    for (uint32_t i = HEAD_COUNT; i < count; i++) {
        if (entries[i].kind == ENTRY_END) {
            entries[calls[entries[i].index].entry].partner = i;
        }
    }
    link_all(entries, REQUIRED_HEAD, HEAD_COUNT, count - HEAD_COUNT);
    for (uint32_t i = 0; i < object->optional_count; i++) {
        entries[count + i] = (struct search_entry){
            .at = object->optional[i].called_at, .index = i, .kind = ENTRY_OPTIONAL};
    }
    link_all(entries, OPTIONAL_HEAD, count, object->optional_count);
}

/* --- Steps ------------------------------------------------------------------------------------ */

static const struct history_operation *operation_of(const struct run *run, uint32_t entry,
                                                    uint32_t *number)
{
    const struct search_entry *found = &run->entries[entry];

    *number = found->kind == ENTRY_OPTIONAL ? run->object->optional[found->index].number
                                            : run->object->required[found->index].number;
    return history_operation_at(run->search->history, *number);
}

/* Moves the cursor to an operation that may be next; false when there is none. */
static bool find_candidate(struct run *run)
{
    const struct search_entry *entries = run->entries;

    if (entries[run->cursor].kind == ENTRY_END) {
        run->end = run->cursor;
        run->cursor = entries[OPTIONAL_HEAD].next;
    }
    if (entries[run->cursor].kind == ENTRY_CALL) {
        return true;
    }
    return entries[run->cursor].kind == ENTRY_OPTIONAL &&
           entries[run->cursor].at < entries[run->end].at;
}

static uint32_t find_end(const struct run *run)
{
    uint32_t at = run->entries[REQUIRED_HEAD].next;

    while (run->entries[at].kind == ENTRY_CALL) {
        at = run->entries[at].next;
    }
    return at;
}

static bool states_equal(const struct model_state *a, const struct model_state *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}

/* The last operation is optional, and `next`, which led to `state`, does not need it: without it,
 * or with it behind, the same is reached. */
static bool is_detour(const struct run *run, const struct history_operation *next,
                      bool next_is_optional, const struct model_state *state)
{
    if (run->depth == 0) {
        return false;
    }
    const struct search_frame *last = &run->frames[run->depth - 1];
    if (run->entries[last->entry].kind != ENTRY_OPTIONAL) {
        return false;
    }
    const struct history *history = run->search->history;
    struct model_state other = last->before;
    if (!model_step(history, next, &other)) {
        return false;
    }
    if (states_equal(&other, state)) {
        return true;
    }
    return !next_is_optional &&
           model_step(history, history_operation_at(history, last->number), &other) &&
           states_equal(&other, state);
}

/* Not now, whatever the model says: an operation with the same effect, or a change with a smaller
 * revision, is still to come, and goes first; or reads show that the item comes at another place of
 * the list. */
static bool is_out_of_turn(const struct run *run, const struct search_entry *entry)
{
    if (entry->kind == ENTRY_OPTIONAL) {
        uint32_t previous = run->object->optional[entry->index].previous;
        return previous != HISTORY_NONE && !member_set_has(&run->optional, previous);
    }
    const struct object_operation *operation = &run->object->required[entry->index];
    if (run->is_explaining) {
        return false;
    }
    return (operation->item_at != HISTORY_NONE &&
            operation->item_at != model_list_size(&run->state)) ||
           (operation->rank != HISTORY_NONE && operation->rank != run->rank);
}

/* The value that the register has was written once, and would be lost to others that saw it. */
static bool is_premature(const struct run *run, const struct search_entry *entry,
                         const struct model_state *after)
{
    if (!run->is_register || run->is_explaining) {
        return false;
    }
    history_value value = model_register_value(&run->state);
    bool sees = entry->kind != ENTRY_OPTIONAL && run->object->required[entry->index].seen == value;
    return model_register_value(after) != value && run->search->unseen[value] > sees;
}

/* Well mixed, and never the same for two operations. */
static uint64_t hash_of(uint32_t index)
{
    uint64_t number = (index + UINT64_C(1)) * 0x9e3779b97f4a7c15U;

    number = (number ^ number >> 30) * 0xbf58476d1ce4e5b9U;
    number = (number ^ number >> 27) * 0x94d049bb133111ebU;
    return number ^ number >> 31;
}

static void mark(struct run *run, const struct search_entry *entry)
{
    if (entry->kind == ENTRY_OPTIONAL) {
        member_set_insert(&run->optional, entry->index);
    } else {
        const struct object_operation *operation = &run->object->required[entry->index];
        member_set_insert(&run->required, entry->index);
        run->hash += hash_of(entry->index);
        run->rank += operation->rank != HISTORY_NONE;
        if (operation->seen != HISTORY_NONE) {
            run->search->unseen[operation->seen]--;
        }
    }
}

static void unmark(struct run *run, const struct search_entry *entry)
{
    if (entry->kind == ENTRY_OPTIONAL) {
        member_set_remove(&run->optional, entry->index);
    } else {
        const struct object_operation *operation = &run->object->required[entry->index];
        member_set_remove(&run->required, entry->index);
        run->hash -= hash_of(entry->index);
        run->rank -= operation->rank != HISTORY_NONE;
        if (operation->seen != HISTORY_NONE) {
            run->search->unseen[operation->seen]++;
        }
    }
}

/* The operation at the cursor takes effect, if that leads to something new. ERR_FULL at the limit
 * of memory. */
static enum error enter(struct run *run, const struct model_state *after, bool is_forced,
                        bool *is_new)
{
    struct search_entry *entry = &run->entries[run->cursor];
    struct search_frame *frame = &run->frames[run->depth];

    mark(run, entry);
    enum error error = configurations_add(&run->search->configurations, &run->required,
                                          &run->optional, after, run->hash, is_new);
    if (error != ERR_OK) {
        return error;
    }
    if (!*is_new) {
        unmark(run, entry);
        return ERR_OK;
    }
    *frame =
        (struct search_frame){.entry = run->cursor, .is_forced = is_forced, .before = run->state};
    (void)operation_of(run, run->cursor, &frame->number);
    run->depth++;
    run->state = *after;
    lift(run->entries, run->cursor);
    if (entry->kind != ENTRY_OPTIONAL) {
        lift(run->entries, entry->partner);
    }
    run->cursor = run->entries[REQUIRED_HEAD].next;
    return ERR_OK;
}

/* Moves the cursor to an open operation that can take effect and changes nothing, if there is one.
 * False when there is none; then the cursor is at the first open operation. */
static bool find_forced(struct run *run)
{
    uint32_t first = run->entries[REQUIRED_HEAD].next;

    for (run->cursor = first; run->entries[run->cursor].kind == ENTRY_CALL;
         run->cursor = run->entries[run->cursor].next) {
        uint32_t number;
        const struct history_operation *operation = operation_of(run, run->cursor, &number);
        struct model_state after = run->state;
        if (model_changes(operation)) {
            continue;
        }
        run->search->step_count++;
        if (model_step(run->search->history, operation, &after) &&
            states_equal(&after, &run->state)) {
            return true;
        }
    }
    run->cursor = first;
    return false;
}

/* After something new: all that is forced, until a choice is left or nothing new is reached. */
static enum error enter_forced(struct run *run)
{
    bool is_new = true;

    while (find_forced(run)) {
        enum error error = enter(run, &run->state, true, &is_new);
        if (error != ERR_OK) {
            return error;
        }
        if (!is_new) {
            /* Nothing else needs to be tried here: as if nothing were open. */
            run->is_exhausted = true;
            return ERR_OK;
        }
    }
    return ERR_OK;
}

/* Lets the operation at the cursor take effect, if it can and if that leads to something new;
 * else moves the cursor on. ERR_FULL at the limit of memory. */
static enum error try_candidate(struct run *run)
{
    struct search_entry *entry = &run->entries[run->cursor];
    bool is_new = false;
    uint32_t number;
    const struct history_operation *operation = operation_of(run, run->cursor, &number);
    struct model_state after = run->state;

    run->search->step_count++;
    if (!is_out_of_turn(run, entry) && model_step(run->search->history, operation, &after) &&
        !is_premature(run, entry, &after) &&
        !is_detour(run, operation, entry->kind == ENTRY_OPTIONAL, &after)) {
        enum error error = enter(run, &after, false, &is_new);
        if (error != ERR_OK) {
            return error;
        }
    }
    if (is_new) {
        return enter_forced(run);
    }
    run->cursor = entry->next;
    return ERR_OK;
}

static void take_back(struct run *run)
{
    struct search_frame *last = &run->frames[--run->depth];
    struct search_entry *entry = &run->entries[last->entry];

    if (entry->kind != ENTRY_OPTIONAL) {
        put_back(run->entries, entry->partner);
    }
    put_back(run->entries, last->entry);
    unmark(run, entry);
    run->state = last->before;
    run->cursor = entry->next;
    if (run->depth < run->saved_depth) {
        run->saved_depth = run->depth;
    }
}

/* Takes back to the last choice, and goes on with what comes after it. False when there is no
 * choice left. */
static bool step_back(struct run *run)
{
    run->is_exhausted = false;
    while (run->depth != 0 && run->frames[run->depth - 1].is_forced) {
        take_back(run);
    }
    if (run->depth == 0) {
        return false;
    }
    take_back(run);
    if (run->entries[run->cursor].kind == ENTRY_OPTIONAL || run->cursor == OPTIONAL_HEAD) {
        /* The first end ahead is behind all calls that are open. */
        run->end = find_end(run);
    }
    return true;
}

/* --- The verdict ------------------------------------------------------------------------------ */

/* Keeps what was reached if no order reached a later end, or as late a one with more placed. */
static void save_best(struct run *run)
{
    struct search_best *best = &run->search->best;
    const struct search_entry *entries = run->entries;
    run->end = find_end(run);
    uint32_t end_at = entries[run->end].at;

    if (best->stuck != HISTORY_NONE &&
        (end_at < best->stuck_at ||
         (end_at == best->stuck_at && run->depth <= best->placed_count))) {
        return;
    }
    for (uint32_t i = run->saved_depth; i < run->depth; i++) {
        best->placed[i] = run->frames[i].number;
    }
    run->saved_depth = run->depth;
    best->placed_count = run->depth;
    best->open_count = 0;
    for (uint32_t at = entries[REQUIRED_HEAD].next; at != run->end; at = entries[at].next) {
        (void)operation_of(run, at, &best->open[best->open_count++]);
    }
    for (uint32_t at = entries[OPTIONAL_HEAD].next; at != OPTIONAL_HEAD && entries[at].at < end_at;
         at = entries[at].next) {
        (void)operation_of(run, at, &best->open[best->open_count++]);
    }
    (void)operation_of(run, run->end, &best->stuck);
    best->stuck_at = end_at;
}

static enum wgl_verdict run_to_end(struct run *run, uint64_t step_count_max, uint64_t end_ms,
                                   enum wgl_reason *reason)
{
    uint64_t turn = 0;
    bool is_new;

    run->cursor = run->entries[REQUIRED_HEAD].next;
    if (configurations_add(&run->search->configurations, &run->required, &run->optional,
                           &run->state, run->hash, &is_new) != ERR_OK ||
        enter_forced(run) != ERR_OK) {
        *reason = WGL_REASON_MEMORY;
        return WGL_UNKNOWN;
    }
    while (run->entries[REQUIRED_HEAD].next != REQUIRED_HEAD) {
        if (run->is_exhausted || !find_candidate(run)) {
            save_best(run);
            if (!step_back(run)) {
                return WGL_INVALID;
            }
            continue;
        }
        if (run->search->step_count >= step_count_max) {
            *reason = WGL_REASON_STEPS;
            return WGL_UNKNOWN;
        }
        if (end_ms != 0 && turn++ % CLOCK_PERIOD == 0 && search_clock_ms() >= end_ms) {
            *reason = WGL_REASON_TIME;
            return WGL_UNKNOWN;
        }
        if (try_candidate(run) != ERR_OK) {
            *reason = WGL_REASON_MEMORY;
            return WGL_UNKNOWN;
        }
    }
    return WGL_VALID;
}

static enum wgl_verdict run_from_start(struct run *run, uint64_t step_count_max, uint64_t end_ms,
                                       enum wgl_reason *reason)
{
    struct search *search = run->search;
    const struct object *object = run->object;

    search->step_count = 0;
    search->best.placed_count = 0;
    search->best.open_count = 0;
    search->best.stuck = HISTORY_NONE;
    configurations_clear(&search->configurations);
    member_set_clear(&run->required, search->words, object->required_count);
    member_set_clear(&run->optional, search->words + run->required.word_count,
                     object->optional_count);
    build_lists(run);
    for (uint32_t i = 0; i < object->required_count; i++) {
        if (object->required[i].seen != HISTORY_NONE) {
            run->is_register = true;
            search->unseen[object->required[i].seen]++;
        }
    }
    enum wgl_verdict verdict = run_to_end(run, step_count_max, end_ms, reason);
    for (uint32_t i = 0; i < object->required_count; i++) {
        if (object->required[i].seen != HISTORY_NONE) {
            search->unseen[object->required[i].seen] = 0;
        }
    }
    return verdict;
}

static struct run run_of(struct search *search, const struct object *object, bool is_explaining)
{
    return (struct run){
        .search = search,
        .object = object,
        .entries = search->entries,
        .frames = search->frames,
        .is_explaining = is_explaining,
    };
}

enum wgl_verdict search_object(struct search *search, const struct object *object,
                               uint64_t step_count_max, uint64_t end_ms, enum wgl_reason *reason)
{
    struct run run = run_of(search, object, false);

    *reason = WGL_REASON_NONE;
    enum wgl_verdict verdict = run_from_start(&run, step_count_max, end_ms, reason);
    if (verdict == WGL_INVALID) {
        /* A search that looks ahead gives up before the first answer that does not fit. */
        uint64_t step_count = search->step_count;
        enum wgl_reason ignored;
        run = run_of(search, object, true);
        ASSERT(run_from_start(&run, EXPLAIN_STEP_COUNT_MAX, end_ms, &ignored) != WGL_VALID);
        search->step_count += step_count;
    }
    return verdict;
}
