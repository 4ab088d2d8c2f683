//! CLIENT: who is there, what it is called, who has to go or to wait.

use std::time::{Duration, Instant};

use super::args::{integer, is, parse_integer};
use super::connection::{BAD_NAME, is_plain};
use super::{Answer, Call, Command, Fail, Flags, HELP, Reply};
use crate::redis::resp::reply::Protocol;
use crate::redis::server::client::{Client, Close, ReplyMode};
use crate::redis::server::state::Pause;

const USUAL: Flags = Flags::NO_SCRIPT.and(Flags::LOADING).and(Flags::STALE);
const ADMIN: Flags = USUAL.and(Flags::ADMIN);
const SUB: Command = Command { group: "connection", flags: USUAL, ..Command::NEW };

/// The commands.
pub const COMMANDS: &[Command] = &[Command {
    name: "client",
    arity: -2,
    group: "connection",
    since: "2.4.0",
    summary: "A container for client connection commands.",
    subcommands: &[
        Command {
            name: "caching",
            arity: 3,
            handler: |_| {
                Err(Fail::of(
                    "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT \
                     mode enabled",
                ))
            },
            since: "6.0.0",
            summary: "Instructs the server whether to track the keys in the next request.",
            usage: "<YES | NO>",
            ..SUB
        },
        Command {
            name: "getname",
            arity: 2,
            handler: |call| {
                let name = call.client.borrow().name.clone();
                Ok(if name.is_empty() { Reply::Nil } else { Reply::Bulk(name) })
            },
            since: "2.6.9",
            summary: "Returns the name of the connection.",
            ..SUB
        },
        Command {
            name: "getredir",
            arity: 2,
            handler: |_| Ok(Reply::Int(-1)),
            since: "6.0.0",
            summary: "Returns the client ID to which the connection's tracking notifications are redirected.",
            ..SUB
        },
        Command {
            name: "id",
            arity: 2,
            handler: |call| Ok(Reply::count(call.client.borrow().id)),
            since: "5.0.0",
            summary: "Returns the unique client ID of the connection.",
            ..SUB
        },
        Command {
            name: "info",
            arity: 2,
            handler: |call| Ok(Reply::Verbatim("txt", line(&call.client.borrow()) + "\n")),
            since: "6.2.0",
            summary: "Returns information about the connection.",
            ..SUB
        },
        Command {
            name: "kill",
            arity: -3,
            flags: ADMIN,
            handler: kill,
            since: "2.4.0",
            summary: "Terminates open connections.",
            usage: "<ip:port | [ID client-id] [TYPE <NORMAL | MASTER | REPLICA | PUBSUB>] [USER username] [ADDR \
                    ip:port] [LADDR ip:port] [SKIPME <YES | NO>]>",
            ..SUB
        },
        Command {
            name: "list",
            arity: -2,
            flags: ADMIN,
            handler: list,
            since: "2.4.0",
            summary: "Lists open connections.",
            usage: "[TYPE <NORMAL | MASTER | REPLICA | PUBSUB>] [ID client-id [client-id ...]]",
            ..SUB
        },
        Command {
            name: "no-evict",
            arity: 3,
            flags: ADMIN,
            handler: |call| {
                let flag = on_or_off(call.args[2])?;
                call.client.borrow_mut().no_evict = flag;
                Ok(Reply::Ok)
            },
            since: "7.0.0",
            summary: "Sets the client eviction mode of the connection.",
            usage: "<ON | OFF>",
            ..SUB
        },
        Command {
            name: "no-touch",
            arity: 3,
            handler: |call| {
                let flag = on_or_off(call.args[2])?;
                call.client.borrow_mut().no_touch = flag;
                Ok(Reply::Ok)
            },
            since: "7.2.0",
            summary: "Controls whether commands sent by the client affect the LRU/LFU of accessed keys.",
            usage: "<ON | OFF>",
            ..SUB
        },
        Command {
            name: "pause",
            arity: -3,
            flags: ADMIN,
            handler: pause,
            since: "3.0.0",
            summary: "Suspends commands processing.",
            usage: "timeout [WRITE | ALL]",
            ..SUB
        },
        Command {
            name: "reply",
            arity: 3,
            handler: reply,
            since: "3.2.0",
            summary: "Instructs the server whether to reply to commands.",
            usage: "<ON | OFF | SKIP>",
            ..SUB
        },
        Command {
            name: "setinfo",
            arity: 4,
            handler: set_info,
            since: "7.2.0",
            summary: "Sets information specific to the client or connection.",
            usage: "<LIB-NAME libname | LIB-VER libver>",
            ..SUB
        },
        Command {
            name: "setname",
            arity: 3,
            handler: |call| {
                let name = call.args[2];
                if !is_plain(name) {
                    return Err(BAD_NAME);
                }
                call.client.borrow_mut().name = name.to_vec();
                Ok(Reply::Ok)
            },
            since: "2.6.9",
            summary: "Sets the connection name.",
            usage: "connection-name",
            ..SUB
        },
        Command {
            name: "tracking",
            arity: -3,
            handler: |call| match on_or_off(call.args[2])? {
                false if call.args.len() == 3 => Ok(Reply::Ok),
                false => Err(Fail::SYNTAX),
                true => Err(Fail::of("ERR this server does not track the keys that clients cache")),
            },
            since: "6.0.0",
            summary: "Controls server-assisted client-side caching for the connection: OFF only.",
            usage: "<ON | OFF>",
            ..SUB
        },
        Command {
            name: "trackinginfo",
            arity: 2,
            handler: |_| {
                Ok(Reply::Map(vec![
                    (Reply::Text("flags"), Reply::Set(vec![Reply::Text("off")])),
                    (Reply::Text("redirect"), Reply::Int(-1)),
                    (Reply::Text("prefixes"), Reply::Array(Vec::new())),
                ]))
            },
            since: "6.2.0",
            summary: "Returns information about server-assisted client-side caching for the connection.",
            ..SUB
        },
        Command {
            name: "unblock",
            arity: -3,
            flags: ADMIN,
            handler: unblock,
            since: "5.0.0",
            summary: "Unblocks a client blocked by a blocking command from a different connection.",
            usage: "client-id [TIMEOUT | ERROR]",
            ..SUB
        },
        Command {
            name: "unpause",
            arity: 2,
            flags: ADMIN,
            handler: |call| {
                call.state.pause = None;
                let me = call.client.borrow().id;
                let others = call.state.clients.iter().filter(|(id, _)| **id != me);
                others.for_each(|(_, client)| client.borrow().wake.notify_one());
                Ok(Reply::Ok)
            },
            since: "6.2.0",
            summary: "Resumes processing commands from paused clients.",
            ..SUB
        },
        HELP,
    ],
    ..Command::NEW
}];

