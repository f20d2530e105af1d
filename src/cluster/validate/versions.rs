//! Which version of pgBackRest runs in which container.

use std::collections::BTreeMap;

use super::Checks;
use super::parts::Part;
use crate::cluster::finding::codes;
use crate::cluster::line::Line;
use crate::cluster::references::{Lookup, References};
use crate::cluster::resource::{BACKUP, Pgbackrest, Postgresql};
use crate::cluster::validated::{RepoNumber, Storage, ValidatedRepo, need_repo_host};
use crate::pgbackrest::options::{self, since};
use crate::pgbackrest::version::{self, Version};

/// What this version has is not worth a question.
const OLDEST_TESTED: (u32, u32) = (2, 45);

/// The versions, as far as they are known.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Versions {
    /// In PostgreSQL's containers, where the backups of repos in object stores are made.
    database: Option<Version>,
    /// On the repo host.
    repo_host: Option<Version>,
}

impl Versions {
    /// What was seen in the pods counts more than what the tags of the images say. A repo host and PostgreSQL's pods only
    /// work together with the same version.
    pub(super) fn of(
        resource: &Postgresql,
        section: &Pgbackrest,
        with_repo_host: bool,
        references: &References,
    ) -> Self {
        let of_image = |image: &Option<String>| image.as_deref().and_then(of_image);
        let repo_host = of_image(&section.image).filter(|_| with_repo_host);
        let database = of_image(&resource.spec.docker_image).or(repo_host);
        Self {
            database: references.version.or(database),
            repo_host: references.version.or(repo_host).filter(|_| with_repo_host),
        }
    }

    /// Where the backups of this repo are made.
    pub(super) fn of_repo(&self, repo: &ValidatedRepo) -> Option<Version> {
        if repo.on_repo_host { self.repo_host } else { self.database }
    }

    /// Whether the repo host takes this value of `backup-standby`.
    pub(super) fn take_backup_standby(&self, value: &str, field: &str, checks: &mut Checks<'_>) -> bool {
        let Some(since) = since::value("backup-standby", value) else { return true };
        needs(&[self.repo_host], since, None, field, &format!("is {value}"), checks)
    }

    /// Those of all containers that run pgBackRest.
    fn in_use(&self, repos: &[ValidatedRepo]) -> Vec<Option<Version>> {
        let repo_host = need_repo_host(repos).then_some(self.repo_host);
        [Some(self.database), repo_host].into_iter().flatten().collect()
    }
}

/// Notes what the versions in use do not have, and removes such options from `global`.
pub(super) fn look(
    repos: &[ValidatedRepo],
    global: &mut BTreeMap<String, Line>,
    versions: &Versions,
    checks: &mut Checks<'_>,
) {
    for repo in repos {
        let endpoint = match &repo.storage {
            Storage::S3 { endpoint, .. } => Some(endpoint),
            Storage::Azure { endpoint, .. } | Storage::Gcs { endpoint, .. } => endpoint.as_ref(),
            Storage::Volume(_) => None,
        };
        if endpoint.is_some_and(|endpoint| endpoint.starts_with("http://")) {
            let field = format!("{BACKUP}.repos");
            let what = format!("has an endpoint with http:// for {}", repo.number);
            // pgBackRest commit 2398dd4d4; before that, error 103.
            needs(&[versions.of_repo(repo)], (2, 58), Some(repo.number), &field, &what, checks);
        }
    }
    global.retain(|name, value| {
        option(name, value, &format!("{BACKUP}.global.{name}"), repos, versions, checks)
    });
    let Lookup::Found(facts) = &checks.references.secret else { return };
    let field = format!("{BACKUP}.configuration.secret");
    for (_, given) in facts.options().filter(|(_, given)| given.section == "global") {
        if let Some(choice) = &given.choice {
            option(&given.name, choice, &field, repos, versions, checks);
        }
    }
}

