//! The HTTP server: one named thread with a runtime of its own.
//!
//! 1. A connection carries one request, ends after [`CONNECTION_MAX`], and at most [`CONNECTIONS_MAX`] are open;
//!    the others wait in the system's queue.
//! 2. A request's line and headers take at most [`REQUEST_BYTES_MAX`]; its body is not read.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Map, Value as Json};
use tokio::sync::{Semaphore, oneshot};

use super::source::{HEALTH_KEY, PROCESS_KEY, STATS_KEY, Source};
use super::{MetricsOptions, ServeError, address, prometheus};

/// Connections that are answered at once.
const CONNECTIONS_MAX: usize = 16;
/// Request line and headers, in bytes.
const REQUEST_BYTES_MAX: usize = 16 << 10;
/// Header lines of a request.
const HEADERS_MAX: usize = 64;
/// A request that did not arrive by then is given up.
const HEADERS_WITHIN: Duration = Duration::from_secs(5);
/// A connection is given up after this, whatever it does.
const CONNECTION_MAX: Duration = Duration::from_secs(30);
/// How long accepting pauses after it failed, for example for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const PATHS: &str =
    "/metrics      Prometheus text\n/debug/vars   statistics as JSON\n/health       is the database well?\n";

/// A running server; dropping it stops the server and waits for its thread.
#[derive(Debug)]
pub struct MetricsServer {
    at: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl MetricsServer {
    pub(super) fn start(
        addr: &str,
        options: MetricsOptions,
        source: Box<dyn Source>,
    ) -> Result<Self, ServeError> {
        let listen = |error| ServeError::Listen { address: addr.to_owned(), source: error };
        let candidates = address::parse(addr, options.allow_remote)?;
        let listener = TcpListener::bind(&candidates[..]).map_err(listen)?;
        listener.set_nonblocking(true).map_err(listen)?;
        let at = listener.local_addr().map_err(listen)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(listen)?;
        let (stop, stopped) = oneshot::channel();
        let state = Arc::new(State { source, allow_remote: options.allow_remote });
        let run = move || runtime.block_on(accept_until(stopped, listener, state));
        let thread =
            std::thread::Builder::new().name("nokv-metrics".to_owned()).spawn(run).map_err(listen)?;
        tracing::info!(%at, "metrics are served");
        Ok(Self { at, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens; the port is the one that was taken where 0 was asked for.
    pub const fn local_addr(&self) -> SocketAddr {
        self.at
    }
}

impl Drop for MetricsServer {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // Its thread may have ended by itself.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct State {
    source: Box<dyn Source>,
    allow_remote: bool,
}

async fn accept_until(stopped: oneshot::Receiver<()>, listener: TcpListener, state: Arc<State>) {
    let accepting = tokio::spawn(async move {
        let error = accept(listener, state).await;
        tracing::error!(%error, "metrics are not served any more");
    });
    // The sender goes with the guard.
    let _ = stopped.await;
    accepting.abort();
}

/// Answers connections; ends only when the listener cannot be used at all.
async fn accept(listener: TcpListener, state: Arc<State>) -> io::Error {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return error,
    };
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let place = match places.clone().acquire_owned().await {
            Ok(place) => place,
            Err(closed) => return io::Error::other(closed),
        };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a metrics connection was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let state = state.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let state = state.clone();
                async move { Ok::<_, Infallible>(state.answer(&request)) }
            });
            let connection = http1::Builder::new()
                .keep_alive(false)
                .max_buf_size(REQUEST_BYTES_MAX)
                .max_headers(HEADERS_MAX)
                .timer(TokioTimer::new())
                .header_read_timeout(HEADERS_WITHIN)
                .serve_connection(TokioIo::new(stream), service);
            match tokio::time::timeout(CONNECTION_MAX, connection).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "a metrics connection failed"),
                Err(_) => tracing::debug!("a metrics connection took too long"),
            }
            drop(place);
        });
    }
}

type Answer = Response<Full<Bytes>>;

fn answer(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    response
}

fn json(status: StatusCode, value: &Json) -> Answer {
    let mut text = value.to_string();
    text.push('\n');
    answer(status, JSON, text)
}

impl State {
    fn answer(&self, request: &Request<Incoming>) -> Answer {
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
        if !self.allow_remote && !host.is_none_or(address::is_local_host) {
            return answer(StatusCode::FORBIDDEN, TEXT, "this server answers to localhost only\n");
        }
        let path = request.uri().path();
        if !["/", "/metrics", "/debug/vars", "/health"].contains(&path) {
            return answer(StatusCode::NOT_FOUND, TEXT, format!("there is no such path; there are\n{PATHS}"));
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut refused = answer(StatusCode::METHOD_NOT_ALLOWED, TEXT, "GET and HEAD only\n");
            refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refused;
        }
        match path {
            "/metrics" => self.metrics(),
            "/debug/vars" => self.vars(),
            "/health" => self.health(),
            _ => answer(StatusCode::OK, TEXT, PATHS),
        }
    }

    fn metrics(&self) -> Answer {
        let Some(stats) = self.source.stats() else { return closed() };
        let condition = self.source.condition();
        let mut text = String::with_capacity(32 << 10);
        prometheus::render(&mut text, &stats);
        prometheus::render_process(&mut text, &self.source.process(), condition.is_well);
        answer(StatusCode::OK, prometheus::CONTENT_TYPE, text)
    }

    fn vars(&self) -> Answer {
        let Some(stats) = self.source.stats() else { return closed() };
        let vars: Map<String, Json> = [
            (STATS_KEY.to_owned(), stats),
            (HEALTH_KEY.to_owned(), self.source.condition().health),
            (PROCESS_KEY.to_owned(), self.source.process()),
        ]
        .into_iter()
        .collect();
        json(StatusCode::OK, &Json::Object(vars))
    }

    fn health(&self) -> Answer {
        let condition = self.source.condition();
        let status = if condition.is_well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        json(status, &condition.health)
    }
}

fn closed() -> Answer {
    answer(StatusCode::SERVICE_UNAVAILABLE, TEXT, "the database is closed\n")
}
