#!/usr/bin/env bash
# Builds a tiny Linux guest (vmlinuz and initrd.gz) out of Debian packages, once, into a cache folder.
#
#   guest.sh [CACHE_DIR]     default: ${XDG_CACHE_HOME:-$HOME/.cache}/belvedere/guest
#
# The packages are downloaded and unpacked, never installed, so this needs neither root nor a
# change of the machine; only fetching missing package lists asks for sudo. Boot the result with
# <kernel>, <initrd> and <cmdline>console=ttyS0 quiet hostname=NAME</cmdline>.
set -euo pipefail

cache=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/belvedere/guest}
here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")

# Without the first group the guest is of no use; the second one serves devices a test may add.
needed_modules="virtio_pci virtio_net virtio_blk virtio_balloon virtio_console button evdev"
extra_modules="ext4 virtio-rng virtio_scsi sd_mod sr_mod pvpanic-mmio pvpanic-pci"

die() { echo "guest.sh: $*" >&2; exit 1; }

# The guest is rebuilt when, and only when, this script or a file of the guest has changed.
stamp() { (cd "$here" && find guest.sh guest -type f | LC_ALL=C sort | xargs sha256sum | sha256sum | cut -d' ' -f1); }

is_built() {
    [ -s "$cache/vmlinuz" ] && [ -s "$cache/initrd.gz" ] &&
        [ "$(cat "$cache/stamp" 2>/dev/null)" = "$(stamp)" ]
}

check_machine() {
    local tool
    for tool in apt-get apt-cache dpkg dpkg-deb flock; do
        command -v "$tool" >/dev/null || die "$tool is missing; this script needs Debian or a relative of it"
    done
    [ "$(dpkg --print-architecture)" = amd64 ] || die "only amd64 is supported"
}

# --- Packages -------------------------------------------------------------------------------

dependencies() { apt-cache depends --important "$1" | sed -n 's/^ *\(Pre\)\{0,1\}Depends: //p'; }

# The cloud image is an empty package that names the kernel of the day, and the agent's libraries
# have dependencies of their own, so both are resolved instead of written down here.
package_names() {
    local kernel libraries
    kernel=$(dependencies linux-image-cloud-amd64 | grep -m1 '^linux-image-[0-9]') || return 1
    libraries=$(dependencies qemu-guest-agent | grep '^lib') || return 1
    # shellcheck disable=SC2086 # One word for each library.
    libraries=$(apt-cache depends --important --recurse $libraries | grep -E '^(lib|zlib)') || return 1
    printf '%s\n' "$kernel" busybox-static qemu-guest-agent "$libraries"
}

# apt's own unprivileged user cannot write into our folder, hence the sandbox option.
download() {
    local names
    names=$(package_names 2>/dev/null) || return 1
    # shellcheck disable=SC2086 # One word for each package.
    (cd "$build/packages" && apt-get -qq -o APT::Sandbox::User=root download $names)
}

update_lists() {
    local sudo=
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null || die "the package lists are missing or old: run 'apt-get update' as root"
        sudo=sudo
    fi
    $sudo apt-get -qq update || die "'apt-get update' failed; is a Debian mirror within reach?"
}

# Missing and outdated package lists look the same from here, and one update mends both.
fetch() {
    mkdir "$build/packages" "$build/root"
    if ! download 2>/dev/null; then
        update_lists
        download || die "cannot download the kernel, busybox-static and qemu-guest-agent with their libraries"
    fi
    local package
    for package in "$build"/packages/*.deb; do
        dpkg-deb -x "$package" "$build/root" || die "cannot unpack $package"
    done
}

find_one() {
    local found
    found=$(find "$build/root" -path "*/$1" -type f | head -n1)
    [ -n "$found" ] || die "the packages have no file $1; has Debian moved it?"
    echo "$found"
}

# --- The guest's files ----------------------------------------------------------------------

