#!/usr/bin/env bash
# The simulator as a stage of make test: the same seed twice gives the same trace, SEEDS seeds, and
# every planted bug still finds its place. SIM is the program; TINY the same with short queues, where
# there is one: it runs as many seeds.
set -u -o pipefail
sim=${SIM:-build/sim}
here=$(dirname "$0")
seeds="3336 11 12 13 14"
passed=0 failed=0

verdict() { # status, what to say of a failure
    if [ "$1" -eq 0 ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        [ -z "${2:-}" ] || echo "sim: $2"
    fi
}

same_traces() {
    local first second
    # shellcheck disable=SC2086 # One word for each seed.
    first=$($sim $seeds) || { echo "$first"; return 1; }
    # shellcheck disable=SC2086
    second=$($sim $seeds)
    [ "$first" = "$second" ] || { diff <(echo "$first") <(echo "$second"); return 1; }
}

# A campaign that is begun again goes on behind the last seed of its record.
goes_on() {
    local folder first second
    folder=$(mktemp -d)
    first=$(RECORD=$folder/record FROM=1 PIECE=2 SEEDS=2 JOBS=1 python3 "$here/campaign.py" "$sim")
    second=$(RECORD=$folder/record PIECE=2 SEEDS=2 JOBS=1 python3 "$here/campaign.py" "$sim")
    rm -rf "$folder"
    [[ $first == *"seeds 1 to 2: 0 failed"* && $second == *"seeds 3 to 4: 0 failed"* &&
        $second == *"| added up | 1 to 4 | 4 | 0 |"* ]] || { echo "$first"; echo "$second"; return 1; }
}

same_traces
verdict $? "a seed failed, or the same seeds gave other traces"
$sim --many "${SEEDS:-100}" --from 1 --brief
verdict $?
if [ -n "${TINY:-}" ]; then
    $TINY --many "${SEEDS:-100}" --from 1 --brief
    verdict $?
fi
goes_on
verdict $? "a campaign does not go on where it had stopped"
python3 "$here/mutants.py" --check
verdict $? "planted bugs do not apply: put the rows of tests/sim/mutant_list.py right"
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
