//! Recorded outputs of pgBackRest to whole expositions. `UPDATE_GOLDEN=1` regenerates them; read the diff before you commit it.

mod fleet;
mod jobs;
mod operator;
pub(crate) mod restore_tests;
pub(crate) mod verifications;

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use pgbackrest_keeper::metrics::catalogue::{self, Metric, MetricKind};
use pgbackrest_keeper::metrics::collection::{Collector, ConfigurationKind, RunReport};
use pgbackrest_keeper::metrics::exposition::{
    ClusterMetrics, Dynamic, Format, StaticPart, dynamic_part, gzip,
};
use pgbackrest_keeper::metrics::notifications::{CallFailure, TargetKind};
use pgbackrest_keeper::metrics::{CollectionMetrics, OperatorMetrics, Options, ProcessFigures};
use pgbackrest_keeper::pgbackrest::archive::{ArchiveId, DirectoryName};
use pgbackrest_keeper::pgbackrest::exit_code::Reason;
use pgbackrest_keeper::pgbackrest::label::BackupType;
use pgbackrest_keeper::pgbackrest::version::Product;
use pgbackrest_keeper::pgbackrest::wal::{Lsn, SegmentSize};
use pgbackrest_keeper::state::archive::{
    ArchiveRetention, DatabaseFacts, DirectoryFacts, Expected, Leftover, ListedFile, Listing, judge,
};
use pgbackrest_keeper::state::archiver::{
    Archiver, DroppedFiles, Next, Observation, PushError, Queue, Spool,
};
use pgbackrest_keeper::state::removal::Aged;
use pgbackrest_keeper::state::snapshot::{
    AttemptEvidence, AttemptFailure, BackupAttempt, BlockedExpiry, ConfigurationHealth, CredentialExpiry,
    CredentialKind, Evidence, Expiry, FailureReason, OtherProgram, Removal, RepoSettings, Retention,
    ScopeHealth, ScopeKind, Snapshot, StopFile, StopScope,
};

use crate::golden::fixtures;

#[test]
fn expositions_are_as_recorded() {
    let mut differences = Vec::new();
    let mut expected = BTreeSet::new();
    for case in fixtures::all() {
        let (snapshot, now) = fixtures::scene(&case);
        let directory = fixtures::directory().join("metrics").join(&case.version);
        let classic = fixtures::exposition(snapshot.clone(), fixtures::options(), now, Format::Classic);
        let openmetrics = fixtures::exposition(snapshot, fixtures::options(), now, Format::OpenMetrics);
        assert_eq!(fixtures::series(&classic), fixtures::series(&openmetrics), "{}", case.name);
        assert!(openmetrics.ends_with("\n# EOF\n") && !classic.contains("# EOF"), "{}", case.name);
        let files = [
            (directory.join(format!("{}.prom", case.name)), classic),
            (directory.join(format!("{}.om", case.name)), openmetrics),
        ];
        for (path, text) in files {
            differences.extend(compare(&path, &text));
            expected.insert(path);
        }
    }
    let (everything, _) = everything();
    let fleet = Arc::new(operator::fleet());
    for (format, ending) in [(Format::Classic, "prom"), (Format::OpenMetrics, "om")] {
        let made = [
            ("everything", everything(format)),
            ("operator", operator::exposition(&fleet, fixtures::options(), format)),
            ("fleet", fleet::exposition(fixtures::options(), format)),
        ];
        for (name, text) in made {
            let path = fixtures::directory().join(format!("metrics/made/{name}.{ending}"));
            differences.extend(compare(&path, &text));
            expected.insert(path);
        }
    }
    for directory in fixtures::entries(&fixtures::directory().join("metrics")) {
        for path in fixtures::entries(&directory) {
            assert!(expected.contains(&path), "{} belongs to no recorded call; remove it", path.display());
        }
    }
    assert!(differences.is_empty(), "run with UPDATE_GOLDEN=1 if this is right:\n{}", differences.join("\n"));
}

/// The first line that differs, unless the file is to be written.
fn compare(path: &Path, text: &str) -> Option<String> {
    let recorded = fs::read_to_string(path).unwrap_or_default();
    if recorded == text {
        return None;
    }
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        return None;
    }
    let differs = recorded.lines().zip(text.lines()).enumerate().find(|(_, (old, new))| old != new);
    let difference = differs.map_or_else(
        || format!("{} lines, now {}", recorded.lines().count(), text.lines().count()),
        |(index, (old, new))| format!("line {}:\n  -{old}\n  +{new}", index + 1),
    );
    Some(format!("{}: {difference}", path.display()))
}

