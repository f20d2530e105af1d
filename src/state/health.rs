//! The health of a stanza and its repositories: one word, and findings in sentences, worst first.
//!
//! Based only on the snapshot; the maximum age of backups is a matter of alert rules.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fmt::{self, Write as _};

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::answer;
use super::archiver::Archiver;
use super::comparison;
use super::filter::UNLISTED;
use super::human;
use super::recovery;
use super::retention;
use super::snapshot::{Backup, Repo, RepoState, ScopeHealth, ScopeKind, Snapshot, Stanza};

/// Credentials that expire sooner than this cause a warning.
const CREDENTIAL_NOTICE: TimeDelta = TimeDelta::days(14);
/// Maximum characters of free text in a sentence.
const TEXT_LIMIT: usize = 240;

/// The overall state, worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// No problem is known.
    Ok,
    /// Something needs attention; a restore is still possible according to the facts.
    Warning,
    /// Nothing can be restored now, or nothing is known.
    Failed,
}

impl Judged<'_> {
    /// Whether this is a stanza, rather than repositories whose stanzas are unknown because they cannot be listed.
    #[must_use]
    pub fn is_stanza(&self) -> bool {
        self.name != UNLISTED
    }

    /// The name to display.
    #[must_use]
    pub fn title(&self, limit: usize) -> String {
        if self.is_stanza() { human::line(self.name, limit) } else { human::UNLISTED_TITLE.to_owned() }
    }
}

impl Health {
    /// The display name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for Health {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A problem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Its severity; never [`Health::Ok`].
    pub health: Health,
    /// The affected repository; absent if it affects the stanza.
    pub repo_key: Option<u32>,
    /// One sentence, cleaned and bounded.
    pub text: String,
}

/// The assessment of a stanza or a repository.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Assessment {
    /// The health.
    pub health: Health,
    /// The problems, worst first.
    pub findings: Vec<Finding>,
}

/// An assessed stanza, possibly without facts.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged<'a> {
    pub name: &'a str,
    /// Its facts; absent if it has never answered, or if they were too old to keep.
    pub stanza: Option<&'a Stanza>,
    /// Its archiver, if the PostgreSQL cluster is on this host or in Kubernetes.
    pub archiver: Option<&'a Archiver>,
    /// The assessment.
    pub assessment: Assessment,
}

/// All stanzas of the snapshot, worst first, then by name.
#[must_use]
pub fn of_snapshot(snapshot: &Snapshot, now: DateTime<Utc>, fresh_for: Option<TimeDelta>) -> Vec<Judged<'_>> {
    let scopes = &snapshot.collection.scopes;
    let judge = |name, stanza, assessment: Assessment| {
        let archiver = snapshot.archivers.get(name);
        Judged { name, stanza, archiver, assessment: with_archiver(assessment, archiver, now) }
    };
    let known = snapshot.stanzas.iter().map(|stanza| {
        judge(&*stanza.name, Some(stanza), of_stanza(stanza, scopes.get(&stanza.name), now, fresh_for))
    });
    let named: BTreeSet<&str> = snapshot.stanzas.iter().map(|stanza| &*stanza.name).collect();
    let without_facts = scopes
        .iter()
        .filter(|(name, scope)| scope.kind == ScopeKind::Stanza && !named.contains(&***name))
        .map(|(name, scope)| judge(&**name, None, judged(vec![no_facts(scope, now)])));
    let mut all: Vec<Judged<'_>> = known.chain(without_facts).collect();
    all.sort_by_key(|one| (Reverse(one.assessment.health), one.name));
    all
}

/// Adds the problems of the archiver.
fn with_archiver(assessment: Assessment, archiver: Option<&Archiver>, now: DateTime<Utc>) -> Assessment {
    let sentences = archiver.map_or_else(Vec::new, |archiver| archiver::sentences(archiver, now));
    if sentences.is_empty() {
        return assessment;
    }
    let Assessment { health, mut findings } = assessment;
    let warning = |text| Finding { health: Health::Warning, repo_key: None, text };
    findings.extend(sentences.into_iter().map(warning));
    findings.sort_by_key(|finding| Reverse(finding.health));
    Assessment { health: health.max(Health::Warning), findings }
}

