//! Requirements for client certificates: the five policies of Go's crypto/tls and exporter-toolkit's list of names.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
};
use x509_parser::extensions::GeneralName;

/// `client_auth_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClientAuthType {
    /// No certificate is requested.
    #[default]
    NoClientCert,
    /// A certificate is requested but optional and not verified.
    RequestClientCert,
    /// A certificate is required but not verified. Proves possession of a key, not the identity of the client.
    RequireAnyClientCert,
    /// A certificate is optional, but must be issued by the client CA.
    VerifyClientCertIfGiven,
    /// A certificate issued by the client CA is required.
    RequireAndVerifyClientCert,
}

impl ClientAuthType {
    /// Parses the toolkit's name. `RequireClientCert` is the older name of `RequireAnyClientCert`.
    pub fn parse(name: &str) -> Result<Self, String> {
        match name {
            "NoClientCert" => Ok(Self::NoClientCert),
            "RequestClientCert" => Ok(Self::RequestClientCert),
            "RequireAnyClientCert" | "RequireClientCert" => Ok(Self::RequireAnyClientCert),
            "VerifyClientCertIfGiven" => Ok(Self::VerifyClientCertIfGiven),
            "RequireAndVerifyClientCert" => Ok(Self::RequireAndVerifyClientCert),
            _ => Err(format!(
                "{name:?} is not a client authentication type; use one of NoClientCert, RequestClientCert, \
                 RequireAnyClientCert, VerifyClientCertIfGiven, RequireAndVerifyClientCert"
            )),
        }
    }

    /// Whether a client without a certificate is rejected.
    #[must_use]
    pub fn is_mandatory(self) -> bool {
        matches!(self, Self::RequireAnyClientCert | Self::RequireAndVerifyClientCert)
    }

    /// Whether certificates are verified against the client CA.
    #[must_use]
    pub fn verifies(self) -> bool {
        matches!(self, Self::VerifyClientCertIfGiven | Self::RequireAndVerifyClientCert)
    }
}

/// The requirements for client certificates.
#[derive(Debug, Clone, Default)]
pub struct ClientPolicy {
    /// Whether a certificate is requested and verified.
    pub auth_type: ClientAuthType,
    /// The accepted issuers. Used by the policies that verify.
    pub authorities: Vec<CertificateDer<'static>>,
    /// If set, the certificate must contain one of these as a DNS, email, IP or URI name.
    pub allowed_names: Option<BTreeSet<String>>,
}

impl ClientPolicy {
    /// Checks whether the authorities can be used.
    pub fn check(&self) -> Result<(), String> {
        self.verifier(&Arc::new(rustls::crypto::ring::default_provider())).map(|_| ())
    }

    /// The verifier for rustls; `None` if no certificate is requested.
    pub(super) fn verifier(
        &self,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Option<Arc<dyn ClientCertVerifier>>, String> {
        if self.auth_type == ClientAuthType::NoClientCert {
            return Ok(None);
        }
        let issued_by = if self.auth_type.verifies() { Some(self.chain_verifier(provider)?) } else { None };
        Ok(Some(Arc::new(PolicyVerifier {
            mandatory: self.auth_type.is_mandatory(),
            issued_by,
            allowed_names: self.allowed_names.clone(),
            provider: Arc::clone(provider),
        })))
    }

    fn chain_verifier(&self, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>, String> {
        let mut roots = RootCertStore::empty();
        for authority in &self.authorities {
            roots.add(authority.clone()).map_err(|_| {
                "contains a certificate that cannot be used as a client CA; renew it".to_owned()
            })?;
        }
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
            .build()
            .map_err(|error| format!("cannot be used as a client CA: {error}"))
    }
}

#[derive(Debug)]
struct PolicyVerifier {
    mandatory: bool,
    issued_by: Option<Arc<dyn ClientCertVerifier>>,
    allowed_names: Option<BTreeSet<String>>,
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for PolicyVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.issued_by.as_ref().map_or(&[], |verifier| verifier.root_hint_subjects())
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if let Some(verifier) = &self.issued_by {
            verifier.verify_client_cert(end_entity, intermediates, now)?;
        }
        if let Some(allowed) = &self.allowed_names
            && alternative_names(end_entity)?.is_disjoint(allowed)
        {
            return Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure));
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// The names of the certificate as exporter-toolkit compares them: exact strings, IP addresses as Go formats them.
fn alternative_names(certificate: &CertificateDer<'_>) -> Result<BTreeSet<String>, Error> {
    let broken = || Error::InvalidCertificate(CertificateError::BadEncoding);
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).map_err(|_| broken())?;
    let Some(extension) = certificate.subject_alternative_name().map_err(|_| broken())? else {
        return Ok(BTreeSet::new());
    };
    Ok(extension.value.general_names.iter().filter_map(name_text).collect())
}

fn name_text(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(text) | GeneralName::RFC822Name(text) | GeneralName::URI(text) => {
            Some((*text).to_owned())
        }
        GeneralName::IPAddress(octets) => address(octets).map(|address| address.to_string()),
        _ => None,
    }
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    let v4 = || <[u8; 4]>::try_from(octets).map(|octets| IpAddr::V4(Ipv4Addr::from(octets)));
    let v6 = || <[u8; 16]>::try_from(octets).map(|octets| IpAddr::V6(Ipv6Addr::from(octets)).to_canonical());
    v4().or_else(|_| v6()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_kinds_of_names_are_read() {
        let key = rcgen::KeyPair::generate().expect("key");
        let mut params =
            rcgen::CertificateParams::new(vec!["scraper.example".to_owned(), "192.0.2.7".to_owned()])
                .expect("parameters");
        let text = |text: &str| text.try_into().expect("ascii");
        params.subject_alt_names.push(rcgen::SanType::Rfc822Name(text("dba@example.org")));
        params.subject_alt_names.push(rcgen::SanType::URI(text("spiffe://example.org/scraper")));
        params.subject_alt_names.push(rcgen::SanType::IpAddress("2001:db8::7".parse().expect("address")));
        let certificate = params.self_signed(&key).expect("certificate");
        let names = alternative_names(certificate.der()).expect("names");
        let expected = [
            "192.0.2.7",
            "2001:db8::7",
            "dba@example.org",
            "scraper.example",
            "spiffe://example.org/scraper",
        ];
        assert_eq!(names, expected.map(str::to_owned).into());
    }

    #[test]
    fn policies_are_named_as_in_go() {
        assert_eq!(ClientAuthType::parse("RequireClientCert"), Ok(ClientAuthType::RequireAnyClientCert));
        assert_eq!(ClientAuthType::parse("NoClientCert"), Ok(ClientAuthType::default()));
        assert!(
            ClientAuthType::parse("require").expect_err("refused").contains("RequireAndVerifyClientCert")
        );
    }
}
