//! A running exporter into which faults are injected one after the other. After each, it must be as it was before.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use chrono::Utc;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use parking_lot::Mutex;
use serde_json::Value;
use tempfile::TempDir;

use super::{MEMORY_LIMIT, Row};
use crate::host::fake::{numbers_in, script};
use crate::support::exposition::{Sample, Samples};
use crate::support::http;
use crate::support::process::{Running, children, command, is_alive, wait_telling};

const FIXTURE: &str = "fixtures/info/2.60.0/one_repo_full_diff_incr.json";
/// Longer only where something hangs.
const PATIENCE: Duration = Duration::from_mins(2);
/// Threads that read files and parse documents come and go.
const MORE_THREADS: usize = 12;
/// Connections that are kept, and what a call opens.
const MORE_FILES: usize = 16;
/// Exporters that share the rows of a group.
const EXPORTERS: usize = 4;

/// What must be told of a call of pgBackRest.
pub(crate) enum Told {
    /// It failed for this reason, and what was known stays.
    Failure(&'static str),
    /// What is always told.
    Usual,
    /// That it failed, or not. What was known stays.
    Known,
    /// The web configuration is refused, and the one before it stays in effect.
    Refused,
    /// This holds of the metrics.
    That(fn(&Samples)),
}

/// Injects a fault into what the exporter calls or reads; afterwards all files are as they were.
pub(crate) struct Injection(pub(crate) fn(&Exporter), pub(crate) Told);

/// The real program, with a `pgbackrest` that does what files say.
pub(crate) struct Exporter {
    process: Running,
    id: u32,
    pub(crate) address: SocketAddr,
    pub(crate) directory: TempDir,
    /// Files that a fault holds open until it is taken back.
    held: Mutex<Vec<File>>,
    document: Value,
    usual: Option<Usual>,
}

/// How it is without a fault.
struct Usual {
    facts: Vec<Sample>,
    threads: usize,
    files: usize,
}

impl Exporter {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_in(&[], arguments)
    }

    /// The same in what these arguments start.
    pub(crate) fn start_in(container: &[&str], arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let document = document();
        write_all(directory.path(), &document);
        script(directory.path(), "daemon", "echo $$ >\"$1\"\nexec sleep 600");
        let line = [container, &[env!("CARGO_BIN_EXE_pgbackrest-keeper")]].concat();
        let mut command = command(None, line[0]);
        command
            .args(&line[1..])
            .args([
                "exporter",
                "--web.listen-address=127.0.0.1:0",
                "--log.format=json",
                "--web.enable-lifecycle",
            ])
            .args(["--collect.interval=1h", "--collector.wal=false"])
            .arg(format!("--backrest.binary={}", directory.path().join("pgbackrest").display()))
            .arg(format!("--backrest.config={}", directory.path().join("pgbackrest.conf").display()))
            .args(
                arguments.iter().map(|argument| argument.replace("DIR", directory.path().to_str().unwrap())),
            );
        let mut process = Running::start("exporter", command, &directory.path().join("log"), Signal::SIGTERM);
        let address = process.wait_in_log("the exporter's address", |log| {
            let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            lines.find_map(|line| line.get("address")?.as_str()?.parse().ok())
        });
        let id = match container {
            [] => process.id(),
            _ => children(process.id())[0].cast_unsigned(),
        };
        Self { process, id, address, directory, held: Mutex::default(), document, usual: None }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Replaces a file as a whole.
    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        write(self.directory.path(), name, text.as_ref());
    }

    /// The shell does this when it is asked for `info`.
    pub(crate) fn info(&self, shell: &str) {
        self.write("info", shell);
    }

    /// What `info` prints.
    pub(crate) fn print(&self, document: impl AsRef<[u8]>) {
        self.write("document", document);
    }

    /// What `info` prints, changed.
    pub(crate) fn print_changed(&self, change: impl FnOnce(&mut Value)) {
        let mut document = self.document.clone();
        change(&mut document);
        self.print(document.to_string());
    }

    /// What `info` usually prints.
    pub(crate) fn usual_document(&self) -> Vec<u8> {
        self.document.to_string().into_bytes()
    }

    /// Keeps a file open until the fault is taken back.
    pub(crate) fn keep_open(&self, file: File) {
        self.held.lock().push(file);
    }

    /// Its calls are not in its group before they have begun.
    pub(crate) fn reload(&self) {
        kill(Pid::from_raw(self.id.cast_signed()), Signal::SIGHUP).unwrap();
    }

    pub(crate) fn log(&self) -> String {
        self.process.log()
    }

    pub(crate) fn get(&self, path: &str) -> http::Response {
        http::get(&format!("http://{}{path}", self.address), &[]).unwrap()
    }

    pub(crate) fn samples(&self) -> Samples {
        Samples::parse(self.get("/metrics").text())
    }

