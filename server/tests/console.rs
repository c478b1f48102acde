//! Consoles of a real guest over WebSocket: permissions, tickets, and their end.
//!
//! Needs root for the daemon; `make test` runs it with `--ignored`.

mod support;

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use support::{
    daemon::Daemon,
    read,
    site::{PASSWORD, Site},
};
use tokio::{net::TcpStream, sync::Mutex, time::timeout};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{self, Message, client::IntoClientRequest},
};

type Socket = WebSocketStream<TcpStream>;

/// Daemons that start graphical consoles at the same time may choose the same port.
static ALONE: Mutex<()> = Mutex::const_new(());

/// A server with accounts and a host with a running guest.
struct Consoles {
    site: Site,
    daemon: Daemon,
    id: String,
}

impl Consoles {
    async fn new() -> Self {
        let daemon = Daemon::start();
        daemon.virsh(&["start", "web-01"]);
        daemon.in_guest("web-01", "true").await;
        let site = Site::over(&daemon.connect()).await;
        site.add("jane", "operator").await;
        let id = daemon.virsh(&["domuuid", "web-01"]);
        Self { site, daemon, id }
    }

    /// Requests a ticket; returns the status, and the protocols or the fault.
    async fn ask(&self, who: (&str, &str), console: &str) -> (u16, Value) {
        let wish = json!({ "host": "atlas", "target": self.id, "console": console }).to_string();
        let headers = [who, ("content-type", "application/json")];
        let (status, body) = read(self.site.server.send("POST", "/api/v1/consoles", &headers, wish).await).await;
        (status, serde_json::from_str(&body).unwrap_or_default())
    }

