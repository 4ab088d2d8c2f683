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

/// The settings.
#[derive(Debug, Clone)]
pub struct Config {
    /// Addresses to listen at.
    pub bind: Vec<String>,
    /// Port; 0 takes a free one.
    pub port: u16,
    /// Directory of the database, for people.
    pub dir: PathBuf,
    /// When writes are synced.
    pub sync: SyncPolicy,
    /// Password of the default user.
    pub password: Option<String>,
    /// Most connections.
    pub clients_max: usize,
    /// Seconds after which an idle client is let go; 0: never.
    pub timeout: u64,
    /// Events that listeners are told of.
    pub notify: Class,
    /// Keys expire actively: `DEBUG SET-ACTIVE-EXPIRE`.
    pub active_expire: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            bind: vec!["127.0.0.1".to_owned()],
            port: 6380,
            dir: PathBuf::new(),
            sync: SyncPolicy::EverySecond,
            password: None,
            clients_max: 10_000,
            timeout: 0,
            notify: Class::default(),
            active_expire: true,
        }
    }
}
