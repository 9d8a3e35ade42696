/* tests/support/node/fake_world.h: a cluster of real nodes in one thread, in virtual time.
 *
 * Each node runs over a memory disk and a memory table, and speaks real bytes over pipes that take
 * a few milliseconds, can be cut and can break, and may lose, repeat and reorder frames. Time goes
 * on in milliseconds, from one event to the next: in each step every node that something has
 * arrived for, or whose deadline has come, takes one turn. The same seed gives the same run.
 * Everything here asserts with cmocka or aborts; nothing is returned as an error unless it says so.
 */
#ifndef TESTS_SUPPORT_NODE_FAKE_WORLD_H
#define TESTS_SUPPORT_NODE_FAKE_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/prng.h"
#include "base/table.h"
#include "node/node.h"
#include "raft/message.h"
#include "tests/support/log/memory_disk.h"
#include "wire/frame.h"
#include "wire/wire.h"

enum {
    FAKE_NODE_COUNT_MAX = 7,
    FAKE_CLIENT_COUNT_MAX = 192,
    FAKE_CONNECTION_COUNT_MAX = 96,
    FAKE_FRAME_COUNT_MAX = 256,   /* Held back by the network at once. */
    FAKE_LOG_SIZE_MAX = 64 << 10, /* Of the lines a node has logged; older ones are dropped. */
};

/* The bytes before `end` arrive then. */
struct fake_mark {
    uint64_t at_ms;
    size_t end;
};

/* Bytes on their way, in order. */
struct fake_pipe {
    uint8_t *data;
    size_t size;
    size_t capacity;
    size_t arrived;          /* Of `size`, how many have reached the other end. */
    uint64_t due_ms;         /* Of the first mark, where there is one. */
    struct fake_mark *marks; /* In order. */
    uint32_t mark_count;
    uint32_t mark_capacity;
    uint64_t delay_ms;    /* Of this pipe, beside the cluster's; kept when it is cleared. */
    struct world *reader; /* NULL: a client. Kept likewise. */
};

struct fake_link {
    bool is_up;
    bool has_spoken; /* The dialer's hello is on its way. */
    uint64_t dial_ms;
    uint32_t connection;    /* At the target. */
    struct fake_pipe ahead; /* What the dialer says. */
    struct fake_pipe back;
    size_t back_seen;
};

struct fake_connection {
    bool is_open;
    bool is_closing; /* world_close() was called. */
    bool is_peer;
    bool again;              /* The node left whole messages on purpose. */
    size_t seen;             /* Bytes of `input` that the node was shown. */
    struct fake_pipe *input; /* What the other side says. */
    uint32_t source;         /* Of a peer: the node that dialed. Of a client: its number. */
    enum world_lane lane;
};

struct fake_message {
    enum wire_rpc_type type;
    uint64_t id;
    enum wire_method method;
    bool failed;
    struct bytes body; /* A copy. */
};

struct fake_client {
    bool is_free; /* The number may be given to another. */
    bool is_open;
    bool is_cut;  /* What both sides say stands still. */
    bool is_mute; /* What it says does, */
    bool is_deaf; /* and what it is told. */
    uint32_t node;
    uint32_t connection;
    bool reads; /* A client that does not leaves its answers in the pipe. */
    uint64_t next_id;
    struct fake_pipe back;
    struct fake_pipe ahead;
    struct fake_message *messages;
    uint32_t message_count;
    uint32_t message_capacity;
};

/* A frame that the network has kept for later. */
struct fake_frame {
    uint64_t at_ms;
    uint32_t source;
    uint32_t target;
    enum world_lane lane;
    uint8_t *data;
    size_t size;
};

/* What becomes of frames between members, but for hellos and forms: chances in a million. */
struct fake_network {
    struct prng prng;
    uint32_t loss_ppm;
    uint32_t again_ppm; /* A copy arrives once more, up to `again_ms_max` later, also on a later */
    uint32_t late_ppm;  /* connection; the frame itself comes up to `late_ms_max` later. */
    uint64_t again_ms_max;
    uint64_t late_ms_max;
    uint64_t lost_count;
    uint64_t again_count;
    uint64_t late_count;
    uint32_t frame_count;
    struct fake_frame frames[FAKE_FRAME_COUNT_MAX];
};

struct fake_cluster;

