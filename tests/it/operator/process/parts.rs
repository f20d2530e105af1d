//! A fleet in two parts on the real API server: each operator works with the permissions for its own part only.

use std::path::Path;

use super::{in_bucket, open_namespace, ours, wait_for_object};
use crate::support::control_plane::ControlPlane;
use crate::support::operator::{Installation, NAMESPACE, Request, image_of};
use crate::support::process::wait_for;

#[test]
fn each_part_is_looked_after_by_its_own_operator() {
    let Some(plane) = ControlPlane::start("each_part_is_looked_after_by_its_own_operator") else { return };
    let kubectl = plane.kubectl().clone();
    for namespace in ["bank", "shop"] {
        open_namespace(&kubectl, namespace);
    }
    let overlay = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/overlays/split");
    kubectl.apply(&kubectl.run(&["kustomize", &overlay.display().to_string()]), &["--validate=strict"]);
    kubectl.run(&["wait", "--for=condition=Established", "crd/postgresqls.cpo.opensource.cybertec.at"]);
    let name = |namespace: &str| format!("pgbackrest-keeper-operator-{namespace}");
    let parts = ["bank", "shop"].map(|namespace| {
        let installation = Installation::part(&plane, &name(namespace));
        let operator = installation.start_as_deployed();
        (namespace, installation, operator)
    });
    // Both at once, which with one lease they could not.
    for (_, _, operator) in &parts {
        operator.wait_until_ready();
        wait_for("the part's operator to lead", || operator.leads().then_some(()));
    }
    for (namespace, _, _) in &parts {
        kubectl.apply(&in_bucket(namespace, "orders").to_string(), &[]);
    }
    for (namespace, installation, operator) in &parts {
        let full = wait_for_object(&kubectl, namespace, "cronjob", "pgbackrest-orders-repo1-full");
        let pod = &full["spec"]["jobTemplate"]["spec"]["template"]["spec"];
        assert_eq!(pod["containers"][0]["image"], image_of(&kubectl, &name(namespace)));
        wait_for("the objects", || (ours(&kubectl, namespace).len() > 5).then_some(()));
        let known = wait_for("what the operator tells of", || {
            let samples = operator.samples();
            let known = samples.all("pgbackrest_operator_cluster_ok", &[]).len();
            (known > 0).then_some(known)
        });
        assert_eq!(known, 1, "{namespace}");
        assert!(installation.leader().is_some(), "{namespace}");
    }
    let (_, installation, _) = &parts[0];
    let requests = installation.requests();
    let refused: Vec<&Request> =
        requests.iter().filter(|request| matches!(request.code, 401 | 403)).collect();
    assert!(refused.is_empty(), "{refused:#?}");

    for (own, other) in [("bank", "shop"), ("shop", "bank")] {
        let mut account = kubectl.clone();
        account.kubeconfig = plane.service_account(NAMESPACE, &name(own));
        let may = |namespace: &str, asked: &str| {
            let mut arguments = vec!["auth", "can-i", "--quiet", "--namespace", namespace];
            arguments.extend(asked.split(' '));
            account.output(&arguments).status.success()
        };
        let lease = |part: &str| format!("update leases.coordination.k8s.io/{}", name(part));
        assert!(may(own, "get secrets") && !may(other, "get secrets"));
        assert!(may(own, "create pods --subresource=exec") && !may(other, "create pods --subresource=exec"));
        assert!(may(NAMESPACE, &lease(own)) && !may(NAMESPACE, &lease(other)));
        assert!(may(NAMESPACE, "get pods") && !may(NAMESPACE, "get secrets"));
    }
}
