/* node/fair.c: a binary heap of flows, by start and number. */
#include "node/fair.h"

#include "base/assert.h"

static bool is_before(const struct fair *fair, uint32_t a, uint32_t b)
{
    uint64_t start_a = fair->flows[a].start;
    uint64_t start_b = fair->flows[b].start;

    return start_a != start_b ? start_a < start_b : a < b;
}

static uint32_t at(const struct fair *fair, uint32_t place)
{
    ASSERT_VALUES(place >= 1 && place <= fair->count, place, fair->count);
    return fair->heap[place - 1];
}

static void put(struct fair *fair, uint32_t place, uint32_t flow)
{
    fair->heap[place - 1] = flow;
    fair->flows[flow].place = place;
}

static void rise(struct fair *fair, uint32_t flow)
{
    uint32_t place = fair->flows[flow].place;

    while (place > 1 && is_before(fair, flow, at(fair, place / 2))) {
        put(fair, place, at(fair, place / 2));
        place /= 2;
    }
    put(fair, place, flow);
}

static void sink(struct fair *fair, uint32_t flow)
{
    uint32_t place = fair->flows[flow].place;

    while (2 * (uint64_t)place <= fair->count) {
        uint32_t child = 2 * place;

        if (child < fair->count && is_before(fair, at(fair, child + 1), at(fair, child))) {
            child++;
        }
        if (!is_before(fair, at(fair, child), flow)) {
            break;
        }
        put(fair, place, at(fair, child));
        place = child;
    }
    put(fair, place, flow);
}

/* Takes it out of the heap; the last one fills the hole. */
static void take_out(struct fair *fair, uint32_t flow)
{
    uint32_t place = fair->flows[flow].place;
    uint32_t last = at(fair, fair->count);

    ASSERT_VALUES(at(fair, place) == flow, place, flow);
    fair->flows[flow].place = 0;
    fair->count--;
    if (last != flow) {
        put(fair, place, last);
        rise(fair, last);
        sink(fair, last);
    }
}

void fair_add(struct fair *fair, uint32_t flow)
{
    ASSERT_VALUES(flow < fair->flow_count, flow, fair->flow_count);
    struct fair_flow *added = &fair->flows[flow];

    ASSERT_VALUES(added->place == 0, added->place, flow);
    added->start = added->start > fair->time ? added->start : fair->time;
    fair->count++;
    added->place = fair->count;
    fair->heap[fair->count - 1] = flow;
    rise(fair, flow);
}

uint32_t fair_first(const struct fair *fair)
{
    return at(fair, 1);
}

void fair_serve(struct fair *fair, uint64_t cost, bool has_more)
{
    uint32_t flow = fair_first(fair);
    struct fair_flow *served = &fair->flows[flow];

    ASSERT_VALUES(cost >= 1 && cost <= UINT32_MAX, cost, flow);
    ASSERT_VALUES(served->start >= fair->time, served->start, fair->time);
    fair->time = served->start;
    served->start += cost;
    if (has_more) {
        sink(fair, flow);
    } else {
        take_out(fair, flow);
    }
}

void fair_remove(struct fair *fair, uint32_t flow)
{
    ASSERT_VALUES(flow < fair->flow_count, flow, fair->flow_count);
    if (fair->flows[flow].place != 0) {
        take_out(fair, flow);
    }
    fair->flows[flow] = (struct fair_flow){0};
}

void fair_check(const struct fair *fair)
{
    uint32_t count = 0;

    ASSERT_VALUES(fair->count <= fair->flow_count, fair->count, fair->flow_count);
    for (uint32_t flow = 0; flow < fair->flow_count; flow++) {
        uint32_t place = fair->flows[flow].place;

        if (place == 0) {
            continue;
        }
        count++;
        ASSERT_VALUES(at(fair, place) == flow, place, flow);
        ASSERT_VALUES(fair->flows[flow].start >= fair->time, flow, fair->time);
        if (place > 1) {
            ASSERT_VALUES(!is_before(fair, flow, at(fair, place / 2)), place, flow);
        }
    }
    ASSERT_VALUES(count == fair->count, count, fair->count);
}