/// A scene in which every metric has a series: settings, credentials, failures, progress, all switches on.
fn everything() -> (impl Fn(Format) -> String, Arc<Options>) {
    let case = fixtures::all().into_iter().find(|case| case.name == "two_repos_one_encrypted").unwrap();
    let (mut snapshot, now) = fixtures::scene(&case);
    let backups = snapshot.stanzas[0].repos[0].backups.to_vec();
    for (number, mut backup) in backups.into_iter().cycle().take(6).enumerate() {
        backup.label = format!("20261101-00000{number}F").into();
        backup.stop -= TimeDelta::days(i64::try_from(number).unwrap() + 1);
        backup.databases = Some(3);
        snapshot.stanzas[0].repos[0].backups.push(backup);
    }
    settings(&mut snapshot, now);
    progress(&mut snapshot, now);
    failures(&mut snapshot, now);
    listed(&mut snapshot, now);
    expiring(&mut snapshot, now);
    snapshot.stanzas[0].repos[0].expiry_blocked =
        Some(BlockedExpiry { by: "20261101-000000F".into(), since: now - TimeDelta::hours(30) });
    snapshot.stanzas[0].other_program = Some(OtherProgram {
        product: Some(Product::PgBunker),
        evidence: Evidence::Backup,
        seen_at: now - TimeDelta::hours(3),
    });
    snapshot.stanzas[0].repos[0].last_attempt = Some(BackupAttempt {
        evidence: AttemptEvidence::Log,
        backup_type: Some(BackupType::Incr),
        began: Some(now - TimeDelta::minutes(50)),
        ended: Some(now - TimeDelta::minutes(40)),
        failure: Some(AttemptFailure {
            reason: Some(Reason::ArchiveTimeout),
            exit_code: Some(82),
            message: Some("WAL segment was not archived before the 60000ms timeout".to_owned()),
        }),
    });
    snapshot.stanzas[0].stop_files =
        Some(vec![StopFile { scope: StopScope::Stanza, since: Some(now - TimeDelta::hours(2)), pod: None }]);
    archiver(&mut snapshot, now);
    restore_tests::add(&mut snapshot, now);
    verifications::add(&mut snapshot, now);
    let options = Arc::new(Options {
        legacy_names: true,
        max_backups_per_stanza: 4,
        verbose_wal: true,
        reference_count: true,
        database_count: true,
        database_count_latest: true,
        ..fixtures::options()
    });
    let (snapshot, collection) = (Arc::new(snapshot), Arc::new(collection(now)));
    let used = Arc::clone(&options);
    let fleet = Arc::new(operator::fleet());
    let clusters = ClusterMetrics::new(Arc::clone(&fleet));
    let encode = move |format| {
        clusters.encode(&used, now).unwrap();
        let host = StaticPart::encode(&snapshot, &used).unwrap().at(now, format).unwrap();
        let static_part = &clusters.joined(&host, format);
        let process = Some(process());
        let parts =
            Dynamic { static_part, collection: &collection, operator: Some(&fleet), process, options: &used };
        let dynamic = dynamic_part(&parts, format).unwrap();
        let chunks: Result<Vec<_>, _> =
            pgbackrest_keeper::metrics::exposition::plain(static_part, dynamic, 0).unwrap().collect();
        String::from_utf8(chunks.unwrap().concat()).unwrap()
    };
    (encode, options)
}

fn settings(snapshot: &mut Snapshot, now: DateTime<Utc>) {
    let credential = |kind, days| CredentialExpiry { kind, not_after: now + TimeDelta::days(days) };
    snapshot.stanzas[0].repos[0].settings = Some(RepoSettings {
        storage: Some("azure".to_owned()),
        retention_full: Some(Retention::Days(14)),
        retention_diff: Some(7),
        credentials: vec![
            credential(CredentialKind::TlsCa, 400),
            credential(CredentialKind::TlsCa, 300),
            credential(CredentialKind::AzureSas, 5),
        ],
        ..RepoSettings::default()
    });
}

fn progress(snapshot: &mut Snapshot, now: DateTime<Utc>) {
    use pgbackrest_keeper::state::snapshot::{Activity, Progress};
    let progress = Some(Progress { complete: 1 << 30, total: u64::from(u32::MAX) << 22 });
    let stanza = &mut snapshot.stanzas[0];
    stanza.backup_lock = Activity { held: Some(true), since: Some(now), progress };
    stanza.repos[1].progress = progress;
    stanza.repos[1].in_progress_since = Some(now - TimeDelta::minutes(5));
}

