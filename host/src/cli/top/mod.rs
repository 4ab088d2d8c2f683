//! `nokv top`: the statistics of a running process on one screen, again and again.
//!
//! Rates are differences of counters between two answers, by this process's own clock. When the process does not
//! answer, the last numbers stay and the status line says so.

mod model;
mod view;

use std::path::Path;
use std::time::{Duration, Instant};

use clap::Args;
use ratatui::DefaultTerminal;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::layout::Rect;
use serde_json::{Value as Json, json};

use super::Session;
use super::inspect::now;
use super::remote::Endpoint;
use super::store::{Backend, Failure, Result, Store};
use crate::metrics::STATS_KEY;
use model::Model;

/// A screen that stops for longer than this is taken for dead.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// The screen of `--once`.
const ONCE: Rect = Rect::new(0, 0, super::screen::WIDTH as u16, 24);

/// `nokv top`.
#[derive(Debug, Args)]
pub struct TopArgs {
    /// Metrics address of the running process: http://HOST:PORT, or PORT.
    #[arg(long, value_name = "URL", conflicts_with = "workdir")]
    pub expvar: Option<String>,

    /// Time between two looks, such as 500ms, 1s or 1m.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = interval)]
    pub interval: Duration,

    /// Print one screen of 80 columns as text, with rates over one interval, and end.
    #[arg(long)]
    pub once: bool,
}

/// Reads a time with its unit.
fn interval(text: &str) -> std::result::Result<Duration, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| "write a number and ms, s or m".to_owned())?;
    let ms = match unit {
        "ms" => Some(number),
        "s" => number.checked_mul(1_000),
        "m" => number.checked_mul(60_000),
        _ => return Err("the unit is ms, s or m".to_owned()),
    };
    match ms {
        Some(ms @ 100..=86_400_000) => Ok(Duration::from_millis(ms)),
        _ => Err("from 100ms to 1440m".to_owned()),
    }
}

/// What a wait ended with.
enum Next {
    Ask,
    Draw,
    Quit,
}

impl<B: Backend> Session<'_, B> {
    pub(super) fn top(&mut self, dir: Option<&Path>, args: &TopArgs) -> Result<()> {
        let endpoint = args.expvar.as_deref().map(Endpoint::parse).transpose()?;
        let (backend, dir) = (self.backend, if endpoint.is_some() { None } else { Some(self.named(dir)?) });
        let ask = || match (&endpoint, dir) {
            (Some(endpoint), _) => endpoint.ask_within(ANSWER_WITHIN),
            (None, Some(dir)) => backend.look(dir, &B::Store::stats).map(|stats| json!({ STATS_KEY: stats })),
            (None, None) => Ok(Json::Null),
        };
        let source = endpoint.as_ref().map_or_else(
            || dir.map_or_else(String::new, |dir| dir.display().to_string()),
            ToString::to_string,
        );
        let mut model = Model::new(source);
        // A process that is not there is an error at once.
        model.take(ask()?, Instant::now());
        if args.once {
            std::thread::sleep(args.interval);
            model.take(ask()?, Instant::now());
            return self.print(&view::text(&model, ONCE, now()));
        }
        let screen = |error: std::io::Error| {
            let next = "run it on a terminal, or use --once";
            Failure::new(format!("the screen cannot be used ({error})"), "terminal", next)
        };
        let mut terminal = ratatui::try_init().map_err(screen)?;
        let ended = watch(&mut terminal, &mut model, args.interval, &ask);
        let restored = ratatui::try_restore();
        ended.and(restored).map_err(screen)
    }
}

/// Until somebody quits.
fn watch(
    terminal: &mut DefaultTerminal,
    model: &mut Model,
    interval: Duration,
    ask: &dyn Fn() -> Result<Json>,
) -> std::io::Result<()> {
    let mut asked = Instant::now();
    loop {
        terminal.draw(|frame| {
            let area = frame.area();
            view::render(model, area, frame.buffer_mut(), now());
        })?;
        match wait(interval.saturating_sub(asked.elapsed()))? {
            Next::Quit => return Ok(()),
            Next::Draw => continue,
            Next::Ask => {}
        }
        asked = Instant::now();
        match ask() {
            Ok(vars) => model.take(vars, Instant::now()),
            Err(failure) => model.miss(failure.what),
        }
    }
}

/// Waits for `time` or a key.
fn wait(time: Duration) -> std::io::Result<Next> {
    if !event::poll(time)? {
        return Ok(Next::Ask);
    }
    Ok(match event::read()? {
        Event::Key(key) if key.kind == KeyEventKind::Press => match key.code {
            KeyCode::Char('q' | 'Q') | KeyCode::Esc => Next::Quit,
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Next::Quit,
            KeyCode::Char(' ') => Next::Ask,
            _ => Next::Draw,
        },
        _ => Next::Draw,
    })
}

/// The text of a buffer, without the blanks at the ends of its lines.
fn text_of(buffer: &Buffer) -> Vec<String> {
    let width = usize::from(buffer.area.width).max(1);
    let line = |cells: &[ratatui::buffer::Cell]| {
        cells.iter().map(ratatui::buffer::Cell::symbol).collect::<String>().trim_end().to_owned()
    };
    buffer.content.chunks(width).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_have_a_unit_and_bounds() {
        assert_eq!(interval("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(interval("2s"), Ok(Duration::from_secs(2)));
        assert_eq!(interval("1m"), Ok(Duration::from_secs(60)));
        for text in ["", "1", "s", "0s", "99ms", "1441m", "1h", "-1s", "1.5s", "99999999999999999999s"] {
            assert!(interval(text).is_err(), "{text}");
        }
    }
}
