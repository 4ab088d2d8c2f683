//! `redis.conf`: one setting on each line, `#` before remarks.
//!
//! 1. A line that means nothing here is an error that names it: a server that runs otherwise than its file says is worse than
//!    one that does not start.
//! 2. CONFIG REWRITE changes lines of settings in place, keeps all others, and adds what differs from the default at the end.
//!    What it writes reads back as the same settings and users, byte by byte.
//! 3. The file is replaced as a whole, by one that is durable: a crash leaves the old or the new one. It keeps its mode; a
//!    new one is for its owner alone, since it may hold passwords.

use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
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
    let text = fs::read(path).map_err(|error| whole(error.to_string()))?;
    read(&text, config)?;
    config.file = Some(std::path::absolute(path).map_err(|error| whole(error.to_string()))?);
    Ok(())
}

/// Reads the text of a file on top of `config`.
///
/// # Errors
/// [`ConfError`].
pub fn read(text: impl AsRef<[u8]>, config: &mut Config) -> Result<(), ConfError> {
    for (at, line) in lines(text.as_ref()).enumerate() {
        let wrong = |what: String| ConfError { line: at + 1, what };
        let Some((name, values)) = words(line).map_err(wrong)? else { continue };
        if name == "user" {
            config.users.push(values);
            continue;
        }
        let text = |word| String::from_utf8(word).map_err(|_| wrong(format!("{name}: this is no UTF-8")));
        let values = values.into_iter().map(text).collect::<Result<Vec<_>, _>>()?;
        let setting = settings::find(&name).ok_or_else(|| wrong(format!("there is no setting {name:?}")))?;
        if values.is_empty() || (values.len() > 1 && !setting.is_list) {
            return Err(wrong(format!("{name} takes {} value", if setting.is_list { "a" } else { "one" })));
        }
        setting.set(config, &values.join(" ")).map_err(|what| wrong(format!("{name}: {what}")))?;
    }
    Ok(())
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let is_empty = text.is_empty();
    text.split(|b| *b == b'\n')
        .filter(move |_| !is_empty)
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

/// A line by its words: the name in lower case, and what stands behind it.
type Words = (String, Vec<Vec<u8>>);

fn words(line: &[u8]) -> Result<Option<Words>, String> {
    let line = line.trim_ascii();
    if line.is_empty() || line.starts_with(b"#") {
        return Ok(None);
    }
    let mut words = split_words(line).ok_or("quotes do not end")?.into_iter();
    let Some(name) = words.next() else { return Ok(None) };
    let name = String::from_utf8(name).map_err(|_| "this is no UTF-8")?;
    Ok(Some((name.to_ascii_lowercase(), words.collect())))
}

/// The text of a file with the settings of `config` and these users, each as the words behind `user`.
pub fn rewritten(text: &[u8], config: &Config, users: &[Vec<Vec<u8>>]) -> Vec<u8> {
    let default = Config::default();
    let line_of = |setting: &settings::Setting| {
        let value = setting.get(config);
        let value = if setting.is_list && !value.is_empty() {
            value.split_whitespace().map(|word| quoted(word.as_bytes())).collect::<Vec<_>>().join(" ")
        } else {
            quoted(value.as_bytes())
        };
        format!("{} {value}", setting.name)
    };
    let mut out = Vec::new();
    let mut add = |line: &[u8]| out.extend_from_slice(&[line, b"\n"].concat());
    let mut written: Vec<&str> = Vec::new();
    for line in lines(text) {
        let name = words(line).ok().flatten().map(|(name, _)| name);
        if name.as_deref() == Some("user") {
            continue;
        }
        match name.as_deref().and_then(settings::find) {
            Some(setting) if written.contains(&setting.name) => {}
            Some(setting) => {
                written.push(setting.name);
                add(line_of(setting).as_bytes());
            }
            None => add(line),
        }
    }
    let more = SETTINGS
        .iter()
        .filter(|s| !written.contains(&s.name) && s.name != "dir" && s.get(config) != s.get(&default))
        .map(line_of);
    let users = users.iter().map(|words| {
        let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
        format!("user {}", words.join(" "))
    });
    more.chain(users).for_each(|line| add(line.as_bytes()));
    out
}

/// A word that [`split_words`] reads as these bytes.
fn quoted(word: &[u8]) -> String {
    let is_plain = |b: &u8| b.is_ascii_graphic() && !matches!(b, b'"' | b'\'' | b'\\');
    let mut out = String::with_capacity(word.len() + 2);
    if !word.is_empty() && word.iter().all(is_plain) {
        out.extend(word.iter().map(|b| char::from(*b)));
        return out;
    }
    out.push('"');
    for b in word {
        match b {
            b'"' | b'\\' => out.extend(['\\', char::from(*b)]),
            b' '..=b'~' => out.push(char::from(*b)),
            _ => out.push_str(&format!("\\x{b:02x}")),
        }
    }
    out.push('"');
    out
}

/// Gives a file this text.
///
/// # Errors
/// What the system says; the file is as it was then, or has the new text.
pub fn replace(file: &Path, text: &[u8]) -> io::Result<()> {
    // A link goes on to lead to the file.
    let file = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let mut beside = file.clone().into_os_string();
    beside.push(format!(".{:016x}.new", RandomState::new().hash_one(0)));
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut new = options.open(&beside)?;
    let mut install = || {
        new.write_all(text)?;
        match fs::metadata(&file) {
            Ok(old) => keep_owner_and_mode(&new, &old)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        // ORDER: the new text is durable before it takes the old one's name.
        new.sync_all()?;
        fs::rename(&beside, &file)
    };
    if let Err(error) = install() {
        let _ = fs::remove_file(&beside);
        return Err(error);
    }
    // ORDER: the name is durable before anyone is told.
    match file.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

fn keep_owner_and_mode(new: &File, old: &fs::Metadata) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt, fchown};
        let mine = new.metadata()?;
        if (mine.uid(), mine.gid()) != (old.uid(), old.gid()) {
            // Only who may give files away can; then the file is this process's own.
            let _ = fchown(new, Some(old.uid()), Some(old.gid()));
        }
    }
    new.set_permissions(old.permissions())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::acl::Acl;
    use proptest::prelude::*;

    #[test]
    fn a_file_reads_and_a_mistake_is_named_with_its_line() {
        let mut config = Config::default();
        let text = "# mine\nport 7000\nbind 127.0.0.1 ::1\nrequirepass \"a b\"\nsave \"\"\nuser bob on >p ~* +@all\n\
                    client-output-buffer-limit pubsub 1mb 0 0\n";
        assert_eq!(read(text, &mut config), Ok(()));
        assert_eq!((config.port, config.bind.len(), config.password.as_deref()), (7000, 2, Some("a b")));
        assert_eq!(config.users[0][0], b"bob");
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
        let new = rewritten(text.as_bytes(), &config, &[vec![b"bob".to_vec(), b"on".to_vec()]]);
        assert_eq!(
            String::from_utf8_lossy(&new),
            "# mine\ntimeout 6\nrequirepass \"a \\\"b\"\nuser bob on\n"
        );
        let mut again = Config::default();
        assert_eq!(read(&new, &mut again), Ok(()));
        assert_eq!((again.timeout, again.password), (6, config.password));
    }

    /// `ACL SETUSER q on nopass ~a"b`, and a pattern that is no UTF-8: the first made a file that could not be read, the
    /// second another user.
    #[test]
    fn users_with_quotes_and_bytes_read_back() {
        let rules: [&[u8]; 6] = [b"on", b"nopass", b"~a\"b", b"~\xff*", b"~it's", b"+get"];
        let mut acl = Acl::new(&Config::default()).expect("users");
        acl.set("q", &rules).expect("rules");
        let users: Vec<_> = acl.all().map(|user| user.words()).collect();
        let text = rewritten(b"", &Config::default(), &users);
        let mut again = Config::default();
        assert_eq!(read(&text, &mut again), Ok(()));
        assert_eq!(Acl::new(&again).expect("users").get("q"), acl.get("q"));
    }

    #[cfg(unix)]
    #[test]
    fn a_file_keeps_its_mode_and_a_new_one_is_its_owners() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().expect("a directory");
        let mode = |path: &Path| fs::metadata(path).expect("a file").permissions().mode() & 0o777;
        let file = dir.path().join("new.conf");
        replace(&file, b"port 1\n").expect("a file");
        assert_eq!((mode(&file), fs::read(&file).expect("its text")), (0o600, b"port 1\n".to_vec()));
        for bits in [0o600, 0o640, 0o644] {
            fs::set_permissions(&file, fs::Permissions::from_mode(bits)).expect("a mode");
            replace(&file, b"port 2\n").expect("a file");
            assert_eq!((mode(&file), fs::read(&file).expect("its text")), (bits, b"port 2\n".to_vec()));
        }
        let link = dir.path().join("link.conf");
        std::os::unix::fs::symlink(&file, &link).expect("a link");
        replace(&link, b"port 3\n").expect("a file");
        assert!(fs::symlink_metadata(&link).expect("a link").is_symlink());
        assert_eq!(fs::read(&file).expect("its text"), b"port 3\n");
        // Nothing is left beside it.
        assert_eq!(fs::read_dir(dir.path()).expect("a directory").count(), 2);
        assert!(replace(&dir.path().join("none/new.conf"), b"").is_err());
    }

    fn word() -> impl Strategy<Value = Vec<u8>> {
        let odd = prop::sample::select(b"\"'\\#~& *?ax\xc3\xa4\xff\x7f\x01".to_vec());
        prop::collection::vec(prop_oneof![odd, any::<u8>()], 0..8)
    }

    fn rule() -> impl Strategy<Value = Vec<u8>> {
        let fixed = prop::sample::select(vec![
            "on",
            "off",
            "nopass",
            "resetpass",
            "allkeys",
            "resetkeys",
            "allchannels",
            "resetchannels",
            "reset",
            "+@all",
            "-@all",
            "+get",
            "-GET",
            "+Config|Get",
            "-config|set",
            "+@read",
            "-@DANGEROUS",
            "+config",
        ]);
        prop_oneof![
            fixed.prop_map(|rule| rule.as_bytes().to_vec()),
            (prop::sample::select(b"~&>".to_vec()), word())
                .prop_map(|(mark, word)| [&[mark], &word[..]].concat()),
        ]
    }

    fn user_name() -> impl Strategy<Value = String> {
        let odd = prop::sample::select("\"'\\#aäbu".chars().collect::<Vec<_>>());
        prop_oneof![
            Just("default".to_owned()),
            prop::collection::vec(odd, 1..4).prop_map(|name| name.into_iter().collect())
        ]
    }

    proptest! {
        /// Rewrite and read back: the same users and settings, byte by byte, and a second time the same file.
        #[test]
        fn what_is_rewritten_reads_back(
            users in prop::collection::vec((user_name(), prop::collection::vec(rule(), 0..8)), 0..4),
            password in prop::option::of(".{1,8}"),
            (timeout, slow, clients) in (0..100_000u64, -1..1_000_000i64, 1..10_000usize),
            before in prop::sample::select(vec!["", "# x\n", "requirepass a\nuser b on\ntimeout 3", "user default off\n"]),
        ) {
            let mut config = Config::default();
            prop_assert_eq!(read(before, &mut config), Ok(()));
            (config.timeout, config.slow_micros, config.clients_max) = (timeout, slow, clients);
            let mut acl = Acl::new(&config).expect("users");
            for (name, rules) in &users {
                for rule in rules {
                    // A rule that is refused changes nothing.
                    let _ = acl.set(name, &[rule]);
                    if name == "default" {
                        config.password = None;
                    }
                }
            }
            if password.is_some() {
                config.password = password;
                acl.set_default_password(config.password.as_deref());
            }
            let words: Vec<_> = acl.all().map(|user| user.words()).collect();
            let text = rewritten(before.as_bytes(), &config, &words);
            let mut again = Config::default();
            prop_assert_eq!(read(&text, &mut again), Ok(()));
            for setting in SETTINGS {
                prop_assert_eq!(setting.get(&again), setting.get(&config));
            }
            let same = Acl::new(&again).expect("users");
            prop_assert!(same.all().eq(acl.all()), "{}", String::from_utf8_lossy(&text));
            let words: Vec<_> = same.all().map(|user| user.words()).collect();
            prop_assert_eq!(rewritten(&text, &again, &words), text);
        }
    }
}
