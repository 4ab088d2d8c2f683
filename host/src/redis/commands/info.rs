//! INFO: figures by section. A figure that this server does not have is not there.

use std::fmt::Write as _;

use super::connection::REDIS_VERSION;
use super::{Answer, Call, Command, Flags, Reply, databases};
use nokv_core::formats::redis::SPACES;

/// The commands.
pub const COMMANDS: &[Command] = &[Command {
    name: "info",
    flags: Flags::LOADING.and(Flags::STALE),
    handler: info,
    group: "server",
    summary: "Returns information and statistics about the server.",
    usage: "[section [section ...]]",
    ..Command::NEW
}];

type Section = (&'static str, bool, fn(&mut Call<'_>, &mut String) -> Answer<()>);

/// Name, is it shown by default, what it says.
const SECTIONS: &[Section] = &[
    ("Server", true, server),
    ("Clients", true, clients),
    ("Memory", true, memory),
    ("Persistence", true, persistence),
    ("Stats", true, stats),
    ("Replication", true, replication),
    ("CPU", true, cpu),
    ("Modules", true, |_, _| Ok(())),
    ("Commandstats", false, command_stats),
    ("Errorstats", true, error_stats),
    ("Latencystats", false, latency_stats),
    ("Cluster", true, |_, out| {
        out.push_str("cluster_enabled:0\r\n");
        Ok(())
    }),
    ("Keyspace", true, keyspace),
];

fn info(call: &mut Call<'_>) -> Answer<Reply> {
    let names: Vec<String> =
        call.args[1..].iter().map(|name| String::from_utf8_lossy(name).to_ascii_lowercase()).collect();
    let has = |name: &str| names.iter().any(|given| given == name);
    let mut out = String::new();
    for (name, is_default, section) in SECTIONS {
        let is_meant = has(&name.to_ascii_lowercase())
            || has("all")
            || has("everything")
            || (*is_default && (names.is_empty() || has("default")));
        if is_meant {
            if !out.is_empty() {
                out.push_str("\r\n");
            }
            line(&mut out, format_args!("# {name}"));
            section(call, &mut out)?;
        }
    }
    Ok(Reply::Verbatim("txt", out))
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // A string takes everything.
    let _ = write!(out, "{text}\r\n");
}

fn server(call: &mut Call<'_>, out: &mut String) -> Answer<()> {
    let state = &call.state;
    let uptime = state.started.elapsed().as_secs();
    line(out, format_args!("redis_version:{REDIS_VERSION}"));
    line(out, format_args!("nokv_version:{}", env!("CARGO_PKG_VERSION")));
    line(out, format_args!("redis_mode:standalone"));
    line(out, format_args!("os:{} {}", std::env::consts::OS, std::env::consts::ARCH));
    line(out, format_args!("arch_bits:{}", usize::BITS));
    line(out, format_args!("process_id:{}", std::process::id()));
    line(out, format_args!("run_id:{}", state.run_id));
    line(out, format_args!("tcp_port:{}", state.tcp_port));
    line(out, format_args!("server_time_usec:{}", call.keys.now() * 1000));
    line(out, format_args!("uptime_in_seconds:{uptime}"));
    line(out, format_args!("uptime_in_days:{}", uptime / 86_400));
    line(out, format_args!("hz:10"));
    line(out, format_args!("configured_hz:10"));
    let file = state.config.file.as_deref().map_or_else(String::new, |file| file.display().to_string());
    line(out, format_args!("config_file:{file}"));
    line(out, format_args!("io_threads_active:0"));
    Ok(())
}

