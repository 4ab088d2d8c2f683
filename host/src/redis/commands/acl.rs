//! ACL: users and their rules.

use super::args::{integer, is};
use super::{Answer, Call, Command, Fail, Flags, HELP, Reply};
use crate::redis::acl::categories::{Categories, NAMES};
use crate::redis::acl::user::hex;
use crate::redis::acl::{DEFAULT, Denied};

const USUAL: Flags = Flags::NO_SCRIPT.and(Flags::LOADING).and(Flags::STALE);
const ADMIN: Flags = USUAL.and(Flags::ADMIN);
const SUB: Command = Command { group: "server", flags: ADMIN, since: "6.0.0", ..Command::NEW };
const NO_FILE: Fail = Fail::of(
    "ERR This Redis instance is not configured to use an ACL file. You may want to specify users via the ACL SETUSER \
     command and then issue a CONFIG REWRITE (assuming you have a Redis configuration file set) in order to store \
     users in the Redis configuration.",
);

/// The commands.
pub const COMMANDS: &[Command] = &[Command {
    name: "acl",
    arity: -2,
    group: "server",
    since: "6.0.0",
    summary: "A container for Access List Control commands.",
    subcommands: &[
        Command {
            name: "cat",
            arity: -2,
            flags: USUAL,
            handler: cat,
            summary: "Lists the ACL categories, or the commands inside a category.",
            usage: "[category]",
            ..SUB
        },
        Command {
            name: "deluser",
            arity: -3,
            handler: delete,
            summary: "Deletes ACL users, and terminates their connections.",
            usage: "username [username ...]",
            ..SUB
        },
        Command {
            name: "dryrun",
            arity: -4,
            handler: dry_run,
            since: "7.0.0",
            summary: "Simulates the execution of a command by a user, without executing the command.",
            usage: "username command [arg [arg ...]]",
            ..SUB
        },
        Command {
            name: "genpass",
            arity: -2,
            flags: USUAL,
            handler: generate,
            summary: "Generates a pseudorandom, secure password that can be used to identify ACL users.",
            usage: "[bits]",
            ..SUB
        },
        Command {
            name: "getuser",
            arity: 3,
            handler: get,
            summary: "Lists the ACL rules of a user.",
            usage: "username",
            ..SUB
        },
        Command {
            name: "list",
            arity: 2,
            handler: |call| {
                Ok(Reply::Array(call.state.acl.all().map(|user| Reply::bulk(user.line())).collect()))
            },
            summary: "Dumps the effective rules in ACL file format.",
            ..SUB
        },
        Command {
            name: "load",
            arity: 2,
            handler: |_| Err(NO_FILE),
            summary: "Reloads the rules from the configured ACL file.",
            ..SUB
        },
        Command {
            name: "log",
            arity: -2,
            handler: log,
            summary: "Lists recent security events generated due to ACL rules.",
            usage: "[count | RESET]",
            ..SUB
        },
        Command {
            name: "save",
            arity: 2,
            handler: |_| Err(NO_FILE),
            summary: "Saves the effective ACL rules in the configured ACL file.",
            ..SUB
        },
        Command {
            name: "setuser",
            arity: -3,
            handler: set,
            summary: "Creates and modifies an ACL user and its rules.",
            usage: "username [rule [rule ...]]",
            ..SUB
        },
        Command {
            name: "users",
            arity: 2,
            handler: |call| {
                Ok(Reply::Array(call.state.acl.all().map(|user| Reply::bulk(&user.name)).collect()))
            },
            summary: "Lists all ACL users.",
            ..SUB
        },
        Command {
            name: "whoami",
            arity: 2,
            flags: USUAL,
            handler: |call| {
                let client = call.client.borrow();
                Ok(Reply::bulk(client.user.as_ref().map_or(DEFAULT, |user| &user.name)))
            },
            summary: "Returns the authenticated username of the current connection.",
            ..SUB
        },
        HELP,
    ],
    ..Command::NEW
}];

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn cat(call: &mut Call<'_>) -> Answer<Reply> {
    match call.args {
        [_, _] => Ok(Reply::Array(NAMES.into_iter().map(Reply::Text).collect())),
        [_, _, name] => {
            let category = Categories::named(&text(name))
                .ok_or_else(|| Fail::text(format!("ERR Unknown category '{}'", text(name))))?;
            let entries = call.state.table.entries().iter();
            let found = entries.filter(|entry| entry.command.subcommands.is_empty());
            let found = found.filter(|entry| entry.categories.meets(category));
            Ok(Reply::Array(found.map(|entry| Reply::bulk(&entry.full)).collect()))
        }
        _ => Err(Fail::of("ERR unknown subcommand or wrong number of arguments for 'CAT'. Try ACL HELP.")),
    }
}

