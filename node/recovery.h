/* node/recovery.h: the options that a node opens its log and its raft with.
 *
 * Both follow from the node's options and its identity alone; their memory is computed from the
 * same functions before either is opened, and the log's dump uses the first. */
#ifndef NODE_RECOVERY_H
#define NODE_RECOVERY_H

#include "log/log.h"
#include "node/identity.h"
#include "node/node.h"
#include "raft/raft.h"

void recovery_log_options(const struct node_options *options, const struct identity *identity,
                          struct log_options *log_options);

/* All but the seed. */
void recovery_raft_options(const struct node_options *options, const struct identity *identity,
                           struct raft_options *raft_options);

#endif
