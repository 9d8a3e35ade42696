/* Golden transcripts of tests/golden/raft; GOLDEN_UPDATE=1 rewrites them, a review reads the diff.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/raft/script.h"

enum { TRANSCRIPT_SIZE_MAX = 64 * 1024 };

static void write_back(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void transcript_is_as_expected(void **state)
{
    const char *path = *state;
    char *actual = calloc(1, TRANSCRIPT_SIZE_MAX);
    char *expected = calloc(1, TRANSCRIPT_SIZE_MAX);
    FILE *in = fopen(path, "r");
    assert_non_null(in);
    assert_non_null(actual);
    assert_non_null(expected);
    FILE *out = tmpfile();
    assert_non_null(out);

    script_run(in, out);
    rewind(in);
    rewind(out);
    assert_true(fread(expected, 1, TRANSCRIPT_SIZE_MAX - 1, in) > 0);
    assert_true(fread(actual, 1, TRANSCRIPT_SIZE_MAX - 1, out) > 0);
    assert_int_equal(fclose(in), 0);
    assert_int_equal(fclose(out), 0);

    if (getenv("GOLDEN_UPDATE") != NULL) {
        write_back(path, actual);
    } else {
        assert_string_equal(actual, expected);
    }
    free(actual);
    free(expected);
}

int main(void)
{
    static char election[] = "tests/golden/raft/election.txt";
    static char pre_vote[] = "tests/golden/raft/pre-vote-of-returning-node.txt";
    static char figure_7[] = "tests/golden/raft/figure-7-conflicting-logs.txt";
    static char figure_8[] = "tests/golden/raft/figure-8-old-terms.txt";
    static char read_index[] = "tests/golden/raft/read-index-round.txt";
    static char deposed[] = "tests/golden/raft/deposed-leader.txt";
    static char resign[] = "tests/golden/raft/resign.txt";
    static char lost[] = "tests/golden/raft/lost-append.txt";
    const struct CMUnitTest tests[] = {
        {"election", transcript_is_as_expected, NULL, NULL, election},
        {"pre_vote_of_returning_node", transcript_is_as_expected, NULL, NULL, pre_vote},
        {"figure_7_conflicting_logs", transcript_is_as_expected, NULL, NULL, figure_7},
        {"figure_8_old_terms", transcript_is_as_expected, NULL, NULL, figure_8},
        {"read_index_round", transcript_is_as_expected, NULL, NULL, read_index},
        {"deposed_leader", transcript_is_as_expected, NULL, NULL, deposed},
        {"resign", transcript_is_as_expected, NULL, NULL, resign},
        {"lost_append", transcript_is_as_expected, NULL, NULL, lost},
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
