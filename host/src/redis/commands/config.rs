//! CONFIG: settings by their names, counters, the file.

use super::{Answer, Call, Command, Fail, Flags, HELP, Reply};
use crate::redis::server::state::CommandCounters;
use crate::redis::settings::{self, SETTINGS, Setting};
use crate::redis::{conf_file, glob};

const ADMIN: Flags = Flags::ADMIN.and(Flags::NO_SCRIPT).and(Flags::LOADING).and(Flags::STALE);
const SUB: Command = Command { group: "server", flags: ADMIN, since: "2.0.0", ..Command::NEW };

/// The commands.
pub const COMMANDS: &[Command] = &[Command {
    name: "config",
    arity: -2,
    group: "server",
    since: "2.0.0",
    summary: "A container for server configuration commands.",
    subcommands: &[
        Command {
            name: "get",
            arity: -3,
            handler: get,
            summary: "Returns the effective values of configuration parameters.",
            usage: "parameter [parameter ...]",
            ..SUB
        },
        Command {
            name: "set",
            arity: -4,
            handler: set,
            summary: "Sets configuration parameters in-flight.",
            usage: "parameter value [parameter value ...]",
            ..SUB
        },
        Command {
            name: "resetstat",
            arity: 2,
            handler: reset_statistics,
            summary: "Resets the server's statistics.",
            ..SUB
        },
        Command {
            name: "rewrite",
            arity: 2,
            handler: rewrite,
            since: "2.8.0",
            summary: "Persists the effective configuration to file.",
            ..SUB
        },
        HELP,
    ],
    ..Command::NEW
}];

fn get(call: &mut Call<'_>) -> Answer<Reply> {
    let is_meant = |setting: &&Setting| {
        call.args[2..].iter().any(|pattern| glob::matches(pattern, setting.name.as_bytes(), true))
    };
    let found = SETTINGS.iter().filter(is_meant);
    let pairs = found.map(|s| (Reply::Text(s.name), Reply::bulk(s.get(&call.state.config))));
    Ok(Reply::Map(pairs.collect()))
}

fn set(call: &mut Call<'_>) -> Answer<Reply> {
    let (pairs, rest) = call.args[2..].as_chunks::<2>();
    if !rest.is_empty() {
        return Err(Fail::SYNTAX);
    }
    let mut config = call.state.config.clone();
    let mut done: Vec<&str> = Vec::new();
    let mut changes = Vec::with_capacity(pairs.len());
    // Names before values, as in Redis.
    for [name, value] in pairs {
        let name = String::from_utf8_lossy(name);
        let setting = settings::find(&name).ok_or_else(|| {
            Fail::text(format!("ERR Unknown option or number of arguments for CONFIG SET - '{name}'"))
        })?;
        changes.push((setting, *value));
    }
    for (setting, value) in changes {
        let wrong = |what: String| {
            let name = setting.name;
            Fail::text(format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {what}"))
        };
        if done.contains(&setting.name) {
            return Err(wrong("duplicate parameter".to_owned()));
        }
        if !setting.is_mutable {
            return Err(wrong("can't set immutable config".to_owned()));
        }
        let value = std::str::from_utf8(value).map_err(|_| wrong("this is no UTF-8".to_owned()))?;
        setting.set(&mut config, value).map_err(wrong)?;
        done.push(setting.name);
    }
    let old = std::mem::replace(&mut call.state.config, config);
    let state = &mut *call.state;
    state.common.output.set(state.config.output);
    state.slow.commands.truncate(state.config.slow_kept);
    if state.config.sync != old.sync
        && let Some(sync) = &state.sync
    {
        sync.follow(state.config.sync);
    }
    if done.contains(&"requirepass")
        && let Some(user) = state.acl.set_default_password(state.config.password.as_deref())
    {
        // Who is logged in stays it. The one that asks may be borrowed by nobody now.
        state.replace_user(call.client, crate::redis::acl::DEFAULT, Some(&user));
    }
    Ok(Reply::Ok)
}

fn reset_statistics(call: &mut Call<'_>) -> Answer<Reply> {
    let counters = &mut call.state.counters;
    let commands = counters.by_command.len();
    *counters = Default::default();
    counters.by_command = vec![CommandCounters::default(); commands];
    Ok(Reply::Ok)
}

fn rewrite(call: &mut Call<'_>) -> Answer<Reply> {
    let config = &call.state.config;
    let Some(file) = &config.file else {
        return Err(Fail::of("ERR The server is running without a config file"));
    };
    let fail = |error: std::io::Error| Fail::text(format!("ERR Rewriting config file: {error}"));
    let text = std::fs::read(file).or_else(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Ok(Vec::new()),
        _ => Err(fail(error)),
    })?;
    let users: Vec<_> = call.state.acl.all().map(|user| user.words()).collect();
    conf_file::replace(file, &conf_file::rewritten(&text, config, &users)).map_err(fail)?;
    Ok(Reply::Ok)
}

#[cfg(test)]
mod tests {
    use crate::redis::config::Config;
    use crate::redis::testing::Bench;

    /// The file that a rewrite leaves is one that a server starts with, with the same users.
    #[test]
    fn a_rewritten_file_makes_the_same_users() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("redis.conf");
        std::fs::write(&file, "# mine\ntimeout 5\n").expect("a file");
        let mut bench = Bench::new();
        crate::redis::conf_file::load(&file, &mut bench.server.state.config).expect("settings");
        for line in [
            r#"ACL SETUSER q on nopass ~a"\x22"b +get"#,
            r#"ACL SETUSER "a'b" on >p "~\xff*" "&it's" +GET"#,
            "ACL SETUSER default resetkeys ~d:*",
            r#"CONFIG SET requirepass "two words\x0a#""#,
            "CONFIG REWRITE",
        ] {
            assert_eq!(bench.run(line), "+OK", "{line}");
        }
        let mut again = Config::default();
        crate::redis::conf_file::load(&file, &mut again).expect("a file that reads");
        assert_eq!(again.password.as_deref(), Some("two words\n#"));
        let acl = crate::redis::acl::Acl::new(&again).expect("users");
        assert!(acl.all().eq(bench.server.state.acl.all()));
        assert_eq!(acl.get("q").map(|user| user.keys.clone()), Some(vec![b"a\"b".to_vec()]));
        assert_eq!(std::fs::read_dir(dir.path()).expect("a directory").count(), 1);
    }
}
