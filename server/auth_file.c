/* server/auth_file.c: opens the file of tokens, and refuses one that is not kept secret. */
#define _GNU_SOURCE /* NOLINT(bugprone-reserved-identifier): the C library's own switch. */
#include "server/auth_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"

static bool refuse(struct config_problem *problem, const char *path, const char *why)
{
    struct text text;

    problem->exit_status = CONFIG_EXIT_INVALID;
    text_init(&text, problem->text, sizeof(problem->text));
    text_add(&text, "--auth-file ");
    text_add(&text, path);
    text_add(&text, ": ");
    text_add(&text, why);
    return false;
}

/* What is open is what is looked at: its name may be another file's a moment later. */
static const char *unfit(int descriptor)
{
    struct stat status;

    if (fstat(descriptor, &status) != 0) {
        return strerror(errno);
    }
    if (!S_ISREG(status.st_mode)) {
        return "not a file";
    }
    if ((status.st_mode & S_IRWXO) != 0) {
        return "everybody on this machine may read or change it: take that away with chmod o=";
    }
    return NULL;
}

/* The number of bytes; at least `capacity` when there are more. -1 with errno. */
static ssize_t read_all(int descriptor, uint8_t *memory, size_t capacity)
{
    size_t size = 0;

    while (size < capacity) {
        ssize_t taken = read(descriptor, memory + size, capacity - size);

        if (taken < 0 && errno != EINTR) {
            return -1;
        }
        if (taken == 0) {
            break;
        }
        size += taken > 0 ? (size_t)taken : 0;
    }
    return (ssize_t)size;
}

static bool read_into(int descriptor, const char *path, struct credentials *credentials,
                      struct config_problem *problem)
{
    char why[CREDENTIALS_PROBLEM_SIZE];
    uint8_t *memory = malloc(CREDENTIALS_TEXT_SIZE_MAX);

    if (memory == NULL) {
        return refuse(problem, path, "there is no memory to read it");
    }
    ssize_t size = read_all(descriptor, memory, CREDENTIALS_TEXT_SIZE_MAX);
    bool is_read = false;

    if (size < 0) {
        (void)refuse(problem, path, strerror(errno));
    } else if (size == CREDENTIALS_TEXT_SIZE_MAX) {
        (void)refuse(problem, path, "too large: 64 KiB are enough for all tokens there can be");
    } else if (!credentials_parse(credentials, bytes_of(memory, (size_t)size), why)) {
        (void)refuse(problem, path, why);
    } else {
        is_read = true;
    }
    explicit_bzero(memory, CREDENTIALS_TEXT_SIZE_MAX);
    free(memory);
    return is_read;
}

bool auth_file_read(const char *path, struct credentials *credentials,
                    struct config_problem *problem)
{
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (descriptor < 0) {
        return refuse(problem, path, strerror(errno));
    }
    const char *why = unfit(descriptor);
    bool is_read = why == NULL ? read_into(descriptor, path, credentials, problem)
                               : refuse(problem, path, why);

    (void)close(descriptor);
    return is_read;
}
