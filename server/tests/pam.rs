//! Sign-in of system users with PAM; users are created for the tests and removed again, so they
//! need root.

mod support;

use std::{fs, io::Write as _, process::Command, process::Stdio, time::Duration};

use support::{
    read,
    site::{PASSWORD, Site},
};
use tokio::time::Instant;

/// The PAM service of the tests.
const SERVICE: &str = "/etc/pam.d/belvedere-test";
/// The admin group, and the viewer group.
const GROUPS: [&str; 2] = ["bv-admins", "bv-viewers"];

fn run(program: &str, arguments: &[&str]) -> bool {
    Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status().expect("runs").success()
}

/// System users, removed when dropped.
struct People(Vec<&'static str>);

impl People {
    fn new() -> Self {
        let rules = "auth required pam_unix.so nodelay\naccount required pam_unix.so\n";
        fs::write(SERVICE, rules).expect("the rules of PAM can be written");
        for group in GROUPS {
            assert!(run("groupadd", &["-f", group]));
        }
        Self(Vec::new())
    }

    fn add(&mut self, name: &'static str, groups: &str) {
        run("userdel", &[name]);
        assert!(run("useradd", &["-M", "-N", "-s", "/usr/sbin/nologin", "-G", groups, name]), "{name}");
        self.0.push(name);
        let mut child = Command::new("chpasswd").stdin(Stdio::piped()).spawn().expect("starts");
        writeln!(child.stdin.take().expect("piped"), "{name}:{PASSWORD}").expect("written");
        assert!(child.wait().expect("ends").success());
    }
}

impl Drop for People {
    fn drop(&mut self) {
        for name in &self.0 {
            run("userdel", &[name]);
        }
        for group in GROUPS {
            run("groupdel", &[group]);
        }
        fs::remove_file(SERVICE).ok();
    }
}

/// The status of the audit log for a session.
async fn audit(site: &Site, cookie: &str) -> u16 {
    site.status("GET", "/api/v1/audit", &[("cookie", cookie)]).await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root, to make accounts of the system; make test runs it"]
async fn people_of_the_system_log_in_with_its_password_and_their_groups_are_their_role() {
    let mut people = People::new();
    people.add("bv-ada", "bv-admins,bv-viewers");
    people.add("bv-vic", "bv-viewers");
    people.add("bv-none", "users");
    people.add("bv-local", "bv-admins");
    let pam = ["--demo", "--auth", "on", "--pam-service", "belvedere-test"];
    let roles = ["--pam-role", "admin=bv-admins", "--pam-role", "viewer=bv-viewers"];
    let site = Site::with(&[&pam[..], &roles].concat()).await;

    let ada = site.cookie("bv-ada").await;
    assert_eq!(audit(&site, &ada).await, 200, "the highest role of the groups counts");
    let vic = site.cookie("bv-vic").await;
    assert_eq!(audit(&site, &vic).await, 403);
    assert_eq!(site.status("GET", "/vms", &[("cookie", &vic)]).await, 200);
    assert_eq!(site.status("POST", "/api/v1/commands", &[("cookie", &vic)]).await, 403);

    // Wrong passwords, unknown users, and users without a role cannot sign in.
    for (name, password, status) in [
        ("bv-vic", "wrong", 401),
        ("bv-vic", "", 401),
        ("bv-vic", "correct horse battery\0", 401),
        ("bv-nobody", PASSWORD, 401),
        ("bv-none", PASSWORD, 403),
    ] {
        let answer = site.log_in(name, password).await;
        assert_eq!(answer.status(), status, "{name} {password:?}");
        assert!(answer.headers().get("set-cookie").is_none());
    }

    // A local account is not checked by PAM.
    site.run(&["user", "add", "bv-local", "--role", "viewer", "--password-stdin"], "another long password")
        .expect("made");
    assert_eq!(site.log_in("bv-local", PASSWORD).await.status(), 401);
    let local = site.log_in("bv-local", "another long password").await;
    assert_eq!(local.status(), 303);
    assert_eq!(audit(&site, &support::site::cookie(&local)).await, 403, "a viewer");

    // The next sign-in updates the role, and a locked account is refused.
    assert!(run("gpasswd", &["-d", "bv-ada", "bv-admins"]));
    let ada = site.cookie("bv-ada").await;
    assert_eq!(audit(&site, &ada).await, 403, "not any more");
    assert!(run("usermod", &["-e", "1", "bv-vic"]));
    assert_eq!(site.log_in("bv-vic", PASSWORD).await.status(), 401);

    // Everything is recorded, without passwords.
    site.run(&["user", "add", "root", "--role", "admin", "--password-stdin"], PASSWORD).expect("made");
    let root = site.cookie("root").await;
    let mut records = String::new();
    let began = Instant::now();
    while !records.contains("loggedInBySystem") || !records.contains("logInFailed") {
        assert!(began.elapsed() < Duration::from_secs(10), "{records}");
        records = read(site.server.send("GET", "/api/v1/audit?limit=200", &[("cookie", &root)], "").await).await.1;
    }
    assert!(!records.contains(PASSWORD) && !records.contains("another long"));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root, to make accounts of the system; make test runs it"]
async fn a_wrong_password_takes_as_long_whoever_it_is_of() {
    let _people = People::new();
    let arguments = ["--demo", "--auth", "on", "--pam-service", "belvedere-test", "--pam-role", "admin=bv-admins"];
    let site = Site::with(&arguments).await;
    site.run(&["user", "add", "root", "--role", "admin", "--password-stdin"], PASSWORD).expect("made");
    let mut took = Vec::new();
    for name in ["root", "bv-nobody"] {
        let began = Instant::now();
        assert_eq!(site.log_in(name, "wrong").await.status(), 401);
        took.push(began.elapsed());
    }
    assert!(took.iter().all(|took| *took >= Duration::from_secs(3)), "{took:?}");
}
