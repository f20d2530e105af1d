//! One cluster, an API server, the state of the watches, and the writer.

use std::collections::BTreeMap;
use std::sync::Arc;

use kube::runtime::watcher::Event;
use pgbackrest_keeper::cluster::desired::{self, BuildInputs, CertificatePem, Desired};
use pgbackrest_keeper::cluster::labels::{MANAGED_BY, MANAGER};
use pgbackrest_keeper::cluster::record::Record;
use pgbackrest_keeper::cluster::references::References;
use pgbackrest_keeper::cluster::settings::Settings;
use pgbackrest_keeper::cluster::validate::{self, Conduct};
use pgbackrest_keeper::cluster::validated::{RepoNumber, ValidatedCluster};
use pgbackrest_keeper::kubernetes::client::CallError;
use pgbackrest_keeper::operator::apply::{Applied, Owner, Writer};
use pgbackrest_keeper::operator::inventory::Inventory;
use pgbackrest_keeper::operator::objects::ObjectsWriter;
use serde_json::{Value, json};

use super::api::{Api, Seen};

pub(super) const CONFIG: &str = "/api/v1/namespaces/shop/configmaps/orders-pgbackrest-config";
pub(super) const CRON_JOB: &str = "/apis/batch/v1/namespaces/shop/cronjobs/pgbackrest-orders-repo1-full";
pub(super) const STATEFUL_SET: &str =
    "/apis/apps/v1/namespaces/shop/statefulsets/orders-pgbackrest-repo-host";
pub(super) const SERVICE: &str = "/api/v1/namespaces/shop/services/orders-clusterpods";
pub(super) const CLAIM: &str =
    "/api/v1/namespaces/shop/persistentvolumeclaims/repo1-orders-pgbackrest-repo-host-0";
pub(super) const KEYS: &str = "/api/v1/namespaces/shop/secrets/orders-pgbackrest-ca";
pub(super) const JOB: &str = "/apis/batch/v1/namespaces/shop/jobs/pgbackrest-orders-repo1-full-1";

pub(super) const OWNER: Owner<'_> =
    Owner { kind: "postgresql", namespace: "shop", name: "orders", uid: "3f0c" };

/// One cluster with one repo on a volume, and the one who writes its objects.
pub(super) struct FakeCluster {
    pub(super) api: Api,
    pub(super) writer: Writer,
    pub(super) cluster: ValidatedCluster,
    pub(super) desired: Desired,
    pub(super) conduct: Conduct,
    document: Value,
    pub(super) inventory: Arc<Inventory>,
    watches: BTreeMap<&'static str, ObjectsWriter>,
}

impl FakeCluster {
    pub(super) fn new() -> Self {
        let document = json!({
            "apiVersion": "cpo.opensource.cybertec.at/v1",
            "kind": "postgresql",
            "metadata": {"name": "orders", "namespace": "shop", "uid": "3f0c"},
            "spec": {"teamId": "shop", "numberOfInstances": 1, "postgresql": {"version": "15"},
                "volume": {"size": "5Gi"},
                "backup": {"pgbackrest": {"image": "pgbackrest:2", "global": {"repo1-retention-full": "2"},
                    "repos": [{"name": "repo1", "storage": "pvc", "volume": {"size": "5Gi"},
                        "schedule": {"full": "30 1 * * *"}}]}}},
        });
        let (cluster, desired) = build(&document, &[], &Record::default());
        let api = Api::new();
        let watches: BTreeMap<&'static str, ObjectsWriter> =
            desired.objects.iter().map(|object| (object.kind(), ObjectsWriter::default())).collect();
        let stores = watches.iter().map(|(kind, watch)| (*kind, vec![watch.as_reader()])).collect();
        let inventory = Arc::new(Inventory::new(stores));
        let writer = Writer::new(api.client(), Arc::clone(&inventory), Arc::new(Settings::default()));
        Self { api, writer, cluster, desired, conduct: Conduct::default(), document, inventory, watches }
    }

    /// The resource is edited.
    pub(super) fn ask_for(&mut self, edit: impl FnOnce(&mut Value)) {
        edit(&mut self.document);
        (self.cluster, self.desired) = build(&self.document, &[], &Record::default());
    }

    /// Something was seen in the pods.
    pub(super) fn remember(&mut self, record: &Record) {
        (self.cluster, self.desired) = build(&self.document, &[], record);
    }

