//! A real Prometheus that scrapes a real exporter of real backups answers the queries of the dashboards, as far as a host has the data.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use chrono::Utc;
use serde_json::Value;

use super::answers::{Selection, answers, is_of_kubernetes};
use super::{Dashboard, Query, all, queries};
use crate::support::lab::Lab;
use crate::support::machine::Pgbackrest;
use crate::support::stack::{self, JOB, Stack, stack};

#[test]
fn a_real_host_fills_the_dashboards() {
    let Some(site) = stack::site("a_real_host_fills_the_dashboards", Pgbackrest::installed()) else { return };
    let lab = Lab::start(&site, 16);
    // It is there before the first backup.
    let Stack { prometheus, exporter, .. } = stack(&lab, &["--collect.interval=1"]).start();
    // A deviation is one from several before.
    for (repo, backup_type) in [
        (1, "full"),
        (1, "full"),
        (1, "full"),
        (1, "full"),
        (1, "diff"),
        (1, "incr"),
        (2, "full"),
        (2, "incr"),
    ] {
        lab.back_up(repo, backup_type);
    }
    // With the interval of a quarter of an hour that it has by default: a new backup is listed at once.
    exporter.wait("proven windows", |samples| {
        let verified = |repo| samples.find("pgbackrest_recovery_window_verified", &[("repo_key", repo)]);
        let backups = samples.all("pgbackrest_backup_info", &[]).len();
        (verified("1") == Some(1.0) && verified("2") == Some(1.0) && backups == 8).then_some(())
    });
    prometheus.wait_for_value("sum(pgbackrest_repo_up) == 2");
    lab.postgres.archive_all();
    let dashboards: Vec<Value> = all().iter().map(Dashboard::json).collect();
    // `operator::` and `node_fleet` see the others of a real operator.
    let asked = dashboards.iter().flat_map(queries).filter(|query| !is_of_kubernetes(query));
    // The position's slope is drawn of an hour, which this Prometheus does not have.
    let asked = asked.map(|query| Query { text: query.text.replace("[1h:5m]", "[1m:1s]"), ..query });
    let mut silent: Vec<Query> = asked.collect();
    let expected = [
        // No alert fires, and there is no certificate.
        "pgBackRest / Cluster: annotation Alerts",
        "pgBackRest / Fleet: Active alerts A",
        "pgBackRest / Fleet: annotation Alerts",
        "pgBackRest / Operator & Exporter: annotation Alerts",
        "pgBackRest / Fleet: Next credential expiry A",
        // No backup blocks expiry.
        "pgBackRest / Fleet: Backups by cluster and repository, worst first I",
        // WAL is archived, and its queue has no limit.
        "pgBackRest / Cluster: WAL is dropped A",
        "pgBackRest / Cluster: WAL was dropped A",
        "pgBackRest / Cluster: WAL waiting to be archived B",
        "pgBackRest / Cluster: Archiving errors A",
        "pgBackRest / Cluster: Archiving errors B",
        // There are no restore tests.
        "pgBackRest / Fleet: Oldest proof A",
        "pgBackRest / Fleet: Failing tests A",
        "pgBackRest / Fleet: Age of the last proof A",
        "pgBackRest / Fleet: Recovery time, estimated A",
        "pgBackRest / Cluster: Last passed test A",
        "pgBackRest / Cluster: Failing repositories A",
        "pgBackRest / Cluster: Tested full backups A",
        "pgBackRest / Cluster: Newest tested backup A",
        "pgBackRest / Cluster: Recovery time, estimated A",
        "pgBackRest / Cluster: Measured A",
        "pgBackRest / Cluster: Recovery time by repository A",
        "pgBackRest / Cluster: Duration of the last test by phase A",
        "pgBackRest / Cluster: Newest restore test of each repository A",
        "pgBackRest / Cluster: Newest restore test of each repository B",
        "pgBackRest / Cluster: Newest restore test of each repository C",
        "pgBackRest / Cluster: Newest restore test of each repository D",
        "pgBackRest / Cluster: Newest restore test of each repository E",
        "pgBackRest / Cluster: Newest restore test of each repository F",
        "pgBackRest / Cluster: Newest restore test of each repository G",
        "pgBackRest / Cluster: Results A",
        "pgBackRest / Cluster: Reasons A",
        // There are no verifications.
        "pgBackRest / Cluster: Last passed verification A",
        "pgBackRest / Cluster: Repositories with faults A",
        "pgBackRest / Cluster: Newest verification of each repository A",
        "pgBackRest / Cluster: Newest verification of each repository B",
        "pgBackRest / Cluster: Newest verification of each repository C",
        "pgBackRest / Cluster: Newest verification of each repository D",
        "pgBackRest / Cluster: Newest verification of each repository E",
        "pgBackRest / Cluster: Newest verification of each repository F",
        "pgBackRest / Cluster: Newest verification of each repository G",
        "pgBackRest / Cluster: Files of the newest verification A",
        "pgBackRest / Cluster: Reasons of verifications A",
        // Nobody is notified.
        "pgBackRest / Operator & Exporter: Failed calls by reason A",
        "pgBackRest / Operator & Exporter: Messages waiting A",
        // A host has none of these labels.
        "pgBackRest / Cluster: variable namespace",
        "pgBackRest / Cluster: variable pg_cluster",
        "pgBackRest / Fleet: variable namespace",
        "pgBackRest / Fleet: variable pg_cluster",
    ];
    // Rates need a few scrapes.
    let deadline = Instant::now() + Duration::from_mins(2);
    loop {
        let end = Utc::now().timestamp();
        let host = Selection { job: JOB, namespace: ".*", pg_cluster: ".*", start: end - 60, end, step: 1 };
        silent.retain(|query| answers(&prometheus, query, &host) == 0);
        if silent.len() <= expected.len() || Instant::now() > deadline {
            break;
        }
        thread::sleep(Duration::from_secs(1));
    }
    let silent: BTreeSet<&str> = silent.iter().map(|query| query.place.as_str()).collect();
    assert_eq!(silent, BTreeSet::from(expected));
    assert_eq!(exporter.stop(), Some(0));
}