    async fn ticket(&self, who: (&str, &str), console: &str) -> String {
        let (status, said) = self.ask(who, console).await;
        assert_eq!(status, 201, "{said}");
        let protocols: Vec<_> =
            said["protocols"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
        protocols.join(", ")
    }

    /// Opens a console with a ticket; returns the status if refused.
    async fn open(&self, path: &str, protocols: &str, headers: &[(&'static str, &str)]) -> Result<Socket, u16> {
        let address = &self.site.server.address;
        let mut request = format!("ws://{address}{path}").into_client_request().expect("a request");
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().expect("a value"));
        }
        if !protocols.is_empty() {
            request.headers_mut().insert("sec-websocket-protocol", protocols.parse().expect("a value"));
        }
        let stream = TcpStream::connect(address).await.expect("connects");
        match client_async(request, stream).await {
            Ok((socket, answer)) => {
                assert_eq!(
                    answer.headers()["sec-websocket-protocol"],
                    "belvedere.console",
                    "the ticket is not repeated"
                );
                Ok(socket)
            }
            Err(tungstenite::Error::Http(answer)) => Err(answer.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }
}

/// Reads until a text is in the bytes or messages.
async fn until(socket: &mut Socket, text: &str) -> String {
    until_one_of(socket, &[text]).await
}

/// Reads until one of some texts.
async fn until_one_of(socket: &mut Socket, texts: &[&str]) -> String {
    let (mut shown, mut said) = (String::new(), String::new());
    while !texts.iter().any(|text| shown.contains(text) || said.contains(text)) {
        let message = timeout(Duration::from_secs(30), socket.next()).await;
        let message = message.unwrap_or_else(|_| panic!("{texts:?} comes: {shown} {said}"));
        match message.unwrap_or_else(|| panic!("it goes on: {shown} {said}")).expect("sound") {
            Message::Binary(part) => shown.push_str(&String::from_utf8_lossy(&part)),
            Message::Text(text) => said.push_str(&text),
            _ => {}
        }
    }
    shown + &said
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root, libvirtd and QEMU; make test runs it"]
async fn a_console_opens_once_for_whom_its_ticket_was_made_and_from_our_own_pages() {
    let _alone = ALONE.lock().await;
    let consoles = Consoles::new().await;
    let site = &consoles.site;
    for (name, role) in [("bob", "operator"), ("vera", "viewer")] {
        site.run(&["user", "add", name, "--role", role, "--password-stdin"], PASSWORD).expect("made");
    }
    let [jane, bob, vera] = [site.cookie("jane").await, site.cookie("bob").await, site.cookie("vera").await];
    let (jane, bob, vera) = (("cookie", jane.as_str()), ("cookie", bob.as_str()), ("cookie", vera.as_str()));
    let path = "/api/v1/consoles";
    let own = format!("http://{}", site.server.address);
    let origin = ("origin", own.as_str());

    // Clients without permission get no ticket, and an unavailable console is reported.
    assert_eq!(consoles.ask(vera, "serial0").await.0, 403);
    assert_eq!(consoles.ask(("x-nobody", ""), "serial0").await.0, 401);
    assert_eq!(consoles.ask(jane, "serial7").await.0, 404);
    assert_eq!(consoles.ask(jane, "<script>").await.0, 404);

    // A cross-site page is refused before the ticket is checked; it still works for ours.
    let ticket = consoles.ticket(jane, "serial0").await;
    for from in [("origin", "http://evil.example"), ("origin", "null"), ("sec-fetch-site", "cross-site")] {
        assert_eq!(consoles.open(path, &ticket, &[jane, from]).await.err(), Some(403), "{from:?}");
    }
    let rebound = consoles.open(path, &ticket, &[jane, ("host", "evil.example")]).await;
    assert_eq!(rebound.err(), Some(403), "a stranger's name leads nowhere");
    let mut socket = consoles.open(path, &ticket, &[jane, origin]).await.expect("opens");
    until(&mut socket, r#""watching":["jane"]"#).await;
    socket.send(Message::binary("echo $((6 * 7))-answer\r")).await.expect("sent");
    until(&mut socket, "42-answer").await;

    // It is used up, works for no one else, and is not accepted in a URL.
    assert_eq!(consoles.open(path, &ticket, &[jane, origin]).await.err(), Some(403));
    let stolen = consoles.ticket(jane, "serial0").await;
    assert_eq!(consoles.open(path, &stolen, &[bob, origin]).await.err(), Some(403), "it is jane's");
    assert_eq!(consoles.open(path, &stolen, &[jane, origin]).await.err(), Some(403), "and a thief has shown it");
    let again = consoles.ticket(jane, "serial0").await;
    assert_eq!(consoles.open(path, &again, &[origin]).await.err(), Some(401), "nobody is nobody with a ticket, too");
    let secret = again.rsplit("ticket.").next().expect("a ticket").to_owned();
    let by_address = consoles.open(&format!("{path}?ticket={secret}"), "belvedere.console", &[jane, origin]).await;
    assert_eq!(by_address.err(), Some(422));

    // A second session of the same account is a different one.
    let other = site.cookie("jane").await;
    assert_eq!(consoles.open(path, &again, &[("cookie", &other), origin]).await.err(), Some(403));

    // Programs do the same with their token, and share the console.
    let token = site.run(&["token", "create", "ci", "--role", "operator"], "").expect("made");
    let bearer = format!("Bearer {token}");
    let program = ("authorization", bearer.as_str());
    let ticket = consoles.ticket(program, "serial0").await;
    let mut shared = consoles.open(path, &ticket, &[program]).await.expect("opens");
    until(&mut shared, "42-answer").await;
    until(&mut socket, r#"{"watching":["jane","ci"]}"#).await;

    // The access is recorded with the account, without the ticket.
    site.run(&["user", "add", "root", "--role", "admin", "--password-stdin"], PASSWORD).expect("made");
    let root = site.cookie("root").await;
    let headers = [("cookie", root.as_str())];
    let (_, records) = read(site.server.send("GET", "/api/v1/audit?kind=consoleOpened", &headers, "").await).await;
    assert!(records.contains("web-01/serial0 on atlas") && records.contains("\"ci\""), "{records}");
    assert!(!records.contains(&secret));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root, libvirtd and QEMU; make test runs it"]
async fn an_open_console_ends_with_the_right_to_it_with_its_machine_and_with_its_host() {
    let _alone = ALONE.lock().await;
    let consoles = Consoles::new().await;
    let (site, daemon) = (&consoles.site, &consoles.daemon);
    let jane = site.cookie("jane").await;
    let jane = ("cookie", jane.as_str());
    let open = async |who: (&'static str, &str), console: &str| {
        let ticket = consoles.ticket(who, console).await;
        consoles.open("/api/v1/consoles", &ticket, &[who]).await.expect("opens")
    };

    // With a tag scope the machine leaves the scope.
    let tags = "<tags><tag>web</tag></tags>";
    let tag = |text: &str| daemon.virsh(&["metadata", "web-01", "urn:belvedere:tags:1", "--key", "b", "--set", text]);
    tag(tags);
    site.run(&["user", "add", "sam", "--role", "operator", "--tag", "web", "--password-stdin"], PASSWORD)
        .expect("made");
    let sam = site.cookie("sam").await;
    let mut seen = open(("cookie", &sam), "screen").await;
    until(&mut seen, "RFB 003.008").await;
    tag("<tags/>");
    until(&mut seen, "You no longer have access to this console").await;
    assert_eq!(consoles.ask(("cookie", &sam), "screen").await.0, 404);

    // Signing out elsewhere closes the console here.
    let mut line = open(jane, "serial0").await;
    until(&mut line, "watching").await;
    let form = [jane, ("content-type", "application/x-www-form-urlencoded")];
    assert_eq!(site.server.send("POST", "/logout", &form, "").await.status(), 303);
    until(&mut line, "You no longer have access to this console").await;

    // The end of the machine ends the console.
    let jane = site.cookie("jane").await;
    let jane = ("cookie", jane.as_str());
    let (mut line, mut screen) = (open(jane, "serial0").await, open(jane, "screen").await);
    until(&mut screen, "RFB").await;
    daemon.virsh(&["destroy", "web-01"]);
    until(&mut line, "ended").await;
    until(&mut screen, "ended").await;
    let began = std::time::Instant::now();
    while consoles.ask(jane, "serial0").await.0 != 409 {
        assert!(began.elapsed() < Duration::from_secs(10), "it is known to be off");
    }

    // So does the end of the libvirt daemon for a serial console.
    daemon.virsh(&["start", "web-01"]);
    let began = std::time::Instant::now();
    while consoles.ask(jane, "serial0").await.0 != 201 {
        assert!(began.elapsed() < Duration::from_secs(10), "it is known to run");
    }
    let mut line = open(jane, "serial0").await;
    until(&mut line, "watching").await;
    daemon.signal("kill");
    until(&mut line, "ended").await;
    daemon.signal("restart");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root, libvirtd and QEMU; make test runs it"]
async fn a_line_that_takes_nothing_of_what_is_typed_harms_no_other() {
    let _alone = ALONE.lock().await;
    let mut consoles = Consoles::new().await;
    consoles.daemon.guest("app");
    consoles.daemon.virsh(&["start", "app"]);
    consoles.daemon.in_guest("app", "true").await;
    let jane = consoles.site.cookie("jane").await;
    let jane = ("cookie", jane.as_str());
    let open = async |consoles: &Consoles| {
        let ticket = consoles.ticket(jane, "serial0").await;
        consoles.open("/api/v1/consoles", &ticket, &[jane]).await.expect("opens")
    };
    // A paused guest reads nothing.
    consoles.daemon.virsh(&["suspend", "web-01"]);
    let mut stuck = open(&consoles).await;
    until(&mut stuck, "watching").await;
    for _ in 0..64 {
        stuck.send(Message::binary(vec![b'x'; 16 * 1024])).await.expect("sent");
    }
    consoles.id = consoles.daemon.virsh(&["domuuid", "app"]);
    let mut other = open(&consoles).await;
    until(&mut other, "watching").await;
    let began = std::time::Instant::now();
    // Longer than libvirt takes to close a connection that is not read.
    for n in 0_u32.. {
        other.send(Message::binary(format!("echo $((6 * 7))-{n}\r"))).await.expect("sent");
        until(&mut other, &format!("42-{n}")).await;
        if began.elapsed() > Duration::from_secs(30) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    // It continues once the guest does, or is reopened.
    consoles.daemon.virsh(&["resume", "web-01"]);
    consoles.id = consoles.daemon.virsh(&["domuuid", "web-01"]);
    drop(stuck);
    let began = std::time::Instant::now();
    loop {
        let mut again = open(&consoles).await;
        let said = until_one_of(&mut again, &["watching", "ended"]).await;
        if said.contains("watching") {
            break;
        }
        assert!(said.contains("has not yet released"), "it is not said to be somebody else's: {said}");
        assert!(began.elapsed() < Duration::from_secs(60), "{said}");
    }
}
