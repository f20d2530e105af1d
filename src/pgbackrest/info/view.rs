//! The requested part of the output of `info`. All callers use this view, so that they interpret answers in the same way.
//!
//! Five cases are distinguished: the answer cannot be parsed, or does not contain what was requested
//! ([`AnswerError`]); the repository cannot be read, has no such stanza, or has it ([`Presence`]). Every version from
//! 2.20 on names a stanza that it was asked for, even if no repository has it, and from 2.32 on every repository; an
//! empty array is a valid answer only to the query for all stanzas.

use super::super::command::InfoQuery;
use super::super::redact::Said;
use super::{
    InfoArchive, InfoBackup, InfoDatabase, InfoDocument, InfoStanza, MAX_UNREADABLE, ParseError,
    RepoProgress, StatusCode, Unreadable, parse_rest,
};

/// The number of the only repository in versions before 2.32, which do not number it.
pub const UNNUMBERED_REPO: u32 = 0;

/// Why an answer does not match the query.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// It cannot be parsed.
    #[error(transparent)]
    Unreadable(#[from] ParseError),
    /// It names the stanza, but the rest cannot be parsed.
    #[error(
        "pgbackrest info returned data about stanza {0} that cannot be read; run the same command manually to see it"
    )]
    StanzaUnreadable(String),
    /// It does not contain the stanza, or the repository.
    #[error("pgbackrest info does not mention {0}; run the same command manually to see its output")]
    NotInAnswer(String),
}

/// Whether a repository has a stanza.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It has the stanza, with or without backups (codes 0, 2 and 6).
    Present,
    /// It is readable and has no such stanza (codes 1 and 3).
    Missing,
    /// It cannot be read, so its contents are unknown (code 99, and unknown codes).
    Unreadable,
}

impl StatusCode {
    /// The meaning of a repository's code. Codes 4 and 5 are about several repositories.
    #[must_use]
    pub const fn presence(self) -> Presence {
        match self.0 {
            0 | 2 | 6 => Presence::Present,
            1 | 3 => Presence::Missing,
            _ => Presence::Unreadable,
        }
    }
}

/// Parses an answer that [`super::super::sanitize::clean`] has cleaned, and checks that it contains what `query`
/// asked for.
pub fn answer<'a>(text: &'a str, query: &InfoQuery) -> Result<InfoDocument<'a>, AnswerError> {
    answer_of_rest(text, |_| 0, query)
}

/// The same for what is left of a document, as for [`parse_rest`].
pub fn answer_of_rest<'a>(
    text: &'a str,
    taken: impl Fn(usize) -> usize,
    query: &InfoQuery,
) -> Result<InfoDocument<'a>, AnswerError> {
    let mut document = parse_rest(text, taken)?;
    let unreadable = &mut document.unreadable;
    document.stanzas.retain(|stanza| {
        let is_told = stanza.names_repositories();
        if !is_told && unreadable.len() < MAX_UNREADABLE {
            unreadable.push(Unreadable::Stanza(stanza.name.to_string()));
        }
        is_told
    });
    let asked = query.stanza.as_ref().map(|name| document.stanza(name)).transpose()?;
    if let Some(repo) = query.repo {
        match asked {
            Some(stanza) => _ = stanza.repo(repo)?,
            None => document.stanzas().try_for_each(|stanza| stanza.repo(repo).map(|_| ()))?,
        }
    }
    Ok(document)
}

impl InfoDocument<'_> {
    /// All readable stanzas.
    pub fn stanzas(&self) -> impl Iterator<Item = StanzaView<'_>> {
        self.stanzas.iter().map(|raw| StanzaView { raw })
    }

    /// A stanza that was asked for.
    pub fn stanza(&self, name: &str) -> Result<StanzaView<'_>, AnswerError> {
        self.stanzas().find(|stanza| &*stanza.raw.name == name).ok_or_else(|| {
            let is_it = |unreadable: &Unreadable| *unreadable == Unreadable::Stanza(name.to_owned());
            if self.unreadable.iter().any(is_it) {
                AnswerError::StanzaUnreadable(name.to_owned())
            } else {
                AnswerError::NotInAnswer(format!("stanza {name}"))
            }
        })
    }
}

