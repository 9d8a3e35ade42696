/* tests/sim/faults.c: faults begin and end, nodes stop and start. */
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "raft/raft.h"
#include "tests/sim/sim.h"
#include "tests/support/log/memory_disk.h"

enum { FLAP_MS_MIN = 30, FLAP_MS_MAX = 400 };

static uint64_t size_of(struct disk *disk)
{
    uint64_t size = 0;

    for (uint32_t i = 0; i < memory_disk_file_count(disk); i++) {
        size += memory_disk_file(disk, memory_disk_file_name(disk, i)).size;
    }
    return size;
}

/* --- Nodes --------------------------------------------------------------------------------------
 */

static void repair_disk(struct sim *sim, uint32_t place)
{
    struct disk *disk = sim->cluster->worlds[place].disk;

    memory_disk_fail(disk, 0, ERR_OK);
    memory_disk_limit(disk, UINT64_MAX);
    sim->checks.nodes[place].may_fail = false;
}

void sim_start_node(struct sim *sim, uint32_t place)
{
    struct sim_node *known = &sim->checks.nodes[place];
    struct world *world = &sim->cluster->worlds[place];
    const char *problem = NULL;

    if (world->runs || known->is_refused) {
        return;
    }
    sim->totals.turn_count++;
    enum error error = fake_try_start(sim->cluster, place, &problem);

    sim_trace(sim, error);
    sim_print(sim, "n%u starts: %s", place + 1, error == ERR_OK ? "ok" : problem);
    if (error == ERR_OK) {
        if (known->may_be_rotten) {
            known->may_be_rotten = false;
            known->is_dead = false;
            SOMETIMES(sim, rot_harmless);
        }
        sim_check_started(sim, place);
        return;
    }
    if (known->may_be_rotten && !(known->may_fail && error != ERR_CORRUPT)) {
        SIM_CHECK(sim, rot_is_refused_as_such, error == ERR_CORRUPT, error, place);
        SOMETIMES(sim, rot_refused);
        known->is_refused = true;
        return;
    }
    SIM_CHECK(sim, start_is_refused_for_a_reason, known->may_fail, error, place);
    SOMETIMES(sim, start_refused_by_error);
    repair_disk(sim, place);
    memory_disk_crash(world->disk, NULL, NULL);
    sim_start_node(sim, place);
}

static void note_crash(struct sim *sim, uint32_t place)
{
    if (sim_leader(sim) == place) {
        SOMETIMES(sim, crash_of_leader);
    }
    sim_check_ended(sim, place);
}

void sim_crash_node(struct sim *sim, uint32_t place)
{
    bool some_run = false;

    if (!sim->cluster->worlds[place].runs) {
        return;
    }
    note_crash(sim, place);
    sim_disk_crash(sim, place);
    sim_print(sim, "n%u crashed", place + 1);
    for (uint32_t i = 0; i < sim->cluster->node_count; i++) {
        some_run = some_run || sim->cluster->worlds[i].runs;
    }
    if (!some_run && sim->cluster->node_count > 1) {
        SOMETIMES(sim, crash_of_all);
    }
}

/* Processes that have given up, or have stopped as they were told. */
static void reap(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->cluster->node_count; i++) {
        struct world *world = &sim->cluster->worlds[i];

        if (!world->runs) {
            continue;
        }
        const char *problem = node_problem(world->node);

        if (problem != NULL) {
            sim_print(sim, "n%u gave up: %s", i + 1, problem);
            SIM_CHECK(sim, nodes_give_up_for_a_reason, sim->checks.nodes[i].may_fail, i, 0);
            if (strstr(problem, "full") != NULL) {
                SOMETIMES(sim, stopped_by_full_disk);
            } else {
                SOMETIMES(sim, stopped_by_write_error);
            }
            sim_crash_node(sim, i);
        } else if (node_is_stopped(world->node)) {
            note_crash(sim, i);
            fake_stopped(sim->cluster, i);
            sim_print(sim, "n%u stopped", i + 1);
            SOMETIMES(sim, clean_stop);
        }
        if (!world->runs && sim->down_counts[i] == 0) {
            repair_disk(sim, i);
            sim_start_node(sim, i);
        }
    }
}

/* --- Links --------------------------------------------------------------------------------------
 */

static void cut(struct sim *sim, uint32_t source, uint32_t target, bool begins)
{
    uint32_t *count = &sim->cut_counts[source][target];

    if (source == target) {
        return;
    }
    ASSERT(begins || *count > 0);
    *count = begins ? *count + 1 : *count - 1;
    sim->cluster->is_cut[source][target] = *count > 0;
}

