//! Each setting by its name: read, print, may it change while the server runs.
//!
//! 1. A setting that has one meaning here takes only the value that it has: `databases 16`, `maxmemory 0`. What would mean
//!    something else is refused, and so is every name that is not here.
//! 2. A value is checked before it is taken.

use std::path::{Path, PathBuf};

use super::config::{Config, DebugAccess, OutputLimit, SyncPolicy, TlsClients};
use super::notify;
use crate::redis::resp::request::Limits;

/// A setting.
pub struct Setting {
    /// Its name in `redis.conf`.
    pub name: &'static str,
    /// CONFIG SET may change it.
    pub is_mutable: bool,
    /// It takes several words.
    pub is_list: bool,
    /// What it is for, and how it differs from Redis, for people.
    pub help: &'static str,
    get: fn(&Config) -> String,
    set: fn(&mut Config, &str) -> Result<(), String>,
}

impl Setting {
    /// Its value, as text.
    pub fn get(&self, config: &Config) -> String {
        (self.get)(config)
    }

    /// Takes a value.
    ///
    /// # Errors
    /// Why not, in the words of Redis.
    pub fn set(&self, config: &mut Config, value: &str) -> Result<(), String> {
        (self.set)(config, value)
    }
}

/// The setting of a name, in any case.
pub fn find(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name.eq_ignore_ascii_case(name))
}

const fn fixed(
    name: &'static str,
    help: &'static str,
    get: fn(&Config) -> String,
    set: fn(&mut Config, &str) -> Result<(), String>,
) -> Setting {
    Setting { name, is_mutable: true, is_list: false, help, get, set }
}

const fn at_start(
    name: &'static str,
    help: &'static str,
    get: fn(&Config) -> String,
    set: fn(&mut Config, &str) -> Result<(), String>,
) -> Setting {
    Setting { name, is_mutable: false, is_list: false, help, get, set }
}

const fn live(
    name: &'static str,
    help: &'static str,
    get: fn(&Config) -> String,
    set: fn(&mut Config, &str) -> Result<(), String>,
) -> Setting {
    Setting { name, is_mutable: true, is_list: false, help, get, set }
}

