//! Suspends a machine to disk: a libvirt job with progress.

use async_trait::async_trait;
use model::command::{self, Verb};

use super::Operation;

/// `save`.
pub(super) struct Save;

#[async_trait]
impl Operation for Save {
    fn kind(&self) -> &'static str {
        command::Save::ABOUT.kind
    }

    fn is_job(&self) -> bool {
        true
    }
}
