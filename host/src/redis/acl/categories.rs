//! Categories of commands, as `+@read` names them: mostly what flags and group say.

use crate::redis::commands::{Command, Flags};

/// The names, in Redis' order.
pub const NAMES: [&str; 21] = [
    "keyspace",
    "read",
    "write",
    "set",
    "sortedset",
    "list",
    "hash",
    "string",
    "bitmap",
    "hyperloglog",
    "geo",
    "stream",
    "pubsub",
    "admin",
    "fast",
    "slow",
    "blocking",
    "dangerous",
    "connection",
    "transaction",
    "scripting",
];

/// A set of categories: one bit for each of [`NAMES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Categories(u32);

impl Categories {
    /// The category of a name.
    pub fn named(name: &str) -> Option<Self> {
        let at = NAMES.iter().position(|known| known.eq_ignore_ascii_case(name))?;
        Some(Self(1 << at))
    }

    /// Has it any of these?
    pub const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Their names.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        NAMES.into_iter().enumerate().filter(move |(at, _)| self.0 >> at & 1 == 1).map(|(_, name)| name)
    }

    /// Those of a command, which is `parent`'s subcommand if there is one.
    pub fn of(command: &Command, parent: Option<&Command>) -> Self {
        let name = parent.map_or(command.name, |parent| parent.name);
        let has = |flag| command.flags.has(flag);
        let mut all = Self(0);
        let mut add = |name: &str, when: bool| {
            if when {
                all.0 |= Self::named(name).map_or(0, |category| category.0);
            }
        };
        add("read", has(Flags::READ));
        add("write", has(Flags::WRITE));
        add("admin", has(Flags::ADMIN));
        add("pubsub", has(Flags::PUBSUB));
        add("blocking", has(Flags::BLOCKING));
        add(if has(Flags::FAST) { "fast" } else { "slow" }, true);
        add("dangerous", has(Flags::ADMIN) || DANGEROUS.contains(&name));
        add("keyspace", is_keyspace(name, if command.group.is_empty() { "" } else { command.group }));
        add(
            "connection",
            command.group == "connection" || matches!(name, "command" | "asking" | "readonly" | "readwrite"),
        );
        for (group, category) in [
            ("string", "string"),
            ("bitmap", "bitmap"),
            ("list", "list"),
            ("set", "set"),
            ("sorted-set", "sortedset"),
            ("hash", "hash"),
            ("transactions", "transaction"),
        ] {
            add(category, command.group == group);
        }
        let is_sort = matches!(name, "sort" | "sort_ro");
        ["list", "set", "sortedset"].into_iter().for_each(|category| add(category, is_sort));
        all
    }
}

const DANGEROUS: [&str; 11] = [
    "keys",
    "flushall",
    "flushdb",
    "sort",
    "sort_ro",
    "info",
    "role",
    "swapdb",
    "restore",
    "lastsave",
    "replicaof",
];

fn is_keyspace(name: &str, group: &str) -> bool {
    match group {
        "generic" => !matches!(name, "sort" | "sort_ro" | "wait" | "waitaof"),
        _ => matches!(name, "dbsize" | "flushall" | "flushdb" | "swapdb"),
    }
}
