//! The Redis server behind TLS, with certificates made here.
#![allow(missing_docs)]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nokv::redis::{Bound, Config, conf_file};
use nokv_tests::redis::oracle::OurRedis;
use nokv_tests::redis::wire::{Client, Wire};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

type Encrypted = Client<StreamOwned<ClientConnection, TcpStream>>;

/// A certificate and its key, PEM.
struct Pair {
    cert: PathBuf,
    key: PathBuf,
}

struct Authority {
    cert: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

fn file(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, text).expect("a file");
    path
}

impl Authority {
    fn new(dir: &Path, name: &str) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("a certificate");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let cert = params.self_signed(&key).expect("a certificate");
        let cert = file(dir, &format!("{name}.pem"), &cert.pem());
        Self { cert, issuer: Issuer::new(params, key) }
    }

    fn pair(&self, dir: &Path, name: &str) -> Pair {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a certificate");
        let cert = params.signed_by(&key, &self.issuer).expect("a certificate");
        Pair {
            cert: file(dir, &format!("{name}.pem"), &cert.pem()),
            key: file(dir, &format!("{name}.key"), &key.serialize_pem()),
        }
    }
}

struct Place {
    dir: tempfile::TempDir,
    ours: Authority,
    other: Authority,
    server: Pair,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let (ours, other) = (Authority::new(dir.path(), "ca"), Authority::new(dir.path(), "other"));
        let server = ours.pair(dir.path(), "server");
        Self { dir, ours, other, server }
    }

    /// Settings with a port that was free a moment ago.
    fn config(&self, more: &str) -> Config {
        let free = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = free.local_addr().expect("it has one").port();
        let mut config = Config { port: 0, ..Config::default() };
        let text = format!(
            "tls-port {port}\ntls-cert-file \"{}\"\ntls-key-file \"{}\"\ntls-ca-cert-file \"{}\"\n{more}",
            self.server.cert.display(),
            self.server.key.display(),
            self.ours.cert.display()
        );
        conf_file::read(&text, &mut config).expect("settings");
        config
    }

    /// Trusts this authority, and shows this certificate.
    fn connect(
        &self,
        at: SocketAddr,
        trusted: &Authority,
        shown: Option<&Pair>,
    ) -> std::io::Result<Encrypted> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&trusted.cert).expect("PEM")).expect("a certificate");
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        let config = match shown {
            None => builder.with_no_client_auth(),
            Some(pair) => builder
                .with_client_auth_cert(
                    vec![CertificateDer::from_pem_file(&pair.cert).expect("PEM")],
                    PrivateKeyDer::from_pem_file(&pair.key).expect("PEM"),
                )
                .expect("a pair"),
        };
        let name = ServerName::try_from("localhost").expect("a name");
        let connection = ClientConnection::new(Arc::new(config), name).expect("a client");
        let stream = TcpStream::connect(at)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        let mut client = Client::over(StreamOwned::new(connection, stream));
        // In TLS 1.3 a client hears of a refusal when it reads.
        match client.call("PING")? {
            Wire::Line(b'+', _) => Ok(client),
            other => panic!("{}", other.show()),
        }
    }
}

fn words(words: &[&[u8]]) -> Vec<Vec<u8>> {
    words.iter().map(|word| word.to_vec()).collect()
}

#[test]
fn commands_pipelines_and_messages_go_through_tls() {
    let place = Place::new();
    let server = OurRedis::start(place.config("tls-auth-clients no"));
    let mut client = place.connect(server.at(), &place.ours, None).expect("a connection");
    let value = vec![b'v'; 3 << 20];
    client.push(&words(&[b"SET", b"large", &value]));
    client.push(&words(&[b"GET", b"large"]));
    client.send().expect("sent");
    assert_eq!(client.read().expect("a reply"), Wire::Line(b'+', b"OK".to_vec()));
    assert!(client.read().expect("a reply") == Wire::Bulk(value));
    for _ in 0..10_000 {
        client.push(&words(&[b"INCR", b"n"]));
    }
    client.send().expect("sent");
    for n in 1..=10_000 {
        assert_eq!(client.read().expect("a reply"), Wire::Int(n));
    }
    // What is not asked for arrives, too.
    let mut listener = place.connect(server.at(), &place.ours, None).expect("a connection");
    listener.call("SUBSCRIBE news").expect("a reply");
    assert_eq!(client.call("PUBLISH news hello").expect("a reply"), Wire::Int(1));
    let heard = listener.read().expect("a message");
    assert!(heard.show().contains("\"hello\""), "{}", heard.show());
    // So does the answer of one that waits.
    let at = server.at();
    listener = place.connect(at, &place.ours, None).expect("a connection");
    listener.push(&words(&[b"BLPOP", b"q", b"30"]));
    listener.send().expect("sent");
    client.call("RPUSH q x").expect("a reply");
    assert_eq!(listener.read().expect("a reply").show(), "*[\"q\" \"x\"]");
}

