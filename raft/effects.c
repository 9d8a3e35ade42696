/* raft/effects.c: what is owed, and raft_collect(), which hands it out.
 *
 * Where a message goes decides what a crash may take back. It goes to `send_durable` when it names
 * a term or a vote that is still under way to the disk, or acknowledges entries that are. */
#include <string.h>

#include "base/assert.h"
#include "raft/internal.h"

struct raft_message *raft_letter_put(struct raft *raft, uint32_t at, enum raft_letter letter,
                                     enum raft_message_kind kind)
{
    ASSERT_VALUES(at < RAFT_PLACE_COUNT, at, kind);
    ASSERT(at != RAFT_SELF);
    struct raft_peer *peer = &raft->peers[at];
    ASSERT(raft->ids[at] != 0);

    raft->owed |= 1U << at;
    peer->letter_mask |= 1U << letter;
    peer->letters[letter] = (struct raft_message){
        .kind = kind,
        .source = raft->options.self,
        .target = raft->ids[at],
        .term = raft->term,
    };
    return &peer->letters[letter];
}

bool raft_letter_is_owed(const struct raft *raft, uint32_t at, enum raft_letter letter)
{
    ASSERT(at < RAFT_PLACE_COUNT);
    return (raft->peers[at].letter_mask >> letter & 1) != 0;
}

/* Letters of an older term are as good as lost on the way. */
void raft_letters_clear(struct raft *raft)
{
    for (uint32_t at = 0; at < RAFT_PLACE_COUNT; at++) {
        raft->peers[at].letter_mask = 0;
    }
    raft->owed = 0;
    raft->round_is_owed = false;
}

struct raft_message *raft_send_now_put(struct raft *raft, uint32_t at, enum raft_message_kind kind)
{
    ASSERT(at != RAFT_SELF);
    ASSERT_VALUES(raft->send_now_count < raft->send_count_max, raft->send_now_count,
                  raft->send_count_max);
    struct raft_message *message = &raft->send_now[raft->send_now_count];

    raft->send_now_count += 1;
    *message = (struct raft_message){
        .kind = kind,
        .source = raft->options.self,
        .target = raft->ids[at],
        .term = raft->term,
    };
    return message;
}

bool raft_hard_state_is_durable(const struct raft *raft)
{
    return !raft->hard_state_changed && raft->persisted_unit >= raft->hard_state_unit;
}

/* Must this letter wait for the disk? */
static bool must_wait(const struct raft *raft, enum raft_letter letter,
                      const struct raft_message *message)
{
    switch (letter) {
    case RAFT_LETTER_VOTE_REQUEST:
        /* A candidate votes for itself first. A pre-vote changes nothing, not even here. */
        return !message->vote_request.pre && !raft_hard_state_is_durable(raft);
    case RAFT_LETTER_VOTE_REPLY:
    case RAFT_LETTER_PRE_VOTE_REPLY:
    case RAFT_LETTER_APPEND_REFUSAL:
    case RAFT_LETTER_HEARTBEAT_REPLY:
        return !raft_hard_state_is_durable(raft);
    case RAFT_LETTER_APPEND_REPLY:
        return !raft_hard_state_is_durable(raft) ||
               message->append_reply.match_index > raft->durable_index;
    case RAFT_LETTER_HEARTBEAT:
    case RAFT_LETTER_TIMEOUT_NOW:
        return false; /* A leader's term is durable: its own vote was counted. */
    case RAFT_LETTER_COUNT:
        break;
    }
    UNREACHABLE();
}

static void post_letter(struct raft *raft, enum raft_letter letter,
                        const struct raft_message *message)
{
    if (must_wait(raft, letter, message)) {
        ASSERT(raft->send_durable_count < raft->send_count_max);
        raft->send_durable[raft->send_durable_count] = *message;
        raft->send_durable_count += 1;
    } else {
        ASSERT(raft->send_now_count < raft->send_count_max);
        raft->send_now[raft->send_now_count] = *message;
        raft->send_now_count += 1;
    }
}

static void post_letters(struct raft *raft)
{
    for (uint32_t at = raft_place_next(raft->owed, 0); at < RAFT_PLACE_COUNT;
         at = raft_place_next(raft->owed, at + 1)) {
        struct raft_peer *peer = &raft->peers[at];
        for (uint32_t letter = 0; peer->letter_mask != 0 && letter < RAFT_LETTER_COUNT; letter++) {
            if ((peer->letter_mask >> letter & 1) != 0) {
                post_letter(raft, (enum raft_letter)letter, &peer->letters[letter]);
            }
        }
        peer->letter_mask = 0;
    }
    raft->owed = 0;
    raft->round_is_owed = false;
}

/* The hint must hold even where the hard state reaches the disk and this unit's entries do not, so
 * it names only what is durable already, and what this unit therefore does not replace. */
