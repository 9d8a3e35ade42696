/* tests/support/raft/cluster_change.c: members come and go, logs lose their beginning, snapshots
 * travel, leadership is handed over. */
#include <string.h>

#include "base/assert.h"
#include "tests/support/raft/cluster.h"

enum { STAGE_FIRST, STAGE_LAST, STAGE_TOLD };

const struct raft_configuration *cluster_configuration_at(const struct cluster *cluster,
                                                          raft_index index)
{
    const struct raft_configuration *best = &cluster->configurations[0].configuration;

    for (uint32_t i = 1; i < cluster->configuration_count; i++) {
        const struct cluster_configuration *one = &cluster->configurations[i];
        raft_index at = one->configuration.index;
        if (at <= index && at <= cluster->commit_index && at > best->index &&
            cluster->committed_term[at] == one->term) {
            best = &one->configuration;
        }
    }
    return best;
}

/* --- Changes of members ------------------------------------------------------------------------
 */

static raft_id any_id(struct cluster *cluster)
{
    return cluster->nodes[prng_below(&cluster->prng, cluster->node_count)].id;
}

void cluster_reconfigure(struct cluster *cluster, uint32_t at)
{
    struct cluster_node *node = &cluster->nodes[at];
    uint8_t context[4];
    raft_index index = 0;

    if (!cluster_is_awake(cluster, node) || node->last_index >= CLUSTER_LOG_MAX - 100 ||
        cluster->configuration_count + 16 > CLUSTER_CONFIGURATION_MAX) {
        return;
    }
    store_u32(context, (uint32_t)prng_next(&cluster->prng));
    struct raft_change change = {
        .kind = (enum raft_change_kind)prng_below(&cluster->prng, RAFT_CHANGE_CONTEXT + 1),
        .id = any_id(cluster),
        .promote = prng_below(&cluster->prng, 4) != 0,
        .context = bytes_of(context, prng_below(&cluster->prng, sizeof(context) + 1)),
    };
    if (prng_below(&cluster->prng, 3) == 0 && change.promote) {
        change.replaces = any_id(cluster);
    }
    enum raft_verdict verdict =
        raft_reconfigure(node->raft, &change, cluster_clock(cluster, node), &index);
    cluster->counters.changes += verdict == RAFT_ACCEPTED;
    cluster_settle(cluster, node);
}

void cluster_replace_removed(struct cluster *cluster, uint32_t at)
{
    struct cluster_node *node = &cluster->nodes[at];
    bool was_member = false;

    for (uint32_t i = 0; i < cluster->configuration_count; i++) {
        /* Also where it is in a configuration that may still be committed. */
        const struct raft_configuration *one = &cluster->configurations[i].configuration;
        bool has_it = raft_configuration_find(one, node->id) != NULL;
        if (has_it && one->index > cluster->commit_index) {
            return;
        }
        was_member = was_member || has_it;
    }
    const struct raft_configuration *newest =
        cluster_configuration_at(cluster, cluster->commit_index);
    if (!was_member || raft_configuration_find(newest, node->id) != NULL) {
        return;
    }
    void *memory = node->memory;
    memset(node, 0, sizeof(*node));
    node->memory = memory;
    node->id = cluster->id_next;
    cluster->id_next += 1;
    cluster->counters.removals += 1;
    cluster_start(cluster, node);
}

void cluster_transfer(struct cluster *cluster, uint32_t at)
{
    struct cluster_node *node = &cluster->nodes[at];

    if (!cluster_is_awake(cluster, node)) {
        return;
    }
    enum raft_verdict verdict =
        raft_transfer(node->raft, any_id(cluster), cluster_clock(cluster, node));
    cluster->counters.transfers += verdict == RAFT_ACCEPTED;
    cluster_settle(cluster, node);
}

void cluster_stall(struct cluster *cluster, uint32_t at)
{
    struct cluster_node *node = &cluster->nodes[at];

    if (cluster_is_awake(cluster, node)) {
        raft_disk_stalled(node->raft, cluster_clock(cluster, node));
        cluster->counters.stalls += raft_status(node->raft).disk_is_stalled;
        cluster_settle(cluster, node);
    }
}

/* --- The log's beginning -----------------------------------------------------------------------
 */

static void forget_records(struct cluster_disk *disk)
{
    for (raft_index i = 1; i <= disk->base.index; i++) {
        disk->records[i].size = 0;
    }
}

void cluster_compact(struct cluster *cluster, uint32_t at)
{
    struct cluster_node *node = &cluster->nodes[at];
    struct cluster_disk *disk = &node->disk;

    if (!cluster_is_awake(cluster, node)) {
        return;
    }
    raft_index limit = node->applied_index;
    raft_index durable = raft_status(node->raft).durable_index;
    raft_index wanted = raft_wanted_index(node->raft);
    limit = durable < limit ? durable : limit;
    if (wanted <= limit && prng_below(&cluster->prng, 4) != 0) {
        limit = wanted - 1;
    }
    if (limit <= disk->base.index) {
        return;
    }
    raft_index index = prng_between(&cluster->prng, disk->base.index + 1, limit);
    disk->base = (struct raft_base){
        .index = index,
        .term = node->terms[index],
        .configuration = *cluster_configuration_at(cluster, index),
    };
    forget_records(disk);
    raft_compacted(node->raft, index, disk->base.term);
    cluster->counters.compactions += 1;
    cluster_settle(cluster, node);
}

/* --- Snapshots ---------------------------------------------------------------------------------
 */

static void move_on(struct cluster *cluster, struct cluster_sending *sending, uint32_t stage)
{
    sending->stage = stage;
    sending->due_ms =
        cluster->now_ms + 1 + prng_below(&cluster->prng, 2 * cluster->faults.delay_ms_max + 20);
}

