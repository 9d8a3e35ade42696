/* tests/support/raft/transcript.c: what members say, as lines of a golden transcript. */
#include "tests/support/raft/transcript.h"

#include "base/assert.h"

static unsigned long long number(uint64_t value)
{
    return (unsigned long long)value;
}

static void write_append(FILE *out, const struct raft_append *append)
{
    fprintf(out, "append previous %llu/%llu", number(append->previous_term),
            number(append->previous_index));
    if (append->entry_count > 0) {
        fprintf(out, " entries %llu..%llu", number(append->previous_index + 1),
                number(append->previous_index + append->entry_count));
    }
    fprintf(out, " commit %llu round %llu request %llu", number(append->commit_index),
            number(append->round), number(append->request));
}

static void write_append_reply(FILE *out, const struct raft_append_reply *reply)
{
    if (reply->success) {
        fprintf(out, "append-reply match %llu", number(reply->match_index));
    } else {
        fprintf(out, "append-reply refused, try %llu/%llu", number(reply->conflict_term),
                number(reply->conflict_index));
    }
    fprintf(out, " round %llu request %llu", number(reply->round), number(reply->request));
}

void transcript_message(FILE *out, const struct raft_message *message)
{
    switch (message->kind) {
    case RAFT_VOTE_REQUEST:
        fprintf(out, "%s%s last %llu/%llu",
                message->vote_request.pre ? "pre-vote-request" : "vote-request",
                message->vote_request.transfer ? " for transfer" : "",
                number(message->vote_request.last_term), number(message->vote_request.last_index));
        break;
    case RAFT_VOTE_REPLY:
        fprintf(out, "%s %s for term %llu",
                message->vote_reply.pre ? "pre-vote-reply" : "vote-reply",
                message->vote_reply.granted ? "granted" : "refused",
                number(message->vote_reply.request_term));
        break;
    case RAFT_APPEND:
        write_append(out, &message->append);
        break;
    case RAFT_APPEND_REPLY:
        write_append_reply(out, &message->append_reply);
        break;
    case RAFT_HEARTBEAT:
        fprintf(out, "heartbeat commit %llu round %llu", number(message->heartbeat.commit_index),
                number(message->heartbeat.round));
        break;
    case RAFT_HEARTBEAT_REPLY:
        fprintf(out, "heartbeat-reply round %llu last %llu", number(message->heartbeat_reply.round),
                number(message->heartbeat_reply.last_index));
        if (message->heartbeat_reply.promise_ms > 0) {
            fprintf(out, " promise %u ms", message->heartbeat_reply.promise_ms);
        }
        break;
    case RAFT_TIMEOUT_NOW:
        fprintf(out, "timeout-now");
        break;
    }
    fprintf(out, ", term %llu\n", number(message->term));
}

void transcript_configuration(FILE *out, const struct raft_configuration *configuration)
{
    for (uint32_t i = 0; i < configuration->member_count; i++) {
        const struct raft_member *member = &configuration->members[i];
        fprintf(out, "%s n%llu", i == 0 ? "" : ",", number(member->id));
        if (member->parts == RAFT_PART_OUTGOING) {
            fprintf(out, " leaves");
        } else if (member->parts == RAFT_PART_LEARNER) {
            fprintf(out, member->is_promoted ? " learns to vote" : " learns");
        }
        if (member->replaces != 0) {
            fprintf(out, " for n%llu", number(member->replaces));
        }
    }
    fprintf(out, configuration->member_count == 0 ? " nobody" : "");
    fprintf(out, raft_configuration_is_joint(configuration) ? " (joint)" : "");
}
