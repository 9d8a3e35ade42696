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
    ASSERT(options->permits <= OPTIONS_PERMIT_COUNT_MAX && options->units <= options->permits);
    *ask = (struct holdfast_lock_options){
        .mode = options->permits != 0 ? HOLDFAST_PERMITS
                : options->shared     ? HOLDFAST_SHARED
                                      : HOLDFAST_EXCLUSIVE,
        .permits = (uint32_t)options->permits,
        .units = (uint32_t)options->units,
        .wait_ms = wait_left_ms(options, asked_ms),
        .delay_ms = (uint32_t)options->delay_ms,
        .metadata = options->metadata,
        .metadata_size = options->metadata == NULL ? 0 : strlen(options->metadata),
    };
}

void lock_print_token(struct output *output, bool json, const char *name, uint64_t token)
{
    if (json) {
        text_add(&output->text, "{");
        output_text(output, "name", name);
        output_u64(output, "token", token);
        text_add(&output->text, "}");
    } else {
        text_add(&output->text, name);
        text_add(&output->text, " token=");
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
