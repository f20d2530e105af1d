//! What is left out because of an error: the whole cluster, some of its repos, or only the field itself.

use std::collections::BTreeSet;

use super::Checks;
use crate::cluster::finding::codes;
use crate::cluster::references::Lookup;
use crate::cluster::resource::{BACKUP, Pgbackrest};
use crate::cluster::validated::{RepoNumber, ValidatedRepo};
use crate::pgbackrest::options;

/// What is not set up because of an error.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Part {
    /// Everything.
    #[default]
    Cluster,
    /// These repos.
    Repos(Vec<RepoNumber>),
    /// The field with the error, which counts as not set.
    Field,
}

impl From<Option<RepoNumber>> for Part {
    /// What belongs to no repo is a field.
    fn from(repo: Option<RepoNumber>) -> Self {
        repo.map_or(Self::Field, |repo| Self::Repos(vec![repo]))
    }
}

/// What is left out so far.
#[derive(Debug, Default)]
pub(super) struct LeftOut {
    pub(super) cluster: bool,
    repos: BTreeSet<RepoNumber>,
}

impl LeftOut {
    pub(super) fn add(&mut self, part: &Part) {
        match part {
            Part::Cluster => self.cluster = true,
            Part::Repos(repos) => self.repos.extend(repos),
            Part::Field => {}
        }
    }
}

/// The repos without errors. The others are left out, unless that would do harm: then nothing is set up.
pub(super) fn good_repos(
    section: &Pgbackrest,
    repos: Vec<ValidatedRepo>,
    adopts: bool,
    checks: &mut Checks<'_>,
) -> Vec<ValidatedRepo> {
    let is_good = |repo: &ValidatedRepo| !checks.left_out.repos.contains(&repo.number);
    let good: Vec<ValidatedRepo> = repos.into_iter().filter(is_good).collect();
    if good.is_empty() || checks.left_out.cluster {
        checks.left_out.cluster = true;
        return good;
    }
    if let Some(why) = why_not_without(section, &good, adopts, checks) {
        checks.left_out.cluster = true;
        checks.note(
            &codes::REPO_HELD,
            format!("{BACKUP}.repos"),
            format!("contains a repo with errors that cannot be left out: {why}; nothing is changed"),
            "fix the errors; to give up the repo, remove it from the resource",
        );
        return good;
    }
    for (index, given) in section.repos.iter().enumerate() {
        let name = given.name.as_deref().unwrap_or_default();
        if !good.iter().any(|repo| RepoNumber::of_name(name) == Some(repo.number)) {
            checks.note_value(
                &codes::REPO_LEFT_OUT,
                format!("{BACKUP}.repos[{index}]"),
                name,
                "is not set up, because it has errors; the other repos are",
                "fix the errors",
            );
        }
    }
    good
}

/// Why the configuration must not lack a repo that the resource contains.
fn why_not_without(
    section: &Pgbackrest,
    good: &[ValidatedRepo],
    adopts: bool,
    checks: &Checks<'_>,
) -> Option<String> {
    let is_good = |number: RepoNumber| good.iter().any(|repo| repo.number == number);
    let declared: Vec<RepoNumber> = declared(section).collect();
    // A name that is no name of a repo may be a misspelled one.
    let is_misspelled = declared.len() < section.repos.len();
    let in_use = |number: &&RepoNumber| !is_good(**number) && (declared.contains(*number) || is_misspelled);
    if let Some(number) = checks.references.established.iter().find(in_use) {
        return Some(format!("{number} is in use, and its archive would get a gap"));
    }
    if adopts && good.len() < section.repos.len() {
        return Some("it may be in use in the objects that are taken over".to_owned());
    }
    let Lookup::Found(secret) = &checks.references.secret else { return None };
    let defined = secret.options().find_map(|(_, option)| {
        let known = options::find(&option.name).filter(|_| options::defines_repo(&option.name))?;
        let number = declared.iter().find(|number| Some(u32::from(number.get())) == known.repo)?;
        (!is_good(*number)).then_some((*number, known.canonical))
    });
    defined.map(|(number, option)| {
        format!("{option} in the Secret would make pgBackRest use {number} on the local disk")
    })
}

/// The repos in the resource, even if they are otherwise invalid.
pub(super) fn declared(section: &Pgbackrest) -> impl Iterator<Item = RepoNumber> {
    section.repos.iter().filter_map(|repo| RepoNumber::of_name(repo.name.as_deref()?))
}
