/* client/command/status.c: what every node says of itself.
 *
 * The nodes of --endpoints are asked at the same time; then those members, once, whose addresses
 * only the answers told. The leader is the one that says so itself in the newest term that anyone
 * knows: a leader that was cut off, or killed a moment ago, is none. */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "client/command/run.h"

enum {
    NODE_COUNT_MAX = OPTIONS_ENDPOINT_COUNT_MAX + 16,
    NAME_SIZE = 33, /* With the final zero, as those below. */
    ADDRESS_SIZE = 129,
    ROLE_SIZE = 17,
    REASON_SIZE = 128,
    ASK_TIMEOUT_MS = 1000,
};

/* An address that is asked, and what came back. */
struct asked {
    struct run *run;
    char address[ADDRESS_SIZE];
    bool is_reachable;
    char reason[REASON_SIZE]; /* Why not. */
    char name[NAME_SIZE];
    char role[ROLE_SIZE];
    uint64_t term;
    uint64_t commit;
    uint64_t applied;
    uint64_t state_hash;
    uint32_t lease_ms;
    uint32_t lease_left_ms;
    uint64_t lease_reads;
    bool refuses_writes;
    bool disk_is_low; /* As it says itself. */
    uint64_t disk_free;
    uint64_t memory_bound_bytes;
    uint64_t queued_count;
    uint64_t overloaded_count;
    uint64_t rate_limited_count;
    uint64_t late_count;
};

struct member {
    char name[NAME_SIZE]; /* Empty: not known, only its address. */
    char client[ADDRESS_SIZE];
    char member[ROLE_SIZE];    /* "voter" or "learner"; empty: not known. */
    const struct asked *asked; /* NULL: not reachable. */
};

struct status {
    struct asked asked[NODE_COUNT_MAX];
    uint32_t asked_count;
    uint32_t waiting_count;
    struct member members[NODE_COUNT_MAX];
    uint32_t member_count;
    char cluster[NAME_SIZE];
};

static void copy(char *to, size_t size, const char *from)
{
    struct text text;

    ASSERT(size > 0);
    text_init(&text, to, size);
    text_add(&text, from);
}

static struct member *find_member(struct status *status, const char *name)
{
    for (uint32_t i = 0; i < status->member_count; i++) {
        if (strcmp(status->members[i].name, name) == 0) {
            return &status->members[i];
        }
    }
    return NULL;
}

static bool was_asked(const struct status *status, const char *address)
{
    for (uint32_t i = 0; i < status->asked_count; i++) {
        if (strcmp(status->asked[i].address, address) == 0) {
            return true;
        }
    }
    return false;
}

static void add_members(struct status *status, const struct holdfast_node_status *node)
{
    for (size_t i = 0; i < node->member_count; i++) {
        struct member *member = find_member(status, node->members[i].name);

        if (member == NULL && status->member_count < NODE_COUNT_MAX) {
            member = &status->members[status->member_count++];
            copy(member->name, sizeof(member->name), node->members[i].name);
        }
        /* Of two disks with one name the voter counts; who leaves votes until it has left. */
        if (member != NULL && strcmp(member->member, "voter") != 0) {
            const char *part = node->members[i].member;

            copy(member->member, sizeof(member->member),
                 strcmp(part, "leaving") == 0 ? "voter" : part);
        }
        if (member != NULL && member->client[0] == '\0') {
            copy(member->client, sizeof(member->client), node->members[i].client);
        }
    }
}

static void answered(const struct holdfast_result *result, void *context);

static void ask(struct run *run, const char *address)
{
    struct status *status = run->context;

    if (status->asked_count == NODE_COUNT_MAX || was_asked(status, address)) {
        return;
    }
    struct asked *asked = &status->asked[status->asked_count++];

    asked->run = run;
    copy(asked->address, sizeof(asked->address), address);
    if (holdfast_node_status(run->client, asked->address, ASK_TIMEOUT_MS, answered, asked) ==
        NULL) {
        copy(asked->reason, sizeof(asked->reason), "too many calls at once");
        return;
    }
    status->waiting_count++;
}

static void take_answer(struct asked *asked, const struct holdfast_node_status *node)
{
    struct status *status = asked->run->context;

    asked->is_reachable = true;
    copy(asked->name, sizeof(asked->name), node->node);
    copy(asked->role, sizeof(asked->role), node->role);
    asked->term = node->term;
    asked->commit = node->commit;
    asked->applied = node->applied;
    asked->state_hash = node->state_hash;
    asked->lease_ms = node->lease_ms;
    asked->lease_left_ms = node->lease_left_ms;
    asked->lease_reads = node->lease_reads;
    asked->refuses_writes = node->refuses_writes;
    asked->memory_bound_bytes = node->memory_bound_bytes;
    asked->queued_count = node->queued_count;
    asked->overloaded_count = node->overloaded_count;
    asked->rate_limited_count = node->rate_limited_count;
    asked->late_count = node->late_count;
    for (size_t i = 0; i < node->member_count; i++) {
        if (strcmp(node->members[i].name, node->node) == 0 &&
            (node->members[i].disk_is_low || node->members[i].disk_free != 0)) {
            asked->disk_is_low = node->members[i].disk_is_low;
            asked->disk_free = node->members[i].disk_free;
        }
    }
    if (node->cluster[0] != '\0') { /* One whose disk is empty knows none. */
        copy(status->cluster, sizeof(status->cluster), node->cluster);
    }
    add_members(status, node);
}

