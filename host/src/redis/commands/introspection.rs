//! COMMAND: what there is, from the table.

use super::args::is;
use super::usage;
use super::{Answer, Call, Command, Entry, Fail, Flags, HELP, Keys, Reply, Table};
use crate::redis::acl::categories::Categories;
use crate::redis::glob;

const FLAGS: Flags = Flags::LOADING.and(Flags::STALE);
const SUB: Command = Command { group: "server", flags: FLAGS, since: "2.8.13", ..Command::NEW };

/// The commands.
pub const COMMANDS: &[Command] = &[Command {
    name: "command",
    flags: FLAGS,
    handler: |call| match call.args.len() {
        1 => Ok(Reply::Array(tops(call.state.table).map(|entry| info(call.state.table, entry)).collect())),
        _ => super::unknown_subcommand(call),
    },
    group: "server",
    since: "2.8.13",
    summary: "Returns detailed information about all commands.",
    subcommands: &[
        Command {
            name: "count",
            arity: 2,
            handler: |call| Ok(Reply::count(tops(call.state.table).count())),
            summary: "Returns a count of commands.",
            ..SUB
        },
        Command {
            name: "docs",
            arity: -2,
            handler: docs,
            since: "7.0.0",
            summary: "Returns documentary information about one, multiple or all commands.",
            usage: "[command-name [command-name ...]]",
            ..SUB
        },
        Command {
            name: "getkeys",
            arity: -3,
            handler: |call| {
                Ok(Reply::Array(keys_of(&call.args[2..])?.1.into_iter().map(Reply::bulk).collect()))
            },
            summary: "Extracts the key names from an arbitrary command.",
            usage: "command [arg [arg ...]]",
            ..SUB
        },
        Command {
            name: "getkeysandflags",
            arity: -3,
            handler: |call| {
                let (command, keys) = keys_of(&call.args[2..])?;
                let flags =
                    || Reply::Set(key_flags(command).into_iter().map(|f| Reply::Status(f.into())).collect());
                Ok(Reply::Array(
                    keys.iter().map(|key| Reply::Array(vec![Reply::bulk(key), flags()])).collect(),
                ))
            },
            since: "7.0.0",
            summary: "Extracts the key names and access flags for an arbitrary command.",
            usage: "command [arg [arg ...]]",
            ..SUB
        },
        Command {
            name: "info",
            arity: -2,
            handler: infos,
            summary: "Returns information about one, multiple or all commands.",
            usage: "[command-name [command-name ...]]",
            ..SUB
        },
        Command {
            name: "list",
            arity: -2,
            handler: list,
            since: "7.0.0",
            summary: "Returns a list of command names.",
            usage: "[FILTERBY <MODULE module-name | ACLCAT category | PATTERN pattern>]",
            ..SUB
        },
        HELP,
    ],
    ..Command::NEW
}];

fn tops(table: &'static Table) -> impl Iterator<Item = &'static Entry> {
    table.entries().iter().filter(|entry| entry.parent.is_none())
}

fn named(table: &'static Table, name: &[u8]) -> Option<&'static Entry> {
    table.entries().iter().find(|entry| entry.full.as_bytes().eq_ignore_ascii_case(name))
}

fn infos(call: &mut Call<'_>) -> Answer<Reply> {
    let table = call.state.table;
    let replies = match &call.args[2..] {
        [] => tops(table).map(|entry| info(table, entry)).collect(),
        names => {
            let each = names.iter();
            each.map(|name| named(table, name).map_or(Reply::NilArray, |entry| info(table, entry))).collect()
        }
    };
    Ok(Reply::Array(replies))
}

fn words<'a>(words: impl IntoIterator<Item = impl Into<std::borrow::Cow<'static, str>>> + 'a) -> Vec<Reply> {
    words.into_iter().map(|word| Reply::Status(word.into())).collect()
}

fn info(table: &'static Table, entry: &'static Entry) -> Reply {
    let command = entry.command;
    let (first, last, step) = match command.keys {
        Keys::None => (0, 0, 0),
        Keys::Range { first, last, step } => (first, last, step),
        Keys::FirstAndStore => (1, 1, 1),
        Keys::Counted { before: 0, .. } => (0, 0, 0),
        Keys::Counted { before, .. } => (before as i32, before as i32, 1),
    };
    let mut flags = command.flags;
    if matches!(command.keys, Keys::Counted { .. }) {
        flags = flags.and(Flags::MOVABLE_KEYS);
    }
    let subs =
        table.entries().iter().filter(|sub| sub.parent.is_some_and(|parent| parent.name == entry.full));
    Reply::Array(vec![
        Reply::bulk(&entry.full),
        Reply::Int(i64::from(command.arity)),
        Reply::Set(words(flags.names())),
        Reply::Int(i64::from(first)),
        Reply::Int(i64::from(last)),
        Reply::Int(i64::from(step)),
        Reply::Set(words(entry.categories.names().map(|name| format!("@{name}")))),
        Reply::Array(Vec::new()),
        Reply::Array(key_specs(command)),
        Reply::Array(subs.map(|sub| info(table, sub)).collect()),
    ])
}

fn key_specs(command: &Command) -> Vec<Reply> {
    let range = |first: i32, last: i32, step: i32| {
        let last = if last < 0 { last } else { last - first };
        spec(
            command,
            i64::from(first),
            "range",
            vec![
                (Reply::Text("lastkey"), Reply::Int(i64::from(last))),
                (Reply::Text("keystep"), Reply::Int(i64::from(step))),
                (Reply::Text("limit"), Reply::Int(0)),
            ],
        )
    };
    match command.keys {
        Keys::None => Vec::new(),
        Keys::Range { first, last, step } => vec![range(first, last, step)],
        Keys::FirstAndStore => vec![range(1, 1, 1)],
        Keys::Counted { before, count } => {
            let mut specs = Vec::new();
            if before != 0 {
                specs.push(range(before as i32, before as i32, 1));
            }
            specs.push(spec(
                command,
                count as i64,
                "keynum",
                vec![
                    (Reply::Text("keynumidx"), Reply::Int(0)),
                    (Reply::Text("firstkey"), Reply::Int(1)),
                    (Reply::Text("keystep"), Reply::Int(1)),
                ],
            ));
            specs
        }
    }
}

fn spec(command: &Command, index: i64, kind: &'static str, find: Vec<(Reply, Reply)>) -> Reply {
    let begin = vec![(Reply::Text("index"), Reply::Int(index))];
    let part = |kind: &'static str, spec: Vec<(Reply, Reply)>| {
        Reply::Map(vec![(Reply::Text("type"), Reply::Text(kind)), (Reply::Text("spec"), Reply::Map(spec))])
    };
    Reply::Map(vec![
        (Reply::Text("flags"), Reply::Set(words(key_flags(command)))),
        (Reply::Text("begin_search"), part("index", begin)),
        (Reply::Text("find_keys"), part(kind, find)),
    ])
}

