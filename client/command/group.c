/* client/command/group.c: looks for members of a process group in /proc. */
#define _GNU_SOURCE
#include "client/command/group.h"

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/text.h"

/* A zombie does nothing any more, unless only its first thread has ended. */
static bool process_lives(pid_t pid)
{
    char path[32];
    char line[1024];
    char state = 0;
    long thread_count = 0;

    snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid);
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return false; /* Gone since its name was read. */
    }
    size_t size = fread(line, 1, sizeof(line) - 1, file);

    fclose(file);
    line[size] = '\0';
    /* "pid (name) state ...": the name may hold anything, but nothing behind it a bracket. */
    const char *rest = strrchr(line, ')');
    if (rest == NULL || sscanf(rest + 1,
                               " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d "
                               "%*d %ld",
                               &state, &thread_count) != 2) {
        return size != 0; /* Not understood: it is there. */
    }
    return (state != 'Z' && state != 'X') || thread_count > 1;
}

bool group_lives(pid_t group)
{
    DIR *processes = opendir("/proc");
    const struct dirent *entry;
    bool lives = false;

    ASSERT(group > 1);
    if (processes == NULL) {
        return false;
    }
    while (!lives && (entry = readdir(processes)) != NULL) {
        uint64_t pid;

        lives = text_parse_u64(bytes_of_text(entry->d_name), &pid) && pid <= INT32_MAX &&
                getpgid((pid_t)pid) == group && process_lives((pid_t)pid);
    }
    closedir(processes);
    return lives;
}
