/* tests/support/jepsen/generate.h: histories of an imaginary server that does everything right.
 *
 * Clients call, the server executes each operation at one moment between call and answer, answers
 * get lost. The server is written apart from jepsen/model.c. */
#ifndef TESTS_SUPPORT_JEPSEN_GENERATE_H
#define TESTS_SUPPORT_JEPSEN_GENERATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/prng.h"
#include "jepsen/history.h"

enum { GENERATE_KEY_COUNT_MAX = 128, GENERATE_PROCESS_COUNT_MAX = 64, GENERATE_ITEM_MAX = 64 };

struct generate_options {
    enum history_object object;
    uint32_t operation_count;
    uint32_t process_count;
    uint32_t key_count;
    uint32_t info_percent;   /* Whose answer is lost: half of them were executed, or will be. */
    uint32_t failed_percent; /* Refused before they are executed. */
    uint32_t value_count;    /* Values that are written; 0: each is written once. */
    bool has_revisions;
};

/* To be closed. */
struct history *generate_history(struct prng *prng, const struct generate_options *options);

/* Room for small histories. */
struct history *generate_empty(void);

/* The history, with one operation replaced: its call and, if it is OK, its answer. With `changed`
 * NULL the operation is left out. To be closed. */
struct history *generate_changed(const struct history *history, uint32_t number,
                                 const struct history_operation *changed);

#endif
