/* server/address.c: takes "host:port" apart. */
#include "server/address.h"

#include <string.h>

#include "base/assert.h"
#include "base/text.h"

enum { PORT_MAX = 65535 };

static bool is_host_byte(uint8_t byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
           (byte >= '0' && byte <= '9') || byte == '-' || byte == '.' || byte == '_';
}

/* Between brackets; a scope such as %eth0 is allowed. */
static bool is_bracketed_byte(uint8_t byte)
{
    return is_host_byte(byte) || byte == ':' || byte == '%';
}

/* The host, with its brackets taken off; false when it holds what no host can. */
static bool take_host(struct bytes host, struct bytes *bare)
{
    bool bracketed = host.size >= 2 && host.data[0] == '[' && host.data[host.size - 1] == ']';

    *bare = bracketed ? bytes_of(host.data + 1, host.size - 2) : host;
    for (size_t i = 0; i < bare->size; i++) {
        if (bracketed ? !is_bracketed_byte(bare->data[i]) : !is_host_byte(bare->data[i])) {
            return false;
        }
    }
    return bare->size > 0;
}

bool address_parse(struct bytes text, struct address *address)
{
    size_t colon = text.size;
    struct bytes host;
    uint64_t port;

    ASSERT(address != NULL);
    while (colon > 0 && text.data[colon - 1] != ':') {
        colon--;
    }
    if (colon == 0 || !text_parse_u64(bytes_skip(text, colon), &port)) {
        return false;
    }
    if (port == 0 || port > PORT_MAX || !take_host(bytes_of(text.data, colon - 1), &host)) {
        return false;
    }
    if (host.size >= sizeof(address->host)) {
        return false;
    }
    memcpy(address->host, host.data, host.size);
    address->host[host.size] = '\0';
    address->port = (uint16_t)port;
    return true;
}

bool address_is_wildcard(const struct address *address)
{
    ASSERT(address->port != 0);
    return strcmp(address->host, "0.0.0.0") == 0 || strcmp(address->host, "::") == 0;
}
