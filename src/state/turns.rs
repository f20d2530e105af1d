//! Which repository is next: repositories take turns.

use chrono::{DateTime, Utc};

use super::faults;
use super::proofs::ReasonClass;
use super::snapshot::{Repo, Snapshot, Stanza};

/// Which repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RepoWish {
    Number(u32),
    /// The one whose last record is the oldest.
    Any,
}

impl RepoWish {
    /// The number that is recorded if the repository is not found.
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::Number(number) => number,
            Self::Any => 1,
        }
    }
}

/// The repository that is meant, or why it cannot be found: the class of the reason, and the remedy. `last_start` tells when the newest
/// record of a repository begins.
pub fn find<'a>(
    snapshot: &'a Snapshot,
    stanza: &str,
    wish: RepoWish,
    last_start: impl Fn(u32) -> Option<DateTime<Utc>>,
) -> Result<(&'a Stanza, &'a Repo), (ReasonClass, String)> {
    let configuration = |message: &str| (ReasonClass::Configuration, message.to_owned());
    let Some(stanza) = snapshot.stanza(stanza) else {
        let scopes = &snapshot.collection.scopes;
        return Err(match scopes.values().find_map(|scope| scope.failure.as_ref()) {
            Some(failure) => (faults::of_info(failure.exit_code), failure.message.clone()),
            None => configuration("pgBackRest does not know the stanza; see --stanza"),
        });
    };
    let repo = choose(stanza, wish, last_start);
    let repo = repo.ok_or_else(|| configuration("pgBackRest does not know the repository; see --repo"))?;
    Ok((stanza, repo))
}

/// With [`RepoWish::Any`], the repository whose last record is the oldest, and first those without one.
fn choose(
    stanza: &Stanza,
    wish: RepoWish,
    last_start: impl Fn(u32) -> Option<DateTime<Utc>>,
) -> Option<&Repo> {
    match wish {
        // Only versions that know one repository alone call it 0.
        RepoWish::Number(1) => stanza.repo(1).or_else(|| stanza.repo(0)),
        RepoWish::Number(key) => stanza.repo(key),
        // Its records are those of repository 1.
        RepoWish::Any => stanza.repos.iter().min_by_key(|repo| (last_start(repo.key.max(1)), repo.key)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::examples::{day, repo, stanza};
    use super::*;

    #[test]
    fn repositories_take_turns() {
        let stanza = stanza([1, 2, 3].map(|key| repo(key, vec![])).into());
        let next = |starts: [Option<i64>; 3]| {
            let last = |key: u32| starts[key as usize - 1].map(day);
            choose(&stanza, RepoWish::Any, last).map(|repo| repo.key)
        };
        assert_eq!(next([None; 3]), Some(1));
        assert_eq!(next([Some(5), None, Some(4)]), Some(2), "it has no record");
        assert_eq!(next([Some(5), Some(6), Some(4)]), Some(3));
        assert_eq!(choose(&stanza, RepoWish::Number(4), |_| None), None);
        let mut single = stanza.clone();
        single.repos.truncate(1);
        single.repos[0].key = 0;
        assert_eq!(choose(&single, RepoWish::Number(1), |_| None).map(|repo| repo.key), Some(0));
    }

    #[test]
    fn an_unknown_stanza_is_a_matter_of_the_configuration() {
        let snapshot = Snapshot { stanzas: vec![stanza(vec![repo(1, vec![])])], ..Snapshot::default() };
        let find = |stanza: &str, wish| {
            let found = find(&snapshot, stanza, wish, |_| None);
            found.map(|(_, repo)| repo.key).map_err(|(class, message)| (class, message.contains("see --")))
        };
        assert_eq!(find("demo", RepoWish::Any), Ok(1));
        assert_eq!(find("demo", RepoWish::Number(2)), Err((ReasonClass::Configuration, true)));
        assert_eq!(find("other", RepoWish::Any), Err((ReasonClass::Configuration, true)));
    }
}
