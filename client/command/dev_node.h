/* client/command/dev_node.h: one holdfastd of `holdfast dev`: its folder, its process, its log.
 *
 *   DIR/nI/data   all that the node keeps
 *   DIR/nI/log    its standard error, appended to
 *   DIR/nI/pid    its process id; stays after its death
 *
 * The process is a child of this one, killed by the kernel when this one dies. */
#ifndef CLIENT_COMMAND_DEV_NODE_H
#define CLIENT_COMMAND_DEV_NODE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/macros.h"

enum {
    DEV_NODE_COUNT_MAX = 9,
    DEV_PATH_SIZE = 4096,
    DEV_ADDRESS_SIZE = 32,
    DEV_LINE_SIZE = 512,
    DEV_LIST_SIZE = DEV_NODE_COUNT_MAX * 40,
};

/* What all nodes share. */
struct dev_place {
    char dir[DEV_PATH_SIZE]; /* Absolute. */
    char server[DEV_PATH_SIZE];
    uint32_t port;
    uint32_t node_count;
};

struct dev_node {
    uint32_t number; /* From 1. */
    pid_t pid;       /* 0: it does not run. */
};

/* holdfastd beside this program, otherwise "holdfastd" to be looked for in PATH. */
void dev_place_find_server(struct dev_place *place);

/* "127.0.0.1:7101" */
void dev_place_client(const struct dev_place *place, uint32_t number, char out[DEV_ADDRESS_SIZE]);

/* The list of all client addresses, separated by commas. */
void dev_place_endpoints(const struct dev_place *place, char out[DEV_LIST_SIZE]);

/* How many nodes the folder was made for; 0 when it is new. */
uint32_t dev_place_count_nodes(const struct dev_place *place);

/* Writes a whole file, or none: a reader never sees a part. False with errno. */
MUST_USE bool dev_write_file(const char *path, const char *content);

/* Starts the process. False after a message. */
MUST_USE bool dev_node_start(struct dev_node *node, const struct dev_place *place);

/* Sends the signal, and wakes a frozen node so that it can act on it. */
void dev_node_signal(const struct dev_node *node, int number);

/* True when it has ended; `how` then says "exit 1" or "signal 9". Never waits. */
MUST_USE bool dev_node_reap(struct dev_node *node, char how[DEV_LINE_SIZE]);

/* The last line of its log, "" without one. */
void dev_node_last_line(const struct dev_node *node, const struct dev_place *place,
                        char line[DEV_LINE_SIZE]);

#endif
