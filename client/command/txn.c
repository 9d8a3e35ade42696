/* client/command/txn.c: one transaction, from options or from standard input. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "client/command/run.h"
#include "client/command/txn_text.h"

enum {
    MEMORY_SIZE = 1 << 20,
    INPUT_SIZE_MAX = 4 << 20, /* Each byte of a value may be written as four. */
    PROBLEM_SIZE = 512,
};

/* --- What is asked ---------------------------------------------------------------------------- */

static bool take_options(struct txn_text *txn, const struct options *options, struct text *problem)
{
    for (uint32_t i = 0; i < options->clause_count; i++) {
        const struct options_clause *clause = &options->clauses[i];

        if (!txn_text_add(txn, clause->kind, bytes_of_text(clause->text), problem)) {
            return false;
        }
    }
    return true;
}

static bool take_input(struct txn_text *txn, char *input, size_t size, struct text *problem)
{
    size_t at = 0;

    while (at < size) {
        const char *end = memchr(input + at, '\n', size - at);
        size_t line_size = end == NULL ? size - at : (size_t)(end - (input + at));

        if (!txn_text_add_line(txn, bytes_of(input + at, line_size), problem)) {
            return false;
        }
        at += line_size + 1;
    }
    return true;
}

static bool read_input(struct txn_text *txn, struct text *problem)
{
    char *input = calloc(1, INPUT_SIZE_MAX);
    bool taken = false;

    if (input == NULL) {
        text_add(problem, "there is no memory for standard input");
        return false;
    }
    size_t size = fread(input, 1, INPUT_SIZE_MAX, stdin);

    if (ferror(stdin) != 0) {
        text_add(problem, "standard input cannot be read; give --if, --then and --else instead");
    } else if (size == INPUT_SIZE_MAX) {
        text_add(problem, "standard input is larger than a transaction can be");
    } else {
        taken = take_input(txn, input, size, problem);
    }
    free(input);
    return taken;
}

static bool take_transaction(struct txn_text *txn, const struct options *options,
                             struct text *problem)
{
    bool taken =
        options->clause_count == 0 ? read_input(txn, problem) : take_options(txn, options, problem);

    if (taken && txn->transaction.success_count + txn->transaction.failure_count == 0) {
        text_add(problem, "txn has nothing to do: give --then or --else, or lines on standard "
                          "input; see holdfast help txn");
        return false;
    }
    return taken;
}

/* --- What came back --------------------------------------------------------------------------- */

static const char *action_word(enum holdfast_action action)
{
    switch (action) {
    case HOLDFAST_PUT:
    case HOLDFAST_BIND:
        return "put";
    case HOLDFAST_DELETE:
        return "del";
    case HOLDFAST_GET:
        return "get";
    }
    UNREACHABLE();
}

static void add_json_operation(struct output *output, enum holdfast_action action,
                               const struct holdfast_operation_result *result)
{
    const struct holdfast_pair *pair = &result->pair;

    text_add(&output->text, "{");
    output_text(output, "op", action_word(action));
    output_bytes(output, "key", bytes_of(pair->key, pair->key_size));
    output_name(output, "found");
    text_add(&output->text, result->found ? "true" : "false");
    if (action == HOLDFAST_GET && result->found) {
        output_bytes(output, "value", bytes_of(pair->value, pair->value_size));
    }
    if (pair->revision != 0) {
        output_u64(output, "revision", pair->revision);
    }
    if (pair->session != 0) {
        output_u64(output, "session", pair->session);
    }
    text_add(&output->text, "}");
}

static void print_json(struct output *output, const struct holdfast_operation *operations,
                       const struct holdfast_result *result)
{
    text_add(&output->text, "{");
    output_text(output, "branch", result->succeeded ? "then" : "else");
    output_u64(output, "revision", result->revision);
    output_name(output, "operations");
    text_add(&output->text, "[");
    for (size_t i = 0; i < result->operation_count; i++) {
        text_add(&output->text, i == 0 ? "" : ",");
        /* The brace begins an object: no comma before its first name. */
        add_json_operation(output, operations[i].action, &result->operations[i]);
    }
    text_add(&output->text, "]}");
    output_line(output);
}

static void print_lines(struct output *output, const struct holdfast_operation *operations,
                        const struct holdfast_result *result)
{
    text_add(&output->text, result->succeeded ? "then" : "else");
    text_add(&output->text, " revision=");
    text_add_u64(&output->text, result->revision);
    output_line(output);
    for (size_t i = 0; i < result->operation_count; i++) {
        const struct holdfast_operation_result *at = &result->operations[i];
        enum holdfast_action action = operations[i].action;

        text_add(&output->text, action_word(action));
        text_add(&output->text, "\t");
        text_add_bytes(&output->text, bytes_of(at->pair.key, at->pair.key_size));
        if (action == HOLDFAST_GET && at->found) {
            text_add(&output->text, "\t");
            text_add_bytes(&output->text, bytes_of(at->pair.value, at->pair.value_size));
        } else if (action != HOLDFAST_PUT && !at->found) {
            text_add(&output->text, "\t(absent)");
        }
        output_line(output);
    }
}

static void done(const struct holdfast_result *result, void *context)
{
    struct run *run = context;
    const struct txn_text *txn = run->context;

    if (result->status != HOLDFAST_OK) {
        run_finish(run, run_complain(run, result, "txn"));
        return;
    }
    const struct holdfast_operation *operations = result->succeeded ? txn->success : txn->failure;

    if (run->options->json) {
        print_json(&run->output, operations, result);
    } else {
        print_lines(&run->output, operations, result);
    }
    run_finish(run, result->succeeded ? EXIT_DONE : EXIT_NO);
}

static int carry_out(struct run *run, const struct txn_text *txn)
{
    run->is_write = true;
    if (!run_open(run, 1)) {
        return run->exit_status;
    }
    if (holdfast_transact(run->client, NULL, &txn->transaction, done, run) == NULL) {
        run_refused(run, "txn");
    }
    run_loop(run);
    return run->exit_status;
}

int txn_run(struct run *run)
{
    uint8_t *memory = calloc(1, MEMORY_SIZE);
    char problem_memory[PROBLEM_SIZE];
    struct text problem;
    struct txn_text txn;
    int exit_status = EXIT_INPUT;

    if (memory == NULL) {
        complain("txn: there is no memory; close something, and try again");
        return EXIT_REFUSED;
    }
    text_init(&problem, problem_memory, sizeof(problem_memory));
    txn_text_init(&txn, buffer_of(memory, MEMORY_SIZE));
    if (take_transaction(&txn, run->options, &problem)) {
        run->context = &txn;
        exit_status = carry_out(run, &txn);
    } else {
        complain("%s", problem_memory);
    }
    free(memory);
    return exit_status;
}
