/* tests/unit/server/config_test.c: every rule of the configuration, and what its refusal says. */
#include "server/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "node/node.h"

#define CLUSTER "n1=127.0.0.1:7201,n2=127.0.0.1:7202,n3=127.0.0.1:7203"

struct fixture {
    struct config config;
    struct config_problem problem;
};

static int open_fixture(void **state)
{
    static struct fixture fixture;

    memset(&fixture, 0, sizeof(fixture));
    config_init(&fixture.config);
    *state = &fixture;
    return 0;
}

enum { ARGUMENT_COUNT_MAX = 16 };

/* `line` is split at spaces. */
static bool flags(struct fixture *fixture, const char *line)
{
    char memory[1024];
    const char *arguments[ARGUMENT_COUNT_MAX];
    int count = 0;
    char *at = memory;

    assert_true(strlen(line) < sizeof(memory));
    memcpy(memory, line, strlen(line) + 1);
    while (at != NULL && *at != '\0') {
        char *space = strchr(at, ' ');

        assert_true(count < ARGUMENT_COUNT_MAX);
        arguments[count++] = at;
        if (space != NULL) {
            *space = '\0';
        }
        at = space == NULL ? NULL : space + 1;
    }
    return config_parse_flags(&fixture->config, count, arguments, &fixture->problem);
}

static bool environment(struct fixture *fixture, const char *variable)
{
    const char *const variables[] = {"PATH=/bin", variable, NULL};

    return config_parse_environment(&fixture->config, variables, &fixture->problem);
}

static bool file(struct fixture *fixture, const char *text)
{
    return config_parse_text(&fixture->config, "h.ini", bytes_of_text(text), &fixture->problem);
}

static void assert_refused(const struct fixture *fixture, int exit_status, const char *message)
{
    assert_string_equal(fixture->problem.text, message);
    assert_int_equal(fixture->problem.exit_status, exit_status);
}

/* Whole and consistent. */
static void good_flags(struct fixture *fixture)
{
    assert_true(flags(fixture, "--name n1 --data /d --client 127.0.0.1:7101 --cluster " CLUSTER));
}

static bool checked(struct fixture *fixture)
{
    return config_check(&fixture->config, &fixture->problem);
}

/* --- Sources ---------------------------------------------------------------------------------- */

static void defaults_are_those_of_the_node(void **state)
{
    struct fixture *fixture = *state;
    struct node_options options;

    node_options_init(&options);

    assert_int_equal(fixture->config.election_min_ms, options.election_ms_min);
    assert_int_equal(fixture->config.election_max_ms, options.election_ms_max);
    assert_int_equal(fixture->config.heartbeat_ms, options.heartbeat_ms);
    assert_int_equal(fixture->config.clock_rate_ppm, options.clock_rate_ppm);
    assert_int_equal(fixture->config.margin_ms, options.margin_ms);
    assert_int_equal(fixture->config.max_sessions, options.session_count_max);
    assert_int_equal(fixture->config.max_segments, options.segment_count_max);
    assert_int_equal(fixture->config.snapshot_log, options.snapshot_log_size);
    assert_int_equal(fixture->config.client_rate, options.client_rate);
    assert_int_equal(fixture->config.client_burst, options.client_burst);
}

static void flags_take_their_value_behind_a_space_or_an_equals_sign(void **state)
{
    struct fixture *fixture = *state;

    assert_true(flags(fixture, "--name n1 --data=/var/lib/x --client=[::1]:7101"));

    assert_string_equal(fixture->config.name, "n1");
    assert_string_equal(fixture->config.data, "/var/lib/x");
    assert_string_equal(fixture->config.client, "[::1]:7101");
}

static void last_value_of_a_repeated_flag_holds(void **state)
{
    struct fixture *fixture = *state;

    assert_true(flags(fixture, "--name n1 --name n2 --cluster a=h:1 --cluster b=h:2,c=h:3"));

    assert_string_equal(fixture->config.name, "n2");
    assert_int_equal(fixture->config.cluster.count, 2);
    assert_string_equal(fixture->config.cluster.items[0].name, "b");
}

static void flag_beats_environment_beats_file_in_whatever_order(void **state)
{
    struct fixture *fixture = *state;

    assert_true(file(fixture, "name = file\ndata = /file\nmargin = 1s\n"));
    assert_true(flags(fixture, "--name flag"));
    assert_true(environment(fixture, "HOLDFAST_NAME=environment"));
    assert_true(environment(fixture, "HOLDFAST_DATA=/environment"));

    assert_string_equal(fixture->config.name, "flag");
    assert_string_equal(fixture->config.data, "/environment");
    assert_int_equal(fixture->config.margin_ms, 1000);
}