fn delete(call: &mut Call<'_>) -> Answer<Reply> {
    if call.args[2..].iter().any(|name| *name == DEFAULT.as_bytes()) {
        return Err(Fail::of("ERR The 'default' user cannot be removed"));
    }
    let mut removed = 0;
    for name in &call.args[2..] {
        let name = text(name);
        if call.state.acl.remove(&name) {
            removed += 1;
            call.state.replace_user(call.client, &name, None);
        }
    }
    Ok(Reply::Int(removed))
}

fn dry_run(call: &mut Call<'_>) -> Answer<Reply> {
    let name = text(call.args[2]);
    let user = call.state.acl.get(&name).cloned();
    let user = user.ok_or_else(|| Fail::text(format!("ERR User '{name}' not found")))?;
    let args = &call.args[3..];
    if call.state.table.find(args[0]).is_none() {
        return Err(Fail::text(format!("ERR Command '{}' not found", text(args[0]))));
    }
    let entry = call.state.table.resolve(args)?;
    Ok(match user.check(entry, args) {
        Ok(()) => Reply::Ok,
        Err(denied) => Reply::bulk(match denied {
            Denied::Command => {
                format!("User {name} has no permissions to run the '{}' command", entry.full)
            }
            Denied::Key(key) => format!("User {name} has no permissions to access the '{}' key", text(&key)),
            Denied::Channel(channel) => {
                format!("User {name} has no permissions to access the '{}' channel", text(&channel))
            }
        }),
    })
}

fn generate(call: &mut Call<'_>) -> Answer<Reply> {
    let bits = match call.args {
        [_, _] => 256,
        [_, _, bits] => integer(bits)?,
        _ => return Err(Fail::arity("acl|genpass")),
    };
    if !(1..=4096).contains(&bits) {
        return Err(Fail::of(
            "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to \
             4096",
        ));
    }
    let digits = (bits as usize).div_ceil(4);
    let mut random = vec![0; digits.div_ceil(2)];
    getrandom::fill(&mut random)
        .map_err(|error| Fail::text(format!("ERR the system has no randomness: {error}")))?;
    let mut password = hex(&random);
    password.truncate(digits);
    Ok(Reply::bulk(password))
}

fn get(call: &mut Call<'_>) -> Answer<Reply> {
    let Some(user) = call.state.acl.get(&text(call.args[2])) else { return Ok(Reply::NilArray) };
    let passwords = user.passwords.iter().map(|hash| Reply::bulk(hex(hash))).collect();
    Ok(Reply::Map(vec![
        (Reply::Text("flags"), Reply::Set(user.flags().into_iter().map(Reply::Text).collect())),
        (Reply::Text("passwords"), Reply::Array(passwords)),
        (Reply::Text("commands"), Reply::bulk(user.command_rules())),
        (Reply::Text("keys"), Reply::bulk(user.key_rules())),
        (Reply::Text("channels"), Reply::bulk(user.channel_rules())),
        (Reply::Text("selectors"), Reply::Array(Vec::new())),
    ]))
}

fn log(call: &mut Call<'_>) -> Answer<Reply> {
    let count = match call.args {
        [_, _] => 10,
        [_, _, word] if is(word, "reset") => {
            call.state.acl.log.clear();
            return Ok(Reply::Ok);
        }
        [_, _, count] => usize::try_from(integer(count)?).unwrap_or(0),
        _ => return Err(Fail::arity("acl|log")),
    };
    let now = call.keys.now();
    let entries = call.state.acl.log.iter().take(count).map(|refusal| {
        let age = now.saturating_sub(refusal.created_ms) as f64 / 1000.0;
        Reply::Map(vec![
            (Reply::Text("count"), Reply::count(refusal.count)),
            (Reply::Text("reason"), Reply::Text(refusal.reason)),
            (Reply::Text("context"), Reply::Text(refusal.context)),
            (Reply::Text("object"), Reply::bulk(&refusal.object)),
            (Reply::Text("username"), Reply::bulk(&refusal.user)),
            (Reply::Text("age-seconds"), Reply::Double(age)),
            (Reply::Text("client-info"), Reply::bulk(&refusal.client)),
            (Reply::Text("entry-id"), Reply::count(refusal.id)),
            (Reply::Text("timestamp-created"), Reply::count(refusal.created_ms)),
            (Reply::Text("timestamp-last-updated"), Reply::count(refusal.updated_ms)),
        ])
    });
    Ok(Reply::Array(entries.collect()))
}

fn set(call: &mut Call<'_>) -> Answer<Reply> {
    let name = std::str::from_utf8(call.args[2]).map_err(|_| Fail::of("ERR Usernames must be UTF-8"))?;
    if name.bytes().any(|b| b.is_ascii_whitespace() || b == 0) {
        return Err(Fail::of("ERR Usernames can't contain spaces or null characters"));
    }
    let user = call.state.acl.set(name, &call.args[3..]).map_err(Fail::text)?;
    if name == DEFAULT {
        // CONFIG GET would tell of a password that is another one now.
        call.state.config.password = None;
    }
    call.state.replace_user(call.client, name, Some(&user));
    Ok(Reply::Ok)
}
