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
# The guest's memory comes from GUEST_MIB (128), its kernel from the folder GUEST_CACHE (guest.sh).
set -euo pipefail

here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")

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
is_ours() { grep -qsF " $dir/sock " "/proc/$1/mountinfo"; }

our_pids() { grep -lsF " $dir/sock " /proc/[0-9]*/mountinfo | cut -d/ -f3 || true; }

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

# A signal stops the threads of a process one by one, so all of them are looked at.
is_frozen() { ! grep -hs '^State:' "/proc/$1"/task/*/status | grep -qv 'T (stopped)'; }
is_thawed() { ! grep -hs '^State:' "/proc/$1"/task/*/status | grep -q 'T (stopped)'; }

answers() { timeout 5 virsh -q -c "$uri" version >/dev/null 2>&1; }

# --- Setting up -------------------------------------------------------------------------------

check_machine() {
    local tool
    [ "$(id -u)" = 0 ] || die "must run as root"
    for tool in libvirtd virsh qemu-system-x86_64 unshare nsenter mount; do
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
    cat >"$dir/etc/qemu.conf" <<CONF
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
seccomp_sandbox = 0
namespaces = []
cgroup_controllers = []
stdio_handler = "file"
remote_display_port_min = $port
remote_display_port_max = $((port + 99))
CONF
}

# Runs inside the new namespaces and stays there, so that they outlive the daemon. Without the view
# of the control groups libvirt does not use them, whatever the machine has.
hold() {
    local folder
    mount --bind "$dir/sock" "$dir/sock"
    for folder in run etc lib log cache; do
        case $folder in
            run) mount --bind "$dir/run" /run/libvirt ;;
            etc) mount --bind "$dir/etc" /etc/libvirt ;;
            *) mount --bind "$dir/$folder" "/var/$folder/libvirt" ;;
        esac
    done
    ! mountpoint -q /sys/fs/cgroup || umount -R -l /sys/fs/cgroup
    hostname "$(basename "$dir" | tr '[:upper:]_' '[:lower:]-').test"
    echo $$ >"$dir/holder.pid"
    exec sleep infinity
}

start_holder() {
    mkdir -p "$dir"/{run,etc,lib/images,log,cache,sock} /run/libvirt /etc/libvirt /var/{lib,log,cache}/libvirt
    rm -rf "$dir"/run/* "$dir"/*.pid "$dir"/sock/*
    write_config
    setsid unshare --mount --uts --propagation private "$here/daemon.sh" hold "$dir" \
        </dev/null >"$dir/log/holder.log" 2>&1 &
    wait_for 10 holder_pid >/dev/null || die "cannot make the namespace: $(cat "$dir/log/holder.log")"
}

# libvirt would ask a machined on the system bus to keep guests, and that one knows only one guest
# of a name, hence the bus that does not exist.
start_daemon() {
    local holder
    holder=$(holder_pid) || die "nothing was started in $dir"
    DBUS_SYSTEM_BUS_ADDRESS=unix:path=/nonexistent setsid \
        nsenter --target "$holder" --mount --uts libvirtd -d -f "$dir/etc/libvirtd.conf" -p "$dir/libvirtd.pid" \
        </dev/null >"$dir/log/start.log" 2>&1 || true
    wait_for 20 answers && return
    tail -n 30 "$dir/log/start.log" "$dir/log/libvirtd.log" >&2 || true
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
    echo "$uri"
}

cmd_kill() {
    local pid
    pid=$(daemon_pid) || return 0
    kill -9 "$pid"
    wait_for 10 no_daemon || die "libvirtd ($pid) does not go away"
}

cmd_restart() {
    cmd_kill
    start_daemon
    echo "$uri"
}

cmd_freeze() {
    local pid
    pid=$(daemon_pid) || die "no libvirtd runs in $dir"
    kill -STOP "$pid"
    wait_for 5 is_frozen "$pid" || die "libvirtd ($pid) does not freeze"
}

cmd_thaw() {
    local pid
    pid=$(daemon_pid) || die "no libvirtd runs in $dir"
    kill -CONT "$pid"
    wait_for 5 is_thawed "$pid" || die "libvirtd ($pid) does not thaw"
}

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

# Nothing needs to be unmounted: the mounts go away with the last process that sees them.
kill_all() {
    local pids
    pids=$(our_pids)
    # shellcheck disable=SC2086 # One word for each process.
    [ -z "$pids" ] || kill -9 $pids 2>/dev/null || true
    nothing_runs
}

cmd_stop() {
    destroy_networks
    wait_for 10 kill_all || die "these processes do not go away:" $(our_pids)
    rm -f "$dir"/*.pid "$dir"/sock/*
}

cmd_guest() {
    local name=${1:-} extra=${2:-} cache=${GUEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/belvedere/guest}
    [[ $name =~ ^[A-Za-z0-9][A-Za-z0-9._-]*$ ]] || die "a guest needs a name of letters, digits, dots and dashes"
    "$here/guest.sh" "$cache"
    virsh -q -c "$uri" define /dev/stdin >/dev/null <<XML
<domain type='qemu'>
  <name>$name</name>
  <memory unit='MiB'>${GUEST_MIB:-128}</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
    <kernel>$cache/vmlinuz</kernel>
    <initrd>$cache/initrd.gz</initrd>
    <cmdline>console=ttyS0 quiet hostname=$name</cmdline>
  </os>
  <features><acpi/></features>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>restart</on_reboot>
  <on_crash>destroy</on_crash>
  <devices>
    <serial type='pty'><log file='$dir/console-$name.log' append='off'/></serial>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <graphics type='vnc' port='-1' autoport='yes' listen='127.0.0.1'/>
    <memballoon model='virtio'/>
    $extra
  </devices>
</domain>
XML
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
