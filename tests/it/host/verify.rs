//! `verify` on real repositories, good and damaged ones, with the oldest and the newest pgBackRest.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::support::damage::{damaged, largest_file, without};
use crate::support::exporter::our_program;
use crate::support::lab::{Lab, STANZA, Site};
use crate::support::machine::Pgbackrest;
use crate::support::process::{Running, call, command, output, wait_for};

/// Verifies the repositories of a lab.
struct Verifier<'a> {
    site: &'a Site,
}

/// What a verification said.
#[derive(Debug)]
struct Verified {
    code: i32,
    record: Value,
}

impl Verifier<'_> {
    fn arguments(&self, config: &Path, more: &[&str]) -> Vec<String> {
        let usual = [
            "verify".to_owned(),
            "--output=json".to_owned(),
            format!("--stanza={STANZA}"),
            format!("--state-directory={}", self.state().display()),
            format!("--backrest.config={}", config.display()),
            format!("--backrest.binary={}", self.site.pgbackrest.program.display()),
        ];
        let name = |argument: &str| argument.split('=').next().unwrap_or_default().to_owned();
        let given: Vec<String> = more.iter().map(|argument| name(argument)).collect();
        let usual = usual.into_iter().filter(|argument| !given.contains(&name(argument)));
        usual.chain(more.iter().map(ToString::to_string)).collect()
    }

    fn state(&self) -> PathBuf {
        self.site.create_directory("state")
    }

    /// How many there are of the first repository. Their chain is whole.
    fn records(&self) -> usize {
        let mut program = call(self.site.account.as_ref(), our_program(self.site));
        program.args(["verify-records", "--output=json"]);
        let said = output(program.arg(format!("--state-directory={}", self.state().display())));
        assert!(said.status.success(), "{said:?}");
        let report: Value = serde_json::from_slice(&said.stdout).unwrap();
        let chains = report["chains"].as_array().unwrap().iter();
        let records =
            chains.filter(|chain| chain["repo"] == 1).map(|chain| chain["records"].as_array().unwrap().len());
        records.sum()
    }

    fn config(&self) -> PathBuf {
        self.site.path("both.conf")
    }

    fn said(&self, config: &Path, more: &[&str]) -> Output {
        let program = our_program(self.site);
        output(call(self.site.account.as_ref(), program).args(self.arguments(config, more)))
    }

    fn verify(&self, more: &[&str]) -> Verified {
        self.verify_with(&self.config(), more)
    }

    fn verify_with(&self, config: &Path, more: &[&str]) -> Verified {
        let said = self.said(config, more);
        let text = String::from_utf8_lossy(&said.stderr);
        let record = serde_json::from_slice(&said.stdout)
            .unwrap_or_else(|error| panic!("{error}: {:?}: {text}", said.status));
        Verified { code: said.status.code().unwrap(), record }
    }

    /// A pgBackRest that runs shell commands before `verify`.
    fn before(&self, commands: &str) -> String {
        let program = self.site.pgbackrest.program.display();
        let body = format!("case \"$1\" in verify) {commands} ;; esac\nexec {program} \"$@\"\n");
        format!("--backrest.binary={}", self.site.script("before-verify", &body).display())
    }

    fn start(&self, more: &[&str]) -> Running {
        let mut command = command(self.site.account.as_ref(), our_program(self.site));
        command.args(self.arguments(&self.config(), more));
        Running::start("verify", command, &self.site.path("verify.log"), Signal::SIGTERM)
    }
}

impl Verified {
    fn passed(self) -> Value {
        assert_eq!((self.code, self.record["outcome"].as_str()), (0, Some("passed")), "{:#}", self.record);
        self.record
    }

    fn ended(self, outcome: &str, class: &str) -> Value {
        let code = match outcome {
            "failed" => 3,
            "inconclusive" => 4,
            "timed_out" => 5,
            _ => panic!("{outcome}"),
        };
        let said = (self.code, self.record["outcome"].as_str(), self.record["reason"]["class"].as_str());
        assert_eq!(said, (code, Some(outcome), Some(class)), "{:#}", self.record);
        self.record
    }
}

/// The faults of the files that a record names.
fn faults(record: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let files = record["files"].as_array().unwrap();
    files.iter().map(|file| (text(&file["path"]), text(&file["fault"]))).collect()
}

fn backups(record: &Value) -> (u64, u64) {
    let count = |name: &str| record["totals"][name].as_u64().unwrap();
    (count("backups"), count("valid_backups"))
}

#[test]
fn faults_are_found_with_the_installed_version() {
    check("faults_are_found_with_the_installed_version", Pgbackrest::installed());
}

#[test]
fn faults_are_found_with_the_newest_version() {
    check("faults_are_found_with_the_newest_version", Pgbackrest::newest());
}

