/* tests/support/raft/script.c: the driver of the golden transcripts. */
#include "tests/support/raft/script.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/assert.h"
#include "raft/raft.h"
#include "tests/support/raft/transcript.h"

enum {
    NODE_MAX = 5,
    QUEUE_MAX = 64,
    RECORD_SIZE_MAX = 128,
    LOG_MAX = 64,
    ENTRIES_SIZE_MAX = 2048,
    MEMORY_SIZE = 4 << 20,
    SETTLE_TURNS_MAX = 100,
};

struct letter {
    struct raft_message message;
    uint8_t entries[ENTRIES_SIZE_MAX];
};

struct queue {
    uint32_t count;
    struct letter letters[QUEUE_MAX];
};

struct node {
    raft_id id;
    bool is_up;
    void *memory;
    struct raft *raft;
    struct raft_hard_state hard_state; /* On the disk. */
    struct raft_base base;
    uint32_t log_count;
    struct bytes log[LOG_MAX]; /* Records on the disk, by index - 1. */
    uint8_t records[LOG_MAX][RECORD_SIZE_MAX];
    bool has_unit;
    struct raft_tag tag;
    struct raft_hard_state unit_state;
    raft_index unit_first;
    uint32_t unit_count;
    uint8_t unit_records[LOG_MAX][RECORD_SIZE_MAX];
    struct queue held; /* Until the unit is durable. */
    raft_index commit_index;
};

struct script {
    FILE *out;
    uint64_t now_ms;
    uint32_t append_size;
    uint32_t promise_ms;
    uint32_t node_count;
    struct node nodes[NODE_MAX];
    struct queue wires[NODE_MAX][NODE_MAX]; /* From, to. */
};

static unsigned long long number(uint64_t value)
{
    return (unsigned long long)value;
}

static void push(struct queue *queue, const struct raft_message *message)
{
    ASSERT(queue->count < QUEUE_MAX);
    struct letter *letter = &queue->letters[queue->count];

    queue->count += 1;
    letter->message = *message;
    if (message->kind == RAFT_APPEND) {
        const struct raft_append *append = &message->append;
        size_t size = append->first.size + append->second.size;
        ASSERT(size <= sizeof(letter->entries));
        struct buffer buffer = buffer_of(letter->entries, sizeof(letter->entries));
        bool fits = buffer_append(&buffer, append->first) && buffer_append(&buffer, append->second);
        ASSERT(fits);
        letter->message.append.first.size = size;
        letter->message.append.second = (struct bytes){0};
    }
}

static void send(struct script *script, const struct raft_message *message)
{
    fprintf(script->out, "    n%llu -> n%llu ", number(message->source), number(message->target));
    transcript_message(script->out, message);
    push(&script->wires[message->source - 1][message->target - 1], message);
}

static void keep_unit(struct script *script, struct node *node, const struct raft_effects *effects)
{
    struct bytes rest = effects->append_first;

    if (!effects->hard_state_changed && effects->append_count == 0) {
        return;
    }
    fprintf(script->out, "    n%llu writes", number(node->id));
    if (effects->hard_state_changed) {
        fprintf(script->out, " term %llu vote n%llu", number(effects->hard_state.term),
                number(effects->hard_state.vote));
    }
    if (effects->append_count > 0) {
        fprintf(script->out, " entries %llu..%llu", number(effects->append_first_index),
                number(effects->append_first_index + effects->append_count - 1));
        /* Units that wait together are one to this disk. */
        if (!node->has_unit || node->unit_count == 0 ||
            effects->append_first_index < node->unit_first) {
            node->unit_first = effects->append_first_index;
        }
    } else if (!node->has_unit) {
        node->unit_first = 0;
    }
    fprintf(script->out, "\n");
    for (uint32_t i = 0; i < effects->append_count; i++) {
        struct raft_entry entry;
        rest = rest.size == 0 ? effects->append_second : rest;
        struct bytes whole = rest;
        bool is_whole = raft_entry_next(&rest, &entry);
        ASSERT(is_whole && entry.index <= LOG_MAX && whole.size - rest.size <= RECORD_SIZE_MAX);
        memcpy(node->unit_records[entry.index - 1], whole.data, whole.size - rest.size);
        node->unit_count = (uint32_t)(entry.index + 1 - node->unit_first);
    }
    node->has_unit = true;
    node->tag = effects->tag;
    node->unit_state = effects->hard_state;
}

