/* client/command/member.c: member ls, add, remove, promote; leader move. */
#define _GNU_SOURCE
#include <string.h>

#include "base/assert.h"
#include "client/command/run.h"

enum { ADDRESS_SIZE = 129, ASK_TIMEOUT_MS = 1000 };

/* --- Changes ---------------------------------------------------------------------------------- */

static const char *what_of(const struct run *run)
{
    return run->options->command == COMMAND_LEADER_MOVE ? "leader move" : "member";
}

static void changed(const struct holdfast_result *result, void *context)
{
    struct run *run = context;
    struct output *output = &run->output;

    if (result->status == HOLDFAST_NOT_FOUND) {
        complain("%s: %s: %s", what_of(run), run->options->operands[0], result->text);
        run_finish(run, EXIT_NO);
        return;
    }
    if (result->status == HOLDFAST_TIMEOUT) {
        complain("%s: %s; it may go on: see `holdfast member ls` before trying again", what_of(run),
                 result->text);
        run_finish(run, exit_of_result(result, true));
        return;
    }
    if (result->status != HOLDFAST_OK) {
        run_finish(run, run_complain(run, result, what_of(run)));
        return;
    }
    if (run->options->json) {
        text_add(&output->text, "{");
        output_text(output, "node", run->options->operands[0]);
        text_add(&output->text, "}");
        output_line(output);
    }
    run_finish(run, EXIT_DONE);
}

static struct holdfast_call *start(struct run *run)
{
    const char *name = run->options->operands[0];

    if (run->options->command == COMMAND_MEMBER_ADD) {
        return holdfast_member_add(run->client, name, run->options->learner, changed, run);
    }
    if (run->options->command == COMMAND_MEMBER_REMOVE) {
        return holdfast_member_remove(run->client, name, changed, run);
    }
    if (run->options->command == COMMAND_MEMBER_PROMOTE) {
        return holdfast_member_promote(run->client, name, run->options->replace, changed, run);
    }
    ASSERT(run->options->command == COMMAND_LEADER_MOVE);
    return holdfast_leader_move(run->client, name, changed, run);
}

int member_run(struct run *run)
{
    if (!run_open(run, 1)) {
        return run->exit_status;
    }
    run->is_write = true;
    if (start(run) == NULL) {
        run_refused(run, what_of(run));
    }
    run_loop(run);
    return run->exit_status;
}

/* --- The list --------------------------------------------------------------------------------- */

/* The endpoints are asked one after the other until one answers, and then whom that one knows as
 * the leader: it alone knows how far learners are. */
struct list {
    const char *next; /* Of the endpoints not asked yet. */
    char leader[ADDRESS_SIZE];
    bool is_at_leader;
};

static void answered(const struct holdfast_result *result, void *context);

static bool ask(struct run *run, const char *address)
{
    if (holdfast_node_status(run->client, address, ASK_TIMEOUT_MS, answered, run) == NULL) {
        run_refused(run, "member ls");
        return false;
    }
    return true;
}

static void ask_next(struct run *run)
{
    struct list *list = run->context;
    char address[ADDRESS_SIZE];
    size_t size = strcspn(list->next, ",");
    struct text text;

    if (*list->next == '\0') {
        complain("member ls: no node answers; see `holdfast status`");
        run_finish(run, EXIT_NO_QUORUM);
        return;
    }
    text_init(&text, address, sizeof(address));
    text_add_bytes(&text, bytes_of(list->next, size));
    list->next += list->next[size] == '\0' ? size : size + 1;
    (void)ask(run, address);
}

static void print_json(struct output *output, const struct holdfast_member_info *member)
{
    text_add(&output->text, "{");
    output_text(output, "name", member->name);
    if (member->member[0] == '\0') {
        output_null(output, "member");
    } else {
        output_text(output, "member", member->member);
    }
    output_u64(output, "id", member->id);
    output_text(output, "peer", member->peer);
    output_text(output, "client", member->client);
    output_name(output, "connected");
    text_add(&output->text, member->is_connected ? "true" : "false");
    output_name(output, "caught_up");
    text_add(&output->text, member->is_caught_up ? "true" : "false");
    text_add(&output->text, "}");
    output_line(output);
}

static void print_text(struct output *output, const struct holdfast_member_info *member)
{
    output_column(output, bytes_of_text(member->name), 10);
    output_column(output, bytes_of_text(member->member[0] == '\0' ? "?" : member->member), 10);
    output_column(output, bytes_of_text(member->peer), 24);
    output_column(output, bytes_of_text(member->client), 24);
    text_add(&output->text, !member->is_connected                    ? "silent"
                            : strcmp(member->member, "waiting") == 0 ? "asks to join"
                            : member->is_caught_up                   ? "up to date"
                                                                     : "catching up");
    output_line(output);
}

static void print(struct run *run, const struct holdfast_node_status *node)
{
    const struct holdfast_member_info *const parts[] = {node->members, node->waiting};
    const size_t counts[] = {node->member_count, node->waiting_count};
    struct output *output = &run->output;

    if (!run->options->json) {
        text_add(&output->text, "NAME       MEMBER     PEER                     CLIENT"
                                "                   STATE");
        output_line(output);
    }
    for (size_t part = 0; part < 2; part++) {
        for (size_t i = 0; i < counts[part]; i++) {
            if (run->options->json) {
                print_json(output, &parts[part][i]);
            } else {
                print_text(output, &parts[part][i]);
            }
        }
    }
}

/* Its address, where `node` knows a leader that is not itself. */
static bool find_leader(const struct holdfast_node_status *node, struct list *list)
{
    struct text text;

    for (size_t i = 0; i < node->member_count; i++) {
        const struct holdfast_member_info *member = &node->members[i];

        if (strcmp(member->name, node->leader) == 0 && strcmp(node->leader, node->node) != 0 &&
            member->client[0] != '\0') {
            text_init(&text, list->leader, sizeof(list->leader));
            text_add(&text, member->client);
            return !text.truncated;
        }
    }
    return false;
}

static void answered(const struct holdfast_result *result, void *context)
{
    struct run *run = context;
    struct list *list = run->context;

    if (result->status == HOLDFAST_AUTH) {
        run_finish(run, run_complain(run, result, "member ls"));
        return;
    }
    if (result->status != HOLDFAST_OK || result->node == NULL) {
        ask_next(run);
        return;
    }
    if (!list->is_at_leader && find_leader(result->node, list)) {
        list->is_at_leader = true;
        (void)ask(run, list->leader);
        return;
    }
    print(run, result->node);
    run_finish(run, EXIT_DONE);
}

int member_ls_run(struct run *run)
{
    struct list list = {.next = run->options->endpoints};

    run->context = &list;
    if (!run_open(run, 1)) {
        return run->exit_status;
    }
    ask_next(run);
    run_loop(run);
    return run->exit_status;
}
