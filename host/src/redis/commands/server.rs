//! Commands for whoever runs the server: durability, the end, roles, what a server without cluster and replicas says.
//!
//! Everything that was acknowledged is in the log; SAVE and its kin make it durable (sync), whatever `appendfsync` says.

use std::time::{SystemTime, UNIX_EPOCH};

use super::args::{integer, is};
use super::{Answer, Call, Command, Fail, Flags, HELP, Reply, connection};

const SERVER: Command = Command { group: "server", ..Command::NEW };
const ADMIN: Flags = Flags::ADMIN.and(Flags::NO_SCRIPT);
const NO_CLUSTER: Fail = Fail::of("ERR This instance has cluster support disabled");

const fn cluster(name: &'static str, arity: i32, summary: &'static str, usage: &'static str) -> Command {
    Command {
        name,
        arity,
        flags: Flags::LOADING.and(Flags::STALE),
        handler: |_| Err(NO_CLUSTER),
        group: "cluster",
        since: "3.0.0",
        summary,
        usage,
        ..Command::NEW
    }
}

/// The commands.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "time",
        arity: 1,
        flags: Flags::LOADING.and(Flags::STALE).and(Flags::FAST),
        handler: time,
        since: "2.6.0",
        summary: "Returns the server time.",
        ..SERVER
    },
    Command {
        name: "role",
        arity: 1,
        flags: Flags::NO_SCRIPT.and(Flags::LOADING).and(Flags::STALE).and(Flags::FAST),
        handler: |_| Ok(Reply::Array(vec![Reply::Text("master"), Reply::Int(0), Reply::Array(Vec::new())])),
        since: "2.8.12",
        summary: "Returns the replication role.",
        ..SERVER
    },
    Command {
        name: "save",
        arity: 1,
        flags: ADMIN.and(Flags::NO_MULTI),
        handler: save,
        summary: "Makes everything durable, and waits for it.",
        ..SERVER
    },
    Command {
        name: "bgsave",
        flags: ADMIN,
        handler: bgsave,
        summary: "Asks that everything become durable.",
        usage: "[SCHEDULE]",
        ..SERVER
    },
    Command {
        name: "bgrewriteaof",
        arity: 1,
        flags: ADMIN,
        handler: |call| {
            ask_for_sync(call);
            Ok(Reply::Status("Background append only file rewriting started".into()))
        },
        summary: "Asks that everything become durable; the log is collected by itself.",
        ..SERVER
    },
    Command {
        name: "lastsave",
        arity: 1,
        flags: Flags::LOADING.and(Flags::STALE).and(Flags::FAST),
        handler: lastsave,
        summary: "Returns the Unix timestamp of the last successful sync.",
        ..SERVER
    },
    Command {
        name: "wait",
        arity: 3,
        flags: Flags::BLOCKING,
        handler: wait,
        group: "generic",
        since: "3.0.0",
        summary: "Blocks until the asynchronous replication of all preceding write commands sent by the connection is \
                  completed.",
        usage: "numreplicas timeout",
        ..Command::NEW
    },
    Command {
        name: "waitaof",
        arity: 4,
        flags: Flags::BLOCKING,
        handler: waitaof,
        group: "generic",
        since: "7.2.0",
        summary: "Blocks until all of the preceding write commands sent by the connection are durable here.",
        usage: "numlocal numreplicas timeout",
        ..Command::NEW
    },
    Command {
        name: "shutdown",
        flags: ADMIN.and(Flags::NO_MULTI).and(Flags::LOADING).and(Flags::STALE).and(Flags::ALLOW_BUSY),
        handler: shutdown,
        summary: "Makes everything durable and shuts down the server.",
        usage: "[NOSAVE | SAVE] [NOW] [FORCE] [ABORT]",
        ..SERVER
    },
    Command {
        name: "monitor",
        arity: 1,
        flags: ADMIN.and(Flags::LOADING).and(Flags::STALE),
        handler: monitor,
        summary: "Listens for all requests received by the server in real-time.",
        ..SERVER
    },
    Command {
        name: "replicaof",
        arity: 3,
        flags: ADMIN.and(Flags::STALE),
        handler: replicaof,
        since: "5.0.0",
        summary: "Configures a server as replica of another, or promotes it to a master.",
        usage: "<host port | NO ONE>",
        ..SERVER
    },
    Command {
        name: "slaveof",
        arity: 3,
        flags: ADMIN.and(Flags::STALE),
        handler: replicaof,
        summary: "Sets a server as a replica of another, or promotes it to being a master.",
        usage: "<host port | NO ONE>",
        ..SERVER
    },
    Command {
        name: "failover",
        flags: ADMIN.and(Flags::STALE),
        handler: |_| Err(Fail::of("ERR FAILOVER requires connected replicas.")),
        since: "6.2.0",
        summary: "Starts a coordinated failover from a server to one of its replicas.",
        usage: "[TO host port [FORCE]] [ABORT] [TIMEOUT milliseconds]",
        ..SERVER
    },
    Command {
        name: "lolwut",
        flags: Flags::READ.and(Flags::FAST),
        handler: |_| {
            Ok(Reply::Verbatim(
                "txt",
                format!(
                    "NoKV ver. {}, Redis ver. {}\n",
                    env!("CARGO_PKG_VERSION"),
                    connection::REDIS_VERSION
                ),
            ))
        },
        since: "5.0.0",
        summary: "Displays computer art and the server version.",
        usage: "[VERSION version]",
        ..SERVER
    },
    Command {
        name: "module",
        arity: -2,
        since: "4.0.0",
        summary: "A container for module commands.",
        subcommands: &[
            Command {
                name: "list",
                arity: 2,
                flags: ADMIN,
                handler: |_| Ok(Reply::Array(Vec::new())),
                since: "4.0.0",
                summary: "Returns all loaded modules.",
                ..SERVER
            },
            HELP,
        ],
        ..SERVER
    },
    Command {
        since: "3.0.0",
        ..cluster("readonly", 1, "Enables read-only queries on a cluster replica node.", "")
    },
    cluster("readwrite", 1, "Enables read-write queries on a cluster replica node.", ""),
    cluster("asking", 1, "Signals that a cluster client is following an -ASK redirect.", ""),
    Command {
        name: "cluster",
        arity: -2,
        group: "cluster",
        since: "3.0.0",
        summary: "A container for cluster commands.",
        subcommands: &[
            cluster("addslots", -3, "Assigns new hash slots to a node.", "slot [slot ...]"),
            cluster("countkeysinslot", 3, "Returns the number of keys in a hash slot.", "slot"),
            cluster("forget", 3, "Removes a node from the nodes table.", "node-id"),
            cluster("getkeysinslot", 4, "Returns the key names in a hash slot.", "slot count"),
            cluster("info", 2, "Returns information about the state of a node.", ""),
            cluster("keyslot", 3, "Returns the hash slot for a key.", "key"),
            cluster("links", 2, "Returns a list of all TCP links to and from peer nodes.", ""),
            cluster(
                "meet",
                -4,
                "Forces a node to handshake with another node.",
                "ip port [cluster-bus-port]",
            ),
            cluster("myid", 2, "Returns the ID of a node.", ""),
            cluster("myshardid", 2, "Returns the shard ID of a node.", ""),
            cluster("nodes", 2, "Returns the cluster configuration for a node.", ""),
            cluster("replicas", 3, "Lists the replica nodes of a master node.", "node-id"),
            cluster("reset", -2, "Resets a node.", "[HARD | SOFT]"),
            cluster("shards", 2, "Returns the mapping of cluster slots to shards.", ""),
            cluster("slots", 2, "Returns the mapping of cluster slots to nodes.", ""),
            HELP,
        ],
        ..Command::NEW
    },
];