/* Whether a fault keeps `source` from being heard by `target`. */
static bool fault_cuts(const struct sim *sim, uint32_t number, uint32_t source, uint32_t target)
{
    const struct sim_fault *fault = &sim->plan->faults[number];
    uint32_t place = sim->fault_place[number];
    uint32_t count = sim->cluster->node_count;

    switch (fault->kind) {
    case SIM_FAULT_isolate:
        return source == place || target == place;
    case SIM_FAULT_deaf:
        return target == place;
    case SIM_FAULT_mute:
        return source == place;
    case SIM_FAULT_one_way:
        return source == place && target == fault->other % count;
    case SIM_FAULT_split:
        return (fault->other >> source & 1) != (fault->other >> target & 1) &&
               (fault->amount % 4 != 0 || (fault->other >> source & 1) == 1);
    case SIM_FAULT_ring:
        return (source + 1) % count != target && (target + 1) % count != source;
    case SIM_FAULT_flap:
    case SIM_FAULT_crash:
    case SIM_FAULT_crash_all:
    case SIM_FAULT_stop:
    case SIM_FAULT_wipe:
    case SIM_FAULT_rot:
    case SIM_FAULT_pause:
    case SIM_FAULT_link_break:
    case SIM_FAULT_slow_link:
    case SIM_FAULT_disk_stall:
    case SIM_FAULT_disk_slow:
    case SIM_FAULT_disk_error:
    case SIM_FAULT_disk_full:
    case SIM_FAULT_client_cut:
    case SIM_FAULT_client_break:
    case SIM_FAULT_client_pause:
    case SIM_FAULT_KIND_COUNT:
        return false;
    }
    UNREACHABLE();
}

static void set_cuts(struct sim *sim, uint32_t number, bool begins)
{
    for (uint32_t a = 0; a < sim->cluster->node_count; a++) {
        for (uint32_t b = 0; b < sim->cluster->node_count; b++) {
            if (a != b && fault_cuts(sim, number, a, b)) {
                cut(sim, a, b, begins);
            }
        }
    }
}

static bool majority_is_connected(const struct sim *sim)
{
    uint32_t count = sim->cluster->node_count;

    for (uint32_t a = 0; a < count; a++) {
        uint32_t reached = 1;

        for (uint32_t b = 0; b < count; b++) {
            reached += a != b && sim->cut_counts[a][b] == 0 && sim->cut_counts[b][a] == 0 &&
                               sim->cluster->worlds[b].runs
                           ? 1
                           : 0;
        }
        if (reached > count / 2 && sim->cluster->worlds[a].runs) {
            return true;
        }
    }
    return false;
}

static void note_cuts(struct sim *sim, uint32_t number, bool is_leader)
{
    enum sim_fault_kind kind = sim->plan->faults[number].kind;

    if (is_leader && sim->cluster->node_count > 1) {
        if (kind == SIM_FAULT_isolate) {
            SOMETIMES(sim, leader_cut_off);
        } else if (kind == SIM_FAULT_deaf) {
            SOMETIMES(sim, leader_deaf);
        } else if (kind == SIM_FAULT_mute) {
            SOMETIMES(sim, leader_mute);
        }
    }
    if (!majority_is_connected(sim)) {
        SOMETIMES(sim, no_majority_connected);
    }
}

static void break_link(struct sim *sim, uint32_t a, uint32_t b)
{
    if (a == b) {
        return;
    }
    if (sim->cluster->worlds[a].links[b][WORLD_LANE_BULK].ahead.size > 1000) {
        SOMETIMES(sim, link_broke_with_entries);
    }
    fake_break(sim->cluster, a, b);
}

static void slow_link(struct sim *sim, uint32_t a, uint32_t b, uint64_t delay_ms)
{
    for (enum world_lane lane = WORLD_LANE_BULK; lane < WORLD_LANE_COUNT; lane++) {
        sim->cluster->worlds[a].links[b][lane].ahead.delay_ms = delay_ms;
        sim->cluster->worlds[b].links[a][lane].ahead.delay_ms = delay_ms;
    }
}

/* --- Beginning ----------------------------------------------------------------------------------
 */

/* As many as can be lost for good with a majority left, once all know the cluster: before that a
 * wiped one may found it again with the others. */
static bool may_die(const struct sim *sim, uint32_t place)
{
    for (uint32_t i = 0; i < sim->cluster->node_count; i++) {
        if (!sim->checks.nodes[i].was_formed) {
            return false;
        }
    }
    return !sim->checks.nodes[place].is_dead &&
           sim_dead_count(sim) < (sim->cluster->node_count - 1) / 2;
}

