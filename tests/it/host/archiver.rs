//! The reported state of PostgreSQL's archiver matches PostgreSQL and pgBackRest: waiting, failing, rejected and dropped WAL.

use std::cell::Cell;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::host::pod_files;
use crate::support::config::Config;
use crate::support::exporter::{Exporter, our_program};
use crate::support::exposition::Samples;
use crate::support::lab::{Lab, STANZA, Site, next_second};
use crate::support::machine::Pgbackrest;
use crate::support::postgres::Postgres;
use crate::support::process::{call, wait_for};

const OF_STANZA: &[(&str, &str)] = &[("stanza", STANZA)];
const UP: &str = "pgbackrest_archiver_up";
const WAITING: &str = "pgbackrest_archiver_waiting_files";
const SINCE: &str = "pgbackrest_archiver_waiting_since_timestamp_seconds";
const QUEUED: &str = "pgbackrest_archiver_queued_bytes";
const LIMIT: &str = "pgbackrest_archiver_queue_limit_bytes";
const EXPECTED: &str = "pgbackrest_archiver_drop_expected_timestamp_seconds";
const DROPPED: &str = "pgbackrest_archiver_dropped_since_timestamp_seconds";
const REJECTED: &str = "pgbackrest_archiver_rejected_since_timestamp_seconds";
const ERRORS: &str = "pgbackrest_archiver_errors";
const PUSHED: &str = "pgbackrest_archiver_pushed_files";
const MEBIBYTE: f64 = 1_048_576.0;

#[test]
fn archiver_of_the_installed_version() {
    with_lab("archiver_of_the_installed_version", Pgbackrest::installed());
}

#[test]
fn archiver_of_the_newest_version() {
    with_lab("archiver_of_the_newest_version", Pgbackrest::newest());
}

fn with_lab(test: &str, pgbackrest: Result<Pgbackrest, String>) {
    let Some(site) = Site::or_skip(test, pgbackrest) else { return };
    let mut lab = Lab::start(&site, 1);
    lab.back_up(1, "full");
    let exporter = Exporter::start(lab.site, &lab.both, &["--collect.interval=1"]);
    nothing_waits(&lab, &exporter);
    a_queue_grows_while_the_repositories_are_gone(&lab, &exporter);
    what_is_dropped_is_lost_until_a_backup(&mut lab, &exporter);
    a_second_segment_of_the_same_name_is_rejected(&lab, &exporter);
    asynchronous_errors_are_told(&lab, &exporter);
    an_asynchronous_drop_is_told(&mut lab, &exporter);
    what_cannot_be_read_is_unknown(&lab, &exporter);
    assert_eq!(exporter.stop(), Some(0));
    another_cluster_is_rejected(&lab);
}

/// Changes what `archive_command` and the exporter use.
fn configure(lab: &Lab<'_>, change: impl FnOnce(Config) -> Config) {
    lab.site.write("both.conf", &change(lab.site.config()).text());
}

/// Ends the WAL segment, which also wakes the archiver. Gives its name.
fn switch(postgres: &Postgres<'_>) -> String {
    postgres.sql(
        "create table if not exists switched (at timestamptz); insert into switched values (now()); \
         select pg_walfile_name(pg_switch_wal())",
    )
}

fn take_repositories_away(site: &Site) {
    for name in ["repo1", "repo2"] {
        fs::rename(site.path(name), site.path(&format!("{name}.away"))).unwrap();
    }
}

fn bring_repositories_back(site: &Site) {
    for name in ["repo1", "repo2"] {
        fs::rename(site.path(&format!("{name}.away")), site.path(name)).unwrap();
    }
}

fn ready_file(lab: &Lab<'_>, segment: &str) -> PathBuf {
    lab.postgres.data.join(format!("pg_wal/archive_status/{segment}.ready"))
}

/// Files of a segment in a repository.
fn archived(site: &Site, repo: u32, segment: &str) -> usize {
    let directory = site.path(&format!("repo{repo}/archive/{STANZA}/15-1/{}", &segment[..16]));
    let names = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_str().unwrap().starts_with(segment)).count()
}

fn nothing_waits_in(samples: &Samples) -> Option<()> {
    (samples.find(WAITING, OF_STANZA) == Some(0.0)).then_some(())
}

