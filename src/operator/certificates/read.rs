//! Reads certificates: validity, issuer, and names.

use chrono::{DateTime, Utc};
use rcgen::{KeyPair, PublicKeyData};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::pem::Pem;

use super::make::Subject;

/// The validity of a certificate.
#[derive(Debug, Clone, Copy)]
pub(super) struct Life {
    pub(super) begin: DateTime<Utc>,
    pub(super) end: DateTime<Utc>,
}

impl Life {
    fn of(certificate: &X509Certificate<'_>) -> Option<Self> {
        let moment = |seconds| DateTime::from_timestamp(seconds, 0);
        let validity = certificate.validity();
        Some(Self {
            begin: moment(validity.not_before.timestamp())?,
            end: moment(validity.not_after.timestamp())?,
        })
    }

    pub(super) fn after(self, (part, whole): (i32, i32)) -> DateTime<Utc> {
        self.begin + (self.end - self.begin) / whole * part
    }

    /// When two thirds of it are over.
    pub(super) fn due(self) -> DateTime<Utc> {
        self.after((2, 3))
    }

    pub(super) fn is_due(self, now: DateTime<Utc>) -> bool {
        now >= self.due()
    }

    pub(super) fn is_over(self, now: DateTime<Utc>, part: (i32, i32)) -> bool {
        now >= self.after(part)
    }

    /// Whether it has not started, for example because the issuer's clock was ahead.
    pub(super) fn is_ahead(self, now: DateTime<Utc>) -> bool {
        now < self.begin
    }

    pub(super) fn has_ended(self, now: DateTime<Utc>) -> bool {
        now >= self.end
    }
}

/// The certificate of an authority.
pub(super) struct Root {
    pem: Pem,
    pub(super) life: Life,
}

impl Root {
    pub(super) fn read(text: &str) -> Option<Self> {
        let pem = first(text)?;
        let life =
            pem.parse_x509().ok().filter(|certificate| certificate.is_ca()).as_ref().and_then(Life::of)?;
        Some(Self { pem, life })
    }

    /// Whether the key belongs to the certificate.
    pub(super) fn has_key(&self, key: &str) -> bool {
        self.pem.parse_x509().is_ok_and(|certificate| belongs(key, &certificate))
    }
}

/// A certificate issued by an authority.
pub(super) struct Leaf {
    pem: Pem,
    pub(super) life: Life,
}

impl Leaf {
    pub(super) fn read(text: &str) -> Option<Self> {
        let pem = first(text)?;
        let life = Life::of(&pem.parse_x509().ok()?)?;
        Some(Self { pem, life })
    }

    pub(super) fn is_issued_by(&self, root: &str) -> bool {
        let Some(root) = first(root) else { return false };
        let (Ok(leaf), Ok(root)) = (self.pem.parse_x509(), root.parse_x509()) else { return false };
        leaf.verify_signature(Some(root.public_key())).is_ok()
    }

    /// Why it is unusable, if it is.
    pub(super) fn flaw(
        &self,
        key: &str,
        subject: &Subject,
        trusted: &[String],
        now: DateTime<Utc>,
    ) -> Option<&'static str> {
        let Ok(certificate) = self.pem.parse_x509() else { return Some("it is unreadable") };
        if self.life.has_ended(now) {
            return Some("it has expired");
        }
        if self.life.is_ahead(now) {
            return Some("it is not valid yet");
        }
        if !belongs(key, &certificate) {
            return Some("its key does not match");
        }
        let mut names = certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok());
        if names.next() != Some(subject.common_name.as_str()) {
            return Some("it is for another cluster");
        }
        let alternatives = certificate.subject_alternative_name().ok().flatten();
        let alternatives =
            alternatives.map(|extension| extension.value.general_names.as_slice()).unwrap_or_default();
        let covers = |host: &String| {
            alternatives.iter().any(|name| matches!(name, GeneralName::DNSName(name) if name == host))
        };
        if !subject.host_names.iter().all(covers) {
            return Some("it does not contain all pod names");
        }
        if !trusted.iter().any(|root| self.is_issued_by(root)) {
            return Some("it was not issued by a trusted authority");
        }
        None
    }
}

/// All certificates in a text, without the text between them.
pub(super) fn split(text: &str) -> Vec<String> {
    const END: &str = "-----END CERTIFICATE-----";
    text.split_inclusive(END)
        .filter_map(|part| Some(part.get(part.find("-----BEGIN CERTIFICATE-----")?..)?.to_owned()))
        .filter(|part| part.ends_with(END))
        .collect()
}

fn first(text: &str) -> Option<Pem> {
    Pem::iter_from_buffer(text.as_bytes()).find_map(Result::ok)
}

fn belongs(key: &str, certificate: &X509Certificate<'_>) -> bool {
    KeyPair::from_pem(key)
        .is_ok_and(|key| key.der_bytes() == certificate.public_key().subject_public_key.data.as_ref())
}
