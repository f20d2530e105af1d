//! A resource that changes many times a second is still reconciled.

use std::time::Duration;

use kube::Api;
use kube::api::{DynamicObject, Patch, PatchParams};
use pgbackrest_keeper::kubernetes::client::{ConnectOptions, connect};
use pgbackrest_keeper::operator::scope::postgresql;
use serde_json::json;

use super::{in_bucket, open_namespace, wait_for_object};
use crate::support::control_plane::ControlPlane;
use crate::support::operator::Installation;

#[test]
fn what_changes_without_rest_is_looked_after() {
    let Some(plane) = ControlPlane::start("what_changes_without_rest_is_looked_after") else { return };
    let kubectl = plane.kubectl().clone();
    let installation = Installation::whole(&plane);
    open_namespace(&kubectl, "shop");
    kubectl.apply(&in_bucket("shop", "restless").to_string(), &[]);
    let options = ConnectOptions { kubeconfig: Some(plane.kubeconfig().to_owned()), context: None };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let changes = runtime.spawn(async move {
        let client = connect(&options).await.unwrap();
        let resources: Api<DynamicObject> = Api::namespaced_with(client, "shop", &postgresql());
        for count in 0_u64.. {
            let change = json!({"metadata": {"annotations": {"example.org/count": count.to_string()}}});
            let (parameters, change) = (PatchParams::default(), Patch::Merge(change));
            resources.patch("restless", &parameters, &change).await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let operator = installation.start(&[]);
    wait_for_object(&kubectl, "shop", "cronjob", "pgbackrest-restless-repo1-full");
    // It is seen again, too, when it has been looked after once.
    kubectl.run(&["--namespace=shop", "delete", "cronjob", "pgbackrest-restless-repo1-full"]);
    wait_for_object(&kubectl, "shop", "cronjob", "pgbackrest-restless-repo1-full");
    assert!(!changes.is_finished(), "it has changed all the while");
    changes.abort();
    let (code, log) = operator.stop();
    assert_eq!(code, Some(0), "{log}");
}
