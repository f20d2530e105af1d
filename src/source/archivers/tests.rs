//! Data directories and spools that are made up.

use std::fs::File;
use std::os::unix::fs::PermissionsExt as _;
use std::time::SystemTime;

use std::time::Duration;

use super::*;

const A: &str = "00000001000000000000000A";
const B: &str = "00000001000000000000000B";
const C: &str = "00000001000000000000000C";

/// A data directory and a spool.
struct Host {
    directory: tempfile::TempDir,
}

impl Host {
    fn new() -> Self {
        let host = Self { directory: tempfile::tempdir().unwrap() };
        fs::create_dir_all(host.status("")).unwrap();
        host
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn status(&self, name: &str) -> PathBuf {
        self.data().join("pg_wal/archive_status").join(name)
    }

    fn spool(&self, name: &str) -> PathBuf {
        let out = self.directory.path().join("spool/archive/demo/out");
        fs::create_dir_all(&out).unwrap();
        out.join(name)
    }

    fn observe(&self, limits: Limits) -> Observation {
        let text = |path: PathBuf| path.display().to_string();
        let archiving = Archiving {
            pg_path: text(self.data()),
            spool_path: Some(text(self.directory.path().join("spool"))),
            queue_max: Some(1 << 30),
        };
        observe("demo", &archiving, limits, Instant::now())
    }
}

#[test]
fn the_oldest_segment_is_the_next() {
    let host = Host::new();
    let before = Utc::now();
    for name in
        [format!("{B}.ready"), format!("{A}.done"), format!("{C}.ready"), "00000002.history.ready".to_owned()]
    {
        fs::write(host.status(&name), "").unwrap();
    }
    fs::write(host.status("remark.txt"), "").unwrap();
    let mut segment = vec![0; 1 << 20];
    segment[2] = 2;
    segment[24..32].copy_from_slice(&77_u64.to_ne_bytes());
    segment[32..36].copy_from_slice(&(1_u32 << 20).to_ne_bytes());
    fs::write(host.data().join("pg_wal").join(B), &segment).unwrap();
    let observed = host.observe(LIMITS);
    let queue = observed.queue.unwrap();
    let next = queue.next.as_ref().unwrap();
    assert_eq!((queue.files, next.file.as_str()), (3, B));
    assert!((next.since.unwrap() - before).num_seconds().abs() < 60);
    assert_eq!((queue.file_bytes, queue.system_id, queue.bytes()), (Some(1 << 20), Some(77), Some(3 << 20)));
    assert_eq!((queue.is_truncated, queue.is_idle), (false, false));
    assert_eq!(observed.queue_limit, Some(1 << 30));
    assert_eq!(observed.spool, Ok(Spool { pushed_files: Some(0), ..Spool::default() }), "there is none");
}

#[test]
fn an_empty_queue_has_no_next() {
    let host = Host::new();
    let queue = host.observe(LIMITS).queue.unwrap();
    assert_eq!((queue.files, queue.next.as_ref(), queue.bytes()), (0, None, Some(0)));
    fs::rename(host.data().join("pg_wal"), host.data().join("pg_xlog")).unwrap();
    fs::write(host.data().join("pg_xlog/archive_status").join(format!("{A}.ready")), "").unwrap();
    let queue = host.observe(LIMITS).queue.unwrap();
    assert_eq!((queue.files, queue.bytes()), (1, None), "the segment itself cannot be read");
}

#[test]
fn a_standby_waits_only_for_what_came_since() {
    let host = Host::new();
    let ready = host.status(&format!("{A}.ready"));
    fs::write(&ready, "").unwrap();
    let hour = Duration::from_hours(1);
    let set = |seconds_ago: Duration| {
        File::options()
            .write(true)
            .open(&ready)
            .unwrap()
            .set_modified(SystemTime::now() - seconds_ago)
            .unwrap();
    };
    set(hour);
    assert!(!host.observe(LIMITS).queue.unwrap().is_idle, "no standby");
    fs::write(host.data().join("standby.signal"), "").unwrap();
    assert!(host.observe(LIMITS).queue.unwrap().is_idle);
    let signal = File::options().write(true).open(host.data().join("standby.signal")).unwrap();
    signal.set_modified(SystemTime::now() - 2 * hour).unwrap();
    assert!(!host.observe(LIMITS).queue.unwrap().is_idle, "archive_mode is always");
}

#[test]
fn the_spool_tells_errors_and_drops() {
    let host = Host::new();
    fs::write(host.spool(&format!("{A}.ok")), "").unwrap();
    let warning = |file: &str| format!("0\ndropped WAL file '{file}' because archive queue exceeded 1MB");
    fs::write(host.spool(&format!("{C}.ok")), warning(C)).unwrap();
    fs::write(host.spool(&format!("{B}.ok")), warning(B)).unwrap();
    let duplicate = "45\nWAL file 'x' already exists in the repo1 archive with a different checksum";
    fs::write(host.spool("00000001000000000000000D.error"), duplicate).unwrap();
    fs::write(host.spool("global.error"), "49\nunable to connect").unwrap();
    fs::write(host.spool("00000001000000000000000E.error"), "garbage").unwrap();
    let spool = host.observe(LIMITS).spool.unwrap();
    assert_eq!(spool.pushed_files, Some(3));
    assert_eq!(spool.dropped.unwrap().first, B);
    let errors: Vec<(Option<&str>, &str)> =
        spool.errors.iter().map(|error| (error.file.as_deref(), error.class)).collect();
    let expected = [(None, "HostConnectError"), (Some("00000001000000000000000D"), "ArchiveDuplicateError")];
    assert_eq!(errors, expected);
}

#[test]
fn reading_is_bounded_and_says_so() {
    let host = Host::new();
    for name in [A, B, C] {
        fs::write(host.status(&format!("{name}.ready")), "").unwrap();
        fs::write(host.spool(&format!("{name}.error")), "49\nx").unwrap();
    }
    let observed = host.observe(Limits { entries: 2, contents: 1 });
    let (queue, spool) = (observed.queue.unwrap(), observed.spool.unwrap());
    assert_eq!((queue.files, queue.is_truncated), (2, true));
    assert_eq!((spool.pushed_files, spool.errors.len()), (None, 1));
}

#[test]
fn what_cannot_be_read_is_unknown() {
    let host = Host::new();
    fs::remove_dir(host.status("")).unwrap();
    let problem = host.observe(LIMITS).queue.unwrap_err();
    assert!(
        problem.contains("archive_status: No such file") && problem.ends_with("check pg1-path"),
        "{problem}"
    );
    let locked = host.spool("");
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o000)).unwrap();
    // Root reads it all the same.
    if let Err(problem) = host.observe(LIMITS).spool {
        assert!(problem.contains("run as the user that runs PostgreSQL"), "{problem}");
    }
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o700)).unwrap();
}

#[tokio::test]
async fn a_cluster_without_a_data_directory_is_elsewhere() {
    let host = Host::new();
    let gone = Archiving { pg_path: "/nonexistent".to_owned(), spool_path: None, queue_max: None };
    assert!(is_elsewhere(&gone));
    assert!(!is_elsewhere(&Archiving { pg_path: host.data().display().to_string(), ..gone }));
    let filter = Filter::new(&[], &[], None, None, &[]).unwrap();
    assert!(Archivers::default().observe(None, &filter).await.is_empty());
    let observed = observation("demo", Err("x has no value".to_owned()), 0, Instant::now());
    assert_eq!(observed.queue, Err("x has no value".to_owned()));
    let beyond = observation("demo", Err(String::new()), MAX_ARCHIVERS, Instant::now());
    assert!(beyond.queue.unwrap_err().contains("of the first 100 stanzas"));
}
