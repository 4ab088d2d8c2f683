//! SLOWLOG and LATENCY: which commands, and what else, took too long.

use super::args::parse_integer;
use super::{Answer, Call, Command, Fail, Flags, HELP, Reply};
use crate::redis::server::diagnosis::Spikes;

const ADMIN: Flags = Flags::ADMIN.and(Flags::LOADING).and(Flags::STALE);
const LATENCY: Command =
    Command { group: "server", flags: ADMIN.and(Flags::NO_SCRIPT), since: "2.8.13", ..Command::NEW };
const SLOWLOG: Command = Command { group: "server", flags: ADMIN, since: "2.2.12", ..Command::NEW };

/// The commands.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "slowlog",
        arity: -2,
        summary: "A container for slow log commands.",
        subcommands: &[
            Command {
                name: "get",
                arity: -2,
                handler: slow_commands,
                summary: "Returns the slow log's entries.",
                usage: "[count]",
                ..SLOWLOG
            },
            Command {
                name: "len",
                arity: 2,
                handler: |call| Ok(Reply::count(call.state.slow.commands.len())),
                summary: "Returns the number of entries in the slow log.",
                ..SLOWLOG
            },
            Command {
                name: "reset",
                arity: 2,
                handler: |call| {
                    call.state.slow.commands.clear();
                    Ok(Reply::Ok)
                },
                summary: "Clears all entries from the slow log.",
                ..SLOWLOG
            },
            HELP,
        ],
        flags: Flags(0),
        ..SLOWLOG
    },
    Command {
        name: "latency",
        arity: -2,
        summary: "A container for latency diagnostics commands.",
        subcommands: &[
            Command {
                name: "doctor",
                arity: 2,
                handler: doctor,
                summary: "Returns a human-readable latency analysis report.",
                ..LATENCY
            },
            Command {
                name: "histogram",
                arity: -2,
                handler: histogram,
                since: "7.0.0",
                summary: "Returns the cumulative distribution of latencies of a subset or all commands.",
                usage: "[command [command ...]]",
                ..LATENCY
            },
            Command {
                name: "history",
                arity: 3,
                handler: history,
                summary: "Returns timestamp-latency samples for an event.",
                usage: "event",
                ..LATENCY
            },
            Command {
                name: "latest",
                arity: 2,
                handler: latest,
                summary: "Returns the latest latency samples for all events.",
                ..LATENCY
            },
            Command {
                name: "reset",
                arity: -2,
                handler: reset,
                summary: "Resets the latency data for one or more events.",
                usage: "[event [event ...]]",
                ..LATENCY
            },
            HELP,
        ],
        flags: Flags(0),
        ..LATENCY
    },
];

fn slow_commands(call: &mut Call<'_>) -> Answer<Reply> {
    let count = match call.args {
        [_, _] => 10,
        [_, _, count] => parse_integer(count)
            .filter(|count| *count >= -1)
            .ok_or(Fail::of("ERR count should be greater than or equal to -1"))?,
        _ => return Err(Fail::arity("slowlog|get")),
    };
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let entries = call.state.slow.commands.iter().take(count).map(|slow| {
        Reply::Array(vec![
            Reply::count(slow.id),
            Reply::count(slow.at_unix),
            Reply::count(slow.micros),
            Reply::Array(slow.args.iter().map(Reply::bulk).collect()),
            Reply::bulk(&slow.peer),
            Reply::bulk(&slow.name),
        ])
    });
    Ok(Reply::Array(entries.collect()))
}

fn latest(call: &mut Call<'_>) -> Answer<Reply> {
    let entries = call.state.latency.events.iter().filter_map(|(name, spikes)| {
        let (at, ms) = spikes.samples.back()?;
        Some(Reply::Array(vec![
            Reply::Text(name),
            Reply::count(*at),
            Reply::count(*ms),
            Reply::count(spikes.max_ms),
        ]))
    });
    Ok(Reply::Array(entries.collect()))
}

fn spikes<'c>(call: &'c Call<'_>, event: &[u8]) -> Option<&'c Spikes> {
    call.state.latency.events.get(std::str::from_utf8(event).ok()?)
}

fn history(call: &mut Call<'_>) -> Answer<Reply> {
    let samples = spikes(call, call.args[2]).into_iter().flat_map(|spikes| &spikes.samples);
    let pairs = samples.map(|(at, ms)| Reply::Array(vec![Reply::count(*at), Reply::count(*ms)]));
    Ok(Reply::Array(pairs.collect()))
}

fn reset(call: &mut Call<'_>) -> Answer<Reply> {
    let events = &mut call.state.latency.events;
    let before = events.len();
    match &call.args[2..] {
        [] => events.clear(),
        names => events.retain(|event, _| !names.contains(&event.as_bytes())),
    }
    Ok(Reply::count(before - events.len()))
}

fn histogram(call: &mut Call<'_>) -> Answer<Reply> {
    let names = &call.args[2..];
    let is_meant = |full: &str| {
        let parent = full.split('|').next().unwrap_or_default().as_bytes();
        names.is_empty()
            || names
                .iter()
                .any(|name| name.eq_ignore_ascii_case(full.as_bytes()) || name.eq_ignore_ascii_case(parent))
    };
    let mut found = Vec::new();
    for entry in call.state.table.entries().iter().filter(|entry| is_meant(&entry.full)) {
        let Some(counters) = call.state.counters.by_command.get(entry.index) else { continue };
        if counters.calls == 0 {
            continue;
        }
        let powers = counters.times.by_power().into_iter();
        let powers = powers.map(|(micros, count)| (Reply::count(micros), Reply::count(count))).collect();
        found.push((
            Reply::bulk(&entry.full),
            Reply::Map(vec![
                (Reply::Text("calls"), Reply::count(counters.calls)),
                (Reply::Text("histogram_usec"), Reply::Map(powers)),
            ]),
        ));
    }
    Ok(Reply::Map(found))
}

fn doctor(call: &mut Call<'_>) -> Answer<Reply> {
    let threshold = call.state.config.latency_ms;
    if threshold == 0 {
        return Ok(Reply::Verbatim(
            "txt",
            "Latency monitoring is off: CONFIG SET latency-monitor-threshold MILLISECONDS turns it on.\n"
                .to_owned(),
        ));
    }
    let mut text = String::new();
    for (name, spikes) in &call.state.latency.events {
        let count = spikes.samples.len().max(1) as u64;
        let mean = spikes.samples.iter().map(|(_, ms)| ms).sum::<u64>() / count;
        text.push_str(&format!(
            "{name}: {count} seconds with spikes of at least {threshold} ms, mean {mean} ms, longest {} ms.\n",
            spikes.max_ms
        ));
    }
    if text.is_empty() {
        text.push_str("No event has taken as long as the threshold.\n");
    } else {
        text.push_str("SLOWLOG GET shows which commands were slow.\n");
    }
    Ok(Reply::Verbatim("txt", text))
}
