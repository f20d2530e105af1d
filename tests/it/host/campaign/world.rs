//! The database of a history: it commits, archives and is backed up, and the journal records the truth.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use chrono::{DateTime, Utc};

use crate::support::config::{CIPHER_PASS, Config};
use crate::support::lab::{STANZA, Site, next_second};
use crate::support::postgres::Postgres;
use crate::support::process::wait_for;

use super::history::{Kind, Setup, Step};
use super::journal::{Branch, Journal, Marker, Reign, Taken};
use super::kit::Kit;

/// The file name of the configuration that the database archives with.
const CONFIG: &str = "both.conf";

/// A running database, its repositories, and what is true of them.
pub(super) struct World<'a> {
    pub(super) site: &'a Site,
    pub(super) setup: Setup,
    pub(super) journal: Journal,
    pub(super) postgres: Postgres<'a>,
    /// The branch that the database is on.
    pub(super) branch: usize,
    /// Steps that did nothing, and why.
    pub(super) notes: Vec<String>,
    /// Files were taken from a repository, or changed.
    pub(super) is_damaged: bool,
    /// WAL was removed between backups on purpose.
    pub(super) has_expired_wal: bool,
    /// Options of the configuration that `expire` steps have set.
    pub(super) options: BTreeMap<String, String>,
    /// Where the database lies now.
    pub(super) home: PathBuf,
    next_marker: u32,
    next_directory: u32,
}

impl<'a> World<'a> {
    /// An empty database with a stanza in each repository.
    pub(super) fn start(kit: &Kit, site: &'a Site, setup: Setup) -> Self {
        kit.lend_program(site);
        let home = site.path("postgres");
        let archive = archive_command(site, &site.path(CONFIG));
        // A standby asks again for a segment sooner than after 5 s.
        let settings = format!(
            "archive_command = '{archive}'\nwal_retrieve_retry_interval = 100ms\nmax_connections = 20\n"
        );
        let postgres = kit.copy_cluster(site, &home, setup.segment_size, &settings);
        let journal =
            Journal { segment_size: u64::from(setup.segment_size) * 1024 * 1024, ..Journal::default() };
        let mut world = Self {
            site,
            setup,
            journal,
            postgres,
            branch: 0,
            notes: Vec::new(),
            is_damaged: false,
            has_expired_wal: false,
            options: BTreeMap::new(),
            home,
            next_marker: 1,
            next_directory: 1,
        };
        world.write_config();
        world.postgres.start();
        let made = world.pgbackrest(&["stanza-create"]);
        assert!(made.status.success(), "{}", said(&made));
        let first = Branch { timeline: 1, parent: None, inherited: Vec::new(), markers: Vec::new() };
        world.journal.branches.push(first);
        world.journal.reigns.push(Reign { branch: 0, from: Utc::now(), to: None });
        world
    }

    /// Does a step. One that cannot be done leaves a note.
    pub(super) fn take(&mut self, step: Step) {
        let done = match step {
            Step::Write(count) => {
                let made = self.commit(count);
                self.journal.branches[self.branch].markers.extend(made);
                Ok(())
            }
            Step::Switch => self.switch(),
            Step::Tick => {
                next_second();
                Ok(())
            }
            Step::BackUp(kind, repo) => self.back_up(kind, repo),
            Step::Back { percent, is_crash } => self.go_back(percent, is_crash),
            Step::Stream => self.promote_standby(true),
            Step::Fail => self.promote_standby(false),
            Step::Clone { percent, segments } => self.clone_and_discard(percent, segments),
            Step::Harm { harm, repo, percent } => self.harm(harm, repo, percent),
            Step::LoseHistory { repo, percent } => self.lose_history(repo, percent),
            Step::LoseBackup { repo, percent, is_emptied } => self.lose_backup(repo, percent, is_emptied),
            Step::Expire { repo, full } => self.expire(repo, full),
            Step::ExpireWal { repo, kind, count, is_known } => self.expire_wal(repo, kind, count, is_known),
            Step::Skew { repo, seconds } => self.skew(repo, seconds),
        };
        if let Err(why) = done {
            let why: String = why.chars().take(600).collect();
            self.notes.push(format!("{step}: {why}"));
        }
    }

    /// Commits markers, each in a transaction of its own.
    pub(super) fn commit(&mut self, count: u32) -> Vec<Marker> {
        let first = self.next_marker;
        self.next_marker += count;
        commit(&self.postgres, first..first + count)
    }

    /// The same on another server.
    pub(super) fn commit_on(&mut self, postgres: &Postgres<'_>) -> Vec<Marker> {
        let first = self.next_marker;
        self.next_marker += 1;
        commit(postgres, first..first + 1)
    }

    fn switch(&mut self) -> Result<(), String> {
        let done = self.archive(&self.postgres);
        self.look();
        done
    }

