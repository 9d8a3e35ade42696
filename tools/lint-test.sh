#!/usr/bin/env bash
# Tests of the checkers: each plants one mistake in a small tree of its own and wants it found by
# name; the tree without it has to pass. Needs a compiler, not a built project.
# usage: tools/lint-test.sh
set -u -o pipefail
tools=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0 skipped=0

# A clean tree that uses everything that is allowed. Afterwards one is in it.
plant_clean_tree() {
    rm -rf "$work/tree"
    mkdir -p "$work/tree"/{tools,base,log,kv,wire,node,server,client/command,tests/unit/kv,tests/sim}
    cd "$work/tree" || exit 1
    cat >tools/layers.txt <<'END'
# folder: folders it may include
base:
log: base
kv: base
wire: base kv
node: base log kv wire
server: base log kv wire node
client: base wire
END
    cat >base/base.h <<'END'
/* base/base.h: time() and malloc() in a comment are words. */
unsigned long long base_sum(const unsigned char *data, unsigned long size);
END
    cat >base/base.c <<'END'
#include "base/base.h"

#include <string.h>

/* A comment over lines:
 * strcpy(a, b) and "an open quote
 * are words as well. */
static const char *const names[] = {"rand()", "it's \" // sprintf(", 0};

unsigned long long base_sum(const unsigned char *data, unsigned long size)
{
    unsigned long long sum = size == 0 ? '"' : data[size - 1]; // strtok( in a comment
    return sum + strlen(names[size % 2]);
}
END
    cat >base/checksum.c <<'END'
#include <xxhash.h>
END
    cat >base/table.h <<'END'
int table_get(int key);
END
    cat >kv/internal.h <<'END'
int kv_run_time(int key);
END
    cat >kv/kv.c <<'END'
#include "base/base.h"
#include "base/table.h"
#include "kv/internal.h"

int kv_run_time(int key)
{
    return table_get(key) + (int)base_sum((const unsigned char *)"a", 1);
}
END
    cat >wire/msgpack.c <<'END'
#include <msgpack.h>
#include <stdlib.h>

int wire_use_memory(void);
int wire_use_memory(void)
{
    void *memory = malloc(8);
    free(memory);
    return memory != NULL;
}
END
    cat >server/table.c <<'END'
#include <lmdb.h>
#include <uv.h>

#include "base/table.h"
#include "kv/internal_not.h"

static void *memory(void) { return malloc(1); }
END
    sed -i '/internal_not/d' server/table.c
    cat >server/clock.c <<'END'
#define _GNU_SOURCE
#include <time.h>

long server_clock_now(void);
long server_clock_now(void)
{
    struct timespec now;
    return clock_gettime(CLOCK_MONOTONIC, &now) == 0 ? now.tv_sec : 0;
}
END
    cat >client/command/lock.c <<'END'
#include <uv.h>

#include "wire/wire.h"
END
    cat >tests/unit/kv/kv_test.c <<'END'
#include <setjmp.h>

#include "kv/internal.h"

static void *memory(void) { return malloc(1); }
END
    printf 'all:\n' >Makefile
}

# Compiles sources of the tree as the plain build would. The headers of libraries stay out.
build() {
    local source
    for source in "$@"; do
        mkdir -p "build/plain/obj/$(dirname "$source")"
        sed '/<\(msgpack\|lmdb\|uv\|xxhash\)\.h>/d' "$source" |
            "${CC:-cc}" -std=c11 -O2 -D_FORTIFY_SOURCE=2 -fPIC -fstack-protector-strong -w -I. \
                -c -x c -o "build/plain/obj/${source%.c}.o" - || exit 1
    done
}

build_clean_tree() {
    plant_clean_tree
    build base/base.c kv/kv.c wire/msgpack.c server/clock.c
}

