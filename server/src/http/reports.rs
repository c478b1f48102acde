//! Error reports of browsers, for the server's log.
//!
//! Reports are untrusted, so they are short, without line breaks, and limited in number.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use axum::{Extension, Json, extract::rejection::JsonRejection, http::StatusCode};
use model::{Fault, FaultKind, Origin};
use serde::Deserialize;

use super::Failed;

/// Maximum reports per period, from all browsers.
const MOST: u32 = 60;
/// The period.
const PERIOD: Duration = Duration::from_secs(60);
/// Maximum characters of a text.
const LONGEST: usize = 2_000;

/// The report counter.
#[derive(Debug)]
pub(crate) struct Reports(Mutex<(Instant, u32)>);

impl Default for Reports {
    fn default() -> Self {
        Self(Mutex::new((Instant::now(), 0)))
    }
}

impl Reports {
    /// Whether another one is accepted.
    fn take(&self) -> bool {
        let mut count = self.0.lock();
        if count.0.elapsed() > PERIOD {
            *count = (Instant::now(), 0);
        }
        count.1 += 1;
        count.1 <= MOST
    }
}

/// One report.
#[derive(Deserialize, schemars::JsonSchema)]
pub(crate) struct Report {
    /// What kind of error, such as `panic`.
    kind: String,
    /// What the browser said.
    text: String,
    /// The address of the page.
    #[serde(default)]
    page: String,
    /// The browser's session, as it names itself.
    #[serde(default)]
    session: Option<String>,
}

/// `POST /api/v1/reports`
pub(crate) async fn report(
    Extension(reports): Extension<Arc<Reports>>,
    Extension(origin): Extension<Origin>,
    report: Result<Json<Report>, JsonRejection>,
) -> Result<StatusCode, Failed> {
    let Json(report) = report.map_err(|_| Fault::invalid("body", "must have a kind and a text"))?;
    if !reports.take() {
        return Err(Fault::new(FaultKind::TooMany, "Too many reports").with_next("Check the server's log").into());
    }
    tracing::warn!(
        kind = plain(&report.kind),
        page = plain(&report.page),
        session = plain(report.session.as_deref().unwrap_or("-")),
        address = origin.address.as_deref().unwrap_or("-"),
        text = plain(&report.text),
        "browser report"
    );
    Ok(StatusCode::NO_CONTENT)
}

/// A text that cannot forge a line of the log.
fn plain(text: &str) -> String {
    text.chars().take(LONGEST).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_reports_is_cut_off_and_none_can_forge_a_line() {
        let reports = Reports::default();
        assert_eq!((0..200).filter(|_| reports.take()).count(), 60);
        assert_eq!(plain("a\nINFO b\u{1b}[31m"), "a INFO b [31m");
        assert_eq!(plain(&"x".repeat(9_000)).len(), LONGEST);
    }
}
