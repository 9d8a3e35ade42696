#!/usr/bin/env bash
# Checks every #include against tools/layers.txt, and that each library has one door.
# usage: tools/lint-layers.sh [ROOT]
set -eu -o pipefail
root=${1:-.}
# shellcheck source=tools/lint-common.sh
. "$(dirname "$0")/lint-common.sh"
cd "$root"
root=.

# First the table of layers, then every include as FILE:LINE:#include ....
check_includes='
function finding(text) { print file ":" line ": " text; failed = 1 }

FILENAME == layers {
    if ($0 ~ /^[a-z-]+:/) {
        folder = substr($0, 1, index($0, ":") - 1)
        known[folder] = 1
        allowed[folder, folder] = 1
        count = split(substr($0, length(folder) + 2), names, " ")
        for (i = 1; i <= count; i++) allowed[folder, names[i]] = 1
    }
    next
}
{
    file = $0; sub(/:.*/, "", file)
    line = substr($0, length(file) + 2); sub(/:.*/, "", line)
    header = $0; sub(/^[^<"]*[<"]/, "", header); sub(/[>"].*/, "", header)
    from = file; sub(/\/.*/, "", from)
    quoted = $0 ~ /include[ \t]*"/
    # Tests and measuring tools may look into every folder, but not into its private headers.
    if (from == "tests" || from == "tools") { check_internal(); next }
    if (!(from in known) && !(from in reported)) {
        reported[from] = 1
        finding("folder " from " is not in tools/layers.txt: add its row")
    }
    if (quoted) { check_layer(); check_internal() } else check_library()
}

function check_layer(    to) {
    if (header !~ /\//) {
        finding("\"" header "\": write the full path from the root")
        return
    }
    to = header; sub(/\/.*/, "", to)
    if (!((from, to) in allowed))
        finding(from "/ must not include \"" header "\": tools/layers.txt does not allow " to)
}

# x/internal.h is for x/ alone and for the tests of x. The simulator checks every invariant of a
# node and its raft, so it may look inside these two.
function check_internal(    owner, name) {
    owner = header; sub(/\/.*/, "", owner)
    name = header; sub(/.*\//, "", name)
    if (!quoted || name !~ /^internal.*\.h$/ || from == owner) return
    if (from == "tests" && index(file, "/" owner "/")) return
    if (index(file, "tests/sim/") == 1 && (owner == "node" || owner == "raft")) return
    finding("\"" header "\" is private to " owner "/: use what " owner "/" owner ".h offers")
}

function one_door(library, folder,    door) {
    if (from != folder || file !~ /\.c$/) {
        finding("<" header "> may be included by one .c of " folder "/ only")
        return
    }
    door = doors[library]
    if (door != "" && door != file)
        finding("<" header "> is included by " door " already: it has one door, use that")
    doors[library] = file
}

function check_library() {
    if (header ~ /^uv(\.h|\/)/ && from != "server" && from != "client" && from != "jepsen")
        finding("<" header "> may be included in server/, client/ and jepsen/ only")
    if (header ~ /^lmdb\.h/) one_door("lmdb", "server")
    if (header ~ /^msgpack(\.h|\/)/) one_door("msgpack", "wire")
    if (header ~ /^xxhash\.h/ && file != "base/checksum.c")
        finding("<" header "> may be included by base/checksum.c only: use base/checksum.h")
}

END { exit failed }
'

layers=tools/layers.txt
if [ -z "$(list_files '*.c' '*.h' | head -n 1)" ]; then
    echo "lint: layers: no source was found"
    exit 1
fi
list_files '*.c' '*.h' | { xargs -r -d '\n' grep -HnE '^[[:space:]]*#[[:space:]]*include[[:space:]]*[<"]' || true; } |
    awk -v layers="$layers" "$check_includes" "$layers" -
