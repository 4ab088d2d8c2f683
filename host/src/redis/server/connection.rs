//! One client's connection: bytes in, requests to the server, bytes out.
//!
//! 1. Requests are answered in order. While one waits for keys, those behind it stay in the buffer.
//! 2. Nothing is read while more than [`OUT_PAUSE`] bytes wait to leave. While a command waits reading goes on, so that the
//!    end of the stream is seen; a client over the limits is let go.
//! 3. With `appendfsync always` replies and messages leave when what they tell of is durable.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;

use super::client::{ClientRef, Close};
use super::exec::{Clock, Server, protocol_error};
use super::syncer::{Durable, SyncHandle};
use crate::redis::resp::request::{Limits, Parser};

/// Room for what arrives.
const READ_BYTES: usize = 16 << 10;
/// A buffer that was larger once is let go when it is empty.
const KEPT_BYTES_MAX: usize = 64 << 10;
/// Requests run one after another before others get their turn.
const REQUESTS_AT_ONCE: usize = 256;
/// Arguments for which a request needs no memory of its own.
const FEW_ARGS: usize = 8;
/// Replies that wait to leave before requests wait too.
const OUT_PAUSE: usize = 1 << 20;
/// How long the other side may take to hear that the connection ends.
const GOODBYE: Duration = Duration::from_secs(1);

/// Its connection is to end.
pub(super) async fn told_to_end(client: &ClientRef) {
    let wake = client.borrow().wake.clone();
    while client.borrow().close.is_none() {
        wake.notified().await;
    }
}

/// What connections share.
pub(super) struct Shared {
    pub(super) server: RefCell<Server>,
    pub(super) sync: SyncHandle,
}

/// Serves a client until either side ends it.
pub(super) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    shared: Rc<Shared>,
    client: ClientRef,
    stream: S,
) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut link = Link {
        shared: &shared,
        client: &client,
        parser: Parser::default(),
        input: Vec::new(),
        taken: 0,
        was_woken: false,
    };
    let mut durable = shared.sync.watch();
    let wake = client.borrow().wake.clone();
    loop {
        let is_more = link.take_requests();
        // What it tells of may have to be durable first.
        if !link.flush(&mut writer, &mut durable).await {
            break;
        }
        if client.borrow().close.is_some() {
            break;
        }
        if is_more || std::mem::take(&mut link.was_woken) {
            tokio::task::yield_now().await;
            continue;
        }
        let until = client.borrow().blocked.as_ref().and_then(|blocked| blocked.until);
        link.input.reserve(READ_BYTES);
        tokio::select! {
            read = reader.read_buf(&mut link.input) => match read {
                Ok(0) | Err(_) => break,
                Ok(bytes) => {
                    shared.server.borrow_mut().state.counters.bytes_in += bytes as u64;
                    if !link.holds_to_limits() {
                        break;
                    }
                }
            },
            () = wake.notified() => {}
            () = sleep_until(until) => {
                shared.server.borrow_mut().state.stop_waiting(&client, None);
            }
        }
    }
    // It waits for nothing any more, while its goodbye may take a while.
    client.borrow_mut().end(Close::Now);
    // Whoever goes in peace takes its last replies along.
    let _ = tokio::time::timeout(GOODBYE, writer.shutdown()).await;
    shared.server.borrow_mut().forget(&client);
}

async fn sleep_until(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until.into()).await,
        None => std::future::pending().await,
    }
}

struct Link<'s> {
    shared: &'s Rc<Shared>,
    client: &'s ClientRef,
    parser: Parser,
    input: Vec<u8>,
    /// So many of its bytes were taken: they go when they are half of it, so that none is moved again and again.
    taken: usize,
    /// It was woken while it wrote: there may be more to do.
    was_woken: bool,
}

