/* client/command/dev.c: a cluster on this machine, in the foreground.
 *
 *   STARTING --a leader serves and all nodes accept clients--> RUNNING
 *       |                                                         |
 *       +--a node ends, a signal--> STOPPING <------signal--------+
 *
 * Each node is probed from its start until it says who it is; a restart is answered then. A node
 * that is added is then made a member, and answered for when it is a voter. */
#define _GNU_SOURCE
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "client/command/dev_control.h"
#include "client/command/dev_folder.h"
#include "client/command/dev_node.h"
#include "client/command/dev_print.h"
#include "client/command/run.h"

enum dev_phase { DEV_STARTING, DEV_RUNNING, DEV_STOPPING };

static const int watched_signals[] = {SIGINT, SIGTERM, SIGHUP, SIGCHLD};

enum {
    SIGNAL_COUNT = COUNT_OF(watched_signals),
    PROBE_TIMEOUT_MS = 500,
    PROBE_INTERVAL_MS = 20,
    PATIENCE_MS = 2000,
    STOP_TIMEOUT_MS = 5000,         /* From SIGTERM to SIGKILL when all are stopped, */
    RESTART_STOP_TIMEOUT_MS = 3000, /* and when one is restarted; */
    RESTART_TIMEOUT_MS = 10000,     /* of a whole restart; */
    ADD_TIMEOUT_MS = 30000,         /* until a node that is added has joined. */
    JOIN_INTERVAL_MS = 100,
    STRAGGLER_TIMEOUT_MS = 5000, /* A leader serves, but not all nodes accept clients. */
};

struct dev;

struct slot {
    struct dev *dev;
    struct dev_node node;
    uint64_t start_count;
    uint64_t probed_start; /* The start_count that the probe under way is about. */
    bool is_probing;
    bool is_accepting;
    bool is_restarting; /* It is being stopped in order to start again. */
    bool is_joining;    /* The asker waits until it is a voter. */
    bool is_removed;    /* It ended because it is no member any more. */
    struct dev_asker *asker;
    uv_timer_t probe_timer;
    uv_timer_t kill_timer;
    uv_timer_t limit_timer;
};

struct dev {
    struct run *run;
    struct options options; /* The run's, with our own endpoints. */
    char endpoints[DEV_LIST_SIZE];
    struct dev_place place;
    struct dev_folder folder;
    enum dev_phase phase;
    bool leader_serves;
    int exit_status;
    struct slot slots[DEV_NODE_COUNT_MAX];
    struct dev_control control;
    uv_signal_t signals[SIGNAL_COUNT];
    uv_timer_t patience_timer;
    uv_timer_t stop_timer;
    bool is_closed;
};

static void ask_leader(struct dev *dev);
static void probe(struct slot *slot);

static void print_node(struct dev *dev, const struct slot *slot, const char *event, const char *how)
{
    dev_print_node(&dev->run->output, dev->options.json, &dev->place,
                   &(const struct dev_happening){&slot->node, event, how});
}

/* --- The end ------------------------------------------------------------------------------------
 */

static void close_all(struct dev *dev)
{
    ASSERT(dev->phase == DEV_STOPPING && !dev->is_closed);
    dev->is_closed = true;
    for (uint32_t i = 0; i < DEV_NODE_COUNT_MAX; i++) {
        uv_close((uv_handle_t *)&dev->slots[i].probe_timer, NULL);
        uv_close((uv_handle_t *)&dev->slots[i].kill_timer, NULL);
        uv_close((uv_handle_t *)&dev->slots[i].limit_timer, NULL);
    }
    for (size_t i = 0; i < SIGNAL_COUNT; i++) {
        uv_close((uv_handle_t *)&dev->signals[i], NULL);
    }
    uv_close((uv_handle_t *)&dev->patience_timer, NULL);
    uv_close((uv_handle_t *)&dev->stop_timer, NULL);
    dev_control_close(&dev->control);
    run_finish(dev->run, dev->exit_status);
}

static void signal_all(struct dev *dev, int number)
{
    for (uint32_t i = 0; i < dev->place.node_count; i++) {
        dev_node_signal(&dev->slots[i].node, number);
    }
}

static void close_when_all_ended(struct dev *dev)
{
    for (uint32_t i = 0; i < dev->place.node_count; i++) {
        if (dev->slots[i].node.pid != 0) {
            return;
        }
    }
    if (!dev->is_closed) {
        close_all(dev);
    }
}

static void stop_is_due(uv_timer_t *timer)
{
    signal_all(timer->data, SIGKILL);
}

