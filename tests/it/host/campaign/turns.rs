//! How a database moves to another branch, and how copies of it leave branches behind.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use crate::support::lab::STANZA;
use crate::support::postgres::Postgres;

use super::history::Kind;
use super::journal::{Branch, Marker, Reign, Taken};
use super::world::{World, archive_command, content, said, why};

impl<'a> World<'a> {
    /// The database goes back to a marker of its branch and continues from there.
    pub(super) fn go_back(&mut self, percent: u32, is_crash: bool) -> Result<(), String> {
        let state = self.journal.state(self.branch, Utc::now());
        let id = chosen(&state, percent).ok_or("there is no marker")?;
        let (of, marker) = self.journal.marker(id);
        let options = self.to_marker(of, marker)?;
        let directory = self.new_directory();
        if is_crash {
            self.postgres.crash();
        } else {
            self.postgres.stop();
        }
        let to = Utc::now();
        self.look();
        let config = self.config_file();
        let next = self.prepared(&directory, &config, &config, &options, "").and_then(|mut next| {
            self.write_config_for(&directory);
            next.recover().map_err(|log| why(&log))?;
            Ok(next)
        });
        match next {
            Ok(next) => {
                self.settle(next, &directory, to);
                Ok(())
            }
            Err(why) => {
                self.write_config();
                self.postgres.start();
                fs::remove_dir_all(&directory).unwrap();
                Err(why)
            }
        }
    }

    /// A standby goes on in place of the database, which has died.
    pub(super) fn promote_standby(&mut self, is_streaming: bool) -> Result<(), String> {
        if self.is_damaged {
            return Err("a standby could wait forever for what is missing".to_owned());
        }
        // Else a standby would replay what an abandoned timeline has in the place of the current segment.
        self.archive(&self.postgres)?;
        let backup = self.newest_usable(self.branch, Utc::now()).ok_or("there is no backup")?;
        let options = [
            format!("--repo={}", backup.repo),
            format!("--set={}", backup.label),
            "--type=standby".to_owned(),
            format!("--target-timeline={}", self.journal.branches[self.branch].timeline),
        ];
        let directory = self.new_directory();
        let primary = format!("primary_conninfo = 'host={} port=5432 user=postgres'\n", self.home.display());
        let settings = if is_streaming { primary.as_str() } else { "" };
        let config = self.config_of(&directory, "standby.conf");
        let mut standby = self.prepared(&directory, &config, &self.config_file(), &options, settings)?;
        standby.stand_by().map_err(|log| why(&log))?;
        // It is in no archive: the standby has it by streaming, or never gets it.
        let last = self.commit(1);
        self.journal.branches[self.branch].markers.extend(last);
        if is_streaming && !self.is_followed() {
            return Err(format!("the standby does not follow: {}", why(&standby.log())));
        }
        self.postgres.crash();
        let to = Utc::now();
        self.look();
        self.write_config_for(&directory);
        standby.sql("select pg_promote()");
        self.settle(standby, &directory, to);
        Ok(())
    }

    /// Waits until a standby has replayed all; in vain after a minute.
    fn is_followed(&self) -> bool {
        let has_all = "select count(*) from pg_stat_replication where replay_lsn >= pg_current_wal_lsn()";
        let deadline = Instant::now() + Duration::from_mins(1);
        while Instant::now() < deadline {
            if self.postgres.sql(has_all) == "1" {
                return true;
            }
            thread::sleep(Duration::from_millis(50));
        }
        false
    }

    /// A copy archives into the same stanza, and is discarded.
    pub(super) fn clone_and_discard(&mut self, percent: Option<u32>, segments: u32) -> Result<(), String> {
        let state = self.journal.state(self.branch, Utc::now());
        let target = match percent {
            Some(percent) => Some(chosen(&state, percent).ok_or("there is no marker")?),
            None => None,
        };
        let options = if let Some(id) = target {
            let (of, marker) = self.journal.marker(id);
            self.to_marker(of, marker)?
        } else {
            let backup = self.newest_usable(self.branch, Utc::now()).ok_or("there is no backup")?;
            vec![format!("--repo={}", backup.repo), format!("--set={}", backup.label)]
        };
        let directory = self.new_directory();
        let config = self.config_of(&directory, "clone.conf");
        let copy = self.prepared(&directory, &config, &config, &options, "").and_then(|mut copy| {
            copy.recover().map_err(|log| why(&log))?;
            Ok(copy)
        })?;
        let index = self.add_branch(&copy, &directory);
        let mut done = Ok(());
        for _ in 0..segments {
            let made = self.commit_on(&copy);
            self.journal.branches[index].markers.extend(made);
            done = done.and_then(|()| self.archive(&copy));
        }
        drop(copy);
        fs::remove_dir_all(&directory).unwrap();
        self.look();
        done
    }

