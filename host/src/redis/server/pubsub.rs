//! Who listens to which channel.

use std::collections::{BTreeMap, BTreeSet};

use super::client::{Client, ClientRef};
use crate::redis::glob;
use crate::redis::resp::reply::Reply;
use crate::redis::store::effects::Listeners;

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
    pub fn publish(
        &self,
        clients: &BTreeMap<u64, ClientRef>,
        to: Listeners,
        channel: &[u8],
        message: &[u8],
    ) -> usize {
        let mut told = 0;
        self.each(to, channel, |pattern, ids| {
            let (channel, message) = (Reply::bulk(channel), Reply::bulk(message));
            let parts = match (to, pattern) {
                (_, Some(pattern)) => vec![Reply::Text("pmessage"), Reply::bulk(pattern), channel, message],
                (Listeners::Channels, None) => vec![Reply::Text("message"), channel, message],
                (Listeners::Shards, None) => vec![Reply::Text("smessage"), channel, message],
            };
            let reply = Reply::Push(parts);
            for client in ids.iter().filter_map(|id| clients.get(id)) {
                client.borrow_mut().push(&reply);
                told += 1;
            }
        });
        told
    }

    /// How many a message would be sent to.
    pub fn count(&self, to: Listeners, channel: &[u8]) -> usize {
        let mut count = 0;
        self.each(to, channel, |_, ids| count += ids.len());
        count
    }

    /// Shows who listens to `channel`: first by its name, then by patterns.
    fn each(&self, to: Listeners, channel: &[u8], mut look: impl FnMut(Option<&[u8]>, &BTreeSet<u64>)) {
        let by_name = match to {
            Listeners::Channels => &self.channels,
            Listeners::Shards => &self.shard_channels,
        };
        if let Some(ids) = by_name.get(channel) {
            look(None, ids);
        }
        if to == Listeners::Channels {
            for (pattern, ids) in &self.patterns {
                if glob::matches(pattern, channel, false) {
                    look(Some(pattern), ids);
                }
            }
        }
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
