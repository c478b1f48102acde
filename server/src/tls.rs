//! The certificate that the server speaks TLS with: read from files, or made at the
//! first start. It is read again when its files change; connections go on.

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

/// How often it is looked whether the files have changed.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// The certificate that was made here, in the folder of what survives.
const OWN_CERTIFICATE: &str = "tls-certificate.pem";
/// Its key.
const OWN_KEY: &str = "tls-key.pem";

/// What is spoken, and where it comes from.
pub(crate) struct Certificate {
    files: [PathBuf; 2],
    pub(crate) config: RustlsConfig,
    /// SHA-256 of the certificate, as browsers show it.
    pub(crate) fingerprint: String,
}

impl Certificate {
    /// Reads the configured certificate, or makes one for these names in the folder; none
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

    /// Takes changed files over, as long as the server runs. Files that are wrong, or half
    /// written, change nothing.
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
                    tracing::info!(fingerprint, "the certificate was read again");
                }
                Err(error) => tracing::error!(%error, "the changed certificate cannot be used, so the old one stays"),
            }
        }
    }

    /// When each file, or who may read it, was changed last.
    fn changed_at(&self) -> [Option<(i64, i64)>; 2] {
        use std::os::unix::fs::MetadataExt;
        self.files.each_ref().map(|file| file.metadata().ok().map(|known| (known.ctime(), known.ctime_nsec())))
    }
}

/// Says what cryptography the clients of this process use, which bring none: the same as its
/// server. To be called before one is made; the first call counts.
pub(crate) fn choose_cryptography() {
    ring::default_provider().install_default().ok();
}

/// Reads certificate and key.
fn read([certificate, key]: &[PathBuf; 2]) -> io::Result<(Arc<ServerConfig>, String)> {
    let wrong = |file: &Path, why: String| io::Error::other(format!("cannot use {}: {why}", file.display()));
    let text = |file: &Path| fs::read(file).map_err(|error| wrong(file, error.to_string()));
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text(certificate)?).collect();
    let chain = chain.map_err(|error| wrong(certificate, error.to_string()))?;
    let Some(first) = chain.first() else { return Err(wrong(certificate, "it holds no certificate".into())) };
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

/// Whether nobody but the server's account and its group reads a file.
fn only_for_us(file: &Path) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt;
    let mode = file.metadata().map_err(|error| error.to_string())?.permissions().mode();
    if mode & 0o007 != 0 {
        return Err(format!("everybody can read it; say chmod o= {}", file.display()));
    }
    Ok(())
}

fn fingerprint(certificate: &[u8]) -> String {
    let digest: [u8; 32] = Sha256::digest(certificate).into();
    digest.map(|byte| format!("{byte:02X}")).join(":")
}

/// Makes a certificate for these names, and its key.
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
        assert!(why().contains("c.pem: it holds no certificate"), "{}", why());
        make(&[certificate, key.clone()], vec!["localhost".into()]).expect("made");
        assert_eq!(why(), "");
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("set");
        assert!(why().contains("everybody can read it"), "{}", why());
        fs::write(&key, "nonsense").expect("written");
        assert!(why().contains("k.pem"), "{}", why());
    }
}
