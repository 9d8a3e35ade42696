/* client/command/look.c: locks, locks show, session ls, session end. */
#define _GNU_SOURCE
#include <string.h>

#include "base/assert.h"
#include "base/duration.h"
#include "client/command/lock_ask.h"
#include "client/command/run.h"

struct look {
    uint8_t after[OPTIONS_NAME_SIZE_MAX];
    size_t after_size;
    uint64_t after_session;
    uint64_t session; /* To be ended. */
    bool has_printed;
    bool lists_elections; /* Behind the locks. */
};

enum { NAME_WIDTH = 20, NUMBER_WIDTH = 12, DURATION_WIDTH = 10 };

static void add_duration(struct output *output, uint64_t ms)
{
    char text[DURATION_TEXT_SIZE];

    output_column(output, bytes_of_text(duration_to_text(ms, text)), DURATION_WIDTH);
}

/* The head of a table, before its first row. */
static void add_head(struct run *run, const char *head)
{
    struct look *look = run->context;

    if (!look->has_printed) {
        look->has_printed = true;
        text_add(&run->output.text, head);
        output_line(&run->output);
    }
}

static void add_holder_json(struct output *output, const struct holdfast_lock_info *lock)
{
    output_u64(output, "session", lock->session);
    output_text(output, "owner", lock->owner);
    output_u64(output, "token", lock->token);
    output_u64(output, "age_ms", lock->age_ms);
    output_u64(output, "left_ms", lock->left_ms);
}

/* "2", or of a lock that counts permits "3/5". */
static void add_used(struct output *output, const struct holdfast_lock_info *lock)
{
    char memory[2 * NUMBER_WIDTH];
    struct text text;

    text_init(&text, memory, sizeof(memory));
    text_add_u64(&text, lock->mode == HOLDFAST_PERMITS ? lock->used : lock->holders);
    if (lock->mode == HOLDFAST_PERMITS) {
        text_add(&text, "/");
        text_add_u64(&text, lock->permits);
    }
    output_column(output, bytes_of_text(memory), NUMBER_WIDTH);
}

static void print_lock(struct run *run, const struct holdfast_lock_info *lock)
{
    struct output *output = &run->output;
    const struct look *look = run->context;
    const char *mode = look->lists_elections ? "election" : lock_mode_text(lock->mode);
    struct bytes name = bytes_of(lock->name, lock->name_size);

    if (run->options->json) {
        text_add(&output->text, "{");
        output_bytes(output, "name", name);
        output_text(output, "mode", mode);
        add_holder_json(output, lock);
        output_u64(output, "holders", lock->holders);
        output_u64(output, "permits", lock->permits);
        output_u64(output, "used", lock->used);
        output_u64(output, "waiters", lock->waiters);
        text_add(&output->text, "}");
        output_line(output);
        return;
    }
    add_head(run, "NAME                 MODE       HOLDERS      TOKEN        AGE        LEFT       "
                  "WAITING      OWNER");
    output_column(output, name, NAME_WIDTH);
    output_column(output, bytes_of_text(mode), DURATION_WIDTH);
    add_used(output, lock);
    output_column_u64(output, lock->token, NUMBER_WIDTH);
    add_duration(output, lock->age_ms);
    add_duration(output, lock->left_ms);
    output_column_u64(output, lock->waiters, NUMBER_WIDTH);
    text_add(&output->text, lock->owner);
    output_line(output);
}

static void locks_listed(const struct holdfast_result *result, void *context);

static void ask_locks(struct run *run)
{
    const struct look *look = run->context;
    const char *prefix = run->options->operand_count == 0 ? "" : run->options->operands[0];

    struct holdfast_call *call =
        look->lists_elections ? holdfast_elections(run->client, prefix, strlen(prefix), look->after,
                                                   look->after_size, locks_listed, run)
                              : holdfast_locks(run->client, prefix, strlen(prefix), look->after,
                                               look->after_size, locks_listed, run);

    if (call == NULL) {
        run_refused(run, "locks");
    }
}

static void locks_listed(const struct holdfast_result *result, void *context)
{
    struct run *run = context;
    struct look *look = run->context;

    if (result->status != HOLDFAST_OK) {
        run_finish(run, run_complain(run, result, "locks"));
        return;
    }
    for (size_t i = 0; i < result->lock_count; i++) {
        print_lock(run, &result->locks[i]);
    }
    bool is_complete = !result->more || result->lock_count == 0;

    /* No election's name begins with what is longer than any. */
    bool is_last =
        look->lists_elections || (run->options->operand_count != 0 &&
                                  strlen(run->options->operands[0]) > OPTIONS_ELECTION_SIZE_MAX);

    if (is_complete && is_last) {
        run_finish(run, EXIT_DONE);
        return;
    }
    if (is_complete) {
        look->lists_elections = true;
        look->after_size = 0;
        ask_locks(run);
        return;
    }
    const struct holdfast_lock_info *last = &result->locks[result->lock_count - 1];

    ASSERT(last->name_size <= sizeof(look->after));
    look->after_size = last->name_size;
    memcpy(look->after, last->name, last->name_size);
    ask_locks(run);
}

