/* tests/support/raft/cluster.c: nodes, disks, network and virtual time. */
#include "tests/support/raft/cluster.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "raft/internal.h"

enum { MEMORY_SIZE = 4 << 20 };

static bool chance(struct cluster *cluster, uint32_t per_mille)
{
    return prng_below(&cluster->prng, 1000) < per_mille;
}

struct cluster_node *cluster_find(struct cluster *cluster, raft_id id)
{
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        if (cluster->nodes[i].id == id) {
            return &cluster->nodes[i];
        }
    }
    return NULL;
}

bool cluster_loses(struct cluster *cluster, const struct cluster_node *source,
                   const struct cluster_node *target)
{
    return cluster->faults.cut[source - cluster->nodes][target - cluster->nodes] ||
           chance(cluster, cluster->faults.loss_per_mille);
}

bool cluster_is_awake(const struct cluster *cluster, const struct cluster_node *node)
{
    return node->is_up && node->busy_until_ms <= cluster->now_ms;
}

static uint64_t clock_at(const struct cluster_node *node, uint64_t now_ms)
{
    return now_ms + now_ms * node->clock_ppm / 1000000;
}

uint64_t cluster_clock(const struct cluster *cluster, const struct cluster_node *node)
{
    return clock_at(node, cluster->now_ms);
}

/* The first moment at which the node's clock shows `clock_ms`. */
static uint64_t moment_of(const struct cluster_node *node, uint64_t clock_ms)
{
    uint64_t now_ms = clock_ms * 1000000 / (1000000 + node->clock_ppm);

    while (clock_at(node, now_ms) < clock_ms) {
        now_ms += 1;
    }
    return now_ms;
}

static void copy_entries(struct cluster_packet *packet, const struct raft_message *message)
{
    const struct raft_append *append = &message->append;
    size_t size = append->first.size + append->second.size;

    ASSERT_VALUES(size <= CLUSTER_PACKET_SIZE_MAX, size, CLUSTER_PACKET_SIZE_MAX);
    if (append->first.size > 0) {
        memcpy(packet->bytes, append->first.data, append->first.size);
    }
    if (append->second.size > 0) {
        memcpy(packet->bytes + append->first.size, append->second.data, append->second.size);
    }
    packet->message.append.first.size = size;
    packet->message.append.second = (struct bytes){0};
}

static void post_once(struct cluster *cluster, const struct raft_message *message)
{
    if (cluster->packet_count == CLUSTER_PACKET_MAX) {
        return; /* A full network loses. */
    }
    struct cluster_packet *packet = &cluster->packets[cluster->packet_count];

    cluster->packet_count += 1;
    packet->due_ms =
        cluster->now_ms + 1 + prng_below(&cluster->prng, cluster->faults.delay_ms_max + 1);
    packet->message = *message;
    if (message->kind == RAFT_APPEND) {
        copy_entries(packet, message);
    }
}

static void post(struct cluster *cluster, struct cluster_node *node,
                 const struct raft_message *message)
{
    const struct cluster_node *target = cluster_find(cluster, message->target);

    cluster_check_message(cluster, node, message);
    if (target == NULL || cluster_loses(cluster, node, target)) {
        return;
    }
    post_once(cluster, message);
    if (chance(cluster, cluster->faults.duplicate_per_mille)) {
        post_once(cluster, message);
    }
}

static void write_unit(struct cluster_node *node, const struct cluster_unit *unit)
{
    struct cluster_disk *disk = &node->disk;

    disk->hard_state = unit->hard_state;
    if (unit->first_index == 0) {
        return;
    }
    ASSERT_VALUES(unit->first_index <= disk->last_index + 1, unit->first_index, disk->last_index);
    for (uint32_t i = 0; i < unit->count; i++) {
        disk->records[unit->first_index + i] = unit->records[i];
    }
    disk->last_index = unit->first_index + unit->count - 1;
}

static void drop_units(struct cluster_node *node, uint32_t count)
{
    node->unit_count -= count;
    memmove(&node->units[0], &node->units[count], node->unit_count * sizeof(node->units[0]));
}

