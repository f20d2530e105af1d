//! A fleet split by namespaces: each operator has its namespaces and its lease.

use super::{allow_leases, in_bucket, open_namespace, ours, wait_for_object};
use crate::support::control_plane::ControlPlane;
use crate::support::operator::Installation;
use crate::support::process::wait_for;

#[test]
fn each_part_of_a_fleet_has_its_own_operator() {
    let Some(plane) = ControlPlane::start("each_part_of_a_fleet_has_its_own_operator") else { return };
    let kubectl = plane.kubectl().clone();
    let installation = Installation::whole(&plane);
    // Another lease needs another rule.
    allow_leases(&kubectl, &["south"], &["get", "update", "patch"]);
    for namespace in ["oslo", "bergen", "rome", "nowhere"] {
        open_namespace(&kubectl, namespace);
        kubectl.apply(&in_bucket(namespace, "orders").to_string(), &[]);
    }
    let north = installation.start(&["--namespaces=oslo,bergen"]);
    let south = installation.start(&["--namespaces=rome", "--lease-name=south", "--concurrency=1"]);
    for namespace in ["oslo", "bergen", "rome"] {
        wait_for_object(&kubectl, namespace, "cronjob", "pgbackrest-orders-repo1-full");
    }
    assert!(north.leads() && south.leads());
    north.wait_until_ready();
    south.wait_until_ready();
    assert!(ours(&kubectl, "nowhere").is_empty());
    // Drift in a second namespace is seen as well.
    kubectl.run(&[
        "--namespace=bergen",
        "patch",
        "cronjob",
        "pgbackrest-orders-repo1-full",
        "--type=merge",
        "--patch",
        r#"{"spec":{"schedule":"5 5 * * *"}}"#,
    ]);
    wait_for("the schedule to be put right", || {
        let cron_job = kubectl.get("bergen", "cronjob", "pgbackrest-orders-repo1-full")?;
        (cron_job["spec"]["schedule"] == "0 1 * * 0").then_some(())
    });
    for operator in [north, south] {
        let (code, log) = operator.stop();
        assert_eq!(code, Some(0), "{log}");
    }
}
