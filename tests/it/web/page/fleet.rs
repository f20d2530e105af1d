//! Pages of an operator: a fleet in every state, a large one, a replica that stands by, one that cannot work.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use pgbackrest_keeper::cluster::key::Key;
use pgbackrest_keeper::http::page::fleet::{self, FleetContext};
use pgbackrest_keeper::metrics::Fleet;
use pgbackrest_keeper::metrics::operator::{Judgement, Overview};
use pgbackrest_keeper::state::health::Health;
use pgbackrest_keeper::state::jobs::Concern;

use super::cases::{self, HOSTILE, now};

const CONTEXT: FleetContext<'static> = FleetContext {
    title: "pgbackrest-keeper-operator-7c9d5f6b8-x2x4p",
    metrics_path: "/metrics",
    version: "0.1.0",
    trouble: None,
    leader: None,
    interval: Duration::from_mins(5),
    collects: true,
    cluster: None,
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
    let mut with_jobs = cluster("returns", "Ok", &[]);
    let text = "repo1 full failed 10 min ago: lock_conflict (50)".to_owned();
    with_jobs.jobs = Arc::new([Concern { health: Health::Failed, text }]);
    vec![
        cluster("ledger", "Ok", &[]),
        cluster("stock", "Ok", &[]),
        cluster(
            "orders",
            "Warning",
            &[
                "warning retention-unset: spec.backup.pgbackrest.global.repo1-retention-full is not set: full \
                 backups never expire, and the storage fills up; set repo1-retention-full, such as '4'",
            ],
        ),
        cluster(
            "refunds",
            "Error",
            &[
                "error secret-missing: spec.backup.pgbackrest.configuration.secret (is \"keys\") does not exist in \
                 the cluster's namespace; create it, or fix the name",
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
        with_jobs,
        new,
    ]
}

/// What pgBackRest of some of them says.
fn known() -> Fleet {
    let snapshots = [
        ("ledger", cases::five_weeks()),
        ("stock", cases::restore_tests()),
        ("orders", cases::second_repo_hangs()),
        ("refunds", cases::nothing_answers()),
        ("standby-of-ledger", cases::hostile()),
    ];
    let entry = |(name, snapshot)| (Arc::new(Key::new("payments", name)), Arc::new(snapshot));
    Fleet { clusters: snapshots.map(entry).into_iter().collect(), as_of: now() }
}

fn known_of(names: &[&str]) -> Fleet {
    let mut fleet = known();
    fleet.clusters.retain(|key, _| names.contains(&key.name.as_str()));
    fleet
}

/// With a name for each.
pub(super) fn pages() -> Vec<(&'static str, String)> {
    let render = |clusters: Vec<Overview>, context| fleet::render(&clusters, &known(), &context, now());
    let trouble = "cannot list postgresql in all namespaces: the API server does not have this kind; install its \
         CustomResourceDefinition";
    let many = (0..1000).map(|number| cluster(&format!("c{number}"), "Ok", &[])).chain(fleet()).collect();
    let alone = |name| FleetContext { cluster: Some(name), ..CONTEXT };
    vec![
        ("fleet", render(fleet(), CONTEXT)),
        ("fleet-many", render(many, CONTEXT)),
        ("fleet-standby", render(Vec::new(), FleetContext { leader: Some("pod-2_00ff"), ..CONTEXT })),
        ("fleet-trouble", render(Vec::new(), FleetContext { trouble: Some(trouble), ..CONTEXT })),
        ("cluster", render(fleet(), alone("payments/orders"))),
        ("cluster-silent", render(fleet(), alone("payments/refunds"))),
        ("cluster-hostile", render(fleet(), alone("payments/standby-of-ledger"))),
        ("cluster-new", render(fleet(), alone("payments/just-made"))),
        ("cluster-unknown", render(fleet(), alone(HOSTILE))),
    ]
}

fn page(name: &str) -> String {
    pages().into_iter().find(|(known, _)| *known == name).unwrap().1
}

#[test]
fn a_fleet_is_sorted_by_set_up_jobs_and_backups() {
    let page = page("fleet");
    let place =
        |name: &str| page.find(&format!("<bdi>payments/{name}")).unwrap_or_else(|| panic!("{name}: {page}"));
    // Its set-up is well, and of its two repositories one hangs.
    assert!(place("refunds") < place("orders") && place("orders") < place("ledger"));
    assert!(place("returns") < place("orders"), "a job that failed counts");
    assert!(page.contains("href=\"?cluster=payments%2Forders\""));
    assert!(page.contains("repo1 full failed"), "{page}");
    assert!(page.contains("unknown"), "of what was not asked nothing is said");
}

#[test]
fn a_fleet_with_restore_tests_shows_what_they_have_proven() {
    let tested = page("fleet");
    for text in [
        "Proven by a restore",
        ">7 d 23 h ago</time>",
        "never tested",
        "about 41 min (measured 7 d 23 h ago), at worst 51 min",
    ] {
        assert!(tested.contains(text), "{text} is not in {tested}");
    }
    let clusters = vec![cluster("ledger", "Ok", &[])];
    let untested = fleet::render(&clusters, &known_of(&["ledger"]), &CONTEXT, now());
    assert!(!untested.contains("Proven by a restore"), "{untested}");
}

#[test]
fn a_cluster_has_a_page_of_its_own() {
    let orders = page("cluster");
    for text in [
        "payments/orders needs attention",
        "retention-unset",
        "Restorable at least to",
        "repo2",
        "all clusters",
    ] {
        assert!(orders.contains(text), "{text} is not in {orders}");
    }
    assert!(page("cluster-silent").contains("payments/refunds has failed"));
    assert!(page("cluster-new").contains("No data from its pgBackRest yet"));
    assert!(page("cluster-unknown").contains("not found"));
}
