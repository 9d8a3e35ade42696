/* client/command/dev_control.h: how `dev restart` and `dev add` ask a running `dev`: the socket
 * DIR/control.
 *
 * One line goes there, "restart N" or "add"; one line comes back, "ok" or the reason why not. */
#ifndef CLIENT_COMMAND_DEV_CONTROL_H
#define CLIENT_COMMAND_DEV_CONTROL_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/macros.h"

enum { DEV_ASKER_COUNT_MAX = 8, DEV_REQUEST_SIZE = 64, DEV_REPLY_SIZE = 1024 };

struct dev_control;

/* One connection; its place is free again when it is closed. */
struct dev_asker {
    struct dev_control *control;
    uv_pipe_t pipe;
    uv_write_t write;
    bool is_open;
    bool is_waiting; /* Its request was handed over and not yet answered. */
    char request[DEV_REQUEST_SIZE];
    size_t request_size;
    char reply[DEV_REPLY_SIZE];
};

/* Number 0: one more node. */
typedef void (*dev_control_request)(void *context, struct dev_asker *asker, uint64_t number);

struct dev_control {
    uv_pipe_t listener;
    bool is_listening;
    bool has_one_more; /* Connected, and not accepted for want of a place. */
    struct dev_asker askers[DEV_ASKER_COUNT_MAX];
    dev_control_request request;
    void *context;
};

/* Listens on `control` in the folder open at `dir_fd`. False with a libuv error in `*error`. */
MUST_USE bool dev_control_open(struct dev_control *control, uv_loop_t *loop, int dir_fd,
                               dev_control_request request, void *context, int *error);

/* Answers a request, unless the asker is gone. */
void dev_control_reply(struct dev_asker *asker, const char *reply);

/* Closes everything; the loop then has nothing of it left. */
void dev_control_close(struct dev_control *control);

#endif
