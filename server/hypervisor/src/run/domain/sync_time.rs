//! `virDomainSetTime`.

use std::time::{SystemTime, UNIX_EPOCH};

use model::command::SyncTime;
use virt::domain::Domain;

use crate::{error::Error, ffi, run::Run};

impl Run<&Domain> for SyncTime {
    fn run(&self, domain: &Domain) -> Result<(), Error> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let _limit = ffi::limit_agent(domain);
        domain.set_time(i64::try_from(now.as_secs()).unwrap_or_default(), now.subsec_nanos() as i32, 0)?;
        Ok(())
    }
}