fn check(test: &str, pgbackrest: Result<Pgbackrest, String>) {
    let Some(site) = Site::or_skip(test, pgbackrest) else { return };
    let lab = Lab::start(&site, 1);
    let verifier = Verifier { site: &site };
    verifier.verify(&["--repo=1"]).ended("failed", "no_backup");
    let first = lab.back_up(1, "full");
    lab.back_up(2, "full");
    let between = lab.postgres.archive_all().segment;
    let label = lab.back_up(1, "full");
    lab.postgres.archive_all();
    lab.postgres.archive_all();

    let record = verifier.verify(&["--repo=1"]).passed();
    assert_eq!((backups(&record), faults(&record)), ((2, 2), vec![]));
    assert!(record["totals"]["wal"]["checked"].as_u64().unwrap() > 2, "{record:#}");
    assert_eq!(record["archives"][0]["gaps"], 0, "{record:#}");
    // The second one, which is encrypted, was never verified; then it is the turn of the first.
    assert_eq!(verifier.verify(&[]).passed()["repo"], 2);
    assert_eq!(verifier.verify(&[]).passed()["repo"], 1);
    assert_eq!(verifier.records(), 3);

    damaged_backups(&site, &verifier, &label);
    damaged_wal(&lab, &verifier, &label, &between);
    expired(&lab, &verifier, &first);
    single_backup(&verifier, &label);
    other_reasons(&site, &verifier);
    shown(&verifier, &label);
}

/// `info`, the metrics and `check` tell of the newest verification.
fn shown(verifier: &Verifier<'_>, label: &str) {
    let site = verifier.site;
    let said = |arguments: &[&str]| {
        let mut command = call(site.account.as_ref(), our_program(site));
        command.args(arguments).arg(format!("--state-directory={}", verifier.state().display()));
        command.arg(format!("--backrest.config={}", verifier.config().display()));
        command.arg(format!("--backrest.binary={}", site.pgbackrest.program.display()));
        let said = output(&mut command);
        (said.status.code(), String::from_utf8_lossy(&said.stdout).into_owned())
    };
    verifier.verify(&["--repo=1"]).passed();
    let (_, passed) = said(&["info"]);
    assert!(passed.contains("verification passed"), "{passed}");
    let largest = largest_file(&site.path(&format!("repo1/backup/{STANZA}/{label}/pg_data/base")));
    damaged(&largest, || verifier.verify(&["--repo=1"]).ended("failed", "damaged_backup"));
    let (_, failed) = said(&["info"]);
    assert!(failed.contains("a verification failed") && failed.contains("damaged_backup"), "{failed}");
    let (_, document) = said(&["info", "--output=json"]);
    let document: Value = serde_json::from_str(&document).unwrap();
    let history = &document["stanzas"][0]["repos"][0]["verifications"];
    assert_eq!(history["last"]["backups"][0]["label"], label, "{history:#}");
    assert_eq!(history["consecutive_failures"], 1, "{history:#}");
    let (_, metrics) = said(&["metrics"]);
    let line = "pgbackrest_verify_last_backups{repo_key=\"1\",result=\"not_valid\",stanza=\"demo\"} 1";
    assert!(metrics.contains(line), "{metrics}");
    let (code, checked) = said(&["check", "verify"]);
    assert!(code == Some(2) && checked.contains("a verification failed: damaged backup"), "{checked}");
}

fn damaged_backups(site: &Site, verifier: &Verifier<'_>, label: &str) {
    let directory = site.path(&format!("repo1/backup/{STANZA}/{label}"));
    let largest = largest_file(&directory.join("pg_data/base"));
    let name = format!("{label}/{}", largest.strip_prefix(&directory).unwrap().display());
    let verify = || verifier.verify(&["--repo=1"]);
    let flipped = damaged(&largest, || verify().ended("failed", "damaged_backup"));
    assert_eq!(backups(&flipped), (2, 1));
    let [(path, fault)] = &faults(&flipped)[..] else { panic!("{flipped:#}") };
    assert!(*path == name && ["checksum", "other"].contains(&&**fault), "{flipped:#}");
    let gone = without(site, &largest, || verify().ended("failed", "missing_backup"));
    assert_eq!(faults(&gone), [(name, "missing".to_owned())]);
    assert_eq!(gone["backups"][0]["label"], label);
    // To pgBackRest, neither is an error before 2.59.
    let all_gone = without(site, &directory, || verify().ended("failed", "missing_backup"));
    assert_eq!(all_gone["backups"][0]["state"], "missing");
    let manifest = directory.join("backup.manifest");
    let copy = directory.join("backup.manifest.copy");
    without(site, &manifest, || verify().passed());
    damaged(&manifest, || damaged(&copy, || verify().ended("failed", "damaged_backup")));

    let encrypted = site.path(&format!("repo2/backup/{STANZA}/latest/pg_data/base"));
    damaged(&largest_file(&encrypted), || {
        verifier.verify(&["--repo=2"]).ended("failed", "damaged_backup");
    });
    // A backup that was aborted leaves a directory without a manifest.
    let aborted = site.create_directory(&format!("repo1/backup/{STANZA}/20200101-000000F"));
    verify().passed();
    fs::remove_dir(aborted).unwrap();
}

