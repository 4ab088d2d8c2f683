//! The settings of the server, by the names of `redis.conf`.

use std::path::PathBuf;

use super::store::effects::Class;

/// When what was acknowledged is synced: `appendfsync`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SyncPolicy {
    /// Before each reply leaves.
    Always,
    /// Once a second, in the background.
    #[default]
    EverySecond,
    /// When the system does, or at the end.
    No,
}

/// Who may use `DEBUG`: `enable-debug-command`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DebugAccess {
    /// Nobody.
    #[default]
    No,
    /// Clients of this machine.
    Local,
    /// Everybody.
    Yes,
}

/// How much may wait for a client that does not read: `client-output-buffer-limit`. 0 is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutputLimit {
    /// Bytes above which it is let go at once.
    pub hard: usize,
    /// Bytes above which it is let go after a time.
    pub soft: usize,
    /// That time.
    pub soft_seconds: u64,
}

/// The limits of both classes of clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputLimits {
    /// Of clients that ask and are answered.
    pub normal: OutputLimit,
    /// Of those who listen: subscribers and monitors.
    pub pubsub: OutputLimit,
}

/// Must clients of encrypted connections show a certificate: `tls-auth-clients`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TlsClients {
    /// None comes in without one.
    #[default]
    Yes,
    /// One that is shown must be good.
    Optional,
    /// None is asked for.
    No,
}

/// Certificates: `tls-*`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsConfig {
    /// Port; 0 for none.
    pub port: u16,
    /// Certificate chain, PEM.
    pub cert: Option<PathBuf>,
    /// Its key, PEM.
    pub key: Option<PathBuf>,
    /// Who signs the clients' certificates, PEM.
    pub ca_cert: Option<PathBuf>,
    /// Must clients have one?
    pub clients: TlsClients,
}

/// The settings.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file that they came from.
    pub file: Option<PathBuf>,
    /// Addresses to listen at.
    pub bind: Vec<String>,
    /// Port; 0 takes a free one, unless there is one for TLS.
    pub port: u16,
    /// Encrypted connections.
    pub tls: TlsConfig,
    /// Other machines are refused unless there are passwords or TLS.
    pub is_protected: bool,
    /// Directory of the database.
    pub dir: PathBuf,
    /// File with the options of the database.
    pub options_file: Option<PathBuf>,
    /// When writes are synced.
    pub sync: SyncPolicy,
    /// Password of the default user.
    pub password: Option<String>,
    /// Users, as rules of `ACL SETUSER` with the name first.
    pub users: Vec<Vec<Vec<u8>>>,
    /// Most connections.
    pub clients_max: usize,
    /// Seconds after which an idle client is let go; 0: never.
    pub timeout: u64,
    /// Seconds of silence after which the system asks whether the other side is there; 0: never.
    pub tcp_keepalive: u64,
    /// Replies that may wait.
    pub output: OutputLimits,
    /// Bytes that a client may have sent without a command being whole, commands of MULTI included.
    pub query_bytes_max: usize,
    /// Bytes of an argument.
    pub bulk_bytes_max: usize,
    /// Bytes of all clients' buffers; 0: no limit.
    pub clients_bytes_max: usize,
    /// Microseconds from which on a command is slow; negative: none is.
    pub slow_micros: i64,
    /// How many slow commands are kept.
    pub slow_kept: usize,
    /// Milliseconds from which on an event is a latency spike; 0: none is.
    pub latency_ms: u64,
    /// Events that listeners are told of.
    pub notify: Class,
    /// Who may use DEBUG.
    pub debug: DebugAccess,
    /// Keys expire actively: `DEBUG SET-ACTIVE-EXPIRE`.
    pub active_expire: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            file: None,
            bind: vec!["127.0.0.1".to_owned()],
            port: 6380,
            tls: TlsConfig::default(),
            is_protected: true,
            dir: PathBuf::new(),
            options_file: None,
            sync: SyncPolicy::EverySecond,
            password: None,
            users: Vec::new(),
            clients_max: 10_000,
            timeout: 0,
            tcp_keepalive: 300,
            output: OutputLimits {
                normal: OutputLimit::default(),
                pubsub: OutputLimit { hard: 32 << 20, soft: 8 << 20, soft_seconds: 60 },
            },
            query_bytes_max: 1 << 30,
            bulk_bytes_max: 512 << 20,
            clients_bytes_max: 2 << 30,
            slow_micros: 10_000,
            slow_kept: 128,
            latency_ms: 0,
            notify: Class::default(),
            debug: DebugAccess::No,
            active_expire: true,
        }
    }
}
