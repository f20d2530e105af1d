//! Objects on the real API server with its controllers: created, maintained, adopted, released, removed.

mod adoption;
mod annotated;
mod families;
mod keeper;
mod lifecycle;
mod locations;
mod renaming;

use std::sync::Once;
use std::time::Duration;

use pgbackrest_keeper::cluster::desired;
use pgbackrest_keeper::cluster::record::Record;
use pgbackrest_keeper::cluster::references::References;
use pgbackrest_keeper::cluster::settings::Settings;
use pgbackrest_keeper::cluster::validate;
use serde_json::{Value, json};

use crate::support::control_plane::ControlPlane;
use crate::support::kubernetes::kubectl::Kubectl;
use crate::support::process::wait_up_to;
use keeper::Keeper;

/// A namespace of a test's own on the shared API server.
struct Shop {
    namespace: String,
    kubectl: Kubectl,
    keeper: Keeper,
}

impl Shop {
    /// `None` where the machine lacks something.
    fn open(test: &str) -> Option<Self> {
        static BASE: Once = Once::new();
        let plane = ControlPlane::shared(test)?;
        let kubectl = plane.kubectl().clone();
        BASE.call_once(|| {
            let base = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/base");
            kubectl.run(&["apply", "--server-side", "--kustomize", base]);
            let name = "crd/postgresqls.cpo.opensource.cybertec.at";
            kubectl.run(&["wait", "--for=condition=Established", "--timeout=60s", name]);
        });
        let namespace = test.replace('_', "-").chars().take(50).collect::<String>();
        kubectl.create_restricted_namespace(&namespace);
        let rights = plane.service_account("pgbackrest-keeper", "pgbackrest-keeper-operator");
        let keeper = Keeper::start(&rights, &namespace);
        Some(Self { namespace, kubectl, keeper })
    }

    fn get(&self, kind: &str, name: &str) -> Option<Value> {
        self.kubectl.get(&self.namespace, kind, name)
    }

    fn run(&self, arguments: &[&str]) -> String {
        let namespace = format!("--namespace={}", self.namespace);
        self.kubectl.run(&[&[namespace.as_str()], arguments].concat())
    }

    fn apply(&self, object: &Value) {
        let mut object = object.clone();
        object["metadata"]["namespace"] = json!(self.namespace);
        self.kubectl.apply(&object.to_string(), &["--field-manager=person", "--force-conflicts"]);
    }

    fn annotate(&self, cluster: &str, annotation: &str) {
        let annotation = format!("pgbackrest-keeper.io/{annotation}");
        self.run(&["annotate", "--overwrite", "postgresql", cluster, &annotation]);
    }

    /// Nobody has to wait for the time after which the operator looks again by itself.
    fn is_looked_at(&self, cluster: &str) {
        self.run(&["annotate", "--overwrite", "postgresql", cluster, "somebodys=note"]);
    }

    /// Changes fields of an object, as a person does.
    fn patch(&self, kind: &str, name: &str, patch: &Value) {
        self.run(&["patch", kind, name, "--type=merge", "--patch", &patch.to_string()]);
    }

    fn wait_for<T>(&self, what: &str, ask: impl FnMut() -> Option<T>) -> T {
        wait_up_to(Duration::from_mins(10), &format!("{what} in {}", self.namespace), ask)
    }

    fn wait_until(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        self.wait_for(what, || is_so().then_some(()));
    }

    /// Every object that carries our label, as `Kind/name`, sorted.
    fn ours(&self) -> Vec<String> {
        self.labelled("app.kubernetes.io/managed-by=pgbackrest-keeper")
    }

    fn labelled(&self, selector: &str) -> Vec<String> {
        let kinds = "serviceaccounts,roles,rolebindings,secrets,configmaps,pvc,services,networkpolicies,statefulsets,\
                     cronjobs";
        let found = self.run(&["get", kinds, "--selector", selector, "--output=json"]);
        let found: Value = serde_json::from_str(&found).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let mut names: Vec<String> = found["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| format!("{}/{}", text(&item["kind"]), text(&item["metadata"]["name"])))
            .collect();
        names.sort();
        names
    }

    /// Long enough for the operator to see what has changed.
    fn a_while_passes(&self) {
        std::thread::sleep(Duration::from_secs(3));
        let log = self.keeper.log();
        assert!(!log.contains("cannot") || !log.contains("403"), "a right is missing:\n{log}");
    }

    fn has_finding(&self, cluster: &str, code: &str) -> bool {
        self.keeper.findings(cluster, code) > 0
    }

    /// The notes of all Events of a reason.
    fn events(&self, reason: &str) -> String {
        let events = self.run(&["get", "events.events.k8s.io", "--output=json"]);
        let events: Value = serde_json::from_str(&events).unwrap();
        let of_reason = events["items"].as_array().unwrap().iter().filter(|event| event["reason"] == reason);
        of_reason.map(|event| event["note"].as_str().unwrap().to_owned()).collect::<Vec<_>>().join("\n")
    }

    /// Lets the operator believe that it has seen the stanzas of a cluster: here no pod ever runs.
    fn pretend_stanzas(&self, cluster: &str) {
        let document = self.get("postgresql", cluster).unwrap();
        let settings = Settings::default();
        let (validated, findings) = validate::document(document, &References::default(), &settings);
        let validated = validated.unwrap_or_else(|| panic!("{findings:?}"));
        let hashes = desired::repo_hashes(&validated, &settings);
        let record = Record { stanzas: hashes, ..Record::default() };
        let annotations = record.annotations();
        let map = format!("{cluster}-pgbackrest-config");
        self.wait_until("the configuration", || self.get("configmap", &map).is_some());
        self.patch("configmap", &map, &json!({"metadata": {"annotations": annotations}}));
    }
}

/// A cluster with a repo on a volume, in a namespace without that storage class.
fn with_volume(name: &str) -> Value {
    resource(
        name,
        &json!({"image": "registry.example/pgbackrest:2",
            "global": {"repo1-retention-full": "2"},
            "repos": [{"name": "repo1", "storage": "pvc", "volume": {"size": "2Gi"},
                "schedule": {"full": "30 1 * * 0", "incr": "30 1 * * 1-6"}}]}),
    )
}

/// A cluster with this backup section.
fn resource(name: &str, pgbackrest: &Value) -> Value {
    json!({
        "apiVersion": "cpo.opensource.cybertec.at/v1",
        "kind": "postgresql",
        "metadata": {"name": name},
        "spec": {"teamId": "shop", "numberOfInstances": 1, "postgresql": {"version": "15"}, "volume": {"size": "1Gi"},
            "backup": {"pgbackrest": pgbackrest}},
    })
}