/// Assesses a stanza over its repositories: failed only if none of them can be restored from.
///
/// `scope` is the health of collecting the stanza; facts older than `fresh_for` are reported as old.
#[must_use]
pub fn of_stanza(
    stanza: &Stanza,
    scope: Option<&ScopeHealth>,
    now: DateTime<Utc>,
    fresh_for: Option<TimeDelta>,
) -> Assessment {
    let mut findings = collection_findings(scope, now);
    let mut is_any_usable = false;
    for repo in &stanza.repos {
        let assessment = of_repo(repo, now, fresh_for);
        is_any_usable |= assessment.health != Health::Failed;
        findings.extend(assessment.findings);
    }
    if stanza.repos.is_empty() {
        findings.push(Finding {
            health: Health::Failed,
            repo_key: None,
            text: no_repository_sentence(stanza),
        });
    }
    findings.extend(cluster_finding(stanza));
    findings.extend(host::findings(stanza, now));
    let mut assessment = judged(findings);
    if is_any_usable {
        assessment.health = assessment.health.min(Health::Warning);
    }
    assessment
}

/// Assesses one repository of a stanza.
#[must_use]
pub fn of_repo(repo: &Repo, now: DateTime<Utc>, fresh_for: Option<TimeDelta>) -> Assessment {
    let mut findings = Vec::new();
    let mut add = |health, text| findings.push(Finding { health, repo_key: Some(repo.key), text });
    let is_old = repo.collected_at < now && fresh_for.is_some_and(|limit| now - repo.collected_at > limit);
    let read = || human::age(repo.collected_at, now);
    if let Some(mut text) = state_sentence(repo) {
        if !repo.backups.is_empty() {
            // Writing to a String cannot fail.
            let _ = write!(text, "; its last known state was read {}", read());
        }
        add(Health::Failed, text);
    } else if repo.backups.is_empty() {
        add(Health::Failed, "no backup exists here".to_owned());
    } else if recovery::window(repo).is_none() {
        add(Health::Failed, unrestorable_sentence(repo));
    }
    for sentence in wal::sentences(repo) {
        add(Health::Warning, sentence);
    }
    if is_old && repo.is_up() {
        add(Health::Warning, format!("data is outdated: last read {}", read()));
    }
    let ahead = repo.backups.iter().filter(|backup| repo.is_in_future(backup)).count();
    if ahead > 0 {
        let are = if ahead == 1 { "is" } else { "are" };
        add(
            Health::Warning,
            format!(
                "{} {are} dated in the future and not counted as the newest: check the clock of the PostgreSQL host",
                human::count(ahead, "backup"),
            ),
        );
    }
    let backwards = repo.backups.iter().filter(|backup| backup.duration().is_none()).count();
    if backwards > 0 {
        let end = if backwards == 1 { "ends before it starts" } else { "end before they start" };
        add(
            Health::Warning,
            format!("{} {end}: check the clock of the PostgreSQL host", human::count(backwards, "backup")),
        );
    }
    let broken: Vec<&Backup> = repo.backups.iter().filter(|backup| backup.error == Some(true)).collect();
    if let Some(newest) = broken.last() {
        let kept = repo.backups.len();
        add(
            Health::Warning,
            format!(
                "page checksum errors in {} of {}, most recently in {}: check the data files of PostgreSQL",
                broken.len(),
                human::count(kept, "backup"),
                human::line(&newest.label, 60),
            ),
        );
    }
    for sentence in expiry::sentences(repo) {
        add(Health::Warning, sentence);
    }
    if let Some(sentence) = host::failed_attempt(repo, now) {
        add(Health::Warning, sentence);
    }
    for sentence in restore_tests::sentences(repo, now) {
        add(Health::Warning, sentence);
    }
    for sentence in verifications::sentences(repo, now) {
        add(Health::Warning, sentence);
    }
    for verdict in retention::checks(repo, now).iter().filter(|verdict| !verdict.satisfied) {
        let kept = answer::kept(repo, verdict.backup_type);
        add(
            Health::Warning,
            format!(
                "retention requires {} {} backups, found {kept}: backups were not made, or were removed",
                verdict.required,
                verdict.backup_type.as_str(),
            ),
        );
    }
    for credential in repo.settings.iter().flat_map(|settings| &settings.credentials) {
        let name = human::credential_name(credential.kind);
        let left = credential.not_after - now;
        if left <= TimeDelta::zero() {
            add(Health::Warning, format!("{name} expired at {}", human::instant(credential.not_after)));
        } else if left < CREDENTIAL_NOTICE {
            add(Health::Warning, format!("{name} expires in {}", human::duration(left)));
        }
    }
    judged(findings)
}

