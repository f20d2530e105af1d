//! Recorded outputs of pgBackRest as snapshots, and expositions as series.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use pgbackrest_keeper::metrics::collection::ConfigurationKind;
use pgbackrest_keeper::metrics::exposition::{Dynamic, Format, StaticPart, dynamic_part, plain};
use pgbackrest_keeper::metrics::options::BuildInfo;
use pgbackrest_keeper::metrics::{CollectionMetrics, Options};
use pgbackrest_keeper::pgbackrest::version::{self, Version};
use pgbackrest_keeper::pgbackrest::{info, sanitize};
use pgbackrest_keeper::state::assemble;
use pgbackrest_keeper::state::snapshot::{Collection, ScopeHealth, ScopeKind, Snapshot};

/// One recorded call.
pub(crate) struct Case {
    /// Directory, which is the version that was recorded.
    pub(crate) version: String,
    /// File name without extension.
    pub(crate) name: String,
    /// Standard output, as it was.
    pub(crate) stdout: Vec<u8>,
}

pub(crate) fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

/// All recorded calls, sorted.
pub(crate) fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    for directory in entries(&directory().join("info")) {
        for file in entries(&directory) {
            if file.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let text = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
            let version = directory.file_name().unwrap().to_str().unwrap().to_owned();
            cases.push(Case { version, name: text(&file), stdout: fs::read(&file).unwrap() });
        }
    }
    assert!(cases.len() > 130, "only {} recorded calls", cases.len());
    cases
}

pub(crate) fn entries(directory: &Path) -> Vec<PathBuf> {
    let read = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut entries: Vec<_> = read.map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    entries
}

/// The version that a directory is named after.
pub(crate) fn version(directory: &str) -> Option<Version> {
    version::parse(&format!("pgBackRest {directory}"))
}

/// What a collection at `read_at` would have made of the output.
pub(crate) fn snapshot(stdout: &[u8], version: Option<Version>, read_at: DateTime<Utc>) -> Snapshot {
    let cleaned = sanitize::clean(stdout);
    let document = info::parse(&cleaned.text).unwrap();
    let stanzas: Vec<_> = document.stanzas().map(|stanza| assemble::stanza(stanza, read_at)).collect();
    let health =
        |kind| ScopeHealth { kind, up: true, last_run: read_at, last_success: Some(read_at), failure: None };
    let mut scopes = BTreeMap::from([(Arc::from("all-stanzas"), health(ScopeKind::Call))]);
    scopes.extend(stanzas.iter().map(|stanza| (stanza.name.clone(), health(ScopeKind::Stanza))));
    Snapshot {
        stanzas,
        collection: Collection { scopes, ..Collection::default() },
        version,
        ..Snapshot::default()
    }
}

/// Stop of the newest backup; a fixed instant where there is none.
pub(crate) fn newest_stop(snapshot: &Snapshot) -> DateTime<Utc> {
    let backups = snapshot.stanzas.iter().flat_map(|stanza| &stanza.repos).flat_map(|repo| &repo.backups);
    backups.map(|backup| backup.stop).max().unwrap_or(DateTime::from_timestamp(1_795_345_200, 0).unwrap())
}

/// The snapshot of a recorded call and the instant of the scrape: an hour after the newest backup, a minute after the call.
pub(crate) fn scene(case: &Case) -> (Snapshot, DateTime<Utc>) {
    let version = version(&case.version);
    let now = newest_stop(&snapshot(&case.stdout, version, DateTime::UNIX_EPOCH)) + TimeDelta::hours(1);
    (snapshot(&case.stdout, version, now - TimeDelta::minutes(1)), now)
}

/// The options of a drop-in, with a build that does not change.
pub(crate) fn options() -> Options {
    let build = BuildInfo {
        version: "0.0.0",
        revision: "0000000",
        branch: "main",
        rustc: "1.95.0",
        operating_system: "linux",
        architecture: "amd64",
    };
    Options { build, ..Options::default() }
}

/// The whole answer.
pub(crate) fn exposition(snapshot: Snapshot, options: Options, now: DateTime<Utc>, format: Format) -> String {
    let collection = CollectionMetrics::new();
    collection.config_read(ConfigurationKind::Web, true, now);
    exposition_with(&Arc::new(snapshot), &Arc::new(options), &Arc::new(collection), now, format)
}

pub(crate) fn exposition_with(
    snapshot: &Arc<Snapshot>,
    options: &Arc<Options>,
    collection: &Arc<CollectionMetrics>,
    now: DateTime<Utc>,
    format: Format,
) -> String {
    let static_part = &StaticPart::encode(snapshot, options).unwrap().at(now, format).unwrap();
    let parts = Dynamic { static_part, collection, operator: None, process: None, options };
    let dynamic = dynamic_part(&parts, format).unwrap();
    let chunks: Result<Vec<_>, _> = plain(static_part, dynamic, u64::MAX).unwrap().collect();
    String::from_utf8(chunks.unwrap().concat()).unwrap()
}

/// Name, labels and value of every series. Labels are as written; nothing here needs unescaping.
pub(crate) fn series(exposition: &str) -> BTreeMap<String, f64> {
    let mut all = BTreeMap::new();
    for line in exposition.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
        let value = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
        assert!(all.insert(series.to_owned(), value).is_none(), "twice: {series}");
    }
    all
}
