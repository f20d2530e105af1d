//! Leader election by a Lease: one of several replicas works, the others wait.
//!
//! Written by hand because the crates compare the clocks of different machines. Here, as in Kubernetes' own client, a
//! lease has run out when it was not renewed for its duration by this process's own clock.

mod decision;
#[cfg(test)]
mod tests;

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, PostParams};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::client::{CallError, CallFailure, call};

pub use decision::{Decision, decide};

/// How long giving the lease back may take at the end.
const RELEASE_DEADLINE: Duration = Duration::from_secs(3);
/// How often a lease is read again at once because somebody wrote it in between.
const MOST_CONFLICTS: u32 = 2;

/// Which lease, and who we are.
#[derive(Debug, Clone)]
pub struct LeaseOptions {
    /// Where the lease is.
    pub namespace: String,
    pub name: String,
    /// This process: pod name and something that tells it from the one before.
    pub identity: String,
    /// How long a lease counts without being renewed.
    pub duration: Duration,
}

/// Whether this process leads.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Leadership {
    /// It is not known who leads, or nobody does.
    #[default]
    Waiting,
    /// Somebody else does, who is named.
    Following(String),
    /// This one does.
    Leading,
}

/// Takes and renews the lease until `stop`, and then gives it back. `leadership` always says what is certain: it turns
/// from `Leading` before anybody else can lead, since a leader that could not renew for two thirds of the duration stops.
pub async fn keep(
    client: kube::Client,
    options: LeaseOptions,
    leadership: watch::Sender<Leadership>,
    stop: CancellationToken,
) {
    let mut keeper = Keeper {
        api: Api::namespaced(client, &options.namespace),
        options,
        seen: None,
        sure_until: None,
        fails: false,
    };
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            () = passed(keeper.sure_until) => {
                keeper.sure_until = None;
                turn(&leadership, Leadership::Waiting, &keeper.options.name);
            }
            state = keeper.step() => {
                turn(&leadership, state, &keeper.options.name);
                // What was known may run out before the next look.
                tokio::select! {
                    () = stop.cancelled() => break,
                    () = passed(keeper.sure_until) => {}
                    () = sleep(keeper.options.duration / 5) => {}
                }
            }
        }
    }
    // Also if it does not lead: what was under way may have reached the server.
    leadership.send_replace(Leadership::Waiting);
    if !matches!(timeout(RELEASE_DEADLINE, keeper.release()).await, Ok(Ok(()))) {
        tracing::warn!(
            lease = keeper.options.name,
            "Failed to release lease; if it was held, other replicas wait until it expires"
        );
    }
}

/// Waits for a moment; for ever if there is none.
async fn passed(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

fn turn(leadership: &watch::Sender<Leadership>, state: Leadership, lease: &str) {
    leadership.send_if_modified(|now| {
        let changes = *now != state;
        if changes {
            tracing::info!(lease, state = ?state, "Leadership changed");
            *now = state;
        }
        changes
    });
}

struct Keeper {
    api: Api<Lease>,
    options: LeaseOptions,
    /// The lease's version, and since when it is the same.
    seen: Option<(String, Instant)>,
    /// While this process leads: until when nobody else can, less a third of the duration to let go of everything.
    sure_until: Option<Instant>,
    /// Whether the last look or write failed.
    fails: bool,
}

impl Keeper {
    /// Looks and writes once, and says who leads. Can be dropped anywhere: what is sure stays so.
    async fn step(&mut self) -> Leadership {
        let outcome = self.look_and_write().await;
        let failed = outcome.is_err();
        let changed = std::mem::replace(&mut self.fails, failed) != failed;
        match outcome {
            Ok(state) => {
                if changed {
                    tracing::info!(lease = self.options.name, "Lease renewal recovered");
                }
                if state != Leadership::Leading {
                    self.sure_until = None;
                }
                state
            }
            Err(error) => {
                if changed {
                    tracing::warn!(lease = self.options.name, %error, "Failed to renew lease");
                }
                Leadership::Waiting
            }
        }
        .or_still_leading(self.sure_until)
    }

    async fn look_and_write(&mut self) -> Result<Leadership, CallError> {
        let mut conflicts = 0;
        loop {
            match self.look_and_write_once().await {
                Err(error) if wrote_in_between(&error) && conflicts < MOST_CONFLICTS => conflicts += 1,
                outcome => return outcome,
            }
        }
    }

    async fn look_and_write_once(&mut self) -> Result<Leadership, CallError> {
        let began = Instant::now();
        let name = self.options.name.clone();
        // After a renewal there is time for two more looks before a leader stops, even if neither is answered.
        let deadline = self.options.duration / 6;
        let found = call("get Lease", deadline, self.api.get_opt(&name)).await?;
        let unchanged = self.unchanged_for(found.as_ref());
        let spec = found.as_ref().and_then(|lease| lease.spec.as_ref());
        match decide(spec, &self.options.identity, unchanged, self.options.duration) {
            Decision::Wait => {
                let holder = spec.and_then(decision::holder).map(str::to_owned);
                return Ok(holder.map_or(Leadership::Waiting, Leadership::Following));
            }
            Decision::Acquire | Decision::Renew => {}
        }
        let lease = decision::held_by_us(found.as_ref(), &self.options, MicroTime(Timestamp::now()));
        let written = if found.is_some() {
            call("renew Lease", deadline, self.api.replace(&name, &PostParams::default(), &lease)).await?
        } else {
            call("create Lease", deadline, self.api.create(&PostParams::default(), &lease)).await?
        };
        self.unchanged_for(Some(&written));
        self.sure_until = Some(began + self.options.duration * 2 / 3);
        Ok(Leadership::Leading)
    }

    fn unchanged_for(&mut self, lease: Option<&Lease>) -> Duration {
        let Some(version) = lease.and_then(|lease| lease.metadata.resource_version.clone()) else {
            self.seen = None;
            return Duration::ZERO;
        };
        match &self.seen {
            Some((seen, since)) if *seen == version => since.elapsed(),
            _ => {
                self.seen = Some((version, Instant::now()));
                Duration::ZERO
            }
        }
    }

    async fn release(&self) -> Result<(), CallError> {
        let name = &self.options.name;
        let mut conflicts = 0;
        loop {
            let found = call("get Lease", RELEASE_DEADLINE, self.api.get_opt(name)).await?;
            let Some(mut lease) = found else { return Ok(()) };
            let Some(spec) = lease.spec.as_mut() else { return Ok(()) };
            if decision::holder(spec) != Some(&self.options.identity) {
                return Ok(());
            }
            spec.holder_identity = None;
            let params = PostParams::default();
            let released = self.api.replace(name, &params, &lease);
            match call("release Lease", RELEASE_DEADLINE, released).await {
                // A renewal of ours that was under way has come in between.
                Err(error) if wrote_in_between(&error) && conflicts < MOST_CONFLICTS => conflicts += 1,
                outcome => return outcome.map(drop),
            }
        }
    }
}

impl Leadership {
    /// Who cannot tell still leads while that is sure; who leads no longer does once it is not.
    fn or_still_leading(self, sure_until: Option<Instant>) -> Self {
        let sure = sure_until.is_some_and(|until| Instant::now() < until);
        match self {
            Self::Following(holder) => Self::Following(holder),
            Self::Leading | Self::Waiting if sure => Self::Leading,
            Self::Leading | Self::Waiting => Self::Waiting,
        }
    }
}

/// Somebody wrote, made or removed the lease between our look and our write.
fn wrote_in_between(error: &CallError) -> bool {
    matches!(error.failure, CallFailure::Conflict | CallFailure::AlreadyExists | CallFailure::NotFound)
}
