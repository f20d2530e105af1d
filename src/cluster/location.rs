//! Where the backups of a repo are, so that two clusters in one place are found: each would take the other's files for its own.

use std::collections::BTreeMap;
use std::fmt;

use ring::digest::{SHA256, digest};

use super::finding::{Finding, codes};
use super::key::Key;
use super::resource::BACKUP;
use super::validated::RepoNumber;

/// pgBackRest's default of `repoN-path`.
const DEFAULT_PATH: &str = "/var/lib/pgbackrest";
const HTTPS: &str = "443";

/// A place in an object store. All clusters use the same stanza, so its name makes no difference. A volume belongs to its
/// cluster, and is no such place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    kind: &'static str,
    /// The host of the store, with its port unless that is 443.
    store: String,
    account: Option<AccountHash>,
    bucket: String,
    path: String,
}

/// Distinguishes accounts of Azure without their names, which may be from a Secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountHash(String);

/// A repo, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    pub repo: RepoNumber,
    pub location: Location,
    /// Whether it may be elsewhere, because a Secret that may set another path was not read.
    pub is_guess: bool,
}

/// The repos of a cluster, and which of them are in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimant {
    pub key: Key,
    /// When the resource was created, in Unix seconds.
    pub created: Option<i64>,
    pub claims: Vec<Claim>,
}

/// A location that a cluster uses or is to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    pub located: Located,
    /// Whether the cluster archives there, or that has to be assumed.
    pub in_use: bool,
}

/// A repo that is where another cluster has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    pub repo: RepoNumber,
    pub finding: Finding,
    /// Whether the repo must not be set up: the other cluster has a better right to the location.
    pub yields: bool,
}

impl AccountHash {
    #[must_use]
    pub fn of(account: &str) -> Self {
        Self(hex::encode(digest(&SHA256, account.as_bytes())))
    }
}

impl Location {
    /// `endpoint` may be a URL, and `port` takes precedence over that in it.
    #[must_use]
    pub fn new(
        kind: &'static str,
        endpoint: &str,
        port: Option<&str>,
        account: Option<AccountHash>,
        bucket: &str,
        path: Option<&str>,
    ) -> Self {
        let path = format!("/{}", path.unwrap_or(DEFAULT_PATH).trim_matches('/'));
        Self { kind, store: store(endpoint, port), account, bucket: bucket.to_owned(), path }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {} at {}, path {}", self.kind, self.bucket, self.store, self.path)
    }
}

/// Host and port of an endpoint, without what makes no difference.
fn store(endpoint: &str, port: Option<&str>) -> String {
    let (scheme, rest) = endpoint.split_once("://").unwrap_or(("https", endpoint));
    let authority = rest.split('/').next().unwrap_or_default().to_ascii_lowercase();
    // The colons of an IPv6 address are within brackets.
    let end = authority.rfind(']').unwrap_or_default();
    let colon = authority.get(end..).and_then(|rest| rest.find(':')).map(|colon| end + colon);
    let (host, given) = match colon {
        Some(colon) => (authority.get(..colon).unwrap_or_default(), authority.get(colon + 1..)),
        None => (authority.as_str(), None),
    };
    let default = if scheme.eq_ignore_ascii_case("http") { "80" } else { HTTPS };
    match port.or(given).unwrap_or(default) {
        HTTPS => host.to_owned(),
        port => format!("{host}:{port}"),
    }
}

/// The findings about locations that several clusters of a set of manifests use, each with its cluster.
#[must_use]
pub fn shared(all: &[(Key, Located)]) -> Vec<(Key, Finding)> {
    let mut by_location: BTreeMap<&Location, Vec<&(Key, Located)>> = BTreeMap::new();
    for one in all {
        by_location.entry(&one.1.location).or_default().push(one);
    }
    let mut findings = Vec::new();
    for users in by_location.values() {
        for (key, located) in users {
            let Some((other, theirs)) = users.iter().find(|(other, _)| other != key) else { continue };
            findings.push((key.clone(), finding(key, located, other, theirs, "uses")));
        }
    }
    findings
}

