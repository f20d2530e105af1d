//! The client side where certificates are not verified as usual: to check our own server, and where the user does not want it.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, ring as backend};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::certificate;

/// Creates a client that trusts the first certificate of `chain`, or one issued by the others in `chain`.
///
/// Names are not verified: the server is queried by a local address, which its certificate need not contain. Nor is the
/// expiry of the trusted certificate itself, because a server with an expired certificate is still alive. `own` is the
/// client's certificate and key as PEM.
pub fn client_config(
    chain: &[CertificateDer<'static>],
    own: Option<(&[u8], &[u8])>,
) -> Result<ClientConfig, String> {
    let provider = Arc::new(backend::default_provider());
    let mut issuers = RootCertStore::empty();
    for issuer in chain.iter().skip(1) {
        issuers
            .add(issuer.clone())
            .map_err(|error| format!("cannot use the server's certificate chain: {error}"))?;
    }
    let trust = Trust::Chain { certificate: chain.first().cloned(), issuers };
    let verifier = Verifier { trust, provider: Arc::clone(&provider) };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    match own {
        None => Ok(builder.with_no_client_auth()),
        Some((certificate, key)) => {
            let (chain, key) = (super::certificates(certificate)?, super::private_key(key)?);
            builder.with_client_auth_cert(chain, key).map_err(|error| format!("they do not match: {error}"))
        }
    }
}

/// Trusts everybody who has the key of their certificate.
#[must_use]
pub fn unverified(provider: Arc<CryptoProvider>) -> Arc<dyn ServerCertVerifier> {
    Arc::new(Verifier { trust: Trust::Everybody, provider })
}

/// Verifies signatures of handshakes, and certificates as far as it has to.
#[derive(Debug)]
struct Verifier {
    trust: Trust,
    provider: Arc<CryptoProvider>,
}

#[derive(Debug)]
enum Trust {
    Everybody,
    /// This certificate, and those by these issuers.
    Chain {
        certificate: Option<CertificateDer<'static>>,
        issuers: RootCertStore,
    },
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Trust::Chain { certificate, issuers } = &self.trust else {
            return Ok(ServerCertVerified::assertion());
        };
        if certificate.as_ref().is_some_and(|trusted| trusted.as_ref() == end_entity.as_ref()) {
            return Ok(ServerCertVerified::assertion());
        }
        if issuers.is_empty() {
            return Err(Error::InvalidCertificate(CertificateError::UnknownIssuer));
        }
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&certificate, issuers, intermediates, now, algorithms)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        certificate::verify_tls12(message, certificate, signature, &self.provider)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        certificate::verify_tls13(message, certificate, signature, &self.provider)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
