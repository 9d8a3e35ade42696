/* client/command/main.c: the command `holdfast`. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "client/command/run.h"
#include "client/command/session_end.h"

#define VERSION_TEXT "0.1.0"

enum { HELP_SIZE_MAX = 8192 };

static int help(const struct options *options)
{
    char memory[HELP_SIZE_MAX];
    struct text text;
    const char *word = options->operand_count == 0 ? NULL : options->operands[0];

    text_init(&text, memory, sizeof(memory));
    if (!options_help(word, &text)) {
        complain("there is no command %s; see holdfast help", word);
        return EXIT_USAGE;
    }
    ASSERT(!text.truncated);
    fputs(memory, stdout);
    return fflush(stdout) == 0 ? EXIT_DONE : EXIT_REFUSED;
}

static int dispatch(struct run *run)
{
    switch (run->options->command) {
    case COMMAND_DEV:
        return dev_run(run);
    case COMMAND_DEV_RESTART:
        return dev_restart_run(run);
    case COMMAND_LOCK:
        return lock_run(run);
    case COMMAND_LOCKS:
    case COMMAND_LOCKS_SHOW:
    case COMMAND_SESSION_LS:
        return look_run(run);
    case COMMAND_SESSION_END:
        return session_end_run(run);
    case COMMAND_PUT:
    case COMMAND_GET:
    case COMMAND_DEL:
    case COMMAND_CAS:
    case COMMAND_LS:
        return keys_run(run);
    case COMMAND_STATUS:
        return status_run(run);
    case COMMAND_BENCH:
        return bench_run(run);
    case COMMAND_HELP:
        return help(run->options);
    case COMMAND_VERSION:
        puts("holdfast " VERSION_TEXT);
        return fflush(stdout) == 0 ? EXIT_DONE : EXIT_REFUSED;
    }
    UNREACHABLE();
}

int main(int argc, char **argv)
{
    struct options options;
    struct options_problem problem;
    struct run run = {.options = &options};

    if (argc < 1 || !options_parse(&options, argv + 1, getenv("HOLDFAST_ENDPOINTS"), &problem)) {
        complain("%s", problem.text);
        return problem.exit_status;
    }
    /* A node that closes its connection, or a reader of our output that is gone, is an error of
     * that write and not the end of this process: it may be holding a lock. */
    signal(SIGPIPE, SIG_IGN);
    output_open(&run.output);
    int exit_status = dispatch(&run);

    if (!output_close(&run.output) && exit_status == EXIT_DONE) {
        exit_status = EXIT_REFUSED;
    }
    return exit_status;
}
