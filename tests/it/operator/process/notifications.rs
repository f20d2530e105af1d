//! Only the leader notifies, and its successor tells again what is wrong.

use serde_json::Value;

use super::{in_bucket, open_namespace};
use crate::support::control_plane::ControlPlane;
use crate::support::operator::Installation;
use crate::support::process::wait_for;
use crate::support::sink::Sink;

#[test]
fn only_the_leader_notifies() {
    let Some(plane) = ControlPlane::start("only_the_leader_notifies") else { return };
    let installation = Installation::whole(&plane);
    open_namespace(plane.kubectl(), "shop");
    for name in ["orders", "ledger"] {
        plane.kubectl().apply(&in_bucket("shop", name).to_string(), &[]);
    }
    let (sink, directory) = (Sink::start(), tempfile::tempdir().unwrap());
    let start = |name: &str| {
        let file = directory.path().join(name);
        let url = format!("http://{}/{name}", sink.address);
        let text = format!(
            "webhooks:\n- {{name: pager, url: '{url}', services: [collection], clusters: [shop/orders], for: 0s}}\n\
             heartbeats:\n- {{name: collected, url: '{url}/heartbeat', interval: 1s, services: [collection]}}\n"
        );
        std::fs::write(&file, text).unwrap();
        let config = format!("--notify.config.file={}", file.display());
        installation.start(&[&config, "--collect.interval=2s", "--lease-duration=30s"])
    };
    // The first message may be that nothing is known yet.
    let told = |path: &str| -> Vec<Value> {
        let bodies = sink.at(path).into_iter().map(|request| request.body);
        let bodies = bodies.map(|body| serde_json::from_slice::<Value>(&body).unwrap());
        let changes = bodies.flat_map(|body| body["changes"].as_array().unwrap().clone());
        changes.filter(|change| change.get("pg_cluster").is_some()).collect()
    };
    let first = start("first");
    wait_for("the first to notify", || (!told("/first").is_empty()).then_some(()));
    let change = &told("/first")[0];
    assert_eq!((&change["namespace"], &change["pg_cluster"]), (&"shop".into(), &"orders".into()), "{change}");
    // There are no pods to ask.
    assert_eq!((&change["status"], &change["previous"]), (&"UNKNOWN".into(), &Value::Null), "{change}");
    let second = start("second");
    second.wait_until_ready();
    let targets = |samples: crate::support::exposition::Samples| {
        samples.all("pgbackrest_notification_deliveries_total", &[]).len()
    };
    assert_eq!((targets(first.samples()), targets(second.samples())), (2, 0));
    assert!(sink.at("/second").is_empty());
    first.kill();
    wait_for("the second to notify", || (!told("/second").is_empty()).then_some(()));
    assert!(second.leads());
    assert_eq!(told("/first").len(), 1, "nothing is repeated");
    assert!(sink.received().iter().all(|request| !request.path.ends_with("heartbeat")));
    assert_eq!(second.stop().0, Some(0));
}
