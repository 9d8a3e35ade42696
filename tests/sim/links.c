/* tests/sim/links.c: links between nodes are cut, broken and slow. */
#include "base/assert.h"
#include "tests/sim/sim.h"

enum { FLAP_MS_MIN = 30, FLAP_MS_MAX = 400, BREAK_MS_MAX = 1000 };

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
    case SIM_FAULT_rot_snapshot:
    case SIM_FAULT_pause:
    case SIM_FAULT_link_break:
    case SIM_FAULT_slow_link:
    case SIM_FAULT_transfer_break:
    case SIM_FAULT_disk_stall:
    case SIM_FAULT_disk_slow:
    case SIM_FAULT_disk_error:
    case SIM_FAULT_disk_full:
    case SIM_FAULT_disk_low:
    case SIM_FAULT_member_add:
    case SIM_FAULT_member_remove:
    case SIM_FAULT_member_promote:
    case SIM_FAULT_member_replace:
    case SIM_FAULT_leader_move:
    case SIM_FAULT_client_cut:
    case SIM_FAULT_client_break:
    case SIM_FAULT_client_pause:
    case SIM_FAULT_client_late:
    case SIM_FAULT_KIND_COUNT:
        return false;
    }
    UNREACHABLE();
}

void sim_cut_links(struct sim *sim, uint32_t number, bool begins)
{
    for (uint32_t a = 0; a < sim->cluster->node_count; a++) {
        for (uint32_t b = 0; b < sim->cluster->node_count; b++) {
            if (a != b && fault_cuts(sim, number, a, b)) {
                cut(sim, a, b, begins);
            }
        }
    }
}

void sim_block_clients(struct sim *sim, uint32_t number, bool begins)
{
    const struct sim_fault *fault = &sim->plan->faults[number];
    uint32_t bit = 1u << sim->fault_place[number];

    if (fault->kind != SIM_FAULT_isolate || fault->amount % 2 != 0) {
        return;
    }
    sim->hurry_count += begins ? 1 : -1u;
    for (uint32_t i = 0; i < sim->plan->knobs.client_count; i++) {
        struct sim_client *client = &sim->clients[i];

        if (begins && client->act_ms != SIM_NEVER) {
            client->act_ms = sim->cluster->now_ms + 1;
        }
        if ((fault->amount >> (8 + i) & 1) != 0) {
            client->blocked = begins ? client->blocked | bit : client->blocked & ~bit;
            sim_client_cut(sim, client);
            if (begins) {
                sim_client_leave(sim, client, sim->fault_place[number]);
            }
        }
    }
}

/* Some node that runs, and all that it speaks with both ways. */
static bool majority_is_connected(const struct sim *sim)
{
    uint32_t count = sim->cluster->node_count;

    for (uint32_t a = 0; a < count; a++) {
        uint32_t reached = 1u << a;

        for (uint32_t b = 0; b < count; b++) {
            reached |= a != b && sim->cut_counts[a][b] == 0 && sim->cut_counts[b][a] == 0 &&
                               sim->cluster->worlds[b].runs
                           ? 1u << b
                           : 0;
        }
        if (sim->cluster->worlds[a].runs && sim_members_are_quorum(sim, reached)) {
            return true;
        }
    }
    return false;
}

void sim_note_cuts(struct sim *sim, uint32_t number, bool is_leader)
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
    if (raft_configuration_is_joint(&sim->members.committed)) {
        SOMETIMES(sim, cut_while_joint);
    }
    if (sim->members.list_count > 0 && !majority_is_connected(sim)) {
        SOMETIMES(sim, no_majority_connected);
    }
}

void sim_break_link(struct sim *sim, uint32_t a, uint32_t b)
{
    if (a == b) {
        return;
    }
    if (sim->cluster->worlds[a].links[b][WORLD_LANE_BULK].ahead.size > 1000) {
        SOMETIMES(sim, link_broke_with_entries);
    }
    sim_transfers_break(sim, a, b);
    fake_break(sim->cluster, a, b);
}

void sim_slow_link(struct sim *sim, uint32_t a, uint32_t b, uint64_t delay_ms)
{
    for (enum world_lane lane = WORLD_LANE_BULK; lane < WORLD_LANE_COUNT; lane++) {
        sim->cluster->worlds[a].links[b][lane].ahead.delay_ms = delay_ms;
        sim->cluster->worlds[b].links[a][lane].ahead.delay_ms = delay_ms;
    }
}

/* A link goes down and up by turns while the fault lasts. */
void sim_flap_link(struct sim *sim, uint32_t number)
{
    const struct sim_fault *fault = &sim->plan->faults[number];

    sim_break_link(sim, sim->fault_place[number], fault->other % sim->cluster->node_count);
    SOMETIMES(sim, link_flapped);
    sim->fault_next_ms[number] =
        sim->cluster->now_ms + FLAP_MS_MIN + fault->amount % (FLAP_MS_MAX - FLAP_MS_MIN);
}

/* While the fault lasts, a snapshot that was taken in part loses its link. */
void sim_break_transfer(struct sim *sim, uint32_t number)
{
    for (uint32_t i = 0; i < sim->cluster->node_count; i++) {
        struct sim_transfer *transfer = &sim->transfers[i];

        if (transfer->has_part) {
            transfer->has_part = false;
            sim_break_link(sim, transfer->source, i);
            sim->fault_next_ms[number] =
                sim->cluster->now_ms + prng_between(&sim->disk_prng, 1, BREAK_MS_MAX);
            return;
        }
    }
}
