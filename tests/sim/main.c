/* tests/sim/main.c: the simulator's command line.
 *
 *   sim [--print] [--no-faults] SEED...        one line for each seed
 *   sim --many COUNT [--from SEED] [--jobs COUNT] [--brief] [--stop] [--no-faults]
 *   sim --shrink SEED                          the least that still fails */
#include <limits.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "tests/sim/campaign.h"

enum { TEXT_SIZE = 4096, EXIT_USAGE = 64 };

static bool parse(const char *text, uint64_t *number)
{
    char *end = NULL;

    *number = strtoull(text, &end, 10);
    return text[0] >= '0' && text[0] <= '9' && *end == '\0';
}

static int usage(const char *what)
{
    fprintf(
        stderr,
        "sim: %s\nusage: sim [--print] [--no-faults] SEED... | sim --shrink SEED |\n"
        "       sim --many COUNT [--from SEED] [--jobs COUNT] [--brief] [--stop] [--no-faults]\n",
        what);
    return EXIT_USAGE;
}

static bool run_one(uint64_t seed, bool has_faults, bool prints)
{
    struct sim_plan *plan = malloc(sizeof(*plan));
    struct sim_totals *totals = malloc(sizeof(*totals));
    char text[TEXT_SIZE];

    ASSERT(plan != NULL && totals != NULL);
    sim_plan_draw(plan, seed, has_faults);
    plan->prints = prints;
    if (prints) {
        sim_plan_print(plan);
    }
    bool passed = campaign_try(plan, totals, text, sizeof(text));

    if (passed) {
        printf("seed=%llu events=%llu virtual_s=%.1f trace=%016llx ok\n", (unsigned long long)seed,
               (unsigned long long)totals->turn_count, (double)totals->virtual_ms / 1000,
               (unsigned long long)totals->trace);
    } else {
        printf("%sseed=%llu failed; repeat it with: make sim SEED=%llu\n", text,
               (unsigned long long)seed, (unsigned long long)seed);
    }
    free(plan);
    free(totals);
    return passed;
}

struct command {
    struct campaign_options campaign;
    uint64_t shrink; /* A seed. */
    uint64_t jobs;   /* Processes at once. */
    bool shrinks;
    bool prints;
};

/* True when the option was taken; `*at` moves over its value. */
static bool take_option(struct command *command, char **arguments, int *at, const char **problem)
{
    const char *name = arguments[*at];
    bool *flag = strcmp(name, "--print") == 0   ? &command->prints
                 : strcmp(name, "--brief") == 0 ? &command->campaign.is_brief
                 : strcmp(name, "--stop") == 0  ? &command->campaign.stops_early
                                                : NULL;
    uint64_t *number = strcmp(name, "--many") == 0     ? &command->campaign.count
                       : strcmp(name, "--from") == 0   ? &command->campaign.from
                       : strcmp(name, "--jobs") == 0   ? &command->jobs
                       : strcmp(name, "--shrink") == 0 ? &command->shrink
                                                       : NULL;

    if (flag != NULL) {
        *flag = true;
        return true;
    }
    if (strcmp(name, "--no-faults") == 0) {
        command->campaign.has_faults = false;
        return true;
    }
    if (number == NULL) {
        return false;
    }
    command->shrinks = command->shrinks || number == &command->shrink;
    if (arguments[*at + 1] == NULL || !parse(arguments[*at + 1], number)) {
        *problem = "that option needs a number";
        return false;
    }
    (*at)++;
    return true;
}

int main(int count, char **arguments)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    struct command command = {
        .campaign = {.from = 1, .has_faults = true},
        .jobs = processors < 1 ? 1 : (uint64_t)processors,
    };
    const char *problem = NULL;
    int first = 1;
    bool is_good = true;

    mallopt(M_MMAP_MAX, 0); /* What one run frees the next one takes. */
    mallopt(M_TRIM_THRESHOLD, INT_MAX);
    mallopt(M_TOP_PAD, 64 << 20);
    while (first < count && take_option(&command, arguments, &first, &problem)) {
        first++;
    }
    if (problem != NULL) {
        return usage(problem);
    }
    if (command.shrinks) {
        return shrink_run(command.shrink, command.campaign.has_faults) ? 0 : 1;
    }
    command.campaign.process_count = command.jobs < 1 ? 1
                                     : command.jobs > SIM_PROCESS_COUNT_MAX
                                         ? SIM_PROCESS_COUNT_MAX
                                         : (uint32_t)command.jobs;
    if (command.campaign.count > 0) {
        return campaign_run(&command.campaign) ? 0 : 1;
    }
    for (int i = first; i < count; i++) {
        uint64_t seed = 0;

        if (!parse(arguments[i], &seed)) {
            return usage("a seed is a number");
        }
        is_good = run_one(seed, command.campaign.has_faults, command.prints) && is_good;
    }
    return first == count ? usage("no seed") : is_good ? 0 : 1;
}
