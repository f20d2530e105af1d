//! The annotation of a restore test that starts a test now.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::Checks;
use crate::cluster::finding::codes;
use crate::cluster::labels::{PREFIX, TEST_NOW};
use crate::cluster::names;
use crate::cluster::restore_test::validated::TestNow;
use crate::cluster::validated::RepoNumber;

/// The test whose turn it is.
const NEXT: &str = "next";
const LONGEST: usize = 128;

/// `next`, `ledger` or `ledger@repo1`, each followed by `#anything` to request the same again. An invalid one starts nothing, and keeps
/// nothing else from being tested.
pub(super) fn look(metadata: &ObjectMeta, checks: &mut Checks<'_>) -> Option<TestNow> {
    for key in metadata.annotations.iter().flatten().map(|(key, _)| key) {
        if key.starts_with(PREFIX) && key != TEST_NOW {
            checks.note(
                &codes::ANNOTATION_UNKNOWN,
                format!("metadata.annotations.{key}"),
                "is not a known annotation of a restore test",
                format!("use {TEST_NOW}, or remove it"),
            );
        }
    }
    let value = metadata.annotations.as_ref()?.get(TEST_NOW)?;
    let parsed = parse(value);
    if parsed.is_none() {
        checks.note_value(
            &codes::REQUEST_INVALID,
            format!("metadata.annotations.{TEST_NOW}"),
            value,
            "is not a request for a test, and is ignored",
            "use next, the name of a cluster, or cluster@repo, such as ledger@repo1; append #2 to request the same test again",
        );
    }
    parsed
}

fn parse(value: &str) -> Option<TestNow> {
    let wanted = value.split_once('#').map_or(value, |(wanted, _)| wanted);
    let (cluster, repo) = match wanted.split_once('@') {
        Some((cluster, repo)) => (cluster, Some(RepoNumber::of_name(repo)?)),
        None => (wanted, None),
    };
    let is_good = value.len() <= LONGEST && names::is_object_name(cluster);
    let is_next = cluster == NEXT && repo.is_none();
    is_good.then(|| TestNow {
        token: value.to_owned(),
        cluster: (!is_next).then(|| cluster.to_owned()),
        repo,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_a_test() {
        let of = |value| parse(value).map(|now| (now.cluster, now.repo.map(|repo| repo.to_string())));
        let cluster = |name: &str| Some(name.to_owned());
        assert_eq!(of("next"), Some((None, None)));
        assert_eq!(of("next#2"), Some((None, None)));
        assert_eq!(of("ledger"), Some((cluster("ledger"), None)));
        assert_eq!(of("ledger@repo2#again"), Some((cluster("ledger"), Some("repo2".to_owned()))));
        assert_eq!(of("next@repo1"), Some((cluster("next"), Some("repo1".to_owned()))));
        for bad in ["", "#1", "ledger@", "ledger@repo5", "@repo1", "Ledger", &"a".repeat(129)] {
            assert_eq!(of(bad), None, "{bad}");
        }
        assert_eq!(parse("ledger#2").unwrap().token, "ledger#2");
    }
}
