//! A backup job with this host as its pod, and failures there.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use pgbackrest_keeper::job::limits::JobLimits;
use pgbackrest_keeper::job::outcome::JobOutcome;
use pgbackrest_keeper::job::run;
use pgbackrest_keeper::job::task::{Patience, Task};
use pgbackrest_keeper::pgbackrest::label::BackupType;
use tokio::task::block_in_place;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::support::backup_jobs::COPYING;
use crate::support::fake_pods::{FakePods, pod};
use crate::support::lab::{STANZA, Site};
use crate::support::process::{call, output};

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
    /// The pod is told to end.
    Terminated,
    /// The command is not run at all, and is said to have ended well.
    Pretended,
}

/// A job in front of one pod.
pub(super) struct Here<'a> {
    site: &'a Site,
    pods: FakePods<'a>,
    terminated: CancellationToken,
}

impl<'a> Here<'a> {
    pub(super) fn new(site: &'a Site, configuration: &'a Path) -> Self {
        let pods = site.as_pods(&[pod("ledger-0", &["postgres"])], configuration);
        Self { site, pods, terminated: CancellationToken::new() }
    }

    /// Once.
    pub(super) fn with(self, fault: Fault) -> Self {
        if fault == Fault::Pretended {
            return Self { pods: self.pods.when(BACKUP, [Ok(0)]), ..self };
        }
        let (site, terminated, is_over) = (self.site, self.terminated.clone(), AtomicBool::new(false));
        let pods = self.pods.loses_at(move |asked, line| {
            if !line.contains(COPYING) || is_over.swap(true, Ordering::Relaxed) {
                return false;
            }
            if matches!(fault, Fault::Killed | Fault::CutAndKilled) {
                kill(site, asked.command.last().unwrap());
            }
            if fault == Fault::Terminated {
                terminated.cancel();
            }
            matches!(fault, Fault::Cut | Fault::CutAndKilled)
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

fn kill(site: &Site, mark: &str) {
    let script = "for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline | grep -q -e \"$1 \" || continue; \
                  tr '\\0' ' ' <$p/cmdline | grep -qE '^([^ ]*/)?(sh|timeout|setpriv) ' || kill -9 ${p#/proc/}; done";
    block_in_place(|| output(call(site.account.as_ref(), "sh").args(["-c", script, "sh", mark])));
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
