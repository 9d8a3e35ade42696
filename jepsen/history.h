/* jepsen/history.h: what clients asked a cluster, what they were told, and in which order.
 *
 * Calls and answers are appended in the order in which they happened; that order is the real time
 * that the checkers hold the cluster to. Everything is bounded: what does not fit is refused, and
 * what was recorded stays as it is. Not for use by several threads at once.
 *
 * Outcomes: an operation that is OK took effect between its call and its answer; one that FAILED
 * surely never does; one whose outcome is unknown (INFO, or never answered) may take effect at any
 * time after its call, or never. Unknown outcomes that are recorded as FAILED make good histories
 * look bad, failures that are recorded as INFO only make checking slower. */
#ifndef JEPSEN_HISTORY_H
#define JEPSEN_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/macros.h"

/* X(name, text, object): what is asked, and what kind of object it is asked of (jepsen/model.h).
 * One name names a register, a lock, a set and a list that have nothing to do with each other. */
#define HISTORY_FUNCTION_LIST(X)                                                                   \
    X(GET, "get", REGISTER)                                                                        \
    X(PUT, "put", REGISTER)                                                                        \
    X(CAS, "cas", REGISTER)                                                                        \
    X(DELETE, "delete", REGISTER)                                                                  \
    X(ACQUIRE, "acquire", LOCK)                                                                    \
    X(RELEASE, "release", LOCK)                                                                    \
    X(ADD, "add", SET)                                                                             \
    X(MEMBERS, "members", SET)                                                                     \
    X(APPEND, "append", LIST)                                                                      \
    X(ITEMS, "items", LIST)

#define HISTORY_AS_FUNCTION(name, text, object) HISTORY_##name,
enum history_function { HISTORY_FUNCTION_LIST(HISTORY_AS_FUNCTION) HISTORY_FUNCTION_COUNT };
#undef HISTORY_AS_FUNCTION

enum history_object { HISTORY_REGISTER, HISTORY_LOCK, HISTORY_SET, HISTORY_LIST };

enum history_outcome { HISTORY_PENDING, HISTORY_OK, HISTORY_FAILED, HISTORY_INFO };

/* A value that the history keeps: equal numbers are equal values. */
typedef uint32_t history_value;

enum {
    HISTORY_ABSENT = 0, /* Of a register without a value. */
    HISTORY_NONE = UINT32_MAX,
};

struct history_limits {
    uint32_t operation_count_max;
    uint32_t process_count_max; /* Processes are numbered from 0. */
    uint32_t key_count_max;
    uint32_t value_count_max; /* Different ones, lists included. */
    size_t text_size_max;     /* Bytes of all keys and values together; a list takes 4 an item. */
};

struct history_call {
    enum history_function function;
    history_value value;    /* put, cas: the new one; add, append: the element. */
    history_value expected; /* cas. HISTORY_ABSENT: that there is none. */
    uint64_t owner;         /* acquire, release: who; a session's id for instance, not 0. */
    uint64_t token;         /* release: of the grant that ends; 0: whatever the owner has. */
};

struct history_answer {
    /* get: what was there, HISTORY_ABSENT included. members, items: a list, or HISTORY_ABSENT. */
    history_value value;
    /* Log index of the change that was made, or, of a get, of the change it saw; 0: not known. */
    uint64_t revision;
    uint64_t token; /* acquire. */
    /* The answer was "no" because of the state that was found: cas, because another value was
     * there; delete, because none was; acquire, because another owner held it; release, because
     * the owner did not hold it with this token. The operation is OK and changed nothing. */
    bool refused;
};

struct history_operation {
    struct history_call call;
    struct history_answer answer; /* Meaningful when the outcome is OK. */
    enum history_outcome outcome;
    uint32_t process;
    uint32_t key;
    uint32_t called_at;   /* Place of the call among all calls and answers. */
    uint32_t answered_at; /* HISTORY_NONE: never; INFO has no end either, but a place. */
    uint64_t called_ns;
    uint64_t answered_ns;
};

