/* tests/support/node/fake_actor.h: clients that go on whatever happens, and know what must hold.
 *
 * A counter raises its own key by compare-and-swap, one request under way, retried with the same
 * sequence until its outcome is known: each must succeed exactly once, and a read between two of
 * them must see the last. A locker takes one lock again and again, renews its session, and believes
 * that it holds the lock until its deadline on its own clock: two that believe so at once are an
 * error, as is a token that is not larger than all before. */
#ifndef TESTS_SUPPORT_NODE_FAKE_ACTOR_H
#define TESTS_SUPPORT_NODE_FAKE_ACTOR_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/support/node/fake_world.h"

enum actor_kind { ACTOR_COUNTER, ACTOR_LOCKER };

enum actor_task { TASK_NONE, TASK_OPEN, TASK_SWAP, TASK_READ, TASK_ACQUIRE, TASK_RELEASE };

struct fake_actor {
    enum actor_kind kind;
    uint32_t number; /* Of the actor: names its key. */
    bool has_client;
    uint32_t client;
    uint32_t next_node; /* Where to connect; FAKE_NODE_COUNT_MAX: anywhere. */
    uint64_t wait_ms;   /* Does nothing before. */
    uint64_t session;
    uint64_t sequence;
    enum actor_task task;
    uint64_t task_id; /* Of the request under way; 0: to be sent again. */
    uint64_t task_ms; /* When it was sent. */
    uint64_t value;   /* Counter: what is acknowledged. */
    bool is_queued;
    bool is_silent;        /* Renews no more and gives nothing up. */
    uint32_t notice_count; /* Of this connection, looked at already. */
    uint64_t asked_ms;
    uint64_t token; /* Not 0: was granted and not given up. */
    uint64_t release_ms;
    uint64_t deadline_ms;
    uint64_t renew_id;
    uint64_t renew_sent_ms;
    uint64_t attempt;
    uint64_t done_count;
};

struct fake_actors {
    struct fake_actor items[8];
    uint32_t count;
    uint64_t newest_token;
};

enum { ACTOR_TTL_MS = 2000 };

void fake_actors_open(struct fake_actors *actors, uint32_t counter_count, uint32_t locker_count);

/* Once in each millisecond. */
void fake_actors_step(struct fake_actors *actors, struct fake_cluster *cluster);

/* Believes that it holds the lock. */
bool fake_actor_holds(const struct fake_actor *actor, const struct fake_cluster *cluster);

#endif
