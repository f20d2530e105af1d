//! Hours with the exporter: 200 stanzas, eight scrapers, and faults at random, of pgBackRest, of clients and of the web
//! configuration. At the end nothing may be left: no thread, no open file, no process.
//!
//! `make soak` runs it for two hours; `SOAK_MINUTES` sets how long, and `SOAK_SEED` repeats the faults of a run. Memory is told as
//! a slope over the second half. It depends on the allocator, and a short run tells little.

#![allow(clippy::print_stdout, reason = "a program that measures prints")]

mod usage;

use std::error::Error;
use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use usage::Usage;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const STANZAS: &str = "fixtures/scale/stanzas-200x30.json.gz";
const SCRAPERS: u64 = 8;
const BETWEEN_SAMPLES: Duration = Duration::from_secs(30);
const SAMPLES_PER_ROW: usize = 10;
/// Longer than the ten seconds for which the runtime keeps idle threads: otherwise each collection would use all of them again, and
/// as many as ever were in use would stay.
const INTERVAL: Duration = Duration::from_secs(15);
const TIMEOUT: Duration = Duration::from_secs(3);
/// How long after the last fault everything must be as at the start.
const RECOVERY: Duration = Duration::from_mins(3);
/// Threads and files that may be in use at any moment.
const SLACK: u64 = 4;
/// The growth of memory that fails, in parts of it per hour.
const MAX_SLOPE: f64 = 0.05;

/// What the fake `pgbackrest` does instead of answering; twice as often it answers.
const FAULTS: [&str; 9] = ["hang", "leave", "fail", "flood", "noise", "half", "crash", "slow", "nothing"];

/// Web configurations that are accepted, and those that are refused.
const GOOD: [&str; 2] = [
    "http_server_config:\n  headers:\n    X-Frame-Options: deny\n",
    "rate_limit:\n  interval: 1ms\n  burst: 1000\n",
];
const BAD: [&str; 3] = ["http_server_config:\n  head", "tls_server_config:\n  cert_file: none\n", "\0\0\0"];

