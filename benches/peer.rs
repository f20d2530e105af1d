//! Both exporters side by side on the same fake `pgbackrest`, in one run: latency under eight scrapers, memory, CPU. Beside them stands
//! what no exporter can undercut: copying the same bodies to the same number of sockets, parsing the same document with the fastest
//! parser and compressing the body once, and keeping the bodies in memory.
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

mod report;
mod usage;

use std::error::Error;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use flate2::Compression;
use flate2::write::GzEncoder;
use report::{Better, Figure, Report, median};
use usage::Usage;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Name and gzipped output of `info`.
const CASES: [(&str, &str); 2] = [
    ("5,000 backups in one stanza", "fixtures/scale/backups-5000-incr30.json.gz"),
    ("200 stanzas of 30 backups", "fixtures/scale/stanzas-200x30.json.gz"),
];
const SCRAPERS: usize = 8;
const SCRAPES_EACH: usize = 12;
/// How often all scrapers begin again, for the noise.
const ROUNDS: usize = 3;
const INTERVAL: Duration = Duration::from_secs(10);
/// Collections whose CPU time and memory are measured.
const COLLECTIONS: usize = 3;
/// How long a collection takes at the most, so that all of its CPU time has been spent then.
const COLLECTION: Duration = Duration::from_secs(4);
/// File with a line for each call of `info`.
const CALLS: &str = "calls";
/// Before the newest WAL segment of an archive.
const ARCHIVE_MAX: &[u8] = br#""max":""#;
const SEGMENT_NAME: usize = 24;

fn main() -> Result<()> {
    let peer = env::var_os("PEER").map(PathBuf::from);
    if peer.is_none() {
        println!("PEER is not set: the Go exporter is not measured, and there are no ratios to it");
    }
    let mut report = Report::new("peer");
    for (case, fixture) in CASES {
        let lab = Lab::new(fixture)?;
        let ours = lab.measure(
            Path::new(env!("CARGO_BIN_EXE_pgbackrest-keeper")),
            &["exporter", "--collector.wal=off"],
        )?;
        let theirs = peer.as_deref().map(|program| lab.measure(program, &[])).transpose()?;
        let limit = limits(&lab.json, &ours)?;
        report.add(case, figures(&ours, theirs.as_ref(), &limit));
    }
    Ok(report.write()?)
}

/// What one exporter did on one case, or what cannot be undercut. A list has a value for each repetition.
struct Measured {
    plain: Latency,
    gzip: Latency,
    plain_body: Vec<u8>,
    gzip_body: Vec<u8>,
    settled_mib: Vec<f64>,
    peak_mib: f64,
    /// Milliseconds.
    cpu_per_collection: Vec<f64>,
}

/// Milliseconds.
#[derive(Default)]
struct Latency {
    p50: Vec<f64>,
    p99: Vec<f64>,
}

fn figures(ours: &Measured, theirs: Option<&Measured>, limit: &Measured) -> Vec<Figure> {
    type Row = (&'static str, &'static str, fn(&Measured) -> Vec<f64>);
    let rows: [Row; 9] = [
        ("scrape, plain, p50", "ms", |m| m.plain.p50.clone()),
        ("scrape, plain, p99", "ms", |m| m.plain.p99.clone()),
        ("scrape, gzip, p50", "ms", |m| m.gzip.p50.clone()),
        ("scrape, gzip, p99", "ms", |m| m.gzip.p99.clone()),
        ("body, plain", "kB", |m| vec![m.plain_body.len() as f64 / 1e3]),
        ("body, gzip", "kB", |m| vec![m.gzip_body.len() as f64 / 1e3]),
        ("memory, settled", "MiB", |m| m.settled_mib.clone()),
        ("memory, peak", "MiB", |m| vec![m.peak_mib]),
        ("CPU per collection", "ms", |m| m.cpu_per_collection.clone()),
    ];
    let figure = |(name, unit, of): Row| {
        let is_size = name == "body, plain";
        Figure::new(name, unit, &of(ours))
            .better(if is_size { Better::Neither } else { Better::Lower })
            .peer(theirs.map(|theirs| median(&of(theirs))))
            .limit((!is_size).then(|| median(&of(limit))))
    };
    rows.map(figure).into()
}

/// What an exporter with these bodies needs at least.
fn limits(json: &[u8], ours: &Measured) -> Result<Measured> {
    let copied = |body: &[u8]| scrape(Copier::start(body)?.port, false);
    let mut best = GzEncoder::new(Vec::new(), Compression::best());
    best.write_all(&ours.plain_body)?;
    let bodies = mib(ours.plain_body.len() + ours.gzip_body.len());
    Ok(Measured {
        plain: copied(&ours.plain_body)?,
        gzip: copied(&ours.gzip_body)?,
        plain_body: ours.plain_body.clone(),
        gzip_body: best.finish()?,
        settled_mib: vec![bodies],
        peak_mib: bodies + mib(json.len()),
        cpu_per_collection: (0..ROUNDS)
            .map(|_| parse_and_compress(json, &ours.plain_body))
            .collect::<Result<_>>()?,
    })
}