/// Whether all versions in use take an option.
fn option(
    name: &str,
    value: &str,
    field: &str,
    repos: &[ValidatedRepo],
    versions: &Versions,
    checks: &mut Checks<'_>,
) -> bool {
    let Some(known) = options::find(name) else { return true };
    let repo = repos.iter().find(|repo| Some(u32::from(repo.number.get())) == known.repo);
    let containers: Vec<Option<Version>> = match repo {
        Some(repo) if !repo.on_repo_host => vec![versions.of_repo(repo)],
        _ => versions.in_use(repos),
    };
    if let Some(since) = since::value(&known.canonical, value) {
        let what = format!("sets {} to {value}", known.canonical);
        return needs(&containers, since, repo.map(|repo| repo.number), field, &what, checks);
    }
    let Some(since) = since::option(&known.canonical) else { return true };
    let Some(older) = containers.iter().flatten().find(|version| !version.is_at_least(since)) else {
        return true;
    };
    checks.note(
        &codes::OPTION_IGNORED,
        field,
        format!("is ignored by {}; it exists since {}.{}", older.with_name(), since.0, since.1),
        "use a newer pgBackRest, or remove it",
    );
    false
}

/// Whether no version that makes backups of these repos is known to lack an option of `backup`.
pub(super) fn have_backup_option(
    versions: &Versions,
    repos: &[&ValidatedRepo],
    name: &str,
    field: &str,
    checks: &mut Checks<'_>,
) -> bool {
    let Some(since) = since::option(name) else { return true };
    let containers: Vec<Option<Version>> = repos.iter().map(|repo| versions.of_repo(repo)).collect();
    needs(&containers, since, None, field, &format!("contains --{name}"), checks)
}

/// Whether no version in use is known to fail with a setting. `containers` are the versions where it matters.
fn needs(
    containers: &[Option<Version>],
    since: (u32, u32),
    repo: Option<RepoNumber>,
    field: &str,
    what: &str,
    checks: &mut Checks<'_>,
) -> bool {
    let needed = format!("pgBackRest {}.{}", since.0, since.1);
    if let Some(older) = containers.iter().flatten().find(|version| !version.is_at_least(since)) {
        let message = format!("{what}, which needs {needed}, but {} is used", older.with_name());
        checks.within(Part::from(repo), |checks| {
            checks.note(
                &codes::VERSION_TOO_OLD,
                field,
                message,
                format!("use images with {needed} or later, or change it"),
            );
        });
        return false;
    }
    if containers.iter().any(Option::is_none) && since > OLDEST_TESTED {
        checks.note(
            &codes::VERSION_NOT_CHECKED,
            field,
            format!("{what}, which needs {needed}; the version that is used is not known"),
            format!("make sure that the images have {needed} or later"),
        );
    }
    true
}

/// The version that the tag of an image names, such as `pgbackrest:2.58.0-1` or `crunchy-pgbackrest:ubi8-2.51-1`. Only if the
/// name or the tag mentions pgBackRest, as the number may be that of something else.
fn of_image(image: &str) -> Option<Version> {
    let image = image.split('@').next()?;
    let name = image.rsplit('/').next()?;
    let (_, tag) = name.split_once(':')?;
    if !name.contains("pgbackrest") {
        return None;
    }
    let words = tag.split(['-', '_', '+']).map(|word| word.trim_start_matches('v'));
    let mut versions = words.filter_map(|word| {
        // There are 2.00 to 2.99, with two digits.
        let minor = word.strip_prefix("2.")?.split('.').next()?;
        (minor.len() == 2).then(|| version::parse(&format!("pgBackRest {word}")))?
    });
    let version = versions.next()?;
    versions.next().is_none().then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_names_the_version_only_of_an_image_with_pgbackrest() {
        let number = |image: &str| of_image(image).map(|version| version.to_string());
        for (image, expected) in [
            ("registry.example/pgbackrest:2.58", Some("2.58.0")),
            ("registry.example:5000/backup/pgbackrest:v2.52.1", Some("2.52.1")),
            ("crunchy-pgbackrest:ubi8-2.51-1", Some("2.51")),
            ("registry.example/tools:pgbackrest-2.45", Some("2.45")),
            ("pgbackrest:2.58.0@sha256:2d45", Some("2.58.0")),
            ("registry.example/cpo-container:pgbackrest-16.4-1", None),
            ("registry.example/pgbackrest:latest", None),
            ("registry.example/pgbackrest", None),
            ("registry.example:2.45/pgbackrest", None),
            ("registry.example/postgres:2.58", None),
            ("registry.example/pgbackrest:2.5", None),
            ("registry.example/pgbackrest:2.45-2.58", None),
            ("pgbackrest.example/postgres:2.58", None),
            ("", None),
        ] {
            assert_eq!(number(image).as_deref(), expected, "{image}");
        }
    }
}