/* One node's surroundings. */
struct world {
    struct fake_cluster *cluster;
    uint32_t place;
    bool runs;
    bool is_paused;    /* Takes no turns; time goes on. */
    bool due_is_known; /* Nothing has happened to it since `due_ms` was found. */
    uint64_t due_ms;   /* Of its next turn. */
    struct node *node; /* NULL unless it runs. */
    void *memory;      /* Kept from start to start. */
    size_t memory_size;
    struct disk *disk;
    struct table *table;
    struct node_options options;
    uint64_t clock_offset_ms;
    int64_t clock_rate_ppm;            /* How much faster than true time its clock runs. */
    uint64_t disk_ms_max;              /* 0: as the cluster's. */
    uint64_t disk_ms[DISK_LANE_COUNT]; /* When the head of each lane completes; 0: not drawn yet. */
    bool disk_is_stalled;
    bool asked_to_stop;
    bool knows_free_size;
    uint64_t free_size; /* Of its disk, as it is told; see fake_set_free(). */
    struct fake_connection connections[FAKE_CONNECTION_COUNT_MAX];
    uint32_t connection_end; /* All that were ever open are below. */
    /* Which node a number of world_set_peer() is; FAKE_NODE_COUNT_MAX: nobody. Links are by node.
     */
    uint32_t targets[NODE_PEER_COUNT_MAX];
    struct fake_link links[FAKE_NODE_COUNT_MAX][WORLD_LANE_COUNT];
    uint32_t up_links;             /* Those that are up, as fake_link_bit() of node and lane. */
    struct node_event queued[256]; /* Openings and closings that the next turn is told. */
    uint32_t queued_count;
    char log[FAKE_LOG_SIZE_MAX];
    size_t log_size;
};

/* A node has taken a turn with so many events; instead of node_check() now and then. */
typedef void fake_turn_hook(struct fake_cluster *cluster, uint32_t place, uint32_t event_count);

/* A node sends a frame to a member, or the network is asked about it: before any fault. */
typedef void fake_frame_hook(struct fake_cluster *cluster, uint32_t source, uint32_t target,
                             struct bytes frame);

struct fake_cluster {
    uint64_t now_ms;
    struct prng prng;
    uint32_t node_count;
    struct world worlds[FAKE_NODE_COUNT_MAX];
    bool is_cut[FAKE_NODE_COUNT_MAX][FAKE_NODE_COUNT_MAX]; /* From, to: bytes stand still. */
    uint64_t delay_ms_max;
    uint64_t disk_ms_max;
    size_t output_size_max; /* Of one connection or link. */
    struct fake_client clients[FAKE_CLIENT_COUNT_MAX];
    uint32_t client_count;
    struct fake_network network;
    uint64_t dial_ms;          /* When somebody dials next, as fake_next_ms() has found, */
    uint64_t clients_ms;       /* and when something arrives at a client. */
    bool is_planned;           /* It has, and nothing was done since. */
    fake_turn_hook *on_turn;   /* NULL: none. */
    fake_frame_hook *on_frame; /* NULL: none. */
    fake_frame_hook *on_again; /* The same for a frame that was kept, when it arrives. */
    void *context;             /* Of the hooks. */
    bool prints_log;           /* What nodes log goes to standard error: NODE_LOG is set. */
};

/* --- fake_world.c: bytes -----------------------------------------------------------------------
 */

void fake_pipe_clear(struct fake_pipe *pipe);
void fake_pipe_free(struct fake_pipe *pipe);
void fake_pipe_drop(struct fake_pipe *pipe, size_t size);
void fake_pipe_write(struct fake_cluster *cluster, struct fake_pipe *pipe, struct bytes bytes);
/* When bytes arrive next. */
static inline uint64_t fake_pipe_due_ms(const struct fake_pipe *pipe)
{
    return pipe->mark_count == 0 ? UINT64_MAX : pipe->due_ms;
}
/* What is due by now arrives. */
void fake_pipe_advance(struct fake_cluster *cluster, struct fake_pipe *pipe);
/* The number under which `world` dials the node at `target`; NODE_PEER_COUNT_MAX: it does not. */
uint32_t fake_peer_number(const struct world *world, uint32_t target);
/* Of a link to the node at `target`, for a look at all links at once. */
static inline uint32_t fake_link_bit(uint32_t target, enum world_lane lane)
{
    return 1u << (target * WORLD_LANE_COUNT + lane);
}
/* The link that connection number `connection` of `world` belongs to. */
struct fake_link *fake_link_of(struct world *world, uint32_t connection);

