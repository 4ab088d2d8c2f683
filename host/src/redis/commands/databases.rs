//! Commands of whole databases.

use super::args::{is, parse_integer};
use super::{Answer, Call, Command, Fail, Flags, Reply};
use nokv_core::formats::redis::SPACES;

/// The commands.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "dbsize",
        arity: 1,
        flags: Flags::READ.and(Flags::FAST),
        handler: dbsize,
        group: "server",
        summary: "Returns the number of keys in the database.",
        ..Command::NEW
    },
    Command {
        name: "flushdb",
        flags: Flags::WRITE,
        handler: flushdb,
        group: "server",
        summary: "Remove all keys from the current database.",
        usage: "[ASYNC | SYNC]",
        ..Command::NEW
    },
    Command {
        name: "flushall",
        flags: Flags::WRITE,
        handler: flushall,
        group: "server",
        summary: "Removes all keys from all databases.",
        usage: "[ASYNC | SYNC]",
        ..Command::NEW
    },
    Command {
        name: "swapdb",
        arity: 3,
        flags: Flags::WRITE.and(Flags::FAST),
        handler: swapdb,
        group: "server",
        since: "4.0.0",
        summary: "Swaps two Redis databases.",
        usage: "index1 index2",
        ..Command::NEW
    },
];

/// How many keys a database has, if that is known by now.
///
/// # Errors
/// What the store met while it counted.
pub(super) fn size(call: &mut Call<'_>, db: u8) -> Answer<Option<u64>> {
    let space = call.keys.space(db);
    let pending = call.keys.effects().counts[usize::from(space)];
    let is_zeroed = call.keys.effects().counts.zeroed[usize::from(space)];
    let committed = if is_zeroed { Some(0) } else { call.keys.counts().of(space)? };
    let Some(committed) = committed else { return Ok(None) };
    let wrong = |_| Fail::text(format!("ERR storage: the count of keys is wrong: {committed} and {pending}"));
    u64::try_from(committed + pending).map(Some).map_err(wrong)
}

fn dbsize(call: &mut Call<'_>) -> Answer<Reply> {
    match size(call, call.db)? {
        Some(keys) => Ok(Reply::count(keys)),
        None => call.wait_for_count(),
    }
}

/// Both ways are the same here: nothing is freed key by key.
fn check_way(call: &Call<'_>) -> Answer<()> {
    match call.args {
        [_] => Ok(()),
        [_, way] if is(way, "async") || is(way, "sync") => Ok(()),
        _ => Err(Fail::SYNTAX),
    }
}

fn flushdb(call: &mut Call<'_>) -> Answer<Reply> {
    check_way(call)?;
    call.spare_watched(&[call.db])?;
    call.keys.flush(call.db)?;
    Ok(Reply::Ok)
}

fn flushall(call: &mut Call<'_>) -> Answer<Reply> {
    check_way(call)?;
    call.spare_watched(&std::array::from_fn::<u8, SPACES, _>(|db| db as u8))?;
    call.keys.flush_all();
    Ok(Reply::Ok)
}

fn swapdb(call: &mut Call<'_>) -> Answer<Reply> {
    let number =
        |arg: &[u8], wrong| parse_integer(arg).filter(|n| i32::try_from(*n).is_ok()).ok_or(Fail::of(wrong));
    let first = number(call.args[1], "ERR invalid first DB index")?;
    let second = number(call.args[2], "ERR invalid second DB index")?;
    let database = |number: i64| {
        let db = u8::try_from(number).ok().filter(|db| usize::from(*db) < SPACES);
        db.ok_or(Fail::of("ERR DB index is out of range"))
    };
    let (first, second) = (database(first)?, database(second)?);
    if first != second {
        call.swap_watched(first, second)?;
        call.keys.swap(first, second);
    }
    Ok(Reply::Ok)
}

#[cfg(test)]
mod tests {
    use crate::redis::testing::Bench;

    #[test]
    fn databases_are_emptied_and_swapped() {
        Bench::new().script(
            r#"
            > SET a 1
            +OK
            > SELECT 1
            +OK
            > SET b 1
            +OK
            > SET c 1
            +OK
            > SWAPDB 0 1
            +OK
            > DBSIZE
            :1
            > SWAPDB a 1
            -ERR invalid first DB index
            > SWAPDB 0 b
            -ERR invalid second DB index
            > SWAPDB 0 16
            -ERR DB index is out of range
            > FLUSHDB FOO
            -ERR syntax error
            > FLUSHDB ASYNC
            +OK
            > DBSIZE
            :0
            > SELECT 0
            +OK
            > DBSIZE
            :2
            > FLUSHALL SYNC
            +OK
            > DBSIZE
            :0
            "#,
        );
    }
}
