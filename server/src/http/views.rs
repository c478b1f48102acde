//! The windows of the pages that share a stream: computed again every two seconds at most, and sent
//! when they have changed.
//!
//! What a page does with a changed window is decided by the page.

use std::{sync::Arc, time::Duration};

use app::window;
use axum::body::Bytes;
use model::window::{KIND, Window};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep_until},
};

use crate::{feed::Shown, visibility::Sight, windows::PACE};

/// Pages of one stream: the tabs of a browser share it.
const MOST: usize = 64;

/// The windows of the pages, each with the position it is of.
type Looked = Vec<(u64, Arc<Window>)>;

/// The pages of one stream.
pub(super) struct Views {
    sight: Sight,
    /// Their addresses.
    views: Arc<[String]>,
    /// Whether what they show depends on usage.
    by_usage: bool,
    /// The last window sent for each.
    told: Vec<Arc<Window>>,
    /// The machines that they may show.
    pub(super) shown: Shown,
    /// The position of the last look.
    seq: u64,
    /// The time of the next one.
    next: Instant,
    /// The running computation; it survives a cancelled call of `next`.
    work: Option<JoinHandle<Looked>>,
}

impl Views {
    /// The pages at these addresses, one a line, and the frames that begin their stream.
    pub(super) async fn begin(sight: &Sight, views: &str) -> (Self, Bytes) {
        let views: Arc<[String]> = views.lines().take(MOST).map(str::to_owned).collect();
        let mut all = Self {
            sight: sight.clone(),
            by_usage: views.iter().any(|view| window::follows_usage(view)),
            views,
            told: Vec::new(),
            shown: Shown::default(),
            seq: 0,
            next: Instant::now(),
            work: None,
        };
        let first = all.look(Duration::ZERO).await;
        (all, first)
    }

    /// The frames of changed windows, once there are any. Cancel-safe.
    pub(super) async fn next(&mut self) -> Bytes {
        loop {
            let frames = self.look(PACE).await;
            if !frames.is_empty() {
                return frames;
            }
        }
    }

    /// The frames of windows that changed since the last look, at the time of the next one.
    async fn look(&mut self, age: Duration) -> Bytes {
        if self.work.is_none() {
            sleep_until(self.next).await;
            self.next = Instant::now() + PACE;
            let seq = self.sight.backend.feed().cursor().seq;
            if seq == self.seq && !self.by_usage {
                return Bytes::new();
            }
            let (sight, views) = (self.sight.clone(), self.views.clone());
            self.work = Some(tokio::spawn(async move {
                let backend = sight.backend.clone();
                backend.windows.of_streams.run(move || windows(&sight, &views, age)).await.unwrap_or_default()
            }));
        }
        let Some(work) = &mut self.work else { return Bytes::new() };
        let windows = work.await.unwrap_or_default();
        self.work = None;
        // What is known of an earlier position only is looked at again.
        self.seq = windows.iter().map(|(seq, _)| *seq).min().unwrap_or(self.seq);
        self.tell(windows.into_iter().map(|(_, window)| window).collect())
    }

    /// The frames of windows that differ from the last ones sent.
    fn tell(&mut self, windows: Vec<Arc<Window>>) -> Bytes {
        let mut frames = String::new();
        let told = |at| self.told.get(at);
        if self.told != windows {
            let all = windows.iter().flat_map(|window| &window.machines);
            self.shown.add(all.map(|member| member.id.clone()));
        }
        for (_, window) in windows.iter().enumerate().filter(|(at, window)| told(*at) != Some(*window)) {
            let data = serde_json::to_string(&**window).expect("names are the only keys");
            frames.push_str(&format!("event: {KIND}\ndata: {data}\n\n"));
        }
        self.told = windows;
        frames.into()
    }
}

impl Drop for Views {
    fn drop(&mut self) {
        self.work.iter().for_each(JoinHandle::abort);
    }
}

/// The windows of these pages now.
fn windows(sight: &Sight, views: &[String], age: Duration) -> Looked {
    let seen = sight.seen();
    let of = |view: &String| {
        // Without many machines there is nothing to show in part, and the page reads everything.
        let none = || Window { view: view.clone(), ..Window::default() };
        sight.window(view, &seen, age).unwrap_or_else(|| (seen.snapshot.cursor.seq, none().into()))
    };
    views.iter().map(of).collect()
}
