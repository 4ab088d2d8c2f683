//! What this process used: processor time, bytes written, memory, disk.
//!
//! What the kernel does not tell is `None` (no /proc, or a file system that does not count), never zero.

use std::path::Path;

use rustix::time::{ClockId, clock_gettime};

/// Counters that only grow.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// Of all threads, those of C++ too.
    pub cpu_seconds: f64,
    /// Bytes for which a page was made dirty, or that went to the disk directly; without what was cut off or
    /// removed before it got there.
    pub disk_bytes: Option<u64>,
    /// Bytes given to calls like `write`. Stores to a map are not among them.
    pub call_bytes: Option<u64>,
}

impl Usage {
    pub fn now() -> Self {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        let io = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
        Self {
            cpu_seconds: cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9,
            disk_bytes: number(&io, "write_bytes:")
                .map(|n| n.saturating_sub(number(&io, "cancelled_write_bytes:").unwrap_or(0))),
            call_bytes: number(&io, "wchar:"),
        }
    }

    /// What was used since `before`.
    pub fn since(&self, before: &Self) -> Self {
        let less = |a: Option<u64>, b: Option<u64>| Some(a?.saturating_sub(b?));
        Self {
            cpu_seconds: self.cpu_seconds - before.cpu_seconds,
            disk_bytes: less(self.disk_bytes, before.disk_bytes),
            call_bytes: less(self.call_bytes, before.call_bytes),
        }
    }
}

/// Memory of this process in bytes: resident now, its peak, and the anonymous part of it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Memory {
    pub peak: Option<u64>,
    pub resident: Option<u64>,
    pub anonymous: Option<u64>,
}

impl Memory {
    pub fn now() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let bytes = |name| number(&status, name).map(|kib| kib * 1024);
        Self { peak: bytes("VmHWM:"), resident: bytes("VmRSS:"), anonymous: bytes("RssAnon:") }
    }

    /// Begins a new peak; where that is not allowed the old one goes on.
    pub fn reset_peak() {
        let _ = std::fs::write("/proc/self/clear_refs", "5");
    }
}

fn number(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    line[name.len()..].split_whitespace().next()?.parse().ok()
}

/// Bytes that the files below `dir` take on the disk: holes take none.
pub fn disk_bytes(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => disk_bytes(&entry.path()),
            Ok(meta) => meta.blocks() * 512,
            // An engine removes files while we look.
            Err(_) => 0,
        })
        .sum()
}
