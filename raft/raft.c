/* raft/raft.c: opening, and the events that the caller tells.
 *
 * Each event sets the time, changes the state, and notes what is owed; nothing leaves before
 * raft_collect(). */
#include "raft/raft.h"

#include <string.h>

#include "base/assert.h"
#include "raft/internal.h"

_Static_assert(RAFT_NOOP_PAYLOAD_SIZE_MAX + RAFT_ENTRY_HEADER_SIZE <= 128,
               "a no-op fits into the smallest entry that any window takes");

enum { WINDOW_SIZE_MIN = 512, WINDOW_COUNT_MIN = 8, SLOTS_PER_ENTRY_MAX = 4 };
enum { CLOCK_RATE_PPM_MAX = 1000000 };

static uint32_t fetched_capacity(const struct raft_options *options)
{
    uint32_t one = RAFT_ENTRY_SIZE_MAX;

    return options->append_size_max > one ? options->append_size_max : one;
}

static uint32_t send_count_max(const struct raft_options *options)
{
    return RAFT_PLACE_COUNT * (RAFT_LETTER_COUNT + options->inflight_count_max);
}

size_t raft_memory_size(const struct raft_options *options)
{
    return arena_cost(1, sizeof(struct raft)) + arena_cost(1, options->window_size) +
           arena_cost(options->window_count_max, sizeof(struct raft_slot)) +
           arena_cost(options->read_count_max, sizeof(struct raft_read_request)) +
           arena_cost(options->read_count_max, sizeof(struct raft_read_ready)) +
           2 * arena_cost(send_count_max(options), sizeof(struct raft_message)) +
           arena_cost(1, fetched_capacity(options));
}

static bool options_are_valid(const struct raft_options *options)
{
    return options->self != 0 && options->heartbeat_ms > 0 &&
           options->heartbeat_ms < options->election_ms_min / 2 &&
           options->promise_ms <= options->election_ms_min &&
           options->clock_rate_ppm < CLOCK_RATE_PPM_MAX &&
           options->election_ms_max > options->election_ms_min && options->inflight_count_max > 0 &&
           options->inflight_count_max <= RAFT_INFLIGHT_COUNT_MAX && options->append_size_max > 0 &&
           options->window_size >= WINDOW_SIZE_MIN && options->window_size <= UINT32_MAX / 2 &&
           options->window_count_max >= WINDOW_COUNT_MIN && options->uncommitted_size_max > 0 &&
           options->uncommitted_size_max < options->window_size / 2 && options->read_count_max > 0;
}

static bool hard_state_is_valid(const struct raft_hard_state *hard_state)
{
    return hard_state->term != 0 || (hard_state->vote == 0 && hard_state->commit_index == 0);
}

static bool base_is_valid(const struct raft_base *base, const struct raft_hard_state *hard_state)
{
    return (base->index == 0) == (base->term == 0) && base->term <= hard_state->term &&
           base->configuration.index <= base->index &&
           raft_configuration_is_valid(&base->configuration);
}

static void take_memory(struct raft *raft, struct arena *arena)
{
    const struct raft_options *options = &raft->options;
    uint8_t *data = arena_take(arena, 1, options->window_size);
    struct raft_slot *slots =
        arena_take(arena, options->window_count_max, sizeof(struct raft_slot));

    raft_window_init(&raft->window, data, options->window_size, slots, options->window_count_max);
    raft->reads = arena_take(arena, options->read_count_max, sizeof(struct raft_read_request));
    raft->reads_out = arena_take(arena, options->read_count_max, sizeof(struct raft_read_ready));
    raft->send_count_max = send_count_max(options);
    raft->send_now = arena_take(arena, raft->send_count_max, sizeof(struct raft_message));
    raft->send_durable = arena_take(arena, raft->send_count_max, sizeof(struct raft_message));
    raft->fetched_capacity = fetched_capacity(options);
    raft->fetched = arena_take(arena, 1, raft->fetched_capacity);
}

