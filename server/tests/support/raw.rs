//! Event streams read below HTTP at a controlled pace.

use std::{collections::HashMap, io, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::sleep,
};

/// A stream below HTTP, read at a controlled pace.
pub struct Raw {
    socket: TcpStream,
    /// Received data that is not a whole frame yet.
    pub text: Vec<u8>,
    /// The numbers of received frames, without bookmarks.
    pub seen: Vec<u64>,
    /// The number of bookmarks.
    pub bookmarks: usize,
    /// The number of resets.
    pub resets: usize,
    pub id: Option<String>,
    /// The last received state of each machine, by name.
    pub states: HashMap<String, String>,
}

impl Raw {
    pub async fn open(address: &str, id: Option<String>) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        // A small buffer, so that unread data waits in the server.
        socket.set_recv_buffer_size(16 << 10).expect("set");
        let mut socket = socket.connect(address.parse().expect("an address")).await.expect("connects");
        let resume = id.as_ref().map(|id| format!("Last-Event-ID: {id}\r\n")).unwrap_or_default();
        let request = format!("GET /events HTTP/1.1\r\nHost: {address}\r\n{resume}\r\n");
        socket.write_all(request.as_bytes()).await.expect("sent");
        Self { socket, text: Vec::new(), seen: Vec::new(), bookmarks: 0, resets: 0, id, states: HashMap::new() }
    }

    /// Reconnects at its position, like a browser.
    pub async fn again(self, address: &str) -> Self {
        let Self { seen, resets, id, states, .. } = self;
        Self { seen, resets, states, ..Self::open(address, id).await }
    }

    /// Reads at most so many bytes; the end of the stream is an error.
    pub async fn read(&mut self, most: usize) -> io::Result<usize> {
        let mut part = vec![0; most];
        let count = self.socket.read(&mut part).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.text.extend_from_slice(&part[..count]);
        let text = std::mem::take(&mut self.text);
        let mut from = 0;
        for end in memchr::memmem::find_iter(&text, b"\n\n") {
            self.frame(&String::from_utf8_lossy(&text[from..end]));
            from = end + 2;
        }
        self.text = text[from..].to_vec();
        Ok(count)
    }

    fn frame(&mut self, frame: &str) {
        let field = |name: &str| frame.lines().find_map(|line| line.strip_prefix(name));
        let (Some(id), Some(kind)) = (field("id: "), field("event: ")) else { return };
        self.id = Some(id.to_owned());
        let seq = id.rsplit('-').next().and_then(|seq| seq.parse().ok()).expect("a position");
        match kind {
            "bookmark" => self.bookmarks += 1,
            "inventory" => {
                self.resets += 1;
                self.seen.push(seq);
                self.start_over(field("data: ").unwrap_or_default());
            }
            "vm-state-changed" => {
                self.seen.push(seq);
                let text = |name| Some(frame.split_once(name)?.1.split_once('"')?.0.to_owned());
                if let (Some(name), Some(state)) = (text("\"vmName\":\""), text("\"newState\":\"")) {
                    self.states.insert(name, state);
                }
            }
            _ => self.seen.push(seq),
        }
    }

    fn start_over(&mut self, inventory: &str) {
        let inventory: Value = serde_json::from_str(inventory).expect("JSON");
        let hosts = inventory["hosts"].as_object().expect("hosts").values();
        let domains = hosts.flat_map(|host| host["domains"].as_array().expect("a list"));
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        self.states = domains.map(|domain| (text(&domain["name"]), text(&domain["state"]))).collect();
    }

    pub fn last(&self) -> u64 {
        self.seen.last().copied().unwrap_or_default()
    }

    /// Whether the numbers are consecutive; after a reset a later one may follow.
    pub fn is_dense(&self) -> bool {
        let gaps = self.seen.windows(2).filter(|two| two[1] != two[0] + 1).count();
        gaps <= self.resets && self.seen.is_sorted()
    }
}

/// Reconnects whenever it is closed, until everything up to `last` was received.
pub async fn follow(mut raw: Raw, address: &str, last: u64, pace: Option<(usize, Duration)>) -> Raw {
    while raw.last() < last {
        let read = raw.read(pace.map_or(64 << 10, |(most, _)| most)).await;
        if read.is_err() {
            raw = raw.again(address).await;
        }
        if let Some((_, pause)) = pace {
            sleep(pause).await;
        }
    }
    raw
}
