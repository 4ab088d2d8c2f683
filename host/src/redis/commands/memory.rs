//! MEMORY: what keys and the server take. Data lives on disk, so a key's "memory" is an estimate of its stored bytes.

use super::args::{integer, is};
use super::{Answer, Call, Command, Fail, Flags, HELP, Keys, Reply};
use crate::redis::store::backend::Table;
use nokv_core::formats::redis::Kind;

const SUB: Command = Command { group: "server", since: "4.0.0", ..Command::NEW };
/// What the store adds to an entry, about: sequence number, lengths, the index.
const ENTRY_OVERHEAD: u64 = 32;
/// Elements that are looked at, where nothing else is said.
const SAMPLES: u64 = 5;

/// The commands.
pub const COMMANDS: &[Command] = &[Command {
    name: "memory",
    arity: -2,
    since: "4.0.0",
    group: "server",
    summary: "A container for memory diagnostics commands.",
    subcommands: &[
        Command {
            name: "doctor",
            arity: 2,
            handler: |_| {
                Ok(Reply::Verbatim(
                    "txt",
                    "Data lives on disk; nokv stats shows what the caches take. Nothing is wrong here.\n"
                        .to_owned(),
                ))
            },
            summary: "Outputs a memory problems report.",
            ..SUB
        },
        Command {
            name: "malloc-stats",
            arity: 2,
            handler: |_| {
                Ok(Reply::Verbatim("txt", "Stats not supported for the current allocator".to_owned()))
            },
            summary: "Returns the allocator statistics.",
            ..SUB
        },
        Command {
            name: "purge",
            arity: 2,
            handler: |_| Ok(Reply::Ok),
            summary: "Asks the allocator to release memory: it does so by itself.",
            ..SUB
        },
        Command {
            name: "stats",
            arity: 2,
            handler: stats,
            summary: "Returns details about memory usage.",
            ..SUB
        },
        Command {
            name: "usage",
            arity: -3,
            flags: Flags::READ,
            keys: Keys::Range { first: 2, last: 2, step: 1 },
            handler: usage,
            summary: "Estimates the bytes that a key takes in the store.",
            usage: "key [SAMPLES count]",
            ..SUB
        },
        HELP,
    ],
    ..Command::NEW
}];

fn stats(call: &mut Call<'_>) -> Answer<Reply> {
    let space = call.keys.txn().backend().space();
    let mut pairs = Vec::new();
    let mut total = call.state.clients_bytes as u64;
    if let Some(memory) = space.memory {
        total += memory;
        pairs.push((Reply::Text("engine.bytes"), Reply::count(memory)));
    }
    pairs.push((Reply::Text("clients.normal"), Reply::count(call.state.clients_bytes)));
    pairs.insert(0, (Reply::Text("total.allocated"), Reply::count(total)));
    if let Some(disk) = space.disk {
        pairs.push((Reply::Text("dataset.bytes"), Reply::count(disk)));
    }
    Ok(Reply::Map(pairs))
}

fn usage(call: &mut Call<'_>) -> Answer<Reply> {
    let samples = match &call.args[3..] {
        [] => SAMPLES,
        [word, count] if is(word, "samples") => match u64::try_from(integer(count)?) {
            Ok(0) => u64::MAX,
            Ok(count) => count,
            Err(_) => return Err(Fail::SYNTAX),
        },
        _ => return Err(Fail::SYNTAX),
    };
    let key = call.args[2];
    let Some(found) = call.keys.find(call.db, key)? else { return Ok(Reply::Nil) };
    let own = key.len() as u64 + found.value.len() as u64 + ENTRY_OVERHEAD;
    if found.kind == Kind::String {
        return Ok(Reply::count(own));
    }
    let collection = call.keys.collection_of(call.db, key, &found)?;
    let (lower, upper) = (collection.element(b""), collection.end());
    let mut cursor = call.keys.txn().scan(Table::Elements, &lower, Some(&upper), false)?;
    let (mut seen, mut bytes) = (0u64, 0u64);
    while seen < samples && cursor.advance()? {
        seen += 1;
        bytes += cursor.key().len() as u64 + cursor.entry()?.value.len() as u64 + ENTRY_OVERHEAD;
    }
    let times = if found.kind == Kind::SortedSet { 2 } else { 1 };
    let mean = bytes.checked_div(seen).unwrap_or(0);
    Ok(Reply::count(own.saturating_add(mean.saturating_mul(collection.head.count).saturating_mul(times))))
}
