/* tests/support/node/fake_network.c: frames that are lost, come late, or come again. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "tests/support/node/fake_world.h"
#include "wire/frame.h"

enum { KIND_AT = 64 }; /* Of the frame's kind, see wire/frame.h. */

static bool strikes(struct fake_network *network, uint32_t ppm)
{
    return ppm != 0 && prng_below(&network->prng, 1000000) < ppm;
}

static void keep(struct fake_cluster *cluster, const struct fake_frame *like, struct bytes bytes)
{
    struct fake_network *network = &cluster->network;

    if (network->frame_count == FAKE_FRAME_COUNT_MAX) {
        return;
    }
    struct fake_frame *frame = &network->frames[network->frame_count++];

    *frame = *like;
    frame->data = malloc(bytes.size);
    frame->size = bytes.size;
    ASSERT(frame->data != NULL);
    memcpy(frame->data, bytes.data, bytes.size);
}

void fake_network_repeat(struct fake_cluster *cluster, uint32_t source, uint32_t target,
                         enum world_lane lane, struct bytes frame)
{
    const struct fake_frame kept = {
        .at_ms = cluster->now_ms + 1, .source = source, .target = target, .lane = lane};

    cluster->network.again_count++;
    keep(cluster, &kept, frame);
}

bool fake_network_sent(struct world *world, uint32_t peer, enum world_lane lane, size_t size)
{
    struct fake_cluster *cluster = world->cluster;
    struct fake_network *network = &cluster->network;
    struct fake_pipe *pipe = &world->links[peer][lane].ahead;
    struct bytes frame = bytes_of(pipe->data + pipe->size - size, size);
    struct fake_frame kept = {.source = world->place, .target = peer, .lane = lane};

    ASSERT(size >= WIRE_FRAME_HEADER_SIZE && size <= pipe->size);
    if (cluster->on_frame != NULL) {
        cluster->on_frame(cluster, world->place, peer, frame);
    }
    if (frame.data[KIND_AT] != WIRE_FRAME_RAFT) {
        return true;
    }
    if (strikes(network, network->again_ppm)) {
        network->again_count++;
        kept.at_ms = cluster->now_ms + prng_between(&network->prng, 1, network->again_ms_max);
        keep(cluster, &kept, frame);
    }
    if (strikes(network, network->loss_ppm)) {
        network->lost_count++;
        pipe->size -= size;
        return false;
    }
    if (network->frame_count < FAKE_FRAME_COUNT_MAX && strikes(network, network->late_ppm)) {
        network->late_count++;
        kept.at_ms = cluster->now_ms + prng_between(&network->prng, 1, network->late_ms_max);
        keep(cluster, &kept, frame);
        pipe->size -= size;
        return false;
    }
    return true;
}

static void deliver(struct fake_cluster *cluster, const struct fake_frame *frame)
{
    struct fake_link *link = &cluster->worlds[frame->source].links[frame->target][frame->lane];

    if (link->is_up && link->has_spoken) {
        if (cluster->on_again != NULL) {
            cluster->on_again(cluster, frame->source, frame->target,
                              bytes_of(frame->data, frame->size));
        }
        fake_pipe_write(cluster, &link->ahead, bytes_of(frame->data, frame->size));
    }
    free(frame->data);
}

void fake_network_advance(struct fake_cluster *cluster)
{
    struct fake_network *network = &cluster->network;
    uint32_t count = 0;

    for (uint32_t i = 0; i < network->frame_count; i++) {
        if (network->frames[i].at_ms <= cluster->now_ms) {
            deliver(cluster, &network->frames[i]);
        } else {
            network->frames[count++] = network->frames[i];
        }
    }
    network->frame_count = count;
}

uint64_t fake_network_due_ms(const struct fake_cluster *cluster)
{
    const struct fake_network *network = &cluster->network;
    uint64_t due_ms = UINT64_MAX;

    for (uint32_t i = 0; i < network->frame_count; i++) {
        due_ms = network->frames[i].at_ms < due_ms ? network->frames[i].at_ms : due_ms;
    }
    return due_ms;
}

void fake_network_free(struct fake_network *network)
{
    for (uint32_t i = 0; i < network->frame_count; i++) {
        free(network->frames[i].data);
    }
    network->frame_count = 0;
}
