//! The metrics of the operator and its clusters over time.

use std::collections::BTreeSet;
use std::io::Read;
use std::sync::Arc;

use flate2::read::GzDecoder;

use super::*;
use crate::metrics::CollectionMetrics;
use crate::metrics::Options;
use crate::metrics::exposition::{ClusterMetrics, Dynamic, Format, StaticPart, dynamic_part, gzip, plain};
use crate::pgbackrest::label::BackupType;
use crate::state::jobs::{ClusterKey, JobEnd, JobFact, JobFailure, Slot, Trigger};

fn text(operator: &Arc<OperatorMetrics>) -> String {
    let (snapshot, options) = (&Arc::default(), &Arc::new(Options::default()));
    let now = DateTime::from_timestamp(9, 0).unwrap();
    let clusters = ClusterMetrics::new(Arc::clone(operator));
    clusters.encode(options, now).unwrap();
    let host = StaticPart::encode(snapshot, options).unwrap().at(now, Format::Classic).unwrap();
    let static_part = &clusters.joined(&host, Format::Classic);
    let parts = Dynamic {
        static_part,
        collection: &Arc::new(CollectionMetrics::new()),
        operator: Some(operator),
        process: None,
        options,
    };
    let chunks = plain(static_part, dynamic_part(&parts, Format::Classic).unwrap(), 0).unwrap();
    String::from_utf8(chunks.collect::<Result<Vec<_>, _>>().unwrap().concat()).unwrap()
}