/// All settings, by name.
pub const SETTINGS: &[Setting] = &[
    live(
        "appendfsync",
        "When writes are synced: `always`, `everysec`, `no`",
        |c| sync_name(c.sync).into(),
        |c, v| {
            c.sync = one_of(
                v,
                &[
                    ("everysec", SyncPolicy::EverySecond),
                    ("always", SyncPolicy::Always),
                    ("no", SyncPolicy::No),
                ],
            )?;
            Ok(())
        },
    ),
    fixed("appendonly", "`yes`: every write is logged", |_| "yes".into(), |_, v| only(v, "yes")),
    Setting {
        is_list: true,
        ..at_start(
            "bind",
            "Addresses to listen at",
            |c| c.bind.join(" "),
            |c, v| {
                let bind: Vec<String> = v.split_whitespace().map(str::to_owned).collect();
                if bind.is_empty() {
                    return Err("no address is named".to_owned());
                }
                c.bind = bind;
                Ok(())
            },
        )
    },
    Setting {
        is_list: true,
        ..live(
            "client-output-buffer-limit",
            "Class (`normal`, `pubsub`), hard limit, soft limit, seconds; monitors count as `pubsub`; `replica` is \
             taken only as it is",
            print_output,
            set_output,
        )
    },
    live(
        "client-query-buffer-limit",
        "Bytes of a client's commands that are not whole yet, wait for one before them or wait for EXEC",
        |c| c.query_bytes_max.to_string(),
        |c, v| {
            c.query_bytes_max = memory(v, 1 << 20, usize::MAX as u64 / 2)? as usize;
            Ok(())
        },
    ),
    fixed("cluster-enabled", "`no`", |_| "no".into(), |_, v| only(v, "no")),
    fixed("daemonize", "`no`: a service manager does that", |_| "no".into(), |_, v| only(v, "no")),
    fixed("databases", "`16`", |_| "16".into(), |_, v| only(v, "16")),
    at_start(
        "dir",
        "Directory of the database",
        |c| c.dir.display().to_string(),
        |c, v| {
            c.dir = path(v)?;
            Ok(())
        },
    ),
    at_start(
        "enable-debug-command",
        "Who may use DEBUG: `no`, `local`, `yes`",
        |c| match c.debug {
            DebugAccess::No => "no".into(),
            DebugAccess::Local => "local".into(),
            DebugAccess::Yes => "yes".into(),
        },
        |c, v| {
            c.debug = one_of(
                v,
                &[("no", DebugAccess::No), ("yes", DebugAccess::Yes), ("local", DebugAccess::Local)],
            )?;
            Ok(())
        },
    ),
    live(
        "latency-monitor-threshold",
        "Milliseconds from which on LATENCY notes an event; 0: never",
        |c| c.latency_ms.to_string(),
        |c, v| {
            c.latency_ms = number(v, 0, i64::MAX)? as u64;
            Ok(())
        },
    ),
    live(
        "maxclients",
        "Most connections",
        |c| c.clients_max.to_string(),
        |c, v| {
            c.clients_max = number(v, 1, i64::from(u32::MAX))? as usize;
            Ok(())
        },
    ),
    fixed("maxmemory", "`0`: data lives on disk", |_| "0".into(), |_, v| only(v, "0")),
    live(
        "maxmemory-clients",
        "Bytes of all clients: buffers, and what they watch, listen to and wait for; the largest is let go above it; 0: no limit (Redis' default)",
        |c| c.clients_bytes_max.to_string(),
        |c, v| {
            c.clients_bytes_max = memory(v, 0, usize::MAX as u64 / 2)? as usize;
            Ok(())
        },
    ),
    fixed("maxmemory-policy", "`noeviction`", |_| "noeviction".into(), |_, v| only(v, "noeviction")),
    at_start(
        "nokv-options",
        "A TOML file with options of the database; not in Redis",
        |c| c.options_file.as_deref().map_or_else(String::new, |file| file.display().to_string()),
        |c, v| {
            c.options_file = Some(path(v)?);
            Ok(())
        },
    ),
    live(
        "notify-keyspace-events",
        "Classes of events: letters of `KEg$lshzxetmdnA`",
        |c| notify::print(c.notify),
        |c, v| {
            c.notify = notify::parse(v).ok_or("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.")?;
            Ok(())
        },
    ),
    at_start(
        "port",
        "Port; 0: none with `tls-port`, else a free one",
        |c| c.port.to_string(),
        |c, v| {
            c.port = number(v, 0, 65_535)? as u16;
            Ok(())
        },
    ),
    at_start(
        "protected-mode",
        "`no` lets other machines in without password or TLS",
        |c| yes_or_no(c.is_protected),
        |c, v| {
            c.is_protected = truth(v)?;
            Ok(())
        },
    ),
    live(
        "proto-max-bulk-len",
        "Bytes of an argument, at most 512 MiB",
        |c| c.bulk_bytes_max.to_string(),
        |c, v| {
            c.bulk_bytes_max = memory(v, 1 << 20, Limits::USUAL.bulk_bytes_max as u64)? as usize;
            Ok(())
        },
    ),
    live(
        "requirepass",
        "Password of the default user",
        |c| c.password.clone().unwrap_or_default(),
        |c, v| {
            c.password = (!v.is_empty()).then(|| v.to_owned());
            Ok(())
        },
    ),
    Setting {
        is_list: true,
        ..fixed(
            "save",
            "empty: there are no snapshots by time",
            |_| String::new(),
            |_, v| only(if v == "\"\"" { "" } else { v }, ""),
        )
    },
    live(
        "slowlog-log-slower-than",
        "Microseconds; negative: never",
        |c| c.slow_micros.to_string(),
        |c, v| {
            c.slow_micros = number(v, -1, i64::MAX)?;
            Ok(())
        },
    ),
    live(
        "slowlog-max-len",
        "Slow commands that are kept",
        |c| c.slow_kept.to_string(),
        |c, v| {
            c.slow_kept = number(v, 0, 1 << 20)? as usize;
            Ok(())
        },
    ),
    live(
        "tcp-keepalive",
        "Seconds of silence before the system probes; 0: never",
        |c| c.tcp_keepalive.to_string(),
        |c, v| {
            c.tcp_keepalive = number(v, 0, i64::from(i32::MAX))? as u64;
            Ok(())
        },
    ),
    live(
        "timeout",
        "Seconds after which an idle client is let go; 0: never",
        |c| c.timeout.to_string(),
        |c, v| {
            c.timeout = number(v, 0, i64::from(i32::MAX))? as u64;
            Ok(())
        },
    ),
    at_start(
        "tls-auth-clients",
        "Must clients of `tls-port` show a certificate: `yes`, `no`, `optional`",
        |c| match c.tls.clients {
            TlsClients::Yes => "yes".into(),
            TlsClients::Optional => "optional".into(),
            TlsClients::No => "no".into(),
        },
        |c, v| {
            c.tls.clients = one_of(
                v,
                &[("no", TlsClients::No), ("yes", TlsClients::Yes), ("optional", TlsClients::Optional)],
            )?;
            Ok(())
        },
    ),
    at_start(
        "tls-ca-cert-file",
        "Who signs the clients' certificates, PEM",
        |c| shown(c.tls.ca_cert.as_deref()),
        |c, v| {
            c.tls.ca_cert = Some(path(v)?);
            Ok(())
        },
    ),
    at_start(
        "tls-cert-file",
        "The server's certificate chain, PEM",
        |c| shown(c.tls.cert.as_deref()),
        |c, v| {
            c.tls.cert = Some(path(v)?);
            Ok(())
        },
    ),
    at_start(
        "tls-key-file",
        "Its key, PEM",
        |c| shown(c.tls.key.as_deref()),
        |c, v| {
            c.tls.key = Some(path(v)?);
            Ok(())
        },
    ),
    at_start(
        "tls-port",
        "Port for TLS; 0: none",
        |c| c.tls.port.to_string(),
        |c, v| {
            c.tls.port = number(v, 0, 65_535)? as u16;
            Ok(())
        },
    ),
];

