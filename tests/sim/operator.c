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

/* Whom to replace: a voter that does not run, where there is one. */
static uint32_t choose_old(const struct sim *sim, const struct sim_fault *fault)
{
    uint32_t count = sim->cluster->node_count;
    uint32_t number = (uint32_t)(fault->amount % count);

    for (uint32_t i = 0; i < count; i++) {
        uint32_t place = (number + i) % count;

        if (!sim->cluster->worlds[place].runs && is_of_part(sim, place, RAFT_PART_VOTER)) {
            return place;
        }
    }
    return choose(sim, number, RAFT_PART_VOTER);
}

static bool has_learner(const struct sim *sim)
{
    return is_of_part(sim, choose(sim, 0, RAFT_PART_LEARNER), RAFT_PART_LEARNER);
}

static bool encode_add(const struct sim *sim, const struct sim_fault *fault, bool learner,
                       struct buffer *params)
{
    const struct wire_member_add add = {
        .name = bytes_of_text(fake_names[choose(sim, fault->other, 0)]),
        .learner = learner,
        .timeout_ms = TIMEOUT_MS,
    };

    return wire_member_add_encode(&add, params);
}

static bool encode(const struct sim *sim, const struct sim_fault *fault, enum wire_method *method,
                   struct buffer *params)
{
    struct bytes name;

    switch ((unsigned)fault->kind) {
    case SIM_FAULT_member_add:
        *method = WIRE_METHOD_member_add;
        return encode_add(sim, fault, fault->amount % 4 == 0, params);
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
    case SIM_FAULT_member_replace:
        if (!has_learner(sim)) {
            *method = WIRE_METHOD_member_add; /* The next one finds it. */
            return encode_add(sim, fault, true, params);
        }
        name = bytes_of_text(fake_names[choose(sim, fault->other, RAFT_PART_LEARNER)]);
        *method = WIRE_METHOD_member_promote;
        return wire_member_promote_encode(
            &(struct wire_member_promote){.name = name,
                                          .replace =
                                              bytes_of_text(fake_names[choose_old(sim, fault)]),
                                          .timeout_ms = TIMEOUT_MS},
            params);
    case SIM_FAULT_leader_move:
        name = bytes_of_text(fake_names[choose(sim, fault->other, RAFT_PART_VOTER)]);
        *method = WIRE_METHOD_leader_move;
        return wire_leader_move_encode(
            &(struct wire_leader_move){.name = name, .timeout_ms = TIMEOUT_MS}, params);
    default:
        UNREACHABLE();
    }
}

static bool is_removal(enum sim_fault_kind kind)
{
    return kind == SIM_FAULT_member_remove || kind == SIM_FAULT_member_replace;
}

/* Nobody takes a member away while another has lost its disk, or would if it crashed: that would be
 * two at once. */
static bool may_ask(const struct sim *sim, const struct sim_fault *fault, uint32_t place)
{
    raft_id old =
        fault->kind == SIM_FAULT_member_replace ? sim->checks.nodes[choose_old(sim, fault)].id : 0;

    return fake_accepts(sim->cluster, place) && sim->members.list_count > 0 &&
           (!is_removal(fault->kind) ||
            sim_members_are_there(sim, &sim->members.committed, sim_members_sound(sim), old));
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
    case SIM_FAULT_member_replace: /* Also where nothing was to be done: see note_replaced(). */
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
        if (sim->fault_is_active[i] && is_removal(sim->plan->faults[i].kind) &&
            sim->fault_client[i] != FAKE_CLIENT_COUNT_MAX) {
            return true;
        }
    }
    for (uint32_t i = 0; i < sim->cluster->node_count; i++) {
        const struct world *world = &sim->cluster->worlds[i];

        for (uint32_t j = 0; world->runs && j < CHANGE_COUNT_MAX; j++) {
            const struct change *change = &world->node->changes.slots[j];

            if (change->method == WIRE_METHOD_member_remove ||
                (change->method == WIRE_METHOD_member_promote && change->replace[0] != '\0')) {
                return true;
            }
        }
    }
    return false;
}