#[test]
fn a_fleet_is_reported_with_its_labels() {
    let metrics = Arc::new(OperatorMetrics::new(&["timeout", "conflict"]));
    let at = DateTime::from_timestamp(5, 0).unwrap();
    metrics.leads(true);
    metrics.queue_depth(3);
    metrics.reconciled("shop", "ledger", Ok(()), Duration::from_millis(40), at);
    metrics.reconciled("shop", "orders", Err("timeout"), Duration::from_secs(20), at);
    metrics.applied("shop", "ledger", &[("CronJob", true), ("StatefulSet", false)], &["CronJob"]);
    metrics.judged(
        "shop",
        "ledger",
        Judgement {
            ok: true,
            status: "Warning",
            lines: vec![],
            findings: BTreeMap::from([(("warning", "retention-unset"), 2)]),
            policies: vec![("encryption", false)],
            expiries: vec![("authority".to_owned(), at)],
        },
    );
    metrics.watch_restarted("CronJob");
    let text = text(&metrics);
    for line in [
        "pgbackrest_operator_reconcile_total 2.0\n",
        "pgbackrest_operator_reconcile_errors_total{reason=\"conflict\"} 0\n",
        "pgbackrest_operator_reconcile_errors_total{reason=\"timeout\"} 1\n",
        "pgbackrest_operator_reconcile_duration_seconds_count{outcome=\"error\"} 1\n",
        "pgbackrest_operator_leader 1\n",
        "pgbackrest_operator_queue_depth 3\n",
        "pgbackrest_operator_cluster_ok{namespace=\"shop\",pg_cluster=\"ledger\"} 1\n",
        "pgbackrest_operator_cluster_ok{namespace=\"shop\",pg_cluster=\"orders\"} 0\n",
        "pgbackrest_operator_last_reconcile_success_timestamp_seconds{namespace=\"shop\",pg_cluster=\"ledger\"} 5\n",
        "pgbackrest_operator_findings{code=\"retention-unset\",namespace=\"shop\",pg_cluster=\"ledger\",severity=\"warning\"} 2\n",
        "pgbackrest_operator_resource_ok{namespace=\"shop\",pg_cluster=\"ledger\",resource=\"StatefulSet\"} 0\n",
        "pgbackrest_operator_drift_corrected_total{namespace=\"shop\",resource=\"CronJob\"} 1\n",
        "pgbackrest_operator_watch_restarts_total{resource=\"CronJob\"} 1\n",
        "pgbackrest_policy_ok{namespace=\"shop\",pg_cluster=\"ledger\",policy=\"encryption\"} 0\n",
        "pgbackrest_certificate_expiry_timestamp_seconds{certificate=\"authority\",namespace=\"shop\",pg_cluster=\"ledger\"} 5\n",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    assert!(!text.contains("success_timestamp_seconds{namespace=\"shop\",pg_cluster=\"orders\"}"));
}

#[test]
fn what_is_gone_leaves_no_series() {
    let metrics = Arc::new(OperatorMetrics::new(&[]));
    let at = DateTime::from_timestamp(5, 0).unwrap();
    metrics.leads(true);
    metrics.reconciled("shop", "ledger", Ok(()), Duration::ZERO, at);
    metrics.reconciled("shop", "orders", Ok(()), Duration::ZERO, at);
    metrics.forget("shop", "ledger");
    let left = text(&metrics);
    assert!(!left.contains("ledger") && left.contains("orders"), "{left}");
    metrics.leads(false);
    let standby = text(&metrics);
    assert!(!standby.contains("orders") && standby.contains("pgbackrest_operator_leader 0\n"), "{standby}");
}

#[test]
fn restore_tests_are_told_until_they_are_gone() {
    let metrics = Arc::new(OperatorMetrics::new(&[]));
    metrics.leads(true);
    let at = |second| DateTime::from_timestamp(second, 0).unwrap();
    let nightly = RestoreTestState {
        is_ready: true,
        created: Some(at(5)),
        last_start: None,
        interval: Some(chrono::TimeDelta::days(1)),
        clusters: BTreeMap::from([("ledger".to_owned(), at(7))]),
        left_out: Some(2),
    };
    metrics.restore_test("shop", "nightly", nightly.clone());
    let told = text(&metrics);
    let series: Vec<&str> =
        told.lines().filter(|line| line.starts_with("pgbackrest_operator_restore_test_")).collect();
    assert_eq!(
        series,
        [
            "pgbackrest_operator_restore_test_cluster_selected_timestamp_seconds\
             {namespace=\"shop\",pg_cluster=\"ledger\",restore_test=\"nightly\"} 7",
            "pgbackrest_operator_restore_test_clusters_left_out{namespace=\"shop\",restore_test=\"nightly\"} 2",
            "pgbackrest_operator_restore_test_ready{namespace=\"shop\",restore_test=\"nightly\"} 1",
            "pgbackrest_operator_restore_test_created_timestamp_seconds{namespace=\"shop\",restore_test=\"nightly\"} 5",
            "pgbackrest_operator_restore_test_schedule_interval_seconds\
             {namespace=\"shop\",restore_test=\"nightly\"} 86400.0",
        ]
    );
    metrics.forget_restore_test("shop", "nightly");
    assert!(!text(&metrics).contains("nightly"));
    metrics.restore_test("shop", "nightly", nightly);
    metrics.leads(false);
    assert!(!text(&metrics).contains("nightly"));
}

#[test]
fn what_is_reported_is_stale_after_each_change_and_each_step_of_the_clock() {
    let (metrics, options) = (Arc::new(OperatorMetrics::new(&[])), Arc::new(Options::default()));
    let clusters = ClusterMetrics::new(Arc::clone(&metrics));
    let at = |second| DateTime::from_timestamp(second, 0).unwrap();
    metrics.leads(true);
    assert!(clusters.is_stale(at(100)), "nothing was told");
    clusters.encode(&options, at(100)).unwrap();
    assert!(!clusters.is_stale(at(109)) && clusters.is_stale(at(110)));
    let stale_after = |change: &dyn Fn()| {
        clusters.encode(&options, at(100)).unwrap();
        assert!(!clusters.is_stale(at(100)));
        change();
        clusters.is_stale(at(100))
    };
    assert!(stale_after(&|| metrics.reconciled("shop", "ledger", Ok(()), Duration::ZERO, at(100))));
    assert!(stale_after(&|| metrics.judged("shop", "ledger", Judgement::default())));
    assert!(stale_after(&|| metrics.applied("shop", "ledger", &[("Role", true)], &[])));
    assert!(stale_after(&|| metrics.fails("shop", "ledger", "Failing", vec![])));
    assert!(stale_after(&|| metrics.jobs.with_index(|index| index.cron_jobs(vec![], at(100)))));
    assert!(stale_after(&|| metrics.forget("shop", "ledger")));
    assert!(!stale_after(&|| metrics.leads(true)), "it led before");
    assert!(!stale_after(&|| metrics.queue_depth(7)), "that is told at each scrape");
}

#[test]
fn whoever_no_longer_leads_shows_no_cluster_at_once() {
    let (metrics, options) = (Arc::new(OperatorMetrics::new(&[])), Arc::new(Options::default()));
    let clusters = ClusterMetrics::new(Arc::clone(&metrics));
    let at = DateTime::from_timestamp(5, 0).unwrap();
    let body = StaticPart::encode(&Arc::default(), &options).unwrap();
    let series = || clusters.joined(&body, Format::OpenMetrics).series() - body.series();
    metrics.leads(true);
    metrics.reconciled("shop", "ledger", Ok(()), Duration::ZERO, at);
    assert_eq!(series(), 0, "not yet");
    clusters.encode(&options, at).unwrap();
    assert_eq!(series(), 2);
    metrics.leads(false);
    assert_eq!(series(), 0);
}

#[test]
fn all_parts_make_one_member_in_which_each_family_comes_once() {
    let (metrics, options) = (Arc::new(OperatorMetrics::new(&[])), Arc::new(Options::default()));
    let clusters = ClusterMetrics::new(Arc::clone(&metrics));
    let at = DateTime::from_timestamp(5000, 0).unwrap();
    metrics.leads(true);
    metrics.reconciled("shop", "ledger", Ok(()), Duration::ZERO, at);
    let fact = JobFact {
        cluster: ClusterKey::new("shop", "ledger"),
        slot: Slot { repo_key: 1, backup_type: BackupType::Full },
        uid: "a".into(),
        trigger: Trigger::Schedule,
        started: Some(at),
        failed_pods: 1,
        succeeded_pods: 0,
        end: Some(JobEnd { at, failure: Some(JobFailure { reason: "locked", exit_code: Some(50) }) }),
    };
    metrics.jobs.job(&fact, true, at);
    clusters.encode(&options, at).unwrap();
    let (collection, snapshot) = (Arc::new(CollectionMetrics::new()), Arc::default());
    let body = StaticPart::encode(&snapshot, &options).unwrap();
    for (format, header) in [
        (Format::Classic, "# TYPE pgbackrest_job_runs_total counter\n"),
        (Format::OpenMetrics, "# TYPE pgbackrest_job_runs counter\n"),
    ] {
        let static_part = &clusters.joined(&body.at(at, format).unwrap(), format);
        let (operator, process) = (Some(&metrics), None);
        let (collection, options) = (&collection, &options);
        let parts = Dynamic { static_part, collection, operator, process, options };
        let dynamic = dynamic_part(&parts, format).unwrap();
        let mut text = String::new();
        let member = gzip(static_part, &dynamic).unwrap().concat();
        GzDecoder::new(member.as_slice()).read_to_string(&mut text).unwrap();
        let chunks = plain(static_part, dynamic, u64::MAX).unwrap();
        assert_eq!(chunks.length(), text.len() as u64);
        assert_eq!(chunks.collect::<Result<Vec<_>, _>>().unwrap().concat(), text.as_bytes());
        assert!(text.contains(header) && text.contains("pgbackrest_job_runs_total{"), "{text}");
        let families: Vec<&str> = text.lines().filter(|line| line.starts_with("# TYPE ")).collect();
        assert_eq!(families.len(), families.iter().collect::<BTreeSet<_>>().len(), "{text}");
        let samples = text.lines().filter(|line| !line.starts_with('#')).count();
        assert!(text.contains(&format!("pgbackrest_exporter_series {samples}\n")), "{samples}\n{text}");
    }
}
