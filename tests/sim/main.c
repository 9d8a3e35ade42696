/* tests/sim/main.c: build/sim [--quiet world] [--print] SEED... */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

int main(int count, char **arguments)
{
    static struct sim_plan plan;
    static struct sim_totals totals;
    bool has_faults = true;
    bool prints = false;

    mallopt(M_MMAP_THRESHOLD, 32 << 20);
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
    for (int i = 1; i < count; i++) {
        if (strcmp(arguments[i], "--print") == 0) {
            prints = true;
        } else if (strcmp(arguments[i], "--no-faults") == 0) {
            has_faults = false;
        } else {
            uint64_t seed = strtoull(arguments[i], NULL, 10);

            sim_plan_draw(&plan, seed, has_faults);
            plan.prints = prints;
            if (prints) {
                sim_plan_print(&plan);
            }
            sim_run(&plan, &totals);
            printf("seed=%llu events=%llu virtual_s=%.1f trace=%016llx ok\n",
                   (unsigned long long)seed, (unsigned long long)totals.turn_count,
                   (double)totals.virtual_ms / 1000, (unsigned long long)totals.trace);
        }
    }
    return 0;
}
