/* server/recover.h: holdfastd recover: the way back from a lost majority. */
#ifndef SERVER_RECOVER_H
#define SERVER_RECOVER_H

#include "base/macros.h"
#include "server/config.h"

/* Tells on standard output what the folder of `config->data` has and what may be lost, asks on
 * standard input for the cluster's id unless the loss is accepted already, and makes a new cluster
 * of it whose only member is this node (node/rescue.h). No node may run on it. The exit status: 0;
 * 1 with a sentence on standard error: refused, not wanted, or failed. */
MUST_USE int recover_run(const struct config *config);

#endif
