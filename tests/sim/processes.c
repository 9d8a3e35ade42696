/* tests/sim/processes.c: nodes start and end. */
#include <string.h>

#include "base/assert.h"
#include "raft/raft.h"
#include "tests/sim/sim.h"
#include "tests/support/log/memory_disk.h"

void sim_repair_disk(struct sim *sim, uint32_t place)
{
    struct disk *disk = sim->cluster->worlds[place].disk;

    memory_disk_fail(disk, 0, ERR_OK);
    memory_disk_limit(disk, UINT64_MAX);
    sim->checks.nodes[place].may_fail = false;
}

/* What its operator has it promise this time: the same as ever, or not. */
static uint32_t draw_promise(struct sim *sim)
{
    const struct sim_knobs *knobs = &sim->plan->knobs;

    if (!knobs->promise_varies || prng_below(&sim->option_prng, 2) == 0) {
        return knobs->promise_ms;
    }
    return prng_below(&sim->option_prng, 2) == 0 ? 0 : 2 * knobs->heartbeat_ms;
}

/* What is cut off as torn was never acknowledged; what has rotted may have been. */
static void check_verdict(struct sim *sim, uint32_t place)
{
    struct sim_node *known = &sim->checks.nodes[place];

    if (known->has_rotten_tail && fake_has_logged(sim->cluster, place, "verdict=")) {
        SIM_CHECK(sim, rot_is_not_taken_for_a_torn_tail,
                  fake_has_logged(sim->cluster, place, "verdict=rotten"), place, known->id);
        SOMETIMES(sim, rot_of_last_batch_found);
        known->has_rotten_tail = false;
    }
}

/* False when it shall be tried again. */
static bool try_start(struct sim *sim, uint32_t place)
{
    struct sim_node *known = &sim->checks.nodes[place];
    const char *problem = NULL;

    sim->totals.turn_count++;
    sim->cluster->worlds[place].options.promise_ms = draw_promise(sim);
    enum error error = fake_try_start(sim->cluster, place, &problem);

    sim_trace(sim, error);
    sim_print(sim, "n%u starts: %s", place + 1, error == ERR_OK ? "ok" : problem);
    check_verdict(sim, place);
    if (error == ERR_OK) {
        sim_check_started(sim, place);
        return true;
    }
    bool is_rotten = known->may_be_rotten || sim_disk_has_rotten_snapshot(sim, place);

    if (is_rotten && !(known->may_fail && error != ERR_CORRUPT)) {
        SIM_CHECK(sim, rot_is_refused_as_such, error == ERR_CORRUPT, error, place);
        SOMETIMES(sim, rot_refused);
        known->is_refused = true;
        return true;
    }
    SIM_CHECK(sim, start_is_refused_for_a_reason, known->may_fail, error, place);
    SOMETIMES(sim, start_refused_by_error);
    sim_repair_disk(sim, place);
    memory_disk_crash(sim->cluster->worlds[place].disk, NULL, NULL);
    return false;
}

void sim_start_node(struct sim *sim, uint32_t place)
{
    if (sim->cluster->worlds[place].runs || sim->checks.nodes[place].is_refused) {
        return;
    }
    while (!try_start(sim, place)) {
    }
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

/* The cluster has removed it. Its operator empties the disk and starts it again, with all names. */
static void begin_anew(struct sim *sim, uint32_t place)
{
    struct sim_node *known = &sim->checks.nodes[place];

    SIM_CHECK(sim, only_removed_nodes_are_told_so, !sim_members_have(sim, known->id), known->id,
              place);
    SOMETIMES(sim, removed_node_ended);
    sim_crash_node(sim, place);
    sim_repair_disk(sim, place);
    sim_members_wipe(sim, place);
    known->was_wiped = false;
    known->was_removed = true;
    sim->cluster->worlds[place].options.member_count = sim->cluster->node_count;
    if (sim->down_counts[place] == 0) {
        sim_start_node(sim, place);
    }
}

/* Processes that have given up, or have stopped as they were told. */
void sim_reap(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->cluster->node_count; i++) {
        struct world *world = &sim->cluster->worlds[i];

        if (!world->runs) {
            continue;
        }
        const char *problem = node_problem(world->node);

        if (problem != NULL) {
            sim_print(sim, "n%u gave up: %s", i + 1, problem);
            if (node_is_removed(world->node)) {
                begin_anew(sim, i);
                continue;
            }
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
            sim_repair_disk(sim, i);
            sim_start_node(sim, i);
        }
    }
}
