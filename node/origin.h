/* node/origin.h: who asked: to whom an answer goes, however late it comes. */
#ifndef NODE_ORIGIN_H
#define NODE_ORIGIN_H

#include <stdint.h>

#include "node/world.h"

struct origin {
    world_connection connection;
    uint32_t generation; /* Of the connection: an answer that comes late finds nobody. */
    uint64_t rpc_id;
};

#endif