static void write_configuration(struct script *script, struct node *node,
                                const struct raft_effects *effects)
{
    if (!effects->configuration_changed) {
        return;
    }
    fprintf(script->out, "    n%llu %s at %llu:", number(node->id),
            effects->configuration_is_committed ? "knows the members" : "has members",
            number(effects->configuration->index));
    transcript_configuration(script->out, effects->configuration);
    fprintf(script->out, "\n");
}

static void collect(struct script *script, struct node *node)
{
    struct raft_effects effects;

    if (!raft_collect(node->raft, &effects)) {
        return;
    }
    keep_unit(script, node, &effects);
    for (uint32_t i = 0; i < effects.send_now_count; i++) {
        send(script, &effects.send_now[i]);
    }
    for (uint32_t i = 0; i < effects.send_durable_count; i++) {
        push(&node->held, &effects.send_durable[i]);
    }
    if (effects.send_durable_count > 0) {
        fprintf(script->out, "    n%llu holds %u until it is durable\n", number(node->id),
                effects.send_durable_count);
    }
    if (effects.commit_index > node->commit_index) {
        node->commit_index = effects.commit_index;
        fprintf(script->out, "    n%llu commits %llu\n", number(node->id),
                number(effects.commit_index));
    }
    write_configuration(script, node, &effects);
    for (uint32_t i = 0; i < effects.snapshot_count; i++) {
        fprintf(script->out, "    n%llu wants a snapshot for n%llu\n", number(node->id),
                number(effects.snapshots[i].peer));
    }
    for (uint32_t i = 0; i < effects.read_count; i++) {
        fprintf(script->out, "    n%llu read %llu: %s at %llu\n", number(node->id),
                number(effects.reads[i].id), error_name(effects.reads[i].error),
                number(effects.reads[i].index));
    }
    raft_check(node->raft);
}

static void persist(struct script *script, struct node *node)
{
    if (node->has_unit) {
        node->hard_state = node->unit_state;
        if (node->unit_first != 0) {
            for (uint32_t i = 0; i < node->unit_count; i++) {
                memcpy(node->records[node->unit_first - 1 + i],
                       node->unit_records[node->unit_first - 1 + i], RECORD_SIZE_MAX);
            }
            node->log_count = (uint32_t)node->unit_first - 1 + node->unit_count;
        }
        node->has_unit = false;
        node->unit_count = 0;
        fprintf(script->out, "    n%llu is durable\n", number(node->id));
        for (uint32_t i = 0; i < node->held.count; i++) {
            send(script, &node->held.letters[i].message);
        }
        node->held.count = 0;
        raft_persisted(node->raft, &node->tag, script->now_ms);
    }
    collect(script, node);
}

static bool deliver(struct script *script, struct node *source, struct node *target)
{
    struct queue *wire = &script->wires[source->id - 1][target->id - 1];
    uint32_t count = wire->count;

    for (uint32_t i = 0; i < count && target->is_up; i++) {
        struct letter *letter = &wire->letters[i];
        letter->message.append.first.data = letter->message.kind == RAFT_APPEND
                                                ? letter->entries
                                                : letter->message.append.first.data;
        raft_receive(target->raft, &letter->message, script->now_ms);
    }
    wire->count = 0;
    if (count > 0 && target->is_up) {
        collect(script, target);
    }
    return count > 0;
}

