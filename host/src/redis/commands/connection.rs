//! Commands of the connection: who, which database, is it there.

use super::args::{integer, is};
use super::{Answer, Call, Command, Fail, Flags, Reply};
use crate::redis::resp::reply::Protocol;
use crate::redis::server::client::Close;
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

fn auth(call: &mut Call<'_>) -> Answer<Reply> {
    match call.args {
        [_, password] => log_in(call, b"default", password)?,
        [_, user, password] => log_in(call, user, password)?,
        _ => return Err(Fail::SYNTAX),
    }
    Ok(Reply::Ok)
}

fn log_in(call: &mut Call<'_>, user: &[u8], password: &[u8]) -> Answer<()> {
    let wanted = call.state.config.password.as_deref().unwrap_or_default();
    if user != b"default" || (!wanted.is_empty() && wanted.as_bytes() != password) {
        return Err(Fail::of("WRONGPASS invalid username-password pair or user is disabled."));
    }
    call.client.borrow_mut().user = Some("default".to_owned());
    Ok(())
}
