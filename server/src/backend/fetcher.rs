//! Files that the server fetches from an address for a volume.
//!
//! Who may ask for that could ask for what only this server reaches, so an address is
//! looked up once, asked under what was found, and refused when that is not public, unless
//! the configuration names its network. This holds for each place that another one sends
//! on to. What becomes of the content is `upload`'s.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs},
    sync::Arc,
    time::Duration,
};

use axum::body::Bytes;
use ipnet::IpNet;
use model::{Fault, FaultKind};
use reqwest::{Client, Response, StatusCode, Url, header, redirect::Policy};
use tokio::{sync::Semaphore, task::spawn_blocking, time::timeout};

use crate::limits::Places;

/// Places that may send on to another one.
const MAX_HOPS: usize = 5;
/// How long it may take until a name is looked up, and until somebody answers.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// How long nothing may come.
const SILENT: Duration = Duration::from_secs(60);

/// Names that are looked up at the same time. Each takes a thread of the system's resolver until
/// that gives up, whoever waits for it.
const LOOK_UPS: usize = 4;
/// Of these, those of one account, so that slow names of one delay nobody else.
const LOOK_UPS_EACH: usize = 2;
/// Addresses where clouds tell secrets of a machine to itself, and that are not special otherwise.
const OF_CLOUDS: [IpAddr; 1] = [IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16))];

/// Fetches from public addresses, and from networks that are named.
pub(crate) struct Fetcher {
    allowed: Vec<IpNet>,
    look_ups: Arc<Semaphore>,
    of_accounts: Places,
    resolve: Resolve,
}

/// Gives the addresses of a name and a port; blocks.
type Resolve = fn(&str, u16) -> io::Result<Vec<SocketAddr>>;

/// A file that has begun to come.
pub(super) struct Source {
    response: Response,
    /// How large it is, in bytes.
    pub(super) size: u64,
}

impl Source {
    /// The next part; none at its end.
    ///
    /// # Errors
    /// When the rest does not come.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        self.response.chunk().await.map_err(|error| refused(self.response.url(), &says(&error)))
    }

    /// That it ended before all of it was there.
    pub(super) fn cut_short(&self) -> Fault {
        refused(self.response.url(), "the file ended before all of it was there")
    }
}

impl Fetcher {
    pub(crate) fn new(allowed: Vec<IpNet>) -> Self {
        crate::tls::choose_cryptography();
        let resolve = |name: &str, port| Ok((name, port).to_socket_addrs()?.collect());
        Self { allowed, look_ups: Arc::new(Semaphore::new(LOOK_UPS)), of_accounts: Places::new(LOOK_UPS_EACH), resolve }
    }

    /// Asks for a file for an account, and goes where it is sent on to.
    ///
    /// # Errors
    /// Why nothing comes from there, with the next step.
    pub(super) async fn open(&self, url: &str, account: &str) -> Result<Source, Fault> {
        let mut url = Url::parse(url).map_err(|error| Fault::invalid("url", &error.to_string()))?;
        for _ in 0..=MAX_HOPS {
            let response = self.ask(&url, account).await?;
            if !response.status().is_redirection() {
                return opened(response);
            }
            let to = response.headers().get(header::LOCATION).and_then(|to| to.to_str().ok());
            let next = to.and_then(|to| url.join(to).ok()).ok_or_else(|| refused(&url, "it sends on to nowhere"))?;
            if url.scheme() == "https" && next.scheme() != "https" {
                return Err(refused(&url, "it sends on to a place without TLS"));
            }
            url = next;
        }
        Err(refused(&url, "it was sent on too often"))
    }

    async fn ask(&self, url: &Url, account: &str) -> Result<Response, Fault> {
        let (Some(name), "http" | "https") = (url.host_str(), url.scheme()) else {
            return Err(refused(url, "it is neither http nor https"));
        };
        let addresses = self.look_up(url, account).await?;
        // Each place has a client of its own, which knows its addresses and no others.
        let client = Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .referer(false)
            .connect_timeout(CONNECT_WITHIN)
            .read_timeout(SILENT)
            .user_agent(concat!("belvedere/", env!("CARGO_PKG_VERSION")))
            .resolve_to_addrs(name, &addresses)
            .build()
            .map_err(|error| refused(url, &says(&error)))?;
        // What is packed on its way has another length than it will have.
        let request = client.get(url.clone()).header(header::ACCEPT_ENCODING, "identity");
        request.send().await.map_err(|error| refused(url, &says(&error)))
    }

