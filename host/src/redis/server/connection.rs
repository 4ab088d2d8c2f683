//! One client's connection: bytes in, requests to the server, bytes out.
//!
//! 1. Requests are answered in order. While one waits for keys, those behind it stay in the buffer.
//! 2. Nothing is read while more than [`OUT_PAUSE`] bytes wait to leave; a client over the limits is let go.
//! 3. With `appendfsync always` replies leave when what they tell of is durable.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;

use super::client::{ClientRef, Close};
use super::exec::{Server, protocol_error};
use super::syncer::{Durable, Syncer};
use crate::redis::config::SyncPolicy;
use crate::redis::resp::request::{Limits, Parser};

/// Room for what arrives.
const READ_BYTES: usize = 16 << 10;
/// A buffer that was larger once is let go when it is empty.
const KEPT_BYTES_MAX: usize = 64 << 10;
/// Requests run one after another before others get their turn.
const REQUESTS_AT_ONCE: usize = 256;
/// Replies that wait to leave before requests wait too.
const OUT_PAUSE: usize = 1 << 20;

/// What connections share.
pub(super) struct Shared {
    pub(super) server: RefCell<Server>,
    pub(super) syncer: Syncer,
}

/// Serves a client until either side ends it.
pub(super) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    shared: Rc<Shared>,
    client: ClientRef,
    stream: S,
) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut link = Link { shared: &shared, client: &client, parser: Parser::default(), input: Vec::new() };
    let mut durable = shared.syncer.durable();
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
        if is_more {
            tokio::task::yield_now().await;
            continue;
        }
        let until = client.borrow().blocked.as_ref().and_then(|blocked| blocked.until);
        link.input.reserve(READ_BYTES);
        tokio::select! {
            read = reader.read_buf(&mut link.input) => match read {
                Ok(0) | Err(_) => break,
                Ok(bytes) => shared.server.borrow_mut().state.counters.bytes_in += bytes as u64,
            },
            () = wake.notified() => {}
            () = sleep_until(until) => shared.server.borrow_mut().stop_waiting(&client, None),
        }
    }
    // Whoever goes in peace takes its last replies along.
    let _ = writer.shutdown().await;
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
}

impl Link<'_> {
    /// Runs what has arrived whole; true if there may be more.
    fn take_requests(&mut self) -> bool {
        let mut taken = 0;
        let mut is_more = false;
        let mut server = self.shared.server.borrow_mut();
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
            let limits = if self.client.borrow().user.is_none() { Limits::STRANGER } else { Limits::USUAL };
            let bytes = &self.input[taken..];
            match self.parser.parse(bytes, &limits) {
                Ok(None) => break,
                Ok(Some(request)) => {
                    let args: Vec<&[u8]> = self.parser.args(bytes).collect();
                    server.request(self.client, &args);
                    taken += request.len;
                    self.parser.clear();
                }
                Err(error) => {
                    protocol_error(self.client, error.0);
                    break;
                }
            }
        }
        if taken > 0 {
            self.input.drain(..taken);
            if self.input.is_empty() && self.input.capacity() > KEPT_BYTES_MAX {
                self.input = Vec::new();
            }
        }
        self.client.borrow_mut().query_bytes = self.input.len();
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
                std::mem::take(&mut client.out)
            };
            if out.is_empty() {
                return true;
            }
            let needs = std::mem::take(&mut self.client.borrow_mut().needs_durable);
            if needs > durable.borrow().seq && !self.become_durable(needs, durable).await {
                return false;
            }
            if writer.write_all(&out).await.is_err() {
                return false;
            }
            self.shared.server.borrow_mut().state.counters.bytes_out += out.len() as u64;
            let mut client = self.client.borrow_mut();
            if client.out.is_empty() && out.capacity() <= KEPT_BYTES_MAX {
                client.out = out;
                client.out.clear();
            }
        }
    }

    /// Waits until everything up to `seq` is durable; false if it never will be: then no reply may claim it.
    async fn become_durable(&self, seq: u64, durable: &mut watch::Receiver<Durable>) -> bool {
        self.shared.syncer.ask(SyncPolicy::Always);
        durable
            .wait_for(|durable| durable.seq >= seq || durable.failure.is_some())
            .await
            .is_ok_and(|d| d.seq >= seq)
    }
}