/// Milliseconds on one core.
fn parse_and_compress(json: &[u8], body: &[u8]) -> Result<f64> {
    let mut json = json.to_vec();
    let start = Instant::now();
    std::hint::black_box(simd_json::to_tape(&mut json)?);
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body)?;
    std::hint::black_box(encoder.finish()?);
    Ok(start.elapsed().as_secs_f64() * 1e3)
}

fn mib(bytes: usize) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// A server that does nothing but copy the same bytes to each client.
struct Copier {
    port: u16,
}

impl Copier {
    /// Ends with this program.
    fn start(body: &[u8]) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let mut response = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
        response.extend_from_slice(body);
        thread::spawn(move || {
            thread::scope(|scope| {
                for stream in listener.incoming().flatten() {
                    scope.spawn(|| answer(stream, &response));
                }
            });
        });
        Ok(Self { port })
    }
}

/// A client that goes away is measured on its side.
fn answer(mut stream: TcpStream, response: &[u8]) {
    let mut request = [0; 1024];
    let _ = stream.read(&mut request).and_then(|_| stream.write_all(response));
}

/// A fake `pgbackrest` that prints a fixture. From one call to the next only archived WAL is new, as on most days at most times.
struct Lab {
    directory: tempfile::TempDir,
    json: Vec<u8>,
}

impl Lab {
    fn new(fixture: &str) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let compressed = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(fixture))?;
        let mut json = Vec::new();
        flate2::read::GzDecoder::new(compressed.as_slice()).read_to_end(&mut json)?;
        fs::write(directory.path().join("one.json"), &json)?;
        fs::write(directory.path().join("other.json"), with_other_wal(json.clone()))?;
        let program = directory.path().join("pgbackrest");
        let script = format!(
            "#!/bin/sh\ncd '{}' || exit\n\
             case \"$*\" in\n*version*num*) echo 2060000 ;;\n*version*) echo 'pgBackRest 2.60.0' ;;\n\
             *) echo >>{CALLS}; if rm turn 2>&-; then exec cat one.json; fi; : >turn; exec cat other.json ;;\nesac\n",
            directory.path().display(),
        );
        fs::write(&program, script)?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
        Ok(Self { directory, json })
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

    fn measure(&self, program: &Path, arguments: &[&str]) -> Result<Measured> {
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
        let (plain, gzip) = (scrape(port, false)?, scrape(port, true)?);
        let (plain_body, gzip_body) = (get(port, false)?, get(port, true)?);
        self.wait_for_collections(1)?;
        let (mut settled_mib, mut cpu_per_collection) = (Vec::new(), Vec::new());
        let mut last = running.used()?;
        for _ in 0..COLLECTIONS {
            self.wait_for_collections(1)?;
            let now = running.used()?;
            settled_mib.push(now.settled_mib);
            cpu_per_collection.push((now.cpu_seconds - last.cpu_seconds) * 1e3);
            last = now;
        }
        let peak_mib = last.peak_mib;
        Ok(Measured { plain, gzip, plain_body, gzip_body, settled_mib, peak_mib, cpu_per_collection })
    }
}

/// The same document with another newest WAL segment in each archive.
fn with_other_wal(mut json: Vec<u8>) -> Vec<u8> {
    let mut from = 0;
    while let Some(found) = json[from..].windows(ARCHIVE_MAX.len()).position(|bytes| bytes == ARCHIVE_MAX) {
        from += found + ARCHIVE_MAX.len() + SEGMENT_NAME;
        let last = &mut json[from - 1];
        *last = if *last == b'0' { b'1' } else { b'0' };
    }
    json
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

    fn used(&self) -> Result<Usage> {
        Ok(Usage::of(self.child.id())?)
    }
}

/// All scrapers at once, one round after the other.
fn scrape(port: u16, gzip: bool) -> Result<Latency> {
    let mut latency = Latency::default();
    for _ in 0..ROUNDS {
        let scraper = move || -> Result<Vec<f64>> {
            let timed = |_| {
                let start = Instant::now();
                get(port, gzip).map(|_| start.elapsed().as_secs_f64() * 1e3)
            };
            (0..SCRAPES_EACH).map(timed).collect()
        };
        let mut all = Vec::new();
        for scraper in (0..SCRAPERS).map(|_| thread::spawn(scraper)).collect::<Vec<_>>() {
            all.extend(scraper.join().map_err(|_| "a scraper panicked")??);
        }
        all.sort_by(f64::total_cmp);
        let at = |share: f64| all[((all.len() - 1) as f64 * share).round() as usize];
        latency.p50.push(at(0.5));
        latency.p99.push(at(0.99));
    }
    Ok(latency)
}

/// The body of one response, as sent.
fn get(port: u16, gzip: bool) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_mins(2)))?;
    let encoding = if gzip { "Accept-Encoding: gzip\r\n" } else { "" };
    // In one piece, because the copier reads only once.
    let request = format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\n{encoding}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut response = Vec::new();
    stream.read_to_end(&mut response)?;
    let end = response.windows(4).position(|window| window == b"\r\n\r\n").ok_or("no header")?;
    if !response.starts_with(b"HTTP/1.1 200") {
        return Err("status is not 200".into());
    }
    Ok(response.split_off(end + 4))
}