static void answered(const struct holdfast_result *result, void *context)
{
    struct asked *asked = context;
    struct status *status = asked->run->context;

    ASSERT(status->waiting_count > 0);
    status->waiting_count--;
    if (result->status == HOLDFAST_OK && result->node != NULL) {
        take_answer(asked, result->node);
    } else {
        copy(asked->reason, sizeof(asked->reason), result->text);
    }
    if (status->waiting_count != 0) {
        return;
    }
    for (uint32_t i = 0; i < status->member_count; i++) {
        if (status->members[i].client[0] != '\0') {
            ask(asked->run, status->members[i].client);
        }
    }
    if (status->waiting_count == 0) {
        run_finish(asked->run, EXIT_NO_QUORUM);
    }
}

/* Puts each answer beside its member. Addresses that did not answer are listed when no member is
 * known at all: then they are all we know. */
static void match(struct status *status)
{
    bool knows_members = status->member_count != 0;

    for (uint32_t i = 0; i < status->asked_count; i++) {
        const struct asked *asked = &status->asked[i];
        struct member *member = asked->is_reachable ? find_member(status, asked->name) : NULL;

        if (member == NULL && (asked->is_reachable || !knows_members) &&
            status->member_count < NODE_COUNT_MAX) {
            member = &status->members[status->member_count++];
            copy(member->name, sizeof(member->name), asked->name);
        }
        if (member != NULL && member->asked == NULL) {
            member->asked = asked->is_reachable ? asked : NULL;
            copy(member->client, sizeof(member->client), asked->address);
        }
    }
}

static const struct asked *find_leader(const struct status *status)
{
    const struct asked *leader = NULL;
    uint64_t newest_term = 0;

    for (uint32_t i = 0; i < status->asked_count; i++) {
        const struct asked *asked = &status->asked[i];

        if (asked->is_reachable && asked->term >= newest_term) {
            bool is_newer = asked->term > newest_term;

            newest_term = asked->term;
            if (strcmp(asked->role, "leader") == 0) {
                leader = asked;
            } else if (is_newer) {
                leader = NULL;
            }
        }
    }
    return leader;
}

static void add_flag(struct output *output, const char *name, const bool *flag)
{
    output_name(output, name);
    text_add(&output->text, flag == NULL ? "null" : *flag ? "true" : "false");
}

static void add_limits_json(struct output *output, const struct asked *asked)
{
    static const char *const names[] = {"memory_bound_bytes", "queued", "overloaded",
                                        "rate_limited", "late"};
    const struct asked none = {0};
    const struct asked *known = asked == NULL ? &none : asked;
    const uint64_t values[COUNT_OF(names)] = {known->memory_bound_bytes, known->queued_count,
                                              known->overloaded_count, known->rate_limited_count,
                                              known->late_count};

    for (size_t i = 0; i < COUNT_OF(names); i++) {
        if (asked == NULL) {
            output_null(output, names[i]);
        } else {
            output_u64(output, names[i], values[i]);
        }
    }
}

static void add_options_json(struct output *output, const struct asked *asked)
{
    bool knows_disk = asked != NULL && (asked->disk_is_low || asked->disk_free != 0);

    add_flag(output, "disk_low", knows_disk ? &asked->disk_is_low : NULL);
    if (knows_disk) {
        output_u64(output, "disk_free", asked->disk_free);
    } else {
        output_null(output, "disk_free");
    }
    add_flag(output, "refuses_writes", asked == NULL ? NULL : &asked->refuses_writes);
    if (asked == NULL) {
        output_null(output, "lease_ms");
        output_null(output, "lease_left_ms");
        output_null(output, "lease_reads");
    } else {
        output_u64(output, "lease_ms", asked->lease_ms);
        output_u64(output, "lease_left_ms", asked->lease_left_ms);
        output_u64(output, "lease_reads", asked->lease_reads);
    }
    add_limits_json(output, asked);
}

static void add_node_json(struct output *output, const struct member *member)
{
    const struct asked *asked = member->asked;

    text_add(&output->text, "{");
    if (member->name[0] == '\0') {
        output_null(output, "name");
    } else {
        output_text(output, "name", member->name);
    }
    output_text(output, "client", member->client);
    if (asked == NULL) {
        output_null(output, "role");
        output_null(output, "term");
        output_null(output, "commit");
        output_null(output, "applied");
    } else {
        output_text(output, "role", asked->role);
        output_u64(output, "term", asked->term);
        output_u64(output, "commit", asked->commit);
        output_u64(output, "applied", asked->applied);
    }
    output_name(output, "reachable");
    text_add(&output->text, asked == NULL ? "false" : "true");
    output_null(output, "phi");
    if (member->member[0] == '\0') {
        output_null(output, "member");
    } else {
        output_text(output, "member", member->member);
    }
    if (asked == NULL) {
        output_null(output, "state_hash");
    } else {
        output_u64(output, "state_hash", asked->state_hash);
    }
    add_options_json(output, asked);
    text_add(&output->text, "}");
}

