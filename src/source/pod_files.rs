//! Reads in containers what [`super::archivers`] and [`super::stop_files`] read on a host: PostgreSQL's `archive_status`, the spool of
//! asynchronous archiving, and stop files.
//!
//! Commands are lists of arguments; no shell interprets them. PostgreSQL's container needs GNU `find`, and `head`, which `find` starts;
//! others need `stat`. An absent file is told by the message for it. With any other message, or without the program, nothing is known.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use crate::memory::{self, Captured};
use crate::pgbackrest::conf::Archiving;
use crate::pgbackrest::spool::{self, SpoolFile};
use crate::pgbackrest::wal_header::{self, WalHeader};
use crate::state::archiver::{Observation, Queue, Spool};
use crate::state::stopped::StopListing;

use super::archivers::found::{self, Details, MAX_CONTENT, Waiting};
use super::pod::{NoEnd, Place, Ran, RunInPod};
use super::{archivers, failure};

mod output;

use output::{Contents, FoundFile};

/// Listing files takes milliseconds, unless their file system hangs. Then it must not hold up queries for long.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Messages are compared.
const ENVIRONMENT: [&str; 2] = ["env", "LC_ALL=C"];
/// What the names of stop files end with.
const STOP: &str = ".stop";
/// The directory of status files in `pg_wal`.
const STATUS: &str = "archive_status";
/// Files that PostgreSQL signals standby or recovery with.
const RECOVERY_SIGNALS: [&str; 2] = ["standby.signal", "recovery.signal"];
/// Files of the spool whose content counts.
const MAX_CONTENTS: usize = 1_000;

/// Where the files of a container are, as pgBackRest's configuration there says.
#[derive(Debug, Clone, PartialEq)]
pub struct FilePaths {
    /// The directory of stop files; none where pgBackRest would refuse it.
    pub lock: Option<PathBuf>,
    /// How PostgreSQL archives from here, if it does; or why that is unknown.
    pub archiving: Option<Result<Archiving, String>>,
}

/// What was read in a container, and what became of the commands.
#[derive(Debug)]
pub struct FilesRead {
    /// Of a container that archives.
    pub archiver: Option<Observation>,
    /// The stop files; none if they could not be read.
    pub stop_files: StopListing,
    /// Whether a command may still run there.
    pub may_run: bool,
}

/// Reads files of one stanza in a container.
#[derive(Debug)]
pub struct PodFiles<'a, P> {
    pub pods: &'a P,
    pub place: Place<'a>,
    pub stanza: &'a str,
    /// The most that any command may take. Those that read files take less.
    pub timeout: Duration,
    /// When this process began to observe.
    pub began: Instant,
}

/// Why nothing was read.
struct NotRead {
    problem: String,
    /// Whether the command may still run.
    may_run: bool,
}

/// The listing of a directory and its stop files.
fn stop_listing(lock: &str, files: BTreeMap<String, DateTime<Utc>>) -> StopListing {
    StopListing::from([(PathBuf::from(lock), files)])
}

/// The files of archiving.
struct ArchivingPaths<'a> {
    /// `pg1-path`.
    data: &'a str,
    /// `pg_wal`.
    wal: String,
    /// Where asynchronous `archive-push` writes.
    spool: String,
}