/// An archive with a hole after its first segment.
fn listed(snapshot: &mut Snapshot, now: DateTime<Utc>) {
    let repo = &mut snapshot.stanzas[0].repos[0];
    let archive = ArchiveId::parse(&repo.archives[0].id).unwrap();
    let mut listing = Listing::new(archive, now);
    listing.backup_directories = Some(BTreeSet::new());
    let name = |number: u32| format!("0000000100000000{number:08X}-{}.gz", "a".repeat(40));
    let names = [1, 3, 4].map(name);
    let files = names.iter().map(|name| ListedFile { name, size: 1 << 20, modified: now });
    let directory = DirectoryName { timeline: 1, high: 0 };
    let ends = repo.backups.iter().flat_map(|backup| [backup.wal_start, backup.wal_stop]).flatten();
    let expected = Expected { marked: ends.map(|segment| segment.low).collect(), ..Expected::default() };
    listing.replace_directory(directory, DirectoryFacts::of(directory, files, now, &expected));
    let database = DatabaseFacts {
        size: SegmentSize::DEFAULT,
        retention: ArchiveRetention::Unknown,
        postgres_version: Some(15),
    };
    let mut wal = judge(&listing, &repo.backups, database);
    if let Some(path) = &mut wal.path {
        (path.continuous_start, path.latest_at_most) = (Some(now - TimeDelta::days(2)), Some(now));
        path.latest_lsn = Lsn::parse("0/5000000");
    }
    wal.earliest = Some(now - TimeDelta::days(3));
    wal.clock_behind_seconds = Some(90);
    repo.wal = Some(Arc::new(wal));
}

/// An archiver whose queue grows, with all that can be wrong.
fn archiver(snapshot: &mut Snapshot, now: DateTime<Utc>) {
    let observed = |minutes: u32, files: u64| Observation {
        pod: None,
        at: now - TimeDelta::minutes(i64::from(10 - minutes)),
        uptime: Duration::from_mins(minutes.into()),
        queue_limit: Some(1 << 30),
        queue: Ok(Queue {
            files,
            next: Some(Next {
                file: "000000010000000000000005".to_owned(),
                since: Some(now - TimeDelta::hours(1)),
            }),
            file_bytes: Some(16 << 20),
            ..Queue::default()
        }),
        spool: Ok(Spool {
            pushed_files: Some(2),
            dropped: Some(DroppedFiles {
                first: "000000010000000000000003".to_owned(),
                first_at: now - TimeDelta::hours(3),
                last_at: now - TimeDelta::hours(2),
            }),
            errors: vec![PushError {
                file: Some("000000010000000000000005".to_owned()),
                class: "ArchiveDuplicateError",
                message: "it already exists".to_owned(),
                seen_at: now - TimeDelta::minutes(1),
            }],
        }),
    };
    let before = Archiver::of(&observed(0, 10), None, &[]);
    let archiver = Archiver::of(&observed(10, 30), Some(&before), &[]);
    snapshot.archivers.insert(Arc::clone(&snapshot.stanzas[0].name), archiver);
}

/// Expired by time, with a backup that is old enough and one that will be.
fn expiring(snapshot: &mut Snapshot, now: DateTime<Utc>) {
    let removal = |labels: &[&str], backup_bytes, wal_bytes| Removal {
        backups: labels.iter().map(|label| (*label).into()).collect(),
        backup_bytes: Some(backup_bytes),
        wal_bytes: Some(wal_bytes),
        ..Removal::default()
    };
    let (old, older) = ("20261101-000001F", "20261101-000000F");
    let repo = &mut snapshot.stanzas[0].repos[0];
    repo.expiry = Some(Arc::new(Expiry {
        now: removal(&[older], 1 << 30, 1 << 20),
        after_backup: BackupType::ALL.map(|kind| (kind, removal(&[older, old], 1 << 31, 1 << 21))).into(),
        aged: Some(Aged { at: now + TimeDelta::days(3), removal: removal(&[older, old], 1 << 31, 1 << 21) }),
        is_retention_reached: Some(true),
        overdue_since: Some(now - TimeDelta::hours(5)),
    }));
    let leftover = |label: &str, bytes, is_newest| Leftover { label: label.to_owned(), bytes, is_newest };
    repo.leftovers = Some(vec![
        leftover("20261030-000000F", Some(1 << 29), false),
        leftover("20261122-230000F", None, true),
    ]);
}

