//! Progress on standard error, for people only: nothing is drawn when standard error is not a terminal.

use std::fmt::Write;
use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::units::{self, amount, count, whole_seconds};

const REDRAWS_PER_SECOND_MAX: u8 = 10;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Records.
    Records,
    /// Steps of background work, files.
    Steps,
}

/// A bar, or nothing at all. Dropping it takes the bar off the screen.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    unit: Unit,
}

impl Progress {
    /// A bar on standard error if that is a terminal.
    pub fn on_stderr(what: &'static str, unit: Unit) -> Self {
        if !io::stderr().is_terminal() {
            return Self { bar: ProgressBar::hidden(), unit };
        }
        let target = ProgressDrawTarget::stderr_with_hz(REDRAWS_PER_SECOND_MAX);
        let bar = ProgressBar::with_draw_target(None, target).with_message(what);
        bar.set_style(style(unit, false));
        // Time goes on also where the work reports nothing for a while.
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { bar, unit }
    }

    /// Draws nothing.
    pub fn hidden() -> Self {
        Self { bar: ProgressBar::hidden(), unit: Unit::Steps }
    }

    /// `done` of `total`, if it is known how much there is. Cheap enough to call for every record.
    pub fn at(&self, done: u64, total: Option<u64>) {
        if total != self.bar.length() {
            self.bar.set_style(style(self.unit, total.is_some()));
            match total {
                Some(total) => self.bar.set_length(total),
                None => self.bar.unset_length(),
            }
        }
        self.bar.set_position(done);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// A bar with the time left where the end is known, a spinner with the rate where it is not. No line of it is wider
/// than a terminal, whatever the numbers.
fn style(unit: Unit, with_end: bool) -> ProgressStyle {
    let style = ProgressStyle::with_template(template(with_end));
    let numbers = move |state: &ProgressState, to: &mut dyn Write| {
        // A bar that cannot be drawn is no reason to fail.
        let _ = to.write_str(&numbers(unit, state));
    };
    style.unwrap_or_else(|_| ProgressStyle::default_bar()).with_key("numbers", numbers).progress_chars("=> ")
}

const fn template(with_end: bool) -> &'static str {
    if with_end { "{msg} [{bar:12}] {percent:>3}% {numbers}" } else { "{msg} {spinner} {numbers}" }
}

/// How much is done, how fast, and how long it takes.
fn numbers(unit: Unit, state: &ProgressState) -> String {
    let amount_of = |n: u64| match unit {
        Unit::Bytes => amount(n as f64, units::Unit::Bytes, 0),
        Unit::Records | Unit::Steps => whole(n),
    };
    let rate = match unit {
        Unit::Bytes => amount(state.per_sec(), units::Unit::Bytes, 0),
        // Casts of numbers saturate.
        Unit::Records | Unit::Steps => count(state.per_sec() as u64),
    };
    let done = amount_of(state.pos());
    match state.len() {
        Some(len) => {
            format!("{done}/{} {rate}/s, {} left", amount_of(len), whole_seconds(state.eta().as_secs()))
        }
        None => format!("{done} {rate}/s, {}", whole_seconds(state.elapsed().as_secs())),
    }
}

/// A whole number with separators; above nine digits in a unit.
fn whole(n: u64) -> String {
    match n {
        1_000_000..1_000_000_000 => {
            format!("{},{:03},{:03}", n / 1_000_000, n / 1_000 % 1_000, n % 1_000)
        }
        n => count(n),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use indicatif::TermLike;

    use super::*;
    use crate::cli::screen::WIDTH;

    /// A terminal so wide that nothing is cut, which keeps what was drawn.
    #[derive(Debug, Clone, Default)]
    struct Wide(Arc<Mutex<Vec<String>>>);

    impl TermLike for Wide {
        fn width(&self) -> u16 {
            1000
        }

        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn write_line(&self, line: &str) -> io::Result<()> {
            self.write_str(line)
        }

        fn write_str(&self, text: &str) -> io::Result<()> {
            self.0.lock().unwrap().push(text.trim_end().to_owned());
            Ok(())
        }

        fn clear_line(&self) -> io::Result<()> {
            Ok(())
        }

        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What a bar shows.
    fn drawn(unit: Unit, done: u64, total: Option<u64>) -> String {
        let wide = Wide::default();
        let target = ProgressDrawTarget::term_like(Box::new(wide.clone()));
        let bar = ProgressBar::with_draw_target(None, target).with_message("checkpoint");
        bar.set_style(style(unit, false));
        let progress = Progress { bar, unit };
        progress.at(done, total);
        progress.bar.tick();
        let lines = wide.0.lock().unwrap();
        lines.iter().rfind(|line| line.contains("checkpoint")).expect("a line").clone()
    }

    #[test]
    fn templates_are_valid() {
        for with_end in [false, true] {
            assert!(ProgressStyle::with_template(template(with_end)).is_ok());
        }
    }

    #[test]
    fn no_bar_is_wider_than_a_terminal() {
        for unit in [Unit::Bytes, Unit::Records, Unit::Steps] {
            for number in [0, 1, 999_999, 9_999_999, 999_999_999, 1_000_000_000, u64::MAX / 3, u64::MAX] {
                for total in [None, Some(number), Some(999_999_999), Some(u64::MAX)] {
                    let line = drawn(unit, number, total);
                    assert!(line.chars().count() <= WIDTH, "{}: {line}", line.chars().count());
                    assert!(!line.contains("checkpoint") || line.contains("/s"), "{line}");
                }
            }
        }
    }

    #[test]
    fn numbers_of_things_are_whole() {
        assert_eq!([0, 999, 130_893, 1_000_000].map(whole), ["0", "999", "130,893", "1,000,000"]);
        assert_eq!((whole(999_999_999), whole(2_500_000_000)), ("999,999,999".into(), "2.50 G".into()));
        let line = drawn(Unit::Records, 7, Some(10));
        assert!(line.contains("]  70% 7/10 ") && line.ends_with(" left"), "{line}");
    }

    #[test]
    fn length_may_come_late_and_go() {
        let progress = Progress::hidden();
        progress.at(1, None);
        assert_eq!(progress.bar.length(), None);
        progress.at(2, Some(10));
        assert_eq!((progress.bar.position(), progress.bar.length()), (2, Some(10)));
        progress.at(3, None);
        assert_eq!(progress.bar.length(), None);
    }
}
