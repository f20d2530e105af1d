//! What `restore-test` costs on top of the same restore and replay by hand: time, and processor time and memory of its own process;
//! and what its checks cost.
//!
//! `make bench` runs it, with the installed PostgreSQL and pgBackRest. By hand, the same command lines run, and nothing is read but the
//! end of PostgreSQL's log. Rounds alternate. `RESTORE_MIB` sets the size of the database. Absolute figures depend on the machine; quote
//! the ratios.

#![allow(clippy::print_stdout, reason = "a program that measures prints")]

mod usage;

use std::collections::BTreeMap;
use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pgbackrest_keeper::pgbackrest::command::{CopyPaths, Program, TestQuery};
use pgbackrest_keeper::postgres::copy::{self, Place, Recovery, RecoveryTarget};
use serde_json::Value;
use usage::Usage;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const PROGRAMS: &str = "/usr/lib/postgresql/15/bin";
const MAJOR: u32 = 15;
const ROUNDS: usize = 3;
/// Size of the database in MiB; half of that is the WAL that is replayed.
const SIZE: u32 = 512;
const TICK: Duration = Duration::from_millis(20);
/// The longest time for anything.
const LONGEST: Duration = Duration::from_mins(30);
/// What the engine may cost on top.
const GOAL_PERCENT: f64 = 5.0;
const GOAL_MIB: f64 = 30.0;
/// Phases that no restore by hand has.
const CHECKS: [&str; 2] = ["check", "pages"];

fn main() -> Result<()> {
    let size = std::env::var("RESTORE_MIB").ok().and_then(|size| size.parse().ok()).unwrap_or(SIZE);
    let lab = Lab::new(size)?;
    println!("\n## Restore tests\n");
    println!("A database of {size} MiB and {} MiB of WAL, in seconds.\n", size / 2);
    println!("| round | | restore | replay | all but the checks | own CPU | own memory, peak |");
    println!("|---|---|---|---|---|---|---|");
    let (mut hands, mut engines) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        let hand = lab.by_hand()?;
        println!("| {round} | by hand | {:.2} | {:.2} | {:.2} | | |", hand.restore, hand.replay, hand.total);
        let engine = lab.by_engine(&[])?;
        let Costs { restore, replay, total } = engine.costs()?;
        let Usage { cpu_seconds, peak_mib, .. } = engine.usage;
        println!(
            "| {round} | restore-test | {restore:.2} | {replay:.2} | {total:.2} | {cpu_seconds:.2} | {peak_mib:.1} MiB |"
        );
        hands.push(hand);
        engines.push(engine);
    }
    let engine_costs = engines.iter().map(Engine::costs).collect::<Result<Vec<Costs>>>()?;
    let both = |of: fn(&Costs) -> f64| (median(hands.iter().map(of)), median(engine_costs.iter().map(of)));
    println!("\nOn top of the work by hand (medians; the goals are {GOAL_PERCENT} % and {GOAL_MIB} MiB):\n");
    for (what, (hand, engine)) in [
        ("restore and replay", both(|costs| costs.restore + costs.replay)),
        ("with plan, stop and clean", both(|costs| costs.total)),
    ] {
        println!("- {what}: {:+.2} s, {:+.1} %", engine - hand, (engine / hand - 1.0) * 100.0);
    }
    let cpu = median(engines.iter().map(|engine| engine.usage.cpu_seconds));
    let memory = engines.iter().map(|engine| engine.usage.peak_mib).fold(0.0, f64::max);
    println!("- its own process: {cpu:.2} s of processor time, {memory:.1} MiB\n");

    let amcheck = lab.by_engine(&["--amcheck"])?;
    let reading = median(engines.iter().map(|engine| engine.phase("check")));
    println!("| check | seconds |\n|---|---|");
    println!("| pg_dump | {reading:.2} |");
    println!("| pg_amcheck, on top | {:.2} |", amcheck.phase("check") - reading);
    println!("| pg_checksums | {:.2} |", median(engines.iter().map(|engine| engine.phase("pages"))));
    Ok(())
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Seconds.
struct Costs {
    restore: f64,
    replay: f64,
    /// From the first program to the removal of the copy, without checks.
    total: f64,
}

/// A run of `restore-test`.
struct Engine {
    wall: f64,
    phases: BTreeMap<String, f64>,
    usage: Usage,
}

impl Engine {
    fn phase(&self, name: &str) -> f64 {
        self.phases.get(name).copied().unwrap_or(0.0)
    }

    fn costs(&self) -> Result<Costs> {
        if !self.phases.contains_key("restore") || !self.phases.contains_key("replay") {
            return Err(format!("phases are missing: {:?}", self.phases).into());
        }
        let checks: f64 = CHECKS.into_iter().map(|name| self.phase(name)).sum();
        Ok(Costs { restore: self.phase("restore"), replay: self.phase("replay"), total: self.wall - checks })
    }
}

/// A stanza with one backup and WAL behind it.
struct Lab {
    directory: tempfile::TempDir,
    label: String,
    /// Before the last commit.
    target: String,
}

