/* client/host.c: what the machine says: the clock, entropy, who runs us. */
#define _DEFAULT_SOURCE /* NOLINT(bugprone-reserved-identifier): the C library's own switch. */
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client/client.h"

static int64_t read_clock_ns(clockid_t id)
{
    struct timespec time;
    int failed = clock_gettime(id, &time);

    ASSERT(failed == 0);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

uint64_t host_now_ms(void)
{
    int64_t suspended_ns = read_clock_ns(CLOCK_BOOTTIME) - read_clock_ns(CLOCK_MONOTONIC);

    return (uint64_t)(read_clock_ns(CLOCK_MONOTONIC_RAW) + suspended_ns) / 1000000;
}

uint64_t host_entropy(void)
{
    uint64_t seed = 0;

    if (getentropy(&seed, sizeof seed) != 0) {
        seed = (uint64_t)read_clock_ns(CLOCK_MONOTONIC_RAW) ^ (uint64_t)getpid() << 32;
    }
    return seed;
}

static void read_command(char *command, size_t size)
{
    FILE *file = fopen("/proc/self/comm", "re");

    if (file == NULL) {
        return;
    }
    if (fgets(command, (int)size, file) != NULL) {
        command[strcspn(command, "\n")] = '\0';
    }
    (void)fclose(file);
}

/* "user@host pid N command" in printable ASCII; "?" for what is not known. */
void host_owner_label(char *label, size_t size)
{
    char memory[1024];
    char host[65] = "?";
    char command[64] = "?";
    struct passwd entry;
    struct passwd *user = NULL;

    ASSERT(size > 0);
    (void)getpwuid_r(getuid(), &entry, memory, sizeof memory, &user);
    if (gethostname(host, sizeof host - 1) == 0) {
        host[sizeof host - 1] = '\0';
    }
    read_command(command, sizeof command);
    (void)snprintf(label, size, "%s@%s pid %ld %s", user != NULL ? user->pw_name : "?", host,
                   (long)getpid(), command);
    for (char *at = label; *at != '\0'; at++) {
        if ((unsigned char)*at < ' ' || (unsigned char)*at >= 0x7f) {
            *at = '?'; /* The protocol takes UTF-8 only. */
        }
    }
}
