/* tests/unit/command/options_test.c: the command line as scripts may rely on it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/macros.h"
#include "client/command/exit.h"
#include "client/command/options.h"

/* The words of `line`, parted by single spaces. */
struct line {
    char text[600];
    char *words[32];
    struct options options;
    struct options_problem problem;
};

static bool parse(struct line *line, const char *text)
{
    size_t count = 0;
    size_t size = strlen(text);

    assert_true(size < sizeof(line->text));
    memcpy(line->text, text, size + 1);
    line->words[count++] = line->text;
    for (size_t i = 0; i < size; i++) {
        if (line->text[i] == ' ') {
            line->text[i] = '\0';
            line->words[count++] = &line->text[i + 1];
        }
    }
    line->words[count] = NULL;
    return options_parse(&line->options, line->words, "h:1", &line->problem);
}

static void options_stand_before_and_after_the_command(void **state)
{
    struct line line;

    (void)state;
    assert_true(parse(&line, "--ttl 3s lock --json deploy --wait=500ms"));

    assert_int_equal(line.options.command, COMMAND_LOCK);
    assert_true(line.options.ttl_ms == 3000 && line.options.wait_ms == 500 && line.options.json);
    assert_string_equal(line.options.operands[0], "deploy");
    assert_string_equal(line.options.endpoints, "h:1");
}

static void the_last_of_a_repeated_option_holds(void **state)
{
    struct line line;

    (void)state;
    assert_true(parse(&line, "--timeout 1s get k --timeout 2s --endpoints a:1 --endpoints b:2"));

    assert_true(line.options.timeout_ms == 2000);
    assert_string_equal(line.options.endpoints, "b:2");
}

static void what_stands_behind_two_dashes_is_the_command_to_run(void **state)
{
    struct line line;

    (void)state;
    assert_true(parse(&line, "lock L -- run --json --ttl x"));

    assert_false(line.options.json);
    assert_string_equal(line.options.child[0], "run");
    assert_string_equal(line.options.child[3], "x");
    assert_null(line.options.child[4]);
}

static void clauses_of_a_transaction_keep_their_order(void **state)
{
    struct line line;

    (void)state;
    assert_true(parse(&line, "txn --then a --if b --then c --else=d"));

    assert_int_equal(line.options.command, COMMAND_TXN);
    assert_int_equal(line.options.clause_count, 4);
    assert_int_equal(line.options.clauses[0].kind, CLAUSE_THEN);
    assert_string_equal(line.options.clauses[1].text, "b");
    assert_int_equal(line.options.clauses[1].kind, CLAUSE_IF);
    assert_string_equal(line.options.clauses[3].text, "d");
    assert_int_equal(line.options.clauses[3].kind, CLAUSE_ELSE);
    assert_false(parse(&line, "get k --if b"));
}

static void a_put_has_a_ttl_only_with_a_session(void **state)
{
    struct line line;

    (void)state;
    assert_true(parse(&line, "put k v --session --ttl 3s --owner me"));
    assert_true(line.options.session && line.options.ttl_ms == 3000);
    assert_false(parse(&line, "put k v --ttl 3s"));
    assert_int_equal(line.problem.exit_status, EXIT_USAGE);
    assert_false(parse(&line, "put k v --owner me"));
    assert_false(parse(&line, "get k --session"));
}

static void a_lock_may_be_shared_or_count_permits(void **state)
{
    struct line line;

    (void)state;
    assert_true(parse(&line, "lock a --shared --delay 5s --meta build"));
    assert_true(line.options.shared && line.options.delay_ms == 5000);
    assert_string_equal(line.options.metadata, "build");
    assert_true(parse(&line, "lock a --permits 5 --units 2"));
    assert_true(line.options.permits == 5 && line.options.units == 2);
    assert_true(parse(&line, "unlock a --force --token 18446744073709551615 --reason hangs"));
    assert_true(line.options.token == UINT64_MAX);
}

