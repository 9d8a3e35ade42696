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

#include "base/macros.h"
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

#define GOLDEN(name) "tests/golden/raft/" name ".txt"

int main(void)
{
    static char paths[][80] = {
        GOLDEN("election"),
        GOLDEN("pre-vote-of-returning-node"),
        GOLDEN("figure-7-conflicting-logs"),
        GOLDEN("figure-8-old-terms"),
        GOLDEN("read-index-round"),
        GOLDEN("deposed-leader"),
        GOLDEN("resign"),
        GOLDEN("lost-append"),
        GOLDEN("add-voter"),
        GOLDEN("replace-dead-voter"),
        GOLDEN("remove-leader"),
        GOLDEN("two-members-remove-leader"),
        GOLDEN("two-members-remove-other"),
        GOLDEN("configuration-rolls-back"),
        GOLDEN("changes-one-at-a-time"),
        GOLDEN("last-voter-stays"),
        GOLDEN("removed-is-told"),
        GOLDEN("learner-votes"),
        GOLDEN("joint-needs-both"),
        GOLDEN("new-leader-leaves-joint"),
        GOLDEN("snapshot-for-a-lagging-follower"),
        GOLDEN("snapshot-keeps-the-tail"),
        GOLDEN("snapshot-over-a-conflicting-log"),
        GOLDEN("transfer"),
        GOLDEN("transfer-that-fails"),
        GOLDEN("stalled-disk"),
        GOLDEN("lease-read"),
        GOLDEN("lease-ends-with-a-transfer"),
        GOLDEN("restarted-voter-keeps-its-promise"),
        GOLDEN("restarted-only-voter-keeps-its-promise"),
    };
    struct CMUnitTest tests[COUNT_OF(paths)];

    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        tests[i] = (struct CMUnitTest){paths[i], transcript_is_as_expected, NULL, NULL, paths[i]};
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