static void stop(struct dev *dev, int exit_status)
{
    ASSERT(dev->phase != DEV_STOPPING);
    dev->phase = DEV_STOPPING;
    dev->exit_status = exit_status;
    signal_all(dev, SIGTERM);
    uv_timer_start(&dev->stop_timer, stop_is_due, STOP_TIMEOUT_MS, 0);
    close_when_all_ended(dev);
}

/* --- Ready --------------------------------------------------------------------------------------
 */

static void become_ready(struct dev *dev)
{
    ASSERT(dev->phase == DEV_STARTING);
    dev->phase = DEV_RUNNING;
    uv_timer_stop(&dev->patience_timer);
    dev_print_ready(&dev->run->output, dev->options.json, &dev->place, dev->endpoints);
}

static void look_whether_ready(struct dev *dev)
{
    if (dev->phase != DEV_STARTING || !dev->leader_serves) {
        return;
    }
    for (uint32_t i = 0; i < dev->place.node_count; i++) {
        if (!dev->slots[i].is_accepting && !dev->slots[i].is_removed) {
            return;
        }
    }
    become_ready(dev);
}

static void stragglers_are_left(uv_timer_t *timer)
{
    struct dev *dev = timer->data;

    if (dev->phase == DEV_STARTING && dev->leader_serves) {
        complain("a leader serves, but not every node accepts clients yet: see DIR/nI/log");
        become_ready(dev);
    }
}

static void leader_asked(const struct holdfast_result *result, void *context)
{
    struct dev *dev = context;

    if (dev->phase != DEV_STARTING) {
        return;
    }
    if (result->status != HOLDFAST_OK && result->status != HOLDFAST_NOT_FOUND) {
        ask_leader(dev);
        return;
    }
    dev->leader_serves = true;
    uv_timer_start(&dev->patience_timer, stragglers_are_left, STRAGGLER_TIMEOUT_MS, 0);
    look_whether_ready(dev);
}

/* A linearizable read, which the library sends again until its deadline. */
static void ask_leader(struct dev *dev)
{
    static const char key[] = "holdfast/dev";
    const struct holdfast_call *call =
        holdfast_get(dev->run->client, key, sizeof(key) - 1, leader_asked, dev);

    ASSERT(call != NULL);
}

static void patience_is_over(uv_timer_t *timer)
{
    struct dev *dev = timer->data;

    if (dev->phase == DEV_STARTING && isatty(STDERR_FILENO) == 1) {
        complain("waiting for a leader; the nodes' logs are %s/nI/log", dev->place.dir);
    }
}

/* --- Nodes --------------------------------------------------------------------------------------
 */

static void answer_asker(struct slot *slot, const char *reply)
{
    struct dev_asker *asker = slot->asker;

    slot->asker = NULL;
    slot->is_restarting = false;
    slot->is_joining = false;
    uv_timer_stop(&slot->limit_timer);
    if (asker != NULL) {
        dev_control_reply(asker, reply);
    }
}

/* "n2: WHAT; its last line: ..." */
static void answer_failure(struct slot *slot, const char *what)
{
    char line[DEV_LINE_SIZE];
    char reply[DEV_REPLY_SIZE];

    dev_node_last_line(&slot->node, &slot->dev->place, line);
    snprintf(reply, sizeof(reply), "n%" PRIu32 " %s; its last line: %s", slot->node.number, what,
             line);
    answer_asker(slot, reply);
}

static void join(struct slot *slot);

static void probe_is_due(uv_timer_t *timer)
{
    struct slot *slot = timer->data;

    if (slot->is_joining && slot->is_accepting) {
        join(slot);
    } else {
        probe(slot);
    }
}

/* While the leader has not heard it yet the change is refused: it is asked for again. */
static void joined(const struct holdfast_result *result, void *context)
{
    struct slot *slot = context;
    struct dev *dev = slot->dev;
    char reply[16];

    if (dev->phase == DEV_STOPPING || !slot->is_joining || slot->node.pid == 0) {
        return;
    }
    if (result->status != HOLDFAST_OK) {
        uv_timer_start(&slot->probe_timer, probe_is_due, JOIN_INTERVAL_MS, 0);
        return;
    }
    dev_place_endpoints(&dev->place, dev->endpoints);
    if (!dev_folder_write_endpoints(&dev->folder, dev->endpoints)) {
        answer_asker(slot, "the node has joined, but DIR/endpoints cannot be written");
        return;
    }
    print_node(dev, slot, "joined", "voter");
    snprintf(reply, sizeof(reply), "ok n%" PRIu32, slot->node.number);
    answer_asker(slot, reply);
}

static void join(struct slot *slot)
{
    char name[8];

    snprintf(name, sizeof(name), "n%" PRIu32, slot->node.number);
    const struct holdfast_call *call =
        holdfast_member_add(slot->dev->run->client, name, false, joined, slot);
    ASSERT(call != NULL);
}

