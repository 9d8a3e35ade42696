#!/usr/bin/env bash
# Writes a man page: the version, what the program says with --help, or what the library exports, are
# put where the page asks for them, so that they cannot differ.
# usage: tools/man.sh PAGE PROGRAM|LIBRARY VERSION > PAGE.OUT
set -eu -o pipefail
page=$1 subject=$2 version=$3

# Lines of --help: an option with or without its value, or a command; then two blanks or more, or the
# end of the column, and the text.
help_items='
function quote(text) {
    gsub(/\\/, "\\e", text)
    gsub(/-/, "\\-", text)
    return (text ~ /^[.\047]/ ? "\\&" : "") text # Not a request of troff.
}
function item(name, rest) { printf ".TP\n.B %s\n%s\n", quote(name), quote(rest) }
/^ +--/ {
    sub(/^ +/, "")
    name = $1
    rest = substr($0, length(name) + 1)
    if (match(rest, /^ [^ ]+/)) {
        name = name " " substr(rest, 2, RLENGTH - 1)
        rest = substr(rest, RLENGTH + 1)
    }
    sub(/^ +/, "", rest)
    item(name, rest)
    next
}
/^  options of every command/ { print ".SS Options of every command"; next }
/^  [a-z]/ {
    sub(/^ +/, "")
    at = match($0, /  +/)
    if (!at) { at = 29; RLENGTH = 0 }
    print ".SS " quote(substr($0, 1, at - 1))
    rest = substr($0, at + RLENGTH)
    sub(/^ +/, "", rest)
    print quote(rest)
}
'

while IFS= read -r line; do
    case $line in
    '.\" HELP')
        "$subject" --help | awk "$help_items"
        ;;
    '.\" FUNCTIONS')
        nm -D --defined-only "$subject" | sed -n 's/.* T \(holdfast_[a-z0-9_]*\).*/\1/p' | sort -u |
            sed 's/.*/.B &\n.br/'
        ;;
    *)
        printf '%s\n' "${line//@VERSION@/$version}"
        ;;
    esac
done <"$page"
