/* tests/support/client/looped.h: a client on a loop, where nothing happens but in uv_run(), and a
 * server for it. */
#ifndef TESTS_SUPPORT_CLIENT_LOOPED_H
#define TESTS_SUPPORT_CLIENT_LOOPED_H

#include <uv.h>

#include "client/holdfast.h"
#include "tests/support/client/fake_server.h"

struct looped {
    struct fake_server *server;
    struct holdfast *client;
    uv_loop_t loop;
    struct holdfast_session *holder;
    struct holdfast_session *waiter;
    bool is_closed;
};

void looped_open(struct looped *looped, enum fake_behaviour behaviour);
/* Closes the client too. */
void looped_close(struct looped *looped);
void looped_on_closed(void *context);

/* Until the call is done. */
void looped_run(struct looped *looped, const struct holdfast_call *call);
/* Likewise: what it was; the handle is freed. */
enum holdfast_status looped_finish(struct looped *looped, struct holdfast_call *call);

/* A handle: "k" becomes "value". */
struct holdfast_call *looped_put(struct looped *looped);

/* Opens two sessions; one has the locks "0", "1" and "2". */
void looped_hold_locks(struct looped *looped);
/* A handle: the other waits for lock number `place`, for ever. */
struct holdfast_call *looped_wait(struct looped *looped, size_t place);

/* A callback that counts, and its context. */
struct looped_told {
    uint32_t count;
    enum holdfast_status status;
    bool is_within; /* A call of the library is under way on this thread: none may come. */
};
void looped_on_told(const struct holdfast_result *result, void *context);

#endif
