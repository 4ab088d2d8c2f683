//! Commands that look: `stats`, `manifest`, `vlog` and `regions` of a directory, beside a running process or not;
//! `stats`, `hot` and `pins` of a running process.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use serde_json::{Value as Json, json};

use super::remote::Endpoint;
use super::store::{Backend, Failure, Result, Store};
use super::{Session, screen};
use crate::metrics::{HEALTH_KEY, PROCESS_KEY, STATS_KEY};

/// `nokv stats`.
#[derive(Debug, Args)]
pub struct StatsArgs {
    /// Ask a running process at its metrics address instead of reading files: http://HOST:PORT, or PORT.
    #[arg(long, value_name = "URL", conflicts_with = "workdir")]
    pub expvar: Option<String>,

    /// Leave the numbers of regions out.
    #[arg(long)]
    pub no_region_metrics: bool,
}

/// `nokv hot` and `nokv pins`.
#[derive(Debug, Args)]
pub struct RemoteArgs {
    /// Metrics address of the running process: http://HOST:PORT, or PORT.
    #[arg(long, value_name = "URL")]
    pub expvar: Option<String>,
}

/// Now, in seconds since the Unix epoch.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

/// Takes the part of an answer out.
fn part(vars: &mut Json, key: &str) -> Json {
    vars.get_mut(key).map_or(Json::Null, Json::take)
}

impl<B: Backend> Session<'_, B> {
    pub(super) fn stats(&mut self, dir: Option<&Path>, args: &StatsArgs) -> Result<()> {
        let (mut stats, health, source) = match &args.expvar {
            Some(url) => {
                let endpoint = Endpoint::parse(url)?;
                let mut vars = endpoint.ask()?;
                let process = part(&mut vars, PROCESS_KEY);
                let of = |name: &str| process.get(name).map_or_else(String::new, Json::to_string);
                let source =
                    format!("{endpoint} (process {}, nokv {})", of("pid"), of("version").trim_matches('"'));
                (part(&mut vars, STATS_KEY), part(&mut vars, HEALTH_KEY), source)
            }
            None => {
                let dir = self.named(dir)?;
                let stats = self.backend.look(dir, &B::Store::stats)?;
                (stats, Json::Null, format!("{} (files only: what counts events is 0)", dir.display()))
            }
        };
        if args.no_region_metrics
            && let Some(fields) = stats.as_object_mut()
        {
            fields.shift_remove("region");
        }
        if self.json {
            return self.answer(&stats);
        }
        let mut lines = vec![super::units::clip(source.as_bytes(), screen::WIDTH), String::new()];
        lines.extend(screen::lines(&stats, now()));
        if health.is_object() {
            lines.push(String::new());
            lines.extend(screen::lines(&json!({ "health": without_lists(health) }), now()));
        }
        self.print(&lines)
    }

    pub(super) fn inspect(&mut self, dir: &Path, ask: fn(&B::Store) -> Result<Json>) -> Result<()> {
        let value = self.backend.look(dir, &ask)?;
        self.answer(&value)
    }

    /// The keys that are read and written most, and the rings that count them.
    pub(super) fn hot(&mut self, dir: Option<&Path>, args: &RemoteArgs) -> Result<()> {
        let mut vars = self.running(dir, args, "hot keys are counted in memory")?;
        let mut stats = part(&mut vars, STATS_KEY);
        let hot = part(&mut stats, "hot");
        let of_values = stats.get_mut("engine").map_or(Json::Null, |engine| part(engine, "value_log_hot"));
        let answer = json!({ "hot": hot, "value_log_hot": of_values });
        if self.json {
            return self.answer(&answer);
        }
        if screen::is_empty(&answer) {
            return self.print(&[
                "no hot keys: nothing was touched, or hot rings are off (hot_ring_enabled)".to_owned(),
            ]);
        }
        self.print(&screen::lines(&answer, now()))
    }

    /// Who keeps old files and entries from going.
    pub(super) fn pins(&mut self, dir: Option<&Path>, args: &RemoteArgs) -> Result<()> {
        let mut vars = self.running(dir, args, "snapshots and iterators live in memory")?;
        let pins =
            vars.get_mut(STATS_KEY).and_then(|s| s.get_mut("engine")).map_or(Json::Null, |e| part(e, "pins"));
        if self.json {
            return self.answer(&pins);
        }
        match screen::is_empty(&pins) {
            true => self.print(&["nothing is pinned".to_owned()]),
            false => self.print(&screen::lines(&json!({ "pins": pins }), now())),
        }
    }

    /// The answer of a running process, for what files do not tell.
    fn running(&self, dir: Option<&Path>, args: &RemoteArgs, why: &str) -> Result<Json> {
        match &args.expvar {
            Some(url) => Endpoint::parse(url)?.ask(),
            None => {
                let place = dir.map_or_else(|| "command line".to_owned(), |dir| dir.display().to_string());
                let next =
                    "ask the running process with --expvar URL (it serves metrics with --metrics-addr)";
                Err(Failure::new(format!("{why} and not in files"), place, next))
            }
        }
    }

    pub(super) fn print(&mut self, lines: &[String]) -> Result<()> {
        lines.iter().try_for_each(|line| writeln!(self.out, "{line}")).map_err(|e| Failure::output(&e))
    }
}

/// Lists of the health stand in the statistics too, with more in them.
fn without_lists(mut health: Json) -> Json {
    if let Some(fields) = health.as_object_mut() {
        fields.retain(|_, value| !value.is_array());
    }
    health
}
