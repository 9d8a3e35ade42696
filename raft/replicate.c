/* raft/replicate.c: the leader's side of replication.
 *
 * Entries leave at raft_collect(), so all proposals of a turn share one message to each follower,
 * and they leave before our own disk has them: the leader counts its own copy when it is durable,
 * like everybody's (dissertation 10.2.1). */
#include "base/assert.h"
#include "raft/internal.h"

enum { CLOCK_CUT_MS = 2 };

void raft_lead_begin(struct raft *raft)
{
    ASSERT(raft->role == RAFT_CANDIDATE);
    ASSERT(raft->vote == raft->options.self);
    raft->role = RAFT_LEADER;
    raft->leader = raft->options.self;
    raft->leader_since_ms = raft->now_ms;
    raft->promises_since_ms = raft->now_ms;
    raft->noop_is_owed = true;
    raft->fetched_peer = 0;
    for (uint32_t at = RAFT_SELF + 1; at < RAFT_PLACE_COUNT; at++) {
        if ((raft->members >> at & 1) != 0) {
            raft_follower_begin(raft, at);
        }
    }
    raft_lead_noop(raft);
    raft_lead_heartbeat(raft);
}

void raft_lead_noop(struct raft *raft)
{
    ASSERT(raft->role == RAFT_LEADER);
    if (!raft->noop_is_owed) {
        return;
    }
    struct raft_entry entry = {
        .index = raft_last_index(raft) + 1,
        .term = raft->term,
        .kind = RAFT_ENTRY_NOOP,
        .payload = bytes_of(raft->noop_payload, raft->noop_payload_size),
    };
    if (raft_entries_append(raft, &entry, (struct bytes){0})) {
        raft->noop_is_owed = false;
    }
}

void raft_lead_heartbeat(struct raft *raft)
{
    ASSERT(raft->role == RAFT_LEADER);
    raft->round += 1;
    raft->round_ms[raft->round % RAFT_ROUND_HISTORY_COUNT] = raft->now_ms;
    raft->heartbeat_ms = raft->now_ms + raft->options.heartbeat_ms;
    raft->round_is_owed = true;
    uint32_t followers = raft_followers(raft);
    for (uint32_t at = raft_place_next(followers, 0); at < RAFT_PLACE_COUNT;
         at = raft_place_next(followers, at + 1)) {
        raft_index match_index = raft->peers[at].progress.match_index;
        struct raft_message *message =
            raft_letter_put(raft, at, RAFT_LETTER_HEARTBEAT, RAFT_HEARTBEAT);
        message->heartbeat = (struct raft_heartbeat){
            .commit_index = match_index < raft->commit_index ? match_index : raft->commit_index,
            .round = raft->round,
        };
    }
}

uint64_t raft_quorum_contact(const struct raft *raft)
{
    uint32_t voters = raft_voters(raft);
    uint64_t values[RAFT_PLACE_COUNT]; /* Of voters; nobody looks at others. */

    for (uint32_t at = raft_place_next(voters, 0); at < RAFT_PLACE_COUNT;
         at = raft_place_next(voters, at + 1)) {
        values[at] = at == RAFT_SELF ? raft->now_ms : raft->peers[at].progress.contact_ms;
    }
    return raft_quorum_value(&raft->quorum, values);
}

uint64_t raft_quorum_contact_or_start(const struct raft *raft)
{
    uint64_t contact_ms = raft_quorum_contact(raft);

    ASSERT(raft->role == RAFT_LEADER);
    return contact_ms > raft->leader_since_ms ? contact_ms : raft->leader_since_ms;
}

uint64_t raft_retry_ms(const struct raft *raft)
{
    return (uint64_t)raft->options.heartbeat_ms * RAFT_RETRY_HEARTBEATS;
}

/* A leader that no majority has heard for an election timeout steps down: there may be another,
 * and its clients had better look for it (check-quorum, dissertation 6.2). */
void raft_lead_tick(struct raft *raft)
{
    uint64_t limit_ms = raft_quorum_contact_or_start(raft) + raft->options.election_ms_max;

    if (raft->now_ms >= limit_ms) {
        raft_election_follow(raft, raft->term, 0);
    } else if (raft->now_ms >= raft->heartbeat_ms) {
        raft_lead_heartbeat(raft);
    }
}

