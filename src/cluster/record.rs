//! What is recorded about a cluster between reconciles: annotations on the ConfigMap for PostgreSQL's pods.
//!
//! It is stored in Kubernetes and not in memory, so that nothing is repeated after a restart.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};

use super::labels::PREFIX;
use super::validated::RepoNumber;

/// The record of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    /// Repos whose stanza was verified, each with the hash of its options at that time (`desired::repo_hashes`). If
    /// the options have changed, it must be verified again.
    pub stanzas: BTreeMap<RepoNumber, String>,
    /// The `backup-now` token that was served last.
    pub backup_now: Option<String>,
    /// The `stanza-upgrade` token that was served last.
    pub stanza_upgrade: Option<String>,
    /// Certificates and server options (`Desired::servers_hash`) that all running `pgbackrest server` processes have
    /// loaded.
    pub servers: Option<String>,
    /// Why the stanza of a repo is not verified, such as `repo-unreachable`, as of the last attempt.
    pub troubles: BTreeMap<RepoNumber, String>,
    /// What is pending, and since when.
    pub unfinished: Option<Unfinished>,
}

/// A pending change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    /// A hash of the desired state.
    pub aim: String,
    /// When it was first found pending, to the second.
    pub since: DateTime<Utc>,
}

const STANZAS: &str = "stanzas";
const BACKUP_NOW: &str = "backup-now-served";
const STANZA_UPGRADE: &str = "stanza-upgrade-served";
const SERVERS: &str = "servers-reloaded";
const TROUBLES: &str = "troubles";
const UNFINISHED: &str = "unfinished";

impl Record {
    /// Parses the output of `annotations`; other annotations are ignored.
    #[must_use]
    pub fn read(annotations: &BTreeMap<String, String>) -> Self {
        let value = |name: &str| annotations.get(&format!("{PREFIX}{name}")).cloned();
        let pairs = |name: &str| -> BTreeMap<RepoNumber, String> {
            let text = value(name).unwrap_or_default();
            let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
            pairs.filter_map(|(repo, word)| Some((RepoNumber::of_name(repo)?, word.to_owned()))).collect()
        };
        Self {
            stanzas: pairs(STANZAS),
            backup_now: value(BACKUP_NOW),
            stanza_upgrade: value(STANZA_UPGRADE),
            servers: value(SERVERS),
            troubles: pairs(TROUBLES),
            unfinished: value(UNFINISHED).and_then(|text| {
                let (aim, since) = text.split_once('@')?;
                Some(Unfinished { aim: aim.to_owned(), since: since.parse().ok()? })
            }),
        }
    }

    /// The annotations of the record; unknown values have none.
    #[must_use]
    pub fn annotations(&self) -> BTreeMap<String, String> {
        let pairs = |words: &BTreeMap<RepoNumber, String>| {
            let pairs: Vec<String> = words.iter().map(|(repo, word)| format!("{repo}={word}")).collect();
            Some(pairs.join(",")).filter(|pairs| !pairs.is_empty())
        };
        let unfinished = self.unfinished.as_ref().map(|Unfinished { aim, since }| {
            format!("{aim}@{}", since.to_rfc3339_opts(SecondsFormat::Secs, true))
        });
        [
            (STANZAS, pairs(&self.stanzas)),
            (BACKUP_NOW, self.backup_now.clone()),
            (STANZA_UPGRADE, self.stanza_upgrade.clone()),
            (SERVERS, self.servers.clone()),
            (TROUBLES, pairs(&self.troubles)),
            (UNFINISHED, unfinished),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((format!("{PREFIX}{name}"), value?)))
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let repo = |name| RepoNumber::of_name(name).unwrap();
        let record = Record {
            stanzas: BTreeMap::from([(repo("repo1"), "aa".to_owned()), (repo("repo4"), "bb".to_owned())]),
            backup_now: Some("full@repo1#2".to_owned()),
            stanza_upgrade: None,
            servers: Some("cc".to_owned()),
            troubles: BTreeMap::from([(repo("repo2"), "repo-unreachable".to_owned())]),
            unfinished: Some(Unfinished {
                aim: "dd".to_owned(),
                since: "2026-03-01T00:00:07Z".parse().unwrap(),
            }),
        };
        let annotations = record.annotations();
        assert_eq!(annotations["pgbackrest-keeper.io/stanzas"], "repo1=aa,repo4=bb");
        assert_eq!(annotations["pgbackrest-keeper.io/unfinished"], "dd@2026-03-01T00:00:07Z");
        assert_eq!(Record::read(&annotations), record);
        assert_eq!(Record::read(&Record::default().annotations()), Record::default());
    }

    #[test]
    fn nonsense_is_passed_over() {
        let annotations = BTreeMap::from([
            ("pgbackrest-keeper.io/stanzas".to_owned(), "repo9=x,,repo1".to_owned()),
            ("pgbackrest-keeper.io/unfinished".to_owned(), "dd@yesterday".to_owned()),
        ]);
        assert_eq!(Record::read(&annotations), Record::default());
    }
}