fn main() -> Result<()> {
    let minutes = number("SOAK_MINUTES").unwrap_or(120);
    let seed = number("SOAK_SEED").unwrap_or_else(rand::random);
    println!("\n## {minutes} minutes, seed {seed}\n");
    let lab = Lab::new()?;
    let mut exporter = lab.start()?;
    let baseline = lab.wait_for_quiet(&exporter, None)?;
    let (counts, over) = (Counts::default(), AtomicBool::new(false));
    let samples = thread::scope(|scope| -> Result<Vec<Sample>> {
        for scraper in 0..SCRAPERS {
            let (counts, over, port) = (&counts, &over, exporter.port);
            scope.spawn(move || scrape(port, seed ^ scraper, counts, over));
        }
        scope.spawn(|| misbehave(exporter.port, seed, &counts, &over));
        let faults = scope.spawn(|| lab.make_faults(&exporter, seed, &counts, &over));
        let samples = measure(&exporter, &counts, Duration::from_secs(60 * minutes));
        over.store(true, Ordering::Relaxed);
        faults.join().map_err(|_| "the faults stopped")??;
        samples
    })?;
    lab.recover(&exporter)?;
    let end = lab.wait_for_quiet(&exporter, Some(&baseline));
    tell_end(&samples, &baseline, end.as_ref().ok())?;
    end?;
    kill(exporter.pid()?, Signal::SIGTERM)?;
    let status = exporter.child.wait()?;
    let left = lab.processes()?;
    if !status.success() || !left.is_empty() {
        return Err(format!("it ended with {status} and left the processes {left:?}").into());
    }
    let wrong = counts.wrong.lock();
    if !wrong.is_empty() {
        return Err(format!("{} of the scrapes went wrong: {wrong:?}", wrong.len()).into());
    }
    let slope = slope(&samples);
    if slope > MAX_SLOPE * baseline.mib {
        return Err(format!("memory grew by {slope:.2} MiB per hour").into());
    }
    Ok(())
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Since the start.
#[derive(Default)]
struct Counts {
    scrapes: AtomicU64,
    /// Why they went wrong.
    wrong: Mutex<Vec<String>>,
    faults: AtomicU64,
    reloads: AtomicU64,
}

struct Sample {
    after: Duration,
    mib: f64,
    threads: u64,
    files: usize,
}

impl Sample {
    fn of(exporter: &Exporter, began: Instant) -> Result<Self> {
        let process = procfs::process::Process::new(exporter.pid()?.as_raw())?;
        Ok(Self {
            after: began.elapsed(),
            mib: Usage::of(exporter.child.id())?.settled_mib,
            threads: process.status()?.threads,
            files: process.fd_count()?,
        })
    }
}

fn measure(exporter: &Exporter, counts: &Counts, length: Duration) -> Result<Vec<Sample>> {
    println!("| minute | MiB | threads | open files | collections | scrapes | wrong | faults | reloads |");
    println!("|---|---|---|---|---|---|---|---|---|");
    let (began, mut samples) = (Instant::now(), Vec::new());
    while began.elapsed() < length {
        thread::sleep(BETWEEN_SAMPLES.min(length));
        let sample = Sample::of(exporter, began)?;
        if samples.len() % SAMPLES_PER_ROW == 0 {
            let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
            println!(
                "| {} | {:.1} | {} | {} | {} | {} | {} | {} | {} |",
                sample.after.as_secs() / 60,
                sample.mib,
                sample.threads,
                sample.files,
                exporter.value(COLLECTIONS)?,
                count(&counts.scrapes),
                counts.wrong.lock().len(),
                count(&counts.faults),
                count(&counts.reloads),
            );
        }
        samples.push(sample);
    }
    Ok(samples)
}

/// MiB per hour over the second half: the median over all pairs of samples, as a leak stays and a peak does not.
fn slope(samples: &[Sample]) -> f64 {
    let half = samples.get(samples.len() / 2..).unwrap_or_default();
    let pairs = half
        .iter()
        .enumerate()
        .flat_map(|(index, later)| half.iter().take(index).map(move |earlier| (earlier, later)));
    let hours = |sample: &Sample| sample.after.as_secs_f64() / 3600.0;
    let mut slopes: Vec<f64> =
        pairs.map(|(earlier, later)| (later.mib - earlier.mib) / (hours(later) - hours(earlier))).collect();
    slopes.sort_by(f64::total_cmp);
    slopes.get(slopes.len() / 2).copied().unwrap_or_default()
}

fn tell_end(samples: &[Sample], baseline: &Sample, end: Option<&Sample>) -> Result<()> {
    let most = samples.iter().map(|sample| sample.mib).max_by(f64::total_cmp).ok_or("no samples")?;
    println!("\n| figure | at the start | at the end |\n|---|---|---|");
    let row = |name: &str, of: fn(&Sample) -> String| {
        println!("| {name} | {} | {} |", of(baseline), end.map_or_else(|| "-".to_owned(), of));
    };
    row("memory, MiB", |sample| format!("{:.1}", sample.mib));
    row("threads", |sample| sample.threads.to_string());
    row("open files", |sample| sample.files.to_string());
    println!("\nmemory: at most {most:.1} MiB; {:+.2} MiB per hour in the second half", slope(samples));
    Ok(())
}

/// A fake `pgbackrest` with 200 stanzas, and a web configuration.
struct Lab {
    directory: tempfile::TempDir,
}

impl Lab {
    fn new() -> Result<Self> {
        let lab = Self { directory: tempfile::Builder::new().prefix("soak-").tempdir()? };
        let compressed = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(STANZAS))?;
        let mut json = Vec::new();
        flate2::read::GzDecoder::new(compressed.as_slice()).read_to_end(&mut json)?;
        let stanzas: Vec<serde_json::Value> = serde_json::from_slice(&json)?;
        fs::write(lab.path("all"), &json)?;
        for stanza in &stanzas {
            let name = stanza
                .pointer("/name")
                .and_then(serde_json::Value::as_str)
                .ok_or("a stanza without a name")?;
            fs::write(lab.path(name), serde_json::to_vec(&[stanza])?)?;
        }
        let first = stanzas.first().ok_or("no stanza")?;
        lab.write_listings(first)?;
        lab.set_fault("none")?;
        fs::write(lab.path("web.yml"), GOOD.concat())?;
        let program = lab.path("pgbackrest");
        fs::write(&program, FAKE.replace("DIRECTORY", &lab.directory.path().display().to_string()))?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
        Ok(lab)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// What `repo-ls` prints: all segments that the backups of a stanza need, and their directories.
    fn write_listings(&self, stanza: &serde_json::Value) -> Result<()> {
        let list = |names: &mut dyn Iterator<Item = String>, entry: &serde_json::Value| {
            serde_json::to_vec(&names.map(|name| (name, entry.clone())).collect::<serde_json::Map<_, _>>())
        };
        let path = serde_json::json!({"type": "path"});
        let file = serde_json::json!({"type": "file", "size": 2_097_152, "time": 1_795_000_000});
        let backups = stanza.pointer("/backup").and_then(serde_json::Value::as_array).ok_or("no backups")?;
        let labels = backups.iter().filter_map(|backup| Some(backup.pointer("/label")?.as_str()?.to_owned()));
        fs::write(self.path("backups"), list(&mut labels.into_iter(), &path)?)?;
        let directories: Vec<String> = (0..4).map(|high| format!("00000001{high:08X}")).collect();
        fs::write(self.path("directories"), list(&mut directories.iter().cloned(), &path)?)?;
        for directory in directories {
            let mut segments = (0..256).map(|low| format!("{directory}{low:08X}-{low:040x}.gz"));
            fs::write(self.path(&directory), list(&mut segments, &file)?)?;
        }
        Ok(())
    }

    fn start(&self) -> Result<Exporter> {
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let child = Command::new(env!("CARGO_BIN_EXE_pgbackrest-keeper"))
            .arg("exporter")
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg(format!("--web.config.file={}", self.path("web.yml").display()))
            .arg(format!("--collect.interval={}", INTERVAL.as_secs()))
            .arg(format!("--collect.timeout={}", TIMEOUT.as_secs()))
            .arg("--collect.wal-interval=60")
            .env("PATH", format!("{}:{}", self.directory.path().display(), std::env::var("PATH")?))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Exporter { child, port })
    }

    /// Replaces the file, so that no reader finds half of it.
    fn set_fault(&self, fault: &str) -> Result<()> {
        fs::write(self.path("fault.new"), format!("{fault}\n"))?;
        Ok(fs::rename(self.path("fault.new"), self.path("fault"))?)
    }

    fn make_faults(&self, exporter: &Exporter, seed: u64, counts: &Counts, over: &AtomicBool) -> Result<()> {
        let mut random = StdRng::seed_from_u64(seed);
        while !over.load(Ordering::Relaxed) {
            let fault = if random.random_ratio(1, 3) { FAULTS.choose(&mut random).copied() } else { None };
            counts.faults.fetch_add(u64::from(fault.is_some()), Ordering::Relaxed);
            self.set_fault(fault.unwrap_or("none"))?;
            if random.random_ratio(1, 4) {
                self.change_web_config(&mut random)?;
                kill(exporter.pid()?, Signal::SIGHUP)?;
                counts.reloads.fetch_add(1, Ordering::Relaxed);
            }
            sleep_until_over(Duration::from_secs(random.random_range(2..20)), over);
        }
        Ok(())
    }

    fn change_web_config(&self, random: &mut StdRng) -> Result<()> {
        let file = self.path("web.yml");
        fs::remove_file(&file)?;
        match random.random_range(0..4) {
            0 => fs::write(&file, BAD.choose(random).copied().unwrap_or_default())?,
            1 => mkfifo(&file, Mode::S_IRWXU)?,
            _ => fs::write(&file, GOOD.choose(random).copied().unwrap_or_default())?,
        }
        Ok(())
    }

    fn recover(&self, exporter: &Exporter) -> Result<()> {
        self.set_fault("none")?;
        fs::remove_file(self.path("web.yml"))?;
        fs::write(self.path("web.yml"), GOOD.concat())?;
        Ok(kill(exporter.pid()?, Signal::SIGHUP)?)
    }

    /// Waits until all stanzas are fresh, and the exporter has no more threads and files than at the start.
    fn wait_for_quiet(&self, exporter: &Exporter, baseline: Option<&Sample>) -> Result<Sample> {
        let began = Instant::now();
        loop {
            thread::sleep(Duration::from_secs(1));
            let sample = Sample::of(exporter, began)?;
            let is_fresh = || {
                exporter
                    .value("pgbackrest_collector_up{collector=\"info\",stanza=\"all-stanzas\"}")
                    .is_ok_and(|up| up > 0.0)
            };
            let more = baseline.map(|baseline| {
                (sample.threads.saturating_sub(baseline.threads), sample.files.saturating_sub(baseline.files))
            });
            // At the start the threads that read documents at once are counted too.
            let is_long = baseline.is_some() || began.elapsed() > 2 * INTERVAL;
            if is_long
                && is_fresh()
                && more.is_none_or(|(threads, files)| threads <= SLACK && files as u64 <= SLACK)
                && self.processes()?.is_empty()
                && exporter.zombies()?.is_empty()
            {
                return Ok(sample);
            }
            if began.elapsed() > RECOVERY {
                let (processes, zombies) = (self.processes()?, exporter.zombies()?);
                return Err(format!(
                    "more threads and open files: {more:?}; processes: {processes:?}; zombies: {zombies:?}"
                )
                .into());
            }
        }
    }

    /// Processes of the fake, which are known by their `PATH`, or by their directory if they have cleared their environment.
    fn processes(&self) -> Result<Vec<String>> {
        let directory = self.directory.path();
        let mut found = Vec::new();
        for process in procfs::process::all_processes()?.flatten() {
            let is_marked = || {
                let environment = process.environ().unwrap_or_default();
                let path = environment.get(OsStr::new("PATH"));
                environment.contains_key(OsStr::new("KEEPER_CALL"))
                    && path.is_some_and(|path| path.as_bytes().starts_with(directory.as_os_str().as_bytes()))
            };
            if process.cwd().is_ok_and(|cwd| cwd == directory) || is_marked() {
                found.push(process.cmdline().unwrap_or_default().join(" "));
            }
        }
        Ok(found)
    }
}

