//! Commands of the connection: who, which database, is it there.

use super::args::{integer, is};
use super::clients;
use super::{Answer, Call, Command, Fail, Flags, Reply};
use crate::redis::acl::{self, Refusal};
use crate::redis::resp::reply::Protocol;
use crate::redis::server::client::{Close, ReplyMode};
use nokv_core::formats::redis::SPACES;

/// The version of Redis whose commands and texts these are.
pub const REDIS_VERSION: &str = "7.2.4";

const ALWAYS: Flags = Flags::FAST.and(Flags::LOADING).and(Flags::STALE).and(Flags::NO_SCRIPT);

/// The commands.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "ping",
        flags: Flags::FAST,
        handler: ping,
        group: "connection",
        summary: "Returns the server's liveliness response.",
        usage: "[message]",
        ..Command::NEW
    },
    Command {
        name: "echo",
        arity: 2,
        flags: Flags::FAST.and(Flags::LOADING).and(Flags::STALE),
        handler: echo,
        group: "connection",
        summary: "Returns the given string.",
        usage: "message",
        ..Command::NEW
    },
    Command {
        name: "quit",
        flags: ALWAYS.and(Flags::NO_AUTH).and(Flags::ALLOW_BUSY),
        handler: quit,
        group: "connection",
        summary: "Closes the connection.",
        ..Command::NEW
    },
    Command {
        name: "select",
        arity: 2,
        flags: Flags::FAST.and(Flags::LOADING).and(Flags::STALE),
        handler: select,
        group: "connection",
        summary: "Changes the selected database.",
        usage: "index",
        ..Command::NEW
    },
    Command {
        name: "hello",
        flags: ALWAYS.and(Flags::NO_AUTH).and(Flags::ALLOW_BUSY),
        handler: hello,
        group: "connection",
        since: "6.0.0",
        summary: "Handshakes with the server.",
        usage: "[protover [AUTH username password] [SETNAME clientname]]",
        ..Command::NEW
    },
    Command {
        name: "auth",
        arity: -2,
        flags: ALWAYS.and(Flags::NO_AUTH).and(Flags::ALLOW_BUSY),
        handler: auth,
        group: "connection",
        summary: "Authenticates the connection.",
        usage: "[username] password",
        ..Command::NEW
    },
    Command {
        name: "reset",
        arity: 1,
        flags: ALWAYS.and(Flags::NO_AUTH).and(Flags::ALLOW_BUSY),
        handler: reset,
        group: "connection",
        since: "6.2.0",
        summary: "Resets the connection.",
        ..Command::NEW
    },
];

fn ping(call: &mut Call<'_>) -> Answer<Reply> {
    if call.args.len() > 2 {
        return Err(Fail::arity("ping"));
    }
    let message = call.args.get(1);
    let client = call.client.borrow();
    if client.protocol == Protocol::V2 && client.subscriptions() > 0 {
        return Ok(Reply::Array(vec![
            Reply::Text("pong"),
            Reply::bulk(message.copied().unwrap_or_default()),
        ]));
    }
    Ok(message.map_or(Reply::Status("PONG".into()), Reply::bulk))
}

fn echo(call: &mut Call<'_>) -> Answer<Reply> {
    Ok(Reply::bulk(call.args[1]))
}

fn quit(call: &mut Call<'_>) -> Answer<Reply> {
    call.client.borrow_mut().end(Close::AfterReplies);
    Ok(Reply::Ok)
}

/// The number of a database.
///
/// # Errors
/// What Redis says.
pub fn database(arg: &[u8]) -> Answer<u8> {
    let number = integer(arg)?;
    u8::try_from(number)
        .ok()
        .filter(|db| usize::from(*db) < SPACES)
        .ok_or(Fail::of("ERR DB index is out of range"))
}

fn select(call: &mut Call<'_>) -> Answer<Reply> {
    let db = database(call.args[1])?;
    call.client.borrow_mut().db = db;
    Ok(Reply::Ok)
}

