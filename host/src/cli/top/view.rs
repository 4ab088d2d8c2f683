//! The screen of `nokv top`: lines of plain ASCII that fit 80 columns and 24 rows; more rows show more hot keys.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};

use super::model::Model;
use super::text_of;
use crate::StatsSnapshot;
use crate::cli::screen::WIDTH;
use crate::cli::units::{Unit, WIDTH_MAX, amount, clip, count};
use crate::stats::{HotKeyStat, LsmLevelStats};

/// One of three columns of numbers: a name, and a value at its right end.
const COLUMN: usize = 25;
const NAME: usize = COLUMN - WIDTH_MAX;
/// Operations whose latency has a place, in this order.
const OPERATIONS: &[&str] = &["get", "set", "sync", "scan", "flush"];
/// As many as fit a line.
const OPERATIONS_MAX: usize = 3;
/// Of a key.
const KEY: usize = 27;
/// What the keyboard does.
const KEYS: &str = "   q quits";

/// How a line looks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    Plain,
    Title,
    Alarm,
}

type Line = (String, Look);

/// The screen as text that nobody watches: no keys, no empty lines below.
pub(super) fn text(model: &Model, area: Rect, now: u64) -> Vec<String> {
    let mut buffer = Buffer::empty(area);
    draw(model, area, &mut buffer, now, "");
    let mut lines = text_of(&buffer);
    let used = lines.iter().rposition(|line| !line.is_empty()).map_or(0, |last| last + 1);
    lines.truncate(used);
    lines
}

/// Draws the screen.
pub(super) fn render(model: &Model, area: Rect, buffer: &mut Buffer, now: u64) {
    draw(model, area, buffer, now, KEYS);
}

fn draw(model: &Model, area: Rect, buffer: &mut Buffer, now: u64, keys: &str) {
    let rows = usize::from(area.height);
    for ((text, look), row) in screen(model, rows, now, keys).iter().take(rows).zip(area.y..) {
        let style = match look {
            Look::Plain => Style::new(),
            Look::Title => Style::new().add_modifier(Modifier::BOLD),
            Look::Alarm => Style::new().add_modifier(Modifier::REVERSED),
        };
        buffer.set_stringn(area.x, row, text, usize::from(area.width), style);
    }
}

fn screen(model: &Model, rows: usize, now: u64, keys: &str) -> Vec<Line> {
    let mut lines = Vec::with_capacity(rows);
    let right = format!("{}{keys}", clip(model.process().as_bytes(), 40));
    let left = clip(model.source.as_bytes(), WIDTH - 2 - right.len());
    lines.push((format!("{left:width$}  {right}", width = WIDTH - 2 - right.len()), Look::Title));
    let (status, is_well) = model.status();
    lines.push((clip(status.as_bytes(), WIDTH), if is_well { Look::Plain } else { Look::Alarm }));
    let Some(stats) = model.stats() else { return lines };
    lines.push((
        three(["PER SECOND", "CACHE HITS", "PRESSURE"].map(|title| format!("{title:COLUMN$}"))),
        Look::Title,
    ));
    let columns = [rates(model), caches(stats), pressure(stats, now)];
    for row in 0..columns.iter().map(Vec::len).max().unwrap_or(0) {
        let cells = columns.each_ref().map(|column| column.get(row).cloned().unwrap_or_default());
        lines.push((three(cells), Look::Plain));
    }
    lines.extend(latency(stats).map(|line| (line, Look::Plain)));
    levels(&mut lines, stats);
    let left = rows.saturating_sub(lines.len() + 1);
    hot_keys(&mut lines, stats, left);
    lines
}

fn three([a, b, c]: [String; 3]) -> String {
    format!("{a:COLUMN$}  {b:COLUMN$}  {c}").trim_end().to_owned()
}

fn cell(name: &str, value: &str) -> String {
    format!("{:NAME$}{:>WIDTH_MAX$}", clip(name.as_bytes(), NAME), clip(value.as_bytes(), WIDTH_MAX))
}

fn rates(model: &Model) -> Vec<String> {
    let line = |name, rate: Option<f64>, unit| {
        cell(name, &rate.map_or_else(|| "-".to_owned(), |rate| amount(rate, unit, 0)))
    };
    let counter = |name: &'static str| model.rate(|s| s.counter(name));
    vec![
        line("writes", counter("writes"), Unit::Count),
        line("reads", counter("reads"), Unit::Count),
        line("log groups", model.rate(|s| unsigned(s.write.batches_total)), Unit::Count),
        line("flushes", model.rate(|s| unsigned(s.flush.completed)), Unit::Count),
        line("compactions", model.rate(|s| s.compaction.runs), Unit::Count),
        line("vlog GC runs", model.rate(|s| s.value_log.gc.gc_runs), Unit::Count),
    ]
}

