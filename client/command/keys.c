/* client/command/keys.c: put, get, del, cas, ls. */
#define _GNU_SOURCE
#include <string.h>

#include "base/assert.h"
#include "client/command/run.h"

/* Keys end before their first zero byte on a command line; listings print whatever is there. */
struct keys {
    uint8_t after[OPTIONS_KEY_SIZE_MAX];
    size_t after_size;
};

static void add_json_pair(struct run *run, const struct holdfast_pair *pair)
{
    struct output *output = &run->output;

    text_add(&output->text, "{");
    output_bytes(output, "key", bytes_of(pair->key, pair->key_size));
    output_bytes(output, "value", bytes_of(pair->value, pair->value_size));
    output_u64(output, "revision", pair->revision);
    if (pair->session != 0) {
        output_u64(output, "session", pair->session);
    }
    text_add(&output->text, "}");
    output_line(output);
}

static void got(const struct holdfast_result *result, void *context)
{
    struct run *run = context;
    const char *key = run->options->operands[0];

    if (result->status != HOLDFAST_OK) {
        run_finish(run, run_complain(run, result, "get"));
        return;
    }
    if (run->options->json) {
        const struct holdfast_pair pair = {.key = key,
                                           .key_size = strlen(key),
                                           .value = result->value,
                                           .value_size = result->value_size,
                                           .revision = result->revision,
                                           .session = result->session};
        add_json_pair(run, &pair);
    } else {
        text_add_bytes(&run->output.text, bytes_of(result->value, result->value_size));
        output_line(&run->output);
    }
    run_finish(run, EXIT_DONE);
}

/* Of put, del and cas. */
static void written(const struct holdfast_result *result, void *context)
{
    struct run *run = context;
    struct output *output = &run->output;
    const char *key = run->options->operands[0];

    ASSERT(run->is_write);
    if (result->status != HOLDFAST_OK) {
        run_finish(run, run_complain(run, result, "write"));
        return;
    }
    if (run->options->json) {
        text_add(&output->text, "{");
        output_bytes(output, "key", bytes_of_text(key));
        output_u64(output, "revision", result->revision);
        text_add(&output->text, "}");
        output_line(output);
    }
    run_finish(run, EXIT_DONE);
}

static void listed(const struct holdfast_result *result, void *context);

static void ask_list(struct run *run)
{
    const struct keys *keys = run->context;
    const char *prefix = run->options->operand_count == 0 ? "" : run->options->operands[0];

    if (holdfast_list(run->client, prefix, strlen(prefix), keys->after, keys->after_size, listed,
                      run) == NULL) {
        run_refused(run, "ls");
    }
}

static void listed(const struct holdfast_result *result, void *context)
{
    struct run *run = context;
    struct keys *keys = run->context;

    if (result->status != HOLDFAST_OK) {
        run_finish(run, run_complain(run, result, "ls"));
        return;
    }
    for (size_t i = 0; i < result->pair_count; i++) {
        const struct holdfast_pair *pair = &result->pairs[i];

        if (run->options->json) {
            add_json_pair(run, pair);
        } else {
            text_add_bytes(&run->output.text, bytes_of(pair->key, pair->key_size));
            text_add(&run->output.text, "\t");
            text_add_bytes(&run->output.text, bytes_of(pair->value, pair->value_size));
            output_line(&run->output);
        }
    }
    struct bytes after = bytes_of(result->after, result->after_size);

    if (result->after == NULL && result->pair_count != 0) {
        const struct holdfast_pair *last = &result->pairs[result->pair_count - 1];

        after = bytes_of(last->key, last->key_size);
    }
    if (!result->more || after.data == NULL || after.size == 0 || run->output.error != 0) {
        run_finish(run, EXIT_DONE);
        return;
    }
    ASSERT(after.size <= sizeof(keys->after));
    keys->after_size = after.size;
    memcpy(keys->after, after.data, after.size);
    ask_list(run);
}

static struct holdfast_call *start_cas(struct run *run)
{
    const struct options *options = run->options;
    const char *expected = options->absent ? NULL : options->operands[1];
    const char *value = options->operands[options->absent ? 1 : 2];
    const struct holdfast_pair pair = {.key = options->operands[0],
                                       .key_size = strlen(options->operands[0]),
                                       .value = value,
                                       .value_size = strlen(value)};

    return holdfast_cas(run->client, &pair, expected, expected == NULL ? 0 : strlen(expected),
                        written, run);
}

static struct holdfast_call *start(struct run *run)
{
    const char *key = run->options->operands[0];
    const char *value = run->options->operands[1];

    if (run->options->command == COMMAND_GET) {
        return holdfast_get(run->client, key, strlen(key), got, run);
    }
    run->is_write = true;
    if (run->options->command == COMMAND_DEL) {
        return holdfast_delete(run->client, key, strlen(key), written, run);
    }
    if (run->options->command == COMMAND_CAS) {
        return start_cas(run);
    }
    ASSERT(run->options->command == COMMAND_PUT);
    return holdfast_put(run->client, key, strlen(key), value, strlen(value), written, run);
}

int keys_run(struct run *run)
{
    struct keys keys = {.after_size = 0};

    run->context = &keys;
    if (!run_open(run, 1)) {
        return run->exit_status;
    }
    if (run->options->command == COMMAND_LS) {
        ask_list(run);
    } else if (start(run) == NULL) {
        run_refused(run, run->is_write ? "write" : "get");
    }
    run_loop(run);
    return run->exit_status;
}
