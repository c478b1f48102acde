//! Usage of machines in the last year, in three bucket widths, each with a fixed number of buckets:
//! a new bucket replaces the oldest, so the file does not grow with time. Each minute is added to
//! all three.

use std::path::Path;

use model::{
    DomainRef, Fault,
    stats::{Bucket, SERIES, Summary},
};
use rusqlite::{Connection, OptionalExtension, Transaction};

use super::{
    storage,
    worker::{self, Reader, Writer},
};
use crate::usage_history::Minute;

const LAYOUT: &str = "
    CREATE TABLE IF NOT EXISTS machines(
        id INTEGER PRIMARY KEY,
        host TEXT NOT NULL,
        uuid TEXT NOT NULL,
        UNIQUE(host, uuid)
    ) STRICT;
    CREATE TABLE IF NOT EXISTS usage(
        machine INTEGER NOT NULL,
        width INTEGER NOT NULL,
        place INTEGER NOT NULL,
        at INTEGER NOT NULL,
        data BLOB NOT NULL,
        PRIMARY KEY(machine, width, place)
    ) STRICT, WITHOUT ROWID;
";

/// Widths in milliseconds and numbers of buckets: a day of minutes, two weeks of ten minutes, a
/// year of hours.
pub(crate) const WIDTHS: [(u64, u64); 3] = [(60_000, 1_440), (600_000, 2_016), (3_600_000, 8_760)];
/// Bytes per series: count, minimum, sum, maximum.
const ONE: usize = 20;

/// The usage file.
pub(crate) struct UsageFile {
    writer: Writer,
    reader: Reader,
}

impl UsageFile {
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let connection = storage::open(path, LAYOUT, false)?;
        let (writer, reader) = worker::start("usage", connection, path, false, || Ok(()))?;
        Ok(Self { writer, reader })
    }

    /// Adds minutes to all widths.
    ///
    /// # Errors
    /// `InsufficientStorage` if the file cannot be written.
    pub(crate) async fn add(&self, minutes: Vec<Minute>) -> Result<(), Fault> {
        self.writer.write(move |transaction| minutes.iter().try_for_each(|minute| add(transaction, minute))).await
    }

    /// Removes expired buckets, and machines without data.
    ///
    /// # Errors
    /// `InsufficientStorage` if the file cannot be written.
    pub(crate) async fn forget(&self, now: u64) -> Result<(), Fault> {
        self.writer.write(move |transaction| forget(transaction, now)).await
    }

    /// The buckets of one width between two times, the oldest first.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(crate) async fn read(
        &self,
        id: DomainRef,
        width: u64,
        from: u64,
        to: u64,
    ) -> Result<Vec<(u64, Bucket)>, Fault> {
        self.reader.ask(move |connection| read(connection, &id, width, from, to)).await
    }
}

fn add(transaction: &Transaction<'_>, minute: &Minute) -> rusqlite::Result<()> {
    let (host, uuid) = (minute.id.host.as_str(), minute.id.id.to_string());
    transaction
        .prepare_cached("INSERT INTO machines(host, uuid) VALUES(?, ?) ON CONFLICT DO NOTHING")?
        .execute((host, &uuid))?;
    let machine: i64 = transaction
        .prepare_cached("SELECT id FROM machines WHERE host = ? AND uuid = ?")?
        .query_row((host, &uuid), |row| row.get(0))?;
    for (width, kept) in WIDTHS {
        let (at, place) = (minute.at - minute.at % width, minute.at / width % kept);
        let query = "SELECT data FROM usage WHERE machine = ? AND width = ? AND place = ? AND at = ?";
        let known: Option<Vec<u8>> =
            transaction.prepare_cached(query)?.query_row((machine, width, place, at), |row| row.get(0)).optional()?;
        let mut bucket = known.and_then(|data| unpack(&data)).unwrap_or_default();
        bucket.merge(&minute.bucket);
        transaction
            .prepare_cached("INSERT OR REPLACE INTO usage(machine, width, place, at, data) VALUES(?, ?, ?, ?, ?)")?
            .execute((machine, width, place, at, pack(&bucket)))?;
    }
    Ok(())
}

fn forget(transaction: &Transaction<'_>, now: u64) -> rusqlite::Result<()> {
    for (width, kept) in WIDTHS {
        let before = now.saturating_sub(width * kept);
        transaction.execute("DELETE FROM usage WHERE width = ? AND at < ?", (width, before))?;
    }
    transaction.execute("DELETE FROM machines WHERE id NOT IN (SELECT DISTINCT machine FROM usage)", ())?;
    Ok(())
}

