/* server/resolve.h: addresses into socket addresses. */
#ifndef SERVER_RESOLVE_H
#define SERVER_RESOLVE_H

#include <stdbool.h>
#include <sys/socket.h>

#include "base/macros.h"
#include "server/address.h"

/* True, without asking anybody, when the host is a number. */
MUST_USE bool resolve_number(const struct address *address, struct sockaddr_storage *resolved);

/* Blocks until a name server has answered; the first answer counts. While starting only. An error
 * of libuv, or 0. */
MUST_USE int resolve_now(const struct address *address, struct sockaddr_storage *resolved);

/* Sets the port of a resolved address. */
void resolve_set_port(struct sockaddr_storage *resolved, uint16_t port);

#endif
