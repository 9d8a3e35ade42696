/* client/command/bind.c: `put --session`: a key that lives as long as this process holds its
 * session.
 *
 *   OPENING --open--> PUTTING --written--> HOLDING --signal--> ENDING
 *      |                 |                    |                   ^
 *      +-----------------+-- refused, lost, signal ---------------+
 */
#define _GNU_SOURCE
#include <inttypes.h>
#include <signal.h>
#include <string.h>

#include "base/assert.h"
#include "client/command/run.h"

enum bind_phase { BIND_OPENING, BIND_PUTTING, BIND_HOLDING, BIND_ENDING };

static const int watched_signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};

enum { SIGNAL_COUNT = COUNT_OF(watched_signals) };

struct bind {
    struct run *run;
    enum bind_phase phase;
    struct holdfast_session *session;
    uv_signal_t signals[SIGNAL_COUNT];
};

static void finish(struct bind *bind, int exit_status)
{
    bind->phase = BIND_ENDING;
    if (bind->run->client == NULL) {
        return;
    }
    for (size_t i = 0; i < SIGNAL_COUNT; i++) {
        uv_close((uv_handle_t *)&bind->signals[i], NULL);
    }
    run_finish(bind->run, exit_status);
}

static void session_ended(const struct holdfast_result *result, void *context)
{
    struct bind *bind = context;

    if (result->status != HOLDFAST_OK && bind->run->client != NULL) {
        complain("put %s: its session is not ended (%s); the key is gone when its TTL is over",
                 bind->run->options->operands[0], result->text);
    }
    finish(bind, EXIT_DONE);
}

static void give_back(struct bind *bind)
{
    struct holdfast_session *session = bind->session;

    ASSERT(bind->phase == BIND_HOLDING);
    bind->phase = BIND_ENDING;
    bind->session = NULL;
    if (holdfast_session_end(session, session_ended, bind) == NULL) {
        finish(bind, EXIT_DONE);
    }
}

static void state_changed(struct holdfast_session *session, enum holdfast_session_state state,
                          void *context)
{
    struct bind *bind = context;

    if (session != bind->session || state != HOLDFAST_SESSION_LOST || bind->phase != BIND_HOLDING) {
        return; /* In front of HOLDING the call under way is told. */
    }
    complain("put %s: lost: its session was not renewed in time, or was ended; the key is gone",
             bind->run->options->operands[0]);
    finish(bind, EXIT_LOST);
}

static void give_up(struct bind *bind, const struct holdfast_result *result)
{
    finish(bind, run_complain(bind->run, result, "put --session"));
}

static void print_bound(struct bind *bind, uint64_t revision)
{
    struct output *output = &bind->run->output;
    uint64_t session = holdfast_session_id(bind->session);
    const char *key = bind->run->options->operands[0];

    if (bind->run->options->json) {
        text_add(&output->text, "{");
        output_bytes(output, "key", bytes_of_text(key));
        output_u64(output, "revision", revision);
        output_u64(output, "session", session);
        text_add(&output->text, "}");
    } else {
        text_add(&output->text, key);
        text_add(&output->text, " session=");
        text_add_u64(&output->text, session);
    }
    output_line(output);
}

static void written(const struct holdfast_result *result, void *context)
{
    struct bind *bind = context;

    if (bind->phase != BIND_PUTTING) {
        return;
    }
    if (result->status != HOLDFAST_OK) {
        give_up(bind, result);
        return;
    }
    bind->phase = BIND_HOLDING;
    print_bound(bind, result->revision);
}

static void refuse(struct bind *bind)
{
    complain("put --session: too many calls at once; try again later");
    finish(bind, EXIT_REFUSED);
}

static void opened(const struct holdfast_result *result, void *context)
{
    struct bind *bind = context;
    const char *const *operands = bind->run->options->operands;

    if (bind->phase != BIND_OPENING) {
        return;
    }
    if (result->status != HOLDFAST_OK) {
        give_up(bind, result);
        return;
    }
    bind->phase = BIND_PUTTING;
    bind->run->is_write = true;
    if (holdfast_session_bind(bind->session, operands[0], strlen(operands[0]), operands[1],
                              strlen(operands[1]), written, bind) == NULL) {
        refuse(bind);
    }
}

static void signalled(uv_signal_t *handle, int number)
{
    struct bind *bind = handle->data;

    switch (bind->phase) {
    case BIND_OPENING:
    case BIND_PUTTING:
        finish(bind, EXIT_SIGNAL_BASE + number);
        return;
    case BIND_HOLDING:
        give_back(bind);
        return;
    case BIND_ENDING:
        /* Whoever asks twice does not want to wait for a cluster that does not answer. */
        finish(bind, EXIT_DONE);
        return;
    }
    UNREACHABLE();
}

static void start_signals(struct bind *bind)
{
    for (size_t i = 0; i < SIGNAL_COUNT; i++) {
        uv_signal_init(&bind->run->loop, &bind->signals[i]);
        bind->signals[i].data = bind;
        /* Under nohup a hang-up stays ignored. */
        if (watched_signals[i] != SIGHUP || sigismember(&bind->run->ignored, SIGHUP) == 0) {
            uv_signal_start(&bind->signals[i], signalled, watched_signals[i]);
        }
    }
}

int bind_run(struct run *run)
{
    struct bind bind = {.run = run, .phase = BIND_OPENING};
    const struct holdfast_session_options options = {.ttl_ms = (uint32_t)run->options->ttl_ms,
                                                     .owner = run->options->owner,
                                                     .on_state = state_changed,
                                                     .context = &bind};

    ASSERT(run->options->session);
    if (!run_open(run, 1)) {
        return run->exit_status;
    }
    start_signals(&bind);
    if (holdfast_session_open(run->client, &options, &bind.session, opened, &bind) == NULL) {
        refuse(&bind);
    }
    run_loop(run);
    return run->exit_status;
}
