/* server/address.h: "host:port" and "[ipv6]:port". */
#ifndef SERVER_ADDRESS_H
#define SERVER_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/macros.h"

enum { ADDRESS_HOST_SIZE = 128 }; /* With the final zero. */

struct address {
    char host[ADDRESS_HOST_SIZE]; /* Without brackets. */
    uint16_t port;                /* Never 0. */
};

/* False when it is not of that form; it is not asked whether the host exists. */
MUST_USE bool address_parse(struct bytes text, struct address *address);

/* 0.0.0.0 or ::, on which one can listen but which nobody can dial. */
bool address_is_wildcard(const struct address *address);

#endif