static void add_metadata_json(struct output *output, const struct holdfast_lock_info *lock)
{
    output_bytes(output, "metadata", bytes_of(lock->metadata, lock->metadata_size));
}

static const char *shown_mode(const struct run *run, const struct holdfast_result *result)
{
    return run->options->election ? "election" : lock_mode_text(result->mode);
}

static void show_json(struct run *run, const struct holdfast_result *result)
{
    struct output *output = &run->output;

    text_add(&output->text, "{");
    output_bytes(output, "name", bytes_of_text(run->options->operands[0]));
    output_text(output, "mode", shown_mode(run, result));
    output_u64(output, "permits", result->permits);
    output_u64(output, "used", result->used);
    output_name(output, "holders");
    text_add(&output->text, "[");
    for (size_t i = 0; i < result->lock_count; i++) {
        text_add(&output->text, i == 0 ? "{" : ",{");
        add_holder_json(output, &result->locks[i]);
        output_u64(output, "units", result->locks[i].units);
        text_add(&output->text, result->locks[i].is_lost ? ",\"lost\":true" : ",\"lost\":false");
        add_metadata_json(output, &result->locks[i]);
        text_add(&output->text, "}");
    }
    text_add(&output->text, "]");
    output_name(output, "queue");
    text_add(&output->text, "[");
    for (size_t i = 0; i < result->queue_count; i++) {
        text_add(&output->text, i == 0 ? "{" : ",{");
        output_u64(output, "session", result->queue[i].session);
        output_text(output, "owner", result->queue[i].owner);
        output_u64(output, "position", result->queue[i].position);
        output_text(output, "mode", lock_mode_text(result->queue[i].mode));
        output_u64(output, "units", result->queue[i].units);
        add_metadata_json(output, &result->queue[i]);
        text_add(&output->text, "}");
    }
    text_add(&output->text, "]");
    output_u64(output, "waiters", result->waiters);
    text_add(&output->text, "}");
    output_line(output);
}

/* What the mode and the metadata add behind a holder or waiter. */
static void add_details(struct output *output, const struct holdfast_lock_info *lock)
{
    if (lock->mode == HOLDFAST_PERMITS) {
        text_add(&output->text, ", permits ");
        text_add_u64(&output->text, lock->units);
    }
    if (lock->metadata_size != 0) {
        text_add(&output->text, ", ");
        text_add_bytes(&output->text, bytes_of(lock->metadata, lock->metadata_size));
    }
}

static void add_holder(struct output *output, const struct holdfast_lock_info *holder)
{
    char age[DURATION_TEXT_SIZE];
    char left[DURATION_TEXT_SIZE];

    text_add(&output->text, holder->is_lost ? "  lost by " : "  held by ");
    text_add(&output->text, holder->owner);
    text_add(&output->text, ", session ");
    text_add_u64(&output->text, holder->session);
    text_add(&output->text, ", token ");
    text_add_u64(&output->text, holder->token);
    text_add(&output->text, ", for ");
    text_add(&output->text, duration_to_text(holder->age_ms, age));
    text_add(&output->text, holder->is_lost ? ", delay left " : ", left ");
    text_add(&output->text, duration_to_text(holder->left_ms, left));
    add_details(output, holder);
    output_line(output);
}

static void show_text(struct run *run, const struct holdfast_result *result)
{
    struct output *output = &run->output;

    text_add(&output->text, run->options->operands[0]);
    text_add(&output->text, ": ");
    text_add(&output->text, shown_mode(run, result));
    if (result->mode == HOLDFAST_PERMITS) {
        text_add(&output->text, " ");
        text_add_u64(&output->text, result->used);
        text_add(&output->text, "/");
        text_add_u64(&output->text, result->permits);
    }
    output_line(output);
    for (size_t i = 0; i < result->lock_count; i++) {
        add_holder(output, &result->locks[i]);
    }
    for (size_t i = 0; i < result->queue_count; i++) {
        const struct holdfast_lock_info *waiter = &result->queue[i];

        text_add(&output->text, "  ");
        text_add_u64(&output->text, waiter->position);
        text_add(&output->text, ". ");
        text_add(&output->text, waiter->owner);
        text_add(&output->text, ", session ");
        text_add_u64(&output->text, waiter->session);
        text_add(&output->text, ", ");
        text_add(&output->text, lock_mode_text(waiter->mode));
        add_details(output, waiter);
        output_line(output);
    }
}

