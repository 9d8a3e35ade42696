#!/usr/bin/env bash
# Builds every fuzzer of tests/fuzz and runs each for SECONDS, two at a time.
# usage: tests/fuzz/run.sh SECONDS [FUZZER ...]     FUZZ_CC=clang
# Works on a copy of the committed corpus; what it finds stays in build/fuzz/. The last line is
# "N passed, N failed".
set -u
cd "$(dirname "$0")/../.." || exit 2
seconds=${1:?usage: tests/fuzz/run.sh SECONDS [FUZZER ...]}
shift
if [ $# -eq 0 ]; then
    for source in tests/fuzz/fuzz_*.c; do
        name=${source##*/fuzz_}
        set -- "$@" "${name%.c}"
    done
fi
cc=${FUZZ_CC:-clang}
out=build/fuzz
# shellcheck disable=SC2054
flags=(-std=c11 -O1 -g -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined
    -fno-sanitize-recover=all -I.)
mkdir -p "$out/obj" "$out/corpus" "$out/found"

# The product sources of each fuzzer: folders, single files, and libraries.
sources_of() {
    case $1 in
    rpc) echo base/*.c wire/*.c raft/entry.c tests/support/wire/sample.c ;;
    frame) echo base/*.c wire/*.c raft/entry.c tests/support/wire/sample.c ;;
    log) echo base/*.c log/*.c tests/support/log/*.c ;;
    snapshot)
        echo base/*.c raft/configuration.c raft/entry.c node/snapshot*.c \
            tests/support/base/memory_table.c tests/support/log/memory_disk.c \
            tests/support/log/memory_disk_once.c tests/support/node/snapshot_fixture.c
        ;;
    configuration) echo base/*.c raft/configuration.c raft/entry.c node/member.c node/snapshot_format.c ;;
    identity)
        echo base/*.c raft/configuration.c raft/entry.c node/member.c node/identity.c node/promise.c \
            tests/support/log/memory_disk.c
        ;;
    config) echo base/*.c server/config*.c server/address.c ;;
    credentials) echo base/*.c ;;
    transact)
        echo base/*.c kv/*.c lease/*.c wire/*.c raft/entry.c node/machine_transact.c node/feed.c \
            tests/support/base/memory_table.c
        ;;
    esac
}
libraries_of() {
    case $1 in
    config) echo -lxxhash -lm -linih ;;
    *) echo -lxxhash -lm -lmsgpackc ;;
    esac
}
length_of() {
    case $1 in
    log | snapshot) echo 16384 ;;
    *) echo 4096 ;;
    esac
}

# Compiles what is older than any header; the fuzzers share their objects.
build() {
    local objects=() libraries source object newest
    read -ra libraries < <(libraries_of "$1")
    newest=$(find base log raft lease kv wire node server tests/support tests/fuzz \
        \( -name '*.h' -o -name '*.def' \) -newer "$out/stamp" 2>/dev/null | head -n 1)
    for source in $(sources_of "$1") "tests/fuzz/fuzz_$1.c"; do
        object=$out/obj/${source//\//_}.o
        objects+=("$object")
        if [ -n "$newest" ] || [ ! -e "$object" ] || [ "$source" -nt "$object" ]; then
            $cc "${flags[@]}" -c -o "$object" "$source" || return 1
        fi
    done
    $cc -fsanitize=fuzzer,address,undefined -o "$out/fuzz_$1" "${objects[@]}" "${libraries[@]}"
}

run() {
    local name=$1 dictionary=()
    local log=$out/$name.log
    mkdir -p "$out/corpus/$name"
    [ -d "tests/fuzz/corpus/$name" ] && cp -n "tests/fuzz/corpus/$name"/* "$out/corpus/$name/"
    case $name in rpc | frame | transact) dictionary=(-dict=tests/fuzz/wire.dict) ;; esac
    "$out/fuzz_$name" -max_total_time="$seconds" -rss_limit_mb=512 -timeout=5 \
        -max_len="$(length_of "$name")" -print_final_stats=1 -artifact_prefix="$out/found/$name-" \
        "${dictionary[@]}" "$out/corpus/$name" >"$log" 2>&1
    local status=$?
    local executions
    executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    if [ $status -eq 0 ] && [ "${executions:-0}" -gt 0 ]; then
        echo "fuzz $name: $executions executions, ok"
        return 0
    fi
    local input
    input=$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)
    tail -n 40 "$log"
    echo "fuzz $name: ${executions:-0} executions, FAILED (exit status $status, $log)"
    echo "  repeat: $out/fuzz_$name ${input:-$out/corpus/$name}"
    return 1
}

[ -e "$out/stamp" ] || touch -d @0 "$out/stamp"
touch "$out/stamp.next"
passed=0 failed=0 built=()
for name in "$@"; do
    if build "$name"; then
        built+=("$name")
    else
        echo "fuzz $name: does not build"
        failed=$((failed + 1))
    fi
done
[ "$failed" -eq 0 ] && mv "$out/stamp.next" "$out/stamp"

jobs=()
finish() {
    if wait "$1"; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
}
for name in "${built[@]}"; do
    run "$name" &
    jobs+=($!)
    if [ ${#jobs[@]} -eq 2 ]; then
        finish "${jobs[0]}"
        jobs=("${jobs[1]}")
    fi
done
for job in "${jobs[@]}"; do
    finish "$job"
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