    /// Ends the segment of a server and waits until it is in all repositories.
    pub(super) fn archive(&self, postgres: &Postgres<'_>) -> Result<(), String> {
        let segment = postgres.sql("select pg_walfile_name(pg_switch_wal())");
        let is_known = |repo| self.journal.archived.contains(&(repo, segment.clone()));
        let is_there = |repo| is_known(repo) || self.has_segment(repo, &segment);
        wait_for(&format!("{segment} in the archive"), || {
            if (1..=self.setup.repos).all(is_there) {
                return Some(Ok(()));
            }
            // PostgreSQL says so after three failures, and then waits for a minute.
            let log = postgres.log();
            let failed = log.contains("failed too many times");
            failed.then(|| Err(format!("archiving fails: {}", why(&log))))
        })
    }

    fn has_segment(&self, repo: u32, segment: &str) -> bool {
        let directory = self.archive_directory(repo).join(&segment[..16]);
        names(&directory).iter().any(|name| name.starts_with(segment) && is_segment(name))
    }

    /// Where the segments and histories of a repository are.
    pub(super) fn archive_directory(&self, repo: u32) -> PathBuf {
        self.site.path(&format!("repo{repo}/archive/{STANZA}/15-1"))
    }

    /// Notes which segments the repositories have.
    pub(super) fn look(&mut self) {
        for repo in 1..=self.setup.repos {
            for path in self.segments(repo) {
                let name = path.file_name().unwrap().to_str().unwrap();
                self.journal.archived.insert((repo, name[..24].to_owned()));
            }
        }
    }

    /// A history file was lost, and its number given to another timeline.
    pub(super) fn has_used_a_number_twice(&self) -> bool {
        let is_history = |note: &String| note.starts_with("lost: ") && note.ends_with(".history");
        let mut numbers = BTreeSet::new();
        let is_second = |branch: &Branch| !numbers.insert(branch.timeline);
        self.notes.iter().any(is_history) && self.journal.branches.iter().any(is_second)
    }

    /// In a repository, the newest file of the archive is of a timeline that the database was never on.
    pub(super) fn a_copy_archived_last(&self) -> bool {
        let ancestry = self.journal.ancestry(self.branch);
        let own: BTreeSet<String> = ancestry
            .iter()
            .map(|(branch, _)| format!("{:08X}", self.journal.branches[*branch].timeline))
            .collect();
        (1..=self.setup.repos).any(|repo| {
            let directory = self.archive_directory(repo);
            let histories = names(&directory).into_iter().filter(|name| name.ends_with(".history"));
            let files = self.segments(repo).into_iter().chain(histories.map(|name| directory.join(name)));
            let newest = files.max_by_key(|file| file.metadata().and_then(|file| file.modified()).ok());
            newest.is_some_and(|file| !own.contains(&file.file_name().unwrap().to_str().unwrap()[..8]))
        })
    }

    /// Files of the segments of a repository, in the order of their names.
    pub(super) fn segments(&self, repo: u32) -> Vec<PathBuf> {
        let archive = self.archive_directory(repo);
        let mut files = Vec::new();
        for name in names(&archive).iter().filter(|name| name.len() == 16) {
            let directory = archive.join(name);
            let segments = names(&directory).into_iter().filter(|name| is_segment(name));
            files.extend(segments.map(|name| directory.join(name)));
        }
        files.sort();
        files
    }

    /// When a repository got the last segment of a branch before the one that holds a position.
    pub(super) fn archived_before(&self, repo: u32, branch: usize, position: u64) -> Option<DateTime<Utc>> {
        let ancestry = self.journal.ancestry(branch);
        let end = position.saturating_sub(1) / self.journal.segment_size;
        (0..end).rev().find_map(|number| {
            let names = ancestry.iter().map(|(ancestor, _)| {
                let timeline = self.journal.branches[*ancestor].timeline;
                format!("{}-", self.journal.segment_name(timeline, number))
            });
            let names: Vec<String> = names.collect();
            let is_it = |path: &PathBuf| {
                let name = path.file_name().unwrap().to_str().unwrap();
                names.iter().any(|start| name.starts_with(start))
            };
            let files = self.segments(repo).into_iter().filter(is_it);
            files.map(|path| path.metadata().unwrap().modified().unwrap().into()).max()
        })
    }

    fn back_up(&mut self, kind: Kind, repo: u32) -> Result<(), String> {
        if repo > self.setup.repos {
            return Err("there is no such repository".to_owned());
        }
        let from = Utc::now();
        let is_offline = kind == Kind::Offline;
        if is_offline {
            self.postgres.stop();
        }
        let (repo_option, type_option) = (format!("--repo={repo}"), format!("--type={}", kind.option()));
        let mut arguments = vec![repo_option.as_str(), type_option.as_str()];
        arguments.extend(is_offline.then_some("--no-online"));
        arguments.push("backup");
        let made = self.pgbackrest(&arguments);
        if is_offline {
            self.postgres.start();
        }
        self.look();
        if !made.status.success() {
            return Err(said(&made));
        }
        let label = self.labels(repo)?.pop().ok_or("info shows no backup")?;
        let end = self.postgres.sql("select pg_current_wal_insert_lsn() - '0/0'::pg_lsn").parse().unwrap();
        let (branch, to) = (self.branch, Utc::now());
        self.journal.backups.push(Taken {
            repo,
            label,
            kind,
            branch,
            from,
            to,
            end,
            is_emptied: false,
            has_lost_prior: false,
        });
        Ok(())
    }

