//! A pod that is this host: what is meant for it runs here, with the lab's configuration.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pgbackrest_keeper::cluster::target;
use pgbackrest_keeper::job::access::Access;
use pgbackrest_keeper::job::limits::Limits;
use pgbackrest_keeper::job::outcome::Verdict;
use pgbackrest_keeper::job::run;
use pgbackrest_keeper::job::task::{Patience, Task};
use pgbackrest_keeper::kubernetes::client::CallError;
use pgbackrest_keeper::kubernetes::exec::Heard;
use pgbackrest_keeper::pgbackrest::label::BackupType;
use pgbackrest_keeper::source::pod::{NoEnd, Place, Ran, RunInPod};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::support::backup_jobs::COPYING;
use crate::support::lab::{STANZA, Site};
use crate::support::process::call;

/// What goes wrong with a backup as soon as it copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    /// The connection is lost, and the command goes on.
    Cut,
    /// The connection is lost, and the command is killed.
    CutAndKilled,
    /// The command is killed.
    Killed,
    /// The pod is told to end.
    Terminated,
    /// The command is not run at all, and is said to have ended well.
    Pretended,
}

pub(super) struct Here<'a> {
    site: &'a Site,
    configuration: PathBuf,
    fault: Mutex<Fault>,
    /// Backups that were begun.
    pub(super) begun: AtomicUsize,
    pub(super) terminated: CancellationToken,
    /// Commands that go on without a connection.
    left: Mutex<Vec<Child>>,
}

impl<'a> Here<'a> {
    pub(super) fn new(site: &'a Site, configuration: &Path) -> Self {
        Self {
            site,
            configuration: configuration.to_owned(),
            fault: Mutex::new(Fault::None),
            begun: AtomicUsize::new(0),
            terminated: CancellationToken::new(),
            left: Mutex::default(),
        }
    }

    /// Once.
    pub(super) fn with(self, fault: Fault) -> Self {
        *self.fault.lock().unwrap() = fault;
        self
    }

    pub(super) async fn back_up(&self, backup_type: BackupType, repo: u32) -> Verdict {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let task = Task {
            namespace: "shop".to_owned(),
            cluster: "ledger".to_owned(),
            stanza: STANZA.to_owned(),
            repo,
            backup_type,
            container: "postgres".to_owned(),
            selector: "role=master".to_owned(),
            // Processes of other tests that run now must not be taken for ours.
            mark: format!("job-{}/pod-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed)),
        };
        let until = Instant::now() + Duration::from_mins(2);
        let limits = Limits { terminated: self.terminated.clone(), until };
        let verdict = run::run(self, &task, &patience(), &limits).await;
        let left = std::mem::take(&mut *self.left.lock().unwrap());
        for mut child in left {
            child.wait().await.unwrap();
        }
        verdict
    }

    fn command(&self, command: &[&str]) -> Command {
        let [program, arguments @ ..] = command else { panic!("no command") };
        let mut running = match *program {
            "pgbackrest" => {
                let mut running = call(self.site.account.as_ref(), &self.site.pgbackrest.program);
                running.env_clear();
                // Later versions take no options with this.
                if arguments != ["version"] {
                    running.arg(format!("--config={}", self.configuration.display()));
                }
                running
            }
            other => call(self.site.account.as_ref(), other),
        };
        running.args(arguments).stdin(Stdio::null());
        let mut running = Command::from(running);
        running.stdout(Stdio::piped()).stderr(Stdio::piped());
        running
    }

    async fn kill(&self, mark: &str) {
        let script = "for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline | grep -q -e \"$1 \" || continue; \
                      tr '\\0' ' ' <$p/cmdline | grep -qE '^([^ ]*/)?(sh|timeout|setpriv) ' || kill -9 ${p#/proc/}; done";
        self.command(&["sh", "-c", script, "sh", mark]).output().await.unwrap();
    }
}

fn patience() -> Patience {
    let milliseconds = Duration::from_millis;
    Patience {
        target: milliseconds(300),
        pause: milliseconds(100),
        lock: (milliseconds(100), milliseconds(500)),
        progress: (milliseconds(200), milliseconds(500)),
        lost: (milliseconds(200), milliseconds(500)),
        asks: 2,
        ..Patience::default()
    }
}

/// As a container runtime tells it.
fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap())
}

impl RunInPod for Here<'_> {
    async fn run(&self, _place: Place<'_>, command: &[&str], _timeout: Duration) -> Result<Ran, NoEnd> {
        let output = self.command(command).output().await.unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        Ok(Ran { code: code(output.status), stdout: output.stdout, stderr })
    }
}

impl Access for Here<'_> {
    async fn pods(&self) -> Result<Vec<target::Pod>, CallError> {
        Ok(vec![target::Pod {
            name: "ledger-0".to_owned(),
            running: true,
            ready: true,
            containers: vec!["postgres".to_owned()],
            ..target::Pod::default()
        }])
    }

    async fn follow(
        &self,
        _place: Place<'_>,
        command: &[&str],
        _timeout: Duration,
        heard: &mpsc::Sender<Heard>,
    ) -> Result<i32, NoEnd> {
        self.begun.fetch_add(1, Ordering::Relaxed);
        if *self.fault.lock().unwrap() == Fault::Pretended {
            return Ok(0);
        }
        let mut child = self.command(command).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        while let Some(line) = lines.next_line().await.unwrap() {
            let is_copying = line.contains(COPYING);
            heard.send(Heard::Line(line)).await.unwrap();
            if !is_copying {
                continue;
            }
            let fault = std::mem::replace(&mut *self.fault.lock().unwrap(), Fault::None);
            if matches!(fault, Fault::Killed | Fault::CutAndKilled) {
                self.kill(command.last().unwrap()).await;
            }
            if fault == Fault::Terminated {
                self.terminated.cancel();
            }
            if matches!(fault, Fault::Cut | Fault::CutAndKilled) {
                // Somebody must read on, as the runtime does.
                tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
                self.left.lock().unwrap().push(child);
                return Err(NoEnd::Lost("the connection was closed".to_owned()));
            }
        }
        let mut errors = BufReader::new(child.stderr.take().unwrap()).lines();
        while let Some(line) = errors.next_line().await.unwrap() {
            heard.send(Heard::Line(line)).await.unwrap();
        }
        Ok(code(child.wait().await.unwrap()))
    }
}