fn page_says(exporter: &Exporter, text: &str) {
    wait_for(text, || exporter.get("/", &[]).text().contains(text).then_some(()));
}

fn nothing_waits(lab: &Lab<'_>, exporter: &Exporter) {
    lab.postgres.archive_all();
    // The collection before may have seen the queue while it was emptied, or before.
    exporter.wait("an empty queue", |samples| {
        nothing_waits_in(samples)?;
        samples.assert(UP, OF_STANZA, 1.0);
        samples.assert(QUEUED, OF_STANZA, 0.0);
        for absent in [SINCE, LIMIT, EXPECTED, DROPPED] {
            assert_eq!(samples.find(absent, OF_STANZA), None, "{absent}");
        }
        for absent in [REJECTED, ERRORS] {
            assert!(samples.all(absent, OF_STANZA).is_empty(), "{absent}");
        }
        Some(())
    });
    page_says(exporter, "Archiver: no WAL is waiting to be archived");
    assert!(told(lab, &[]).contains("archiver: no WAL is waiting to be archived"));
    a_pod_tells_the_same(lab);
}

/// The operator reads the same files in pods.
fn a_pod_tells_the_same(lab: &Lab<'_>) {
    // PostgreSQL may try again in between.
    wait_for("the same in a pod", || {
        let json: Value = serde_json::from_str(&told(lab, &["--output=json"])).unwrap();
        let (host, pod) = (pod_files::shown(&json["archivers"][STANZA]), pod_files::archiver(lab));
        assert_eq!(pod["problem"], Value::Null, "{pod}");
        (host == pod).then_some(())
    });
}

/// What `info` prints.
fn told(lab: &Lab<'_>, arguments: &[&str]) -> String {
    let mut info = call(lab.site.account.as_ref(), our_program(lab.site));
    info.arg("info").args(arguments);
    info.arg(format!("--backrest.binary={}", lab.site.pgbackrest.program.display()));
    info.arg(format!("--backrest.config={}", lab.both.display()));
    String::from_utf8(info.output().unwrap().stdout).unwrap()
}

fn a_queue_grows_while_the_repositories_are_gone(lab: &Lab<'_>, exporter: &Exporter) {
    configure(lab, |config| config.global("archive-push-queue-max", "1GiB"));
    take_repositories_away(lab.site);
    let first = switch(&lab.postgres);
    let switched = Cell::new(1);
    let expected = exporter.wait("the time of the drop", |samples| {
        if switched.get() < 12 {
            switch(&lab.postgres);
            switched.set(switched.get() + 1);
        }
        samples.find(EXPECTED, OF_STANZA)
    });
    let real = || -> f64 {
        let counted =
            lab.postgres.sql("select count(*) from pg_ls_archive_statusdir() where name like '%.ready'");
        counted.parse().unwrap()
    };
    exporter
        .wait("all that waits", |samples| (samples.find(WAITING, OF_STANZA) == Some(real())).then_some(()));
    let samples = exporter.samples();
    let waiting = samples.value(WAITING, OF_STANZA);
    assert!(waiting >= 12.0, "{waiting}");
    samples.assert(QUEUED, OF_STANZA, waiting * MEBIBYTE);
    samples.assert(LIMIT, OF_STANZA, 1024.0 * MEBIBYTE);
    samples.assert(UP, OF_STANZA, 1.0);
    let since = samples.value(SINCE, OF_STANZA);
    let real_since = fs::metadata(ready_file(lab, &first)).unwrap().modified().unwrap();
    assert_eq!(since, real_since.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() as f64);
    assert!(expected > since, "{expected} {since}");
    assert_eq!(samples.find(DROPPED, OF_STANZA), None);
    page_says(exporter, "of at most 1.0 GiB");
    let json: Value = serde_json::from_str(&told(lab, &["--output=json"])).unwrap();
    let archiver = &json["archivers"][STANZA];
    assert_eq!(archiver["queue"]["next"]["file"], first, "{archiver}");
    assert_eq!(archiver["queue_limit_bytes"], 1_u64 << 30);
    a_pod_tells_the_same(lab);
}

