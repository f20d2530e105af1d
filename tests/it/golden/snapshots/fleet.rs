//! The backup metrics of the operator's clusters: one that is healthy, one with a repository that hangs, one that was never reached.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use pgbackrest_keeper::cluster::key::Key;
use pgbackrest_keeper::metrics::collection::{Collector, RunReport};
use pgbackrest_keeper::metrics::exposition::{
    ClusterMetrics, Dynamic, Format, StaticPart, dynamic_part, plain,
};
use pgbackrest_keeper::metrics::options::BackupDetail;
use pgbackrest_keeper::metrics::{CollectionMetrics, Fleet, OperatorMetrics, Options};
use pgbackrest_keeper::state::snapshot::{
    Collection, Failure, FailureReason, RepoState, ScopeHealth, ScopeKind, Snapshot, StopFile, StopScope,
};

use crate::golden::fixtures;

/// The fleet, and the time of the scrape.
pub(super) fn fleet() -> (Fleet, DateTime<Utc>) {
    let case = fixtures::all().into_iter().find(|case| case.name == "two_repos_one_encrypted").unwrap();
    let (mut well, now) = fixtures::scene(&case);
    super::settings(&mut well, now);
    super::listed(&mut well, now);
    super::expiring(&mut well, now);
    super::archiver(&mut well, now);
    let stopped_in = |pod: &str, hours| StopFile {
        scope: StopScope::Stanza,
        since: Some(now - TimeDelta::hours(hours)),
        pod: Some(pod.into()),
    };
    well.stanzas[0].stop_files =
        Some(vec![stopped_in("ledger-0", 2), stopped_in("ledger-pgbackrest-repo-host-0", 3)]);
    let mut half = well.clone();
    let repo = &mut half.stanzas[0].repos[1];
    (repo.state, repo.status_code) = (RepoState::Timeout, None);
    repo.collected_at = now - TimeDelta::minutes(30);
    let message = "pgbackrest info in pod orders-0: the command was terminated after 1m".to_owned();
    half.collection = failed(now, FailureReason::Timeout, message);
    half.version = None;
    let message = "no pod to query about repo1: no pod has the labels a=b".to_owned();
    let away = Snapshot { collection: failed(now, FailureReason::NoPod, message), ..Snapshot::default() };
    let clusters = [("ledger", well), ("orders", half), ("refunds", away)];
    let clusters = clusters.map(|(name, snapshot)| (Arc::new(Key::new("shop", name)), Arc::new(snapshot)));
    (Fleet { clusters: BTreeMap::from(clusters), as_of: now }, now)
}

fn failed(now: DateTime<Utc>, reason: FailureReason, message: String) -> Collection {
    let failure = Some(Failure { reason, exit_code: None, message });
    let scope = ScopeHealth { kind: ScopeKind::Call, up: false, last_run: now, last_success: None, failure };
    Collection { scopes: BTreeMap::from([("db".into(), scope)]), ..Collection::default() }
}

/// Everything that is served.
pub(super) fn exposition(options: Options, format: Format) -> String {
    let (fleet, now) = fleet();
    let options = Arc::new(Options { compat: false, backup_detail: BackupDetail::Last, ..options });
    let static_part = StaticPart::encode_fleet(&Arc::new(fleet), &options).unwrap().at(now, format).unwrap();
    let static_part = &ClusterMetrics::new(Arc::new(OperatorMetrics::new(&[]))).joined(&static_part, format);
    let collection = CollectionMetrics::in_pods().with_wal(true);
    collection.set_cadence(Collector::Info, Duration::from_mins(5), Duration::from_mins(1));
    collection.set_cadence(Collector::Wal, Duration::from_mins(15), Duration::from_secs(75));
    let (duration, failure) = (Duration::from_mins(1), Some(FailureReason::Timeout));
    let report = RunReport { duration, output_bytes: None, sanitized: false, failure };
    collection.run_finished(Collector::Info, &report);
    collection.not_run(Collector::Info, FailureReason::NoPod);
    let parts = Dynamic {
        static_part,
        collection: &Arc::new(collection),
        operator: Some(&Arc::new(OperatorMetrics::new(&[]))),
        process: None,
        options: &options,
    };
    let dynamic = dynamic_part(&parts, format).unwrap();
    let chunks: Result<Vec<_>, _> = plain(static_part, dynamic, u64::MAX).unwrap().collect();
    String::from_utf8(chunks.unwrap().concat()).unwrap()
}

#[test]
fn a_cluster_of_a_fleet_is_told_as_its_exporter_would_tell_it() {
    let (fleet, now) = fleet();
    let options = Options { compat: false, backup_detail: BackupDetail::Last, ..fixtures::options() };
    let well = Snapshot::clone(&fleet.clusters[&Key::new("shop", "ledger")]);
    let alone = fixtures::series(&fixtures::exposition(well, options, now, Format::Classic));
    let told = fixtures::series(&exposition(fixtures::options(), Format::Classic));
    let is_own =
        |name: &str| name.starts_with("pgbackrest_exporter_") || name.starts_with("pgbackrest_collector_");
    let mut compared = 0;
    for (series, value) in alone {
        let (name, labels) = series.split_once('{').unwrap_or((&series, "}"));
        if is_own(name) {
            continue;
        }
        let comma = if labels == "}" { "" } else { "," };
        let expected = format!("{name}{{namespace=\"shop\",pg_cluster=\"ledger\"{comma}{labels}");
        assert_eq!(told.get(&expected), Some(&value), "{expected}");
        compared += 1;
    }
    assert!(compared > 100, "{compared}");
    let up = |name: &str| {
        told[&format!(
            "pgbackrest_collector_up{{namespace=\"shop\",pg_cluster=\"{name}\",collector=\"info\",stanza=\"db\"}}"
        )]
    };
    assert_eq!((up("orders"), up("refunds")), (0.0, 0.0));
}
