//! Messages: SUBSCRIBE and its kin, PUBLISH, PUBSUB.
//!
//! Each name of a subscription is answered by a push of its own (an array in version 2 of the protocol), with the number of
//! subscriptions after it.

use std::collections::{BTreeMap, BTreeSet};

use super::{Answer, Call, Command, Flags, HELP, Reply};
use crate::redis::glob;
use crate::redis::server::client::Client;
use crate::redis::server::held::Names;
use crate::redis::server::pubsub::{self, PubSub};
use crate::redis::store::effects::Listeners;

const LISTEN: Flags = Flags::PUBSUB.and(Flags::NO_SCRIPT).and(Flags::LOADING).and(Flags::STALE);
const PUBLISH: Flags = Flags::PUBSUB.and(Flags::LOADING).and(Flags::STALE).and(Flags::FAST);
const ASK: Flags = Flags::PUBSUB.and(Flags::LOADING).and(Flags::STALE);

const PUBSUB: Command = Command { group: "pubsub", since: "2.0.0", ..Command::NEW };

/// The commands.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "subscribe",
        arity: -2,
        flags: LISTEN,
        handler: |call| subscribe(call, &CHANNELS),
        summary: "Listens for messages published to channels.",
        usage: "channel [channel ...]",
        ..PUBSUB
    },
    Command {
        name: "psubscribe",
        arity: -2,
        flags: LISTEN,
        handler: |call| subscribe(call, &PATTERNS),
        summary: "Listens for messages published to channels that match one or more patterns.",
        usage: "pattern [pattern ...]",
        ..PUBSUB
    },
    Command {
        name: "ssubscribe",
        arity: -2,
        flags: LISTEN,
        handler: |call| subscribe(call, &SHARD_CHANNELS),
        since: "7.0.0",
        summary: "Listens for messages published to shard channels.",
        usage: "shardchannel [shardchannel ...]",
        ..PUBSUB
    },
    Command {
        name: "unsubscribe",
        flags: LISTEN,
        handler: |call| unsubscribe(call, &CHANNELS),
        summary: "Stops listening to messages posted to channels.",
        usage: "[channel [channel ...]]",
        ..PUBSUB
    },
    Command {
        name: "punsubscribe",
        flags: LISTEN,
        handler: |call| unsubscribe(call, &PATTERNS),
        summary: "Stops listening to messages published to channels that match one or more patterns.",
        usage: "[pattern [pattern ...]]",
        ..PUBSUB
    },
    Command {
        name: "sunsubscribe",
        flags: LISTEN,
        handler: |call| unsubscribe(call, &SHARD_CHANNELS),
        since: "7.0.0",
        summary: "Stops listening to messages posted to shard channels.",
        usage: "[shardchannel [shardchannel ...]]",
        ..PUBSUB
    },
    Command {
        name: "publish",
        arity: 3,
        flags: PUBLISH,
        handler: |call| Ok(publish(call, Listeners::Channels)),
        summary: "Posts a message to a channel.",
        usage: "channel message",
        ..PUBSUB
    },
    Command {
        name: "spublish",
        arity: 3,
        flags: PUBLISH,
        handler: |call| Ok(publish(call, Listeners::Shards)),
        since: "7.0.0",
        summary: "Posts a message to a shard channel.",
        usage: "shardchannel message",
        ..PUBSUB
    },
    Command {
        name: "pubsub",
        arity: -2,
        flags: ASK,
        summary: "A container for Pub/Sub commands.",
        since: "2.8.0",
        subcommands: &[
            Command {
                name: "channels",
                arity: -2,
                flags: ASK,
                handler: |call| channels(call, |pubsub| &pubsub.channels),
                since: "2.8.0",
                summary: "Returns the active channels.",
                usage: "[pattern]",
                ..PUBSUB
            },
            Command {
                name: "numpat",
                arity: 2,
                flags: ASK,
                handler: |call| Ok(Reply::count(call.state.pubsub.patterns.len())),
                since: "2.8.0",
                summary: "Returns a count of unique pattern subscriptions.",
                ..PUBSUB
            },
            Command {
                name: "numsub",
                arity: -2,
                flags: ASK,
                handler: |call| Ok(listeners(call, |pubsub| &pubsub.channels)),
                since: "2.8.0",
                summary: "Returns a count of subscribers to channels.",
                usage: "[channel [channel ...]]",
                ..PUBSUB
            },
            Command {
                name: "shardchannels",
                arity: -2,
                flags: ASK,
                handler: |call| channels(call, |pubsub| &pubsub.shard_channels),
                since: "7.0.0",
                summary: "Returns the active shard channels.",
                usage: "[pattern]",
                ..PUBSUB
            },
            Command {
                name: "shardnumsub",
                arity: -2,
                flags: ASK,
                handler: |call| Ok(listeners(call, |pubsub| &pubsub.shard_channels)),
                since: "7.0.0",
                summary: "Returns the count of subscribers of shard channels.",
                usage: "[shardchannel [shardchannel ...]]",
                ..PUBSUB
            },
            HELP,
        ],
        ..PUBSUB
    },
];

