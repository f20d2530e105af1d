//! A real Prometheus that scrapes a real exporter of real backups answers what the dashboards ask, as far as a host knows it.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use chrono::Utc;
use serde_json::Value;

use super::answers::{Selection, Shown, answers};
use super::{Dashboard, Query, all, queries};
use crate::support::exporter::Exporter;
use crate::support::lab::{Lab, Site};
use crate::support::machine::{Pgbackrest, skip};
use crate::support::prometheus::Prometheus;

const HOST: Selection = Selection { job: "pgbackrest", namespace: ".*", pg_cluster: ".*" };
/// Of series that only an operator or a kubelet serves. `operator::` and `node_fleet` see those of a real operator.
const OF_KUBERNETES: [&str; 5] = [
    "pgbackrest_schedule_",
    "pgbackrest_job_",
    "pgbackrest_operator_",
    "pgbackrest_certificate_",
    "kubelet_",
];

#[test]
fn a_real_host_fills_the_dashboards() {
    if let Err(missing) = fill_the_dashboards() {
        skip("a_real_host_fills_the_dashboards", missing);
    }
}

fn fill_the_dashboards() -> Result<(), String> {
    let site = Site::new(Pgbackrest::installed())?;
    let lab = Lab::start(&site, 16);
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
    let exporter = Exporter::start(&site, &lab.both, &["--collect.interval=1"]);
    let prometheus = Prometheus::start(&[("pgbackrest", &exporter.address)])?;
    prometheus.wait_for_value("sum(pgbackrest_repo_up) == 2");
    lab.postgres.archive_all();
    // Rates need a few scrapes.
    thread::sleep(Duration::from_secs(10));
    let end = Utc::now().timestamp();
    let shown = Shown { start: end - 60, end, step: 1 };
    let dashboards: Vec<Value> = all().iter().map(Dashboard::json).collect();
    let silent = dashboards.iter().flat_map(queries).filter(|query| {
        !OF_KUBERNETES.iter().any(|name| query.text.contains(name)) && {
            // The position's slope is drawn of an hour, which this Prometheus does not have.
            let text = query.text.replace("[1h:5m]", "[1m:1s]");
            answers(&prometheus, &Query { text, place: query.place.clone(), kind: query.kind }, &HOST, &shown)
                == 0
        }
    });
    let silent: BTreeSet<String> = silent.map(|query| query.place).collect();
    let silent: BTreeSet<&str> = silent.iter().map(String::as_str).collect();
    let expected = [
        // No alert fires, and there is no certificate.
        "pgBackRest / Cluster: annotation Alerts",
        "pgBackRest / Fleet: What fires A",
        "pgBackRest / Fleet: annotation Alerts",
        "pgBackRest / Operator & Exporter: annotation Alerts",
        "pgBackRest / Fleet: Next credential ends A",
        // A host has none of these labels.
        "pgBackRest / Cluster: variable namespace",
        "pgBackRest / Cluster: variable pg_cluster",
        "pgBackRest / Fleet: variable namespace",
        "pgBackRest / Fleet: variable pg_cluster",
    ];
    assert_eq!(silent, BTreeSet::from(expected));
    assert_eq!(exporter.stop(), Some(0));
    Ok(())
}
