/* client/command/lock_ask.c: options of the command line as those of a request. */
#include "client/command/lock_ask.h"

#define _GNU_SOURCE
#include <string.h>

#include "base/assert.h"
#include "client/command/clock.h"

static int64_t wait_left_ms(const struct options *options, uint64_t *asked_ms)
{
    uint64_t now_ms = clock_now_ms();

    if (options->try) {
        return HOLDFAST_TRY;
    }
    if (!options->wait_given) {
        return HOLDFAST_WAIT_FOREVER;
    }
    if (*asked_ms == 0) {
        *asked_ms = now_ms;
    }
    uint64_t waited_ms = now_ms - *asked_ms;

    return waited_ms < options->wait_ms ? (int64_t)(options->wait_ms - waited_ms) : HOLDFAST_TRY;
}

void lock_ask_init(struct holdfast_lock_options *ask, const struct options *options,
                   uint64_t *asked_ms)
{
    const char *metadata =
        options->command == COMMAND_ELECT ? options->operands[1] : options->metadata;

    ASSERT(options->permits <= OPTIONS_PERMIT_COUNT_MAX && options->units <= options->permits);
    *ask = (struct holdfast_lock_options){
        .mode = options->permits != 0 ? HOLDFAST_PERMITS
                : options->shared     ? HOLDFAST_SHARED
                                      : HOLDFAST_EXCLUSIVE,
        .permits = (uint32_t)options->permits,
        .units = (uint32_t)options->units,
        .wait_ms = wait_left_ms(options, asked_ms),
        .delay_ms = (uint32_t)options->delay_ms,
        .metadata = metadata,
        .metadata_size = metadata == NULL ? 0 : strlen(metadata),
    };
}

void lock_print_token(struct output *output, const struct options *options, uint64_t token)
{
    bool is_election = options->command == COMMAND_ELECT;

    if (options->json) {
        text_add(&output->text, "{");
        output_text(output, "name", options->operands[0]);
        output_u64(output, "token", token);
        if (is_election) {
            output_text(output, "value", options->operands[1]);
        }
        text_add(&output->text, "}");
    } else {
        text_add(&output->text, options->operands[0]);
        text_add(&output->text, is_election ? " leads token=" : " token=");
        text_add_u64(&output->text, token);
    }
    output_line(output);
}

const char *lock_mode_text(enum holdfast_lock_mode mode)
{
    switch (mode) {
    case HOLDFAST_EXCLUSIVE:
        return "exclusive";
    case HOLDFAST_SHARED:
        return "shared";
    case HOLDFAST_PERMITS:
        return "permits";
    }
    UNREACHABLE();
}
