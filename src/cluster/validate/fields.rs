//! Fields of a repo.

use super::{Checks, empty, one_line};
use crate::cluster::finding::codes;
use crate::cluster::line::Line;
use crate::cluster::resource::RepoSpec;

pub(super) const IN_SECRET: &str = "remove it from the resource, replace it if it was exposed, and put it into the Secret named \
     in configuration.secret";

pub(super) fn required(
    given: Option<&str>,
    path: &str,
    field: &str,
    what: &str,
    checks: &mut Checks<'_>,
) -> Option<Line> {
    let text = given.unwrap_or_default();
    if text.trim().is_empty() {
        checks.note_value(
            &codes::FIELD_EMPTY,
            format!("{path}.{field}"),
            text,
            "is required for this storage but has no value",
            format!("set {what}"),
        );
        return None;
    }
    one_line(text, path, field, checks)
}

/// `Some(None)`: absent or empty. `None`: invalid.
#[allow(clippy::option_option, reason = "absent and wrong are different answers")]
pub(super) fn optional(
    given: Option<&str>,
    path: &str,
    field: &str,
    checks: &mut Checks<'_>,
) -> Option<Option<Line>> {
    let Some(text) = given else { return Some(None) };
    if text.trim().is_empty() {
        let field = format!("{path}.{field}");
        empty(&field, "with CPO, every pgBackRest command would fail (error 32)", checks);
        return Some(None);
    }
    one_line(text, path, field, checks).map(Some)
}

pub(super) fn no_key(repo: &RepoSpec, storage: &str, path: &str, checks: &mut Checks<'_>) {
    if repo.key.as_deref().is_some_and(|key| !key.is_empty()) {
        checks.note(
            &codes::SECRET_IN_RESOURCE,
            format!("{path}.key"),
            format!("has no effect for {storage}; if it is a secret, it is exposed in plain text"),
            IN_SECRET,
        );
    }
    unused(repo.key_type.as_deref(), path, "keyType", "it is for gcs", checks);
}

pub(super) fn unused(given: Option<&str>, path: &str, field: &str, remedy: &str, checks: &mut Checks<'_>) {
    if given.is_some_and(|text| !text.is_empty()) {
        checks.note(
            &codes::FIELD_NOT_USED,
            format!("{path}.{field}"),
            "has no effect",
            format!("remove it; {remedy}"),
        );
    }
}

pub(super) fn default_used(path: &str, field: &str, default: &str, checks: &mut Checks<'_>) {
    checks.note(
        &codes::DEFAULT_USED,
        format!("{path}.{field}"),
        format!("is not set; pgBackRest uses its default {default}"),
        "set it to use another value",
    );
}
