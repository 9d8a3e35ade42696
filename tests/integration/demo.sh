#!/usr/bin/env bash
# The main job in half a minute: three node processes, a client takes a lock, the leader is killed
# with SIGKILL, the lock still holds, nobody else gets in, the next holder's token is larger.
# Leaves no process and no file behind. `make demo` builds and runs it.
set -u
here=$(cd "$(dirname "$0")/../.." && pwd)
bin=$here/${BIN:-build}
holdfast=$bin/holdfast
folder=$(mktemp -d "${TMPDIR:-/var/tmp}/holdfast-demo.XXXXXX")
dev="" holder=""

finish() {
    [ -n "$holder" ] && kill "$holder" 2>/dev/null && wait "$holder" 2>/dev/null
    [ -n "$dev" ] && kill "$dev" 2>/dev/null && wait "$dev" 2>/dev/null
    rm -rf "$folder"
}
trap finish EXIT
trap 'exit 130' INT TERM

fail() {
    echo "demo: $*" >&2
    [ -f "$folder/dev.out" ] && tail -n 5 "$folder/dev.out" >&2
    exit 1
}

# Reads lines of the fifo $1 until one contains $2; its text is then in $line.
await_line() {
    local deadline=$((SECONDS + $3))
    while [ $SECONDS -lt $deadline ]; do
        if read -r -t 1 line <&"$1"; then
            [[ $line == *"$2"* ]] && return 0
        fi
    done
    return 1
}

port=$((30000 + RANDOM % 2000)) # Outside of what the integration tests own.
echo "1. starting three nodes"
mkfifo "$folder/dev.fifo"
"$holdfast" dev --dir "$folder/cluster" --port $port >"$folder/dev.fifo" 2>"$folder/dev.out" &
dev=$!
exec 3<"$folder/dev.fifo"
await_line 3 ready 15 || fail "the cluster did not come up"
HOLDFAST_ENDPOINTS=$(cat "$folder/cluster/endpoints")
export HOLDFAST_ENDPOINTS
leader=$("$holdfast" status --json | sed -n 's/.*"leader":"\([^"]*\)".*/\1/p')
[ -n "$leader" ] || fail "no leader"
echo "   $HOLDFAST_ENDPOINTS, leader $leader"

echo "2. a client takes the lock 'deploy'"
mkfifo "$folder/holder.fifo" "$folder/go"
"$holdfast" lock deploy --ttl 3s -- \
    bash -c 'echo "token $HOLDFAST_TOKEN"; read -r _ <"'"$folder/go"'"; echo "still here"' \
    >"$folder/holder.fifo" 2>"$folder/holder.err" &
holder=$!
exec 4<"$folder/holder.fifo"
await_line 4 "token " 10 || fail "the lock was not granted: $(cat "$folder/holder.err")"
first=${line#token }
echo "   granted with token $first"

echo "3. kill -9 of the leader $leader"
kill -9 "$(cat "$folder/cluster/$leader/pid")"
started=$(date +%s%3N)
"$holdfast" --timeout 10s put demo/key after-the-kill || fail "no write after the kill"
echo "   first write after $(($(date +%s%3N) - started)) ms, new leader $("$holdfast" status --json |
    sed -n 's/.*"leader":"\([^"]*\)".*/\1/p')"

echo "4. somebody else tries"
"$holdfast" lock deploy --try -- true 2>/dev/null
status=$?
[ $status -eq 75 ] || fail "expected exit status 75 (not acquired), got $status"
echo "   refused: exit status 75"

echo "5. the holder is asked to finish"
echo go >"$folder/go"
await_line 4 "still here" 5 || fail "the holder is gone"
wait $holder
status=$?
holder=""
[ $status -eq 0 ] || fail "the holder ended with $status: $(cat "$folder/holder.err")"
echo "   it held all the time: exit status 0"

echo "6. the next holder"
second=$("$holdfast" lock deploy --wait 10s -- bash -c 'echo "$HOLDFAST_TOKEN"') ||
    fail "the lock was not granted again"
[ "$second" -gt "$first" ] || fail "token $second is not larger than $first"
echo "   granted with token $second, larger than $first"

kill "$dev"
wait "$dev"
dev=""
echo "demo: ok"
