/* client/command/child.c: forks, starts, watches and ends the command. */
#define _GNU_SOURCE
#include "client/command/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"
#include "client/command/exit.h"

/* The dispositions that libuv and main() set are the parent's own. */
static void reset_signals(const sigset_t *mask)
{
    for (int number = 1; number < SIGRTMIN; number++) {
        if (number != SIGKILL && number != SIGSTOP) {
            struct sigaction action;

            /* What the caller of holdfast ignores (nohup) stays ignored. */
            bool is_ours = sigaction(number, NULL, &action) == 0 &&
                           (action.sa_handler != SIG_IGN || number == SIGPIPE);
            if (is_ours) {
                signal(number, SIG_DFL);
            }
        }
    }
    sigprocmask(SIG_SETMASK, mask, NULL);
}

static _Noreturn void child_main(const int gate[2], const sigset_t *mask, char *const *arguments)
{
    char byte;
    ssize_t size;

    setpgid(0, 0);
    reset_signals(mask);
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

bool child_open(struct child *child, char *const *arguments)
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
        child_main(gate, &mask, arguments);
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
    child->has_terminal = isatty(STDIN_FILENO) == 1 && tcgetpgrp(STDIN_FILENO) == getpgrp() &&
                          tcsetpgrp(STDIN_FILENO, child->pid) == 0;
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
        /* From the background, where taking the terminal is answered with SIGTTOU. */
        void (*before)(int) = signal(SIGTTOU, SIG_IGN);

        tcsetpgrp(STDIN_FILENO, getpgrp());
        signal(SIGTTOU, before);
    }
    return WIFSIGNALED(status) ? EXIT_SIGNAL_BASE + WTERMSIG(status) : WEXITSTATUS(status);
}
