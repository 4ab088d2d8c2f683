//! `redis.conf`: one setting on each line, `#` before remarks.
//!
//! 1. A line that means nothing here is an error that names it: a server that runs otherwise than its file says is worse than
//!    one that does not start.
//! 2. CONFIG REWRITE changes lines of settings in place, keeps all others, and adds what differs from the default at the end.

use std::path::Path;

use super::config::Config;
use super::resp::request::split_words;
use super::settings::{self, SETTINGS};

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfError {
    /// The line, from 1; 0 for the file as a whole.
    pub line: usize,
    /// What is wrong.
    pub what: String,
}

/// Reads a file on top of `config`.
///
/// # Errors
/// [`ConfError`].
pub fn load(path: &Path, config: &mut Config) -> Result<(), ConfError> {
    let whole = |what: String| ConfError { line: 0, what };
    let text = std::fs::read_to_string(path).map_err(|error| whole(error.to_string()))?;
    read(&text, config)?;
    config.file = Some(std::path::absolute(path).map_err(|error| whole(error.to_string()))?);
    Ok(())
}

/// Reads the text of a file on top of `config`.
///
/// # Errors
/// [`ConfError`].
pub fn read(text: &str, config: &mut Config) -> Result<(), ConfError> {
    for (at, line) in text.lines().enumerate() {
        let wrong = |what: String| ConfError { line: at + 1, what };
        let Some((name, values)) = words(line).map_err(wrong)? else { continue };
        if name == "user" {
            config.users.push(values);
            continue;
        }
        let setting = settings::find(&name).ok_or_else(|| wrong(format!("there is no setting {name:?}")))?;
        if values.is_empty() || (values.len() > 1 && !setting.is_list) {
            return Err(wrong(format!("{name} takes {} value", if setting.is_list { "a" } else { "one" })));
        }
        setting.set(config, &values.join(" ")).map_err(|what| wrong(format!("{name}: {what}")))?;
    }
    Ok(())
}

/// The name on a line, in lower case, and what stands behind it.
fn words(line: &str) -> Result<Option<(String, Vec<String>)>, String> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let words = split_words(line.as_bytes()).ok_or("quotes do not end")?;
    let text = |word: Vec<u8>| String::from_utf8(word).map_err(|_| "this is no UTF-8".to_owned());
    let mut words = words.into_iter().map(text);
    let Some(name) = words.next().transpose()? else { return Ok(None) };
    Ok(Some((name.to_ascii_lowercase(), words.collect::<Result<_, _>>()?)))
}

/// The text of a file with the settings of `config` and these lines of users.
pub fn rewritten(text: &str, config: &Config, users: &[String]) -> String {
    let default = Config::default();
    let line_of = |setting: &settings::Setting| {
        let value = setting.get(config);
        let value = if setting.is_list && !value.is_empty() { value } else { quoted(&value) };
        format!("{} {value}", setting.name)
    };
    let mut out = String::new();
    let mut written: Vec<&str> = Vec::new();
    for line in text.lines() {
        let name = words(line).ok().flatten().map(|(name, _)| name);
        if name.as_deref() == Some("user") {
            continue;
        }
        match name.as_deref().and_then(settings::find) {
            Some(setting) if written.contains(&setting.name) => {}
            Some(setting) => {
                written.push(setting.name);
                out.push_str(&line_of(setting));
                out.push('\n');
            }
            None => {
                out.push_str(line);
                out.push('\n');
            }
        }
    }
    let more = SETTINGS
        .iter()
        .filter(|s| !written.contains(&s.name) && s.name != "dir" && s.get(config) != s.get(&default))
        .map(line_of);
    for line in more.chain(users.iter().cloned()) {
        out.push_str(&line);
        out.push('\n');
    }
    out
}

fn quoted(value: &str) -> String {
    let is_plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\'' | '\\' | '#');
    if !value.is_empty() && value.chars().all(is_plain) {
        return value.to_owned();
    }
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_reads_and_a_mistake_is_named_with_its_line() {
        let mut config = Config::default();
        let text = "# mine\nport 7000\nbind 127.0.0.1 ::1\nrequirepass \"a b\"\nsave \"\"\nuser bob on >p ~* +@all\n\
                    client-output-buffer-limit pubsub 1mb 0 0\n";
        assert_eq!(read(text, &mut config), Ok(()));
        assert_eq!((config.port, config.bind.len(), config.password.as_deref()), (7000, 2, Some("a b")));
        assert_eq!(config.users[0][0], "bob");
        for (text, line) in [
            ("port 1\nrename-command a b\n", 2),
            ("port x", 1),
            ("maxmemory 1gb", 1),
            ("timeout 1 2", 1),
            ("save 60 1000", 1),
            ("port", 1),
            ("requirepass \"a", 1),
        ] {
            assert_eq!(read(text, &mut Config::default()).map_err(|e| e.line), Err(line), "{text}");
        }
    }

    #[test]
    fn rewriting_keeps_remarks_and_reads_back() {
        let mut config = Config::default();
        let text = "# mine\ntimeout 5\nuser old on\n";
        assert_eq!(read(text, &mut config), Ok(()));
        config.timeout = 6;
        config.password = Some("a \"b".to_owned());
        let new = rewritten(text, &config, &["user bob on".to_owned()]);
        assert_eq!(new, "# mine\ntimeout 6\nrequirepass \"a \\\"b\"\nuser bob on\n");
        let mut again = Config::default();
        assert_eq!(read(&new, &mut again), Ok(()));
        assert_eq!((again.timeout, again.password), (6, config.password));
    }
}
