/* tests/support/raft/cluster_check.c: what must hold between members (Raft figure 3). */
#include "base/assert.h"
#include "base/checksum.h"
#include "raft/internal.h"
#include "tests/support/raft/cluster.h"

/* Log matching: the same index and term mean the same entry and the same log before it. */
static void note_sighting(struct cluster *cluster, raft_index index, raft_term term, uint64_t chain)
{
    uint64_t slot = (index * 2654435761U) ^ (term * 40503U);

    for (uint32_t i = 0; i < CLUSTER_SIGHTING_MAX; i++) {
        struct cluster_sighting *sighting =
            &cluster->sightings[(slot + i) & (CLUSTER_SIGHTING_MAX - 1)];
        if (sighting->index == 0) {
            *sighting = (struct cluster_sighting){.index = index, .term = term, .chain = chain};
            return;
        }
        if (sighting->index == index && sighting->term == term) {
            ASSERT_VALUES(sighting->chain == chain, index, term);
            return;
        }
    }
    UNREACHABLE();
}

static void note_configuration(struct cluster *cluster, const struct raft_entry *entry)
{
    if (entry->kind != RAFT_ENTRY_CONFIGURATION) {
        return;
    }
    for (uint32_t i = 0; i < cluster->configuration_count; i++) {
        const struct cluster_configuration *known = &cluster->configurations[i];
        if (known->configuration.index == entry->index && known->term == entry->term) {
            return; /* Equal, or the sighting above would have said so. */
        }
    }
    ASSERT(cluster->configuration_count < CLUSTER_CONFIGURATION_MAX);
    struct cluster_configuration *noted = &cluster->configurations[cluster->configuration_count];
    cluster->configuration_count += 1;
    noted->term = entry->term;
    bool is_valid = raft_configuration_decode(entry->payload, &noted->configuration);
    ASSERT(is_valid);
    cluster->counters.joint += raft_configuration_is_joint(&noted->configuration);
}

void cluster_check_unit(struct cluster *cluster, struct cluster_node *node,
                        const struct raft_effects *effects)
{
    struct bytes rest = effects->append_first;
    struct bytes second = effects->append_second;
    raft_index index = effects->append_first_index;

    if (index == 0) {
        ASSERT(effects->append_count == 0);
        return;
    }
    ASSERT_VALUES(index <= node->last_index + 1, index, node->last_index);
    ASSERT_VALUES(index > node->commit_index || index > node->disk.last_index, index,
                  node->commit_index);
    cluster->counters.truncations += index <= node->last_index;
    for (uint32_t i = 0; i < effects->append_count; i++, index++) {
        struct raft_entry entry;
        if (rest.size == 0) {
            rest = second;
        }
        struct bytes whole = rest;
        bool is_whole = raft_entry_next(&rest, &entry);
        ASSERT(is_whole);
        ASSERT_VALUES(entry.index == index, entry.index, index);
        ASSERT(index <= CLUSTER_LOG_MAX);
        ASSERT(entry.term >= node->terms[index - 1]);
        node->chains[index] =
            checksum(bytes_of(whole.data, whole.size - rest.size), node->chains[index - 1]);
        node->terms[index] = entry.term;
        note_configuration(cluster, &entry);
        note_sighting(cluster, index, entry.term, node->chains[index]);
    }
    node->last_index = index - 1;
}

/* What leaves must already be true of the sender's disk. */
void cluster_check_message(struct cluster *cluster, const struct cluster_node *node,
                           const struct raft_message *message)
{
    const struct cluster_disk *disk = &node->disk;

    (void)cluster;
    ASSERT(message->source == node->id);
    if (message->kind == RAFT_VOTE_REQUEST && message->vote_request.pre) {
        return;
    }
    ASSERT_VALUES(message->term <= disk->hard_state.term, message->term, disk->hard_state.term);
    bool is_present = message->term == disk->hard_state.term;
    if (message->kind == RAFT_VOTE_REQUEST && is_present) {
        ASSERT(disk->hard_state.vote == node->id);
    }
    if (message->kind == RAFT_VOTE_REPLY && !message->vote_reply.pre &&
        message->vote_reply.granted && is_present) {
        ASSERT(disk->hard_state.vote == message->target);
    }
    if (message->kind == RAFT_APPEND_REPLY && message->append_reply.success && is_present) {
        ASSERT_VALUES(message->append_reply.match_index <= disk->last_index,
                      message->append_reply.match_index, disk->last_index);
    }
}

