//! deploy/examples/complete on a node, in its own namespace, and commands in its pods.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::Value;

use super::exposition::Samples;
use super::http;
use super::kubernetes::images::{KEEPER, POSTGRES};
use super::kubernetes::kubectl::Kubectl;
use super::node::Node;
use super::process::{wait_telling, wait_up_to};

/// The namespace of the operator of deploy/overlays/default.
pub(crate) const OPERATOR: &str = "pgbackrest-keeper";
/// What the operator that all node tests share looks after; another has the rest.
const SHARED_NAMESPACES: &str = "--namespaces=backups,copies,cpo,dual-stack,failures,standby";
/// The name of the example's cluster.
pub(crate) const CLUSTER: &str = "cluster";
/// A kubelet brings a changed file after some ten seconds, an image starts, a stanza is made: each well within it.
pub(crate) const LONGEST: Duration = Duration::from_mins(20);

/// The shared node with the operator of deploy/overlays/default on it.
pub(crate) fn node_with_operator(test: &str) -> Option<&'static Node> {
    static INSTALLED: OnceLock<()> = OnceLock::new();
    let node = Node::shared(test)?;
    INSTALLED.get_or_init(|| {
        install_default(node, &[SHARED_NAMESPACES]);
    });
    Some(node)
}

/// deploy/overlays/default as it is, with more arguments of the operator.
pub(crate) fn install_default(node: &Node, arguments: &[&str]) {
    node.kubectl().apply(&overlay(node.kubectl(), KEEPER, "default", arguments), &[]);
    node.kubectl().wait(OPERATOR, "deployment/pgbackrest-keeper-operator", "condition=Available");
}

/// One more operator, installed into a namespace of its own, whose arguments tell what it looks after.
pub(crate) fn install_operator(kubectl: &Kubectl, image: &str, namespace: &str, arguments: &[&str]) {
    install(kubectl, &overlay(kubectl, image, "default", arguments), namespace);
}

/// The same of another overlay, without what prometheus-operator defines.
pub(crate) fn install_overlay(node: &Node, name: &str, namespace: &str, arguments: &[&str]) {
    install(node.kubectl(), &overlay(node.kubectl(), KEEPER, name, arguments), namespace);
}

fn install(kubectl: &Kubectl, manifests: &str, namespace: &str) {
    let ours = manifests.split("\n---\n").filter(|one| !one.contains("apiVersion: monitoring.coreos.com/"));
    let manifests = ours
        .collect::<Vec<_>>()
        .join("\n---\n")
        .replace("name: pgbackrest-keeper-operator\n", &format!("name: {namespace}\n"))
        .replace(
            "name: pgbackrest-keeper-operator-restore-tests\n",
            &format!("name: {namespace}-restore-tests\n"),
        )
        .replace(
            "serviceAccountName: pgbackrest-keeper-operator\n",
            &format!("serviceAccountName: {namespace}\n"),
        )
        .replace("namespace: pgbackrest-keeper\n", &format!("namespace: {namespace}\n"))
        .replace("\n  name: pgbackrest-keeper\n", &format!("\n  name: {namespace}\n"));
    kubectl.apply(&manifests, &[]);
    kubectl.wait(namespace, &format!("deployment/{namespace}"), "condition=Available");
}

/// An overlay with our image and more arguments.
fn overlay(kubectl: &Kubectl, image: &str, name: &str, arguments: &[&str]) -> String {
    let overlay = with_image(kubectl, image, &format!("deploy/overlays/{name}"));
    let line = "      - args:\n        - operator\n";
    assert_eq!(overlay.matches(line).count(), 1, "{overlay}");
    // On a busy machine the API server may be silent for longer than the default allows.
    let arguments = [arguments, &["--lease-duration=1m"]].concat();
    let arguments: Vec<String> = arguments.iter().map(|argument| format!("        - {argument}\n")).collect();
    overlay.replace(line, &format!("{line}{}", arguments.concat()))
}

/// What people would apply, with the image of this program in place of the one that is named there.
pub(crate) fn with_our_image(node: &Node, directory: &str) -> String {
    with_image(node.kubectl(), KEEPER, directory)
}

fn with_image(kubectl: &Kubectl, image: &str, directory: &str) -> String {
    let named = concat!("pgbackrest-keeper:", env!("CARGO_PKG_VERSION"));
    kustomized(kubectl, directory).replace(named, image)
}

/// deploy/examples/complete in a namespace of its own, with an image of PostgreSQL.
pub(crate) fn complete(kubectl: &Kubectl, image: &str, namespace: &str) -> String {
    placed(&kustomized(kubectl, "deploy/examples/complete"), image, namespace)
}

fn placed(example: &str, image: &str, namespace: &str) -> String {
    example
        .replace("registry.example/postgres-with-pgbackrest:15", image)
        .replace("namespace: cpo\n", &format!("namespace: {namespace}\n"))
        .replace("\n  name: cpo\n", &format!("\n  name: {namespace}\n"))
}

