//! What it costs to list a WAL archive: a first pass and later ones, over archives of 100,000 and of a million segments in a
//! repository of plain files, with the installed pgBackRest.
//!
//! `make bench` runs it. Absolute figures depend on the machine; quote the ratios.

#![allow(clippy::print_stdout, reason = "a program that measures prints")]

mod report;
mod repository;
mod usage;

use std::error::Error;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use report::{Figure, Report};
use repository::{PER_DIRECTORY, Repository};
use usage::Usage;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const ARCHIVES: [u32; 2] = [100_000, 1_000_000];
/// New segments before each later pass: two directories.
const NEW: u32 = 2 * PER_DIRECTORY;
const LATER_PASSES: u32 = 3;
/// Every directory is listed again within a day: with this interval one in 1440 in each pass.
const INTERVAL: &str = "--collect.wal-interval=60";

fn main() -> Result<()> {
    let mut report = Report::new("wal");
    for segments in ARCHIVES {
        let repository = Repository::offline(Path::new("pgbackrest"))?;
        repository.archive(0, segments)?;
        measure(&repository, segments, &mut report)?;
    }
    Ok(report.write()?)
}

fn measure(repository: &Repository, segments: u32, report: &mut Report) -> Result<()> {
    let running = Running::start(&repository.conf())?;
    let began = Instant::now();
    running.wait_for(segments)?;
    let first = Passes {
        calls: vec![running.calls()?],
        seconds: vec![began.elapsed().as_secs_f64()],
        used: vec![running.used()?],
    };
    report.add(&format!("{segments} segments, first pass"), first.figures());
    let mut held = segments;
    let mut later = Passes::default();
    for _ in 0..LATER_PASSES {
        let (calls, seconds) = (running.calls()?, running.seconds()?);
        repository.archive(held, held + NEW)?;
        held += NEW;
        running.wait_for(held)?;
        later.calls.push(running.calls()? - calls);
        later.seconds.push(running.seconds()? - seconds);
        later.used.push(running.used()?);
    }
    report.add(&format!("{segments} segments, later passes"), later.figures());
    Ok(())
}

/// What each pass took.
#[derive(Default)]
struct Passes {
    calls: Vec<f64>,
    seconds: Vec<f64>,
    used: Vec<Usage>,
}

impl Passes {
    fn figures(&self) -> Vec<Figure> {
        let used = |of: fn(&Usage) -> f64| self.used.iter().map(of).collect::<Vec<_>>();
        vec![
            Figure::new("calls of repo-ls", "", &self.calls),
            Figure::new("time", "s", &self.seconds),
            Figure::new("memory, settled", "MiB", &used(|used| used.settled_mib)),
            Figure::new("memory, peak", "MiB", &used(|used| used.peak_mib)),
        ]
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
    fn start(conf: &Path) -> Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let child = Command::new(env!("CARGO_BIN_EXE_pgbackrest-keeper"))
            .arg("exporter")
            .arg(format!("--backrest.config={}", conf.display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .args(["--collect.interval=5", INTERVAL, "--collect.wal-timeout=1h"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self { child, port })
    }

    fn wait_for(&self, segments: u32) -> Result<()> {
        let wanted = f64::from(segments);
        let deadline = Instant::now() + Duration::from_hours(1);
        while Instant::now() < deadline {
            if self.value("pgbackrest_wal_segments{").is_ok_and(|found| found >= wanted) {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(200));
        }
        Err(format!("{segments} segments were not told within an hour").into())
    }

    fn calls(&self) -> Result<f64> {
        self.value("pgbackrest_collector_runs_total{collector=\"wal\"}")
    }

    fn value(&self, series: &str) -> Result<f64> {
        let body = get(self.port)?;
        let line = body.lines().find(|line| line.starts_with(series)).ok_or("no such series")?;
        Ok(line.rsplit(' ').next().ok_or("no value")?.parse()?)
    }

    /// Time of all passes so far.
    fn seconds(&self) -> Result<f64> {
        self.value("pgbackrest_collector_duration_seconds_sum{collector=\"wal\"}")
    }

    fn used(&self) -> Result<Usage> {
        Ok(Usage::of(self.child.id())?)
    }
}

fn get(port: u16) -> Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut response = String::new();
    stream.read_to_string(&mut response)?;
    Ok(response)
}