static void begin_down(struct sim *sim, uint32_t number)
{
    const struct sim_fault *fault = &sim->plan->faults[number];
    uint32_t place = sim->fault_place[number];
    struct world *world = &sim->cluster->worlds[place];
    struct sim_node *known = &sim->checks.nodes[place];

    if (fault->kind == SIM_FAULT_stop) {
        if (world->runs && !world->asked_to_stop) {
            world->asked_to_stop = true;
            fake_queue_event(world, (struct node_event){.kind = NODE_STOP});
        }
        return;
    }
    sim_crash_node(sim, place);
    if (fault->kind == SIM_FAULT_wipe && may_die(sim, place)) {
        known->is_dead = true;
        repair_disk(sim, place);
        fake_wipe(sim->cluster, place);
    } else if (fault->kind == SIM_FAULT_rot && may_die(sim, place) && !known->was_rotten &&
               sim_disk_rot(sim, place, fault->amount)) {
        known->may_be_rotten = true;
        known->was_rotten = true;
        known->is_dead = true; /* Until it turns out to be harmless. */
    }
}

static void begin_disk(struct sim *sim, uint32_t number, bool is_leader)
{
    const struct sim_fault *fault = &sim->plan->faults[number];
    uint32_t place = sim->fault_place[number];
    struct world *world = &sim->cluster->worlds[place];
    struct sim_node *known = &sim->checks.nodes[place];

    switch ((unsigned)fault->kind) {
    case SIM_FAULT_disk_stall:
        sim->stall_counts[place]++;
        world->disk_is_stalled = true;
        if (is_leader) {
            SOMETIMES(sim, leader_with_stalled_disk);
        }
        return;
    case SIM_FAULT_disk_slow:
        world->disk_ms_max = 20 + fault->amount % 500;
        return;
    case SIM_FAULT_disk_error:
        memory_disk_fail(world->disk, 1 + fault->amount % 20, ERR_IO);
        known->may_fail = true;
        return;
    case SIM_FAULT_disk_full:
        memory_disk_limit(world->disk, size_of(world->disk));
        known->may_fail = true;
        return;
    default:
        UNREACHABLE();
    }
}

static void begin_client(struct sim *sim, const struct sim_fault *fault)
{
    struct sim_client *client = &sim->clients[fault->place];

    switch ((unsigned)fault->kind) {
    case SIM_FAULT_client_cut:
        client->cut_count++;
        sim_client_set_cut(sim, client, true);
        return;
    case SIM_FAULT_client_break:
        sim_client_break(sim, client);
        return;
    case SIM_FAULT_client_pause:
        client->pause_count++;
        client->paused_ms = sim->cluster->now_ms;
        return;
    default:
        UNREACHABLE();
    }
}

static void begin_pause(struct sim *sim, uint32_t place)
{
    if (sim->pause_counts[place]++ == 0) {
        sim->checks.nodes[place].paused_ms = sim->cluster->now_ms;
    }
    sim->cluster->worlds[place].is_paused = true;
}

static void begin(struct sim *sim, uint32_t number)
{
    const struct sim_fault *fault = &sim->plan->faults[number];
    uint32_t leader = sim_leader(sim);
    uint32_t place = fault->place < FAKE_NODE_COUNT_MAX ? fault->place
                     : leader < FAKE_NODE_COUNT_MAX     ? leader
                                                        : fault->other;
    bool is_leader = false;

    if (fault->kind < SIM_FAULT_client_cut) {
        place %= sim->cluster->node_count;
        is_leader = place == leader;
    }
    sim->fault_place[number] = place;
    sim->fault_is_active[number] = true;
    sim->fault_next_ms[number] = sim->cluster->now_ms;
    sim->totals.faults[fault->kind]++;
    sim->totals.fault_count++;
    sim_print(sim, "fault %u begins: %s, place %u", number, sim_fault_name(fault->kind), place);
    switch (fault->kind) {
    case SIM_FAULT_crash_all:
        for (uint32_t i = 0; i < sim->cluster->node_count; i++) {
            sim->down_counts[i]++;
            sim_crash_node(sim, i);
        }
        return;
    case SIM_FAULT_crash:
    case SIM_FAULT_stop:
    case SIM_FAULT_wipe:
    case SIM_FAULT_rot:
        sim->down_counts[place]++;
        begin_down(sim, number);
        return;
    case SIM_FAULT_pause:
        begin_pause(sim, place);
        return;
    case SIM_FAULT_isolate:
    case SIM_FAULT_deaf:
    case SIM_FAULT_mute:
    case SIM_FAULT_one_way:
    case SIM_FAULT_split:
    case SIM_FAULT_ring:
        set_cuts(sim, number, true);
        note_cuts(sim, number, is_leader);
        return;
    case SIM_FAULT_flap:
        return;
    case SIM_FAULT_link_break:
        break_link(sim, place, fault->other % sim->cluster->node_count);
        return;
    case SIM_FAULT_slow_link:
        slow_link(sim, place, fault->other % sim->cluster->node_count, 5 + fault->amount % 300);
        return;
    case SIM_FAULT_disk_stall:
    case SIM_FAULT_disk_slow:
    case SIM_FAULT_disk_error:
    case SIM_FAULT_disk_full:
        begin_disk(sim, number, is_leader);
        return;
    case SIM_FAULT_client_cut:
    case SIM_FAULT_client_break:
    case SIM_FAULT_client_pause:
        begin_client(sim, fault);
        return;
    case SIM_FAULT_KIND_COUNT:
        break;
    }
    UNREACHABLE();
}

