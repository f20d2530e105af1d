//! The image of backup jobs in a registry with a password.

use serde_json::{Value, json};

use super::NAMESPACE;
use super::operator::{Operator, of};
use crate::support::example::Example;
use crate::support::kubernetes::images::KEEPER;
use crate::support::machine::skip;
use crate::support::node::Node;
use crate::support::registry::Registry;

/// The Secret that jobs pull with.
const SECRET: &str = "registry-credentials";
const JOB: &str = "without-credentials";

/// A registry with the image of jobs, and another name of it, which only one job uses.
pub(super) struct JobImages<'node> {
    registry: Registry<'node>,
    image: String,
    other: String,
}

/// `None` where the machine lacks a registry, which is said.
pub(super) fn start(node: &Node) -> Option<JobImages<'_>> {
    let registry = Registry::start(node, "registry");
    let registry = registry.map_err(|missing| skip("jobs_pull_from_a_registry", missing)).ok()?;
    let [image, other] = ["keeper:jobs", "keeper:other"].map(|name| registry.push(KEEPER, name));
    Some(JobImages { registry, image, other })
}

impl JobImages<'_> {
    /// Of an operator whose jobs use them.
    pub(super) fn arguments(&self) -> Vec<String> {
        vec![format!("--keeper-image={}", self.image), format!("--image-pull-secrets={SECRET}")]
    }

    /// Makes the Secret, and a Job that does not use it and waits for its image until its time is up.
    pub(super) fn give_credentials(&self, cluster: &Example<'_>) {
        let kubectl = cluster.kubectl();
        self.registry.create_secret(NAMESPACE, SECRET);
        let diff = "pgbackrest-cluster-repo1-diff";
        cluster.wait("a CronJob", || kubectl.get(NAMESPACE, "cronjob", diff));
        let from = format!("--from=cronjob/{diff}");
        let create =
            ["--namespace", NAMESPACE, "create", "job", JOB, &from, "--dry-run=client", "--output=json"];
        let mut job: Value = serde_json::from_str(&kubectl.run(&create)).unwrap();
        job["spec"]["activeDeadlineSeconds"] = json!(60);
        let pod = &mut job["spec"]["template"]["spec"];
        assert_eq!(pod["imagePullSecrets"], json!([{"name": SECRET}]), "{pod}");
        pod["imagePullSecrets"] = Value::Null;
        pod["containers"][0]["image"] = json!(self.other);
        kubectl.apply(&job.to_string(), &[]);
    }

    /// After a backup was made, and once that Job has failed.
    pub(super) fn were_pulled_only_with_credentials(&self, cluster: &Example<'_>, operator: &Operator<'_>) {
        let events = cluster.kubectl().run(&["--namespace", NAMESPACE, "get", "events", "--output=json"]);
        let events: Value = serde_json::from_str(&events).unwrap();
        let messages = |reason: &str| -> Vec<String> {
            let events = events["items"].as_array().unwrap().iter().filter(|event| event["reason"] == reason);
            events.map(|event| event["message"].as_str().unwrap().to_owned()).collect()
        };
        let pulled = messages("Pulled");
        let is_pulled =
            |message: &String| message.contains("Successfully pulled") && message.contains(&self.image);
        assert!(pulled.iter().any(is_pulled), "{events}");
        assert!(!pulled.iter().any(|message| message.contains(&self.other)), "{pulled:?}");

        cluster.wait_for_job(JOB, "Failed");
        let why =
            of(&[("repo_key", "1"), ("backup_type", "diff"), ("reason", "image_pull"), ("exit_code", "")]);
        operator.wait("the reason of a Job without its image", |samples| {
            (samples.find("pgbackrest_job_last_failure_info", &why)? == 1.0).then_some(())
        });
    }
}
