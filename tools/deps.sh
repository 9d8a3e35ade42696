#!/usr/bin/env bash
# Installs what the build, `make test` and `make lint` need and is missing. Silent when nothing is.
set -u
missing=()
library() { pkg-config --exists "$1" 2>/dev/null || missing+=("$2"); }
tool() { command -v "$1" >/dev/null 2>&1 || missing+=("$2"); }
header() { echo "#include <$1>" | cc -E -x c - >/dev/null 2>&1 || missing+=("$2"); }

tool cc build-essential
tool pkg-config pkg-config
if command -v pkg-config >/dev/null 2>&1; then
    library libuv libuv1-dev
    library lmdb liblmdb-dev
    library cmocka libcmocka-dev
    library libxxhash libxxhash-dev
    library inih libinih-dev
else
    missing+=(libuv1-dev liblmdb-dev libcmocka-dev libxxhash-dev libinih-dev)
fi
header msgpack.h libmsgpack-dev
tool python3 python3
tool git git
tool clang clang
tool clang-tidy clang-tidy
tool clang-format clang-format
tool cppcheck cppcheck
if command -v clang >/dev/null 2>&1; then
    echo 'int LLVMFuzzerTestOneInput(const char *d, unsigned long n) { return !d && n; }' |
        clang -fsanitize=fuzzer -x c - -o /dev/null 2>/dev/null || missing+=(libclang-rt-14-dev)
else
    missing+=(libclang-rt-14-dev)
fi
[ ${#missing[@]} -eq 0 ] && exit 0

sudo=""
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null 2>&1 || {
        echo "deps: missing: ${missing[*]}; install them as root: apt-get install ${missing[*]}" >&2
        exit 1
    }
    sudo=sudo
fi
echo "deps: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
if ! { $sudo apt-get update && $sudo apt-get install -y --no-install-recommends "${missing[@]}"; } \
    >"$log" 2>&1; then
    cat "$log" >&2
    rm -f "$log"
    echo "deps: apt-get could not install: ${missing[*]}" >&2
    exit 1
fi
rm -f "$log"
