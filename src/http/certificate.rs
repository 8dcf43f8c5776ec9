//! The certificate of the TLS ports, and its key: read from files, and read again when they change.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use pkcs8::{EncryptedPrivateKeyInfoRef, SecretDocument};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::tls_error::TlsError;
use crate::settings::Secret;

/// A certificate that follows its files.
#[derive(Debug)]
pub(super) struct Certificate {
    certificates: PathBuf,
    key: PathBuf,
    passphrase: Secret,
    /// The files as they were when they were last read.
    stamps: Mutex<Option<[Stamp; 2]>>,
    shown: RwLock<Arc<CertifiedKey>>,
}

/// Tells a file from what it was before.
type Stamp = (u64, u64, i64, i64);

impl Certificate {
    pub(super) fn load(
        certificates: PathBuf,
        key: PathBuf,
        passphrase: Secret,
    ) -> Result<Self, TlsError> {
        let stamps = stamps(&certificates, &key);
        let shown = read(&certificates, &key, &passphrase)?;
        Ok(Self {
            certificates,
            key,
            passphrase,
            stamps: Mutex::new(stamps),
            shown: RwLock::new(Arc::new(shown)),
        })
    }

    /// Reads the files again if they have changed; keeps what it has if they cannot be used.
    pub(super) fn reload_if_changed(&self) {
        // Before the files are read: what is written meanwhile is found the next time.
        let now = stamps(&self.certificates, &self.key);
        let before = std::mem::replace(&mut *self.stamps.lock(), now);
        if now == before {
            return;
        }
        match read(&self.certificates, &self.key, &self.passphrase) {
            Ok(certified) => {
                *self.shown.write() = Arc::new(certified);
                tracing::info!(path = %self.certificates.display(), "took a new certificate");
            }
            Err(error) => {
                tracing::error!(%error, "the new certificate cannot be used; the one before stays");
            }
        }
    }
}

impl ResolvesServerCert for Certificate {
    /// Every client gets the same certificate, whatever name it asks for.
    fn resolve(&self, _client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.shown.read()))
    }
}

fn stamps(certificates: &Path, key: &Path) -> Option<[Stamp; 2]> {
    let stamp = |file: Metadata| (file.ino(), file.len(), file.mtime(), file.mtime_nsec());
    let of = |path| std::fs::metadata(path).ok().map(stamp);
    Some([of(certificates)?, of(key)?])
}

const CERTFILE: &str = "HTTPS_CERTFILE";
const KEYFILE: &str = "HTTPS_KEYFILE";

fn read(certificates: &Path, key: &Path, passphrase: &Secret) -> Result<CertifiedKey, TlsError> {
    let chain = read_certificates(CERTFILE, certificates)?;
    let private_key = read_key(key, passphrase)?;
    CertifiedKey::from_der(chain, private_key, &aws_lc_rs::default_provider()).map_err(|source| {
        TlsError::Refused {
            certificates: certificates.to_owned(),
            key: key.to_owned(),
            source,
        }
    })
}

/// Reads the certificates of a file; there is one at least.
pub(super) fn read_certificates(
    setting: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read_file(setting, path)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let chain = chain.map_err(|source| TlsError::NotPem {
        setting,
        path: path.to_owned(),
        source,
    })?;
    if chain.is_empty() {
        return Err(TlsError::Empty {
            setting,
            path: path.to_owned(),
            expected: "certificate",
        });
    }
    Ok(chain)
}

fn read_key(path: &Path, passphrase: &Secret) -> Result<PrivateKeyDer<'static>, TlsError> {
    let text = read_file(KEYFILE, path)?;
    let path = || path.to_owned();
    if let Some(encrypted) = encrypted_section(&text) {
        if passphrase.reveal().is_empty() {
            return Err(TlsError::Encrypted { path: path() });
        }
        return decrypt(encrypted, passphrase).map_err(|source| TlsError::NotDecrypted {
            path: path(),
            source,
        });
    }
    if contains(&text, b"Proc-Type: 4,ENCRYPTED") {
        return Err(TlsError::OldEncryption { path: path() });
    }
    PrivateKeyDer::from_pem_slice(&text).map_err(|source| match source {
        pem::Error::NoItemsFound => TlsError::Empty {
            setting: KEYFILE,
            path: path(),
            expected: "private key",
        },
        source => TlsError::NotPem {
            setting: KEYFILE,
            path: path(),
            source,
        },
    })
}

fn read_file(setting: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Unreadable {
        setting,
        path: path.to_owned(),
        source,
    })
}

const BEGIN: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----";
const END: &str = "-----END ENCRYPTED PRIVATE KEY-----";

/// Returns the part of a file that is an encrypted key (RFC 7468, 11).
fn encrypted_section(text: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(text).ok()?;
    let start = text.find(BEGIN)?;
    let (_, rest) = text.split_at_checked(start)?;
    let end = rest.find(END)?.checked_add(END.len())?;
    rest.get(..end)
}

