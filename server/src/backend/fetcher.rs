//! Downloads files from URLs for volumes.
//!
//! A download could reach hosts that only this server can reach, so each name is resolved once,
//! only the resolved addresses are used, and private ones are refused unless the configuration
//! allows their network. This applies to every redirect. The content is handled in `upload`.

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

/// Maximum redirects.
const MAX_HOPS: usize = 5;
/// Time limit of name resolution, and of connecting.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// Time limit without data.
const SILENT: Duration = Duration::from_secs(60);

/// Maximum concurrent name lookups. Each occupies a resolver thread until it returns, even if no
/// one waits.
const LOOK_UPS: usize = 4;
/// Maximum per account, so that slow names of one account do not delay others.
const LOOK_UPS_EACH: usize = 2;
/// Cloud metadata addresses outside of the special-purpose ranges.
const OF_CLOUDS: [IpAddr; 1] = [IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16))];

/// Downloads from public addresses and allowed networks.
pub(crate) struct Fetcher {
    allowed: Vec<IpNet>,
    look_ups: Arc<Semaphore>,
    of_accounts: Places,
    resolve: Resolve,
}

/// Resolves a name and port; blocks.
type Resolve = fn(&str, u16) -> io::Result<Vec<SocketAddr>>;

/// A download in progress.
pub(super) struct Source {
    response: Response,
    /// Its size in bytes.
    pub(super) size: u64,
}

impl Source {
    /// The next chunk; none at the end.
    ///
    /// # Errors
    /// If the rest does not arrive.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        self.response.chunk().await.map_err(|error| refused(self.response.url(), &says(&error)))
    }

    /// The error of an incomplete download.
    pub(super) fn cut_short(&self) -> Fault {
        refused(self.response.url(), "the connection closed before the download was complete")
    }
}

impl Fetcher {
    pub(crate) fn new(allowed: Vec<IpNet>) -> Self {
        crate::tls::choose_cryptography();
        let resolve = |name: &str, port| Ok((name, port).to_socket_addrs()?.collect());
        Self { allowed, look_ups: Arc::new(Semaphore::new(LOOK_UPS)), of_accounts: Places::new(LOOK_UPS_EACH), resolve }
    }

    /// Starts a download for an account, following redirects.
    ///
    /// # Errors
    /// Why it failed, with the next step.
    pub(super) async fn open(&self, url: &str, account: &str) -> Result<Source, Fault> {
        let mut url = Url::parse(url).map_err(|error| Fault::invalid("url", &error.to_string()))?;
        for _ in 0..=MAX_HOPS {
            let response = self.ask(&url, account).await?;
            if !response.status().is_redirection() {
                return opened(response);
            }
            let to = response.headers().get(header::LOCATION).and_then(|to| to.to_str().ok());
            let next = to
                .and_then(|to| url.join(to).ok())
                .ok_or_else(|| refused(&url, "redirect without a valid location"))?;
            if url.scheme() == "https" && next.scheme() != "https" {
                return Err(refused(&url, "redirect from https to http"));
            }
            url = next;
        }
        Err(refused(&url, "too many redirects"))
    }

    async fn ask(&self, url: &Url, account: &str) -> Result<Response, Fault> {
        let (Some(name), "http" | "https") = (url.host_str(), url.scheme()) else {
            return Err(refused(url, "the scheme must be http or https"));
        };
        let addresses = self.look_up(url, account).await?;
        // Each host has a separate client that uses only its resolved addresses.
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
        // A compressed response would have another length.
        let request = client.get(url.clone()).header(header::ACCEPT_ENCODING, "identity");
        request.send().await.map_err(|error| refused(url, &says(&error)))
    }