const FAKE: &str = r#"#!/bin/sh
for argument; do
    case $argument in --stanza=*) stanza=${argument#--stanza=} ;; esac
done
case "$*" in
*version*num*) echo 2060000; exit ;;
*version*) echo 'pgBackRest 2.60.0'; exit ;;
esac
cd 'DIRECTORY'
read -r fault <fault
case $fault in
hang) exec sleep 3600 ;;
leave)
    setsid sleep 3600 >&- 2>&- &
    setsid sh -c 'sleep 3600 & :' >&- 2>&-
    env -i "PATH=$PATH" setsid sleep 3600 >&- 2>&- & ;;
fail) echo 'ERROR: [058]: unable to find a server' >&2; exit 58 ;;
flood) exec cat /dev/zero ;;
noise) exec cat /dev/zero >&2 ;;
half) exec head -c 100000 all ;;
crash) kill -SEGV $$ ;;
slow) sleep 2 ;;
nothing) exit ;;
esac
case "$*" in
*repo-ls*backup/*) exec cat backups ;;
*repo-ls*archive/*/*/*) exec cat "${argument##*/}" ;;
*repo-ls*) exec cat directories ;;
*) exec cat "${stanza:-all}" ;;
esac
"#;

const COLLECTIONS: &str = "pgbackrest_collector_duration_seconds_count{collector=\"info\"}";

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
    /// Children that have ended and were not waited for.
    fn zombies(&self) -> Result<Vec<i32>> {
        let processes = procfs::process::all_processes()?.flatten().filter_map(|process| process.stat().ok());
        let parent = self.pid()?.as_raw();
        Ok(processes.filter(|stat| stat.ppid == parent && stat.state == 'Z').map(|stat| stat.pid).collect())
    }

    fn pid(&self) -> Result<Pid> {
        Ok(Pid::from_raw(i32::try_from(self.child.id())?))
    }

    fn value(&self, series: &str) -> Result<f64> {
        let body = get(self.port, "/metrics", "")?;
        let line = body.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        Ok(line.ok_or_else(|| format!("no {series}"))?.parse()?)
    }
}