bool raft_leader_is_ready(const struct raft *raft)
{
    raft_term term = 0;

    return raft->role == RAFT_LEADER && raft_term_at(raft, raft->commit_index, &term) &&
           term == raft->term;
}

/* An entry of an earlier term is never committed by counting its copies: such an entry can still
 * be replaced. It commits with the first entry of our own term (Raft section 5.4.2, figure 8). */
void raft_lead_commit(struct raft *raft)
{
    uint32_t voters = raft_voters(raft);
    uint64_t values[RAFT_PLACE_COUNT]; /* Of voters; nobody looks at others. */
    raft_term term = 0;

    ASSERT(raft->role == RAFT_LEADER);
    for (uint32_t at = raft_place_next(voters, 0); at < RAFT_PLACE_COUNT;
         at = raft_place_next(voters, at + 1)) {
        values[at] = at == RAFT_SELF ? raft->durable_index : raft->peers[at].progress.match_index;
    }
    raft_index index = raft_quorum_value(&raft->quorum, values);
    if (index > raft->commit_index && raft_term_at(raft, index, &term) && term == raft->term) {
        raft_commit_advance(raft, index);
    }
}

/* The place of one who replies in this term to what we sent it in this term; else RAFT_NOWHERE. */
static uint32_t follower_at(struct raft *raft, const struct raft_message *message)
{
    if (message->term > raft->term) {
        raft_election_follow(raft, message->term, 0);
        return RAFT_NOWHERE;
    }
    if (message->term < raft->term || raft->role != RAFT_LEADER) {
        return RAFT_NOWHERE;
    }
    uint32_t at = raft_place_find(raft, message->source);
    return at != RAFT_NOWHERE && (raft_followers(raft) >> at & 1) != 0 ? at : RAFT_NOWHERE;
}

static void note_round(struct raft *raft, struct raft_progress *progress, uint64_t round)
{
    if (round <= progress->round || round > raft->round) {
        return;
    }
    progress->round = round;
    if (raft->round - round < RAFT_ROUND_HISTORY_COUNT) {
        uint64_t sent_ms = raft->round_ms[round % RAFT_ROUND_HISTORY_COUNT];
        if (sent_ms > progress->contact_ms) {
            progress->contact_ms = sent_ms;
        }
    }
    raft_read_confirm(raft);
}

/* A promise holds from the follower's receipt on, and we count from our sending, by a clock that
 * may be slower than the follower's by the bound. Both clocks are cut to milliseconds. */
static void note_promise(struct raft *raft, uint32_t at, const struct raft_heartbeat_reply *reply)
{
    struct raft_peer *peer = &raft->peers[at];
    uint64_t million = 1000000;

    if (reply->round == 0 || reply->round > raft->round ||
        raft->round - reply->round >= RAFT_ROUND_HISTORY_COUNT) {
        return;
    }
    uint64_t sent_ms = raft->round_ms[reply->round % RAFT_ROUND_HISTORY_COUNT];
    uint64_t held_ms = reply->promise_ms * million / (million + raft->options.clock_rate_ppm);
    uint64_t lease_ms = held_ms > CLOCK_CUT_MS ? sent_ms + held_ms - CLOCK_CUT_MS : 0;
    if (sent_ms >= raft->promises_since_ms && lease_ms > peer->lease_ms) {
        peer->lease_ms = lease_ms;
    }
}

void raft_append_reply_receive(struct raft *raft, const struct raft_message *message)
{
    const struct raft_append_reply *reply = &message->append_reply;

    uint32_t at = follower_at(raft, message);
    if (at == RAFT_NOWHERE) {
        return;
    }
    struct raft_progress *progress = &raft->peers[at].progress;
    note_round(raft, progress, reply->round);
    if (!reply->success) {
        const struct raft_flight *flight = raft_progress_find(progress, reply->request);
        if (flight != NULL && flight->previous_index > progress->match_index) {
            raft_index hint =
                raft_trail_find(&raft->trail, reply->conflict_index, reply->conflict_term);
            raft_progress_refuse(progress, flight, hint);
        }
        return;
    }
    if (reply->match_index <= raft_last_index(raft)) {
        raft_progress_acknowledge(progress, reply->request, reply->match_index,
                                  raft->now_ms + raft->options.heartbeat_ms);
        if ((raft->learners >> at & 1) != 0) {
            raft_catch_up_note(raft, at);
        } else {
            raft_lead_commit(raft);
        }
    }
}

