#!/usr/bin/env bash
# make lint: every check that needs no running program. One line for each stage; the first run
# takes minutes, later ones look only at what has changed (build/lint/ remembers).
# usage: tools/lint.sh
set -u -o pipefail
cd "$(dirname "$0")/.." || exit
root=.
# shellcheck source=tools/lint-common.sh
. tools/lint-common.sh
failed=""

stage() {
    local name=$1 start=$SECONDS
    shift
    if "$@"; then
        echo "lint: $name ok ($((SECONDS - start)) s)"
    else
        echo "lint: $name FAILED"
        failed+=" $name"
    fi
}

check_purity() {
    # The plain build whatever SAN says outside: sanitizers add symbols of their own.
    make -s -j "$(nproc)" SAN= all && tools/lint-purity.sh
}

check_format() {
    list_files '*.c' '*.h' | xargs -r -d '\n' clang-format --dry-run -Werror
}

# The product as it is built, without the tiny limits of the simulator. readdir() is safe with a
# stream for each thread, and readdir_r() is deprecated.
# autoVariables: a command hands locals to calls that end before it returns. invalidFunctionArg:
# cppcheck's table of mmap() does not know the -1 of anonymous memory.
check_cppcheck() {
    mkdir -p build/lint/cppcheck
    list_files '*.c' | only_product | cppcheck --file-list=- -I. --std=c11 --library=posix \
        --enable=warning,portability,performance --inline-suppr --error-exitcode=1 --quiet \
        --suppress=missingIncludeSystem --suppress=unmatchedSuppression --suppress=readdirCalled \
        --suppress=autoVariables --suppress=invalidFunctionArg \
        --template=gcc -j "$(nproc)" --cppcheck-build-dir=build/lint/cppcheck -ULIMITS_TINY
}

stage layers tools/lint-layers.sh
stage banned tools/lint-banned.sh
stage size tools/lint-size.sh
stage purity check_purity
stage format check_format
stage tidy tools/lint-tidy.sh
stage cppcheck check_cppcheck

if [ -n "$failed" ]; then
    echo "lint: failed:$failed"
    exit 1
fi
echo "lint: ok"
