/* tests/sim/shrink.c: a failing plan is made small: parts are left out as long as it fails. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "tests/sim/campaign.h"

enum { TEXT_SIZE = 4096, LAW_SIZE = 160, OPERATION_RUN_MIN = 64 };

struct shrink {
    struct sim_plan plan;
    struct sim_plan tried;
    struct sim_totals totals;
    char text[TEXT_SIZE];
    char law[LAW_SIZE]; /* What is broken, up to the place and the values. */
    uint32_t run_count;
};

/* "law NAME", or the assertion's place. */
static void name_law(const char *text, char *law)
{
    const char *at = strstr(text, "law ");
    size_t size = at == NULL ? strcspn(text, "(\n") : strcspn(at + 4, " ") + 4;

    if (at == NULL) {
        at = text;
    }
    size = size < LAW_SIZE - 1 ? size : LAW_SIZE - 1;
    memcpy(law, at, size);
    law[size] = '\0';
}

/* Does it still fail, by the same law? Then it is kept. */
static bool try_plan(struct shrink *shrink)
{
    char law[LAW_SIZE];

    shrink->run_count++;
    if (campaign_try(&shrink->tried, &shrink->totals, shrink->text, sizeof(shrink->text))) {
        return false;
    }
    name_law(shrink->text, law);
    if (strcmp(law, shrink->law) != 0) {
        return false;
    }
    shrink->plan = shrink->tried;
    return true;
}

/* Leaves out a run of flags that are not set yet; smaller and smaller runs. */
static void drop_runs(struct shrink *shrink, const bool *flags, bool *tried, uint32_t count,
                      uint32_t size_min)
{
    for (uint32_t size = count; size >= size_min; size /= 2) {
        for (uint32_t from = 0; from < count; from += size) {
            uint32_t end = from + size < count ? from + size : count;
            bool changes = false;

            shrink->tried = shrink->plan;
            for (uint32_t i = from; i < end; i++) {
                changes = changes || !flags[i];
                tried[i] = true;
            }
            if (changes) {
                (void)try_plan(shrink);
            }
        }
    }
}

bool shrink_run(uint64_t seed, bool has_faults)
{
    struct shrink *shrink = calloc(1, sizeof(*shrink));

    ASSERT(shrink != NULL);
    sim_plan_draw(&shrink->plan, seed, has_faults);
    bool passes = campaign_try(&shrink->plan, &shrink->totals, shrink->text, sizeof(shrink->text));

    if (passes) {
        printf("seed %llu passes: there is nothing to shrink\n", (unsigned long long)seed);
        free(shrink);
        return false;
    }
    name_law(shrink->text, shrink->law);
    printf("seed %llu fails: %s", (unsigned long long)seed, shrink->text);
    drop_runs(shrink, shrink->plan.fault_is_dropped, shrink->tried.fault_is_dropped,
              shrink->plan.fault_count, 1);
    for (uint32_t i = 0; i < shrink->plan.knobs.client_count; i++) {
        drop_runs(shrink, shrink->plan.operation_is_dropped[i],
                  shrink->tried.operation_is_dropped[i], SIM_OPERATION_COUNT_MAX,
                  OPERATION_RUN_MIN);
    }
    printf("after %u runs there are left:\n", shrink->run_count);
    sim_plan_print(&shrink->plan);
    shrink->tried = shrink->plan;
    shrink->tried.prints = true;
    (void)campaign_try(&shrink->tried, &shrink->totals, shrink->text, sizeof(shrink->text));
    printf("%s", shrink->text);
    free(shrink);
    return true;
}
