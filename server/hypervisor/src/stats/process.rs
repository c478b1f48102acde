//! Process data of QEMU from the local kernel (proc(5)). It costs some microseconds per machine and
//! queries neither libvirt nor QEMU.

use std::{
    collections::{HashMap, HashSet},
    fs,
};

use uuid::Uuid;

/// Kernel ticks per second, the same on every Linux (`USER_HZ`).
const TICKS: u64 = 100;
/// Sweeps until a machine that was not found is searched again.
const LOOK_AGAIN: u32 = 15;

/// The process of each machine.
#[derive(Debug, Default)]
pub(super) struct Processes {
    known: HashMap<Uuid, u32>,
    /// Machines that were not found.
    missing: HashSet<Uuid>,
    /// Sweeps since the last scan of all processes.
    looked: u32,
}

/// The usage of one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Used {
    /// CPU time of all its threads, in nanoseconds.
    pub(super) cpu_ns: u64,
    /// Its RSS in MiB.
    pub(super) resident_mb: u64,
    /// Bytes read from and written to disks; none if not readable.
    pub(super) disk: Option<(u64, u64)>,
}

impl Processes {
    /// Finds the processes of new machines, and drops those that ended. One that was not found is
    /// searched again from time to time.
    pub(super) fn follow<T>(&mut self, running: &HashMap<Uuid, T>) {
        self.known.retain(|id, _| running.contains_key(id));
        self.missing.retain(|id| running.contains_key(id));
        self.looked = self.looked.saturating_add(1);
        let fresh = running.keys().any(|id| !self.known.contains_key(id) && !self.missing.contains(id));
        if fresh || !self.missing.is_empty() && self.looked >= LOOK_AGAIN {
            self.look();
            self.missing = running.keys().filter(|id| !self.known.contains_key(id)).copied().collect();
        }
    }

    /// Scans all processes. libvirt passes the UUID to QEMU as an argument.
    fn look(&mut self) {
        self.looked = 0;
        let Ok(all) = fs::read_dir("/proc") else { return };
        for pid in all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok()) {
            // The name is cheap to read and excludes nearly all processes.
            let qemu = fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.starts_with("qemu"));
            if let Some(id) =
                qemu.then(|| fs::read(format!("/proc/{pid}/cmdline")).ok()).flatten().and_then(|line| uuid_of(&line))
            {
                self.known.insert(id, pid);
            }
        }
    }

    /// The usage of a machine's process; none if not found.
    pub(super) fn used(&mut self, id: Uuid) -> Option<Used> {
        let pid = *self.known.get(&id)?;
        let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).ok();
        let used = read("stat").zip(read("status")).and_then(|(stat, status)| {
            Some(Used {
                cpu_ns: cpu_ns(&stat)?,
                resident_mb: resident_mb(&status)?,
                disk: read("io").and_then(|io| disk(&io)),
            })
        });
        if used.is_none() {
            // It ended; its successor is searched in the next sweep.
            self.known.remove(&id);
        }
        used
    }
}

/// The UUID in the arguments of a process.
fn uuid_of(line: &[u8]) -> Option<Uuid> {
    let mut arguments = line.split(|byte| *byte == 0);
    arguments.find(|argument| *argument == b"-uuid")?;
    std::str::from_utf8(arguments.next()?).ok()?.parse().ok()
}

/// User and system time of all threads (fields 14 and 15; the name may contain anything).
fn cpu_ns(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let (user, system): (u64, u64) = (fields.nth(11)?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((user + system) * (1_000_000_000 / TICKS))
}

fn resident_mb(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? / 1_024)
}

fn disk(io: &str) -> Option<(u64, u64)> {
    let field = |name: &str| io.lines().find_map(|line| line.strip_prefix(name))?.trim().parse().ok();
    Some((field("read_bytes:")?, field("write_bytes:")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_understood() {
        let stat = "17 (qemu) a b) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0";
        assert_eq!(cpu_ns(stat), Some(3_000_000_000));
        assert_eq!(resident_mb("Name:\tqemu\nVmRSS:\t  20480 kB\n"), Some(20));
        assert_eq!(disk("rchar: 9\nread_bytes: 12\nwrite_bytes: 34\n"), Some((12, 34)));
        let id = "9d5815f3-0942-43f7-bd25-8c0cb4800b49";
        assert_eq!(uuid_of(format!("qemu\0-uuid\0{id}\0-m\01").as_bytes()), id.parse().ok());
        assert_eq!([uuid_of(b"qemu\0-uuid\0"), uuid_of(b"qemu\0-uuid\0x\0")], [None, None]);
        assert_eq!([cpu_ns("nonsense"), resident_mb("").map(|_| 0), disk("").map(|_| 0)], [None; 3]);
    }

    #[test]
    fn a_process_that_is_not_there_is_not_found() {
        let mut processes = Processes::default();
        processes.follow(&[(Uuid::nil(), ())].into());
        assert_eq!(processes.used(Uuid::nil()), None);
    }
}