static void settle(struct script *script, uint32_t mask)
{
    bool is_busy = true;

    for (uint32_t turn = 0; is_busy; turn++) {
        ASSERT(turn < SETTLE_TURNS_MAX);
        is_busy = false;
        for (uint32_t i = 0; i < script->node_count; i++) {
            if ((mask >> i & 1) == 0) {
                continue;
            }
            is_busy = is_busy || script->nodes[i].has_unit;
            persist(script, &script->nodes[i]);
            for (uint32_t j = 0; j < script->node_count; j++) {
                if ((mask >> j & 1) != 0) {
                    is_busy = deliver(script, &script->nodes[j], &script->nodes[i]) || is_busy;
                }
            }
        }
    }
}

static void start(struct script *script, struct node *node)
{
    struct arena arena;
    struct raft_options options = {
        .self = node->id,
        .seed = 1,
        .election_ms_min = 150,
        .election_ms_max = 300,
        .heartbeat_ms = 50,
        .inflight_count_max = 2,
        .append_size_max = script->append_size,
        .window_size = 8192,
        .window_count_max = 64,
        .uncommitted_size_max = 2048,
        .read_count_max = 8,
        .promise_ms = script->promise_ms,
        .clock_rate_ppm = 10000,
    };

    arena_init(&arena, node->memory, MEMORY_SIZE);
    enum error error = raft_open(&node->raft, &arena, &options, &node->hard_state, &node->base);
    ASSERT(error == ERR_OK);
    for (uint32_t i = (uint32_t)node->base.index; i < node->log_count; i++) {
        struct bytes rest = bytes_of(node->records[i], RECORD_SIZE_MAX);
        struct raft_entry entry;
        bool is_whole = raft_entry_next(&rest, &entry);
        ASSERT(is_whole);
        error = raft_restore(node->raft, &entry);
        ASSERT(error == ERR_OK);
    }
    node->is_up = true;
    node->commit_index = raft_status(node->raft).commit_index;
    raft_start(node->raft, script->now_ms);
}

/* Voters, and then nodes that wait to be added. */
static void open_nodes(struct script *script, uint32_t voter_count, uint32_t spare_count)
{
    ASSERT(voter_count >= 1 && voter_count + spare_count <= NODE_MAX);
    script->node_count = voter_count + spare_count;
    for (uint32_t i = 0; i < script->node_count; i++) {
        struct node *node = &script->nodes[i];
        node->id = i + 1;
        node->base.configuration.member_count = i < voter_count ? voter_count : 0;
        for (uint32_t j = 0; j < node->base.configuration.member_count; j++) {
            node->base.configuration.members[j].id = j + 1;
            node->base.configuration.members[j].parts = RAFT_PART_VOTER;
        }
        node->memory = aligned_alloc(ARENA_ALIGNMENT, MEMORY_SIZE);
        ASSERT(node->memory != NULL);
        start(script, node);
    }
}

static void write_log(struct node *node, const char *terms)
{
    char *end = NULL;

    for (;;) {
        raft_term term = strtoull(terms, &end, 10);
        if (end == terms) {
            break;
        }
        terms = end;
        struct raft_entry entry = {
            .index = node->log_count + 1,
            .term = term,
            .kind = RAFT_ENTRY_COMMAND,
        };
        raft_entry_encode_header(node->records[node->log_count], &entry);
        node->log_count += 1;
        node->hard_state.term = term;
    }
}

static void crash(struct script *script, struct node *node)
{
    node->is_up = false;
    node->has_unit = false;
    node->unit_count = 0;
    node->held.count = 0;
    for (uint32_t i = 0; i < script->node_count; i++) {
        script->wires[i][node->id - 1].count = 0;
    }
}

static void show(struct script *script, const struct node *node)
{
    struct raft_status status = raft_status(node->raft);

    fprintf(script->out, "    n%llu %s term %llu leader n%llu last %llu durable %llu commit %llu\n",
            number(node->id), raft_role_name(status.role), number(status.term),
            number(status.leader), number(status.last_index), number(status.durable_index),
            number(status.commit_index));
}

