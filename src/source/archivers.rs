//! Reads what the archivers on this host have to do: PostgreSQL's `pg_wal/archive_status`, the header of the next segment, and the
//! spool of asynchronous archiving. Nothing is written, and no database is asked.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use chrono::{DateTime, Utc};

use crate::files::{self, FileTask};
use crate::pgbackrest::conf::Archiving;
use crate::pgbackrest::spool::SpoolFile;
use crate::pgbackrest::wal_header::{self, WalHeader};
use crate::state::archiver::{Observation, Queue, Spool};
use crate::state::filter::Filter;

use super::config_files::Configuration;

pub(super) mod found;

use found::{Details, MAX_CONTENT, Waiting};

/// Archivers that are read; there is one for each PostgreSQL cluster on this host.
const MAX_ARCHIVERS: usize = 100;
/// Files that PostgreSQL signals standby or recovery with; `recovery.conf` until version 11.
const RECOVERY_SIGNALS: [&str; 3] = ["standby.signal", "recovery.signal", "recovery.conf"];
/// How much is read of one archiver.
const LIMITS: Limits = Limits { entries: 500_000, contents: 1_000 };

/// How much is read of one archiver.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Entries of a directory.
    entries: usize,
    /// Files whose content is read.
    contents: usize,
}

type Observations = BTreeMap<Arc<str>, Observation>;
/// A stanza, and how it archives; or why that is unknown.
type Asked = (Arc<str>, Result<Archiving, String>);

/// Reads the archivers of this host.
#[derive(Debug)]
pub struct Archivers {
    began: Instant,
    reading: FileTask,
}

impl Default for Archivers {
    fn default() -> Self {
        Self { began: Instant::now(), reading: FileTask::default() }
    }
}

impl Archivers {
    /// Reads those of the stanzas that the filter admits, as far as the configuration is known.
    pub async fn observe(&mut self, configuration: Option<&Configuration>, filter: &Filter) -> Observations {
        let all = configuration.into_iter().flat_map(Configuration::archiving);
        let asked: Vec<Asked> = all
            .filter(|(stanza, _)| filter.admits_stanza(stanza))
            .map(|(stanza, archiving)| (Arc::clone(stanza), archiving.clone()))
            .collect();
        if asked.is_empty() {
            return Observations::new();
        }
        let began = self.began;
        let read = {
            let asked = asked.clone();
            move || {
                let here = asked.into_iter().filter(|(_, how)| !how.as_ref().is_ok_and(is_elsewhere));
                let read = |(number, (stanza, archiving)): (usize, Asked)| {
                    let observation = observation(&stanza, archiving, number, began);
                    (stanza, observation)
                };
                here.enumerate().map(read).collect()
            }
        };
        self.reading.run(read).await.unwrap_or_else(|error| unknown(asked, began, &error.to_string()))
    }
}

/// There is no data directory: a container beside that of PostgreSQL may share its configuration.
fn is_elsewhere(archiving: &Archiving) -> bool {
    fs::metadata(&archiving.pg_path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

fn unknown(asked: Vec<Asked>, began: Instant, problem: &str) -> Observations {
    asked.into_iter().map(|(stanza, _)| (stanza, unread(began, problem.to_owned()))).collect()
}

/// The observation of an archiver of which nothing was read, for this reason.
#[must_use]
pub fn unread(began: Instant, problem: String) -> Observation {
    Observation {
        at: Utc::now(),
        pod: None,
        uptime: began.elapsed(),
        queue_limit: None,
        queue: Err(problem.clone()),
        spool: Err(problem),
    }
}

fn observation(
    stanza: &str,
    archiving: Result<Archiving, String>,
    number: usize,
    began: Instant,
) -> Observation {
    if number >= MAX_ARCHIVERS {
        return unread(
            began,
            format!("only the archivers of the first {MAX_ARCHIVERS} stanzas on this host are read"),
        );
    }
    match archiving {
        Ok(archiving) => observe(stanza, &archiving, LIMITS, began),
        Err(problem) => unread(began, problem),
    }
}

fn observe(stanza: &str, archiving: &Archiving, limits: Limits, began: Instant) -> Observation {
    // The spool is read first: of what leaves the queue meanwhile, the error is taken for one of the past.
    let spool = match &archiving.spool_path {
        Some(path) => {
            let directory = Path::new(path).join("archive").join(stanza).join("out");
            read_spool(&directory, limits).map_err(|error| unreadable(&directory, &error))
        }
        None => {
            Err("the default spool-path of this fork of pgBackRest is unknown; set spool-path".to_owned())
        }
    };
    let queue =
        read_queue(Path::new(&archiving.pg_path), limits).map_err(|(path, error)| unreadable(&path, &error));
    Observation {
        at: Utc::now(),
        pod: None,
        uptime: began.elapsed(),
        queue_limit: archiving.queue_max,
        queue,
        spool,
    }
}

fn unreadable(path: &Path, error: &io::Error) -> String {
    let remedy = match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "; run as the user that runs PostgreSQL, or allow the group to read it"
        }
        io::ErrorKind::NotFound => "; check pg1-path",
        _ => "",
    };
    format!("cannot read {}: {error}{remedy}", path.display())
}