impl Lab {
    fn new(size: u32) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("bench-restore-").tempdir()?;
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777))?;
        let mut lab = Self { directory, label: String::new(), target: String::new() };
        let path = |name: &str| lab.path(name).display().to_string();
        let conf = format!(
            "[global]\nlog-level-file=off\nlog-path={}\nlock-path={}\nspool-path={}\nrepo1-path={}\nrepo1-retention-full=9\n\
             compress-type=lz4\nprocess-max=2\nstart-fast=y\n\
             [demo]\npg1-path={}\npg1-socket-path={}\npg1-port={}\npg1-user=postgres\n",
            path("log"),
            path("lock"),
            path("spool"),
            path("repo"),
            path("data"),
            path("socket"),
            copy::PORT
        );
        fs::write(lab.conf(), conf)?;
        lab.as_postgres([
            OsStr::new("mkdir"),
            lab.path("socket").as_os_str(),
            lab.path("state").as_os_str(),
        ])?;
        let initdb = format!("{PROGRAMS}/initdb");
        lab.as_postgres([
            &*initdb,
            "--auth=trust",
            "--username=postgres",
            "--data-checksums",
            "--no-sync",
            &path("data"),
        ])?;
        let archive = format!("pgbackrest --config={} --stanza=demo archive-push %p", lab.conf().display());
        let settings = format!(
            "listen_addresses = ''\nport = {}\nunix_socket_directories = '{}'\narchive_mode = on\narchive_command = '{archive}'\n\
             fsync = off\nautovacuum = off\nmax_wal_size = 256MB\n",
            copy::PORT,
            path("socket")
        );
        fs::write(lab.path("data/postgresql.auto.conf"), settings)?;
        let server = [OsString::from(format!("{PROGRAMS}/postgres")), "-D".into(), path("data").into()];
        let log = lab.path("postgres.log");
        let server = lab.start(&server, &log)?;
        wait_for("the server", || Ok(read(&log)?.contains("ready to accept connections").then_some(())))?;
        lab.fill(size)?;
        server.stop()?;
        Ok(lab)
    }

    /// A backup in which the database has its size, and half as much afterwards.
    fn fill(&mut self, size: u32) -> Result<()> {
        let insert = |mebibytes: u32| {
            format!(
                "insert into bulk select (select string_agg(md5(random()::text || g || i), '') from generate_series(1, 30) i) \
                 from generate_series(1, {mebibytes} * 1024) g"
            )
        };
        self.pgbackrest(&["stanza-create"])?;
        self.sql("create extension amcheck")?;
        self.sql("create table bulk (filler text, id serial primary key)")?;
        self.sql(&insert(size))?;
        self.pgbackrest(&["--type=full", "backup"])?;
        let info: Value = serde_json::from_str(&self.pgbackrest(&["--output=json", "info"])?)?;
        let label = info.pointer("/0/backup/0/label").and_then(Value::as_str);
        label.ok_or("there is no backup")?.clone_into(&mut self.label);
        self.sql(&insert(size / 2))?;
        // A target is in another second than the commits around it.
        self.sql("select pg_sleep(1.1)")?;
        self.target = self.sql("set timezone = 'UTC'; select clock_timestamp()")?;
        self.sql("select pg_sleep(1.1)")?;
        self.sql("insert into bulk values ('')")?;
        let last = self.sql("select pg_walfile_name(pg_switch_wal())")?;
        wait_for("the last segment in the archive", || {
            let archived = self.sql("select coalesce(last_archived_wal, '') from pg_stat_archiver")?;
            Ok((archived >= last).then_some(()))
        })
    }

    /// The same programs, one after the other.
    fn by_hand(&self) -> Result<Costs> {
        let top = self.path("hand");
        let directories =
            ["data", "tablespaces", "spool", "lock", "log", "socket", "conf"].map(|name| top.join(name));
        let mut make = ["mkdir", "-p", "-m", "700"].map(OsString::from).to_vec();
        make.extend(directories.iter().map(OsString::from));
        let copy = CopyPaths { directory: top.display().to_string() };
        let program =
            Program { binary: "pgbackrest".into(), config: Some(self.conf()), config_include_path: None };
        let query = TestQuery {
            stanza: "demo".to_owned(),
            repo: Some(1),
            set: self.label.clone(),
            target_timeline: None,
            process_max: None,
            databases: Vec::new(),
            knows_exclusion: true,
            tells_files: false,
        };
        let began = Instant::now();
        self.as_postgres(make)?;
        let restoring = Instant::now();
        self.as_postgres(program.restore_for_test(&query, &copy))?;
        let restore = restoring.elapsed();

        let place =
            Place { data: top.join("data"), socket: top.join("socket"), configuration: top.join("conf") };
        for (path, text) in place.files() {
            fs::write(path, text)?;
        }
        let recovery = Recovery {
            restore_command: program.archive_get_for_test(&query, &copy),
            target: RecoveryTarget::Time(self.target.clone()),
            timeline: None,
            reads_ahead: true,
        };
        let server = Path::new(PROGRAMS).join("postgres");
        let replaying = Instant::now();
        let log = top.join("postgres.log");
        let server = self.start(&copy::arguments(&server, &place, &recovery, &[], &[], MAJOR), &log)?;
        wait_for("the target", || {
            let log = read(&log)?;
            let is_there = log.contains("ready to accept read-only") && log.contains("recovery has paused");
            Ok((is_there || log.contains("pausing at the end of recovery")).then_some(()))
        })?;
        let replay = replaying.elapsed();
        server.stop()?;
        fs::remove_dir_all(&top)?;
        let [restore, replay, total] = [restore, replay, began.elapsed()].map(|time| time.as_secs_f64());
        Ok(Costs { restore, replay, total })
    }

    fn by_engine(&self, more: &[&str]) -> Result<Engine> {
        let mut command = self.command(env!("CARGO_BIN_EXE_pgbackrest-keeper"));
        command
            .args(["restore-test", "--stanza=demo", "--output=json", "--space-reserve=0", "--backup=latest"])
            .arg(format!("--target={}", self.target))
            .arg(format!("--directory={}", self.path("copy").display()))
            .arg(format!("--state-directory={}", self.path("state").display()))
            .arg(format!("--pg-bin-dir={PROGRAMS}"))
            .arg(format!("--backrest.config={}", self.conf().display()))
            .args(more);
        let began = Instant::now();
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let mut usage = None;
        // The record fits into the pipe.
        let status = wait_for("the test", || {
            usage = Usage::of(child.id()).ok().or(usage.take());
            Ok(child.try_wait()?)
        })?;
        let wall = began.elapsed().as_secs_f64();
        let mut text = String::new();
        child.stdout.take().ok_or("there is no output")?.read_to_string(&mut text)?;
        if !status.success() {
            return Err(format!("restore-test: {status}\n{text}").into());
        }
        let record: Value = serde_json::from_str(&text)?;
        let phase = |run: &Value| {
            Some((run.get("phase")?.as_str()?.to_owned(), run.get("duration_seconds")?.as_f64()?))
        };
        let runs = record.get("phases").and_then(Value::as_array).ok_or("there are no phases")?;
        Ok(Engine {
            wall,
            phases: runs.iter().filter_map(phase).collect(),
            usage: usage.ok_or("the process was never seen")?,
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn conf(&self) -> PathBuf {
        self.path("pgbackrest.conf")
    }

    fn pgbackrest(&self, arguments: &[&str]) -> Result<String> {
        let config = format!("--config={}", self.conf().display());
        self.as_postgres([&["pgbackrest", "--stanza=demo", &config], arguments].concat())
    }

    fn sql(&self, statements: &str) -> Result<String> {
        let (psql, socket) = (format!("{PROGRAMS}/psql"), self.path("socket").display().to_string());
        let said = self.as_postgres([
            &*psql,
            "-XqAt",
            "-v",
            "ON_ERROR_STOP=1",
            "-U",
            "postgres",
            "-d",
            "postgres",
            "-p",
            copy::PORT,
            "-h",
            &socket,
            "-c",
            statements,
        ])?;
        Ok(said.trim().to_owned())
    }

    /// As postgres where root measures, as PostgreSQL refuses root.
    fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("setpriv");
        if nix::unistd::getuid().is_root() {
            command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]);
        }
        command.arg("--").arg(program).current_dir(self.directory.path());
        command
    }

    fn as_postgres<S: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = S>) -> Result<String> {
        let mut words = words.into_iter();
        let mut command = self.command(words.next().ok_or("no program")?);
        let output = command.args(words).stdin(Stdio::null()).output()?;
        if output.status.success() {
            return Ok(String::from_utf8(output.stdout)?);
        }
        let said = [output.stdout, output.stderr].concat();
        Err(format!("{command:?}: {}", String::from_utf8_lossy(&said)).into())
    }

    fn start(&self, words: &[OsString], log: &Path) -> Result<Server> {
        let (program, arguments) = words.split_first().ok_or("no program")?;
        let file = File::create(log)?;
        let mut command = self.command(program);
        command.args(arguments).env("LC_ALL", "C").stdin(Stdio::null());
        Ok(Server { child: command.stdout(file.try_clone()?).stderr(file).spawn()? })
    }
}

/// A PostgreSQL.
struct Server {
    child: Child,
}

impl Server {
    /// Stops it in order.
    fn stop(mut self) -> Result<()> {
        self.signal(Signal::SIGINT)?;
        let status = self.child.wait()?;
        if status.success() { Ok(()) } else { Err(format!("PostgreSQL: {status}").into()) }
    }

    fn signal(&mut self, signal: Signal) -> Result<()> {
        // Nothing else gets the signal: the process was not waited for.
        if self.child.try_wait()?.is_none() {
            kill(Pid::from_raw(i32::try_from(self.child.id())?), signal)?;
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.signal(Signal::SIGQUIT);
        let _ = self.child.wait();
    }
}

fn read(path: &Path) -> Result<String> {
    Ok(String::from_utf8_lossy(&fs::read(path)?).into_owned())
}

fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + LONGEST;
    while Instant::now() < deadline {
        if let Some(found) = ask()? {
            return Ok(found);
        }
        thread::sleep(TICK);
    }
    Err(format!("{what} took too long").into())
}
