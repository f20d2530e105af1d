//! The log files of backups in the log paths of pgBackRest's configuration. They are followed: only what is new is read.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::files::{self, FileTask};
use crate::pgbackrest::backup_log::{self, BackupLog, Reading};
use crate::state::attempts;

use super::config_files::Configuration;

mod clock;

use clock::Clock;

/// Bytes at the end of a file that are read of it at once: of many attempts at the default level.
const MAX_BYTES: u64 = 256 << 10;
/// Bytes of all files together. Those that are left are read next time.
const MAX_BYTES_OF_ALL: u64 = 64 << 20;
/// What rotation adds to the name of a file that is still written to.
const ROTATED: &str = ".1";

/// Follows log files.
#[derive(Debug, Default)]
pub struct BackupLogs {
    followed: BTreeMap<Arc<str>, Followed>,
    reading: FileTask,
}

/// A file and what was read of it.
#[derive(Debug)]
struct Followed {
    path: PathBuf,
    /// Device and number.
    file: (u64, u64),
    /// Up to here it was read.
    offset: u64,
    log: Arc<BackupLog>,
}

impl BackupLogs {
    /// The logs of all stanzas as far as they can be read. Nothing is known without a configuration, or if the file system does
    /// not answer.
    pub async fn read(&mut self, configuration: Option<Arc<Configuration>>) -> attempts::BackupLogs {
        let followed = std::mem::take(&mut self.followed);
        let read = move || {
            let paths = configuration.as_deref().map(paths).unwrap_or_default();
            follow(paths, followed, MAX_BYTES_OF_ALL)
        };
        let (followed, logs) = self.reading.run(read).await.unwrap_or_default();
        self.followed = followed;
        logs
    }
}

fn paths(configuration: &Configuration) -> Vec<(Arc<str>, PathBuf)> {
    let stanzas = configuration.stanzas().into_iter();
    stanzas.filter_map(|stanza| Some((stanza.into(), configuration.backup_log(stanza)?))).collect()
}

fn follow(
    paths: Vec<(Arc<str>, PathBuf)>,
    mut before: BTreeMap<Arc<str>, Followed>,
    mut budget: u64,
) -> (BTreeMap<Arc<str>, Followed>, attempts::BackupLogs) {
    let read_at = Utc::now();
    let (mut followed, mut logs) = (BTreeMap::new(), BTreeMap::new());
    for (stanza, path) in paths {
        let earlier = before.remove(&stanza).filter(|earlier| earlier.path == path);
        let mut one = earlier.unwrap_or_else(|| Followed::new(path));
        // What cannot be read may tell of anything.
        let is_read = one.go_on(&mut budget, read_at).is_ok_and(|is_complete| is_complete);
        if is_read && one.file != (0, 0) {
            logs.insert(stanza.clone(), Arc::clone(&one.log));
        }
        followed.insert(stanza, one);
    }
    (followed, attempts::BackupLogs { logs, read_at: Some(read_at) })
}

impl Followed {
    fn new(path: PathBuf) -> Self {
        Self { path, file: (0, 0), offset: 0, log: Arc::default() }
    }

    /// Reads what is new. False if there is more than may be read now.
    fn go_on(&mut self, budget: &mut u64, read_at: DateTime<Utc>) -> io::Result<bool> {
        let metadata = match fs::metadata(&self.path) {
            Ok(metadata) => metadata,
            // It was rotated, and a new one is made by the next command.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.finish_rotated(budget, read_at);
                return Ok(true);
            }
            Err(error) => return Err(error),
        };
        if number_of(&metadata) != self.file {
            self.finish_rotated(budget, read_at);
            (self.file, self.offset) = (number_of(&metadata), 0);
        } else if metadata.size() < self.offset {
            // It was cut.
            self.log_mut().skip();
            self.offset = 0;
        }
        let path = self.path.clone();
        self.read(&path, budget, read_at)
    }

    /// A process that runs goes on writing to the file that it has opened, under its new name.
    fn finish_rotated(&mut self, budget: &mut u64, read_at: DateTime<Utc>) {
        if !self.log.is_any_running() {
            return;
        }
        let mut name = self.path.clone().into_os_string();
        name.push(ROTATED);
        let is_same = fs::metadata(&name).is_ok_and(|metadata| number_of(&metadata) == self.file);
        let is_read =
            is_same && self.read(Path::new(&name), budget, read_at).is_ok_and(|is_complete| is_complete);
        if !is_read || self.log.is_any_running() {
            self.log_mut().skip();
        }
    }

    fn read(&mut self, path: &Path, budget: &mut u64, read_at: DateTime<Utc>) -> io::Result<bool> {
        let mut file = files::open(path)?;
        let metadata = file.metadata()?;
        if number_of(&metadata) != self.file {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let size = metadata.size();
        if size <= self.offset {
            return Ok(true);
        }
        let wanted = (size - self.offset).min(MAX_BYTES);
        if wanted > *budget {
            return Ok(false);
        }
        *budget -= wanted;
        let is_cut = size - self.offset > wanted;
        if is_cut {
            self.log_mut().skip();
            self.offset = size - wanted;
        }
        let text = self.whole_lines(&mut file, wanted, is_cut)?;
        let written_at = metadata.modified()?.into();
        let clock = Clock::of(text.lines().rev().find_map(backup_log::time_of), written_at);
        let reading = Reading { read_at, written_at, clock: &|local| clock.time(local) };
        self.log_mut().read(&text, &reading);
        Ok(true)
    }

    /// The whole lines of the next bytes; the first one may be a part of one, and is left out.
    fn whole_lines(&mut self, file: &mut File, wanted: u64, is_cut: bool) -> io::Result<String> {
        file.seek(SeekFrom::Start(self.offset))?;
        let mut bytes = Vec::new();
        file.take(wanted).read_to_end(&mut bytes)?;
        let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        bytes.truncate(end);
        self.offset += end as u64;
        let text = String::from_utf8_lossy(&bytes);
        Ok(match text.split_once('\n').filter(|_| is_cut) {
            Some((_, rest)) => rest.to_owned(),
            None => text.into_owned(),
        })
    }

    fn log_mut(&mut self) -> &mut BackupLog {
        Arc::make_mut(&mut self.log)
    }
}

fn number_of(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

#[cfg(test)]
mod tests;
