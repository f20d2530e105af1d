//! Made-up records of restore tests in a state directory: metrics, status page and `info`, with a `pgbackrest` that prints a recorded
//! answer. `host::restore_tests::shown` does the same with real ones.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use pgbackrest_keeper::pgbackrest::label::BackupType;
use pgbackrest_keeper::pgbackrest::wal::Lsn;
use pgbackrest_keeper::state::proofs::{
    Check, CheckKind, FORMAT, MAX_STORED, Outcome, Phase, PhaseRun, Position, Reason, ReasonClass,
    Record as _, RestoreTest, Source, Target, TargetKind, TestedBackup, Verdict, Versions, file,
};
use serde_json::Value;
use tempfile::TempDir;

use crate::host::fake::script;
use crate::support::exporter::CLASSIC;
use crate::support::exposition::Samples;
use crate::support::http;
use crate::support::lab::STANZA;
use crate::support::process::{Running, call, command, output, wait_for};

const FIXTURE: &str = "fixtures/info/2.60.0/one_repo_full_diff_incr.json";
const REPO: &[(&str, &str)] = &[("repo_key", "1"), ("stanza", STANZA)];
const UNUSABLE: &str = "pgbackrest_restore_test_records_unusable";
const LAST_START: &str = "pgbackrest_restore_test_last_start_timestamp_seconds";
const LAST_SUCCESS: &str = "pgbackrest_restore_test_last_success_timestamp_seconds";
const FAILURES: &str = "pgbackrest_restore_test_consecutive_failures";
const ESTIMATE: &str = "pgbackrest_recovery_time_estimate_seconds";

/// A test of a backup with these label, times and positions.
fn record(backup: TestedBackup, start: DateTime<Utc>, outcome: Outcome) -> RestoreTest {
    let phase = |phase, seconds| PhaseRun {
        phase,
        duration: Duration::from_secs(seconds),
        deadline: Duration::from_hours(1),
    };
    let class = match outcome {
        Outcome::Passed => None,
        Outcome::Failed => Some(ReasonClass::DamagedBackup),
        Outcome::Inconclusive => Some(ReasonClass::NoSpace),
        Outcome::TimedOut => Some(ReasonClass::Deadline),
    };
    RestoreTest {
        format: FORMAT,
        source: Source::Host,
        stanza: STANZA.to_owned(),
        repo: 1,
        versions: Versions { keeper: "0.1.0".to_owned(), pgbackrest: None, postgres: None },
        start,
        stop: start + TimeDelta::seconds(70),
        target: Target { kind: TargetKind::Latest, time: None, random: false },
        databases: Vec::new(),
        reached: Some(Position { lsn: Lsn(0x500_0110), timeline: Some(1), last_commit: Some(start) }),
        phases: vec![phase(Phase::Restore, 40), phase(Phase::Replay, 20)],
        checks: [(CheckKind::Target, Verdict::Passed), (CheckKind::Pages, Verdict::NotChecked)]
            .map(|(kind, verdict)| Check { kind, name: None, verdict, message: None })
            .into(),
        restored_bytes: backup.size,
        wal_segments: Some(1),
        wal_bytes: Some(1 << 20),
        backup: Some(backup),
        outcome,
        reason: class.map(|class| Reason {
            class,
            phase: Phase::Restore,
            message: "<script>file base/5/2619 is damaged".to_owned(),
        }),
        chain: None,
    }
}

fn write(state: &Path, test: &RestoreTest) -> PathBuf {
    let directory = state.join(file::directory::<RestoreTest>(&test.stanza, test.repo).unwrap());
    fs::create_dir_all(&directory).unwrap();
    let path = directory.join(file::name(test.start));
    let draft = directory.join("draft");
    fs::write(&draft, test.document().unwrap()).unwrap();
    fs::rename(&draft, &path).unwrap();
    path
}

/// The exporter, the recorded answer, and a state directory.
struct World {
    directory: TempDir,
    document: Value,
}

