#!/bin/sh
# Installs the build into an empty folder; there, with nothing but pkg-config
# and compilers, builds and runs a C program, a C++ program and the README's
# example, then the installed command.
#
# run.sh SOURCE_ROOT BUILD_ROOT PREFIX "MESON..." "CC..." ["C++..."]
set -eu
source=$1 build=$2 prefix=$3 meson=$4 cc=$5 cxx=${6:-}

folder=$(mktemp -d "${TMPDIR:-/tmp}/quern-consumer-XXXXXX")
trap 'rm -rf "$folder"' EXIT
DESTDIR=$folder $meson install -C "$build" --no-rebuild >"$folder/log" 2>&1 || {
    cat "$folder/log"
    exit 1
}

root=$folder$prefix
pc=$(find "$root" -name quern.pc)
export PKG_CONFIG_PATH="${pc%/*}:${PKG_CONFIG_PATH:-}"
libdir=$(pkg-config --define-variable=prefix="$root" --variable=libdir quern)
export LD_LIBRARY_PATH="$libdir" DYLD_LIBRARY_PATH="$libdir"

# build_and_run NAME COMPILER... SOURCE
build_and_run() {
    name=$1
    shift
    echo "-- $name"
    # shellcheck disable=SC2046 # flags are words
    "$@" $(pkg-config --define-variable=prefix="$root" --cflags --libs quern) \
        -lm -o "$folder/$name"
    (cd "$folder" && "./$name")
}

# The first C block of the README.
awk '/^```c$/ { on = 1; next } /^```$/ && on { exit } on' \
    "$source/README.md" >"$folder/readme.c"
[ -s "$folder/readme.c" ] || {
    echo "no C example in README.md"
    exit 1
}
strict='-Wall -Wextra -Wpedantic -Werror'
# shellcheck disable=SC2086 # lists of words
{
    build_and_run readme $cc -std=c11 $strict "$folder/readme.c" \
        >"$folder/readme.txt"
    cat "$folder/readme.txt"
    build_and_run xor $cc -std=c99 $strict "$source/tests/consumer/xor.c"
    [ -z "$cxx" ] ||
        build_and_run digits $cxx -std=c++17 $strict \
            "$source/tests/consumer/digits.cc"
}
grep -q 'accuracy 0\.9' "$folder/readme.txt"
echo "-- the installed command"
"$root/bin/quern" devices >/dev/null
ls "$root"/share/quern/cl/*.cl >/dev/null
echo "three programs outside the tree ran"
