//! What commands that run for long have in common: metrics while they run, and a log on standard error.

use clap::Args;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;

use super::Session;
use super::store::{Backend, Failure, Result, Store};
use crate::metrics::{MetricsOptions, MetricsServer};

/// The variable that --log overrides.
const LOG_VARIABLE: &str = "NOKV_LOG";
/// What is logged when nobody says anything.
const LOG_DEFAULT: &str = "warn";

/// Flags of commands that run for long.
#[derive(Debug, Clone, Default, Args)]
pub struct ServiceArgs {
    /// Serve metrics while the command runs: HOST:PORT, or PORT for 127.0.0.1 (0 takes a free one).
    #[arg(long, value_name = "ADDR", help_heading = "Metrics and log")]
    pub metrics_addr: Option<String>,

    /// Let other machines read the metrics, which name hot keys; there is no password.
    #[arg(long, requires = "metrics_addr", help_heading = "Metrics and log")]
    pub metrics_allow_remote: bool,

    /// What to log on standard error: off, error, warn, info, debug, trace, or TARGET=LEVEL pairs with commas
    /// between them [default: $NOKV_LOG, or warn].
    #[arg(long, value_name = "LEVEL", help_heading = "Metrics and log")]
    pub log: Option<String>,
}

impl ServiceArgs {
    /// Starts the log. In a process that has one already nothing changes.
    ///
    /// # Errors
    /// The level makes no sense.
    pub fn start_log(&self) -> Result<()> {
        let (from, text) = match (&self.log, std::env::var(LOG_VARIABLE)) {
            (Some(level), _) => ("--log", level.clone()),
            (None, Ok(level)) if !level.is_empty() => (LOG_VARIABLE, level),
            _ => ("--log", LOG_DEFAULT.to_owned()),
        };
        let wrong = || {
            let next = "use off, error, warn, info, debug or trace, for example --log nokv=debug,warn";
            Failure::new("the log level makes no sense", format!("{from} {text}"), next)
        };
        // A word alone is a level; the parser would take it for the name of a target.
        let is_level = |part: &str| part.contains('=') || part.parse::<LevelFilter>().is_ok();
        if !text.split(',').all(is_level) {
            return Err(wrong());
        }
        let targets: Targets = text.parse().map_err(|_| wrong())?;
        let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false);
        // Whoever embeds the command line may have a subscriber of its own.
        let _ =
            tracing::subscriber::set_global_default(tracing_subscriber::registry().with(targets).with(lines));
        Ok(())
    }
}

impl<B: Backend> Session<'_, B> {
    /// Serves the metrics of `store` as long as the guard lives, if the flags ask for it.
    pub(super) fn serve(&mut self, store: &B::Store, args: &ServiceArgs) -> Result<Option<MetricsServer>> {
        let Some(addr) = &args.metrics_addr else { return Ok(None) };
        let options = MetricsOptions { allow_remote: args.metrics_allow_remote };
        let server = store.serve(addr, options)?;
        let at = server.local_addr();
        self.note(&format!("metrics are served: http://{at}: nokv top --expvar {at} shows them"))?;
        Ok(Some(server))
    }
}
