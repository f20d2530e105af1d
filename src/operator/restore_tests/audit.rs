//! The results in exported `RestoreTest` resources, for those who check them offline.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use chrono::{DateTime, Utc};
use serde::Deserialize as _;
use serde_json::Value;

use super::chain::covered;
use super::results::{self, TestResult};
use crate::cluster::restore_test::resource::KIND;
use crate::cluster::restore_test::turn::Turn;
use crate::cluster::validated::RepoNumber;
use crate::operator::scope::Key;
use crate::state::chain::{self, Digest, Fault, Found, Head};
use crate::state::proofs::Outcome;
use crate::state::proofs::envelope::Signature;
use crate::text;

/// Results of one resource.
const MOST_RESULTS: usize = 100_000;

/// The results of a cluster and repo, oldest first.
#[derive(Debug)]
pub struct AuditedRepo {
    pub test: Key,
    pub cluster: String,
    pub repo: u32,
    pub results: Vec<AuditedResult>,
    /// Of their chain.
    pub faults: Vec<Fault>,
}

/// One result.
#[derive(Debug)]
pub struct AuditedResult {
    pub found: Found,
    /// What is signed.
    pub payload: Vec<u8>,
    pub signatures: Vec<Signature>,
    /// When it started and ended, and what came of it, or why it is no result.
    pub result: Result<(DateTime<Utc>, DateTime<Utc>, Outcome), String>,
}

/// Reads one resource or a list of them, as `kubectl get --output=json` prints them. The error is why it is neither.
pub fn read(document: &[u8]) -> Result<Vec<AuditedRepo>, String> {
    let document: Value = serde_json::from_slice(document)
        .map_err(|error| format!("it is not JSON: {}", text::one_line(&error.to_string(), 200)))?;
    let resources = match document.get("items") {
        Some(Value::Array(items)) => items.iter().collect(),
        _ => vec![&document],
    };
    let mut repos = Vec::new();
    for resource in resources {
        if resource.get("kind").is_none_or(|kind| kind != KIND) {
            return Err(format!("it contains something else than {KIND} resources"));
        }
        let name = |field: &str| text_in(resource.get("metadata"), field);
        let test = Key::new(name("namespace"), name("name"));
        let entries = resource.pointer("/status/results").and_then(Value::as_array);
        let entries = entries.map(Vec::as_slice).unwrap_or_default();
        for results in entries.iter().take(MOST_RESULTS) {
            repos.push(repo(&test, results, results::may_be_limited(entries.len()))?);
        }
    }
    Ok(repos)
}

fn repo(test: &Key, results: &Value, may_be_limited: bool) -> Result<AuditedRepo, String> {
    let of = |field: &str| text_in(Some(results), field);
    let repo = RepoNumber::of_name(of("repo"))
        .ok_or_else(|| format!("results of {} have no repo", text::escaped(&test.name, 253)))?;
    let turn = Turn { cluster: of("cluster").to_owned(), repo };
    let tests = results.get("tests").and_then(Value::as_array).into_iter().flatten();
    let mut audited: Vec<AuditedResult> =
        tests.map(|result| AuditedResult::of(test, &turn, result)).collect();
    audited.sort_by_key(|audited| audited.result.as_ref().ok().map(|(start, ..)| *start));
    let head = match results.get("head") {
        None => Ok(None),
        Some(head) => Head::deserialize(head).map(Some).map_err(|_| ()),
    };
    let found: Vec<Found> = audited.iter().map(|audited| audited.found).collect();
    let faults = chain::faults(&found, head, results::storage(found.len(), may_be_limited));
    Ok(AuditedRepo {
        test: test.clone(),
        cluster: turn.cluster,
        repo: repo.get().into(),
        results: audited,
        faults,
    })
}

/// A member; empty if it is not there.
fn text_in<'a>(object: Option<&'a Value>, name: &str) -> &'a str {
    object.and_then(|object| object.get(name)?.as_str()).unwrap_or_default()
}

impl AuditedResult {
    fn of(test: &Key, turn: &Turn, result: &Value) -> Self {
        let payload = covered(test, turn, result).into_bytes();
        let read = TestResult::deserialize(result);
        let link = read.as_ref().ok().and_then(|read| read.chain);
        let found =
            Found { digest: Some(Digest::of(&payload)), link, is_record: read.is_ok(), is_moved: false };
        let signature = read.as_ref().ok().and_then(|read| read.signature.as_ref());
        let signatures = signature.map(|signature| Signature {
            key: text::escaped(&signature.keyid, 64),
            // What is not in base64 is no valid signature.
            bytes: BASE64_STANDARD.decode(&signature.sig).unwrap_or_default(),
        });
        let result = read
            .map(|read| (read.start, read.stop, read.outcome))
            .map_err(|error| format!("it is not a result: {}", text::one_line(&error.to_string(), 200)));
        Self { found, payload, signatures: signatures.into_iter().collect(), result }
    }
}
