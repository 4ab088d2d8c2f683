//! Tables and CSV of what a run gave.

use std::fmt::Write as _;

use crate::histogram::Histogram;
use crate::run::Phase;
use crate::workload::Workload;

const MIB: f64 = (1 << 20) as f64;

/// Least, middle and most of several figures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    pub min: f64,
    pub median: f64,
    pub max: f64,
}

impl Spread {
    /// `None` of nothing.
    pub fn of(figures: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = figures.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let median = match sorted.len() {
            0 => return None,
            n if n % 2 == 1 => sorted[middle],
            _ => (sorted[middle - 1] + sorted[middle]) / 2.0,
        };
        Some(Self { min: sorted[0], median, max: sorted[sorted.len() - 1] })
    }
}

/// A line of the tables: an engine with a number of threads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub engine: String,
    pub threads: u64,
    pub label: String,
}

/// The lines of `phases`, in the order of the run.
pub fn rows(phases: &[Phase]) -> Vec<Row> {
    let several = phases.iter().any(|p| p.threads != phases[0].threads);
    let mut rows: Vec<Row> = Vec::new();
    for phase in phases {
        let label =
            if several { format!("{} x{}", phase.engine, phase.threads) } else { phase.engine.clone() };
        let row = Row { engine: phase.engine.clone(), threads: phase.threads, label };
        if !rows.contains(&row) {
            rows.push(row);
        }
    }
    rows
}

/// The workloads of `phases`, in the order of the tables: LOAD, A to G.
pub fn workloads(phases: &[Phase]) -> Vec<Workload> {
    let mut workloads: Vec<Workload> = phases.iter().map(|p| p.workload).collect();
    workloads.sort_unstable();
    workloads.dedup();
    workloads
}

/// Spread of a figure over the repeats.
pub fn spread(
    phases: &[Phase],
    row: &Row,
    workload: Workload,
    figure: impl Fn(&Phase) -> f64,
) -> Option<Spread> {
    let of = phases
        .iter()
        .filter(|p| p.engine == row.engine && p.threads == row.threads && p.workload == workload);
    Spread::of(of.map(figure))
}

/// Thousands of operations a second, and the ratio of each of ours to each rival.
pub fn table(phases: &[Phase]) -> String {
    let (rows, workloads) = (rows(phases), workloads(phases));
    let mut out = String::from("kops/s, min/median/max\n");
    header(&mut out, &workloads, 20);
    for row in &rows {
        let _ = write!(out, "{:<20}", row.label);
        for workload in &workloads {
            let cell = spread(phases, row, *workload, Phase::kops)
                .map_or_else(String::new, |s| format!("{:.0}/{:.0}/{:.0}", s.min, s.median, s.max));
            let _ = write!(out, " {cell:>20}");
        }
        out.push('\n');
    }
    let is_ours = |row: &&Row| row.engine.starts_with("nokv");
    let is_rival = |row: &&Row| !is_ours(row) && !matches!(&*row.engine, "null" | "spin");
    let has_rivals = rows.iter().any(|row| is_rival(&row));
    for our in rows.iter().filter(is_ours) {
        // With nobody else there, indexes are compared.
        let others: Vec<&Row> = rows
            .iter()
            .filter(|row| {
                row.threads == our.threads
                    && if has_rivals { is_rival(row) } else { is_ours(row) && *row != our }
            })
            .collect();
        if !others.is_empty() {
            let _ = writeln!(out, "\nmedian of {} : median of", our.label);
            ratios(&mut out, phases, our, &others, &workloads);
        }
    }
    out
}

fn ratios(out: &mut String, phases: &[Phase], our: &Row, others: &[&Row], workloads: &[Workload]) {
    for other in others {
        let _ = write!(out, "{:<20}", other.label);
        for workload in workloads {
            let median = |row| spread(phases, row, *workload, Phase::kops).map(|s| s.median);
            let cell =
                median(our).zip(median(other)).map_or_else(String::new, |(a, b)| format!("{:.2}", a / b));
            let _ = write!(out, " {cell:>20}");
        }
        out.push('\n');
    }
}

fn header(out: &mut String, workloads: &[Workload], width: usize) {
    let _ = write!(out, "{:<20}", "");
    for workload in workloads {
        let _ = write!(out, " {:>width$}", workload.name());
    }
    out.push('\n');
}

