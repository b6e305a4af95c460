//! Encryption of what goes over the network, with a certificate that is read again when its file changes.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use backstay_model::settings::TlsSettings;
use backstay_model::{Code, Error, Result};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// How long a client may take to agree on encryption.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// A certificate and its key.
#[derive(Debug)]
pub struct Tls {
    settings: TlsSettings,
    config: RwLock<Arc<ServerConfig>>,
}

impl Tls {
    /// Reads both files.
    ///
    /// # Errors
    /// One can't be read, or they don't belong together.
    pub fn open(settings: &TlsSettings) -> Result<Self> {
        Ok(Tls {
            config: RwLock::new(read(settings)?),
            settings: settings.clone(),
        })
    }

    /// Encrypts a connection; nothing if its client doesn't agree in time.
    pub async fn accept(&self, stream: TcpStream) -> Option<TlsStream<TcpStream>> {
        let config = Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner));
        let agreed = tokio::time::timeout(HANDSHAKE, TlsAcceptor::from(config).accept(stream)).await;
        match agreed {
            Ok(Ok(stream)) => Some(stream),
            Ok(Err(error)) => {
                tracing::debug!("a client doesn't agree on encryption: {error}");
                None
            }
            Err(_) => None,
        }
    }

    /// Reads the files again whenever they change, for as long as it is waited for. With files that can't be used it goes on
    /// with what it had.
    pub async fn follow(&self) {
        let mut seen = self.look();
        loop {
            tokio::time::sleep(LOOK).await;
            let now = self.look();
            if now == seen {
                continue;
            }
            seen = now;
            match read(&self.settings) {
                Ok(config) => {
                    *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
                    tracing::info!("the certificate was read again");
                }
                Err(error) => tracing::error!("the certificate stays as it was: {}", error.report()),
            }
        }
    }

    fn look(&self) -> [Option<SystemTime>; 2] {
        let changed = |path: &Path| std::fs::metadata(path).and_then(|file| file.modified()).ok();
        [changed(&self.settings.certificate), changed(&self.settings.key)]
    }
}

fn read(settings: &TlsSettings) -> Result<Arc<ServerConfig>> {
    let wrong = |path: &Path, what: &str| {
        Error::new(
            Code::Configuration,
            format!("{} can't be used as {what}", path.display()),
        )
        .hint("`api.tls` names a certificate and its key, as PEM files that this user may read")
    };
    let certificate = &settings.certificate;
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>)
        .map_err(|e| wrong(certificate, "a certificate").because(e))?;
    if chain.is_empty() {
        return Err(wrong(certificate, "a certificate"));
    }
    let key = PrivateKeyDer::from_pem_file(&settings.key)
        .map_err(|e| wrong(&settings.key, "a private key").because(e))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|e| wrong(certificate, "the certificate of that key").because(e))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