static void begin_sending(struct cluster *cluster, const struct cluster_node *node, raft_id target)
{
    bool is_under_way = cluster->sending_count == CLUSTER_SENDING_MAX;

    for (uint32_t i = 0; i < cluster->sending_count; i++) {
        is_under_way = is_under_way || (cluster->sendings[i].source == node->id &&
                                        cluster->sendings[i].target == target);
    }
    if (is_under_way) {
        return;
    }
    struct cluster_sending *sending = &cluster->sendings[cluster->sending_count];
    cluster->sending_count += 1;
    *sending = (struct cluster_sending){
        .source = node->id,
        .target = target,
        .term = raft_status(node->raft).term,
        .base = node->disk.base,
    };
    move_on(cluster, sending, STAGE_FIRST);
}

void cluster_snapshots_begin(struct cluster *cluster, struct cluster_node *node,
                             const struct raft_effects *effects)
{
    for (uint32_t i = 0; i < effects->snapshot_count; i++) {
        const struct raft_snapshot_need *need = &effects->snapshots[i];
        ASSERT_VALUES(need->index_min <= node->disk.base.index, need->index_min,
                      node->disk.base.index);
        begin_sending(cluster, node, need->peer);
    }
}

void cluster_send_snapshot(struct cluster *cluster, uint32_t at)
{
    struct cluster_node *node = &cluster->nodes[at];
    raft_id target = any_id(cluster);

    if (cluster_is_awake(cluster, node) && node->disk.base.index > 0 && target != node->id &&
        raft_status(node->raft).role == RAFT_LEADER) {
        begin_sending(cluster, node, target);
    }
}

uint64_t cluster_snapshots_due(const struct cluster *cluster)
{
    uint64_t due_ms = UINT64_MAX;

    for (uint32_t i = 0; i < cluster->sending_count; i++) {
        due_ms = cluster->sendings[i].due_ms < due_ms ? cluster->sendings[i].due_ms : due_ms;
    }
    return due_ms;
}

/* State and log are replaced by the snapshot at once; what was under way to the disk is there. */
static void install(struct cluster *cluster, struct cluster_node *node,
                    const struct raft_base *base)
{
    struct cluster_disk *disk = &node->disk;

    cluster_flush(cluster, node);
    raft_installed(node->raft, base, cluster_clock(cluster, node));
    if (raft_status(node->raft).base_index != base->index) {
        return; /* What was flushed has made it useless. */
    }
    disk->base = *base;
    if (raft_status(node->raft).last_index > base->index) {
        cluster->counters.tails_kept += 1;
        disk->last_index = disk->last_index > base->index ? disk->last_index : base->index;
    } else {
        disk->last_index = base->index;
    }
    disk->records[base->index].term = base->term;
    forget_records(disk);
    cluster_check_installed(cluster, node, base);
    cluster->counters.snapshots += 1;
}

/* The part arrives. True when the target needs no more of it. */
static bool arrive(struct cluster *cluster, struct cluster_node *target,
                   const struct cluster_sending *sending)
{
    const struct raft_base *base = &sending->base;

    if (!raft_wants_snapshot(target->raft, base->index, base->term)) {
        raft_installing(target->raft, false);
        return true;
    }
    if (sending->stage == STAGE_FIRST) {
        raft_installing(target->raft, true);
        return false;
    }
    install(cluster, target, base);
    return true;
}

/* False when the sending has come to its end. */
static bool advance(struct cluster *cluster, struct cluster_sending *sending)
{
    struct cluster_node *source = cluster_find(cluster, sending->source);
    struct cluster_node *target = cluster_find(cluster, sending->target);
    bool is_there = source != NULL && target != NULL;

    if (is_there && sending->stage == STAGE_TOLD) {
        bool is_lost = !cluster_is_awake(cluster, source) || cluster_loses(cluster, target, source);
        if (cluster_is_awake(cluster, source)) {
            raft_snapshot_sent(source->raft, sending->target, sending->base.index, !is_lost,
                               cluster_clock(cluster, source));
            cluster_settle(cluster, source);
        }
        return false;
    }
    bool is_lost =
        !is_there || !cluster_is_awake(cluster, target) || cluster_loses(cluster, source, target) ||
        !raft_heard(target->raft, sending->term, sending->source, cluster_clock(cluster, target));
    if (!is_lost) {
        bool is_done = arrive(cluster, target, sending);
        cluster_settle(cluster, target);
        move_on(cluster, sending, is_done ? STAGE_TOLD : STAGE_LAST);
        return true;
    }
    if (is_there && target->is_up) {
        raft_installing(target->raft, false); /* Its caller gives up after a while. */
    }
    if (source != NULL && cluster_is_awake(cluster, source)) {
        raft_snapshot_sent(source->raft, sending->target, sending->base.index, false,
                           cluster_clock(cluster, source));
        cluster_settle(cluster, source);
    }
    return false;
}

void cluster_snapshots_run(struct cluster *cluster)
{
    for (uint32_t i = 0; i < cluster->sending_count;) {
        if (cluster->sendings[i].due_ms > cluster->now_ms) {
            i++;
            continue;
        }
        struct cluster_sending sending = cluster->sendings[i];
        cluster->sending_count -= 1;
        cluster->sendings[i] = cluster->sendings[cluster->sending_count];
        if (advance(cluster, &sending)) {
            ASSERT(cluster->sending_count < CLUSTER_SENDING_MAX);
            cluster->sendings[cluster->sending_count] = sending;
            cluster->sending_count += 1;
        }
    }
}
