//! Whether a record was signed, and by whom.

use serde::Serialize;

use super::envelope::{PublicKey, Signature};

/// Whether one of the signatures of a record is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SignatureState {
    /// There is none.
    Unsigned,
    /// There is one, but no key to check it with.
    NotChecked,
    Valid,
    /// It names a key that is known, but is not of this record.
    Invalid,
    /// It is of none of the keys that are known.
    UnknownKey,
}

/// Checks the signatures with the keys that are trusted. Returns the key that signed, or is said to have.
#[must_use]
pub fn check(
    payload: &[u8],
    signatures: &[Signature],
    keys: &[PublicKey],
) -> (SignatureState, Option<String>) {
    let said = signatures.first().map(|signature| signature.key.clone());
    if signatures.is_empty() {
        return (SignatureState::Unsigned, None);
    }
    if keys.is_empty() {
        return (SignatureState::NotChecked, said);
    }
    let of = |key: &&PublicKey| signatures.iter().any(|signature| key.verifies(payload, &signature.bytes));
    if let Some(key) = keys.iter().find(of) {
        return (SignatureState::Valid, Some(key.id().to_owned()));
    }
    let is_known = |signature: &&Signature| keys.iter().any(|key| key.id() == signature.key);
    match signatures.iter().find(is_known) {
        Some(signature) => (SignatureState::Invalid, Some(signature.key.clone())),
        None => (SignatureState::UnknownKey, said),
    }
}

impl SignatureState {
    /// What is wrong, if anything is.
    #[must_use]
    pub const fn fault(self, has_keys: bool) -> Option<&'static str> {
        match self {
            Self::Unsigned if has_keys => Some("it is not signed"),
            Self::Invalid => Some("its signature is not valid"),
            Self::UnknownKey => Some("it is signed with a key that was not given"),
            Self::Unsigned | Self::NotChecked | Self::Valid => None,
        }
    }
}
