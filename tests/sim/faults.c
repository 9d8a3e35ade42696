/* tests/sim/faults.c: faults begin and end. */
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "raft/raft.h"
#include "tests/sim/sim.h"
#include "tests/support/log/memory_disk.h"

static uint64_t size_of(struct disk *disk)
{
    uint64_t size = 0;

    for (uint32_t i = 0; i < memory_disk_file_count(disk); i++) {
        size += memory_disk_file(disk, memory_disk_file_name(disk, i)).size;
    }
    return size;
}

/* --- Beginning ----------------------------------------------------------------------------------
 */

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
    if (fault->kind == SIM_FAULT_wipe && sim_members_may_lose(sim, place)) {
        sim_repair_disk(sim, place);
        sim_members_wipe(sim, place);
        known->was_wiped = true;
    } else if (fault->kind == SIM_FAULT_rot && sim_members_may_lose(sim, place) &&
               !known->was_rotten && sim_disk_rot(sim, place, fault->amount)) {
        known->may_be_rotten = true;
        known->was_rotten = true;
    } else if (fault->kind == SIM_FAULT_rot_snapshot && sim_members_may_lose(sim, place) &&
               !known->was_rotten && sim_disk_rot_snapshot(sim, place, fault->amount)) {
        known->was_rotten = true;
    }
}

/* The disk of the place alone, or of as many as a majority, has little left, as the nodes are told.
 */
static void set_low(struct sim *sim, uint32_t number, bool is_low)
{
    uint32_t node_count = sim->cluster->node_count;
    uint32_t count = sim->plan->faults[number].amount % 3 == 0 ? 1 : node_count / 2 + 1;

    for (uint32_t i = 0; i < count; i++) {
        uint32_t place = (sim->fault_place[number] + i) % node_count;

        ASSERT(is_low || sim->low_counts[place] > 0);
        sim->low_counts[place] += is_low ? 1u : UINT32_MAX;
        fake_set_free(sim->cluster, place, sim->low_counts[place] > 0 ? 0 : UINT64_MAX);
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
    case SIM_FAULT_disk_low:
        set_low(sim, number, true);
        return;
    default:
        UNREACHABLE();
    }
}

