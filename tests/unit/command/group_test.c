/* tests/unit/command/group_test.c: a group lives as long as one of it is no zombie. */
#define _GNU_SOURCE /* NOLINT(bugprone-reserved-identifier): the C library's own switch. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/command/group.h"

/* In the child: waits until the parent closes its end, or for a signal. */
static _Noreturn void await_end(const int gate[2])
{
    char byte;

    close(gate[1]);
    (void)!read(gate[0], &byte, 1);
    _exit(0);
}

static pid_t spawn(const int gate[2], pid_t group)
{
    pid_t pid = fork();

    if (pid == 0) {
        setpgid(0, group);
        await_end(gate);
    }
    assert_true(pid > 0);
    setpgid(pid, group);
    return pid;
}

/* Until it is a zombie; it stays one. */
static void await_zombie(pid_t pid)
{
    siginfo_t info;

    assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
}

static void zombies_do_not_live(void **state)
{
    int gate[2];

    (void)state;
    assert_int_equal(pipe(gate), 0);
    pid_t first = spawn(gate, 0);
    pid_t second = spawn(gate, first);
    assert_true(group_lives(first));

    kill(first, SIGKILL);
    await_zombie(first);
    assert_true(group_lives(first)); /* The second one. */
    kill(second, SIGKILL);
    await_zombie(second);
    assert_false(group_lives(first));
    assert_int_equal(kill(-first, 0), 0); /* Which is why that is not asked. */

    assert_int_equal(waitpid(first, NULL, 0), first);
    assert_int_equal(waitpid(second, NULL, 0), second);
    assert_false(group_lives(first));
    close(gate[0]);
    close(gate[1]);
}

static void *say_and_wait(void *context)
{
    const int *ends = context;
    char byte = 0;

    (void)!write(ends[0], &byte, 1);
    (void)!read(ends[1], &byte, 1);
    _exit(0);
}

/* In the child: its first thread ends, another one goes on. */
static _Noreturn void leave_to_a_thread(int said, int gate)
{
    static int ends[2];
    pthread_t thread;

    setpgid(0, 0);
    ends[0] = said;
    ends[1] = gate;
    if (pthread_create(&thread, NULL, say_and_wait, ends) != 0) {
        _exit(1);
    }
    pthread_exit(NULL);
}

static void a_process_lives_while_one_of_its_threads_does(void **state)
{
    int gate[2];
    int said[2];
    char byte;

    (void)state;
    assert_int_equal(pipe(gate), 0);
    assert_int_equal(pipe(said), 0);
    pid_t pid = fork();
    if (pid == 0) {
        close(gate[1]);
        leave_to_a_thread(said[1], gate[0]);
    }
    setpgid(pid, pid);
    assert_int_equal(read(said[0], &byte, 1), 1);
    assert_true(group_lives(pid));

    kill(pid, SIGKILL);
    await_zombie(pid);
    assert_false(group_lives(pid));
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    close(gate[0]);
    close(gate[1]);
    close(said[0]);
    close(said[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zombies_do_not_live),
        cmocka_unit_test(a_process_lives_while_one_of_its_threads_does),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
