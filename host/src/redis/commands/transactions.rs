//! MULTI, EXEC, DISCARD, WATCH, UNWATCH.
//!
//! What EXEC runs is one transaction of the store. A watched key is a precondition of it: that nobody wrote it since, and
//! that it has not expired since.

use super::{Answer, Call, Command, Fail, Flags, Keys, Reply};
use crate::redis::server::client::Queue;
use crate::redis::server::held::Watched;
use crate::redis::store::backend::{Table, Unchanged};

const CONTROL: Flags =
    Flags::FAST.and(Flags::LOADING).and(Flags::STALE).and(Flags::NO_SCRIPT).and(Flags::ALLOW_BUSY);

/// The commands.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "multi",
        arity: 1,
        flags: CONTROL,
        handler: multi,
        group: "transactions",
        since: "1.2.0",
        summary: "Starts a transaction.",
        ..Command::NEW
    },
    Command {
        name: "exec",
        arity: 1,
        flags: Flags::LOADING.and(Flags::STALE).and(Flags::NO_SCRIPT).and(Flags::SKIP_SLOWLOG),
        handler: exec,
        group: "transactions",
        since: "1.2.0",
        summary: "Executes all commands in a transaction.",
        ..Command::NEW
    },
    Command {
        name: "discard",
        arity: 1,
        flags: CONTROL,
        handler: discard,
        group: "transactions",
        since: "2.0.0",
        summary: "Discards a transaction.",
        ..Command::NEW
    },
    Command {
        name: "watch",
        arity: -2,
        flags: CONTROL,
        keys: Keys::ALL,
        handler: watch,
        group: "transactions",
        since: "2.2.0",
        summary: "Monitors changes to keys to determine the execution of a transaction.",
        usage: "key [key ...]",
        ..Command::NEW
    },
    Command {
        name: "unwatch",
        arity: 1,
        flags: CONTROL,
        handler: unwatch,
        group: "transactions",
        since: "2.2.0",
        summary: "Forgets about watched keys of a transaction.",
        ..Command::NEW
    },
];

fn multi(call: &mut Call<'_>) -> Answer<Reply> {
    let mut client = call.client.borrow_mut();
    if client.queue.is_some() {
        return Err(Fail::of("ERR MULTI calls can not be nested"));
    }
    client.queue = Some(Queue::default());
    Ok(Reply::Ok)
}

fn discard(call: &mut Call<'_>) -> Answer<Reply> {
    let mut client = call.client.borrow_mut();
    if client.queue.take().is_none() {
        return Err(Fail::of("ERR DISCARD without MULTI"));
    }
    client.watched.clear();
    Ok(Reply::Ok)
}

fn exec(call: &mut Call<'_>) -> Answer<Reply> {
    let (queue, watched) = {
        // They are put back: another writer of the store may make it run again. When it is over they go.
        let mut client = call.client.borrow_mut();
        let watched = client.watched.clone();
        let Some(queue) = &mut client.queue else { return Err(Fail::of("ERR EXEC without MULTI")) };
        (std::mem::take(queue), watched)
    };
    if queue.is_broken {
        return Err(Fail::of("EXECABORT Transaction discarded because of previous errors."));
    }
    for watched in watched {
        // Another space under the same number is another key.
        let is_there = watched.condition.table == Table::Keys(call.keys.space(watched.db));
        if watched.is_dirty
            || !is_there
            || !call.keys.txn().backend().is_unchanged(&watched.condition)?
            // One that expired since may not have been taken out yet.
            || (watched.existed && !call.keys.holds(watched.db, &watched.condition.key)?)
        {
            return Ok(Reply::NilArray);
        }
        call.keys.txn().require(watched.condition);
    }
    let replies = call.run_queue(&queue.commands);
    call.client.borrow_mut().queue = Some(queue);
    Ok(Reply::Array(replies?))
}

fn watch(call: &mut Call<'_>) -> Answer<Reply> {
    if call.client.borrow().queue.is_some() {
        return Err(Fail::of("ERR WATCH inside MULTI is not allowed"));
    }
    let table = Table::Keys(call.keys.space(call.db));
    let since = call.keys.txn().since();
    let mut client = call.client.borrow_mut();
    for key in &call.args[1..] {
        let is_new = !client.watched.iter().any(|w| w.db == call.db && w.condition.key == *key);
        if is_new {
            let existed = call.keys.holds(call.db, key)?;
            let condition = Unchanged { table, key: key.to_vec(), since };
            client.watched.push(Watched { db: call.db, condition, existed, is_dirty: false });
        }
    }
    Ok(Reply::Ok)
}

fn unwatch(call: &mut Call<'_>) -> Answer<Reply> {
    call.client.borrow_mut().watched.clear();
    Ok(Reply::Ok)
}

#[cfg(test)]
mod tests {
    use crate::redis::testing::Bench;

    /// A key, field or member that is too long is the error of its command; the others of the transaction are done.
    #[test]
    fn a_long_name_is_the_error_of_its_command() {
        let long = "n".repeat(65_501);
        let error = "-ERR key, member or field is longer than 65500 bytes";
        for command in [
            "SET LONG 2",
            "GET LONG",
            "MSET a 1 LONG 2",
            "SADD s 1 LONG",
            "SREM s LONG",
            "SMOVE s t LONG",
            "SISMEMBER s LONG",
            "HSET h f 1 LONG 2",
            "HSETNX h LONG 1",
            "HINCRBY h LONG 1",
            "HINCRBYFLOAT h LONG 1",
            "HDEL h f LONG",
            "ZADD z 1 a 2 LONG",
            "ZINCRBY z 1 LONG",
            "ZREM z a LONG",
            "RENAME s LONG",
            "COPY s LONG",
            "SUNIONSTORE LONG s",
            "SORT s BY nosort STORE LONG",
            "LMOVE l LONG LEFT LEFT",
            "BITOP NOT LONG x1",
            "ZRANGESTORE LONG z 0 -1",
            "DEL s LONG",
        ] {
            let mut bench = Bench::new();
            for set_up in ["SADD s m", "HSET h f v", "ZADD z 1 a", "RPUSH l e", "SET x1 0"] {
                bench.run(set_up);
            }
            let before = bench.run("DBSIZE");
            let command = command.replace("LONG", &long);
            assert_eq!(bench.run(&command), error, "{command:.30}");
            for line in ["MULTI", "SET x1 1", &command, "SET x2 2"] {
                bench.run(line);
            }
            assert_eq!(bench.run("EXEC"), format!("[+OK {error} +OK]"), "{command:.30}");
            assert_eq!(bench.run("MGET x1 x2"), "[1 2]");
            // Heads say what is there.
            for (line, reply) in [
                ("SMEMBERS s", "[m]"),
                ("HGETALL h", "[f v]"),
                ("ZRANGE z 0 -1 WITHSCORES", "[a 1]"),
                ("LRANGE l 0 -1", "[e]"),
                ("SCARD s", ":1"),
                ("HLEN h", ":1"),
                ("ZCARD z", ":1"),
                ("LLEN l", ":1"),
                ("EXISTS a t", ":0"),
            ] {
                assert_eq!(bench.run(line), reply, "{command:.30}");
            }
            bench.run("DEL x2");
            assert_eq!(bench.run("DBSIZE"), before);
        }
    }
}
