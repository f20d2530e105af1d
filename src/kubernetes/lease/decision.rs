//! Decides about the lease, and builds its new contents.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};

use super::LeaseOptions;

/// The label of our leases.
pub(super) const TOTAL_SHARDS: &str = "pgbackrest-keeper.io/total-shards";

/// The next step after reading the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It is free or expired: acquire it.
    Acquire,
    /// It is ours: renew it.
    Renew,
    /// Another process holds it.
    Wait,
}

/// Decides the next step. `unchanged_for`: how long this process has seen the lease unchanged.
#[must_use]
pub fn decide(
    lease: Option<&LeaseSpec>,
    identity: &str,
    unchanged_for: Duration,
    ours: Duration,
) -> Decision {
    let Some(lease) = lease else { return Decision::Acquire };
    match holder(lease) {
        None => Decision::Acquire,
        Some(holder) if holder == identity => Decision::Renew,
        Some(_) => {
            // The holder relies on the duration that it wrote.
            let written = lease.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
            let duration = written.filter(|seconds| *seconds > 0).map_or(ours, Duration::from_secs);
            if unchanged_for > duration { Decision::Acquire } else { Decision::Wait }
        }
    }
}

/// The holder of a lease.
pub(super) fn holder(lease: &LeaseSpec) -> Option<&str> {
    lease.holder_identity.as_deref().filter(|holder| !holder.is_empty())
}

/// The lease with our name and the current time. It contains the version of the previous lease, so that the server
/// rejects it after another write.
pub(super) fn held_by_us(before: Option<&Lease>, options: &LeaseOptions, now: MicroTime) -> Lease {
    let spec = before.and_then(|lease| lease.spec.clone()).unwrap_or_default();
    let is_ours = holder(&spec) == Some(&options.identity);
    // Like client-go: creating the lease is not a transition.
    let changes = match spec.lease_transitions {
        changes if is_ours || before.is_none() => changes.unwrap_or_default(),
        changes => changes.unwrap_or_default().saturating_add(1),
    };
    let mut metadata = before.map(|lease| lease.metadata.clone()).unwrap_or_default();
    let labels = metadata.labels.get_or_insert_default();
    labels.insert(TOTAL_SHARDS.to_owned(), options.shard.total().to_string());
    Lease {
        metadata: ObjectMeta {
            name: Some(options.lease_name()),
            namespace: Some(options.namespace.clone()),
            ..metadata
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(options.identity.clone()),
            lease_duration_seconds: Some(whole_seconds(options.duration)),
            acquire_time: if is_ours { spec.acquire_time } else { Some(now.clone()) },
            renew_time: Some(now),
            lease_transitions: Some(changes),
            ..spec
        }),
    }
}

/// Rounded up: others must not assume a shorter duration than we do. The API requires at least one.
fn whole_seconds(duration: Duration) -> i32 {
    let begun = u64::from(duration.subsec_nanos() > 0);
    i32::try_from(duration.as_secs().saturating_add(begun)).unwrap_or(i32::MAX).max(1)
}
