//! The server is killed under load, again and again, on one database; then a model says what must be there.
//!
//! Each client has keys of its own, and all have a list and a counter in common. A client sends pipelines of steps; a step
//! is a command, or a transaction. What must hold of the keys of a client after the kill:
//!
//! 1. They are as after all steps that were acknowledged and some of those that were not, from the first one on: nothing
//!    acknowledged is lost, and transactions are whole.
//! 2. What was deleted does not show: no old element in a collection that was made anew, and no other keys at all.
//! 3. What had an expiry is gone: the check waits for longer than that.
//! 4. LLEN, HLEN, ZCARD and DBSIZE are the numbers of what is there; ranks are the places in the order.
//!
//! And of the list that all push to, in transactions with a counter: it has exactly what the clients' steps put there.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::time::{Duration, Instant};

use super::process::{ServerProcess, Shape};
use super::wire::{Client, Wire};
use crate::real::dice::{Dice, mix};
use crate::real::image::place;

/// Clients at once.
const CLIENTS: u64 = 6;
/// Keys of a client that hold strings; fields, members.
const NAMES: u64 = 24;
/// Steps in a pipeline, at most.
const PIPELINE: u64 = 8;
/// Entries that a list is kept below.
const LIST_MAX: usize = 60;

/// Longest expiry.
const BRIEF_MS: u64 = 40;
/// How long keys that expired may take to be taken out, which DBSIZE waits for.
const EXPIRED_MAX: Duration = Duration::from_secs(30);

/// What was done.
#[derive(Debug, Clone, Copy, Default)]
pub struct Done {
    /// Kills.
    pub kills: u64,
    /// Steps that were acknowledged.
    pub acknowledged: u64,
    /// Steps that were sent, not acknowledged, and are there.
    pub more: u64,
    /// Keys at the end.
    pub keys: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    Text(String),
    List(VecDeque<String>),
    Hash(BTreeMap<String, String>),
    Sorted(BTreeMap<String, i64>),
}

#[derive(Debug, Clone)]
enum Op {
    Set(u64, String),
    /// With an expiry, in milliseconds.
    SetFor(u64, String, u64),
    /// In one step: a list, and its expiry.
    PushBrief(u64),
    ExpireBrief(u64, u64),
    Del(&'static str),
    DelText(u64),
    Incr,
    Push(String),
    Pop,
    HSet(u64, String),
    HDel(u64),
    ZAdd(u64, i64),
    ZRem(u64),
    /// The number of the step that pushes to the list in common.
    Last(u64),
    PushToAll(u64),
    CountAll,
}

/// Commands that take effect together.
type Step = Vec<Op>;

/// Keys of a client, by their names behind its prefix, and the steps that pushed to the list in common.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Own {
    keys: BTreeMap<String, Value>,
    pushed: Vec<u64>,
}

impl Own {
    fn apply(&mut self, op: &Op) {
        match op {
            Op::Set(n, value) => {
                self.keys.insert(format!("s{n}"), Value::Text(value.clone()));
            }
            Op::Del(name) => {
                self.keys.remove(*name);
            }
            // It is over when somebody looks.
            Op::DelText(n) | Op::SetFor(n, ..) => {
                self.keys.remove(&format!("s{n}"));
            }
            Op::Incr => {
                let old = match self.keys.get("n") {
                    Some(Value::Text(text)) => text.parse().unwrap_or(0),
                    _ => 0,
                };
                self.keys.insert("n".to_owned(), Value::Text((old + 1).to_string()));
            }
            Op::Push(value) => {
                let list = self.keys.entry("l".to_owned()).or_insert_with(|| Value::List(VecDeque::new()));
                if let Value::List(list) = list {
                    list.push_front(value.clone());
                }
            }
            Op::Pop => self.take("l", |value| {
                let Value::List(list) = value else { return false };
                list.pop_back();
                list.is_empty()
            }),
            Op::HSet(n, text) => {
                let hash = self.keys.entry("h".to_owned()).or_insert_with(|| Value::Hash(BTreeMap::new()));
                if let Value::Hash(hash) = hash {
                    hash.insert(format!("f{n}"), text.clone());
                }
            }
            Op::HDel(n) => self.take("h", |value| {
                let Value::Hash(hash) = value else { return false };
                hash.remove(&format!("f{n}"));
                hash.is_empty()
            }),
            Op::ZAdd(n, score) => {
                let sorted =
                    self.keys.entry("z".to_owned()).or_insert_with(|| Value::Sorted(BTreeMap::new()));
                if let Value::Sorted(sorted) = sorted {
                    sorted.insert(format!("m{n}"), *score);
                }
            }
            Op::ZRem(n) => self.take("z", |value| {
                let Value::Sorted(sorted) = value else { return false };
                sorted.remove(&format!("m{n}"));
                sorted.is_empty()
            }),
            Op::Last(n) => {
                self.keys.insert("last".to_owned(), Value::Text(n.to_string()));
            }
            Op::PushToAll(n) => self.pushed.push(*n),
            Op::CountAll | Op::PushBrief(_) | Op::ExpireBrief(..) => {}
        }
    }

