#!/usr/bin/env bash
# Runs cmocka test programs one after the other and closes with "N passed, N failed".
# usage: tools/run-tests.sh PROGRAM ...     TEST_TIMEOUT=seconds for each program (default 120)
set -u
passed=0 failed=0 skipped=0
for program in "$@"; do
    output=$(timeout "${TEST_TIMEOUT:-120}" "$program" 2>&1)
    status=$?
    oks=$(grep -c '^\[       OK \]' <<<"$output")
    bad=$(grep -c '^\[  FAILED  \] [^0-9]' <<<"$output")
    gone=$(grep -c '^\[  SKIPPED \] [^0-9]' <<<"$output")
    # cmocka names each failed or skipped test twice: as it happens and in the summary.
    bad=$(((bad + 1) / 2)) gone=$(((gone + 1) / 2))
    if [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then
        bad=1
    fi
    if [ "$bad" -ne 0 ]; then
        printf '%s\n%s: exit status %s\n' "$output" "$program" "$status"
    fi
    passed=$((passed + oks)) failed=$((failed + bad)) skipped=$((skipped + gone))
done
tail=""
[ "$skipped" -ne 0 ] && tail=", $skipped skipped"
echo "$passed passed, $failed failed$tail"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