    /// Lets it collect until there is what is looked for.
    pub(crate) fn until<T>(&self, what: &str, mut find: impl FnMut(&Samples) -> Option<T>) -> T {
        let ask = || {
            self.reload();
            find(&self.samples())
        };
        wait_telling(PATIENCE, Duration::from_millis(50), what, ask, || self.log())
    }

    /// Lets it collect until a run has begun and ended, and gives what it tells then.
    pub(crate) fn collected(&self) -> Samples {
        let mut ends = BTreeSet::new();
        self.until("two more collections", |samples| {
            let end = samples.find("pgbackrest_collector_last_run_timestamp_seconds", &ALL)?;
            ends.insert(end.to_bits());
            // The first that is seen may have ended before, and the second may have begun before.
            (ends.len() > 2).then_some(())
        });
        self.samples()
    }

    /// Injects a fault, checks what is told of it, takes it back, and checks that all is as before.
    fn hold(&mut self, row: &Row<Injection>) {
        let _context = Context(row.fault);
        let Injection(inject, told) = &row.inject;
        let before = self.samples();
        let of = |samples: &Samples, reason| {
            samples.find(FAILURES, &[("collector", "info"), ("reason", reason)]).unwrap_or_default()
        };
        inject(self);
        match told {
            Told::Failure(reason) => {
                self.until(&format!("a failure: {reason}"), |samples| {
                    self.knows_the_usual(samples);
                    let is_told = samples.find("pgbackrest_collector_up", &ALL)? == 0.0;
                    (is_told && of(samples, reason) > of(&before, reason)).then_some(())
                });
            }
            Told::Usual => {
                self.collected();
                self.until("the usual", |samples| {
                    self.knows_the_usual(samples);
                    (samples.find("pgbackrest_collector_up", &ALL) == Some(1.0)).then_some(())
                });
            }
            Told::Refused => {
                self.until("a refusal", |samples| (samples.find(RELOADED, &[])? == 0.0).then_some(()));
                assert_eq!(self.get("/").header("x-frame-options"), "deny");
                assert_eq!(self.get("/metrics").status.as_u16(), 200);
            }
            Told::Known => self.knows_the_usual(&self.collected()),
            Told::That(holds) => holds(&self.collected()),
        }
        self.heal();
    }

    fn knows_the_usual(&self, samples: &Samples) {
        let (now, usual) = (facts(samples), &self.usual.as_ref().expect("a first collection").facts);
        let new: Vec<_> = now.iter().filter(|fact| !usual.contains(fact)).collect();
        let lost: Vec<_> = usual.iter().filter(|fact| !now.contains(fact)).collect();
        assert!(
            new.is_empty() && lost.is_empty(),
            "new facts: {new:?}\nlost facts: {lost:?}\n{}",
            self.log()
        );
    }

    /// Takes all faults back, and checks that nothing is left of them.
    pub(crate) fn heal(&mut self) {
        self.held.lock().clear();
        write_all(self.directory.path(), &self.document);
        let now = self.until("a good collection", |samples| {
            if samples.find(RELOADED, &[]) != Some(1.0) {
                return None;
            }
            let is_up =
                |labels: &[(&str, &str)]| samples.find("pgbackrest_collector_up", labels) == Some(1.0);
            let is_up = is_up(&ALL) && is_up(&[("collector", "info"), ("stanza", "demo")]);
            let now = facts(samples);
            (is_up && self.usual.as_ref().is_none_or(|usual| usual.facts == now)).then_some(now)
        });
        for path in ["/healthz", "/readyz", "/"] {
            assert_eq!(self.get(path).status.as_u16(), 200, "{path}");
        }
        if self.usual.is_none() {
            assert!(now.len() > 10, "{now:?}");
            let (threads, files) = self.resources().expect("it runs");
            self.usual = Some(Usual { facts: now, threads, files });
        }
        self.has_left_nothing();
        for file in self.daemon_files("") {
            remove(&file);
        }
    }

    /// Daemons that have started. A fake writes the number of each into a file, whose name begins with `of`.
    pub(crate) fn daemons(&self, of: &str) -> Vec<i32> {
        self.daemon_files(of).iter().flat_map(|file| numbers_in(file)).collect()
    }

    fn daemon_files(&self, of: &str) -> Vec<PathBuf> {
        let names = fs::read_dir(self.directory.path()).unwrap().map(|file| file.unwrap().file_name());
        let names = names.filter_map(|name| name.into_string().ok());
        let names = names.filter(|name| name.starts_with(of) && name.ends_with(".daemon"));
        names.map(|name| self.path(&name)).collect()
    }

    /// Waits until the program has no more threads, files and child processes than at first.
    pub(crate) fn has_left_nothing(&self) {
        let Some(usual) = &self.usual else { return };
        let is_left = || {
            let (threads, files) = self.resources()?;
            let fits = threads <= usual.threads + MORE_THREADS && files <= usual.files + MORE_FILES;
            let are_gone = !self.daemons("").into_iter().any(is_alive);
            (fits && are_gone && self.children().is_empty()).then_some(())
        };
        let state = || format!("{:?}, {:?}\n{}", self.resources(), self.children(), self.log());
        wait_telling(PATIENCE, Duration::from_millis(20), "nothing to be left", is_left, state);
    }

    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// Including zombies.
    pub(crate) fn children(&self) -> Vec<i32> {
        children(self.id)
    }

