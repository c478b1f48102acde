//! Images that are known to be raw, by host. It is not part of the chain: a guest's data must not
//! be treated as another format after a restart of the server.

use std::collections::{BTreeMap, BTreeSet};

use model::HostId;
use rusqlite::Connection;

use super::Audit;

pub(super) const LAYOUT: &str = "
    CREATE TABLE IF NOT EXISTS raw_images(host TEXT NOT NULL, image TEXT NOT NULL, PRIMARY KEY(host, image)) STRICT, WITHOUT ROWID;
";

/// All known raw images, by host.
pub(super) type RawImages = BTreeMap<String, BTreeSet<String>>;

pub(super) fn read(connection: &Connection) -> rusqlite::Result<RawImages> {
    let mut all = RawImages::new();
    let mut query = connection.prepare("SELECT host, image FROM raw_images")?;
    let rows = query.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
    for row in rows {
        let (host, image) = row?;
        all.entry(host).or_default().insert(image);
    }
    Ok(all)
}

impl Audit {
    /// The known raw images of a host: paths, and volumes as `pool/volume`.
    pub(crate) fn raw_images(&self, host: &HostId) -> Vec<String> {
        let all = self.raw_images.lock();
        all.get(host.as_str()).into_iter().flatten().cloned().collect()
    }

    /// Stores or removes raw images of a host. The caller does not wait; write errors are reported
    /// elsewhere.
    pub(crate) fn note_raw_images(&self, host: &HostId, images: Vec<String>, raw: bool) {
        let host = host.to_string();
        {
            let mut all = self.raw_images.lock();
            let known = all.entry(host.clone()).or_default();
            for image in &images {
                if raw {
                    known.insert(image.clone())
                } else {
                    known.remove(image)
                };
            }
        }
        let query = match raw {
            true => "INSERT OR IGNORE INTO raw_images(host, image) VALUES(?1, ?2)",
            false => "DELETE FROM raw_images WHERE host = ?1 AND image = ?2",
        };
        self.writer.post(move |transaction| {
            let mut statement = transaction.prepare_cached(query)?;
            images.iter().try_for_each(|image| statement.execute((&host, image)).map(drop))
        });
    }
}