enum error raft_open(struct raft **raft, struct arena *arena, const struct raft_options *options,
                     const struct raft_hard_state *hard_state, const struct raft_base *base)
{
    if (!options_are_valid(options) || !hard_state_is_valid(hard_state) ||
        !base_is_valid(base, hard_state)) {
        return ERR_INVALID;
    }
    struct raft *opened = arena_take(arena, 1, sizeof(struct raft));

    memset(opened, 0, sizeof(*opened));
    opened->options = *options;
    opened->ids[RAFT_SELF] = options->self;
    /* An entry of a quarter of the window finds a place however the others lie. */
    opened->entry_size_max = options->window_size / SLOTS_PER_ENTRY_MAX;
    if (opened->entry_size_max > RAFT_ENTRY_SIZE_MAX) {
        opened->entry_size_max = RAFT_ENTRY_SIZE_MAX;
    }
    take_memory(opened, arena);
    raft_trail_init(&opened->trail, base->index, base->term);
    raft_window_reset(&opened->window, base->index + 1);
    prng_init(&opened->prng, options->seed ^ options->self);
    opened->term = hard_state->term;
    opened->vote = hard_state->vote;
    opened->commit_index = hard_state->commit_index; /* Checked by raft_start(). */
    opened->hint_index = hard_state->commit_index;
    if (opened->commit_index < base->index) {
        opened->commit_index = base->index;
    }
    opened->restored_index = base->index;
    opened->durable_index = base->index;
    opened->applied_index = base->index;
    opened->unsaved_index = base->index + 1;
    raft_members_begin(opened, &base->configuration);
    *raft = opened;
    return ERR_OK;
}

enum error raft_restore(struct raft *raft, const struct raft_entry *entry)
{
    ASSERT(!raft->is_started);
    if (entry->index != raft_last_index(raft) + 1 || entry->term == 0 || entry->term > raft->term ||
        entry->term < raft_last_term(raft) ||
        entry->payload.size > RAFT_ENTRY_SIZE_MAX - RAFT_ENTRY_HEADER_SIZE ||
        !raft_entry_is_sound(entry)) {
        return ERR_INVALID;
    }
    /* Everything before it is on the disk, so the window may forget it to make room. */
    if (!raft_entries_append(raft, entry, (struct bytes){0})) {
        return ERR_FULL;
    }
    raft->restored_index = entry->index;
    raft->durable_index = entry->index;
    raft->unsaved_index = entry->index + 1;
    return ERR_OK;
}

void raft_start(struct raft *raft, uint64_t now_ms)
{
    ASSERT(!raft->is_started);
    ASSERT_VALUES(raft->commit_index <= raft_last_index(raft), raft->commit_index,
                  raft_last_index(raft));
    raft->now_ms = now_ms;
    raft_election_begin(raft);
    raft->configuration_changed = false;
    raft->configuration_told = raft_configuration_is_committed(raft);
    raft->is_started = true;
}

void raft_time_set(struct raft *raft, uint64_t now_ms)
{
    ASSERT(raft->is_started);
    ASSERT_VALUES(now_ms >= raft->now_ms, now_ms, raft->now_ms);
    raft->now_ms = now_ms;
}

void raft_tick(struct raft *raft, uint64_t now_ms)
{
    raft_time_set(raft, now_ms);
    if (raft->role == RAFT_LEADER) {
        raft_lead_tick(raft);
    } else {
        raft_election_tick(raft);
    }
}

void raft_receive(struct raft *raft, const struct raft_message *message, uint64_t now_ms)
{
    raft_time_set(raft, now_ms);
    if (message->target != raft->options.self || message->source == raft->options.self ||
        message->source == 0) {
        return;
    }
    switch (message->kind) {
    case RAFT_VOTE_REQUEST:
        raft_vote_request_receive(raft, message);
        return;
    case RAFT_VOTE_REPLY:
        raft_vote_reply_receive(raft, message);
        return;
    case RAFT_APPEND:
        raft_append_receive(raft, message);
        return;
    case RAFT_APPEND_REPLY:
        raft_append_reply_receive(raft, message);
        return;
    case RAFT_HEARTBEAT:
        raft_heartbeat_receive(raft, message);
        return;
    case RAFT_HEARTBEAT_REPLY:
        raft_heartbeat_reply_receive(raft, message);
        return;
    case RAFT_TIMEOUT_NOW:
        raft_timeout_now_receive(raft, message);
        return;
    }
    /* A kind that this version does not know: ignored like any nonsense. */
}

/* Uncommitted entries are bounded in bytes and in number. One is always allowed, however large,
 * or nothing could ever be proposed. */