fn read(
    connection: &Connection,
    id: &DomainRef,
    width: u64,
    from: u64,
    to: u64,
) -> rusqlite::Result<Vec<(u64, Bucket)>> {
    let query = "SELECT at, data FROM usage JOIN machines ON machines.id = machine
        WHERE host = ? AND uuid = ? AND width = ? AND at BETWEEN ? AND ? ORDER BY at";
    let (from, to) = (from.min(i64::MAX as u64), to.min(i64::MAX as u64));
    let mut statement = connection.prepare_cached(query)?;
    let rows = statement.query_map((id.host.as_str(), id.id.to_string(), width, from, to), |row| {
        Ok((row.get::<_, u64>(0)?, row.get::<_, Vec<u8>>(1)?))
    })?;
    let mut spans = Vec::new();
    for row in rows {
        let (at, data) = row?;
        spans.extend(unpack(&data).map(|bucket| (at, bucket)));
    }
    Ok(spans)
}

fn pack(bucket: &Bucket) -> Vec<u8> {
    let mut data = Vec::with_capacity(SERIES * ONE);
    for summary in &bucket.series {
        data.extend(summary.count.to_le_bytes());
        data.extend(summary.min.to_le_bytes());
        data.extend(summary.sum.to_le_bytes());
        data.extend(summary.max.to_le_bytes());
    }
    data
}