/* Completes the first `count` units one by one, then reports the last alone. */
static void complete_units(struct cluster *cluster, struct cluster_node *node, uint32_t count)
{
    struct raft_tag tag = node->units[count - 1].tag;

    for (uint32_t i = 0; i < count; i++) {
        struct cluster_unit *unit = &node->units[i];
        write_unit(node, unit);
        for (uint32_t j = 0; j < unit->held_count; j++) {
            post(cluster, node, &unit->held[j]);
        }
    }
    drop_units(node, count);
    raft_persisted(node->raft, &tag, cluster_clock(cluster, node));
}

void cluster_flush(struct cluster *cluster, struct cluster_node *node)
{
    if (node->unit_count > 0) {
        complete_units(cluster, node, node->unit_count);
    }
}

static void stage_records(struct cluster_node *node, struct cluster_unit *unit,
                          const struct raft_effects *effects)
{
    struct bytes rest = effects->append_first;

    unit->first_index = effects->append_first_index;
    unit->count = effects->append_count;
    ASSERT(unit->count <= CLUSTER_WINDOW_COUNT_MAX);
    for (uint32_t i = 0; i < unit->count; i++) {
        struct cluster_record *record = &unit->records[i];
        struct raft_entry entry;
        if (rest.size == 0) {
            rest = effects->append_second;
        }
        struct bytes whole = rest;
        bool is_whole = raft_entry_next(&rest, &entry);
        ASSERT(is_whole);
        record->size = (uint32_t)(whole.size - rest.size);
        ASSERT(record->size <= CLUSTER_RECORD_SIZE_MAX);
        record->term = entry.term;
        record->chain = node->chains[entry.index];
        memcpy(record->bytes, whole.data, record->size);
    }
}

static void stage(struct cluster *cluster, struct cluster_node *node,
                  const struct raft_effects *effects)
{
    if (effects->hard_state_changed || effects->append_count > 0) {
        if (node->unit_count == CLUSTER_UNIT_MAX) {
            complete_units(cluster, node, CLUSTER_UNIT_MAX);
        }
        struct cluster_unit *unit = &node->units[node->unit_count];
        uint64_t done_ms =
            cluster->now_ms + prng_below(&cluster->prng, cluster->faults.disk_ms_max + 1);
        if (node->unit_count > 0 && unit[-1].done_ms > done_ms) {
            done_ms = unit[-1].done_ms;
        }
        node->unit_count += 1;
        unit->tag = effects->tag;
        unit->hard_state = effects->hard_state;
        unit->done_ms = done_ms;
        unit->held_count = 0;
        stage_records(node, unit, effects);
    }
    if (effects->send_durable_count > 0) {
        ASSERT(node->unit_count > 0);
        struct cluster_unit *unit = &node->units[node->unit_count - 1];
        ASSERT_VALUES(unit->tag.unit == effects->tag.unit, unit->tag.unit, effects->tag.unit);
        for (uint32_t i = 0; i < effects->send_durable_count; i++) {
            if (unit->held_count < CLUSTER_HELD_MAX) {
                unit->held[unit->held_count++] = effects->send_durable[i];
            }
        }
    }
}

/* Answers a fetch from the disk, sometimes not at all. */
static void fetch(struct cluster *cluster, struct cluster_node *node,
                  const struct raft_fetch *wanted)
{
    uint8_t bytes[8 * CLUSTER_RECORD_SIZE_MAX];
    struct buffer buffer = buffer_of(bytes, sizeof(bytes));
    uint32_t count = 0;

    cluster->counters.fetches += 1;
    ASSERT_VALUES(wanted->first_index > node->disk.base.index, wanted->first_index,
                  node->disk.base.index);
    if (chance(cluster, cluster->faults.loss_per_mille)) {
        raft_fetched(node->raft, wanted->peer, wanted->first_index, 0, (struct bytes){0},
                     cluster_clock(cluster, node));
        return;
    }
    for (raft_index i = wanted->first_index; i <= node->disk.last_index && count < 8; i++) {
        const struct cluster_record *record = &node->disk.records[i];
        if (!buffer_append(&buffer, bytes_of(record->bytes, record->size))) {
            break;
        }
        count += 1;
    }
    raft_fetched(node->raft, wanted->peer, wanted->first_index, count, buffer_bytes(&buffer),
                 cluster_clock(cluster, node));
}

