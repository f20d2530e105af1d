//! The claims of our program about a history. The only module that knows their format.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Output};

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::support::exporter::{Exporter, our_program};
use crate::support::exposition::Samples;
use crate::support::lab::STANZA;
use crate::support::process::{call, output};

use super::super::wal::trial::commands;
use super::turns::target;
use super::world::World;

/// The place of the copy's data directory in a command.
pub(super) const COPY: &str = "COPY";
/// The place of the directory of the whole copy.
pub(super) const DIRECTORY: &str = "/directory-of-it";

/// What `info --output=json` claims.
#[derive(Debug)]
pub(super) struct Claims {
    /// The stanza's health: `ok`, `warning` or `failed`.
    pub(super) health: String,
    pub(super) repos: Vec<OfRepo>,
    /// Branches of history as they are told, for those who read of a defect.
    pub(super) branches: Vec<String>,
}

/// What is claimed of a repository.
#[derive(Debug)]
pub(super) struct OfRepo {
    pub(super) key: u32,
    pub(super) window: Option<Window>,
    /// Where the archive was listed: backups that can be restored, and how far each leads.
    pub(super) reach: Option<BTreeMap<String, DateTime<Utc>>>,
    /// Backups after which a file of a wrong size follows: nothing is proven of times after them.
    pub(super) damaged: BTreeSet<String>,
    /// The timeline that windows and reach lead to.
    pub(super) timeline: Option<u32>,
    /// All backups that `info` lists.
    pub(super) backups: Vec<Listed>,
}

/// A backup as `info` lists it.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) label: String,
    pub(super) stop: DateTime<Utc>,
    pub(super) is_offline: bool,
}

/// Between which times every time can be restored.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    pub(super) earliest: DateTime<Utc>,
    pub(super) continuous_start: Option<DateTime<Utc>>,
    pub(super) latest: DateTime<Utc>,
    pub(super) is_verified: bool,
}

/// A verified window as metrics: repository, and times in Unix seconds.
#[derive(Debug, PartialEq)]
pub(super) struct OfMetrics {
    repo: u32,
    earliest: Option<f64>,
    continuous_start: Option<f64>,
    latest: Option<f64>,
}

/// The answer to `info --restore-command`.
#[derive(Debug)]
pub(super) enum Advice {
    /// The command, ready to restore to [`COPY`].
    Command {
        line: String,
        is_proven: bool,
        /// It is said that WAL may end before the target.
        is_hedged: bool,
        /// It is said that the database may have been on another timeline.
        is_ambiguous: bool,
    },
    /// Why there is none.
    Unreachable(String),
}

impl Claims {
    /// Asks for what is claimed, with or without a scan of the archives.
    pub(super) fn ask(world: &World<'_>, scans: bool) -> Self {
        let mut command = keeper(world);
        command.arg("--output=json");
        if scans {
            command.arg("--wal");
        }
        let told = output(&mut command);
        let document: Value = serde_json::from_slice(&told.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&told.stderr)));
        let (stanza, assessment) = (&document["stanzas"][0], &document["assessments"][0]);
        let branches = array(&stanza["repos"]).iter().flat_map(|repo| {
            let began =
                format!("repo{} is told that timelines began at {}", repo["key"], repo["wal"]["began"]);
            let branch = |branch: &Value| {
                let told = ["timelines", "state", "until", "end"].map(|key| format!("{key} {}", branch[key]));
                format!("repo{} is told to have branch {}", repo["key"], told.join(", "))
            };
            std::iter::once(began)
                .chain(array(&repo["wal"]["branches"]).iter().map(branch))
                .collect::<Vec<_>>()
        });
        Self {
            branches: branches.collect(),
            health: assessment["health"].as_str().unwrap().to_owned(),
            repos: array(&stanza["repos"])
                .iter()
                .map(|repo| {
                    let key = &repo["key"];
                    let concluded = array(&assessment["repos"]).iter().find(|one| one["key"] == *key);
                    OfRepo::of(repo, &concluded.unwrap()["recovery_window"])
                })
                .collect(),
        }
    }
}

