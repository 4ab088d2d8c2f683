//! A user, and the rules that make one: `on`, `>password`, `~keys`, `&channels`, `+command`, `-@category`.

use sha2::{Digest, Sha256};

use super::categories::Categories;
use crate::redis::commands::Table;

/// The hash of a password.
pub type Hash = [u8; 32];

/// Which commands a rule is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// All.
    All,
    /// Those of a category.
    Category(String, Categories),
    /// One with its subcommands, or one of these: `config`, `config|get`.
    Command(String),
}

/// A user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Its name.
    pub name: String,
    /// It may log in.
    pub is_on: bool,
    /// Every password will do.
    pub takes_any_password: bool,
    /// Hashes of its passwords.
    pub passwords: Vec<Hash>,
    /// Rules of commands: allowed or not, and which. None that matches: not allowed.
    pub commands: Vec<(bool, Which)>,
    /// Patterns of keys; `*` is all.
    pub keys: Vec<Vec<u8>>,
    /// Patterns of channels; `*` is all.
    pub channels: Vec<Vec<u8>>,
}

/// The hash of a password.
pub fn hash(password: &[u8]) -> Hash {
    Sha256::digest(password).into()
}

/// Hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const STAR: &[u8] = b"*";

impl User {
    /// A new user: off, and allowed nothing.
    pub fn nothing(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            is_on: false,
            takes_any_password: false,
            passwords: Vec::new(),
            commands: Vec::new(),
            keys: Vec::new(),
            channels: Vec::new(),
        }
    }

    /// A user who may do everything, without a password.
    pub fn everything(name: &str) -> Self {
        Self {
            is_on: true,
            takes_any_password: true,
            commands: vec![(true, Which::All)],
            keys: vec![STAR.to_vec()],
            channels: vec![STAR.to_vec()],
            ..Self::nothing(name)
        }
    }

    /// May it use all commands, keys and channels?
    pub fn is_unrestricted(&self) -> bool {
        self.commands == [(true, Which::All)] && self.has_all_keys() && self.has_all_channels()
    }

    /// All keys?
    pub fn has_all_keys(&self) -> bool {
        self.keys == [STAR]
    }

    /// All channels?
    pub fn has_all_channels(&self) -> bool {
        self.channels == [STAR]
    }

    /// Is it one of its passwords? Hashes are compared, so the time tells nothing of a password.
    pub fn takes(&self, password: &[u8]) -> bool {
        self.takes_any_password || self.passwords.contains(&hash(password))
    }

    /// Sets the one password, or that none is needed.
    pub fn set_only_password(&mut self, password: Option<&str>) {
        self.passwords = password.iter().map(|password| hash(password.as_bytes())).collect();
        self.takes_any_password = password.is_none();
    }

    /// Applies one rule.
    ///
    /// # Errors
    /// What Redis says.
    pub fn apply(&mut self, rule: &[u8]) -> Result<(), String> {
        let lower = rule.to_ascii_lowercase();
        match (lower.as_slice(), rule) {
            (b"on", _) => self.is_on = true,
            (b"off", _) => self.is_on = false,
            (b"nopass", _) => {
                self.takes_any_password = true;
                self.passwords.clear();
            }
            (b"resetpass", _) => {
                self.takes_any_password = false;
                self.passwords.clear();
            }
            (b"sanitize-payload" | b"clearselectors", _) => {}
            (b"allkeys", _) => self.keys = vec![STAR.to_vec()],
            (b"resetkeys", _) => self.keys.clear(),
            (b"allchannels", _) => self.channels = vec![STAR.to_vec()],
            (b"resetchannels", _) => self.channels.clear(),
            (b"allcommands", _) => self.commands = vec![(true, Which::All)],
            (b"nocommands", _) => self.commands.clear(),
            (b"reset", _) => *self = Self::nothing(&self.name),
            (_, [b'>', password @ ..]) => self.add_password(hash(password)),
            (_, [b'#', digits @ ..]) => self.add_password(unhex(digits)?),
            (_, [b'<', password @ ..]) => self.drop_password(hash(password))?,
            (_, [b'!', digits @ ..]) => self.drop_password(unhex(digits)?)?,
            (_, [b'~', pattern @ ..]) => {
                add_pattern(&mut self.keys, pattern, ("allkeys", "resetkeys", "patterns"))?
            }
            (_, [b'&', pattern @ ..]) => {
                add_pattern(&mut self.channels, pattern, ("allchannels", "resetchannels", "channels"))?;
            }
            ([sign @ (b'+' | b'-'), what @ ..], _) => self.add_command(*sign == b'+', what)?,
            _ => return Err("Syntax error".to_owned()),
        }
        Ok(())
    }

    fn add_password(&mut self, hash: Hash) {
        self.takes_any_password = false;
        if !self.passwords.contains(&hash) {
            self.passwords.push(hash);
        }
    }

    fn drop_password(&mut self, hash: Hash) -> Result<(), String> {
        let before = self.passwords.len();
        self.passwords.retain(|known| *known != hash);
        if self.passwords.len() == before {
            return Err("The password you are trying to remove from the user does not exist".to_owned());
        }
        Ok(())
    }

    fn add_command(&mut self, is_allowed: bool, what: &[u8]) -> Result<(), String> {
        let unknown = || "Unknown command or category name in ACL".to_owned();
        // Names in any case, as Redis takes them.
        let text = std::str::from_utf8(what).map_err(|_| unknown())?.to_ascii_lowercase();
        let which = match text.strip_prefix('@') {
            Some("all") => {
                self.commands = if is_allowed { vec![(true, Which::All)] } else { Vec::new() };
                return Ok(());
            }
            Some(name) => Which::Category(name.to_owned(), Categories::named(name).ok_or_else(unknown)?),
            None => {
                let (name, sub) =
                    text.split_once('|').map_or((text.as_str(), None), |(name, sub)| (name, Some(sub)));
                let command = Table::shared().find(name.as_bytes()).ok_or_else(unknown)?;
                let is_known =
                    sub.is_none_or(|sub| command.subcommands.iter().any(|known| known.name == sub));
                if !is_known {
                    return Err(unknown());
                }
                Which::Command(text)
            }
        };
        // A later rule on the same, or on all of its subcommands, takes the place of an earlier one.
        self.commands.retain(|(_, old)| match (old, &which) {
            (Which::Command(old), Which::Command(new)) => {
                old != new && !old.strip_prefix(new.as_str()).is_some_and(|rest| rest.starts_with('|'))
            }
            (old, new) => old != new,
        });
        self.commands.push((is_allowed, which));
        Ok(())
    }

    /// The rules of commands as text.
    pub fn command_rules(&self) -> String {
        let mut rules: Vec<String> = Vec::new();
        if self.commands.first().is_none_or(|(_, which)| *which != Which::All) {
            rules.push("-@all".to_owned());
        }
        rules.extend(self.commands.iter().map(|(is_allowed, which)| {
            let sign = if *is_allowed { '+' } else { '-' };
            match which {
                Which::All => format!("{sign}@all"),
                Which::Category(name, _) => format!("{sign}@{name}"),
                Which::Command(name) => format!("{sign}{name}"),
            }
        }));
        rules.join(" ")
    }

    /// Words of `ACL GETUSER`'s flags.
    pub fn flags(&self) -> Vec<&'static str> {
        let mut flags = vec![if self.is_on { "on" } else { "off" }];
        flags.extend(self.takes_any_password.then_some("nopass"));
        flags.push("sanitize-payload");
        flags
    }

    /// Key patterns as rules.
    pub fn key_rules(&self) -> Vec<u8> {
        marked(&self.keys, b'~').join(&b' ')
    }

    /// Channel patterns as rules.
    pub fn channel_rules(&self) -> Vec<u8> {
        marked(&self.channels, b'&').join(&b' ')
    }

    /// Its name, and rules that make it of a user who may do nothing. They are bytes: patterns may be no UTF-8.
    pub fn words(&self) -> Vec<Vec<u8>> {
        let mut words = vec![self.name.clone().into_bytes()];
        words.extend(self.flags().into_iter().map(|flag| flag.as_bytes().to_vec()));
        words.extend(self.passwords.iter().map(|hash| format!("#{}", hex(hash)).into_bytes()));
        words.extend(marked(&self.keys, b'~'));
        words.extend((!self.has_all_channels()).then(|| b"resetchannels".to_vec()));
        words.extend(marked(&self.channels, b'&'));
        words.extend(self.command_rules().split(' ').map(|rule| rule.as_bytes().to_vec()));
        words
    }

    /// The line of `ACL LIST`: the words as they are, so a pattern may have quotes in it.
    pub fn line(&self) -> Vec<u8> {
        [b"user ", self.words().join(&b' ').as_slice()].concat()
    }
}

