/* Tests of node/authentication.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/macros.h"
#include "tests/support/node/fake_world.h"

static struct fake_cluster *open_with(struct credentials *credentials, const char *text)
{
    struct fake_cluster *cluster = fake_cluster_open(1, 71);
    char problem[CREDENTIALS_PROBLEM_SIZE];

    assert_true(credentials_parse(credentials, bytes_of_text(text), problem));
    cluster->worlds[0].options.credentials = credentials;
    fake_start(cluster, 0);
    fake_run(cluster, 1500); /* It founds its cluster after a second. */
    return cluster;
}

static uint64_t hello(struct fake_cluster *cluster, uint32_t client, uint32_t version,
                      const char *token)
{
    const struct wire_hello message = {
        .version = version, .client = bytes_of_text("told"), .token = bytes_of_text(token)};
    uint8_t memory[512];
    struct buffer params = buffer_of(memory, sizeof(memory));

    assert_true(wire_hello_encode(&message, &params));
    return fake_request(cluster, client, WIRE_METHOD_hello, &params);
}

static void a_client_with_a_known_token_is_served(void **state)
{
    struct credentials credentials;
    struct fake_cluster *cluster = open_with(&credentials, "a one\nb two");
    uint32_t client = fake_client_connect(cluster, 0);
    (void)state;

    assert_int_equal(fake_outcome(cluster, client, hello(cluster, client, 1, "two")), ERR_OK);
    assert_int_equal(fake_outcome(cluster, client, fake_put(cluster, client, 0, 0, "k", "v")),
                     ERR_OK);
    fake_cluster_close(cluster);
}

static void a_client_without_a_known_token_is_told_so_and_hung_up(void **state)
{
    static const char *const tokens[] = {"", "sekret!", "on"};
    struct credentials credentials;
    struct fake_cluster *cluster = open_with(&credentials, "a one\nb two");
    (void)state;

    for (size_t i = 0; i < COUNT_OF(tokens); i++) {
        uint32_t client = fake_client_connect(cluster, 0);

        assert_int_equal(fake_outcome(cluster, client, hello(cluster, client, 1, tokens[i])),
                         ERR_AUTH);
        fake_run(cluster, 20);
        assert_false(cluster->clients[client].is_open);
    }
    assert_true(fake_has_logged(cluster, 0, "client_refused"));
    assert_true(fake_has_logged(cluster, 0, "says_it_is=told"));
    assert_false(fake_has_logged(cluster, 0, "sekret"));
    fake_cluster_close(cluster);
}

static void nothing_behind_a_refused_hello_is_served(void **state)
{
    struct credentials credentials;
    struct fake_cluster *cluster = open_with(&credentials, "a one");
    uint32_t client = fake_client_connect(cluster, 0);
    (void)state;

    uint64_t refused = hello(cluster, client, 1, "wrong");
    uint64_t behind = fake_put(cluster, client, 0, 0, "k", "v");
    assert_int_equal(fake_outcome(cluster, client, refused), ERR_AUTH);
    fake_run(cluster, 100);

    assert_null(fake_find_answer(cluster, client, behind));
    client = fake_client_connect(cluster, 0);
    hello(cluster, client, 1, "one");
    assert_int_equal(fake_outcome(cluster, client, fake_get(cluster, client, "k")), ERR_NOT_FOUND);
    fake_cluster_close(cluster);
}

static void a_second_hello_with_a_wrong_token_ends_the_connection(void **state)
{
    struct credentials credentials;
    struct fake_cluster *cluster = open_with(&credentials, "a one");
    uint32_t client = fake_client_connect(cluster, 0);
    (void)state;

    assert_int_equal(fake_outcome(cluster, client, hello(cluster, client, 1, "one")), ERR_OK);
    assert_int_equal(fake_outcome(cluster, client, hello(cluster, client, 1, "one")), ERR_OK);
    assert_int_equal(fake_outcome(cluster, client, hello(cluster, client, 1, "two")), ERR_AUTH);
    fake_run(cluster, 20);

    assert_false(cluster->clients[client].is_open);
    fake_cluster_close(cluster);
}

static void the_name_of_a_token_is_in_the_line_about_its_connection(void **state)
{
    struct credentials credentials;
    struct fake_cluster *cluster = open_with(&credentials, "admin one");
    uint32_t client = fake_client_connect(cluster, 0);
    (void)state;

    assert_int_equal(fake_outcome(cluster, client, hello(cluster, client, 1, "one")), ERR_OK);
    fake_client_send(cluster, client, bytes_of_text("GET / HTTP/1.1\r\n\r\n"));
    fake_run(cluster, 20);

    assert_true(fake_has_logged(cluster, 0, "client=admin"));
    fake_cluster_close(cluster);
}

static void a_hello_that_is_not_valid_is_malformed_only_for_a_client_that_is_known(void **state)
{
    struct credentials credentials;
    struct fake_cluster *cluster = open_with(&credentials, "a one");
    uint32_t known = fake_client_connect(cluster, 0);
    uint32_t unknown = fake_client_connect(cluster, 0);
    (void)state;

    assert_int_equal(fake_outcome(cluster, known, hello(cluster, known, 0, "one")), ERR_MALFORMED);
    assert_int_equal(fake_outcome(cluster, unknown, hello(cluster, unknown, 0, "")), ERR_AUTH);
    fake_run(cluster, 20);

    assert_false(cluster->clients[known].is_open);
    assert_false(cluster->clients[unknown].is_open);
    fake_cluster_close(cluster);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_client_with_a_known_token_is_served),
        cmocka_unit_test(a_client_without_a_known_token_is_told_so_and_hung_up),
        cmocka_unit_test(nothing_behind_a_refused_hello_is_served),
        cmocka_unit_test(a_second_hello_with_a_wrong_token_ends_the_connection),
        cmocka_unit_test(the_name_of_a_token_is_in_the_line_about_its_connection),
        cmocka_unit_test(a_hello_that_is_not_valid_is_malformed_only_for_a_client_that_is_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