fn kustomized(kubectl: &Kubectl, directory: &str) -> String {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let mut command = Command::new(&kubectl.program);
    let output = command.arg("kustomize").arg(directory).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The cluster's pods and what is asked of them.
pub(crate) struct Example<'node> {
    pub(crate) node: &'node Node,
    pub(crate) namespace: &'static str,
}

impl Drop for Example<'_> {
    /// What its pods request and use is free for others, who need not wait for its end.
    fn drop(&mut self) {
        self.kubectl().delete_namespaces(&[self.namespace]);
    }
}

impl<'node> Example<'node> {
    /// Makes deploy/examples/complete in a namespace of its own.
    pub(crate) fn apply(node: &'node Node, namespace: &'static str) -> Self {
        Self::apply_changed(node, namespace, &kustomized(node.kubectl(), "deploy/examples/complete"))
    }

    /// The same of another example that is complete.
    pub(crate) fn apply_changed(node: &'node Node, namespace: &'static str, example: &str) -> Self {
        node.provide_volumes(1, "10Gi");
        node.provide_volumes(1, "15Gi");
        node.kubectl().apply(&placed(example, POSTGRES, namespace), &[]);
        Self { node, namespace }
    }

    pub(crate) fn jobs(&self) -> Vec<String> {
        let jobs = self.kubectl().list(self.namespace, "job", "");
        jobs.iter().map(|job| job["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    }

    /// The pods of a Job.
    pub(crate) fn pods(&self, job: &str) -> Vec<Value> {
        let selector = format!("labelSelector=batch.kubernetes.io/job-name={job}");
        self.kubectl().list(self.namespace, "pod", &selector)
    }

    /// Waits until a Job has this condition, and gives the condition's reason.
    pub(crate) fn wait_for_job(&self, job: &str, condition: &str) -> String {
        self.wait(&format!("Job {job} to be {condition}"), || {
            let job = self.kubectl().get(self.namespace, "job", job)?;
            let conditions = job["status"]["conditions"].as_array()?;
            let is_so = |found: &&Value| found["type"] == condition && found["status"] == "True";
            Some(conditions.iter().find(is_so)?["reason"].as_str().unwrap_or_default().to_owned())
        })
    }

    /// Waits until a pod of the operator in another namespace has this outcome of repo1 of a cluster in this metric.
    pub(crate) fn wait_for_outcome(&self, operator: &str, cluster: &str, metric: &str, outcome: &str) {
        let labels = [
            ("namespace", self.namespace),
            ("pg_cluster", cluster),
            ("stanza", "db"),
            ("repo_key", "1"),
            ("outcome", outcome),
        ];
        self.wait_in(Duration::from_mins(5), &format!("{outcome} among the metrics"), || {
            let pods = self.kubectl().list(operator, "pod", "");
            let of_pod = |pod: &Value| {
                let url = format!("http://{}:9854/metrics", pod["status"]["podIP"].as_str()?);
                let answer = self.node.in_network(|| http::get(&url, &[])).ok()?;
                Samples::parse(answer.text()).find(metric, &labels)
            };
            pods.iter().filter_map(of_pod).any(|value| value == 1.0).then_some(())
        });
    }

    pub(crate) fn kubectl(&self) -> &Kubectl {
        self.node.kubectl()
    }

    pub(crate) fn exec(&self, pod: &str, container: &str, command: &[&str]) -> std::process::Output {
        let before = ["--namespace", self.namespace, "exec", pod, "--container", container, "--"];
        self.kubectl().output(&[&before[..], command].concat())
    }

    /// Sends a signal to all processes whose command lines begin so. `false`: there are none.
    pub(crate) fn signal(&self, pod: &str, container: &str, command_line: &str, signal: &str) -> bool {
        let script = format!(
            r#"for process in /proc/[0-9]*; do
                case "$(tr '\0' ' ' <"$process/cmdline" 2>/dev/null)" in
                '{command_line}'*) kill -{signal} "${{process#/proc/}}" && found=yes ;;
                esac
            done
            test "$found""#
        );
        self.exec(pod, container, &["sh", "-c", &script]).status.success()
    }

    /// Standard output of a command that must end well.
    pub(crate) fn said(&self, pod: &str, container: &str, command: &[&str]) -> String {
        let output = self.exec(pod, container, command);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{pod} {command:?}: {}\n{text}{error}\n{}",
            output.status,
            self.state()
        );
        text
    }

    pub(crate) fn psql(&self, statement: &str) -> String {
        self.psql_all(&[statement])
    }

    /// The same of several, each in a transaction of its own.
    pub(crate) fn psql_all(&self, statements: &[&str]) -> String {
        self.psql_in("cluster-0", statements)
    }

    pub(crate) fn psql_in(&self, pod: &str, statements: &[&str]) -> String {
        let commands: Vec<String> =
            statements.iter().map(|statement| format!("--command={statement}")).collect();
        let mut psql = vec!["psql", "--host=/var/run/postgresql", "--no-align", "--tuples-only", "--quiet"];
        psql.extend(commands.iter().map(String::as_str));
        self.said(pod, "postgres", &psql).trim().to_owned()
    }

    pub(crate) fn info(&self, pod: &str, container: &str) -> Value {
        let info = ["pgbackrest", "info", "--stanza=db", "--output=json", "--log-level-console=off"];
        serde_json::from_str(&self.said(pod, container, &info)).unwrap()
    }

    pub(crate) fn backup(&self, backup_type: &str) {
        let backup_type = format!("--type={backup_type}");
        let backup = ["pgbackrest", "backup", "--stanza=db", "--repo=1", &backup_type];
        let mut was_killed = false;
        // With its server (see `fell_at` in end_to_end::operator::renewal); a Job then makes the backup again.
        wait_up_to(LONGEST, "a backup", || {
            let output = self.exec("cluster-pgbackrest-repo-host-0", "pgbackrest", &backup);
            was_killed |= output.status.code() == Some(137);
            let has_ended_well = output.status.success();
            assert!(has_ended_well || was_killed, "{backup:?}: {output:?}\n{}", self.state());
            has_ended_well.then_some(())
        });
    }

    /// Writes something, and waits until its WAL is in every repo.
    pub(crate) fn archive(&self) {
        let switch = self.psql_all(&[
            "select archived_count from pg_stat_archiver",
            "create table if not exists kept (line text)",
            "insert into kept select md5(random()::text) from generate_series(1, 100)",
            "select from pg_switch_wal()",
        ]);
        let before: u64 = switch.lines().next().unwrap().parse().unwrap();
        let is_more = format!("select archived_count > {before} from pg_stat_archiver");
        // It waits itself, since each call has processes on every side.
        let wait = format!(
            "do $$ begin for i in 1..100 loop
                 perform pg_stat_clear_snapshot();
                 exit when ({is_more});
                 perform pg_sleep(0.1);
             end loop; end $$"
        );
        wait_up_to(LONGEST, "WAL to be archived", || {
            (self.psql_all(&[&wait, &is_more]) == "t").then_some(())
        });
    }

    /// After three failures, as without a stanza, it waits for a minute.
    pub(crate) fn wake_archiver(&self, pod: &str) {
        let end = "select pg_terminate_backend(pid) from pg_stat_activity where backend_type = 'archiver'";
        self.psql_in(pod, &[end]);
    }

    pub(crate) fn patch(&self, kind: &str, name: &str, patch: &Value) {
        let patch = patch.to_string();
        let arguments =
            ["--namespace", self.namespace, "patch", kind, name, "--type=merge", "--patch", &patch];
        self.kubectl().run(&arguments);
    }

    pub(crate) fn resource(&self) -> Value {
        self.kubectl().get(self.namespace, "postgresql", CLUSTER).unwrap()
    }

    pub(crate) fn record(&self, key: &str) -> Option<String> {
        let config_map = self.kubectl().get(self.namespace, "configmap", "cluster-pgbackrest-config")?;
        let annotations = &config_map["metadata"]["annotations"];
        annotations[format!("pgbackrest-keeper.io/{key}")].as_str().map(str::to_owned)
    }

    pub(crate) fn wait<T>(&self, what: &str, ask: impl FnMut() -> Option<T>) -> T {
        self.wait_in(LONGEST, what, ask)
    }

    /// The same for what passes soon.
    pub(crate) fn wait_closely<T>(&self, what: &str, ask: impl FnMut() -> Option<T>) -> T {
        wait_telling(LONGEST, Duration::from_millis(100), what, ask, || self.state())
    }

    pub(crate) fn wait_in<T>(&self, longest: Duration, what: &str, ask: impl FnMut() -> Option<T>) -> T {
        wait_telling(longest, Duration::from_millis(500), what, ask, || self.state())
    }

    /// What a reader of a failed test wants to know.
    pub(crate) fn state(&self) -> String {
        let said = |arguments: &[&str]| {
            let output = self.kubectl().output(arguments);
            String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
        };
        [
            &["--namespace", self.namespace, "get", "postgresql,pods,cronjobs,jobs,pvc", "--output=wide"][..],
            &["--namespace", self.namespace, "get", "postgresql", CLUSTER, "--output=jsonpath={.status}"],
            &["--namespace", self.namespace, "get", "events", "--sort-by=.lastTimestamp"],
            &[
                "--namespace",
                self.namespace,
                "logs",
                "--selector=member.cpo.opensource.cybertec.at/type=backup-job",
                "--prefix",
                "--tail=20",
            ],
            &["--namespace", OPERATOR, "logs", "deployment/pgbackrest-keeper-operator", "--tail=60"],
            &[
                "--namespace",
                self.namespace,
                "logs",
                "--selector=member.cpo.opensource.cybertec.at/type=postgresql",
                "--all-containers",
                "--prefix",
                "--tail=30",
            ],
            &["--namespace", self.namespace, "logs", "cluster-pgbackrest-repo-host-0", "--tail=30"],
            &[
                "--namespace",
                self.namespace,
                "logs",
                "cluster-pgbackrest-repo-host-0",
                "--previous",
                "--tail=30",
            ],
        ]
        .map(said)
        .join("\n")
    }
}
