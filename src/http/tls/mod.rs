//! TLS with rustls: from PEM text and the names of exporter-toolkit to a `ServerConfig`.
//!
//! Errors are texts that tell the reason and the remedy, never a byte of a key or certificate; the caller knows the
//! file, the line and the key. Reads no file.

pub mod client_certificate;
pub mod server_certificate;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::crypto::ring as backend;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{Error, InconsistentKeys, ServerConfig, SignatureAlgorithm, SupportedCipherSuite};
use rustls::{SupportedProtocolVersion, version};

use client_certificate::ClientPolicy;

/// What a server speaks and how it proves itself.
#[derive(Debug)]
pub struct TlsSettings {
    /// Certificate chain and key that belong together.
    pub identity: Arc<CertifiedKey>,
    /// What is asked of clients.
    pub client: ClientPolicy,
    /// Oldest and newest version: 12 or 13.
    pub versions: (TlsVersion, TlsVersion),
    /// TLS 1.2 suites, in order of preference; all that rustls has where `None`. Those of TLS 1.3 are always on, as
    /// in Go.
    pub suites: Option<Vec<SupportedCipherSuite>>,
    /// Key exchange groups, in order of preference; all that rustls has where `None`.
    pub curves: Option<Vec<&'static dyn rustls::crypto::SupportedKxGroup>>,
    /// Whether the server's order of suites wins over the client's.
    pub prefer_server_order: bool,
    /// Whether HTTP/2 is offered by ALPN.
    pub http2: bool,
}

/// A version that rustls has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// `TLS12`
    Tls12,
    /// `TLS13`
    Tls13,
}

/// Builds the server's side of TLS.
pub fn server_config(settings: &TlsSettings) -> Result<ServerConfig, String> {
    let provider = Arc::new(provider(settings)?);
    let versions: Vec<&'static SupportedProtocolVersion> =
        [(TlsVersion::Tls12, &version::TLS12), (TlsVersion::Tls13, &version::TLS13)]
            .into_iter()
            .filter(|(version, _)| (settings.versions.0..=settings.versions.1).contains(version))
            .map(|(_, version)| version)
            .collect();
    let verifier = settings.client.verifier(&provider)?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions)
        .map_err(|error| format!("these versions, suites and curves do not go together: {error}"))?;
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let identity = SingleCertAndKey::from(Arc::clone(&settings.identity));
    let mut config = builder.with_cert_resolver(Arc::new(identity));
    config.ignore_client_order = settings.prefer_server_order;
    config.alpn_protocols =
        if settings.http2 { vec![b"h2".to_vec(), b"http/1.1".to_vec()] } else { vec![b"http/1.1".to_vec()] };
    Ok(config)
}

fn provider(settings: &TlsSettings) -> Result<CryptoProvider, String> {
    let mut provider = backend::default_provider();
    if let Some(wanted) = &settings.suites {
        let newest = provider.cipher_suites.iter().filter(|suite| suite.tls13().is_some()).copied();
        let older = wanted.iter().filter(|suite| suite.tls13().is_none()).copied();
        provider.cipher_suites = newest.chain(older).collect();
    }
    if settings.versions.1 == TlsVersion::Tls12 {
        let algorithm = settings.identity.key.algorithm();
        // Ed25519 keys use the ECDSA suites in TLS 1.2 (RFC 8422).
        let fits = |suite: &SupportedCipherSuite| match algorithm {
            SignatureAlgorithm::ED25519 => suite.usable_for_signature_algorithm(SignatureAlgorithm::ECDSA),
            other => suite.usable_for_signature_algorithm(other),
        };
        if !provider.cipher_suites.iter().any(|suite| suite.tls13().is_none() && fits(suite)) {
            return Err(format!(
                "no TLS 1.2 suite of this list fits the {algorithm:?} key; add one that does or allow TLS13"
            ));
        }
    }
    if let Some(curves) = &settings.curves {
        provider.kx_groups.clone_from(curves);
    }
    Ok(provider)
}

/// Reads the certificates of a PEM text, at least one.
pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|_| "holds broken PEM; write it out again, whole lines from BEGIN to END".to_owned())?;
    if certificates.is_empty() {
        return Err("holds no certificate; a PEM block -----BEGIN CERTIFICATE----- is expected".to_owned());
    }
    for certificate in &certificates {
        x509_parser::parse_x509_certificate(certificate)
            .map_err(|_| "holds a certificate that cannot be read; write it out again".to_owned())?;
    }
    Ok(certificates)
}

