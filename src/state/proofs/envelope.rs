//! Signed records: envelopes as DSSE v1.0.2 defines them (github.com/secure-systems-lab/dsse), with Ed25519 or ECDSA over P-256.
//!
//! What is signed is the record with its type ([`to_sign`]), so a signature of something else is never one of a record.

use std::borrow::Cow;
use std::fmt::{self, Debug, Formatter};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ring::signature::{ECDSA_P256_SHA256_ASN1, ED25519, UnparsedPublicKey, VerificationAlgorithm};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject as _;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use x509_parser::prelude::{FromDer as _, SubjectPublicKeyInfo};

use crate::state::chain::Digest;
use crate::text;

/// What the payload is.
pub const PAYLOAD_TYPE: &str = "application/vnd.pgbackrest-keeper.record+json";
/// Signatures of one record. We make one.
const MAX_SIGNATURES: usize = 16;
/// Bytes of a file with public keys.
pub const MAX_KEYS: usize = 64 << 10;

/// A stored record, with or without an envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened<'a> {
    pub payload: Cow<'a, [u8]>,
    /// Empty without an envelope.
    pub signatures: Vec<Signature>,
}

/// A signature of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// As the writer named the key, usually as [`PublicKey::id`].
    pub key: String,
    pub bytes: Vec<u8>,
}

/// Why an envelope cannot be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum EnvelopeError {
    #[error("its payloadType is not {PAYLOAD_TYPE}")]
    Type,
    #[error("its payload or a signature is not in base64")]
    Base64,
    #[error("it has no signature, or more than {MAX_SIGNATURES}")]
    Signatures,
}

/// Members that an envelope has, and a record does not.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    #[serde(borrow)]
    payload_type: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    payload: Cow<'a, str>,
    #[serde(default)]
    signatures: Vec<EncodedSignature>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Sealed<'a> {
    payload_type: &'a str,
    payload: String,
    signatures: [EncodedSignature; 1],
}

#[derive(Serialize, Deserialize)]
struct EncodedSignature {
    #[serde(default)]
    keyid: String,
    sig: String,
}

/// Takes a stored record out of its envelope, if it has one. Whether the signatures are valid is another question.
pub fn open(document: &[u8]) -> Result<Opened<'_>, EnvelopeError> {
    // What is neither is told by those who parse the record.
    let plain = Opened { payload: Cow::Borrowed(document), signatures: Vec::new() };
    let Ok(envelope) = serde_json::from_slice::<Envelope<'_>>(document) else { return Ok(plain) };
    let Some(payload_type) = envelope.payload_type else { return Ok(plain) };
    if payload_type != PAYLOAD_TYPE {
        return Err(EnvelopeError::Type);
    }
    if !(1..=MAX_SIGNATURES).contains(&envelope.signatures.len()) {
        return Err(EnvelopeError::Signatures);
    }
    let decoded = |text: &str| BASE64_STANDARD.decode(text).map_err(|_| EnvelopeError::Base64);
    let signatures = envelope.signatures.iter().map(|signature| {
        Ok(Signature { key: text::escaped(&signature.keyid, 64), bytes: decoded(&signature.sig)? })
    });
    Ok(Opened {
        payload: decoded(&envelope.payload)?.into(),
        signatures: signatures.collect::<Result<_, _>>()?,
    })
}

/// The envelope of a record that was signed with a key.
pub fn seal(payload: &str, key: &str, signature: &[u8]) -> serde_json::Result<String> {
    let signature = EncodedSignature { keyid: key.to_owned(), sig: BASE64_STANDARD.encode(signature) };
    let payload = BASE64_STANDARD.encode(payload);
    text::json(&Sealed { payload_type: PAYLOAD_TYPE, payload, signatures: [signature] })
}

/// What is signed: the pre-authentication encoding (PAE) of DSSE.
#[must_use]
pub fn to_sign(payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {PAYLOAD_TYPE} {} ", PAYLOAD_TYPE.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

/// The name of a key: SHA-256 of its `SubjectPublicKeyInfo`.
#[must_use]
pub fn key_id(info: &[u8]) -> String {
    Digest::of(info).to_string()
}

/// A key that checks signatures.
#[derive(Clone)]
pub struct PublicKey {
    id: String,
    algorithm: &'static dyn VerificationAlgorithm,
    point: Vec<u8>,
}

/// Why there is no usable public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum KeyError {
    #[error("contains no public key; expected a PEM block -----BEGIN PUBLIC KEY-----")]
    None,
    #[error("contains a block that is no public key in PEM; expected only -----BEGIN PUBLIC KEY-----")]
    Malformed,
    #[error("contains a public key of another type; use Ed25519 or ECDSA with P-256")]
    Unsupported,
}

