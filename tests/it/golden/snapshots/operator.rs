//! What the operator serves: a fleet with good and bad clusters, drift, restarts and failures.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use pgbackrest_keeper::metrics::exposition::{
    ClusterMetrics, Dynamic, Format, StaticPart, dynamic_part, plain,
};
use pgbackrest_keeper::metrics::operator::{Judgement, RestoreTestState};
use pgbackrest_keeper::metrics::{CollectionMetrics, OperatorMetrics, Options};
use pgbackrest_keeper::operator::reconcile::ReconcileError;

use super::process;

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_340_000, 0).unwrap()
}

/// A leader with two clusters, one of which fails.
pub(super) fn fleet() -> OperatorMetrics {
    let metrics = OperatorMetrics::new(ReconcileError::CATEGORIES);
    metrics.leads(true);
    metrics.queue_depth(3);
    metrics.watch_restarted("CronJob");
    metrics.publish_failed("event", "forbidden");
    metrics.reconciled("shop", "ledger", Ok(()), Duration::from_millis(40), now());
    metrics.applied("shop", "ledger", &[("CronJob", true), ("StatefulSet", false)], &["CronJob", "Role"]);
    let ledger = Judgement {
        ok: true,
        status: "Warning",
        lines: vec!["warning retention-unset: x".to_owned()],
        findings: BTreeMap::from([(("warning", "retention-unset"), 2), (("info", "default-used"), 1)]),
        policies: vec![("encryption", false), ("retention", true)],
        expiries: vec![
            ("authority".to_owned(), now() + TimeDelta::days(3000)),
            ("repo-host".to_owned(), now() + TimeDelta::days(300)),
        ],
    };
    metrics.judged("shop", "ledger", ledger);
    let earlier = now() - TimeDelta::hours(1);
    metrics.reconciled("shop", "orders", Ok(()), Duration::from_millis(700), earlier);
    let well = Judgement { ok: true, status: "Ok", ..Judgement::default() };
    metrics.judged("shop", "orders", well);
    metrics.reconciled("shop", "orders", Err(ReconcileError::CATEGORIES[0]), Duration::from_secs(20), now());
    metrics.fails("shop", "orders", "Failing", vec!["reconcile failed".to_owned()]);
    super::jobs::happen(&metrics, now());
    let created = now() - TimeDelta::days(30);
    let nightly = RestoreTestState {
        is_ready: true,
        created: Some(created),
        last_start: Some(now() - TimeDelta::hours(7)),
        interval: Some(TimeDelta::days(1)),
        clusters: BTreeMap::from([
            ("ledger".to_owned(), created),
            ("orders".to_owned(), now() - TimeDelta::days(3)),
        ]),
        left_out: Some(1),
    };
    metrics.restore_test("shop", "nightly", nightly);
    // Never valid.
    let broken = RestoreTestState { created: Some(created), ..RestoreTestState::default() };
    metrics.restore_test("shop", "broken", broken);
    metrics
}

/// Everything that an operator serves.
pub(super) fn exposition(operator: &Arc<OperatorMetrics>, options: Options, format: Format) -> String {
    let (snapshot, options) = (Arc::default(), Arc::new(Options { compat: false, ..options }));
    let clusters = ClusterMetrics::new(Arc::clone(operator));
    clusters.encode(&options, now()).unwrap();
    let host = StaticPart::encode(&snapshot, &options).unwrap().at(now(), format).unwrap();
    let static_part = &clusters.joined(&host, format);
    let parts = Dynamic {
        static_part,
        collection: &Arc::new(CollectionMetrics::without_collectors()),
        operator: Some(operator),
        process: Some(process()),
        options: &options,
    };
    let dynamic = dynamic_part(&parts, format).unwrap();
    let chunks: Result<Vec<_>, _> = plain(static_part, dynamic, u64::MAX).unwrap().collect();
    String::from_utf8(chunks.unwrap().concat()).unwrap()
}