fn marked(patterns: &[Vec<u8>], mark: u8) -> Vec<Vec<u8>> {
    patterns.iter().map(|pattern| [&[mark], pattern.as_slice()].concat()).collect()
}

fn add_pattern(patterns: &mut Vec<Vec<u8>>, pattern: &[u8], words: (&str, &str, &str)) -> Result<(), String> {
    if pattern.iter().any(|b| b.is_ascii_whitespace() || *b == 0) {
        return Err("Syntax error".to_owned());
    }
    if pattern == STAR {
        *patterns = vec![STAR.to_vec()];
    } else if patterns.first().is_some_and(|first| first == STAR) {
        return Err(format!(
            "Adding a pattern after the * pattern (or the '{}' flag) is not valid and does not have any effect. Try \
             '{}' to start with an empty list of {}",
            words.0, words.1, words.2
        ));
    } else if !patterns.iter().any(|known| known == pattern) {
        patterns.push(pattern.to_vec());
    }
    Ok(())
}

fn unhex(digits: &[u8]) -> Result<Hash, String> {
    let wrong = || {
        "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters"
            .to_owned()
    };
    let digit = |b: &u8| match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'a'..=b'f' => Some(b - b'a' + 10),
        _ => None,
    };
    let mut hash = [0; 32];
    if digits.len() != 64 {
        return Err(wrong());
    }
    for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(&pair[0]).ok_or_else(wrong)? << 4 | digit(&pair[1]).ok_or_else(wrong)?;
    }
    Ok(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(rules: &str) -> Result<User, String> {
        let mut user = User::nothing("bob");
        rules.split(' ').try_for_each(|rule| user.apply(rule.as_bytes()))?;
        Ok(user)
    }

    #[test]
    fn names_of_commands_are_taken_in_any_case() {
        assert_eq!(user("+@ALL -FlushAll +CONFIG|Get"), user("+@all -flushall +config|get"));
    }

    #[test]
    fn a_line_reads_back() {
        for rules in
            ["on nopass ~* &* +@all", "on >p ~a* &c* +@read -get", "off ~a ~b -@all +ping -ping +config|get"]
        {
            let made = user(rules).expect("rules");
            let line = made.line();
            let line = String::from_utf8(line).expect("text");
            let again = user(line.strip_prefix("user bob ").expect("a name"));
            assert_eq!(again, Ok(made), "{line}");
        }
        let hash = "148de9c5a7a44d19e56cd9ae1a554bf67847afb0c58f6e12fa29ac7ddfca9940";
        assert_eq!(
            user("on >p ~a* &c* +@read -get").expect("rules").line(),
            format!("user bob on sanitize-payload #{hash} ~a* resetchannels &c* -@all +@read -get")
                .into_bytes()
        );
    }

    #[test]
    fn what_is_not_supported_is_an_error() {
        for rule in [
            "%R~a",
            "%W~a",
            "(+get)",
            "+nosuch",
            "+@nosuch",
            "+get|a",
            "foo",
            "<p",
            "#abc",
            "skip-sanitize-payload",
        ] {
            assert!(user(rule).is_err(), "{rule}");
        }
        assert!(user("allkeys ~a").is_err());
    }
}