/// What a command does with its keys, as far as its flags tell; the same for all of them.
fn key_flags(command: &Command) -> Vec<&'static str> {
    match command.name {
        _ if command.flags.has(Flags::READ) => vec!["RO", "access"],
        "set" | "setex" | "psetex" | "mset" => vec!["OW", "update"],
        "setnx" | "msetnx" => vec!["OW", "insert"],
        "del" | "unlink" => vec!["RM", "delete"],
        "expire" | "pexpire" | "expireat" | "pexpireat" | "persist" => vec!["RW", "update"],
        _ if command.flags.has(Flags::WRITE) => vec!["RW", "access", "update"],
        _ => vec!["RO"],
    }
}

fn keys_of<'a>(args: &[&'a [u8]]) -> Answer<(&'static Command, Vec<&'a [u8]>)> {
    let table = Table::shared();
    let name = args.first().copied().unwrap_or_default();
    if table.find(name).is_none() {
        return Err(Fail::of("ERR Invalid command specified"));
    }
    let wrong = |_| Fail::of("ERR Invalid number of arguments specified for command");
    let command = table.resolve(args).map_err(wrong)?.command;
    if matches!(command.keys, Keys::None) {
        return Err(Fail::of("ERR The command has no key arguments"));
    }
    let positions =
        command.keys.positions(args).ok_or(Fail::of("ERR Invalid arguments specified for command"))?;
    Ok((command, positions.into_iter().filter_map(|at| args.get(at).copied()).collect()))
}

fn list(call: &mut Call<'_>) -> Answer<Reply> {
    let all = call.state.table.entries().iter();
    let names: Vec<&Entry> = match &call.args[2..] {
        [] => tops(call.state.table).collect(),
        [by, kind, name] if is(by, "filterby") => match kind.to_ascii_lowercase().as_slice() {
            b"module" => Vec::new(),
            b"aclcat" => match Categories::named(&String::from_utf8_lossy(name)) {
                Some(category) => all.filter(|entry| entry.categories.meets(category)).collect(),
                None => Vec::new(),
            },
            b"pattern" => all.filter(|entry| glob::matches(name, entry.full.as_bytes(), true)).collect(),
            _ => return Err(Fail::SYNTAX),
        },
        _ => return Err(Fail::SYNTAX),
    };
    Ok(Reply::Array(names.into_iter().map(|entry| Reply::bulk(&entry.full)).collect()))
}

fn docs(call: &mut Call<'_>) -> Answer<Reply> {
    let table = call.state.table;
    let found: Vec<&'static Entry> = match &call.args[2..] {
        [] => tops(table).collect(),
        names => names.iter().filter_map(|name| named(table, name)).collect(),
    };
    Ok(Reply::Map(found.into_iter().map(|entry| (Reply::bulk(&entry.full), doc(table, entry))).collect()))
}

fn doc(table: &'static Table, entry: &'static Entry) -> Reply {
    let command = entry.command;
    let mut pairs = vec![
        (Reply::Text("summary"), Reply::Text(command.summary)),
        (Reply::Text("since"), Reply::Text(command.since)),
        (Reply::Text("group"), Reply::Text(command.group)),
    ];
    let arguments = usage::parse(command.usage);
    if !arguments.is_empty() {
        let mut key_at = 0;
        let arguments = arguments.iter().map(|argument| argument.to_reply(&mut key_at)).collect();
        pairs.push((Reply::Text("arguments"), Reply::Array(arguments)));
    }
    let subs: Vec<_> = table
        .entries()
        .iter()
        .filter(|sub| sub.parent.is_some_and(|parent| parent.name == entry.full))
        .map(|sub| (Reply::bulk(&sub.full), doc(table, sub)))
        .collect();
    if !subs.is_empty() {
        pairs.push((Reply::Text("subcommands"), Reply::Map(subs)));
    }
    Reply::Map(pairs)
}

#[cfg(test)]
mod tests;
