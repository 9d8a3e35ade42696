/* client/command/status.c: what every node says of itself, once. */
#define _GNU_SOURCE
#include "client/command/run.h"
#include "client/command/view.h"

static void add_flag(struct output *output, const char *name, const bool *flag)
{
    output_name(output, name);
    text_add(&output->text, flag == NULL ? "null" : *flag ? "true" : "false");
}

static void add_limits_json(struct output *output, const struct view_node *node)
{
    static const char *const names[] = {"memory_bound_bytes", "queued", "overloaded",
                                        "rate_limited", "late"};
    const struct view_node none = {.view = NULL};
    const struct view_node *known = node == NULL ? &none : node;
    const uint64_t values[COUNT_OF(names)] = {known->memory_bound_bytes, known->queued_count,
                                              known->overloaded_count, known->rate_limited_count,
                                              known->late_count};

    for (size_t i = 0; i < COUNT_OF(names); i++) {
        if (node == NULL) {
            output_null(output, names[i]);
        } else {
            output_u64(output, names[i], values[i]);
        }
    }
}

static void add_options_json(struct output *output, const struct view_node *node)
{
    bool knows_disk = node != NULL && (node->disk_is_low || node->disk_free != 0);

    add_flag(output, "disk_low", knows_disk ? &node->disk_is_low : NULL);
    if (knows_disk) {
        output_u64(output, "disk_free", node->disk_free);
    } else {
        output_null(output, "disk_free");
    }
    add_flag(output, "refuses_writes", node == NULL ? NULL : &node->refuses_writes);
    if (node == NULL) {
        output_null(output, "lease_ms");
        output_null(output, "lease_left_ms");
        output_null(output, "lease_reads");
        output_null(output, "forwarded_total");
        output_null(output, "forwarding");
        output_null(output, "taken_total");
    } else {
        output_u64(output, "lease_ms", node->lease_ms);
        output_u64(output, "lease_left_ms", node->lease_left_ms);
        output_u64(output, "lease_reads", node->lease_reads);
        output_u64(output, "forwarded_total", node->forwarded_total);
        output_u64(output, "forwarding", node->forwarding);
        output_u64(output, "taken_total", node->taken_total);
    }
    add_limits_json(output, node);
}

static void add_node_json(struct output *output, const struct view_member *member)
{
    const struct view_node *node = member->node;

    text_add(&output->text, "{");
    if (member->name[0] == '\0') {
        output_null(output, "name");
    } else {
        output_text(output, "name", member->name);
    }
    output_text(output, "client", member->client);
    if (node == NULL) {
        output_null(output, "role");
        output_null(output, "term");
        output_null(output, "commit");
        output_null(output, "applied");
    } else {
        output_text(output, "role", node->role);
        output_u64(output, "term", node->term);
        output_u64(output, "commit", node->commit);
        output_u64(output, "applied", node->applied);
    }
    output_name(output, "reachable");
    text_add(&output->text, node == NULL ? "false" : "true");
    output_null(output, "phi");
    if (member->part[0] == '\0') {
        output_null(output, "member");
    } else {
        output_text(output, "member", member->part);
    }
    if (node == NULL) {
        output_null(output, "state_hash");
    } else {
        output_u64(output, "state_hash", node->state_hash);
    }
    add_options_json(output, node);
    text_add(&output->text, "}");
}

static void print_json(struct output *output, const struct view *view,
                       const struct view_node *leader)
{
    text_add(&output->text, "{");
    if (view->cluster[0] == '\0') {
        output_null(output, "cluster");
    } else {
        output_text(output, "cluster", view->cluster);
    }
    if (leader == NULL) {
        output_null(output, "leader");
    } else {
        output_text(output, "leader", leader->name);
    }
    if (view->cluster[0] == '\0') {
        output_null(output, "term");
    } else {
        output_u64(output, "term", view_term(view));
    }
    output_name(output, "nodes");
    text_add(&output->text, "[");
    for (uint32_t i = 0; i < view->member_count; i++) {
        text_add(&output->text, i == 0 ? "" : ",");
        add_node_json(output, &view->members[i]);
    }
    text_add(&output->text, "]}");
    output_line(output);
}

static void print_text(struct output *output, const struct view *view,
                       const struct view_node *leader)
{
    text_add(&output->text, "cluster ");
    text_add(&output->text, view->cluster[0] == '\0' ? "unknown" : view->cluster);
    text_add(&output->text, leader == NULL ? ", no leader" : ", leader ");
    text_add(&output->text, leader == NULL ? "" : leader->name);
    output_line(output);
    text_add(&output->text,
             "  NAME       CLIENT                   ROLE           TERM     COMMIT       APPLIED");
    output_line(output);
    for (uint32_t i = 0; i < view->member_count; i++) {
        const struct view_member *member = &view->members[i];
        const struct view_node *node = member->node;
        const char *role = node == NULL ? "unreachable" : node->role;

        text_add(&output->text, node != NULL && node == leader ? "* " : "  ");
        output_column(output, bytes_of_text(member->name[0] == '\0' ? "?" : member->name), 10);
        output_column(output, bytes_of_text(member->client), 24);
        output_column(output, bytes_of_text(role), 14);
        if (node != NULL) {
            output_column_u64(output, node->term, 8);
            output_column_u64(output, node->commit, 12);
            if (node->disk_is_low) {
                output_column_u64(output, node->applied, 12);
                text_add(&output->text, "disk low");
            } else {
                text_add_u64(&output->text, node->applied);
            }
        }
        output_line(output);
    }
}

/* What holds for the whole cluster, as its leader says. */
static void print_state(struct output *output, const struct view_node *leader)
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

static void viewed(struct view *view, void *context)
{
    (void)context;
    run_finish(view->run, EXIT_DONE);
}

int status_run(struct run *run)
{
    struct view view;

    if (!run_open(run, 1)) {
        return run->exit_status;
    }
    view_ask(&view, run, viewed, NULL);
    run_loop(run);
    if (!view_is_served(&view)) {
        complain("status: %s; %s", holdfast_status_text(HOLDFAST_AUTH), exit_advice(HOLDFAST_AUTH));
        return EXIT_REFUSED;
    }
    if (view.cluster[0] == '\0') {
        view_complain_of_silence(&view);
    }
    const struct view_node *leader = view_leader(&view);

    if (run->options->json) {
        print_json(&run->output, &view, leader);
    } else {
        print_text(&run->output, &view, leader);
        print_state(&run->output, leader);
    }
    return leader == NULL ? EXIT_NO_QUORUM : EXIT_DONE;
}
