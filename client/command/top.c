/* client/command/top.c: `holdfast top`: every node and the busiest locks, again and again.
 *
 * Each look asks all nodes and lists locks, then waits out the rest of the interval. Rates are
 * differences of counters between two looks. Nothing is asked twice at a time. */
#define _GNU_SOURCE
#include "client/command/top.h"

#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "client/command/clock.h"
#include "client/command/run.h"
#include "client/command/view.h"

struct top {
    struct run *run;
    struct view view;
    struct top_picture picture;
    uv_timer_t timer;
    uv_signal_t signals[2];
    uint64_t begun_ms; /* The present look. */
    uint64_t looks;
    bool is_ending;
};

static void look(struct top *top);

static void end(struct top *top, int exit_status)
{
    if (top->is_ending) {
        return;
    }
    top->is_ending = true;
    uv_close((uv_handle_t *)&top->timer, NULL);
    for (size_t i = 0; i < COUNT_OF(top->signals); i++) {
        uv_close((uv_handle_t *)&top->signals[i], NULL);
    }
    run_finish(top->run, exit_status);
}

static void signalled(uv_signal_t *handle, int number)
{
    (void)number;
    end(handle->data, EXIT_DONE);
}

static void waited(uv_timer_t *timer)
{
    look(timer->data);
}

/* The locks that most wait for; the first page of the listing is looked at, which the picture says
 * when there is more. */
static void listed(const struct holdfast_result *result, void *context)
{
    struct top *top = context;
    const struct options *options = top->run->options;

    if (top->is_ending) {
        return;
    }
    top_picture_take_locks(&top->picture, result);
    top_picture_draw(&top->picture, &top->run->output, options->json);
    top->looks++;
    if (top->run->output.error != 0 || (options->frames != 0 && top->looks == options->frames)) {
        end(top, view_leader(&top->view) == NULL ? EXIT_NO_QUORUM : EXIT_DONE);
        return;
    }
    uint64_t passed_ms = clock_now_ms() - top->begun_ms;
    uint64_t rest_ms = passed_ms < options->interval_ms ? options->interval_ms - passed_ms : 0;
    int error = uv_timer_start(&top->timer, waited, rest_ms, 0);

    ASSERT(error == 0);
}

static void viewed(struct view *view, void *context)
{
    struct top *top = context;
    struct holdfast_result nothing = {.status = HOLDFAST_NO_QUORUM};

    if (top->is_ending) {
        return;
    }
    top_picture_take_nodes(&top->picture, view, clock_now_us());
    if (view_leader(view) == NULL) {
        listed(&nothing, top); /* It would wait for a leader for the whole timeout. */
    } else if (holdfast_locks(top->run->client, "", 0, "", 0, listed, top) == NULL) {
        complain("top: too many calls at once; try again later");
        end(top, EXIT_REFUSED);
    }
}

static void look(struct top *top)
{
    top->begun_ms = clock_now_ms();
    view_ask(&top->view, top->run, viewed, top);
}

int top_run(struct run *run)
{
    static const int numbers[] = {SIGINT, SIGTERM};
    struct top top = {.run = run};

    if (!run_open(run, 1)) {
        return run->exit_status;
    }
    top_picture_init(&top.picture, isatty(STDOUT_FILENO) == 1);
    int error = uv_timer_init(&run->loop, &top.timer);

    ASSERT(error == 0);
    top.timer.data = &top;
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        error = uv_signal_init(&run->loop, &top.signals[i]);
        ASSERT(error == 0);
        top.signals[i].data = &top;
        error = uv_signal_start(&top.signals[i], signalled, numbers[i]);
        ASSERT(error == 0);
    }
    look(&top);
    run_loop(run);
    return run->exit_status;
}