static void print_json(struct output *output, const struct status *status,
                       const struct asked *leader)
{
    uint64_t term = 0;

    for (uint32_t i = 0; i < status->asked_count; i++) {
        term = status->asked[i].term > term ? status->asked[i].term : term;
    }
    text_add(&output->text, "{");
    if (status->cluster[0] == '\0') {
        output_null(output, "cluster");
    } else {
        output_text(output, "cluster", status->cluster);
    }
    if (leader == NULL) {
        output_null(output, "leader");
    } else {
        output_text(output, "leader", leader->name);
    }
    if (status->cluster[0] == '\0') {
        output_null(output, "term");
    } else {
        output_u64(output, "term", term);
    }
    output_name(output, "nodes");
    text_add(&output->text, "[");
    for (uint32_t i = 0; i < status->member_count; i++) {
        text_add(&output->text, i == 0 ? "" : ",");
        add_node_json(output, &status->members[i]);
    }
    text_add(&output->text, "]}");
    output_line(output);
}

static void print_text(struct output *output, const struct status *status,
                       const struct asked *leader)
{
    text_add(&output->text, "cluster ");
    text_add(&output->text, status->cluster[0] == '\0' ? "unknown" : status->cluster);
    text_add(&output->text, leader == NULL ? ", no leader" : ", leader ");
    text_add(&output->text, leader == NULL ? "" : leader->name);
    output_line(output);
    text_add(&output->text,
             "  NAME       CLIENT                   ROLE           TERM     COMMIT       APPLIED");
    output_line(output);
    for (uint32_t i = 0; i < status->member_count; i++) {
        const struct member *member = &status->members[i];
        const struct asked *asked = member->asked;
        const char *role = asked == NULL ? "unreachable" : asked->role;

        text_add(&output->text, asked != NULL && asked == leader ? "* " : "  ");
        output_column(output, bytes_of_text(member->name[0] == '\0' ? "?" : member->name), 10);
        output_column(output, bytes_of_text(member->client), 24);
        output_column(output, bytes_of_text(role), 14);
        if (asked != NULL) {
            output_column_u64(output, asked->term, 8);
            output_column_u64(output, asked->commit, 12);
            if (asked->disk_is_low) {
                output_column_u64(output, asked->applied, 12);
                text_add(&output->text, "disk low");
            } else {
                text_add_u64(&output->text, asked->applied);
            }
        }
        output_line(output);
    }
}

/* What holds for the whole cluster, as its leader says. */
static void print_state(struct output *output, const struct asked *leader)
{
    if (leader == NULL) {
        return;
    }
    if (leader->refuses_writes) {
        text_add(&output->text, "writes are refused: the disks of a majority are low; make room "
                                "there, or delete keys");
        output_line(output);
    }
    if (leader->lease_ms != 0) {
        text_add(&output->text, "reads by lease: ");
        text_add_u64(&output->text, leader->lease_reads);
        text_add(&output->text, leader->lease_left_ms != 0 ? "; the lease holds" : "; no lease");
        output_line(output);
    }
}

static void complain_of_silence(const struct status *status)
{
    complain("no node answers; start them, or see whether the endpoints are right:");
    for (uint32_t i = 0; i < status->asked_count; i++) {
        fprintf(stderr, "  %s: %s\n", status->asked[i].address, status->asked[i].reason);
    }
}

static void ask_endpoints(struct run *run)
{
    const char *at = run->options->endpoints;
    char address[ADDRESS_SIZE];

    while (*at != '\0') {
        size_t size = strcspn(at, ",");
        struct text text;

        text_init(&text, address, sizeof(address));
        text_add_bytes(&text, bytes_of(at, size));
        ask(run, address);
        at += at[size] == '\0' ? size : size + 1;
    }
}

int status_run(struct run *run)
{
    struct status status = {.asked_count = 0};

    run->context = &status;
    if (!run_open(run, 1)) {
        return run->exit_status;
    }
    ask_endpoints(run);
    if (status.waiting_count == 0) {
        run_finish(run, EXIT_NO_QUORUM);
    }
    run_loop(run);
    if (status.cluster[0] == '\0') {
        complain_of_silence(&status);
    }
    match(&status);
    const struct asked *leader = find_leader(&status);

    if (run->options->json) {
        print_json(&run->output, &status, leader);
    } else {
        print_text(&run->output, &status, leader);
        print_state(&run->output, leader);
    }
    return leader == NULL ? EXIT_NO_QUORUM : EXIT_DONE;
}
