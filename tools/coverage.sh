#!/usr/bin/env bash
# Lines executed by the unit tests, for each folder. usage: tools/coverage.sh BUILD-FOLDER
set -u
build=$1
for folder in base log raft lease kv crdt failure-detector wire node server client; do
    find "$build/obj/$folder" -maxdepth 1 -name '*.gcda' -exec gcov -n {} + 2>/dev/null |
        awk -v folder="$folder" '
            /^File/ { ours = index($0, "'\''" folder "/") == 6 }
            ours && /^Lines executed/ {
                split($2, part, ":"); sub("%", "", part[2])
                lines += $4; hit += $4 * part[2] / 100; ours = 0
            }
            END { if (lines > 0) printf "%-8s %6d lines %6.1f %%\n", folder, lines, 100 * hit / lines }'
done