/// One stanza.
#[derive(Debug, Clone, Copy)]
pub struct StanzaView<'a> {
    /// As printed.
    pub raw: &'a InfoStanza<'a>,
}

impl<'a> StanzaView<'a> {
    /// Its repositories.
    pub fn repos(self) -> impl Iterator<Item = RepoView<'a>> {
        let keys = self.raw.repo.iter().map(|repo| repo.key);
        let unnumbered = self.raw.repo.is_empty().then_some(UNNUMBERED_REPO);
        keys.chain(unnumbered).map(move |key| self.view(key))
    }

    /// A repository that was asked for.
    pub fn repo(self, key: u32) -> Result<RepoView<'a>, AnswerError> {
        let found = self.repos().find(|repo| repo.key == key);
        found.ok_or_else(|| AnswerError::NotInAnswer(format!("repo{key} for stanza {}", self.raw.name)))
    }

    /// Whether a backup, expire or stanza command is running on the queried host, if known (2.27 and
    /// later, pgBackRest commit e92eb709d).
    ///
    /// pgBackRest checks only the locks of repositories where it could read the stanza.
    #[must_use]
    pub fn is_backup_locked(self) -> Option<bool> {
        self.raw.status.lock.backup.as_ref()?.held
    }

    fn view(self, key: u32) -> RepoView<'a> {
        let raw = self.raw;
        let own = raw.repo.iter().find(|repo| repo.key == key);
        let (code, message) =
            own.map_or((raw.status.code, &raw.status.message), |own| (own.status.code, &own.status.message));
        let cipher = own.map_or(&raw.cipher, |own| &own.cipher).as_deref();
        RepoView { key, code, message, cipher, stanza: raw }
    }
}

/// One repository of a stanza.
#[derive(Debug, Clone, Copy)]
pub struct RepoView<'a> {
    /// Its number; [`UNNUMBERED_REPO`] before 2.32.
    pub key: u32,
    /// Its status; before 2.32 that of the stanza.
    pub code: StatusCode,
    /// The status message.
    pub message: &'a Said<'a>,
    /// `none` or `aes-256-cbc`.
    pub cipher: Option<&'a str>,
    stanza: &'a InfoStanza<'a>,
}

impl<'a> RepoView<'a> {
    /// PostgreSQL clusters that have used the stanza in this repository.
    pub fn databases(self) -> impl Iterator<Item = &'a InfoDatabase<'a>> {
        self.stanza.db.iter().filter(move |database| self.has(database.repo_key))
    }

    /// The PostgreSQL cluster that currently uses the stanza.
    #[must_use]
    pub fn current_database(self) -> Option<&'a InfoDatabase<'a>> {
        self.databases().max_by_key(|database| database.id)
    }

    /// WAL ranges.
    pub fn archives(self) -> impl Iterator<Item = &'a InfoArchive<'a>> {
        self.stanza.archive.iter().filter(move |archive| self.has(archive.database.repo_key))
    }

    /// Backups that were not taken out of the document, oldest first.
    pub fn backups(self) -> impl Iterator<Item = &'a InfoBackup<'a>> {
        self.stanza.backup.iter().filter(move |backup| self.has(backup.database.repo_key))
    }

