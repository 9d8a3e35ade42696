/* tests/support/client/model_state.h: what the nodes of the model share: sessions, locks and keys,
 * and what a write does to them. Only for model.c, which says how a node answers. */
#ifndef TESTS_SUPPORT_CLIENT_MODEL_STATE_H
#define TESTS_SUPPORT_CLIENT_MODEL_STATE_H

#include "tests/support/client/model.h"

/* A write, as it was decoded. */
struct model_request {
    union {
        struct wire_put put;
        struct wire_lock_acquire acquire;
        struct wire_lock_release release;
    } body;
    uint64_t session;
    uint64_t sequence;
};

/* Executes it, and writes its result, or what goes with the error into `failure`. */
enum error model_apply(struct model *model, enum wire_method method,
                       const struct model_request *request, struct wire_failure *failure,
                       struct buffer *result);

/* Its locks go on to who waits for them. */
void model_end_session(struct model *model, struct model_session *session);

/* Made when there is none of that name. */
struct model_key *model_key(struct model *model, struct bytes name);

#endif
