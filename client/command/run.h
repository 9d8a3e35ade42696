/* client/command/run.h: one run of a command: its options, a loop with a client on it, its end. */
#ifndef CLIENT_COMMAND_RUN_H
#define CLIENT_COMMAND_RUN_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "client/command/exit.h"
#include "client/command/options.h"
#include "client/command/output.h"
#include "client/holdfast.h"

enum { TOKEN_SIZE_MAX = 255 };

struct run {
    const struct options *options;
    struct output output;
    uv_loop_t loop;
    struct holdfast *client;
    sigset_t ignored;               /* The signals that the caller of holdfast ignored. */
    int exit_status;                /* Of the command, once it is done. */
    bool is_write;                  /* The request changes something: unanswered is EXIT_UNKNOWN. */
    void *context;                  /* The command's own. */
    char token[TOKEN_SIZE_MAX + 1]; /* Of the auth file; empty: none. */
};

/* Opens a client on a new loop. False after a message, with `exit_status` set. */
bool run_open(struct run *run, uint32_t connections);

/* Ends the client; the loop then runs out. */
void run_finish(struct run *run, int exit_status);

/* Runs the loop until nothing is left on it, and closes it. */
void run_loop(struct run *run);

/* Says what failed, why and what to do; returns the exit status. NOT_FOUND and MISMATCH are
 * answers: nothing is said. */
int run_complain(const struct run *run, const struct holdfast_result *result, const char *what);

/* A call that could not even be started: too many are under way. */
void run_refused(struct run *run, const char *what);

/* The commands. Each returns the exit status. */
int keys_run(struct run *run);
int watch_run(struct run *run);
int look_run(struct run *run);
int status_run(struct run *run);
int lock_run(struct run *run);
int observe_run(struct run *run);
int unlock_run(struct run *run);
int audit_run(struct run *run);
int dev_run(struct run *run);
int dev_restart_run(struct run *run);
int dev_add_run(struct run *run);
int member_run(struct run *run);
int member_ls_run(struct run *run);
int snapshot_save_run(struct run *run);
int bench_run(struct run *run);
int top_run(struct run *run);
int doctor_run(struct run *run);
int bind_run(struct run *run);
int txn_run(struct run *run);

#endif
