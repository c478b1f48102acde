//! Faults from libvirt's and ssh's real texts.

use super::*;

fn link(number: ErrorNumber, message: &str, uri: &str) -> String {
    Error::Libvirt { number: Some(number), message: message.into() }.of_link(uri)
}

#[test]
fn a_daemon_that_does_not_run_is_told_apart_from_a_permission_that_is_missing() {
    let socket = "Failed to connect socket to '/var/run/libvirt/libvirt-sock'";
    let off = link(ErrorNumber::SystemError, &format!("{socket}: No such file or directory"), "qemu:///system");
    assert!(off.contains("daemon is not running") && off.contains("systemctl start"), "{off}");
    let denied = link(ErrorNumber::SystemError, &format!("{socket}: Permission denied"), "qemu:///system");
    assert!(denied.contains("usermod -aG libvirt"), "{denied}");
}

#[test]
fn a_host_whose_kvm_does_not_work_is_told_to_emulate() {
    let error = Error::Libvirt {
        number: Some(ErrorNumber::InternalError),
        message: "process exited: error: failed to set MSR 0x10a to 0x0".into(),
    };
    let fault = error.of_command("web-01", "atlas");
    assert_eq!(fault.kind, FaultKind::Unsupported);
    assert!(fault.sentence().contains("web-01 needs KVM"), "{fault:?}");
}

#[test]
fn a_text_of_libvirt_becomes_one_short_line() {
    let line = one_line(&format!("a\nb\u{7}\t{}", "c".repeat(900)));
    assert!(line.starts_with("a b") && line.chars().count() <= 600 && !line.contains('\n'));
}

#[test]
fn a_refusal_names_the_object_that_libvirt_means() {
    use ErrorNumber as N;
    // Real messages of libvirt 11.3 and QEMU 10.0.
    let monitor =
        "internal error: process exited while connecting to monitor: 2026-11-28T20:25:08.908314Z qemu-system-x86_64: ";
    let cases: [(N, String, &str, &str); 18] = [
        (
            N::NoNwfilter,
            "Network filter not found: referenced filter 'clean' is missing".into(),
            "web-1 uses network filter clean, which does not exist on atlas",
            "Create it",
        ),
        (
            N::SystemError,
            "Cannot access backing file '/img/base' of storage file '/img/a' (as uid:64055, gid:64055): No such file or directory".into(),
            "web-1 uses file /img/base, which does not exist on atlas",
            "Restore it",
        ),
        (
            N::InternalError,
            format!("{monitor}qemu: could not open kernel file '/boot/k': No such file or directory"),
            "web-1 uses file /boot/k, which does not exist on atlas",
            "Restore it",
        ),
        (
            N::InternalError,
            format!("{monitor}cannot set up guest memory 'pc.ram': Cannot allocate memory"),
            "atlas has too little free memory for web-1",
            "less memory",
        ),
        (
            N::AgentCommandTimeout,
            "Guest agent command timed out".into(),
            "The guest agent of web-1 did not respond in time, so the result is unknown",
            "not repeated",
        ),
        (
            N::NoNetwork,
            "Network not found: no network with matching name 'lab'".into(),
            "web-1 uses network lab, which does not exist on atlas",
            "Create it",
        ),
        (
            N::OperationInvalid,
            "Requested operation is not valid: network 'lab' is not active".into(),
            "web-1 uses network lab, which is not active",
            "Start network lab",
        ),
        (
            N::NoStoragePool,
            "Storage pool not found: no storage pool with matching name 'nas'".into(),
            "web-1 uses storage pool nas, which does not exist",
            "Create it",
        ),
        (
            N::ConfigUnsupported,
            "unsupported configuration: storage pool 'off' containing volume 'a' is not active".into(),
            "web-1 uses storage pool off, which is not active",
            "Start storage pool off",
        ),
        (
            N::NoStorageVolume,
            "Storage volume not found: no storage vol with matching name 'nope'".into(),
            "web-1 uses volume nope, which does not exist",
            "another volume",
        ),
        (
            N::SystemError,
            "Cannot access storage file '/srv/nope.img': No such file or directory".into(),
            "web-1 uses file /srv/nope.img, which does not exist",
            "Restore it",
        ),
        (
            N::SystemError,
            "Cannot get interface MTU on 'br77': No such device".into(),
            "web-1 uses bridge br77, which does not exist",
            "another bridge",
        ),
        (
            N::SystemError,
            "Unable to get index for interface eth77: No such device".into(),
            "web-1 uses interface eth77, which does not exist",
            "another interface",
        ),
        (
            N::InternalError,
            format!(
                "{monitor}-chardev serial,id=charserial0,path=/dev/ttyNOPE: Could not open '/dev/ttyNOPE': No such file or directory"
            ),
            "web-1 uses file /dev/ttyNOPE, which does not exist",
            "remove it",
        ),
        (
            N::InternalError,
            format!(
                "{monitor}-device {{}}: cannot initialize fsdev 'fsdev-fs0': failed to open '/nope': No such file or directory"
            ),
            "web-1 uses file /nope, which does not exist",
            "remove it",
        ),
        (
            N::InternalError,
            format!(
                "{monitor}-blockdev {{}}: Failed to get \"write\" lock Is another process using the image [/srv/a.qcow2]?"
            ),
            "web-1 uses /srv/a.qcow2, which is locked",
            "Shut down",
        ),
        (
            N::NoDomain,
            "Domain not found: no domain with matching uuid 'x' (web-1)".into(),
            "web-1 no longer exists on atlas",
            "",
        ),
        (
            N::NoNetwork,
            "Network not found: no network with matching name 'web-1'".into(),
            "web-1 no longer exists on atlas",
            "",
        ),
    ];
    for (number, message, reason, next) in cases {
        let fault = Error::Libvirt { number: Some(number), message }.of_command("web-1", "atlas");
        assert!(fault.reason.starts_with(reason), "{fault:?}");
        assert!(fault.next.unwrap_or_default().contains(next), "{reason}");
    }
    let gone = "Storage volume not found: no storage vol with matching name 'a.raw'";
    let fault =
        Error::Libvirt { number: Some(N::NoStorageVolume), message: gone.into() }.of_command("images/a.raw", "atlas");
    assert_eq!((fault.kind, fault.reason.as_str()), (FaultKind::NotFound, "images/a.raw no longer exists on atlas"));
}

