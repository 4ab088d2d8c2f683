//! Progress on standard error, for people only: nothing is drawn when standard error is not a terminal.

use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

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
            match total {
                Some(total) => self.bar.set_length(total),
                None => self.bar.unset_length(),
            }
            self.bar.set_style(style(self.unit, total.is_some()));
        }
        self.bar.set_position(done);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// A bar with the time left where the end is known, a spinner with the rate where it is not.
fn style(unit: Unit, with_end: bool) -> ProgressStyle {
    let style = ProgressStyle::with_template(template(unit, with_end));
    style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ")
}

const fn template(unit: Unit, with_end: bool) -> &'static str {
    match (unit, with_end) {
        (Unit::Bytes, true) => {
            "{msg} [{bar:30}] {bytes}/{total_bytes} {percent}% {bytes_per_sec}, {eta_precise} left"
        }
        (Unit::Bytes, false) => "{msg} {spinner} {bytes} {bytes_per_sec}, {elapsed_precise}",
        (_, true) => "{msg} [{bar:30}] {human_pos}/{human_len} {percent}% {per_sec}, {eta_precise} left",
        (_, false) => "{msg} {spinner} {human_pos} {per_sec}, {elapsed_precise}",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_valid() {
        for unit in [Unit::Bytes, Unit::Records, Unit::Steps] {
            for with_end in [false, true] {
                assert!(ProgressStyle::with_template(template(unit, with_end)).is_ok());
            }
        }
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
