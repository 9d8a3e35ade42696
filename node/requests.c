/* node/requests.c: proposals under way, by the index that they will have.
 *
 * An outcome is known when the entry at that index is applied: with the same term it is ours, with
 * another it is surely not applied. So a proposal outlives the leadership that made it; only when
 * nothing is applied at its index within two election timeouts is its outcome given as unknown. */
#include "base/assert.h"
#include "node/internal.h"

uint64_t ring_capacity(uint64_t count)
{
    uint64_t capacity = 1;

    ASSERT_VALUES(count > 0 && count <= UINT32_MAX, count, UINT32_MAX);
    while (capacity < count) {
        capacity *= 2;
    }
    return capacity;
}

size_t requests_memory_size(const struct node_options *options)
{
    return arena_cost(ring_capacity(options->request_count_max), sizeof(struct pending));
}

void requests_open(struct node *node, struct arena *arena)
{
    struct requests *requests = &node->requests;
    uint64_t capacity = ring_capacity(node->options.request_count_max);

    requests->slots = arena_take(arena, capacity, sizeof(struct pending));
    memset(requests->slots, 0, capacity * sizeof(struct pending));
    requests->mask = capacity - 1;
    requests->count_max = node->options.request_count_max;
    requests->orphan_ms = NEVER;
    requests->commit_ms_q8 = COMMIT_MS_START << 8;
}

static struct pending *slot_of(const struct requests *requests, raft_index index)
{
    ASSERT(index != 0);
    return &requests->slots[index & requests->mask];
}

bool requests_have_room(const struct node *node)
{
    const struct requests *requests = &node->requests;
    const struct pending *next = slot_of(requests, node->status.last_index + 1);

    /* A slot taken by a proposal of an older term does not count: it is given up. */
    return requests->count < requests->count_max &&
           (next->index == 0 || next->term != node->status.term);
}

bool requests_have_room_behind(const struct node *node, uint32_t waiting_count)
{
    const struct requests *requests = &node->requests;
    uint32_t kept = (uint32_t)size_max(requests->count_max / URGENT_PART, 1);
    uint32_t count_max = requests->count_max > kept ? requests->count_max - kept : 1;

    return requests_have_room(node) && requests->count + waiting_count < count_max;
}

/* As raft counts them; one is always taken when nothing else is uncommitted. */
bool requests_fit_uncommitted(const struct node *node, size_t size)
{
    uint64_t uncommitted = node->status.uncommitted_bytes;

    return uncommitted == 0 || uncommitted + RAFT_ENTRY_HEADER_SIZE + ENVELOPE_SIZE + size <=
                                   node->options.window_size / 4;
}

/* Room comes with the next commit: that takes as long as it did lately, or, while nothing is
 * committed at all, as long again. */
uint32_t requests_retry_ms(const struct node *node)
{
    const struct requests *requests = &node->requests;
    uint64_t usual_ms = 1 + (requests->commit_ms_q8 >> 8);
    uint64_t silent_ms = requests->count > 0 ? node->now_ms - requests->settled_ms : 0;

    return (uint32_t)size_min(size_max(usual_ms, silent_ms), RETRY_MS_MAX);
}

/* What ends sessions and gives locks back goes on when the log is nearly full. */
static bool is_urgent(uint8_t method)
{
    return method == ENVELOPE_TICK || method == ENVELOPE_RENEW ||
           method == WIRE_METHOD_session_end || method == WIRE_METHOD_lock_release ||
           method == WIRE_METHOD_lock_break;
}

void requests_take_room(struct node *node, size_t size)
{
    ASSERT_VALUES(size <= node->stage_room, size, node->stage_room);
    node->stage_room -= size;
    node->client_room = node->client_room > size ? node->client_room - size : 0;
}

static bool has_log_room(struct node *node, uint8_t method, size_t size)
{
    if (is_urgent(method)) {
        return size + STAGE_RESERVE <= node->stage_room;
    }
    if (size + STAGE_RESERVE <= node->client_room) {
        return true;
    }
    if (size + STAGE_RESERVE <= node->stage_room) {
        struct line line; /* Only the reserve of the last segment makes the two differ. */

        line_begin(&line, "log_nearly_full");
        line_add(&line, "text",
                 "only renewals, releases and ends of sessions are taken: raise max-segments");
        line_write_limited(node, WORLD_WARNING, &line, &node->client_lines);
    }
    return false;
}

enum error requests_propose(struct node *node, const struct envelope *envelope, raft_index *index)
{
    uint8_t header[ENVELOPE_SIZE];
    size_t size = RAFT_ENTRY_HEADER_SIZE + ENVELOPE_SIZE + envelope->params.size;

    ASSERT(node_may_stamp(node));
    if (size > RAFT_ENTRY_SIZE_MAX) {
        return ERR_TOO_LARGE;
    }
    if (!has_log_room(node, envelope->method, size)) {
        return ERR_OVERLOADED;
    }
    envelope_encode(header, envelope);
    enum error error = raft_propose(node->raft, bytes_of(header, ENVELOPE_SIZE), envelope->params,
                                    node->now_ms, index);

    if (error == ERR_OK) {
        requests_take_room(node, size);
        /* Not the whole status: this is done for each request. */
        node->status.last_index = *index;
        node->status.uncommitted_bytes += size;
    }
    return error;
}