    /// Changes a key, which goes if nothing is left of it.
    fn take(&mut self, name: &str, change: impl FnOnce(&mut Value) -> bool) {
        if self.keys.get_mut(name).is_some_and(change) {
            self.keys.remove(name);
        }
    }

    fn list_len(&self) -> usize {
        match self.keys.get("l") {
            Some(Value::List(list)) => list.len(),
            _ => 0,
        }
    }
}

fn command(thread: u64, op: &Op) -> Vec<Vec<u8>> {
    let key = |name: &str| format!("{thread}:{name}");
    let words: Vec<String> = match op {
        Op::Set(n, value) => vec!["SET".into(), key(&format!("s{n}")), value.clone()],
        Op::SetFor(n, value, ms) => {
            vec!["SET".into(), key(&format!("s{n}")), value.clone(), "PX".into(), ms.to_string()]
        }
        Op::PushBrief(n) => {
            let mut words = vec!["RPUSH".into(), key(&format!("b{n}"))];
            words.extend((0..40).map(|i| i.to_string()));
            words
        }
        Op::ExpireBrief(n, ms) => vec!["PEXPIRE".into(), key(&format!("b{n}")), ms.to_string()],
        Op::Del(name) => vec!["DEL".into(), key(name)],
        Op::DelText(n) => vec!["DEL".into(), key(&format!("s{n}"))],
        Op::Incr => vec!["INCR".into(), key("n")],
        Op::Push(value) => vec!["LPUSH".into(), key("l"), value.clone()],
        Op::Pop => vec!["RPOP".into(), key("l")],
        Op::HSet(n, text) => vec!["HSET".into(), key("h"), format!("f{n}"), text.clone()],
        Op::HDel(n) => vec!["HDEL".into(), key("h"), format!("f{n}")],
        Op::ZAdd(n, score) => vec!["ZADD".into(), key("z"), score.to_string(), format!("m{n}")],
        Op::ZRem(n) => vec!["ZREM".into(), key("z"), format!("m{n}")],
        Op::Last(n) => vec!["SET".into(), key("last"), n.to_string()],
        Op::PushToAll(n) => vec!["LPUSH".into(), "all".into(), format!("{thread}:{n}")],
        Op::CountAll => vec!["INCR".into(), "count".into()],
    };
    words.into_iter().map(String::into_bytes).collect()
}

/// A client, over all processes.
struct Writer {
    thread: u64,
    dice: Dice,
    next: u64,
    /// After all that was acknowledged.
    own: Own,
    /// Steps that were sent then.
    unknown: Vec<Step>,
    acknowledged: u64,
}

impl Writer {
    fn new(seed: u64, thread: u64) -> Self {
        let dice = Dice::new(mix(seed, thread));
        Self { thread, dice, next: 0, own: Own::default(), unknown: Vec::new(), acknowledged: 0 }
    }

    fn text(&mut self) -> String {
        let bytes = self.dice.pick(&[0, 10, 100, 300, 3000]);
        format!("{}-{}", self.next, "x".repeat(bytes))
    }

    fn op(&mut self, list_len: usize) -> Op {
        let name = self.dice.below(NAMES);
        match self.dice.below(20) {
            0 => {
                let text = self.text();
                Op::SetFor(name, text, 1 + self.dice.below(BRIEF_MS))
            }
            1 | 2 => Op::Set(name, self.text()),
            3 => Op::DelText(name),
            4 | 5 => Op::Incr,
            6..=8 if list_len < LIST_MAX => Op::Push(self.text()),
            6..=9 => Op::Pop,
            10..=12 => Op::HSet(name, self.text()),
            13 => Op::HDel(name),
            14..=16 => Op::ZAdd(name, self.dice.below(1000) as i64 - 500),
            17 => Op::ZRem(name),
            _ if self.dice.one_in(6) => Op::Del(self.dice.pick(&["l", "h", "z", "n"])),
            _ => Op::Incr,
        }
    }

