# shellcheck shell=sh
# What tools/demo and tools/test share: installing what is missing, building.
# Sourced from the repository's root; needs only a POSIX shell.

say() { printf '%s\n' "$*" >&2; }

die() {
    say "$(basename "$0"): $*"
    exit 1
}

# One need a line: the group that needs it, how to see that it is there (a
# command, a pkg-config module, a header, a driver), and its package with apt,
# dnf, pacman and brew. A dash: nothing to install there; meson then takes a
# wrap (Random123) or the test says that it did not run (oclgrind).
needs() {
    cat <<'EOT'
build cmd:cc                  gcc                 gcc                gcc             -
build cmd:meson               meson               meson              meson           meson
build cmd:ninja               ninja-build         ninja-build        ninja           ninja
build cmd:pkg-config          pkg-config          pkgconf-pkg-config pkgconf         pkgconf
build cmd:python3             python3             python3            python          python
build pc:OpenCL               ocl-icd-opencl-dev  ocl-icd-devel      ocl-icd         opencl-icd-loader
build header:CL/cl.h          opencl-headers      opencl-headers     opencl-headers  opencl-headers
build driver:pocl             pocl-opencl-icd     pocl               pocl            pocl
build pc:clblast              libclblast-dev      clblast-devel      clblast         clblast
build pc:jansson              libjansson-dev      jansson-devel      jansson         jansson
build pc:zlib                 zlib1g-dev          zlib-devel         zlib            zlib
build header:Random123/philox.h librandom123-dev  Random123-devel    -               -
build pc:popt                 libpopt-dev         popt-devel         popt            popt
test  pc:check                check               check-devel        check           check
test  cmd:c++                 g++                 gcc-c++            gcc             -
test  cmd:nm                  binutils            binutils           binutils        -
test  pc:libprotobuf-c   libprotobuf-c-dev   protobuf-c-devel   protobuf-c     protobuf-c
test  cmd:protoc-c       protobuf-c-compiler protobuf-c-compiler protobuf-c    protobuf-c
test  header:onnx/onnx.proto libonnx-dev     onnx-devel         -              onnx
test  cmd:oclgrind            oclgrind            -                  -               -
test  cmd:strace              strace              strace             strace          -
test  lib:asan                -                   libasan            -               -
test  lib:ubsan               -                   libubsan           -               -
EOT
}

# The package manager's column in the table above, or 0.
find_manager() {
    manager=none column=0
    for row in apt-get:3 dnf:4 pacman:5 brew:6; do
        if command -v "${row%:*}" >/dev/null 2>&1; then
            manager=${row%:*} column=${row#*:}
            return
        fi
    done
}

has_header() {
    flags=$(pkg-config --cflags-only-I OpenCL 2>/dev/null) || flags=
    # shellcheck disable=SC2086 # a list of words
    printf '#include <%s>\n' "$1" | cc $flags -E -x c - >/dev/null 2>&1
}

has_library() {
    echo 'int main(void) { return 0; }' |
        cc -x c - -l"$1" -o /dev/null >/dev/null 2>&1
}

# PoCL, even where another driver is: demo and tests must run on any machine.
has_driver() {
    for folder in "${OCL_ICD_VENDORS:-/etc/OpenCL/vendors}" \
        /etc/OpenCL/vendors /usr/share/OpenCL/vendors \
        /opt/homebrew/etc/OpenCL/vendors /usr/local/etc/OpenCL/vendors; do
        for file in "$folder"/*"$1"*.icd; do
            [ -e "$file" ] && return
        done
    done
    return 1
}

is_there() {
    case $1 in
    cmd:*) command -v "${1#*:}" >/dev/null 2>&1 ;;
    pc:*) pkg-config --exists "${1#*:}" 2>/dev/null ;;
    header:*) has_header "${1#*:}" ;;
    lib:*) has_library "${1#*:}" ;;
    driver:*) has_driver "${1#*:}" ;;
    esac
}

# Sets `missing` to the packages that the groups "$@" lack.
find_missing() {
    missing=
    while read -r group probe apt dnf pacman brew; do
        case " $* " in *" $group "*) ;; *) continue ;; esac
        case $column in
        3) package=$apt ;; 4) package=$dnf ;;
        5) package=$pacman ;; 6) package=$brew ;;
        *) package=${probe#*:} ;;
        esac
        [ "$package" = - ] || is_there "$probe" ||
            missing="$missing $package"
    done <<EOT
$(needs)
EOT
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null 2>&1; then
        sudo "$@"
    else
        die "needs root or sudo for: $*"
    fi
}

install_packages() {
    case $manager in
    apt-get)
        as_root apt-get update -qq
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y \
            -o Dpkg::Use-Pty=0 --no-install-recommends "$@"
        ;;
    dnf) as_root dnf install -y "$@" ;;
    pacman) as_root pacman -Sy --needed --noconfirm "$@" ;;
    brew) brew install "$@" ;;
    esac
}

# meson 1.0 or newer; from PyPI into build/ where the system's is older.
find_meson() {
    PATH=$PWD/build/.meson/bin:$PATH
    case $(meson --version 2>/dev/null) in
    [1-9]*) return ;;
    esac
    say "meson is older than 1.0: installing a newer one into build/.meson"
    [ "$manager" != apt-get ] || install_packages python3-venv >/dev/null
    python3 -m venv build/.meson || die "could not make build/.meson"
    build/.meson/bin/pip install -q 'meson>=1.0' || die "no newer meson"
}

# Homebrew keeps OpenCL's files out of the usual folders, Apple having its own.
find_brew_folders() {
    [ "$manager" = brew ] || return 0
    for formula in opencl-icd-loader opencl-headers; do
        folder=$(brew --prefix "$formula")
        PKG_CONFIG_PATH=$folder/lib/pkgconfig:$folder/share/pkgconfig:${PKG_CONFIG_PATH:-}
    done
    export PKG_CONFIG_PATH
}

# Installs what the groups "$@" lack, and says so. Silent if nothing is.
install_needs() {
    find_manager
    find_brew_folders
    find_missing "$@"
    if [ -n "$missing" ]; then
        [ "$manager" != none ] ||
            die "no apt, dnf, pacman or brew; please install:$missing"
        say "Installing with ${manager%-get}:$missing"
        mkdir -p build
        # shellcheck disable=SC2086 # a list of words
        install_packages $missing >build/install.log 2>&1 ||
            fail_with build/install.log "could not install:$missing"
        find_missing "$@"
        [ -z "$missing" ] || die "installed, but not found:$missing"
    fi
    find_meson
}

# build_in FOLDER OPTION...: configures if the folder or an option is new,
# compiles what has changed. The log is shown only if it fails.
build_in() {
    folder=$1
    shift
    mkdir -p "$folder"
    log=$folder/build.log
    if [ ! -f "$folder/build.ninja" ]; then
        say "Building $folder ..."
        meson setup "$folder" "$@" >"$log" 2>&1 ||
            fail_with "$log" "could not configure $folder"
    elif [ $# -gt 0 ] && [ "$(cat "$folder/options" 2>/dev/null)" != "$*" ]; then
        meson configure "$folder" "$@" >"$log" 2>&1 ||
            fail_with "$log" "could not configure $folder"
    fi
    [ $# -eq 0 ] || echo "$*" >"$folder/options"
    meson compile -C "$folder" >"$log" 2>&1 ||
        fail_with "$log" "could not build $folder"
}

fail_with() {
    cat "$1" >&2
    die "$2"
}
