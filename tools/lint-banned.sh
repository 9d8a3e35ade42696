#!/usr/bin/env bash
# Finds calls that this project does without, and names what to use instead.
# Comments, strings and characters are not looked into.
# usage: tools/lint-banned.sh [ROOT]
set -eu -o pipefail
root=${1:-.}
# shellcheck source=tools/lint-common.sh
. "$(dirname "$0")/lint-common.sh"
cd "$root"
root=.

check_calls='
BEGIN {
    text = "base/text.h (text_add, text_add_bytes), or snprintf() in the shell"
    ban("strcpy stpcpy strcat sprintf vsprintf", text)
    ban("strtok gets", "struct bytes and a loop that knows its bounds")
    ban("atoi atol atoll", "text_parse_u64(), which refuses what is not a number")
    ban("rand srand random", "struct prng, with a seed that comes in (base/prng.h)")
    ban("time gettimeofday", "now_ms of the event; in the shell clock_gettime()")
    ban("alloca", "an array with a limit, or struct arena")
    ban("setjmp longjmp", "enum error")
    split("malloc calloc realloc strdup", words, " ")
    for (i in words) memory[words[i]] = "struct arena, filled at start (base/arena.h)"
    split("sleep usleep nanosleep clock_nanosleep thrd_sleep uv_sleep", words, " ")
    for (i in words) sleeping[words[i]] = "wait for the event itself (poll, waitpid, a reply)"
}

function ban(list, instead,    names, i) {
    split(list, names, " ")
    for (i in names) banned[names[i]] = instead
}

FNR == 1 {
    within = 0
    tests = FILENAME ~ /^tests\//
    allocates = tests || FILENAME ~ /^(server|client|jepsen|tools)\// || FILENAME == msgpack
}

{ check(strip($0)) }

# The line with comments, strings and characters taken out; `within` a comment over lines.
function strip(line,    kept, found) {
    kept = ""
    while (line != "") {
        if (within) {
            if (!(found = index(line, "*/"))) return kept
            line = substr(line, found + 2)
            within = 0
            continue
        }
        if (!match(line, /\/\*|\/\/|"([^"\\]|\\.)*"|\047([^\047\\]|\\.)*\047/)) return kept line
        kept = kept substr(line, 1, RSTART - 1) " "
        found = substr(line, RSTART, 2)
        line = substr(line, RSTART + RLENGTH)
        if (found == "//") return kept
        within = found == "/*"
    }
    return kept
}

function check(line,    word, instead) {
    while (match(line, /[A-Za-z_][A-Za-z0-9_]*[ \t]*\(/)) {
        word = substr(line, RSTART, RLENGTH)
        line = substr(line, RSTART + RLENGTH)
        sub(/[ \t]*\($/, "", word)
        instead = ""
        if (word in banned) instead = banned[word]
        if (word in memory && !allocates) instead = memory[word]
        if (word in sleeping && tests) instead = sleeping[word]
        if (instead != "") {
            print FILENAME ":" FNR ": " word "() is banned: use " instead
            failed = 1
        }
    }
}

END { exit failed }
'

msgpack=$(grep -lE '^#[[:space:]]*include[[:space:]]*<msgpack' wire/*.c 2>/dev/null | head -n 1 || true)
list_files '*.c' '*.h' '*.def' | xargs -r -d '\n' awk -v msgpack="$msgpack" "$check_calls"