fn damaged_wal(lab: &Lab<'_>, verifier: &Verifier<'_>, label: &str, between: &str) {
    let (site, verify) = (lab.site, || verifier.verify(&["--repo=1"]));
    let segment = site.wal_file(1, between);
    damaged(&segment, || verify().ended("failed", "damaged_wal"));
    // No backup needs it to be consistent.
    let gap = without(site, &segment, || verify().passed());
    assert_eq!(gap["archives"][0]["gaps"], 1, "{gap:#}");
    let info = site.info(&lab.both, &["--repo=1", &format!("--stanza={STANZA}")]);
    let backups = info[0]["backup"].as_array().unwrap();
    let newest = backups.iter().find(|backup| backup["label"] == label).unwrap();
    let needed = site.wal_file(1, newest["archive"]["start"].as_str().unwrap());
    let lacking = without(site, &needed, || verify().ended("failed", "missing_wal"));
    assert!(lacking["reason"]["message"].as_str().unwrap().contains(label), "{lacking:#}");
    // Its header is read for the size of segments.
    let oldest = backups[0]["archive"]["start"].as_str().unwrap();
    let first = first_segment(&site.path(&format!("repo1/archive/{STANZA}/15-1")), oldest);
    let whole = fs::read(&first).unwrap();
    fs::write(&first, &whole[..whole.len() / 2]).unwrap();
    verify().ended("failed", "damaged_wal");
    fs::write(&first, "no WAL").unwrap();
    verify().ended("failed", "damaged_wal");
    fs::write(&first, whole).unwrap();
    let encrypted = first_segment(&site.path(&format!("repo2/archive/{STANZA}/15-1")), oldest);
    damaged(&encrypted, || verifier.verify(&["--repo=2"]).ended("failed", "damaged_wal"));
}

/// The oldest segment of the archive, which is in the directory of this one.
fn first_segment(archive: &Path, segment: &str) -> PathBuf {
    let files = fs::read_dir(archive.join(&segment[..16])).unwrap();
    let is_segment = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "gz");
    files.map(|file| file.unwrap().path()).filter(is_segment).min().unwrap()
}

/// Backups that `expire` removes between `info` and `verify`, and one that is being made.
fn expired(lab: &Lab<'_>, verifier: &Verifier<'_>, first: &str) {
    let program = lab.site.pgbackrest.program.display();
    let expire = format!(
        "{program} --config={} --stanza={STANZA} --repo=1 --set={first} expire >/dev/null",
        lab.both.display()
    );
    let record = verifier.verify(&["--repo=1", &verifier.before(&expire)]).passed();
    assert_eq!(backups(&record), (1, 1));
    assert_eq!(
        (&record["backups"][0]["label"], &record["backups"][0]["state"]),
        (&first.into(), &"expired".into())
    );
    let held = lab.hold_backup(1);
    assert_eq!(backups(&verifier.verify(&["--repo=1"]).passed()), (1, 1));
    assert!(held.release());
    assert_eq!(backups(&verifier.verify(&["--repo=1"]).passed()), (2, 2));
}

fn single_backup(verifier: &Verifier<'_>, label: &str) {
    let only = format!("--backup={label}");
    let result = verifier.verify(&["--repo=1", &only]);
    if verifier.site.pgbackrest.minor() < 55 {
        result.ended("inconclusive", "configuration");
        return;
    }
    let record = result.passed();
    assert_eq!((backups(&record), &record["set"]), ((1, 1), &label.into()));
    verifier.verify(&["--repo=1", "--backup=20200101-000000F"]).ended("inconclusive", "configuration");
}

