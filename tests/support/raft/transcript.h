/* tests/support/raft/transcript.h: what members say, as lines of a golden transcript. */
#ifndef TESTS_SUPPORT_RAFT_TRANSCRIPT_H
#define TESTS_SUPPORT_RAFT_TRANSCRIPT_H

#include <stdio.h>

#include "raft/raft.h"

/* One line. */
void transcript_message(FILE *out, const struct raft_message *message);

/* The members, within a line. */
void transcript_configuration(FILE *out, const struct raft_configuration *configuration);

#endif
