//! Tells the log what is different between two snapshots: each failure once, and its end.

use crate::state::archive::{Continuity, Unrestorable};
use crate::state::human;
use crate::state::snapshot::{Repo, RepoState, ScopeHealth, Snapshot};

/// Logs what changed for the better or the worse.
pub(super) fn log(before: &Snapshot, after: &Snapshot) {
    if before.version != after.version
        && let Some(version) = after.version
    {
        tracing::info!(%version, "Detected pgBackRest version");
    }
    for (scope, health) in &after.collection.scopes {
        log_scope(scope, before.collection.scopes.get(scope), health);
    }
    for scope in before.collection.scopes.keys() {
        if !after.collection.scopes.contains_key(scope) {
            tracing::warn!(stanza = &**scope, "Stanza disappeared");
        }
    }
    for stanza in &after.stanzas {
        let known = before.stanza(&stanza.name);
        for repo in &stanza.repos {
            let before = known.and_then(|stanza| stanza.repo(repo.key));
            log_repo(&stanza.name, before, repo);
            log_wal(&stanza.name, before.and_then(|before| before.wal.as_deref()), repo);
        }
    }
}

fn log_scope(scope: &str, before: Option<&ScopeHealth>, after: &ScopeHealth) {
    let reason = |health: &ScopeHealth| health.failure.as_ref().map(|failure| failure.reason);
    let was_up = before.is_none_or(|before| before.up);
    match &after.failure {
        Some(failure) if was_up || before.and_then(reason) != Some(failure.reason) => {
            tracing::warn!(scope, reason = failure.message, "Collection failed");
        }
        None if after.up && !was_up => tracing::info!(scope, "Collection recovered"),
        _ => (),
    }
}

fn log_repo(stanza: &str, before: Option<&Repo>, after: &Repo) {
    let was_well = before.is_none_or(|before| before.state == RepoState::Ok);
    if before.is_some_and(|before| before.state == after.state) || (was_well && after.state == RepoState::Ok)
    {
        return;
    }
    let repo = after.key;
    if after.state == RepoState::Ok {
        tracing::info!(stanza, repo, "Repository recovered");
        return;
    }
    // Without an answer the scope tells why.
    if after.status_code.is_some() {
        tracing::warn!(stanza, repo, reason = reason(after), "Repository failed");
    }
}

/// What pgBackRest says, in one line. That may go over many lines, and hold what a repository or a wrong passphrase made of
/// it; or it says nothing.
fn reason(repo: &Repo) -> String {
    let words: Vec<&str> = repo.status_message.split_whitespace().collect();
    let message: String = words.join(" ").chars().filter(|letter| !letter.is_control()).take(500).collect();
    if !message.is_empty() {
        return message;
    }
    let code = repo.status_code.map_or_else(String::new, |code| format!(" (status code {code})"));
    format!("{}{code}, without a message from pgBackRest", human::state_words(repo.state))
}

/// Tells what a listing found beyond the one before, and when all of it is well again.
fn log_wal(stanza: &str, before: Option<&Continuity>, after: &Repo) {
    let (found, repo) = (after.wal.as_deref().map(trouble), after.key);
    let was = before.map(trouble);
    if found == was || (was.is_none() && found == Some(Trouble::default())) {
        return;
    }
    match found {
        Some(found) if found == Trouble::default() => {
            tracing::info!(stanza, repo, "WAL archive recovered");
        }
        Some(found) => tracing::warn!(
            stanza,
            repo,
            missing = found.missing,
            unrestorable = found.unrestorable,
            duplicates = found.duplicates,
            "WAL archive is incomplete"
        ),
        None => tracing::warn!(stanza, repo, "No recent scan of the WAL archive"),
    }
}

/// What is wrong with an archive, in numbers.
#[derive(Debug, Default, PartialEq, Eq)]
struct Trouble {
    missing: u64,
    unrestorable: u64,
    duplicates: u64,
}

fn trouble(wal: &Continuity) -> Trouble {
    let Unrestorable { wal: without_wal, directory, reference, unknown } = wal.unrestorable;
    Trouble {
        missing: wal.missing(),
        unrestorable: without_wal + directory.unwrap_or(0) + reference + unknown,
        duplicates: wal.duplicates,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_never_empty() {
        let told = |state, code, message: &str| {
            let answer = format!(
                r#"[{{"name":"db","repo":[{{"key":1,"status":{{"code":{code},"message":"{message}"}}}}]}}]"#
            );
            let document = crate::pgbackrest::info::parse(&answer).unwrap();
            let stanza =
                crate::state::assemble::stanza(document.stanza("db").unwrap(), chrono::DateTime::UNIX_EPOCH);
            assert_eq!(stanza.repos[0].state, state);
            reason(&stanza.repos[0])
        };
        assert_eq!(
            told(RepoState::Other, 99, r"[PathOpenError]\n   access denied"),
            "[PathOpenError] access denied"
        );
        for nothing in ["", " ", r"\u0001\n"] {
            let reason = told(RepoState::Other, 99, nothing);
            assert_eq!(reason, "error (status code 99), without a message from pgBackRest");
        }
        let reason = told(RepoState::MissingStanzaData, 3, "");
        assert_eq!(reason, "missing stanza data (status code 3), without a message from pgBackRest");
    }
}
