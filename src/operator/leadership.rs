//! Runs the controller while this process leads, and aborts it when leadership is lost.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::kubernetes::lease::Leadership;

use super::controller::{Controller, EndedByItself};
use super::progress::{HEARTBEAT, OperatorProgress};

/// Runs the controller whenever this process leads, until `stop`. The lease must be kept until this has returned.
///
/// When leadership is lost, all work is aborted at once: everything can be repeated. At `stop`, running work may
/// finish.
pub async fn run(
    controller: &Controller,
    mut leadership: watch::Receiver<Leadership>,
    stop: CancellationToken,
) -> Result<(), EndedByItself> {
    let progress = Arc::clone(&controller.progress);
    loop {
        tokio::select! {
            led = until(&mut leadership, &progress, |state| *state == Leadership::Leading) => led?,
            () = stop.cancelled() => return Ok(()),
        }
        tracing::info!("Started leading");
        tokio::select! {
            end = controller.run(stop.clone()) => return end,
            lost = until(&mut leadership, &progress, |state| *state != Leadership::Leading) => {
                lost?;
                progress.leadership_ended();
                tracing::warn!("Stopped leading; aborting current work");
            }
        }
    }
}

/// Waits for a state. An error means that the lease is no longer kept.
async fn until(
    leadership: &mut watch::Receiver<Leadership>,
    progress: &OperatorProgress,
    reached: impl Fn(&Leadership) -> bool,
) -> Result<(), EndedByItself> {
    let mut heartbeat = interval(HEARTBEAT);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let state = leadership.borrow_and_update().clone();
        progress.lead(state.clone());
        if reached(&state) {
            return Ok(());
        }
        tokio::select! {
            changed = leadership.changed() => changed.map_err(|_| EndedByItself)?,
            _ = heartbeat.tick() => if state != Leadership::Leading { progress.beat() },
        }
    }
}