static void probed(const struct holdfast_result *result, void *context)
{
    struct slot *slot = context;
    struct dev *dev = slot->dev;
    char name[8];

    slot->is_probing = false;
    if (dev->phase == DEV_STOPPING || slot->node.pid == 0 || slot->is_restarting) {
        return;
    }
    snprintf(name, sizeof(name), "n%" PRIu32, slot->node.number);
    bool is_it = result->status == HOLDFAST_OK && result->node != NULL &&
                 slot->probed_start == slot->start_count && strcmp(result->node->node, name) == 0;

    if (!is_it) {
        uv_timer_start(&slot->probe_timer, probe_is_due, PROBE_INTERVAL_MS, 0);
        return;
    }
    slot->is_accepting = true;
    if (slot->is_joining) {
        join(slot);
    } else if (slot->asker != NULL) {
        answer_asker(slot, "ok");
    }
    look_whether_ready(dev);
}

static void probe(struct slot *slot)
{
    char address[DEV_ADDRESS_SIZE];
    bool is_wanted = slot->dev->phase != DEV_STOPPING && slot->node.pid != 0 &&
                     !slot->is_accepting && !slot->is_probing;

    if (!is_wanted) {
        return;
    }
    dev_place_client(&slot->dev->place, slot->node.number, address);
    slot->probed_start = slot->start_count;
    slot->is_probing = true;
    const struct holdfast_call *call =
        holdfast_node_status(slot->dev->run->client, address, PROBE_TIMEOUT_MS, probed, slot);
    ASSERT(call != NULL);
}

MUST_USE static bool start_node(struct slot *slot)
{
    slot->is_accepting = false;
    slot->start_count++;
    if (!dev_node_start(&slot->node, &slot->dev->place)) {
        return false;
    }
    print_node(slot->dev, slot, "started", NULL);
    probe(slot);
    return true;
}

static void node_ended(struct slot *slot, const char *how)
{
    struct dev *dev = slot->dev;

    slot->is_accepting = false;
    slot->is_removed = strcmp(how, "exit 3") == 0; /* As holdfastd says it. */
    uv_timer_stop(&slot->kill_timer);
    print_node(dev, slot, "ended", how);
    if (dev->phase == DEV_STOPPING) {
        close_when_all_ended(dev);
        return;
    }
    if (slot->is_restarting) {
        slot->is_restarting = false;
        if (!start_node(slot)) {
            answer_asker(slot, "the process cannot be started; see the messages of dev");
        }
        return;
    }
    if (slot->asker != NULL) {
        answer_failure(slot, "ended");
        return;
    }
    if (dev->phase == DEV_STARTING && slot->is_removed) {
        look_whether_ready(dev);
    } else if (dev->phase == DEV_STARTING) {
        char line[DEV_LINE_SIZE];

        dev_node_last_line(&slot->node, &dev->place, line);
        complain("n%" PRIu32 " ended before the cluster was ready; its last line: %s",
                 slot->node.number, line);
        stop(dev, EXIT_REFUSED);
    }
}

static void reap(struct dev *dev)
{
    char how[DEV_LINE_SIZE];

    for (uint32_t i = 0; i < dev->place.node_count && !dev->is_closed; i++) {
        if (dev_node_reap(&dev->slots[i].node, how)) {
            node_ended(&dev->slots[i], how);
        }
    }
}

/* --- Restart and add ----------------------------------------------------------------------------
 */

static void kill_is_due(uv_timer_t *timer)
{
    const struct slot *slot = timer->data;

    dev_node_signal(&slot->node, SIGKILL);
}

static void limit_is_over(uv_timer_t *timer)
{
    struct slot *slot = timer->data;

    answer_failure(slot, slot->is_joining ? "has not joined within 30s: see `holdfast member ls`"
                                          : "does not accept clients within 10s");
}

static void add_asked(struct dev *dev, struct dev_asker *asker)
{
    if (dev->phase != DEV_RUNNING) {
        dev_control_reply(asker, "the cluster is not ready, or dev is being stopped");
        return;
    }
    if (dev->place.node_count == DEV_NODE_COUNT_MAX) {
        dev_control_reply(asker, "dev runs 9 nodes at most");
        return;
    }
    struct slot *slot = &dev->slots[dev->place.node_count++];

    slot->asker = asker;
    slot->is_joining = true;
    uv_timer_start(&slot->limit_timer, limit_is_over, ADD_TIMEOUT_MS, 0);
    if (!start_node(slot)) {
        dev->place.node_count--;
        answer_asker(slot, "the process cannot be started; see the messages of dev");
    }
}

