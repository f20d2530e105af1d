//! Leader election with a Lease: one of several replicas works, the others wait.
//!
//! Not from a crate, because the existing ones compare the clocks of different machines. Here, as in client-go, a
//! lease expires if it was not renewed for its duration according to the local clock.

mod decision;
mod rivals;
#[cfg(test)]
mod tests;

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, PostParams};
use rand::Rng;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::client::{CallError, CallFailure, call};
use super::shard::Shard;
use rivals::Rivals;

pub use decision::{Decision, decide};

/// The timeout for releasing the lease.
const RELEASE_DEADLINE: Duration = Duration::from_secs(3);
/// How often a lease is read again immediately after a conflict.
const MOST_CONFLICTS: u32 = 2;

/// The lease and the identity of this process.
#[derive(Debug, Clone)]
pub struct LeaseOptions {
    /// The namespace of the lease.
    pub namespace: String,
    /// The name, without the shard.
    pub name: String,
    /// The share of the work that its holder does. Leases of one name that divide the work differently exclude each other.
    pub shard: Shard,
    /// The identity of this process: the name of the pod and a random part.
    pub identity: String,
    /// How long a lease is valid without renewal.
    pub duration: Duration,
}

impl LeaseOptions {
    /// The name of the lease: each shard has its own.
    #[must_use]
    pub fn lease_name(&self) -> String {
        if self.shard.is_all() { self.name.clone() } else { format!("{}-{}", self.name, self.shard) }
    }
}

/// Whether this process leads.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Leadership {
    /// There is no leader, or it is unknown.
    #[default]
    Waiting,
    /// Another process leads, with this identity.
    Following(String),
    /// This process leads.
    Leading,
}

/// Acquires and renews the lease until `stop`, then releases it. `leadership` is always safe: it changes from
/// `Leading` before another process can lead, since a leader that could not renew for two thirds of the duration
/// stops.
pub async fn keep(
    client: kube::Client,
    options: LeaseOptions,
    leadership: watch::Sender<Leadership>,
    stop: CancellationToken,
) {
    let mut keeper = Keeper {
        api: Api::namespaced(client, &options.namespace),
        name: options.lease_name(),
        options,
        rivals: Rivals::default(),
        looked: None,
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
                turn(&leadership, Leadership::Waiting, &keeper.name);
            }
            state = keeper.step() => {
                turn(&leadership, state, &keeper.name);
                // Leadership may expire before the next attempt.
                tokio::select! {
                    () = stop.cancelled() => break,
                    () = passed(keeper.sure_until) => {}
                    () = sleep(keeper.pause()) => {}
                }
            }
        }
    }
    // Even if it does not lead: an unfinished request may have reached the server.
    leadership.send_replace(Leadership::Waiting);
    if !matches!(timeout(RELEASE_DEADLINE, keeper.release()).await, Ok(Ok(()))) {
        tracing::warn!(
            lease = keeper.name,
            "Failed to release lease; if it was held, other replicas wait until it expires"
        );
    }
}

/// Waits until a time, or forever.
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
    /// The name of the lease.
    name: String,
    options: LeaseOptions,
    rivals: Rivals,
    /// When rivals were last looked for.
    looked: Option<Instant>,
    /// The version of the lease, and since when it is unchanged.
    seen: Option<(String, Instant)>,
    /// While this process leads: until when no other can, minus a third of the duration for stopping all work.
    sure_until: Option<Instant>,
    /// Whether the last request failed.
    fails: bool,
}