struct Served {
    process: Running,
    url: String,
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let text = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(FIXTURE)).unwrap();
        fs::write(directory.path().join("answer"), &text).unwrap();
        let body =
            "case \"$*\" in *version*) echo pgBackRest 2.60.0 ;; *) exec cat \"${0%/*}/answer\" ;; esac";
        script(directory.path(), "pgbackrest", body);
        fs::write(directory.path().join("pgbackrest.conf"), "[global]\n").unwrap();
        Self { document: serde_json::from_slice(&text).unwrap(), directory }
    }

    fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    /// The oldest backup.
    fn full(&self) -> TestedBackup {
        let backup = &self.document[0]["backup"][0];
        let at =
            |name: &str| DateTime::from_timestamp(backup["timestamp"][name].as_i64().unwrap(), 0).unwrap();
        let lsn = |name: &str| Lsn::parse(backup["lsn"][name].as_str().unwrap());
        TestedBackup {
            label: backup["label"].as_str().unwrap().to_owned(),
            backup_type: BackupType::Full,
            start: at("start"),
            stop: at("stop"),
            lsn_start: lsn("start"),
            lsn_stop: lsn("stop"),
            size: backup["info"]["size"].as_u64(),
            repo_size: None,
        }
    }

    fn arguments(&self) -> [String; 3] {
        let path = |name: &str| self.directory.path().join(name).display().to_string();
        [
            format!("--backrest.binary={}", path("pgbackrest")),
            format!("--backrest.config={}", path("pgbackrest.conf")),
            format!("--state-directory={}", path("state")),
        ]
    }

    fn serve(&self) -> Served {
        let mut program = command(None, env!("CARGO_BIN_EXE_pgbackrest-keeper"));
        program
            .args(["exporter", "--web.listen-address=127.0.0.1:0", "--log.format=json"])
            .args(["--collect.interval=1", "--collect.timeout=60s", "--collector.wal=false"])
            .args(self.arguments());
        let log = self.directory.path().join("log");
        let mut process = Running::start("exporter", program, &log, Signal::SIGTERM);
        let address = process.wait_in_log("the exporter's address", |log| {
            let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            lines.find_map(|line| Some(line.get("address")?.as_str()?.to_owned()))
        });
        Served { process, url: format!("http://{address}") }
    }

    fn info(&self, arguments: &[&str]) -> (String, String) {
        let mut program = call(None, env!("CARGO_BIN_EXE_pgbackrest-keeper"));
        program.arg("info").args(self.arguments()).args(arguments);
        let said = output(&mut program);
        assert!(said.status.success(), "{said:?}");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (text(said.stdout), text(said.stderr))
    }
}

impl Served {
    fn samples(&self) -> Samples {
        let text = http::get(&format!("{}/metrics", self.url), &[("accept", CLASSIC)]).unwrap();
        let samples = Samples::parse(text.text());
        assert_eq!(samples.twice(), Vec::<&crate::support::exposition::Sample>::new());
        samples
    }

    fn page(&self) -> String {
        http::get(&self.url, &[]).unwrap().text().to_owned()
    }

    fn wait(&self, what: &str, is_there: impl Fn(&Samples) -> bool) -> Samples {
        wait_for(what, || Some(self.samples()).filter(|samples| is_there(samples)))
    }

    fn stop(mut self) {
        self.process.signal_group(Signal::SIGTERM);
        assert!(self.process.wait().success());
    }
}

/// What the page says, and what makes it so.
type Fault<'a> = (&'a str, &'a dyn Fn(&Path));

fn seconds(at: DateTime<Utc>) -> f64 {
    at.timestamp() as f64
}

/// Whether anything is told about restore tests.
fn is_told(samples: &Samples) -> bool {
    let names = samples.names();
    names.iter().any(|name| name.contains("restore_test") || name.contains("recovery_time"))
}