impl<P: RunInPod> PodFiles<'_, P> {
    /// Reads what there is to read.
    pub async fn read(&self, paths: &FilePaths) -> FilesRead {
        let lock = paths.lock.as_deref().and_then(|lock| absolute(lock.to_str()?));
        match &paths.archiving {
            Some(Ok(archiving)) => self.database(archiving, lock).await,
            Some(Err(problem)) => {
                let archiver = Some(archivers::unread(self.began, problem.clone()));
                FilesRead { archiver, ..self.stop_files(lock).await }
            }
            None => self.stop_files(lock).await,
        }
    }

    /// Names all files that count; those that are not there are left out.
    async fn stop_files(&self, lock: Option<&str>) -> FilesRead {
        let nothing = |may_run| FilesRead { archiver: None, stop_files: StopListing::new(), may_run };
        let Some(lock) = lock else { return nothing(false) };
        let names = [format!("{}{STOP}", self.stanza), format!("all{STOP}")];
        let files = names.map(|name| format!("{lock}/{name}"));
        let mut command = vec!["stat", "-L", "-c", "%A %s %Y %n"];
        command.extend(files.iter().map(String::as_str));
        match self.run("stat", &command).await {
            Ok(stdout) => {
                let found = output::lines(&stdout).filter_map(|line| {
                    // Only a file counts, as for pgBackRest.
                    let (_, line) = line.strip_prefix('-')?.split_once(' ')?;
                    let file = FoundFile::parse(line)?;
                    let name = file.name.rsplit('/').next()?.strip_suffix(STOP)?;
                    Some((name.to_owned(), file.modified))
                });
                let stop_files = stop_listing(lock, found.collect());
                FilesRead { stop_files, ..nothing(false) }
            }
            Err(not_read) => {
                tracing::debug!(pod = self.place.pod, "Failed to read stop files: {}", not_read.problem);
                nothing(not_read.may_run)
            }
        }
    }

    async fn database(&self, archiving: &Archiving, lock: Option<&str>) -> FilesRead {
        let Some(paths) = ArchivingPaths::of(archiving, self.stanza) else {
            let problem = "pg1-path and spool-path must be absolute paths".to_owned();
            return FilesRead {
                archiver: Some(archivers::unread(self.began, problem)),
                ..self.stop_files(lock).await
            };
        };
        let (stop_files, queue, spool, may_run) = match self.list(&paths, lock).await {
            Ok(stdout) => {
                let listed = Listed::of(&stdout);
                // Its memory is given back before the next command needs some.
                drop(stdout);
                let stop_files =
                    lock.map_or_else(StopListing::new, |lock| stop_listing(lock, listed.stop_files.clone()));
                let (contents, may_run) = self.contents(&paths, &listed).await;
                let (queue, spool) = listed.into_archiver(&paths, &contents);
                (stop_files, queue, spool, may_run)
            }
            Err(NotRead { problem, may_run }) => {
                (StopListing::new(), Err(problem.clone()), Err(problem), may_run)
            }
        };
        let in_pod = |problem: String| format!("pod {}: {problem}", self.place.pod);
        let archiver = Observation {
            at: Utc::now(),
            pod: Some(self.place.pod.into()),
            uptime: self.began.elapsed(),
            queue_limit: archiving.queue_max,
            queue: queue.map_err(in_pod),
            spool: spool.map_err(in_pod),
        };
        FilesRead { archiver: Some(archiver), stop_files, may_run }
    }

    /// Lists the files of archiving, and stop files. The spool comes first: of what leaves the queue meanwhile, the error is taken
    /// for one of the past.
    async fn list(&self, paths: &ArchivingPaths<'_>, lock: Option<&str>) -> Result<Captured, NotRead> {
        let signals = RECOVERY_SIGNALS.map(|name| format!("{}/{name}", paths.data));
        let status = format!("{}/{STATUS}", paths.wal);
        let mut command = vec!["find", "-L", &paths.spool, &status];
        command.extend(signals.iter().map(String::as_str).chain(lock));
        command.extend(["-ignore_readdir_race", "-maxdepth", "1", "(", "-type", "f", "("]);
        for (number, name) in ["*.ready", "*.ok", "*.error", "*.stop", "*.signal"].into_iter().enumerate() {
            command.extend(if number == 0 { &["-name"][..] } else { &["-o", "-name"] });
            command.push(name);
        }
        command.extend([")", "-o", "-type", "d", "-name", STATUS, ")", "-printf", "%s %T@ %f\n"]);
        self.run("find", &command).await
    }

    /// Reads the header of the next segment, and the status files of the spool that say something. Also tells whether the command may
    /// still run.
    async fn contents(
        &self,
        paths: &ArchivingPaths<'_>,
        listed: &Listed,
    ) -> (Result<Contents, String>, bool) {
        let first = listed.waiting.first();
        if first.is_none() && listed.with_content == 0 {
            return (Ok(Contents::default()), false);
        }
        let segment = first.map(|first| format!("{}/{first}", paths.wal));
        let (header, content) = (wal_header::LENGTH.to_string(), MAX_CONTENT.to_string());
        let mut command = vec!["find", "-L"];
        command.extend(segment.as_deref());
        command.push(&paths.spool);
        command.extend(["-ignore_readdir_race", "-maxdepth", "1", "-type", "f", "("]);
        if let Some(first) = first {
            command
                .extend(["-name", first, "-printf", "%s\n", "-exec", "head", "-c", &header, "{}", ";", "-o"]);
        }
        command.extend(["(", "-name", "*.error", "-o", "-name", "*.ok", "-size", "+0c", ")"]);
        command.extend(["-exec", "head", "-v", "-c", &content, "{}", "+", ")"]);
        match self.run("find", &command).await {
            Ok(stdout) => (Ok(Contents::parse(&stdout, &paths.spool)), false),
            Err(NotRead { problem, may_run }) => (Err(problem), may_run),
        }
    }

    /// What a command printed, if it missed nothing but absent files.
    async fn run(&self, program: &str, command: &[&str]) -> Result<Captured, NotRead> {
        let command = [&ENVIRONMENT, command].concat();
        let ended = match self.pods.run(self.place, &command, TIMEOUT.min(self.timeout)).await {
            Ok(ran) => match complete(program, ran) {
                Ok(stdout) => reserved(stdout).await,
                Err(not_read) => Err(not_read),
            },
            Err(end) => Err(NotRead::of(&end)),
        };
        ended.map_err(|not_read| NotRead { problem: failure::one_line(&not_read.problem), ..not_read })
    }
}

impl NotRead {
    fn of(end: &NoEnd) -> Self {
        let may_run = matches!(end, NoEnd::Lost(_));
        Self { problem: format!("cannot read files: {end}"), may_run }
    }
}

