//! Tests of the decision, and of what is written.

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use proptest::prelude::*;

use super::decision::held_by_us;
use super::*;

fn held_by(holder: Option<&str>, seconds: i32) -> LeaseSpec {
    LeaseSpec {
        holder_identity: holder.map(str::to_owned),
        lease_duration_seconds: Some(seconds),
        ..LeaseSpec::default()
    }
}

fn options(identity: &str, duration: Duration) -> LeaseOptions {
    LeaseOptions {
        namespace: "keeper".to_owned(),
        name: "operator".to_owned(),
        shard: Shard::default(),
        identity: identity.to_owned(),
        duration,
    }
}

fn second(second: i64) -> MicroTime {
    MicroTime(Timestamp::from_second(second).unwrap())
}

#[test]
fn only_a_lease_that_has_run_out_is_taken() {
    let ours = Duration::from_secs(15);
    let cases = [
        (None, 0, Decision::Acquire),
        (Some(LeaseSpec::default()), 0, Decision::Acquire),
        (Some(held_by(None, 15)), 0, Decision::Acquire),
        (Some(held_by(Some(""), 15)), 0, Decision::Acquire),
        (Some(held_by(Some("me"), 15)), 0, Decision::Renew),
        (Some(held_by(Some("me"), 15)), 600, Decision::Renew),
        (Some(held_by(Some("other"), 15)), 15, Decision::Wait),
        (Some(held_by(Some("other"), 15)), 16, Decision::Acquire),
        // What the holder wrote counts, not what we would have written.
        (Some(held_by(Some("other"), 60)), 16, Decision::Wait),
        (Some(held_by(Some("other"), 60)), 61, Decision::Acquire),
        (Some(held_by(Some("other"), 5)), 6, Decision::Acquire),
        // Nonsense is not a duration.
        (Some(held_by(Some("other"), 0)), 15, Decision::Wait),
        (Some(held_by(Some("other"), 0)), 16, Decision::Acquire),
        (Some(held_by(Some("other"), -1)), 15, Decision::Wait),
        (Some(held_by(Some("other"), -1)), 16, Decision::Acquire),
        (Some(LeaseSpec { lease_duration_seconds: None, ..held_by(Some("other"), 1) }), 15, Decision::Wait),
    ];
    for (lease, unchanged, expected) in cases {
        let unchanged = Duration::from_secs(unchanged);
        assert_eq!(decide(lease.as_ref(), "me", unchanged, ours), expected, "{lease:?} {unchanged:?}");
    }
}

#[test]
fn what_is_written_counts_changes_and_keeps_what_others_wrote() {
    let first = held_by_us(None, &options("a", Duration::from_secs(15)), second(100));
    let spec = first.spec.clone().unwrap();
    assert_eq!(
        spec,
        LeaseSpec {
            holder_identity: Some("a".to_owned()),
            lease_duration_seconds: Some(15),
            acquire_time: Some(second(100)),
            renew_time: Some(second(100)),
            lease_transitions: Some(0),
            ..LeaseSpec::default()
        }
    );
    assert_eq!(first.metadata.resource_version, None);
    let labels = first.metadata.labels.clone().unwrap();
    assert_eq!(labels, [("pgbackrest-keeper.io/total-shards".to_owned(), "1".to_owned())].into());

    let found = Lease {
        metadata: ObjectMeta {
            resource_version: Some("7".to_owned()),
            annotations: Some([("note".to_owned(), "kept".to_owned())].into()),
            ..first.metadata
        },
        ..first
    };
    let renewed = held_by_us(Some(&found), &options("a", Duration::from_secs(15)), second(103));
    assert_eq!(renewed.metadata, found.metadata);
    assert_eq!(renewed.spec, Some(LeaseSpec { renew_time: Some(second(103)), ..spec.clone() }));

    let taken = held_by_us(Some(&found), &options("b", Duration::from_secs(20)), second(120));
    assert_eq!(taken.metadata, found.metadata);
    assert_eq!(
        taken.spec,
        Some(LeaseSpec {
            holder_identity: Some("b".to_owned()),
            lease_duration_seconds: Some(20),
            acquire_time: Some(second(120)),
            renew_time: Some(second(120)),
            lease_transitions: Some(1),
            ..spec
        })
    );
}

proptest! {
    /// Whatever a lease contains, no process takes it while its holder may rely on it, and every process does after
    /// that.
    #[test]
    fn a_holder_is_safe_for_as_long_as_it_wrote(
        holder in proptest::option::of("[ab]{0,2}"),
        written in proptest::option::of(any::<i32>()),
        unchanged_ms in 0_u64..10_000_000,
        ours_s in 1_u64..600,
    ) {
        let (unchanged, ours) = (Duration::from_millis(unchanged_ms), Duration::from_secs(ours_s));
        let lease = LeaseSpec {
            holder_identity: holder.clone(),
            lease_duration_seconds: written,
            ..LeaseSpec::default()
        };
        let counts = match written {
            Some(seconds @ 1..) => Duration::from_secs(u64::from(seconds.unsigned_abs())),
            _ => ours,
        };
        let expected = match holder.as_deref() {
            None | Some("") => Decision::Acquire,
            Some("a") => Decision::Renew,
            Some(_) if unchanged > counts => Decision::Acquire,
            Some(_) => Decision::Wait,
        };
        prop_assert_eq!(decide(Some(&lease), "a", unchanged, ours), expected);
    }

    /// What one replica writes makes another wait for longer than the first trusts it.
    #[test]
    fn who_writes_is_waited_for(mine_ms in 1_u64..100_000, other_ms in 1_u64..100_000, unchanged_ms in 0_u64..200_000) {
        let (mine, other) = (Duration::from_millis(mine_ms), Duration::from_millis(other_ms));
        let spec = held_by_us(None, &options("a", mine), second(100)).spec.unwrap();
        let unchanged = Duration::from_millis(unchanged_ms);
        prop_assert_eq!(decide(Some(&spec), "a", unchanged, mine), Decision::Renew);
        let decision = decide(Some(&spec), "b", unchanged, other);
        if unchanged <= mine {
            prop_assert_eq!(decision, Decision::Wait);
        }
        if unchanged > mine + Duration::from_secs(1) {
            prop_assert_eq!(decision, Decision::Acquire);
        }
    }
}