fn on_or_off(arg: &[u8]) -> Answer<bool> {
    match () {
        () if is(arg, "on") => Ok(true),
        () if is(arg, "off") => Ok(false),
        () => Err(Fail::SYNTAX),
    }
}

/// The line of CLIENT LIST.
pub fn line(client: &Client) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut flags = String::new();
    flags.extend(client.is_monitor.then_some('O'));
    flags.extend(client.blocked.is_some().then_some('b'));
    flags.extend(client.queue.is_some().then_some('x'));
    flags.extend((client.subscriptions() > 0).then_some('P'));
    flags.extend((client.close == Some(Close::AfterReplies)).then_some('c'));
    flags.extend((client.close == Some(Close::Now)).then_some('A'));
    flags.extend(client.no_evict.then_some('e'));
    flags.extend(client.no_touch.then_some('T'));
    if flags.is_empty() {
        flags.push('N');
    }
    format!(
        "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={flags} db={} sub={} psub={} ssub={} multi={} \
         watch={} qbuf={} qbuf-free=0 argv-mem=0 multi-mem={} rbs=0 rbp=0 obl={} oll=0 omem={} tot-mem={} events=r \
         cmd={} user={} redir=-1 resp={} lib-name={} lib-ver={}",
        client.id,
        client.peer,
        client.local,
        client.fd,
        text(&client.name),
        client.created.elapsed().as_secs(),
        client.active.elapsed().as_secs(),
        client.db,
        client.channels.len(),
        client.patterns.len(),
        client.shard_channels.len(),
        client.queue.as_ref().map_or(-1, |queue| queue.commands.len() as i64),
        client.watched.len(),
        client.query_bytes,
        client.queue.as_ref().map_or(0, |queue| queue.bytes),
        client.waiting_bytes(),
        client.waiting_bytes(),
        client.bytes(),
        client.last_command,
        client.user.as_ref().map_or("(superuser)", |user| &user.name),
        if client.protocol == Protocol::V3 { 3 } else { 2 },
        text(&client.lib_name),
        text(&client.lib_version),
    )
}

