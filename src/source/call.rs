//! Makes one call of pgBackRest and reads its answer, in the same way on this host and in a pod.
//!
//! A [`Runner`] is a place where commands run: [`super::local`] starts a process, [`super::in_pod`] goes through exec.

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;

use crate::memory::{Captured, Sink};
use crate::pgbackrest::command::{self, Command, InfoQuery, RepoQuery};
use crate::pgbackrest::info::view::{self, StanzaView};
use crate::pgbackrest::info::{InfoDocument, Link, Tablespace, Unreadable};
use crate::pgbackrest::listing_reader::ListingReader;
use crate::pgbackrest::redact::Said;
use crate::pgbackrest::repository::{self, Entries, Entry, ListingError};
use crate::pgbackrest::sanitize;
use crate::pgbackrest::version::{self, Feature, Version};
use crate::state::assemble::InfoReader;
use crate::state::snapshot::{Failure, FailureReason, Stanza};

use super::process::{Limits, Survivor};
use super::{document, failure};

/// Printing the version reads no repository.
const VERSION_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of a listing. A directory of the archive holds 4096 segments at most (of 1 MiB), each in less than 200 bytes; a
/// million segments of 16 MiB are in 3907 directories.
const MAX_LISTING: usize = 16 << 20;
/// Bytes of the listing of a whole archive, which is not kept. That of a million segments takes about 150 MB.
const MAX_ARCHIVE_LISTING: usize = 1 << 30;
/// Bytes of a file. A line of a history takes about 60.
const MAX_FILE: usize = 1 << 20;

/// Bytes in which a version is looked for.
const MAX_VERSION: usize = 4 << 10;

/// Exit code for an option that a command does not have.
const NO_SUCH_OPTION: i32 = 31;

/// A place where pgBackRest's commands run.
pub trait Runner: Send + Sync {
    /// Tells it from others that the same cluster may have.
    fn name(&self) -> &str;

    /// Runs a command until it ends or exceeds its limits. `sink` takes long output while it arrives.
    fn run<'a>(
        &'a self,
        command: &'a Command,
        limits: &'a Limits,
        sink: Option<Sink>,
    ) -> BoxFuture<'a, Finished>;

    /// Logs a line about an answer, such as one that pgBackRest printed beside it. It holds no secret.
    fn log(&self, command: &str, line: &str);
}

/// A command after [`Runner::run`].
#[derive(Debug)]
pub struct Finished {
    /// Standard output that was not taken if the command exited with 0, otherwise why there is no answer. None if the caller cancelled it.
    pub stdout: Option<Result<Captured, Failure>>,
    /// Standard error.
    pub stderr: Captured,
    /// Bytes on standard output, where they are counted.
    pub output_bytes: Option<u64>,
    /// Wall time.
    pub duration: Duration,
    /// Whether the command may still run.
    pub state: CommandState,
}

/// Whether a command may still run after its call.
#[derive(Debug)]
pub enum CommandState {
    /// It was never started, so that another place can be tried.
    NotStarted,
    /// It has ended.
    Ended,
    /// Not even SIGKILL has ended this process.
    Unkillable(Survivor),
    /// The connection was lost. It may run until its own timeout.
    Unknown,
}

/// One call and its result.
#[derive(Debug)]
pub struct Call<T> {
    /// Wall time until the command was gone.
    pub duration: Duration,
    /// Bytes on standard output, where they are counted.
    pub output_bytes: Option<u64>,
    /// The document had to be repaired before it could be read.
    pub sanitized: bool,
    /// The answer; None if the caller cancelled the call.
    pub answer: Option<Result<T, Failure>>,
    /// Whether the command may still run.
    pub state: CommandState,
}

/// The answer of `info`.
#[derive(Debug, Clone, PartialEq)]
pub struct InfoAnswer {
    /// The stanzas that could be read.
    pub stanzas: Vec<Stanza>,
    /// The stanzas and backups that could not.
    pub unreadable: Vec<Unreadable>,
}

/// What of a backup lies outside of the data directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutsideFiles {
    /// Its tablespaces.
    pub tablespaces: Vec<Tablespace>,
    /// Links that were followed.
    pub links: Vec<Link>,
}

impl<T> Call<T> {
    /// Why there is no answer, unless the call was cancelled.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        self.answer.as_ref().and_then(|answer| answer.as_ref().err())
    }
}

/// The limits of [`version()`] if other commands have these.
#[must_use]
pub fn version_limits(limits: &Limits) -> Limits {
    Limits { timeout: limits.timeout.min(VERSION_TIMEOUT), ..*limits }
}

