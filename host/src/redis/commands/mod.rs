//! The commands: a table of what each is and does.
//!
//! A group of commands is a file with a table `COMMANDS` and their functions. A function reads its arguments from a
//! [`Call`], works on the keyspace within the transaction that is under way, and gives a reply. It checks everything
//! before it changes anything: what an earlier command of a transaction did stays when a later one fails.

pub mod acl;
pub mod args;
pub mod bitfield;
pub mod bits;
pub mod blocking_lists;
pub mod clients;
pub mod collections;
pub mod config;
pub mod connection;
pub mod databases;
pub mod debug;
pub mod dump;
pub mod expiry;
pub mod hashes;
pub mod info;
pub mod introspection;
pub mod keys;
pub mod latency;
pub mod lcs;
pub mod lists;
pub mod memory;
pub mod messaging;
pub mod numbers;
pub mod object;
pub mod scan;
pub mod scans;
pub mod server;
pub mod sets;
pub mod sort;
pub mod strings;
pub mod transactions;
pub mod transfer;
pub mod usage;
pub mod zsets;
pub mod zsets_combine;
pub mod zsets_pops;
pub mod zsets_ranges;

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::LazyLock;

use nokv_core::formats::redis::Kind;
use nokv_core::read::point::Value;

use super::acl::categories::Categories;
use super::fail::{Answer, Fail};
use super::resp::reply::Reply;
use super::server::client::ClientRef;
use super::server::state::State;
use super::store::effects::Class;
use super::store::keyspace::{Found, Keyspace};

/// What a command is like: bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags(pub u32);