    fn step(&mut self) -> Step {
        self.next += 1;
        let len = self.own.list_len();
        match self.dice.below(10) {
            0 | 1 => vec![Op::Last(self.next), Op::PushToAll(self.next), Op::CountAll],
            4 => {
                let name = self.dice.below(NAMES);
                vec![Op::PushBrief(name), Op::ExpireBrief(name, 1 + self.dice.below(BRIEF_MS))]
            }
            2 | 3 => (0..2 + self.dice.below(5)).map(|_| self.op(len)).collect(),
            _ => vec![self.op(len)],
        }
    }

    /// Works until the server is gone.
    ///
    /// # Errors
    /// An answer that no step has.
    fn work(&mut self, client: &mut Client) -> Result<(), String> {
        loop {
            for _ in 0..=self.dice.below(PIPELINE) {
                let step = self.step();
                let word = |text: &str| vec![text.as_bytes().to_vec()];
                let is_transaction = step.len() > 1;
                if is_transaction {
                    client.push(&word("MULTI"));
                }
                step.iter().for_each(|op| client.push(&command(self.thread, op)));
                if is_transaction {
                    client.push(&word("EXEC"));
                }
                self.unknown.push(step);
            }
            if client.send().is_err() {
                return Ok(());
            }
            while let Some(step) = self.unknown.first() {
                match answers(client, step.len()) {
                    Ok(None) => {}
                    Ok(Some(error)) => return Err(format!("client {}, {step:?}: {error}", self.thread)),
                    Err(_) => return Ok(()),
                }
                let step = self.unknown.remove(0);
                step.iter().for_each(|op| self.own.apply(op));
                self.acknowledged += 1;
            }
        }
    }

    /// Finds what was done of the steps that are unknown; gives their number.
    fn resolve(&mut self, actual: &BTreeMap<String, Value>) -> Result<u64, String> {
        let mut state = self.own.clone();
        let acknowledged = self.own.keys.clone();
        for done in 0..=self.unknown.len() {
            if state.keys == *actual {
                self.own = state;
                self.unknown.clear();
                return Ok(done as u64);
            }
            for op in self.unknown.get(done).into_iter().flatten() {
                state.apply(op);
            }
        }
        let names = acknowledged.keys().chain(actual.keys());
        let differ: Vec<String> = names
            .filter(|name| acknowledged.get(*name) != actual.get(*name))
            .map(|name| format!("{name}: {:.300?} is {:.300?}", acknowledged.get(name), actual.get(name)))
            .collect();
        let (thread, unknown) = (self.thread, &self.unknown);
        Err(format!(
            "client {thread}: not as after some of {unknown:.2000?}; beside what was acknowledged: {differ:#?}"
        ))
    }
}

/// Reads the answers of a step; an error among them.
fn answers(client: &mut Client, ops: usize) -> io::Result<Option<String>> {
    if ops == 1 {
        return Ok(client.read()?.error());
    }
    // MULTI, one QUEUED for each.
    for _ in 0..=ops {
        if let Some(error) = client.read()?.error() {
            return Ok(Some(error));
        }
    }
    Ok(match client.read()? {
        Wire::Items(_, items) if items.len() == ops => items.iter().find_map(Wire::error),
        other => Some(other.show()),
    })
}

struct Reader(Client);

impl Reader {
    fn call(&mut self, line: &str) -> Result<Wire, String> {
        let reply = self.0.call(line).map_err(|error| format!("{line}: {error}"))?;
        reply.error().map_or(Ok(reply), |error| Err(format!("{line}: {error}")))
    }

    fn number(&mut self, line: &str) -> Result<usize, String> {
        match self.call(line)? {
            Wire::Int(n) => usize::try_from(n).map_err(|_| format!("{line}: {n}")),
            other => Err(format!("{line}: {}", other.show())),
        }
    }

