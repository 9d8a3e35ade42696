/* jepsen/object.h: the operations of a history, object by object, as the search needs them.
 *
 * Operations that failed and reads without an answer say nothing and are left out. An operation
 * with an unknown outcome is optional. It becomes required, with the answer of the first that saw
 * its effect as its end, when nothing else can have had that effect; it is left out when it added
 * an element that nobody ever saw. Optional operations with the same effect take effect in the
 * order of their calls, changes of a register in that of their revisions. All this changes no
 * verdict, and spares the search much. */
#ifndef JEPSEN_OBJECT_H
#define JEPSEN_OBJECT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/macros.h"
#include "jepsen/history.h"

/* HISTORY_NONE: not one of those. */
struct object_operation {
    uint32_t number;      /* In the history. */
    uint32_t called_at;   /* Places in the history: it takes effect between them. */
    uint32_t answered_at; /* HISTORY_NONE: optional. */
    uint32_t previous;    /* Of an optional one: that with the same effect before. */
    uint32_t item_at;     /* Of an append: where reads show its item in the list. */
    history_value seen;   /* By a get or cas of a register, if one alone wrote it. */
    uint64_t revision;    /* Of a register's change, if its client or a read was told; or 0. */
    uint32_t rank;        /* Among the changes with a revision: how many have a smaller one. */
};

/* Both in the order of the calls. */
struct object {
    const struct object_operation *required;
    const struct object_operation *optional;
    uint32_t required_count;
    uint32_t optional_count;
    bool is_ambiguous; /* A set to which one element was added twice: the model has no answer. */
};

struct objects {
    const struct history *history;
    uint32_t *numbers; /* Of operations, grouped by key. */
    uint32_t *starts;  /* Of each key's group, and the end of the last. */
    uint32_t *writers; /* By value: who wrote it into this object. */
    bool *seen;        /* By value: whether an answer depends on it. */
    struct object_effect *effects;
    struct object_rank *ranks;
    struct object_operation *required;
    struct object_operation *optional;
};

/* ERR_FULL when there is not the memory. To be closed, also after an error. The history stays as
 * it is meanwhile. */
MUST_USE enum error objects_open(struct objects *objects, const struct history *history);
void objects_close(struct objects *objects);

/* The object of that key, until the next call. */
struct object objects_of_key(struct objects *objects, uint32_t key);

#endif