    /// Options of a restore to a marker, which begins with the newest backup before it.
    fn to_marker(&self, of: usize, marker: Marker) -> Result<Vec<String>, String> {
        let backup = self.newest_usable(of, marker.before).ok_or("there is no backup before the marker")?;
        Ok(vec![
            format!("--repo={}", backup.repo),
            format!("--set={}", backup.label),
            "--type=time".to_owned(),
            format!("--target={}", target(marker.at)),
            "--target-action=promote".to_owned(),
            format!("--target-timeline={}", self.journal.branches[of].timeline),
        ])
    }

    /// The newest backup that is there, ended before a time and leads to a branch.
    pub(super) fn newest_usable(&self, branch: usize, before: DateTime<Utc>) -> Option<&Taken> {
        let is_there = |taken: &&Taken| {
            taken.to < before
                && taken.kind != Kind::Offline
                && !taken.is_emptied
                && self.site.path(&format!("repo{}/backup/{STANZA}/{}", taken.repo, taken.label)).exists()
        };
        self.journal.backups_towards(branch).filter(is_there).max_by_key(|taken| taken.to)
    }

    /// Restores into a directory, with one configuration for the restore and one that the server archives with.
    fn prepared(
        &self,
        directory: &Path,
        config: &Path,
        archive_config: &Path,
        options: &[String],
        settings: &str,
    ) -> Result<Postgres<'a>, String> {
        let data = directory.join("data");
        let (stanza, place) = (format!("--stanza={STANZA}"), format!("--pg1-path={}", data.display()));
        let mut arguments = vec![stanza.as_str(), place.as_str()];
        arguments.extend(options.iter().map(String::as_str));
        arguments.push("restore");
        let made = self.site.run(config, &arguments);
        if !made.status.success() {
            return Err(said(&made));
        }
        let next = self.postgres.of_copy(directory);
        let archive = archive_command(self.site, archive_config);
        let mut file = fs::OpenOptions::new().append(true).open(data.join("postgresql.conf")).unwrap();
        let settings = format!("archive_mode = on\narchive_command = '{archive}'\n{settings}");
        file.write_all(settings.as_bytes()).unwrap();
        Ok(next)
    }

    /// A configuration of its own for a server in a directory.
    fn config_of(&self, directory: &Path, name: &str) -> PathBuf {
        self.site.write(name, &self.config_for(directory).text())
    }

    /// The server is the database from now on.
    fn settle(&mut self, next: Postgres<'a>, directory: &Path, to: DateTime<Utc>) {
        self.branch = self.add_branch(&next, directory);
        self.postgres = next;
        self.journal.reigns.last_mut().unwrap().to = Some(to);
        self.journal.reigns.push(Reign { branch: self.branch, from: Utc::now(), to: None });
        fs::remove_dir_all(std::mem::replace(&mut self.home, directory.to_owned())).unwrap();
        self.write_config();
    }

    /// Notes the branch that a server has begun.
    fn add_branch(&mut self, postgres: &Postgres<'_>, directory: &Path) -> usize {
        let name = postgres.sql("select pg_walfile_name(pg_current_wal_insert_lsn())");
        let timeline = u32::from_str_radix(&name[..8], 16).unwrap();
        let history = directory.join(format!("data/pg_wal/{}.history", &name[..8]));
        let history = fs::read_to_string(&history).unwrap();
        let (parent, left) = origin(&history);
        // The number of a timeline is given twice where its history was lost.
        let parent = self.journal.branches.iter().rposition(|branch| branch.timeline == parent).unwrap();
        let (parent, inherited) = (Some((parent, left)), content(postgres));
        self.journal.branches.push(Branch { timeline, parent, inherited, markers: Vec::new() });
        self.journal.branches.len() - 1
    }
}

/// The parent of a timeline and where it was left, from the last line of a history file: number, position and reason,
/// between tabs.
fn origin(history: &str) -> (u32, u64) {
    let last = history.lines().rfind(|line| !line.trim().is_empty()).unwrap();
    let mut words = last.split('\t');
    let (parent, position) = (words.next().unwrap(), words.next().unwrap());
    let (high, low) = position.split_once('/').unwrap();
    let word = |text| u64::from_str_radix(text, 16).unwrap();
    (parent.trim().parse().unwrap(), (word(high) << 32) | word(low))
}

/// One of a list.
fn chosen(all: &[u32], percent: u32) -> Option<u32> {
    all.get(all.len() * usize::try_from(percent.min(99)).unwrap() / 100).copied()
}

/// A target as pgBackRest takes it.
pub(super) fn target(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S%.6f+00").to_string()
}
