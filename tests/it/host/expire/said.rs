//! The output of pgBackRest about expiry, and that of our program.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::exporter::our_program;
use crate::support::lab::{Lab, STANZA, Site};
use crate::support::process::{call, output};

/// First and last segment; none where all that follow are kept.
type Range = (String, Option<String>);

/// What a dry run of `expire` says of a repository.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// Of the backups that are expired.
    pub(super) labels: BTreeSet<String>,
    /// Of the directories that are removed, with those of backups that did not end.
    pub(super) directories: BTreeSet<String>,
    /// The WAL that backups keep; none if no WAL is removed.
    pub(super) kept: Option<BTreeSet<Range>>,
    /// First and last segment of what is removed.
    pub(super) removed: Vec<(String, String)>,
    pub(super) text: String,
}

impl Said {
    pub(super) fn dry_run(lab: &Lab<'_>, config: &Path, repo: u32) -> Self {
        let output = lab.site.run(
            config,
            &[
                &format!("--stanza={STANZA}"),
                &format!("--repo={repo}"),
                "--dry-run",
                "--log-level-console=detail",
                "--no-log-timestamp",
                "expire",
            ],
        );
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let mut said = Self::default();
        let prefix = format!("repo{repo}: ");
        for line in text.lines().filter_map(|line| line.split_once(&prefix).map(|(_, line)| line)) {
            said.add(line);
        }
        said.text = text;
        said
    }

    fn add(&mut self, line: &str) {
        if let Some((_, labels)) = line.strip_prefix("expire ").and_then(|rest| rest.split_once(" backup ")) {
            let labels = labels.strip_prefix("set ").unwrap_or(labels);
            self.labels.extend(labels.split(", ").map(str::to_owned));
        } else if let Some(label) = line.strip_prefix("remove expired backup ") {
            self.directories.insert(label.to_owned());
        } else if line.contains("archive retention on backup") {
            let range = (word(line, "start = ").unwrap(), word(line, "stop = "));
            self.kept.get_or_insert_default().insert(range);
        } else if line.contains("remove archive, ") {
            self.removed.push((word(line, "start = ").unwrap(), word(line, "stop = ").unwrap()));
        }
    }

    /// A segment is among those that are removed.
    pub(super) fn removes(&self, name: &str) -> bool {
        self.removed.iter().any(|(first, last)| (first.as_str()..=last.as_str()).contains(&name))
    }
}

fn word(line: &str, before: &str) -> Option<String> {
    let rest = line.split_once(before)?.1;
    Some(rest.split(',').next().unwrap_or(rest).trim().to_owned())
}

/// A removal as the program tells it.
#[derive(Debug)]
pub(super) struct Predicted {
    pub(super) backups: BTreeSet<String>,
    pub(super) kept: Option<BTreeSet<Range>>,
    pub(super) wal_bytes: Option<u64>,
}

impl Predicted {
    pub(super) fn of(removal: &Value) -> Self {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let range = |range: &Value| (text(&range["start"]).unwrap(), text(&range["stop"]));
        let ranges = removal["wal_kept"]["ranges"].as_array();
        assert!(removal["refused_by"].is_null(), "{removal:#}");
        Self {
            backups: removal["backups"].as_array().unwrap().iter().filter_map(text).collect(),
            kept: ranges.map(|ranges| ranges.iter().map(range).collect()),
            wal_bytes: removal["wal_bytes"].as_u64(),
        }
    }
}

/// What `info --wal` prints.
pub(super) struct Told(Value);

pub(super) fn info(lab: &Lab<'_>, config: &Path) -> Told {
    let mut keeper = call(lab.site.account.as_ref(), our_program(lab.site));
    keeper.args(["info", "--wal", "--output=json"]);
    keeper.arg(format!("--backrest.config={}", config.display()));
    keeper.arg(format!("--backrest.binary={}", lab.site.pgbackrest.program.display()));
    let said = output(&mut keeper);
    let remarks = String::from_utf8_lossy(&said.stderr);
    Told(serde_json::from_slice(&said.stdout).unwrap_or_else(|error| panic!("{error}: {remarks}")))
}

impl Told {
    pub(super) fn repo(&self, key: u32) -> &Value {
        let repos = self.0["stanzas"][0]["repos"].as_array().unwrap();
        repos.iter().find(|repo| repo["key"] == key).unwrap_or_else(|| panic!("{:#}", self.0))
    }

    /// What is wrong, in sentences.
    pub(super) fn findings(&self) -> Vec<String> {
        let findings = self.0["assessments"][0]["findings"].as_array().unwrap();
        findings.iter().map(|finding| finding["text"].as_str().unwrap().to_owned()).collect()
    }

    pub(super) fn expiry(&self, repo: u32) -> Option<&Value> {
        Some(&self.repo(repo)["expiry"]).filter(|expiry| !expiry.is_null())
    }
}

/// A backup as `pgbackrest info` tells it.
pub(super) struct Listed {
    pub(super) label: String,
    /// The first segment that it needs.
    pub(super) start: String,
}

pub(super) fn backups(lab: &Lab<'_>, repo: u32) -> Vec<Listed> {
    let info = lab.site.info(&lab.both, &[&format!("--repo={repo}"), &format!("--stanza={STANZA}")]);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let listed =
        |backup: &Value| Listed { label: text(&backup["label"]), start: text(&backup["archive"]["start"]) };
    info[0]["backup"].as_array().unwrap().iter().map(listed).collect()
}

/// Bytes of the segments of a repository, by name.
pub(super) fn stored_wal(site: &Site, repo: u32) -> BTreeMap<String, u64> {
    let archive = site.path(&format!("repo{repo}/archive/{STANZA}/15-1"));
    let mut segments = BTreeMap::new();
    for directory in
        fs::read_dir(archive).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir())
    {
        for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
            let name = entry.file_name().into_string().unwrap();
            if let Some((segment, _)) = name.split_once('-') {
                segments.insert(segment.to_owned(), entry.metadata().unwrap().len());
            }
        }
    }
    segments
}
