#!/usr/bin/env bash
# A private libvirtd for a test, which can be killed and frozen without touching the system's.
#
#   daemon.sh start DIR              starts it and prints its URI, the only line on stdout
#   daemon.sh kill DIR               kill -9; its guests keep running
#   daemon.sh restart DIR            kills it if it runs, starts it again and prints the URI
#   daemon.sh freeze DIR             SIGSTOP
#   daemon.sh thaw DIR               SIGCONT
#   daemon.sh pid DIR                prints the pid of libvirtd; fails if it is not running
#   daemon.sh guest DIR NAME [XML]   defines a tiny guest; XML is added to its devices
#   daemon.sh stop DIR               stops libvirtd, its guests and its namespace; idempotent
#
# DIR is a short path such as /tmp/bv-x1y2z3; several can run side by side. A host has its own mount
# and UTS namespaces, where directories of DIR replace those of libvirt, and shares the machine's
# network. All files stay in DIR after a stop; remove it when done. QEMU_CONF adds lines to qemu.conf,
# GUEST_MIB sets the guest's memory (default 128), GUEST_CACHE the directory of its kernel (guest.sh).
set -euo pipefail

here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
caches=${XDG_CACHE_HOME:-$HOME/.cache}/belvedere
answers=$caches/capabilities

die() { echo "daemon.sh: $*" >&2; exit 1; }

usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$here/daemon.sh" >&2; exit 2; }

# Waits up to $1 seconds for the rest of the arguments to succeed.
wait_for() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        [ "$SECONDS" -le "$end" ] || return 1
        sleep 0.05
    done
}

# --- Processes --------------------------------------------------------------------------------

# DIR/sock is bind-mounted onto itself in the namespace and nowhere else. So a process belongs to
# this host exactly if it has that mount, and a stale pid file does no harm.
is_ours() { grep -qsF " $dir/sock " "/proc/$1"/task/*/mountinfo; }
our_pids() { grep -lsF " $dir/sock " /proc/[0-9]*/task/*/mountinfo | cut -d/ -f3 | sort -u || true; }

nothing_runs() { [ -z "$(our_pids)" ]; }

holder_pid() {
    local pid
    pid=$(cat "$dir/holder.pid" 2>/dev/null) && is_ours "$pid" && echo "$pid"
}

daemon_pid() {
    local pid
    pid=$(cat "$dir/libvirtd.pid" 2>/dev/null) && is_ours "$pid" &&
        [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = libvirtd ] && echo "$pid"
}

no_daemon() { ! daemon_pid >/dev/null; }

# A signal reaches the threads of a process one by one, so all of them are checked. The last one to
# exit closes the files, among them the pid file, which is locked until then.
states() { cat "/proc/$1"/task/*/status 2>/dev/null | sed -n 's/^State:\t\(.\).*/\1/p' | sort -u | tr -d '\n'; }
is_frozen() { [[ $(states "$1") =~ ^T*$ ]]; }
is_thawed() { [[ $(states "$1") != *T* ]]; }
is_gone() { [[ $(states "$1") =~ ^[XZ]*$ ]]; }

answers() { timeout 5 virsh -q -c "$uri" version >/dev/null 2>&1; }

# --- Setup -------------------------------------------------------------------------------

check_machine() {
    local tool
    [ "$(id -u)" = 0 ] || die "must run as root"
    for tool in libvirtd virsh qemu-system-x86_64 unshare perl mount; do
        command -v "$tool" >/dev/null || die "$tool is missing; install libvirt-daemon-system, libvirt-clients and qemu-system-x86"
    done
}

