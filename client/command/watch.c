/* client/command/watch.c: watch: one line for each change, until a signal. */
#define _GNU_SOURCE
#include <inttypes.h>
#include <string.h>

#include "base/assert.h"
#include "client/command/run.h"

enum { SIGNAL_COUNT = 3 };

static const int watched_signals[SIGNAL_COUNT] = {SIGINT, SIGTERM, SIGHUP};

struct observer {
    struct run *run;
    uv_signal_t signals[SIGNAL_COUNT];
    bool is_done;
};

static const char *kind_text(enum holdfast_change_kind kind)
{
    switch (kind) {
    case HOLDFAST_CHANGE_PUT:
        return "put";
    case HOLDFAST_CHANGE_DELETE:
        return "delete";
    case HOLDFAST_CHANGE_GRANTED:
        return "granted";
    case HOLDFAST_CHANGE_RELEASED:
        return "released";
    case HOLDFAST_CHANGE_LOST:
        return "lost";
    case HOLDFAST_CHANGE_BROKEN:
        return "broken";
    case HOLDFAST_CHANGE_PROGRESS:
    case HOLDFAST_CHANGE_OTHER:
        return "other";
    }
    UNREACHABLE();
}

static void print_json(struct output *output, const struct holdfast_change *change, bool locks)
{
    struct bytes name = bytes_of(change->name, change->name_size);

    text_add(&output->text, "{");
    output_u64(output, "revision", change->revision);
    output_u64(output, "number", change->number);
    output_text(output, "kind", kind_text(change->kind));
    output_bytes(output, locks ? "name" : "key", name);
    if (locks) {
        output_u64(output, "session", change->session);
        output_u64(output, "token", change->token);
        output_text(output, "owner", change->owner);
        output_bytes(output, "metadata", bytes_of(change->metadata, change->metadata_size));
        output_name(output, "kept");
        text_add(&output->text, change->is_kept ? "true" : "false");
    } else if (change->kind == HOLDFAST_CHANGE_PUT) {
        output_bytes(output, "value", bytes_of(change->value, change->value_size));
    }
    text_add(&output->text, "}");
    output_line(output);
}

static void print_text(struct output *output, const struct holdfast_change *change, bool locks)
{
    struct text *text = &output->text;

    text_add_u64(text, change->revision);
    text_add(text, "\t");
    text_add(text, kind_text(change->kind));
    text_add(text, "\t");
    text_add_bytes(text, bytes_of(change->name, change->name_size));
    if (locks) {
        text_add(text, "\ttoken=");
        text_add_u64(text, change->token);
        text_add(text, "\tsession=");
        text_add_u64(text, change->session);
        text_add(text, "\t");
        text_add(text, change->owner);
        if (change->metadata_size != 0) {
            text_add(text, "\t");
            text_add_bytes(text, bytes_of(change->metadata, change->metadata_size));
        }
    } else if (change->kind == HOLDFAST_CHANGE_PUT) {
        text_add(text, "\t");
        text_add_bytes(text, bytes_of(change->value, change->value_size));
    }
    output_line(output);
}

static void finish(struct observer *observer, int exit_status)
{
    if (observer->is_done) {
        return;
    }
    observer->is_done = true;
    for (size_t i = 0; i < SIGNAL_COUNT; i++) {
        uv_close((uv_handle_t *)&observer->signals[i], NULL);
    }
    run_finish(observer->run, exit_status);
}

static void changed(struct holdfast_watch *watch, const struct holdfast_change *change,
                    void *context)
{
    struct observer *observer = context;
    struct run *run = observer->run;

    (void)watch;
    if (change->kind == HOLDFAST_CHANGE_PROGRESS || observer->is_done) {
        return;
    }
    if (run->options->json) {
        print_json(&run->output, change, run->options->locks);
    } else {
        print_text(&run->output, change, run->options->locks);
    }
    if (run->output.error != 0) {
        finish(observer, EXIT_DONE); /* The reader is gone; output_close() says what else. */
    }
}

static void ended(struct holdfast_watch *watch, enum holdfast_status status,
                  uint64_t oldest_revision, void *context)
{
    struct observer *observer = context;
    struct run *run = observer->run;
    const struct holdfast_result result = {
        .status = status, .outcome = HOLDFAST_REJECTED, .text = holdfast_status_text(status)};

    (void)watch;
    if (observer->is_done) {
        return;
    }
    if (status != HOLDFAST_COMPACTED) {
        finish(observer, run_complain(run, &result, "watch"));
        return;
    }
    complain("watch: %s (revision %" PRIu64 "); start it again without --from, and then read what "
             "is there with `holdfast %s`",
             result.text, oldest_revision, run->options->locks ? "locks" : "ls");
    finish(observer, EXIT_REFUSED);
}

static void signalled(uv_signal_t *handle, int number)
{
    struct observer *observer = handle->data;

    ASSERT(number != 0);
    finish(observer, EXIT_DONE);
}

static void start_signals(struct observer *observer)
{
    for (size_t i = 0; i < SIGNAL_COUNT; i++) {
        uv_signal_t *handle = &observer->signals[i];

        uv_signal_init(&observer->run->loop, handle);
        handle->data = observer;
        /* Under nohup a hang-up stays ignored. */
        if (watched_signals[i] != SIGHUP || sigismember(&observer->run->ignored, SIGHUP) == 0) {
            uv_signal_start(handle, signalled, watched_signals[i]);
        }
    }
}

int watch_run(struct run *run)
{
    struct observer observer = {.run = run};
    const char *prefix = run->options->operand_count == 0 ? "" : run->options->operands[0];
    const struct holdfast_watch_options options = {
        .prefix = prefix,
        .prefix_size = strlen(prefix),
        .locks = run->options->locks,
        .revision = run->options->from,
        .on_change = changed,
        .on_end = ended,
        .context = &observer,
    };

    if (!run_open(run, 1)) {
        return run->exit_status;
    }
    start_signals(&observer);
    const struct holdfast_watch *watch = holdfast_watch(run->client, &options);

    ASSERT(watch != NULL); /* The prefix was checked with the command line. */
    run_loop(run);
    return run->exit_status;
}
