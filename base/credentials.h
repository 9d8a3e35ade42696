/* base/credentials.h: a file of tokens: who may speak with a node, and who a client is.
 *
 * Each line has a name and a token, parted by spaces or tabs; empty lines and those that begin with
 * '#' count for nothing. A name may have several tokens, so that they can be changed one after the
 * other. Pure: reading the file, and refusing one that others may read, is the caller's. No message
 * about a file shows anything of a token. */
#ifndef BASE_CREDENTIALS_H
#define BASE_CREDENTIALS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/macros.h"

enum {
    CREDENTIAL_COUNT_MAX = 128,
    CREDENTIAL_NAME_SIZE_MAX = 64,
    CREDENTIAL_TOKEN_SIZE_MAX = 255, /* Of the hello (wire/messages.def). */
    CREDENTIALS_TEXT_SIZE_MAX = 1 << 16,
    CREDENTIALS_PROBLEM_SIZE = 160,
};

struct credential {
    char name[CREDENTIAL_NAME_SIZE_MAX + 1];
    uint8_t token_size;
    uint8_t token[CREDENTIAL_TOKEN_SIZE_MAX]; /* Zeros behind it. */
};

struct credentials {
    uint32_t count; /* At least 1. */
    struct credential items[CREDENTIAL_COUNT_MAX];
};

/* False with a sentence in `problem` when a line is not valid, a token stands there twice, or there
 * is none. */
MUST_USE bool credentials_parse(struct credentials *credentials, struct bytes text,
                                char problem[CREDENTIALS_PROBLEM_SIZE]);

/* Whose token that is; NULL. Takes as long for a wrong token as for a right one, wherever it
 * differs: each byte of each token is looked at. */
const struct credential *credentials_find(const struct credentials *credentials,
                                          struct bytes token);

#endif
