//! A backup job with this host as its pod, and failures there.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pgbackrest_keeper::job::limits::JobLimits;
use pgbackrest_keeper::job::outcome::JobOutcome;
use pgbackrest_keeper::job::run;
use pgbackrest_keeper::job::task::{Patience, Task};
use pgbackrest_keeper::pgbackrest::backup_options::BackupOptions;
use pgbackrest_keeper::pgbackrest::label::BackupType;
use procfs::process::all_processes;
use tokio::task::block_in_place;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::support::backup_jobs::COPYING;
use crate::support::fake_pods::{Asked, FakePods, pod};
use crate::support::lab::{STANZA, Site};

const BACKUP: &str = ": pgbackrest backup";

/// What goes wrong with a backup as soon as it copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The connection is lost, and the command goes on.
    Cut,
    /// The connection is lost, and the command is killed.
    CutAndKilled,
    /// The command is killed.
    Killed,
    /// The command is not run at all, and is said to have ended well.
    Pretended,
}

/// A job in front of one pod.
pub(super) struct Here<'a> {
    pods: FakePods<'a>,
    terminated: CancellationToken,
    options: BackupOptions,
}

impl<'a> Here<'a> {
    pub(super) fn new(site: &'a Site, configuration: &'a Path) -> Self {
        let pods = site.as_pods(&[pod("ledger-0", &["postgres"])], configuration);
        Self { pods, terminated: CancellationToken::new(), options: BackupOptions::default() }
    }

    /// With options for each backup.
    pub(super) fn with_options(self, options: &BackupOptions) -> Self {
        Self { options: options.clone(), ..self }
    }

    /// Once.
    pub(super) fn with(self, fault: Fault) -> Self {
        if fault == Fault::Pretended {
            return Self { pods: self.pods.when(BACKUP, [Ok(0)]), ..self };
        }
        self.when_it_copies(move |asked| {
            if matches!(fault, Fault::Killed | Fault::CutAndKilled) {
                end(asked.command.last().unwrap());
            }
            matches!(fault, Fault::Cut | Fault::CutAndKilled)
        })
    }

    /// The pod is told to end, after `hold` has made sure that the backup does not end before.
    pub(super) fn terminated(self, hold: impl Fn() + Send + Sync + 'a) -> Self {
        let terminated = self.terminated.clone();
        self.when_it_copies(move |_| {
            block_in_place(&hold);
            terminated.cancel();
            false
        })
    }

    /// The first time only. The connection is lost if `loses` says so.
    fn when_it_copies(self, loses: impl Fn(&Asked) -> bool + Send + Sync + 'a) -> Self {
        let is_over = AtomicBool::new(false);
        let pods = self.pods.loses_at(move |asked, line| {
            line.contains(COPYING) && !is_over.swap(true, Ordering::Relaxed) && loses(asked)
        });
        Self { pods, ..self }
    }

    /// Backups that were begun.
    pub(super) fn begun(&self) -> usize {
        self.pods.count(BACKUP)
    }

    pub(super) async fn back_up(&self, backup_type: BackupType, repo: u32) -> JobOutcome {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let task = Task {
            namespace: "shop".to_owned(),
            cluster: "ledger".to_owned(),
            stanza: STANZA.to_owned(),
            repo,
            backup_type,
            options: self.options.clone(),
            container: "postgres".to_owned(),
            selector: "role=master".to_owned(),
            is_primary: true,
            // Processes of other tests that run now must not be taken for ours.
            mark: format!("job-{}/pod-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed)),
        };
        let until = Instant::now() + Duration::from_mins(2);
        let limits = JobLimits { terminated: self.terminated.clone(), until };
        let verdict = run::run(&self.pods, &task, &patience(), &limits).await;
        self.pods.outlast().await;
        verdict
    }
}

/// Kills the command with this mark and its processes, faster than a shell could, as the backup goes on meanwhile.
fn end(mark: &str) {
    for process in all_processes().unwrap().flatten() {
        let Ok(arguments) = process.cmdline() else { continue };
        let program = arguments.first().map_or("", |program| program.rsplit('/').next().unwrap_or_default());
        let starts_others = ["sh", "timeout", "setpriv"].contains(&program);
        if !starts_others && arguments.iter().any(|argument| argument.ends_with(mark)) {
            // It may have ended by itself.
            let _ = kill(Pid::from_raw(process.pid()), Signal::SIGKILL);
        }
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