# Prints the paths of a module and what it needs, relative to the folder of modules, and nothing
# when the kernel has it built in; fails when the kernel has never heard of it.
module_files() {
    awk -v name="${1//-/_}" '{
            file = $1; sub(/:$/, "", file); base = file
            sub(/.*\//, "", base); sub(/\.ko.*/, "", base); gsub(/-/, "_", base)
            if (base == name) { $1 = file; print; found = 1; exit }
        } END { exit !found }' "$modules/modules.dep" "$modules/modules.builtin" |
        tr ' ' '\n' | while read -r file; do [ ! -f "$modules/$file" ] || echo "$file"; done
}

# The guest's modprobe shall not have to unpack anything, so compressed modules are unpacked here.
copy_module() {
    local from="$modules/$1" to="$guest/lib/modules/$version/$1"
    mkdir -p "${to%/*}"
    case $1 in
        *.ko.xz) "$busybox" xzcat "$from" >"${to%.xz}" ;;
        *.ko.zst) zstd -qdc "$from" >"${to%.zst}" || die "cannot unpack $1; is zstd installed?" ;;
        *) cp "$from" "$to" ;;
    esac
}

add_modules() {
    local module files file
    "$busybox" depmod -b "$modules_root" "$version"
    for module in $needed_modules $extra_modules; do
        if ! files=$(module_files "$module"); then
            case " $needed_modules " in *" $module "*) die "kernel $version has no module $module" ;; esac
            continue
        fi
        for file in $files; do copy_module "$file"; done
        [ -z "$files" ] || echo "$module" >>"$guest/etc/modules"
    done
    "$busybox" depmod -b "$guest" "$version"
}

# The unpacked loader lists the libraries, so the result does not depend on the building machine.
add_agent() {
    local agent loader libs=lib/x86_64-linux-gnu list
    agent=$(find_one 'sbin/qemu-ga')
    loader=$(find_one 'ld-linux-x86-64.so.2')
    list=$("$loader" --inhibit-cache --library-path "$build/root/$libs:$build/root/usr/$libs" --list "$agent")
    case $list in *"not found"*) die "qemu-ga lacks a library: $list" ;; esac
    mkdir -p "$guest/$libs" "$guest/lib64"
    cp "$loader" "$guest/lib64/"
    cp "$agent" "$guest/sbin/qemu-ga"
    echo "$list" | awk '$2 == "=>" && $1 !~ /ld-linux/ { print $3 }' | xargs cp -L -t "$guest/$libs"
}

add_programs() {
    local applet
    cp "$busybox" "$guest/bin/busybox"
    for applet in $("$busybox" --list); do
        [ "$applet" = busybox ] || ln -s busybox "$guest/bin/$applet"
    done
}

# --- Putting it together ------------------------------------------------------------------

build_guest() {
    local kernel
    fetch
    kernel=$(find_one 'boot/vmlinuz-*')
    version=${kernel##*/vmlinuz-}
    modules_root=$build/root
    [ -d "$modules_root/lib/modules/$version" ] || modules_root=$build/root/usr
    modules=$modules_root/lib/modules/$version
    busybox=$(find_one 'bin/busybox')
    guest=$build/guest
    cp -r "$here/guest" "$guest"
    mkdir -p "$guest"/{bin,proc,sys,dev,run,tmp,root,mnt,var}
    ln -s ../run "$guest/var/run"
    add_programs
    add_modules
    add_agent
    cp "$kernel" "$build/vmlinuz"
    (cd "$guest" && find . | sort | "$busybox" cpio -o -H newc -R 0:0 2>/dev/null) | gzip -9n >"$build/initrd.gz"
    stamp >"$build/stamp"
}

main() {
    ! is_built || return 0
    check_machine
    mkdir -p "$cache" || die "cannot create the cache folder $cache"
    cache=$(readlink -f "$cache")
    # Two builds at once take turns, and the second finds its work done.
    exec 9>"$cache/lock"
    flock 9
    ! is_built || return 0
    build=$(mktemp -d "$cache/build.XXXXXX")
    trap 'rm -rf "$build"' EXIT
    build_guest
    # The stamp goes away first and arrives last, so a stamped guest is always a whole one.
    rm -f "$cache/stamp"
    mv "$build/vmlinuz" "$build/initrd.gz" "$cache/"
    mv "$build/stamp" "$cache/"
}

main