/* What is committed is applied and kept in a snapshot; the log begins behind `index`. */
static void compact(struct script *script, struct node *node, raft_index index)
{
    struct raft_entry entry = {0};

    raft_applied(node->raft, raft_status(node->raft).commit_index);
    ASSERT(index > node->base.index && index <= node->log_count);
    for (raft_index i = node->base.index; i < index; i++) {
        struct bytes rest = bytes_of(node->records[i], RECORD_SIZE_MAX);
        bool is_whole = raft_entry_next(&rest, &entry);
        ASSERT(is_whole);
        if (entry.kind == RAFT_ENTRY_CONFIGURATION) {
            is_whole = raft_configuration_decode(entry.payload, &node->base.configuration);
            ASSERT(is_whole);
        }
    }
    node->base.index = index;
    node->base.term = entry.term;
    raft_compacted(node->raft, index, entry.term);
    collect(script, node);
}

/* The snapshot of `source` travels to `target` and is installed there. */
static void send_snapshot(struct script *script, const struct node *source, struct node *target)
{
    const struct raft_base *base = &source->base;
    raft_term term = raft_status(source->raft).term;

    if (!raft_heard(target->raft, term, source->id, script->now_ms)) {
        fprintf(script->out, "    n%llu does not take it: term %llu is behind\n",
                number(target->id), number(term));
        return;
    }
    if (!raft_wants_snapshot(target->raft, base->index, base->term)) {
        fprintf(script->out, "    n%llu does not need it\n", number(target->id));
        return;
    }
    persist(script, target);
    raft_installed(target->raft, base, script->now_ms);
    target->base = *base;
    raft_index last_index = raft_status(target->raft).last_index;
    fprintf(script->out, "    n%llu begins at %llu/%llu and ends at %llu\n", number(target->id),
            number(base->term), number(base->index), number(last_index));
    target->log_count = (uint32_t)last_index;
    collect(script, target);
}

static enum raft_verdict change(struct script *script, struct node *node, const char *verb,
                                raft_id id, const char *rest)
{
    struct raft_change change = {.kind = RAFT_REMOVE, .id = id};
    unsigned replaces = 0;
    raft_index index = 0;

    if (strcmp(verb, "learner") == 0) {
        change.kind = RAFT_ADD_LEARNER;
        change.promote = strncmp(rest, " vote", 5) == 0;
        rest += change.promote ? 5 : 0;
    } else if (strcmp(verb, "promote") == 0) {
        change.kind = RAFT_PROMOTE;
    } else {
        ASSERT(strcmp(verb, "remove") == 0);
    }
    change.replaces = sscanf(rest, " for n%u", &replaces) == 1 ? replaces : 0;
    return raft_reconfigure(node->raft, &change, script->now_ms, &index);
}

/* A command that names two nodes. */
static void run_pair(struct script *script, const char *verb, struct node *node, struct node *other,
                     const char *rest)
{
    enum raft_verdict verdict = RAFT_ACCEPTED;

    if (strcmp(verb, "deliver") == 0) {
        (void)deliver(script, node, other);
        return;
    }
    if (strcmp(verb, "drop") == 0) {
        script->wires[node->id - 1][other->id - 1].count = 0;
        return;
    }
    if (strcmp(verb, "snapshot") == 0) {
        send_snapshot(script, node, other);
        return;
    }
    if (strcmp(verb, "told") == 0) {
        raft_snapshot_sent(node->raft, other->id, node->base.index, strcmp(rest, " ok") == 0,
                           script->now_ms);
    } else if (strcmp(verb, "transfer") == 0) {
        verdict = raft_transfer(node->raft, other->id, script->now_ms);
    } else {
        verdict = change(script, node, verb, other->id, rest);
    }
    if (verdict != RAFT_ACCEPTED) {
        fprintf(script->out, "    refused: %s\n", raft_verdict_text(verdict));
    }
    collect(script, node);
}

