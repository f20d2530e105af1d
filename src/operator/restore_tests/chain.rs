//! What the digests and signatures of results cover.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::cluster::restore_test::turn::Turn;
use crate::operator::scope::Key;
use crate::source::signing_key::SigningKey;

/// What the status only keeps of the newest result, or does not keep if there are too many, and what is added afterwards.
const NOT_COVERED: [&str; 4] = ["checks", "message", "phases", "signature"];

/// Who gives the results of a restore test their places.
#[derive(Debug)]
pub(super) struct Scribe {
    pub(super) test: Key,
    /// None: results are not signed.
    pub(super) key: Option<Arc<SigningKey>>,
}

/// A signature of what [`covered`] returns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ResultSignature {
    /// SHA-256 of the public key.
    pub(super) keyid: String,
    /// In base64.
    pub(super) sig: String,
}

/// The part of a result that never changes: one line of JSON, with all members sorted and without white space.
pub(super) fn covered(test: &Key, turn: &Turn, result: &Value) -> String {
    let mut result = result.clone();
    if let Value::Object(members) = &mut result {
        members.retain(|name, _| !NOT_COVERED.contains(&name.as_str()));
    }
    let Turn { cluster, repo } = turn;
    let Key { namespace, name } = test;
    json!({"cluster": cluster, "namespace": namespace, "repo": repo.to_string(), "restoreTest": name, "result": result})
        .to_string()
}

impl Scribe {
    /// Signs what is covered of a result, if there is a key.
    pub(super) fn sign(&self, covered: &str) -> Option<ResultSignature> {
        let key = self.key.as_ref()?;
        let signed = key.sign(covered.as_bytes()).inspect_err(|error| {
            // The result is worth more than its signature, whose absence is told by those who check it.
            tracing::warn!(%error, restore_test = self.test.name, "Failed to sign a result");
        });
        let sig = BASE64_STANDARD.encode(signed.ok()?);
        Some(ResultSignature { keyid: key.id().to_owned(), sig })
    }
}