static void take_out(struct requests *requests, struct pending *pending)
{
    ASSERT(pending->index != 0 && requests->count > 0);
    if (pending->method == WIRE_METHOD_session_open) {
        ASSERT(requests->open_count > 0);
        requests->open_count--;
    }
    requests->count--;
    pending->index = 0;
}

static void answer_without_result(struct node *node, const struct pending *pending,
                                  enum error error)
{
    if (pending->method == ENVELOPE_RENEW) {
        renewals_answer(node, pending->renewal_first, pending->renewal_count, NULL, error);
        return;
    }
    if (error == ERR_NOT_LEADER) {
        answer_not_leader(node, &pending->origin);
        return;
    }
    answer_retry(node, &pending->origin, error, 0);
}

struct pending *requests_add(struct node *node, raft_index index)
{
    struct requests *requests = &node->requests;
    struct pending *pending = slot_of(requests, index);

    if (pending->index != 0) {
        ASSERT_VALUES(pending->term < node->status.term, pending->term, node->status.term);
        struct pending older = *pending;

        take_out(requests, pending);
        answer_without_result(node, &older, ERR_UNKNOWN_OUTCOME);
    }
    *pending =
        (struct pending){.index = index, .term = node->status.term, .proposed_ms = node->now_ms};
    if (requests->count == 0) {
        requests->settled_ms = node->now_ms;
    }
    requests->count++;
    return pending;
}

/* Up at once to a fourth of the way, down slowly: near the largest of the last hundred. */
static void measure(struct requests *requests, uint64_t elapsed_ms)
{
    uint32_t limit_q8 = COMMIT_MS_MAX << 8;
    uint32_t sample_q8 = elapsed_ms >= COMMIT_MS_MAX ? limit_q8 : (uint32_t)(elapsed_ms << 8);
    uint32_t value_q8 = requests->commit_ms_q8;

    requests->commit_ms_q8 = sample_q8 > value_q8 ? value_q8 + (sample_q8 - value_q8) / 4
                                                  : value_q8 - (value_q8 - sample_q8) / 128;
    ASSERT_VALUES(requests->commit_ms_q8 <= limit_q8, requests->commit_ms_q8, limit_q8);
}

static void answer_with_result(struct node *node, const struct pending *pending,
                               const struct machine_result *result)
{
    measure(&node->requests, node->now_ms - pending->proposed_ms);
    if (pending->method == ENVELOPE_RENEW) {
        ASSERT_VALUES(result->renewed.size == pending->renewal_count, result->renewed.size,
                      pending->renewal_count);
        renewals_answer(node, pending->renewal_first, pending->renewal_count, result->renewed.data,
                        ERR_OK);
        return;
    }
    if (pending->method == WIRE_METHOD_snapshot_open) {
        backups_answer(node, &pending->origin, pending->index);
        return;
    }
    if (pending->method == WIRE_METHOD_session_open && result->error == ERR_OK) {
        sessions_note(node, pending->index, &pending->origin);
    } else if (pending->session != 0 && result->error != ERR_SESSION_EXPIRED) {
        sessions_note(node, pending->session, &pending->origin);
    }
    answer_machine(node, &pending->origin, result);
}

void requests_applied(struct node *node, const struct raft_entry *entry,
                      const struct machine_result *result)
{
    struct pending *slot = slot_of(&node->requests, entry->index);

    if (slot->index != entry->index) {
        return;
    }
    struct pending pending = *slot;

    take_out(&node->requests, slot);
    node->requests.settled_ms = node->now_ms;
    if (pending.term == entry->term) {
        answer_with_result(node, &pending, result);
    } else {
        answer_without_result(node, &pending, ERR_NOT_LEADER);
    }
}

void requests_installed(struct node *node, raft_index index)
{
    struct requests *requests = &node->requests;

    for (uint64_t i = 0; i <= requests->mask && requests->count > 0; i++) {
        struct pending *slot = &requests->slots[i];

        if (slot->index != 0 && slot->index <= index) {
            struct pending pending = *slot;

            take_out(requests, slot);
            answer_without_result(node, &pending, ERR_UNKNOWN_OUTCOME);
        }
    }
}

void requests_leadership_lost(struct node *node)
{
    if (node->requests.count > 0 && node->requests.orphan_ms == NEVER) {
        node->requests.orphan_ms = node->now_ms + 2 * (uint64_t)node->options.election_ms_max;
    }
}

/* Those that were not proposed in the present leadership. */
static void give_up(struct node *node, bool all)
{
    struct requests *requests = &node->requests;
    raft_term term = node_leads(node) && !all ? node->status.term : UINT64_MAX;

    for (uint64_t i = 0; i <= requests->mask && requests->count > 0; i++) {
        struct pending *slot = &requests->slots[i];

        if (slot->index != 0 && slot->term < term) {
            struct pending pending = *slot;

            take_out(requests, slot);
            answer_without_result(node, &pending, ERR_UNKNOWN_OUTCOME);
        }
    }
}

void requests_give_up(struct node *node)
{
    give_up(node, true);
    ASSERT(node->requests.count == 0 && node->requests.open_count == 0);
}

void requests_tick(struct node *node)
{
    struct requests *requests = &node->requests;

    if (requests->orphan_ms != NEVER && node->now_ms >= requests->orphan_ms) {
        requests->orphan_ms = NEVER;
        give_up(node, false);
    }
}
