/* server/resolve.c: numbers are read here, names are asked for. */
#define _GNU_SOURCE /* NOLINT(bugprone-reserved-identifier): the C library's own switch. */
#include "server/resolve.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <uv.h>

#include "base/assert.h"

bool resolve_number(const struct address *address, struct sockaddr_storage *resolved)
{
    memset(resolved, 0, sizeof(*resolved));
    return uv_ip4_addr(address->host, address->port, (struct sockaddr_in *)resolved) == 0 ||
           uv_ip6_addr(address->host, address->port, (struct sockaddr_in6 *)resolved) == 0;
}

void resolve_set_port(struct sockaddr_storage *resolved, uint16_t port)
{
    if (resolved->ss_family == AF_INET6) {
        ((struct sockaddr_in6 *)resolved)->sin6_port = htons(port);
    } else {
        ((struct sockaddr_in *)resolved)->sin_port = htons(port);
    }
}

int resolve_now(const struct address *address, struct sockaddr_storage *resolved)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;

    if (resolve_number(address, resolved)) {
        return 0;
    }
    if (getaddrinfo(address->host, NULL, &hints, &found) != 0 || found == NULL) {
        return UV_EAI_NONAME;
    }
    ASSERT(found->ai_addrlen <= sizeof(*resolved));
    memcpy(resolved, found->ai_addr, found->ai_addrlen);
    resolve_set_port(resolved, address->port);
    freeaddrinfo(found);
    return 0;
}
