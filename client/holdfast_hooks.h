/* client/holdfast_hooks.h: a client on any loop: poll(), epoll, GLib, or what a program has.
 *
 * Six hooks are called from within calls of the library, on the thread that makes them; but for
 * resolve they must not call the library. What the loop sees it tells with the holdfast_hook_*()
 * calls, and callbacks run in those. All calls for one client are made from one thread, as on a
 * libuv loop; a client that is on a loop never blocks. Times are milliseconds. */
#ifndef CLIENT_HOLDFAST_HOOKS_H
#define CLIENT_HOLDFAST_HOOKS_H

#include "client/holdfast.h"

#ifdef __cplusplus
extern "C" {
#endif

struct sockaddr;

enum { HOLDFAST_READABLE = 1, HOLDFAST_WRITABLE = 2 };

struct holdfast_hooks {
    void *context;
    /* holdfast_hook_ready() is wanted whenever `file` is ready for one of the events, or has an
     * error or its end; for these instead of earlier ones. False: it cannot be watched. */
    bool (*watch)(void *context, int file, int events);
    /* No more; the file is closed behind this. */
    void (*unwatch)(void *context, int file);
    /* holdfast_hook_due() is wanted in `delay_ms`, instead of at an earlier time that was set. */
    void (*arm)(void *context, uint64_t delay_ms);
    /* Not any more. */
    void (*disarm)(void *context);
    /* holdfast_hook_due() is wanted soon, but not from within this. */
    void (*wake)(void *context);
    /* A name is to be looked up: holdfast_hook_resolved() is wanted once, from within this or
     * later, unless the client is closed by then. NULL: names are looked up by getaddrinfo(), which
     * blocks the loop. Never called for numbers. Strings are borrowed until it returns. */
    void (*resolve)(void *context, uint64_t ticket, const char *host, const char *port);
};

/* The table is copied. All calls are made from one thread, as on a libuv loop. Call
 * holdfast_hook_due() once to begin. */
enum holdfast_status holdfast_open_on_hooks(struct holdfast **client,
                                            const struct holdfast_options *options,
                                            const struct holdfast_hooks *hooks);

/* A file that is watched is ready; one with an error or at its end is ready for both. Behind each
 * of these the client may be gone, when it was closing: `closed` says so from within. */
void holdfast_hook_ready(struct holdfast *client, int file, int events);
/* The timer has fired, or what wake asked for. Any time will do. */
void holdfast_hook_due(struct holdfast *client);
/* NULL: the name has no address. A ticket that is not wanted any more is ignored. */
void holdfast_hook_resolved(struct holdfast *client, uint64_t ticket,
                            const struct sockaddr *address, size_t size);

#ifdef __cplusplus
}
#endif

#endif
