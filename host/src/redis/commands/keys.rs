//! Commands of keys, whatever they hold: are they there, of which type, away with them, under another name.

use super::args::{check_name, integer, is};
use super::transfer;
use super::{Answer, Call, Command, Fail, Flags, Keys, Reply};
use crate::redis::store::effects::Class;
use nokv_core::formats::redis::{Kind, SPACES};

const READ_FAST: Flags = Flags::READ.and(Flags::FAST);

/// The commands.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "del",
        arity: -2,
        flags: Flags::WRITE,
        keys: Keys::ALL,
        handler: del,
        summary: "Deletes one or more keys.",
        usage: "key [key ...]",
        ..Command::NEW
    },
    Command {
        name: "unlink",
        arity: -2,
        flags: Flags::WRITE.and(Flags::FAST),
        keys: Keys::ALL,
        handler: del,
        since: "4.0.0",
        summary: "Asynchronously deletes one or more keys.",
        usage: "key [key ...]",
        ..Command::NEW
    },
    Command {
        name: "exists",
        arity: -2,
        flags: READ_FAST,
        keys: Keys::ALL,
        handler: exists,
        summary: "Determines whether one or more keys exist.",
        usage: "key [key ...]",
        ..Command::NEW
    },
    Command {
        name: "touch",
        arity: -2,
        flags: READ_FAST,
        keys: Keys::ALL,
        handler: exists,
        since: "3.2.1",
        summary: "Returns the number of existing keys out of those specified after updating the time they were last \
                  accessed.",
        usage: "key [key ...]",
        ..Command::NEW
    },
    Command {
        name: "type",
        arity: 2,
        flags: READ_FAST,
        keys: Keys::ONE,
        handler: kind,
        summary: "Determines the type of value stored at a key.",
        usage: "key",
        ..Command::NEW
    },
    Command {
        name: "rename",
        arity: 3,
        flags: Flags::WRITE,
        keys: Keys::TWO,
        handler: rename,
        summary: "Renames a key and overwrites the destination.",
        usage: "key newkey",
        ..Command::NEW
    },
    Command {
        name: "renamenx",
        arity: 3,
        flags: Flags::WRITE.and(Flags::FAST),
        keys: Keys::TWO,
        handler: renamenx,
        summary: "Renames a key only when the target key name doesn't exist.",
        usage: "key newkey",
        ..Command::NEW
    },
    Command {
        name: "copy",
        arity: -3,
        flags: Flags::WRITE.and(Flags::GROWS),
        keys: Keys::TWO,
        handler: copy,
        since: "6.2.0",
        summary: "Copies the value of a key to a new key.",
        usage: "source destination [DB destination-db] [REPLACE]",
        ..Command::NEW
    },
    Command {
        name: "move",
        arity: 3,
        flags: Flags::WRITE.and(Flags::FAST),
        keys: Keys::ONE,
        handler: move_key,
        summary: "Moves a key to another database.",
        usage: "key db",
        ..Command::NEW
    },
];

fn del(call: &mut Call<'_>) -> Answer<Reply> {
    call.args[1..].iter().try_for_each(|key| check_name(key))?;
    let mut removed = 0;
    for key in &call.args[1..] {
        let slot = call.keys.slot(call.db, key)?;
        if call.keys.remove(&slot)? {
            removed += 1;
            call.event(Class::GENERIC, "del", key);
        }
    }
    Ok(Reply::Int(removed))
}

fn exists(call: &mut Call<'_>) -> Answer<Reply> {
    let mut found = 0;
    for key in &call.args[1..] {
        found += i64::from(call.read(key)?.is_some());
    }
    Ok(Reply::Int(found))
}

/// The name of a type.
pub const fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::String => "string",
        Kind::List => "list",
        Kind::Set => "set",
        Kind::SortedSet => "zset",
        Kind::Hash => "hash",
    }
}

fn kind(call: &mut Call<'_>) -> Answer<Reply> {
    let found = call.read(call.args[1])?;
    Ok(Reply::Status(found.map_or("none", |found| kind_name(found.kind)).into()))
}

fn rename(call: &mut Call<'_>) -> Answer<Reply> {
    give_name(call, true)?;
    Ok(Reply::Ok)
}

fn renamenx(call: &mut Call<'_>) -> Answer<Reply> {
    give_name(call, false).map(Reply::flag)
}