static void an_election_takes_a_name_a_value_and_a_command(void **state)
{
    struct line line;
    (void)state;

    assert_true(parse(&line, "elect primary here --ttl 3s --try -- run me"));
    assert_int_equal(line.options.command, COMMAND_ELECT);
    assert_string_equal(line.options.operands[0], "primary");
    assert_string_equal(line.options.operands[1], "here");
    assert_string_equal(line.options.child[0], "run");
    assert_true(parse(&line, "elect observe primary"));
    assert_int_equal(line.options.command, COMMAND_ELECT_OBSERVE);
    assert_string_equal(line.options.operands[0], "primary");
}

static void an_election_s_name_and_value_have_bounds(void **state)
{
    char text[600];
    struct line line;
    (void)state;

    (void)snprintf(text, sizeof(text), "elect %0254d %0255d", 0, 0);
    assert_true(parse(&line, text));
    (void)snprintf(text, sizeof(text), "elect %0255d x", 0);
    assert_false(parse(&line, text));
    assert_int_equal(line.problem.exit_status, EXIT_INPUT);
    (void)snprintf(text, sizeof(text), "elect x %0256d", 0);
    assert_false(parse(&line, text));
    assert_int_equal(line.problem.exit_status, EXIT_INPUT);
    assert_non_null(strstr(line.problem.text, "at most 255 bytes"));
}

static void a_wrong_line_is_a_usage_error(void **state)
{
    static const char *const wrong[] = {"elect x",
                                        "lock",
                                        "lock a b",
                                        "lock a --",
                                        "lock a --ttl",
                                        "lock a --ttl x",
                                        "lock a --shared --permits 2",
                                        "lock a --units 2",
                                        "lock a --permits 2 --units 3",
                                        "lock a --permits 0",
                                        "lock a --permits 1000001",
                                        "lock a --delay 61s",
                                        "unlock a",
                                        "unlock a --force --token 1",
                                        "unlock a --force --reason x",
                                        "unlock a --token 1 --reason x",
                                        "unlock a --force --token 0 --reason x",
                                        "put a b --shared",
                                        "audit a",
                                        "put a",
                                        "get a b",
                                        "cas a b",
                                        "cas a b c --absent",
                                        "session",
                                        "session foo",
                                        "dev add",
                                        "dev restart 1",
                                        "bench nothing",
                                        "status --ttl 1s",
                                        "get a --json=1",
                                        "lock a --try --wait 1s",
                                        "get a --timeout 0s",
                                        "get a --endpoints h",
                                        "get a --endpoints h:1,",
                                        "get a --endpoints h:70000",
                                        "elect x y z",
                                        "elect x y --",
                                        "elect x y --try --wait 1s",
                                        "elect x y --shared",
                                        "elect observe",
                                        "elect observe a b",
                                        "elect observe a --ttl 1s",
                                        "lock a --election"};
    struct line line;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        assert_false(parse(&line, wrong[i]));
        assert_int_equal(line.problem.exit_status, EXIT_USAGE);
    }
}

static void a_wrong_operand_is_bad_input(void **state)
{
    static const char *const wrong[] = {"put  x",        "session end abc",
                                        "session end 0", "dev restart 10 --dir d",
                                        "locks show ",   "unlock a --force --token 1 --reason ",
                                        "lock a --meta "};
    struct line line;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        assert_false(parse(&line, wrong[i]));
        assert_int_equal(line.problem.exit_status, EXIT_INPUT);
    }
}

static void an_unknown_name_is_answered_with_the_nearest(void **state)
{
    struct line line;

    (void)state;
    assert_false(parse(&line, "statsu"));
    assert_non_null(strstr(line.problem.text, "did you mean status"));

    assert_false(parse(&line, "lock a --tll 1s"));
    assert_non_null(strstr(line.problem.text, "did you mean --ttl"));
}

static void a_value_may_begin_with_a_dash(void **state)
{
    struct line line;

    (void)state;
    assert_true(parse(&line, "put k -5"));
    assert_string_equal(line.options.operands[1], "-5");

    assert_true(parse(&line, "put -- --k --v"));
    assert_string_equal(line.options.operands[0], "--k");
}

