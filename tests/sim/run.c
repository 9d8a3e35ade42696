/* tests/sim/run.c: one run, from empty disks to the verdict. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "tests/sim/sim.h"
#include "wire/frame.h"

enum {
    OPERATIONS_MIN = 500,    /* Of a whole run. */
    RUN_MS_MAX = 1200000,    /* A run that does not end by then never will. */
    PROGRESS_ELECTIONS = 25, /* Within so many of the largest election timeout, and */
    PROGRESS_MS = 30000,     /* this, each client has done something once all is healed. */
};

/* --- What the run says --------------------------------------------------------------------------
 */

uint64_t sim_now_ms(const struct sim *sim)
{
    return sim->cluster->now_ms - SIM_START_MS;
}

void sim_trace(struct sim *sim, uint64_t value)
{
    uint64_t hash = (sim->totals.trace ^ value) * 0x9e3779b97f4a7c15u;

    sim->totals.trace = hash ^ hash >> 29;
}

void sim_print(const struct sim *sim, const char *format, ...)
{
    va_list arguments;

    if (!sim->plan->prints) {
        return;
    }
    printf("%8llu ", (unsigned long long)sim_now_ms(sim));
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
}

_Noreturn void sim_failed(const struct sim *sim, const char *name, const char *condition,
                          uint64_t a, uint64_t b)
{
    fflush(stdout);
    fprintf(stderr, "sim: law %s is broken at %llu ms: %s (%llu, %llu)\n", name,
            (unsigned long long)sim_now_ms(sim), condition, (unsigned long long)a,
            (unsigned long long)b);
    for (uint32_t i = 0; i < sim->plan->knobs.node_count; i++) {
        const struct sim_node *node = &sim->checks.nodes[i];

        fprintf(stderr,
                "sim: n%u id=%llx runs=%d paused=%u term=%llu last=%llu durable=%llu "
                "commit=%llu applied=%llu\n",
                i + 1, (unsigned long long)node->id, sim->cluster->worlds[i].runs,
                sim->pause_counts[i], (unsigned long long)node->term,
                (unsigned long long)node->last_index, (unsigned long long)node->durable_index,
                (unsigned long long)node->commit_index, (unsigned long long)node->applied_index);
    }
    _exit(SIM_EXIT_FAILED);
}

/* --- Hooks --------------------------------------------------------------------------------------
 */

static void on_turn(struct fake_cluster *cluster, uint32_t place, uint32_t event_count)
{
    (void)event_count;
    sim_check_turn(cluster->context, place);
    sim_record_turn(cluster->context, place);
}

static void on_frame(struct fake_cluster *cluster, uint32_t source, uint32_t target,
                     struct bytes frame)
{
    sim_check_frame(cluster->context, source, target, frame);
}

static void on_again(struct fake_cluster *cluster, uint32_t source, uint32_t target,
                     struct bytes frame)
{
    struct sim *sim = cluster->context;
    struct raft_message message;
    struct bytes body =
        bytes_of(frame.data + WIRE_FRAME_HEADER_SIZE, frame.size - WIRE_FRAME_HEADER_SIZE);

    if (wire_raft_decode(body, &message) == ERR_OK &&
        message.term < sim->checks.nodes[target].term) {
        SOMETIMES(sim, frame_of_old_term);
    }
    (void)source;
}

/* --- Beginning and end --------------------------------------------------------------------------
 */

static void configure(struct sim *sim)
{
    const struct sim_knobs *knobs = &sim->plan->knobs;
    struct fake_cluster *cluster = sim->cluster;
    struct prng prng;

    prng_init(&prng, sim->plan->seed ^ 0x636c6f636b73u);
    cluster->context = sim;
    cluster->on_turn = on_turn;
    cluster->on_frame = on_frame;
    cluster->on_again = on_again;
    cluster->delay_ms_max = knobs->delay_ms_max;
    cluster->disk_ms_max = knobs->disk_ms_max;
    cluster->output_size_max = knobs->output_size_max;
    cluster->network.loss_ppm = knobs->loss_ppm;
    cluster->network.again_ppm = knobs->again_ppm;
    cluster->network.late_ppm = knobs->late_ppm;
    cluster->network.again_ms_max = knobs->again_ms_max;
    cluster->network.late_ms_max = knobs->late_ms_max;
    for (uint32_t i = 0; i < knobs->node_count; i++) {
        struct world *world = &cluster->worlds[i];

        world->clock_offset_ms = prng_below(&prng, 1000000);
        world->clock_rate_ppm = (int64_t)prng_below(&prng, 9001) - 4500;
        world->options.election_ms_min = knobs->election_ms_min;
        world->options.election_ms_max = knobs->election_ms_max;
        world->options.heartbeat_ms = knobs->heartbeat_ms;
        world->options.margin_ms = knobs->margin_ms;
        world->options.renew_batch_ms = knobs->renew_batch_ms;
        world->options.commit_interval_ms = knobs->commit_interval_ms;
        world->options.request_count_max = knobs->request_count_max;
        world->options.feed_count_max = knobs->feed_count_max;
        if (knobs->snapshot_log_size != 0) {
            world->options.snapshot_log_size = knobs->snapshot_log_size;
        }
        if (knobs->shipping_pace != 0) {
            world->options.shipping_pace = knobs->shipping_pace;
        }
        if (knobs->uncommitted_size != 0) {
            world->options.uncommitted_size = knobs->uncommitted_size;
            world->options.waiting_size = knobs->waiting_size;
        }
        if (knobs->client_rate != 0) {
            world->options.client_rate = knobs->client_rate;
            world->options.client_burst = knobs->client_burst;
        }
        world->options.segment_count_max = 400;
    }
}