/// The state in pgBackRest's words, or its error class; for state ok, the health.
#[must_use]
pub fn word_of_repo(repo: &Repo, health: Health) -> &'static str {
    match (repo.state, repo.error) {
        (RepoState::Ok, _) => health.as_str(),
        (RepoState::Other, Some(class)) => class,
        _ => human::state_words(repo.state),
    }
}

fn judged(mut findings: Vec<Finding>) -> Assessment {
    findings.sort_by_key(|finding| Reverse(finding.health));
    let health = findings.first().map_or(Health::Ok, |worst| worst.health);
    Assessment { health, findings }
}

fn state_sentence(repo: &Repo) -> Option<String> {
    let message = human::line(&repo.status_message, TEXT_LIMIT);
    let message = message.trim_end_matches(':');
    let remedy = match repo.state {
        RepoState::Ok => return None,
        RepoState::NoValidBackups if repo.progress.is_some() => "no backup yet; the first one is running",
        RepoState::NoValidBackups => "no backup yet: take a full backup",
        RepoState::MissingStanzaPath => {
            "the stanza does not exist here: check the repository's path, or run stanza-create"
        }
        RepoState::MissingStanzaData => {
            "backup.info is missing here: restore it, or run stanza-create if the repository is new"
        }
        RepoState::BackupNotFound => "the requested backup does not exist here",
        RepoState::Timeout if message.is_empty() => "no response within the timeout",
        RepoState::Other if message.is_empty() => "pgBackRest cannot read the repository",
        RepoState::Timeout | RepoState::Other => message,
    };
    Some(remedy.to_owned())
}

fn no_repository_sentence(stanza: &Stanza) -> String {
    match human::line(&stanza.status_message, TEXT_LIMIT) {
        message if message.is_empty() => format!("No repository: status code {}", stanza.status_code),
        message => format!("No repository: {message}"),
    }
}

fn unrestorable_sentence(repo: &Repo) -> String {
    let current = repo.current_database();
    let is_of_current = |backup: &Backup| current.is_some_and(|database| database.id == backup.database_id);
    match current {
        Some(database) if !repo.backups.iter().any(is_of_current) => format!(
            "no backup of the current cluster (PostgreSQL {}, database id {}) yet: take a full backup",
            human::line(&database.version, 20),
            database.id,
        ),
        _ if recovery::proof(repo).is_some() => "no backup can be restored".to_owned(),
        _ => {
            "no backup can be made consistent: the WAL that the backups need is not in the archive".to_owned()
        }
    }
}

fn collection_findings(scope: Option<&ScopeHealth>, now: DateTime<Utc>) -> Vec<Finding> {
    let Some(scope) = scope.filter(|scope| !scope.up) else { return Vec::new() };
    let message = scope.failure.as_ref().map_or_else(
        || "The last collection did not cover every repository".to_owned(),
        |failure| format!("The last collection failed: {}", human::line(&failure.message, TEXT_LIMIT)),
    );
    let answer = scope.last_success.map_or_else(|| "never".to_owned(), |at| human::age(at, now));
    vec![Finding {
        health: Health::Warning,
        repo_key: None,
        text: format!("{message} (last success: {answer})"),
    }]
}

fn no_facts(scope: &ScopeHealth, now: DateTime<Utc>) -> Finding {
    let since = scope.last_success.map_or_else(
        || "it never succeeded".to_owned(),
        |at| format!("it last succeeded {}", human::age(at, now)),
    );
    let text = format!("No current data from collection: {since}; {}", human::failure(scope));
    Finding { health: Health::Failed, repo_key: None, text }
}

fn cluster_finding(stanza: &Stanza) -> Option<Finding> {
    (comparison::system_ids_match(stanza) == Some(false)).then(|| Finding {
        health: Health::Warning,
        repo_key: None,
        text:
            "The repositories belong to different PostgreSQL clusters: run stanza-upgrade, or check pg-path"
                .to_owned(),
    })
}

mod archiver;
mod expiry;
mod host;
mod restore_tests;
mod verifications;
mod wal;

pub use archiver::{archiver_line, window_end};
pub use wal::default_restore_sentence;

#[cfg(test)]
mod tests;
