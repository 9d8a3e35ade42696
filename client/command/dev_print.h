/* client/command/dev_print.h: the lines of `holdfast dev`. */
#ifndef CLIENT_COMMAND_DEV_PRINT_H
#define CLIENT_COMMAND_DEV_PRINT_H

#include <stdbool.h>

#include "client/command/dev_node.h"
#include "client/command/output.h"

/* What has become of a node. */
struct dev_happening {
    const struct dev_node *node;
    const char *event; /* "started", "joined", "ended". */
    const char *how;   /* NULL: its address and process id say more. */
};

void dev_print_node(struct output *output, bool json, const struct dev_place *place,
                    const struct dev_happening *happening);

void dev_print_ready(struct output *output, bool json, const struct dev_place *place,
                     const char *endpoints);

#endif
