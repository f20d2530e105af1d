//! TLS with rustls: from PEM text and the names of exporter-toolkit to a `ServerConfig`.
//!
//! Errors contain the reason and the remedy, but never any part of a key or certificate; the caller adds file, line and
//! key. Reads no files.

mod certificate;
pub mod client_certificate;
pub mod server_certificate;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::crypto::ring as backend;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ServerConfig, SignatureAlgorithm, SupportedCipherSuite};
use rustls::{SupportedProtocolVersion, version};

use client_certificate::ClientPolicy;

/// The TLS settings of a server.
#[derive(Debug)]
pub struct TlsSettings {
    /// Certificate chain and matching key.
    pub identity: Arc<CertifiedKey>,
    /// The requirements for client certificates.
    pub client: ClientPolicy,
    /// Oldest and newest version: 12 or 13.
    pub versions: (TlsVersion, TlsVersion),
    /// TLS 1.2 suites, in order of preference; `None` means all of rustls. Those of TLS 1.3 are always on, as in Go.
    pub suites: Option<Vec<SupportedCipherSuite>>,
    /// Key exchange groups, in order of preference; `None` means all of rustls.
    pub curves: Option<Vec<&'static dyn rustls::crypto::SupportedKxGroup>>,
    /// Whether the server's order of suites takes precedence over the client's.
    pub prefer_server_order: bool,
    /// Whether HTTP/2 is offered by ALPN.
    pub http2: bool,
}

/// A version supported by rustls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// `TLS12`
    Tls12,
    /// `TLS13`
    Tls13,
}

/// Builds the TLS configuration of the server.
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
        .map_err(|error| format!("these versions, cipher suites and curves cannot be combined: {error}"))?;
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
                "no TLS 1.2 suite in this list supports the {algorithm:?} key; add one that does, or allow TLS13"
            ));
        }
    }
    if let Some(curves) = &settings.curves {
        provider.kx_groups.clone_from(curves);
    }
    Ok(provider)
}

/// Parses the certificates of a PEM text, at least one.
pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Vec<_> =
        CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|_| {
            "contains invalid PEM; export it again, with complete lines from BEGIN to END".to_owned()
        })?;
    if certificates.is_empty() {
        return Err("contains no certificate; expected a PEM block -----BEGIN CERTIFICATE-----".to_owned());
    }
    for certificate in &certificates {
        x509_parser::parse_x509_certificate(certificate)
            .map_err(|_| "contains an unreadable certificate; export it again".to_owned())?;
    }
    Ok(certificates)
}

/// Parses the private key of a PEM text (PKCS#8, PKCS#1 or SEC1).
pub fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    if memory_contains(pem, b"ENCRYPTED") {
        return Err(
            "contains an encrypted private key, which is not supported; decrypt it with openssl pkey and protect it \
             with file permissions"
                .to_owned(),
        );
    }
    PrivateKeyDer::from_pem_slice(pem)
        .map_err(|_| "contains no private key; expected a PEM block -----BEGIN PRIVATE KEY-----".to_owned())
}

fn memory_contains(text: &[u8], wanted: &[u8]) -> bool {
    text.windows(wanted.len()).any(|window| window == wanted)
}

/// Combines a certificate chain with its key.
pub fn identity(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<CertifiedKey>, String> {
    let unsupported = "contains an unsupported type of key; use RSA with 2048 to 8192 bits, ECDSA with P-256 or P-384, \
                       or Ed25519";
    let key =
        backend::default_provider().key_provider.load_private_key(key).map_err(|_| unsupported.to_owned())?;
    let certificate = chain.first().and_then(|certificate| certificate::parse(certificate).ok());
    let public_key = certificate.map(|certificate| certificate.public_key().raw.to_vec());
    // Not `CertifiedKey::from_der`, which refuses certificates of version 1.
    if key.public_key().is_some_and(|own| Some(own.as_ref()) != public_key.as_deref()) {
        return Err(
            "does not match the certificate (the first of the chain); use the key of that certificate"
                .to_owned(),
        );
    }
    Ok(Arc::new(CertifiedKey::new(chain, key)))
}

/// Finds a version by the toolkit's name.
pub fn tls_version(name: &str) -> Result<TlsVersion, String> {
    match name {
        "TLS12" => Ok(TlsVersion::Tls12),
        "TLS13" => Ok(TlsVersion::Tls13),
        "TLS10" | "TLS11" => Err(format!(
            "{name:?} is not supported: versions before 1.2 are insecure (RFC 8996); use TLS12 or TLS13"
        )),
        _ => Err(format!("{name:?} is not a TLS version; use TLS12 or TLS13")),
    }
}

/// Finds a suite by its name in Go.
pub fn cipher_suite(name: &str) -> Result<SupportedCipherSuite, String> {
    let found = backend::ALL_CIPHER_SUITES.iter().find(|suite| go_name(suite) == name);
    if let Some(suite) = found {
        return Ok(*suite);
    }
    let reason = if name.contains("_CBC_") {
        "is not supported: this TLS library omits CBC suites as insecure"
    } else if name.starts_with("TLS_RSA_") || name.contains("_RC4_") || name.contains("_3DES_") {
        "is not supported: this TLS library omits suites with weak ciphers or without forward secrecy"
    } else {
        "is not a cipher suite of this TLS library"
    };
    let names: Vec<_> = backend::ALL_CIPHER_SUITES.iter().map(go_name).collect();
    Err(format!("{name:?} {reason}; remove it or use one of {}", names.join(", ")))
}

/// The name is TLS13_AES_128_GCM_SHA256 in rustls, but TLS_AES_128_GCM_SHA256 in Go (and at IANA).
fn go_name(suite: &SupportedCipherSuite) -> String {
    let name = suite.suite().as_str().unwrap_or_default();
    name.strip_prefix("TLS13_").map_or_else(|| name.to_owned(), |rest| format!("TLS_{rest}"))
}

/// Finds a key exchange group by the name of its curve in Go.
pub fn curve(name: &str) -> Result<&'static dyn rustls::crypto::SupportedKxGroup, String> {
    match name {
        "X25519" => Ok(backend::kx_group::X25519),
        "CurveP256" => Ok(backend::kx_group::SECP256R1),
        "CurveP384" => Ok(backend::kx_group::SECP384R1),
        "CurveP521" => {
            Err("\"CurveP521\" is not supported by this TLS library; remove it or use one of X25519, \
                            CurveP256, CurveP384"
                .to_owned())
        }
        _ => Err(format!("{name:?} is not a curve; use one of X25519, CurveP256, CurveP384")),
    }
}

#[cfg(test)]
mod tests;