static void open_run(struct sim *sim, const struct sim_plan *plan)
{
    memset(sim, 0, sizeof(*sim));
    sim->plan = plan;
    sim->cluster = fake_cluster_open(plan->knobs.node_count, plan->seed);
    prng_init(&sim->option_prng, plan->seed ^ 0x6f7074696f6e73u);
    prng_init(&sim->disk_prng, plan->seed ^ 0x6469736bu);
    configure(sim);
    fake_form_with(sim->cluster, plan->knobs.formed_count);
    sim_checks_open(sim);
    sim_clients_open(sim);
    for (uint32_t i = 0; i < plan->knobs.node_count; i++) {
        sim_start_node(sim, i);
    }
    if (plan->knobs.formed_count == 1) {
        SOMETIMES(sim, cluster_of_one);
    } else if (plan->knobs.formed_count == 2) {
        SOMETIMES(sim, cluster_of_two);
    } else if (plan->knobs.formed_count == 7) {
        SOMETIMES(sim, cluster_of_seven);
    }
}

static void close_run(struct sim *sim)
{
    sim_clients_close(sim);
    sim_checks_close(sim);
    sim_history_close(sim);
    sim_record_close(sim);
    fake_cluster_close(sim->cluster);
}

/* --- Time ---------------------------------------------------------------------------------------
 */

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* One step, at most until `limit_ms` of the cluster's clock. */
static void step(struct sim *sim, uint64_t limit_ms)
{
    uint64_t now_ms = sim->cluster->now_ms;
    uint64_t due_ms = earlier(sim_faults_due_ms(sim), sim_clients_due_ms(sim));

    due_ms = earlier(due_ms > now_ms ? due_ms : now_ms + 1, fake_next_ms(sim->cluster));
    fake_step(sim->cluster, earlier(due_ms, limit_ms > now_ms ? limit_ms : now_ms + 1));
    sim_faults_advance(sim);
    sim_clients_advance(sim);
    SIM_CHECK(sim, runs_end, sim_now_ms(sim) < RUN_MS_MAX, sim->phase, sim_now_ms(sim));
}

static uint64_t bound_ms(const struct sim *sim)
{
    const struct sim_knobs *knobs = &sim->plan->knobs;

    return sim->cluster->now_ms + PROGRESS_MS + 3ul * knobs->ttl_ms +
           (uint64_t)PROGRESS_ELECTIONS * (knobs->election_ms_max + knobs->disk_ms_max);
}

static void set_limit(struct sim *sim)
{
    sim->limit_ms = bound_ms(sim);
}

/* Places are added until they are a quorum, whatever becomes of changes under way: one that was
 * added and has not heard of it may be needed, too. */
static uint32_t complete_quorum(struct sim *sim, uint32_t places)
{
    uint32_t whole = sim_members_whole(sim) | sim_members_empty(sim);

    for (uint32_t tried = 0; tried < 1000 && !sim_members_are_quorum(sim, places); tried++) {
        places |= whole & 1u << prng_below(&sim->heal_prng, sim->cluster->node_count);
    }
    return places;
}

/* A quorum of those that can come back; all of them in safety mode. */
static uint32_t choose_quorum(struct sim *sim)
{
    prng_init(&sim->heal_prng, sim->plan->seed ^ 0x6865616cu);
    return sim->plan->knobs.has_liveness ? complete_quorum(sim, 0)
                                         : (1u << sim->cluster->node_count) - 1;
}