/* One raft_collect() and all that follows from it. True when fetches were answered: then there is
 * more to collect. */
static bool collect(struct cluster *cluster, struct cluster_node *node)
{
    struct raft_effects effects;
    struct raft_fetch fetches[RAFT_MEMBER_COUNT_MAX];

    bool is_busy = raft_collect(node->raft, &effects);
    node->wake_ms = moment_of(node, effects.wake_ms);
    if (!is_busy) {
        ASSERT(effects.send_now_count + effects.send_durable_count + effects.append_count == 0);
    }
    cluster_check_unit(cluster, node, &effects);
    for (uint32_t i = 0; i < effects.send_now_count; i++) {
        post(cluster, node, &effects.send_now[i]);
    }
    uint32_t fetch_count = effects.fetch_count;
    memcpy(fetches, effects.fetches, fetch_count * sizeof(fetches[0]));
    for (uint32_t i = 0; i < effects.read_count; i++) {
        cluster_check_read(cluster, &effects.reads[i]);
    }
    raft_index commit_index = effects.commit_index;
    cluster_snapshots_begin(cluster, node, &effects);
    stage(cluster, node, &effects);
    cluster_check_node(cluster, node);
    if (prng_below(&cluster->prng, 4) != 0) {
        raft_applied(node->raft, commit_index);
        node->applied_index = commit_index;
    }
    for (uint32_t i = 0; i < fetch_count; i++) {
        fetch(cluster, node, &fetches[i]);
    }
    return fetch_count > 0;
}

void cluster_settle(struct cluster *cluster, struct cluster_node *node)
{
    cluster->counters.events += 1;
    while (collect(cluster, node)) {
    }
}

void cluster_start(struct cluster *cluster, struct cluster_node *node)
{
    struct arena arena;
    struct raft_options options = cluster->options;

    options.self = node->id;
    options.seed = prng_next(&cluster->prng);
    arena_init(&arena, node->memory, MEMORY_SIZE);
    ASSERT(raft_memory_size(&options) <= MEMORY_SIZE);
    enum error error =
        raft_open(&node->raft, &arena, &options, &node->disk.hard_state, &node->disk.base);
    ASSERT(error == ERR_OK);
    node->raft->trail.count_max = cluster->trail_run_count_max;
    for (raft_index i = node->disk.base.index + 1; i <= node->disk.last_index; i++) {
        const struct cluster_record *record = &node->disk.records[i];
        struct bytes rest = bytes_of(record->bytes, record->size);
        struct raft_entry entry;
        bool is_whole = raft_entry_next(&rest, &entry);
        ASSERT(is_whole);
        error = raft_restore(node->raft, &entry);
        ASSERT(error == ERR_OK);
        node->chains[i] = record->chain;
        node->terms[i] = record->term;
    }
    node->last_index = node->disk.last_index;
    node->commit_index = node->disk.base.index;
    node->applied_index = node->disk.base.index;
    node->term = node->disk.hard_state.term;
    node->is_up = true;
    node->busy_until_ms = cluster->now_ms;
    raft_start(node->raft, cluster_clock(cluster, node));
    cluster_settle(cluster, node);
}

static void open_node(struct cluster *cluster, struct cluster_node *node,
                      const struct raft_base *base)
{
    node->id = cluster->id_next;
    cluster->id_next += 1;
    node->clock_ppm = (uint32_t)prng_below(&cluster->prng, CLUSTER_CLOCK_RATE_PPM);
    node->disk.base = *base;
    node->memory = aligned_alloc(ARENA_ALIGNMENT, MEMORY_SIZE);
    ASSERT(node->memory != NULL);
    cluster_start(cluster, node);
}

