#!/usr/bin/env bash
# The simulator as a stage of make test: the same seed twice gives the same trace, then SEEDS seeds.
# SIM is the program; TINY the same with short queues, where there is one: it runs as many seeds.
set -u -o pipefail
sim=${SIM:-build/sim}
seeds="3336 11 12 13 14"

# shellcheck disable=SC2086 # One word for each seed.
first=$($sim $seeds) || { echo "$first"; echo "0 passed, 1 failed"; exit 1; }
# shellcheck disable=SC2086
second=$($sim $seeds)
if [ "$first" != "$second" ]; then
    diff <(echo "$first") <(echo "$second")
    echo "sim: the same seeds gave other traces"
    echo "0 passed, 1 failed"
    exit 1
fi
if ! $sim --many "${SEEDS:-100}" --from 1 --brief; then
    echo "1 passed, 1 failed"
    exit 1
fi
passed=2
if [ -n "${TINY:-}" ]; then
    if ! $TINY --many "${SEEDS:-100}" --from 1 --brief; then
        echo "2 passed, 1 failed"
        exit 1
    fi
    passed=3
fi
echo "$passed passed, 0 failed"