/* A change of members that was under way may end, and need others than before. */
static void keep_quorum(struct sim *sim)
{
    uint32_t places = complete_quorum(sim, sim->healed_places);

    if (places != sim->healed_places) {
        sim_print(sim, "healing more");
        sim->healed_places = places;
        sim_faults_heal(sim, places);
        set_limit(sim);
        SOMETIMES(sim, quorum_changed_while_healed);
    }
}

static bool all_have_done(const struct sim *sim, const uint64_t *before)
{
    for (uint32_t i = 0; i < sim->plan->knobs.client_count; i++) {
        if (sim->clients[i].done_count == before[i] &&
            !sim->plan->operation_is_dropped[i][SIM_OPERATION_COUNT_MAX - 1]) {
            return false;
        }
    }
    return true;
}

static void await_progress(struct sim *sim)
{
    uint64_t before[SIM_CLIENT_COUNT_MAX] = {0};

    set_limit(sim);
    for (uint32_t i = 0; i < sim->plan->knobs.client_count; i++) {
        before[i] = sim->clients[i].done_count;
        if (sim->clients[i].act_ms != SIM_NEVER) {
            sim->clients[i].act_ms = sim->cluster->now_ms + 1;
        }
    }
    while (!all_have_done(sim, before)) {
        SIM_CHECK(sim, a_healed_quorum_makes_progress, sim->cluster->now_ms < sim->limit_ms,
                  sim->healed_places, sim_now_ms(sim));
        step(sim, sim->limit_ms);
        keep_quorum(sim);
    }
    if (sim->plan->knobs.has_liveness) {
        SOMETIMES(sim, quorum_alone_made_progress);
    }
}

static bool is_shrunk(const struct sim *sim)
{
    return sim->plan->operation_is_dropped[0][SIM_OPERATION_COUNT_MAX - 1];
}

static void await_operations(struct sim *sim)
{
    while (sim->totals.operation_count < OPERATIONS_MIN && !is_shrunk(sim)) {
        step(sim, SIM_NEVER);
        keep_quorum(sim);
    }
}

static bool all_are_idle(const struct sim *sim)
{
    for (uint32_t i = 0; i < sim->plan->knobs.client_count; i++) {
        if (!sim_work_is_idle(&sim->clients[i])) {
            return false;
        }
    }
    return true;
}

static void await_agreement(struct sim *sim)
{
    set_limit(sim);
    for (uint32_t i = 0; i < sim->plan->knobs.client_count; i++) {
        if (sim->clients[i].act_ms == SIM_NEVER && sim->clients[i].busy_count == 0) {
            sim->clients[i].act_ms = sim->cluster->now_ms + 1;
        }
    }
    while (!all_are_idle(sim) || !sim_check_agree(sim) || !sim_watches_have_all(sim)) {
        SIM_CHECK(sim, the_quiet_cluster_agrees, sim->cluster->now_ms < sim->limit_ms,
                  all_are_idle(sim), sim_now_ms(sim));
        step(sim, sim->limit_ms);
        keep_quorum(sim);
    }
}

static void note_network(struct sim *sim)
{
    const struct fake_network *network = &sim->cluster->network;

    sim->totals.frame_lost_count = network->lost_count;
    sim->totals.frame_again_count = network->again_count;
    sim->totals.frame_late_count = network->late_count;
    sim->totals.sometimes[SOMETIMES_frame_lost] += network->lost_count;
    sim->totals.sometimes[SOMETIMES_frame_repeated] += network->again_count;
    sim->totals.sometimes[SOMETIMES_frame_reordered] += network->late_count;
}

void sim_run(const struct sim_plan *plan, struct sim_totals *totals)
{
    struct sim *sim = malloc(sizeof(*sim));

    ASSERT(sim != NULL);
    open_run(sim, plan);
    while (sim_now_ms(sim) < plan->knobs.fault_ms) {
        step(sim, SIM_START_MS + plan->knobs.fault_ms);
    }
    sim_print(sim, "healing");
    sim->phase = SIM_PHASE_HEALED;
    sim->healed_places = choose_quorum(sim);
    sim_faults_heal(sim, sim->healed_places);
    await_progress(sim);
    await_operations(sim);
    sim->phase = SIM_PHASE_QUIET;
    await_agreement(sim);
    sim->phase = SIM_PHASE_OVER;
    for (uint32_t i = 0; i < plan->knobs.node_count; i++) {
        sim_check_costly(sim, i);
    }
    sim_history_judge(sim);
    note_network(sim);
    sim->totals.virtual_ms = sim_now_ms(sim);
    *totals = sim->totals;
    close_run(sim);
    free(sim);
}
