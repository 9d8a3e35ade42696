#!/usr/bin/env bash
# What the lint scripts share: sourced, never run. The caller sets `root`.
: "${root:?is the folder of the project}"

# The folders of the product, from tools/layers.txt.
product_folders() {
    sed -n 's/^\([a-z-]*\):.*/\1/p' "$root/tools/layers.txt"
}

# Files that match one of the git patterns, relative to the root: those that git knows and those
# that it does not ignore; without a repository, all that are not below build/.
list_files() {
    local file
    if [ -e "$root/.git" ]; then
        git -C "$root" ls-files --cached --others --exclude-standard -- "$@" | sort -u
    else
        local names=()
        for file in "$@"; do
            names+=(-o -name "$file")
        done
        (cd "$root" && find . -path ./build -prune -o -type f \( "${names[@]:1}" \) -print) |
            sed 's|^\./||' | sort
    fi | while IFS= read -r file; do
        # A file that was removed but not committed yet is still listed.
        [ ! -f "$root/$file" ] || printf '%s\n' "$file"
    done
}

# Of the files on stdin those that belong to the product.
only_product() {
    grep -E "^($(product_folders | paste -sd '|'))/" || true
}
