//! What a check costs: `check` when it runs pgBackRest, and when it reads a running exporter, beside check_pgbackrest on the same
//! repository of plain files with many WAL segments.
//!
//! `make bench` runs it. `PGBACKREST` names a pgBackRest of 2.52 or later, which check_pgbackrest requires, and `CHECK_PGBACKREST` that
//! program; without the latter only ours is measured. Absolute figures depend on the machine; quote the ratios.

#![allow(clippy::print_stdout, reason = "a program that measures prints")]

mod repository;

use std::env;
use std::error::Error;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use repository::{Repository, STANZA};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const ARCHIVES: [u32; 2] = [1_000, 100_000];
/// The median of so many calls counts.
const CALLS: usize = 5;
/// Our service, and that of check_pgbackrest with options that judge about the same.
const SERVICES: [(&str, &[&str]); 2] = [
    (
        "backups",
        &["--service=retention", "--retention-full=1", "--retention-age=26h", "--retention-age-to-full=8d"],
    ),
    ("wal", &["--service=archives"]),
];
const PROGRAM: &str = env!("CARGO_BIN_EXE_pgbackrest-keeper");

fn main() -> Result<()> {
    let pgbackrest = env::var_os("PGBACKREST").map_or_else(|| PathBuf::from("pgbackrest"), PathBuf::from);
    let peer = env::var_os("CHECK_PGBACKREST").map(PathBuf::from);
    if peer.is_none() {
        println!("CHECK_PGBACKREST is not set: check_pgbackrest is not measured, and there are no ratios");
    }
    println!("\n## Checks\n");
    println!(
        "| segments | service | check | check --url | check_pgbackrest | ratios |\n|---|---|---|---|---|---|"
    );
    for segments in ARCHIVES {
        let (repository, first) = Repository::online(&pgbackrest)?;
        repository.archive(first, first + segments)?;
        let exporter = Exporter::start(&pgbackrest, &repository.conf())?;
        for (service, options) in SERVICES {
            let local = median(|| is_well(local(&pgbackrest, &repository.conf(), service)))?;
            let at_url = median(|| is_well(at_url(&exporter, service)))?;
            let theirs = peer
                .as_ref()
                .map(|peer| median(|| is_well(theirs(peer, &pgbackrest, &repository.conf(), options))))
                .transpose()?;
            row(segments, service, local, at_url, theirs);
        }
    }
    Ok(())
}

fn row(segments: u32, service: &str, local: Duration, at_url: Duration, theirs: Option<Duration>) {
    let ms = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1e3);
    let (other, ratios) = theirs.map_or_else(
        || ("-".to_owned(), "-".to_owned()),
        |theirs| {
            let ratio = |ours: Duration| theirs.as_secs_f64() / ours.as_secs_f64();
            (ms(theirs), format!("{:.1}, {:.1}", ratio(local), ratio(at_url)))
        },
    );
    println!("| {segments} | {service} | {} | {} | {other} | {ratios} |", ms(local), ms(at_url));
}

fn local(pgbackrest: &Path, conf: &Path, service: &str) -> Command {
    let mut check = Command::new(PROGRAM);
    check.args(["check", service, "--timeout=10m"]);
    check.arg(format!("--backrest.binary={}", pgbackrest.display()));
    check.arg(format!("--backrest.config={}", conf.display()));
    check
}

fn at_url(exporter: &Exporter, service: &str) -> Command {
    let mut check = Command::new(PROGRAM);
    check.args(["check", service]).arg(format!("--url=http://127.0.0.1:{}/metrics", exporter.port));
    check
}

fn theirs(peer: &Path, pgbackrest: &Path, conf: &Path, options: &[&str]) -> Command {
    let mut check = Command::new(peer);
    check.arg(format!("--stanza={STANZA}")).args(options);
    check.arg(format!("--command={}", pgbackrest.display())).arg(format!("--config={}", conf.display()));
    check
}

/// Only a check that finds nothing wrong has judged everything.
fn is_well(mut check: Command) -> Result<()> {
    let output = check.output()?;
    if output.status.success() {
        return Ok(());
    }
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Err(format!("{check:?}: {}: {out}{err}", output.status).into())
}

fn median(call: impl Fn() -> Result<()>) -> Result<Duration> {
    let mut times = (0..CALLS)
        .map(|_| {
            let began = Instant::now();
            call().map(|()| began.elapsed())
        })
        .collect::<Result<Vec<_>>>()?;
    times.sort();
    times.get(CALLS / 2).copied().ok_or_else(|| "nothing was measured".into())
}

/// One that has scanned the archive.
struct Exporter {
    child: Child,
    port: u16,
}

impl Drop for Exporter {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Exporter {
    fn start(pgbackrest: &Path, conf: &Path) -> Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let child = Command::new(PROGRAM)
            .args(["exporter", "--collect.interval=60", "--collect.wal-timeout=10m"])
            .arg(format!("--backrest.binary={}", pgbackrest.display()))
            .arg(format!("--backrest.config={}", conf.display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let exporter = Self { child, port };
        let deadline = Instant::now() + Duration::from_mins(10);
        while Instant::now() < deadline {
            let is_proven =
                |line: &str| line.starts_with("pgbackrest_recovery_window_verified{") && line.ends_with(" 1");
            if exporter.metrics().is_ok_and(|body| body.lines().any(is_proven)) {
                return Ok(exporter);
            }
            thread::sleep(Duration::from_millis(200));
        }
        Err("no proven recovery window within ten minutes".into())
    }

    fn metrics(&self) -> Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut response = String::new();
        stream.read_to_string(&mut response)?;
        Ok(response)
    }
}