fn give_name(call: &mut Call<'_>, replaces: bool) -> Answer<bool> {
    let (from, to) = (call.args[1], call.args[2]);
    let slot = call.keys.slot(call.db, from)?;
    if slot.found.is_none() {
        return Err(Fail::NO_SUCH_KEY);
    }
    if from == to {
        return Ok(replaces);
    }
    let target = call.keys.slot(call.db, to)?;
    if target.found.is_some() && !replaces {
        return Ok(false);
    }
    call.keys.remove(&target)?;
    call.keys.rename(slot, to)?;
    call.event(Class::GENERIC, "rename_from", from);
    call.event(Class::GENERIC, "rename_to", to);
    Ok(true)
}

/// The number of a database for COPY and MOVE.
fn database(arg: &[u8]) -> Answer<u8> {
    let number = integer(arg)?;
    if i32::try_from(number).is_err() {
        return Err(Fail::of("ERR value is out of range, value must between -2147483648 and 2147483647"));
    }
    let db = u8::try_from(number).ok().filter(|db| usize::from(*db) < SPACES);
    db.ok_or(Fail::of("ERR DB index is out of range"))
}

const SAME: Fail = Fail::of("ERR source and destination objects are the same");

fn copy(call: &mut Call<'_>) -> Answer<Reply> {
    let (from, to) = (call.args[1], call.args[2]);
    let (mut db, mut replaces) = (call.db, false);
    let mut rest = &call.args[3..];
    while let [word, after @ ..] = rest {
        rest = after;
        if is(word, "replace") {
            replaces = true;
        } else if is(word, "db")
            && let [number, after @ ..] = rest
        {
            db = database(number)?;
            rest = after;
        } else {
            return Err(Fail::SYNTAX);
        }
    }
    if db == call.db && from == to {
        return Err(SAME);
    }
    let slot = call.keys.slot(call.db, from)?;
    let Some(found) = slot.found else { return Ok(Reply::Int(0)) };
    let target = call.keys.slot(db, to)?;
    if target.found.is_some() {
        if !replaces {
            return Ok(Reply::Int(0));
        }
        call.keys.remove(&target)?;
    }
    transfer::copy(call.keys, (call.db, from), found, (db, to))?;
    call.keys.event(Class::GENERIC, "copy_to", db, to);
    Ok(Reply::Int(1))
}

fn move_key(call: &mut Call<'_>) -> Answer<Reply> {
    let (key, db) = (call.args[1], database(call.args[2])?);
    if db == call.db {
        return Err(SAME);
    }
    let slot = call.keys.slot(call.db, key)?;
    let Some(found) = slot.found.clone() else { return Ok(Reply::Int(0)) };
    if call.keys.find(db, key)?.is_some() {
        return Ok(Reply::Int(0));
    }
    transfer::copy(call.keys, (call.db, key), found, (db, key))?;
    call.keys.remove(&slot)?;
    call.event(Class::GENERIC, "move_from", key);
    call.keys.event(Class::GENERIC, "move_to", db, key);
    Ok(Reply::Int(1))
}

#[cfg(test)]
mod tests {
    use crate::redis::testing::Bench;

    #[test]
    fn keys_change_their_names_and_databases() {
        Bench::new().script(
            r#"
            > SET a 1 EX 1000
            +OK
            > RENAME a b
            +OK
            > TTL b
            :1000
            > RENAME none x
            -ERR no such key
            > RENAMENX b b
            :0
            > SET c 2
            +OK
            > RENAMENX b c
            :0
            > COPY b c
            :0
            > COPY b c REPLACE
            :1
            > TTL c
            :1000
            > COPY b b
            -ERR source and destination objects are the same
            > COPY b x DB 16
            -ERR DB index is out of range
            > COPY b x DB 3
            :1
            > MOVE b 0
            -ERR source and destination objects are the same
            > MOVE b 99999999999
            -ERR value is out of range, value must between -2147483648 and 2147483647
            > MOVE b 3
            :1
            > MOVE b 3
            :0
            > EXISTS b c c
            :2
            > SELECT 3
            +OK
            > DBSIZE
            :2
            > TTL b
            :1000
            > UNLINK b x nothing
            :2
            > TYPE b
            +none
            "#,
        );
    }
}
