/* client/command/child.c: forks, starts, watches and ends the command. */
#define _GNU_SOURCE
#include "client/command/child.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"
#include "client/command/exit.h"

static void set_number(const char *name, uint64_t value)
{
    char digits[24];
    int size = snprintf(digits, sizeof(digits), "%" PRIu64, value);

    ASSERT(size > 0 && size < (int)sizeof(digits));
    setenv(name, digits, 1);
}

void child_name_lock(bool is_election, const char *name, uint64_t token, uint64_t deadline_wall_ms)
{
    ASSERT(name != NULL);
    /* The token is of the one alone: what an outer lock or election set must not stand beside it.
     */
    unsetenv(is_election ? "HOLDFAST_LOCK" : "HOLDFAST_ELECTION");
    setenv(is_election ? "HOLDFAST_ELECTION" : "HOLDFAST_LOCK", name, 1);
    set_number("HOLDFAST_TOKEN", token);
    set_number("HOLDFAST_DEADLINE_MS", deadline_wall_ms);
}

/* The dispositions that libuv and main() set are the parent's own. */
static void reset_signals(const sigset_t *mask, const sigset_t *ignored)
{
    for (int number = 1; number < SIGRTMIN; number++) {
        if (number != SIGKILL && number != SIGSTOP) {
            struct sigaction action;

            /* What the caller of holdfast ignores (nohup) stays ignored. */
            bool is_ours = sigaction(number, NULL, &action) == 0 &&
                           (action.sa_handler != SIG_IGN || sigismember(ignored, number) == 0);
            if (is_ours) {
                signal(number, SIG_DFL);
            }
        }
    }
    sigprocmask(SIG_SETMASK, mask, NULL);
}

static _Noreturn void child_main(const int gate[2], const sigset_t *mask, const sigset_t *ignored,
                                 char *const *arguments)
{
    char byte;
    ssize_t size;

    setpgid(0, 0);
    reset_signals(mask, ignored);
    close(gate[1]);
    do {
        size = read(gate[0], &byte, 1);
    } while (size < 0 && errno == EINTR);
    if (size != 1) {
        _exit(EXIT_CANNOT_RUN);
    }
    execvp(arguments[0], arguments);
    int error = errno;

    fprintf(stderr, "holdfast: %s: %s\n", arguments[0], strerror(error));
    _exit(error == ENOENT ? EXIT_NOT_THERE : EXIT_CANNOT_RUN);
}

/* Whatever standard input is: what asks for a password opens the terminal itself. A background job
 * of a script, known by its ignored SIGINT, must not take it from the script. */
static void give_terminal(struct child *child, const sigset_t *ignored)
{
    ASSERT(child->pid > 1);
    child->terminal_fd = open("/dev/tty", O_RDWR | O_CLOEXEC);
    if (child->terminal_fd < 0) {
        return;
    }
    child->has_terminal = sigismember(ignored, SIGINT) == 0 &&
                          tcgetpgrp(child->terminal_fd) == getpgrp() &&
                          tcsetpgrp(child->terminal_fd, child->pid) == 0;
    if (!child->has_terminal) {
        close(child->terminal_fd);
    }
}

static void take_terminal_back(struct child *child)
{
    ASSERT(child->has_terminal);
    /* From the background, where taking the terminal is answered with SIGTTOU. */
    void (*before)(int) = signal(SIGTTOU, SIG_IGN);

    tcsetpgrp(child->terminal_fd, getpgrp());
    signal(SIGTTOU, before);
    close(child->terminal_fd);
    child->has_terminal = false;
}

bool child_open(struct child *child, char *const *arguments, const sigset_t *ignored)
{
    int gate[2];
    sigset_t all;
    sigset_t mask;

    ASSERT(arguments[0] != NULL);
    if (pipe2(gate, O_CLOEXEC) != 0) {
        return false;
    }
    /* No handler of the parent may run in the child. */
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &mask);
    child->pid = fork();
    if (child->pid == 0) {
        child_main(gate, &mask, ignored, arguments);
    }
    int error = errno;

    sigprocmask(SIG_SETMASK, &mask, NULL);
    close(gate[0]);
    if (child->pid < 0) {
        child->pid = 0;
        close(gate[1]);
        errno = error;
        return false;
    }
    /* Both sides do it: whoever is first, the group is there when either goes on. */
    setpgid(child->pid, child->pid);
    child->gate_fd = gate[1];
    child->has_terminal = false;
    give_terminal(child, ignored);
    return true;
}

void child_start(struct child *child)
{
    const char byte = 1;

    ASSERT(child->pid > 0);
    ssize_t written = write(child->gate_fd, &byte, 1);
    /* Only a child that is already dead does not take it; its end is seen elsewhere. */
    ASSERT(written == 1 || errno == EPIPE);
    close(child->gate_fd);
    child->gate_fd = -1;
}

void child_signal(const struct child *child, int number)
{
    ASSERT(child->pid > 1);
    kill(-child->pid, number);
}

enum child_state child_look(const struct child *child)
{
    siginfo_t info = {.si_pid = 0};

    ASSERT(child->pid > 0);
    if (waitid(P_PID, (id_t)child->pid, &info, WEXITED | WSTOPPED | WNOHANG | WNOWAIT) != 0 ||
        info.si_pid == 0) {
        return CHILD_RUNS;
    }
    if (info.si_code == CLD_STOPPED) {
        return info.si_status == SIGTSTP ? CHILD_IS_SUSPENDED : CHILD_RUNS;
    }
    return info.si_code == CLD_EXITED || info.si_code == CLD_KILLED || info.si_code == CLD_DUMPED
               ? CHILD_HAS_ENDED
               : CHILD_RUNS;
}

int child_close(struct child *child)
{
    int status = 0;

    ASSERT(child->pid > 0);
    if (child->gate_fd >= 0) {
        close(child->gate_fd);
    }
    while (waitpid(child->pid, &status, 0) < 0 && errno == EINTR) {
    }
    child->pid = 0;
    if (child->has_terminal) {
        take_terminal_back(child);
    }
    return WIFSIGNALED(status) ? EXIT_SIGNAL_BASE + WTERMSIG(status) : WEXITSTATUS(status);
}