/// The conflicts of a cluster with others. A location belongs to the cluster that uses it; if none or several do, to that
/// with the oldest resource. A cluster that already uses a location keeps it: without the repo, its archive would get a gap.
#[must_use]
pub fn conflicts<'a>(one: &Claimant, others: impl Iterator<Item = &'a Claimant>) -> Vec<Conflict> {
    let others: Vec<&Claimant> = others.filter(|other| other.key != one.key).collect();
    one.claims.iter().filter_map(|claim| conflict(one, claim, &others)).collect()
}

fn conflict(one: &Claimant, claim: &Claim, others: &[&Claimant]) -> Option<Conflict> {
    let here = |theirs: &&Claim| theirs.located.location == claim.located.location;
    let counts = |other: &Claimant, theirs: &Claim| {
        if claim.in_use { theirs.in_use } else { rank(other, theirs) < rank(one, claim) }
    };
    let rivals =
        others.iter().flat_map(|other| other.claims.iter().filter(here).map(move |theirs| (*other, theirs)));
    let rivals = rivals.filter(|(other, theirs)| counts(other, theirs));
    let (other, theirs) =
        rivals.min_by_key(|(other, theirs)| (theirs.located.is_guess, rank(other, theirs)))?;
    let why = match (claim.in_use, theirs.in_use) {
        (true, _) => "uses",
        (false, true) => "is not set up: it would use",
        (false, false) => "is not set up, because the other resource is older: it would use",
    };
    let finding = finding(&one.key, &claim.located, &other.key, &theirs.located, why);
    Some(Conflict { repo: claim.located.repo, yields: !claim.in_use && finding.is_error(), finding })
}

/// The least has the best right.
fn rank<'a>(claimant: &'a Claimant, claim: &Claim) -> (bool, Age<'a>) {
    (!claim.in_use, age(claimant.created, &claimant.key))
}

/// Resources in the order of this are the oldest first. Those of unknown age are the youngest.
pub type Age<'a> = (bool, Option<i64>, &'a Key);

/// Of a resource that was created at this Unix time.
#[must_use]
pub const fn age(created: Option<i64>, key: &Key) -> Age<'_> {
    (created.is_none(), created, key)
}