/// Types of clients: the two that are never there match none.
#[derive(Clone, Copy)]
enum Kind {
    Normal,
    PubSub,
    Absent,
}

fn kind(arg: &[u8]) -> Answer<Kind> {
    match arg.to_ascii_lowercase().as_slice() {
        b"normal" => Ok(Kind::Normal),
        b"pubsub" => Ok(Kind::PubSub),
        b"master" | b"replica" | b"slave" => Ok(Kind::Absent),
        _ => Err(Fail::text(format!("ERR Unknown client type '{}'", String::from_utf8_lossy(arg)))),
    }
}

fn is_kind(client: &Client, kind: Kind) -> bool {
    match kind {
        Kind::Normal => client.subscriptions() == 0,
        Kind::PubSub => client.subscriptions() > 0,
        Kind::Absent => false,
    }
}

fn list(call: &mut Call<'_>) -> Answer<Reply> {
    let mut of_kind = None;
    let mut ids: Option<Vec<u64>> = None;
    match call.args {
        [_, _] => {}
        [_, _, word, name] if is(word, "type") => of_kind = Some(kind(name)?),
        [_, _, word, given @ ..] if is(word, "id") && !given.is_empty() => {
            let id = |arg: &&[u8]| parse_integer(arg).and_then(|id| u64::try_from(id).ok());
            let all: Option<Vec<u64>> = given.iter().map(id).collect();
            ids = Some(all.ok_or(Fail::of("ERR Invalid client ID"))?);
        }
        _ => return Err(Fail::SYNTAX),
    }
    let mut text = String::new();
    for client in call.state.clients.values() {
        let client = client.borrow();
        let is_meant = of_kind.is_none_or(|kind| is_kind(&client, kind))
            && ids.as_ref().is_none_or(|ids| ids.contains(&client.id));
        if is_meant {
            text.push_str(&line(&client));
            text.push('\n');
        }
    }
    Ok(Reply::Verbatim("txt", text))
}

fn kill(call: &mut Call<'_>) -> Answer<Reply> {
    let me = call.client.borrow().id;
    if let [_, _, addr] = call.args {
        let found = call.state.clients.values().find(|client| client.borrow().peer.as_bytes() == *addr);
        let Some(found) = found else { return Err(Fail::of("ERR No such client")) };
        let mut client = found.borrow_mut();
        let close = if client.id == me { Close::AfterReplies } else { Close::Now };
        client.end(close);
        return Ok(Reply::Ok);
    }
    let (mut id, mut of_kind, mut user, mut addr, mut local, mut spares_me) =
        (None, None, None, None, None, true);
    let (pairs, rest) = call.args[2..].as_chunks::<2>();
    if !rest.is_empty() {
        return Err(Fail::SYNTAX);
    }
    for [word, value] in pairs {
        match word.to_ascii_lowercase().as_slice() {
            b"id" => {
                let given = parse_integer(value).and_then(|id| u64::try_from(id).ok()).filter(|id| *id > 0);
                id = Some(given.ok_or(Fail::of("ERR client-id should be greater than 0"))?);
            }
            b"type" => of_kind = Some(kind(value)?),
            b"user" => {
                let name = String::from_utf8_lossy(value).into_owned();
                if call.state.acl.get(&name).is_none() {
                    return Err(Fail::text(format!("ERR No such user '{name}'")));
                }
                user = Some(name);
            }
            b"addr" => addr = Some(*value),
            b"laddr" => local = Some(*value),
            b"skipme" if is(value, "yes") => spares_me = true,
            b"skipme" if is(value, "no") => spares_me = false,
            _ => return Err(Fail::SYNTAX),
        }
    }
    let mut killed = 0;
    for client in call.state.clients.values() {
        let mut client = client.borrow_mut();
        let is_meant = id.is_none_or(|id| id == client.id)
            && of_kind.is_none_or(|kind| is_kind(&client, kind))
            && user.as_ref().is_none_or(|name| client.user.as_ref().is_some_and(|user| user.name == *name))
            && addr.is_none_or(|addr| addr == client.peer.as_bytes())
            && local.is_none_or(|local| local == client.local.as_bytes())
            && !(spares_me && client.id == me);
        if is_meant {
            killed += 1;
            let close = if client.id == me { Close::AfterReplies } else { Close::Now };
            client.end(close);
        }
    }
    Ok(Reply::Int(killed))
}