#[test]
fn records_are_told_and_survive_a_restart() {
    let world = World::new();
    let exporter = world.serve();
    let samples = exporter.wait("the stanza", |samples| samples.find("pgbackrest_repo_up", REPO).is_some());
    assert!(!is_told(&samples), "without records nothing is said");
    assert!(!exporter.page().contains("Restore test"));

    let start = Utc::now() - TimeDelta::days(3);
    let passed = record(world.full(), start, Outcome::Passed);
    write(&world.state(), &passed);
    let samples = exporter.wait("the record", is_told);
    samples.assert(LAST_START, REPO, seconds(start));
    samples.assert(LAST_SUCCESS, REPO, seconds(passed.stop));
    samples.assert(FAILURES, REPO, 0.0);
    samples.assert(UNUSABLE, &[], 0.0);
    samples.assert("pgbackrest_restore_test_full_backups_ratio", REPO, 1.0);
    samples.assert(
        "pgbackrest_restore_test_newest_backup_timestamp_seconds",
        REPO,
        seconds(world.full().stop),
    );
    samples.assert("pgbackrest_restore_test_last_phase_duration_seconds", &[("phase", "replay")], 20.0);
    samples.assert(
        "pgbackrest_restore_test_last_checks",
        &[("check", "pages"), ("verdict", "not_checked")],
        1.0,
    );
    // It restored and replayed little: that is the fixed part, for as little.
    for point in ["latest", "worst"] {
        samples.assert(ESTIMATE, &[("point", point), ("speed", "median")], 60.0);
    }
    let page = exporter.page();
    assert!(
        page.contains("Restore test") && page.contains("about 1 min to the latest point in time"),
        "{page}"
    );

    let failed = record(world.full(), start + TimeDelta::days(1), Outcome::Failed);
    write(&world.state(), &failed);
    let samples = exporter.wait("the failure", |samples| samples.find(FAILURES, REPO) == Some(1.0));
    samples.assert(LAST_SUCCESS, REPO, seconds(passed.stop));
    let reason = [("outcome", "failed"), ("phase", "restore"), ("reason", "damaged_backup")];
    samples.assert("pgbackrest_restore_test_not_passed_info", &reason, 1.0);
    let page = exporter.page();
    assert!(
        page.contains("a restore test failed") && page.contains("&lt;script&gt;file base/5/2619"),
        "{page}"
    );
    exporter.stop();

    let exporter = world.serve();
    let samples = exporter.wait("the same after a restart", is_told);
    samples.assert(LAST_START, REPO, seconds(failed.start));
    samples.assert(LAST_SUCCESS, REPO, seconds(passed.stop));
    samples.assert(FAILURES, REPO, 1.0);
    fs::remove_dir_all(world.state()).unwrap();
    exporter.wait("nothing without records", |samples| !is_told(samples));
    exporter.stop();
}

#[test]
fn info_tells_of_restore_tests_and_of_the_time_that_a_recovery_takes() {
    let world = World::new();
    assert!(!world.info(&[]).0.contains("restore test"));
    write(&world.state(), &record(world.full(), Utc::now() - TimeDelta::days(3), Outcome::Passed));
    let (table, _) = world.info(&[]);
    let words =
        |text: &str| text.split(['│', ' ', '\n']).filter(|w| !w.is_empty()).collect::<Vec<_>>().join(" ");
    for text in
        ["restore test passed", "1 of 1 full backup tested", "recovery time: about 1 min to the latest"]
    {
        assert!(words(&table).contains(text), "{text} is missing in\n{table}");
    }
    let document: Value = serde_json::from_str(&world.info(&["--output=json"]).0).unwrap();
    let tests = &document["stanzas"][0]["repos"][0]["restore_tests"];
    assert_eq!(
        (&tests["last"]["outcome"], &tests["consecutive_failures"]),
        (&"passed".into(), &0.into()),
        "{tests}"
    );
    assert_eq!(tests["coverage"]["tested_full_backups"], 1);
    assert_eq!(tests["recovery_time"]["latest"]["median_seconds"], 60.0);
    let target = world.full().stop + TimeDelta::seconds(1);
    let (_, remarks) = world.info(&["--restore-command", "--target", &target.to_rfc3339()]);
    assert!(
        remarks.contains("recovery takes about 1 min (measured 2 d 23 h ago), at worst 1 min\n"),
        "{remarks}"
    );
}

