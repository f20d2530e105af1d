//! Requirements for client certificates: the five policies of Go's crypto/tls and exporter-toolkit's list of names.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::x509::X509Version;

use super::certificate;

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
        let trusted = if self.auth_type.verifies() { Some(self.trusted(provider)?) } else { None };
        Ok(Some(Arc::new(PolicyVerifier {
            mandatory: self.auth_type.is_mandatory(),
            trusted,
            allowed_names: self.allowed_names.clone(),
            provider: Arc::clone(provider),
        })))
    }

    fn trusted(&self, provider: &Arc<CryptoProvider>) -> Result<Trusted, String> {
        let unusable = || "contains a certificate that cannot be used as a client CA; renew it".to_owned();
        let mut roots = RootCertStore::empty();
        let mut subjects = Vec::new();
        for authority in &self.authorities {
            let parsed = certificate::parse(authority).map_err(|_| unusable())?;
            subjects.push(DistinguishedName::from(parsed.subject().as_raw().to_vec()));
            if certificate::may_issue(&parsed) {
                roots.add(authority.clone()).map_err(|_| unusable())?;
            }
        }
        let issuers = if roots.is_empty() {
            None
        } else {
            let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
            Some(builder.build().map_err(|error| format!("cannot be used as a client CA: {error}"))?)
        };
        Ok(Trusted { listed: self.authorities.clone(), issuers, subjects })
    }
}

/// What `client_ca_file` contains.
#[derive(Debug)]
struct Trusted {
    /// All certificates. As in Go, a client may show one of them as its own.
    listed: Vec<CertificateDer<'static>>,
    /// Verifies what those of them have issued that may.
    issuers: Option<Arc<dyn ClientCertVerifier>>,
    /// Tells clients which certificates to show.
    subjects: Vec<DistinguishedName>,
}

impl Trusted {
    fn verify(
        &self,
        shown: &CertificateDer<'_>,
        parsed: &X509Certificate<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        if self.listed.iter().any(|listed| listed.as_ref() == shown.as_ref()) {
            return certificate::check_client(parsed, now);
        }
        if parsed.version() == X509Version::V1 || parsed.is_ca() {
            certificate::check_client(parsed, now)?;
            return certificate::check_chain(parsed, intermediates, &self.listed, now);
        }
        let issuers = self.issuers.as_ref().ok_or(CertificateError::UnknownIssuer)?;
        issuers.verify_client_cert(shown, intermediates, now).map(|_| ())
    }
}

#[derive(Debug)]
struct PolicyVerifier {
    mandatory: bool,
    trusted: Option<Trusted>,
    allowed_names: Option<BTreeSet<String>>,
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for PolicyVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.trusted.as_ref().map_or(&[], |trusted| &trusted.subjects)
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let parsed = certificate::parse(end_entity)?;
        if let Some(trusted) = &self.trusted {
            trusted.verify(end_entity, &parsed, intermediates, now)?;
        }
        if let Some(allowed) = &self.allowed_names
            && alternative_names(&parsed)?.is_disjoint(allowed)
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

/// The names of the certificate as exporter-toolkit compares them: exact strings, IP addresses as Go formats them.
fn alternative_names(certificate: &X509Certificate<'_>) -> Result<BTreeSet<String>, Error> {
    let extension = certificate.subject_alternative_name();
    let Some(extension) = extension.map_err(|_| Error::from(CertificateError::BadEncoding))? else {
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
        let parsed = certificate::parse(certificate.der()).expect("certificate");
        let names = alternative_names(&parsed).expect("names");
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
