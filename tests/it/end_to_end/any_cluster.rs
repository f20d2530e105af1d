//! A short path through the whole system, on the node of the tests or on the cluster of a kubeconfig file.

use std::path::PathBuf;
use std::time::Duration;

use crate::support::example::{complete, install_operator};
use crate::support::exposition::Samples;
use crate::support::kubernetes::images;
use crate::support::kubernetes::kubectl::Kubectl;
use crate::support::kubernetes::place::Place;
use crate::support::machine::{program, skip};
use crate::support::node::Node;
use crate::support::process::{successful, wait_telling};

/// Images of a registry that the cluster can pull from: this program, and PostgreSQL with pgBackRest as user 26. Without
/// both `KUBECONFIG` does not count, so that no cluster gets an operator because a shell happened to know it.
const IMAGES: [&str; 2] = ["KEEPER_TEST_IMAGE", "KEEPER_TEST_POSTGRES_IMAGE"];
/// The definition of the resource.
const DEFINITION: &str = "postgresqls.cpo.opensource.cybertec.at";
/// Images are pulled, a stanza is made, a backup is taken.
const LONGEST: Duration = Duration::from_mins(30);

struct Cluster {
    kubectl: Kubectl,
    keeper: String,
    postgres: String,
    /// Of PostgreSQL.
    namespace: String,
    /// Of the operator, and the name of what it has in the whole cluster.
    operator: String,
    /// The definition of the resource came with us, and goes with us.
    brings_definition: bool,
}

impl Cluster {
    /// The one that is given; an error tells what it lacks.
    fn given() -> Option<Result<Self, String>> {
        let kubeconfig = PathBuf::from(std::env::var_os("KUBECONFIG")?);
        let [keeper, postgres] = IMAGES.map(|name| std::env::var(name).ok());
        let (keeper, postgres) = (keeper?, postgres?);
        Some(program("kubectl").map(|program| {
            let kubectl = Kubectl { place: Place::Host, program, kubeconfig };
            let mut cluster = Self::new(kubectl, keeper, postgres);
            let definition = cluster.kubectl.get("default", "customresourcedefinition", DEFINITION);
            cluster.brings_definition = definition.is_none();
            cluster
        }))
    }

    fn new(kubectl: Kubectl, keeper: String, postgres: String) -> Self {
        let namespace = format!("keeper-test-{}", std::process::id());
        let operator = format!("{namespace}-operator");
        Self { kubectl, keeper, postgres, namespace, operator, brings_definition: false }
    }

    fn wait<T>(&self, what: &str, mut ask: impl FnMut(&Self) -> Option<T>) -> T {
        wait_telling(LONGEST, Duration::from_millis(500), what, || ask(self), || self.state())
    }

    /// What a reader of a failed test wants to know.
    fn state(&self) -> String {
        let asked = ["--namespace", &self.namespace, "get", "all,postgresql,events", "--output=wide"];
        let log = format!("deployment/{}", self.operator);
        let log = self.kubectl.output(&["--namespace", &self.operator, "logs", &log, "--tail=60"]);
        format!("{}\n{}", self.kubectl.run(&asked), String::from_utf8_lossy(&log.stdout))
    }

    /// What the leader serves, by way of the API server.
    fn leader(&self) -> Option<Samples> {
        self.kubectl.list(&self.operator, "pod", "").iter().find_map(|pod| {
            let pod = pod["metadata"]["name"].as_str().unwrap();
            let path = format!("/api/v1/namespaces/{}/pods/{pod}:9854/proxy/metrics", self.operator);
            let samples = self.kubectl.raw(&path).ok()?;
            let samples = Samples::parse(&samples);
            (samples.find("pgbackrest_operator_leader", &[])? == 1.0).then_some(samples)
        })
    }
}

impl Drop for Cluster {
    /// Nothing stays, whatever happened. PostgreSQL takes its time to end, which nobody has to wait for.
    fn drop(&mut self) {
        let delete = |arguments: &[&str]| {
            self.kubectl.output(&[&["delete", "--ignore-not-found", "--wait=false"], arguments].concat());
        };
        self.kubectl.delete_namespaces(&[&self.namespace, &self.operator]);
        delete(&["clusterrole,clusterrolebinding", &self.operator]);
        if self.brings_definition {
            delete(&["customresourcedefinition", DEFINITION]);
        }
    }
}

#[test]
fn a_cluster_is_backed_up_from_its_resource_on() {
    let test = "a_cluster_is_backed_up_from_its_resource_on";
    match Cluster::given() {
        Some(Ok(cluster)) => the_short_way(&cluster),
        Some(Err(missing)) => skip(test, missing),
        None => {
            let Some(node) = Node::shared(test) else { return };
            node.provide_volumes(1, "10Gi");
            node.provide_volumes(1, "15Gi");
            let (keeper, postgres) = (images::KEEPER.to_owned(), images::POSTGRES.to_owned());
            the_short_way(&Cluster::new(node.kubectl().clone(), keeper, postgres));
        }
    }
}

fn the_short_way(cluster: &Cluster) {
    let namespaces = format!("--namespaces={}", cluster.namespace);
    install_operator(
        &cluster.kubectl,
        &cluster.keeper,
        &cluster.operator,
        &[&namespaces, "--collect.interval=10"],
    );
    cluster.kubectl.apply(&complete(&cluster.kubectl, &cluster.postgres, &cluster.namespace), &[]);

    let job = cluster.wait("the Job of the first full backup", |cluster| {
        let jobs = cluster.kubectl.list(&cluster.namespace, "job", "");
        let names = jobs.iter().map(|job| job["metadata"]["name"].as_str().unwrap());
        names.into_iter().find(|job| job.starts_with("pgbackrest-cluster-repo1-full-")).map(str::to_owned)
    });
    cluster.wait("its end", |cluster| {
        let job = cluster.kubectl.get(&cluster.namespace, "job", &job)?;
        let conditions = job["status"]["conditions"].as_array()?;
        let has =
            |name: &str| conditions.iter().any(|found| found["type"] == name && found["status"] == "True");
        assert!(!has("Failed"), "{job}");
        has("Complete").then_some(())
    });
    let labels = [("namespace", cluster.namespace.as_str()), ("pg_cluster", "cluster"), ("repo_key", "1")];
    cluster.wait("the backup in the metrics", |cluster| {
        let samples = cluster.leader()?;
        let full = [&labels[..], &[("backup_type", "full")]].concat();
        let is_one = |metric, labels: &[_]| samples.find(metric, labels) == Some(1.0);
        let succeeded = samples.find("pgbackrest_job_last_success_timestamp_seconds", &full)?;
        (succeeded > 0.0
            && is_one("pgbackrest_repo_up", &labels)
            && is_one("pgbackrest_backups", &full)
            && is_one("pgbackrest_operator_cluster_ok", &labels[..2]))
        .then_some(())
    });
    let mut info = cluster.kubectl.place.call(env!("CARGO_BIN_EXE_pgbackrest-keeper"));
    info.arg("info").arg(format!("--kubeconfig={}", cluster.kubectl.kubeconfig.display()));
    let text = successful(info.arg(&namespaces));
    assert!(text.starts_with(&format!("{}/cluster\n", cluster.namespace)) && text.contains("✓ ok"), "{text}");
}
