//! Damage to a repository, and what `expire` removes on purpose.

use std::fs::{self, OpenOptions};
use std::path::PathBuf;
use std::time::Duration;

use crate::support::lab::STANZA;

use super::history::{Harm, Kind};
use super::world::{World, names, said};

impl World<'_> {
    /// Damages a segment.
    pub(super) fn harm(&mut self, harm: Harm, repo: u32, percent: u32) -> Result<(), String> {
        self.look();
        let segments = self.segments(repo);
        let file = chosen(&segments, percent).ok_or("there is no segment")?;
        let name = file.file_name().unwrap().to_str().unwrap();
        match harm {
            Harm::Delete => fs::remove_file(file).unwrap(),
            Harm::Cut(bytes) => OpenOptions::new().write(true).open(file).unwrap().set_len(bytes).unwrap(),
            Harm::Rename => fs::rename(file, file.with_file_name(format!("{name}.bak"))).unwrap(),
            Harm::Duplicate => {
                // Behind the checksum of 40 digits comes the suffix of the compression.
                let other = format!("{}-{}{}", &name[..24], "0".repeat(40), &name[65..]);
                fs::copy(file, file.with_file_name(other)).unwrap();
            }
        }
        self.notes.push(format!("damaged: {name}"));
        self.is_damaged = true;
        Ok(())
    }

    pub(super) fn lose_history(&mut self, repo: u32, percent: u32) -> Result<(), String> {
        let directory = self.archive_directory(repo);
        let mut histories = names(&directory);
        histories.retain(|name| name.ends_with(".history"));
        let name = chosen(&histories, percent).ok_or("there is no history")?;
        fs::remove_file(directory.join(name)).unwrap();
        self.notes.push(format!("lost: {name}"));
        self.is_damaged = true;
        Ok(())
    }

    pub(super) fn lose_backup(&mut self, repo: u32, percent: u32, is_emptied: bool) -> Result<(), String> {
        let labels = self.labels(repo)?;
        let label = chosen(&labels, percent).ok_or("there is no backup")?;
        let directory = self.site.path(&format!("repo{repo}/backup/{STANZA}/{label}"));
        fs::remove_dir_all(&directory).map_err(|error| error.to_string())?;
        if is_emptied {
            self.site.create_directory(&format!("repo{repo}/backup/{STANZA}/{label}"));
        }
        // What was made later against the same full backup may have files there.
        let full = &label[..16];
        let of_full = self.journal.backups.iter_mut().filter(|taken| taken.repo == repo);
        for taken in of_full.filter(|taken| taken.label.starts_with(full) && taken.label >= *label) {
            taken.is_emptied |= is_emptied;
            taken.has_lost_prior |= !is_emptied && taken.label > *label;
        }
        self.notes.push(format!("lost: {label}"));
        self.is_damaged = true;
        Ok(())
    }

    pub(super) fn expire(&mut self, repo: u32, full: u32) -> Result<(), String> {
        let (repo_option, full_option) =
            (format!("--repo={repo}"), format!("--repo{repo}-retention-full={full}"));
        self.run_expire(&[&repo_option, &full_option, "expire"])
    }

    pub(super) fn expire_wal(
        &mut self,
        repo: u32,
        kind: Kind,
        count: u32,
        is_known: bool,
    ) -> Result<(), String> {
        if repo > self.setup.repos {
            return Err("there is no such repository".to_owned());
        }
        let options = [
            (format!("repo{repo}-retention-archive-type"), kind.option().to_owned()),
            (format!("repo{repo}-retention-archive"), count.to_string()),
        ];
        let [kind, count] = options.clone().map(|(key, value)| format!("--{key}={value}"));
        if is_known {
            self.options.extend(options);
            self.write_config();
        }
        self.has_expired_wal = true;
        self.run_expire(&[&format!("--repo={repo}"), &kind, &count, "expire"])
    }

    fn run_expire(&mut self, arguments: &[&str]) -> Result<(), String> {
        self.look();
        let made = self.pgbackrest(arguments);
        if made.status.success() { Ok(()) } else { Err(said(&made)) }
    }

    /// Moves the times of all segments of a repository.
    pub(super) fn skew(&mut self, repo: u32, seconds: i64) -> Result<(), String> {
        let segments: Vec<PathBuf> = self.segments(repo);
        for path in &segments {
            let file = OpenOptions::new().write(true).open(path).unwrap();
            let modified = file.metadata().unwrap().modified().unwrap();
            let by = Duration::from_secs(seconds.unsigned_abs());
            file.set_modified(if seconds < 0 { modified - by } else { modified + by }).unwrap();
        }
        self.is_damaged = true;
        if segments.is_empty() { Err("there is no segment".to_owned()) } else { Ok(()) }
    }
}

fn chosen<T>(all: &[T], percent: u32) -> Option<&T> {
    all.get(all.len() * usize::try_from(percent.min(99)).unwrap() / 100)
}
