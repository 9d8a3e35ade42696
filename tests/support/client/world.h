/* tests/support/client/world.h: the client's core in virtual time, with a model of the cluster. One
 * step is one millisecond; bytes take one step each way, or longer at random. */
#ifndef TESTS_SUPPORT_CLIENT_WORLD_H
#define TESTS_SUPPORT_CLIENT_WORLD_H

#include "client/core.h"
#include "tests/support/client/model.h"

enum {
    WORLD_CALL_COUNT = 256,
    WORLD_SESSION_COUNT = 8,
    WORLD_LINK_COUNT = CORE_LEADER_CONNECTION_COUNT_MAX + CORE_SEARCH_CONNECTION_COUNT,
    WORLD_PIPE_SIZE = 1 << 16,
    WORLD_CHANGE_COUNT = 64,
    WORLD_START_MS = 1000,
};

struct world_call {
    struct core_call core;
    bool used;
    uint32_t told_count;
    enum error status;
    enum outcome outcome;
    uint64_t told_ms;
    uint64_t token;
    char name[MODEL_NAME_SIZE];
};

struct world_link {
    int node; /* -1: not dialed. */
    bool connected;
    bool stuck; /* Takes bytes, and delivers none. */
    uint8_t output[2 * CORE_OUTPUT_SIZE_MIN];
    struct buffer to_node;
    struct buffer from_node;
    uint8_t to_node_bytes[WORLD_PIPE_SIZE];
    uint8_t from_node_bytes[WORLD_PIPE_SIZE];
    uint8_t inbox_bytes[WORLD_PIPE_SIZE];
    size_t inbox_size;
};

struct world_change {
    struct core_session *session;
    enum core_session_state state;
    uint64_t at_ms;
};

struct world {
    struct core core;
    struct model model;
    struct prng prng;
    void *memory;
    uint64_t now_ms;
    uint32_t stall_percent;        /* How often a pipe delivers nothing in a step. */
    bool down[MODEL_NODE_COUNT];   /* Refuses connections, breaks those that are. */
    bool frozen[MODEL_NODE_COUNT]; /* Accepts, and does nothing. */
    uint32_t dial_count;
    uint32_t last_slot;
    uint32_t timeout_ms; /* Of calls. */
    struct world_link links[WORLD_LINK_COUNT];
    struct world_call calls[WORLD_CALL_COUNT];
    struct core_session sessions[WORLD_SESSION_COUNT];
    bool session_used[WORLD_SESSION_COUNT];
    struct world_change changes[WORLD_CHANGE_COUNT];
    uint32_t change_count;
};

struct world *world_open(uint64_t seed, uint32_t connections, uint32_t call_count_max);
void world_close(struct world *world);

void world_step(struct world *world);
void world_run(struct world *world, uint64_t ms);
/* Until the call is told; asserts that it is within `limit_ms`. */
void world_wait(struct world *world, const struct world_call *call, uint64_t limit_ms);
/* Breaks every connection to a node; what is on its way is lost. */
void world_break(struct world *world, int node);

/* NULL when there is no room. */
struct world_call *world_put(struct world *world, const char *key, struct core_session *session);
struct world_call *world_get(struct world *world, const char *key);
struct world_call *world_observe(struct world *world, const char *name, uint32_t wait_ms);
/* A change of the cluster. */
struct world_call *world_remove_member(struct world *world, const char *name);
struct world_call *world_acquire(struct world *world, struct core_session *session,
                                 const char *name, int64_t wait_ms);
struct world_call *world_release(struct world *world, struct core_session *session,
                                 const char *name, uint64_t token);
struct world_call *world_status(struct world *world, int node, uint32_t timeout_ms);
struct world_call *world_open_session(struct world *world, uint32_t ttl_ms,
                                      struct core_session **session);
struct world_call *world_end_session(struct world *world, struct core_session *session);
/* By its number, as for somebody else. */
struct world_call *world_end_id(struct world *world, uint64_t session);

/* An opened session. */
struct core_session *world_session(struct world *world, uint32_t ttl_ms);

#endif