fn finding(key: &Key, located: &Located, other: &Key, theirs: &Located, why: &str) -> Finding {
    let (code, why) = if located.is_guess || theirs.is_guess {
        (&codes::LOCATION_NOT_CHECKED, "may use, if no Secret sets another path,")
    } else {
        (&codes::LOCATION_SHARED, why)
    };
    Finding::new(
        code,
        format!("{BACKUP}.repos"),
        format!(
            "{why} for {} the same location as {} of {other}: {}",
            located.repo, theirs.repo, located.location
        ),
        format!("set {}-path in global to a path of its own, such as /{}", located.repo, key.name),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s3(endpoint: &str, path: Option<&str>) -> Location {
        Location::new("s3", endpoint, None, None, "b", path)
    }

    fn located(path: &str, is_guess: bool) -> Located {
        let repo = RepoNumber::of_name("repo1").unwrap();
        Located { repo, location: s3("s3.example", Some(path)), is_guess }
    }

    #[test]
    fn spellings_of_one_place_are_the_same() {
        let one = s3("s3.example", Some("/x"));
        for (endpoint, path) in [
            ("https://S3.example:443/", "/x"),
            ("s3.example:443", "/x/"),
            ("s3.example", "/x"),
            ("http://s3.example:443", "/x"),
        ] {
            assert_eq!(s3(endpoint, Some(path)), one, "{endpoint} {path}");
        }
        assert_eq!(Location::new("s3", "s3.example:9000", Some("443"), None, "b", Some("/x")), one);
        assert_eq!(s3("s3.example", None), s3("s3.example", Some("/var/lib/pgbackrest")));
        assert_eq!(s3("[2001:DB8::1]:443", None), s3("[2001:db8::1]", None));
        assert_ne!(s3("[2001:db8::1]:9000", None), s3("[2001:db8::1]", None));
        for endpoint in ["s3.example:9000", "http://s3.example", "s3.example:80"] {
            assert_ne!(s3(endpoint, Some("/x")), one, "{endpoint}");
        }
        assert_eq!(s3("http://s3.example", None), s3("s3.example:80", None));
        assert_ne!(s3("s3.example", Some("/x/y")), one);
    }

    #[test]
    fn accounts_are_told_apart_and_not_named() {
        let azure = |account: Option<&str>| {
            Location::new("azure", "blob.example", None, account.map(AccountHash::of), "c", None)
        };
        assert_ne!(azure(Some("hunter2")), azure(Some("other")));
        assert_ne!(azure(Some("hunter2")), azure(None));
        let shown = format!("{0} {0:?}", azure(Some("hunter2")));
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn two_clusters_in_one_place_are_told_of_each_other() {
        let of = |cluster: &str, path: &str, is_guess| (Key::new("shop", cluster), located(path, is_guess));
        let told = |all: &[(Key, Located)]| -> Vec<(String, &str)> {
            let findings = shared(all).into_iter();
            findings.map(|(key, finding)| (key.name, finding.code.word)).collect()
        };
        let both = |word| vec![("a".to_owned(), word), ("b".to_owned(), word)];
        assert_eq!(told(&[of("a", "/x", false), of("b", "/x", false)]), both("location-shared"));
        assert_eq!(told(&[of("a", "/x", false), of("b", "/x", true)]), both("location-not-checked"));
        assert_eq!(told(&[of("a", "/x", false), of("b", "/y", false)]), []);
        assert_eq!(told(&[of("a", "/x", false), of("a", "/x", false)]), [], "one resource, given twice");
    }

    /// A cluster in one location.
    fn claimant(name: &str, created: i64, in_use: bool, is_guess: bool) -> Claimant {
        let claim = Claim { located: located("/x", is_guess), in_use };
        Claimant { key: Key::new("shop", name), created: Some(created), claims: vec![claim] }
    }

    /// The clusters that yield, and those with a conflict.
    fn outcome(all: &[Claimant]) -> (Vec<&str>, Vec<&str>) {
        let of = |one: &Claimant| conflicts(one, all.iter());
        let told = all.iter().filter(|one| !of(one).is_empty()).map(|one| one.key.name.as_str()).collect();
        let yields = all.iter().filter(|one| of(one).iter().any(|conflict| conflict.yields));
        (yields.map(|one| one.key.name.as_str()).collect(), told)
    }

    #[test]
    fn a_location_belongs_to_who_uses_it_and_then_to_the_oldest() {
        let (uses, new) = (true, false);
        for (old, young, yields, told) in [
            // The old cluster is not told of one that does it no harm.
            (new, new, vec!["young"], vec!["young"]),
            (uses, new, vec!["young"], vec!["young"]),
            (new, uses, vec!["old"], vec!["old"]),
            // A repo that is in use is never left out.
            (uses, uses, vec![], vec!["old", "young"]),
        ] {
            let all = [claimant("young", 2, young, false), claimant("old", 1, old, false)];
            let (found_yields, mut found_told) = outcome(&all);
            found_told.sort_unstable();
            assert_eq!((found_yields, found_told), (yields, told), "{old} {young}");
        }
        let same_age = [claimant("b", 1, new, false), claimant("a", 1, new, false)];
        assert_eq!(outcome(&same_age).0, ["b"]);
        let three =
            [claimant("a", 1, new, false), claimant("b", 2, new, false), claimant("c", 3, new, false)];
        assert_eq!(outcome(&three).0, ["b", "c"], "one of them has it");
    }

    #[test]
    fn what_may_be_elsewhere_is_not_left_out() {
        let all = [claimant("old", 1, true, true), claimant("young", 2, false, false)];
        assert_eq!(outcome(&all), (vec![], vec!["young"]));
        let conflict = &conflicts(&all[1], all.iter())[0];
        assert_eq!(conflict.finding.code.word, "location-not-checked");
        // A certain conflict counts more than a possible one.
        let certain = [&all[..], &[claimant("between", 3, true, false)]].concat();
        assert_eq!(conflicts(&all[1], certain.iter())[0].finding.code.word, "location-shared");
    }
}
