#!/usr/bin/env bash
# Makes tests/fuzz/wire.dict from wire/messages.def, and the corpora of rpc and frame from
# tests/golden/wire. To be run again when messages were added.
set -eu
cd "$(dirname "$0")/../.."
corpus=tests/fuzz/corpus
mkdir -p "$corpus/rpc" "$corpus/frame"

hex_of() { grep -v '^#' "tests/golden/wire/$1.hex" | tr -d '\n'; }
# Hexadecimal digits on standard input, bytes on standard output.
# shellcheck disable=SC2059
to_bytes() { printf "$(sed 's/../\\x&/g')"; }
text_hex() { printf '%s' "$1" | od -An -v -tx1 | tr -d ' \n'; }
fixstr() { printf '%02x%s' $((0xa0 + ${#1})) "$(text_hex "$1")"; }

{
    echo "# Made by tests/fuzz/seed.sh from wire/messages.def."
    sed -n -e 's/^FIELD([A-Z0-9]*, \([a-z0-9_]*\),.*/\1/p' \
        -e 's/^\(METHOD\|NOTICE\)([0-9]*, \([a-z0-9_]*\))/\2/p' wire/messages.def wire/messages_cluster.def | sort -u |
        while read -r key; do printf '"\\x%02x%s"\n' $((0xa0 + ${#key})) "$key"; done
    printf '"%s"\n' '\x94\x00\x01' '\x94\x01\x01\xc0' '\x93\x02' '\xcf' '\xc6' '\xdb' '\xdd' '\xdf' hfP1
} >tests/fuzz/wire.dict

for method in hello put cas list session_open session_renew lock_acquire lock_release lock_break audit_list transact; do
    echo -n "940001$(fixstr $method)$(hex_of "message_$method")" | to_bytes >"$corpus/rpc/$method"
done
# The fuzzer reads the result as the message whose place in messages.def is the id.
for result in hello_result status_result list_result lock_show_result audit_list_result transact_result failure; do
    id=$(sed -n 's/^MESSAGE(\([a-z0-9_]*\),.*/\1/p' wire/messages.def | grep -nx "$result" | cut -d: -f1)
    printf '9401%02xc0%s' $((id - 1)) "$(hex_of "message_$result")" | to_bytes \
        >"$corpus/rpc/$result"
done
hex_of rpc_failure | to_bytes >"$corpus/rpc/rpc_failure"
hex_of rpc_notice | to_bytes >"$corpus/rpc/rpc_notice"
hex_of rpc_request_within | to_bytes >"$corpus/rpc/rpc_request_within"

for frame in hello refuse form raft_vote_request raft_vote_reply raft_append raft_append_reply \
    raft_heartbeat raft_heartbeat_reply raft_timeout_now snapshot_offer snapshot_chunk snapshot_reply \
    snapshot_request state space forward forwarded; do
    hex_of "frame_$frame" | to_bytes >"$corpus/frame/$frame"
done
