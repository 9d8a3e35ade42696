/* Tests of node/formation.c, node/refusals.c and the checks of senders in node/peers.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "node/identity.h"
#include "tests/support/log/memory_disk.h"
#include "tests/support/node/fake_world.h"

static struct identity identity_of(struct fake_cluster *cluster, uint32_t place)
{
    struct bytes file = memory_disk_file(cluster->worlds[place].disk, "identity");
    struct identity identity;

    assert_int_equal(identity_decode(file, &identity), ERR_OK);
    return identity;
}

static bool has_formed(struct fake_cluster *cluster, uint32_t place)
{
    return identity_of(cluster, place).formed;
}

static void empty_nodes_form_one_cluster(void **state)
{
    struct fake_cluster *cluster = fake_cluster_open(3, 1);
    struct identity identities[3];

    fake_start_all(cluster);
    fake_run(cluster, 100);

    for (uint32_t i = 0; i < 3; i++) {
        identities[i] = identity_of(cluster, i);
        assert_true(identities[i].formed);
        assert_int_equal(identities[i].self, i + 1);
        assert_memory_equal(identities[i].cluster, identities[0].cluster, IDENTITY_CLUSTER_SIZE);
    }
    fake_cluster_close(cluster);
    (void)state;
}

static void a_single_member_forms_when_nobody_has_dialed_it_for_a_moment(void **state)
{
    struct fake_cluster *cluster = fake_cluster_open(1, 1);

    fake_start(cluster, 0);
    fake_run(cluster, 900);
    assert_false(has_formed(cluster, 0));
    fake_run(cluster, 700);

    assert_true(has_formed(cluster, 0));
    assert_int_equal(fake_leader(cluster), 0);
    fake_cluster_close(cluster);
    (void)state;
}

static void nobody_forms_while_one_is_silent(void **state)
{
    struct fake_cluster *cluster = fake_cluster_open(3, 2);
    fake_start(cluster, 0);
    fake_start(cluster, 1);

    fake_run(cluster, 7000);

    assert_false(has_formed(cluster, 0));
    assert_false(has_formed(cluster, 1));
    assert_true(fake_has_logged(cluster, 0, "n3 is silent"));
    fake_start(cluster, 2);
    fake_leader(cluster);
    assert_true(has_formed(cluster, 2));
    fake_cluster_close(cluster);
    (void)state;
}

static void requests_before_formation_are_told_who_is_missing(void **state)
{
    struct fake_cluster *cluster = fake_cluster_open(3, 2);
    fake_start(cluster, 0);
    fake_start(cluster, 1);
    uint32_t client = fake_client_open(cluster, 0);
    fake_run(cluster, 100);

    struct wire_failure failure =
        fake_failure(cluster, client, fake_put(cluster, client, 0, 0, "a", "1"));

    char text[256] = {0};
    memcpy(text, failure.text.data, failure.text.size);
    assert_int_equal(failure.code, ERR_NOT_FORMED);
    assert_non_null(strstr(text, "n3 is silent"));
    fake_cluster_close(cluster);
    (void)state;
}

static void other_lists_of_members_do_not_form(void **state)
{
    struct fake_cluster *cluster = fake_cluster_open(3, 3);
    cluster->worlds[2].options.members[1] = "n9";

    fake_start_all(cluster);
    fake_run(cluster, 7000);

    assert_false(has_formed(cluster, 0));
    assert_false(has_formed(cluster, 1));
    assert_false(has_formed(cluster, 2));
    assert_true(fake_has_logged(cluster, 0, "n3 has another list of members"));
    fake_cluster_close(cluster);
    (void)state;
}

static void a_crash_in_the_middle_heals(void **state)
{
    struct fake_cluster *cluster = fake_cluster_open(3, 4);
    fake_start_all(cluster);
    while (!has_formed(cluster, 0)) {
        fake_run(cluster, 1);
    }
    assert_false(has_formed(cluster, 1));

    fake_crash(cluster, 0);
    fake_run(cluster, 300);
    assert_false(has_formed(cluster, 1));
    assert_false(has_formed(cluster, 2));
    fake_start(cluster, 0);
    fake_run(cluster, 300);

    assert_true(has_formed(cluster, 1));
    assert_true(has_formed(cluster, 2));
    fake_leader(cluster);
    fake_cluster_close(cluster);
    (void)state;
}

/* The frames that came together with the form that it could not carry out are not looked at. */
static void a_disk_that_fails_while_forming_stops_its_node_alone(void **state)
{
    uint32_t stopped = 0;

    for (uint64_t seed = 1; seed <= 20; seed++) {
        for (uint64_t nth = 1; nth <= 20; nth++) {
            struct fake_cluster *cluster = fake_cluster_open(3, seed);

            fake_start_all(cluster);
            memory_disk_fail(cluster->worlds[2].disk, nth, ERR_IO);
            fake_run(cluster, 60);

            assert_null(node_problem(cluster->worlds[0].node));
            assert_null(node_problem(cluster->worlds[1].node));
            stopped += node_problem(cluster->worlds[2].node) != NULL ? 1 : 0;
            fake_cluster_close(cluster);
        }
    }
    assert_true(stopped > 0);
    (void)state;
}

