#!/usr/bin/env bash
# Proves on the objects of the plain build that the pure folders need nothing from the outside,
# and that no object of the product has a writable global. Builds nothing.
# usage: tools/lint-purity.sh [ROOT]
set -eu -o pipefail
root=${1:-.}
# shellcheck source=tools/lint-common.sh
. "$(dirname "$0")/lint-common.sh"
cd "$root"
root=.

objects=build/plain/obj
pure_folders='base|log|raft|lease|kv|crdt|failure-detector|wire|node'
pure_object="^$objects/(($pure_folders)/|client/core[^/]*\.o$)"

# What every pure object may need. Of the checked variants (__memcpy_chk) only those of functions
# that are allowed themselves: __printf_chk would be a way out.
allowed='memcpy memmove memset memcmp strlen log10 erfc abort'
allowed+=' __memcpy_chk __memmove_chk __memset_chk __stack_chk_fail _GLOBAL_OFFSET_TABLE_'

# Objects of the product whose source is still there.
product_objects() {
    local object source
    find "$objects" -name '*.o' | sort | while IFS= read -r object; do
        source=${object#"$objects"/}
        if [ -f "${source%.o}.c" ]; then
            printf '%s\n' "$source"
        fi
    done | only_product | sed "s|^|$objects/|"
}

# The functions that a header of a seam declares.
seam_functions() {
    local header=$1 prefix=$2
    [ ! -f "$header" ] || grep -oE "\\b${prefix}_[a-z0-9_]+\\(" "$header" | tr -d '(' || true
}

all=$([ ! -d "$objects" ] || product_objects)
if [ -z "$all" ]; then
    echo "$objects: nothing is built: run make first"
    exit 1
fi
pure=$(grep -E "$pure_object" <<<"$all" || true)
if [ -z "$pure" ]; then
    echo "$objects: no object of a pure folder is built: run make first"
    exit 1
fi
msgpack=$(grep -lE '^#[[:space:]]*include[[:space:]]*<msgpack' wire/*.c 2>/dev/null | head -n 1 || true)

check_needed='
BEGIN {
    count = split(allowed, names, " ")
    for (i = 1; i <= count; i++) available[names[i]] = 1
}
# nm -A prints "OBJECT: VALUE TYPE NAME", and no value for what is undefined.
{
    object = $1; sub(/:[^:]*$/, "", object)
    type = $(NF - 1)
}
type ~ /^[A-TV-Z]$/ && type != "U" { available[$NF] = 1 }
type ~ /^[Uwv]$/ { needed[object, $NF] = 1 }
END {
    for (pair in needed) {
        split(pair, part, SUBSEP)
        if (is_allowed(part[1], part[2])) continue
        source = substr(part[1], length(objects) + 2); sub(/o$/, "c", source)
        print source ": needs " part[2] ": this folder is pure: take it as a value, or go through" \
            " a seam (log/disk.h, node/world.h, base/table.h)"
        failed = 1
    }
    exit failed
}
function is_allowed(object, symbol) {
    if (symbol in available) return 1
    if (object == objects "/base/assert.o") return symbol == "write"
    if (object == objects "/base/checksum.o") return symbol ~ /^XXH3_/
    if (object == msgpack) return symbol ~ /^(msgpack_.*|malloc|realloc|free)$/
    return 0
}
'

failed=0
if [ -n "$pure" ]; then
    allowed+=" $(seam_functions log/disk.h disk | paste -sd ' ')"
    allowed+=" $(seam_functions node/world.h world | paste -sd ' ')"
    allowed+=" $(seam_functions base/table.h table | paste -sd ' ')"
    xargs -d '\n' nm -A <<<"$pure" | sort |
        awk -v allowed="$allowed" -v objects="$objects" \
            -v msgpack="${msgpack:+$objects/${msgpack%.c}.o}" "$check_needed" | sort || failed=1
fi

# Prints "OBJECT SECTION" of each section that can be written to and is not empty. .data.rel.ro holds
# tables of constant pointers: it is read-only once the program runs.
writable_sections='
$2 == ":" { object = $1 }
$1 ~ /^\.(data|bss|tdata|tbss)(\.|$)/ && $1 !~ /^\.data\.rel\.ro/ && $2 > 0 { print object, $1 }
'
while read -r object section; do
    source=${object#"$objects"/}
    symbols=$(objdump -t "$object" |
        awk -v section="$section" 'index($0, " " section "\t") && $NF != section { print $NF }')
    echo "${source%.o}.c: $(paste -sd ' ' <<<"${symbols:-?}") in $section is a writable global:" \
        "make it const, or a member of a struct that is handed in"
    failed=1
done < <(xargs -d '\n' size -A <<<"$all" | awk "$writable_sections")
exit "$failed"