void raft_heartbeat_reply_receive(struct raft *raft, const struct raft_message *message)
{
    const struct raft_heartbeat_reply *reply = &message->heartbeat_reply;

    uint32_t at = follower_at(raft, message);
    if (at == RAFT_NOWHERE) {
        return;
    }
    struct raft_progress *progress = &raft->peers[at].progress;
    note_promise(raft, at, reply);
    note_round(raft, progress, reply->round);

    /* Sent well before a heartbeat that has been answered, and not there: an append was lost. */
    if (progress->flight_count > 0 && raft->round - reply->round < RAFT_ROUND_HISTORY_COUNT) {
        uint64_t asked_ms = raft->round_ms[reply->round % RAFT_ROUND_HISTORY_COUNT];
        uint64_t age_ms = (uint64_t)raft->options.heartbeat_ms * RAFT_LAG_HEARTBEATS;
        if (progress->flights[0].sent_ms + age_ms <= asked_ms &&
            reply->last_index < progress->flights[0].last_index) {
            raft_progress_reset(progress, false);
        }
    }
}

/* Asks for what lies before the window: an entry, or a snapshot where it is gone. */
static void ask_for(struct raft *raft, uint32_t at, raft_index index)
{
    if (index > raft->trail.base_index) {
        raft_fetch_ask(raft, at, index);
    } else {
        raft_progress_need_snapshot(&raft->peers[at].progress, raft->trail.base_index);
    }
}

/* The entries of the next message: none for an empty probe, else from the window, else from what
 * the caller read back. False when they, or the term before them, have to be fetched first, or are
 * gone. */
static bool gather(struct raft *raft, uint32_t at, struct raft_slice *slice,
                   struct raft_flight *flight, raft_term *previous_term)
{
    const struct raft_progress *progress = &raft->peers[at].progress;
    raft_index next_index = progress->next_index;

    flight->previous_index = next_index - 1;
    flight->last_index = flight->previous_index;
    if (!raft_term_at(raft, next_index - 1, previous_term)) {
        if (progress->known_index != next_index - 1) {
            ask_for(raft, at, next_index - 1);
            return false;
        }
        *previous_term = progress->known_term;
    }
    if (next_index > raft_last_index(raft) ||
        (progress->state == RAFT_PROBE && progress->probe_is_empty)) {
        return true;
    }
    if (raft_window_slot(&raft->window, next_index) != NULL) {
        *slice = raft_window_slice(&raft->window, next_index, raft->options.append_size_max);
        flight->last_index = flight->previous_index + slice->count;
        return true;
    }
    if (!raft_fetch_take(raft, at, next_index, slice, &flight->last_index)) {
        ask_for(raft, at, next_index);
        return false;
    }
    return true;
}

static bool send_one(struct raft *raft, uint32_t at)
{
    struct raft_slice slice = {0};
    struct raft_flight flight = {0};
    raft_term previous_term = 0;

    if (!gather(raft, at, &slice, &flight, &previous_term)) {
        return false;
    }
    raft->request += 1;
    flight.request = raft->request;
    flight.sent_ms = raft->now_ms;

    struct raft_message *message = raft_send_now_put(raft, at, RAFT_APPEND);
    message->append = (struct raft_append){
        .previous_index = flight.previous_index,
        .previous_term = previous_term,
        .commit_index = raft->commit_index,
        .round = raft->round,
        .request = flight.request,
        .entry_count = slice.count,
        .first = slice.first,
        .second = slice.second,
    };
    raft_progress_sent(&raft->peers[at].progress, &flight);
    return true;
}

static void send_to(struct raft *raft, uint32_t at)
{
    struct raft_progress *progress = &raft->peers[at].progress;

    if (progress->flight_count > 0 &&
        raft->now_ms >= progress->flights[0].sent_ms + raft_retry_ms(raft)) {
        raft_progress_reset(progress, true);
    }
    while (raft_progress_is_due(progress, raft_last_index(raft), raft->options.inflight_count_max,
                                raft->now_ms)) {
        if (!send_one(raft, at)) {
            break;
        }
    }
}

void raft_lead_send(struct raft *raft)
{
    ASSERT(raft->role == RAFT_LEADER);
    uint32_t followers = raft_followers(raft);
    for (uint32_t at = raft_place_next(followers, 0); at < RAFT_PLACE_COUNT;
         at = raft_place_next(followers, at + 1)) {
        send_to(raft, at);
    }
}
