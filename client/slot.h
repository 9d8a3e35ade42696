/* client/slot.h: the slot of a public call, from taking it until the core has it. Private to
 * client/.
 *
 * A call that cannot be carried out keeps its slot with a refusal: it is told like any result. */
#ifndef CLIENT_SLOT_H
#define CLIENT_SLOT_H

#include "client/client.h"

/* NULL when even those for refusals are used up. */
struct holdfast_call *slot_take(struct holdfast *client, enum wire_method method,
                                holdfast_callback callback, void *context);

/* Memory for all that the call keeps; once. False with a refusal when there is none. */
bool slot_reserve(struct holdfast_call *call, size_t size);

/* A copy within what was reserved. */
struct bytes slot_keep(struct holdfast_call *call, const void *data, size_t size);

/* All that was reserved, for a call that keeps nothing else. */
struct buffer slot_buffer(struct holdfast_call *call, size_t size);

/* True when the call may go on. The limits are those of wire/messages.def. A request beyond them is
 * never sent: in a session it would use up a sequence that no node takes. */
bool slot_check_size(struct holdfast_call *call, size_t size, size_t limit);

/* Lengths that more than one file checks. */
enum { LOCK_NAME_SIZE_MAX = 255, ELECTION_NAME_SIZE_MAX = LOCK_NAME_SIZE_MAX - 1 };

/* The same of a key or a name, which is not empty. */
bool slot_check_name(struct holdfast_call *call, size_t size, size_t limit);

/* The same of the name of a lock. Those that begin with a zero byte are of elections. */
bool slot_check_lock(struct holdfast_call *call, const void *name, size_t size);

/* Hands it over to the client's turn. */
struct holdfast_call *slot_submit(struct holdfast_call *call);

#endif
