//! Certificates that Go's crypto/tls accepts and rustls does not parse: those of X.509 version 1, which
//! `openssl x509 -req` makes without a file of extensions, and those of CAs that a client shows as its own.

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, PeerMisbehaved};
use webpki::RawPublicKeyEntity;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;
use x509_parser::oid_registry::{OID_PKCS1_SHA1WITHRSA, OID_SHA1_WITH_RSA};
use x509_parser::time::ASN1Time;
use x509_parser::x509::X509Version;

/// More certificates than a client needs between its own and a CA.
const LONGEST_CHAIN: usize = 8;

/// Parses a certificate of any version.
pub(super) fn parse<'a>(certificate: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, Error> {
    match x509_parser::parse_x509_certificate(certificate) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(CertificateError::BadEncoding.into()),
    }
}

/// Whether the certificate may issue others, by what it says of itself. Version 1 does not say; as in Go, such a
/// certificate may if it is listed as a CA.
pub(super) fn may_issue(certificate: &X509Certificate<'_>) -> bool {
    let signs = match certificate.key_usage() {
        Ok(usage) => usage.is_none_or(|usage| usage.value.key_cert_sign()),
        Err(_) => false,
    };
    certificate.version() == X509Version::V1 || (certificate.is_ca() && signs)
}

/// Whether a client may show this certificate now, whoever issued it.
pub(super) fn check_client(certificate: &X509Certificate<'_>, now: UnixTime) -> Result<(), Error> {
    check_time(certificate, now)?;
    if has_unknown_critical_extension(certificate) {
        return Err(CertificateError::UnhandledCriticalExtension.into());
    }
    match certificate.extended_key_usage() {
        Ok(None) => Ok(()),
        Ok(Some(usage)) if usage.value.any || usage.value.client_auth => Ok(()),
        Ok(Some(_)) => Err(CertificateError::InvalidPurpose.into()),
        Err(_) => Err(CertificateError::BadEncoding.into()),
    }
}

/// Whether a chain of signatures leads from the certificate to one of the listed ones.
pub(super) fn check_chain(
    certificate: &X509Certificate<'_>,
    intermediates: &[CertificateDer<'_>],
    listed: &[CertificateDer<'_>],
    now: UnixTime,
) -> Result<(), Error> {
    let (listed, intermediates) = (parse_all(listed), parse_all(intermediates));
    let mut issued = certificate;
    for below in 0..LONGEST_CHAIN {
        if listed.iter().any(|issuer| has_issued(issuer, issued, below, now)) {
            return Ok(());
        }
        let between = |one: &&X509Certificate<'_>| one.is_ca() && has_issued(one, issued, below, now);
        issued =
            intermediates.iter().take(LONGEST_CHAIN).find(between).ok_or(CertificateError::UnknownIssuer)?;
    }
    Err(CertificateError::UnknownIssuer.into())
}

fn parse_all<'a>(certificates: &'a [CertificateDer<'_>]) -> Vec<X509Certificate<'a>> {
    certificates.iter().filter_map(|certificate| parse(certificate).ok()).collect()
}

/// `below` counts the certificates of CAs between the two.
fn has_issued(
    issuer: &X509Certificate<'_>,
    certificate: &X509Certificate<'_>,
    below: usize,
    now: UnixTime,
) -> bool {
    let algorithm = certificate.signature_algorithm.oid();
    issuer.subject().as_raw() == certificate.issuer().as_raw()
        && may_issue(issuer)
        && allows_below(issuer, below)
        && check_time(issuer, now).is_ok()
        && !has_unknown_critical_extension(issuer)
        // Go checks the names that a CA is limited to; here such a CA issues nothing.
        && matches!(issuer.name_constraints(), Ok(None))
        && ![OID_SHA1_WITH_RSA, OID_PKCS1_SHA1WITHRSA].contains(algorithm)
        && certificate.verify_signature(Some(issuer.public_key())).is_ok()
}

fn allows_below(issuer: &X509Certificate<'_>, below: usize) -> bool {
    match issuer.basic_constraints() {
        Ok(constraints) => constraints
            .and_then(|constraints| constraints.value.path_len_constraint)
            .is_none_or(|most| below <= most as usize),
        Err(_) => false,
    }
}

fn check_time(certificate: &X509Certificate<'_>, now: UnixTime) -> Result<(), Error> {
    let now = i64::try_from(now.as_secs()).ok().and_then(|seconds| ASN1Time::from_timestamp(seconds).ok());
    let now = now.ok_or_else(|| Error::from(CertificateError::Expired))?;
    let validity = certificate.validity();
    if now < validity.not_before {
        return Err(CertificateError::NotValidYet.into());
    }
    if now > validity.not_after {
        return Err(CertificateError::Expired.into());
    }
    Ok(())
}

fn has_unknown_critical_extension(certificate: &X509Certificate<'_>) -> bool {
    certificate.extensions().iter().any(|extension| {
        extension.critical
            && matches!(
                extension.parsed_extension(),
                ParsedExtension::UnsupportedExtension { .. }
                    | ParsedExtension::ParseError { .. }
                    | ParsedExtension::Unparsed
            )
    })
}

/// Checks a signature of a TLS 1.2 handshake, for which a scheme may mean several algorithms.
pub(super) fn verify_tls12(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signature: &DigitallySignedStruct,
    provider: &CryptoProvider,
) -> Result<HandshakeSignatureValid, Error> {
    let mapping = provider.signature_verification_algorithms.mapping;
    let (_, algorithms) = mapping
        .iter()
        .find(|(scheme, _)| *scheme == signature.scheme)
        .ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
    let key = public_key(certificate)?;
    let key = RawPublicKeyEntity::try_from(&key).map_err(|_| Error::from(CertificateError::BadEncoding))?;
    let verified = algorithms
        .iter()
        .any(|algorithm| key.verify_signature(*algorithm, message, signature.signature()).is_ok());
    if verified {
        Ok(HandshakeSignatureValid::assertion())
    } else {
        Err(CertificateError::BadSignature.into())
    }
}

/// Checks a signature of a TLS 1.3 handshake.
pub(super) fn verify_tls13(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signature: &DigitallySignedStruct,
    provider: &CryptoProvider,
) -> Result<HandshakeSignatureValid, Error> {
    let algorithms = &provider.signature_verification_algorithms;
    verify_tls13_signature_with_raw_key(message, &public_key(certificate)?, signature, algorithms)
}

fn public_key(certificate: &CertificateDer<'_>) -> Result<SubjectPublicKeyInfoDer<'static>, Error> {
    Ok(SubjectPublicKeyInfoDer::from(parse(certificate)?.public_key().raw.to_vec()))
}
