//! Tests of the configuration.

use super::*;

fn read(arguments: &[&str]) -> Result<Config, String> {
    let all = ["belvedere"].iter().chain(arguments).map(OsString::from);
    Config::read(all).map_err(|stop| match stop {
        Stop::Said(text) | Stop::Wrong(text) | Stop::Failed(text) => text,
    })
}

#[test]
fn a_host_may_be_named_or_takes_its_name_from_the_uri() {
    let config = read(&[
        "serve",
        "--connect",
        "atlas=qemu:///system?socket=/a=b",
        "--connect",
        "qemu+ssh://root@kvm-1:22/system",
    ]);
    let config = config.expect("right");
    let hosts: Vec<_> = config.connect.iter().map(|(id, uri)| (id.as_str(), uri.as_str())).collect();
    assert_eq!(hosts, [("atlas", "qemu:///system?socket=/a=b"), ("kvm-1", "qemu+ssh://root@kvm-1:22/system")]);
    let six =
        ["--connect", "qemu+ssh://root@[2001:db8::1]/system", "--connect", "qemu+tls://[2001:db8::2]:16514/system"];
    let twice = ["--connect", "qemu:///system?socket=/a", "--connect", "qemu:///system?socket=/b"];
    let names = |arguments: &[&str]| {
        let config = read(arguments).expect("right");
        config.connect.iter().map(|(id, _)| id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(&six), ["2001-db8-1", "2001-db8-2"]);
    assert_eq!(names(&twice), [own_name().to_string(), format!("{}-2", own_name())]);
    assert_eq!(
        names(&["--connect", "kvm-1=qemu+ssh://a/system", "--connect", "qemu+ssh://kvm-1/system"]),
        ["kvm-1", "kvm-1-2"]
    );
    let config = read(&["--connect", "qemu+unix:///system?socket=/run/x"]).expect("right");
    assert_eq!(config.connect[0].0, own_name());
}

#[test]
fn a_mistake_is_one_clear_sentence() {
    let cases: [(&[&str], &str); 18] = [
        (&["--listen", "here"], "\"here\" is not a listen address"),
        (&["--listen", "0.0.0.0:80", "--tls=false"], "expose all traffic"),
        (&["--listen", "0.0.0.0:80", "--auth", "off"], "everyone on the network"),
        (&["--auth", "maybe"], "--auth must be auto, on or off"),
        (&["--tls-cert", "/x.pem"], "must be used together"),
        (&["--base-path", "belvedere"], "is not a path for --base-path"),
        (&["--base-path", "/a//<b>"], "is not a path for --base-path"),
        (&["--base-path", "/vms/x"], "is used by Belvedere itself"),
        (&["--pam-role", "admin"], "is not a role mapping"),
        (&["--pam-scope", "staff="], "is not a scope"),
        (&["--trusted-proxy", "proxy"], "is not an IP address for --trusted-proxy"),
        (&["--fetch-from", "intranet"], "is not a network for --fetch-from"),
        (&["--storage-root", "images"], "is not an absolute path for --storage-root"),
        (&["--connect", "nonsense"], "is not a libvirt URI"),
        (&["--connect", "a=test:///default", "--connect", "a=qemu:///system"], "two hosts are named a"),
        (&["--config", "/nonexistent"], "cannot read /nonexistent"),
        (&["--frobnicate"], "unexpected argument"),
        (&["--connect", "a b=qemu:///system"], "is not a libvirt URI"),
    ];
    for (arguments, expected) in cases {
        let why = read(arguments).expect_err("must be refused");
        assert!(why.contains(expected) && !why.contains('\n'), "{why}");
    }
}

#[test]
fn what_others_can_reach_speaks_tls_and_asks_who_they_are() {
    let of = |arguments: &[&str]| read(arguments).map(|config| (config.tls, config.auth)).expect("right");
    assert_eq!(of(&[]), (Tls::Off, Asking::Auto));
    assert_eq!(of(&["--listen", "0.0.0.0:443"]), (Tls::SelfSigned, Asking::Always));
    assert_eq!(of(&["--listen", "0.0.0.0:80", "--behind-proxy"]), (Tls::Off, Asking::Always));
    assert_eq!(of(&["--behind-proxy"]), (Tls::Off, Asking::Always));
    assert_eq!(of(&["--behind-proxy", "--auth", "off"]), (Tls::Off, Asking::Never));
    assert_eq!(of(&["--tls", "--auth=on"]), (Tls::SelfSigned, Asking::Always));
    let files = of(&["--listen", "[::]:443", "--tls-cert", "/c.pem", "--tls-key", "/k.pem"]).0;
    assert_eq!(files, Tls::Files { certificate: "/c.pem".into(), key: "/k.pem".into() });
}

#[test]
fn the_file_holds_the_same_settings_and_flags_win() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let path = folder.path().join("belvedere.toml");
    fs::write(&path, "listen = \"127.0.0.1:4\"\nconnect = [\"a=test:///default\"]\ndemo = true\n").expect("written");
    let path = path.to_str().expect("text");
    let config = read(&["--config", path, "--listen", "127.0.0.1:5"]).expect("right");
    assert_eq!((config.listen.port(), config.demo, config.connect.len()), (5, true, 1));
    let open = |mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("set");
    open(0o666);
    assert!(read(&["--config", path]).expect_err("open to all").contains("is world-writable"));
    open(0o644);
    fs::write(path, "lisen = 3\n").expect("written");
    assert!(read(&["--config", path]).expect_err("a typing error").contains("belvedere.toml is invalid"));
}

#[test]
fn only_names_that_nobody_can_rebind_are_ours() {
    let allowed = ["vms.example.org".to_owned()];
    for good in ["127.0.0.1", "[::1]", "10.0.0.7", "localhost", "a.localhost", "VMS.example.org"] {
        assert!(is_own_name(good, &allowed), "{good}");
    }
    for bad in ["evil.example.org", "127.0.0.1.evil.org", "localhost.evil.org", ""] {
        assert!(!is_own_name(bad, &allowed), "{bad}");
    }
}
