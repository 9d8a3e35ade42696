/* tests/support/node/fake_peer.c: frames in the name of a member. */
#include <string.h>

#include "base/assert.h"
#include "node/identity.h"
#include "tests/support/log/memory_disk.h"
#include "tests/support/node/fake_world.h"
#include "wire/frame.h"

enum { FRAME_SIZE_MAX = 4096 };

static struct identity identity_of(struct fake_cluster *cluster, uint32_t place)
{
    struct bytes file = memory_disk_file(cluster->worlds[place].disk, "identity");
    struct identity identity = {0};
    enum error error = identity_decode(file, &identity);

    ASSERT_VALUES(error == ERR_OK, error, place);
    return identity;
}

static void send(struct fake_cluster *cluster, uint32_t source, uint32_t target,
                 struct buffer *frame)
{
    struct fake_link *link = &cluster->worlds[source].links[target][WORLD_LANE_FAST];

    ASSERT_VALUES(link->is_up, source, target);
    fake_pipe_write(cluster, &link->ahead, buffer_bytes(frame));
}

static struct wire_frame frame_of(const struct identity *identity, enum wire_frame_kind kind)
{
    struct wire_frame frame = {
        .incarnation = identity->incarnation, .source = identity->self, .kind = kind};

    memcpy(frame.cluster, identity->cluster, IDENTITY_CLUSTER_SIZE);
    return frame;
}

void fake_send_frame(struct fake_cluster *cluster, uint32_t source, uint32_t target,
                     const struct wire_frame *frame)
{
    uint8_t memory[FRAME_SIZE_MAX];
    struct buffer out = buffer_of(memory, sizeof(memory));
    size_t start = 0;
    bool fits = wire_frame_begin(&out, frame, &start) && buffer_append(&out, frame->body);

    ASSERT_VALUES(fits, out.size, out.capacity);
    wire_frame_end(&out, start);
    send(cluster, source, target, &out);
}

void fake_send_raft(struct fake_cluster *cluster, uint32_t source, uint32_t target,
                    struct raft_message message, uint64_t log_ms)
{
    struct identity identity = identity_of(cluster, source);
    struct wire_frame frame = frame_of(&identity, WIRE_FRAME_RAFT);
    uint8_t memory[FRAME_SIZE_MAX];
    struct buffer out = buffer_of(memory, sizeof(memory));
    size_t start = 0;

    ASSERT(identity.formed);
    frame.log_ms = log_ms;
    message.source = identity.self;
    message.target = identity_of(cluster, target).self;
    bool fits = wire_frame_begin(&out, &frame, &start) && wire_raft_encode(&message, &out);

    ASSERT_VALUES(fits, out.size, out.capacity);
    wire_frame_end(&out, start);
    send(cluster, source, target, &out);
}

void fake_send_form(struct fake_cluster *cluster, uint32_t source, uint32_t target,
                    const struct wire_peer_form *form)
{
    struct identity identity = identity_of(cluster, source);
    struct wire_frame frame = frame_of(&identity, WIRE_FRAME_FORM);
    uint8_t memory[FRAME_SIZE_MAX];
    struct buffer out = buffer_of(memory, sizeof(memory));
    size_t start = 0;

    memcpy(frame.cluster, form->cluster.data, IDENTITY_CLUSTER_SIZE); /* Saved before it is sent. */
    bool fits = wire_frame_begin(&out, &frame, &start) && wire_peer_form_encode(form, &out);

    ASSERT_VALUES(fits, out.size, out.capacity);
    wire_frame_end(&out, start);
    send(cluster, source, target, &out);
}