fn failures(snapshot: &mut Snapshot, now: DateTime<Utc>) {
    snapshot.stanzas[0].repos[1].error = Some("CryptoError");
    let gone =
        ScopeHealth { kind: ScopeKind::Stanza, up: false, last_run: now, last_success: None, failure: None };
    snapshot.collection.scopes.insert(Arc::from("gone \"\\\n"), gone);
    let problem = Some("a line has no =".to_owned());
    snapshot.collection.configuration = Some(ConfigurationHealth { problem });
}

fn collection(now: DateTime<Utc>) -> CollectionMetrics {
    let collection = CollectionMetrics::new().with_wal(true);
    collection.set_cadence(Collector::Info, Duration::from_mins(10), Duration::from_millis(1500));
    collection.run_started(Collector::Info, now);
    let failed = RunReport {
        duration: Duration::from_millis(200),
        output_bytes: Some(12_345),
        sanitized: true,
        failure: Some(FailureReason::Timeout),
    };
    collection.run_finished(Collector::Info, &failed);
    collection.run_started(Collector::Info, now - TimeDelta::seconds(2));
    collection.config_read(ConfigurationKind::Web, false, now - TimeDelta::hours(5));
    notifications(&collection, now);
    collection
}

fn notifications(collection: &CollectionMetrics, now: DateTime<Utc>) {
    let (heartbeat, webhook): (Arc<str>, Arc<str>) = ("backups".into(), "oncall".into());
    let metrics = collection.notifications();
    let targets =
        [(TargetKind::Heartbeat, Arc::clone(&heartbeat)), (TargetKind::Webhook, Arc::clone(&webhook))];
    metrics.set_targets(targets.into_iter());
    metrics.held(&heartbeat, Some(true));
    metrics.called(TargetKind::Heartbeat, &heartbeat, None, now - TimeDelta::minutes(2));
    metrics.called(TargetKind::Webhook, &webhook, None, now - TimeDelta::hours(9));
    metrics.called(TargetKind::Webhook, &webhook, Some(CallFailure::Status), now);
    metrics.queued(&webhook, 2);
}

fn process() -> ProcessFigures {
    ProcessFigures {
        log_lines_dropped: Some(2),
        responses: Some((3, 4)),
        memory_limit_bytes: Some(256 << 20),
        cpu_seconds: Some(1.25),
        open_fds: Some(12),
        max_fds: Some(1024),
        threads: Some(3),
        virtual_memory_bytes: Some(1 << 27),
        virtual_memory_max_bytes: Some(1 << 40),
        resident_memory_bytes: Some(9_000_000),
        start_time_seconds: Some(1_795_340_000.25),
    }
}

#[test]
fn every_metric_of_the_catalogue_is_exposed_with_its_labels() {
    let (everything, options) = everything();
    let exposition = everything(Format::Classic);
    let families: BTreeSet<_> = exposition
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .map(|rest| rest.split_once(' ').unwrap())
        .collect();
    assert_eq!(families.len(), exposition.matches("# TYPE ").count(), "a family appears twice");
    for metric in catalogue::all() {
        assert!(options.exposes(metric), "{}", metric.name);
        assert!(families.contains(&(metric.name, metric.kind.to_string().as_str())), "{}", metric.name);
        let help = format!("# HELP {} {}\n", metric.name, metric.help);
        assert!(exposition.contains(&help), "{help}");
        check_labels(metric, &exposition);
    }
    assert_eq!(families.len(), catalogue::all().count());
    let counted = fixtures::series(&exposition);
    assert_eq!(counted["pgbackrest_exporter_series"].to_string(), counted.len().to_string());
}

fn check_labels(metric: &Metric, exposition: &str) {
    let prefix = if metric.kind == MetricKind::Histogram {
        format!("{}_sum", metric.name)
    } else {
        metric.name.to_owned()
    };
    let line = exposition.lines().find(|line| {
        line.strip_prefix(&prefix).is_some_and(|rest| rest.starts_with('{') || rest.starts_with(' '))
    });
    let line = line.unwrap_or_else(|| panic!("{} has no series", metric.name));
    let names: Vec<_> = line.split('{').nth(1).map_or_else(Vec::new, |labels| {
        labels.split("\",").filter_map(|label| label.split_once("=\"")).map(|(name, _)| name).collect()
    });
    assert_eq!(names, metric.labels, "{line}");
}