    /// Labels of the backups that `info` tells of in a repository, oldest first.
    pub(super) fn labels(&self, repo: u32) -> Result<Vec<String>, String> {
        let told = self.pgbackrest(&[&format!("--repo={repo}"), "--output=json", "info"]);
        let document: serde_json::Value =
            serde_json::from_slice(&told.stdout).map_err(|error| format!("{error}: {}", said(&told)))?;
        let backups = document[0]["backup"].as_array().cloned().unwrap_or_default();
        Ok(backups.iter().filter_map(|backup| Some(backup["label"].as_str()?.to_owned())).collect())
    }

    /// Runs a command of the stanza with the configuration of the database.
    pub(super) fn pgbackrest(&self, arguments: &[&str]) -> Output {
        let stanza = format!("--stanza={STANZA}");
        self.site.run(&self.config_file(), &[&[stanza.as_str()], arguments].concat())
    }

    pub(super) fn config_file(&self) -> PathBuf {
        self.site.path(CONFIG)
    }

    /// Writes the configuration of the database, where it lies now.
    pub(super) fn write_config(&self) {
        self.write_config_for(&self.home);
    }

    /// The same for the time when it lies in another directory.
    pub(super) fn write_config_for(&self, directory: &Path) {
        self.site.write(CONFIG, &self.config_for(directory).text());
    }

    /// The configuration of a database that lies in a directory.
    pub(super) fn config_for(&self, directory: &Path) -> Config {
        let mut config = self
            .site
            .config()
            .global("compress-type", self.setup.compression.option())
            .global("repo1-retention-full", "9")
            .set(STANZA, "pg1-path", &directory.join("data").display().to_string())
            .set(STANZA, "pg1-socket-path", &directory.display().to_string())
            .without("repo2-cipher");
        for repo in 1..=self.setup.repos {
            if self.setup.has_bundles {
                config = config.global(&format!("repo{repo}-bundle"), "y");
            }
            if self.setup.is_encrypted(repo) {
                config = config
                    .global(&format!("repo{repo}-cipher-type"), "aes-256-cbc")
                    .global(&format!("repo{repo}-cipher-pass"), CIPHER_PASS);
            }
        }
        if self.setup.repos == 1 {
            config = config.without("repo2-");
        } else {
            config = config.global("repo2-retention-full", "9");
        }
        self.options.iter().fold(config, |config, (key, value)| config.global(key, value))
    }

    /// An empty directory for another server.
    pub(super) fn new_directory(&mut self) -> PathBuf {
        self.next_directory += 1;
        self.site.create_directory(&format!("server{}", self.next_directory))
    }
}

/// The command that a server with this configuration archives with.
pub(super) fn archive_command(site: &Site, config: &Path) -> String {
    format!(
        "{} --config={} --stanza={STANZA} archive-push %p",
        site.pgbackrest.program.display(),
        config.display()
    )
}

fn commit(postgres: &Postgres<'_>, ids: std::ops::Range<u32>) -> Vec<Marker> {
    let inserts: Vec<String> = ids.clone().map(|id| format!("insert into lines values ({id})")).collect();
    let mut transactions = vec!["set timezone = 'UTC'"];
    for insert in &inserts {
        transactions.extend([
            "select clock_timestamp()",
            insert,
            "select clock_timestamp()",
            "select pg_current_wal_insert_lsn() - '0/0'::pg_lsn",
        ]);
    }
    let told = postgres.sql_each(&transactions);
    let lines: Vec<&str> = told.lines().collect();
    let markers = ids.zip(lines.chunks(3)).map(|(id, lines)| {
        let [before, at] = [lines[0], lines[1]].map(time);
        Marker { id, before, at, end: lines[2].parse().unwrap() }
    });
    markers.collect()
}

/// A time as PostgreSQL prints it.
fn time(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f%#z").unwrap().to_utc()
}

/// The markers of a database, in order.
pub(super) fn content(postgres: &Postgres<'_>) -> Vec<u32> {
    let told = postgres.sql("select id from lines order by id");
    told.lines().map(|line| line.parse().unwrap()).collect()
}

/// All that a command printed.
pub(super) fn said(output: &Output) -> String {
    (String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr)).trim().to_owned()
}

/// Why a server gave up: what its log says of failures, or else its end.
pub(super) fn why(log: &str) -> String {
    let words = ["FATAL", "PANIC", "DETAIL", "invalid", "could not", "unexpected"];
    let is_reason = |line: &&str| words.iter().any(|word| line.contains(word));
    let reasons: Vec<&str> = log.lines().filter(is_reason).collect();
    let lines = if reasons.is_empty() { log.lines().collect() } else { reasons };
    lines[lines.len().saturating_sub(6)..].join("\n")
}

/// Names in a directory, in order; none where it is not there.
pub(super) fn names(directory: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// Not a file that pgBackRest is still writing, or was when it was killed.
fn is_segment(name: &str) -> bool {
    name.get(24..25) == Some("-") && !name.ends_with(".pgbackrest.tmp")
}