#[test]
fn what_is_no_record_is_told_and_costs_no_other() {
    let world = World::new();
    let start = Utc::now() - TimeDelta::days(3);
    let good = record(world.full(), start, Outcome::Passed);
    let path = write(&world.state(), &good);
    let exporter = world.serve();
    exporter.wait("the record", |samples| samples.find(LAST_START, REPO) == Some(seconds(start)));
    let other = path.with_file_name(file::name(start + TimeDelta::hours(1)));
    let faults: [Fault<'_>; 8] = [
        ("it is not a regular file", &|path| mkfifo(path, Mode::S_IRWXU).unwrap()),
        ("it is not a regular file", &|path| symlink("/dev/zero", path).unwrap()),
        ("symbolic links", &|path| symlink(path, path).unwrap()),
        ("it is not a regular file", &|path| fs::create_dir(path).unwrap()),
        ("it is too large", &|path| fs::write(path, vec![b' '; MAX_STORED + 1]).unwrap()),
        ("not a record", &|path| fs::write(path, "[".repeat(200_000)).unwrap()),
        ("not a record", &|path| fs::write(path, b"\xff\xfe\0").unwrap()),
        ("update pgbackrest-keeper", &|path| fs::write(path, r#"{"format": 99}"#).unwrap()),
    ];
    let is_told = |why: &str| {
        let samples = exporter.wait(why, |samples| samples.find(UNUSABLE, &[]) == Some(1.0));
        samples.assert(LAST_START, REPO, seconds(start));
        let page = exporter.page();
        assert!(
            page.contains("Records of restore tests cannot be used") && page.contains(why),
            "{why}\n{page}"
        );
        assert!(world.info(&[]).0.contains("records of restore tests cannot be used: "), "{why}");
    };
    for (why, inject) in faults {
        inject(&other);
        is_told(why);
        if other.is_dir() {
            fs::remove_dir(&other).unwrap();
        } else {
            fs::remove_file(&other).unwrap();
        }
        exporter.wait("all to be well again", |samples| samples.find(UNUSABLE, &[]) == Some(0.0));
    }
    let ahead = record(world.full(), Utc::now() + TimeDelta::days(9), Outcome::Passed);
    let ahead = write(&world.state(), &ahead);
    is_told("dated in the future");
    fs::remove_file(ahead).unwrap();
    exporter.wait("all to be well again", |samples| samples.find(UNUSABLE, &[]) == Some(0.0));
    // Hostile names, more files than are kept, and labels that no backup has.
    let names = ["<script>", "a b\"\\", "\u{1b}[31m", "..."];
    for name in names {
        write(&world.state(), &RestoreTest { stanza: name.to_owned(), ..good.clone() });
    }
    for minute in 1..80 {
        let mut test = record(world.full(), start + TimeDelta::minutes(minute), Outcome::Passed);
        test.backup.as_mut().unwrap().label = "x\n\"} 1\n".repeat(1000) + "F";
        write(&world.state(), &test);
    }
    let newest = start + TimeDelta::minutes(79);
    let samples =
        exporter.wait("the newest", |samples| samples.find(LAST_START, REPO) == Some(seconds(newest)));
    samples.assert(
        "pgbackrest_restore_test_oldest_start_timestamp_seconds",
        REPO,
        seconds(start + TimeDelta::minutes(30)),
    );
    samples.assert("pgbackrest_restore_test_last_info", &[("backup_name", ""), ("target", "latest")], 1.0);
    assert_eq!(samples.all(LAST_START, &[]).len(), 1, "other stanzas do not exist");
    // Where the state directory is something else, collection goes on.
    fs::remove_dir_all(world.state()).unwrap();
    fs::write(world.state(), "").unwrap();
    exporter.wait("the problem", |samples| samples.find(UNUSABLE, &[]) == Some(1.0));
    assert_eq!(exporter.samples().find("pgbackrest_repo_up", REPO), Some(1.0));
    exporter.stop();
}
