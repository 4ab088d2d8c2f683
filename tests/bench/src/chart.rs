//! The medians as an SVG picture: a panel for each workload, each with a scale of its own, a bar for each engine and
//! a thin line from the least to the most.

use std::fmt::Write as _;

use crate::report::{Row, Spread, rows, spread, workloads};
use crate::run::Phase;

const PANEL_COLUMNS: usize = 2;
const PANEL_WIDTH: usize = 460;
const LABEL_WIDTH: usize = 130;
const NUMBER_WIDTH: usize = 60;
const BAR_HEIGHT: usize = 18;
const TITLE_HEIGHT: usize = 30;
const GAP: usize = 20;
const OURS: &str = "#d9480f";
const THEIRS: &str = "#748ca3";

/// The picture; `caption` says what was run.
pub fn svg(phases: &[Phase], caption: &str) -> String {
    let rows: Vec<Row> =
        rows(phases).into_iter().filter(|row| !matches!(&*row.engine, "null" | "spin")).collect();
    let workloads = workloads(phases);
    let panel_height = TITLE_HEIGHT + rows.len() * BAR_HEIGHT + GAP;
    let width = PANEL_COLUMNS * (PANEL_WIDTH + GAP) + GAP;
    let height = workloads.len().div_ceil(PANEL_COLUMNS) * panel_height + TITLE_HEIGHT + GAP;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"{GAP}\" y=\"22\" fill=\"#333333\">{}</text>\n",
        escape(caption)
    );
    for (n, workload) in workloads.iter().enumerate() {
        let x = GAP + n % PANEL_COLUMNS * (PANEL_WIDTH + GAP);
        let y = TITLE_HEIGHT + n / PANEL_COLUMNS * panel_height;
        let bars: Vec<(&Row, Spread)> =
            rows.iter().filter_map(|row| Some((row, spread(phases, row, *workload, Phase::kops)?))).collect();
        panel(&mut out, x, y, workload.name(), &bars);
    }
    out.push_str("</svg>\n");
    out
}

fn panel(out: &mut String, x: usize, y: usize, title: &str, bars: &[(&Row, Spread)]) {
    let most = bars.iter().map(|(_, s)| s.max).fold(f64::MIN_POSITIVE, f64::max);
    let room = (PANEL_WIDTH - LABEL_WIDTH - NUMBER_WIDTH) as f64;
    let _ = writeln!(
        out,
        "<text x=\"{x}\" y=\"{}\" font-weight=\"bold\" fill=\"#111111\">{}</text>",
        y + 20,
        escape(title)
    );
    for (n, (row, s)) in bars.iter().enumerate() {
        let top = y + TITLE_HEIGHT + n * BAR_HEIGHT;
        let middle = top + BAR_HEIGHT / 2 - 2;
        let left = (x + LABEL_WIDTH) as f64;
        let at = |figure: f64| left + figure / most * room;
        let colour = if row.engine.starts_with("nokv") { OURS } else { THEIRS };
        let _ = writeln!(
            out,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\" fill=\"#333333\">{}</text>\
             <rect x=\"{left}\" y=\"{top}\" width=\"{:.1}\" height=\"{}\" fill=\"{colour}\"/>\
             <path d=\"M{:.1} {middle}H{:.1}\" stroke=\"#111111\"/>\
             <text x=\"{:.1}\" y=\"{}\" fill=\"#111111\">{:.0}</text>",
            x + LABEL_WIDTH - 8,
            top + 12,
            escape(&row.label),
            at(s.median) - left,
            BAR_HEIGHT - 4,
            at(s.min),
            at(s.max),
            at(s.max) + 6.0,
            top + 12,
            s.median,
        );
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
