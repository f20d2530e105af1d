//! Whether the backups of a cluster meet common policies. Nothing here is enforced.

use super::references::{Lookup, References};
use super::validated::{RepoNumber, ValidatedCluster};
use crate::pgbackrest::label::BackupType;

/// Whether each policy is met; unknown ones are omitted.
#[must_use]
pub fn followed(cluster: &ValidatedCluster, references: &References) -> Vec<(&'static str, bool)> {
    let all = |test: &dyn Fn(RepoNumber) -> Option<bool>| {
        let answers: Vec<Option<bool>> = cluster.repos.iter().map(|repo| test(repo.number)).collect();
        if answers.contains(&Some(false)) {
            return Some(false);
        }
        answers.iter().all(Option::is_some).then_some(true)
    };
    let policies = [
        ("encryption", all(&|repo| is_encrypted(cluster, references, repo))),
        ("retention", all(&|repo| option_is_set(cluster, references, repo, "retention-full"))),
        ("offsite_repo", Some(cluster.repos.iter().any(|repo| !repo.storage.is_volume()))),
        (
            "schedule_full",
            Some(cluster.repos.iter().all(|repo| repo.schedules.contains_key(&BackupType::Full))),
        ),
    ];
    policies.into_iter().filter_map(|(policy, followed)| Some((policy, followed?))).collect()
}

fn is_encrypted(cluster: &ValidatedCluster, references: &References, repo: RepoNumber) -> Option<bool> {
    let option = format!("{repo}-cipher-type");
    if let Some(cipher) = in_environment(cluster, repo, &option) {
        return cipher.map(|cipher| cipher != "none");
    }
    if let Some(cipher) = cluster.global.get(&option) {
        return Some(**cipher != *"none");
    }
    let secret = secret(cluster, references)?;
    let cipher = secret.and_then(|facts| {
        facts.options().find(|(_, known)| known.name == option).and_then(|(_, known)| known.choice.clone())
    });
    Some(cipher.is_some_and(|cipher| cipher != "none" && !cipher.is_empty()))
}

fn option_is_set(
    cluster: &ValidatedCluster,
    references: &References,
    repo: RepoNumber,
    option: &str,
) -> Option<bool> {
    let option = &format!("{repo}-{option}");
    if cluster.global.contains_key(option) || in_environment(cluster, repo, option).is_some() {
        return Some(true);
    }
    let secret = secret(cluster, references)?;
    Some(secret.is_some_and(|facts| facts.options().any(|(_, known)| known.name == *option && !known.empty)))
}

/// The outer `None`: the option is not there. The inner: its value is unknown.
#[allow(clippy::option_option, reason = "absent and unknown are different answers")]
fn in_environment<'a>(
    cluster: &'a ValidatedCluster,
    repo: RepoNumber,
    option: &str,
) -> Option<Option<&'a str>> {
    let repo = cluster.repos.iter().find(|known| known.number == repo)?;
    repo.environment.get(option).map(Option::as_deref)
}

/// The outer `None`: its contents are unknown.
#[allow(clippy::option_option, reason = "that there is no secret is known, and another thing")]
fn secret<'a>(
    cluster: &ValidatedCluster,
    references: &'a References,
) -> Option<Option<&'a super::references::SecretFacts>> {
    match &references.secret {
        Lookup::Found(facts) if facts.is_veiled() => None,
        Lookup::Found(facts) => Some(Some(facts)),
        Lookup::Missing => Some(None),
        Lookup::NotChecked => cluster.secret.is_none().then_some(None),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cluster::references::SecretFacts;
    use crate::cluster::settings::Settings;
    use crate::cluster::validate;

    fn cluster(global: &serde_json::Value) -> ValidatedCluster {
        let repo = |name: &str, storage: &str, schedule: serde_json::Value| {
            json!({"name": name, "storage": storage, "resource": "b", "endpoint": "e", "region": "r",
                "volume": {"size": "1Gi"}, "schedule": schedule})
        };
        let document = json!({
            "apiVersion": "cpo.opensource.cybertec.at/v1", "kind": "postgresql",
            "metadata": {"name": "ledger", "namespace": "shop"},
            "spec": {"numberOfInstances": 1, "teamId": "x", "volume": {"size": "1Gi"}, "backup": {"pgbackrest": {
                "image": "pgbackrest:1", "global": global, "configuration": {"secret": "keys"},
                "repos": [repo("repo1", "pvc", json!({"full": "1 1 * * *"})), repo("repo2", "s3", json!({"incr": "1 2 * * *"}))],
            }}},
        });
        let (cluster, findings) = validate::document(document, &References::default(), &Settings::default());
        cluster.unwrap_or_else(|| panic!("{findings:?}"))
    }

    #[test]
    fn every_repo_counts() {
        let half = cluster(&json!({"repo1-cipher-type": "aes-256-cbc", "repo1-retention-full": "2"}));
        let expected =
            [("encryption", false), ("retention", false), ("offsite_repo", true), ("schedule_full", false)];
        let references = References { secret: Lookup::Missing, ..References::default() };
        assert_eq!(followed(&half, &references), expected);
    }

    #[test]
    fn a_secret_that_nobody_read_leaves_it_open() {
        let open = cluster(&json!({"repo1-cipher-type": "aes-256-cbc"}));
        assert_eq!(
            followed(&open, &References::default()),
            [("offsite_repo", true), ("schedule_full", false)]
        );
        let conf =
            b"[global]\nrepo2-cipher-type=aes-256-cbc\nrepo1-retention-full=1\nrepo2-retention-full=1\n";
        let facts = SecretFacts::read([("a.conf", conf.as_slice())]);
        let references = References { secret: Lookup::Found(facts), ..References::default() };
        assert_eq!(followed(&open, &references)[..2], [("encryption", true), ("retention", true)]);
    }
}
