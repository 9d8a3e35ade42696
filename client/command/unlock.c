/* client/command/unlock.c: unlock, and the audit of what was unlocked by force. */
#define _GNU_SOURCE
#include <string.h>

#include "base/assert.h"
#include "base/duration.h"
#include "client/command/clock.h"
#include "client/command/run.h"

static void unlocked(const struct holdfast_result *result, void *context)
{
    struct run *run = context;
    struct output *output = &run->output;
    const struct options *options = run->options;

    ASSERT(run->is_write);
    if (result->status == HOLDFAST_NOT_FOUND) {
        complain("unlock %s: nobody %s it", options->operands[0],
                 options->election ? "leads" : "holds");
    } else if (result->status == HOLDFAST_FENCED) {
        complain("unlock %s: no holder has that token any more; see `holdfast locks show %s%s`",
                 options->operands[0], options->operands[0],
                 options->election ? " --election" : "");
        run_finish(run, EXIT_REFUSED);
        return;
    }
    if (result->status != HOLDFAST_OK) {
        run_finish(run, run_complain(run, result, "unlock"));
        return;
    }
    if (options->json) {
        text_add(&output->text, "{");
        output_text(output, "name", options->operands[0]);
        output_u64(output, "token", options->token);
        text_add(&output->text, "}");
        output_line(output);
    }
    run_finish(run, EXIT_DONE);
}

int unlock_run(struct run *run)
{
    const struct options *options = run->options;
    const struct holdfast_forced_unlock forced = {
        .name = options->operands[0],
        .name_size = strlen(options->operands[0]),
        .token = options->token,
        .reason = options->reason,
        .by = options->owner,
        .wall_ms = clock_wall_ms(),
        .is_election = options->election,
    };

    if (!run_open(run, 1)) {
        return run->exit_status;
    }
    run->is_write = true;
    if (holdfast_lock_break(run->client, &forced, unlocked, run) == NULL) {
        run_refused(run, "unlock");
    }
    run_loop(run);
    return run->exit_status;
}

/* --- The audit -------------------------------------------------------------------------------- */

static void print_json(struct output *output, const struct holdfast_audit_info *audit)
{
    text_add(&output->text, "{");
    output_u64(output, "number", audit->number);
    output_u64(output, "age_ms", audit->age_ms);
    output_u64(output, "wall_ms", audit->wall_ms);
    output_bytes(output, "name", bytes_of(audit->name, audit->name_size));
    output_name(output, "election");
    text_add(&output->text, audit->is_election ? "true" : "false");
    output_u64(output, "token", audit->token);
    output_u64(output, "session", audit->session);
    output_text(output, "owner", audit->owner);
    output_text(output, "by", audit->by);
    output_text(output, "reason", audit->reason);
    text_add(&output->text, "}");
    output_line(output);
}

static void print_line(struct output *output, const struct holdfast_audit_info *audit)
{
    char age[DURATION_TEXT_SIZE];

    text_add_u64(&output->text, audit->number);
    text_add(&output->text, ". ");
    text_add(&output->text, duration_to_text(audit->age_ms, age));
    text_add(&output->text, audit->is_election ? " ago: election " : " ago: ");
    text_add_bytes(&output->text, bytes_of(audit->name, audit->name_size));
    text_add(&output->text, ", token ");
    text_add_u64(&output->text, audit->token);
    text_add(&output->text, " of ");
    text_add(&output->text, audit->owner);
    text_add(&output->text, ", by ");
    text_add(&output->text, audit->by);
    text_add(&output->text, ": ");
    text_add(&output->text, audit->reason);
    output_line(output);
}

static void audit_listed(const struct holdfast_result *result, void *context)
{
    struct run *run = context;
    uint64_t after = 0;

    if (result->status != HOLDFAST_OK) {
        run_finish(run, run_complain(run, result, "audit"));
        return;
    }
    for (size_t i = 0; i < result->audit_count; i++) {
        if (run->options->json) {
            print_json(&run->output, &result->audit[i]);
        } else {
            print_line(&run->output, &result->audit[i]);
        }
        after = result->audit[i].number;
    }
    if (!result->more || result->audit_count == 0) {
        run_finish(run, EXIT_DONE);
    } else if (holdfast_audit(run->client, after, audit_listed, run) == NULL) {
        run_refused(run, "audit");
    }
}

int audit_run(struct run *run)
{
    ASSERT(run->options->command == COMMAND_AUDIT);
    if (!run_open(run, 1)) {
        return run->exit_status;
    }
    if (holdfast_audit(run->client, 0, audit_listed, run) == NULL) {
        run_refused(run, "audit");
    }
    run_loop(run);
    return run->exit_status;
}