/* --- Ending -------------------------------------------------------------------------------------
 */

static void up_again(struct sim *sim, uint32_t place)
{
    ASSERT(sim->down_counts[place] > 0);
    sim->down_counts[place]--;
    if (sim->down_counts[place] != 0) {
        return;
    }
    if (sim->cluster->worlds[place].runs && sim->cluster->worlds[place].asked_to_stop) {
        return; /* It is stopping still: started when it has stopped. */
    }
    sim_start_node(sim, place);
}

static void end_pause(struct sim *sim, uint32_t place)
{
    struct sim_node *known = &sim->checks.nodes[place];
    uint64_t ms = sim->cluster->now_ms - known->paused_ms;

    if (--sim->pause_counts[place] != 0) {
        return;
    }
    sim->cluster->worlds[place].is_paused = false;
    if (known->role == RAFT_LEADER && ms > sim->plan->knobs.election_ms_max) {
        SOMETIMES(sim, leader_paused);
    }
    if (ms > sim->plan->knobs.ttl_ms) {
        SOMETIMES(sim, pause_longer_than_ttl);
    }
}

static void end_client(struct sim *sim, const struct sim_fault *fault)
{
    struct sim_client *client = &sim->clients[fault->place];

    if (fault->kind == SIM_FAULT_client_cut && --client->cut_count == 0) {
        sim_client_set_cut(sim, client, false);
    } else if (fault->kind == SIM_FAULT_client_pause && --client->pause_count == 0) {
        if (client->held < SIM_LOCK_COUNT &&
            sim_client_clock(sim, client) >= client->session.deadline_ms) {
            SOMETIMES(sim, client_paused_over_deadline);
        }
    }
}

static void end(struct sim *sim, uint32_t number)
{
    const struct sim_fault *fault = &sim->plan->faults[number];
    uint32_t place = sim->fault_place[number];

    sim->fault_is_active[number] = false;
    sim_print(sim, "fault %u ends: %s", number, sim_fault_name(fault->kind));
    switch (fault->kind) {
    case SIM_FAULT_crash_all:
        for (uint32_t i = 0; i < sim->cluster->node_count; i++) {
            up_again(sim, i);
        }
        return;
    case SIM_FAULT_crash:
    case SIM_FAULT_stop:
    case SIM_FAULT_wipe:
    case SIM_FAULT_rot:
        up_again(sim, place);
        return;
    case SIM_FAULT_pause:
        end_pause(sim, place);
        return;
    case SIM_FAULT_isolate:
    case SIM_FAULT_deaf:
    case SIM_FAULT_mute:
    case SIM_FAULT_one_way:
    case SIM_FAULT_split:
    case SIM_FAULT_ring:
        set_cuts(sim, number, false);
        return;
    case SIM_FAULT_slow_link:
        slow_link(sim, place, fault->other % sim->cluster->node_count, 0);
        return;
    case SIM_FAULT_disk_stall:
        sim->stall_counts[place]--;
        sim->cluster->worlds[place].disk_is_stalled = sim->stall_counts[place] > 0;
        return;
    case SIM_FAULT_disk_slow:
        sim->cluster->worlds[place].disk_ms_max = 0;
        return;
    case SIM_FAULT_flap:
    case SIM_FAULT_link_break:
    case SIM_FAULT_disk_error: /* It waits for its operation. */
        return;
    case SIM_FAULT_disk_full:
        memory_disk_limit(sim->cluster->worlds[place].disk, UINT64_MAX);
        return;
    case SIM_FAULT_client_cut:
    case SIM_FAULT_client_break:
    case SIM_FAULT_client_pause:
        end_client(sim, fault);
        return;
    case SIM_FAULT_KIND_COUNT:
        break;
    }
    UNREACHABLE();
}