fn caches(stats: &StatsSnapshot) -> Vec<String> {
    let share = |name, share| cell(name, &amount(share, Unit::Share, 0));
    let bytes = |name, bytes: u64| cell(name, &amount(bytes as f64, Unit::Bytes, 0));
    vec![
        share("blocks, L0", stats.cache.block_l0_hit_rate),
        share("blocks, deeper", stats.cache.block_l1_hit_rate),
        share("filters", stats.cache.bloom_hit_rate),
        share("indexes", stats.cache.index_hit_rate),
        bytes("memory", stats.engine.memory.used_bytes),
        bytes("of at most", stats.engine.memory.budget_bytes),
    ]
}

fn pressure(stats: &StatsSnapshot, now: u64) -> Vec<String> {
    let stall = &stats.engine.stall;
    let ahead =
        |seconds: f64| if seconds == 0.0 { "-".to_owned() } else { amount(seconds, Unit::Seconds, now) };
    vec![
        cell("writers", if stall.state.is_empty() { "-" } else { &stall.state }),
        cell("slowdown in", &ahead(stall.seconds_to_slowdown)),
        cell("debt", &amount(stall.debt_bytes as f64, Unit::Bytes, now)),
        cell("max score", &amount(stats.compaction.max_score, Unit::Count, now)),
        cell("flushes due", &amount(stats.flush.pending as f64, Unit::Count, now)),
        cell("write queue", &amount(stats.write.queue_depth as f64, Unit::Count, now)),
    ]
}

/// Of operations that there were; `None` without any, as from files.
fn latency(stats: &StatsSnapshot) -> Option<String> {
    let known = OPERATIONS.iter().filter_map(|name| Some((*name, stats.engine.latency.get(*name)?)));
    let title = "p50/p99";
    let mut line = title.to_owned();
    for (name, latency) in known.filter(|(_, latency)| latency.count > 0).take(OPERATIONS_MAX) {
        let time = |ns: u64| amount(ns as f64, Unit::Nanos, 0).replace(' ', "");
        line.push_str(&format!("  {name} {}/{}", time(latency.p50_ns), time(latency.p99_ns)));
    }
    (line != title).then(|| clip(line.as_bytes(), WIDTH))
}

/// Levels that hold anything, level 0 always.
fn levels(lines: &mut Vec<Line>, stats: &StatsSnapshot) {
    let row = |cells: [String; 8]| {
        let [level, numbers @ ..] = cells;
        numbers.iter().fold(format!("{level:5}"), |line, number| line + &format!("{number:>WIDTH_MAX$}"))
    };
    let titles = ["LEVEL", "tables", "size", "values", "stale", "ingest", "ing.size", "density"];
    lines.push((row(titles.map(str::to_owned)), Look::Title));
    let is_shown = |l: &&LsmLevelStats| l.level == 0 || l.table_count != 0 || l.ingest_tables != 0;
    for l in stats.lsm.levels.iter().filter(is_shown) {
        let bytes = |n: i64| amount(n as f64, Unit::Bytes, 0);
        let cells = [
            clip(l.level.to_string().as_bytes(), 5),
            count(unsigned(l.table_count)),
            bytes(l.size_bytes),
            bytes(l.value_bytes),
            bytes(l.stale_bytes),
            count(unsigned(l.ingest_tables)),
            bytes(l.ingest_size_bytes),
            amount(l.value_density, Unit::Share, 0),
        ];
        lines.push((row(cells), Look::Plain));
    }
}