/// Asks for the version, within [`version_limits`], and asks a fork what it can do.
pub async fn version(runner: &dyn Runner, limits: &Limits) -> Call<Version> {
    let limits = version_limits(limits);
    let mut version = call(runner, &command::version(), &limits, None, read_version).await;
    if let Some(Ok(found)) = &mut version.answer
        && found.product.is_fork()
    {
        let mut features = Vec::new();
        for feature in Feature::ALL {
            let asked = call(runner, &command::help(feature), &limits, None, |_| Read::of(Ok(()))).await;
            version.duration += asked.duration;
            version.state = asked.state;
            match asked.answer {
                Some(Ok(())) => features.push(feature),
                Some(Err(failure)) if failure.exit_code == Some(NO_SUCH_OPTION) => {}
                Some(Err(failure)) => return Call { answer: Some(Err(failure)), ..version },
                None => return Call { answer: None, ..version },
            }
        }
        found.features = features.into_iter().collect();
    }
    version
}

/// Asks for stanzas, backups and WAL ranges.
pub async fn info(runner: &dyn Runner, query: &InfoQuery, limits: &Limits) -> Call<InfoAnswer> {
    let asked = query.clone();
    let reading = Arc::new(Mutex::new(InfoReader::default()));
    let reader = Arc::clone(&reading);
    let sink = Sink::new(limits.stdout, move |text| reader.lock().read(text));
    let read = move |rest: &[u8]| read_info(rest, &mut reading.lock(), &asked);
    call(runner, &command::info(query), limits, Some(sink), read).await
}

/// Asks what of one backup lies outside of the data directory. The query must name the backup.
pub async fn outside_files(runner: &dyn Runner, query: &InfoQuery, limits: &Limits) -> Call<OutsideFiles> {
    let asked = query.clone();
    call(runner, &command::info(query), limits, None, move |stdout| read_outside(stdout, &asked)).await
}

/// Lists one directory of a repository, not recursively (2.32 and later).
pub async fn repo_ls(runner: &dyn Runner, query: &RepoQuery, limits: &Limits) -> Call<Entries> {
    let limits = Limits { stdout: MAX_LISTING, ..*limits };
    call(runner, &command::repo_ls(query), &limits, None, read_listing).await
}

/// Lists all files below a directory of a repository.
pub async fn repo_ls_recursive(runner: &dyn Runner, query: &RepoQuery, limits: &Limits) -> Call<Entries> {
    let limits = Limits { stdout: MAX_LISTING, ..*limits };
    call(runner, &command::repo_ls_recursive(query), &limits, None, read_listing).await
}

/// Lists all files below a directory of a repository, and hands on each entry while the listing is printed. Ends the command if it prints
/// nothing for `silence`. A call that fails may have listed a part.
pub async fn repo_ls_each(
    runner: &dyn Runner,
    query: &RepoQuery,
    limits: &Limits,
    silence: Duration,
    mut take: impl FnMut(String, Entry) + Send + 'static,
) -> Call<()> {
    let limits = Limits { stdout: MAX_LISTING, ..*limits };
    let reading = Arc::new(Mutex::new((ListingReader::default(), None::<ListingError>)));
    let state = Arc::clone(&reading);
    let sink = Sink::new(MAX_ARCHIVE_LISTING, move |text| {
        let (reader, wrong) = &mut *state.lock();
        // The rest of what is no listing is of no interest.
        let read = if wrong.is_none() { reader.read(text, &mut take) } else { Ok(text.len()) };
        let read = read.unwrap_or_else(|error| {
            *wrong = Some(error);
            text.len()
        });
        text.drain(..read);
        0
    });
    let sink = sink.with_silence(silence);
    let read = move |_rest: &[u8]| {
        let (reader, wrong) = &mut *reading.lock();
        let whole = match wrong.take() {
            Some(error) => Err(error),
            None if reader.is_complete() => Ok(()),
            None => Err(ListingError::Incomplete),
        };
        Read::of(whole.map_err(|error| unreadable(failure::one_line(&error.to_string()))))
    };
    call(runner, &command::repo_ls_recursive(query), &limits, Some(sink), read).await
}

/// Reads one small file of a repository, decrypted but not decompressed (2.32 and later). If there is none, the failure
/// has pgBackRest's exit code for a missing file, 55.
pub async fn repo_get(runner: &dyn Runner, query: &RepoQuery, limits: &Limits) -> Call<Vec<u8>> {
    let limits = Limits { stdout: MAX_FILE, ..*limits };
    call(runner, &command::repo_get(query), &limits, None, read_file).await
}