/* A link goes down and up by turns while the fault lasts. */
static void flap(struct sim *sim, uint32_t number)
{
    const struct sim_fault *fault = &sim->plan->faults[number];

    break_link(sim, sim->fault_place[number], fault->other % sim->cluster->node_count);
    SOMETIMES(sim, link_flapped);
    sim->fault_next_ms[number] =
        sim->cluster->now_ms + FLAP_MS_MIN + fault->amount % (FLAP_MS_MAX - FLAP_MS_MIN);
}

/* --- Time ---------------------------------------------------------------------------------------
 */

uint64_t sim_faults_due_ms(const struct sim *sim)
{
    const struct sim_plan *plan = sim->plan;
    uint64_t due_ms = SIM_NEVER;

    if (sim->phase != SIM_PHASE_FAULTS) {
        return due_ms;
    }
    for (uint32_t i = 0; i < plan->fault_count; i++) {
        const struct sim_fault *fault = &plan->faults[i];
        uint64_t at_ms = SIM_NEVER;

        if (sim->fault_is_active[i]) {
            at_ms = SIM_START_MS + fault->end_ms;
            if (fault->kind == SIM_FAULT_flap && sim->fault_next_ms[i] < at_ms) {
                at_ms = sim->fault_next_ms[i];
            }
        } else if (i >= sim->next_fault && !plan->fault_is_dropped[i]) {
            at_ms = SIM_START_MS + fault->at_ms;
        }
        due_ms = at_ms < due_ms ? at_ms : due_ms;
        if (i >= sim->next_fault && !sim->fault_is_active[i] && at_ms != SIM_NEVER) {
            break; /* They are sorted by their beginnings. */
        }
    }
    return due_ms;
}

void sim_faults_advance(struct sim *sim)
{
    const struct sim_plan *plan = sim->plan;
    uint64_t now_ms = sim_now_ms(sim);

    reap(sim);
    if (sim->phase != SIM_PHASE_FAULTS) {
        return;
    }
    for (uint32_t i = 0; i < sim->next_fault; i++) {
        if (sim->fault_is_active[i] && now_ms >= plan->faults[i].end_ms) {
            end(sim, i);
        } else if (sim->fault_is_active[i] && plan->faults[i].kind == SIM_FAULT_flap &&
                   sim->cluster->now_ms >= sim->fault_next_ms[i]) {
            flap(sim, i);
        }
    }
    while (sim->next_fault < plan->fault_count && now_ms >= plan->faults[sim->next_fault].at_ms) {
        if (!plan->fault_is_dropped[sim->next_fault]) {
            begin(sim, sim->next_fault);
        }
        sim->next_fault++;
    }
}

/* Of a node that is healed all ends; of the others nothing, but for links between two healed. */
static void heal_node(struct sim *sim, uint32_t place)
{
    struct world *world = &sim->cluster->worlds[place];

    sim->pause_counts[place] = 0;
    world->is_paused = false;
    sim->stall_counts[place] = 0;
    world->disk_is_stalled = false;
    world->disk_ms_max = 0;
    repair_disk(sim, place);
    sim->down_counts[place] = 0;
    if (!world->runs) {
        sim_start_node(sim, place);
    }
}

void sim_faults_heal(struct sim *sim, uint32_t places)
{
    for (uint32_t a = 0; a < sim->cluster->node_count; a++) {
        for (uint32_t b = 0; b < sim->cluster->node_count; b++) {
            if (a != b && (places >> a & 1) != 0 && (places >> b & 1) != 0) {
                sim->cut_counts[a][b] = 0;
                sim->cluster->is_cut[a][b] = false;
                slow_link(sim, a, b, 0);
            }
        }
    }
    for (uint32_t i = 0; i < sim->cluster->node_count; i++) {
        if ((places >> i & 1) != 0) {
            heal_node(sim, i);
        }
    }
    for (uint32_t i = 0; i < sim->plan->knobs.client_count; i++) {
        struct sim_client *client = &sim->clients[i];

        client->pause_count = 0;
        client->cut_count = 0;
        sim_client_set_cut(sim, client, false);
    }
    sim->cluster->network.loss_ppm = 0;
    sim->cluster->network.again_ppm = 0;
    sim->cluster->network.late_ppm = 0;
}
