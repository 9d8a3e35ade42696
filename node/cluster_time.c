/* node/cluster_time.c: the leader's clock (docs/node.md, "Cluster time"). */
#include "node/cluster_time.h"

#include "base/assert.h"

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

void cluster_time_init(struct cluster_time *time, uint64_t gap_ms_max, uint64_t now_ms)
{
    ASSERT(gap_ms_max > 0);
    *time = (struct cluster_time){.turn_ms = now_ms, .gap_ms_max = gap_ms_max};
}

bool cluster_time_turn(struct cluster_time *time, uint64_t now_ms)
{
    ASSERT_VALUES(now_ms >= time->turn_ms, now_ms, time->turn_ms);
    uint64_t elapsed_ms = now_ms - time->turn_ms;
    bool is_gap = time->leading && elapsed_ms > time->gap_ms_max;

    time->turn_ms = now_ms;
    if (!time->leading) {
        return false;
    }
    if (is_gap) {
        /* We may have been frozen, and another may lead: go on slowly, and stamp nothing until a
         * majority has answered something that was sent after the gap. */
        elapsed_ms = time->gap_ms_max;
        time->confirm_ms = now_ms;
    }
    time->clock_ms += elapsed_ms;
    time->heard_ms = time->clock_ms;
    return is_gap;
}

void cluster_time_appended(struct cluster_time *time, uint64_t log_ms)
{
    if (time->leading) {
        ASSERT_VALUES(log_ms >= time->log_ms, log_ms, time->log_ms);
        ASSERT_VALUES(log_ms <= time->clock_ms, log_ms, time->clock_ms);
    }
    time->log_ms = log_ms;
}

void cluster_time_heard(struct cluster_time *time, raft_term term, uint64_t log_ms)
{
    if (time->leading || term < time->heard_term) {
        return;
    }
    time->heard_ms = term > time->heard_term ? log_ms : later(time->heard_ms, log_ms);
    time->heard_term = term;
}

void cluster_time_lead(struct cluster_time *time, raft_term term, uint64_t now_ms)
{
    ASSERT_VALUES(term >= time->heard_term, term, time->heard_term);
    time->clock_ms = later(time->log_ms, time->heard_ms);
    time->heard_ms = time->clock_ms;
    time->heard_term = term;
    time->turn_ms = now_ms;
    time->confirm_ms = 0;
    time->leading = true;
}

void cluster_time_follow(struct cluster_time *time)
{
    ASSERT(!time->leading || time->clock_ms >= time->log_ms);
    time->leading = false;
    time->confirm_ms = 0;
}

uint64_t cluster_time_now(const struct cluster_time *time)
{
    return time->leading ? time->clock_ms : later(time->log_ms, time->heard_ms);
}

uint64_t cluster_time_stamp(const struct cluster_time *time)
{
    uint64_t stamp_ms = cluster_time_now(time);

    ASSERT_VALUES(stamp_ms >= time->log_ms, stamp_ms, time->log_ms);
    return stamp_ms;
}

bool cluster_time_may_stamp(const struct cluster_time *time, uint64_t quorum_contact_ms)
{
    ASSERT(time->leading);
    return quorum_contact_ms >= time->confirm_ms;
}