/// With memory for what is kept of it.
async fn reserved(stdout: Captured) -> Result<Captured, NotRead> {
    let weight = output::weight(&stdout);
    let reserved = stdout.expect(memory::input(), weight, TIMEOUT).await;
    reserved.map_err(|refusal| NotRead { problem: format!("cannot read files: {refusal}"), may_run: false })
}

fn complete(program: &str, ran: Ran) -> Result<Captured, NotRead> {
    const NOT_FOUND: i32 = 127;
    const SOME_FAILED: i32 = 1;
    // Of a file, which has its path, not of a program.
    let is_absence =
        |line: &str| line.contains("'/") && line.trim_end().ends_with(": No such file or directory");
    let mut complaints = ran.stderr.lines().filter(|line| !line.trim().is_empty());
    let problem = match ran.code {
        0 => return Ok(ran.stdout),
        NOT_FOUND => format!("the image has no {program}"),
        SOME_FAILED => match complaints.clone().find(|line| !is_absence(line)) {
            None if complaints.next().is_some() => return Ok(ran.stdout),
            complaint => complaint.unwrap_or("cannot read files").to_owned(),
        },
        code => complaints.next().map_or_else(|| format!("{program} failed with {code}"), str::to_owned),
    };
    Err(NotRead { problem, may_run: false })
}

/// A path that no program takes for an option or an expression; pgBackRest takes no other.
fn absolute(path: &str) -> Option<&str> {
    path.starts_with('/').then(|| path.trim_end_matches('/'))
}

impl<'a> ArchivingPaths<'a> {
    fn of(archiving: &'a Archiving, stanza: &str) -> Option<Self> {
        let (data, spool) = (absolute(&archiving.pg_path)?, absolute(archiving.spool_path.as_deref()?)?);
        let (wal, spool) = (format!("{data}/pg_wal"), format!("{spool}/archive/{stanza}/out"));
        Some(Self { data, wal, spool })
    }
}

/// The files that were listed.
#[derive(Debug, Default)]
struct Listed {
    has_status: bool,
    waiting: Waiting,
    /// Since when the first and the last of them wait.
    first_since: Option<DateTime<Utc>>,
    last_since: Option<DateTime<Utc>>,
    standby_since: Option<DateTime<Utc>>,
    stop_files: BTreeMap<String, DateTime<Utc>>,
    /// Status files of the spool.
    spool: BTreeMap<String, DateTime<Utc>>,
    /// How many of them say something.
    with_content: usize,
}

impl Listed {
    fn of(stdout: &[u8]) -> Self {
        let mut listed = Self::default();
        for file in output::lines(stdout).filter_map(FoundFile::parse) {
            listed.add(&file);
        }
        listed
    }

    fn add(&mut self, file: &FoundFile<'_>) {
        let FoundFile { name, modified, size } = *file;
        if name == STATUS {
            self.has_status = true;
        } else if RECOVERY_SIGNALS.contains(&name) {
            self.standby_since = self.standby_since.max(Some(modified));
        } else if let Some(name) = name.strip_suffix(STOP) {
            self.stop_files.insert(name.to_owned(), modified);
        } else if let Some(spool) = SpoolFile::parse(name) {
            self.with_content += usize::from(size > 0 || matches!(spool, SpoolFile::Error(_)));
            self.spool.insert(name.to_owned(), modified);
        } else if let Some(file) = spool::waiting(name) {
            self.waiting.add(name);
            if self.waiting.first() == Some(file) {
                self.first_since = Some(modified);
            }
            if self.waiting.last() == Some(file) {
                self.last_since = Some(modified);
            }
        }
    }

    fn into_archiver(
        self,
        paths: &ArchivingPaths<'_>,
        contents: &Result<Contents, String>,
    ) -> (Result<Queue, String>, Result<Spool, String>) {
        let segment = contents.as_ref().ok().and_then(|contents| contents.segment.as_ref());
        let details = Details {
            first_since: self.first_since,
            last_since: self.last_since,
            file_bytes: segment.map(|segment| segment.size),
            header: segment.and_then(|segment| WalHeader::parse(&segment.header)),
            standby_since: self.standby_since,
        };
        let queue = if self.has_status {
            Ok(self.waiting.into_queue(&details))
        } else {
            Err(format!("there is no {}/{STATUS}; check pg1-path", paths.wal))
        };
        let spool = match contents {
            Err(problem) if self.with_content > 0 => Err(problem.clone()),
            _ => {
                let mut spool = Spool { pushed_files: Some(0), ..Spool::default() };
                let mut left = MAX_CONTENTS;
                for (name, at) in &self.spool {
                    let Some(file) = SpoolFile::parse(name) else { continue };
                    let content = contents.as_ref().ok().and_then(|contents| contents.files.get(name));
                    let content = content.filter(|_| left > 0);
                    left -= usize::from(content.is_some());
                    found::add_to(&mut spool, file, *at, content.map(String::as_str));
                }
                Ok(spool)
            }
        };
        (queue, spool)
    }
}