#[test]
fn who_does_not_speak_tls_is_let_go_and_others_are_served() {
    let place = Place::new();
    let server = OurRedis::start(place.config("tls-auth-clients no"));
    // It says nothing; it has its time.
    let _silent: Vec<TcpStream> =
        (0..50).map(|_| TcpStream::connect(server.at()).expect("a connection")).collect();
    let mut plain = TcpStream::connect(server.at()).expect("a connection");
    plain.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
    plain.write_all(b"*1\r\n$4\r\nPING\r\n").expect("sent");
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer);
    assert!(!answer.windows(4).any(|bytes| bytes == b"PONG"), "{answer:?}");
    assert!(place.connect(server.at(), &place.ours, None).is_ok());
    // And a client does not talk to a server that nobody it trusts knows.
    assert!(place.connect(server.at(), &place.other, None).is_err());
}

#[test]
fn clients_show_a_certificate_where_they_must() {
    let place = Place::new();
    let good = place.ours.pair(place.dir.path(), "good");
    let bad = place.other.pair(place.dir.path(), "bad");
    // What is shown: none, a good one, a bad one.
    for (setting, expected) in [
        ("", [false, true, false]),
        ("tls-auth-clients yes", [false, true, false]),
        ("tls-auth-clients optional", [true, true, false]),
        ("tls-auth-clients no", [true, true, true]),
    ] {
        let server = OurRedis::start(place.config(setting));
        let comes_in = |shown| place.connect(server.at(), &place.ours, shown).is_ok();
        assert_eq!([comes_in(None), comes_in(Some(&good)), comes_in(Some(&bad))], expected, "{setting:?}");
    }
}

#[test]
fn what_is_missing_or_open_is_refused_at_the_start() {
    let place = Place::new();
    let check = |more: &str, port: u16| {
        Bound::check(&Config { port, ..place.config(more) }).map_err(|error| error.to_string())
    };
    assert_eq!(check("", 0), Ok(()));
    // Other machines: certificates of clients, or passwords, on all ports.
    assert_eq!(check("bind 0.0.0.0", 0), Ok(()));
    assert!(check("bind 0.0.0.0", 6380).is_err_and(|what| what.contains("requirepass")));
    assert!(check("bind 0.0.0.0\ntls-auth-clients no", 0).is_err());
    assert!(check("bind 0.0.0.0\ntls-auth-clients optional", 0).is_err());
    assert_eq!(check("bind 0.0.0.0\ntls-auth-clients no\nrequirepass p", 6380), Ok(()));
    assert_eq!(check("bind 0.0.0.0\ntls-auth-clients no\nprotected-mode no", 6380), Ok(()));
    // Files.
    let absent = place.dir.path().join("absent").display().to_string();
    for setting in ["tls-cert-file", "tls-key-file", "tls-ca-cert-file"] {
        let what = check(&format!("{setting} {absent}"), 0).expect_err("a refusal");
        assert!(what.contains(setting), "{what}");
    }
    let empty = file(place.dir.path(), "empty", "").display().to_string();
    assert!(check(&format!("tls-cert-file {empty}"), 0).is_err());
    let foreign = place.ours.pair(place.dir.path(), "foreign").key.display().to_string();
    assert!(check(&format!("tls-key-file {foreign}"), 0).is_err_and(|what| what.contains("tls-key-file")));
    let mut config = place.config("");
    config.tls.ca_cert = None;
    assert!(Bound::check(&config).is_err_and(|error| error.to_string().contains("tls-ca-cert-file")));
}
