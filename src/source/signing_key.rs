//! The private key that signs records.

use std::fmt::{self, Debug, Formatter};
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PublicKeyData as _, SigningKey as _};
use thiserror::Error;

use crate::files;
use crate::state::proofs::envelope;

/// Bytes of a file with a key.
const LARGEST: u64 = 64 << 10;
/// Reading, writing and executing by everybody, and writing by the group. The volumes of pods give the group the right to read.
const TOO_OPEN: u32 = 0o027;

/// A key of a supported type.
pub struct SigningKey {
    pair: KeyPair,
    id: String,
}

/// Why a key cannot be used.
#[derive(Debug, Error)]
#[error("cannot use the signing key {}: {why}", .path.display())]
pub struct KeyFileError {
    path: PathBuf,
    why: Why,
}

#[derive(Debug, Error)]
enum Why {
    #[error("{0}")]
    File(#[from] io::Error),
    #[error("it is larger than {LARGEST} bytes")]
    TooLarge,
    #[error("others than its owner and its group can access it, or its group can write to it; use chmod 600")]
    TooOpen,
    #[error(
        "it is encrypted, which is not supported; decrypt it with openssl pkey, and protect it with permissions of the file"
    )]
    Encrypted,
    #[error(
        "it is not a private key in PEM (PKCS#8) of type Ed25519 or ECDSA with P-256; create one with openssl genpkey -algorithm ed25519"
    )]
    Unsupported,
    #[error("it contains several private keys")]
    Several,
    #[error("it cannot sign")]
    CannotSign,
}

impl SigningKey {
    pub fn read(path: &Path) -> Result<Self, KeyFileError> {
        Self::load(path).map_err(|why| KeyFileError { path: path.to_owned(), why })
    }

    fn load(path: &Path) -> Result<Self, Why> {
        let file = files::open(path)?;
        if file.metadata()?.permissions().mode() & TOO_OPEN != 0 {
            return Err(Why::TooOpen);
        }
        let mut pem = Vec::new();
        file.take(LARGEST + 1).read_to_end(&mut pem)?;
        if pem.len() as u64 > LARGEST {
            return Err(Why::TooLarge);
        }
        let pem = String::from_utf8(pem).map_err(|_| Why::Unsupported)?;
        if pem.contains("ENCRYPTED") {
            return Err(Why::Encrypted);
        }
        let begins = |line: &&str| line.starts_with("-----BEGIN ") && line.contains("PRIVATE KEY");
        if pem.lines().filter(begins).count() > 1 {
            return Err(Why::Several);
        }
        let pair = KeyPair::from_pem(&pem).map_err(|_| Why::Unsupported)?;
        if !pair.is_compatible(&PKCS_ED25519) && !pair.is_compatible(&PKCS_ECDSA_P256_SHA256) {
            return Err(Why::Unsupported);
        }
        let id = envelope::key_id(&pair.subject_public_key_info());
        let key = Self { pair, id };
        // A key that cannot sign must not be noticed only at the end of a long test.
        key.sign(b"").map_err(|_| Why::CannotSign)?;
        Ok(key)
    }

    /// As [`envelope::PublicKey::id`].
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Signs the record.
    pub fn sign(&self, record: &[u8]) -> io::Result<Vec<u8>> {
        self.pair.sign(&envelope::to_sign(record)).map_err(|_| io::Error::other("cannot sign the record"))
    }

    /// The record in an envelope.
    pub fn seal(&self, record: &str) -> io::Result<String> {
        Ok(envelope::seal(record, &self.id, &self.sign(record.as_bytes())?)?)
    }
}

impl Debug for SigningKey {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        write!(out, "SigningKey({})", self.id)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};

    use rcgen::{PKCS_ECDSA_P384_SHA384, SignatureAlgorithm};

    use super::*;
    use crate::state::proofs::envelope::PublicKey;

    fn write(path: &Path, algorithm: &'static SignatureAlgorithm) -> KeyPair {
        let pair = KeyPair::generate_for(algorithm).unwrap();
        fs::write(path, pair.serialize_pem()).unwrap();
        fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
        pair
    }

    #[test]
    fn what_a_key_signs_its_public_key_verifies() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key.pem");
        let mut others: Vec<PublicKey> = Vec::new();
        for algorithm in [&PKCS_ED25519, &PKCS_ECDSA_P256_SHA256] {
            let pair = write(&path, algorithm);
            let key = SigningKey::read(&path).unwrap();
            let public = PublicKey::all(pair.public_key_pem().as_bytes()).unwrap().remove(0);
            assert_eq!(key.id(), public.id());
            let sealed = key.seal("{}").unwrap();
            let opened = envelope::open(sealed.as_bytes()).unwrap();
            let signature = &opened.signatures[0];
            assert_eq!(signature.key, key.id());
            assert!(public.verifies(b"{}", &signature.bytes) && !public.verifies(b"{ }", &signature.bytes));
            assert!(others.iter().all(|other| !other.verifies(b"{}", &signature.bytes)));
            let said = format!("{key:?}");
            assert!(said.len() < 90, "{said}");
            others.push(public);
        }
    }

    #[test]
    fn keys_that_cannot_be_used_are_refused_with_the_reason() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key.pem");
        let refused = || SigningKey::read(&path).unwrap_err().to_string();
        assert!(refused().contains("No such file"));
        write(&path, &PKCS_ECDSA_P384_SHA384);
        assert!(refused().contains("openssl genpkey"));
        write(&path, &PKCS_ED25519);
        for (mode, is_usable) in
            [(0o400, true), (0o440, true), (0o460, false), (0o604, false), (0o601, false)]
        {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            assert_eq!(SigningKey::read(&path).is_ok(), is_usable, "{mode:o}");
        }
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let twice = fs::read_to_string(&path).unwrap().repeat(2);
        for (text, why) in [
            (&*twice, "several private keys"),
            ("-----BEGIN ENCRYPTED PRIVATE KEY-----\n", "it is encrypted"),
            ("secret", "openssl genpkey"),
            (&"x".repeat(70_000), "larger than"),
        ] {
            fs::write(&path, text).unwrap();
            let said = refused();
            assert!(said.contains(why) && !said.contains("secret"), "{said}");
        }
        fs::remove_file(&path).unwrap();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(refused().contains("not a regular file"));
    }
}