static void node_asked(void *context, struct dev_asker *asker, uint64_t number)
{
    struct dev *dev = context;

    if (number == 0) {
        add_asked(dev, asker);
        return;
    }
    if (number > dev->place.node_count) {
        dev_control_reply(asker, "there is no such node in this cluster");
        return;
    }
    struct slot *slot = &dev->slots[number - 1];

    if (slot->asker != NULL || dev->phase == DEV_STOPPING) {
        dev_control_reply(asker, "the node is being started, or dev is being stopped");
        return;
    }
    slot->asker = asker;
    uv_timer_start(&slot->limit_timer, limit_is_over, RESTART_TIMEOUT_MS, 0);
    if (slot->node.pid != 0) {
        slot->is_restarting = true;
        dev_node_signal(&slot->node, SIGTERM);
        uv_timer_start(&slot->kill_timer, kill_is_due, RESTART_STOP_TIMEOUT_MS, 0);
    } else if (!start_node(slot)) {
        answer_asker(slot, "the process cannot be started; see the messages of dev");
    }
}

/* --- Start --------------------------------------------------------------------------------------
 */

static void signalled(uv_signal_t *handle, int number)
{
    struct dev *dev = handle->data;

    if (number == SIGCHLD) {
        reap(dev);
    } else if (dev->phase == DEV_STOPPING) {
        signal_all(dev, SIGKILL); /* Whoever asks twice does not want to wait. */
    } else {
        stop(dev, EXIT_DONE);
    }
}

static bool take_node_count(struct dev *dev)
{
    uint32_t there = dev_place_count_nodes(&dev->place);
    uint32_t wanted = (uint32_t)dev->options.nodes;

    dev->place.node_count = there != 0 && !dev->options.nodes_given ? there : wanted;
    if (there != 0 && there != dev->place.node_count) {
        complain("%s holds a cluster of %" PRIu32
                 " nodes: leave --nodes out, or give another --dir",
                 dev->place.dir, there);
        return false;
    }
    return true;
}

static void init_handles(struct dev *dev)
{
    uv_loop_t *loop = &dev->run->loop;

    for (uint32_t i = 0; i < DEV_NODE_COUNT_MAX; i++) {
        struct slot *slot = &dev->slots[i];

        slot->dev = dev;
        slot->node.number = i + 1;
        uv_timer_init(loop, &slot->probe_timer);
        uv_timer_init(loop, &slot->kill_timer);
        uv_timer_init(loop, &slot->limit_timer);
        slot->probe_timer.data = slot;
        slot->kill_timer.data = slot;
        slot->limit_timer.data = slot;
    }
    for (size_t i = 0; i < SIGNAL_COUNT; i++) {
        uv_signal_init(loop, &dev->signals[i]);
        dev->signals[i].data = dev;
        uv_signal_start(&dev->signals[i], signalled, watched_signals[i]);
    }
    uv_timer_init(loop, &dev->patience_timer);
    uv_timer_init(loop, &dev->stop_timer);
    dev->patience_timer.data = dev;
    dev->stop_timer.data = dev;
    uv_timer_start(&dev->patience_timer, patience_is_over, PATIENCE_MS, PATIENCE_MS);
}

static bool start_nodes(struct dev *dev)
{
    for (uint32_t i = 0; i < dev->place.node_count; i++) {
        if (!start_node(&dev->slots[i])) {
            return false;
        }
    }
    return true;
}

static void start(struct dev *dev)
{
    int error = 0;

    init_handles(dev);
    if (!dev_control_open(&dev->control, &dev->run->loop, dev->folder.fd, node_asked, dev,
                          &error)) {
        complain("%s/control: %s", dev->place.dir, uv_strerror(error));
        stop(dev, EXIT_REFUSED);
    } else if (!dev_folder_write_endpoints(&dev->folder, dev->endpoints) || !start_nodes(dev)) {
        stop(dev, EXIT_REFUSED);
    } else {
        ask_leader(dev);
    }
}

int dev_run(struct run *run)
{
    struct dev dev = {.run = run, .options = *run->options};

    run->exit_status = EXIT_REFUSED;
    dev.place.port = (uint32_t)dev.options.port;
    dev_place_find_server(&dev.place);
    if (dev_folder_open(&dev.folder, dev.options.dir)) {
        memcpy(dev.place.dir, dev.folder.path, sizeof(dev.place.dir));
    }
    if (dev.folder.fd >= 0 && take_node_count(&dev)) {
        dev_place_endpoints(&dev.place, dev.endpoints);
        dev.options.endpoints = dev.endpoints;
        run->options = &dev.options;
        if (run_open(run, 1)) {
            start(&dev);
            run_loop(run);
        }
    }
    dev_folder_close(&dev.folder);
    return run->exit_status;
}
