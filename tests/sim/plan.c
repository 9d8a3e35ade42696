/* tests/sim/plan.c: a seed becomes knobs and a schedule of faults. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/macros.h"
#include "node/feed.h"
#include "node/limits.h"
#include "tests/sim/sim.h"

static const struct {
    const char *name;
    uint32_t weight;
} kinds[SIM_FAULT_KIND_COUNT] = {
#define X(name, weight) {#name, weight},
    SIM_FAULT_LIST(X)
#undef X
};

const char *sim_fault_name(enum sim_fault_kind kind)
{
    ASSERT(kind < SIM_FAULT_KIND_COUNT);
    return kinds[kind].name;
}

static bool chance(struct prng *prng, uint32_t percent)
{
    return prng_below(prng, 100) < percent;
}

static uint32_t choose(struct prng *prng, const uint32_t *values, uint32_t count)
{
    return values[prng_below(prng, count)];
}

#define CHOOSE(prng, ...)                                                                          \
    choose((prng), (const uint32_t[]){__VA_ARGS__},                                                \
           sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))

/* --- Knobs --------------------------------------------------------------------------------------
 */

/* Above every floor that a node can name: see ttl_floor_ms() in node/status.c. */
static uint32_t ttl_of(const struct sim_knobs *knobs)
{
    uint32_t fixed_ms = knobs->margin_ms + 2 * 250 + knobs->election_ms_max + 20;

    return fixed_ms * 3 * 100 / 194 + 1;
}

static void draw_times(struct sim_knobs *knobs, struct prng *prng)
{
    knobs->election_ms_min = CHOOSE(prng, 250, 500, 1000, 1000, 2000);
    knobs->election_ms_max = knobs->election_ms_min * CHOOSE(prng, 2, 2, 3) -
                             (chance(prng, 20) ? knobs->election_ms_min / 2 : 0);
    knobs->heartbeat_ms = knobs->election_ms_min / CHOOSE(prng, 3, 4, 5);
    knobs->margin_ms = CHOOSE(prng, 20, 100, 100, 300);
    knobs->renew_batch_ms = CHOOSE(prng, 0, 1, 20, 100);
    knobs->commit_interval_ms = CHOOSE(prng, 1, 100, 100, 1000);
    knobs->delay_ms_max = CHOOSE(prng, 1, 3, 10, 40);
    knobs->disk_ms_max = CHOOSE(prng, 1, 3, 10, 40);
    knobs->ttl_ms = ttl_of(knobs);
    knobs->fault_ms = prng_between(prng, 70000, 110000);
    knobs->think_ms = CHOOSE(prng, 60, 500, 800, 800, 1500);
}

static void draw_network(struct sim_knobs *knobs, struct prng *prng)
{
    knobs->again_ms_max = CHOOSE(prng, 5, 100, 3000, 20000);
    knobs->late_ms_max = CHOOSE(prng, 5, 100, 1000);
    if (!knobs->has_faults) {
        return;
    }
    knobs->loss_ppm = chance(prng, 40) ? CHOOSE(prng, 1000, 20000, 100000) : 0;
    knobs->again_ppm = chance(prng, 50) ? CHOOSE(prng, 1000, 20000, 100000) : 0;
    knobs->late_ppm = chance(prng, 50) ? CHOOSE(prng, 1000, 20000, 100000) : 0;
    knobs->repeats_votes = chance(prng, 30);
}

static void draw_knobs(struct sim_knobs *knobs, struct prng *prng)
{
    knobs->node_count = CHOOSE(prng, 1, 2, 3, 3, 3, 3, 3, 3, 4, 5, 5, 5, 6, 7);
    knobs->formed_count = knobs->node_count;
    if (chance(prng, 40) && knobs->node_count < FAKE_NODE_COUNT_MAX) {
        knobs->node_count +=
            (uint32_t)prng_between(prng, 1, FAKE_NODE_COUNT_MAX - knobs->node_count);
    }
    knobs->locker_count = (uint32_t)prng_between(prng, 2, 4);
    knobs->client_count = knobs->locker_count + (uint32_t)prng_between(prng, 3, 6);
    knobs->key_count = (uint32_t)prng_between(prng, 1, SIM_KEY_COUNT_MAX);
    knobs->lock_count = CHOOSE(prng, 1, 1, 1, 2, SIM_LOCK_COUNT);
    draw_times(knobs, prng);
    draw_network(knobs, prng);
    knobs->request_count_max = CHOOSE(prng, 4, 16, 64, 64);
    knobs->value_size = CHOOSE(prng, 20, 20, 20, 100, 100, 1000, 4000, SIM_VALUE_SIZE_LARGE);
    knobs->snapshot_log_size = chance(prng, 50) ? CHOOSE(prng, 1, 20000, 100000, 300000) : 0;
    if (knobs->snapshot_log_size != 0 && chance(prng, 25)) {
        knobs->value_size = SIM_VALUE_SIZE_LARGE; /* So that a snapshot is sent in many parts. */
        knobs->key_count = SIM_KEY_COUNT_MAX;
    }
    if (knobs->value_size > 10000 && knobs->think_ms < 800) {
        knobs->think_ms = 800; /* Logs have an end, and so has memory. */
    }
    knobs->output_size_max = CHOOSE(prng, 3 << 20, 4 << 20);
    knobs->has_liveness = knobs->has_faults && knobs->node_count > 1 && chance(prng, 30);
    knobs->shipping_pace = chance(prng, 30) ? CHOOSE(prng, 64 << 10, 100000) : 0;
    knobs->check_turn = CHOOSE(prng, 1, 16, 64, 64, 64, 64);
}

