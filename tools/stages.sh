#!/usr/bin/env bash
# Runs test stages one after the other and closes with the sum of their closing lines.
# usage: tools/stages.sh NAME 'COMMAND' [NAME 'COMMAND' ...]
# A stage's last line is "N passed, N failed[, N skipped]"; a stage that fails without counting a
# failure counts as one.
set -u
passed=0 failed=0 skipped=0
output=$(mktemp)
trap 'rm -f "$output"' EXIT
while [ $# -gt 1 ]; do
    name=$1 command=$2
    shift 2
    started=$SECONDS
    echo "== $name"
    bash -c "$command" 2>&1 | tee "$output"
    status=${PIPESTATUS[0]}
    line=$(tail -n 1 "$output")
    if [[ $line =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed(,\ ([0-9]+)\ skipped)?$ ]]; then
        bad=${BASH_REMATCH[2]}
        passed=$((passed + BASH_REMATCH[1]))
        skipped=$((skipped + ${BASH_REMATCH[4]:-0}))
    else
        bad=0
    fi
    if [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then
        echo "$name: exit status $status"
        bad=1
    fi
    failed=$((failed + bad))
    echo "== $name: $((SECONDS - started)) s"
done
tail=""
[ "$skipped" -ne 0 ] && tail=", $skipped skipped"
echo "$passed passed, $failed failed$tail"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
