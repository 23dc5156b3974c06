//! TLS: the certificate that clients are shown, and how it is replaced while the tracker runs.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;

/// Why there can be no TLS. The sentences are for the person who started the tracker.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file of the certificate cannot be read.
    #[error("the certificate {0} cannot be read: {1}")]
    Certificate(PathBuf, rustls::pki_types::pem::Error),
    /// There is no certificate in the file.
    #[error("there is no certificate in {0}: it must be PEM, with the server's own certificate first")]
    NoCertificate(PathBuf),
    /// The file of the key cannot be read, or there is no key in it.
    #[error("the private key {0} cannot be read: {1}")]
    Key(PathBuf, rustls::pki_types::pem::Error),
    /// The key is of a kind that is not known, or not the certificate's.
    #[error("the certificate {0} and the private key {1} cannot be used: {2}")]
    Unusable(PathBuf, PathBuf, rustls::Error),
}

/// What a tracker needs to speak TLS. Clones are one and the same.
///
/// Connections keep what they began with; a new certificate is shown to those that come after [`reload`](Self::reload).
#[derive(Debug, Clone)]
pub struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    shown: Arc<Shown>,
    config: Arc<ServerConfig>,
}

/// The certificate that is shown at present, whatever name a client asks for.
#[derive(Debug)]
struct Shown(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl Tls {
    /// Reads a certificate, with those that vouch for it behind it, and its key, both PEM.
    ///
    /// # Errors
    /// [`TlsError`] when they cannot be used.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let shown = Arc::new(Shown(RwLock::new(Arc::new(read(certificate, key)?))));
        let unusable = |error| TlsError::Unusable(certificate.to_owned(), key.to_owned(), error);
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&shown) as Arc<dyn ResolvesServerCert>);
        // HTTP/2 is not spoken here; browsers open WebSockets over HTTP/1.1 anyway.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { certificate: certificate.to_owned(), key: key.to_owned(), shown, config: Arc::new(config) })
    }

    /// Reads the files again.
    ///
    /// # Errors
    /// [`TlsError`]; the old certificate is shown on then.
    pub fn reload(&self) -> Result<(), TlsError> {
        let new = Arc::new(read(&self.certificate, &self.key)?);
        *self.shown.0.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.config))
    }
}

fn read(certificate: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| TlsError::Certificate(certificate.to_owned(), error))?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate(certificate.to_owned()));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| TlsError::Key(key.to_owned(), error))?;
    CertifiedKey::from_der(chain, private, &ring::default_provider())
        .map_err(|error| TlsError::Unusable(certificate.to_owned(), key.to_owned(), error))
}
