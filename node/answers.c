/* node/answers.c: what clients are told, encoded straight into their output. */
#include "base/assert.h"
#include "node/internal.h"

/* Room towards the connection, or the node that it came through (passing.c); NULL when nobody waits
 * there any more. A client that does not read loses its connection: its requests stay settled, its
 * output does not grow. */
static uint8_t *reserve(struct node *node, const struct origin *origin, size_t size)
{
    ASSERT_VALUES(origin->connection < node->options.connection_count_max, origin->connection,
                  size);
    const struct connection *connection = &node->connections[origin->connection];

    if (passing_is_origin(node, origin)) {
        return passing_reserve(node, origin, size);
    }
    if (connection->generation != origin->generation ||
        (connection->state != CONNECTION_CLIENT && connection->state != CONNECTION_CLIENT_NEW &&
         connection->state != CONNECTION_CLIENT_KNOWN)) {
        return NULL;
    }
    uint8_t *memory = world_reserve(node->world, origin->connection, size);

    if (memory == NULL) {
        struct line line;

        line_begin(&line, "client_dropped");
        line_add(&line, "reason", "it does not read what it is sent");
        authentication_name(node, origin->connection, &line);
        line_write_limited(node, WORLD_WARNING, &line, &node->client_lines);
        connection_drop(node, origin->connection);
    }
    return memory;
}

/* What was put into the room. */
static void commit(struct node *node, const struct origin *origin, const struct buffer *message)
{
    node->answer_count++;
    if (passing_is_origin(node, origin)) {
        passing_commit(node, origin, message);
    } else {
        world_commit(node->world, origin->connection, message->size);
    }
}

void answer_body(struct node *node, const struct origin *origin, struct bytes body)
{
    size_t capacity = WIRE_ENVELOPE_SIZE_MAX + body.size;
    uint8_t *memory = reserve(node, origin, capacity);

    if (memory == NULL) {
        return;
    }
    struct buffer out = buffer_of(memory, capacity);
    bool fits = wire_result_begin(&out, origin->rpc_id) && buffer_append(&out, body);

    ASSERT_VALUES(fits, out.size, capacity);
    commit(node, origin, &out);
}

void answer_scratch(struct node *node, const struct origin *origin, const struct buffer *message)
{
    ASSERT(message->data == node->scratch);
    if (passing_is_full(node, origin, message->size)) {
        answer_retry(node, origin, ERR_OVERLOADED, RETRY_MS_OVERLOADED);
        return;
    }
    uint8_t *memory = reserve(node, origin, message->size);

    if (memory != NULL) {
        struct buffer out = buffer_of(memory, message->size);
        bool fits = buffer_append(&out, buffer_bytes(message));

        ASSERT_VALUES(fits, out.size, out.capacity);
        commit(node, origin, &out);
    }
}

void answer_failure(struct node *node, const struct origin *origin,
                    const struct wire_failure *failure)
{
    uint8_t *memory = reserve(node, origin, FAILURE_SIZE_MAX);

    if (memory == NULL) {
        return;
    }
    struct buffer out = buffer_of(memory, FAILURE_SIZE_MAX);
    bool fits = wire_failure_response(&out, origin->rpc_id, failure);

    ASSERT_VALUES(fits, failure->code, failure->text.size);
    node->refusal_count++;
    commit(node, origin, &out);
}

void answer_error(struct node *node, const struct origin *origin, enum error error,
                  const char *text)
{
    struct wire_failure failure = {.code = (uint32_t)error, .text = bytes_of_text(text)};

    ASSERT(error != ERR_OK);
    answer_failure(node, origin, &failure);
}

void answer_retry(struct node *node, const struct origin *origin, enum error error,
                  uint32_t retry_after_ms)
{
    struct wire_failure failure = {.code = (uint32_t)error, .retry_after_ms = retry_after_ms};

    ASSERT(error != ERR_OK);
    answer_failure(node, origin, &failure);
}

bool leader_known(const struct node *node, struct bytes *name, struct bytes *client)
{
    if (node->raft == NULL || node->status.leader == 0) {
        return false;
    }
    uint32_t place = node->status.leader == node->identity.self
                         ? node->options.self
                         : place_of_id(node, node->status.leader);

    if (place == NO_PEER) {
        return false;
    }
    *name = bytes_of_text(node->peers[place].name);
    *client = bytes_of_text(node->peers[place].client);
    return true;
}

void answer_not_leader(struct node *node, const struct origin *origin)
{
    struct wire_failure failure = {.code = ERR_NOT_LEADER};

    if (node_leads(node) || !leader_known(node, &failure.leader, &failure.leader_client)) {
        /* Nobody leads that we know of, or we have only just begun to: an election is near. */
        failure.retry_after_ms = RETRY_MS_NO_LEADER;
    }
    answer_failure(node, origin, &failure);
}

void answer_not_proposed(struct node *node, const struct origin *origin, enum error error)
{
    if (error == ERR_NOT_LEADER) {
        answer_not_leader(node, origin);
    } else {
        answer_retry(node, origin, error, error == ERR_OVERLOADED ? requests_retry_ms(node) : 0);
    }
}

void answer_machine(struct node *node, const struct origin *origin,
                    const struct machine_result *result)
{
    if (result->error == ERR_OK) {
        answer_body(node, origin, result->body);
        return;
    }
    struct wire_failure failure = {0};
    struct bytes rest = result->body;

    if (wire_failure_decode(&rest, &failure) != ERR_OK || failure.code == (uint32_t)ERR_OK) {
        /* Only the code of an old failure may have been kept. */
        failure = (struct wire_failure){.code = (uint32_t)result->error};
    }
    ASSERT_VALUES(failure.code == (uint32_t)result->error, failure.code, result->error);
    answer_failure(node, origin, &failure);
}
