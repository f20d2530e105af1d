//! Restore tests in Kubernetes on a real node: of a cluster with a repo on a volume, restored over TLS, and of clusters that are only
//! observed, with encrypted repos in an object store.

mod faults;
mod managed;
mod observed;
mod repository;

use serde_json::Value;

use crate::support::example::LONGEST;
use crate::support::kubernetes::kubectl::Kubectl;
use crate::support::process::wait_telling;

/// A `RestoreTest` resource.
pub(super) struct Tests<'node> {
    pub(super) kubectl: &'node Kubectl,
    pub(super) namespace: &'static str,
    pub(super) name: &'static str,
}

impl Tests<'_> {
    fn status(&self) -> Value {
        let test = self.kubectl.get(self.namespace, "restoretest", self.name).unwrap();
        test["status"].clone()
    }

    /// Requests a test, and gives its Job.
    pub(super) fn start(&self, request: &str) -> String {
        let before = self.jobs();
        let annotation = format!("pgbackrest-keeper.io/test-now={request}");
        let annotate = ["annotate", "--overwrite", "restoretest", self.name, &annotation];
        self.kubectl.run(&[&["--namespace", self.namespace][..], &annotate].concat());
        self.wait("the Job that was requested", || self.jobs().into_iter().find(|job| !before.contains(job)))
    }

    fn jobs(&self) -> Vec<String> {
        let selector = format!("labelSelector=pgbackrest-keeper.io/restore-test={}", self.name);
        let jobs = self.kubectl.list(self.namespace, "job", &selector);
        jobs.iter().map(|job| job["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    }

    /// The pod of a Job.
    fn pod(&self, job: &str) -> Option<Value> {
        let selector = format!("labelSelector=batch.kubernetes.io/job-name={job}");
        self.kubectl.list(self.namespace, "pod", &selector).pop()
    }

    /// Waits until a Job has ended, with this condition.
    pub(super) fn wait_for_job(&self, job: &str, condition: &str) {
        let ended = self.wait(&format!("the end of Job {job}"), || {
            let job = self.kubectl.get(self.namespace, "job", job)?;
            let conditions = job["status"]["conditions"].as_array()?.clone();
            let is_end = |found: &&Value| {
                ["Complete", "Failed"].iter().any(|end| found["type"] == *end) && found["status"] == "True"
            };
            Some(conditions.iter().find(is_end)?["type"].as_str()?.to_owned())
        });
        assert_eq!(ended, condition, "{job}: {}", self.state());
    }

    /// The results of a cluster, newest first, once there are so many.
    pub(super) fn results(&self, cluster: &str, count: usize) -> Vec<Value> {
        self.wait(&format!("{count} results of {cluster}"), || {
            let results = self.status()["results"].as_array()?.clone();
            let of_cluster = results.into_iter().find(|result| result["cluster"] == cluster)?;
            let tests = of_cluster["tests"].as_array()?.clone();
            (tests.len() >= count).then_some(tests)
        })
    }

    fn wait<T>(&self, what: &str, ask: impl FnMut() -> Option<T>) -> T {
        wait_telling(LONGEST, std::time::Duration::from_millis(500), what, ask, || self.state())
    }

    /// What a reader of a failed test wants to know.
    fn state(&self) -> String {
        let said = |arguments: &[&str]| {
            let output = self.kubectl.output(&[&["--namespace", self.namespace][..], arguments].concat());
            String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
        };
        [
            said(&["get", "restoretests,pods,cronjobs,jobs,pvc", "--output=wide"]),
            said(&["get", "restoretest", self.name, "--output=jsonpath={.status}"]),
            said(&["get", "events", "--sort-by=.lastTimestamp"]),
            said(&[
                "logs",
                "--selector=pgbackrest-keeper.io/restore-test",
                "--all-containers",
                "--prefix",
                "--tail=40",
            ]),
        ]
        .join("\n")
    }
}

/// No token for the API server, and nothing that could write anywhere but to the volume of the copy.
fn assert_confined(pod: &Value) {
    let spec = &pod["spec"];
    assert_eq!(spec["automountServiceAccountToken"], false, "{pod}");
    for source in spec["volumes"].as_array().unwrap() {
        let projected = source["projected"]["sources"].as_array().cloned().unwrap_or_default();
        assert!(projected.iter().all(|source| source["serviceAccountToken"].is_null()), "{source}");
        assert!(source["hostPath"].is_null(), "{source}");
    }
    for container in spec["containers"].as_array().unwrap() {
        assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true, "{container}");
        let mounts = container["volumeMounts"].as_array().unwrap().iter();
        let writable: Vec<&str> = mounts
            .filter(|mount| mount["readOnly"] != true)
            .map(|mount| mount["name"].as_str().unwrap())
            .collect();
        assert_eq!(writable, ["copy"], "{container}");
    }
}
