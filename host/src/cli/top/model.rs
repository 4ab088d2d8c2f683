//! What the screen shows: the last two answers of the process, and what follows from them.

use std::time::Instant;

use serde_json::Value as Json;

use crate::StatsSnapshot;
use crate::metrics::{HEALTH_KEY, PROCESS_KEY, STATS_KEY};

/// One answer.
struct Sample {
    stats: StatsSnapshot,
    at: Instant,
}

/// The state of the screen.
pub(super) struct Model {
    /// Where the numbers come from.
    pub(super) source: String,
    now: Option<Sample>,
    before: Option<Sample>,
    health: Json,
    process: Json,
    /// Why there was no answer the last time.
    missed: Option<String>,
}

impl Model {
    pub(super) fn new(source: String) -> Self {
        Self { source, now: None, before: None, health: Json::Null, process: Json::Null, missed: None }
    }

    /// Takes an answer in. Fields that are missing in it are 0.
    pub(super) fn take(&mut self, mut vars: Json, at: Instant) {
        let mut part = |key| vars.get_mut(key).map_or(Json::Null, Json::take);
        match serde_json::from_value(part(STATS_KEY)) {
            Ok(stats) => {
                let process = part(PROCESS_KEY);
                // Numbers of another process give no rates.
                let is_same = process.get("pid") == self.process.get("pid");
                self.before = self.now.take().filter(|_| is_same);
                self.now = Some(Sample { stats, at });
                self.health = part(HEALTH_KEY);
                self.process = process;
                self.missed = None;
            }
            Err(error) => self.miss(format!("the statistics are not understood ({error})")),
        }
    }

    /// There was no answer.
    pub(super) fn miss(&mut self, what: String) {
        self.missed = Some(what);
    }

    pub(super) fn stats(&self) -> Option<&StatsSnapshot> {
        self.now.as_ref().map(|sample| &sample.stats)
    }

    /// How fast a counter grows, by the second; `None` before the second answer, or when it began anew.
    pub(super) fn rate(&self, counter: impl Fn(&StatsSnapshot) -> u64) -> Option<f64> {
        let (now, before) = (self.now.as_ref()?, self.before.as_ref()?);
        let seconds = now.at.checked_duration_since(before.at)?.as_secs_f64();
        let grown = counter(&now.stats).checked_sub(counter(&before.stats))?;
        (seconds > 0.0).then(|| grown as f64 / seconds)
    }

    /// The process, for the title.
    pub(super) fn process(&self) -> String {
        match (
            self.process.get("pid").and_then(Json::as_u64),
            self.process.get("version").and_then(Json::as_str),
        ) {
            (Some(pid), Some(version)) => format!("nokv {version}, process {pid}"),
            _ => "files only: no rates".to_owned(),
        }
    }

    /// One line about how it is, and whether that is fine.
    pub(super) fn status(&self) -> (String, bool) {
        let text = |name: &str| self.health.get(name).and_then(Json::as_str);
        if let Some(missed) = &self.missed {
            return (format!("no answer: {missed}"), false);
        }
        if let Some(cause) = text("cause") {
            return (format!("takes no writes: {cause}"), false);
        }
        if let Some(hindrance) = text("hindrance") {
            return (format!("background work waits: {hindrance}"), false);
        }
        let state = self.stats().map_or("", |stats| stats.engine.stall.state.as_str());
        match state {
            "stop" => ("writers wait for compactions".to_owned(), false),
            "slow" => ("writers are slowed down".to_owned(), false),
            _ if self.stats().is_some_and(|s| s.write.throttle_active) => {
                ("writers are slowed down".to_owned(), false)
            }
            _ => ("well".to_owned(), true),
        }
    }
}