/// The name of a policy.
pub const fn sync_name(policy: SyncPolicy) -> &'static str {
    match policy {
        SyncPolicy::Always => "always",
        SyncPolicy::EverySecond => "everysec",
        SyncPolicy::No => "no",
    }
}

fn shown(path: Option<&Path>) -> String {
    path.map_or_else(String::new, |path| path.display().to_string())
}

fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Err("no file is named".to_owned()) } else { Ok(PathBuf::from(text)) }
}

fn yes_or_no(flag: bool) -> String {
    if flag { "yes" } else { "no" }.to_owned()
}

fn truth(text: &str) -> Result<bool, String> {
    match text {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err("argument must be 'yes' or 'no'".to_owned()),
    }
}

fn only(text: &str, value: &str) -> Result<(), String> {
    if text.eq_ignore_ascii_case(value) {
        return Ok(());
    }
    let value = if value.is_empty() { "\"\"" } else { value };
    Err(format!("this server takes only {value} here"))
}

fn one_of<T: Copy>(text: &str, values: &[(&str, T)]) -> Result<T, String> {
    let found = values.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
    found.map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<&str> = values.iter().map(|(name, _)| *name).collect();
        format!("argument(s) must be one of the following: {}", names.join(", "))
    })
}

fn number(text: &str, min: i64, max: i64) -> Result<i64, String> {
    let n: i64 = text.parse().map_err(|_| "argument couldn't be parsed into an integer".to_owned())?;
    if (min..=max).contains(&n) {
        return Ok(n);
    }
    Err(format!("argument must be between {min} and {max} inclusive"))
}