# Every host has its own range of 100 VNC ports, because two libvirts that look for a free port at
# the same time find the same one. The host's UUID is derived from DIR, so it survives a restart.
write_config() {
    local hash uuid port
    hash=$(printf '%s' "$dir" | md5sum)
    uuid=$(echo "$hash" | sed -E 's/^(.{8})(.{4})(.{4})(.{4})(.{12}).*/\1-\2-\3-\4-\5/')
    port=$((6000 + 100 * (16#${hash:0:6} % 250)))
    # The mode of DIR controls access to the socket.
    cat >"$dir/etc/libvirtd.conf" <<CONF
unix_sock_dir = "$dir/sock"
unix_sock_rw_perms = "0777"
auth_unix_ro = "none"
auth_unix_rw = "none"
host_uuid = "$uuid"
log_outputs = "3:file:$dir/log/libvirtd.log"
CONF
    cp "$here/qemu.conf" "$dir/etc/qemu.conf"
    printf 'remote_display_port_min = %s\nremote_display_port_max = %s\n' "$port" $((port + 99)) >>"$dir/etc/qemu.conf"
    printf '%s\n' "${QEMU_CONF:-}" >>"$dir/etc/qemu.conf"
}

# Runs inside the new namespaces and keeps them alive; starts a daemon for every line it reads. The
# control groups are unmounted, so that libvirt uses them on no machine.
hold() {
    local folder
    mount --bind "$dir/sock" "$dir/sock"
    for folder in run etc var/lib var/log var/cache; do
        mount --bind "$dir/${folder##*/}" "/$folder/libvirt"
    done
    ! mountpoint -q /sys/fs/cgroup || umount -R -l /sys/fs/cgroup
    hostname "$(basename "$dir" | tr '[:upper:]_' '[:lower:]-').test"
    mkfifo "$dir/holder.in"
    exec 3<>"$dir/holder.in"
    echo $$ >"$dir/holder.pid"
    # libvirt would register guests with systemd-machined on the system bus, which allows each
    # name only once, hence the bus that does not exist.
    while read -r -u 3; do
        DBUS_SYSTEM_BUS_ADDRESS=unix:path=/nonexistent libvirtd \
            --config "$dir/etc/libvirtd.conf" --pid-file "$dir/libvirtd.pid" 3<&- &
    done
}

# Probing QEMU's capabilities takes seconds, so they are cached for the next host. libvirt checks
# that they match this QEMU and this machine before it uses them.
save_answers() {
    local new
    mkdir -p "$answers"
    new=$(mktemp -d "$answers/new.XXXXXX")
    if cp -p "$dir"/cache/qemu/capabilities/*.xml "$new/" 2>/dev/null; then mv "$new"/*.xml "$answers/"; fi
    rm -rf "$new"
}

start_holder() {
    mkdir -p "$dir"/{run,etc,lib/images,log,cache/qemu/capabilities,sock} /run/libvirt /etc/libvirt /var/{lib,log,cache}/libvirt
    rm -rf "$dir"/run/* "$dir"/holder.* "$dir/libvirtd.pid" "$dir"/sock/*
    write_config
    cp -p "$answers"/*.xml "$dir/cache/qemu/capabilities/" 2>/dev/null || true
    # For libvirt a guest has stopped only once its process was reaped, and the first process of a
    # container does that late or never. So the holder does it: prctl (157) makes it a subreaper (36).
    setsid unshare --mount --uts --propagation private \
        perl -e 'syscall(157, 36, 1, 0, 0, 0); exec @ARGV' "$here/daemon.sh" hold "$dir" \
        </dev/null >"$dir/log/holder.log" 2>&1 &
    wait_for 10 holder_pid >/dev/null || die "cannot create the namespace: $(cat "$dir/log/holder.log")"
}

start_daemon() {
    holder_pid >/dev/null || die "not started in $dir"
    echo start >"$dir/holder.in"
    wait_for 20 answers && return
    tail -n 30 "$dir/log/holder.log" "$dir/log/libvirtd.log" >&2 || true
    die "libvirtd in $dir does not respond"
}

# --- Subcommands ------------------------------------------------------------------------------

cmd_start() {
    check_machine
    nothing_runs || die "already started in $dir"
    start_holder
    if ! (start_daemon); then
        cmd_stop
        exit 1
    fi
    save_answers
    echo "$uri"
}

cmd_kill() {
    local pid
    pid=$(daemon_pid) || return 0
    kill -9 "$pid"
    wait_for 10 is_gone "$pid" || die "libvirtd ($pid) did not exit"
}

cmd_restart() {
    cmd_kill
    start_daemon
    echo "$uri"
}

signal() {
    local pid
    pid=$(daemon_pid) || die "libvirtd is not running in $dir"
    kill "-$1" "$pid"
    wait_for 5 "$2" "$pid" || die "libvirtd ($pid) did not react to SIG$1"
}

cmd_freeze() { signal STOP is_frozen; }
cmd_thaw() { signal CONT is_thawed; }
cmd_pid() { daemon_pid || die "libvirtd is not running in $dir"; }

# Bridges and firewall rules are machine-wide, and only libvirt knows which ones it created.
destroy_networks() {
    local network
    [ -n "$(find "$dir/run/network" -name '*.xml' 2>/dev/null)" ] || return 0
    holder_pid >/dev/null || return 0
    no_daemon || cmd_thaw
    answers || (cmd_kill && start_daemon) || return 0
    timeout 10 virsh -q -c "$uri" net-list --name | while read -r network; do
        [ -z "$network" ] || timeout 10 virsh -q -c "$uri" net-destroy "$network" >/dev/null || true
    done
}

kill_others() {
    local pids
    pids=$(our_pids | grep -vx "$(holder_pid)") || return 0
    # shellcheck disable=SC2086 # One word for each process.
    kill -9 $pids 2>/dev/null || true
    return 1
}

# The holder is killed last, as it reaps the others. Nothing has to be unmounted: the mounts disappear
# with the last process in the namespace.
cmd_stop() {
    local holder
    destroy_networks
    wait_for 10 kill_others || die "these processes did not exit:" "$(our_pids | xargs)"
    if holder=$(holder_pid); then kill -9 "$holder"; fi
    wait_for 10 nothing_runs || die "these processes did not exit:" "$(our_pids | xargs)"
    rm -f "$dir"/holder.* "$dir/libvirtd.pid" "$dir"/sock/*
}

cmd_guest() {
    local name=${1:-} extra=${2:-} xml cache=${GUEST_CACHE:-$caches/guest}
    cache=$(readlink -m "$cache")
    [[ $name =~ ^[A-Za-z0-9][A-Za-z0-9._-]*$ ]] || die "a guest needs a name of letters, digits, dots and dashes"
    "$here/guest.sh" "$cache"
    xml=$(cat "$here/guest.xml")
    xml=${xml//@NAME@/"$name"}
    xml=${xml//@MIB@/"${GUEST_MIB:-128}"}
    xml=${xml//@CACHE@/"$cache"}
    xml=${xml//@DIR@/"$dir"}
    xml=${xml//@EXTRA@/"$extra"}
    virsh -q -c "$uri" define /dev/stdin <<<"$xml" >/dev/null
}

main() {
    local command=${1:-}
    [ $# -ge 2 ] || usage
    dir=$(readlink -m "$2")
    # The longest socket is DIR/sock/libvirt-admin-sock, and the kernel takes 107 characters.
    [ ${#dir} -le 80 ] || die "the path $dir is too long for a unix socket"
    [[ $dir =~ ^(/[A-Za-z0-9._-]+)+$ ]] || die "the path $dir has characters other than letters, digits, dots and dashes"
    uri="qemu+unix:///system?socket=$dir/sock/libvirt-sock"
    shift 2
    case $command in
        start | kill | restart | freeze | thaw | pid | guest | stop) "cmd_$command" "$@" ;;
        hold) hold ;;
        *) usage ;;
    esac
}

main "$@"