/* Election safety and leader completeness. */
static void check_leader(struct cluster *cluster, struct cluster_node *node,
                         const struct raft_status *status)
{
    if (status->role != RAFT_LEADER) {
        return;
    }
    ASSERT(status->term < CLUSTER_TERM_MAX);
    raft_id *leader = &cluster->leaders[status->term];
    if (*leader == 0) {
        *leader = node->id;
        cluster->counters.elections += 1;
        /* Votes can be late: a leader need not have what was committed in a later term. */
        raft_index index = cluster->commit_index;
        while (index > 0 && cluster->committed_in[index] >= status->term) {
            index -= 1;
        }
        ASSERT_VALUES(node->last_index >= index, node->last_index, index);
        if (index >= status->base_index) {
            ASSERT_VALUES(node->chains[index] == cluster->committed[index], index, status->term);
        }
    }
    ASSERT_VALUES(*leader == node->id, *leader, node->id);
}

/* State machine safety: what one has committed at an index, all have, for ever. */
static void check_commit(struct cluster *cluster, struct cluster_node *node,
                         raft_index commit_index)
{
    ASSERT_VALUES(commit_index >= node->commit_index, commit_index, node->commit_index);
    ASSERT_VALUES(commit_index <= node->last_index, commit_index, node->last_index);
    for (raft_index i = node->commit_index + 1; i <= commit_index; i++) {
        if (i > cluster->commit_index) {
            cluster->commit_index = i;
            cluster->committed[i] = node->chains[i];
            cluster->committed_in[i] = node->term;
            cluster->committed_term[i] = node->terms[i];
            cluster->counters.commits += 1;
        }
        ASSERT_VALUES(cluster->committed[i] == node->chains[i], i, node->id);
    }
    node->commit_index = commit_index;
    ASSERT_VALUES(node->chains[commit_index] == cluster->committed[commit_index], commit_index,
                  node->id);
}

void cluster_check_node(struct cluster *cluster, struct cluster_node *node)
{
    struct raft_status status = raft_status(node->raft);

    raft_check(node->raft);
    ASSERT_VALUES(status.term >= node->term, status.term, node->term);
    ASSERT_VALUES(status.durable_index <= node->disk.last_index, status.durable_index,
                  node->disk.last_index);
    ASSERT_VALUES(status.base_index == node->disk.base.index, status.base_index,
                  node->disk.base.index);
    node->term = status.term;
    node->role = status.role;
    check_leader(cluster, node, &status);
    check_commit(cluster, node, status.commit_index);
}

/* Linearizable: a read sees every write that anybody knew committed when it was asked. */
void cluster_check_read(struct cluster *cluster, const struct raft_read_ready *ready)
{
    ASSERT(ready->id < cluster->read_count);
    ASSERT(!cluster->read_done[ready->id]);
    cluster->read_done[ready->id] = true;
    if (ready->error != ERR_OK) {
        ASSERT(ready->error == ERR_NOT_LEADER);
        cluster->counters.reads_failed += 1;
        return;
    }
    cluster->counters.reads_ok += 1;
    ASSERT_VALUES(ready->index >= cluster->read_floor[ready->id], ready->index,
                  cluster->read_floor[ready->id]);
}

/* The log of a node that has installed a snapshot begins with what is committed, and goes on with
 * what it had if that follows from it. */
void cluster_check_installed(struct cluster *cluster, struct cluster_node *node,
                             const struct raft_base *base)
{
    struct raft_status status = raft_status(node->raft);

    ASSERT_VALUES(status.commit_index >= base->index, status.commit_index, base->index);
    ASSERT_VALUES(status.base_index == base->index, status.base_index, base->index);
    if (status.last_index > base->index) {
        ASSERT_VALUES(node->chains[base->index] == cluster->committed[base->index], base->index,
                      node->id);
    }
    node->chains[base->index] = cluster->committed[base->index];
    node->terms[base->index] = base->term;
    node->last_index = status.last_index;
    node->commit_index = base->index;
    node->applied_index = base->index;
    raft_check(node->raft);
}