static void ask(struct script *script, struct node *node, const char *verb, const char *rest)
{
    raft_index index = 0;
    enum error error = ERR_OK;

    if (strcmp(verb, "propose") == 0) {
        error = raft_propose(node->raft, bytes_of_text(rest), (struct bytes){0}, script->now_ms,
                             &index);
    } else if (strcmp(verb, "read") == 0) {
        error = raft_read(node->raft, strtoull(rest, NULL, 10), script->now_ms);
    } else if (strcmp(verb, "resign") == 0) {
        raft_resign(node->raft, script->now_ms);
    } else if (strcmp(verb, "stall") == 0) {
        raft_disk_stalled(node->raft, script->now_ms);
    } else {
        ASSERT(strcmp(verb, "tick") == 0);
        script->now_ms += strtoull(rest, NULL, 10);
        raft_tick(node->raft, script->now_ms);
    }
    if (error != ERR_OK) {
        fprintf(script->out, "    %s\n", error_name(error));
    }
    collect(script, node);
}

static uint32_t mask_of(const char *names)
{
    uint32_t mask = 0;

    for (; *names != '\0'; names++) {
        if (*names >= '1' && *names <= '5') {
            mask |= 1U << (*names - '1');
        }
    }
    return mask;
}

static void run_command(struct script *script, const char *line)
{
    char verb[16] = "";
    unsigned first = 0;
    unsigned second = 0;
    int at = 0;

    if (sscanf(line, "open %u spare %u", &first, &second) >= 1) {
        open_nodes(script, first, second);
        return;
    }
    if (sscanf(line, "append-size %u", &script->append_size) == 1 ||
        sscanf(line, "promise %u", &script->promise_ms) == 1) {
        return;
    }
    if (strncmp(line, "settle", 6) == 0) {
        settle(script, mask_of(line + 6));
        return;
    }
    int count = sscanf(line, "%15s n%u%n", verb, &first, &at);
    ASSERT(count == 2 && first >= 1 && first <= NODE_MAX);
    struct node *node = &script->nodes[first - 1];
    int behind = 0;
    if (sscanf(line + at, " n%u%n", &second, &behind) == 1) {
        ASSERT(second >= 1 && second <= NODE_MAX);
        run_pair(script, verb, node, &script->nodes[second - 1], line + at + behind);
    } else if (strcmp(verb, "log") == 0) {
        write_log(node, line + at);
    } else if (strcmp(verb, "term") == 0) {
        node->hard_state.term = strtoull(line + at, NULL, 10);
    } else if (strcmp(verb, "persist") == 0) {
        persist(script, node);
    } else if (strcmp(verb, "crash") == 0) {
        crash(script, node);
    } else if (strcmp(verb, "start") == 0) {
        start(script, node);
    } else if (strcmp(verb, "compact") == 0) {
        compact(script, node, strtoull(line + at, NULL, 10));
    } else if (strcmp(verb, "show") == 0) {
        show(script, node);
    } else {
        ask(script, node, verb, line[at] == ' ' ? line + at + 1 : line + at);
    }
}

void script_run(FILE *in, FILE *out)
{
    char line[256];
    struct script *script = calloc(1, sizeof(*script));

    ASSERT(script != NULL);
    script->out = out;
    script->now_ms = 1000;
    script->append_size = 1024;
    while (fgets(line, sizeof(line), in) != NULL) {
        if (line[0] == ' ') {
            continue;
        }
        fputs(line, out);
        line[strcspn(line, "\n")] = '\0';
        if (line[0] != '#' && line[0] != '\0') {
            run_command(script, line);
        }
    }
    for (uint32_t i = 0; i < script->node_count; i++) {
        free(script->nodes[i].memory);
    }
    free(script);
}
