/* base/error.h: every operating error, once.
 *
 * Numbers are append-only: those below 100 travel on the wire. The third column says what an
 * answer with that error means for a request that changes something: REJECTED is "surely not
 * applied", UNKNOWN is "may have been applied: retry only with the same sequence". */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include <stdbool.h>

#include "base/macros.h"

enum outcome { OUTCOME_OK, OUTCOME_REJECTED, OUTCOME_UNKNOWN };

/* X(name, number, outcome, text) */
#define ERROR_LIST(X)                                                                              \
    X(OK, 0, OK, "ok")                                                                             \
    X(HELD, 1, REJECTED, "the lock is held by another session")                                    \
    X(NO_QUORUM, 2, UNKNOWN, "no majority of the nodes answers")                                   \
    X(NOT_LEADER, 3, REJECTED, "this node is not the leader")                                      \
    X(TIMEOUT, 4, UNKNOWN, "the deadline passed before an answer came")                            \
    X(LOST, 5, REJECTED, "the session was lost: its deadline passed")                              \
    X(OVERLOADED, 6, REJECTED, "the node is overloaded: retry later")                              \
    X(RATE_LIMITED, 7, REJECTED, "this client sends too much: retry later")                        \
    X(TTL_TOO_SHORT, 8, REJECTED, "the TTL is below the safe floor")                               \
    X(SESSION_EXPIRED, 9, REJECTED, "the session does not exist or has expired")                   \
    X(FENCED, 10, REJECTED, "the token is not the current one")                                    \
    X(TOO_LARGE, 11, REJECTED, "a value is larger than its limit")                                 \
    X(AUTH, 12, REJECTED, "not authenticated")                                                     \
    X(NOT_FOUND, 13, REJECTED, "there is no such thing")                                           \
    X(MISMATCH, 14, REJECTED, "the present value is not the expected one")                         \
    X(SEQUENCE_GAP, 15, REJECTED, "an earlier request of the session is missing")                  \
    X(STALE, 16, UNKNOWN, "the sequence is older than the results that are kept")                  \
    X(MALFORMED, 17, REJECTED, "the bytes are not a valid message")                                \
    X(UNKNOWN_METHOD, 18, REJECTED, "there is no such method")                                     \
    X(CANCELLED, 19, UNKNOWN, "the call was cancelled")                                            \
    X(UNKNOWN_OUTCOME, 20, UNKNOWN, "the request was sent and its answer was lost")                \
    X(NOT_FORMED, 21, REJECTED, "the cluster is not formed yet")                                   \
    X(CLOSED, 22, UNKNOWN, "the connection was closed")                                            \
    X(STOPPING, 23, REJECTED, "the node is stopping")                                              \
    X(REFUSED, 24, REJECTED, "it is not possible as things are")                                   \
    X(COMPACTED, 25, REJECTED, "it begins before the oldest change that is kept")                  \
    X(INCOMPLETE, 100, REJECTED, "more bytes are needed")                                          \
    X(IO, 101, UNKNOWN, "an operation on the disk failed")                                         \
    X(NO_SPACE, 102, UNKNOWN, "the disk is full")                                                  \
    X(CORRUPT, 103, UNKNOWN, "stored bytes do not match their checksum")                           \
    X(VERSION, 104, REJECTED, "the format's version is not known")                                 \
    X(WRONG_CLUSTER, 105, REJECTED, "it belongs to another cluster")                               \
    X(WRONG_NODE, 106, REJECTED, "it belongs to another node")                                     \
    X(IN_USE, 107, REJECTED, "it is in use by another process")                                    \
    X(INVALID, 108, REJECTED, "the input is not valid")                                            \
    X(FULL, 109, REJECTED, "a fixed capacity is used up")                                          \
    X(MISSING, 110, REJECTED, "a file that must be there is missing")                              \
    X(REMOVED, 111, REJECTED, "the cluster has removed this node")

#define ERROR_AS_ENUMERATOR(name, number, outcome, text) ERR_##name = (number),
enum error { ERROR_LIST(ERROR_AS_ENUMERATOR) };
#undef ERROR_AS_ENUMERATOR

/* "NOT_LEADER"; "UNKNOWN_ERROR" for a number that this version does not know. */
const char *error_name(enum error error);

/* One sentence without a full stop. A constant: never freed, never shared with another thread. */
const char *error_text(enum error error);

enum outcome error_outcome(enum error error);

/* The error with this number of the wire; ERR_UNKNOWN_OUTCOME for one that is not known, because
 * a newer server's refusal must not be taken for success or for a definite failure. */
enum error error_from_number(unsigned number);

#endif
