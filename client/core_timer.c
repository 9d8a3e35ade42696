/* client/core_timer.c: all timers of a client in one binary heap. */
#include "client/core_internal.h"

static void place(struct core_timers *timers, uint32_t at, struct core_timer *timer)
{
    ASSERT_VALUES(at >= 1 && at <= timers->count, at, timers->count);
    timers->heap[at] = timer;
    timer->place = at;
}

static void rise(struct core_timers *timers, struct core_timer *timer)
{
    uint32_t at = timer->place;

    while (at > 1 && timers->heap[at / 2]->due_ms > timer->due_ms) {
        place(timers, at, timers->heap[at / 2]);
        at /= 2;
    }
    place(timers, at, timer);
}

static void sink(struct core_timers *timers, struct core_timer *timer)
{
    uint32_t at = timer->place;

    for (;;) {
        uint32_t child = at * 2;
        if (child > timers->count) {
            break;
        }
        if (child < timers->count &&
            timers->heap[child + 1]->due_ms < timers->heap[child]->due_ms) {
            child++;
        }
        if (timers->heap[child]->due_ms >= timer->due_ms) {
            break;
        }
        place(timers, at, timers->heap[child]);
        at = child;
    }
    place(timers, at, timer);
}

/* CORE_NEVER disarms. */
void timer_set(struct core_timers *timers, struct core_timer *timer, uint64_t due_ms)
{
    if (due_ms == CORE_NEVER) {
        timer_clear(timers, timer);
        return;
    }
    if (timer->place == 0) {
        ASSERT_VALUES(timers->count < timers->capacity, timers->count, timers->capacity);
        timers->count++;
        timer->due_ms = due_ms;
        place(timers, timers->count, timer);
        rise(timers, timer);
        return;
    }
    ASSERT(timers->heap[timer->place] == timer);
    uint64_t before_ms = timer->due_ms;
    timer->due_ms = due_ms;
    if (due_ms < before_ms) {
        rise(timers, timer);
    } else if (due_ms > before_ms) {
        sink(timers, timer);
    }
}

void timer_clear(struct core_timers *timers, struct core_timer *timer)
{
    if (timer->place == 0) {
        return;
    }
    ASSERT(timers->heap[timer->place] == timer);
    uint32_t at = timer->place;
    struct core_timer *last = timers->heap[timers->count];

    timer->place = 0;
    timers->count--;
    if (last != timer) {
        place(timers, at, last);
        rise(timers, last);
        sink(timers, last);
    }
}

struct core_timer *timer_first(const struct core_timers *timers)
{
    ASSERT(timers->count <= timers->capacity);
    return timers->count == 0 ? NULL : timers->heap[1];
}

void timers_check(const struct core_timers *timers)
{
    for (uint32_t i = 1; i <= timers->count; i++) {
        ASSERT_VALUES(timers->heap[i]->place == i, timers->heap[i]->place, i);
        if (i > 1) {
            ASSERT(timers->heap[i / 2]->due_ms <= timers->heap[i]->due_ms);
        }
    }
}
