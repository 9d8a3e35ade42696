/* client/command/view.c: asking every node, and putting the answers beside the members. */
#define _GNU_SOURCE
#include "client/command/view.h"

#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "client/command/clock.h"

enum { ASK_TIMEOUT_MS = 1000 };

static void copy(char *to, size_t size, const char *from)
{
    struct text text;

    ASSERT(size > 0);
    text_init(&text, to, size);
    text_add(&text, from);
}

static struct view_member *find_member(struct view *view, const char *name)
{
    for (uint32_t i = 0; i < view->member_count; i++) {
        if (strcmp(view->members[i].name, name) == 0) {
            return &view->members[i];
        }
    }
    return NULL;
}

static bool was_asked(const struct view *view, const char *address)
{
    for (uint32_t i = 0; i < view->node_count; i++) {
        if (strcmp(view->nodes[i].address, address) == 0) {
            return true;
        }
    }
    return false;
}

static void add_members(struct view *view, const struct holdfast_node_status *status)
{
    for (size_t i = 0; i < status->member_count; i++) {
        struct view_member *member = find_member(view, status->members[i].name);

        if (member == NULL && view->member_count < VIEW_NODE_COUNT_MAX) {
            member = &view->members[view->member_count++];
            copy(member->name, sizeof(member->name), status->members[i].name);
        }
        /* Of two disks with one name the voter counts; who leaves votes until it has left. */
        if (member != NULL && strcmp(member->part, "voter") != 0) {
            const char *part = status->members[i].member;

            copy(member->part, sizeof(member->part), strcmp(part, "leaving") == 0 ? "voter" : part);
        }
        if (member != NULL && member->client[0] == '\0') {
            copy(member->client, sizeof(member->client), status->members[i].client);
        }
    }
}

static void answered(const struct holdfast_result *result, void *context);

static void ask(struct view *view, const char *address)
{
    if (view->node_count == VIEW_NODE_COUNT_MAX || was_asked(view, address)) {
        return;
    }
    struct view_node *node = &view->nodes[view->node_count++];

    *node = (struct view_node){.view = view, .asked_us = clock_now_us()};
    copy(node->address, sizeof(node->address), address);
    if (holdfast_node_status(view->run->client, node->address, ASK_TIMEOUT_MS, answered, node) ==
        NULL) {
        copy(node->reason, sizeof(node->reason), "too many calls at once");
        return;
    }
    view->waiting_count++;
}

static void take_numbers(struct view_node *node, const struct holdfast_node_status *status)
{
    node->term = status->term;
    node->commit = status->commit;
    node->applied = status->applied;
    node->state_hash = status->state_hash;
    node->sessions = status->sessions;
    node->answers = status->answers;
    node->refusals = status->refusals;
    node->clock_ms = status->clock_ms;
    node->commit_us = status->commit_us;
    node->ttl_floor_ms = status->ttl_floor_ms;
    node->clock_rate_ppm = status->clock_rate_ppm;
    node->margin_ms = status->margin_ms;
    node->election_ms = status->election_ms;
    node->memory_bound_bytes = status->memory_bound_bytes;
    node->queued_count = status->queued_count;
    node->overloaded_count = status->overloaded_count;
    node->rate_limited_count = status->rate_limited_count;
    node->late_count = status->late_count;
    node->forwarded_total = status->forwarded_total;
    node->forwarding = status->forwarding;
    node->taken_total = status->taken_total;
    node->lease_ms = status->lease_ms;
    node->lease_left_ms = status->lease_left_ms;
    node->lease_reads = status->lease_reads;
    node->refuses_writes = status->refuses_writes;
}

static void take_answer(struct view_node *node, const struct holdfast_node_status *status)
{
    struct view *view = node->view;

    node->is_reachable = true;
    node->answered_us = clock_now_us();
    copy(node->name, sizeof(node->name), status->node);
    copy(node->role, sizeof(node->role), status->role);
    take_numbers(node, status);
    for (size_t i = 0; i < status->member_count; i++) {
        if (strcmp(status->members[i].name, status->node) == 0 &&
            (status->members[i].disk_is_low || status->members[i].disk_free != 0)) {
            node->disk_is_low = status->members[i].disk_is_low;
            node->disk_free = status->members[i].disk_free;
        }
    }
    if (status->cluster[0] != '\0') { /* One whose disk is empty knows none. */
        copy(view->cluster, sizeof(view->cluster), status->cluster);
    }
    add_members(view, status);
}