fn other_reasons(site: &Site, verifier: &Verifier<'_>) {
    verifier.verify(&["--repo=1", "--stanza=nosuch"]).ended("failed", "no_backup");
    verifier.verify(&["--repo=3"]).ended("inconclusive", "configuration");
    let config = fs::read_to_string(verifier.config()).unwrap();
    let lines = config.lines().map(|line| match line.split_once("cipher-pass=") {
        Some((name, _)) => format!("{name}cipher-pass=another\n"),
        None => format!("{line}\n"),
    });
    let wrong = site.write("wrong.conf", &lines.collect::<String>());
    verifier.verify_with(&wrong, &["--repo=2"]).ended("failed", "wrong_passphrase");
    let crashes = verifier.before("kill -SEGV $$");
    verifier.verify(&["--repo=1", &crashes]).ended("inconclusive", "unclassified");
    let mute = verifier.before("echo; exit 0");
    verifier.verify(&["--repo=1", &mute]).ended("inconclusive", "unclassified");
    let refused = verifier.said(&verifier.config(), &["--stanza=.."]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
}

#[test]
fn bundles_are_verified() {
    for pgbackrest in [Pgbackrest::installed(), Pgbackrest::newest()] {
        let Some(site) = Site::or_skip("bundles_are_verified", pgbackrest) else { return };
        let lab = Lab::start(&site, 1);
        site.write("both.conf", &site.config().global("repo1-bundle", "y").text());
        let verifier = Verifier { site: &site };
        let label = lab.back_up(1, "full");
        lab.back_up(1, "incr");
        verifier.verify(&["--repo=1"]).passed();
        let bundle = site.path(&format!("repo1/backup/{STANZA}/{label}/bundle/1"));
        let flipped = damaged(&bundle, || verifier.verify(&["--repo=1"]).ended("failed", "damaged_backup"));
        // Earlier versions name the files in it.
        let names_bundle = site.pgbackrest.minor() >= 47;
        let start = format!("{label}/{}", if names_bundle { "bundle/1" } else { "pg_data/" });
        assert!(faults(&flipped).iter().all(|(path, _)| path.starts_with(&start)), "{flipped:#}");
        // The incremental backup refers to it.
        let gone =
            without(&site, &bundle, || verifier.verify(&["--repo=1"]).ended("failed", "missing_backup"));
        assert_eq!((backups(&gone), faults(&gone).len() == 1), ((2, 0), names_bundle), "{gone:#}");
    }
}

#[test]
fn a_verification_ends_in_time_and_in_order() {
    let test = "a_verification_ends_in_time_and_in_order";
    let Some(site) = Site::or_skip(test, Pgbackrest::newest()) else { return };
    let lab = Lab::start(&site, 1);
    lab.back_up(1, "full");
    let verifier = Verifier { site: &site };
    let begun = site.create_directory("begun").join("here");
    let hangs = verifier.before(&format!("echo $$ > {0}.new; mv {0}.new {0}; sleep 600", begun.display()));
    let is_gone = |pid: &str| !Path::new("/proc").join(pid.trim()).exists();
    let hung = || fs::read_to_string(&begun).ok();
    verifier.verify(&["--repo=1", "--timeout=2s", &hangs]).ended("timed_out", "deadline");
    assert!(is_gone(&hung().unwrap()));

    fs::remove_file(&begun).unwrap();
    let mut first = verifier.start(&["--repo=1", &hangs]);
    let pid = wait_for("the verification to hang", hung);
    let second = verifier.said(&verifier.config(), &["--repo=1"]);
    let told = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(second.status.code() == Some(1) && told.contains("another verification"), "{second:?}");
    kill(Pid::from_raw(i32::try_from(first.id()).unwrap()), Signal::SIGTERM).unwrap();
    assert_eq!(first.wait().code(), Some(4), "{}", first.log());
    assert!(first.log().contains("interrupted") && is_gone(&pid), "{}", first.log());

    // Killed, it leaves no record, and is in nobody's way.
    fs::remove_file(&begun).unwrap();
    let mut killed = verifier.start(&["--repo=1", &hangs]);
    let pid = wait_for("the verification to hang", hung);
    killed.signal_group(Signal::SIGKILL);
    killed.wait();
    kill(Pid::from_raw(-pid.trim().parse::<i32>().unwrap()), Signal::SIGKILL).unwrap();
    verifier.verify(&["--repo=1"]).passed();
    assert_eq!(verifier.records(), 3);
}

#[test]
fn a_storage_that_does_not_answer_is_no_fault() {
    let test = "a_storage_that_does_not_answer_is_no_fault";
    let Some(site) = Site::or_skip(test, Pgbackrest::newest()) else { return };
    let lab = Lab::start(&site, 1);
    let label = lab.back_up(1, "full");
    let verifier = Verifier { site: &site };
    let largest = largest_file(&site.path(&format!("repo1/backup/{STANZA}/{label}/pg_data/base")));
    let forbidden = |path: &Path, mode| {
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    };
    forbidden(&largest, 0o000);
    let record = verifier.verify(&["--repo=1"]);
    assert_eq!((record.code, &record.record["outcome"]), (4, &"inconclusive".into()), "{record:#?}");
    assert_eq!(record.record["backups"][0]["state"], "doubtful");
    forbidden(&largest, 0o640);
    verifier.verify(&["--repo=1"]).passed();
}