fn what_is_dropped_is_lost_until_a_backup(lab: &mut Lab<'_>, exporter: &Exporter) {
    let first = lab.postgres.sql("select min(name) from pg_ls_archive_statusdir() where name like '%.ready'");
    let first = first.strip_suffix(".ready").unwrap();
    configure(lab, |config| config.global("archive-push-queue-max", "4MiB"));
    exporter.wait("the lower limit", |samples| {
        (samples.find(LIMIT, OF_STANZA) == Some(4.0 * MEBIBYTE)).then_some(())
    });
    switch(&lab.postgres);
    exporter.wait("the drop", |samples| samples.find(DROPPED, OF_STANZA));
    page_says(exporter, &format!("WAL starting with {first} was dropped at"));
    exporter.wait("a full queue", |samples| {
        (samples.find(QUEUED, OF_STANZA) == Some(4.0 * MEBIBYTE)).then_some(())
    });
    bring_repositories_back(lab.site);
    lab.postgres.archive_all();
    exporter.wait("an empty queue", nothing_waits_in);
    assert_eq!((archived(lab.site, 1, first), archived(lab.site, 2, first)), (0, 0), "{first} was archived");
    assert!(exporter.samples().find(DROPPED, OF_STANZA).is_some(), "it is still lost");
    next_second();
    lab.back_up(1, "full");
    exporter.wait("the backup after it", |samples| samples.find(DROPPED, OF_STANZA).is_none().then_some(()));
    configure(lab, |config| config);
}

/// Puts another segment where the next one will be archived. Gives the files, and the name of the segment.
fn occupy_next(lab: &Lab<'_>) -> (Vec<PathBuf>, String) {
    let archived = lab.postgres.archive_all().segment;
    // At the end of a segment this would be its name.
    let next = ["insert into switched values (now())", "select pg_walfile_name(pg_current_wal_lsn())"];
    let next = lab.postgres.sql_each(&next);
    assert!(next > archived);
    let files = [1, 2].map(|repo| {
        let known = lab.site.wal_file(repo, &archived);
        let other = known.with_file_name(format!("{next}-{}.gz", "0".repeat(40)));
        fs::copy(known, &other).unwrap();
        other
    });
    (files.to_vec(), switch(&lab.postgres))
}

fn give_way(lab: &Lab<'_>, files: Vec<PathBuf>, exporter: &Exporter) {
    for file in files {
        fs::remove_file(file).unwrap();
    }
    lab.postgres.archive_all();
    exporter.wait("the end of the rejection", |samples| {
        (samples.all(REJECTED, OF_STANZA).is_empty() && nothing_waits_in(samples).is_some()).then_some(())
    });
}

fn a_second_segment_of_the_same_name_is_rejected(lab: &Lab<'_>, exporter: &Exporter) {
    let (files, segment) = occupy_next(lab);
    exporter.wait("a segment that waits", |samples| samples.find(SINCE, OF_STANZA));
    wait_for("pgBackRest to reject it", || {
        lab.postgres
            .log()
            .contains("already exists in the repo1 archive with a different checksum")
            .then_some(())
    });
    assert!(exporter.samples().all(REJECTED, OF_STANZA).is_empty(), "it could just have been pushed");
    let ready = File::options().write(true).open(ready_file(lab, &segment)).unwrap();
    ready.set_modified(SystemTime::now() - Duration::from_mins(20)).unwrap();
    let duplicate = [OF_STANZA[0], ("reason", "archive_duplicate")];
    exporter.wait("the rejection", |samples| samples.find(REJECTED, &duplicate));
    page_says(exporter, &format!("WAL file {segment} has been rejected for 20 min"));
    page_says(exporter, ", later WAL is rejected");
    give_way(lab, files, exporter);
}

fn asynchronous_errors_are_told(lab: &Lab<'_>, exporter: &Exporter) {
    configure(lab, |config| config.global("archive-async", "y"));
    lab.postgres.archive_all();
    exporter.wait("what was pushed", |samples| samples.find(PUSHED, OF_STANZA).filter(|files| *files > 0.0));
    let (files, segment) = occupy_next(lab);
    let duplicate = [OF_STANZA[0], ("reason", "archive_duplicate")];
    exporter.wait("the rejection", |samples| samples.find(REJECTED, &duplicate));
    exporter.samples().assert(ERRORS, &[OF_STANZA[0], ("error", "ArchiveDuplicateError")], 1.0);
    page_says(exporter, &format!("archive-push failed for {segment}: ArchiveDuplicateError: "));
    a_pod_tells_the_same(lab);
    give_way(lab, files, exporter);
    assert!(exporter.samples().all(ERRORS, OF_STANZA).is_empty());
}