fn time(_: &mut Call<'_>) -> Answer<Reply> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(Reply::Array(vec![
        Reply::bulk(since.as_secs().to_string()),
        Reply::bulk(since.subsec_micros().to_string()),
    ]))
}

fn save(call: &mut Call<'_>) -> Answer<Reply> {
    call.keys.txn().backend().sync()?;
    ask_for_sync(call);
    Ok(Reply::Ok)
}

fn ask_for_sync(call: &Call<'_>) {
    if let Some(sync) = &call.state.sync {
        sync.now();
    }
}

fn bgsave(call: &mut Call<'_>) -> Answer<Reply> {
    match call.args {
        [_] => {}
        [_, word] if is(word, "schedule") => {}
        _ => return Err(Fail::SYNTAX),
    }
    ask_for_sync(call);
    Ok(Reply::Status("Background saving started".into()))
}

fn lastsave(call: &mut Call<'_>) -> Answer<Reply> {
    let synced = call.state.sync.as_ref().map_or(0, |sync| sync.durable().at_unix);
    let started = (call.keys.now() / 1000).saturating_sub(call.state.started.elapsed().as_secs());
    Ok(Reply::count(if synced == 0 { started } else { synced }))
}

fn timeout(arg: &[u8]) -> Answer<f64> {
    match integer(arg)? {
        ms if ms < 0 => Err(Fail::of("ERR timeout is negative")),
        ms => Ok(ms as f64 / 1000.0),
    }
}