#[test]
fn promtool_accepts_every_classic_exposition() {
    if !available("promtool") {
        return;
    }
    // One call for all: the series of a family from all cases in one group, told apart by a label.
    let mut families: BTreeMap<String, (String, String)> = BTreeMap::new();
    for case in fixtures::all() {
        let (snapshot, now) = fixtures::scene(&case);
        let label = (String::from("case"), format!("{}/{}", case.version, case.name));
        let constant_labels = pgbackrest_keeper::metrics::options::ConstantLabels::new([label]).unwrap();
        let options = Options { constant_labels, ..fixtures::options() };
        add(&mut families, &fixtures::exposition(snapshot, options, now, Format::Classic));
    }
    let label = (String::from("case"), String::from("operator"));
    let constant_labels = pgbackrest_keeper::metrics::options::ConstantLabels::new([label]).unwrap();
    let options = Options { constant_labels, ..fixtures::options() };
    add(&mut families, &operator::exposition(&Arc::new(operator::fleet()), options, Format::Classic));
    add(&mut families, &everything().0(Format::Classic));
    // Its clusters tell its series from those of the others.
    let of_fleet = fleet::exposition(fixtures::options(), Format::Classic);
    add(&mut families, &only_of_clusters(&of_fleet));
    let mut all = String::new();
    for (header, samples) in families.values() {
        write!(all, "{header}{samples}").unwrap();
    }
    let output = pipe(Command::new("promtool").args(["check", "metrics"]), all.as_bytes());
    let remarks = String::from_utf8(output.stderr).unwrap() + &String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && remarks.is_empty(), "{}\n{remarks}", output.status);
}

/// Without what every exporter tells of itself.
fn only_of_clusters(exposition: &str) -> String {
    let lines = exposition.lines().filter(|line| line.starts_with('#') || line.contains("{namespace="));
    lines.map(|line| line.to_owned() + "\n").collect()
}

fn add(families: &mut BTreeMap<String, (String, String)>, exposition: &str) {
    let mut current = None;
    for line in exposition.lines() {
        if let Some((name, _)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            current = Some(families.entry(name.to_owned()).or_default());
        }
        let (header, samples) = current.as_mut().unwrap();
        if !line.starts_with('#') {
            writeln!(samples, "{line}").unwrap();
        } else if !header.contains(line) {
            writeln!(header, "{line}").unwrap();
        }
    }
}

#[test]
fn other_programs_read_the_one_gzip_member() {
    let case = fixtures::all().into_iter().find(|case| case.name == "multi_stanza").unwrap();
    let (snapshot, now) = fixtures::scene(&case);
    let (snapshot, options) = (Arc::new(snapshot), Arc::new(fixtures::options()));
    let collection = Arc::new(CollectionMetrics::new());
    let static_part = &StaticPart::encode(&snapshot, &options).unwrap().at(now, Format::OpenMetrics).unwrap();
    let parts =
        Dynamic { static_part, collection: &collection, operator: None, process: None, options: &options };
    let dynamic = dynamic_part(&parts, Format::OpenMetrics).unwrap();
    let member = gzip(static_part, &dynamic).unwrap().concat();
    let text =
        fixtures::exposition_with(&snapshot, &options, &collection, now, Format::OpenMetrics).into_bytes();
    if available("gzip") {
        let output = pipe(Command::new("gzip").arg("-dc"), &member);
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        assert!(output.stdout == text);
    }
    if available("python3") {
        // A single member: a reader that stops at its end has everything, and nothing follows.
        let script = "import sys,zlib,gzip\nb=sys.stdin.buffer.read()\nd=zlib.decompressobj(31)\nt=d.decompress(b)\n\
                      assert d.eof and not d.unused_data\nassert t==gzip.decompress(b)\nsys.stdout.buffer.write(t)";
        let output = pipe(Command::new("python3").args(["-c", script]), &member);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(output.stdout == text);
    }
}

/// What an operator with these metrics serves, in the classic format.
pub(crate) fn operator_exposition(metrics: &Arc<OperatorMetrics>) -> String {
    operator::exposition(metrics, fixtures::options(), Format::Classic)
}

/// Whether the program can be started; in CI it must.
fn available(program: &str) -> bool {
    let found = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if found.is_err() {
        assert!(env::var_os("CI").is_none_or(|ci| ci != "true"), "{program} is missing");
        println!("skipped: {program} is missing");
    }
    found.is_ok()
}

fn pipe(command: &mut Command, input: &[u8]) -> std::process::Output {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        // A program may end without reading everything.
        scope.spawn(move || stdin.write_all(input).ok());
        child.wait_with_output().unwrap()
    })
}
