//! Files, logs and limits that could block the exporter process: it continues, or exits and reports the reason.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};

use crate::host::fake::script;
use crate::support::http;
use crate::support::machine::{Account, program, skip};
use crate::support::process::{Running, call, command, copy_program, output, wait_for};

const PROGRAM: &str = env!("CARGO_BIN_EXE_pgbackrest-keeper");

#[test]
fn a_web_configuration_that_is_no_file_is_refused_at_start() {
    let directory = tempfile::tempdir().unwrap();
    let fifo = directory.path().join("web.yml");
    mkfifo(&fifo, Mode::S_IRWXU).unwrap();
    let referring = directory.path().join("other.yml");
    fs::write(&referring, "tls_server_config:\n  cert_file: web.yml\n  key_file: web.yml\n").unwrap();
    let cases: [(&str, &Path); 6] = [
        ("exporter", &fifo),
        ("exporter", &referring),
        ("operator", &fifo),
        ("healthcheck", &fifo),
        ("exporter", directory.path()),
        ("exporter", Path::new("/dev/zero")),
    ];
    for (command, file) in cases {
        let mut program = call(None, PROGRAM);
        program.arg(command).arg(format!("--web.config.file={}", file.display()));
        program.arg("--web.listen-address=127.0.0.1:0");
        let ended = output(&mut program);
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(1), "{command} {}: {said}", file.display());
        assert!(said.contains("it is not a regular file"), "{command} {}: {said}", file.display());
    }
}

#[test]
fn a_web_configuration_that_becomes_a_fifo_holds_nothing_up() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("web.yml");
    fs::write(&file, "http_server_config:\n  headers:\n    X-Frame-Options: deny\n").unwrap();
    let fake = script(
        directory.path(),
        "pgbackrest",
        "case \"$*\" in *version*) echo pgBackRest 2.60.0 ;; *) echo '[]' ;; esac",
    );
    let mut program = command(None, PROGRAM);
    program
        .args(["exporter", "--web.listen-address=127.0.0.1:0", "--collect.interval=1", "--log.format=logfmt"])
        .arg(format!("--web.config.file={}", file.display()))
        .arg(format!("--backrest.binary={}", fake.display()));
    let mut exporter = Running::start("keeper", program, &directory.path().join("log"), Signal::SIGTERM);
    let url = exporter.wait_in_log("the address", address);
    let metrics = || http::get(&format!("{url}/metrics"), &[]).unwrap().text().to_owned();
    wait_for("a collection", || (value(&metrics(), RUNS)? > 0.0).then_some(()));
    fs::remove_file(&file).unwrap();
    mkfifo(&file, Mode::S_IRWXU).unwrap();
    exporter.signal_group(Signal::SIGHUP);
    wait_for("the refusal", || (value(&metrics(), RELOADED)? == 0.0).then_some(()));
    let (runs, threads) = (value(&metrics(), RUNS).unwrap(), value(&metrics(), THREADS).unwrap());
    let mut reloads = 0;
    wait_for("more collections", || {
        exporter.signal_group(Signal::SIGHUP);
        reloads += 1;
        (reloads > 20 && value(&metrics(), RUNS)? > runs + 2.0).then_some(())
    });
    let threads_now = value(&metrics(), THREADS).unwrap();
    // Some more than before may read documents at this moment, but not one for each reload.
    assert!(threads_now < threads + 10.0, "{threads} threads, then {threads_now}");
    assert_eq!(http::get(&format!("{url}/metrics"), &[]).unwrap().header("x-frame-options"), "deny");
    exporter.signal_group(Signal::SIGTERM);
    assert_eq!(exporter.wait().code(), Some(0), "{}", exporter.log());
}

const RUNS: &str = "pgbackrest_collector_runs_total{collector=\"info\"}";
const RELOADED: &str = "pgbackrest_exporter_config_reload_success";
const THREADS: &str = "process_threads";
const DROPPED: &str = "pgbackrest_exporter_log_lines_dropped_total";

