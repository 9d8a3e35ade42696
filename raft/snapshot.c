/* raft/snapshot.c: the log's prefix, which may be gone, and the snapshots that stand for it.
 *
 * The base is the last entry that a durable snapshot covers. Its term stays known, because the
 * entry behind it is compared by it (trap 21). What a snapshot says is committed, so a follower may
 * take one of any leader whose term is not behind. */
#include "base/assert.h"
#include "raft/internal.h"

void raft_compacted(struct raft *raft, raft_index index, raft_term term)
{
    raft_term known = 0;

    if (index <= raft->trail.base_index) {
        return;
    }
    ASSERT_VALUES(index <= raft->applied_index, index, raft->applied_index);
    ASSERT_VALUES(index <= raft->durable_index, index, raft->durable_index);
    if (raft_term_at(raft, index, &known)) {
        ASSERT_VALUES(known == term, known, term);
    }
    raft_trail_rebase(&raft->trail, index, term);
}

raft_index raft_wanted_index(const struct raft *raft)
{
    raft_index wanted = raft_last_index(raft) + 1;

    for (uint32_t at = RAFT_SELF + 1; at < RAFT_PLACE_COUNT; at++) {
        const struct raft_progress *progress = &raft->peers[at].progress;
        bool counts = raft->role == RAFT_LEADER && (raft_followers(raft) >> at & 1) != 0 &&
                      raft->now_ms - progress->contact_ms <= raft->options.election_ms_max;
        if (!counts) {
            continue;
        }
        raft_index has =
            progress->state == RAFT_SNAPSHOT ? progress->snapshot_index : progress->match_index;
        wanted = has + 1 < wanted ? has + 1 : wanted;
    }
    return wanted;
}

void raft_snapshot_ask(struct raft *raft)
{
    ASSERT(raft->role == RAFT_LEADER);
    uint32_t members = raft->members & ~(1U << RAFT_SELF);
    for (uint32_t at = raft_place_next(members, 0); at < RAFT_PLACE_COUNT;
         at = raft_place_next(members, at + 1)) {
        struct raft_progress *progress = &raft->peers[at].progress;
        if (progress->state != RAFT_SNAPSHOT ||
            (progress->snapshot_ms != 0 &&
             raft->now_ms < progress->snapshot_ms + raft_retry_ms(raft))) {
            continue;
        }
        progress->snapshot_ms = raft->now_ms;
        raft->snapshots[raft->snapshot_count] = (struct raft_snapshot_need){
            .peer = raft->ids[at],
            .index_min = progress->snapshot_index,
        };
        raft->snapshot_count += 1;
    }
}

/* Either way a probe finds out what the follower has. That needs no trust in what was told: where
 * it does not have the base after all, it is found to need a snapshot again. */
void raft_snapshot_sent(struct raft *raft, raft_id peer, raft_index index, bool ok, uint64_t now_ms)
{
    raft_time_set(raft, now_ms);
    uint32_t at = peer == 0 ? RAFT_NOWHERE : raft_place_find(raft, peer);
    if (raft->role != RAFT_LEADER || at == RAFT_NOWHERE || (raft->members >> at & 1) == 0) {
        return;
    }
    struct raft_progress *progress = &raft->peers[at].progress;
    if (progress->state != RAFT_SNAPSHOT || index > raft->commit_index) {
        return;
    }
    raft_index base_index = raft->trail.base_index;
    raft_progress_probe(progress, ok && index > base_index ? index : base_index);
}

bool raft_heard(struct raft *raft, raft_term term, raft_id leader, uint64_t now_ms)
{
    raft_time_set(raft, now_ms);
    return leader != 0 && leader != raft->options.self && raft_follow_accept(raft, term, leader);
}

bool raft_wants_snapshot(const struct raft *raft, raft_index index, raft_term term)
{
    return raft->role != RAFT_LEADER && index > raft->commit_index && term > 0 &&
           term <= raft->term;
}

void raft_installing(struct raft *raft, bool is_installing)
{
    raft->is_installing = is_installing;
    if (is_installing && (raft->role == RAFT_PRE_CANDIDATE || raft->role == RAFT_CANDIDATE)) {
        raft_election_follow(raft, raft->term, 0);
    }
}

/* Nothing of the log that conflicts with what is committed may stay (trap 39). */
static void drop_log(struct raft *raft, const struct raft_base *base)
{
    uint32_t run_count_max = raft->trail.count_max;

    raft_trail_init(&raft->trail, base->index, base->term);
    raft->trail.count_max = run_count_max;
    raft_window_reset(&raft->window, base->index + 1);
    raft->durable_index = base->index;
    raft->restored_index = base->index;
    raft->validated_index = base->index;
    for (uint32_t at = 0; at < RAFT_PLACE_COUNT; at++) {
        raft->peers[at].letter_mask &= ~(1U << RAFT_LETTER_APPEND_REPLY);
    }
    raft_members_begin(raft, &base->configuration);
}

/* What is behind the base equals the log that the snapshot was made of, and stays (trap 38). */
static void keep_tail(struct raft *raft, const struct raft_base *base)
{
    raft_trail_rebase(&raft->trail, base->index, base->term);
    if (raft->durable_index < base->index) {
        raft->durable_index = base->index;
    }
    if (raft->configuration.index <= base->index) {
        raft_members_begin(raft, &base->configuration);
    } else {
        raft->configuration_before = base->configuration;
    }
}

void raft_installed(struct raft *raft, const struct raft_base *base, uint64_t now_ms)
{
    raft_term term = 0;

    raft_time_set(raft, now_ms);
    raft->is_installing = false;
    if (!raft_wants_snapshot(raft, base->index, base->term)) {
        return;
    }
    ASSERT_VALUES(base->configuration.index <= base->index, base->configuration.index, base->index);
    ASSERT(raft_configuration_is_valid(&base->configuration));
    if (raft_term_at(raft, base->index, &term) && term == base->term) {
        keep_tail(raft, base);
    } else {
        drop_log(raft, base);
    }
    /* Completions of what was under way are not trusted: the caller's log begins anew behind the
     * base, so what is not durable is carried once more. */
    raft->epoch += 1;
    raft->unsaved_index = raft->durable_index + 1;
    raft_commit_advance(raft, base->index);
    raft->applied_index = base->index;
}
