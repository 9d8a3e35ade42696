/* client/command/auth_file.h: the client's own token, from a file that only its user may read. */
#ifndef CLIENT_COMMAND_AUTH_FILE_H
#define CLIENT_COMMAND_AUTH_FILE_H

#include <stdbool.h>

#include "base/macros.h"
#include "client/command/run.h"

/* The first token in the file (base/credentials.h), as a text. False after a message that shows
 * nothing of it: the file cannot be read, everybody may read it, or it has no valid token. */
MUST_USE bool auth_file_token(const char *path, char token[TOKEN_SIZE_MAX + 1]);

#endif
