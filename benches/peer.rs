//! Both exporters side by side on the same fake `pgbackrest`, in one run: latency under eight scrapers, memory, CPU.
//!
//! `make bench` runs it. `PEER` names the Go exporter's program; without it only ours is measured.
//! Absolute figures depend on the machine; quote the ratios.

#![allow(
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a program that measures prints, and may stop at the first thing that is off"
)]

mod usage;

use std::error::Error;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use usage::Usage;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Name and gzipped output of `info`.
const CASES: [(&str, &str); 2] = [
    ("5,000 backups in one stanza", "fixtures/scale/backups-5000-incr30.json.gz"),
    ("200 stanzas of 30 backups", "fixtures/scale/stanzas-200x30.json.gz"),
];
const SCRAPERS: usize = 8;
const SCRAPES_EACH: usize = 12;
const INTERVAL: Duration = Duration::from_secs(10);
/// Collections whose CPU time is averaged.
const COLLECTIONS: usize = 3;
/// How long a collection takes at the most, so that all of its CPU time has been spent then.
const COLLECTION: Duration = Duration::from_secs(4);
/// File with a line for each call of `info`.
const CALLS: &str = "calls";

fn main() -> Result<()> {
    let peer = env::var_os("PEER").map(PathBuf::from);
    if peer.is_none() {
        println!("PEER is not set: the Go exporter is not measured, and there are no ratios");
    }
    for (name, fixture) in CASES {
        println!("\n## {name}\n");
        let lab = Lab::new(fixture)?;
        let ours = lab.measure(
            Path::new(env!("CARGO_BIN_EXE_pgbackrest-keeper")),
            &["exporter", "--collector.wal=off"],
        )?;
        let theirs = peer.as_deref().map(|program| lab.measure(program, &[])).transpose()?;
        print(&ours, theirs.as_ref());
    }
    Ok(())
}

/// What one exporter did on one case.
struct Figures {
    plain: Latency,
    gzip: Latency,
    plain_bytes: usize,
    gzip_bytes: usize,
    settled_mib: f64,
    peak_mib: f64,
    cpu_per_collection: f64,
}

struct Latency {
    p50: f64,
    p99: f64,
}

fn print(ours: &Figures, theirs: Option<&Figures>) {
    type Row = (&'static str, &'static str, fn(&Figures) -> f64);
    let rows: [Row; 9] = [
        ("scrape, plain, p50", "ms", |f| f.plain.p50),
        ("scrape, plain, p99", "ms", |f| f.plain.p99),
        ("scrape, gzip, p50", "ms", |f| f.gzip.p50),
        ("scrape, gzip, p99", "ms", |f| f.gzip.p99),
        ("body, plain", "kB", |f| f.plain_bytes as f64 / 1e3),
        ("body, gzip", "kB", |f| f.gzip_bytes as f64 / 1e3),
        ("memory, settled", "MiB", |f| f.settled_mib),
        ("memory, peak", "MiB", |f| f.peak_mib),
        ("CPU per collection", "ms", |f| f.cpu_per_collection * 1e3),
    ];
    println!("| figure | ours | Go exporter | ratio |\n|---|---|---|---|");
    for (name, unit, of) in rows {
        let (other, ratio) = theirs.map_or_else(
            || ("-".to_owned(), "-".to_owned()),
            |theirs| (format!("{:.1} {unit}", of(theirs)), format!("{:.1}", of(theirs) / of(ours))),
        );
        println!("| {name} | {:.1} {unit} | {other} | {ratio} |", of(ours));
    }
}

/// A fake `pgbackrest` that prints a fixture.
struct Lab {
    directory: tempfile::TempDir,
}

