//! Does one pass over one archive.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::Utc;
use tokio::time::Instant;

use crate::pgbackrest::command::RepoQuery;
use crate::pgbackrest::repository::Entries;
use crate::state::archive::Listing;
use crate::state::snapshot::{Failure, FailureReason};

use super::plan::{Pass, Question, Subject};

/// pgBackRest's exit code for a file that is not there.
const FILE_MISSING: i32 = 55;

/// Asks a repository. None where the caller gives up.
pub(in crate::collect) trait Ask: Sync {
    /// Lists one directory.
    fn repo_ls(&self, query: &RepoQuery) -> impl Future<Output = Option<Result<Entries, Failure>>> + Send;
    /// Reads one small file.
    fn repo_get(&self, query: &RepoQuery) -> impl Future<Output = Option<Result<Vec<u8>, Failure>>> + Send;
}

/// What is known before a pass.
#[derive(Debug, Default)]
pub(in crate::collect) struct Before {
    /// What was listed, be it in a pass that did not come to its end.
    pub(super) listing: Option<Listing>,
    /// The backups that there were in the last whole pass.
    pub(super) backups: BTreeSet<String>,
}

/// What came of a pass.
#[derive(Debug)]
pub(in crate::collect) struct Passed {
    /// What is known now, also where the pass failed.
    pub(super) listing: Listing,
    /// How it ended.
    pub(in crate::collect) end: End,
}

/// How a pass ended.
#[derive(Debug)]
pub(in crate::collect) enum End {
    /// All is listed.
    Whole,
    /// Its time was over. The next pass goes on from there.
    Unfinished,
    /// A call failed, or its answer cannot be true.
    Failed(Failure),
    /// The program is about to end.
    GivenUp,
}

impl Before {
    /// A pass that is not made.
    pub(super) fn not_asked(self, subject: &Subject, why: Failure) -> Passed {
        let listing = self.listing.unwrap_or_else(|| Listing::new(subject.archive.clone(), Utc::now()));
        Passed { listing, end: End::Failed(why) }
    }
}

/// Makes a pass, until `deadline` at most. What was listed until then is kept, and the next pass goes on from there.
pub(in crate::collect) async fn pass(
    ask: &impl Ask,
    (stanza, repo): (&str, u32),
    subject: Subject,
    before: Before,
    interval: Duration,
    deadline: Instant,
) -> Passed {
    let mut pass = Pass::begin(before.listing, &before.backups, subject, interval, Utc::now());
    let end = loop {
        let Some(question) = pass.next() else { break End::Whole };
        if Instant::now() >= deadline {
            break End::Unfinished;
        }
        let Some(path) = question.path(stanza, pass.archive()) else { break End::Failed(no_path(stanza)) };
        let query = RepoQuery { stanza: stanza.to_owned(), repo, path };
        match step(ask, &mut pass, question, &query).await {
            Some(Ok(())) => {}
            Some(Err(failure)) => break End::Failed(failure),
            None => break End::GivenUp,
        }
    };
    Passed { listing: pass.into_listing(), end }
}

async fn step(
    ask: &impl Ask,
    pass: &mut Pass,
    question: Question,
    query: &RepoQuery,
) -> Option<Result<(), Failure>> {
    if let Question::History(timeline) = question {
        match ask.repo_get(query).await? {
            Ok(text) => pass.take_history(timeline, &text),
            // It was there when the archive was listed.
            Err(failure) if failure.exit_code == Some(FILE_MISSING) => {}
            Err(failure) => return Some(Err(failure)),
        }
        return Some(Ok(()));
    }
    let entries = match ask.repo_ls(query).await? {
        Ok(entries) => entries,
        Err(failure) => return Some(Err(failure)),
    };
    Some(pass.take(question, &entries, Utc::now()))
}

fn no_path(stanza: &str) -> Failure {
    Failure {
        reason: FailureReason::Parse,
        exit_code: None,
        message: format!("{stanza:?} is not a valid directory name"),
    }
}
