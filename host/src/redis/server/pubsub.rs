//! Who listens to which channel.

use std::collections::{BTreeMap, BTreeSet};

use super::client::{Client, ClientRef};
use crate::redis::glob;
use crate::redis::resp::reply::Reply;

/// Listeners by channel and by pattern.
#[derive(Debug, Default)]
pub struct PubSub {
    /// Clients by channel.
    pub channels: BTreeMap<Vec<u8>, BTreeSet<u64>>,
    /// Clients by pattern.
    pub patterns: BTreeMap<Vec<u8>, BTreeSet<u64>>,
    /// Clients by shard channel.
    pub shard_channels: BTreeMap<Vec<u8>, BTreeSet<u64>>,
}

impl PubSub {
    /// Sends a message to those who listen to `channel`; gives their number.
    pub fn publish(&self, clients: &BTreeMap<u64, ClientRef>, channel: &[u8], message: &[u8]) -> usize {
        let mut told = 0;
        let mut send = |ids: &BTreeSet<u64>, reply: &Reply| {
            for client in ids.iter().filter_map(|id| clients.get(id)) {
                client.borrow_mut().push(reply);
                told += 1;
            }
        };
        if let Some(ids) = self.channels.get(channel) {
            let parts = vec![Reply::Text("message"), Reply::bulk(channel), Reply::bulk(message)];
            send(ids, &Reply::Push(parts));
        }
        for (pattern, ids) in &self.patterns {
            if glob::matches(pattern, channel, false) {
                let parts = vec![
                    Reply::Text("pmessage"),
                    Reply::bulk(pattern),
                    Reply::bulk(channel),
                    Reply::bulk(message),
                ];
                send(ids, &Reply::Push(parts));
            }
        }
        told
    }

    /// Sends a message to those who listen to a shard channel; gives their number.
    pub fn publish_shard(&self, clients: &BTreeMap<u64, ClientRef>, channel: &[u8], message: &[u8]) -> usize {
        let Some(ids) = self.shard_channels.get(channel) else { return 0 };
        let parts = vec![Reply::Text("smessage"), Reply::bulk(channel), Reply::bulk(message)];
        let reply = Reply::Push(parts);
        ids.iter().filter_map(|id| clients.get(id)).map(|client| client.borrow_mut().push(&reply)).count()
    }

    /// A client listens to nothing any more.
    pub fn forget(&mut self, client: &Client) {
        let sides = [
            (&mut self.channels, &client.channels),
            (&mut self.patterns, &client.patterns),
            (&mut self.shard_channels, &client.shard_channels),
        ];
        for (listeners, names) in sides {
            for name in names.iter() {
                remove(listeners, name, client.id);
            }
        }
    }
}

/// A client does not listen to this name any more.
pub fn remove(listeners: &mut BTreeMap<Vec<u8>, BTreeSet<u64>>, name: &[u8], client: u64) {
    if let Some(ids) = listeners.get_mut(name) {
        ids.remove(&client);
        if ids.is_empty() {
            listeners.remove(name);
        }
    }
}
