//! Addresses to listen on: without a host they are loopback, and so they stay unless remote ones are allowed.

use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};

use super::ServeError;

/// The addresses that `text` names, checked.
pub(super) fn parse(text: &str, allow_remote: bool) -> Result<Vec<SocketAddr>, ServeError> {
    let wrong = |what: String| ServeError::Address { address: text.to_owned(), what };
    let port = text.strip_prefix(':').unwrap_or(text);
    let found: Vec<SocketAddr> = if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) {
        let port = port.parse().map_err(|_| wrong("a port is a number up to 65535".to_owned()))?;
        vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port))]
    } else if text.rsplit_once(':').is_none_or(|(host, _)| host.is_empty()) {
        return Err(wrong("write HOST:PORT or PORT".to_owned()));
    } else {
        text.to_socket_addrs().map_err(|error| wrong(error.to_string()))?.collect()
    };
    match found.iter().find(|at| !at.ip().to_canonical().is_loopback()) {
        _ if found.is_empty() => Err(wrong("the name has no address".to_owned())),
        Some(at) if !allow_remote => Err(ServeError::NotLoopback(*at)),
        _ => Ok(found),
    }
}

/// May a request that names this host be answered on loopback? A page in a browser can make its own name point
/// here; the name that it then sends gives it away.
pub(super) fn is_local_host(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or(""),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<std::net::IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_host_is_loopback() {
        for text in ["9090", ":9090", "127.0.0.1:9090"] {
            let at = parse(text, false).unwrap();
            assert_eq!(at, ["127.0.0.1:9090".parse().unwrap()], "{text}");
        }
        assert!(parse("[::1]:0", false).is_ok());
        assert!(parse("localhost:0", false).unwrap().iter().all(|at| at.ip().is_loopback()));
    }

    #[test]
    fn other_machines_are_let_in_on_request_only() {
        for text in ["0.0.0.0:1", "[::]:1", "192.0.2.7:1", "[::ffff:192.0.2.7]:1"] {
            assert!(matches!(parse(text, false), Err(ServeError::NotLoopback(_))), "{text}");
            assert!(parse(text, true).is_ok(), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_an_error() {
        for text in ["", ":", "65536", ":70000", "127.0.0.1", "127.0.0.1:", "host:port", "[::1]", "::1"] {
            assert!(matches!(parse(text, true), Err(ServeError::Address { .. })), "{text}");
        }
    }

    #[test]
    fn hosts_that_a_page_cannot_fake() {
        for host in ["localhost", "LOCALHOST:80", "127.0.0.1", "127.0.0.1:9090", "[::1]:9090", "[::1]"] {
            assert!(is_local_host(host), "{host}");
        }
        for host in ["", "evil.example", "evil.example:9090", "localhost.evil.example", "[", "127.0.0.1.x:1"]
        {
            assert!(!is_local_host(host), "{host}");
        }
    }
}
