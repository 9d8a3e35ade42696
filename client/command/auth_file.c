/* client/command/auth_file.c: reads the token that the command shows to nodes. */
#define _GNU_SOURCE
#include "client/command/auth_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/credentials.h"

_Static_assert((int)TOKEN_SIZE_MAX == (int)CREDENTIAL_TOKEN_SIZE_MAX, "a token fits");

struct auth_file {
    uint8_t text[CREDENTIALS_TEXT_SIZE_MAX];
    struct credentials credentials;
};

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

static bool read_token(int descriptor, const char *path, struct auth_file *file,
                       char token[TOKEN_SIZE_MAX + 1])
{
    char why[CREDENTIALS_PROBLEM_SIZE];
    const char *problem = unfit(descriptor);
    size_t size = 0;

    while (problem == NULL && size < sizeof(file->text)) {
        ssize_t taken = read(descriptor, file->text + size, sizeof(file->text) - size);

        if (taken < 0 && errno != EINTR) {
            problem = strerror(errno);
        } else if (taken == 0) {
            break;
        }
        size += taken > 0 ? (size_t)taken : 0;
    }
    if (problem == NULL && size == sizeof(file->text)) {
        problem = "too large: it needs one line `NAME TOKEN`";
    }
    if (problem == NULL &&
        !credentials_parse(&file->credentials, bytes_of(file->text, size), why)) {
        problem = why;
    }
    if (problem != NULL) {
        complain("--auth-file %s: %s", path, problem);
        return false;
    }
    const struct credential *first = &file->credentials.items[0];

    memcpy(token, first->token, first->token_size);
    token[first->token_size] = '\0';
    return true;
}

bool auth_file_token(const char *path, char token[TOKEN_SIZE_MAX + 1])
{
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    bool is_read = false;

    if (descriptor < 0) {
        complain("--auth-file %s: %s", path, strerror(errno));
        return false;
    }
    struct auth_file *file = malloc(sizeof(*file));

    if (file == NULL) {
        complain("--auth-file %s: there is no memory to read it", path);
    } else {
        is_read = read_token(descriptor, path, file, token);
        explicit_bzero(file, sizeof(*file));
        free(file);
    }
    (void)close(descriptor);
    return is_read;
}
