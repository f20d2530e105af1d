//! Backup metrics appear and disappear with their cluster, and only the leader serves them.

use serde_json::json;

use super::{assert_nothing_forbidden, in_bucket, open_namespace};
use crate::support::control_plane::ControlPlane;
use crate::support::operator::{Installation, Operator};
use crate::support::process::wait_for;

const UP: &str = "pgbackrest_collector_up";

/// The clusters of which backups are told.
fn told(operator: &Operator) -> Vec<(String, f64)> {
    let samples = operator.samples();
    let mut told: Vec<_> = ["orders", "ledger"]
        .into_iter()
        .filter_map(|name| {
            Some((name.to_owned(), samples.find(UP, &[("namespace", "shop"), ("pg_cluster", name)])?))
        })
        .collect();
    told.sort_by(|one, other| one.0.cmp(&other.0));
    told
}

fn both() -> Vec<(String, f64)> {
    // There are no pods to ask.
    vec![("ledger".to_owned(), 0.0), ("orders".to_owned(), 0.0)]
}

#[test]
fn facts_come_and_go_with_their_cluster() {
    let Some(plane) = ControlPlane::start("facts_come_and_go_with_their_cluster") else { return };
    let kubectl = plane.kubectl().clone();
    let installation = Installation::whole(&plane);
    open_namespace(&kubectl, "shop");
    for name in ["orders", "ledger"] {
        kubectl.apply(&in_bucket("shop", name).to_string(), &[]);
    }
    let leader = installation.start(&["--collect.interval=2s"]);
    wait_for("both clusters to be told of", || (told(&leader) == both()).then_some(()));
    let standby = installation.start(&[]);
    standby.wait_until_ready();
    assert!(told(&standby).is_empty(), "whoever stands by tells of no cluster");
    let failures = |operator: &Operator| {
        let of_pods = [("collector", "info"), ("reason", "no_pod")];
        operator.samples().value("pgbackrest_collector_failures_total", &of_pods)
    };
    assert!(failures(&leader) > 0.0);
    let page = String::from_utf8(leader.get("/?cluster=shop%2Forders").body.to_vec()).unwrap();
    assert!(page.contains("shop/orders has failed") && page.contains("no pod has the labels"), "{page}");

    // An invalid resource is asked for what was asked before.
    let mut invalid = in_bucket("shop", "orders");
    invalid["spec"]["backup"]["pgbackrest"]["repos"][0]["endpoint"] = json!("");
    kubectl.apply(&invalid.to_string(), &["--force-conflicts"]);
    let ok = |name| leader.samples().find("pgbackrest_operator_cluster_ok", &[("pg_cluster", name)]);
    wait_for("the mistake to be seen", || (ok("orders") == Some(0.0)).then_some(()));
    let last_run = || {
        leader.samples().value("pgbackrest_collector_last_run_timestamp_seconds", &[("pg_cluster", "orders")])
    };
    let before = last_run();
    wait_for("the next look at it", || (last_run() > before).then_some(()));

    kubectl.run(&["--namespace=shop", "delete", "postgresql", "orders"]);
    wait_for("the cluster to be forgotten", || (told(&leader) == both()[..1]).then_some(()));
    // One that is another controller's is none of ours.
    let mut theirs = in_bucket("shop", "ledger");
    theirs["metadata"]["annotations"] = json!({"cpo.opensource.cybertec.at/controller": "other"});
    kubectl.apply(&theirs.to_string(), &["--force-conflicts"]);
    wait_for("the other cluster to be left alone", || told(&leader).is_empty().then_some(()));
    let requests = installation.requests();
    let mut of_pods = requests.iter().filter(|request| request.resource.starts_with("pods"));
    assert!(
        of_pods.all(|request| matches!(request.verb.as_str(), "get" | "list" | "watch")),
        "{requests:#?}"
    );
    assert_nothing_forbidden(&installation);
    for operator in [leader, standby] {
        let (code, log) = operator.stop();
        assert_eq!(code, Some(0), "{log}");
    }
}
