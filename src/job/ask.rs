//! The queries of a job to pgBackRest in a pod.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::sleep;

use crate::pgbackrest::command;
use crate::pgbackrest::exit_code::{self, Reason};
use crate::pgbackrest::version::{self, Feature, Version};
use crate::source::pod::{Place, RunInPod};

use super::info_view::{self, Claim, InfoView};
use super::step::BackupEnd;
use super::task::{Patience, Task};

const INFO_TIMEOUT: Duration = Duration::from_secs(100);
const VERSION_TIMEOUT: Duration = Duration::from_secs(20);

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Silence {
    pub(super) said: String,
    /// Retrying does not help.
    is_hopeless: bool,
}

/// The current state of the repo, as pgBackRest in this pod reports it.
pub(super) async fn info(runner: &impl RunInPod, task: &Task, place: Place<'_>) -> Result<InfoView, Silence> {
    let silence = |said: String| Silence { said, is_hopeless: false };
    let command = command::info(&task.info());
    let ran = runner.run(place, &command.in_pod(), INFO_TIMEOUT).await;
    let ran = ran.map_err(|error| silence(error.to_string()))?;
    if ran.code != 0 {
        let is_hopeless = exit_code::reason(ran.code) == Reason::Config;
        return Err(Silence { is_hopeless, said: ran.said() });
    }
    info_view::read(&ran.stdout, task).map_err(silence)
}

/// What distinguishes our backup from others. An error means that pgBackRest cannot run there; it contains
/// pgBackRest's message.
pub(super) async fn claim(
    runner: &impl RunInPod,
    task: &Task,
    place: Place<'_>,
    patience: &Patience,
) -> Result<Claim, (BackupEnd, Option<String>)> {
    let ran = runner.run(place, &command::version().in_pod(), VERSION_TIMEOUT).await;
    let ran = ran.map_err(|error| (BackupEnd::NotStarted(error.to_string()), None))?;
    if ran.code != 0 {
        return Err((BackupEnd::Exited(ran.code), Some(ran.said())));
    }
    let version = version::parse(&ran.text());
    let annotates = match version {
        Some(version) if version.product.is_fork() => {
            let help = command::help(Feature::Annotation);
            runner.run(place, &help.in_pod(), VERSION_TIMEOUT).await.is_ok_and(|ran| ran.code == 0)
        }
        version => version.is_some_and(|version| version.has(Feature::Annotation)),
    };
    if !annotates {
        let version = version.map(Version::with_name);
        tracing::warn!(
            version,
            "pgBackRest before 2.41 has no annotations, so this backup is identified only by its time, and is not stopped when this \
             pod stops"
        );
    }
    let before = labels(runner, task, place, patience).await;
    Ok(Claim { before, annotates, backup_type: task.backup_type })
}

/// The existing backups. `None` if they cannot be determined; pgBackRest will then report what is wrong.
async fn labels(
    runner: &impl RunInPod,
    task: &Task,
    place: Place<'_>,
    patience: &Patience,
) -> Option<BTreeSet<String>> {
    for ask in 1..=patience.asks {
        match info(runner, task, place).await {
            Ok(view) => return Some(view.labels()),
            Err(silence) => {
                tracing::warn!(reason = silence.said, "Failed to list existing backups");
                if silence.is_hopeless {
                    break;
                }
            }
        }
        if ask < patience.asks {
            sleep(patience.pause).await;
        }
    }
    None
}