/* Apart from the other knobs, so that a seed means the same otherwise. */
static void draw_promises(struct sim_knobs *knobs, uint64_t seed)
{
    struct prng prng;

    prng_init(&prng, seed ^ 0x70726f6d697365u);
    if (chance(&prng, 50)) {
        knobs->promise_ms = chance(&prng, 50) ? knobs->election_ms_min : 2 * knobs->heartbeat_ms;
        knobs->promise_varies = chance(&prng, 30);
    }
}

/* Likewise. */
static void draw_tied(struct sim_knobs *knobs, uint64_t seed)
{
    struct prng prng;

    prng_init(&prng, seed ^ 0x74696564u);
    if (chance(&prng, 50)) {
        for (uint32_t i = 0; i < knobs->client_count; i++) {
            knobs->tied_clients |= chance(&prng, 40) ? 1u << i : 0;
        }
    }
}

static void draw_watches(struct sim_knobs *knobs, uint64_t seed)
{
    struct prng prng;

    prng_init(&prng, seed ^ 0x77617463686573u);
    knobs->has_watches = chance(&prng, 50);
    knobs->feed_count_max = CHOOSE(&prng, FEED_COUNT_MIN, FEED_COUNT_MIN, 65536);
}

/* The same: most writes wait for their turn, and some clients for the time that they are told. */
static void draw_turns(struct sim_knobs *knobs, uint64_t seed)
{
    struct prng prng;

    prng_init(&prng, seed ^ 0x7475726e73u);
    if (chance(&prng, 60)) {
        knobs->uncommitted_size = CHOOSE(&prng, 4, 4, 300, 3000);
        knobs->waiting_size = WAITING_SIZE_MIN;
    }
    if (chance(&prng, 25)) {
        knobs->client_rate = CHOOSE(&prng, 5, 20, 100);
        knobs->client_burst = CHOOSE(&prng, 1, 3, 10);
    }
}

/* --- Faults -------------------------------------------------------------------------------------
 */

static uint32_t draw_set(struct prng *prng, uint32_t node_count)
{
    uint32_t all = (1u << node_count) - 1;
    uint32_t set = (uint32_t)prng_below(prng, all + 1);

    return set == 0 || set == all ? 1u << prng_below(prng, node_count) : set;
}

static uint64_t draw_length(struct prng *prng, const struct sim_knobs *knobs)
{
    switch (prng_below(prng, 4)) {
    case 0:
        return prng_between(prng, 1, 50);
    case 1:
        return prng_between(prng, 50, knobs->election_ms_max);
    case 2:
        return prng_between(prng, knobs->election_ms_max, 4ul * knobs->election_ms_max);
    default:
        return prng_between(prng, 1000, 3ul * knobs->ttl_ms);
    }
}

static void draw_fault(struct sim_fault *fault, const struct sim_knobs *knobs, struct prng *prng)
{
    bool is_client = fault->kind >= SIM_FAULT_client_cut;

    fault->end_ms = fault->at_ms + draw_length(prng, knobs);
    if (is_client) {
        fault->place = (uint32_t)prng_below(prng, knobs->client_count);
    } else {
        fault->place =
            chance(prng, 40) ? FAKE_NODE_COUNT_MAX : (uint32_t)prng_below(prng, knobs->node_count);
    }
    if (fault->kind == SIM_FAULT_transfer_break) {
        fault->end_ms = fault->at_ms + prng_between(prng, 1000, 30000);
    }
    if (fault->kind >= SIM_FAULT_member_add && fault->kind <= SIM_FAULT_leader_move) {
        fault->end_ms = fault->at_ms + prng_between(prng, 100, 6000);
    }
    if (fault->kind == SIM_FAULT_client_late) {
        fault->place %= knobs->locker_count;
        fault->end_ms = fault->at_ms + 2ul * knobs->ttl_ms;
    }
    fault->other = fault->kind == SIM_FAULT_split ? draw_set(prng, knobs->node_count)
                                                  : (uint32_t)prng_below(prng, knobs->node_count);
    fault->amount = prng_next(prng);
}

/* A swarm: each seed has only some kinds of faults, so that the others cannot hide what these do.
 */
static uint32_t draw_kinds(struct prng *prng, uint32_t weights[SIM_FAULT_KIND_COUNT])
{
    uint32_t sum = 0;

    while (sum == 0) {
        for (uint32_t i = 0; i < SIM_FAULT_KIND_COUNT; i++) {
            weights[i] = chance(prng, 40) ? kinds[i].weight : 0;
            sum += weights[i];
        }
    }
    return sum;
}