fn hello(call: &mut Call<'_>) -> Answer<Reply> {
    let mut protocol = call.client.borrow().protocol;
    let mut rest = &call.args[1..];
    if let [version, after @ ..] = rest {
        protocol = match integer(version) {
            Ok(2) => Protocol::V2,
            Ok(3) => Protocol::V3,
            Ok(_) => return Err(Fail::of("NOPROTO unsupported protocol version")),
            Err(_) => return Err(Fail::of("ERR Protocol version is not an integer or out of range")),
        };
        rest = after;
    }
    let mut name = None;
    let mut credentials = None;
    loop {
        match rest {
            [] => break,
            [word, user, password, after @ ..] if is(word, "auth") => {
                credentials = Some((*user, *password));
                rest = after;
            }
            [word, given, after @ ..] if is(word, "setname") => {
                name = Some(*given);
                rest = after;
            }
            [word, ..] => {
                let word = String::from_utf8_lossy(word);
                return Err(Fail::text(format!("ERR Syntax error in HELLO option '{word}'")));
            }
        }
    }
    if let Some(name) = name
        && !is_plain(name)
    {
        return Err(BAD_NAME);
    }
    if let Some((user, password)) = credentials {
        log_in(call, user, password)?;
    }
    let mut client = call.client.borrow_mut();
    if client.user.is_none() {
        return Err(Fail::of(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH \
             <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the \
             same time",
        ));
    }
    if let Some(name) = name {
        client.name = name.to_vec();
    }
    client.protocol = protocol;
    let version = if protocol == Protocol::V3 { 3 } else { 2 };
    Ok(Reply::Map(vec![
        (Reply::Text("server"), Reply::Text("redis")),
        (Reply::Text("version"), Reply::Text(REDIS_VERSION)),
        (Reply::Text("proto"), Reply::Int(version)),
        (Reply::Text("id"), Reply::count(client.id)),
        (Reply::Text("mode"), Reply::Text("standalone")),
        (Reply::Text("role"), Reply::Text("master")),
        (Reply::Text("modules"), Reply::Array(Vec::new())),
    ]))
}

/// A client's name has a byte that does not stand in lists.
pub const BAD_NAME: Fail =
    Fail::of("ERR Client names cannot contain spaces, newlines or special characters.");

/// Printable, without blanks?
pub fn is_plain(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_graphic)
}

fn auth(call: &mut Call<'_>) -> Answer<Reply> {
    match call.args {
        [_, password] => {
            let is_open = call.state.acl.get(acl::DEFAULT).is_some_and(|user| user.takes_any_password);
            if is_open {
                return Err(Fail::of(
                    "ERR AUTH <password> called without any password configured for the default user. Are you sure \
                     your configuration is correct?",
                ));
            }
            log_in(call, acl::DEFAULT.as_bytes(), password)?;
        }
        [_, user, password] => log_in(call, user, password)?,
        _ => return Err(Fail::SYNTAX),
    }
    Ok(Reply::Ok)
}

fn log_in(call: &mut Call<'_>, user: &[u8], password: &[u8]) -> Answer<()> {
    let Some(user) = call.state.acl.log_in(user, password) else {
        call.state.counters.auth_denied += 1;
        let now = call.keys.now();
        let refusal = Refusal {
            id: 0,
            count: 1,
            reason: "auth",
            context: if call.in_exec { "multi" } else { "toplevel" },
            object: b"AUTH".to_vec(),
            user: String::from_utf8_lossy(&user[..user.len().min(128)]).into_owned(),
            client: clients::line(&call.client.borrow()),
            created_ms: now,
            updated_ms: now,
        };
        call.state.acl.note(refusal);
        return Err(Fail::of("WRONGPASS invalid username-password pair or user is disabled."));
    };
    call.client.borrow_mut().user = Some(user);
    Ok(())
}

fn reset(call: &mut Call<'_>) -> Answer<Reply> {
    let mut client = call.client.borrow_mut();
    client.queue = None;
    client.watched.clear();
    if std::mem::take(&mut client.is_monitor) {
        call.state.monitors = call.state.monitors.saturating_sub(1);
    }
    call.state.pubsub.forget(&client);
    client.channels.clear();
    client.patterns.clear();
    client.shard_channels.clear();
    client.db = 0;
    client.name.clear();
    client.protocol = Protocol::V2;
    client.reply_mode = ReplyMode::On;
    client.no_evict = false;
    client.no_touch = false;
    client.user = call.state.acl.at_start();
    Ok(Reply::Status("RESET".into()))
}