    /// The addresses of a host, all of which are allowed.
    async fn look_up(&self, url: &Url, account: &str) -> Result<Vec<SocketAddr>, Fault> {
        let (name, port) = (url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or(443));
        // IPv6 addresses are in brackets there.
        let plain = name.trim_start_matches('[').trim_end_matches(']');
        let (plain, look_ups, resolve) = (plain.to_owned(), self.look_ups.clone(), self.resolve);
        let Some(share) = self.of_accounts.take(account.to_owned()) else {
            let fault = Fault::new(FaultKind::TooMany, "Too many of your downloads are still in name resolution");
            return Err(fault.with_next("Try again in a moment"));
        };
        let looking = async {
            // A cancelled caller releases its slot in the queue.
            let place = look_ups.acquire_owned().await;
            #[expect(clippy::disallowed_methods, reason = "as many as there are places")]
            let looking = spawn_blocking(move || {
                // A cancelled caller keeps its slots until the resolver returns.
                let _places = (place, share);
                resolve(&plain, port)
            });
            looking.await
        };
        let found: Vec<_> = match timeout(CONNECT_WITHIN, looking).await {
            Ok(Ok(Ok(found))) => found,
            Ok(Ok(Err(error))) => return Err(refused(url, &format!("the host name cannot be resolved: {error}"))),
            Ok(Err(_)) | Err(_) => return Err(refused(url, "name resolution timed out")),
        };
        if found.is_empty() {
            return Err(refused(url, "the host name has no address"));
        }
        match found.iter().find_map(|address| Some((address.ip(), self.objection(address.ip())?))) {
            Some((address, why)) => Err(Fault::denied(format!("{name} resolves to {address}, which {why}"))
                .with_next("Upload the file instead, or ask the administrator of this server to allow the address with --fetch-from")),
            None => Ok(found),
        }
    }

    /// Why an address is refused; none if it is allowed.
    fn objection(&self, address: IpAddr) -> Option<&'static str> {
        let address = address.to_canonical();
        let named = || self.allowed.iter().filter(|network| network.contains(&address));
        // An allowed network does not include the server itself or cloud metadata addresses in it.
        if named().any(|network| network.prefix_len() == network.max_prefix_len()) {
            return None;
        }
        match () {
            () if OF_CLOUDS.contains(&address) || is_of_a_cloud(address) => Some("is a cloud metadata address"),
            () if !is_public(address) && named().next().is_none() => Some("is not public"),
            () if is_own(address) => Some("is the server itself"),
            () => None,
        }
    }
}

/// Checks the response header.
fn opened(response: Response) -> Result<Source, Fault> {
    let url = response.url();
    if response.status() != StatusCode::OK {
        return Err(refused(url, &format!("the server returned {}", response.status())));
    }
    match response.content_length() {
        Some(size) if size > 0 => Ok(Source { response, size }),
        Some(_) => Err(refused(url, "the file is empty")),
        None => Err(refused(url, "the server does not report the file size").with_next("Upload the file instead")),
    }
}

/// The error of a download, without the query, which may be secret, and without a password of a
/// redirect.
fn refused(url: &Url, why: &str) -> Fault {
    let mut plain = url.clone();
    plain.set_username("").and_then(|()| plain.set_password(None)).ok();
    plain.set_query(None);
    plain.set_fragment(None);
    Fault::new(FaultKind::Refused, format!("Cannot download {plain}: {why}"))
        .with_next("Check the URL and the server, then try again")
}

/// The root cause of an error, without the URL.
fn says(error: &reqwest::Error) -> String {
    let mut deepest: &dyn std::error::Error = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    if error.is_timeout() { "timed out".to_owned() } else { deepest.to_string() }
}

/// Whether an address is a cloud metadata address (link-local, and those of Amazon, Alibaba and
/// Oracle).
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

/// Whether an address is assigned to this machine, which the kernel reveals by allowing a bind.
fn is_own(address: IpAddr) -> bool {
    std::net::UdpSocket::bind((address, 0)).is_ok()
}

/// Whether an address is public (IANA special-purpose registries).
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
        // This network, carrier-grade NAT, protocols, 6to4 relays, benchmarks, reserved.
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
    // Only 2000::/3 is allocated; embedded addresses, test and documentation ranges are refused.
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
            assert_eq!(wide.objection(address.parse().expect("an address")), Some("is the server itself"), "{address}");
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

    /// Releases the slow lookups of the test.
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
