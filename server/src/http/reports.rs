//! What browsers report: panics and errors of our own page, for the server's log.
//!
//! Anybody may send anything, so a report is short, has no line breaks, and there
//! are few of them.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{Extension, Json, extract::rejection::JsonRejection, http::StatusCode};
use model::{Fault, FaultKind, Origin};
use serde::Deserialize;

use super::Failed;

/// Reports that are taken in one period, from all browsers together.
const MOST: u32 = 60;
/// The period.
const PERIOD: Duration = Duration::from_secs(60);
/// Characters of a text that are kept.
const LONGEST: usize = 2_000;

/// Counts reports.
#[derive(Debug)]
pub(crate) struct Reports(Mutex<(Instant, u32)>);

impl Default for Reports {
    fn default() -> Self {
        Self(Mutex::new((Instant::now(), 0)))
    }
}

impl Reports {
    /// Whether one more may be taken.
    fn take(&self) -> bool {
        let mut count = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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
    let Json(report) = report.map_err(|_| Fault::invalid("body", "a report has a kind and a text"))?;
    if !reports.take() {
        return Err(Fault::new(FaultKind::Busy, "There are too many reports")
            .with_next("Look at the server's log")
            .into());
    }
    tracing::warn!(
        kind = plain(&report.kind),
        page = plain(&report.page),
        session = plain(report.session.as_deref().unwrap_or("-")),
        address = origin.address.as_deref().unwrap_or("-"),
        text = plain(&report.text),
        "a browser reports"
    );
    Ok(StatusCode::NO_CONTENT)
}

/// A text that cannot pretend to be another line of the log.
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