fn pause(call: &mut Call<'_>) -> Answer<Reply> {
    let bad = Fail::of("ERR timeout is not an integer or out of range");
    let ms = integer(call.args[2]).map_err(|_| bad.clone())?;
    let ms = u64::try_from(ms).map_err(|_| Fail::of("ERR timeout is negative"))?;
    let is_for_all = match call.args {
        [_, _, _] => true,
        [_, _, _, mode] if is(mode, "all") => true,
        [_, _, _, mode] if is(mode, "write") => false,
        _ => return Err(Fail::SYNTAX),
    };
    let mut until = Instant::now().checked_add(Duration::from_millis(ms)).ok_or(bad)?;
    let mut pause = Pause { until, is_for_all };
    // A pause gets neither shorter nor weaker by another one.
    if let Some(now) = call.state.pause {
        until = until.max(now.until);
        pause = Pause { until, is_for_all: is_for_all || now.is_for_all };
    }
    call.state.pause = Some(pause);
    Ok(Reply::Ok)
}

fn reply(call: &mut Call<'_>) -> Answer<Reply> {
    let mode = match call.args[2].to_ascii_lowercase().as_slice() {
        b"on" => ReplyMode::On,
        b"off" => ReplyMode::Off,
        b"skip" => ReplyMode::SkipNext,
        _ => return Err(Fail::SYNTAX),
    };
    let mut client = call.client.borrow_mut();
    // It is off already: SKIP does not turn it on again.
    if !(mode == ReplyMode::SkipNext && client.reply_mode == ReplyMode::Off) {
        client.reply_mode = mode;
    }
    Ok(Reply::Ok)
}

fn set_info(call: &mut Call<'_>) -> Answer<Reply> {
    let value = call.args[3];
    let (name, is_version) = match call.args[2].to_ascii_lowercase().as_slice() {
        b"lib-name" => ("lib-name", false),
        b"lib-ver" => ("lib-ver", true),
        _ => {
            let option = String::from_utf8_lossy(call.args[2]).into_owned();
            return Err(Fail::text(format!("ERR Unrecognized option '{option}'")));
        }
    };
    if !is_plain(value) {
        return Err(Fail::text(format!("ERR {name} cannot contain spaces, newlines or special characters.")));
    }
    let mut client = call.client.borrow_mut();
    *(if is_version { &mut client.lib_version } else { &mut client.lib_name }) = value.to_vec();
    Ok(Reply::Ok)
}

fn unblock(call: &mut Call<'_>) -> Answer<Reply> {
    let id = integer(call.args[2])?;
    let instead = match call.args {
        [_, _, _] => None,
        [_, _, _, word] if is(word, "timeout") => None,
        [_, _, _, word] if is(word, "error") => {
            Some(Reply::Error("UNBLOCKED client unblocked via CLIENT UNBLOCK".into()))
        }
        _ => return Err(Fail::of("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")),
    };
    let client = u64::try_from(id).ok().and_then(|id| call.state.clients.get(&id).cloned());
    Ok(Reply::flag(client.is_some_and(|client| call.state.stop_waiting(&client, instead))))
}