impl PublicKey {
    /// All keys of a PEM text, at least one.
    pub fn all(pem: &[u8]) -> Result<Vec<Self>, KeyError> {
        let keys: Vec<Self> = SubjectPublicKeyInfoDer::pem_slice_iter(pem)
            .map(|key| Self::of(key.map_err(|_| KeyError::Malformed)?.as_ref()))
            .collect::<Result<_, _>>()?;
        if keys.is_empty() { Err(KeyError::None) } else { Ok(keys) }
    }

    fn of(info: &[u8]) -> Result<Self, KeyError> {
        let (rest, parsed) = SubjectPublicKeyInfo::from_der(info).map_err(|_| KeyError::Malformed)?;
        let curve = parsed.algorithm.parameters.as_ref().and_then(|curve| curve.as_oid().ok());
        let algorithm: &'static dyn VerificationAlgorithm =
            match (parsed.algorithm.algorithm.to_id_string().as_str(), curve.map(|oid| oid.to_id_string())) {
                ("1.3.101.112", None) => &ED25519,
                ("1.2.840.10045.2.1", Some(curve)) if curve == "1.2.840.10045.3.1.7" => {
                    &ECDSA_P256_SHA256_ASN1
                }
                _ => return Err(KeyError::Unsupported),
            };
        if !rest.is_empty() {
            return Err(KeyError::Malformed);
        }
        let point = parsed.subject_public_key.data.to_vec();
        Ok(Self { id: key_id(info), algorithm, point })
    }

    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether the signature is one of this record, with this key.
    #[must_use]
    pub fn verifies(&self, payload: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(self.algorithm, &self.point).verify(&to_sign(payload), signature).is_ok()
    }
}

impl Debug for PublicKey {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        write!(out, "PublicKey({})", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // openssl genpkey -algorithm ed25519, and openssl pkey -pubout
    const KEY: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";

    #[test]
    fn the_encoding_is_that_of_the_specification() {
        assert_eq!(to_sign(b"{}"), b"DSSEv1 45 application/vnd.pgbackrest-keeper.record+json 2 {}");
    }

    #[test]
    fn a_sealed_record_is_opened_again() {
        let sealed = seal("{\"format\": 1}\n", "name", b"\x01\x02").unwrap();
        let opened = open(sealed.as_bytes()).unwrap();
        let signature = Signature { key: "name".to_owned(), bytes: vec![1, 2] };
        assert_eq!(
            opened,
            Opened { payload: Cow::Borrowed(b"{\"format\": 1}\n"), signatures: vec![signature] }
        );
        let plain: &[u8] = b"{\"format\": 1}";
        assert_eq!(open(plain).unwrap(), Opened { payload: Cow::Borrowed(plain), signatures: vec![] });
    }

    #[test]
    fn what_is_no_envelope_of_a_record_is_refused() {
        let of = |kind: &str, payload: &str, signatures: &str| {
            let text =
                format!(r#"{{"payloadType":"{kind}","payload":"{payload}","signatures":{signatures}}}"#);
            open(text.as_bytes()).map(|_| ()).unwrap_err()
        };
        let signed = r#"[{"sig":"AQI="}]"#;
        assert_eq!(of("application/vnd.in-toto+json", "e30=", signed), EnvelopeError::Type);
        assert_eq!(of(PAYLOAD_TYPE, "e30", signed), EnvelopeError::Base64);
        assert_eq!(of(PAYLOAD_TYPE, "e30=", r#"[{"sig":"%"}]"#), EnvelopeError::Base64);
        assert_eq!(of(PAYLOAD_TYPE, "e30=", "[]"), EnvelopeError::Signatures);
        let many = format!("[{}]", vec![r#"{"sig":""}"#; 17].join(","));
        assert_eq!(of(PAYLOAD_TYPE, "e30=", &many), EnvelopeError::Signatures);
    }

    #[test]
    fn keys_are_read_from_pem() {
        let keys = PublicKey::all(format!("{KEY}{KEY}").as_bytes()).unwrap();
        assert_eq!(keys.len(), 2);
        assert!(keys[0].id().len() == 64 && !keys[0].verifies(b"{}", &[0; 64]));
        assert_eq!(PublicKey::all(b"").unwrap_err(), KeyError::None);
        let cut = KEY.replace("MCow", "MCo");
        assert_eq!(PublicKey::all(cut.as_bytes()).unwrap_err(), KeyError::Malformed);
        let other = KEY.replace("BQYDK2Vw", "BQYDK2Vx");
        assert_eq!(PublicKey::all(other.as_bytes()).unwrap_err(), KeyError::Unsupported);
    }
}
