/* client/command/run.c: a loop with a client on it, and what every command does the same way. */
#define _GNU_SOURCE
#include "client/command/run.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/assert.h"

bool run_open(struct run *run, uint32_t connections)
{
    const struct holdfast_options options = {.endpoints = run->options->endpoints,
                                             .name = "holdfast",
                                             .timeout_ms = (uint32_t)run->options->timeout_ms,
                                             .token = run->token,
                                             .connections = connections};
    int error = uv_loop_init(&run->loop);

    ASSERT(options.endpoints != NULL);
    if (error != 0) {
        complain("no event loop: %s", uv_strerror(error));
        run->exit_status = EXIT_REFUSED;
        return false;
    }
    enum holdfast_status status = holdfast_open_on_loop(&run->client, &options, &run->loop);
    if (status != HOLDFAST_OK) {
        if (status == HOLDFAST_MALFORMED) {
            complain("endpoints %s: not a list of the form host:port,host:port", options.endpoints);
        } else {
            complain("there is no memory or descriptor for a client; close something, and try "
                     "again");
        }
        run->exit_status = status == HOLDFAST_MALFORMED ? EXIT_USAGE : EXIT_REFUSED;
        run->client = NULL;
        run_loop(run);
        return false;
    }
    return true;
}

void run_finish(struct run *run, int exit_status)
{
    ASSERT(run->client != NULL);
    run->exit_status = exit_status;
    holdfast_close(run->client, NULL, NULL);
    run->client = NULL;
}

void run_loop(struct run *run)
{
    uv_run(&run->loop, UV_RUN_DEFAULT);
    int error = uv_loop_close(&run->loop);
    ASSERT(error == 0);
}

int run_complain(const struct run *run, const struct holdfast_result *result, const char *what)
{
    int exit_status = exit_of_result(result, run->is_write);
    const char *advice = exit_advice(result->status);
    char extra[96] = "";

    ASSERT(result->status != HOLDFAST_OK);
    if (exit_status == EXIT_NO) {
        return exit_status;
    }
    if (result->status == HOLDFAST_TTL_TOO_SHORT) {
        snprintf(extra, sizeof(extra), " (the least is %" PRIu32 "ms)", result->floor_ms);
    } else if (result->retry_after_ms != 0) {
        snprintf(extra, sizeof(extra), " (again in %" PRIu32 "ms)", result->retry_after_ms);
    } else if (exit_status == EXIT_NO_QUORUM) {
        snprintf(extra, sizeof(extra), " (within %" PRIu64 "ms)", run->options->timeout_ms);
    }
    if (exit_status == EXIT_UNKNOWN) {
        advice = "it may be applied: read it back before trying again";
    }
    complain("%s: %s%s%s%s", what, result->text, extra, advice[0] == '\0' ? "" : "; ", advice);
    return exit_status;
}

void run_refused(struct run *run, const char *what)
{
    ASSERT(run->client != NULL);
    complain("%s: too many calls at once; try again later", what);
    run_finish(run, EXIT_REFUSED);
}