report() {
    local verdict=$1 name=$2
    if [ "$verdict" = ok ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf 'FAILED: %s\n%s\n' "$name" "$output"
    fi
}

# The checker accepts the tree, and is silent about it.
expect_clean() {
    local name=$1 checker=$2
    if output=$("$tools/$checker" . 2>&1) && [ -z "$output" ]; then
        report ok "$name"
    else
        report failed "$name"
    fi
}

# The checker refuses the tree; one line of what it says has both the file and the word.
expect_finding() {
    local name=$1 checker=$2 file=$3 word=$4
    if output=$("$tools/$checker" . 2>&1); then
        report failed "$name: it was accepted"
    elif grep -F -- "$file" <<<"$output" | grep -qF -- "$word"; then
        report ok "$name"
    else
        report failed "$name: wanted '$word' for $file"
    fi
}

test_layers() {
    local checker=lint-layers.sh
    plant_clean_tree
    expect_clean "the clean tree has its layers in order" $checker

    plant_clean_tree
    echo '#include "server/server.h"' >>kv/kv.c
    expect_finding "an upward include" $checker kv/kv.c:9 'must not include "server/server.h"'

    plant_clean_tree
    echo '#include "kv/kv.h"' >client/command/get.c
    expect_finding "a folder below client/ counts as client" $checker client/command/get.c 'kv/kv.h'

    plant_clean_tree
    echo '#include "kv/internal.h"' >node/node.c
    expect_finding "a private header of another folder" $checker node/node.c 'private to kv/'

    plant_clean_tree
    echo '#include "kv/internal_keys.h"' >tests/sim/sim.c
    expect_finding "a private header in another test" $checker tests/sim/sim.c 'private to kv/'

    plant_clean_tree
    echo '  #  include "base.h"' >>kv/kv.c
    expect_finding "an include without its folder" $checker kv/kv.c 'full path'

    plant_clean_tree
    echo '#include "tests/support/kv/kv.h"' >>kv/kv.c
    expect_finding "a product that includes its tests" $checker kv/kv.c 'does not allow tests'

    plant_clean_tree
    mkdir raft && echo '#include "base/base.h"' >raft/raft.c
    expect_finding "a folder without a row" $checker raft/raft.c 'folder raft is not in'

    plant_clean_tree
    echo '#include <lmdb.h>' >server/zz_second.c
    expect_finding "a second file that includes lmdb" $checker server/zz_second.c lmdb

    plant_clean_tree
    echo '#include <lmdb.h>' >server/server.h
    expect_finding "a header that includes lmdb" $checker server/server.h lmdb

    plant_clean_tree
    echo '#include <msgpack/unpack.h>' >wire/zz_second.c
    expect_finding "a second file that includes msgpack" $checker wire/zz_second.c msgpack

    plant_clean_tree
    echo '#include <uv.h>' >node/node.c
    expect_finding "libuv outside of the shell" $checker node/node.c 'uv.h'

    plant_clean_tree
    echo '#include <xxhash.h>' >log/log.c
    expect_finding "the hash outside of its file" $checker log/log.c 'base/checksum.h'
}

test_banned() {
    local checker=lint-banned.sh call
    plant_clean_tree
    expect_clean "the clean tree calls nothing banned" $checker

    for call in strcpy strcat sprintf vsprintf strtok gets atoi rand time gettimeofday malloc alloca \
        setjmp; do
        plant_clean_tree
        printf '\nint x(void) { return (int)%s (0); }\n' "$call" >>kv/kv.c
        expect_finding "a call of $call" $checker kv/kv.c:10 "$call() is banned: use "
    done

    plant_clean_tree
    printf '/* one */ int a = rand(); /* two\n */ int b = "/*" ? atoi("1") : 0;\n' >server/mixed.c
    expect_finding "a call between comments" $checker server/mixed.c:1 rand
    expect_finding "a call behind a comment over lines and a string" $checker server/mixed.c:2 atoi

    plant_clean_tree
    echo 'static void *other(void) { return malloc(1); }' >wire/other.c
    expect_finding "malloc in wire/ outside of its one file" $checker wire/other.c malloc

    for call in sleep usleep nanosleep; do
        plant_clean_tree
        echo "static void wait_a_bit(void) { $call(1); }" >tests/sim/sim.c
        expect_finding "$call in a test" $checker tests/sim/sim.c "$call() is banned"
    done
}

test_size() {
    local checker=lint-size.sh word
    plant_clean_tree
    expect_clean "the clean tree is of the right size" $checker

    plant_clean_tree
    yes '/* line */' | head -n 600 >log/log.c
    expect_clean "600 lines are allowed" $checker
    echo '/* one more */' >>log/log.c
    expect_finding "601 lines" $checker log/log.c '601 lines'

    plant_clean_tree
    yes '# line' | head -n 151 >Makefile
    expect_finding "a long Makefile" $checker Makefile '151 lines'

    for word in TO""DO FIX""ME XX""X HA""CK; do
        plant_clean_tree
        echo "# $word: later" >tools/run.sh
        expect_finding "a note that says $word" $checker tools/run.sh:1 "$word"
    done
}

test_purity() {
    local checker=lint-purity.sh
    plant_clean_tree
    expect_finding "nothing is built" $checker build/plain/obj 'run make'

    build_clean_tree
    expect_clean "the clean tree is pure" $checker

    build_clean_tree
    printf '#include <time.h>\nlong kv_now(void) { return (long)time(NULL); }\n' >kv/now.c
    build kv/now.c
    expect_finding "time() in a pure folder, by its symbol" $checker kv/now.c 'needs time:'
    expect_finding "time() in a pure folder, by its name" lint-banned.sh kv/now.c:2 'time() is banned'

    build_clean_tree
    printf '#include <stdio.h>\nvoid kv_say(int x) { printf("%%d", x); }\n' >kv/say.c
    build kv/say.c
    expect_finding "printf under its checked name" $checker kv/say.c printf

    build_clean_tree
    printf 'int table_get(int); int table_vanish(int);\nint kv_x(void) { return table_vanish(1); }\n' \
        >kv/seam.c
    build kv/seam.c
    expect_finding "a function that no seam declares" $checker kv/seam.c 'table_vanish'

    build_clean_tree
    printf '#include <stdlib.h>\nvoid *kv_take(void) { return malloc(8); }\n' >kv/take.c
    build kv/take.c
    expect_finding "malloc in a pure folder" $checker kv/take.c 'needs malloc:'

    build_clean_tree
    printf 'long read(int, void *, unsigned long);\nlong c(void) { return read(0, 0, 0); }\n' \
        >client/core.c
    build client/core.c
    expect_finding "the core of the client is pure" $checker client/core.c 'needs read:'

    build_clean_tree
    printf 'int server_calls = 3;\n' >server/global.c
    build server/global.c
    expect_finding "a writable global" $checker server/global.c 'server_calls in .data'

    build_clean_tree
    printf 'int kv_next(void) { static int number; return ++number; }\n' >kv/static.c
    build kv/static.c
    expect_finding "a static variable of a function" $checker kv/static.c 'number'

    build_clean_tree
    printf 'static _Thread_local int last; int kv_last(int x) { int y = last; last = x; return y; }\n' \
        >kv/thread.c
    build kv/thread.c
    expect_finding "a variable of each thread" $checker kv/thread.c 'last in .tbss'

    build_clean_tree
    printf 'const char *kv_names[] = {"a", "b"};\n' >kv/names.c
    build kv/names.c
    expect_finding "a table of constants that itself is not" $checker kv/names.c kv_names

    build_clean_tree
    printf 'int kv_gone = 1;\n' >kv/gone.c
    build kv/gone.c
    rm kv/gone.c
    expect_clean "an object whose source is gone does not count" $checker
}

# That the limits of .clang-tidy are in force: a file it cannot read would be ignored.
test_tidy() {
    local line
    if ! command -v clang-tidy >/dev/null; then
        skipped=$((skipped + 1))
        return
    fi
    plant_clean_tree
    cp "$tools/../.clang-tidy" .
    {
        echo 'int longFunction(int a, int b, int c, int d, int e, int f, int g)'
        echo '{'
        for line in $(seq 70); do
            echo "    a += b * c * d * e * f * g * $line;"
        done
        printf '    return a;\n}\n'
    } >kv/long.c
    output=$(clang-tidy --quiet kv/long.c -- -std=c11 2>&1)
    for line in '72 lines including' '7 parameters' 'invalid case style'; do
        if grep -qF -- "$line" <<<"$output"; then
            report ok "clang-tidy: $line"
        else
            report failed "clang-tidy: $line"
        fi
    done
}

test_layers
test_banned
test_size
test_purity
test_tidy
cd / || exit 1
echo "$passed passed, $failed failed$([ "$skipped" -eq 0 ] || echo ", $skipped skipped")"
[ "$failed" -eq 0 ]