type ByName = BTreeMap<Vec<u8>, BTreeSet<u64>>;

/// A kind of subscription.
struct Side {
    subscribe: &'static str,
    unsubscribe: &'static str,
    own: fn(&mut Client) -> &mut Names,
    all: fn(&mut PubSub) -> &mut ByName,
    count: fn(&Client) -> usize,
}

const CHANNELS: Side = Side {
    subscribe: "subscribe",
    unsubscribe: "unsubscribe",
    own: |client| &mut client.channels,
    all: |pubsub| &mut pubsub.channels,
    count: |client| client.channels.len() + client.patterns.len(),
};
const PATTERNS: Side = Side {
    subscribe: "psubscribe",
    unsubscribe: "punsubscribe",
    own: |client| &mut client.patterns,
    all: |pubsub| &mut pubsub.patterns,
    count: |client| client.channels.len() + client.patterns.len(),
};
const SHARD_CHANNELS: Side = Side {
    subscribe: "ssubscribe",
    unsubscribe: "sunsubscribe",
    own: |client| &mut client.shard_channels,
    all: |pubsub| &mut pubsub.shard_channels,
    count: |client| client.shard_channels.len(),
};

fn push(kind: &'static str, name: Reply, count: usize) -> Reply {
    Reply::Push(vec![Reply::Text(kind), name, Reply::count(count)])
}

fn subscribe(call: &mut Call<'_>, side: &Side) -> Answer<Reply> {
    let mut client = call.client.borrow_mut();
    let mut replies = Vec::with_capacity(call.args.len() - 1);
    for name in &call.args[1..] {
        if (side.own)(&mut client).insert(name) {
            let id = client.id;
            (side.all)(&mut call.state.pubsub).entry(name.to_vec()).or_default().insert(id);
        }
        replies.push(push(side.subscribe, Reply::bulk(name), (side.count)(&client)));
    }
    Ok(Reply::Many(replies))
}

fn unsubscribe(call: &mut Call<'_>, side: &Side) -> Answer<Reply> {
    let mut client = call.client.borrow_mut();
    let names: Vec<Vec<u8>> = match call.args {
        [_] => (side.own)(&mut client).iter().cloned().collect(),
        [_, names @ ..] => names.iter().map(|name| name.to_vec()).collect(),
        [] => Vec::new(),
    };
    if names.is_empty() {
        return Ok(push(side.unsubscribe, Reply::Nil, (side.count)(&client)));
    }
    let mut replies = Vec::with_capacity(names.len());
    for name in names {
        if (side.own)(&mut client).remove(&name) {
            pubsub::remove((side.all)(&mut call.state.pubsub), &name, client.id);
        }
        replies.push(push(side.unsubscribe, Reply::Bulk(name), (side.count)(&client)));
    }
    Ok(Reply::Many(replies))
}

/// A message of a transaction is one of its effects: told in its place among the events when it is committed.
fn publish(call: &mut Call<'_>, to: Listeners) -> Reply {
    let (channel, message) = (call.args[1], call.args[2]);
    let pubsub = &call.state.pubsub;
    if !call.in_exec {
        return Reply::count(pubsub.publish(&call.state.clients, to, channel, message));
    }
    let count = pubsub.count(to, channel);
    if count > 0 {
        call.keys.effects().message(to, channel, message);
    }
    Reply::count(count)
}

fn channels(call: &mut Call<'_>, of: fn(&PubSub) -> &ByName) -> Answer<Reply> {
    if call.args.len() > 3 {
        return super::unknown_subcommand(call);
    }
    let pattern = call.args.get(2).copied().unwrap_or(b"*");
    let names = of(&call.state.pubsub).keys().filter(|name| glob::matches(pattern, name, false));
    Ok(Reply::Array(names.map(Reply::bulk).collect()))
}

fn listeners(call: &Call<'_>, of: fn(&PubSub) -> &ByName) -> Reply {
    let all = of(&call.state.pubsub);
    let each = call.args[2..].iter();
    let counts =
        each.flat_map(|name| [Reply::bulk(name), Reply::count(all.get(*name).map_or(0, BTreeSet::len))]);
    Reply::Array(counts.collect())
}
