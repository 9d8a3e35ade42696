#!/usr/bin/env bash
# Runs clang-tidy on every source of the product, several at a time.
#
# A source that was clean is not looked at again until it, a header of ours that it includes,
# .clang-tidy or clang-tidy itself changes: build/lint/tidy/ holds a hash of all these for each.
# usage: tools/lint-tidy.sh [FILE.c ...]     (without files: all)
set -eu -o pipefail
cd "$(dirname "$0")/.."
root=.
# shellcheck source=tools/lint-common.sh
. tools/lint-common.sh

flags=(-std=c11 -I. -Iclient) # -Iclient: examples include the installed name.
stamps=build/lint/tidy

# Everything that the verdict on a source depends on, but for the headers of the system.
fingerprint() {
    {
        echo "$tidy_version ${flags[*]}"
        "${CC:-cc}" "${flags[@]}" -MM "$1" | tr -s ' \\' '\n' | grep -vE '^$|:$' |
            sort -u | xargs sha256sum .clang-tidy
    } | sha256sum | cut -d ' ' -f 1
}

# Prints "done", or what was found and "failed".
tidy_one() {
    local source=$1 stamp=$stamps/${1%.c} hash output
    hash=$(fingerprint "$source")
    if [ -f "$stamp" ] && [ "$(<"$stamp")" = "$hash" ]; then
        echo "done"
        return
    fi
    if output=$(clang-tidy --quiet "$source" -- "${flags[@]}" 2>/dev/null); then
        mkdir -p "${stamp%/*}"
        echo "$hash" >"$stamp"
        echo "done"
    else
        printf '%s\nfailed: %s\n' "${output:-$source: clang-tidy cannot read it}" "$source"
    fi
}

tidy_version=$(clang-tidy --version | tr -s ' \n' ' ')
if [ "${1-}" = --one ]; then
    tidy_one "$2"
    exit
fi

# A .clang-tidy that it cannot read it only complains about, and then checks next to nothing.
if [ -n "$(clang-tidy --dump-config 2>&1 >/dev/null)" ]; then
    clang-tidy --dump-config >/dev/null
    exit 1
fi
if [ $# -gt 0 ]; then
    sources=$(printf '%s\n' "$@")
else
    sources=$(list_files '*.c' | only_product)
fi
count=$(grep -c . <<<"$sources" || true)
if [ "$count" -eq 0 ]; then
    echo "lint: tidy: no source was found"
    exit 1
fi
xargs -r -d '\n' -P "$(nproc)" -n 1 "$0" --one <<<"$sources" |
    awk -v count="$count" '
        /^(done|failed: .*)$/ {
            finished++
            if (/^failed/) failed = 1
            if (finished % 20 == 0) { print "lint: tidy " finished "/" count; fflush() }
            next
        }
        { print; fflush() }
        END {
            if (finished != count) { print "lint: tidy: " finished " of " count " ran"; failed = 1 }
            exit failed
        }'
