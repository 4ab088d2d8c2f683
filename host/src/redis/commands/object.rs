//! OBJECT: how Redis would hold a value, by its default limits. Here all collections are stored alike.

use super::args::parse_integer;
use super::{Answer, Call, Command, Fail, Flags, Keys, Reply, unknown_subcommand};
use crate::redis::store::keyspace::Found;
use nokv_core::formats::redis::{Head, Kind};

const ONE_KEY: Keys = Keys::Range { first: 2, last: 2, step: 1 };

/// The command.
pub const COMMANDS: &[Command] = &[Command {
    name: "object",
    arity: -2,
    handler: unknown_subcommand,
    since: "2.2.3",
    summary: "A container for object introspection commands.",
    subcommands: &[
        Command {
            name: "encoding",
            arity: 3,
            flags: Flags::READ,
            keys: ONE_KEY,
            handler: encoding,
            since: "2.2.3",
            summary: "Returns the internal encoding of a Redis object.",
            usage: "key",
            ..Command::NEW
        },
        Command {
            name: "freq",
            arity: 3,
            flags: Flags::READ,
            keys: ONE_KEY,
            handler: freq,
            since: "4.0.0",
            summary: "Returns the logarithmic access frequency counter of a Redis object.",
            usage: "key",
            ..Command::NEW
        },
        Command {
            name: "help",
            arity: 2,
            flags: Flags::LOADING.and(Flags::STALE),
            handler: help,
            since: "6.2.0",
            summary: "Returns helpful text about the different subcommands.",
            ..Command::NEW
        },
        Command {
            name: "idletime",
            arity: 3,
            flags: Flags::READ,
            keys: ONE_KEY,
            handler: idletime,
            since: "2.2.3",
            summary: "Returns the time since the last access to a Redis object.",
            usage: "key",
            ..Command::NEW
        },
        Command {
            name: "refcount",
            arity: 3,
            flags: Flags::READ,
            keys: ONE_KEY,
            handler: refcount,
            since: "2.2.3",
            summary: "Returns the reference count of a value of a key.",
            usage: "key",
            ..Command::NEW
        },
    ],
    ..Command::NEW
}];

/// Strings up to here stand beside their header.
const EMBEDDED_BYTES_MAX: usize = 44;
/// Elements of a small collection.
const SMALL_COUNT_MAX: u64 = 128;
/// Bytes of each of them.
const SMALL_ELEMENT_MAX: u32 = 64;
/// Members of a set of integers.
const INTEGERS_MAX: u64 = 512;
/// Bytes of a small list, and what an element takes beside its own.
const SMALL_LIST_BYTES_MAX: u64 = 8 << 10;
const LIST_ELEMENT_BYTES: u64 = 3;
/// Integers below it are shared by all keys.
const SHARED_INTEGERS: i64 = 10_000;

/// The encoding that Redis would have chosen for a value.
///
/// # Errors
/// The stored head is damaged.
pub fn encoding_of(found: &Found) -> Answer<&'static str> {
    if found.kind == Kind::String {
        return Ok(if parse_integer(&found.value).is_some() {
            "int"
        } else if found.value.len() <= EMBEDDED_BYTES_MAX {
            "embstr"
        } else {
            "raw"
        });
    }
    let head = Head::decode(&found.value)?;
    let is_small = head.count <= SMALL_COUNT_MAX && head.longest <= SMALL_ELEMENT_MAX;
    Ok(match found.kind {
        Kind::Set if !head.has(Head::NOT_INTEGERS) && head.count <= INTEGERS_MAX => "intset",
        Kind::Set | Kind::Hash if !is_small => "hashtable",
        Kind::SortedSet if !is_small => "skiplist",
        Kind::List
            if head.count.saturating_mul(u64::from(head.longest) + LIST_ELEMENT_BYTES)
                > SMALL_LIST_BYTES_MAX =>
        {
            "quicklist"
        }
        _ => "listpack",
    })
}

/// The value; no hit and no miss, as it is about the key and not about what it holds.
fn found(call: &mut Call<'_>) -> Answer<Option<Found>> {
    call.keys.find(call.db, call.args[2])
}

fn encoding(call: &mut Call<'_>) -> Answer<Reply> {
    Ok(match found(call)? {
        Some(found) => Reply::Text(encoding_of(&found)?),
        None => Reply::Nil,
    })
}

fn refcount(call: &mut Call<'_>) -> Answer<Reply> {
    Ok(found(call)?.map_or(Reply::Nil, |found| {
        let number = if found.kind == Kind::String { parse_integer(&found.value) } else { None };
        let is_shared = number.is_some_and(|number| (0..SHARED_INTEGERS).contains(&number));
        Reply::Int(if is_shared { i64::from(i32::MAX) } else { 1 })
    }))
}

fn idletime(call: &mut Call<'_>) -> Answer<Reply> {
    // When a key was last read is not noted.
    Ok(found(call)?.map_or(Reply::Nil, |_| Reply::Int(0)))
}

fn freq(call: &mut Call<'_>) -> Answer<Reply> {
    match found(call)? {
        None => Ok(Reply::Nil),
        Some(_) => Err(Fail::of(
            "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when \
             switching between policies at runtime LRU and LFU data will take some time to adjust.",
        )),
    }
}

fn help(_: &mut Call<'_>) -> Answer<Reply> {
    let lines = [
        "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "ENCODING <key>",
        "    Return the kind of internal representation used in order to store the value",
        "    associated with a <key>.",
        "FREQ <key>",
        "    Return the access frequency index of the <key>. The returned integer is",
        "    proportional to the logarithm of the recent access frequency of the key.",
        "IDLETIME <key>",
        "    Return the idle time of the <key>, that is the approximated number of",
        "    seconds elapsed since the last access to the key.",
        "REFCOUNT <key>",
        "    Return the number of references of the value associated with the specified",
        "    <key>.",
        "HELP",
        "    Prints this help.",
    ];
    Ok(Reply::Array(lines.iter().map(|line| Reply::Status((*line).into())).collect()))
}

#[cfg(test)]
mod tests {
    use crate::redis::testing::Bench;

    #[test]
    fn strings_have_three_encodings() {
        Bench::new().script(
            r#"
            > SET a 100
            +OK
            > OBJECT ENCODING a
            int
            > OBJECT REFCOUNT a
            :2147483647
            > SET a aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
            +OK
            > OBJECT ENCODING a
            embstr
            > SET a aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
            +OK
            > OBJECT ENCODING a
            raw
            > OBJECT FREQ a
            -ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.
            > OBJECT IDLETIME a
            :0
            > OBJECT ENCODING none
            nil
            > OBJECT FOO
            -ERR unknown subcommand 'FOO'. Try OBJECT HELP.
            "#,
        );
    }
}
