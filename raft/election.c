/* raft/election.c: terms, votes and who leads.
 *
 *               timeout                majority of pre-votes         majority of votes
 *   FOLLOWER ------------> PRE_CANDIDATE ---------------> CANDIDATE ------------------> LEADER
 *      ^                        |                             |                            |
 *      +------------------------+-----------------------------+----------------------------+
 *        a higher term, or a leader of this term             no majority heard for too long
 *
 * Pre-vote (Raft section 9.6) keeps a member that was cut off from raising the term when it comes
 * back; check-quorum makes a leader that is cut off step down; stickiness (4.2.3) makes members
 * that hear a leader deaf to candidates. Each alone can livelock under a partial partition, so all
 * three are always on. */
#include "base/assert.h"
#include "raft/internal.h"

static void set_timeout(struct raft *raft)
{
    raft->election_ms = raft->now_ms + prng_between(&raft->prng, raft->options.election_ms_min,
                                                    raft->options.election_ms_max);
}

/* A new wait, of a length drawn anew: two that timed out together part ways (section 5.2). */
void raft_election_arm(struct raft *raft)
{
    set_timeout(raft);
}

/* A voter that starts has forgotten what it promised, so it waits out the longest promise that it
 * has ever given, whatever it is configured to promise now. The only voter does so too: who led
 * before may have left, not know yet that this is committed, and read by what was promised
 * (golden restarted-only-voter-keeps-its-promise). */
void raft_election_begin(struct raft *raft)
{
    uint32_t wait_ms = raft->options.promise_wait_ms > raft->options.promise_ms
                           ? raft->options.promise_wait_ms
                           : raft->options.promise_ms;

    set_timeout(raft);
    if (wait_ms > 0) {
        raft->promise_ms = raft->now_ms + wait_ms;
    }
    if (raft_voters(raft) == 1U << RAFT_SELF) {
        raft->election_ms = raft->now_ms + wait_ms; /* Nobody else could lead after that. */
    }
}

/* Only a higher term clears the vote. Clearing it when stepping down within a term would allow a
 * second vote in it (same_term_step_down_keeps_the_vote). */
static void set_term(struct raft *raft, raft_term term, raft_id vote)
{
    ASSERT_VALUES(term > raft->term, term, raft->term);
    raft->term = term;
    raft->vote = vote;
    raft->hard_state_changed = true;
    raft->leader = 0;
    raft->votes = 0;
    raft->validated_index = 0;
    raft->leader_commit_index = 0;
    raft->lease_is_given_up = false;
    raft_letters_clear(raft);
}

static void become_follower(struct raft *raft)
{
    if (raft->role == RAFT_LEADER) {
        raft_read_fail_all(raft);
        raft->noop_is_owed = false;
        raft->fetched_peer = 0;
        raft->departing = 0;
        raft->leave_ms = 0;
        raft->transfer_target = 0;
    }
    if (raft->role != RAFT_FOLLOWER) {
        raft->role = RAFT_FOLLOWER;
        set_timeout(raft);
    }
    raft->votes = 0;
}

/* We follow `term`, whose leader is `leader` (0: unknown). A timer that runs is left alone: only
 * a leader's message or a vote given puts an election off. */
void raft_election_follow(struct raft *raft, raft_term term, raft_id leader)
{
    ASSERT_VALUES(term >= raft->term, term, raft->term);
    become_follower(raft);
    if (term > raft->term) {
        set_term(raft, term, 0);
    }
    raft->leader = leader;
}

static void request_votes(struct raft *raft, bool pre, bool transfer)
{
    for (uint32_t at = RAFT_SELF + 1; at < RAFT_PLACE_COUNT; at++) {
        if ((raft_voters(raft) >> at & 1) == 0) {
            continue;
        }
        struct raft_message *message =
            raft_letter_put(raft, at, RAFT_LETTER_VOTE_REQUEST, RAFT_VOTE_REQUEST);
        message->term = pre ? raft->term + 1 : raft->term;
        message->vote_request = (struct raft_vote_request){
            .pre = pre,
            .transfer = transfer,
            .last_index = raft_last_index(raft),
            .last_term = raft_last_term(raft),
        };
    }
}

/* Only who may lead campaigns. A member whose disk is behind with a term or a vote must not lead:
 * it could not even count its own vote. One without room for a no-op could not commit. */
static bool may_campaign(struct raft *raft)
{
    return raft_self_may_lead(raft) && !raft->is_resigning && !raft->is_installing &&
           !raft->disk_is_stalled && raft_hard_state_is_durable(raft) &&
           raft_entries_make_room(raft, raft->term + 1, RAFT_ENTRY_HEADER_SIZE);
}

void raft_election_campaign(struct raft *raft, bool transfer)
{
    ASSERT(raft->role != RAFT_LEADER);
    if (!may_campaign(raft)) {
        return;
    }
    raft->role = RAFT_CANDIDATE;
    set_term(raft, raft->term + 1, raft->options.self);
    set_timeout(raft);
    request_votes(raft, false, transfer);
    /* Our own vote counts when it is durable: raft_election_persisted(). */
}

static void tally(struct raft *raft)
{
    if (!raft_quorum_reached(&raft->quorum, raft->votes)) {
        return;
    }
    if (raft->role == RAFT_PRE_CANDIDATE) {
        raft_election_campaign(raft, false);
    } else if (raft->role == RAFT_CANDIDATE) {
        raft_lead_begin(raft);
    }
}

/* Did we promise a leader to vote for nobody else yet? A transfer overrides that: who orders it has
 * given up what rests on promises (dissertation 6.4.1). */
