//! Consoles over WebSocket (RFC 6455): a ticket, sent as one of the protocols so that it is in no
//! URL, and then bytes. Text messages are ours: viewers, and why it ended; those of a browser are
//! automatic replies of its terminal.

use std::time::{Duration, Instant};

use axum::{
    Extension, Json,
    extract::{
        rejection::JsonRejection,
        ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade},
    },
    http::{HeaderMap, StatusCode, header},
    response::Response,
};
use futures_util::StreamExt;
use model::{DomainRef, Fault, FaultKind, HostId, Origin};
use serde::Deserialize;
use serde_json::json;
use tokio::{
    sync::mpsc::error::SendTimeoutError,
    time::{MissedTickBehavior, interval},
};
use uuid::Uuid;

use super::{Failed, answers::Ticket, api::unreadable, authorize::Admitted};
use crate::{
    auth::By,
    backend::console::{Attached, Place},
    visibility::Sight,
};

/// The protocol; the ticket follows it in the list of the browser.
const PROTOCOL: &str = "belvedere.console";
/// The prefix of a ticket in the list.
const TICKET: &str = "ticket.";
/// Maximum message size of a browser: pasted text.
const MAX_MESSAGE: usize = 256 * 1024;
/// Interval of checks of permissions and of the connection.
const LOOK: Duration = Duration::from_secs(5);
/// A browser that answers no ping for this time is gone.
const SILENT: Duration = Duration::from_secs(30);
/// Close codes (RFC 6455, 7.4.2): the console ended, and access was revoked.
const ENDED: u16 = 4000;
const SENT_AWAY: u16 = 4001;

/// Which console is meant.
#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConsoleRequest {
    /// The host that has the machine.
    host: HostId,
    /// The machine.
    target: Uuid,
    /// `screen`, or the name of a serial line such as `serial0`.
    console: String,
}

/// `POST /api/v1/consoles`: a ticket.
pub(crate) async fn ticket(
    Extension(sight): Extension<Sight>,
    Extension(admitted): Extension<Admitted>,
    wish: Result<Json<ConsoleRequest>, JsonRejection>,
) -> Result<(StatusCode, Json<Ticket>), Failed> {
    let Json(ConsoleRequest { host, target, console }) = wish.map_err(unreadable)?;
    let id = DomainRef { host, id: target };
    sight.machine(&id)?;
    let (_, console) = sight.backend.console(&id, &console)?;
    let ticket = sight.backend.consoles.ticket(admitted.holder(), (id, console))?;
    Ok((StatusCode::CREATED, Json(Ticket { protocols: [PROTOCOL.to_owned(), format!("{TICKET}{ticket}")] })))
}

/// `GET /api/v1/consoles`: opens the console of a ticket.
pub(crate) async fn open(
    Extension(sight): Extension<Sight>,
    Extension(admitted): Extension<Admitted>,
    Extension(origin): Extension<Origin>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Result<Response, Failed> {
    let offered = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    let ticket = offered.flat_map(|value| value.split(',')).find_map(|word| word.trim().strip_prefix(TICKET));
    let ticket = ticket.ok_or_else(|| Fault::invalid("Sec-WebSocket-Protocol", "a ticket is missing"))?;
    let place = sight.backend.consoles.redeem(ticket, &admitted.holder())?;
    let upgrade = upgrade.protocols([PROTOCOL]).max_message_size(MAX_MESSAGE).max_frame_size(MAX_MESSAGE);
    Ok(upgrade.on_upgrade(async move |mut socket| {
        let end = match sight.backend.attach(place.clone(), &origin).await {
            Ok(attached) => carry(&mut socket, attached, (&sight, &admitted), &place).await,
            Err(fault) => Some((ENDED, fault)),
        };
        // A browser cannot read why an upgrade failed, so every end is reported here.
        if let Some((code, fault)) = end {
            let said = json!({ "ended": fault.sentence(), "fault": fault.kind }).to_string();
            socket.send(Message::text(said)).await.ok();
            socket.send(Message::Close(Some(CloseFrame { code, reason: "".into() }))).await.ok();
        }
    }))
}

/// Transfers bytes until one side ends; returns the cause, unless it was the browser.
async fn carry(
    socket: &mut WebSocket,
    mut attached: Attached,
    (sight, admitted): (&Sight, &Admitted),
    place: &Place,
) -> Option<(u16, Fault)> {
    let (mut look, mut heard, mut by) = (interval(LOOK), Instant::now(), By::Page);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    attached.watchers.mark_changed();
    if !attached.recent.is_empty() {
        socket.send(Message::Binary(std::mem::take(&mut attached.recent))).await.ok()?;
    }
    // Replies of the terminal to earlier output are no longer expected.
    socket.send(Message::text(json!({ "live": true }).to_string())).await.ok()?;
    loop {
        tokio::select! {
            part = attached.shown.next() => match part {
                Some(part) => socket.send(Message::Binary(part)).await.ok()?,
                None => return Some((ENDED, why_ended(sight, place))),
            },
            message = socket.recv() => {
                heard = Instant::now();
                let part = match message?.ok()? {
                    Message::Binary(part) => {
                        attached.types();
                        by = By::Person;
                        part
                    }
                    Message::Text(answer) if attached.answers() => answer.into(),
                    Message::Text(_) => continue,
                    Message::Close(_) => return None,
                    Message::Ping(_) | Message::Pong(_) => continue,
                };
                match attached.typed.send_timeout(part, LOOK).await {
                    Ok(()) => {}
                    Err(SendTimeoutError::Closed(_)) => return Some((ENDED, why_ended(sight, place))),
                    Err(SendTimeoutError::Timeout(_)) => {
                        let reason = format!("{} does not accept input", place.1.label());
                        let fault = Fault::new(FaultKind::TimedOut, reason);
                        return Some((ENDED, fault.with_next("Check whether the machine hangs")));
                    }
                }
            }
            changed = attached.watchers.changed() => {
                changed.ok()?;
                let names = attached.watchers.borrow_and_update().clone();
                socket.send(Message::text(json!({ "watching": names }).to_string())).await.ok()?;
            }
            _ = look.tick() => {
                if heard.elapsed() > SILENT {
                    return None;
                }
                // A typing user is active.
                if !admitted.still(std::mem::replace(&mut by, By::Page)).await || sight.machine(&place.0).is_err() {
                    let fault = Fault::new(FaultKind::SignedOut, "You no longer have access to this console");
                    return Some((SENT_AWAY, fault.with_next("Sign in again")));
                }
                if let Err(fault) = sight.backend.console(&place.0, &place.1.name) {
                    return Some((ENDED, fault));
                }
                socket.send(Message::Ping("".into())).await.ok()?;
            }
        }
    }
}

/// Why a console ended, as far as known.
fn why_ended(sight: &Sight, (id, console): &Place) -> Fault {
    match sight.backend.console(id, &console.name) {
        Ok((domain, _)) => Fault::denied(format!("{} of {} was closed by its host", console.label(), domain.name)),
        Err(fault) => fault,
    }
}