fn value(metrics: &str, series: &str) -> Option<f64> {
    metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

fn address(log: &str) -> Option<String> {
    let (_, rest) = log.split_once(" address=127.0.0.1:")?;
    let port = rest.split(|letter: char| !letter.is_ascii_digit()).next()?;
    Some(format!("http://127.0.0.1:{port}"))
}

fn reload(url: &str) -> String {
    let mut connection = TcpStream::connect(url.trim_start_matches("http://")).unwrap();
    connection.write_all(b"POST /-/reload HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    answer
}

/// A process whose standard error is a pipe that this test holds.
struct Piped(Child);

impl Drop for Piped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_log_that_nobody_reads_stops_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let fake = script(
        directory.path(),
        "pgbackrest",
        "case \"$*\" in *version*) echo pgBackRest 2.60.0 ;; *) echo '[]' ;; esac",
    );
    let file = directory.path().join("web.yml");
    fs::write(&file, "").unwrap();
    let mut program = command(None, PROGRAM);
    program
        .args([
            "exporter",
            "--web.listen-address=127.0.0.1:0",
            "--web.enable-lifecycle",
            "--collect.interval=1",
        ])
        .args(["--log.format=logfmt"])
        .arg(format!("--web.config.file={}", file.display()))
        .arg(format!("--backrest.binary={}", fake.display()));
    let mut exporter = Piped(program.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
    let mut log = BufReader::new(exporter.0.stderr.take().unwrap());
    let url = loop {
        let mut line = String::new();
        assert_ne!(log.read_line(&mut line).unwrap(), 0, "it ended");
        if let Some(url) = address(&line) {
            break url;
        }
    };
    // From here on nothing is read, and the pipe stays open.
    let metrics = || http::get(&format!("{url}/metrics"), &[]).unwrap().text().to_owned();
    // Each logs a line.
    while value(&metrics(), DROPPED).unwrap() == 0.0 {
        for _ in 0..100 {
            assert!(reload(&url).starts_with("HTTP/1.1 200 "));
        }
    }
    let runs = value(&metrics(), RUNS).unwrap();
    wait_for("more collections", || (value(&metrics(), RUNS)? > runs + 1.0).then_some(()));
    kill(Pid::from_raw(exporter.0.id().cast_signed()), Signal::SIGTERM).unwrap();
    assert_eq!(exporter.0.wait().unwrap().code(), Some(0));
    drop(log);
}

#[test]
fn a_last_line_that_nobody_reads_is_not_waited_for() {
    let (reader, writer) = std::io::pipe().unwrap();
    // Full, so that nothing more can be written.
    fill(&writer);
    let mut program = command(None, PROGRAM);
    program.args(["exporter", "--web.config.file=/nonexistent"]).stdin(Stdio::null()).stderr(writer);
    let mut exporter = Piped(program.spawn().unwrap());
    assert_eq!(exporter.0.wait().unwrap().code(), Some(1));
    drop(reader);
}

/// Writes into the pipe until it takes no more.
fn fill(pipe: &std::io::PipeWriter) {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    fcntl(pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    while nix::unistd::write(pipe, &[b'.'; 4096]).is_ok() {}
    while nix::unistd::write(pipe, b".").is_ok() {}
    fcntl(pipe, FcntlArg::F_SETFL(OFlag::empty())).unwrap();
}

#[test]
fn a_limit_of_processes_that_is_too_low_is_the_reason_for_the_end() {
    let (account, prlimit) = match (Account::find(), program("prlimit")) {
        (Ok(account), Ok(prlimit)) => (account, prlimit),
        (Err(missing), _) | (_, Err(missing)) => {
            return skip("a_limit_of_processes_that_is_too_low_is_the_reason_for_the_end", &missing);
        }
    };
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let copy = directory.path().join("pgbackrest-keeper");
    copy_program(PROGRAM.as_ref(), &copy);
    let mut program = call(account.as_ref(), prlimit);
    program.arg("--nproc=1").arg(copy).args(["exporter", "--web.listen-address=127.0.0.1:0"]);
    let ended = output(&mut program);
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{said}");
    // The first thread is one of jemalloc, which says so itself.
    assert!(
        said.contains("raise the limit of processes") || said.contains("thread creation failed"),
        "{said}"
    );
}