static void dials_of_one_source_are_joined_and_hide_those_of_a_weaker_one(void **state)
{
    struct fixture *fixture = *state;

    assert_true(file(fixture, "dial = n9=h:9\n"));
    assert_true(flags(fixture, "--dial n2=h:1,n3=h:2 --dial n2=h:3"));

    assert_int_equal(fixture->config.dial.count, 2);
    assert_string_equal(fixture->config.dial.items[0].address, "h:3");
    assert_string_equal(fixture->config.dial.items[1].address, "h:2");
}

static void names_in_the_environment_are_shouted(void **state)
{
    struct fixture *fixture = *state;

    assert_true(environment(fixture, "HOLDFAST_ELECTION_MIN=300ms"));

    assert_int_equal(fixture->config.election_min_ms, 300);
}

/* The command reads it too: a shell that has it starts nodes that ask for a token. */
static void the_file_of_tokens_is_a_setting_of_the_environment_too(void **state)
{
    struct fixture *fixture = *state;

    assert_true(environment(fixture, "HOLDFAST_AUTH_FILE=/etc/tokens"));
    assert_string_equal(fixture->config.auth_file, "/etc/tokens");
}

static void names_of_the_client_in_the_environment_are_left_alone(void **state)
{
    struct fixture *fixture = *state;

    assert_true(environment(fixture, "HOLDFAST_ENDPOINTS=127.0.0.1:1"));
    assert_true(environment(fixture, "HOLDFAST_ELECTION=primary"));
    assert_true(environment(fixture, "HOLDFAST_TOKEN=7"));
}

static void file_knows_comments_sections_and_continued_lists(void **state)
{
    struct fixture *fixture = *state;

    assert_true(file(fixture, "; comment\n# comment\n[holdfast]\nname = n1 ; behind\n\n"
                              "cluster = n1=h:1,\n   n2=h:2,\n\tn3=h:3\nmap-size=32MiB"));

    assert_string_equal(fixture->config.name, "n1");
    assert_int_equal(fixture->config.cluster.count, 3);
    assert_string_equal(fixture->config.cluster.items[2].address, "h:3");
    assert_int_equal(fixture->config.map_size, 32 << 20);
}

/* --- Unknown names ---------------------------------------------------------------------------- */

static void unknown_flag_is_a_usage_error_that_names_the_nearest(void **state)
{
    struct fixture *fixture = *state;

    assert_false(flags(fixture, "--elections-min=3"));
    assert_refused(fixture, CONFIG_EXIT_USAGE,
                   "--elections-min: there is no such flag; did you mean --election-min? All are "
                   "listed by holdfastd --help");
}

static void argument_that_is_no_flag_is_a_usage_error(void **state)
{
    struct fixture *fixture = *state;

    assert_false(flags(fixture, "start"));
    assert_refused(fixture, CONFIG_EXIT_USAGE,
                   "start: holdfastd takes flags only; see holdfastd --help");
}

static void flag_without_its_value_is_a_usage_error(void **state)
{
    struct fixture *fixture = *state;

    assert_false(flags(fixture, "--name"));
    assert_refused(fixture, CONFIG_EXIT_USAGE, "--name needs a value, as --name VALUE");
}

static void unknown_name_in_the_environment_is_named(void **state)
{
    struct fixture *fixture = *state;

    assert_false(environment(fixture, "HOLDFAST_HEARTBEET=50ms"));
    assert_refused(fixture, CONFIG_EXIT_INVALID,
                   "environment HOLDFAST_HEARTBEET: there is no such setting; did you mean "
                   "HOLDFAST_HEARTBEAT? Unset it, or see holdfastd --help");
}

static void unknown_name_in_the_file_is_named_with_its_line(void **state)
{
    struct fixture *fixture = *state;

    assert_false(file(fixture, "name = n1\n\nclints = h:1\n"));
    assert_refused(fixture, CONFIG_EXIT_INVALID,
                   "h.ini:3: clints: there is no such setting; did you mean client?");
}

static void unknown_section_of_the_file_is_named(void **state)
{
    struct fixture *fixture = *state;

    assert_false(file(fixture, "[server]\nname = n1\n"));
    assert_refused(fixture, CONFIG_EXIT_INVALID,
                   "h.ini:2: there is no section [server]; use [holdfast] or none");
}

