/* jepsen/model.h: what an object may do, one operation at a time.
 *
 * A model is a function on a small value: the state of one register, lock, set or list. The
 * checkers run it; it knows nothing of processes and time.
 *
 * Register: revisions, where they are known, grow with every change and name the change that was
 * read. Lock: one owner at a time, and every grant's token is larger than the one before; an owner
 * that asks again is told its token again. Set and list: a read sees all elements that were added
 * before, the list in their order; an element is added once. */
#ifndef JEPSEN_MODEL_H
#define JEPSEN_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"
#include "jepsen/history.h"

/* Without padding: states are compared as bytes. All zero is the state that every object begins
 * in: a register without a value, a free lock, nothing in a set or a list. */
struct model_state {
    uint64_t words[4];
};

/* The operation takes effect now. False, with the state untouched, when it cannot: its answer says
 * otherwise. An operation without an answer can whenever it would change anything. */
MUST_USE bool model_step(const struct history *history, const struct history_operation *operation,
                         struct model_state *state);

history_value model_register_value(const struct model_state *state);

/* How many items a list has. */
uint64_t model_list_size(const struct model_state *state);

/* False for what only reads, and for what was refused. */
bool model_changes(const struct history_operation *operation);

#endif