fn an_asynchronous_drop_is_told(lab: &mut Lab<'_>, exporter: &Exporter) {
    take_repositories_away(lab.site);
    let first = switch(&lab.postgres);
    exporter.wait("the error of all", |samples| {
        samples.find(ERRORS, &[OF_STANZA[0], ("error", "FileMissingError")])
    });
    configure(lab, |config| config.global("archive-async", "y").global("archive-push-queue-max", "1MiB"));
    switch(&lab.postgres);
    exporter.wait("the drop", |samples| samples.find(DROPPED, OF_STANZA));
    page_says(exporter, &format!("WAL starting with {first} was dropped at"));
    let spool = lab.site.path(&format!("spool/archive/{STANZA}/out/{first}.ok"));
    assert!(fs::read_to_string(spool).unwrap().starts_with("0\ndropped WAL file"));
    let in_pod = pod_files::read(lab, &pod_files::paths(lab)).archiver.unwrap().spool.unwrap();
    assert_eq!(in_pod.dropped.unwrap().first, first);
    bring_repositories_back(lab.site);
    configure(lab, |config| config.global("archive-async", "y"));
    lab.postgres.archive_all();
    assert_eq!(archived(lab.site, 1, &first), 0);
    next_second();
    lab.back_up(1, "full");
    exporter.wait("the backup after it", |samples| samples.find(DROPPED, OF_STANZA).is_none().then_some(()));
}

fn what_cannot_be_read_is_unknown(lab: &Lab<'_>, exporter: &Exporter) {
    let status = lab.postgres.data.join("pg_wal/archive_status");
    let before = fs::metadata(&status).unwrap().permissions();
    // PostgreSQL has nothing to archive meanwhile.
    fs::set_permissions(&status, Permissions::from_mode(0o000)).unwrap();
    exporter.wait("the loss of sight", |samples| (samples.find(UP, OF_STANZA) == Some(0.0)).then_some(()));
    let samples = exporter.samples();
    for absent in [WAITING, SINCE, QUEUED] {
        assert_eq!(samples.find(absent, OF_STANZA), None, "{absent}");
    }
    page_says(exporter, "run as the user that runs PostgreSQL");
    fs::set_permissions(&status, before).unwrap();
    exporter.wait("sight", |samples| (samples.find(UP, OF_STANZA) == Some(1.0)).then_some(()));
}

/// A new cluster that archives to the stanza of the old one, first as it is by default and then asynchronously.
fn another_cluster_is_rejected(lab: &Lab<'_>) {
    let site = lab.site;
    let directory = site.create_directory("another");
    let path = |name: &str| site.create_directory(name).display().to_string();
    let config = |change: &dyn Fn(Config) -> Config| {
        let config = site.config().set(STANZA, "pg1-path", &directory.join("data").display().to_string());
        let config = config.set(STANZA, "pg1-socket-path", &directory.display().to_string());
        change(config.global("spool-path", &path("spool2")).global("lock-path", &path("lock2")))
    };
    let file = site.write("another.conf", &config(&|config| config).text());
    let archive = format!(
        "{} --config={} --stanza={STANZA} archive-push %p",
        site.pgbackrest.program.display(),
        file.display()
    );
    let mut postgres = Postgres::create(site.account.as_ref(), site.programs(), &directory, 1, &archive);
    postgres.start();
    let exporter = Exporter::start(site, &file, &["--collect.interval=1"]);
    switch(&postgres);
    let mismatch = [OF_STANZA[0], ("reason", "mismatch")];
    exporter.wait("the rejection", |samples| samples.find(REJECTED, &mismatch));
    assert!(exporter.samples().all(ERRORS, OF_STANZA).is_empty());
    page_says(&exporter, "belongs to another PostgreSQL cluster than the stanza");
    wait_for("pgBackRest to reject it", || postgres.log().contains("ArchiveMismatchError").then_some(()));
    site.write("another.conf", &config(&|config| config.global("archive-async", "y")).text());
    switch(&postgres);
    exporter.wait("the error", |samples| {
        samples.find(ERRORS, &[OF_STANZA[0], ("error", "ArchiveMismatchError")])
    });
    exporter.samples().find(REJECTED, &mismatch).unwrap();
    assert_eq!(exporter.stop(), Some(0));
}
