//! How far the content of volumes has come, so that an upload goes on after the server was
//! started again. It is beside the chain: nothing follows from it but where the next piece begins.

use model::{Fault, RequestId};
use rusqlite::OptionalExtension;

use super::Audit;

pub(super) const LAYOUT: &str = "
    CREATE TABLE IF NOT EXISTS uploads(request TEXT PRIMARY KEY, offset INTEGER NOT NULL, busy INTEGER NOT NULL) STRICT;
";

/// How far an upload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reached {
    /// Bytes that are written.
    pub(crate) offset: u64,
    /// What the host's processors had done before (`Hypervisor::busy`); it begins anew when the
    /// host does.
    pub(crate) busy: u64,
}

impl Audit {
    /// Notes how far an upload is.
    ///
    /// # Errors
    /// `InsufficientStorage` when the file cannot be written.
    pub(crate) async fn upload_reached(&self, id: RequestId, reached: Reached) -> Result<(), Fault> {
        let row = (id.to_string(), reached.offset, reached.busy);
        let query = "INSERT INTO uploads(request, offset, busy) VALUES(?1, ?2, ?3)
            ON CONFLICT(request) DO UPDATE SET offset = ?2, busy = ?3";
        self.writer.write(move |transaction| transaction.prepare_cached(query)?.execute(row.clone()).map(drop)).await
    }

    /// How far an upload was; none when its volume was never made, or it has ended.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) async fn upload(&self, id: RequestId) -> Result<Option<Reached>, Fault> {
        let query = "SELECT offset, busy FROM uploads WHERE request = ?";
        let read = move |connection: &rusqlite::Connection| {
            let row = |row: &rusqlite::Row<'_>| Ok(Reached { offset: row.get(0)?, busy: row.get(1)? });
            connection.query_row(query, [id.to_string()], row).optional()
        };
        self.reader.ask(read).await
    }

    /// Forgets an upload that has ended.
    ///
    /// # Errors
    /// `InsufficientStorage` when the file cannot be written.
    pub(crate) async fn upload_ended(&self, id: RequestId) -> Result<(), Fault> {
        let query = "DELETE FROM uploads WHERE request = ?";
        self.writer.write(move |transaction| transaction.execute(query, [id.to_string()]).map(drop)).await
    }
}