static bool is_overloaded(const struct raft *raft, size_t size)
{
    uint64_t uncommitted = raft_window_bytes_after(&raft->window, raft->commit_index);
    raft_index count = raft_last_index(raft) - raft->commit_index;

    if (count == 0) {
        return false;
    }
    return uncommitted + size > raft->options.uncommitted_size_max ||
           count >= raft->options.window_count_max / 2;
}

enum error raft_propose(struct raft *raft, struct bytes first, struct bytes second, uint64_t now_ms,
                        raft_index *index)
{
    raft_time_set(raft, now_ms);
    if (raft->is_resigning) {
        return ERR_STOPPING;
    }
    if (raft->role != RAFT_LEADER) {
        return ERR_NOT_LEADER;
    }
    size_t payload_size_max = raft->entry_size_max - RAFT_ENTRY_HEADER_SIZE;
    if (first.size > payload_size_max || second.size > payload_size_max - first.size) {
        return ERR_TOO_LARGE;
    }
    raft_lead_noop(raft);
    if (raft->noop_is_owed || raft_is_handing_over(raft) ||
        is_overloaded(raft, RAFT_ENTRY_HEADER_SIZE + first.size + second.size)) {
        return ERR_OVERLOADED;
    }
    struct raft_entry entry = {
        .index = raft_last_index(raft) + 1,
        .term = raft->term,
        .kind = RAFT_ENTRY_COMMAND,
        .payload = first,
    };
    if (!raft_entries_append(raft, &entry, second)) {
        return ERR_OVERLOADED;
    }
    *index = entry.index;
    return ERR_OK;
}

void raft_set_noop_payload(struct raft *raft, struct bytes payload)
{
    ASSERT_VALUES(payload.size <= RAFT_NOOP_PAYLOAD_SIZE_MAX, payload.size,
                  RAFT_NOOP_PAYLOAD_SIZE_MAX);
    if (payload.size > 0) {
        memcpy(raft->noop_payload, payload.data, payload.size);
    }
    raft->noop_payload_size = (uint32_t)payload.size;
}

/* A tag of before a truncation says nothing of what replaced the entries: the unit that carries
 * the replacement has a tag of its own. The hard state is not concerned by truncations. */
void raft_persisted(struct raft *raft, const struct raft_tag *tag, uint64_t now_ms)
{
    raft_time_set(raft, now_ms);
    ASSERT_VALUES(tag->unit <= raft->tag.unit, tag->unit, raft->tag.unit);
    ASSERT_VALUES(tag->epoch <= raft->epoch, tag->epoch, raft->epoch);
    if (tag->unit > raft->persisted_unit) {
        raft->persisted_unit = tag->unit;
    }
    raft->disk_is_stalled = false;
    if (tag->epoch == raft->epoch && tag->index > raft->durable_index) {
        ASSERT_VALUES(tag->index < raft->unsaved_index, tag->index, raft->unsaved_index);
        raft->durable_index = tag->index;
    }
    raft_election_persisted(raft);
    if (raft->role == RAFT_LEADER) {
        raft_lead_commit(raft);
    }
}

void raft_applied(struct raft *raft, raft_index index)
{
    if (index > raft->commit_index) {
        /* A state that outlived a restart may be ahead of the hint, but never of the disk. */
        ASSERT_VALUES(index <= raft->restored_index, index, raft->restored_index);
        raft_commit_advance(raft, index);
    }
    if (index > raft->applied_index) {
        raft->applied_index = index;
    }
}

void raft_peer_reset(struct raft *raft, raft_id peer, uint64_t now_ms)
{
    raft_time_set(raft, now_ms);
    uint32_t at = peer == 0 ? RAFT_NOWHERE : raft_place_find(raft, peer);

    if (raft->role == RAFT_LEADER && at != RAFT_NOWHERE && (raft_followers(raft) >> at & 1) != 0) {
        raft_progress_reset(&raft->peers[at].progress, true);
    }
}

bool raft_entry_at(const struct raft *raft, raft_index index, struct raft_entry *entry)
{
    const struct raft_slot *slot = raft_window_slot(&raft->window, index);

    if (slot == NULL) {
        return false;
    }
    struct bytes rest = bytes_of(raft->window.data + slot->offset, slot->size);
    bool is_whole = raft_entry_next(&rest, entry);
    ASSERT(is_whole);
    ASSERT_VALUES(entry->index == index, entry->index, index);
    return true;
}