fn unpack(data: &[u8]) -> Option<Bucket> {
    let mut bucket = Bucket::default();
    let mut parts = data.chunks_exact(ONE);
    for summary in &mut bucket.series {
        let part = parts.next()?;
        *summary = Summary {
            count: u32::from_le_bytes(part[0..4].try_into().ok()?),
            min: f32::from_le_bytes(part[4..8].try_into().ok()?),
            sum: f64::from_le_bytes(part[8..16].try_into().ok()?),
            max: f32::from_le_bytes(part[16..20].try_into().ok()?),
        };
    }
    Some(bucket)
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;
    use uuid::Uuid;

    use super::*;

    const DAY: u64 = 24 * 3_600_000;

    fn machine() -> DomainRef {
        DomainRef { host: "atlas".parse().expect("a name"), id: Uuid::from_u128(1) }
    }

    fn minute(at: u64, cpu: f32) -> Minute {
        let mut bucket = Bucket::default();
        bucket.add(&[Some(cpu), None, Some(0.0), Some(1.0), Some(f32::MAX), None]);
        Minute { id: machine(), at, bucket }
    }

    #[tokio::test]
    async fn a_minute_counts_in_every_width_and_a_restart_in_the_middle_loses_nothing() {
        let folder = TempDir::new().expect("a folder");
        let path = folder.path().join("usage.db");
        let file = UsageFile::open(&path).expect("opens");
        file.add((0..5).map(|n| minute(1_000 * DAY + n * 60_000, n as f32)).collect()).await.expect("written");
        drop(file);
        let file = UsageFile::open(&path).expect("opens");
        file.add((5..10).map(|n| minute(1_000 * DAY + n * 60_000, n as f32)).collect()).await.expect("written");
        let all = async |width| file.read(machine(), width, 0, u64::MAX).await.expect("read");
        assert_eq!(all(60_000).await.len(), 10);
        for width in [600_000, 3_600_000] {
            let spans = all(width).await;
            let cpu = spans[0].1.series[0];
            assert_eq!((spans.len(), cpu.count, cpu.min, cpu.avg(), cpu.max), (1, 10, 0.0, 4.5, 9.0), "{width}");
            assert_eq!((spans[0].1.series[1].count, spans[0].1.series[4].max), (0, f32::MAX));
        }
    }

    /// A machine that is busy by day, less so at weekends, and was off for two days in spring.
    fn of_a_year(id: &DomainRef, begin: u64, n: u64) -> Option<Minute> {
        let (at, day) = (begin + n * 600_000, n / 144);
        if (120..122).contains(&day) {
            return None;
        }
        let hour = (n % 144) as f32 / 6.0;
        let busy = (1.0 - ((hour - 14.0) / 12.0 * std::f32::consts::PI).cos().abs()) * 20.0
            + (((hour - 2.0) / 24.0 * std::f32::consts::TAU).sin() + 1.0) * if day % 7 < 5 { 35.0 } else { 10.0 };
        let noise = (n.wrapping_mul(2_654_435_761) >> 7) % 100;
        let cpu = (busy + noise as f32 / 5.0).clamp(0.0, 100.0);
        let memory = 900.0 + day as f32 * 2.0 + noise as f32;
        let flow = cpu * 40_000.0;
        let mut bucket = Bucket::default();
        for part in [0.6, 1.0, 1.3] {
            let scaled = |amount: f32| Some(amount * part);
            bucket.add(&[
                scaled(cpu).map(|cpu| cpu.min(100.0)),
                Some(memory),
                scaled(flow),
                scaled(flow / 3.0),
                scaled(flow * 2.0),
                scaled(flow / 2.0),
            ]);
        }
        Some(Minute { id: id.clone(), at, bucket })
    }

    /// `BELVEDERE_YEAR=DIR,HOST/UUID` writes a year up to now to that directory, for inspection.
    #[tokio::test]
    async fn a_second_year_takes_no_more_room_than_the_first_one() {
        let folder = TempDir::new().expect("a folder");
        let kept = std::env::var("BELVEDERE_YEAR").ok();
        let (folder, id) = match kept.as_deref().and_then(|kept| kept.split_once(',')) {
            Some((folder, id)) => (folder.into(), id.parse().expect("host/uuid")),
            None => (folder.path().to_owned(), machine()),
        };
        let (path, now) = (folder.join("usage.db"), crate::tasks::now() / 3_600_000 * 3_600_000);
        let file = UsageFile::open(&path).expect("opens");
        let year = 365 * 144;
        let begin = now - 2 * year * 600_000;
        let mut sizes = Vec::new();
        for from in [0, year] {
            for some in (from..from + year).collect::<Vec<_>>().chunks(10_000) {
                let minutes = some
                    .iter()
                    .filter_map(|n| of_a_year(&id, if from == 0 { begin } else { begin + year * 600_000 }, n - from));
                file.add(minutes.collect()).await.expect("written");
            }
            file.forget(begin + (from + year) * 600_000).await.expect("written");
            sizes.push(
                file.reader
                    .ask(|connection| {
                        connection.query_row("SELECT page_count FROM pragma_page_count", (), |row| row.get::<_, u64>(0))
                    })
                    .await
                    .expect("read"),
            );
        }
        assert!(sizes[1] <= sizes[0] + sizes[0] / 10, "pages after one year and after two: {sizes:?}");
        let hours = file.read(id, 3_600_000, now - 365 * DAY, now).await.expect("read");
        assert_eq!(hours.len(), 363 * 24, "two days are a gap, and no hour is missing beside it");
        let missing = hours.windows(2).filter(|two| two[1].0 - two[0].0 > 3_600_000);
        assert_eq!(missing.map(|two| two[1].0 - two[0].0).collect::<Vec<_>>(), [2 * DAY + 3_600_000]);
        for (_, bucket) in hours {
            let cpu = bucket.series[0];
            assert!(cpu.count == 18 && cpu.min <= cpu.avg() && cpu.avg() <= cpu.max && cpu.max <= 100.0, "{cpu:?}");
        }
    }

    #[tokio::test]
    async fn the_file_keeps_as_much_as_it_should_and_no_more() {
        let folder = TempDir::new().expect("a folder");
        let file = UsageFile::open(&folder.path().join("usage.db")).expect("opens");
        let begin = 1_000 * DAY;
        // Three days of minutes: more than the minute buckets, and all wider ones.
        let minutes: Vec<Minute> = (0..3 * 1_440).map(|n| minute(begin + n * 60_000, 1.0)).collect();
        for some in minutes.chunks(1_440) {
            file.add(some.to_vec()).await.expect("written");
        }
        let count = async |width| file.read(machine(), width, 0, u64::MAX).await.expect("read").len();
        assert_eq!([count(60_000).await, count(600_000).await, count(3_600_000).await], [1_440, 432, 72]);
        let newest = file.read(machine(), 60_000, 0, u64::MAX).await.expect("read");
        assert_eq!((newest[0].0, newest[1_439].0), (begin + 2 * DAY, begin + 3 * DAY - 60_000));
        file.forget(begin + 20 * DAY).await.expect("written");
        assert_eq!([count(60_000).await, count(600_000).await, count(3_600_000).await], [0, 0, 72]);
        file.forget(begin + 400 * DAY).await.expect("written");
        assert_eq!(count(3_600_000).await, 0, "a machine that is gone ages out");
    }
}