fn decrypt(section: &str, passphrase: &Secret) -> Result<PrivateKeyDer<'static>, pkcs8::Error> {
    let (_, document) = SecretDocument::from_pem(section)?;
    let encrypted = EncryptedPrivateKeyInfoRef::try_from(document.as_bytes())?;
    let key = encrypted.decrypt(passphrase.reveal())?;
    Ok(PrivatePkcs8KeyDer::from(key.as_bytes().to_vec()).into())
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use pkcs8::pkcs5::pbes2::Parameters;
    use pkcs8::{LineEnding, PrivateKeyInfoRef};
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    /// A folder for the files of one test.
    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            let path = std::env::temp_dir().join(format!("sluicegate-{}", uuid::Uuid::new_v4()));
            std::fs::create_dir(&path).unwrap();
            Self(path)
        }

        fn write(&self, name: &str, text: &str) -> PathBuf {
            let path = self.0.join(name);
            std::fs::write(&path, text).unwrap();
            path
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).unwrap();
        }
    }

    /// A new key and its certificate, in PEM.
    fn pair() -> (KeyPair, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        (key, certificate.pem())
    }

    /// Encrypts as `openssl pkcs8 -topk8` does.
    fn encrypted(key: &KeyPair, passphrase: &str) -> String {
        let der = key.serialize_der();
        let info = PrivateKeyInfoRef::try_from(der.as_slice()).unwrap();
        let (salt, iv) = ([1; 16], [2; 16]);
        let parameters = Parameters::generate_pbkdf2_sha256_aes256cbc(2048, &salt, iv).unwrap();
        let document = info.encrypt_with_params(parameters, passphrase).unwrap();
        let pem = document.to_pem("ENCRYPTED PRIVATE KEY", LineEnding::LF);
        pem.unwrap().to_string()
    }

    fn load(certificates: &Path, key: &Path, passphrase: &str) -> Result<Certificate, String> {
        let passphrase = Secret::new(passphrase);
        Certificate::load(certificates.to_owned(), key.to_owned(), passphrase)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn keys_may_be_encrypted() {
        let folder = Folder::new();
        let (key, certificate) = pair();
        let certificates = folder.write("cert.pem", &certificate);
        let plain = folder.write("key.pem", &key.serialize_pem());
        load(&certificates, &plain, "").unwrap();
        load(&certificates, &plain, "of no use").unwrap();
        let secret = folder.write("secret.pem", &encrypted(&key, "hunter2"));
        load(&certificates, &secret, "hunter2").unwrap();
        let wrong = load(&certificates, &secret, "hunter3").unwrap_err();
        assert!(
            wrong.starts_with("HTTPS_KEYFILE_PASS: cannot decrypt "),
            "{wrong}"
        );
        let none = load(&certificates, &secret, "").unwrap_err();
        assert!(
            none.ends_with("is encrypted; set HTTPS_KEYFILE_PASS"),
            "{none}"
        );
        for message in [wrong, none] {
            assert!(!message.contains("hunter"), "{message}");
        }
    }

    #[test]
    fn what_is_of_no_use_is_told_with_its_setting_and_file() {
        let folder = Folder::new();
        let (key, certificate) = pair();
        let certificates = folder.write("cert.pem", &certificate);
        let key = folder.write("key.pem", &key.serialize_pem());
        let (other, _) = pair();
        let other = folder.write("other.pem", &other.serialize_pem());
        let empty = folder.write("empty.pem", "");
        let broken = folder.write("broken.pem", "-----BEGIN CERTIFICATE-----\nAA");
        let junk = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let junk = folder.write("junk.pem", junk);
        let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END RSA PRIVATE KEY-----";
        let old = folder.write("old.pem", old);
        let missing = folder.0.join("missing.pem");
        for (certificates, key, parts) in [
            (
                &missing,
                &key,
                ["HTTPS_CERTFILE", "missing.pem: No such file"],
            ),
            (
                &certificates,
                &missing,
                ["HTTPS_KEYFILE", "missing.pem: No such file"],
            ),
            (
                &empty,
                &key,
                ["HTTPS_CERTFILE", "empty.pem has no certificate"],
            ),
            (
                &certificates,
                &empty,
                ["HTTPS_KEYFILE", "empty.pem has no private key"],
            ),
            (
                &certificates,
                &certificates,
                ["HTTPS_KEYFILE", "has no private key"],
            ),
            (&broken, &key, ["HTTPS_CERTFILE", "broken.pem is not PEM"]),
            (&junk, &key, ["HTTPS_CERTFILE", "junk.pem"]),
            (
                &certificates,
                &old,
                ["HTTPS_KEYFILE", "openssl pkcs8 -topk8"],
            ),
            (&certificates, &other, ["other.pem", "KeyMismatch"]),
        ] {
            let message = load(certificates, key, "").unwrap_err();
            assert!(parts.iter().all(|part| message.contains(part)), "{message}");
            assert_eq!(message.lines().count(), 1, "{message}");
        }
    }

    #[test]
    fn changed_files_are_taken_once_they_belong_together() {
        let folder = Folder::new();
        let (key, certificate) = pair();
        let certificates = folder.write("cert.pem", &certificate);
        let key = folder.write("key.pem", &key.serialize_pem());
        let loaded = load(&certificates, &key, "").unwrap();
        let shown = || loaded.shown.read().cert.clone();
        let before = shown();
        loaded.reload_if_changed();
        assert_eq!(shown(), before);
        let (new_key, new_certificate) = pair();
        folder.write("cert.pem", &new_certificate);
        loaded.reload_if_changed();
        assert_eq!(shown(), before, "the key is still the old one");
        std::fs::remove_file(&key).unwrap();
        loaded.reload_if_changed();
        assert_eq!(shown(), before);
        folder.write("key.pem", &new_key.serialize_pem());
        loaded.reload_if_changed();
        assert_ne!(shown(), before);
    }
}
