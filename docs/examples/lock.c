/* docs/examples/lock.c: take a lock, work while it is held, give it back.
 *
 * cc -o lock docs/examples/lock.c $(pkg-config --cflags --libs holdfast)
 * ./lock 127.0.0.1:7400,127.0.0.1:7401,127.0.0.1:7402 */
#include <inttypes.h>
#include <stdio.h>

#include <holdfast.h>

static void on_state(struct holdfast_session *session, enum holdfast_session_state state,
                     void *context)
{
    (void)session;
    (void)context;
    if (state == HOLDFAST_SESSION_LOST) {
        /* From here on somebody else may be granted the lock: stop what it protects. */
        (void)fprintf(stderr, "the session is lost\n");
    }
}

/* The work, in steps that are short against the session's TTL. The resource is told the token, and
 * refuses one that is smaller than the greatest it has seen. */
static void work(const struct holdfast_session *session, uint64_t token)
{
    for (int step = 0; step < 10; step++) {
        if (holdfast_session_state(session) != HOLDFAST_SESSION_CONNECTED) {
            (void)printf("in doubt: stop before step %d\n", step);
            return;
        }
        (void)printf("step %d with token %" PRIu64 ", %" PRIu64 " ms left\n", step, token,
                     holdfast_session_left_ms(session));
    }
}

static enum holdfast_status with_lock(struct holdfast *client)
{
    struct holdfast_session_options options = {.ttl_ms = 10000, .on_state = on_state};
    struct holdfast_session *session;
    uint64_t token;

    enum holdfast_status status = holdfast_session_open_sync(client, &options, &session);
    if (status == HOLDFAST_OK) {
        status = holdfast_lock_acquire_sync(session, "example", 7, 5000, &token);
        if (status == HOLDFAST_OK) {
            work(session, token);
            status = holdfast_lock_release_sync(session, "example", 7, token);
        }
    }
    if (session != NULL) {
        (void)holdfast_session_end_sync(session);
    }
    return status;
}

int main(int count, char **arguments)
{
    struct holdfast_options options = {.endpoints = count > 1 ? arguments[1] : "127.0.0.1:7400"};
    struct holdfast *client;
    enum holdfast_status status = holdfast_open(&client, &options);

    if (status == HOLDFAST_OK) {
        status = with_lock(client);
        holdfast_close(client, NULL, NULL);
    }
    if (status != HOLDFAST_OK) {
        (void)fprintf(stderr, "%s: %s\n", holdfast_status_name(status),
                      holdfast_status_text(status));
    }
    return status == HOLDFAST_OK ? 0 : 1;
}
