/* tests/support/base/death.c: a child process, its stderr through a pipe, its end awaited. */
#include "tests/support/base/death.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"

_Noreturn static void run_child(void (*act)(void), int output)
{
    const struct rlimit no_core = {.rlim_cur = 0, .rlim_max = 0};

    /* An abort that is wanted leaves no core file and runs no handler of the test library. */
    (void)setrlimit(RLIMIT_CORE, &no_core);
    (void)signal(SIGABRT, SIG_DFL);
    if (dup2(output, STDERR_FILENO) >= 0) {
        act();
    }
    _exit(0);
}

/* Reads to the end of the file; what does not fit is dropped. */
static void read_all(int input, char *text, size_t capacity)
{
    size_t size = 0;
    char dropped[256];

    for (;;) {
        bool full = size + 1 == capacity;
        ssize_t got = full ? read(input, dropped, sizeof(dropped))
                           : read(input, text + size, capacity - 1 - size);
        if (got > 0) {
            size += full ? 0 : (size_t)got;
        } else if (got == 0 || errno != EINTR) {
            break;
        }
    }
    text[size] = '\0';
}

bool dies(void (*act)(void), const char *message)
{
    int ends[2];
    char output[4096];
    int status;

    ASSERT(pipe(ends) == 0);
    pid_t child = fork();
    ASSERT(child >= 0);
    if (child == 0) {
        run_child(act, ends[1]);
    }
    (void)close(ends[1]);
    read_all(ends[0], output, sizeof(output));
    (void)close(ends[0]);
    while (waitpid(child, &status, 0) < 0) {
        ASSERT(errno == EINTR);
    }
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT && strstr(output, message) != NULL) {
        return true;
    }
    (void)fprintf(stderr, "expected an abort with \"%s\", got status %d: %s\n", message, status,
                  output);
    return false;
}