static void line_without_a_value_is_refused_with_its_number(void **state)
{
    struct fixture *fixture = *state;

    assert_false(file(fixture, "name = n1\nwhat is this\n"));
    assert_refused(fixture, CONFIG_EXIT_INVALID,
                   "h.ini:2: this is neither `name = value`, a [section] nor a comment");
}

static void line_that_would_be_cut_is_refused(void **state)
{
    struct fixture *fixture = *state;
    char text[400];

    memset(text, 'a', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    memcpy(text, "data = ", 7);

    assert_false(file(fixture, text));
    assert_int_equal(fixture->problem.exit_status, CONFIG_EXIT_INVALID);
    assert_non_null(strstr(fixture->problem.text, "h.ini:1: the line is longer than"));
}

static void binary_file_is_refused(void **state)
{
    struct fixture *fixture = *state;
    const struct bytes text = bytes_of("name\0 = n1\n", 11);

    assert_false(config_parse_text(&fixture->config, "h.ini", text, &fixture->problem));
    assert_refused(fixture, CONFIG_EXIT_INVALID,
                   "h.ini:1: the line holds a zero byte; this is no INI file");
}

static void only_lists_go_on_in_the_next_line(void **state)
{
    struct fixture *fixture = *state;

    assert_false(file(fixture, "data = /a\n  /b\n"));
    assert_refused(fixture, CONFIG_EXIT_INVALID,
                   "h.ini:2: data: /b begins with a space and so goes on with the line before; "
                   "only lists may");
}

/* --- Values ----------------------------------------------------------------------------------- */

struct bad_value {
    const char *flags;
    const char *message;
};

static void bad_values_are_refused_with_place_and_advice(void **state)
{
    struct fixture *fixture = *state;
    static const struct bad_value values[] = {
        {"--name N1", "--name: N1 is not a name: 1 to 32 of the letters a-z, digits and '-'"},
        {"--name=", "--name: \"\" is not a name: 1 to 32 of the letters a-z, digits and '-'"},
        {"--client 127.0.0.1",
         "--client: 127.0.0.1 is not an address: write it as 127.0.0.1:7101, name:7101 or "
         "[::1]:7101"},
        {"--client h:0",
         "--client: h:0 is not an address: write it as 127.0.0.1:7101, name:7101 or [::1]:7101"},
        {"--client h:65536", "--client: h:65536 is not an address: write it as 127.0.0.1:7101, "
                             "name:7101 or [::1]:7101"},
        {"--client :7101",
         "--client: :7101 is not an address: write it as 127.0.0.1:7101, name:7101 or "
         "[::1]:7101"},
        {"--client ::1:7101", "--client: ::1:7101 is not an address: write it as 127.0.0.1:7101, "
                              "name:7101 or [::1]:7101"},
        {"--data=", "--data: \"\" is not a path that can be used"},
        {"--cluster n1", "--cluster: n1 is not of the form n1=127.0.0.1:7201"},
        {"--cluster n1=h:1,n1=h:2", "--cluster: n1 is named twice; every node has one entry"},
        {"--cluster=", "--cluster: \"\" is not a list such as n1=127.0.0.1:7201,n2=..."},
        {"--cluster a=h:1,b=h:2,c=h:3,d=h:4,e=h:5,f=h:6,g=h:7,h=h:8,i=h:9,j=h:10",
         "--cluster: j is one too many: a cluster has at most 9 nodes"},
        {"--heartbeat 50",
         "--heartbeat: 50 is not a duration such as 250ms or 1.5s, from 1ms to 10s"},
        {"--heartbeat 1m",
         "--heartbeat: 1m is not a duration such as 250ms or 1.5s, from 1ms to 10s"},
        {"--max-sessions 0", "--max-sessions: 0 is not a number from 1 to 1000000"},
        {"--max-sessions -1", "--max-sessions: -1 is not a number from 1 to 1000000"},
        {"--map-size 1GB",
         "--map-size: 1GB is not a size such as 512MiB or 16GiB, from 16777216 to "
         "70368744177664"},
        {"--map-size 99999999999GiB",
         "--map-size: 99999999999GiB is not a size such as 512MiB or 16GiB, from 16777216 to "
         "70368744177664"},
        {"--version=false", "--version: false has no place here: it is a flag alone"},
    };

    for (size_t i = 0; i < COUNT_OF(values); i++) {
        assert_false(flags(fixture, values[i].flags));
        assert_refused(fixture, CONFIG_EXIT_INVALID, values[i].message);
    }
}

static void bad_value_in_the_environment_names_its_variable(void **state)
{
    struct fixture *fixture = *state;

    assert_false(environment(fixture, "HOLDFAST_MARGIN=soon"));
    assert_refused(fixture, CONFIG_EXIT_INVALID,
                   "environment HOLDFAST_MARGIN: soon is not a duration such as 250ms or 1.5s, "
                   "from 1ms to 1m");
}

static void bad_value_in_the_file_names_its_line(void **state)
{
    struct fixture *fixture = *state;

    assert_false(file(fixture, "[holdfast]\nmax-connections = many\n"));
    assert_refused(fixture, CONFIG_EXIT_INVALID,
                   "h.ini:2: max-connections: many is not a number from 1 to 60000");
}

static void file_cannot_name_another_file(void **state)
{
    struct fixture *fixture = *state;

    assert_false(file(fixture, "config = other.ini\n"));
    assert_refused(fixture, CONFIG_EXIT_INVALID,
                   "h.ini:1: config: other.ini cannot be named by another file");
}

/* --- What must hold between settings ---------------------------------------------------------- */

static void whole_configuration_is_completed(void **state)
{
    struct fixture *fixture = *state;

    good_flags(fixture);
    assert_true(flags(fixture, "--dial n7=127.0.0.1:9999")); /* It may join later. */

    assert_true(checked(fixture));
    assert_string_equal(fixture->config.peer, "127.0.0.1:7201");
    assert_string_equal(fixture->config.advertise_client, "127.0.0.1:7101");
    assert_string_equal(fixture->config.dial.items[0].address, "127.0.0.1:9999");
}

static void required_settings_are_asked_for_in_turn(void **state)
{
    struct fixture *fixture = *state;
    static const char *const steps[][2] = {
        {"--name is missing", "--name n1"},
        {"--data is missing", "--data /d"},
        {"--client is missing", "--client h:1"},
        {"--cluster is missing", "--cluster n1=h:2"},
    };

    for (size_t i = 0; i < COUNT_OF(steps); i++) {
        assert_false(checked(fixture));
        assert_int_equal(fixture->problem.exit_status, CONFIG_EXIT_INVALID);
        assert_memory_equal(fixture->problem.text, steps[i][0], strlen(steps[i][0]));
        assert_true(flags(fixture, steps[i][1]));
    }
    assert_true(checked(fixture));
}

static void recovering_needs_a_folder_and_nothing_else(void **state)
{
    struct fixture *fixture = *state;

    assert_false(config_check_recover(&fixture->config, &fixture->problem));
    assert_int_equal(fixture->problem.exit_status, CONFIG_EXIT_INVALID);
    assert_non_null(strstr(fixture->problem.text, "--data is missing"));
    assert_true(flags(fixture, "--data /d --yes-i-accept-loss"));
    assert_true(config_check_recover(&fixture->config, &fixture->problem));
    assert_true(fixture->config.accepts_loss);
}

static void accepting_loss_starts_no_node(void **state)
{
    struct fixture *fixture = *state;

    good_flags(fixture);
    assert_true(flags(fixture, "--restore /backup"));
    assert_true(checked(fixture));
    assert_string_equal(fixture->config.restore, "/backup");
    assert_true(flags(fixture, "--yes-i-accept-loss"));
    assert_false(checked(fixture));
    assert_non_null(strstr(fixture->problem.text, "holdfastd recover"));
}

static void contradictions_are_refused(void **state)
{
    struct fixture *fixture = *state;
    static const struct bad_value values[] = {
        {"--name n4",
         "--name: n4 is not in --cluster; add it there, on every node, or mend the name"},
        {"--cluster n1=h:1,n2=h:1",
         "--cluster: two nodes have the address h:1; each needs its own"},
        {"--cluster n1=0.0.0.0:1",
         "--cluster: nobody can dial 0.0.0.0:1; give an address that the other nodes reach"},
        {"--client 127.0.0.1:7202", "--client: 127.0.0.1:7202 is the peer address of node n2"},
        {"--peer 127.0.0.1:7999",
         "--peer is not this node's entry in --cluster, which is 127.0.0.1:7201; leave --peer "
         "out, or listen on 0.0.0.0 at the same port"},
        {"--peer 0.0.0.0:7999",
         "--peer is not this node's entry in --cluster, which is 127.0.0.1:7201; leave --peer "
         "out, or listen on 0.0.0.0 at the same port"},
        {"--client 0.0.0.0:7101", "--client: no client can dial 0.0.0.0:7101; give "
                                  "--advertise-client HOST:PORT as well"},
        {"--election-max 250ms", "--election-max must be longer than --election-min, which is "
                                 "250ms; twice that is a good value"},
        {"--heartbeat 126ms", "--heartbeat is 126ms and must be at most half of --election-min, "
                              "which is 250ms"},
    };

    for (size_t i = 0; i < COUNT_OF(values); i++) {
        config_init(&fixture->config);
        good_flags(fixture);
        assert_true(flags(fixture, values[i].flags));
        assert_false(checked(fixture));
        assert_refused(fixture, CONFIG_EXIT_INVALID, values[i].message);
    }
}

static void peer_may_listen_on_all_interfaces_at_its_port(void **state)
{
    struct fixture *fixture = *state;

    good_flags(fixture);
    assert_true(flags(fixture, "--peer 0.0.0.0:7201 --client 0.0.0.0:7101 "
                               "--advertise-client example:7101"));

    assert_true(checked(fixture));
    assert_string_equal(fixture->config.peer, "0.0.0.0:7201");
}

static void longest_values_fit(void **state)
{
    struct fixture *fixture = *state;
    char name[NODE_NAME_SIZE_MAX + 2];
    const char *arguments[] = {"--name", name};

    memset(name, 'a', sizeof(name));
    name[NODE_NAME_SIZE_MAX] = '\0';
    assert_true(config_parse_flags(&fixture->config, 2, arguments, &fixture->problem));
    assert_string_equal(fixture->config.name, name);
    name[NODE_NAME_SIZE_MAX] = 'a';
    name[NODE_NAME_SIZE_MAX + 1] = '\0';
    assert_false(config_parse_flags(&fixture->config, 2, arguments, &fixture->problem));
}

static void help_names_every_setting(void **state)
{
    static const char *const names[] = {"--name ",    "--dial ",    "--map-size ", "--margin ",
                                        "--version ", "--cluster ", "--help "};
    char memory[4096];
    struct text text;

    (void)state;
    text_init(&text, memory, sizeof(memory));
    config_help(&text);

    assert_false(text.truncated);
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        assert_non_null(strstr(memory, names[i]));
    }
}