static bool has_promised(const struct raft *raft)
{
    return raft->now_ms < raft->promise_ms;
}

static void time_out(struct raft *raft)
{
    if (raft->role == RAFT_CANDIDATE && !raft_hard_state_is_durable(raft)) {
        set_timeout(raft); /* Our disk is slow: nobody has been asked yet. */
        return;
    }
    become_follower(raft);
    set_timeout(raft);
    raft->leader = 0;
    if (!may_campaign(raft) || has_promised(raft)) {
        return;
    }
    raft->role = RAFT_PRE_CANDIDATE;
    raft->votes = 1U << RAFT_SELF;
    request_votes(raft, true, false);
    tally(raft);
}

void raft_election_tick(struct raft *raft)
{
    ASSERT(raft->role != RAFT_LEADER);
    if (raft->now_ms >= raft->election_ms) {
        time_out(raft);
    }
}

void raft_election_persisted(struct raft *raft)
{
    if (raft->role == RAFT_CANDIDATE && raft_hard_state_is_durable(raft)) {
        ASSERT(raft->vote == raft->options.self);
        raft->votes |= 1U << RAFT_SELF;
        tally(raft);
    }
}

/* Is there a leader that we, or a majority, heard within the least election timeout? Then nobody
 * else has a reason to be elected (dissertation 4.2.3). */
static bool is_sticky(const struct raft *raft)
{
    uint64_t heard_ms = raft->leader_heard_ms;

    if (raft->leader == 0) {
        return false;
    }
    if (raft->role == RAFT_LEADER) {
        heard_ms = raft_quorum_contact_or_start(raft);
    }
    return raft->now_ms < heard_ms + raft->options.election_ms_min;
}

/* The order of logs is that of (last term, last index), as of words in a dictionary (5.4.1). */
static bool log_is_current(const struct raft *raft, const struct raft_vote_request *request)
{
    raft_term last_term = raft_last_term(raft);

    if (request->last_term != last_term) {
        return request->last_term > last_term;
    }
    return request->last_index >= raft_last_index(raft);
}

static void answer_vote(struct raft *raft, const struct raft_message *message, bool granted)
{
    bool pre = message->vote_request.pre;
    uint32_t at = raft_place_take(raft, message->source);
    struct raft_message *reply = raft_letter_put(
        raft, at, pre ? RAFT_LETTER_PRE_VOTE_REPLY : RAFT_LETTER_VOTE_REPLY, RAFT_VOTE_REPLY);

    reply->vote_reply = (struct raft_vote_reply){
        .pre = pre,
        .granted = granted,
        .request_term = message->term,
    };
}

/* Whoever campaigns and is no member does not know it: the members that removed it do not send it
 * anything any more. */
static void tell_removed(struct raft *raft, raft_id id)
{
    uint32_t at = raft_place_take(raft, id);

    if ((raft_followers(raft) >> at & 1) == 0 && raft_configuration_is_committed(raft)) {
        raft_follower_begin(raft, at);
        raft_departure_begin(raft, 1U << at);
    }
}

/* Changes nothing here: neither term nor vote nor timer. A request for a term that is not ahead is
 * refused aloud: its sender learns our term, or two members that both wait would never meet. */
static void pre_vote_request_receive(struct raft *raft, const struct raft_message *message)
{
    if (message->term <= raft->term) {
        answer_vote(raft, message, false);
        return;
    }
    if (is_sticky(raft) || has_promised(raft)) {
        return;
    }
    answer_vote(raft, message, log_is_current(raft, &message->vote_request));
}

void raft_vote_request_receive(struct raft *raft, const struct raft_message *message)
{
    const struct raft_vote_request *request = &message->vote_request;

    if (raft->role == RAFT_LEADER) {
        tell_removed(raft, message->source);
    }
    if (request->pre) {
        pre_vote_request_receive(raft, message);
        return;
    }
    if (message->term > raft->term) {
        if (!request->transfer && (is_sticky(raft) || has_promised(raft))) {
            return;
        }
        raft_election_follow(raft, message->term, 0);
    }
    if (message->term < raft->term) {
        answer_vote(raft, message, false);
        return;
    }
    if (!request->transfer && has_promised(raft)) {
        return;
    }
    bool is_free = raft->vote == message->source || (raft->vote == 0 && raft->leader == 0);
    bool granted = is_free && log_is_current(raft, request);
    if (granted) {
        ASSERT(raft->role == RAFT_FOLLOWER || raft->role == RAFT_PRE_CANDIDATE);
        if (raft->vote == 0) {
            raft->vote = message->source;
            raft->hard_state_changed = true;
        }
        become_follower(raft);
        set_timeout(raft);
    }
    answer_vote(raft, message, granted);
}

void raft_vote_reply_receive(struct raft *raft, const struct raft_message *message)
{
    const struct raft_vote_reply *reply = &message->vote_reply;

    if (message->term > raft->term) {
        raft_election_follow(raft, message->term, 0);
        return;
    }
    if (!reply->granted) {
        return;
    }
    /* A pre-vote is not a vote, and neither counts for another term than it was asked for. */
    bool counts = reply->pre
                      ? raft->role == RAFT_PRE_CANDIDATE && reply->request_term == raft->term + 1
                      : raft->role == RAFT_CANDIDATE && reply->request_term == raft->term &&
                            message->term == raft->term;
    uint32_t at = raft_place_find(raft, message->source);
    if (counts && at != RAFT_NOWHERE) {
        raft->votes |= 1U << at & raft_voters(raft);
        tally(raft);
    }
}