static void lock_shown(const struct holdfast_result *result, void *context)
{
    struct run *run = context;

    if (result->status == HOLDFAST_NOT_FOUND) {
        complain("locks show %s: nobody %s it", run->options->operands[0],
                 run->options->election ? "leads" : "holds");
    }
    if (result->status != HOLDFAST_OK) {
        run_finish(run, run_complain(run, result, "locks show"));
        return;
    }
    if (run->options->json) {
        show_json(run, result);
    } else {
        show_text(run, result);
    }
    run_finish(run, EXIT_DONE);
}

static void print_session(struct run *run, const struct holdfast_session_info *session)
{
    struct output *output = &run->output;

    if (run->options->json) {
        text_add(&output->text, "{");
        output_u64(output, "session", session->session);
        output_text(output, "owner", session->owner);
        output_u64(output, "ttl_ms", session->ttl_ms);
        output_u64(output, "age_ms", session->age_ms);
        output_u64(output, "left_ms", session->left_ms);
        text_add(&output->text, "}");
        output_line(output);
        return;
    }
    add_head(run, "SESSION      TTL        AGE        LEFT       OWNER");
    output_column_u64(output, session->session, NUMBER_WIDTH);
    add_duration(output, session->ttl_ms);
    add_duration(output, session->age_ms);
    add_duration(output, session->left_ms);
    text_add(&output->text, session->owner);
    output_line(output);
}

static void sessions_listed(const struct holdfast_result *result, void *context);

static void ask_sessions(struct run *run)
{
    const struct look *look = run->context;

    if (holdfast_sessions(run->client, look->after_session, sessions_listed, run) == NULL) {
        run_refused(run, "session ls");
    }
}

static void sessions_listed(const struct holdfast_result *result, void *context)
{
    struct run *run = context;
    struct look *look = run->context;

    if (result->status != HOLDFAST_OK) {
        run_finish(run, run_complain(run, result, "session ls"));
        return;
    }
    for (size_t i = 0; i < result->session_count; i++) {
        print_session(run, &result->sessions[i]);
        look->after_session = result->sessions[i].session;
    }
    if (!result->more || result->session_count == 0) {
        run_finish(run, EXIT_DONE);
        return;
    }
    ask_sessions(run);
}

static void session_ended(const struct holdfast_result *result, void *context)
{
    struct run *run = context;
    struct output *output = &run->output;
    const struct look *look = run->context;

    ASSERT(run->is_write);
    if (result->status == HOLDFAST_SESSION_EXPIRED) {
        complain("session end: there is no session %s; see `holdfast session ls`",
                 run->options->operands[0]);
        run_finish(run, EXIT_NO);
        return;
    }
    if (result->status != HOLDFAST_OK) {
        run_finish(run, run_complain(run, result, "session end"));
        return;
    }
    if (run->options->json) {
        text_add(&output->text, "{");
        output_u64(output, "session", look->session);
        text_add(&output->text, "}");
        output_line(output);
    }
    run_finish(run, EXIT_DONE);
}

static void end_session(struct run *run)
{
    struct look *look = run->context;
    bool is_number = text_parse_u64(bytes_of_text(run->options->operands[0]), &look->session);

    ASSERT(is_number); /* options_parse() */
    run->is_write = true;
    if (holdfast_session_end_id(run->client, look->session, session_ended, run) == NULL) {
        run_refused(run, "session end");
    }
}

static void show_lock(struct run *run)
{
    const char *name = run->options->operands[0];

    ASSERT(run->options->command == COMMAND_LOCKS_SHOW);
    struct holdfast_call *call =
        run->options->election
            ? holdfast_election_show(run->client, name, strlen(name), lock_shown, run)
            : holdfast_lock_show(run->client, name, strlen(name), lock_shown, run);

    if (call == NULL) {
        run_refused(run, "locks show");
    }
}

int look_run(struct run *run)
{
    struct look look = {.after_size = 0};

    run->context = &look;
    if (!run_open(run, 1)) {
        return run->exit_status;
    }
    if (run->options->command == COMMAND_LOCKS) {
        ask_locks(run);
    } else if (run->options->command == COMMAND_SESSION_LS) {
        ask_sessions(run);
    } else if (run->options->command == COMMAND_SESSION_END) {
        end_session(run);
    } else {
        show_lock(run);
    }
    run_loop(run);
    return run->exit_status;
}