static void changes_of_the_cluster_name_a_node(void **state)
{
    struct line line;

    (void)state;
    assert_true(parse(&line, "member promote n4 --replace n2"));
    assert_int_equal(line.options.command, COMMAND_MEMBER_PROMOTE);
    assert_string_equal(line.options.operands[0], "n4");
    assert_string_equal(line.options.replace, "n2");
    assert_true(parse(&line, "member add n4 --learner"));
    assert_true(line.options.learner);
    assert_true(parse(&line, "leader move n3"));
    assert_int_equal(line.options.command, COMMAND_LEADER_MOVE);
    assert_true(parse(&line, "snapshot save /tmp/backup"));
    assert_int_equal(line.options.command, COMMAND_SNAPSHOT_SAVE);
    assert_string_equal(line.options.operands[0], "/tmp/backup");
    assert_false(parse(&line, "snapshot save"));
    assert_int_equal(line.problem.exit_status, EXIT_USAGE);
    assert_false(parse(&line, "snapshot take"));
    assert_int_equal(line.problem.exit_status, EXIT_USAGE);
    assert_true(parse(&line, "dev add --dir /tmp/d"));
    assert_int_equal(line.options.command, COMMAND_DEV_ADD);
    assert_true(parse(&line, "member ls"));
    assert_int_equal(line.options.command, COMMAND_MEMBER_LS);

    assert_false(parse(&line, "dev add"));
    assert_int_equal(line.problem.exit_status, EXIT_USAGE);
    assert_false(parse(&line, "member add"));
    assert_int_equal(line.problem.exit_status, EXIT_USAGE);
    assert_false(parse(&line, "member remove n1 --learner"));
    assert_int_equal(line.problem.exit_status, EXIT_USAGE);
    assert_false(parse(&line, "member remove name-that-is-longer-than-32-bytes-is"));
    assert_int_equal(line.problem.exit_status, EXIT_INPUT);
    assert_false(parse(&line, "member grow"));
    assert_int_equal(line.problem.exit_status, EXIT_USAGE);
}

static void a_lost_answer_of_a_write_may_be_applied_and_a_lock_never_says_so(void **state)
{
    const struct holdfast_result unanswered = {
        .status = HOLDFAST_UNKNOWN_OUTCOME, .outcome = HOLDFAST_UNKNOWN, .text = ""};
    const struct holdfast_result never_sent = {
        .status = HOLDFAST_NO_QUORUM, .outcome = HOLDFAST_REJECTED, .text = ""};

    (void)state;
    assert_int_equal(exit_of_result(&unanswered, true), EXIT_UNKNOWN);
    assert_int_equal(exit_of_result(&unanswered, false), EXIT_NO_QUORUM);
    assert_int_equal(exit_of_acquire(&unanswered), EXIT_NO_QUORUM);
    assert_int_equal(exit_of_result(&never_sent, true), EXIT_NO_QUORUM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_stand_before_and_after_the_command),
        cmocka_unit_test(the_last_of_a_repeated_option_holds),
        cmocka_unit_test(what_stands_behind_two_dashes_is_the_command_to_run),
        cmocka_unit_test(a_lock_may_be_shared_or_count_permits),
        cmocka_unit_test(an_election_takes_a_name_a_value_and_a_command),
        cmocka_unit_test(an_election_s_name_and_value_have_bounds),
        cmocka_unit_test(clauses_of_a_transaction_keep_their_order),
        cmocka_unit_test(a_put_has_a_ttl_only_with_a_session),
        cmocka_unit_test(a_wrong_line_is_a_usage_error),
        cmocka_unit_test(a_wrong_operand_is_bad_input),
        cmocka_unit_test(an_unknown_name_is_answered_with_the_nearest),
        cmocka_unit_test(a_value_may_begin_with_a_dash),
        cmocka_unit_test(changes_of_the_cluster_name_a_node),
        cmocka_unit_test(a_lost_answer_of_a_write_may_be_applied_and_a_lock_never_says_so),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
