//! The real API server: rejected requests, and a lease that changes its holder.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, PostParams};
use pgbackrest_keeper::kubernetes::client::{CALL_DEADLINE, CallFailure, ConnectOptions, call, connect};
use pgbackrest_keeper::kubernetes::exec::{Exec, ExecError, exec};
use pgbackrest_keeper::kubernetes::lease::{Leadership, LeaseOptions, keep};
use pgbackrest_keeper::kubernetes::shard::Shard;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::support::control_plane::ControlPlane;
use crate::support::web::PATIENCE;

const NAMESPACE: &str = "lease-and-client";

/// The server, a namespace of ours in it, and an administrator's client.
async fn server(test: &'static str) -> Option<(&'static ControlPlane, kube::Client)> {
    let start = move || {
        let plane = ControlPlane::shared(test)?;
        plane.kubectl().output(&["create", "namespace", NAMESPACE]);
        Some(plane)
    };
    let plane = tokio::task::spawn_blocking(start).await.unwrap()?;
    let options = ConnectOptions { kubeconfig: Some(plane.kubeconfig().to_owned()), context: None };
    Some((plane, connect(&options).await.unwrap()))
}

#[tokio::test]
async fn the_real_server_refuses_in_these_words() {
    let Some((plane, client)) = server("the_real_server_refuses_in_these_words").await else { return };
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), NAMESPACE);
    let params = PostParams::default();
    let named = |name: &str| {
        let mut map = ConfigMap::default();
        map.metadata.name = Some(name.to_owned());
        map
    };
    let read = call("get ConfigMap absent", CALL_DEADLINE, maps.get("absent")).await.unwrap_err();
    assert_eq!(read.failure, CallFailure::NotFound, "{read}");

    let mut made = maps.create(&params, &named("made")).await.unwrap();
    let again = named("made");
    let again = call("create ConfigMap", CALL_DEADLINE, maps.create(&params, &again)).await.unwrap_err();
    assert_eq!(again.failure, CallFailure::AlreadyExists, "{again}");

    made.data = Some([("a".to_owned(), "1".to_owned())].into());
    maps.replace("made", &params, &made).await.unwrap();
    let stale = call("replace ConfigMap", CALL_DEADLINE, maps.replace("made", &params, &made));
    let stale = stale.await.unwrap_err();
    assert_eq!(stale.failure, CallFailure::Conflict, "{stale}");

    let wrong = named("Not A Name");
    let wrong = call("create ConfigMap", CALL_DEADLINE, maps.create(&params, &wrong)).await.unwrap_err();
    assert_eq!(wrong.failure, CallFailure::Invalid, "{wrong}");
    assert!(wrong.message.contains("Not A Name"), "{wrong}");

    let user = tokio::task::spawn_blocking(|| plane.user("nobody", &[])).await.unwrap();
    let nobody = connect(&ConnectOptions { kubeconfig: Some(user), context: None }).await.unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(nobody, NAMESPACE);
    let refused = call("get ConfigMap made", CALL_DEADLINE, maps.get("made")).await.unwrap_err();
    assert_eq!(refused.failure, CallFailure::Forbidden, "{refused}");
    assert!(refused.message.contains("nobody"), "{refused}");

    let absent = Exec {
        namespace: NAMESPACE,
        pod: "absent",
        container: "postgres",
        command: &["true".to_owned()],
        deadline: CALL_DEADLINE,
        most_output: 0,
    };
    let error = exec(&client, absent).await.unwrap_err();
    assert!(matches!(&error, ExecError::Call(error) if error.is_not_found()), "{error:?}");
}

#[tokio::test]
async fn the_real_server_takes_our_lease() {
    let Some((_, client)) = server("the_real_server_takes_our_lease").await else { return };
    let start = |identity: &str| {
        let options = LeaseOptions {
            namespace: NAMESPACE.to_owned(),
            name: "operator".to_owned(),
            shard: Shard::default(),
            identity: identity.to_owned(),
            // What a busy machine does not exceed.
            duration: Duration::from_millis(14_500),
        };
        let (sender, believed) = watch::channel(Leadership::Waiting);
        let stop = CancellationToken::new();
        (tokio::spawn(keep(client.clone(), options, sender, stop.clone())), believed, stop)
    };
    let (keeping, mut first, stop) = start("first");
    timeout(PATIENCE, first.wait_for(|now| *now == Leadership::Leading)).await.expect("a leader").unwrap();
    let (second_keeping, mut second, second_stop) = start("second");
    let following = Leadership::Following("first".to_owned());
    timeout(PATIENCE, second.wait_for(|now| *now == following)).await.expect("a follower").unwrap();
    let leases: Api<Lease> = Api::namespaced(client.clone(), NAMESPACE);
    let spec = leases.get("operator").await.unwrap().spec.unwrap();
    assert_eq!((spec.holder_identity.as_deref(), spec.lease_duration_seconds), (Some("first"), Some(15)));

    stop.cancel();
    keeping.await.unwrap();
    timeout(PATIENCE, second.wait_for(|now| *now == Leadership::Leading)).await.expect("a leader").unwrap();
    let spec = leases.get("operator").await.unwrap().spec.unwrap();
    assert_eq!((spec.holder_identity.as_deref(), spec.lease_transitions), (Some("second"), Some(1)));
    second_stop.cancel();
    second_keeping.await.unwrap();
    assert_eq!(leases.get("operator").await.unwrap().spec.unwrap().holder_identity, None);
}