/// A number of bytes: `1k` is 1000, `1kb` is 1024; so are m and g.
///
/// # Errors
/// What Redis says.
pub fn memory(text: &str, min: u64, max: u64) -> Result<u64, String> {
    let lower = text.to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: u64 = match &lower[digits.len()..] {
        "" | "b" => 1,
        "k" => 1000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return Err("argument must be a memory value".to_owned()),
    };
    let bytes = digits.parse::<u64>().ok().and_then(|n| n.checked_mul(unit));
    let bytes = bytes.ok_or_else(|| "argument must be a memory value".to_owned())?;
    if (min..=max).contains(&bytes) {
        return Ok(bytes);
    }
    Err(format!("argument must be between {min} and {max} inclusive"))
}

/// What Redis has for replicas; there are none.
const REPLICA: OutputLimit = OutputLimit { hard: 256 << 20, soft: 64 << 20, soft_seconds: 60 };

fn print_output(config: &Config) -> String {
    let one = |name: &str, limit: &OutputLimit| {
        format!("{name} {} {} {}", limit.hard, limit.soft, limit.soft_seconds)
    };
    let (normal, pubsub) = (&config.output.normal, &config.output.pubsub);
    format!("{} {} {}", one("normal", normal), one("slave", &REPLICA), one("pubsub", pubsub))
}

fn set_output(config: &mut Config, text: &str) -> Result<(), String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    if words.is_empty() || !words.len().is_multiple_of(4) {
        return Err("Wrong number of arguments in buffer limit configuration.".to_owned());
    }
    let mut output = config.output;
    for class in words.chunks_exact(4) {
        let size = |text: &str| memory(text, 0, usize::MAX as u64 / 2).map(|n| n as usize);
        let wrong =
            |_| "Error in hard, soft or soft_seconds setting in buffer limit configuration.".to_owned();
        let limit = OutputLimit {
            hard: size(class[1]).map_err(wrong)?,
            soft: size(class[2]).map_err(wrong)?,
            soft_seconds: number(class[3], 0, i64::from(i32::MAX)).map_err(wrong)? as u64,
        };
        match class[0].to_ascii_lowercase().as_str() {
            "normal" => output.normal = limit,
            "pubsub" => output.pubsub = limit,
            "slave" | "replica" if limit == REPLICA => {}
            "slave" | "replica" => return Err("there are no replicas".to_owned()),
            _ => return Err("Invalid client class specified in buffer limit configuration.".to_owned()),
        }
    }
    config.output = output;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_setting_takes_what_it_prints_and_stands_in_order() {
        assert!(SETTINGS.is_sorted_by_key(|setting| setting.name));
        let mut config = Config { dir: PathBuf::from("d"), ..Config::default() };
        for setting in SETTINGS {
            let value = setting.get(&config);
            if value.is_empty() && (setting.name.starts_with("tls-") || setting.name == "nokv-options") {
                continue;
            }
            assert_eq!(setting.set(&mut config, &value), Ok(()), "{}", setting.name);
            assert_eq!(setting.get(&config), value, "{}", setting.name);
        }
    }

    #[test]
    fn limits_hold_at_their_value_and_not_one_over() {
        let mut config = Config::default();
        let mut set = |name: &str, value: &str| find(name).expect("a setting").set(&mut config, value);
        assert_eq!(set("proto-max-bulk-len", "536870912"), Ok(()));
        assert!(set("proto-max-bulk-len", "536870913").is_err());
        assert_eq!(set("proto-max-bulk-len", "1048576"), Ok(()));
        assert!(set("proto-max-bulk-len", "1048575").is_err());
        assert!(
            set("maxclients", "0").is_err()
                && set("maxmemory", "1").is_err()
                && set("databases", "17").is_err()
        );
        assert_eq!(set("client-output-buffer-limit", "normal 1mb 0 0 pubsub 2k 1k 3"), Ok(()));
        assert_eq!(config.output.pubsub, OutputLimit { hard: 2000, soft: 1000, soft_seconds: 3 });
        assert_eq!(config.output.normal.hard, 1 << 20);
    }
}