impl Link<'_> {
    /// Notes what the buffers hold; false if it is too much.
    fn holds_to_limits(&self) -> bool {
        let state = &mut self.shared.server.borrow_mut().state;
        {
            let mut client = self.client.borrow_mut();
            client.query_bytes = self.input.len() - self.taken;
            let queued = client.queue.as_ref().map_or(0, |queue| queue.bytes);
            if client.query_bytes + queued > state.config.query_bytes_max {
                tracing::warn!(client = client.id, "a command is too large; its client is let go");
                return false;
            }
            state.note_bytes(&mut client);
        }
        state.shed_clients();
        true
    }

    /// Runs what has arrived whole; true if there may be more.
    fn take_requests(&mut self) -> bool {
        let mut is_more = false;
        let mut server = self.shared.server.borrow_mut();
        server.clock = Clock::now();
        for done in 0.. {
            {
                let client = self.client.borrow();
                if client.close.is_some() || client.blocked.is_some() {
                    break;
                }
                if done == REQUESTS_AT_ONCE || client.out.len() > OUT_PAUSE {
                    is_more = true;
                    break;
                }
            }
            let limits = if self.client.borrow().user.is_none() {
                Limits::STRANGER
            } else {
                Limits { bulk_bytes_max: server.state.config.bulk_bytes_max, ..Limits::USUAL }
            };
            let bytes = self.input.get(self.taken..).unwrap_or_default();
            match self.parser.parse(bytes, &limits) {
                Ok(None) => break,
                Ok(Some(request)) => {
                    let (mut few, mut many) = ([&[][..]; FEW_ARGS], Vec::new());
                    let given = self.parser.args(bytes);
                    let args: &[&[u8]] = match few.get_mut(..given.len()) {
                        Some(few) => {
                            few.iter_mut().zip(given).for_each(|(arg, given)| *arg = given);
                            few
                        }
                        None => {
                            many.extend(given);
                            &many
                        }
                    };
                    let is_postponed = server.is_postponed(self.client, args);
                    self.client.borrow_mut().is_postponed = is_postponed;
                    if is_postponed {
                        self.parser.clear();
                        break;
                    }
                    server.request(self.client, args);
                    self.taken += request.len;
                    self.parser.clear();
                }
                Err(error) => {
                    protocol_error(self.client, error.0);
                    break;
                }
            }
        }
        if self.taken > self.input.len() / 2 {
            self.input.drain(..self.taken);
            self.taken = 0;
            if self.input.is_empty() && self.input.capacity() > KEPT_BYTES_MAX {
                self.input = Vec::new();
            }
        }
        drop(server);
        if !self.holds_to_limits() {
            self.client.borrow_mut().drop_now();
        }
        is_more
    }

    /// Sends what waits; false if the client is gone, or to go at once.
    async fn flush(
        &mut self,
        writer: &mut (impl AsyncWrite + Unpin),
        durable: &mut watch::Receiver<Durable>,
    ) -> bool {
        loop {
            let out = {
                let mut client = self.client.borrow_mut();
                if client.close == Some(Close::Now) {
                    return false;
                }
                client.sending = client.out.len();
                std::mem::take(&mut client.out)
            };
            if out.is_empty() {
                return true;
            }
            let needs = std::mem::take(&mut self.client.borrow_mut().needs_durable);
            if needs > durable.borrow().seq && !self.become_durable(needs, durable).await {
                return false;
            }
            if !self.send(writer, &out).await {
                return false;
            }
            self.shared.server.borrow_mut().state.counters.bytes_out += out.len() as u64;
            let mut client = self.client.borrow_mut();
            client.sending = 0;
            if client.out.is_empty() && out.capacity() <= KEPT_BYTES_MAX {
                client.out = out;
                client.out.clear();
            }
        }
    }

    /// Writes `out`; false if the client is gone, or to go at once.
    async fn send(&mut self, writer: &mut (impl AsyncWrite + Unpin), out: &[u8]) -> bool {
        let wake = self.client.borrow().wake.clone();
        let mut sent = 0;
        while sent < out.len() {
            tokio::select! {
                written = writer.write(&out[sent..]) => match written {
                    Ok(0) | Err(_) => return false,
                    Ok(bytes) => {
                        sent += bytes;
                        self.client.borrow_mut().sending = out.len() - sent;
                    }
                },
                () = wake.notified() => {
                    self.was_woken = true;
                    if self.client.borrow().close == Some(Close::Now) {
                        return false;
                    }
                }
            }
        }
        // What a layer of encryption holds back.
        writer.flush().await.is_ok()
    }

    /// Waits until everything up to `seq` is durable; false if it never will be: then no reply may claim it.
    async fn become_durable(&self, seq: u64, durable: &mut watch::Receiver<Durable>) -> bool {
        self.shared.sync.now();
        durable
            .wait_for(|durable| durable.seq >= seq || durable.failure.is_some())
            .await
            .is_ok_and(|d| d.seq >= seq)
    }
}