    fn texts(&mut self, line: &str) -> Result<Vec<String>, String> {
        let Wire::Items(_, items) = self.call(line)? else { return Err(format!("{line}: no array")) };
        items
            .into_iter()
            .map(|item| match item {
                Wire::Bulk(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
                other => Err(format!("{line}: {}", other.show())),
            })
            .collect()
    }

    fn counted<T>(&mut self, line: &str, all: Vec<T>) -> Result<Vec<T>, String> {
        let counted = self.number(line)?;
        if counted == all.len() { Ok(all) } else { Err(format!("{line} is {counted} of {}", all.len())) }
    }

    fn value(&mut self, key: &str) -> Result<Value, String> {
        let Wire::Line(_, kind) = self.call(&format!("TYPE {key}"))? else {
            return Err("no type".to_owned());
        };
        Ok(match &kind[..] {
            b"string" => match self.call(&format!("GET {key}"))? {
                Wire::Bulk(bytes) => Value::Text(String::from_utf8_lossy(&bytes).into_owned()),
                other => return Err(format!("{key}: {}", other.show())),
            },
            b"list" => {
                let all = self.texts(&format!("LRANGE {key} 0 -1"))?;
                Value::List(self.counted(&format!("LLEN {key}"), all)?.into())
            }
            b"hash" => {
                let all = self.texts(&format!("HGETALL {key}"))?;
                let pairs: Vec<_> =
                    all.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
                Value::Hash(self.counted(&format!("HLEN {key}"), pairs)?.into_iter().collect())
            }
            b"zset" => {
                let all = self.texts(&format!("ZRANGE {key} 0 -1 WITHSCORES"))?;
                let pair = |pair: &[String]| Ok((pair[0].clone(), pair[1].parse().map_err(|_| "no score")?));
                let pairs = all.chunks_exact(2).map(pair).collect::<Result<Vec<(String, i64)>, String>>()?;
                for (at, (member, _)) in pairs.iter().enumerate() {
                    if self.number(&format!("ZRANK {key} {member}"))? != at {
                        return Err(format!("{key}: {member} stands at {at}, and ZRANK differs"));
                    }
                }
                Value::Sorted(self.counted(&format!("ZCARD {key}"), pairs)?.into_iter().collect())
            }
            other => return Err(format!("{key} is a {}", other.escape_ascii())),
        })
    }
}

/// Checks what the server has against the writers; gives the number of keys and of steps that were not acknowledged and
/// are there.
fn verify(client: Client, writers: &mut [Writer]) -> Result<(u64, u64), String> {
    let mut reader = Reader(client);
    std::thread::sleep(Duration::from_millis(BRIEF_MS + 10));
    let names = reader.texts("KEYS *")?;
    // What expired counts until it is taken out.
    let until = Instant::now() + EXPIRED_MAX;
    while reader.number("DBSIZE")? > names.len() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(5));
    }
    let names = reader.counted("DBSIZE", names)?;
    let keys = names.len() as u64;
    let mut found: BTreeMap<u64, BTreeMap<String, Value>> = BTreeMap::new();
    let (mut all, mut count) = (VecDeque::new(), 0);
    for name in names {
        let value = reader.value(&name)?;
        match (name.as_str(), value) {
            ("all", Value::List(list)) => all = list,
            ("count", Value::Text(text)) => count = text.parse().map_err(|_| "count is no number")?,
            (_, value) => {
                let (thread, rest) = name.split_once(':').ok_or_else(|| format!("a key {name}"))?;
                let thread = thread.parse().map_err(|_| format!("a key {name}"))?;
                found.entry(thread).or_default().insert(rest.to_owned(), value);
            }
        }
    }
    let mut more = 0;
    for writer in &mut *writers {
        more += writer.resolve(&found.remove(&writer.thread).unwrap_or_default())?;
    }
    if !found.is_empty() {
        return Err(format!("keys of nobody: {found:.500?}"));
    }
    if all.len() != count {
        return Err(format!("a transaction is not whole: {} pushes, {count} counts", all.len()));
    }
    let mut pushed: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for entry in all.iter().rev() {
        let (thread, n) = entry.split_once(':').ok_or_else(|| format!("an entry {entry}"))?;
        let wrong = |_| format!("an entry {entry}");
        pushed.entry(thread.parse().map_err(wrong)?).or_default().push(n.parse().map_err(wrong)?);
    }
    for writer in writers {
        if pushed.remove(&writer.thread).unwrap_or_default() != writer.own.pushed {
            return Err(format!("client {}: its entries of the list in common differ", writer.thread));
        }
    }
    Ok((keys, more))
}

