//! Keeps the controllers of all scopes running until the end.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use super::{Context, EndedByItself};
use crate::operator::progress::HEARTBEAT;

/// How long running reconciles may continue at shutdown.
const DRAIN: Duration = Duration::from_secs(20);

/// Polls the controllers and sends heartbeats. At the end, it waits only for running reconciles.
pub(super) async fn drive(
    mut work: impl Stream<Item = ()> + Unpin,
    context: &Context,
    stop: &CancellationToken,
) -> Result<(), EndedByItself> {
    let mut heartbeat = interval(HEARTBEAT);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let drained = async {
        stop.cancelled().await;
        sleep(DRAIN).await;
    };
    tokio::pin!(drained);
    let mut stopping = false;
    loop {
        if stopping && context.running.load(Ordering::Acquire) == 0 {
            return Ok(());
        }
        tokio::select! {
            ended = work.next() => match ended {
                Some(()) => {}
                None if stop.is_cancelled() => return Ok(()),
                None => return Err(EndedByItself),
            },
            _ = heartbeat.tick() => context.progress.beat(),
            () = stop.cancelled(), if !stopping => stopping = true,
            () = &mut drained => {
                tracing::warn!("Aborting reconciles that did not finish in time; the next leader repeats them");
                return Ok(());
            }
        }
    }
}

/// Counts a running reconcile until it is dropped.
pub(super) struct RunningReconcile<'a>(&'a AtomicUsize);

impl<'a> RunningReconcile<'a> {
    pub(super) fn one_of(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(count)
    }
}

impl Drop for RunningReconcile<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
