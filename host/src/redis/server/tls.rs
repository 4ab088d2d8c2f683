//! Encrypted connections, by rustls: TLS 1.2 and 1.3.
//!
//! The files are read once, at the start. `no_tls.rs` stands for this one in a build without the feature `tls`.

use std::fmt::Display;
use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use tokio_rustls::server::TlsStream;

use crate::redis::config::{TlsClients, TlsConfig};

/// What makes connections encrypted.
#[derive(Clone)]
pub(super) struct Tls(TlsAcceptor);

impl Tls {
    /// Reads the files; `None` without a port.
    ///
    /// # Errors
    /// What is missing or wrong, with the setting's name.
    pub(super) fn load(config: &TlsConfig) -> io::Result<Option<Self>> {
        if config.port == 0 {
            return Ok(None);
        }
        let (cert, key) = (named("tls-cert-file", &config.cert)?, named("tls-key-file", &config.key)?);
        let chain = certificates("tls-cert-file", cert)?;
        let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong("tls-key-file", key, &error))?;
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?;
        let builder = if config.clients == TlsClients::No {
            builder.with_no_client_auth()
        } else {
            let Some(ca) = &config.ca_cert else {
                let what = "tls-auth-clients needs tls-ca-cert-file: who signs the clients' certificates; tls-auth-clients \
                            no asks for none";
                return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
            };
            let mut roots = RootCertStore::empty();
            for root in certificates("tls-ca-cert-file", ca)? {
                roots.add(root).map_err(|error| wrong("tls-ca-cert-file", ca, &error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = match config.clients {
                TlsClients::Optional => verifier.allow_unauthenticated(),
                TlsClients::Yes | TlsClients::No => verifier,
            };
            let verifier = verifier.build().map_err(|error| wrong("tls-ca-cert-file", ca, &error))?;
            builder.with_client_cert_verifier(verifier)
        };
        let config =
            builder.with_single_cert(chain, secret).map_err(|error| wrong("tls-key-file", key, &error))?;
        Ok(Some(Self(TlsAcceptor::from(Arc::new(config)))))
    }

    /// Encrypts a connection that just came.
    ///
    /// # Errors
    /// The other side does not speak TLS, or shows no good certificate.
    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        self.0.accept(stream).await
    }
}

fn wrong(setting: &str, path: &Path, error: &dyn Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("{setting} {}: {error}", path.display()))
}

fn named<'a>(setting: &str, path: &'a Option<std::path::PathBuf>) -> io::Result<&'a Path> {
    path.as_deref().ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("tls-port needs {setting}: a file of PEM"))
    })
}

fn certificates(setting: &str, path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let all = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let all = all.map_err(|error| wrong(setting, path, &error))?;
    if all.is_empty() {
        return Err(wrong(setting, path, &"there is no certificate in it"));
    }
    Ok(all)
}