fn wait(call: &mut Call<'_>) -> Answer<Reply> {
    let replicas = integer(call.args[1])?;
    let seconds = timeout(call.args[2])?;
    if replicas <= 0 {
        return Ok(Reply::Int(0));
    }
    Ok(call.wait_for(&[], seconds, Reply::Int(0)))
}

fn waitaof(call: &mut Call<'_>) -> Answer<Reply> {
    let local = integer(call.args[1])?;
    let replicas = integer(call.args[2])?;
    let seconds = timeout(call.args[3])?;
    if !(0..=1).contains(&local) || replicas < 0 {
        return Err(Fail::of("ERR value is out of range"));
    }
    // The reply leaves when everything before it is durable.
    let mut client = call.client.borrow_mut();
    client.needs_durable = client.needs_durable.max(call.keys.txn().backend().seq());
    drop(client);
    let reply = Reply::Array(vec![Reply::Int(1), Reply::Int(0)]);
    Ok(if replicas == 0 { reply } else { call.wait_for(&[], seconds, reply) })
}

fn shutdown(call: &mut Call<'_>) -> Answer<Reply> {
    let mut aborts = false;
    for word in &call.args[1..] {
        if is(word, "abort") && call.args.len() == 2 {
            aborts = true;
        } else if !["nosave", "save", "now", "force"].iter().any(|known| is(word, known)) {
            return Err(Fail::SYNTAX);
        }
    }
    let has = |name| call.args[1..].iter().any(|word| is(word, name));
    if has("save") && has("nosave") {
        return Err(Fail::SYNTAX);
    }
    if aborts {
        return Err(Fail::of("ERR No shutdown in progress."));
    }
    call.state.shutdown = true;
    Ok(Reply::None)
}

fn monitor(call: &mut Call<'_>) -> Answer<Reply> {
    if call.in_exec {
        return Err(Fail::of("ERR MONITOR isn't allowed for DENY BLOCKING client"));
    }
    let mut client = call.client.borrow_mut();
    if !std::mem::replace(&mut client.is_monitor, true) {
        call.state.monitors += 1;
    }
    Ok(Reply::Ok)
}

fn replicaof(call: &mut Call<'_>) -> Answer<Reply> {
    if is(call.args[1], "no") && is(call.args[2], "one") {
        return Ok(Reply::Ok);
    }
    Err(Fail::of("ERR this server is no replica of another; it always is a master"))
}
