/* node/authentication.c: a client is who its token says, where the node has a file of tokens.
 *
 * Nothing of a token is ever written anywhere: lines and answers name the client or the reason. */
#include "base/assert.h"
#include "node/internal.h"

_Static_assert(CREDENTIAL_COUNT_MAX *CREDENTIAL_TOKEN_SIZE_MAX <= 1 << 15,
               "a hello costs tens of microseconds at most");

static void refuse(struct node *node, const struct origin *origin, const struct wire_hello *hello)
{
    struct line line;
    bool is_absent = hello->token.size == 0;

    answer_error(node, origin, ERR_AUTH,
                 is_absent ? "this node asks for a token: give --auth-file FILE, or set "
                             "HOLDFAST_AUTH_FILE"
                           : "the token is none that this node knows: look at the client's auth "
                             "file and at the node's");
    line_begin(&line, "client_refused");
    line_add(&line, "reason", is_absent ? "it has no token" : "its token is not known");
    if (hello->client.size != 0) {
        line_add_bytes(&line, "says_it_is", hello->client);
    }
    line_write_limited(node, WORLD_WARNING, &line, &node->client_lines);
    connection_drop(node, origin->connection);
}

bool authentication_take(struct node *node, const struct origin *origin,
                         const struct wire_hello *hello)
{
    const struct credentials *credentials = node->options.credentials;
    struct connection *connection = &node->connections[origin->connection];

    ASSERT(connection->state == CONNECTION_CLIENT_NEW || connection->state == CONNECTION_CLIENT);
    if (credentials != NULL) {
        const struct credential *client = credentials_find(credentials, hello->token);

        if (client == NULL) {
            refuse(node, origin, hello);
            return false;
        }
        connection->client = client;
    }
    if (connection->state == CONNECTION_CLIENT_NEW) {
        connection_move(node, origin->connection, CONNECTION_CLIENT_KNOWN);
    }
    return true;
}

void authentication_name(const struct node *node, world_connection number, struct line *line)
{
    const struct credential *client = node->connections[number].client;

    if (client != NULL) {
        line_add(line, "client", client->name);
    }
}
