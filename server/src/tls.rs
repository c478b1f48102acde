//! The TLS certificate: read from files, or created at the first start. It is reloaded when its
//! files change; connections continue.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use axum_server::tls_rustls::RustlsConfig;
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use sha2::{Digest, Sha256};

use crate::config::Tls;

/// Interval of checks for changed files.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// The self-signed certificate in the data directory.
const OWN_CERTIFICATE: &str = "tls-certificate.pem";
/// Its key.
const OWN_KEY: &str = "tls-key.pem";

/// The current certificate, and its source.
pub(crate) struct Certificate {
    files: [PathBuf; 2],
    pub(crate) config: RustlsConfig,
    /// The SHA-256 fingerprint, as shown by browsers.
    pub(crate) fingerprint: String,
}

impl Certificate {
    /// Reads the configured certificate, or creates one for these names in the directory; none
    /// without TLS.
    ///
    /// # Errors
    /// One sentence that names the file.
    pub(crate) fn open(tls: &Tls, folder: &Path, names: Vec<String>) -> io::Result<Option<Self>> {
        let files = match tls {
            Tls::Off => return Ok(None),
            Tls::Files { certificate, key } => [certificate.clone(), key.clone()],
            Tls::SelfSigned => {
                let files = [folder.join(OWN_CERTIFICATE), folder.join(OWN_KEY)];
                if !files.iter().all(|file| file.exists()) {
                    make(&files, names)?;
                }
                files
            }
        };
        let (config, fingerprint) = read(&files)?;
        Ok(Some(Self { files, config: RustlsConfig::from_config(config), fingerprint }))
    }

    /// Reloads changed files while the server runs. Invalid or incomplete files are ignored.
    pub(crate) async fn follow(&self) {
        let mut seen = self.changed_at();
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let changed = self.changed_at();
            if changed == seen {
                continue;
            }
            seen = changed;
            match read(&self.files) {
                Ok((config, fingerprint)) => {
                    self.config.reload_from_config(config);
                    tracing::info!(fingerprint, "certificate reloaded");
                }
                Err(error) => tracing::error!(%error, "cannot load the changed certificate; keeping the old one"),
            }
        }
    }

    /// The last change of each file's content or mode.
    fn changed_at(&self) -> [Option<(i64, i64)>; 2] {
        use std::os::unix::fs::MetadataExt;
        self.files.each_ref().map(|file| file.metadata().ok().map(|known| (known.ctime(), known.ctime_nsec())))
    }
}

/// Sets the cryptography provider for HTTP clients of this process: the same as the server's. Must
/// be called before one is created; the first call counts.
pub(crate) fn choose_cryptography() {
    ring::default_provider().install_default().ok();
}

/// Reads certificate and key.
fn read([certificate, key]: &[PathBuf; 2]) -> io::Result<(Arc<ServerConfig>, String)> {
    let wrong = |file: &Path, why: String| io::Error::other(format!("cannot use {}: {why}", file.display()));
    let text = |file: &Path| fs::read(file).map_err(|error| wrong(file, error.to_string()));
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text(certificate)?).collect();
    let chain = chain.map_err(|error| wrong(certificate, error.to_string()))?;
    let Some(first) = chain.first() else { return Err(wrong(certificate, "it contains no certificate".into())) };
    let fingerprint = fingerprint(first);
    let secret = PrivateKeyDer::from_pem_slice(&text(key)?).map_err(|error| wrong(key, error.to_string()))?;
    only_for_us(key).map_err(|why| wrong(key, why))?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, secret));
    let mut config = config.map_err(|error| wrong(certificate, error.to_string()))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok((Arc::new(config), fingerprint))
}

/// Whether a file is not world-readable.
fn only_for_us(file: &Path) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt;
    let mode = file.metadata().map_err(|error| error.to_string())?.permissions().mode();
    if mode & 0o007 != 0 {
        return Err(format!("it is world-readable; run chmod o= {}", file.display()));
    }
    Ok(())
}

fn fingerprint(certificate: &[u8]) -> String {
    let digest: [u8; 32] = Sha256::digest(certificate).into();
    digest.map(|byte| format!("{byte:02X}")).join(":")
}

/// Creates a certificate for these names, and its key.
fn make([certificate, key]: &[PathBuf; 2], names: Vec<String>) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let made = rcgen::generate_simple_self_signed(names).map_err(io::Error::other)?;
    let named = |file: &Path, error: io::Error| io::Error::other(format!("cannot write {}: {error}", file.display()));
    let mut options = fs::File::options();
    options.write(true).create(true).truncate(true).mode(0o600);
    let file = options.open(key);
    file.and_then(|mut file| io::Write::write_all(&mut file, made.signing_key.serialize_pem().as_bytes()))
        .map_err(|error| named(key, error))?;
    fs::write(certificate, made.cert.pem()).map_err(|error| named(certificate, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_made_once_and_then_kept() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let open = || Certificate::open(&Tls::SelfSigned, folder.path(), vec!["localhost".into()]);
        let first = open().expect("made").expect("one");
        assert_eq!(first.fingerprint.len(), 32 * 3 - 1);
        assert_eq!(open().expect("read").expect("one").fingerprint, first.fingerprint);
        assert!(only_for_us(&folder.path().join(OWN_KEY)).is_ok());
        assert!(Certificate::open(&Tls::Off, folder.path(), Vec::new()).expect("right").is_none());
    }

    #[test]
    fn files_that_are_wrong_are_named() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::TempDir::new().expect("a folder");
        let (certificate, key) = (folder.path().join("c.pem"), folder.path().join("k.pem"));
        let tls = Tls::Files { certificate: certificate.clone(), key: key.clone() };
        let why = || {
            let opened = Certificate::open(&tls, folder.path(), Vec::new());
            opened.err().map(|error| error.to_string()).unwrap_or_default()
        };
        assert!(why().contains("c.pem"), "{}", why());
        fs::write(&certificate, "nonsense").expect("written");
        assert!(why().contains("c.pem: it contains no certificate"), "{}", why());
        make(&[certificate, key.clone()], vec!["localhost".into()]).expect("made");
        assert_eq!(why(), "");
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("set");
        assert!(why().contains("it is world-readable"), "{}", why());
        fs::write(&key, "nonsense").expect("written");
        assert!(why().contains("k.pem"), "{}", why());
    }
}
