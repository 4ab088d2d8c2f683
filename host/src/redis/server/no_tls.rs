//! In place of `tls.rs` in a build without the feature `tls`: whoever asks for encryption is refused.

use std::io;

use tokio::net::TcpStream;

use crate::redis::config::TlsConfig;

/// There is none of it.
#[derive(Clone)]
pub(super) enum Tls {}

impl Tls {
    /// Nothing, if nothing is asked for.
    ///
    /// # Errors
    /// Something is.
    pub(super) fn load(config: &TlsConfig) -> io::Result<Option<Self>> {
        if *config == TlsConfig::default() {
            return Ok(None);
        }
        let what = "this program was built without TLS: build it with --features tls";
        Err(io::Error::new(io::ErrorKind::InvalidInput, what))
    }

    /// Never called.
    pub(super) async fn accept(&self, _: TcpStream) -> io::Result<TcpStream> {
        match *self {}
    }
}