async fn call<T: Send + 'static>(
    runner: &dyn Runner,
    command: &Command,
    limits: &Limits,
    sink: Option<Sink>,
    read: impl FnOnce(&[u8]) -> Read<T> + Send + 'static,
) -> Call<T> {
    let what = command.to_string();
    let Finished { stdout, stderr, output_bytes, duration, state } = runner.run(command, limits, sink).await;
    for line in sanitize::clean(&stderr).preamble {
        runner.log(&what, &line.redacted());
    }
    let stdout = match stdout {
        Some(Ok(stdout)) => {
            let patience = document::patience(limits.timeout, duration);
            let expected = document::expect(stdout, patience).await;
            Some(expected.map_err(|refusal| failure::of_refusal(&what, refusal)))
        }
        other => other,
    };
    let (answer, sanitized) = match stdout {
        Some(Ok(stdout)) => {
            // Reading a big document takes a moment, which would block this thread.
            let read = tokio::task::spawn_blocking(move || read(&stdout)).await;
            let read = read.unwrap_or_else(|error| {
                Read::of(Err(unreadable(format!("failed to read the output of {what}: {error}"))))
            });
            for line in &read.notices {
                runner.log(&what, line);
            }
            (Some(read.answer), read.sanitized)
        }
        Some(Err(failure)) => (Some(Err(failure)), false),
        None => (None, false),
    };
    Call { duration, output_bytes, sanitized, answer, state }
}

/// An output after reading.
struct Read<T> {
    answer: Result<T, Failure>,
    /// The output had to be repaired.
    sanitized: bool,
    /// What pgBackRest printed beside the answer, and what is wrong with it.
    notices: Vec<String>,
}

impl<T> Read<T> {
    fn of(answer: Result<T, Failure>) -> Self {
        Self { answer, sanitized: false, notices: Vec::new() }
    }
}

fn read_version(stdout: &[u8]) -> Read<Version> {
    let no_version = "pgbackrest version printed no version; check that the program is pgBackRest itself";
    let version = version::parse(&String::from_utf8_lossy(stdout.get(..MAX_VERSION).unwrap_or(stdout)));
    Read::of(version.ok_or_else(|| unreadable(no_version)))
}

/// Reads what is left of the document.
fn read_info(rest: &[u8], reader: &mut InfoReader, query: &InfoQuery) -> Read<InfoAnswer> {
    read_document(rest, query, reader, |document, reader, notices| {
        let (read_at, mut unreadable) = (Utc::now(), document.unreadable.clone());
        // pgBackRest tells of no other stanza than the one that it was asked for.
        let is_asked_for =
            |stanza: &StanzaView<'_>| query.stanza.as_deref().is_none_or(|asked| asked == &*stanza.raw.name);
        let stanzas = document.stanzas().filter(is_asked_for);
        let stanzas = stanzas.map(|stanza| reader.stanza(stanza, read_at, &mut unreadable)).collect();
        let told = unreadable.iter();
        notices.extend(told.map(|part| format!("cannot read {part} in the output; ignoring it")));
        Ok(InfoAnswer { stanzas, unreadable })
    })
}

fn read_outside(stdout: &[u8], query: &InfoQuery) -> Read<OutsideFiles> {
    read_document(stdout, query, &mut InfoReader::default(), |document, _, _| {
        let mut backups = document.stanzas().flat_map(|stanza| stanza.raw.backup.iter());
        let backup = backups.find(|backup| query.set.as_deref() == Some(&*backup.label));
        let backup = backup.ok_or_else(|| "the output does not mention the backup".to_owned())?;
        Ok(OutsideFiles {
            tablespaces: backup.tablespace.clone().unwrap_or_default(),
            links: backup.link.clone().unwrap_or_default(),
        })
    })
}

/// Reads what `info` printed. What is read adds its notices to those of pgBackRest.
fn read_document<T>(
    stdout: &[u8],
    query: &InfoQuery,
    reader: &mut InfoReader,
    read: impl FnOnce(InfoDocument<'_>, &mut InfoReader, &mut Vec<String>) -> Result<T, String>,
) -> Read<T> {
    let cleaned = sanitize::clean(stdout);
    let mut notices = redacted(&cleaned.preamble);
    let document = view::answer_of_rest(&cleaned.text, |place| reader.taken(place), query);
    let document = document.map_err(|error| error.to_string());
    let answer = document.and_then(|document| read(document, reader, &mut notices));
    let answer = answer.map_err(|error| unreadable(failure::one_line(&error)));
    Read { answer, sanitized: cleaned.sanitized, notices }
}

fn read_listing(stdout: &[u8]) -> Read<Entries> {
    let (notices, listing) = sanitize::split_log(stdout);
    let answer =
        repository::parse_listing(listing).map_err(|error| unreadable(failure::one_line(&error.to_string())));
    Read { notices: redacted(&notices), ..Read::of(answer) }
}

fn read_file(stdout: &[u8]) -> Read<Vec<u8>> {
    let (notices, file) = sanitize::split_log(stdout);
    Read { notices: redacted(&notices), ..Read::of(Ok(file.to_vec())) }
}

fn redacted(lines: &[Said<'_>]) -> Vec<String> {
    lines.iter().map(Said::redacted).collect()
}

fn unreadable(message: impl Into<String>) -> Failure {
    Failure::new(FailureReason::Parse, message)
}
