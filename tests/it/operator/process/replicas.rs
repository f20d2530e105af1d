//! Two replicas, a leader that is killed, and an API server that is unavailable for a while.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{
    assert_nothing_forbidden, assert_nothing_forbidden_since, in_bucket, open_namespace, wait_for_object,
};
use crate::support::control_plane::ControlPlane;
use crate::support::operator::{Installation, Operator};
use crate::support::process::{is_alive, wait_for};

#[test]
fn another_replica_goes_on_and_outlives_the_api_server() {
    let Some(mut plane) = ControlPlane::start("another_replica_goes_on_and_outlives_the_api_server") else {
        return;
    };
    let kubectl = plane.kubectl().clone();
    let installation = Installation::whole(&plane);
    open_namespace(&kubectl, "shop");
    let first = installation.start(&["--lease-duration=30s"]);
    wait_for("the first to lead", || first.leads().then_some(()));
    first.wait_until_ready();
    let second = installation.start(&["--lease-duration=30s"]);
    second.wait_until_ready();
    assert!(first.leads() && !second.leads(), "one of them leads");

    kubectl.apply(&in_bucket("shop", "orders").to_string(), &[]);
    wait_for_object(&kubectl, "shop", "cronjob", "pgbackrest-orders-repo1-full");
    let count = |operator: &Operator| operator.samples().all("pgbackrest_operator_cluster_ok", &[]).len();
    wait_for("the leader to tell of it", || (count(&first) == 1).then_some(()));
    assert_eq!(count(&second), 0, "whoever stands by knows nothing of clusters");
    let holder = installation.leader();
    first.kill();
    let killed = Instant::now();
    kubectl.apply(&in_bucket("shop", "ledger").to_string(), &[]);
    wait_for("the second to lead", || second.leads().then_some(()));
    assert!(killed.elapsed() > Duration::from_secs(9), "the lease was held for some time yet");
    assert_ne!(installation.leader(), holder);
    wait_for_object(&kubectl, "shop", "cronjob", "pgbackrest-ledger-repo1-full");

    assert_nothing_forbidden(&installation);
    plane.stop_api_server();
    wait_for("the second to give up leading", || (!second.leads()).then_some(()));
    assert_eq!(second.get("/healthz").status.as_u16(), 200, "nothing is wrong with the process");
    assert_eq!(second.ready().0, 503);
    plane.start_api_server();
    wait_for("the second to lead again", || second.leads().then_some(()));
    // An API server that has just started knows nobody's rights for a moment.
    let restarted = installation.requests().len();
    let id = i32::try_from(second.id()).unwrap();
    assert!(is_alive(id));
    // It sees what changes from now on, and what was changed meanwhile.
    let mut changed = in_bucket("shop", "orders");
    changed["spec"]["backup"]["pgbackrest"]["repos"][0]["schedule"]["full"] = json!("0 3 * * 0");
    kubectl.apply(&changed.to_string(), &["--force-conflicts"]);
    wait_for("the change to arrive", || {
        let cron_job = kubectl.get("shop", "cronjob", "pgbackrest-orders-repo1-full")?;
        (cron_job["spec"]["schedule"] == "0 3 * * 0").then_some(())
    });
    assert_nothing_forbidden_since(&installation, restarted);
    let (code, log) = second.stop();
    assert_eq!(code, Some(0), "{log}");
}

#[test]
fn it_ends_while_the_api_server_is_gone() {
    let Some(mut plane) = ControlPlane::start("it_ends_while_the_api_server_is_gone") else { return };
    let installation = Installation::whole(&plane);
    let operator = installation.start(&[]);
    operator.wait_until_ready();
    plane.stop_api_server();
    // Which does not wait for long, and never for the API server.
    let (code, log) = operator.stop();
    assert_eq!(code, Some(0), "{log}");
}