    /// The addresses of a place, all of which may be asked.
    async fn look_up(&self, url: &Url, account: &str) -> Result<Vec<SocketAddr>, Fault> {
        let (name, port) = (url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or(443));
        // Addresses of version 6 stand in brackets there.
        let plain = name.trim_start_matches('[').trim_end_matches(']');
        let (plain, look_ups, resolve) = (plain.to_owned(), self.look_ups.clone(), self.resolve);
        let Some(share) = self.of_accounts.take(account.to_owned()) else {
            let fault = Fault::new(FaultKind::TooMany, "The names of your other fetches are still being looked up");
            return Err(fault.with_next("Try again once they are known"));
        };
        let looking = async {
            // Whoever does not wait any more waits for no place, either.
            let place = look_ups.acquire_owned().await;
            #[expect(clippy::disallowed_methods, reason = "as many as there are places")]
            let looking = spawn_blocking(move || {
                // Whoever goes away leaves the places taken until the resolver has answered.
                let _places = (place, share);
                resolve(&plain, port)
            });
            looking.await
        };
        let found: Vec<_> = match timeout(CONNECT_WITHIN, looking).await {
            Ok(Ok(Ok(found))) => found,
            Ok(Ok(Err(error))) => return Err(refused(url, &format!("its name is not known: {error}"))),
            Ok(Err(_)) | Err(_) => return Err(refused(url, "the name lookup timed out")),
        };
        if found.is_empty() {
            return Err(refused(url, "its name has no address"));
        }
        match found.iter().find_map(|address| Some((address.ip(), self.objection(address.ip())?))) {
            Some((address, why)) => Err(Fault::denied(format!("{name} is at {address}, which {why}"))
                .with_next("Upload the file instead, or have an admin name its address with --fetch-from")),
            None => Ok(found),
        }
    }

    /// Why an address is not asked; none when it may be.
    fn objection(&self, address: IpAddr) -> Option<&'static str> {
        let address = address.to_canonical();
        let named = || self.allowed.iter().filter(|network| network.contains(&address));
        // A network that is named names neither this machine nor what a cloud has in it.
        if named().any(|network| network.prefix_len() == network.max_prefix_len()) {
            return None;
        }
        match () {
            () if OF_CLOUDS.contains(&address) || is_of_a_cloud(address) => Some("is a cloud metadata address"),
            () if !is_public(address) && named().next().is_none() => Some("is not public"),
            () if is_own(address) => Some("is this machine"),
            () => None,
        }
    }
}

/// Looks at the head of an answer.
fn opened(response: Response) -> Result<Source, Fault> {
    let url = response.url();
    if response.status() != StatusCode::OK {
        return Err(refused(url, &format!("it answers {}", response.status())));
    }
    match response.content_length() {
        Some(size) if size > 0 => Ok(Source { response, size }),
        Some(_) => Err(refused(url, "the file is empty")),
        None => Err(refused(url, "it does not say how large the file is").with_next("Upload the file instead")),
    }
}

/// That nothing comes from an address; what follows a question mark may be a secret, and a
/// place that sends on may name a password.
fn refused(url: &Url, why: &str) -> Fault {
    let mut plain = url.clone();
    plain.set_username("").and_then(|()| plain.set_password(None)).ok();
    plain.set_query(None);
    plain.set_fragment(None);
    Fault::new(FaultKind::Refused, format!("{plain} cannot be fetched: {why}"))
        .with_next("See whether the address is right and its server is there, then try again")
}

/// What went wrong at the bottom of an error, without the address.
fn says(error: &reqwest::Error) -> String {
    let mut deepest: &dyn std::error::Error = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    if error.is_timeout() { "nothing came in time".to_owned() } else { deepest.to_string() }
}

/// Whether an address is where a cloud tells a machine of itself (link-local, and Amazon's,
/// Alibaba's and Oracle's own).
fn is_of_a_cloud(address: IpAddr) -> bool {
    const METADATA: [IpAddr; 10] = [
        IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),
        IpAddr::V4(Ipv4Addr::new(169, 254, 170, 23)),
        IpAddr::V4(Ipv4Addr::new(169, 254, 42, 42)),
        IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)),
        IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
        IpAddr::V6(Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42)),
        IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
        IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
        IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
        IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    ];
    METADATA.contains(&address)
}

/// Whether an address is one of this machine's own, of which the kernel lets a socket be.
fn is_own(address: IpAddr) -> bool {
    std::net::UdpSocket::bind((address, 0)).is_ok()
}