static void begin_client(struct sim *sim, uint32_t number)
{
    const struct sim_fault *fault = &sim->plan->faults[number];
    struct sim_client *client = &sim->clients[fault->place];

    switch ((unsigned)fault->kind) {
    case SIM_FAULT_client_cut:
        client->cut_count++;
        sim_client_cut(sim, client);
        return;
    case SIM_FAULT_client_break:
        sim_client_break(sim, client);
        return;
    case SIM_FAULT_client_pause:
        client->pause_count++;
        client->paused_ms = sim->cluster->now_ms;
        return;
    case SIM_FAULT_client_late:
        sim->fault_next_ms[number] = SIM_NEVER;
        if (!client->is_deaf && !client->is_mute) {
            sim_client_delay(sim, number);
        }
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

static void strike(struct sim *sim, uint32_t number, bool is_leader)
{
    const struct sim_fault *fault = &sim->plan->faults[number];
    uint32_t place = sim->fault_place[number];

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
    case SIM_FAULT_rot_snapshot:
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
        sim_cut_links(sim, number, true);
        sim_block_clients(sim, number, true);
        sim_note_cuts(sim, number, is_leader);
        return;
    case SIM_FAULT_flap:
    case SIM_FAULT_transfer_break:
        return;
    case SIM_FAULT_link_break:
        sim_break_link(sim, place, fault->other % sim->cluster->node_count);
        return;
    case SIM_FAULT_slow_link:
        sim_slow_link(sim, place, fault->other % sim->cluster->node_count, 5 + fault->amount % 300);
        return;
    case SIM_FAULT_disk_stall:
    case SIM_FAULT_disk_slow:
    case SIM_FAULT_disk_error:
    case SIM_FAULT_disk_full:
    case SIM_FAULT_disk_low:
        begin_disk(sim, number, is_leader);
        return;
    case SIM_FAULT_member_add:
    case SIM_FAULT_member_remove:
    case SIM_FAULT_member_promote:
    case SIM_FAULT_member_replace:
    case SIM_FAULT_leader_move:
        sim_operator_ask(sim, number);
        return;
    case SIM_FAULT_client_cut:
    case SIM_FAULT_client_break:
    case SIM_FAULT_client_pause:
    case SIM_FAULT_client_late:
        begin_client(sim, number);
        return;
    case SIM_FAULT_KIND_COUNT:
        break;
    }
    UNREACHABLE();
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
    strike(sim, number, is_leader);
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

static void end_client(struct sim *sim, uint32_t number)
{
    const struct sim_fault *fault = &sim->plan->faults[number];
    struct sim_client *client = &sim->clients[fault->place];

    if (fault->kind == SIM_FAULT_client_cut && --client->cut_count == 0) {
        sim_client_cut(sim, client);
    } else if (fault->kind == SIM_FAULT_client_pause && --client->pause_count == 0) {
        if (client->held < SIM_LOCK_COUNT &&
            sim_client_clock(sim, client) >= client->session.deadline_ms) {
            SOMETIMES(sim, client_paused_over_deadline);
        }
    } else if (fault->kind == SIM_FAULT_client_late && client->late_fault == number) {
        client->is_deaf = false;
        client->is_mute = false;
        sim_client_cut(sim, client);
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
    case SIM_FAULT_rot_snapshot:
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
        sim_cut_links(sim, number, false);
        sim_block_clients(sim, number, false);
        return;
    case SIM_FAULT_slow_link:
        sim_slow_link(sim, place, fault->other % sim->cluster->node_count, 0);
        return;
    case SIM_FAULT_disk_stall:
        sim->stall_counts[place]--;
        sim->cluster->worlds[place].disk_is_stalled = sim->stall_counts[place] > 0;
        return;
    case SIM_FAULT_disk_slow:
        sim->cluster->worlds[place].disk_ms_max = 0;
        return;
    case SIM_FAULT_flap:
    case SIM_FAULT_transfer_break:
    case SIM_FAULT_link_break:
    case SIM_FAULT_disk_error: /* It waits for its operation. */
        return;
    case SIM_FAULT_disk_full:
        memory_disk_limit(sim->cluster->worlds[place].disk, UINT64_MAX);
        return;
    case SIM_FAULT_disk_low:
        set_low(sim, number, false);
        return;
    case SIM_FAULT_member_add:
    case SIM_FAULT_member_remove:
    case SIM_FAULT_member_promote:
    case SIM_FAULT_member_replace:
    case SIM_FAULT_leader_move:
        sim_operator_end(sim, number);
        return;
    case SIM_FAULT_client_cut:
    case SIM_FAULT_client_break:
    case SIM_FAULT_client_pause:
    case SIM_FAULT_client_late:
        end_client(sim, number);
        return;
    case SIM_FAULT_KIND_COUNT:
        break;
    }
    UNREACHABLE();
}

/* --- Time ---------------------------------------------------------------------------------------
 */

/* It does something more while it lasts. */
static bool has_steps(enum sim_fault_kind kind)
{
    return kind == SIM_FAULT_flap || kind == SIM_FAULT_transfer_break ||
           kind == SIM_FAULT_client_late;
}

static uint64_t find_due_ms(const struct sim *sim)
{
    const struct sim_plan *plan = sim->plan;
    uint64_t due_ms = SIM_NEVER;

    for (uint32_t i = sim->first_fault; i < plan->fault_count; i++) {
        const struct sim_fault *fault = &plan->faults[i];
        uint64_t at_ms = SIM_NEVER;

        if (sim->fault_is_active[i]) {
            at_ms = SIM_START_MS + fault->end_ms;
            if (has_steps(fault->kind) && sim->fault_next_ms[i] < at_ms) {
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

/* Nothing about faults changes before one of them is due. */
uint64_t sim_faults_due_ms(struct sim *sim)
{
    if (sim->phase != SIM_PHASE_FAULTS) {
        return SIM_NEVER;
    }
    if (sim->faults_due_ms <= sim->cluster->now_ms) {
        sim->faults_due_ms = find_due_ms(sim);
    }
    return sim->faults_due_ms;
}

static void step_on(struct sim *sim, uint32_t number)
{
    if (sim->plan->faults[number].kind == SIM_FAULT_flap) {
        sim_flap_link(sim, number);
    } else if (sim->plan->faults[number].kind == SIM_FAULT_transfer_break) {
        sim_break_transfer(sim, number);
    } else {
        sim_client_delay(sim, number);
    }
}

void sim_faults_advance(struct sim *sim)
{
    const struct sim_plan *plan = sim->plan;
    uint64_t now_ms = sim_now_ms(sim);

    sim_reap(sim);
    if (sim->phase != SIM_PHASE_FAULTS || sim->cluster->now_ms < sim->faults_due_ms) {
        return;
    }
    while (sim->first_fault < sim->next_fault && !sim->fault_is_active[sim->first_fault]) {
        sim->first_fault++;
    }
    for (uint32_t i = sim->first_fault; i < sim->next_fault; i++) {
        if (sim->fault_is_active[i] && now_ms >= plan->faults[i].end_ms) {
            end(sim, i);
            fake_changed(sim->cluster);
        } else if (sim->fault_is_active[i] && has_steps(plan->faults[i].kind) &&
                   sim->cluster->now_ms >= sim->fault_next_ms[i]) {
            step_on(sim, i);
            fake_changed(sim->cluster);
        }
    }
    while (sim->next_fault < plan->fault_count && now_ms >= plan->faults[sim->next_fault].at_ms) {
        if (!plan->fault_is_dropped[sim->next_fault]) {
            begin(sim, sim->next_fault);
            fake_changed(sim->cluster);
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
    sim->low_counts[place] = 0;
    fake_set_free(sim->cluster, place, UINT64_MAX);
    sim_repair_disk(sim, place);
    sim->down_counts[place] = 0;
    sim_start_node(sim, place);
    if (sim->checks.nodes[place].is_refused) {
        sim_members_wipe(sim, place); /* As its message says. */
        sim->checks.nodes[place].was_wiped = true;
        SOMETIMES(sim, rotten_disk_replaced);
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
                sim_slow_link(sim, a, b, 0);
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
        client->blocked = 0;
        client->is_mute = false;
        client->is_deaf = false;
        sim_client_cut(sim, client);
    }
    for (uint32_t i = 0; i < sim->next_fault; i++) {
        if (sim->fault_is_active[i] && sim->plan->faults[i].kind >= SIM_FAULT_member_add &&
            sim->plan->faults[i].kind <= SIM_FAULT_leader_move) {
            sim_operator_end(sim, i);
            sim->fault_is_active[i] = false;
        }
    }
    sim->hurry_count = 0;
    sim->cluster->network.loss_ppm = 0;
    sim->cluster->network.again_ppm = 0;
    sim->cluster->network.late_ppm = 0;
    fake_changed(sim->cluster);
}