static raft_index commit_hint(const struct raft *raft)
{
    return raft->commit_index < raft->durable_index ? raft->commit_index : raft->durable_index;
}

static void collect_unit(struct raft *raft, struct raft_effects *effects)
{
    raft_index last_index = raft_last_index(raft);
    bool has_entries = raft->unsaved_index <= last_index;

    raft_index hint_index = commit_hint(raft);

    /* Terms that begin after the hint are not committed to whoever starts from it, and it can hold
     * so many only. A node that does nothing but start would never write a newer hint. */
    effects->hard_state_changed =
        raft->hard_state_changed || raft_trail_outruns(&raft->trail, raft->hint_index, hint_index);
    effects->hard_state = (struct raft_hard_state){
        .term = raft->term,
        .vote = raft->vote,
        .commit_index = hint_index,
    };
    if (has_entries) {
        struct raft_slice slice = raft_window_slice(&raft->window, raft->unsaved_index, UINT64_MAX);
        ASSERT_VALUES(raft->unsaved_index + slice.count == last_index + 1, slice.count, last_index);
        effects->append_first_index = raft->unsaved_index;
        effects->append_count = slice.count;
        effects->append_first = slice.first;
        effects->append_second = slice.second;
        raft->unsaved_index = last_index + 1;
    }
    if (has_entries || effects->hard_state_changed) {
        raft->tag = (struct raft_tag){
            .term = raft->term,
            .index = last_index,
            .epoch = raft->epoch,
            .unit = raft->tag.unit + 1,
        };
    }
    if (effects->hard_state_changed) {
        raft->hint_index = hint_index;
    }
    if (raft->hard_state_changed) {
        raft->hard_state_unit = raft->tag.unit;
        raft->hard_state_changed = false;
    }
    effects->tag = raft->tag;
}

static void collect_configuration(struct raft *raft, struct raft_effects *effects)
{
    bool is_committed = raft_configuration_is_committed(raft);

    effects->configuration = &raft->configuration;
    effects->configuration_is_committed = is_committed;
    effects->configuration_changed =
        raft->configuration_changed || is_committed != raft->configuration_told;
    raft->configuration_changed = false;
    raft->configuration_told = is_committed;
}

static uint64_t next_wake(const struct raft *raft)
{
    if (raft->role != RAFT_LEADER) {
        return raft->election_ms;
    }
    uint64_t wake_ms = raft_quorum_contact_or_start(raft) + raft->options.election_ms_max;
    if (raft->heartbeat_ms < wake_ms) {
        wake_ms = raft->heartbeat_ms; /* Repetitions are looked at with each heartbeat. */
    }
    if (raft->leave_ms != 0 && raft->leave_ms < wake_ms) {
        wake_ms = raft->leave_ms;
    }
    if (raft->transfer_target != 0 && raft->transfer_ms < wake_ms) {
        wake_ms = raft->transfer_ms;
    }
    return wake_ms;
}

bool raft_collect(struct raft *raft, struct raft_effects *effects)
{
    ASSERT(raft->is_started);
    memset(effects, 0, sizeof(*effects));
    raft->send_now_count = 0;
    raft->send_durable_count = 0;
    raft->fetch_count = 0;
    raft->snapshot_count = 0;

    if (raft->role == RAFT_LEADER) {
        raft_lead_noop(raft);
        raft_change_step(raft);
        raft_transfer_step(raft);
    }
    if (raft->role == RAFT_LEADER) {
        raft_read_begin_round(raft);
        raft_lead_send(raft);
        raft_snapshot_ask(raft);
    }
    /* A unit that is begun here is under way while the letters are sorted: what it carries is not
     * durable yet, and raft_hard_state_is_durable() says so. */
    collect_unit(raft, effects);
    post_letters(raft);
    raft->fetched_peer = 0;

    effects->send_now = raft->send_now;
    effects->send_now_count = raft->send_now_count;
    effects->send_durable = raft->send_durable;
    effects->send_durable_count = raft->send_durable_count;
    effects->commit_index = raft->commit_index;
    effects->reads = raft->reads_out;
    effects->read_count = raft_read_take_ready(raft);
    effects->fetches = raft->fetches;
    effects->fetch_count = raft->fetch_count;
    effects->snapshots = raft->snapshots;
    effects->snapshot_count = raft->snapshot_count;
    collect_configuration(raft, effects);
    effects->wake_ms = next_wake(raft);

    bool has_commit = raft->commit_index > raft->commit_told;
    raft->commit_told = raft->commit_index;
    return effects->hard_state_changed || effects->append_count > 0 ||
           effects->send_now_count > 0 || effects->send_durable_count > 0 || has_commit ||
           effects->read_count > 0 || effects->fetch_count > 0 || effects->snapshot_count > 0 ||
           effects->configuration_changed;
}