fn read_queue(data: &Path, limits: Limits) -> Result<Queue, (PathBuf, io::Error)> {
    // pg_xlog before PostgreSQL 10.
    let wal = data.join("pg_wal");
    let old = data.join("pg_xlog");
    let wal = if !wal.exists() && old.exists() { old } else { wal };
    let directory = wal.join("archive_status");
    let fail = |error: io::Error| (directory.clone(), error);
    let mut waiting = Waiting::default();
    for (number, entry) in fs::read_dir(&directory).map_err(fail)?.enumerate() {
        if number >= limits.entries {
            waiting.is_truncated = true;
            break;
        }
        if let Some(name) = entry.map_err(fail)?.file_name().to_str() {
            waiting.add(name);
        }
    }
    let since = |file: &str| modified(&directory.join(format!("{file}.ready")));
    let segment = waiting.first().map(|file| wal.join(file));
    let metadata = segment.as_ref().and_then(|path| fs::metadata(path).ok()).filter(fs::Metadata::is_file);
    let details = Details {
        first_since: waiting.first().and_then(since),
        last_since: waiting.last().and_then(since),
        file_bytes: metadata.map(|found| found.len()),
        header: segment.as_deref().and_then(header),
        standby_since: RECOVERY_SIGNALS.iter().find_map(|name| modified(&data.join(name))),
    };
    Ok(waiting.into_queue(&details))
}

fn header(segment: &Path) -> Option<WalHeader> {
    let mut bytes = [0; wal_header::LENGTH];
    files::open(segment).ok()?.read_exact(&mut bytes).ok()?;
    WalHeader::parse(&bytes)
}

fn read_spool(directory: &Path, limits: Limits) -> io::Result<Spool> {
    let mut spool = Spool { pushed_files: Some(0), ..Spool::default() };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        // Nothing was archived asynchronously.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(spool),
        Err(error) => return Err(error),
    };
    let mut contents_left = limits.contents;
    let mut content = |path: &Path| {
        contents_left = contents_left.checked_sub(1)?;
        read_content(path)
    };
    for (number, entry) in entries.enumerate() {
        if number >= limits.entries {
            spool.pushed_files = None;
            break;
        }
        let entry = entry?;
        let name = entry.file_name();
        let Some(file) = name.to_str().and_then(SpoolFile::parse) else { continue };
        // pgBackRest may have removed it meanwhile.
        let Ok(metadata) = entry.metadata() else { continue };
        let Ok(at) = metadata.modified().map(DateTime::<Utc>::from) else { continue };
        let is_read = matches!(file, SpoolFile::Error(_)) || metadata.len() > 0;
        let text = if is_read { content(&entry.path()) } else { None };
        found::add_to(&mut spool, file, at, text.as_deref());
    }
    Ok(spool)
}

fn read_content(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    files::open(path).ok()?.take(MAX_CONTENT).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn modified(path: &Path) -> Option<DateTime<Utc>> {
    fs::metadata(path).ok()?.modified().ok().map(DateTime::<Utc>::from)
}

#[cfg(test)]
mod tests;