/// Whether an address belongs to everybody's network (the IANA special-purpose registries).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation()
        // This network, shared by carriers, protocols, 6to4 relays, benchmarks, reserved.
        || a == 0
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (18..20).contains(&b))
        || a >= 240;
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    if let Some(inner) = address.to_ipv4_mapped() {
        return is_public_v4(inner);
    }
    let [a, b, ..] = address.segments();
    // Of all of them only 2000::/3 is given out; what carries another address within, or is
    // for tests and books, is not taken.
    let given_out = (0x2000..0x4000).contains(&a);
    given_out && a != 0x2002 && !(a == 0x2001 && (b < 0x0200 || b == 0x0db8)) && !(a == 0x3fff && b < 0x1000)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn only_what_is_everybodys_is_public() {
        for public in ["8.8.8.8", "172.32.0.1", "100.128.0.1", "193.0.0.1", "2606:4700::1", "::ffff:8.8.8.8", "2a00::1"]
        {
            assert!(is_public(public.parse().expect("an address")), "{public}");
        }
        for special in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::7f00:1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "fc00::1",
            "fd00::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(special.parse().expect("an address")), "{special}");
        }
    }

    #[test]
    fn a_network_that_is_named_may_be_asked_and_no_other() {
        let fetcher = Fetcher::new(vec!["10.1.0.0/16".parse().expect("a network")]);
        for (address, may) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("10.2.0.1", false),
            ("127.0.0.1", false),
            ("8.8.8.8", true),
        ] {
            assert_eq!(fetcher.objection(address.parse().expect("an address")).is_none(), may, "{address}");
        }
    }

    #[test]
    fn a_network_that_is_named_names_neither_this_machine_nor_its_cloud() {
        let fetcher = |networks: &[&str]| {
            Fetcher::new(networks.iter().map(|network| network.parse().expect("a network")).collect())
        };
        let wide = fetcher(&["127.0.0.0/8", "169.254.0.0/16", "168.63.0.0/16", "100.100.0.0/16", "fd00::/8"]);
        for address in ["127.0.0.1", "127.9.9.9", "::ffff:127.0.0.1"] {
            assert_eq!(wide.objection(address.parse().expect("an address")), Some("is this machine"), "{address}");
        }
        for address in ["169.254.169.254", "168.63.129.16", "100.100.100.200", "fd00:ec2::254"] {
            let why = wide.objection(address.parse().expect("an address"));
            assert_eq!(why, Some("is a cloud metadata address"), "{address}");
        }
        assert!(fetcher(&[]).objection("168.63.129.16".parse().expect("an address")).is_some(), "it is public");
        let exact = fetcher(&["127.0.0.1/32"]);
        assert_eq!(exact.objection("127.0.0.1".parse().expect("an address")), None, "it was named itself");
    }

    #[tokio::test]
    async fn every_way_to_write_an_address_of_ones_own_is_seen_through() {
        let fetcher = Fetcher::new(Vec::new());
        for url in [
            "http://127.0.0.1/a",
            "http://2130706433/a",
            "http://0x7f.1/a",
            "http://0177.0.0.1/a",
            "http://127.1/a",
            "http://[::1]/a",
            "http://[::ffff:127.0.0.1]/a",
            "http://localhost/a",
            "http://0/a",
        ] {
            let fault = fetcher.open(url, "jane").await.err().expect("refused");
            assert!(fault.kind == FaultKind::Denied && fault.reason.contains("is not public"), "{url}: {fault:?}");
        }
    }

    /// Lets the slow names of the test be answered.
    static ANSWER: AtomicBool = AtomicBool::new(false);

    #[tokio::test]
    async fn slow_names_of_one_account_delay_nobody_else() {
        let resolve: Resolve = |name, port| {
            while name.starts_with("slow") && !ANSWER.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(2));
            }
            Ok(vec![(Ipv4Addr::LOCALHOST, port).into()])
        };
        let fetcher = Arc::new(Fetcher { resolve, ..Fetcher::new(Vec::new()) });
        let open = |url: &str, account: &str| {
            let (fetcher, url, account) = (fetcher.clone(), url.to_owned(), account.to_owned());
            tokio::spawn(async move { fetcher.open(&url, &account).await.err().expect("refused") })
        };
        let slow: Vec<_> = (0..10).map(|n| open(&format!("http://slow{n}.example/a"), "jane")).collect();
        let turned_away = |fault: &Fault| fault.kind == FaultKind::TooMany;
        let mut waiting = Vec::new();
        for one in slow {
            if waiting.len() < LOOK_UPS_EACH {
                waiting.push(one);
            } else {
                assert!(turned_away(&one.await.expect("no panic")), "she has her share");
            }
        }
        let other = timeout(Duration::from_secs(5), open("http://quick.example/a", "mary")).await;
        assert_eq!(other.expect("at once").expect("no panic").kind, FaultKind::Denied);
        ANSWER.store(true, Ordering::Relaxed);
        for one in waiting {
            assert_eq!(one.await.expect("no panic").kind, FaultKind::Denied);
        }
        let after = open("http://slow.example/a", "jane").await.expect("no panic");
        assert_eq!(after.kind, FaultKind::Denied, "her places are free again");
    }
}