fn clients(call: &mut Call<'_>, out: &mut String) -> Answer<()> {
    let state = &call.state;
    let (mut blocked, mut input, mut output, mut subscribed, mut watching) = (0, 0, 0, 0, 0);
    for client in state.clients.values() {
        let client = client.borrow();
        blocked += usize::from(client.blocked.is_some());
        subscribed += usize::from(client.subscriptions() > 0);
        watching += usize::from(!client.watched.is_empty());
        input = client.query_bytes.max(input);
        output = client.waiting_bytes().max(output);
    }
    line(out, format_args!("connected_clients:{}", state.clients.len()));
    line(out, format_args!("cluster_connections:0"));
    line(out, format_args!("maxclients:{}", state.config.clients_max));
    line(out, format_args!("client_recent_max_input_buffer:{input}"));
    line(out, format_args!("client_recent_max_output_buffer:{output}"));
    line(out, format_args!("blocked_clients:{blocked}"));
    line(out, format_args!("tracking_clients:0"));
    line(out, format_args!("pubsub_clients:{subscribed}"));
    line(out, format_args!("watching_clients:{watching}"));
    line(out, format_args!("total_blocking_keys:{}", state.common.waiting.keys()));
    Ok(())
}

fn human(bytes: u64) -> String {
    let units = ["B", "K", "M", "G", "T"];
    let mut size = bytes as f64;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < units.len() {
        size /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes}B") } else { format!("{size:.2}{}", units[unit]) }
}