static void a_member_that_crashed_meanwhile_is_told_later(void **state)
{
    struct fake_cluster *cluster = fake_cluster_open(3, 5);
    fake_start_all(cluster);
    while (!has_formed(cluster, 0)) {
        fake_run(cluster, 1);
    }
    fake_crash(cluster, 2);
    assert_false(has_formed(cluster, 2));
    fake_leader(cluster);
    fake_stop(cluster, 0, 2000);

    fake_start(cluster, 2);
    fake_run(cluster, 1000);

    assert_true(has_formed(cluster, 2));
    fake_leader(cluster);
    fake_cluster_close(cluster);
    (void)state;
}

static void two_wiped_nodes_of_three_form_no_new_cluster(void **state)
{
    struct fake_cluster *cluster = fake_cluster_open(3, 6);
    fake_start_all(cluster);
    fake_leader(cluster);
    fake_crash(cluster, 0);
    fake_crash(cluster, 1);
    fake_wipe(cluster, 0);
    fake_wipe(cluster, 1);

    fake_start(cluster, 0);
    fake_start(cluster, 1);
    fake_run(cluster, 6000);

    assert_false(has_formed(cluster, 0));
    assert_false(has_formed(cluster, 1));
    assert_true(fake_has_logged(cluster, 0, "waiting_to_join"));
    assert_true(fake_has_logged(cluster, 1, "waiting_to_join"));
    assert_false(fake_has_logged(cluster, 2, "event=replacing"));
    fake_cluster_close(cluster);
    (void)state;
}

static void a_node_of_another_cluster_is_refused(void **state)
{
    struct fake_cluster *cluster = fake_cluster_open(3, 7);
    fake_start_all(cluster);
    fake_leader(cluster);
    fake_stop(cluster, 2, 2000);
    fake_wipe(cluster, 2);
    struct identity identity = identity_of(cluster, 0);
    memcpy(identity.name, "n3", 3);
    identity.self = 3;
    identity.incarnation = identity.members[2].member.incarnation;
    identity.cluster[5] ^= 1;
    assert_int_equal(identity_save(cluster->worlds[2].disk, &identity), ERR_OK);

    fake_start(cluster, 2);
    fake_run(cluster, 1000);

    assert_true(fake_has_logged(cluster, 0, "peer_refused peer=n3 reason=WRONG_CLUSTER"));
    assert_true(fake_has_logged(cluster, 2, "refused_by_peer peer=n1 reason=WRONG_CLUSTER"));
    fake_cluster_close(cluster);
    (void)state;
}

