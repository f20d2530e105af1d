//! When certificates expire. Reads public certificates only, never keys.

use chrono::{DateTime, Utc};
use x509_parser::pem::Pem;

/// The expiry of the first certificate of a file: in a chain, the others sign it.
pub(super) fn end_of_first(pem: &[u8]) -> Option<DateTime<Utc>> {
    ends(pem).next()
}

/// The latest expiry in a file of CA certificates: after that, nothing that they signed is trusted. A bundle contains many unused and
/// even expired certificates, so the earliest expiry is meaningless.
pub(super) fn latest_end(pem: &[u8]) -> Option<DateTime<Utc>> {
    ends(pem).max()
}

fn ends(pem: &[u8]) -> impl Iterator<Item = DateTime<Utc>> {
    let certificates = Pem::iter_from_buffer(pem)
        .map_while(Result::ok)
        .filter(|block| matches!(&*block.label, "CERTIFICATE" | "TRUSTED CERTIFICATE" | "X509 CERTIFICATE"));
    certificates.filter_map(|block| end(&block))
}

/// When the certificate of a PEM block ends.
#[must_use]
pub fn end(block: &Pem) -> Option<DateTime<Utc>> {
    let certificate = block.parse_x509().ok()?;
    DateTime::from_timestamp(certificate.validity().not_after.timestamp(), 0)
}
