//! Pages of an operator: a fleet in every state, a large one, a replica that stands by, one that cannot work.

use std::sync::Arc;

use chrono::TimeDelta;
use pgbackrest_keeper::http::page::fleet::{self, FleetContext};
use pgbackrest_keeper::metrics::operator::{Judgement, Overview};

use super::cases::{HOSTILE, now};

const CONTEXT: FleetContext<'static> = FleetContext {
    title: "pgbackrest-keeper-operator-7c9d5f6b8-x2x4p",
    metrics_path: "/metrics",
    version: "0.1.0",
    trouble: None,
    leader: None,
};

fn cluster(name: &str, status: &'static str, lines: &[&str]) -> Overview {
    let lines = lines.iter().map(|line| (*line).to_owned()).collect();
    Overview {
        key: ("payments".to_owned(), name.to_owned()),
        judgement: Arc::new(Judgement { status, lines, ..Judgement::default() }),
        last_success: Some(now() - TimeDelta::minutes(12)),
        jobs: Arc::default(),
    }
}

fn fleet() -> Vec<Overview> {
    let mut new = cluster("just-made", "", &[]);
    new.last_success = None;
    vec![
        cluster("ledger", "Ok", &[]),
        cluster(
            "orders",
            "Warning",
            &[
                "warning retention-unset: spec.backup.pgbackrest.global.repo1-retention-full is not set, so full \
             backups are kept until the storage is full; set it, such as \"4\"",
            ],
        ),
        cluster(
            "refunds",
            "Error",
            &[
                "error secret-missing: spec.backup.pgbackrest.configuration.secret (is \"keys\") names a Secret that \
             does not exist; create it with a key that ends in .conf",
                "warning schedules-collide: spec.backup.pgbackrest.repos[1].schedule.incr fires with \
             repos[0].schedule.full; move one of them",
            ],
        ),
        cluster(
            "invoices",
            "Failing",
            &[
                "reconcile failed (apply): cannot write: apply StatefulSet invoices-pgbackrest-repo-host: no answer within 15s",
            ],
        ),
        cluster("standby-of-ledger", "Suspended", &["info suspended: spec.standby is set; nothing to do"]),
        cluster(&"long-name-".repeat(25), "Paused", &[HOSTILE]),
        new,
    ]
}

/// With a name for each.
pub(super) fn pages() -> Vec<(&'static str, String)> {
    let render = |clusters, context| fleet::render(clusters, &context, now());
    let trouble = "cannot list postgresql in all namespaces: the API server does not know this kind; install its \
        CustomResourceDefinition";
    let many = (0..1000).map(|number| cluster(&format!("c{number}"), "Ok", &[])).chain(fleet()).collect();
    vec![
        ("fleet", render(fleet(), CONTEXT)),
        ("fleet-many", render(many, CONTEXT)),
        ("fleet-standby", render(Vec::new(), FleetContext { leader: Some("pod-2_00ff"), ..CONTEXT })),
        ("fleet-trouble", render(Vec::new(), FleetContext { trouble: Some(trouble), ..CONTEXT })),
    ]
}