/* Puts each answer beside its member. Addresses that did not answer are listed when no member is
 * known at all: then they are all we know. */
static void match(struct view *view)
{
    bool knows_members = view->member_count != 0;

    for (uint32_t i = 0; i < view->node_count; i++) {
        const struct view_node *node = &view->nodes[i];
        struct view_member *member = node->is_reachable ? find_member(view, node->name) : NULL;

        if (member == NULL && (node->is_reachable || !knows_members) &&
            view->member_count < VIEW_NODE_COUNT_MAX) {
            member = &view->members[view->member_count++];
            copy(member->name, sizeof(member->name), node->name);
        }
        if (member != NULL && member->node == NULL) {
            member->node = node->is_reachable ? node : NULL;
            copy(member->client, sizeof(member->client), node->address);
        }
    }
}

static void finish(struct view *view)
{
    match(view);
    view->done(view, view->context);
}

static void answered(const struct holdfast_result *result, void *context)
{
    struct view_node *node = context;
    struct view *view = node->view;

    ASSERT(view->waiting_count > 0);
    view->waiting_count--;
    if (result->status == HOLDFAST_OK && result->node != NULL) {
        take_answer(node, result->node);
    } else {
        copy(node->reason, sizeof(node->reason), result->text);
        node->refuses_us = result->status == HOLDFAST_AUTH;
    }
    if (view->waiting_count != 0) {
        return;
    }
    bool is_over =
        view->run->client == NULL; /* The answers were cancelled: nobody is asked any more. */
    for (uint32_t i = 0; i < view->member_count && !is_over; i++) {
        if (view->members[i].client[0] != '\0') {
            ask(view, view->members[i].client);
        }
    }
    if (view->waiting_count == 0) {
        finish(view);
    }
}

static void ask_endpoints(struct view *view, const char *at)
{
    char address[VIEW_ADDRESS_SIZE];

    while (*at != '\0') {
        size_t size = strcspn(at, ",");
        struct text text;

        text_init(&text, address, sizeof(address));
        text_add_bytes(&text, bytes_of(at, size));
        ask(view, address);
        at += at[size] == '\0' ? size : size + 1;
    }
}

void view_ask(struct view *view, struct run *run, view_callback done, void *context)
{
    *view = (struct view){.run = run, .done = done, .context = context};
    ask_endpoints(view, run->options->endpoints);
    if (view->waiting_count == 0) {
        finish(view);
    }
}

const struct view_node *view_leader(const struct view *view)
{
    const struct view_node *leader = NULL;
    uint64_t newest_term = 0;

    for (uint32_t i = 0; i < view->node_count; i++) {
        const struct view_node *node = &view->nodes[i];

        if (node->is_reachable && node->term >= newest_term) {
            bool is_newer = node->term > newest_term;

            newest_term = node->term;
            if (strcmp(node->role, "leader") == 0) {
                leader = node;
            } else if (is_newer) {
                leader = NULL;
            }
        }
    }
    return leader;
}

uint64_t view_term(const struct view *view)
{
    uint64_t term = 0;

    for (uint32_t i = 0; i < view->node_count; i++) {
        term = view->nodes[i].term > term ? view->nodes[i].term : term;
    }
    return term;
}

bool view_is_served(const struct view *view)
{
    bool is_refused = false;

    for (uint32_t i = 0; i < view->node_count; i++) {
        if (view->nodes[i].is_reachable) {
            return true;
        }
        is_refused = is_refused || view->nodes[i].refuses_us;
    }
    return !is_refused;
}

void view_complain_of_silence(const struct view *view)
{
    complain("no node answers; start them, or see whether the endpoints are right:");
    for (uint32_t i = 0; i < view->node_count; i++) {
        fprintf(stderr, "  %s: %s\n", view->nodes[i].address, view->nodes[i].reason);
    }
}
