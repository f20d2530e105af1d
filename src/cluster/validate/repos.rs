//! Repos: names, storage and schedules.

use std::collections::{BTreeMap, HashMap};

use super::environment::Environment;
use super::locations::GivenOptions;
use super::parts::Part;
use super::schedules::Schedules;
use super::{Checks, schedules, storage};
use crate::cluster::finding::codes;
use crate::cluster::resource::{self, BACKUP, Pgbackrest};
use crate::cluster::validated::{RepoNumber, ValidatedRepo};

/// The valid repos, ascending by number.
pub(super) fn look(
    section: &Pgbackrest,
    environment: &Environment,
    checks: &mut Checks<'_>,
) -> Vec<ValidatedRepo> {
    let mut seen: HashMap<RepoNumber, usize> = HashMap::new();
    let mut repos = Vec::new();
    for (index, given) in section.repos.iter().enumerate() {
        let path = format!("{BACKUP}.repos[{index}]");
        let number = number(given, &path, checks);
        let part = Part::from(number);
        if let Some(number) = number
            && let Some(first) = seen.insert(number, index)
        {
            checks.within(part.clone(), |checks| {
                checks.note_value(
                    &codes::REPO_TWICE,
                    format!("{path}.name"),
                    number.to_string(),
                    format!("is also the name of repos[{first}]"),
                    "give each repo a unique name, repo1 to repo4",
                );
            });
        }
        // Checked even without a number, so that all findings are reported at once.
        let known = number.or_else(|| RepoNumber::of_name("repo1"));
        let Schedules { good, held } =
            checks.within(Part::Field, |checks| schedules::look(given, &path, checks));
        let storage = known.and_then(|number| {
            checks.within(part, |checks| storage::look(given, number, &path, section, environment, checks))
        });
        if let (Some(number), Some(storage)) = (number, storage) {
            repos.push(ValidatedRepo {
                number,
                on_repo_host: storage.is_volume(),
                storage,
                schedules: good,
                held,
                backup_options: BTreeMap::new(),
                environment: BTreeMap::new(),
            });
        }
    }
    repos.sort_by_key(|repo| repo.number);
    shared_places(&repos, section, environment, checks);
    places_of_others(checks);
    repos
}

fn number(given: &resource::RepoSpec, path: &str, checks: &mut Checks<'_>) -> Option<RepoNumber> {
    let name = given.name.as_deref().unwrap_or_default();
    let number = RepoNumber::of_name(name);
    if number.is_none() {
        checks.within(Part::Field, |checks| {
            checks.note_value(
                &codes::REPO_NAME_INVALID,
                format!("{path}.name"),
                name,
                "is not a valid repo name",
                "use repo1, repo2, repo3 or repo4; the number is the one that pgBackRest uses",
            );
        });
    }
    number
}

/// Two repos in the same location overwrite each other's stanza.
fn shared_places(
    repos: &[ValidatedRepo],
    section: &Pgbackrest,
    environment: &Environment,
    checks: &mut Checks<'_>,
) {
    let given = GivenOptions::of(section, environment, checks.references);
    let mut seen = BTreeMap::new();
    for repo in repos {
        let name = repo.number.to_string();
        let spec = section.repos.iter().find(|spec| spec.name.as_ref() == Some(&name));
        let Some(located) = spec.and_then(|spec| given.locate(repo.number, spec)) else { continue };
        if let Some(other) = seen.insert(located.location, repo.number) {
            checks.within(Part::from(Some(repo.number)), |checks| {
                checks.note(
                    &codes::STORAGE_SHARED,
                    format!("{BACKUP}.global.{}-path", repo.number),
                    format!("puts {} in the same location as {other}", repo.number),
                    format!("set {}-path to a separate path, such as /{}", repo.number, repo.number),
                );
            });
        }
    }
}

/// Two clusters in the same location do so too.
fn places_of_others(checks: &mut Checks<'_>) {
    let references = checks.references;
    for conflict in &references.conflicts {
        let part = if conflict.yields { Part::from(Some(conflict.repo)) } else { Part::Field };
        checks.within(part, |checks| checks.add(conflict.finding.clone()));
    }
}