impl OfRepo {
    fn of(repo: &Value, window: &Value) -> Self {
        // If either of two branches can be live, nothing is said about how far backups lead.
        let is_certain = repo.pointer("/wal/tied_timeline").is_none_or(Value::is_null);
        let live = repo.pointer("/wal/branches/0/reach").and_then(Value::as_object).filter(|_| is_certain);
        let restorable = repo.pointer("/wal/restorable").and_then(Value::as_array);
        let backups = array(&repo["backups"]).iter().map(|backup| Listed {
            label: backup["label"].as_str().unwrap().to_owned(),
            stop: time(&backup["stop"]).unwrap(),
            is_offline: backup["wal_start"].is_null(),
        });
        Self {
            key: u32::try_from(repo["key"].as_u64().unwrap()).unwrap(),
            window: time(&window["latest"]).map(|latest| Window {
                earliest: time(&window["earliest"]).unwrap(),
                continuous_start: time(&window["continuous_start"]),
                latest,
                is_verified: window["verified"] == true,
            }),
            reach: restorable.map(|restorable| {
                let of = |label: &Value| {
                    let label = label.as_str().unwrap();
                    let stop = || array(&repo["backups"]).iter().find(|one| one["label"] == label).unwrap();
                    // A backup of another branch leads to itself alone.
                    let end = live.and_then(|live| live.get(label)).map(|end| &end["at"]);
                    (label.to_owned(), time(end.unwrap_or(&stop()["stop"])).unwrap())
                };
                restorable.iter().map(of).collect()
            }),
            damaged: live
                .into_iter()
                .flatten()
                .filter(|(_, end)| end["is_damage"] == true)
                .map(|(label, _)| label.clone())
                .collect(),
            timeline: repo
                .pointer("/wal/path/timeline")
                .and_then(Value::as_u64)
                .and_then(|timeline| u32::try_from(timeline).ok()),
            backups: backups.collect(),
        }
    }
}

impl OfMetrics {
    /// What they should be; None where the window is not verified.
    pub(super) fn of(repo: &OfRepo) -> Option<Self> {
        let window = repo.window.filter(|window| window.is_verified)?;
        let seconds = |at: DateTime<Utc>| u32::try_from(at.timestamp()).unwrap().into();
        Some(Self {
            repo: repo.key,
            earliest: Some(seconds(window.earliest)),
            continuous_start: window.continuous_start.map(seconds),
            latest: Some(seconds(window.latest)),
        })
    }

    /// Asks an exporter once it has scanned these repositories.
    pub(super) fn ask(world: &World<'_>, scanned: &[Self]) -> Vec<Self> {
        let exporter = Exporter::start(world.site, &world.config_file(), &[]);
        let told = |samples: &Samples, repo: u32, name: &str| {
            let labels = [("repo_key", &*repo.to_string()), ("stanza", STANZA)];
            samples.find(&format!("pgbackrest_recovery_{name}"), &labels)
        };
        exporter.wait("all windows to be verified", |samples| {
            let is_scanned = |one: &Self| told(samples, one.repo, "window_verified") == Some(1.0);
            let of = |one: &Self| Self {
                repo: one.repo,
                earliest: told(samples, one.repo, "earliest_timestamp_seconds"),
                continuous_start: told(samples, one.repo, "continuous_start_timestamp_seconds"),
                latest: told(samples, one.repo, "latest_timestamp_seconds"),
            };
            scanned.iter().all(is_scanned).then(|| scanned.iter().map(of).collect())
        })
    }
}

/// Asks for the command that leads to a time; from one repository, where that is given.
pub(super) fn advice(world: &World<'_>, at: DateTime<Utc>, scans: bool, repo: Option<u32>) -> Advice {
    let mut command = keeper(world);
    command.arg("--restore-command").arg(format!("--target={}", target(at)));
    command.arg(format!("--copy-directory={DIRECTORY}"));
    if scans {
        command.arg("--wal");
    }
    command.args(repo.map(|repo| format!("--collect.repo={repo}")));
    let Output { status, stdout, stderr } = output(&mut command);
    let remarks = String::from_utf8(stderr).unwrap();
    if !status.success() {
        assert!(remarks.contains("cannot be reached"), "{remarks}");
        return Advice::Unreachable(remarks.trim().to_owned());
    }
    Advice::Command {
        line: into_copy(&String::from_utf8(stdout).unwrap()),
        is_proven: remarks.lines().any(|line| line.starts_with("proven: ")),
        is_hedged: remarks.lines().any(|line| line.starts_with("unknown: ")),
        is_ambiguous: remarks.contains("so that time may belong to another one"),
    }
}

/// The printed command that restores a copy.
fn into_copy(printed: &str) -> String {
    let [_, copy] = commands(printed);
    copy
}

fn keeper(world: &World<'_>) -> Command {
    let mut keeper = call(world.site.account.as_ref(), our_program(world.site));
    keeper
        .arg("info")
        .arg(format!("--backrest.stanza-include={STANZA}"))
        .arg(format!("--backrest.config={}", world.config_file().display()))
        .arg(format!("--backrest.binary={}", world.site.pgbackrest.program.display()));
    keeper
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn time(value: &Value) -> Option<DateTime<Utc>> {
    Some(DateTime::parse_from_rfc3339(value.as_str()?).unwrap().to_utc())
}
