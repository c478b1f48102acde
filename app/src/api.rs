//! What the browser reads in addition to the stream. On the server the same data is read before the
//! page is rendered.

#[cfg(feature = "hydrate")]
use model::{Fault, FaultKind};

#[cfg(feature = "hydrate")]
use crate::refresh::{Patience, Refresh, RefreshStep};

/// The fault of a request without a response.
#[cfg(feature = "hydrate")]
pub(crate) fn no_answer() -> Fault {
    Fault::new(FaultKind::Unreachable, "The Belvedere server does not respond")
        .with_next("Try again when the page is live")
}

/// Decodes a response of the server.
#[cfg(feature = "hydrate")]
pub(crate) async fn answered<T: serde::de::DeserializeOwned>(answer: gloo_net::http::Response) -> Result<T, Fault> {
    let ok = answer.ok();
    let text = answer.text().await.map_err(|_| no_answer())?;
    if ok { model::read::read(&text).map_err(|_| no_answer()) } else { Err(fault(&text)) }
}

/// Decodes the fault in an error response.
#[cfg(feature = "hydrate")]
pub(crate) fn fault(text: &str) -> Fault {
    model::read::read(text).unwrap_or_else(|_| no_answer())
}

/// Runs a `Refresh` in the browser: keeps its timers and reads when due.
#[cfg(feature = "hydrate")]
pub(crate) struct Refresher {
    refresh: std::cell::RefCell<Refresh>,
    /// Reads; returns whether there was a response, or `None` when the result is no longer needed.
    read: Box<dyn Fn() -> LocalBoxFuture<Option<bool>>>,
}

#[cfg(feature = "hydrate")]
type LocalBoxFuture<T> = std::pin::Pin<Box<dyn Future<Output = T>>>;

#[cfg(feature = "hydrate")]
impl Refresher {
    /// A refresher with this read function.
    pub(crate) fn new<F: Future<Output = Option<bool>> + 'static>(
        patience: Patience,
        read: impl Fn() -> F + 'static,
    ) -> std::rc::Rc<Self> {
        let refresh = std::cell::RefCell::new(Refresh::new(patience));
        std::rc::Rc::new(Self { refresh, read: Box::new(move || Box::pin(read())) })
    }

    /// Reports an event that may have changed what is read.
    pub(crate) fn event(self: &std::rc::Rc<Self>) {
        self.step(&Refresh::event);
    }

    fn step(self: &std::rc::Rc<Self>, decide: &dyn Fn(&mut Refresh, f64) -> RefreshStep) {
        let step = decide(&mut self.refresh.borrow_mut(), js_sys::Date::now());
        let this = self.clone();
        match step {
            RefreshStep::Rest => {}
            RefreshStep::Wait(pause) => {
                gloo_timers::callback::Timeout::new(pause as u32, move || this.step(&Refresh::tick)).forget();
            }
            RefreshStep::Read => leptos::task::spawn_local(async move {
                if let Some(answered) = (this.read)().await {
                    this.step(&|refresh, now| refresh.read(now, answered));
                }
            }),
        }
    }
}
