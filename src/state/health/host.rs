//! Findings about the host or the pods rather than the repositories.

use chrono::{DateTime, Utc};

use crate::pgbackrest::exit_code::{self, Reason};
use crate::pgbackrest::version::Product;

use super::super::human;
use super::super::snapshot::{AttemptEvidence, Evidence, OtherProgram, Repo, Stanza, StopFile, StopScope};
use super::{Finding, Health, TEXT_LIMIT};

/// Maximum characters of a stanza's name.
const NAME_LIMIT: usize = 60;
/// Maximum characters of a pod's name.
const POD_LIMIT: usize = 63;

/// Stop files, and other programs that do not respect the locks.
pub(super) fn findings(stanza: &Stanza, now: DateTime<Utc>) -> Vec<Finding> {
    let mut sentences = Vec::new();
    for file in stanza.stop_files.iter().flatten() {
        sentences.push(stopped(stanza, file, now));
    }
    sentences.extend(stanza.other_program.map(|other| other_program(other, now)));
    let of_stanza = |text| Finding { health: Health::Warning, repo_key: None, text };
    sentences.into_iter().map(of_stanza).collect()
}

/// The last backup attempt, if it failed.
pub(super) fn failed_attempt(repo: &Repo, now: DateTime<Utc>) -> Option<String> {
    let attempt = repo.last_attempt.as_ref()?;
    let failure = attempt.failure.as_ref()?;
    let kind = attempt.backup_type.map_or_else(String::new, |kind| format!(" ({})", kind.as_str()));
    let started = attempt.began.map_or_else(String::new, |at| format!(", started {},", human::age(at, now)));
    if attempt.evidence == AttemptEvidence::Lock {
        let until = attempt.ended.map_or_else(String::new, |at| format!(" until {}", human::instant(at)));
        return Some(format!(
            "a backup was running{until}, but there is no new backup: check pgBackRest's output"
        ));
    }
    if let Some(code) = failure.exit_code {
        let class = exit_code::name(code).unwrap_or("error");
        let message = failure.message.as_deref().map(|message| human::line(message, TEXT_LIMIT));
        let message = message.map_or_else(String::new, |message| format!(": {message}"));
        let when = attempt.ended.map_or_else(|| "at an unknown time".to_owned(), |at| human::age(at, now));
        return Some(format!(
            "the last backup attempt{kind} failed {when} with {class} [{code:03}]{message}"
        ));
    }
    let why = if failure.reason == Some(Reason::OomOrKill) {
        "did not log its end: it was killed, or the host went down"
    } else {
        "failed; pgBackRest's log does not show which of its errors belongs to it"
    };
    Some(format!("the last backup attempt{kind}{started} {why}"))
}

fn stopped(stanza: &Stanza, file: &StopFile, now: DateTime<Utc>) -> String {
    let name = human::line(&stanza.name, NAME_LIMIT);
    let (what, remedy) = match file.scope {
        StopScope::Stanza => ("this stanza", format!("pgbackrest --stanza={name} start")),
        StopScope::All => ("all stanzas", "pgbackrest start".to_owned()),
    };
    let since = file.since.map_or_else(|| "at an unknown time".to_owned(), |since| human::age(since, now));
    let (place, there) = match &file.pod {
        Some(pod) => (format!("in pod {}", human::line(pod, POD_LIMIT)), " there"),
        None => ("on this host".to_owned(), ""),
    };
    format!(
        "pgbackrest stop was run for {what} {since}: {place} archive-push, backup, expire and stanza commands fail until {remedy} is run{there}"
    )
}

fn other_program(other: OtherProgram, now: DateTime<Utc>) -> String {
    let name = other.product.map_or("Another program", Product::name);
    let what = match other.evidence {
        Evidence::Lock => "locked the stanza in its own lock-path",
        Evidence::Backup => "made a backup",
    };
    let age = human::age(other.seen_at, now);
    format!(
        "{name} {what} {age}, and it does not respect the locks of the program that is queried here: use only one of them, or set the same lock-path for both"
    )
}
