//! Statistics of a running process: one HTTP request to its metrics address.

use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::header::{ACCEPT, HOST};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use serde_json::Value as Json;
use tokio::net::TcpStream;

use super::store::{Failure, Result};
use crate::metrics::STATS_KEY;

/// A process that does not answer by then does not answer.
const WITHIN: Duration = Duration::from_secs(10);
/// Of an answer, in bytes.
const ANSWER_MAX: usize = 64 << 20;

/// Where statistics of a process are: `http://HOST:PORT/debug/vars`, all but the port optional.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    authority: String,
    path: String,
}

impl Endpoint {
    /// Reads a URL as people write it.
    ///
    /// # Errors
    /// It is none, or asks for what this build cannot do.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |what: &str| {
            Failure::new(
                what,
                format!("--expvar {text}"),
                "write http://HOST:PORT, as --metrics-addr printed it",
            )
        };
        if text.starts_with("https:") {
            return Err(wrong("metrics are served over plain HTTP only"));
        }
        let digits = text.strip_prefix(':').unwrap_or(text);
        let full = match text {
            _ if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
                format!("http://127.0.0.1:{digits}")
            }
            _ if text.contains("://") => text.to_owned(),
            _ => format!("http://{text}"),
        };
        let uri: Uri = full.parse().map_err(|_| wrong("this is no URL"))?;
        if uri.scheme_str() != Some("http") {
            return Err(wrong("this is no http URL"));
        }
        let authority = uri.authority().ok_or_else(|| wrong("the URL names no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("the URL names a user, and there are none"));
        }
        let port = match authority.port_u16() {
            Some(port) => port,
            None if authority.as_str() == authority.host() => 80,
            None => return Err(wrong("the port is no number up to 65535")),
        };
        let path = match uri.path() {
            "" | "/" => "/debug/vars",
            path => path,
        };
        Ok(Self { authority: format!("{}:{port}", authority.host()), path: path.to_owned() })
    }

    /// Asks the process.
    ///
    /// # Errors
    /// It does not answer, or not with statistics of this engine.
    pub fn ask(&self) -> Result<Json> {
        self.ask_within(WITHIN)
    }

    /// [`Endpoint::ask`] with less patience, or more.
    ///
    /// # Errors
    /// As [`Endpoint::ask`].
    pub fn ask_within(&self, time: Duration) -> Result<Json> {
        let fail = |what: String| {
            let next = "is the process running with --metrics-addr, or with nokv::metrics::serve?";
            Failure::new(what, self.to_string(), next)
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(|error| fail(format!("a request cannot be made ({error})")))?;
        let answer = runtime.block_on(async { tokio::time::timeout(time, self.request()).await });
        let (status, body) = match answer {
            Err(_) => return Err(fail(format!("there was no answer within {} s", time.as_secs()))),
            Ok(Err(what)) => return Err(fail(what)),
            Ok(Ok(answer)) => answer,
        };
        if status != StatusCode::OK {
            let said = String::from_utf8_lossy(&body);
            let said = super::units::clip(said.lines().next().unwrap_or("").as_bytes(), 120);
            return Err(fail(format!("the answer was {status}: {said}")));
        }
        let vars: Json = serde_json::from_slice(&body)
            .map_err(|error| fail(format!("the answer is no JSON ({error})")))?;
        if vars.get(STATS_KEY).is_some_and(Json::is_object) {
            Ok(vars)
        } else {
            Err(fail(format!("the answer has no {STATS_KEY}")))
        }
    }

    async fn request(&self) -> std::result::Result<(StatusCode, Bytes), String> {
        let stream =
            TcpStream::connect(&self.authority).await.map_err(|e| format!("there is no answer ({e})"))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|e| format!("the connection failed ({e})"))?;
        // Ends with the exchange; what goes wrong in it, the request says.
        let connection = tokio::spawn(connection);
        let request = Request::get(&self.path)
            .header(HOST, &self.authority)
            .header(ACCEPT, "application/json")
            .body(Empty::<Bytes>::new())
            .map_err(|e| format!("the request cannot be made ({e})"))?;
        let response = sender.send_request(request).await.map_err(|e| format!("the request failed ({e})"))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_MAX).collect().await;
        connection.abort();
        Ok((status, body.map_err(|e| format!("the answer broke off ({e})"))?.to_bytes()))
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "http://{}{}", self.authority, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_as_people_write_them() {
        for (text, url) in [
            ("9090", "http://127.0.0.1:9090/debug/vars"),
            (":9090", "http://127.0.0.1:9090/debug/vars"),
            ("localhost:9090", "http://localhost:9090/debug/vars"),
            ("http://db.example", "http://db.example:80/debug/vars"),
            ("http://[::1]:1/", "http://[::1]:1/debug/vars"),
            ("http://h:1/other/vars?x=1", "http://h:1/other/vars"),
        ] {
            assert_eq!(Endpoint::parse(text).unwrap().to_string(), url, "{text}");
        }
        for text in ["", "https://h:1", "ftp://h:1", "http://", "http://h:99999", "http://a@h:1", "a b"] {
            let failure = Endpoint::parse(text).unwrap_err();
            assert!(failure.place.contains(text), "{failure}");
        }
    }

    #[test]
    fn a_port_that_nobody_listens_at_is_an_error_with_the_address() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let failure = Endpoint::parse(&free.to_string()).unwrap().ask().unwrap_err();
        assert!(failure.to_string().contains(&free.to_string()), "{failure}");
        assert!(failure.what.contains("no answer"), "{failure}");
    }
}
