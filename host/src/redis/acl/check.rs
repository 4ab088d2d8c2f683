//! May this user run this command with these arguments?

use super::user::{User, Which};
use crate::redis::commands::{Command, Entry, Flags};
use crate::redis::glob;
use crate::redis::server::client::Client;

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denied {
    /// The command.
    Command,
    /// A key.
    Key(Vec<u8>),
    /// A channel.
    Channel(Vec<u8>),
}

impl Denied {
    /// The word of `ACL LOG`.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Key(_) => "key",
            Self::Channel(_) => "channel",
        }
    }

    /// The error line.
    pub fn line(&self, user: &User, command: &str) -> String {
        match self {
            Self::Command => {
                format!("NOPERM User {} has no permissions to run the '{command}' command", user.name)
            }
            Self::Key(_) => "NOPERM No permissions to access a key".to_owned(),
            Self::Channel(_) => "NOPERM No permissions to access a channel".to_owned(),
        }
    }
}

impl User {
    /// May it?
    ///
    /// # Errors
    /// [`Denied`].
    pub fn check(&self, entry: &Entry, args: &[&[u8]]) -> Result<(), Denied> {
        if self.is_unrestricted() {
            return Ok(());
        }
        let command = entry.command;
        // Whoever may not log in may not do anything else, either.
        if !self.may_run(entry) && !command.flags.has(Flags::NO_AUTH) {
            return Err(Denied::Command);
        }
        if !self.has_all_keys() {
            self.check_keys(command, args)?;
        }
        if !self.has_all_channels() {
            self.check_channels(command, args)?;
        }
        Ok(())
    }

    /// May it run the command, whatever the arguments?
    pub fn may_run(&self, entry: &Entry) -> bool {
        let decides = |which: &Which| match which {
            Which::All => true,
            Which::Category(_, categories) => entry.categories.meets(*categories),
            Which::Command(name) => {
                let rest = entry.full.strip_prefix(name.as_str());
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('|'))
            }
        };
        self.commands
            .iter()
            .rev()
            .find(|(_, which)| decides(which))
            .is_some_and(|(is_allowed, _)| *is_allowed)
    }

    fn may_use(&self, key: &[u8]) -> bool {
        self.keys.iter().any(|pattern| glob::matches(pattern, key, false))
    }

    fn check_keys(&self, command: &Command, args: &[&[u8]]) -> Result<(), Denied> {
        // Keys that cannot be told are nobody's.
        let positions = command.keys.positions(args).ok_or_else(|| Denied::Key(Vec::new()))?;
        let keys = positions.into_iter().filter_map(|at| args.get(at));
        keys.copied().find(|key| !self.may_use(key)).map_or(Ok(()), |key| Err(Denied::Key(key.to_vec())))?;
        // SORT reads keys of any name by its patterns, and has one more behind STORE.
        if matches!(command.name, "sort" | "sort_ro") {
            for pair in args.get(2..).unwrap_or_default().windows(2) {
                let is = |word: &[u8]| pair[0].eq_ignore_ascii_case(word);
                if is(b"by") || is(b"get") || (is(b"store") && !self.may_use(pair[1])) {
                    return Err(Denied::Key(pair[1].to_vec()));
                }
            }
        }
        Ok(())
    }

    fn check_channels(&self, command: &Command, args: &[&[u8]]) -> Result<(), Denied> {
        let (channels, is_pattern) = match command.name {
            "publish" | "spublish" => (args.get(1..2), false),
            "subscribe" | "ssubscribe" => (args.get(1..), false),
            "psubscribe" => (args.get(1..), true),
            _ => return Ok(()),
        };
        let denied = channels.unwrap_or_default().iter().find(|channel| !self.may_hear(channel, is_pattern));
        denied.map_or(Ok(()), |channel| Err(Denied::Channel(channel.to_vec())))
    }

    fn may_hear(&self, channel: &[u8], is_pattern: bool) -> bool {
        self.channels.iter().any(|pattern| match is_pattern {
            // A pattern within a pattern: only the same one is surely within.
            true => pattern == channel,
            false => glob::matches(pattern, channel, false),
        })
    }

    /// May it have all of these subscriptions?
    pub fn may_keep(&self, client: &Client) -> bool {
        self.has_all_channels()
            || client
                .channels
                .iter()
                .chain(client.shard_channels.iter())
                .all(|name| self.may_hear(name, false))
                && client.patterns.iter().all(|pattern| self.may_hear(pattern, true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::commands::Table;

    fn check(rules: &str, command: &str) -> Result<(), Denied> {
        let mut user = User::nothing("bob");
        rules.split(' ').for_each(|rule| user.apply(rule.as_bytes()).expect("a rule"));
        let args: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
        let table = Table::shared();
        user.check(table.resolve(&args).expect("a command"), &args)
    }

    #[test]
    fn the_last_rule_that_names_a_command_decides() {
        for (rules, command, is_allowed) in [
            ("~* +@all -@dangerous", "get a", true),
            ("~* +@all -@dangerous", "config get a", false),
            ("~* +@all -@dangerous +config|get", "config get a", true),
            ("~* +@all -@dangerous +config|get", "config set a b", false),
            ("~* -@all +config -config|set", "config get a", true),
            ("~* -@all +config -config|set", "config set a b", false),
            ("~* +@read", "set a b", false),
            ("~* +@write", "set a b", true),
            ("~* -@all", "auth a", true),
            ("~a* +@all", "watch a1 b", false),
            ("~a* +@all", "watch a1 a2", true),
            ("~* +@all &c*", "publish c1 m", true),
            ("~* +@all &c*", "publish d m", false),
            ("~* +@all &c*", "psubscribe c*", true),
            ("~* +@all &c*", "psubscribe c1*", false),
        ] {
            assert_eq!(check(rules, command).is_ok(), is_allowed, "{rules}: {command}");
        }
    }
}
