//! When certificates end. Reads public certificates only, never a key.

use chrono::{DateTime, Utc};
use x509_parser::pem::Pem;

/// The end of the first certificate of a file: in a chain that is the certificate shown, and the others sign it.
pub(super) fn end_of_first(pem: &[u8]) -> Option<DateTime<Utc>> {
    ends(pem).next()
}

/// The latest end in a file of authorities: from then on nothing that they signed is trusted. A bundle holds many that
/// nobody needs, among them expired ones, so that the earliest end says nothing.
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
