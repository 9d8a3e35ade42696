/* tests/sim/operator.c: an operator who asks nodes to change the cluster. */
#include "base/assert.h"
#include "node/internal.h"
#include "tests/sim/sim.h"
#include "tests/support/node/fake_members.h"

enum { TIMEOUT_MS = 4000 };

/* --- Asking -------------------------------------------------------------------------------------
 */

static bool is_of_part(const struct sim *sim, uint32_t place, uint8_t parts)
{
    raft_id id = sim->checks.nodes[place].id;
    const struct raft_member *member =
        id == 0 ? NULL : raft_configuration_find(&sim->members.committed, id);

    return parts == 0 ? member == NULL : member != NULL && (member->parts & parts) != 0;
}

/* The `number`-th, around, of those that the request makes sense for; or any. */
static uint32_t choose(const struct sim *sim, uint32_t number, uint8_t parts)
{
    uint32_t count = sim->cluster->node_count;

    for (uint32_t i = 0; i < count; i++) {
        if (is_of_part(sim, (number + i) % count, parts)) {
            return (number + i) % count;
        }
    }
    return number % count;
}

static bool encode(const struct sim *sim, const struct sim_fault *fault, enum wire_method *method,
                   struct buffer *params)
{
    struct bytes name;

    switch ((unsigned)fault->kind) {
    case SIM_FAULT_member_add:
        name = bytes_of_text(fake_names[choose(sim, fault->other, 0)]);
        *method = WIRE_METHOD_member_add;
        return wire_member_add_encode(&(struct wire_member_add){.name = name,
                                                                .learner = fault->amount % 4 == 0,
                                                                .timeout_ms = TIMEOUT_MS},
                                      params);
    case SIM_FAULT_member_remove:
        name = bytes_of_text(fake_names[choose(sim, fault->other, RAFT_PART_VOTER)]);
        *method = WIRE_METHOD_member_remove;
        return wire_member_remove_encode(
            &(struct wire_member_remove){.name = name, .timeout_ms = TIMEOUT_MS}, params);
    case SIM_FAULT_member_promote:
        name = bytes_of_text(fake_names[choose(sim, fault->other, RAFT_PART_LEARNER)]);
        *method = WIRE_METHOD_member_promote;
        return wire_member_promote_encode(
            &(struct wire_member_promote){.name = name, .timeout_ms = TIMEOUT_MS}, params);
    case SIM_FAULT_leader_move:
        name = bytes_of_text(fake_names[choose(sim, fault->other, RAFT_PART_VOTER)]);
        *method = WIRE_METHOD_leader_move;
        return wire_leader_move_encode(
            &(struct wire_leader_move){.name = name, .timeout_ms = TIMEOUT_MS}, params);
    default:
        UNREACHABLE();
    }
}

/* Nobody takes a member away while another has lost its disk: that would be two at once. */
static bool may_ask(const struct sim *sim, const struct sim_fault *fault, uint32_t place)
{
    return fake_accepts(sim->cluster, place) && sim->members.list_count > 0 &&
           (fault->kind != SIM_FAULT_member_remove ||
            sim_members_are_whole(sim, &sim->members.committed));
}

void sim_operator_ask(struct sim *sim, uint32_t number)
{
    const struct sim_fault *fault = &sim->plan->faults[number];
    uint32_t place = sim->fault_place[number];
    enum wire_method method = WIRE_METHOD_leader_move;
    uint8_t memory[256];
    struct buffer params = buffer_of(memory, sizeof(memory));

    sim->fault_client[number] = FAKE_CLIENT_COUNT_MAX;
    if (!may_ask(sim, fault, place)) {
        return;
    }
    bool fits = encode(sim, fault, &method, &params);

    ASSERT(fits);
    sim->fault_client[number] = fake_client_open(sim->cluster, place);
    sim->fault_request[number] =
        fake_request(sim->cluster, sim->fault_client[number], method, &params);
}

/* --- Ending -------------------------------------------------------------------------------------
 */

static void note_answer(struct sim *sim, enum sim_fault_kind kind, bool failed)
{
    if (failed) {
        SOMETIMES(sim, change_refused);
        return;
    }
    switch ((unsigned)kind) {
    case SIM_FAULT_member_add:
        SOMETIMES(sim, member_added);
        return;
    case SIM_FAULT_member_remove:
        SOMETIMES(sim, member_removed);
        return;
    case SIM_FAULT_member_promote:
        SOMETIMES(sim, learner_promoted);
        return;
    case SIM_FAULT_leader_move:
        SOMETIMES(sim, leadership_moved);
        return;
    default:
        UNREACHABLE();
    }
}

void sim_operator_end(struct sim *sim, uint32_t number)
{
    uint32_t client = sim->fault_client[number];

    if (client == FAKE_CLIENT_COUNT_MAX) {
        return;
    }
    const struct fake_message *answer =
        fake_find_answer(sim->cluster, client, sim->fault_request[number]);

    sim_trace(sim, answer == NULL ? 2 : answer->failed);
    if (answer == NULL) {
        SOMETIMES(sim, change_unanswered);
    } else {
        note_answer(sim, sim->plan->faults[number].kind, answer->failed);
    }
    sim->fault_client[number] = FAKE_CLIENT_COUNT_MAX;
    fake_client_release(sim->cluster, client);
}

/* --- Looking ------------------------------------------------------------------------------------
 */

bool sim_operator_removes(const struct sim *sim)
{
    for (uint32_t i = 0; i < sim->next_fault; i++) {
        if (sim->fault_is_active[i] && sim->plan->faults[i].kind == SIM_FAULT_member_remove &&
            sim->fault_client[i] != FAKE_CLIENT_COUNT_MAX) {
            return true;
        }
    }
    for (uint32_t i = 0; i < sim->cluster->node_count; i++) {
        const struct world *world = &sim->cluster->worlds[i];

        for (uint32_t j = 0; world->runs && j < CHANGE_COUNT_MAX; j++) {
            if (world->node->changes.slots[j].method == WIRE_METHOD_member_remove) {
                return true;
            }
        }
    }
    return false;
}
