/* client/command/main.c: the command `holdfast`. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/version.h"
#include "client/command/auth_file.h"
#include "client/command/run.h"

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
    case COMMAND_DEV_ADD:
        return dev_add_run(run);
    case COMMAND_LOCK:
    case COMMAND_ELECT:
        return lock_run(run);
    case COMMAND_ELECT_OBSERVE:
        return observe_run(run);
    case COMMAND_LOCKS:
    case COMMAND_LOCKS_SHOW:
    case COMMAND_SESSION_LS:
    case COMMAND_SESSION_END:
        return look_run(run);
    case COMMAND_UNLOCK:
        return unlock_run(run);
    case COMMAND_AUDIT:
        return audit_run(run);
    case COMMAND_PUT:
        return run->options->session ? bind_run(run) : keys_run(run);
    case COMMAND_GET:
    case COMMAND_DEL:
    case COMMAND_CAS:
    case COMMAND_LS:
        return keys_run(run);
    case COMMAND_WATCH:
        return watch_run(run);
    case COMMAND_STATUS:
        return status_run(run);
    case COMMAND_MEMBER_LS:
        return member_ls_run(run);
    case COMMAND_MEMBER_ADD:
    case COMMAND_MEMBER_REMOVE:
    case COMMAND_MEMBER_PROMOTE:
    case COMMAND_LEADER_MOVE:
        return member_run(run);
    case COMMAND_SNAPSHOT_SAVE:
        return snapshot_save_run(run);
    case COMMAND_BENCH:
        return bench_run(run);
    case COMMAND_TOP:
        return top_run(run);
    case COMMAND_DOCTOR:
        return doctor_run(run);
    case COMMAND_TXN:
        return txn_run(run);
    case COMMAND_HELP:
        return help(run->options);
    case COMMAND_VERSION:
        puts("holdfast " HOLDFAST_VERSION);
        return fflush(stdout) == 0 ? EXIT_DONE : EXIT_REFUSED;
    }
    UNREACHABLE();
}

/* A standard descriptor that the caller closed would become a socket or a pipe of ours, and get
 * what is meant for it. One that is there and serves for nothing keeps its place: reading standard
 * input and writing the others fails as before. */
static bool fill_standard_descriptors(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        int flags = fd == STDIN_FILENO ? O_WRONLY : O_RDONLY;
        bool is_there = fcntl(fd, F_GETFD) >= 0 || errno != EBADF;

        /* The lowest free number is this one: those below are there. */
        if (!is_there && open("/dev/null", flags) != fd) {
            return false;
        }
    }
    return true;
}

/* Of the caller: before any of it is changed. */
static void find_ignored_signals(sigset_t *ignored)
{
    sigemptyset(ignored);
    for (int number = 1; number < SIGRTMIN; number++) {
        struct sigaction action;

        if (sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN) {
            int failed = sigaddset(ignored, number);

            ASSERT(failed == 0);
        }
    }
}

static bool find_token(struct run *run, struct options *options)
{
    bool needs_none = options->command == COMMAND_HELP || options->command == COMMAND_VERSION;

    if (options->auth_file == NULL) {
        options->auth_file = getenv("HOLDFAST_AUTH_FILE");
    } else if (options->command == COMMAND_DEV) {
        setenv("HOLDFAST_AUTH_FILE", options->auth_file, 1); /* For the nodes. */
    }
    return needs_none || options->auth_file == NULL ||
           auth_file_token(options->auth_file, run->token);
}

int main(int argc, char **argv)
{
    struct options options;
    struct options_problem problem;
    struct run run = {.options = &options};

    if (!fill_standard_descriptors()) {
        return EXIT_REFUSED;
    }
    find_ignored_signals(&run.ignored);
    if (argc < 1 || !options_parse(&options, argv + 1, getenv("HOLDFAST_ENDPOINTS"), &problem)) {
        complain("%s", problem.text);
        return problem.exit_status;
    }
    /* A node that closes its connection, or a reader of our output that is gone, is an error of
     * that write and not the end of this process: it may be holding a lock. */
    signal(SIGPIPE, SIG_IGN);
    if (!find_token(&run, &options)) {
        return EXIT_CONFIGURATION;
    }
    output_open(&run.output);
    int exit_status = dispatch(&run);

    if (!output_close(&run.output) && exit_status == EXIT_DONE) {
        exit_status = EXIT_REFUSED;
    }
    return exit_status;
}
