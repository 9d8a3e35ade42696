/* tests/sim/campaign.h: many seeds by several processes, and one failing seed made small. */
#ifndef TESTS_SIM_CAMPAIGN_H
#define TESTS_SIM_CAMPAIGN_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/sim/sim.h"

enum { SIM_PROCESS_COUNT_MAX = 64 };

struct campaign_options {
    uint64_t from; /* The first seed. */
    uint64_t count;
    uint32_t process_count;
    bool has_faults;
    bool stops_early; /* At the first failure. */
    bool is_brief;    /* No totals. */
};

/* Prints what failed, the totals and the table of rare situations, and as the last line "N seeds
 * passed, N failed". False when a seed failed, or when 2,000 seeds or more left a row unreached. */
bool campaign_run(const struct campaign_options *options);

/* Runs one plan in a process of its own; what it prints on standard error is in `text`. */
bool campaign_try(const struct sim_plan *plan, struct sim_totals *totals, char *text,
                  size_t text_size);

/* Leaves faults and operations out as long as the seed still fails by the same law, and prints what
 * is left. False when the seed does not fail. */
bool shrink_run(uint64_t seed, bool has_faults);

#endif