void cluster_open(struct cluster *cluster, uint32_t voter_count, uint32_t spare_count,
                  uint64_t seed)
{
    struct raft_base formation = {.configuration.member_count = voter_count};
    struct raft_base nothing = {0};

    ASSERT(voter_count >= 1 && voter_count <= CLUSTER_VOTER_MAX);
    ASSERT(voter_count + spare_count <= CLUSTER_NODE_MAX);
    for (uint32_t i = 0; i < voter_count; i++) {
        formation.configuration.members[i].id = i + 1;
        formation.configuration.members[i].parts = RAFT_PART_VOTER;
    }
    cluster->seed = seed;
    cluster->now_ms = 1000;
    prng_init(&cluster->prng, seed);
    cluster->options = (struct raft_options){
        .election_ms_min = 100,
        .election_ms_max = 200,
        .heartbeat_ms = 30,
        .inflight_count_max = 1 + (uint32_t)prng_below(&cluster->prng, 4),
        .append_size_max = 64 + (uint32_t)prng_below(&cluster->prng, 960),
        .window_size = 1024 + (uint32_t)prng_below(&cluster->prng, 2048),
        .window_count_max = 8 + (uint32_t)prng_below(&cluster->prng, CLUSTER_WINDOW_COUNT_MAX - 7),
        .uncommitted_size_max = 400,
        .read_count_max = 8,
        .promise_ms = prng_below(&cluster->prng, 2) == 0 ? 0 : 90,
        .clock_rate_ppm = CLUSTER_CLOCK_RATE_PPM,
    };
    cluster->trail_run_count_max = 8 + (uint32_t)prng_below(&cluster->prng, 8);
    cluster->node_count = voter_count + spare_count;
    cluster->id_next = 1;
    cluster->configurations[0].configuration = formation.configuration;
    cluster->configuration_count = 1;
    cluster->faults = (struct cluster_faults){.delay_ms_max = 5, .disk_ms_max = 5};
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        open_node(cluster, &cluster->nodes[i], i < voter_count ? &formation : &nothing);
    }
}

void cluster_close(struct cluster *cluster)
{
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        free(cluster->nodes[i].memory);
        cluster->nodes[i].memory = NULL;
    }
}

/* When this node next has something to do. */
static uint64_t node_due(const struct cluster *cluster, const struct cluster_node *node)
{
    uint64_t due_ms = UINT64_MAX;

    if (!node->is_up) {
        return node->up_ms;
    }
    due_ms = node->wake_ms;
    if (node->unit_count > 0 && node->units[0].done_ms < due_ms) {
        due_ms = node->units[0].done_ms;
    }
    for (uint32_t i = 0; i < cluster->packet_count; i++) {
        if (cluster->packets[i].message.target == node->id && cluster->packets[i].due_ms < due_ms) {
            due_ms = cluster->packets[i].due_ms;
        }
    }
    return due_ms > node->busy_until_ms ? due_ms : node->busy_until_ms;
}

static void deliver(struct cluster *cluster, struct cluster_node *node)
{
    for (uint32_t i = 0; i < cluster->packet_count;) {
        struct cluster_packet *packet = &cluster->packets[i];
        if (packet->message.target != node->id || packet->due_ms > cluster->now_ms) {
            i++;
            continue;
        }
        if (packet->message.kind == RAFT_APPEND) {
            packet->message.append.first.data = packet->bytes;
        }
        raft_receive(node->raft, &packet->message, cluster_clock(cluster, node));
        raft_check(node->raft);
        cluster->packet_count -= 1;
        *packet = cluster->packets[cluster->packet_count];
    }
}

/* One turn of one node: what arrived, what the disk has done, the timer, then the effects. */
static void turn(struct cluster *cluster, struct cluster_node *node)
{
    uint8_t stamp[8];
    uint32_t done = 0;

    if (!node->is_up) {
        cluster_start(cluster, node);
        return;
    }
    store_u64(stamp, cluster->now_ms);
    raft_set_noop_payload(node->raft, bytes_of(stamp, sizeof(stamp)));
    deliver(cluster, node);
    while (done < node->unit_count && node->units[done].done_ms <= cluster->now_ms) {
        done += 1;
    }
    if (done > 0) {
        complete_units(cluster, node, done);
    }
    if (cluster->now_ms >= node->wake_ms) {
        raft_tick(node->raft, cluster_clock(cluster, node));
    }
    cluster_settle(cluster, node);
}

