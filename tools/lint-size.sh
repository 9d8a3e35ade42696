#!/usr/bin/env bash
# No file above 600 lines, no Makefile above 150, and no note to do something later.
# usage: tools/lint-size.sh [ROOT]
set -eu -o pipefail
root=${1:-.}
# shellcheck source=tools/lint-common.sh
. "$(dirname "$0")/lint-common.sh"
cd "$root"
root=.
failed=0

sources() {
    list_files '*.c' '*.h' '*.def' '*.sh' '*.mk' 'Makefile' '.ci/run'
}

check_lines='
function check(    max) {
    max = name ~ /(^|\/)Makefile$/ ? 150 : 600
    if (count > max) {
        print name ": " count " lines, at most " max ": split it by concept"
        failed = 1
    }
}
FNR == 1 { if (name != "") check(); name = FILENAME }
{ count = FNR }
END { if (name != "") check(); exit failed }
'
sources | xargs -r -d '\n' awk "$check_lines" || failed=1

# The brackets keep this line from finding itself.
if sources | xargs -r -d '\n' grep -HnwE 'TO[D]O|FI[X]ME|XX[X]|HA[C]K'; then
    echo "above: finish it, or write the number of an issue"
    failed=1
fi
exit "$failed"