static enum sim_fault_kind draw_kind(struct prng *prng,
                                     const uint32_t weights[SIM_FAULT_KIND_COUNT], uint32_t sum)
{
    uint64_t at = prng_below(prng, sum);

    for (uint32_t i = 0; i < SIM_FAULT_KIND_COUNT; i++) {
        if (at < weights[i]) {
            return (enum sim_fault_kind)i;
        }
        at -= weights[i];
    }
    UNREACHABLE();
}

/* Two changes, one of which waits for the other when the faults end: then it needs others than
 * those that were healed. */
static void draw_late_changes(struct sim_plan *plan, struct prng *prng)
{
    uint64_t at_ms = plan->knobs.fault_ms - prng_between(prng, 20, 200);

    if (plan->fault_count > 0 && plan->faults[plan->fault_count - 1].at_ms > at_ms) {
        at_ms = plan->faults[plan->fault_count - 1].at_ms;
    }

    for (uint32_t i = 0; i < 2 && plan->fault_count < SIM_FAULT_COUNT_MAX; i++) {
        struct sim_fault *fault = &plan->faults[plan->fault_count++];
        *fault = (struct sim_fault){.kind = SIM_FAULT_member_add, .at_ms = at_ms};
        draw_fault(fault, &plan->knobs, prng);
        fault->place = FAKE_NODE_COUNT_MAX;
    }
}

static void draw_faults(struct sim_plan *plan, struct prng *prng)
{
    const struct sim_knobs *knobs = &plan->knobs;
    uint32_t weights[SIM_FAULT_KIND_COUNT];
    uint32_t sum = draw_kinds(prng, weights);
    uint64_t pause_ms = CHOOSE(prng, 1000, 3000, 6000);
    uint64_t at_ms = prng_below(prng, 3000);

    while (at_ms < knobs->fault_ms && plan->fault_count < SIM_FAULT_COUNT_MAX) {
        struct sim_fault *fault = &plan->faults[plan->fault_count++];

        fault->kind = draw_kind(prng, weights, sum);
        fault->at_ms = at_ms;
        draw_fault(fault, knobs, prng);
        /* Some come together. */
        at_ms += chance(prng, 20) ? prng_below(prng, 20) : prng_between(prng, 1, 2 * pause_ms);
    }
    if (knobs->has_liveness && knobs->node_count > knobs->formed_count) {
        draw_late_changes(plan, prng);
    }
}

void sim_plan_draw(struct sim_plan *plan, uint64_t seed, bool has_faults)
{
    struct prng prng;

    memset(plan, 0, sizeof(*plan));
    plan->seed = seed;
    prng_init(&prng, seed);
    plan->knobs.has_faults = has_faults;
    draw_knobs(&plan->knobs, &prng);
    draw_promises(&plan->knobs, seed);
    draw_tied(&plan->knobs, seed);
    draw_watches(&plan->knobs, seed);
    draw_turns(&plan->knobs, seed);
    if (has_faults) {
        draw_faults(plan, &prng);
    }
}

void sim_plan_print(const struct sim_plan *plan)
{
    const struct sim_knobs *knobs = &plan->knobs;
    uint32_t operations = 0;

    printf("nodes=%u formed=%u clients=%u lockers=%u keys=%u election=%u..%u heartbeat=%u ttl=%u "
           "margin=%u "
           "delay=%llu disk=%llu loss=%u again=%u late=%u liveness=%d promise=%u%s tied=%x "
           "watches=%d feed=%u uncommitted=%u rate=%u\n",
           knobs->node_count, knobs->formed_count, knobs->client_count, knobs->locker_count,
           knobs->key_count, knobs->election_ms_min, knobs->election_ms_max, knobs->heartbeat_ms,
           knobs->ttl_ms, knobs->margin_ms, (unsigned long long)knobs->delay_ms_max,
           (unsigned long long)knobs->disk_ms_max, knobs->loss_ppm, knobs->again_ppm,
           knobs->late_ppm, knobs->has_liveness, knobs->promise_ms,
           knobs->promise_varies ? " varies" : "", knobs->tied_clients, knobs->has_watches,
           knobs->feed_count_max, knobs->uncommitted_size, knobs->client_rate);
    for (uint32_t i = 0; i < plan->fault_count; i++) {
        const struct sim_fault *fault = &plan->faults[i];

        if (!plan->fault_is_dropped[i]) {
            printf("fault %u: %s at %llu..%llu ms, place %u, other %u\n", i,
                   sim_fault_name(fault->kind), (unsigned long long)fault->at_ms,
                   (unsigned long long)fault->end_ms, fault->place, fault->other);
        }
    }
    for (uint32_t i = 0; i < knobs->client_count; i++) {
        for (uint32_t j = 0; j < SIM_OPERATION_COUNT_MAX; j++) {
            operations += plan->operation_is_dropped[i][j] ? 0 : 1;
        }
    }
    printf("operations left: %u of %u\n", operations,
           knobs->client_count * SIM_OPERATION_COUNT_MAX);
}
