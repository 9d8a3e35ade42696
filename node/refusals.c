/* node/refusals.c: peers that are turned away, and what we are told when we are. */
#include "base/assert.h"
#include "node/internal.h"

static void log_refusal(struct node *node, world_connection number, enum error error,
                        const char *text)
{
    const struct connection *connection = &node->connections[number];
    struct line line;

    line_begin(&line, "peer_refused");
    if (connection->peer != NO_PEER) {
        line_add(&line, "peer", node->peers[connection->peer].name);
    }
    line_add(&line, "reason", error_name(error));
    line_add(&line, "text", text);
    line_write_limited(node, WORLD_WARNING, &line, &node->peer_lines);
}

/* One frame that says why, as far as the sender speaks our protocol at all, then the end. */
void refuse_peer(struct node *node, world_connection number, enum error error, const char *text)
{
    ASSERT(error != ERR_OK);
    log_refusal(node, number, error, text);
    uint8_t *memory = world_reserve(node->world, number, HELLO_SIZE_MAX);

    if (memory != NULL) {
        struct wire_frame frame = {
            .incarnation = node->identity.incarnation,
            .source = node->identity.self,
            .log_ms = cluster_time_now(&node->time),
            .lamport = ++node->lamport,
            .kind = WIRE_FRAME_REFUSE,
        };
        const struct wire_peer_refuse refuse = {
            .code = (uint32_t)error,
            .text = bytes_of_text(text),
        };
        struct buffer out = buffer_of(memory, HELLO_SIZE_MAX);
        size_t start = 0;

        memcpy(frame.cluster, node->identity.cluster, IDENTITY_CLUSTER_SIZE);
        bool fits =
            wire_frame_begin(&out, &frame, &start) && wire_peer_refuse_encode(&refuse, &out);
        ASSERT_VALUES(fits, out.size, out.capacity);
        wire_frame_end(&out, start);
        world_commit(node->world, number, out.size);
    }
    connection_drop(node, number);
}

void refusals_heard(struct node *node, struct node_event *event)
{
    struct bytes rest = event->data;
    struct wire_frame frame;
    struct wire_peer_refuse refuse;
    enum error error = wire_frame_next(&rest, &frame);

    ASSERT_VALUES(event->peer < NODE_PEER_COUNT_MAX, event->peer, error);
    if (error == ERR_INCOMPLETE) {
        event->consumed = 0;
        return;
    }
    event->consumed = event->data.size;
    if (error != ERR_OK || frame.kind != WIRE_FRAME_REFUSE ||
        wire_peer_refuse_decode(&frame.body, &refuse) != ERR_OK) {
        refuse = (struct wire_peer_refuse){.code = ERR_MALFORMED,
                                           .text = bytes_of_text("its answer makes no sense")};
    }
    struct line line;

    line_begin(&line, "refused_by_peer");
    line_add(&line, "peer", node->peers[event->peer].name);
    line_add(&line, "reason", error_name((enum error)refuse.code));
    line_add_bytes(&line, "text", refuse.text);
    line_write_limited(node, WORLD_WARNING, &line, &node->refusal_lines);
    if (refuse.code == (uint32_t)ERR_REMOVED && node->identity.formed && error == ERR_OK &&
        memcmp(frame.cluster, node->identity.cluster, IDENTITY_CLUSTER_SIZE) == 0) {
        members_note_removal(node);
    }
}
