/* client/core_election.c: observing an election: a read that a node may hold for a while.
 *
 * Its wait is counted apart from the timeout, as that of a lock is: without a leader it ends after
 * the timeout, and in any case with the timeout behind the end of the wait. */
#include "client/core_internal.h"

void election_start(struct core *core, struct core_call *call)
{
    ASSERT(call->method == WIRE_METHOD_election_show && call->wait_ms >= 0);
    call->limit_ms = core->now_ms + (uint64_t)call->wait_ms;
}

/* It looks for a leader. */
void election_wait(struct core *core, struct core_call *call)
{
    uint64_t last_ms = call->limit_ms < core->now_ms ? call->limit_ms : core->now_ms;

    if (!call->finished) {
        call->deadline_ms = last_ms + call->timeout_ms;
    }
}

/* A node has it. */
void election_sent(struct core *core, struct core_call *call)
{
    ASSERT(call->phase == CORE_CALL_SENT);
    call->deadline_ms = call->limit_ms + call->timeout_ms;
    call_timer_update(core, call);
}
