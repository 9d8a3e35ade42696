/* tests/support/wire/raft_sample.h: one message of Raft of every kind, for tests and goldens. */
#ifndef TESTS_SUPPORT_WIRE_RAFT_SAMPLE_H
#define TESTS_SUPPORT_WIRE_RAFT_SAMPLE_H

#include <stdbool.h>

#include "raft/message.h"

enum { RAFT_SAMPLE_COUNT = RAFT_TIMEOUT_NOW };

/* The kind is `number` + 1; all fields differ from each other and from 0. The append has two
 * entries, in two runs. */
struct raft_message raft_sample(unsigned number);

/* "vote_request" */
const char *raft_sample_name(unsigned number);

/* Equal in all that its kind has; entries are compared as one run. */
bool raft_sample_is_equal(const struct raft_message *left, const struct raft_message *right);

#endif
