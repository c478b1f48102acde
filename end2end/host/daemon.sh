#!/usr/bin/env bash
# A real libvirtd of a test's own, which may be killed and frozen without touching the system's one.
#
#   daemon.sh start DIR              starts it and prints its URI, the only line on stdout
#   daemon.sh kill DIR               kill -9; its guests run on
#   daemon.sh restart DIR            starts it again, killing it first if need be; prints the URI
#   daemon.sh freeze DIR             SIGSTOP
#   daemon.sh thaw DIR               SIGCONT
#   daemon.sh pid DIR                prints the pid of libvirtd, fails when there is none
#   daemon.sh guest DIR NAME [XML]   defines a tiny guest; XML is added to its devices
#   daemon.sh stop DIR               ends libvirtd, its guests and its namespace; may be repeated
#
# DIR is a short path such as /tmp/bv-x1y2z3, and several of them run side by side. A host lives in
# mount and host name namespaces of its own, where folders of DIR stand in for those of libvirt, and
# shares the network with the machine. All files stay in DIR after a stop; remove it when done.
# More lines for qemu.conf come from QEMU_CONF, the guest's memory from GUEST_MIB (128), its kernel from the folder GUEST_CACHE (guest.sh).
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

# --- What runs --------------------------------------------------------------------------------

# DIR/sock is bind-mounted onto itself in the namespace and nowhere else. So a process belongs to
# this host exactly when it has that mount, and a pid file left from a former life cannot mislead.
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

# A signal reaches the threads of a process one by one, so all of them are looked at. The last one to
# end closes the files, among them the pid file, which is locked until then.
states() { cat "/proc/$1"/task/*/status 2>/dev/null | sed -n 's/^State:\t\(.\).*/\1/p' | sort -u | tr -d '\n'; }
is_frozen() { [[ $(states "$1") =~ ^T*$ ]]; }
is_thawed() { [[ $(states "$1") != *T* ]]; }
is_gone() { [[ $(states "$1") =~ ^[XZ]*$ ]]; }

answers() { timeout 5 virsh -q -c "$uri" version >/dev/null 2>&1; }

# --- Setting up -------------------------------------------------------------------------------

check_machine() {
    local tool
    [ "$(id -u)" = 0 ] || die "must run as root"
    for tool in libvirtd virsh qemu-system-x86_64 unshare perl mount; do
        command -v "$tool" >/dev/null || die "$tool is missing; install libvirt-daemon-system, libvirt-clients and qemu-system-x86"
    done
}

# Every host takes its own hundred of VNC ports, because two libvirts that look for a free port at
# the same moment find the same one. The host's id is made of DIR, so it survives a stop and start.
write_config() {
    local hash uuid port
    hash=$(printf '%s' "$dir" | md5sum)
    uuid=$(echo "$hash" | sed -E 's/^(.{8})(.{4})(.{4})(.{4})(.{12}).*/\1-\2-\3-\4-\5/')
    port=$((6000 + 100 * (16#${hash:0:6} % 250)))
    # Who may use the socket is decided by the mode of DIR.
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

# Runs inside the new namespaces and stays there, so that they outlive the daemon it starts for every
# line it reads. libvirt does not see the control groups, so it does not use them on any machine.
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
    # libvirt would ask a machined on the system bus to keep guests, and that one knows only one
    # guest of a name, hence the bus that does not exist.
    while read -r -u 3; do
        DBUS_SYSTEM_BUS_ADDRESS=unix:path=/nonexistent libvirtd \
            --config "$dir/etc/libvirtd.conf" --pid-file "$dir/libvirtd.pid" 3<&- &
    done
}

# Asking QEMU what it can do takes seconds, so the answers are kept for the next host. libvirt checks
# that they are for this QEMU and this machine before it believes them.
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
    # A guest has ended for libvirt only when its process was collected, and the first process of a
    # container does that late or never. So the holder does it: prctl (157) makes it a subreaper (36).
    setsid unshare --mount --uts --propagation private \
        perl -e 'syscall(157, 36, 1, 0, 0, 0); exec @ARGV' "$here/daemon.sh" hold "$dir" \
        </dev/null >"$dir/log/holder.log" 2>&1 &
    wait_for 10 holder_pid >/dev/null || die "cannot make the namespace: $(cat "$dir/log/holder.log")"
}

start_daemon() {
    holder_pid >/dev/null || die "nothing was started in $dir"
    echo start >"$dir/holder.in"
    wait_for 20 answers && return
    tail -n 30 "$dir/log/holder.log" "$dir/log/libvirtd.log" >&2 || true
    die "libvirtd in $dir does not answer"
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
    wait_for 10 is_gone "$pid" || die "libvirtd ($pid) does not go away"
}

cmd_restart() {
    cmd_kill
    start_daemon
    echo "$uri"
}

signal() {
    local pid
    pid=$(daemon_pid) || die "no libvirtd runs in $dir"
    kill "-$1" "$pid"
    wait_for 5 "$2" "$pid" || die "libvirtd ($pid) takes no notice of SIG$1"
}

cmd_freeze() { signal STOP is_frozen; }
cmd_thaw() { signal CONT is_thawed; }
cmd_pid() { daemon_pid || die "no libvirtd runs in $dir"; }

# Bridges and firewall rules belong to the whole machine, and only libvirt knows which are its own.
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

# The holder goes last, as it collects the others. Nothing needs to be unmounted: the mounts go away
# with the last process that sees them.
cmd_stop() {
    local holder
    destroy_networks
    wait_for 10 kill_others || die "these processes do not go away:" "$(our_pids | xargs)"
    if holder=$(holder_pid); then kill -9 "$holder"; fi
    wait_for 10 nothing_runs || die "these processes do not go away:" "$(our_pids | xargs)"
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