/// A number in a file of the system that has one on each line behind its name, in KiB.
fn from_system(file: &str, name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

fn memory(call: &mut Call<'_>, out: &mut String) -> Answer<()> {
    let space = call.keys.txn().backend().space();
    let used = call.state.clients_bytes as u64 + space.memory.unwrap_or(0);
    let mut figure = |name: &str, bytes: Option<u64>| {
        if let Some(bytes) = bytes {
            line(out, format_args!("{name}:{bytes}"));
            line(out, format_args!("{name}_human:{}", human(bytes)));
        }
    };
    figure("used_memory", Some(used));
    figure("used_memory_rss", from_system("/proc/self/status", "VmRSS:"));
    figure("used_memory_rss_peak", from_system("/proc/self/status", "VmHWM:"));
    figure("total_system_memory", from_system("/proc/meminfo", "MemTotal:"));
    figure("maxmemory", Some(0));
    line(out, format_args!("maxmemory_policy:noeviction"));
    line(out, format_args!("mem_clients_normal:{}", call.state.clients_bytes));
    line(out, format_args!("mem_clients_slaves:0"));
    Ok(())
}

fn persistence(call: &mut Call<'_>, out: &mut String) -> Answer<()> {
    let durable = call.state.sync.as_ref().map(|sync| sync.durable()).unwrap_or_default();
    let seq = call.keys.txn().backend().seq();
    let status = if durable.failure.is_some() { "err" } else { "ok" };
    line(out, format_args!("loading:0"));
    line(out, format_args!("async_loading:0"));
    line(out, format_args!("rdb_changes_since_last_save:{}", seq.saturating_sub(durable.seq)));
    line(out, format_args!("rdb_bgsave_in_progress:0"));
    line(out, format_args!("rdb_last_save_time:{}", durable.at_unix));
    line(out, format_args!("rdb_last_bgsave_status:{status}"));
    line(out, format_args!("rdb_saves:{}", durable.syncs));
    line(out, format_args!("aof_enabled:1"));
    line(out, format_args!("aof_rewrite_in_progress:0"));
    line(out, format_args!("aof_rewrite_scheduled:0"));
    line(out, format_args!("aof_last_bgrewrite_status:ok"));
    line(out, format_args!("aof_last_write_status:{status}"));
    if let Some(disk) = call.keys.txn().backend().space().disk {
        line(out, format_args!("nokv_disk_bytes:{disk}"));
    }
    Ok(())
}

fn stats(call: &mut Call<'_>, out: &mut String) -> Answer<()> {
    let (state, counters) = (&call.state, &call.state.counters);
    line(out, format_args!("total_connections_received:{}", counters.connections));
    line(out, format_args!("total_commands_processed:{}", counters.commands));
    line(out, format_args!("instantaneous_ops_per_sec:{}", counters.rate.per_second()));
    line(out, format_args!("total_net_input_bytes:{}", counters.bytes_in));
    line(out, format_args!("total_net_output_bytes:{}", counters.bytes_out));
    line(out, format_args!("rejected_connections:{}", counters.refused));
    line(out, format_args!("expired_keys:{}", counters.expired));
    line(out, format_args!("evicted_keys:0"));
    line(out, format_args!("evicted_clients:{}", counters.evicted_clients));
    line(out, format_args!("keyspace_hits:{}", counters.hits));
    line(out, format_args!("keyspace_misses:{}", counters.misses));
    line(out, format_args!("pubsub_channels:{}", state.pubsub.channels.len()));
    line(out, format_args!("pubsub_patterns:{}", state.pubsub.patterns.len()));
    line(out, format_args!("pubsubshard_channels:{}", state.pubsub.shard_channels.len()));
    line(out, format_args!("latest_fork_usec:0"));
    line(out, format_args!("total_forks:0"));
    line(out, format_args!("tracking_total_keys:0"));
    line(out, format_args!("total_error_replies:{}", counters.errors));
    line(out, format_args!("acl_access_denied_auth:{}", counters.auth_denied));
    for (name, count) in ["cmd", "key", "channel"].into_iter().zip(counters.acl_denied) {
        line(out, format_args!("acl_access_denied_{name}:{count}"));
    }
    Ok(())
}

fn replication(call: &mut Call<'_>, out: &mut String) -> Answer<()> {
    line(out, format_args!("role:master"));
    line(out, format_args!("connected_slaves:0"));
    line(out, format_args!("master_failover_state:no-failover"));
    line(out, format_args!("master_replid:{}", call.state.run_id));
    line(out, format_args!("master_replid2:{}", "0".repeat(40)));
    line(out, format_args!("master_repl_offset:0"));
    line(out, format_args!("second_repl_offset:-1"));
    line(out, format_args!("repl_backlog_active:0"));
    Ok(())
}

fn cpu(_: &mut Call<'_>, out: &mut String) -> Answer<()> {
    // utime and stime are fields 14 and 15, in hundredths of a second; the name before may hold blanks.
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let seconds =
        |at: usize| fields.get(at).and_then(|ticks| ticks.parse::<f64>().ok()).map(|ticks| ticks / 100.0);
    if let (Some(user), Some(system)) = (seconds(11), seconds(12)) {
        line(out, format_args!("used_cpu_sys:{system:.6}"));
        line(out, format_args!("used_cpu_user:{user:.6}"));
    }
    Ok(())
}

fn command_stats(call: &mut Call<'_>, out: &mut String) -> Answer<()> {
    for entry in call.state.table.entries() {
        let Some(c) = call.state.counters.by_command.get(entry.index) else { continue };
        if c.calls == 0 && c.rejected == 0 {
            continue;
        }
        let micros = c.nanos / 1000;
        let mean = if c.calls == 0 { 0.0 } else { c.nanos as f64 / 1000.0 / c.calls as f64 };
        line(
            out,
            format_args!(
                "cmdstat_{}:calls={},usec={micros},usec_per_call={mean:.2},rejected_calls={},failed_calls={}",
                entry.full, c.calls, c.rejected, c.failed
            ),
        );
    }
    Ok(())
}

fn error_stats(call: &mut Call<'_>, out: &mut String) -> Answer<()> {
    for (code, count) in &call.state.counters.by_error {
        line(out, format_args!("errorstat_{code}:count={count}"));
    }
    Ok(())
}

fn latency_stats(call: &mut Call<'_>, out: &mut String) -> Answer<()> {
    for entry in call.state.table.entries() {
        let Some(c) = call.state.counters.by_command.get(entry.index).filter(|c| c.calls > 0) else {
            continue;
        };
        let [half, most, nearly_all] = [50.0, 99.0, 99.9].map(|percent| c.times.percentile(percent));
        line(
            out,
            format_args!(
                "latency_percentiles_usec_{}:p50={half:.3},p99={most:.3},p99.9={nearly_all:.3}",
                entry.full
            ),
        );
    }
    Ok(())
}

fn keyspace(call: &mut Call<'_>, out: &mut String) -> Answer<()> {
    for db in 0..SPACES as u8 {
        // While keys are counted after a crash, nothing is said.
        if let Some(keys @ 1..) = databases::size(call, db)? {
            line(out, format_args!("db{db}:keys={keys}"));
        }
    }
    Ok(())
}