    /// Progress of the backup to this repository that is running on the queried host (2.59 and later).
    #[must_use]
    pub fn progress(self) -> Option<&'a RepoProgress> {
        let lock = self.stanza.status.lock.backup.as_ref().filter(|lock| lock.held == Some(true))?;
        lock.repo.iter().find(|progress| progress.key == self.key)
    }

    /// Whether an entry with this number of a repository is about this one. An entry without a number belongs to the only one.
    #[must_use]
    pub fn has(self, named: Option<u32>) -> bool {
        let repos = &self.stanza.repo;
        named.map_or(repos.len() <= 1, |named| named == self.key || repos.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(stanza: Option<&str>, repo: Option<u32>) -> InfoQuery {
        InfoQuery { stanza: stanza.map(str::to_owned), repo, set: None }
    }

    fn error(text: &str, stanza: Option<&str>, repo: Option<u32>) -> String {
        answer(text, &query(stanza, repo)).unwrap_err().to_string()
    }

    #[test]
    fn an_answer_without_what_was_asked_for_is_none() {
        let all = |text: &str| answer(text, &InfoQuery::default()).map(|document| document.stanzas.len());
        assert_eq!(all("[]").unwrap(), 0, "no repository has a stanza");
        assert!(all("").is_err() && all("{}").is_err());

        assert!(error("[]", Some("db"), None).contains("does not mention stanza db"));
        assert!(error("", Some("db"), None).contains("no readable JSON document"));
        assert!(
            error(r#"[{"name":"db","db":7}]"#, Some("db"), None).contains("stanza db that cannot be read")
        );
        assert!(error(r#"[{"name":"other"}]"#, Some("db"), None).contains("does not mention stanza db"));

        // What 2.60 prints where PGBACKREST_DETAIL_LEVEL is `progress`: nothing of repositories.
        let progress =
            r#"[{"name":"db","status":{"code":0,"lock":{"backup":{"held":false}},"message":"ok"}}]"#;
        for repo in [None, Some(1)] {
            assert!(error(progress, Some("db"), repo).contains("stanza db that cannot be read"));
        }
        let listed = answer(progress, &query(None, None)).unwrap();
        assert_eq!(listed.unreadable, [Unreadable::Stanza("db".to_owned())]);
        let other = r#"[{"name":"db","repo":[{"key":2}]}]"#;
        assert!(error(other, Some("db"), Some(1)).contains("does not mention repo1"));
        assert!(answer(other, &query(Some("db"), Some(2))).is_ok());
    }

    macro_rules! fixture {
        ($path:literal) => {
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/info/", $path))
        };
    }

    #[test]
    fn every_version_answers_for_a_stanza_that_it_was_asked_for() {
        use Presence::{Missing, Present, Unreadable};
        let table = [
            (fixture!("2.33/missing_stanza_path.json"), "nope", 1, Missing),
            (fixture!("2.45/missing_stanza_path.json"), "nope", 1, Missing),
            (fixture!("2.60.0/missing_stanza_path.json"), "nope", 1, Missing),
            (fixture!("2.45/empty_repo_stanza_given.json"), "demo", 2, Missing),
            (fixture!("2.60.0/empty_repo_stanza_given.json"), "demo", 2, Missing),
            (fixture!("2.60.0/broken_backup_info_missing.json"), "demo", 1, Missing),
            (fixture!("2.60.0/repo_permission_denied.json"), "demo", 1, Unreadable),
            (fixture!("2.45/s3_wrong_secret.json"), "obj", 1, Unreadable),
            (fixture!("2.60.0/stanza_created_no_backup.json"), "demo", 1, Present),
            (fixture!("2.60.0/one_repo_full_diff_incr.json"), "demo", 1, Present),
        ];
        for (text, stanza, repo, presence) in table {
            let document = answer(text, &query(Some(stanza), Some(repo))).unwrap();
            let repo = document.stanza(stanza).unwrap().repo(repo).unwrap();
            assert_eq!(repo.code.presence(), presence, "{text}");
        }
        for code in [-1, 4, 5, 7, 99] {
            assert_eq!(StatusCode(code).presence(), Unreadable, "{code}");
        }
        assert_eq!(StatusCode(6).presence(), Present);
    }

    #[test]
    fn a_lock_that_is_not_reported_is_not_known() {
        let held = |lock: &str| {
            let text = format!(r#"[{{"name":"db","cipher":"none","status":{{"code":0,"lock":{lock}}}}}]"#);
            answer(&text, &InfoQuery::default()).unwrap().stanza("db").unwrap().is_backup_locked()
        };
        assert_eq!(held(r#"{"backup":{"held":true}}"#), Some(true));
        assert_eq!(held(r#"{"backup":{"held":false}}"#), Some(false));
        for unknown in ["null", "{}", r#"{"backup":{}}"#, r#"{"backup":{"held":"x"}}"#] {
            assert_eq!(held(unknown), None, "{unknown}");
        }
    }
}