#[test]
fn ssh_says_why_there_is_no_way_to_a_host() {
    let uri = "qemu+ssh://root@borealis:2222/system?no_tty=1";
    let reset = "Connection reset by peer";
    for (message, reason, next) in [
        (format!("Cannot recv data: Host key verification failed.: {reset}"), "host key of borealis is not known", "accept the key"),
        (format!("Cannot recv data: @ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @ Host key verification failed.: {reset}"), "has changed", "ssh-keygen -R borealis"),
        (format!("Cannot recv data: root@borealis: Permission denied (publickey,keyboard-interactive).: {reset}"), "rejected the SSH login", "authorized_keys"),
        (format!("Cannot recv data: ssh: connect to host borealis port 2222: Connection refused: {reset}"), "refused the SSH connection", "sshd"),
        (format!("Cannot recv data: ssh: connect to host borealis port 22: Connection timed out: {reset}"), "did not answer the SSH connection in time", "firewalls"),
        (format!("Cannot recv data: ssh: connect to host borealis port 22: No route to host: {reset}"), "cannot be reached by SSH", "network"),
        (format!("Cannot recv data: ssh: Could not resolve hostname borealis: Name or service not known: {reset}"), "host name borealis cannot be resolved", "DNS"),
        ("End of file while reading data: sh: 1: nc: not found: Input/output error".into(), "neither virt-ssh-helper nor nc", "netcat"),
        ("End of file while reading data: nc: unix connect failed: No such file or directory nc: /var/run/libvirt/libvirt-sock: No such file or directory: Input/output error".into(), "not running on borealis", "systemctl start"),
    ] {
        let said = link(ErrorNumber::SystemError, &message, uri);
        assert!(said.contains(reason) && said.contains(next), "{message}: {said}");
    }
    let said = link(ErrorNumber::SystemError, "Cannot recv data: Connection reset by peer", "qemu+ssh://a/system");
    assert!(said.contains("closed the connection"), "{said}");
    assert_eq!(host_in("qemu+ssh://root@[2001:db8::1]:22/system"), "2001:db8::1");
}
