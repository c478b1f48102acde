//! The progress of uploads, so that they resume after a restart of the server. It is not part of
//! the chain: it determines only where the next chunk starts.

use model::{Fault, RequestId};
use rusqlite::OptionalExtension;

use super::Audit;

pub(super) const LAYOUT: &str = "
    CREATE TABLE IF NOT EXISTS uploads(request TEXT PRIMARY KEY, offset INTEGER NOT NULL, busy INTEGER NOT NULL) STRICT;
";

/// The progress of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reached {
    /// Bytes written.
    pub(crate) offset: u64,
    /// The host's CPU time before the last chunk (`Hypervisor::busy`); it is reset by a reboot.
    pub(crate) busy: u64,
}

impl Audit {
    /// Stores the progress of an upload.
    ///
    /// # Errors
    /// `InsufficientStorage` if the file cannot be written.
    pub(crate) async fn upload_reached(&self, id: RequestId, reached: Reached) -> Result<(), Fault> {
        let row = (id.to_string(), reached.offset, reached.busy);
        let query = "INSERT INTO uploads(request, offset, busy) VALUES(?1, ?2, ?3)
            ON CONFLICT(request) DO UPDATE SET offset = ?2, busy = ?3";
        self.writer.write(move |transaction| transaction.prepare_cached(query)?.execute(row.clone()).map(drop)).await
    }

    /// The progress of an upload; none if its volume was not created, or it has ended.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(crate) async fn upload(&self, id: RequestId) -> Result<Option<Reached>, Fault> {
        let query = "SELECT offset, busy FROM uploads WHERE request = ?";
        let read = move |connection: &rusqlite::Connection| {
            let row = |row: &rusqlite::Row<'_>| Ok(Reached { offset: row.get(0)?, busy: row.get(1)? });
            connection.query_row(query, [id.to_string()], row).optional()
        };
        self.reader.ask(read).await
    }

    /// Removes an upload that has ended.
    ///
    /// # Errors
    /// `InsufficientStorage` if the file cannot be written.
    pub(crate) async fn upload_ended(&self, id: RequestId) -> Result<(), Fault> {
        let query = "DELETE FROM uploads WHERE request = ?";
        self.writer.write(move |transaction| transaction.execute(query, [id.to_string()]).map(drop)).await
    }
}
