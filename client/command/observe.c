/* client/command/observe.c: elect observe: who leads now, and then each change, until a signal. */
#define _GNU_SOURCE
#include <string.h>

#include "base/assert.h"
#include "client/command/run.h"

enum {
    WAIT_MS = 20000, /* Of one question: then it is asked again, and a dead leader is noticed. */
    VALUE_SIZE_MAX = 255,
};

struct observe {
    struct holdfast_leader_info seen; /* Printed last. */
    uint8_t value[VALUE_SIZE_MAX];
    bool has_seen;
};

static void print_json(struct output *output, const char *name,
                       const struct holdfast_leader_info *leader)
{
    static const char *const fields[] = {"token", "value", "session", "owner"};

    text_add(&output->text, "{");
    output_text(output, "name", name);
    if (leader->token == 0) {
        for (size_t i = 0; i < COUNT_OF(fields); i++) {
            output_null(output, fields[i]);
        }
    } else {
        output_u64(output, fields[0], leader->token);
        output_bytes(output, fields[1], bytes_of(leader->value, leader->value_size));
        output_u64(output, fields[2], leader->session);
        output_text(output, fields[3], leader->owner);
    }
    text_add(&output->text, "}");
    output_line(output);
}

static void print_line(struct output *output, const char *name,
                       const struct holdfast_leader_info *leader)
{
    text_add(&output->text, name);
    if (leader->token == 0) {
        text_add(&output->text, " nobody leads");
    } else {
        text_add(&output->text, " token=");
        text_add_u64(&output->text, leader->token);
        text_add(&output->text, " value=");
        text_add_bytes(&output->text, bytes_of(leader->value, leader->value_size));
        text_add(&output->text, " session=");
        text_add_u64(&output->text, leader->session);
        text_add(&output->text, " owner=");
        text_add(&output->text, leader->owner);
    }
    output_line(output);
}

static bool is_news(const struct observe *observe, const struct holdfast_leader_info *leader)
{
    return !observe->has_seen || leader->token != observe->seen.token ||
           !bytes_equal(bytes_of(leader->value, leader->value_size),
                        bytes_of(observe->seen.value, observe->seen.value_size));
}

/* The result is only borrowed. */
static void remember(struct observe *observe, const struct holdfast_leader_info *leader)
{
    ASSERT_VALUES(leader->value_size <= sizeof(observe->value), leader->value_size, leader->token);
    observe->has_seen = true;
    observe->seen = (struct holdfast_leader_info){
        .token = leader->token, .value = observe->value, .value_size = leader->value_size};
    if (leader->value_size != 0) {
        memcpy(observe->value, leader->value, leader->value_size);
    }
}

static void ask(struct run *run);

static void observed(const struct holdfast_result *result, void *context)
{
    struct run *run = context;
    struct observe *observe = run->context;
    const char *name = run->options->operands[0];

    if (result->status != HOLDFAST_OK) {
        run_finish(run, run_complain(run, result, "elect observe"));
        return;
    }
    if (is_news(observe, result->leader)) {
        remember(observe, result->leader);
        if (run->options->json) {
            print_json(&run->output, name, result->leader);
        } else {
            print_line(&run->output, name, result->leader);
        }
    }
    if (run->output.error != 0) {
        run_finish(run, EXIT_REFUSED); /* Nobody reads any more. */
        return;
    }
    ask(run);
}

static void ask(struct run *run)
{
    const struct observe *observe = run->context;
    const char *name = run->options->operands[0];

    if (holdfast_election_observe(run->client, name, strlen(name),
                                  observe->has_seen ? &observe->seen : NULL, WAIT_MS, observed,
                                  run) == NULL) {
        run_refused(run, "elect observe");
    }
}

int observe_run(struct run *run)
{
    struct observe observe = {.has_seen = false};

    ASSERT(run->options->command == COMMAND_ELECT_OBSERVE);
    run->context = &observe;
    if (!run_open(run, 1)) {
        return run->exit_status;
    }
    ask(run);
    run_loop(run);
    return run->exit_status;
}