    /// The CronJobs of repo1 have to wait.
    pub(super) fn wait_for(&mut self, reasons: &[&str]) {
        (self.cluster, self.desired) = build(&self.document, reasons, &Record::default());
    }

    pub(super) async fn apply(&self) -> Result<Applied, CallError> {
        self.writer.apply(&self.cluster, &self.desired, self.conduct).await
    }

    /// The watches learn what is there.
    pub(super) fn see(&mut self) {
        let objects = self.api.objects();
        for (kind, watch) in &mut self.watches {
            watch.apply_watcher_event(&Event::Init);
            for object in objects.iter().filter(|object| object["kind"] == *kind) {
                let mut metadata = json!({"metadata": object["metadata"]});
                metadata["metadata"].as_object_mut().unwrap().remove("managedFields");
                if metadata["metadata"]["labels"][MANAGED_BY] == MANAGER {
                    watch.apply_watcher_event(&Event::InitApply(serde_json::from_value(metadata).unwrap()));
                }
            }
            watch.apply_watcher_event(&Event::InitDone);
        }
    }

    pub(super) fn count(&self) -> usize {
        self.desired.objects.len()
    }

    /// A Job of the CronJob that runs on the repo host.
    pub(super) fn start_job(&self) {
        let owner = self.api.get(CRON_JOB).unwrap()["metadata"]["uid"].clone();
        let container = json!({"name": "b", "args": ["backup", "--target=repo-host"]});
        let job = json!({"apiVersion": "batch/v1", "kind": "Job",
            "metadata": {"name": "pgbackrest-orders-repo1-full-1", "namespace": "shop", "ownerReferences":
                [{"apiVersion": "batch/v1", "kind": "CronJob", "name": "c", "uid": owner, "controller": true}]},
            "spec": {"template": {"spec": {"containers": [container]}}},
            "status": {"active": 1}});
        self.api.put(JOB, job);
    }

    /// The repo host's pod is up.
    pub(super) fn start_pod(&self) {
        let container = json!({"name": "pgbackrest", "image": "", "imageID": "", "ready": true, "restartCount": 0,
            "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}});
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "shop"},
            "status": {"containerStatuses": [container]}});
        self.api.put("/api/v1/namespaces/shop/pods/orders-pgbackrest-repo-host-0", pod);
    }

    pub(super) fn end_job(&self) {
        let mut job = self.api.get(JOB).unwrap();
        job["status"] = json!({"conditions": [{"type": "Complete", "status": "True"}]});
        self.api.put(JOB, job);
    }
}

fn build(document: &Value, waiting: &[&str], record: &Record) -> (ValidatedCluster, Desired) {
    let settings = Settings::default();
    let (cluster, findings) = validate::document(document.clone(), &References::default(), &settings);
    let cluster = cluster.unwrap_or_else(|| panic!("{findings:?}"));
    let repo1 = RepoNumber::of_name("repo1").unwrap();
    let waiting = waiting.iter().map(|reason| (repo1, (*reason).to_owned())).collect();
    let inputs = BuildInputs {
        certificates: Some(certificates()),
        waiting,
        record: record.clone(),
        ..BuildInputs::default()
    };
    let desired = desired::build(&cluster, &settings, &inputs);
    (cluster, desired)
}

fn certificates() -> CertificatePem {
    let pem = |name: &str| format!("-----{name}-----");
    CertificatePem {
        authority_certificate: pem("authority"),
        authority_key: pem("hunter2"),
        roots: pem("roots"),
        database_certificate: pem("database"),
        database_key: pem("hunter2"),
        repo_host_certificate: pem("repo host"),
        repo_host_key: pem("hunter2"),
    }
}

/// An object that somebody else has made.
pub(super) fn somebodys(manager: &str) -> Value {
    json!({"metadata": {"name": "x", "namespace": "shop", "generation": 1,
        "managedFields": [{"manager": manager, "operation": "Update"}]}, "spec": {"mine": true}})
}

pub(super) fn codes(applied: &Applied) -> Vec<&'static str> {
    applied.findings.iter().map(|finding| finding.code.word).collect()
}

pub(super) fn reasons(applied: &Applied) -> Vec<&'static str> {
    applied.actions.iter().map(|action| action.reason).collect()
}

pub(super) fn writes(seen: &[Seen]) -> Vec<&Seen> {
    seen.iter().filter(|seen| seen.writes()).collect()
}

pub(super) fn place(applied: &Applied, kind: &str) -> bool {
    applied.in_place.iter().find(|(known, _)| *known == kind).unwrap().1
}
