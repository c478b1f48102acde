//! A proxy between QEMU's guest agent and libvirt that forwards or fakes responses. It runs in the
//! test, so fakes are not slowed down by emulation.

use std::{
    io,
    path::Path,
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    task::JoinHandle,
};

use super::daemon::Daemon;

/// Returns the bytes of a response to libvirt.
type Lies = Arc<dyn Fn(&str) -> Vec<u8> + Send + Sync>;

pub struct Between {
    lies: Arc<Mutex<Option<Lies>>>,
    task: JoinHandle<()>,
}

impl Between {
    /// Inserts itself into the agent channel of an inactive machine.
    pub fn new(daemon: &Daemon, machine: &str) -> Self {
        let socket = daemon.folder.path().join("agent.sock");
        let listener = UnixListener::bind(&socket).expect("a socket");
        channel_through(daemon, machine, &socket);
        let lies = Arc::new(Mutex::new(None));
        let task = tokio::spawn(serve(listener, Arc::clone(&lies)));
        Self { lies, task }
    }

    /// Fakes every response except libvirt's sync.
    pub fn lie(&self, lies: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) {
        *self.lies.lock().expect("not poisoned") = Some(Arc::new(lies));
    }
}

impl Drop for Between {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Both QEMU and libvirt connect to the socket, so they are independent.
fn channel_through(daemon: &Daemon, machine: &str, socket: &Path) {
    let was = daemon.virsh(&["dumpxml", "--inactive", machine]);
    let source = format!("<channel type='unix'><source mode='connect' path='{}'/>", socket.display());
    let now = was.replace("<channel type='unix'>", &source);
    assert_ne!(was, now, "it has an agent's channel");
    let file = daemon.folder.path().join("between.xml");
    std::fs::write(&file, now).expect("a file");
    daemon.virsh(&["define", file.to_str().expect("text")]);
}

/// QEMU connects when the machine starts, libvirt when the agent is up and after each restart.
async fn serve(listener: UnixListener, lies: Arc<Mutex<Option<Lies>>>) {
    let (mut qemu, _) = listener.accept().await.expect("QEMU connects");
    while let Ok((libvirt, _)) = listener.accept().await {
        // libvirt reopens a broken connection.
        let _ = speak(libvirt, &mut qemu, &lies).await;
    }
}

/// One connection of libvirt, until it ends.
async fn speak(libvirt: UnixStream, qemu: &mut UnixStream, lies: &Mutex<Option<Lies>>) -> io::Result<()> {
    let (questions, mut answers) = libvirt.into_split();
    let mut questions = BufReader::new(questions).lines();
    let mut told = vec![0; 64 << 10];
    loop {
        let lies = || lies.lock().expect("not poisoned").clone();
        tokio::select! {
            count = qemu.read(&mut told) => {
                let told = &told[..count?];
                if told.is_empty() {
                    return Ok(());
                }
                if lies().is_none() {
                    answers.write_all(told).await?;
                }
            }
            question = questions.next_line() => {
                let Some(question) = question? else { return Ok(()) };
                match lies() {
                    None => qemu.write_all(format!("{question}\n").as_bytes()).await?,
                    Some(lies) => answers.write_all(&greeting(&question).unwrap_or_else(|| lies(&question))).await?,
                }
            }
        }
    }
}

/// The response to libvirt's `guest-sync`, which marks the start of responses.
fn greeting(question: &str) -> Option<Vec<u8>> {
    let question: Value = serde_json::from_str(question).ok()?;
    (question["execute"] == "guest-sync")
        .then(|| format!("{}\n", json!({ "return": question["arguments"]["id"] })).into_bytes())
}
