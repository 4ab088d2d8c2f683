//! What MONITOR and SLOWLOG show of a command: without passwords.

use std::borrow::Cow;
use std::time::{SystemTime, UNIX_EPOCH};

use super::client::{Client, ClientRef};
use super::state::State;
use crate::redis::commands::{Command, Flags};
use crate::redis::resp::reply::Reply;

const HIDDEN: &[u8] = b"(redacted)";

/// Arguments with passwords hidden.
pub fn shown<'a>(args: &[&'a [u8]]) -> Vec<Cow<'a, [u8]>> {
    let is =
        |at: usize, word: &str| args.get(at).is_some_and(|arg| arg.eq_ignore_ascii_case(word.as_bytes()));
    let hello = is(0, "hello").then(|| (2..args.len()).find(|at| is(*at, "auth"))).flatten();
    let secret = |at: usize| match () {
        () if is(0, "auth") => at >= 1,
        () if is(0, "acl") && is(1, "setuser") => at >= 2,
        () if is(0, "config") && is(1, "set") => at >= 3 && is(at - 1, "requirepass"),
        () => hello.is_some_and(|word| at == word + 1 || at == word + 2),
    };
    let each = args.iter().enumerate();
    each.map(|(at, arg)| if secret(at) { Cow::Borrowed(HIDDEN) } else { Cow::Borrowed(*arg) }).collect()
}

/// `1339518083.107412 [0 127.0.0.1:60866] "keys" "*"`
fn line(client: &Client, args: &[&[u8]]) -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut line =
        format!("{}.{:06} [{} {}]", since.as_secs(), since.subsec_micros(), client.db, client.peer);
    for arg in shown(args) {
        line.push_str(" \"");
        arg.iter().for_each(|byte| push_escaped(&mut line, *byte));
        line.push('"');
    }
    line
}

fn push_escaped(line: &mut String, byte: u8) {
    match byte {
        b'"' | b'\\' => line.extend(['\\', char::from(byte)]),
        b'\n' => line.push_str("\\n"),
        b'\r' => line.push_str("\\r"),
        b'\t' => line.push_str("\\t"),
        7 => line.push_str("\\a"),
        8 => line.push_str("\\b"),
        b' '..=b'~' => line.push(char::from(byte)),
        _ => line.push_str(&format!("\\x{byte:02x}")),
    }
}

impl State {
    /// Shows a command to those who watch all of them: at once, since it has not written anything yet.
    pub fn feed_monitors(&self, client: &ClientRef, command: &Command, args: &[&[u8]]) {
        if self.monitors == 0 || command.flags.has(Flags::SKIP_MONITOR) || command.flags.has(Flags::ADMIN) {
            return;
        }
        let line = Reply::Status(line(&client.borrow(), args).into());
        for other in self.clients.values().filter(|c| c.borrow().is_monitor) {
            other.borrow_mut().push_at_once(&line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        for (command, expected) in [
            ("AUTH a b", "AUTH (redacted) (redacted)"),
            ("hello 3 auth u p setname n", "hello 3 auth (redacted) (redacted) setname n"),
            ("config set requirepass x timeout 3", "config set requirepass (redacted) timeout 3"),
            ("acl setuser bob >p", "acl setuser (redacted) (redacted)"),
            ("get auth", "get auth"),
        ] {
            let args: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
            assert_eq!(shown(&args).join(&b' '), expected.as_bytes());
        }
        let mut line = String::new();
        b"a\"'\\\n\x01\xff".iter().for_each(|byte| push_escaped(&mut line, *byte));
        assert_eq!(line, "a\\\"'\\\\\\n\\x01\\xff");
    }
}