macro_rules! flags {
    ($($(#[$doc:meta])* $name:ident = $bit:literal, $text:literal;)*) => {
        impl Flags {
            $($(#[$doc])* pub const $name: Self = Self(1 << $bit);)*

            /// Their names in `COMMAND INFO`.
            pub fn names(self) -> impl Iterator<Item = &'static str> {
                [$((1u32 << $bit, $text)),*].into_iter().filter(move |(bit, _)| self.0 & bit != 0).map(|(_, text)| text)
            }
        }
    };
}

flags! {
    /// Writes keys.
    WRITE = 0, "write";
    /// Reads keys.
    READ = 1, "readonly";
    /// Takes memory or space.
    GROWS = 2, "denyoom";
    /// For whoever runs the server.
    ADMIN = 3, "admin";
    /// Messages.
    PUBSUB = 4, "pubsub";
    /// Not in scripts.
    NO_SCRIPT = 5, "noscript";
    /// May wait for keys.
    BLOCKING = 6, "blocking";
    /// While data is loaded, too.
    LOADING = 7, "loading";
    /// On stale replicas, too.
    STALE = 8, "stale";
    /// Does little.
    FAST = 9, "fast";
    /// Before AUTH, too.
    NO_AUTH = 10, "no_auth";
    /// Not in a transaction.
    NO_MULTI = 11, "no_multi";
    /// Its keys are found by its own rules.
    MOVABLE_KEYS = 12, "movablekeys";
    /// MONITOR does not show it.
    SKIP_MONITOR = 13, "skip_monitor";
    /// SLOWLOG does not show it.
    SKIP_SLOWLOG = 14, "skip_slowlog";
    /// While the server is busy, too.
    ALLOW_BUSY = 15, "allow_busy";
}

impl Flags {
    /// These and those.
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// All of these bits?
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Which arguments are keys.
#[derive(Debug, Clone, Copy)]
pub enum Keys {
    /// None.
    None,
    /// From the first to the last (negative: from the end), every `step`th.
    Range {
        /// Position of the first; the command's name is 0.
        first: i32,
        /// Position of the last.
        last: i32,
        /// Distance.
        step: i32,
    },
    /// So many as the argument at `count` says, behind it; and the one at `before`, unless that is 0.
    Counted {
        /// Position of a single key before, or 0.
        before: usize,
        /// Position of the count.
        count: usize,
    },
    /// The first argument, and the one behind the last `STORE`.
    FirstAndStore,
}

impl Keys {
    /// One key behind the name.
    pub const ONE: Self = Self::Range { first: 1, last: 1, step: 1 };
    /// Two keys behind the name.
    pub const TWO: Self = Self::Range { first: 1, last: 2, step: 1 };
    /// All arguments.
    pub const ALL: Self = Self::Range { first: 1, last: -1, step: 1 };

    /// Positions of the keys among `args`; `None` if the arguments make no sense.
    pub fn positions(&self, args: &[&[u8]]) -> Option<Vec<usize>> {
        match *self {
            Self::None => Some(Vec::new()),
            Self::Range { first, last, step } => {
                let len = i32::try_from(args.len()).ok()?;
                let last = if last < 0 { len + last } else { last };
                (last < len)
                    .then(|| (first..=last).step_by(step.max(1) as usize).map(|i| i as usize).collect())
            }
            Self::Counted { before, count } => {
                let keys: usize = std::str::from_utf8(args.get(count)?).ok()?.parse().ok()?;
                if keys == 0 || keys > args.len().checked_sub(count + 1)? {
                    return None;
                }
                let one = (before != 0).then_some(before);
                Some(one.into_iter().chain(count + 1..count + 1 + keys).collect())
            }
            Self::FirstAndStore => {
                let (mut at, mut store) = (2, None);
                while let Some(word) = args.get(at) {
                    at += match word.to_ascii_lowercase().as_slice() {
                        b"store" => {
                            store = Some(at + 1).filter(|key| *key < args.len());
                            2
                        }
                        b"limit" => 3,
                        b"by" | b"get" => 2,
                        _ => 1,
                    };
                }
                Some(std::iter::once(1).chain(store).collect())
            }
        }
    }
}

/// What it takes to run a command.
pub struct Call<'c> {
    /// All arguments, the command's name first.
    pub args: &'c [&'c [u8]],
    /// The command.
    pub command: &'static Command,
    /// The database of the client.
    pub db: u8,
    /// The keys, within the transaction that is under way.
    pub keys: &'c mut Keyspace,
    /// What the clients share.
    pub state: &'c mut State,
    /// Who asks. Borrow it briefly: commands about clients look at all of them.
    pub client: &'c ClientRef,
    /// It runs in a transaction (`EXEC`): it must not wait.
    pub in_exec: bool,
    /// It waited, and this key was written; see [`Call::candidates`].
    pub ready: Option<&'c [u8]>,
}

impl Call<'_> {
    /// What a key holds, for a command that only reads; counts as a hit or a miss.
    ///
    /// # Errors
    /// What the store met.
    pub fn read(&mut self, key: &[u8]) -> Answer<Option<Found>> {
        let found = self.keys.find(self.db, key)?;
        self.note_read(key, found.is_some());
        Ok(found)
    }

    /// The string of a key, for a command that only reads; counts as a hit or a miss.
    ///
    /// # Errors
    /// As [`Call::read`]; [`Fail::WRONG_TYPE`].
    pub fn read_string(&mut self, key: &[u8]) -> Answer<Option<Value>> {
        match self.read(key)? {
            Some(found) if found.kind != Kind::String => Err(Fail::WRONG_TYPE),
            found => Ok(found.map(|found| found.value)),
        }
    }

    /// A command that gives what a key held has looked it up: a hit or a miss.
    pub fn note_read(&mut self, key: &[u8], is_hit: bool) {
        if is_hit {
            self.state.counters.hits += 1;
        } else {
            self.state.counters.misses += 1;
            self.event(Class::KEY_MISS, "keymiss", key);
        }
    }
}

/// Runs a command.
pub type Handler = fn(&mut Call<'_>) -> Answer<Reply>;

/// A command, or one of its subcommands.
pub struct Command {
    /// Its name, in lower case.
    pub name: &'static str,
    /// Arguments with the name (of a subcommand: with both); negative: at least so many.
    pub arity: i32,
    /// What it is like.
    pub flags: Flags,
    /// Its keys.
    pub keys: Keys,
    /// What it does.
    pub handler: Handler,
    /// The group of `COMMAND DOCS`.
    pub group: &'static str,
    /// Since which version Redis has it.
    pub since: &'static str,
    /// What it does, for people.
    pub summary: &'static str,
    /// Its arguments, for people: as `redis-cli` shows them.
    pub usage: &'static str,
    /// Subcommands; then `handler` is for a name that is none of them.
    pub subcommands: &'static [Command],
}

impl Command {
    /// A command; the rest is set with `..Command::NEW`.
    pub const NEW: Self = Self {
        name: "",
        arity: -1,
        flags: Flags(0),
        keys: Keys::None,
        handler: unknown_subcommand,
        group: "generic",
        since: "1.0.0",
        summary: "",
        usage: "",
        subcommands: &[],
    };

    /// May it be called with so many arguments?
    pub fn takes(&self, args: usize) -> bool {
        let arity = self.arity.unsigned_abs() as usize;
        if self.arity < 0 { args >= arity } else { args == arity }
    }
}

/// `HELP` of a command with subcommands: what they are.
///
/// # Errors
/// None.
pub fn help(call: &mut Call<'_>) -> Answer<Reply> {
    let Some(parent) = call.state.table.find(call.args[0]) else { return Ok(Reply::Array(Vec::new())) };
    let name = parent.name.to_ascii_uppercase();
    let mut lines = vec![format!("{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:")];
    for sub in parent.subcommands.iter().filter(|sub| sub.name != "help") {
        lines.push(format!("{} {}", sub.name.to_ascii_uppercase(), sub.usage).trim_end().to_owned());
        lines.push(format!("    {}", sub.summary));
    }
    lines.push("HELP".to_owned());
    lines.push("    Print this help.".to_owned());
    Ok(Reply::Array(lines.into_iter().map(|line| Reply::Status(line.into())).collect()))
}

/// The subcommand `HELP`.
pub const HELP: Command = Command {
    name: "help",
    arity: 2,
    flags: Flags::LOADING.and(Flags::STALE),
    handler: help,
    group: "server",
    summary: "Returns helpful text about the different subcommands.",
    ..Command::NEW
};

/// Says that a command does not have this subcommand.
///
/// # Errors
/// Always.
pub fn unknown_subcommand(call: &mut Call<'_>) -> Answer<Reply> {
    let name = String::from_utf8_lossy(call.args.get(1).copied().unwrap_or_default()).into_owned();
    let name: String = name.chars().take(128).collect();
    Err(Fail::text(format!(
        "ERR unknown subcommand '{name}'. Try {} HELP.",
        call.command.name.to_ascii_uppercase()
    )))
}

const GROUPS: &[&[Command]] = &[
    acl::COMMANDS,
    bitfield::COMMANDS,
    bits::COMMANDS,
    blocking_lists::COMMANDS,
    clients::COMMANDS,
    config::COMMANDS,
    connection::COMMANDS,
    databases::COMMANDS,
    debug::COMMANDS,
    dump::COMMANDS,
    expiry::COMMANDS,
    hashes::COMMANDS,
    info::COMMANDS,
    introspection::COMMANDS,
    keys::COMMANDS,
    latency::COMMANDS,
    lcs::COMMANDS,
    lists::COMMANDS,
    memory::COMMANDS,
    messaging::COMMANDS,
    numbers::COMMANDS,
    object::COMMANDS,
    scan::COMMANDS,
    server::COMMANDS,
    sets::COMMANDS,
    sort::COMMANDS,
    strings::COMMANDS,
    transactions::COMMANDS,
    zsets::COMMANDS,
    zsets_combine::COMMANDS,
    zsets_pops::COMMANDS,
    zsets_ranges::COMMANDS,
];

/// What is derived from a command once.
pub struct Entry {
    /// The command.
    pub command: &'static Command,
    /// Whose subcommand it is.
    pub parent: Option<&'static Command>,
    /// `get`, `config|get`.
    pub full: String,
    /// Its categories.
    pub categories: Categories,
    /// Its place in lists that have one for each command.
    pub index: usize,
}

/// All commands by name.
pub struct Table {
    /// Places of commands in `entries`.
    by_name: HashMap<&'static str, usize, BuildHasherDefault<NameHasher>>,
    /// Commands by name, each followed by its subcommands.
    entries: Vec<Entry>,
}

/// FNV-1a: the names are a fixed few, so nobody can make them collide.
struct NameHasher(u64);

impl Default for NameHasher {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for NameHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        // The map takes its tag from the upper bits.
        self.0 ^ (self.0 << 32)
    }
}

static SHARED: LazyLock<Table> = LazyLock::new(Table::new);

/// The longest name of a command.
const NAME_BYTES_MAX: usize = 32;

impl Table {
    /// The table.
    pub fn new() -> Self {
        let mut all: Vec<&'static Command> = GROUPS.iter().flat_map(|group| group.iter()).collect();
        all.sort_by_key(|command| command.name);
        let mut table = Self { by_name: HashMap::default(), entries: Vec::new() };
        for command in all {
            table.by_name.insert(command.name, table.entries.len());
            table.add(command, None);
            command.subcommands.iter().for_each(|sub| table.add(sub, Some(command)));
        }
        table
    }

    fn add(&mut self, command: &'static Command, parent: Option<&'static Command>) {
        let full = match parent {
            Some(parent) => format!("{}|{}", parent.name, command.name),
            None => command.name.to_owned(),
        };
        let index = self.entries.len();
        let categories = Categories::of(command, parent);
        self.entries.push(Entry { command, parent, full, categories, index });
    }

    /// The table that all share.
    pub fn shared() -> &'static Self {
        &SHARED
    }

    /// All commands and subcommands, by name.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// All of them, by name.
    pub fn all(&self) -> Vec<&'static Command> {
        self.entries.iter().filter(|entry| entry.parent.is_none()).map(|entry| entry.command).collect()
    }

    /// The command of a name in any case.
    pub fn find(&self, name: &[u8]) -> Option<&'static Command> {
        self.place_of(name).and_then(|at| self.entries.get(at)).map(|entry| entry.command)
    }

    fn place_of(&self, name: &[u8]) -> Option<usize> {
        let mut lower = [0u8; NAME_BYTES_MAX];
        let lower = lower.get_mut(..name.len())?;
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        self.by_name.get(std::str::from_utf8(lower).ok()?).copied()
    }

    /// The command, or the subcommand, that `args` call, with the right number of them.
    ///
    /// # Errors
    /// What Redis says: unknown, or a wrong number of arguments.
    pub fn resolve(&self, args: &[&[u8]]) -> Answer<&Entry> {
        let name = args.first().copied().unwrap_or_default();
        let place = self.place_of(name);
        let Some((at, entry)) = place.and_then(|at| Some((at, self.entries.get(at)?))) else {
            return Err(unknown(args));
        };
        let command = entry.command;
        if command.subcommands.is_empty() || args.len() < 2 {
            if !command.takes(args.len()) {
                return Err(Fail::arity(command.name));
            }
            return Ok(entry);
        }
        let subs = self.entries.get(at + 1..=at + command.subcommands.len()).unwrap_or_default();
        let is_named = |sub: &&Entry| sub.command.name.as_bytes().eq_ignore_ascii_case(args[1]);
        match subs.iter().find(is_named) {
            Some(sub) if !sub.command.takes(args.len()) => Err(Fail::arity(&sub.full)),
            Some(sub) => Ok(sub),
            None => Ok(entry),
        }
    }
}

impl Default for Table {
    fn default() -> Self {
        Self::new()
    }
}

/// Bytes of a command's name, and of its arguments, that an error shows.
const SHOWN_BYTES_MAX: usize = 128;

fn unknown(args: &[&[u8]]) -> Fail {
    let shown = |bytes: &[u8], most: usize| -> String {
        String::from_utf8_lossy(&bytes[..bytes.len().min(most)]).into_owned()
    };
    let name = shown(args.first().copied().unwrap_or_default(), SHOWN_BYTES_MAX);
    let (mut rest, mut bytes) = (String::new(), 0);
    for arg in args.iter().skip(1) {
        let Some(room @ 1..) = SHOWN_BYTES_MAX.checked_sub(bytes) else { break };
        rest.push_str(&format!("'{}' ", shown(arg, room)));
        bytes += arg.len().min(room) + 3;
    }
    Fail::text(format!("ERR unknown command '{name}', with args beginning with: {rest}"))
}