#define LAW(name) cmocka_unit_test_setup(name, open_fixture)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LAW(defaults_are_those_of_the_node),
        LAW(flags_take_their_value_behind_a_space_or_an_equals_sign),
        LAW(last_value_of_a_repeated_flag_holds),
        LAW(flag_beats_environment_beats_file_in_whatever_order),
        LAW(dials_of_one_source_are_joined_and_hide_those_of_a_weaker_one),
        LAW(names_in_the_environment_are_shouted),
        LAW(the_file_of_tokens_is_a_setting_of_the_environment_too),
        LAW(names_of_the_client_in_the_environment_are_left_alone),
        LAW(file_knows_comments_sections_and_continued_lists),
        LAW(unknown_flag_is_a_usage_error_that_names_the_nearest),
        LAW(argument_that_is_no_flag_is_a_usage_error),
        LAW(flag_without_its_value_is_a_usage_error),
        LAW(unknown_name_in_the_environment_is_named),
        LAW(unknown_name_in_the_file_is_named_with_its_line),
        LAW(unknown_section_of_the_file_is_named),
        LAW(line_without_a_value_is_refused_with_its_number),
        LAW(line_that_would_be_cut_is_refused),
        LAW(binary_file_is_refused),
        LAW(only_lists_go_on_in_the_next_line),
        LAW(bad_values_are_refused_with_place_and_advice),
        LAW(bad_value_in_the_environment_names_its_variable),
        LAW(bad_value_in_the_file_names_its_line),
        LAW(file_cannot_name_another_file),
        LAW(whole_configuration_is_completed),
        LAW(required_settings_are_asked_for_in_turn),
        LAW(recovering_needs_a_folder_and_nothing_else),
        LAW(accepting_loss_starts_no_node),
        LAW(contradictions_are_refused),
        LAW(peer_may_listen_on_all_interfaces_at_its_port),
        LAW(longest_values_fit),
        LAW(help_names_every_setting),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
