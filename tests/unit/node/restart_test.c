/* Tests of nodes that start again and again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/node/fake_world.h"

/* More than the terms that a member remembers. */
enum { RESTART_COUNT = 300, LIFE_MS = 200 };

static void restart_for_ever(uint32_t node_count, bool clean)
{
    struct fake_cluster *cluster = fake_cluster_open(node_count, 11);

    for (uint32_t i = 0; i < RESTART_COUNT; i++) {
        fake_start_all(cluster);
        (void)fake_leader(cluster); /* Asserts that there is one. */
        fake_run(cluster, LIFE_MS);
        for (uint32_t place = 0; place < node_count; place++) {
            if (clean) {
                fake_stop(cluster, place, 5000);
            } else {
                fake_crash(cluster, place);
            }
        }
    }
    fake_cluster_close(cluster);
}

/* Each start is a term with one committed no-op, and nothing else is ever written. */
static void leader_is_found_after_any_number_of_crashes(void **state)
{
    (void)state;
    restart_for_ever(1, false);
    restart_for_ever(3, false);
}

static void leader_is_found_after_any_number_of_stops(void **state)
{
    (void)state;
    restart_for_ever(1, true);
    restart_for_ever(3, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(leader_is_found_after_any_number_of_crashes),
        cmocka_unit_test(leader_is_found_after_any_number_of_stops),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