impl Keeper {
    /// Reads and writes once, and updates the leadership. Cancel-safe.
    async fn step(&mut self) -> Leadership {
        let outcome = self.look_and_write().await;
        let failed = outcome.is_err();
        let changed = std::mem::replace(&mut self.fails, failed) != failed;
        match outcome {
            Ok(state) => {
                if changed {
                    tracing::info!(lease = self.name, "Lease renewal recovered");
                }
                if state != Leadership::Leading {
                    self.sure_until = None;
                }
                state
            }
            Err(error) => {
                if changed {
                    tracing::warn!(lease = self.name, %error, "Failed to renew lease");
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
        // After a renewal, there is time for two more attempts before a leader stops, even if neither is answered.
        let deadline = self.options.duration / 6;
        let found = call("get Lease", deadline, self.api.get_opt(&self.name)).await?;
        let unchanged = self.unchanged_for(found.as_ref());
        let spec = found.as_ref().and_then(|lease| lease.spec.as_ref());
        let decision = decide(spec, &self.options.identity, unchanged, self.options.duration);
        if decision == Decision::Wait {
            let holder = spec.and_then(decision::holder).map(str::to_owned);
            return Ok(holder.map_or(Leadership::Waiting, Leadership::Following));
        }
        // While a leader renews its lease, no rival begins to lead.
        let renews = self.is_leading() && decision == Decision::Renew;
        if let Some(rival) = self.rival(renews).await? {
            self.release().await?;
            return Ok(Leadership::Following(rival));
        }
        let began = Instant::now();
        let lease = decision::held_by_us(found.as_ref(), &self.options, MicroTime(Timestamp::now()));
        let written = if found.is_some() {
            call("renew Lease", deadline, self.api.replace(&self.name, &PostParams::default(), &lease))
                .await?
        } else {
            call("create Lease", deadline, self.api.create(&PostParams::default(), &lease)).await?
        };
        self.unchanged_for(Some(&written));
        // First the lease, then the look at the others: of two that do so at once, at least one sees the other.
        if !renews && let Some(rival) = self.rivals.find(&self.api, &self.options).await? {
            self.release().await?;
            return Ok(Leadership::Following(rival));
        }
        self.sure_until = Some(began + self.options.duration * 2 / 3);
        Ok(if self.is_leading() { Leadership::Leading } else { Leadership::Waiting })
    }

    /// The holder of a lease that excludes ours. A leader looks now and then: its lease may have been deleted and written anew, or its
    /// host may have been suspended. What it cannot see does not end its lead.
    async fn rival(&mut self, renews: bool) -> Result<Option<String>, CallError> {
        if renews && self.looked.is_some_and(|looked| looked.elapsed() < self.options.duration) {
            return Ok(None);
        }
        match self.rivals.find(&self.api, &self.options).await {
            Err(error) if renews => {
                tracing::debug!(lease = self.name, %error, "Failed to look for leases with another number of shards");
                Ok(None)
            }
            found => {
                self.looked = Some(Instant::now());
                found
            }
        }
    }

    fn is_leading(&self) -> bool {
        self.sure_until.is_some_and(|until| Instant::now() < until)
    }

    /// Until the next look. It varies while this process does not lead, so that rivals do not give way to each other forever.
    fn pause(&self) -> Duration {
        let pause = self.options.duration / 5;
        if self.is_leading() { pause } else { pause.mul_f64(rand::rng().random_range(0.8..1.2)) }
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
        let name = &self.name;
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
                // An earlier renewal of ours has arrived in the meantime.
                Err(error) if wrote_in_between(&error) && conflicts < MOST_CONFLICTS => conflicts += 1,
                outcome => return outcome.map(drop),
            }
        }
    }
}

impl Leadership {
    /// Without an answer, a leader remains leader only as long as that is certain.
    fn or_still_leading(self, sure_until: Option<Instant>) -> Self {
        let sure = sure_until.is_some_and(|until| Instant::now() < until);
        match self {
            Self::Following(holder) => Self::Following(holder),
            Self::Leading | Self::Waiting if sure => Self::Leading,
            Self::Leading | Self::Waiting => Self::Waiting,
        }
    }
}

/// The lease was written, created or deleted between our read and our write.
fn wrote_in_between(error: &CallError) -> bool {
    matches!(error.failure, CallFailure::Conflict | CallFailure::AlreadyExists | CallFailure::NotFound)
}
