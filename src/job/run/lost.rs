//! Follows a backup whose connection was lost, until it is known what became of it. It is never just repeated.

use tokio::time::{Instant, sleep};

use crate::pgbackrest::label::BackupType;
use crate::source::pod::Place;

use crate::job::access::Access;
use crate::job::look::{Claim, Look};
use crate::job::outcome::{Own, Verdict};
use crate::job::process::{self, Found, Signal};
use crate::job::task::longer;
use crate::job::{ask, progress};

use super::Job;

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Known {
    /// It was made.
    Made(String, BackupType),
    /// It still runs.
    Running,
    /// It has ended without a backup. Where that is not sure, it must be seen twice: a lock is free and a backup is
    /// listed at two moments.
    Gone { is_sure: bool },
    /// Nobody can tell now.
    Unknown(String),
}

/// Judges one look at everything. The process was looked for before `info` was asked.
fn judge(look: &Look, claim: &Claim, process: &Found, is_same_pod: bool) -> Known {
    if let Some((label, backup_type)) = look.proof(claim) {
        return Known::Made(label, backup_type);
    }
    match process {
        Found::Yes => Known::Running,
        Found::No => Known::Gone { is_sure: true },
        // The lock of the other pod cannot be seen.
        Found::Unknown(_) if !is_same_pod => Known::Gone { is_sure: false },
        Found::Unknown(said) => match look.held {
            Some(true) => Known::Running,
            Some(false) => Known::Gone { is_sure: false },
            None => Known::Unknown(said.clone()),
        },
    }
}

/// Looks again and again. `None`: it was not made, and runs no more.
pub(super) async fn follow(
    job: &Job<'_, impl Access>,
    place: Place<'_>,
    claim: &Claim,
) -> Result<Option<(String, BackupType)>, Verdict> {
    let (mut pause, longest) = job.patience.lost;
    let mut known_at = Instant::now();
    let mut seen_gone = false;
    loop {
        match look(job, place, claim).await? {
            Known::Made(label, backup_type) => return Ok(Some((label, backup_type))),
            Known::Running => (known_at, seen_gone) = (Instant::now(), false),
            Known::Gone { is_sure } if is_sure || seen_gone => return Ok(None),
            Known::Gone { .. } => (known_at, seen_gone) = (Instant::now(), true),
            Known::Unknown(said) => {
                tracing::warn!(reason = said, "Failed to determine the state of the backup");
                if known_at.elapsed() >= job.patience.unknown {
                    let message = format!(
                        "the connection was lost, and what became of the backup cannot be found out: {said}"
                    );
                    return Err(Verdict::own(Own::Lost, &message));
                }
            }
        }
        sleep(pause).await;
        pause = longer(pause, longest);
    }
}

async fn look(job: &Job<'_, impl Access>, place: Place<'_>, claim: &Claim) -> Result<Known, Verdict> {
    let process = if claim.annotates {
        process::signal(job.access, job.task, place, Signal::Nothing).await
    } else {
        Found::Unknown("pgBackRest is too old to mark its backups".to_owned())
    };
    let pod = job.target().await?;
    Ok(match ask::info(job.access, job.task, job.task.place(&pod)).await {
        Ok(look) => {
            let known = judge(&look, claim, &process, pod == place.pod);
            if known == Known::Running {
                tracing::info!("Backup continues without a connection");
                progress::tell(&look);
            }
            known
        }
        // Without its list of backups, a process that is gone may have made one.
        Err(silence) => Known::Unknown(silence.said),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_taken_for_known_that_is_not() {
        let unknown = || Found::Unknown("no sh".to_owned());
        let (sure, unsure) = (Known::Gone { is_sure: true }, Known::Gone { is_sure: false });
        let table = [
            (Found::Yes, Some(false), true, Known::Running),
            (Found::Yes, None, false, Known::Running),
            (Found::No, Some(true), true, sure.clone()),
            (Found::No, None, false, sure),
            (unknown(), Some(true), true, Known::Running),
            (unknown(), Some(false), true, unsure.clone()),
            (unknown(), Some(true), false, unsure),
            (unknown(), None, true, Known::Unknown("no sh".to_owned())),
        ];
        let claim = Claim { before: None, annotates: true, backup_type: BackupType::Full };
        for (process, held, is_same_pod, known) in table {
            let look = Look { held, ..Look::default() };
            assert_eq!(
                judge(&look, &claim, &process, is_same_pod),
                known,
                "{process:?} {held:?} {is_same_pod}"
            );
        }
    }
}