fn hot_keys(lines: &mut Vec<Line>, stats: &StatsSnapshot, rows: usize) {
    let pair = |left: String, right: String| {
        format!("{left:width$}  {right}", width = KEY + WIDTH_MAX + 1).trim_end().to_owned()
    };
    let title = |name: &str| format!("{name:KEY$} {:>WIDTH_MAX$}", "touches");
    lines.push((pair(title("HOT READS"), title("HOT WRITES")), Look::Title));
    let key = |keys: &[HotKeyStat], at: usize| {
        keys.get(at).map_or_else(String::new, |hot| {
            let touches = amount(f64::from(hot.count), Unit::Count, 0);
            format!("{:KEY$} {touches:>WIDTH_MAX$}", clip(&hot.key, KEY))
        })
    };
    let (reads, writes) = (&stats.hot.read_keys, &stats.hot.write_keys);
    if reads.is_empty() && writes.is_empty() {
        lines.push(("none: nothing was touched, or hot rings are off".to_owned(), Look::Plain));
    }
    for at in 0..reads.len().max(writes.len()).min(rows) {
        lines.push((pair(key(reads, at), key(writes, at)), Look::Plain));
    }
}

/// Numbers of the original are signed, and never negative.
fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use serde_json::{Value as Json, json};

    use super::*;
    use crate::metrics::{HEALTH_KEY, PROCESS_KEY, STATS_KEY};

    const AREA: Rect = Rect::new(0, 0, 80, 24);

    /// The screen as text.
    fn lines(model: &Model, area: Rect, now: u64) -> Vec<String> {
        let mut buffer = Buffer::empty(area);
        render(model, area, &mut buffer, now);
        text_of(&buffer)
    }

    fn vars(stats: Json) -> Json {
        json!({
            STATS_KEY: stats,
            HEALTH_KEY: {"writable": true, "cause": null, "hindrance": null},
            PROCESS_KEY: {"pid": 4711, "version": "0.1.0"},
        })
    }

    fn model(samples: &[Json]) -> Model {
        let mut model = Model::new("http://127.0.0.1:9090/debug/vars".to_owned());
        let start = Instant::now();
        for (at, stats) in (0u64..).zip(samples) {
            model.take(vars(stats.clone()), start + Duration::from_secs(2 * at));
        }
        model
    }

    #[test]
    fn a_usual_screen() {
        let hot = json!([{"key": "user/1", "count": 900}, {"key_hex": "00ff", "count": 20}]);
        let stats = |writes: u64| {
            json!({
                "flush": {"completed": writes / 1000},
                "write": {"batches_total": writes / 4, "queue_depth": 3},
                "compaction": {"max_score": 1.25},
                "cache": {"block_l0_hit_rate": 1.0, "block_l1_hit_rate": 0.831},
                "lsm": {"levels": [
                    {"level": 0, "tables": 3, "size_bytes": 3 << 20},
                    {"level": 1},
                    {"level": 6, "tables": 1200, "size_bytes": 5u64 << 30, "value_density": 0.5},
                ]},
                "hot": {"read_keys": hot, "write_keys": [{"key": "w", "count": 5}]},
                "engine": {
                    "counters": {"writes": writes, "reads": 0},
                    "stall": {"state": "none", "debt_bytes": 1 << 20},
                    "memory": {"used_bytes": 100 << 20, "budget_bytes": 512 << 20},
                    "latency": {"get": {"count": 5, "p50_ns": 1200, "p99_ns": 90_000}},
                },
            })
        };
        let lines = lines(&model(&[stats(0), stats(8_000)]), AREA, 0);
        let expected = "\
http://127.0.0.1:9090/debug/vars              nokv 0.1.0, process 4711   q quits
well
PER SECOND                 CACHE HITS                 PRESSURE
writes              4,000  blocks, L0          100 %  writers              none
reads                   0  blocks, deeper     83.1 %  slowdown in             -
log groups          1,000  filters               0 %  debt             1.00 MiB
flushes                 4  indexes               0 %  max score            1.25
compactions             0  memory            100 MiB  flushes due             0
vlog GC runs            0  of at most        512 MiB  write queue             3
p50/p99  get 1.20us/90.0us
LEVEL    tables      size    values     stale    ingest  ing.size   density
0             3  3.00 MiB       0 B       0 B         0       0 B       0 %
6         1,200  5.00 GiB       0 B       0 B         0       0 B    50.0 %
HOT READS                      touches  HOT WRITES                     touches
user/1                             900  w                                    5
\\x00\\xff                            20
";
        let shown: Vec<&str> = lines.iter().map(String::as_str).filter(|line| !line.is_empty()).collect();
        assert_eq!(format!("{}\n", shown.join("\n")), expected);
        assert_eq!(lines.len(), 24);
    }

    #[test]
    fn text_has_no_keys_no_empty_end_and_no_title_without_numbers() {
        let text = text(&model(&[json!({})]), AREA, 0);
        assert!(text.len() < 24 && text.last().is_some_and(|line| !line.is_empty()), "{text:#?}");
        assert!(text.iter().all(|line| !line.contains("quits") && !line.starts_with("p50")), "{text:#?}");
        let one = json!({"engine": {"latency": {"get": {"count": 1, "p50_ns": 5, "p99_ns": 5}}}});
        let text = super::text(&model(&[one]), AREA, 0);
        assert!(text.contains(&"p50/p99  get 5ns/5ns".to_owned()), "{text:#?}");
    }

    #[test]
    fn the_first_screen_has_no_rates_and_a_restart_gives_none() {
        let stats = |writes: u64| json!({"engine": {"counters": {"writes": writes}}});
        let rates = |model: &Model| lines(model, AREA, 0)[3][..COLUMN].to_owned();
        assert_eq!(rates(&model(&[stats(7)])), cell("writes", "-"));
        assert_eq!(rates(&model(&[stats(7), stats(3)])), cell("writes", "-"));
        assert_eq!(rates(&model(&[stats(7), stats(3), stats(5)])), cell("writes", "1"));
    }

    #[test]
    fn trouble_stands_in_the_status_line() {
        let mut model = model(&[json!({"engine": {"stall": {"state": "stop"}}})]);
        assert_eq!(lines(&model, AREA, 0)[1], "writers wait for compactions");
        model.miss("there is no answer (gone)".to_owned());
        assert_eq!(lines(&model, AREA, 0)[1], "no answer: there is no answer (gone)");
        assert!(lines(&model, AREA, 0)[4].starts_with("reads"), "the last numbers stay");
        let mut sick = vars(json!({}));
        sick[HEALTH_KEY]["cause"] = "disk \u{1b}[2J died".into();
        model.take(sick, Instant::now());
        assert_eq!(lines(&model, AREA, 0)[1], "takes no writes: disk \\x1b[2J died");
    }

    #[test]
    fn no_line_wraps_or_is_cut_whatever_the_numbers() {
        let huge = i64::MAX;
        let level = |level: i64| {
            json!({"level": level, "tables": huge, "size_bytes": huge, "value_bytes": huge, "stale_bytes": huge,
                "ingest_tables": huge, "ingest_size_bytes": huge, "value_density": 1.7e308})
        };
        let key = |hex: String| json!({"key_hex": hex, "count": i32::MAX});
        let keys = [
            key("ff".repeat(70_000)),
            key("0a1b".repeat(9)),
            json!({"key": "\u{4e2d}\u{202e}".repeat(50), "count": -5}),
            json!({"key": ""}),
        ];
        let latency = json!({"count": 1, "p50_ns": u64::MAX, "p99_ns": u64::MAX});
        let stats = json!({
            "flush": {"pending": huge, "completed": huge}, "write": {"queue_depth": huge, "batches_total": huge},
            "compaction": {"max_score": 1.7e308, "runs": u64::MAX},
            "cache": {"block_l0_hit_rate": 1.0e300, "bloom_hit_rate": -1.0},
            "lsm": {"levels": (0..7).map(level).collect::<Vec<_>>()},
            "hot": {"read_keys": keys, "write_keys": keys},
            "engine": {
                "counters": {"writes": u64::MAX},
                "stall": {"state": "an unknown state that is long", "debt_bytes": u64::MAX, "seconds_to_slowdown": 1.7e308},
                "memory": {"used_bytes": u64::MAX, "budget_bytes": u64::MAX},
                "latency": {"get": latency, "set": latency, "sync": latency, "scan": latency},
            },
        });
        for samples in [vec![stats.clone()], vec![json!({}), stats.clone()], vec![json!({})]] {
            let mut model = model(&samples);
            model.source = "x".repeat(500);
            let all = screen(&model, 60, u64::MAX, KEYS);
            for (line, _) in &all {
                assert!(line.len() <= WIDTH, "{}: {line}", line.len());
                assert!(line.bytes().all(|b| (b' '..=b'~').contains(&b)), "{line:?}");
            }
            // At 24 rows everything but hot keys fits.
            let shown = lines(&model, AREA, 0);
            assert!(shown.iter().any(|line| line.starts_with("HOT READS")), "{shown:#?}");
        }
    }

    #[test]
    fn tiny_terminals_do_no_harm() {
        for (width, height) in [(0, 0), (1, 1), (5, 3), (200, 2), (3, 60)] {
            lines(&model(&[json!({})]), Rect::new(0, 0, width, height), 0);
        }
    }
}