/// Latency and what it took, medians over the repeats; `max` is the largest of all repeats.
pub fn details(phases: &[Phase]) -> String {
    let mut out = String::new();
    let rows = rows(phases);
    for workload in workloads(phases) {
        let _ = writeln!(
            out,
            "\n{:<4} {:<20} {:>6} {:>8} {:>8} {:>8} {:>8} {:>9}  {:>7} {:>8} {:>8} {:>7} {:>7} {:>8} {:>8}",
            workload.name(),
            "latency in us",
            "",
            "p50",
            "p95",
            "p99",
            "p99.9",
            "max",
            "cpu us",
            "+settled",
            "MiB out",
            "out/in",
            "disk/in",
            "peak MiB",
            "anon MiB",
        );
        for row in &rows {
            for (kind, of) in
                [("read", (|p: &Phase| &p.reads) as fn(&Phase) -> &Histogram), ("write", |p| &p.writes)]
            {
                let figure = |f: &dyn Fn(&Phase) -> f64| spread(phases, row, workload, f);
                let Some(count) = figure(&|p| of(p).count() as f64) else { continue };
                if count.max == 0.0 {
                    continue;
                }
                let us =
                    |share: f64| figure(&|p| of(p).quantile_ns(share) as f64 / 1e3).map_or(0.0, |s| s.median);
                let max = figure(&|p| of(p).max_ns() as f64 / 1e3).map_or(0.0, |s| s.max);
                let _ = write!(
                    out,
                    "{:<4} {:<20} {kind:>6} {:>8.1} {:>8.1} {:>8.1} {:>8.1} {max:>9.0}",
                    "",
                    row.label,
                    us(0.5),
                    us(0.95),
                    us(0.99),
                    us(0.999),
                );
                let used = [
                    (7, 2, cell(phases, row, workload, |p| Some(cpu_us(p, p.used.cpu_seconds)))),
                    (8, 2, cell(phases, row, workload, |p| Some(cpu_us(p, p.used_settled.cpu_seconds)))),
                    (
                        8,
                        0,
                        cell(phases, row, workload, |p| p.used_settled.disk_bytes.map(|b| b as f64 / MIB)),
                    ),
                    (7, 2, cell(phases, row, workload, write_amplification)),
                    (7, 2, cell(phases, row, workload, space_amplification)),
                    (8, 0, cell(phases, row, workload, |p| p.peak_bytes.map(|b| b as f64 / MIB))),
                    (8, 0, cell(phases, row, workload, |p| p.anonymous_bytes.map(|b| b as f64 / MIB))),
                ];
                out.push(' ');
                for (width, digits, figure) in used {
                    let text = figure.map_or_else(|| "-".into(), |f| format!("{f:.digits$}"));
                    let _ = write!(out, " {text:>width$}");
                }
                out.push('\n');
            }
        }
    }
    out
}

fn cpu_us(phase: &Phase, seconds: f64) -> f64 {
    seconds * 1e6 / phase.ops as f64
}

/// Bytes that reached the disk for each that was given, background work included.
pub fn write_amplification(phase: &Phase) -> Option<f64> {
    let out = phase.used_settled.disk_bytes.filter(|_| phase.user_bytes > 0)?;
    Some(out as f64 / phase.user_bytes as f64)
}

/// Bytes on the disk for each byte of live data.
pub fn space_amplification(phase: &Phase) -> Option<f64> {
    (phase.live_bytes > 0).then(|| phase.disk_bytes as f64 / phase.live_bytes as f64)
}

/// The median over the repeats, if each has the figure.
fn cell(
    phases: &[Phase],
    row: &Row,
    workload: Workload,
    figure: impl Fn(&Phase) -> Option<f64>,
) -> Option<f64> {
    let of = phases
        .iter()
        .filter(|p| p.engine == row.engine && p.threads == row.threads && p.workload == workload);
    let figures: Option<Vec<f64>> = of.map(figure).collect();
    Spread::of(figures?).map(|s| s.median)
}

/// First line of the CSV; [`csv`] writes the rest.
pub const CSV_HEADER: &str = "engine,threads,repeat,workload,ops,seconds,kops,read_p50_ns,read_p95_ns,read_p99_ns,\
    read_p999_ns,read_max_ns,write_p50_ns,write_p95_ns,write_p99_ns,write_p999_ns,write_max_ns,cpu_seconds,\
    cpu_settled_seconds,settle_seconds,written_disk_bytes,written_call_bytes,user_bytes,live_bytes,disk_bytes,\
    peak_bytes,anonymous_bytes";

/// A line for each phase of each repeat; what is not known is empty.
pub fn csv(phases: &[Phase]) -> String {
    let mut out = format!("{CSV_HEADER}\n");
    let maybe = |n: Option<u64>| n.map_or_else(String::new, |n| n.to_string());
    for p in phases {
        let _ = write!(out, "{},{},{},{},", p.engine, p.threads, p.repeat, p.workload.name());
        let _ = write!(out, "{},{:.6},{:.3}", p.ops, p.seconds, p.kops());
        for h in [&p.reads, &p.writes] {
            for share in [0.5, 0.95, 0.99, 0.999] {
                let _ = write!(out, ",{}", h.quantile_ns(share));
            }
            let _ = write!(out, ",{}", h.max_ns());
        }
        let (used, settled) = (&p.used, &p.used_settled);
        let _ = write!(out, ",{:.6},{:.6},{:.6}", used.cpu_seconds, settled.cpu_seconds, p.settle_seconds);
        let _ = write!(out, ",{},{}", maybe(settled.disk_bytes), maybe(settled.call_bytes));
        let _ = write!(out, ",{},{},{}", p.user_bytes, p.live_bytes, p.disk_bytes);
        let _ = writeln!(out, ",{},{}", maybe(p.peak_bytes), maybe(p.anonymous_bytes));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::Spread;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(Spread::of([]), None);
        assert_eq!(Spread::of([3.0, 1.0, 2.0]), Some(Spread { min: 1.0, median: 2.0, max: 3.0 }));
        assert_eq!(Spread::of([4.0, 1.0]), Some(Spread { min: 1.0, median: 2.5, max: 4.0 }));
    }
}