    fn resources(&self) -> Option<(usize, usize)> {
        let process = procfs::process::Process::new(self.id.cast_signed()).ok()?;
        Some((usize::try_from(process.stat().ok()?.num_threads).ok()?, process.fd_count().ok()?))
    }

    /// Ends it, and checks that it never took too much memory and never panicked.
    pub(crate) fn stop(mut self) {
        let process = procfs::process::Process::new(self.id.cast_signed()).unwrap();
        let peak = process.status().unwrap().vmhwm.unwrap() << 10;
        assert!(peak < MEMORY_LIMIT, "{peak} bytes of memory");
        self.process.signal_group(Signal::SIGTERM);
        assert_eq!(self.process.wait().code(), Some(0), "{}", self.log());
        assert!(!self.log().contains("panicked"), "{}", self.log());
    }
}

const ALL: [(&str, &str); 2] = [("collector", "info"), ("stanza", "all-stanzas")];
const RELOADED: &str = "pgbackrest_exporter_config_reload_success";
const FAILURES: &str = "pgbackrest_collector_failures_total";

/// Injects each fault into one of some exporters, which take turns.
pub(crate) fn hold(rows: &[Row<Injection>], arguments: &[&str]) {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..EXPORTERS.min(rows.len()) {
            scope.spawn(|| {
                let mut exporter = Exporter::start(arguments);
                exporter.heal();
                while let Some(row) = rows.get(next.fetch_add(1, Ordering::Relaxed)) {
                    exporter.hold(row);
                }
                exporter.stop();
            });
        }
    });
}

/// Says which fault it was, if a check fails.
pub(crate) struct Context(pub(crate) &'static str);

impl Drop for Context {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("the fault is: {}", self.0);
        }
    }
}

/// What is known of backups, and does not depend on the time.
fn facts(samples: &Samples) -> Vec<Sample> {
    let names = samples.names();
    let is_fact = |name: &&str| {
        let of_backups =
            name.starts_with("pgbackrest_backup_") || name.starts_with("pgbackrest_repo_backup_last_");
        of_backups && !["since", "age", "in_progress"].iter().any(|word| name.contains(word))
    };
    names.into_iter().filter(is_fact).flat_map(|name| samples.all(name, &[]).into_iter().cloned()).collect()
}

/// What pgBackRest has printed of a stanza with three backups, the last of which has just ended.
fn document() -> Value {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(FIXTURE);
    let mut document: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    let backups = document[0]["backup"].as_array_mut().unwrap();
    let last = backups.last().unwrap()["timestamp"]["stop"].as_i64().unwrap();
    let later = Utc::now().timestamp() - 60 - last;
    for backup in backups {
        for end in ["start", "stop"] {
            let time = backup["timestamp"][end].as_i64().unwrap();
            backup["timestamp"][end] = (time + later).into();
        }
    }
    document
}

/// Every file as it is without a fault.
fn write_all(directory: &Path, document: &Value) {
    write(directory, "document", document.to_string().as_bytes());
    write(directory, "info", b"exec cat \"${0%/*}/document\"\n");
    write(directory, "version", b"echo 'pgBackRest 2.60.0'\n");
    write(directory, "pgbackrest.conf", b"[global]\nrepo1-retention-full=2\n\n[demo]\npg1-path=/nowhere\n");
    write(directory, "web.yml", b"http_server_config:\n  headers:\n    X-Frame-Options: deny\n");
    let program = directory.join("pgbackrest");
    let is_well = fs::symlink_metadata(&program).is_ok_and(|it| {
        it.is_file() && it.permissions().mode() & 0o777 == 0o755 && it.len() == PROGRAM.len() as u64 + 11
    });
    if !is_well {
        remove(&program);
        script(directory, "pgbackrest", PROGRAM);
    }
}

/// With the first line and the last line break, eleven bytes more.
const PROGRAM: &str = "case \"$*\" in\n*version*) . \"${0%/*}/version\" ;;\n*) . \"${0%/*}/info\" ;;\nesac";

fn write(directory: &Path, name: &str, bytes: &[u8]) {
    let (path, draft) = (directory.join(name), directory.join(format!("{name}.new")));
    fs::write(&draft, bytes).unwrap();
    if path.symlink_metadata().is_ok_and(|it| it.is_dir()) {
        remove(&path);
    }
    fs::rename(draft, path).unwrap();
}

/// Whatever it is.
pub(crate) fn remove(path: &Path) {
    match path.symlink_metadata() {
        Ok(it) if it.is_dir() => fs::remove_dir_all(path).unwrap(),
        Ok(_) => fs::remove_file(path).unwrap(),
        Err(_) => {}
    }
}