struct history;

/* NULL when there is not the memory. To be closed. */
struct history *history_open(const struct history_limits *limits);
void history_close(struct history *history);

/* The value with these bytes. ERR_FULL. */
MUST_USE enum error history_value_of(struct history *history, struct bytes bytes,
                                     history_value *value);

/* The list of these values, none of which is a list or HISTORY_ABSENT: ERR_INVALID. ERR_FULL. */
MUST_USE enum error history_list_of(struct history *history, const history_value *values,
                                    uint32_t count, history_value *list);

/* A call by `process`, which has none outstanding: ERR_IN_USE. Time does not go back, values fit
 * the function, an owner is not 0: ERR_INVALID. ERR_FULL. `key` is copied. */
MUST_USE enum error history_call(struct history *history, uint32_t process, struct bytes key,
                                 const struct history_call *call, uint64_t now_ns);

/* The answer to the outstanding call of `process`. ERR_NOT_FOUND when there is none, ERR_INVALID
 * for an answer that does not fit it. `outcome` is OK, FAILED or INFO; `answer` counts for OK only
 * and may be NULL otherwise. */
MUST_USE enum error history_answer(struct history *history, uint32_t process,
                                   enum history_outcome outcome,
                                   const struct history_answer *answer, uint64_t now_ns);

/* --- Reading ---------------------------------------------------------------------------------- */

uint32_t history_operation_count(const struct history *history);
const struct history_operation *history_operation_at(const struct history *history, uint32_t at);
uint32_t history_event_count(const struct history *history); /* Calls and answers. */
/* The operation that the process waits for; HISTORY_NONE: none. */
uint32_t history_outstanding(const struct history *history, uint32_t process);

uint32_t history_key_count(const struct history *history);
enum history_object history_key_object(const struct history *history, uint32_t key);
/* Borrowed until the history is closed. */
struct bytes history_key_name(const struct history *history, uint32_t key);

uint32_t history_value_count(const struct history *history); /* HISTORY_ABSENT included. */
bool history_value_is_list(const struct history *history, history_value value);
/* Borrowed until the history is closed. Not of a list. */
struct bytes history_value_bytes(const struct history *history, history_value value);
/* 0 of HISTORY_ABSENT; `at` is below the count. */
uint32_t history_list_count(const struct history *history, history_value list);
history_value history_list_at(const struct history *history, history_value list, uint32_t at);

/* What stands for a sequence of values, or for a set of them, in few bytes. Two different ones are
 * equal with a probability of about 2^-128. All zero: nothing yet. */
struct history_digest {
    uint64_t count;
    uint64_t sums[2];
};
void history_digest_add_member(struct history_digest *digest, history_value value);
void history_digest_add_item(struct history_digest *digest, history_value value);
/* Of a list that was recorded; all zero of HISTORY_ABSENT. */
struct history_digest history_list_members(const struct history *history, history_value list);
struct history_digest history_list_items(const struct history *history, history_value list);

enum history_object history_function_object(enum history_function function);
const char *history_function_name(enum history_function function);

/* --- Files: one JSON object for each call and each answer ------------------------------------- */

/* {"index":0,"time":5,"process":1,"type":"invoke","f":"put","key":"x","value":"1"}
 * {"index":1,"time":9,"process":1,"type":"ok","f":"put","key":"x","value":"1","revision":7}
 * docs/checkers.md names every field. What is written is read back equal. ERR_IO. */
MUST_USE enum error history_write(const struct history *history, FILE *file);

struct history_fault {
    uint32_t line; /* From 1. */
    char text[160];
};

/* Appends the lines of `file`. At the first line that is not understood or does not fit, stops
 * with the error and says in *fault where and what; the lines before it were taken. */
MUST_USE enum error history_read(struct history *history, FILE *file, struct history_fault *fault);

#endif
