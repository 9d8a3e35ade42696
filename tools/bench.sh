#!/usr/bin/env bash
# The figures of docs/performance.md, all in one run on one machine with data on a real disk: the
# floor of disk and loopback, Holdfast, and etcd beside it where Debian's packages etcd-server,
# golang-go and golang-etcd-server-dev are installed. SECONDS_EACH=6 RUNS=3 FAILOVERS=10
set -u
cd "$(dirname "$0")/.." || exit 1
each=${SECONDS_EACH:-6} runs=${RUNS:-3}
folder=$(mktemp -d "${TMPDIR:-/var/tmp}/holdfast-bench.XXXXXX")
pids=()
stop() {
    local pid
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null; done
    for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null; done
    pids=()
}
trap 'stop; rm -rf "$folder"' EXIT
trap 'exit 130' INT TERM
results=$folder/results
: >"$results"
note() { tee -a "$results"; }

# Runs "$@" until its output is "ok", at most 20 s.
await() {
    local deadline=$((SECONDS + 20))
    until [ "$("$@")" = ok ]; do
        [ $SECONDS -lt $deadline ] || { echo "bench: not within 20 s: $*" >&2; exit 1; }
        read -r -t 0.1 <> <(:)
    done
}

holdfast_start() {
    local port=$((30000 + RANDOM % 2000)) # The integration tests own the ports below.
    rm -rf "$folder/hf"
    build/holdfast dev --dir "$folder/hf" --port $port >"$folder/dev.out" 2>&1 &
    pids+=($!)
    holdfast_ready() { grep -qx ready "$folder/dev.out" && echo ok; }
    await holdfast_ready
    HOLDFAST_ENDPOINTS=$(cat "$folder/hf/endpoints")
    export HOLDFAST_ENDPOINTS
}
holdfast_bench() { # workload clients
    build/holdfast bench "$1" --clients "$2" --seconds "$each" --warmup 2 --json |
        sed 's/^{/{"peer":"holdfast",/' | note
}

etcd_start() {
    local i members="" name
    for i in 1 2 3; do members+="${members:+,}n$i=http://127.0.0.1:2380$i"; done
    for i in 1 2 3; do
        name=$folder/etcd$i
        rm -rf "$name"
        etcd --name n$i --data-dir "$name" --listen-client-urls http://127.0.0.1:2379$i \
            --advertise-client-urls http://127.0.0.1:2379$i \
            --listen-peer-urls http://127.0.0.1:2380$i \
            --initial-advertise-peer-urls http://127.0.0.1:2380$i --initial-cluster "$members" \
            --initial-cluster-state new --logger zap --log-level error \
            --log-outputs "$name.log" >"$name.out" 2>&1 &
        pids+=($!)
    done
    etcd_leader() {
        local port
        for port in 23791 23792 23793; do
            if curl -s "http://127.0.0.1:$port/metrics" | grep -qx 'etcd_server_is_leader 1'; then
                echo "http://127.0.0.1:$port" >"$folder/etcd.leader"
                echo ok
                return
            fi
        done
    }
    await etcd_leader
}
etcd_bench() { "$folder/etcd-bench" "$(cat "$folder/etcd.leader")" "$1" "$2" "$each" | note; }

cc -O2 -std=c11 -I. -o "$folder/floor" tools/bench/floor.c base/histogram.c base/assert.c || exit 1
with_etcd=
if command -v etcd >/dev/null && command -v go >/dev/null && command -v curl >/dev/null &&
    (cd tools/bench && GO111MODULE=off GOFLAGS='' GOPATH=/usr/share/gocode \
        go build -o "$folder/etcd-bench" etcd.go); then
    with_etcd=yes
else
    echo "skipped: etcd (needs etcd-server, golang-go, golang-etcd-server-dev, curl)"
fi

for run in $(seq "$runs"); do
    echo "== run $run of $runs"
    "$folder/floor" "$folder" 3 | note
    for load in "put 1" "put 64" "lock 64" "handoff 16" "get 64"; do
        # One after the other within each workload, so that a drifting machine hits both.
        # shellcheck disable=SC2086
        { holdfast_start; holdfast_bench $load; stop; }
        # shellcheck disable=SC2086
        [ -n "$with_etcd" ] && { etcd_start; etcd_bench $load; stop; }
    done
done
echo "== memory after a million puts over 10,000 keys"
holdfast_start
while :; do
    ops=$(build/holdfast bench put --clients 64 --seconds 10 --warmup 0 --json |
        sed 's/.*"ops":\([0-9]*\).*/\1/')
    total=$((${total:-0} + ops))
    [ "$total" -ge 1000000 ] && break
done
for pid_file in "$folder"/hf/n?/pid; do
    grep VmHWM "/proc/$(cat "$pid_file")/status" |
        awk -v n="$(basename "$(dirname "$pid_file")")" '{printf "{\"memory\":\"%s\",\"peak_mb\":%.1f}\n", n, $2 / 1024}'
done | note
stop
echo "== failover"
BIN=build python3 tests/integration/failover.py "${FAILOVERS:-10}" | note
python3 tools/bench/summary.py "$results"