/// Reads the private key of a PEM text (PKCS#8, PKCS#1 or SEC1).
pub fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    if memory_contains(pem, b"ENCRYPTED") {
        return Err(
            "holds an encrypted private key, which cannot be unlocked; decrypt it with openssl pkey \
                    and guard it by file permissions"
                .to_owned(),
        );
    }
    PrivateKeyDer::from_pem_slice(pem)
        .map_err(|_| "holds no private key; a PEM block -----BEGIN PRIVATE KEY----- is expected".to_owned())
}

fn memory_contains(text: &[u8], wanted: &[u8]) -> bool {
    text.windows(wanted.len()).any(|window| window == wanted)
}

/// Joins a certificate chain with its key.
pub fn identity(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<CertifiedKey>, String> {
    match CertifiedKey::from_der(chain, key, &backend::default_provider()) {
        Ok(identity) => Ok(Arc::new(identity)),
        Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => Err(
            "does not belong to the certificate (the first of the chain); name the two that were made together"
                .to_owned(),
        ),
        Err(Error::InvalidCertificate(_)) => {
            Err("goes with a certificate that no server can use; make one of X.509 version 3".to_owned())
        }
        Err(_) => Err("holds a key of a kind that cannot be used; RSA of 2048 to 8192 bits, ECDSA on P-256 \
                       or P-384 and Ed25519 can"
            .to_owned()),
    }
}

/// Finds a version by the toolkit's name.
pub fn tls_version(name: &str) -> Result<TlsVersion, String> {
    match name {
        "TLS12" => Ok(TlsVersion::Tls12),
        "TLS13" => Ok(TlsVersion::Tls13),
        "TLS10" | "TLS11" => Err(format!(
            "{name:?} is not supported: this TLS library leaves out versions before 1.2 as insecure \
                         (RFC 8996); write TLS12 or TLS13"
        )),
        _ => Err(format!("{name:?} is no TLS version; write TLS12 or TLS13")),
    }
}

/// Finds a suite by the name that Go gives it.
pub fn cipher_suite(name: &str) -> Result<SupportedCipherSuite, String> {
    let found = backend::ALL_CIPHER_SUITES.iter().find(|suite| go_name(suite) == name);
    if let Some(suite) = found {
        return Ok(*suite);
    }
    let reason = if name.contains("_CBC_") {
        "is not supported: this TLS library leaves out CBC suites as unsafe"
    } else if name.starts_with("TLS_RSA_") || name.contains("_RC4_") || name.contains("_3DES_") {
        "is not supported: this TLS library leaves out suites without forward secrecy or with weak ciphers"
    } else {
        "is no cipher suite that this TLS library has"
    };
    let names: Vec<_> = backend::ALL_CIPHER_SUITES.iter().map(go_name).collect();
    Err(format!("{name:?} {reason}; remove it or choose from {}", names.join(", ")))
}

/// rustls writes TLS13_AES_128_GCM_SHA256 where Go (and IANA) write TLS_AES_128_GCM_SHA256.
fn go_name(suite: &SupportedCipherSuite) -> String {
    let name = suite.suite().as_str().unwrap_or_default();
    name.strip_prefix("TLS13_").map_or_else(|| name.to_owned(), |rest| format!("TLS_{rest}"))
}

/// Finds a key exchange group by the name that Go gives its curve.
pub fn curve(name: &str) -> Result<&'static dyn rustls::crypto::SupportedKxGroup, String> {
    match name {
        "X25519" => Ok(backend::kx_group::X25519),
        "CurveP256" => Ok(backend::kx_group::SECP256R1),
        "CurveP384" => Ok(backend::kx_group::SECP384R1),
        "CurveP521" => {
            Err("\"CurveP521\" is not supported by this TLS library; remove it or choose from X25519, \
                            CurveP256, CurveP384"
                .to_owned())
        }
        _ => Err(format!("{name:?} is no curve; choose from X25519, CurveP256, CurveP384")),
    }
}

#[cfg(test)]
mod tests;