void cluster_run(struct cluster *cluster, uint64_t until_ms)
{
    for (;;) {
        struct cluster_node *next = NULL;
        uint64_t sending_ms = cluster_snapshots_due(cluster);
        uint64_t next_ms = until_ms;
        for (uint32_t i = 0; i < cluster->node_count; i++) {
            uint64_t due_ms = node_due(cluster, &cluster->nodes[i]);
            if (due_ms < next_ms) {
                next_ms = due_ms;
                next = &cluster->nodes[i];
            }
        }
        if (sending_ms < next_ms) {
            cluster->now_ms = sending_ms > cluster->now_ms ? sending_ms : cluster->now_ms;
            cluster_snapshots_run(cluster);
            continue;
        }
        if (next == NULL) {
            break;
        }
        if (next_ms > cluster->now_ms) {
            cluster->now_ms = next_ms;
        }
        turn(cluster, next);
    }
    cluster->now_ms = until_ms;
}

enum error cluster_propose(struct cluster *cluster, uint32_t at, uint32_t payload_size,
                           raft_index *index)
{
    struct cluster_node *node = &cluster->nodes[at];
    uint8_t payload[CLUSTER_RECORD_SIZE_MAX];

    if (!cluster_is_awake(cluster, node) || node->last_index >= CLUSTER_LOG_MAX - 100) {
        return ERR_CLOSED;
    }
    for (uint32_t i = 0; i < payload_size; i++) {
        payload[i] = (uint8_t)prng_next(&cluster->prng);
    }
    enum error error =
        raft_propose(node->raft, bytes_of(payload, payload_size / 2),
                     bytes_of(payload + payload_size / 2, payload_size - payload_size / 2),
                     cluster_clock(cluster, node), index);
    cluster_settle(cluster, node);
    return error;
}

enum error cluster_read(struct cluster *cluster, uint32_t at)
{
    struct cluster_node *node = &cluster->nodes[at];

    if (!cluster_is_awake(cluster, node) || cluster->read_count == CLUSTER_READ_MAX) {
        return ERR_CLOSED;
    }
    uint64_t id = cluster->read_count;
    enum error error = raft_read(node->raft, id, cluster_clock(cluster, node));
    if (error == ERR_OK) {
        cluster->read_floor[id] = cluster->commit_index;
        cluster->read_done[id] = false;
        cluster->read_count += 1;
    }
    uint64_t reads_ok = cluster->counters.reads_ok;
    cluster_settle(cluster, node);
    cluster->counters.lease_reads +=
        cluster->options.promise_ms > 0 && cluster->counters.reads_ok > reads_ok;
    return error;
}

/* What was not durable is lost: a prefix of the units survives, and of the next one perhaps the
 * hard state alone, because it is written first. */
void cluster_crash(struct cluster *cluster, uint32_t at, uint64_t up_ms)
{
    struct cluster_node *node = &cluster->nodes[at];

    if (!node->is_up) {
        return;
    }
    uint32_t kept = (uint32_t)prng_below(&cluster->prng, (uint64_t)node->unit_count + 1);
    for (uint32_t i = 0; i < kept; i++) {
        write_unit(node, &node->units[i]);
    }
    if (kept < node->unit_count && chance(cluster, 500)) {
        node->disk.hard_state = node->units[kept].hard_state;
    }
    node->unit_count = 0;
    node->is_up = false;
    node->up_ms = up_ms;
    cluster->counters.crashes += 1;
}

void cluster_heal(struct cluster *cluster)
{
    cluster->faults = (struct cluster_faults){.delay_ms_max = 5, .disk_ms_max = 5};
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        struct cluster_node *node = &cluster->nodes[i];
        if (!node->is_up) {
            node->up_ms = cluster->now_ms;
        }
        node->busy_until_ms = cluster->now_ms;
    }
}

uint32_t cluster_leader(const struct cluster *cluster)
{
    uint32_t leader = cluster->node_count;

    for (uint32_t i = 0; i < cluster->node_count; i++) {
        const struct cluster_node *node = &cluster->nodes[i];
        if (node->is_up && node->role == RAFT_LEADER &&
            (leader == cluster->node_count || node->term > cluster->nodes[leader].term)) {
            leader = i;
        }
    }
    return leader;
}
