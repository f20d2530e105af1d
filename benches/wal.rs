//! What it costs to list a WAL archive: a first pass and later ones, over archives of 100,000 and of a million segments in a
//! repository of plain files, with the installed pgBackRest.
//!
//! `make bench` runs it. The segments are files without contents in the archive of a real stanza with a backup; only their names and times
//! matter. Absolute figures depend on the machine; quote the ratios.

#![allow(clippy::print_stdout, reason = "a program that measures prints")]

mod usage;

use std::error::Error;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use usage::Usage;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const ARCHIVES: [u32; 2] = [100_000, 1_000_000];
/// Segments of 16 MiB in one directory.
const PER_DIRECTORY: u32 = 256;
/// What a segment takes at least if it is whole; the files are sparse.
const SEGMENT_BYTES: u64 = 1 << 20;
/// New segments before each later pass: two directories.
const NEW: u32 = 2 * PER_DIRECTORY;
const LATER_PASSES: u32 = 3;
/// Every directory is listed again within a day: with this interval one in 1440 in each pass.
const INTERVAL: &str = "--collect.wal-interval=60";
const PROGRAMS: &str = "/usr/lib/postgresql/15/bin";

fn main() -> Result<()> {
    println!("\n## Listing WAL archives\n");
    println!(
        "| segments | pass | calls of repo-ls | time | memory, settled | memory, peak |\n|---|---|---|---|---|---|"
    );
    for segments in ARCHIVES {
        let lab = Lab::new()?;
        lab.archive(0, segments)?;
        lab.measure(segments)?;
    }
    Ok(())
}

/// A stanza with one backup that was made while PostgreSQL was down, so that it needs no WAL.
struct Lab {
    directory: tempfile::TempDir,
}

impl Lab {
    fn new() -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("bench-wal-").tempdir()?;
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777))?;
        let lab = Self { directory };
        let path = |name: &str| lab.directory.path().join(name).display().to_string();
        let conf = format!(
            "[global]\nlog-level-file=off\nlog-path={}\nlock-path={}\nrepo1-path={}\nrepo1-retention-full=9\n[demo]\npg1-path={}\n",
            path("log"),
            path("lock"),
            path("repo"),
            path("data")
        );
        fs::write(lab.conf(), conf)?;
        lab.run(&[&format!("{PROGRAMS}/initdb"), "--auth=trust", "--no-sync", &path("data")])?;
        for command in [&["stanza-create", "--no-online"][..], &["backup", "--no-online", "--type=full"]] {
            let config = format!("--config={}", lab.conf().display());
            lab.run(&[&["pgbackrest", "--stanza=demo", &config], command].concat())?;
        }
        // Everything below is written by whoever measures.
        lab.run(&["chmod", "-R", "a+rwX", &path("repo")])?;
        Ok(lab)
    }

    fn conf(&self) -> PathBuf {
        self.directory.path().join("pgbackrest.conf")
    }

    /// As postgres where root measures, as initdb refuses root.
    fn run(&self, arguments: &[&str]) -> Result<()> {
        let mut command = Command::new("setpriv");
        if nix::unistd::getuid().is_root() {
            command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "--"]);
        } else {
            command.arg("--");
        }
        let output = command.args(arguments).current_dir(self.directory.path()).output()?;
        if output.status.success() {
            return Ok(());
        }
        Err(format!("{arguments:?}: {}", String::from_utf8_lossy(&output.stderr)).into())
    }

    /// Archives segments `first..last`.
    fn archive(&self, first: u32, last: u32) -> Result<()> {
        let archive = self.directory.path().join("repo/archive/demo/15-1");
        for number in first..last {
            let (high, low) = (number / PER_DIRECTORY, number % PER_DIRECTORY);
            let directory = archive.join(format!("00000001{high:08X}"));
            if low == 0 || number == first {
                fs::create_dir_all(&directory)?;
            }
            let name = format!("00000001{high:08X}{low:08X}-{number:040x}.gz");
            File::create(directory.join(name))?.set_len(SEGMENT_BYTES)?;
        }
        Ok(())
    }

    fn measure(&self, segments: u32) -> Result<()> {
        let running = Running::start(&self.conf())?;
        let began = Instant::now();
        running.wait_for(segments)?;
        let mut calls = running.calls()?;
        running.tell(segments, "first", calls, began.elapsed())?;
        let mut held = segments;
        for pass in 1..=LATER_PASSES {
            let spent = running.value("pgbackrest_collector_duration_seconds_sum{collector=\"wal\"}")?;
            self.archive(held, held + NEW)?;
            held += NEW;
            running.wait_for(held)?;
            let now = running.calls()?;
            let spent =
                running.value("pgbackrest_collector_duration_seconds_sum{collector=\"wal\"}")? - spent;
            running.tell(held, &format!("later {pass}"), now - calls, Duration::from_secs_f64(spent))?;
            calls = now;
        }
        Ok(())
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

    fn tell(&self, segments: u32, pass: &str, calls: f64, time: Duration) -> Result<()> {
        let used = Usage::of(self.child.id())?;
        println!(
            "| {segments} | {pass} | {calls:.0} | {:.1} s | {:.1} MiB | {:.1} MiB |",
            time.as_secs_f64(),
            used.settled_mib,
            used.peak_mib,
        );
        Ok(())
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
