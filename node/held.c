/* node/held.c: votes and acknowledgements wait here until what they name is durable.
 *
 * If a message left earlier, a crash could take back the term, the vote or the log tail that it
 * told others about, and two leaders of one term or a lost acknowledged write would follow
 * (raft/raft.h, step 3). Test: vote_waits_for_the_disk. */
#include "base/assert.h"
#include "node/internal.h"

void held_staged(struct node *node, uint64_t ticket, const struct raft_tag *tag)
{
    struct held *held = &node->held;

    ASSERT_VALUES(ticket == held->last_ticket + 1 || held->last_ticket == 0, ticket,
                  held->last_ticket);
    held->last_ticket = ticket;
    if (held->staged_tail - held->staged_head == STAGED_COUNT_MAX) {
        held->staged_tail--; /* The newest two share a slot: raft hears of both a little later. */
    }
    held->staged[held->staged_tail & (STAGED_COUNT_MAX - 1)] = (struct staged){ticket, *tag};
    held->staged_tail++;
}

void held_add(struct node *node, const struct raft_message *message)
{
    struct held *held = &node->held;

    ASSERT(message->kind != RAFT_APPEND);
    if (log_durable_ticket(node->log) >= held->last_ticket) {
        peers_send_raft(node, message);
        return;
    }
    if (held->tail - held->head == HELD_COUNT_MAX) {
        held->dropped_count++; /* As if the network had lost it. */
        return;
    }
    held->messages[held->tail & (HELD_COUNT_MAX - 1)] =
        (struct held_message){held->last_ticket, *message};
    held->tail++;
}

void held_release(struct node *node)
{
    struct held *held = &node->held;
    uint64_t durable = log_durable_ticket(node->log);
    bool advanced = false;
    struct raft_tag tag = {0};

    while (held->staged_head < held->staged_tail) {
        const struct staged *staged = &held->staged[held->staged_head & (STAGED_COUNT_MAX - 1)];

        if (staged->ticket > durable) {
            break;
        }
        tag = staged->tag;
        advanced = true;
        held->staged_head++;
    }
    if (advanced) {
        raft_persisted(node->raft, &tag, node->now_ms);
    }
    while (held->head < held->tail) {
        const struct held_message *message = &held->messages[held->head & (HELD_COUNT_MAX - 1)];

        if (message->ticket > durable) {
            break;
        }
        peers_send_raft(node, &message->message);
        held->head++;
    }
    ASSERT(held->tail - held->head <= HELD_COUNT_MAX);
}
