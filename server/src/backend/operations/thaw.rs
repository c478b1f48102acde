//! Thawing a guest also ends its pending freeze.

use async_trait::async_trait;
use model::{
    Fault,
    command::{ThawFileSystems, Verb},
};

use super::{Operation, freeze};
use crate::{backend::Backend, tasks::Record};

/// `thawFileSystems`.
pub(super) struct Thaw;

#[async_trait]
impl Operation for Thaw {
    fn kind(&self) -> &'static str {
        ThawFileSystems::ABOUT.kind
    }

    async fn go_on(&self, backend: &Backend, record: &Record) -> Result<(), Fault> {
        if let Some(target) = record.target() {
            freeze::end(backend, &target);
        }
        Ok(())
    }
}
