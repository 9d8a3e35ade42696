/* client/command/dev_print.c: one line for each thing that happens to a node. */
#include "client/command/dev_print.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/assert.h"

void dev_print_node(struct output *output, bool json, const struct dev_place *place,
                    const struct dev_happening *happening)
{
    char name[8];
    char address[DEV_ADDRESS_SIZE];

    ASSERT(happening->event != NULL);
    snprintf(name, sizeof(name), "n%" PRIu32, happening->node->number);
    dev_place_client(place, happening->node->number, address);
    if (json) {
        text_add(&output->text, "{");
        output_text(output, "event", happening->event);
        output_text(output, "node", name);
        if (happening->how == NULL) {
            output_text(output, "client", address);
            output_u64(output, "pid", (uint64_t)happening->node->pid);
        } else {
            output_text(output, "how", happening->how);
        }
        text_add(&output->text, "}");
        output_line(output);
        return;
    }
    text_add(&output->text, name);
    text_add(&output->text, " ");
    text_add(&output->text, happening->event);
    text_add(&output->text, ": ");
    text_add(&output->text, happening->how == NULL ? address : happening->how);
    if (happening->how == NULL) {
        text_add(&output->text, ", pid ");
        text_add_u64(&output->text, (uint64_t)happening->node->pid);
    }
    output_line(output);
}

void dev_print_ready(struct output *output, bool json, const struct dev_place *place,
                     const char *endpoints)
{
    ASSERT(endpoints[0] != '\0');
    if (json) {
        text_add(&output->text, "{");
        output_text(output, "event", "ready");
        output_text(output, "endpoints", endpoints);
        output_text(output, "dir", place->dir);
        text_add(&output->text, "}");
        output_line(output);
        return;
    }
    text_add(&output->text, "export HOLDFAST_ENDPOINTS=");
    text_add(&output->text, endpoints);
    output_line(output);
    text_add(&output->text, "ready");
    output_line(output);
}
