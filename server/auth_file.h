/* server/auth_file.h: the file of tokens, read once at the start. */
#ifndef SERVER_AUTH_FILE_H
#define SERVER_AUTH_FILE_H

#include <stdbool.h>

#include "base/credentials.h"
#include "base/macros.h"
#include "server/config.h"

/* False with `*problem` when it cannot be read, others may read or change it, or what is in it is
 * not valid. Nothing of a token is in the problem. */
MUST_USE bool auth_file_read(const char *path, struct credentials *credentials,
                             struct config_problem *problem);

#endif