/* --- fake_network.c: what a bad network does to frames
 * --------------------------------------------
 */

/* The last `size` bytes of the link's pipe are one frame that was just written. False when it was
 * taken out again. */
bool fake_network_sent(struct world *world, uint32_t peer, enum world_lane lane, size_t size);
/* A frame that was seen before goes on its way again. */
void fake_network_repeat(struct fake_cluster *cluster, uint32_t source, uint32_t target,
                         enum world_lane lane, struct bytes frame);
/* Frames that were kept and are due go on their way. */
void fake_network_advance(struct fake_cluster *cluster);
uint64_t fake_network_due_ms(const struct fake_cluster *cluster);
void fake_network_free(struct fake_network *network);

/* --- fake_connection.c: connections --------------------------------------------------------------
 */

void fake_queue_event(struct world *world, struct node_event event);
/* It runs, and has not left too many connections waiting to be looked at. */
bool fake_accepts(const struct fake_cluster *cluster, uint32_t place);
/* When `a` dials `b`; UINT64_MAX: not as things are. */
uint64_t fake_dial_ms(const struct fake_cluster *cluster, uint32_t a, uint32_t b,
                      enum world_lane lane);
void fake_dial_all(struct fake_cluster *cluster);
/* What the node closed: the other end sees what was sent before, then the end. */
void fake_finish_closing(struct fake_cluster *cluster, struct world *world);
/* All connections of a node that has ended break. */
void fake_hang_up(struct fake_cluster *cluster, uint32_t place);
/* Breaks the connections between the two, both ways. */
void fake_break(struct fake_cluster *cluster, uint32_t a, uint32_t b);
/* Breaks those that `a` dialed. */
void fake_break_links(struct fake_cluster *cluster, uint32_t a, uint32_t b);

/* --- fake_cluster.c: nodes -----------------------------------------------------------------------
 */

/* `node_count` empty nodes "n1", "n2", ...; none runs. */
struct fake_cluster *fake_cluster_open(uint32_t node_count, uint64_t seed);
void fake_cluster_close(struct fake_cluster *cluster);

/* The first `count` nodes form the cluster; each later one is told of those before it. */
void fake_form_with(struct fake_cluster *cluster, uint32_t count);

void fake_start(struct fake_cluster *cluster, uint32_t place);
/* The same, but says why it does not start; the text is valid until the next start. */
enum error fake_try_start(struct fake_cluster *cluster, uint32_t place, const char **problem);
void fake_start_all(struct fake_cluster *cluster);

/* Power fails: what was not durable is lost, some sectors of the last write are kept, the table is
 * gone. */
void fake_crash(struct fake_cluster *cluster, uint32_t place);
/* The same, with sectors as `keep` says (NULL: none). */
void fake_crash_keeping(struct fake_cluster *cluster, uint32_t place, memory_disk_keep *keep,
                        void *context);
/* Stops in order and keeps the table. Asserts that it ends within `ms`. */
void fake_stop(struct fake_cluster *cluster, uint32_t place, uint64_t ms);
/* The same for one that was told to stop, and has: its process ends. */
void fake_stopped(struct fake_cluster *cluster, uint32_t place);
/* The disk is emptied; the node must not run. */
void fake_wipe(struct fake_cluster *cluster, uint32_t place);

/* From now on the disk of the node has so many bytes left, as far as it is told. */
void fake_set_free(struct fake_cluster *cluster, uint32_t place, uint64_t free_size);

void fake_cut(struct fake_cluster *cluster, uint32_t a, uint32_t b, bool is_cut);
void fake_isolate(struct fake_cluster *cluster, uint32_t place, bool is_cut);
/* Has the node logged `text` since it was last started? */
bool fake_has_logged(struct fake_cluster *cluster, uint32_t place, const char *text);

/* --- fake_time.c ---------------------------------------------------------------------------------
 */

/* What the node's clock shows, now or then. */
uint64_t fake_clock(const struct world *world);
uint64_t fake_clock_at(const struct world *world, uint64_t true_ms);

/* Who steps by hand says that it has cut, paused, stalled or healed something since; fake_run() and
 * fake_run_until() look at everything when they begin. */
