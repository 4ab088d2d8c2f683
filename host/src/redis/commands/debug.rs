//! DEBUG: what test suites use of it. `enable-debug-command` says who may.

use std::time::Duration;

use super::args::float;
use super::{Answer, Call, Command, Fail, Flags, HELP, Reply, keys};
use crate::redis::config::DebugAccess;

const ADMIN: Flags = Flags::ADMIN.and(Flags::NO_SCRIPT).and(Flags::LOADING).and(Flags::STALE);
const SUB: Command = Command { group: "server", flags: ADMIN, ..Command::NEW };

/// The commands.
pub const COMMANDS: &[Command] = &[Command {
    name: "debug",
    arity: -2,
    group: "server",
    flags: ADMIN,
    summary: "A container for debugging commands.",
    subcommands: &[
        Command {
            name: "object",
            arity: 3,
            handler: object,
            summary: "Shows how a key is stored.",
            usage: "key",
            ..SUB
        },
        Command {
            name: "set-active-expire",
            arity: 3,
            handler: |call| {
                allow(call)?;
                call.state.config.active_expire = call.args[2] != b"0";
                Ok(Reply::Ok)
            },
            summary: "Keys expire by themselves (1), or when they are looked at (0).",
            usage: "<0 | 1>",
            ..SUB
        },
        Command {
            name: "sleep",
            arity: 3,
            handler: |call| {
                allow(call)?;
                let seconds = float(call.args[2]).unwrap_or(0.0);
                if let Ok(time) = Duration::try_from_secs_f64(seconds) {
                    std::thread::sleep(time);
                }
                Ok(Reply::Ok)
            },
            summary: "Stops the server for a time.",
            usage: "seconds",
            ..SUB
        },
        HELP,
    ],
    ..Command::NEW
}];

fn allow(call: &Call<'_>) -> Answer<()> {
    let client = call.client.borrow();
    let is_local = client.peer.parse().is_ok_and(|at: std::net::SocketAddr| at.ip().is_loopback());
    match call.state.config.debug {
        DebugAccess::Yes => Ok(()),
        DebugAccess::Local if is_local => Ok(()),
        _ => Err(Fail::of(
            "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it \
             from a local connection, otherwise you need to set this option in the configuration file, and then \
             restart the server.",
        )),
    }
}

fn object(call: &mut Call<'_>) -> Answer<Reply> {
    allow(call)?;
    let key = call.args[2];
    let Some(found) = call.keys.find(call.db, key)? else { return Err(Fail::NO_SUCH_KEY) };
    let encoding = encoding(call, key)?.unwrap_or_else(|| keys::kind_name(found.kind).to_owned());
    Ok(Reply::Status(
        format!(
            "Value at:0x0 refcount:1 encoding:{encoding} serializedlength:{} lru:0 lru_seconds_idle:0",
            found.value.len()
        )
        .into(),
    ))
}

/// What OBJECT ENCODING says.
fn encoding(call: &mut Call<'_>, key: &[u8]) -> Answer<Option<String>> {
    let args: [&[u8]; 3] = [b"object", b"encoding", key];
    let Ok(entry) = call.state.table.resolve(&args) else { return Ok(None) };
    let command = entry.command;
    let mut ask = Call {
        args: &args,
        command,
        db: call.db,
        keys: &mut *call.keys,
        state: &mut *call.state,
        client: call.client,
        in_exec: true,
        ready: None,
    };
    Ok(match (command.handler)(&mut ask)? {
        Reply::Text(name) => Some(name.to_owned()),
        Reply::Bulk(name) => Some(String::from_utf8_lossy(&name).into_owned()),
        _ => None,
    })
}
