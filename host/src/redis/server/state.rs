//! What all clients share beside the keys.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::client::ClientRef;
use super::cursors::Cursors;
use super::pubsub::PubSub;
use super::waiting::Waiting;
use crate::redis::commands::{Command, Table};
use crate::redis::config::Config;

/// What all clients share.
pub struct State {
    /// The commands.
    pub table: Table,
    /// The settings.
    pub config: Config,
    /// All clients by their numbers.
    pub clients: BTreeMap<u64, ClientRef>,
    /// Who listens to which channel.
    pub pubsub: PubSub,
    /// Who waits for which key.
    pub waiting: Waiting,
    /// Positions of SCAN and its like.
    pub cursors: Cursors,
    /// Counters of `INFO`.
    pub counters: Counters,
    /// When the server started.
    pub started: Instant,
    /// Clients that see all commands.
    pub monitors: usize,
    /// The server is to end.
    pub shutdown: bool,
    next_client: u64,
}

/// Counters of `INFO` and of the statistics.
#[derive(Debug, Default)]
pub struct Counters {
    /// Commands that ran.
    pub commands: u64,
    /// Replies that were errors.
    pub errors: u64,
    /// Connections that were accepted.
    pub connections: u64,
    /// Connections that were refused.
    pub refused: u64,
    /// Keys that expired.
    pub expired: u64,
    /// Reads that found their key.
    pub hits: u64,
    /// Reads that did not.
    pub misses: u64,
    /// Bytes that arrived.
    pub bytes_in: u64,
    /// Bytes that left.
    pub bytes_out: u64,
    /// Calls, microseconds, failures by command.
    pub by_command: BTreeMap<&'static str, CommandCounters>,
    /// Error replies by their code.
    pub by_error: BTreeMap<String, u64>,
}

/// Counters of one command.
#[derive(Debug, Default, Clone, Copy)]
pub struct CommandCounters {
    /// It ran.
    pub calls: u64,
    /// Time in it.
    pub microseconds: u64,
    /// It was refused before it ran.
    pub rejected: u64,
    /// It failed.
    pub failed: u64,
}

impl State {
    /// A server's state at its start.
    pub fn new(config: Config) -> Self {
        Self {
            table: Table::new(),
            config,
            clients: BTreeMap::new(),
            pubsub: PubSub::default(),
            waiting: Waiting::default(),
            cursors: Cursors::default(),
            counters: Counters::default(),
            started: Instant::now(),
            monitors: 0,
            shutdown: false,
            next_client: 0,
        }
    }

    /// A command ran.
    pub fn note_run(
        &mut self,
        _client: &ClientRef,
        command: &'static Command,
        _args: &[&[u8]],
        spent: Duration,
        has_failed: bool,
    ) {
        self.counters.commands += 1;
        let counters = self.counters.by_command.entry(command.name).or_default();
        counters.calls += 1;
        counters.microseconds += u64::try_from(spent.as_micros()).unwrap_or(u64::MAX);
        counters.failed += u64::from(has_failed);
    }

    /// The number of the next client.
    pub const fn next_client(&mut self) -> u64 {
        self.next_client += 1;
        self.next_client
    }
}
