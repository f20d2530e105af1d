//! Where the backups of a repo are, so that two clusters in one place are found: each would take the other's files for its own.

use std::collections::BTreeMap;
use std::fmt;

use super::finding::{Finding, codes};
use super::key::Key;
use super::references::{Lookup, References, SecretFacts};
use super::resource::BACKUP;
use super::validated::{RepoNumber, Storage, Suspension, ValidatedCluster};

/// pgBackRest's default of `repoN-path`.
const DEFAULT_PATH: &str = "/var/lib/pgbackrest";

/// A place in an object store. All clusters use the same stanza, so its name makes no difference.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    kind: &'static str,
    /// The host of the store, and the account.
    store: String,
    bucket: String,
    path: String,
}

/// A repo, and where it is.
#[derive(Debug, Clone)]
pub struct Located {
    cluster: Key,
    repo: RepoNumber,
    location: Location,
    /// Whether the path may be another one, which is in a Secret that was not read.
    is_guess: bool,
}

impl Location {
    /// The location of a repo with this `repoN-path`. `None` for a volume, which belongs to its cluster.
    #[must_use]
    pub fn of(storage: &Storage, path: Option<&str>) -> Option<Self> {
        let endpoint = |given: Option<&str>, default: &str| host(given.unwrap_or(default));
        let (store, bucket) = match storage {
            Storage::Volume(_) => return None,
            Storage::S3 { bucket, endpoint, .. } => (host(endpoint), bucket),
            Storage::Azure { container, account, endpoint: given } => {
                let account = account.as_deref().unwrap_or_default();
                let host = endpoint(given.as_deref(), "blob.core.windows.net");
                (format!("{account}@{host}"), container)
            }
            Storage::Gcs { bucket, endpoint: given, .. } => {
                (endpoint(given.as_deref(), "storage.googleapis.com"), bucket)
            }
        };
        let path = format!("/{}", path.unwrap_or(DEFAULT_PATH).trim_matches('/'));
        Some(Self { kind: storage.as_str(), store, bucket: bucket.to_string(), path })
    }
}

impl fmt::Display for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {} at {}, path {}", self.kind, self.bucket, self.store, self.path)
    }
}

/// The host of an endpoint, without what makes no difference.
fn host(endpoint: &str) -> String {
    let host = endpoint.split_once("://").map_or(endpoint, |(_, rest)| rest);
    let host = host.split('/').next().unwrap_or_default().to_ascii_lowercase();
    host.strip_suffix(":443").map_or(host.clone(), str::to_owned)
}

/// The locations of a cluster's repos. A standby has none of its own: it reads those of its primary.
#[must_use]
pub fn of_cluster(cluster: &ValidatedCluster, references: &References) -> Vec<Located> {
    if cluster.suspension == Some(Suspension::Standby) {
        return Vec::new();
    }
    let facts = match &references.secret {
        Lookup::Found(facts) => Some(facts),
        Lookup::NotChecked | Lookup::Missing => None,
    };
    let is_unread = cluster.secret.is_some() && facts.is_none_or(SecretFacts::is_veiled);
    let located = cluster.repos.iter().filter_map(|repo| {
        let option = format!("{}-path", repo.number);
        let in_global = cluster.global.get(&option).map(|path| &**path);
        let path = in_global.or_else(|| facts?.path(&option));
        Some(Located {
            cluster: Key::new(&cluster.namespace, &cluster.name),
            repo: repo.number,
            location: Location::of(&repo.storage, path)?,
            is_guess: path.is_none() && is_unread,
        })
    });
    located.collect()
}

/// The findings about locations that several clusters use, each with its cluster.
#[must_use]
pub fn shared(all: &[Located]) -> Vec<(Key, Finding)> {
    let mut by_location: BTreeMap<&Location, Vec<&Located>> = BTreeMap::new();
    for located in all {
        by_location.entry(&located.location).or_default().push(located);
    }
    let mut findings = Vec::new();
    for (location, users) in by_location {
        for one in &users {
            let Some(other) = users.iter().find(|other| other.cluster != one.cluster) else { continue };
            let (code, may) = if one.is_guess || other.is_guess {
                (&codes::LOCATION_NOT_CHECKED, "may use, if no Secret sets another path,")
            } else {
                (&codes::LOCATION_SHARED, "uses")
            };
            let finding = Finding::new(
                code,
                format!("{BACKUP}.repos"),
                format!(
                    "{may} for {} the same location as {} of {}: {location}",
                    one.repo, other.repo, other.cluster
                ),
                format!(
                    "set {}-path in global to a path of its own, such as /{}",
                    one.repo, one.cluster.name
                ),
            );
            findings.push((one.cluster.clone(), finding));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::line::Line;

    fn s3(endpoint: &str, path: Option<&str>) -> Option<Location> {
        let line = |text: &str| Line::of(text).unwrap();
        let storage = Storage::S3 { bucket: line("b"), endpoint: line(endpoint), region: line("r") };
        Location::of(&storage, path)
    }

    #[test]
    fn spellings_of_one_place_are_the_same() {
        let one = s3("s3.example", Some("/x"));
        for (endpoint, path) in
            [("https://S3.example:443/", "/x"), ("s3.example:443", "/x/"), ("s3.example", "/x")]
        {
            assert_eq!(s3(endpoint, Some(path)), one, "{endpoint} {path}");
        }
        assert_eq!(s3("s3.example", None), s3("s3.example", Some("/var/lib/pgbackrest")));
        assert_ne!(s3("s3.example:9000", Some("/x")), one);
        assert_ne!(s3("s3.example", Some("/x/y")), one);
    }

    #[test]
    fn two_clusters_in_one_place_are_told_of_each_other() {
        let located = |cluster: &str, path: &str, is_guess| Located {
            cluster: Key::new("shop", cluster),
            repo: RepoNumber::of_name("repo1").unwrap(),
            location: s3("s3.example", Some(path)).unwrap(),
            is_guess,
        };
        let told = |all: &[Located]| -> Vec<(String, &str)> {
            let findings = shared(all).into_iter();
            findings.map(|(key, finding)| (key.name, finding.code.word)).collect()
        };
        let both = |word| vec![("a".to_owned(), word), ("b".to_owned(), word)];
        assert_eq!(told(&[located("a", "/x", false), located("b", "/x", false)]), both("location-shared"));
        assert_eq!(
            told(&[located("a", "/x", false), located("b", "/x", true)]),
            both("location-not-checked")
        );
        assert_eq!(told(&[located("a", "/x", false), located("b", "/y", false)]), []);
        assert_eq!(
            told(&[located("a", "/x", false), located("a", "/x", false)]),
            [],
            "one resource, given twice"
        );
    }
}