/// Kills a server `kills` times under load, with this `appendfsync`.
///
/// # Panics
/// When something acknowledged is gone, or anything else does not hold.
pub fn run(seed: u64, sync: &str, kills: u64) -> Done {
    let place = place("nokv-redis-kill-");
    let mut writers: Vec<Writer> = (0..CLIENTS).map(|thread| Writer::new(seed, thread)).collect();
    let mut dice = Dice::new(mix(seed, 77));
    let mut done = Done::default();
    let conf = format!("appendfsync {sync}");
    for open in 0..=kills {
        let result =
            one(place.path(), &conf, Shape::Drawn(seed, open), &mut writers, &mut dice, open < kills);
        let (keys, more) = result.unwrap_or_else(|error| {
            panic!("appendfsync {sync}, after {open} kills, NOKV_REDIS_SEED={seed}: {error}")
        });
        done.keys = keys;
        done.more += more;
    }
    done.kills = kills;
    done.acknowledged = writers.iter().map(|writer| writer.acknowledged).sum();
    done
}

/// Starts a server, checks what it has, lets the writers work if they are to, and kills it.
fn one(
    place: &std::path::Path,
    conf: &str,
    shape: Shape,
    writers: &mut [Writer],
    dice: &mut Dice,
    is_to_work: bool,
) -> Result<(u64, u64), String> {
    let mut server = ServerProcess::start(place, conf, shape)?;
    let connect = || Client::connect(server.at()).map_err(|error| error.to_string());
    let seen = verify(connect()?, writers)?;
    let clients = writers.iter().map(|_| connect()).collect::<Result<Vec<_>, _>>()?;
    let until = Instant::now() + Duration::from_millis(20 + dice.below(300));
    std::thread::scope(|scope| {
        let pairs = writers.iter_mut().zip(clients).filter(|_| is_to_work);
        let threads: Vec<_> =
            pairs.map(|(writer, mut client)| scope.spawn(move || writer.work(&mut client))).collect();
        std::thread::sleep(until.saturating_duration_since(Instant::now()));
        server.kill()?;
        let ends =
            threads.into_iter().map(|thread| thread.join().map_err(|_| "a client panicked".to_owned())?);
        ends.collect::<Result<(), String>>()
    })?;
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writer(steps: &[Step], unknown: &[Step]) -> Writer {
        let mut writer = Writer::new(1, 0);
        steps.iter().flatten().for_each(|op| writer.own.apply(op));
        writer.unknown = unknown.to_vec();
        writer
    }

    fn after(steps: &[&[Op]]) -> BTreeMap<String, Value> {
        let mut own = Own::default();
        steps.iter().copied().flatten().for_each(|op| own.apply(op));
        own.keys
    }

    #[test]
    fn the_model_takes_a_prefix_of_what_is_unknown_and_nothing_else() {
        let first = vec![Op::Push("a".to_owned()), Op::ZAdd(1, 5)];
        let both = vec![Op::Incr, Op::HSet(1, "x".to_owned())];
        let last = vec![Op::Del("z")];
        let resolve = |actual: &BTreeMap<String, Value>| {
            writer(std::slice::from_ref(&first), &[both.clone(), last.clone()]).resolve(actual).ok()
        };
        assert_eq!(resolve(&after(&[&first])), Some(0));
        assert_eq!(resolve(&after(&[&first, &both])), Some(1));
        assert_eq!(resolve(&after(&[&first, &both, &last])), Some(2));
        // Something acknowledged is lost; half a transaction; a gap; what was deleted; a key too many.
        assert_eq!(resolve(&BTreeMap::new()), None);
        assert_eq!(resolve(&after(&[&first[..1]])), None);
        assert_eq!(resolve(&after(&[&first, &both[..1]])), None);
        assert_eq!(resolve(&after(&[&first, &last])), None);
        assert_eq!(resolve(&after(&[&first, &both, &last, &[Op::ZAdd(1, 5), Op::ZAdd(2, 5)]])), None);
        assert_eq!(resolve(&after(&[&first, &[Op::Set(3, String::new())]])), None);
    }
}
