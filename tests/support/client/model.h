/* tests/support/client/model.h: what a cluster answers, as seen by a client: sessions that expire,
 * requests applied once and in sequence, locks with queues, keys. All nodes share the state; one of
 * them leads. Bytes in, bytes out, virtual time. */
#ifndef TESTS_SUPPORT_CLIENT_MODEL_H
#define TESTS_SUPPORT_CLIENT_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "wire/wire.h"

enum {
    MODEL_NODE_COUNT = 3,
    MODEL_SESSION_COUNT = 256,
    MODEL_LOCK_COUNT = 8,
    MODEL_WAITER_COUNT = 64,
    MODEL_KEY_COUNT = 16,
    MODEL_NAME_SIZE = 32,
    MODEL_WINDOW = 64,
    MODEL_RESULT_SIZE = 256,
    MODEL_VALUE_SIZE = 1024,
    MODEL_CONNECTION_COUNT = 64,
};

struct model_result {
    uint64_t sequence;
    uint32_t size;
    uint8_t bytes[MODEL_RESULT_SIZE]; /* The response, but for its id. */
    bool failed;
};

struct model_session {
    uint64_t id; /* 0: free. */
    bool alive;
    uint64_t deadline_ms;
    uint32_t ttl_ms;
    uint64_t sequence; /* Applied last. */
    int notify;        /* The connection that used it last; -1. */
    struct model_result results[MODEL_WINDOW];
};

struct model_lock {
    char name[MODEL_NAME_SIZE];
    uint32_t name_size;
    uint64_t holder;
    uint64_t token;
    uint64_t waiters[MODEL_WAITER_COUNT];
    uint32_t waiter_count;
};

struct model_key {
    char name[MODEL_NAME_SIZE];
    uint32_t name_size;
    uint8_t value[MODEL_VALUE_SIZE];
    uint32_t value_size;
    uint64_t revision; /* 0: absent. */
};

/* A notice on its way to a connection. */
struct model_notice {
    int connection;
    struct wire_granted granted;
    char name[MODEL_NAME_SIZE];
};

struct model {
    int leader;   /* -1: none. */
    bool refuses; /* With `refusal`, to be tried again after `retry_after_ms`. */
    enum error refusal;
    uint32_t retry_after_ms;
    uint64_t refused_sequence;        /* OVERLOADED in every session; 0: none. */
    bool silent;                      /* Takes requests and says nothing. */
    bool passes_on;                   /* Nodes that do not lead answer for the one that does. */
    uint64_t passed_count;            /* Requests that they have. */
    int told[MODEL_CONNECTION_COUNT]; /* The leader that each connection was told of; -1. */
    bool denies[MODEL_NODE_COUNT];    /* Knows no token of the client. */
    struct wire_election_show show;   /* The last one that came; its numbers only. */
    uint32_t show_count;
    bool is_old;        /* Its hello does not say that it takes deadlines. */
    bool is_late;       /* Every deadline is over when its request is looked at. */
    uint64_t within_ms; /* Of the last put or get. */
    uint64_t now_ms;
    uint64_t last_id;
    uint64_t tokens;
    uint64_t revisions;
    uint64_t applied_count;
    uint64_t repeated_count; /* Answered from the stored results. */
    uint64_t lock_grant_ms;
    uint64_t removal_count; /* Times that a member was to be removed. */
    struct model_session sessions[MODEL_SESSION_COUNT];
    struct model_lock locks[MODEL_LOCK_COUNT];
    struct model_key keys[MODEL_KEY_COUNT];
    struct model_notice notices[64];
    uint32_t notice_count;
};

void model_open(struct model *model, uint64_t now_ms);

/* Lets sessions expire, in order; their locks go on. */
void model_advance(struct model *model, uint64_t now_ms);

/* Answers the whole requests in `*input` that came to `node` over `connection`. */
void model_receive(struct model *model, int node, int connection, struct bytes *input,
                   struct buffer *output);

/* The notices for a connection. */
void model_tell(struct model *model, int connection, struct buffer *output);

/* The connection is gone. */
void model_forget(struct model *model, int connection);

struct model_session *model_session(struct model *model, uint64_t id);
struct model_lock *model_lock(struct model *model, const char *name);

/* "10.0.0.1:7400" for node 1, and back; -1 for another text. */
const char *model_address(int node);
int model_node(struct bytes address);

#endif