fn sleep_until_over(length: Duration, over: &AtomicBool) {
    let began = Instant::now();
    while began.elapsed() < length && !over.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(100));
    }
}

/// Asks for everything that is served, and expects it whole.
fn scrape(port: u16, seed: u64, counts: &Counts, over: &AtomicBool) {
    const REQUESTS: [(&str, &str); 4] = [
        ("/metrics", ""),
        ("/metrics", "Accept-Encoding: gzip\r\n"),
        ("/metrics", "Accept: application/openmetrics-text;version=1.0.0\r\n"),
        ("/", ""),
    ];
    let mut random = StdRng::seed_from_u64(seed);
    while !over.load(Ordering::Relaxed) {
        let (path, headers) = REQUESTS.choose(&mut random).copied().unwrap_or_default();
        counts.scrapes.fetch_add(1, Ordering::Relaxed);
        let began = Instant::now();
        if let Err(error) = get(port, path, headers) {
            counts.wrong.lock().push(format!("{path} after {:?}: {error}", began.elapsed()));
        }
        sleep_until_over(Duration::from_millis(random.random_range(500..4000)), over);
    }
}

/// Clients that do not read, send half of a request, or leave at once.
fn misbehave(port: u16, seed: u64, counts: &Counts, over: &AtomicBool) {
    let mut random = StdRng::seed_from_u64(!seed);
    let mut held = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { continue };
        let request: &[u8] = match random.random_range(0..4) {
            0 => b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n",
            1 => b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n",
            2 => b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            _ => b"",
        };
        let _ = stream.write_all(request);
        counts.faults.fetch_add(1, Ordering::Relaxed);
        if random.random_ratio(1, 2) {
            held.push(stream);
        }
        if held.len() > 20 {
            held.clear();
        }
        sleep_until_over(Duration::from_millis(random.random_range(200..2000)), over);
    }
}

/// The text of one response, or what is compressed of it.
fn get(port: u16, path: &str, headers: &str) -> Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}Connection: close\r\n\r\n")?;
    let mut response = Vec::new();
    stream.read_to_end(&mut response)?;
    let end = response.windows(4).position(|window| window == b"\r\n\r\n").ok_or("no header")?;
    let (head, body) = response.split_at(end + 4);
    if !head.starts_with(b"HTTP/1.1 200") {
        return Err("status is not 200".into());
    }
    let head = String::from_utf8_lossy(head).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok());
    let is_whole = length.map_or_else(|| body.ends_with(b"0\r\n\r\n"), |length: usize| length == body.len());
    if !is_whole {
        return Err("the end is missing".into());
    }
    Ok(String::from_utf8_lossy(body).into_owned())
}