static void garbage_at_the_peer_port_costs_only_its_connection(void **state)
{
    struct fake_cluster *cluster = fake_cluster_open(3, 8);
    fake_start_all(cluster);
    uint32_t leader = fake_leader(cluster);
    uint32_t other = (leader + 1) % 3;

    fake_pipe_write(cluster, &cluster->worlds[other].links[leader][WORLD_LANE_BULK].ahead,
                    bytes_of_text("GET / HTTP/1.1\r\nHost: a\r\nAccept: much more than a header's "
                                  "worth of bytes that are no frame at all\r\n\r\n"));
    fake_run(cluster, 200);

    assert_true(fake_has_logged(cluster, leader, "peer_refused peer="));
    assert_int_equal(fake_leader(cluster), leader);
    assert_true(cluster->worlds[other].links[leader][WORLD_LANE_BULK].is_up);
    fake_cluster_close(cluster);
    (void)state;
}

enum { FORM_ITEMS_SIZE_MAX = 1024 };

/* A form for the three members n1, n2, n3, except that the last has this name and this id. */
static void send_form(struct fake_cluster *cluster, const char *name, uint64_t id)
{
    const char *const names[] = {"n1", "n2", name};
    const uint64_t ids[] = {1, 2, id};
    uint8_t cluster_id[IDENTITY_CLUSTER_SIZE] = {7, 7};
    uint8_t memory[FORM_ITEMS_SIZE_MAX];
    struct buffer items = buffer_of(memory, sizeof(memory));

    for (uint32_t i = 0; i < 3; i++) {
        const struct wire_peer_member member = {
            .name = bytes_of_text(names[i]),
            .id = ids[i],
            .incarnation = i < 2 ? identity_of(cluster, i).incarnation : 3,
        };
        assert_true(wire_peer_member_encode(&member, &items));
    }
    const struct wire_peer_form form = {
        .cluster = bytes_of(cluster_id, IDENTITY_CLUSTER_SIZE),
        .members = {.raw = buffer_bytes(&items), .count = 3},
        .self = 2,
    };
    fake_send_form(cluster, 0, 1, &form);
    fake_run(cluster, 10);
}

static void a_form_that_lists_a_member_twice_is_refused(void **state)
{
    const struct {
        const char *name;
        uint64_t id;
    } forms[] = {{"n3", 2}, {"n3", 1}, {"n2", 3}, {"n1", 3}};
    (void)state;

    for (uint32_t i = 0; i < 4; i++) {
        struct fake_cluster *cluster = fake_cluster_open(3, 9 + i);
        fake_start(cluster, 0);
        fake_start(cluster, 1);
        fake_run(cluster, 50);

        send_form(cluster, forms[i].name, forms[i].id);

        assert_false(has_formed(cluster, 1));
        assert_true(fake_has_logged(cluster, 1, "peer_refused peer=n1 reason=MALFORMED"));
        fake_run(cluster, 1000);     /* It dials again. */
        send_form(cluster, "n3", 3); /* The same without the flaw. */
        assert_true(has_formed(cluster, 1));
        fake_cluster_close(cluster);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_nodes_form_one_cluster),
        cmocka_unit_test(a_single_member_forms_when_nobody_has_dialed_it_for_a_moment),
        cmocka_unit_test(nobody_forms_while_one_is_silent),
        cmocka_unit_test(requests_before_formation_are_told_who_is_missing),
        cmocka_unit_test(other_lists_of_members_do_not_form),
        cmocka_unit_test(a_crash_in_the_middle_heals),
        cmocka_unit_test(a_disk_that_fails_while_forming_stops_its_node_alone),
        cmocka_unit_test(a_member_that_crashed_meanwhile_is_told_later),
        cmocka_unit_test(two_wiped_nodes_of_three_form_no_new_cluster),
        cmocka_unit_test(a_node_of_another_cluster_is_refused),
        cmocka_unit_test(garbage_at_the_peer_port_costs_only_its_connection),
        cmocka_unit_test(a_form_that_lists_a_member_twice_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
