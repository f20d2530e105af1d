//! Follows a backup whose connection was lost until its result is known. It is never simply repeated.

use tokio::time::{Instant, sleep};

use crate::pgbackrest::label::BackupType;
use crate::source::pod::Place;

use crate::job::access::Access;
use crate::job::info_view::{Claim, InfoView};
use crate::job::outcome::{ExitReason, JobOutcome};
use crate::job::process::{self, Found, Signal};
use crate::job::task::longer;
use crate::job::{ask, progress};

use super::Job;

/// The state of the backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum BackupState {
    /// It succeeded.
    Made(String, BackupType),
    /// It is still running.
    Running,
    /// It ended without a backup. If that is not certain, it must be seen twice, because lock and list are not read
    /// at the same moment.
    Gone { is_sure: bool },
    /// It cannot be determined now.
    Unknown(String),
}

/// Evaluates one check. The process was looked up before `info` was asked.
fn judge(view: &InfoView, claim: &Claim, process: &Found, is_same_pod: bool) -> BackupState {
    if let Some((label, backup_type)) = view.proof(claim) {
        return BackupState::Made(label, backup_type);
    }
    match process {
        Found::Yes => BackupState::Running,
        Found::No => BackupState::Gone { is_sure: true },
        // The lock of another pod is not visible.
        Found::Unknown(_) if !is_same_pod => BackupState::Gone { is_sure: false },
        Found::Unknown(said) => match view.held {
            Some(true) => BackupState::Running,
            Some(false) => BackupState::Gone { is_sure: false },
            None => BackupState::Unknown(said.clone()),
        },
    }
}

/// Checks repeatedly. `None`: the backup was not made, and is not running any more.
pub(super) async fn follow(
    job: &Job<'_, impl Access>,
    place: Place<'_>,
    claim: &Claim,
) -> Result<Option<(String, BackupType)>, JobOutcome> {
    let (mut pause, longest) = job.patience.lost;
    let mut known_at = Instant::now();
    let mut seen_gone = false;
    loop {
        match check(job, place, claim).await? {
            BackupState::Made(label, backup_type) => return Ok(Some((label, backup_type))),
            BackupState::Running => (known_at, seen_gone) = (Instant::now(), false),
            BackupState::Gone { is_sure } if is_sure || seen_gone => return Ok(None),
            BackupState::Gone { .. } => (known_at, seen_gone) = (Instant::now(), true),
            BackupState::Unknown(said) => {
                tracing::warn!(reason = said, "Failed to determine the state of the backup");
                if known_at.elapsed() >= job.patience.unknown {
                    let message = format!(
                        "the connection was lost, and the result of the backup cannot be determined: {said}"
                    );
                    return Err(JobOutcome::failed(ExitReason::Lost, &message));
                }
            }
        }
        sleep(pause).await;
        pause = longer(pause, longest);
    }
}

async fn check(
    job: &Job<'_, impl Access>,
    place: Place<'_>,
    claim: &Claim,
) -> Result<BackupState, JobOutcome> {
    let process = if claim.annotates {
        process::signal(job.access, job.task, place, Signal::Nothing).await
    } else {
        Found::Unknown("pgBackRest is too old to mark its backups".to_owned())
    };
    let pod = job.target().await?;
    Ok(match ask::info(job.access, job.task, job.task.place(&pod)).await {
        Ok(view) => {
            let known = judge(&view, claim, &process, pod == place.pod);
            if known == BackupState::Running {
                tracing::info!("Backup continues without a connection");
                progress::report(&view);
            }
            known
        }
        // Without the list of backups, a process that has ended may have made one.
        Err(silence) => BackupState::Unknown(silence.said),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_taken_for_known_that_is_not() {
        let unknown = || Found::Unknown("no sh".to_owned());
        let (sure, unsure) = (BackupState::Gone { is_sure: true }, BackupState::Gone { is_sure: false });
        let table = [
            (Found::Yes, Some(false), true, BackupState::Running),
            (Found::Yes, None, false, BackupState::Running),
            (Found::No, Some(true), true, sure.clone()),
            (Found::No, None, false, sure),
            (unknown(), Some(true), true, BackupState::Running),
            (unknown(), Some(false), true, unsure.clone()),
            (unknown(), Some(true), false, unsure),
            (unknown(), None, true, BackupState::Unknown("no sh".to_owned())),
        ];
        let claim = Claim { before: None, annotates: true, backup_type: BackupType::Full };
        for (process, held, is_same_pod, known) in table {
            let view = InfoView { held, ..InfoView::default() };
            assert_eq!(
                judge(&view, &claim, &process, is_same_pod),
                known,
                "{process:?} {held:?} {is_same_pod}"
            );
        }
    }
}
