//! Users: who may log in, run which commands, on which keys and channels.
//!
//! 1. A command is checked before it runs or is queued, and again when EXEC runs it.
//! 2. Rules of commands are read from the last to the first; the first that names the command decides.
//! 3. What is not supported is refused: selectors, `%R~` and `%W~`, rules on first arguments.

pub mod categories;
mod check;
pub mod user;

use std::collections::BTreeMap;
use std::rc::Rc;

pub use check::Denied;
pub use user::User;

use crate::redis::config::Config;

/// The name of the user that a client is without AUTH.
pub const DEFAULT: &str = "default";
/// Refusals that `ACL LOG` keeps.
const LOG_MAX: usize = 128;

/// All users.
pub struct Acl {
    users: BTreeMap<String, Rc<User>>,
    /// Refusals, the newest first.
    pub log: std::collections::VecDeque<Refusal>,
    next_refusal: u64,
}

/// An entry of `ACL LOG`.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// Its number.
    pub id: u64,
    /// How often.
    pub count: u64,
    /// `auth`, `command`, `key`, `channel`.
    pub reason: &'static str,
    /// `toplevel`, `multi`.
    pub context: &'static str,
    /// What was refused.
    pub object: Vec<u8>,
    /// Who asked.
    pub user: String,
    /// The line of CLIENT LIST of the last one who did.
    pub client: String,
    /// When it began, in Unix milliseconds.
    pub created_ms: u64,
    /// When it was last.
    pub updated_ms: u64,
}

impl Acl {
    /// The users of the settings.
    ///
    /// # Errors
    /// What is wrong with a rule.
    pub fn new(config: &Config) -> Result<Self, String> {
        let mut acl = Self { users: BTreeMap::new(), log: Default::default(), next_refusal: 0 };
        acl.users.insert(DEFAULT.to_owned(), Rc::new(User::everything(DEFAULT)));
        for line in &config.users {
            let Some((name, rules)) = line.split_first() else {
                return Err("a user without a name".to_owned());
            };
            let name = std::str::from_utf8(name).map_err(|_| "a user whose name is no UTF-8")?;
            let rules: Vec<&[u8]> = rules.iter().map(Vec::as_slice).collect();
            if name == DEFAULT {
                // It is there already, and a line says all of a user.
                acl.users.insert(DEFAULT.to_owned(), Rc::new(User::nothing(DEFAULT)));
            }
            acl.set(name, &rules).map_err(|what| format!("user {name}: {what}"))?;
        }
        if config.password.is_some() {
            acl.set_default_password(config.password.as_deref());
        }
        Ok(acl)
    }

    /// The user of a name.
    pub fn get(&self, name: &str) -> Option<&Rc<User>> {
        self.users.get(name)
    }

    /// All, by name.
    pub fn all(&self) -> impl Iterator<Item = &Rc<User>> {
        self.users.values()
    }

    /// Applies rules to a user, who is made if need be. All rules or none.
    ///
    /// # Errors
    /// What is wrong with a rule.
    pub fn set(&mut self, name: &str, rules: &[&[u8]]) -> Result<Rc<User>, String> {
        let mut user = self.users.get(name).map_or_else(|| User::nothing(name), |user| User::clone(user));
        for rule in rules {
            user.apply(rule).map_err(|what| {
                format!("ERR Error in ACL SETUSER modifier '{}': {what}", String::from_utf8_lossy(rule))
            })?;
        }
        let user = Rc::new(user);
        self.users.insert(name.to_owned(), user.clone());
        Ok(user)
    }

    /// Removes a user.
    pub fn remove(&mut self, name: &str) -> bool {
        self.users.remove(name).is_some()
    }

    /// What `requirepass` says.
    pub fn set_default_password(&mut self, password: Option<&str>) -> Option<Rc<User>> {
        let mut user = User::clone(self.users.get(DEFAULT)?);
        user.set_only_password(password);
        let user = Rc::new(user);
        self.users.insert(DEFAULT.to_owned(), user.clone());
        Some(user)
    }

    /// The user that a client is from the start.
    pub fn at_start(&self) -> Option<Rc<User>> {
        self.users.get(DEFAULT).filter(|user| user.is_on && user.takes_any_password).cloned()
    }

    /// The user of a name and password.
    pub fn log_in(&self, name: &[u8], password: &[u8]) -> Option<Rc<User>> {
        let user = self.users.get(std::str::from_utf8(name).ok()?)?;
        (user.is_on && user.takes(password)).then(|| user.clone())
    }

    /// Everybody needs a password.
    pub fn is_closed(&self) -> bool {
        self.users.values().all(|user| !user.is_on || !user.takes_any_password)
    }

    /// Notes a refusal; one like an earlier one of the last minute counts there.
    pub fn note(&mut self, mut refusal: Refusal) {
        let is_same = |old: &Refusal| {
            old.reason == refusal.reason
                && old.context == refusal.context
                && old.object == refusal.object
                && old.user == refusal.user
                && refusal.updated_ms.saturating_sub(old.updated_ms) < 60_000
        };
        if let Some(at) = self.log.iter().position(is_same)
            && let Some(mut old) = self.log.remove(at)
        {
            old.count += 1;
            old.updated_ms = refusal.updated_ms;
            old.client = refusal.client;
            self.log.push_front(old);
            return;
        }
        refusal.id = self.next_refusal;
        self.next_refusal += 1;
        self.log.push_front(refusal);
        self.log.truncate(LOG_MAX);
    }
}
