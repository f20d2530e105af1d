//! Logs the progress of a running backup.

use tokio::time::sleep;

use crate::source::pod::{Place, RunInPod};

use super::ask;
use super::info_view::InfoView;
use super::task::{Patience, Task, longer};

/// Logs progress until it is dropped. The host that runs the backup knows its progress (2.48 and later).
pub(super) async fn keep_reporting(
    runner: &impl RunInPod,
    task: &Task,
    place: Place<'_>,
    patience: &Patience,
) {
    let (mut pause, longest) = patience.progress;
    loop {
        sleep(pause).await;
        match ask::info(runner, task, place).await {
            Ok(view) => report(&view),
            Err(silence) => tracing::debug!(reason = silence.said, "Failed to read progress"),
        }
        pause = longer(pause, longest);
    }
}

pub(super) fn report(view: &InfoView) {
    let Some((bytes_done, bytes_total)) = view.progress else { return };
    let percent = bytes_done.saturating_mul(100).checked_div(bytes_total);
    tracing::info!(bytes_done, bytes_total, percent, "Backup in progress");
}