impl Lab {
    fn new(fixture: &str) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let compressed = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(fixture))?;
        let mut json = Vec::new();
        flate2::read::GzDecoder::new(compressed.as_slice()).read_to_end(&mut json)?;
        let output = directory.path().join("info.json");
        fs::write(&output, json)?;
        let program = directory.path().join("pgbackrest");
        let script = format!(
            "#!/bin/sh\ncase \"$*\" in\n*version*num*) echo 2060000 ;;\n*version*) echo 'pgBackRest 2.60.0' ;;\n*) echo >>'{}'; exec cat '{}' ;;\nesac\n",
            directory.path().join(CALLS).display(),
            output.display()
        );
        fs::write(&program, script)?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
        Ok(Self { directory })
    }

    /// Waits until that many more collections have begun and the last of them has ended.
    fn wait_for_collections(&self, wanted: usize) -> Result<()> {
        let calls = || Ok::<_, std::io::Error>(fs::read(self.directory.path().join(CALLS))?.len());
        let end = calls()? + wanted;
        while calls()? < end {
            thread::sleep(Duration::from_millis(50));
        }
        thread::sleep(COLLECTION);
        Ok(())
    }

    fn measure(&self, program: &Path, arguments: &[&str]) -> Result<Figures> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let path = format!("{}:{}", self.directory.path().display(), env::var("PATH")?);
        let child = Command::new(program)
            .args(arguments)
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg(format!("--collect.interval={}", INTERVAL.as_secs()))
            .env("PATH", path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let running = Running { child, port };
        running.wait_for_data()?;
        thread::sleep(Duration::from_secs(2));
        let (plain, plain_bytes) = running.scrape(false)?;
        let (gzip, gzip_bytes) = running.scrape(true)?;
        self.wait_for_collections(1)?;
        let before = running.used()?;
        self.wait_for_collections(COLLECTIONS)?;
        let after = running.used()?;
        let cpu_per_collection = (after.cpu_seconds - before.cpu_seconds) / COLLECTIONS as f64;
        Ok(Figures {
            plain,
            gzip,
            plain_bytes,
            gzip_bytes,
            settled_mib: after.settled_mib,
            peak_mib: after.peak_mib,
            cpu_per_collection,
        })
    }
}

struct Running {
    child: Child,
    port: u16,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    fn wait_for_data(&self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_mins(1);
        while Instant::now() < deadline {
            if let Ok(body) = get(self.port, false) {
                let wanted = b"\npgbackrest_backup_info{";
                if body.windows(wanted.len()).any(|window| window == wanted) {
                    return Ok(());
                }
            }
            thread::sleep(Duration::from_millis(100));
        }
        Err("no backups on /metrics after a minute".into())
    }

    fn scrape(&self, gzip: bool) -> Result<(Latency, usize)> {
        let port = self.port;
        let bytes = get(port, gzip)?.len();
        let scrapers: Vec<_> = (0..SCRAPERS)
            .map(|_| {
                thread::spawn(move || -> Result<Vec<f64>> {
                    let timed = |_| {
                        let start = Instant::now();
                        get(port, gzip).map(|_| start.elapsed().as_secs_f64() * 1e3)
                    };
                    (0..SCRAPES_EACH).map(timed).collect()
                })
            })
            .collect();
        let mut all = Vec::new();
        for scraper in scrapers {
            all.extend(scraper.join().map_err(|_| "a scraper panicked")??);
        }
        all.sort_by(f64::total_cmp);
        let at = |share: f64| all[((all.len() - 1) as f64 * share).round() as usize];
        Ok((Latency { p50: at(0.5), p99: at(0.99) }, bytes))
    }

    fn used(&self) -> Result<Usage> {
        Ok(Usage::of(self.child.id())?)
    }
}

/// The body of one response, as sent.
fn get(port: u16, gzip: bool) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_mins(2)))?;
    let encoding = if gzip { "Accept-Encoding: gzip\r\n" } else { "" };
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n{encoding}Connection: close\r\n\r\n")?;
    let mut response = Vec::new();
    stream.read_to_end(&mut response)?;
    let end = response.windows(4).position(|window| window == b"\r\n\r\n").ok_or("no header")?;
    if !response.starts_with(b"HTTP/1.1 200") {
        return Err("status is not 200".into());
    }
    Ok(response.split_off(end + 4))
}
