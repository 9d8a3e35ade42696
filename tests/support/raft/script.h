/* tests/support/raft/script.h: runs a conversation written as commands and writes down what the
 * members say and do.
 *
 *     log n1 1 1 4        before open: n1's disk has entries of these terms
 *     term n1 4           before open: n1's disk knows this term
 *     append-size 24      before open: bytes of entries in one message, 1024 otherwise
 *     promise 100         before open: what voters promise, 0 ms otherwise
 *     open 3              n1 to n3 start; "open 3 spare 1": n4 starts too, and waits to be added
 *     tick n1 500         500 ms pass, and n1 looks at its timers
 *     persist n1          all of n1's units become durable; what waited for them leaves
 *     deliver n1 n2       everything on the way from n1 to n2 arrives
 *     drop n1 n2          everything on the way from n1 to n2 is lost
 *     settle n1 n2        persist and deliver among these until they are quiet
 *     propose n1 text     read n1 7     resign n1     crash n1     start n1     show n1
 *     learner n1 n4       n1 is asked to add n4; "learner n1 n4 vote for n3": n4 is to vote for n3
 *     promote n1 n4       remove n1 n2     transfer n1 n2     stall n1
 *     compact n1 5        n1 has a snapshot at 5, and no log up to there
 *     snapshot n1 n3      that snapshot travels and is installed
 *     told n1 n3 ok       n1 hears that it was; anything but "ok": that it was not
 *
 * Lines that begin with '#' or are empty are kept; lines that begin with a blank are expected
 * output and are made anew. */
#ifndef TESTS_SUPPORT_RAFT_SCRIPT_H
#define TESTS_SUPPORT_RAFT_SCRIPT_H

#include <stdio.h>

/* Reads commands from `in`; writes them to `out` with the conversation beneath each. */
void script_run(FILE *in, FILE *out);

#endif