void fake_changed(struct fake_cluster *cluster);
/* When something is due next; later than now. */
uint64_t fake_next_ms(struct fake_cluster *cluster);
/* Time jumps to `now_ms`, not beyond fake_next_ms(), which was asked right before, and what is due
 * is done. */
void fake_step(struct fake_cluster *cluster, uint64_t now_ms);
void fake_run(struct fake_cluster *cluster, uint64_t ms);
typedef bool fake_condition(struct fake_cluster *cluster, void *context);
/* Runs until the condition holds; false when it does not within `ms`. */
bool fake_run_until(struct fake_cluster *cluster, fake_condition *condition, void *context,
                    uint64_t ms);

/* Runs until there is a leader that commits; its place. Asserts that it comes within 10 s. */
uint32_t fake_leader(struct fake_cluster *cluster);

/* --- fake_peer.c: frames that no member would send -----------------------------------------------
 */

/* As if `source` had sent it on its link to `target`, which must be up. */
void fake_send_frame(struct fake_cluster *cluster, uint32_t source, uint32_t target,
                     const struct wire_frame *frame);
/* The same. Source, target and what the frame's header says of the sender are filled in. */
void fake_send_raft(struct fake_cluster *cluster, uint32_t source, uint32_t target,
                    struct raft_message message, uint64_t log_ms);
void fake_send_form(struct fake_cluster *cluster, uint32_t source, uint32_t target,
                    const struct wire_peer_form *form);

/* --- fake_client.c: clients ---------------------------------------------------------------------
 */

/* Connects and says hello; the number of the client. */
uint32_t fake_client_open(struct fake_cluster *cluster, uint32_t place);
/* Without the hello. */
uint32_t fake_client_connect(struct fake_cluster *cluster, uint32_t place);
void fake_client_close(struct fake_cluster *cluster, uint32_t number);
/* Closes it and forgets what it received; its number is used again. */
void fake_client_release(struct fake_cluster *cluster, uint32_t number);
void fake_client_send(struct fake_cluster *cluster, uint32_t number, struct bytes bytes);

/* Sends one request; its id. */
uint64_t fake_request(struct fake_cluster *cluster, uint32_t number, enum wire_method method,
                      const struct buffer *params);
uint64_t fake_put(struct fake_cluster *cluster, uint32_t number, uint64_t session,
                  uint64_t sequence, const char *key, const char *value);
uint64_t fake_get(struct fake_cluster *cluster, uint32_t number, const char *key);
uint64_t fake_session_open(struct fake_cluster *cluster, uint32_t number, uint32_t ttl_ms);
uint64_t fake_session_renew(struct fake_cluster *cluster, uint32_t number, uint64_t session,
                            uint64_t attempt);
uint64_t fake_acquire(struct fake_cluster *cluster, uint32_t number, uint64_t session,
                      uint64_t sequence, const char *name, bool wait);
uint64_t fake_release(struct fake_cluster *cluster, uint32_t number, uint64_t session,
                      uint64_t sequence, const char *name);

/* A change of the cluster: one of member_add, member_remove, member_promote and leader_move. */
uint64_t fake_change(struct fake_cluster *cluster, uint32_t number, enum wire_method method,
                     const char *name);

/* The answer to a request, or NULL. */
const struct fake_message *fake_find_answer(struct fake_cluster *cluster, uint32_t number,
                                            uint64_t id);
/* Runs until the answer is there; asserts that it comes within 5 s. */
const struct fake_message *fake_answer(struct fake_cluster *cluster, uint32_t number, uint64_t id);
/* The `nth` notice of that kind, from 0, or NULL. */
const struct fake_message *fake_find_notice(struct fake_cluster *cluster, uint32_t number,
                                            enum wire_method notice, uint32_t nth);

/* ERR_OK, or the code of the failure; waits like fake_answer(). */
enum error fake_outcome(struct fake_cluster *cluster, uint32_t number, uint64_t id);
struct wire_failure fake_failure(struct fake_cluster *cluster, uint32_t number, uint64_t id);

/* Opens a session at the leader and waits for it; its id. */
uint64_t fake_open_session(struct fake_cluster *cluster, uint32_t number, uint32_t ttl_ms);
struct wire_status_result fake_status(struct fake_cluster *cluster, uint32_t place);

#endif
