//! The operator as it is installed by deploy/base: its program on this host, with the rights of its service account.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use super::control_plane::ControlPlane;
use super::exporter::CLASSIC;
use super::exposition::Samples;
use super::http::{self, Response};
use super::kubernetes::kubectl::Kubectl;
use super::process::{Running, command, wait_for};

/// Where deploy/base puts it.
pub(crate) const NAMESPACE: &str = "pgbackrest-keeper";
const NAME: &str = "pgbackrest-keeper-operator";
/// The group of all service accounts of the namespace, as the API server's audit names the user.
const USER: &str = "system:serviceaccount:pgbackrest-keeper:";

/// deploy/base, or a part of an overlay, on a control plane. Its Deployment's pods never run there: there is no node.
pub(crate) struct Installation {
    kubectl: Kubectl,
    kubeconfig: PathBuf,
    audit_log: PathBuf,
    kind: String,
    logs: TempDir,
    /// The Deployment, and its ServiceAccount and Lease.
    name: String,
}

impl Installation {
    /// With everything that deploy/base holds.
    pub(crate) fn whole(plane: &ControlPlane) -> Self {
        let installation = Self::without_kind(plane);
        installation.install_kind();
        installation
    }

    /// As deploy/overlays/observe has it, where somebody has brought the kind.
    pub(crate) fn observing(plane: &ControlPlane) -> Self {
        let installation = Self::whole(plane);
        let overlay = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/overlays/observe");
        let manifests = installation.kubectl.run(&["kustomize", &overlay.display().to_string()]);
        assert!(!manifests.contains("kind: CustomResourceDefinition"));
        installation.kubectl.apply(&manifests, &[]);
        installation
    }

    /// Adds deploy/components/restore-tests.
    pub(crate) fn add_restore_tests(&self) {
        let overlay = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/overlays/restore-tests");
        let manifests = self.kubectl.run(&["kustomize", &overlay.display().to_string()]);
        self.kubectl.apply(&manifests, &[]);
        let name = "crd/restoretests.pgbackrest-keeper.io";
        self.kubectl.run(&["wait", "--for=condition=Established", "--timeout=5m", name]);
    }

    /// Without the CustomResourceDefinition, as where nobody has installed it yet.
    pub(crate) fn without_kind(plane: &ControlPlane) -> Self {
        let kubectl = plane.kubectl().clone();
        let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/base");
        let manifests = kubectl.run(&["kustomize", &base.display().to_string()]);
        let (kind, rest): (Vec<&str>, Vec<&str>) = manifests
            .split("\n---\n")
            .partition(|manifest| manifest.contains("kind: CustomResourceDefinition"));
        assert_eq!(kind.len(), 1, "one kind is defined");
        kubectl.apply(&rest.join("\n---\n"), &[]);
        Self {
            kubeconfig: plane.service_account(NAMESPACE, NAME),
            audit_log: plane.audit_log(),
            kind: kind.concat(),
            logs: tempfile::Builder::new().prefix("operator-").tempdir().unwrap(),
            kubectl,
            name: NAME.to_owned(),
        }
    }

    /// One of the operators of an overlay that is applied.
    pub(crate) fn part(plane: &ControlPlane, name: &str) -> Self {
        Self::with_account(plane, name, name)
    }

    /// One of several shards, which share an account.
    pub(crate) fn shard(plane: &ControlPlane, index: u16, total: u16) -> Self {
        Self::with_account(plane, &format!("{NAME}-{index}-of-{total}"), NAME)
    }

    fn with_account(plane: &ControlPlane, name: &str, account: &str) -> Self {
        Self {
            kubectl: plane.kubectl().clone(),
            kubeconfig: plane.service_account(NAMESPACE, account),
            audit_log: plane.audit_log(),
            kind: String::new(),
            logs: tempfile::Builder::new().prefix("operator-").tempdir().unwrap(),
            name: name.to_owned(),
        }
    }

    /// Starts the program as its Deployment would: with the arguments and variables that stand there.
    pub(crate) fn start_as_deployed(&self) -> Operator {
        let deployment = self.kubectl.get(NAMESPACE, "deployment", &self.name).unwrap();
        let container = &deployment["spec"]["template"]["spec"]["containers"][0];
        let words = |list: &Value| -> Vec<String> {
            list.as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
        };
        let arguments = words(&container["args"]);
        assert_eq!(arguments[0], "operator");
        let variables = container["env"].as_array().unwrap().iter();
        let variables: Vec<(String, String)> = variables
            .filter_map(|one| Some((one["name"].as_str()?.to_owned(), one["value"].as_str()?.to_owned())))
            .collect();
        let arguments: Vec<&str> = arguments[1..].iter().map(String::as_str).collect();
        self.start_with(&arguments, &variables)
    }

    pub(crate) fn install_kind(&self) {
        self.kubectl.apply(&self.kind, &[]);
        let name = "crd/postgresqls.cpo.opensource.cybertec.at";
        self.kubectl.run(&["wait", "--for=condition=Established", "--timeout=5m", name]);
    }

    /// Starts the program, as one replica. Its pod is one of the Deployment's.
    pub(crate) fn start(&self, arguments: &[&str]) -> Operator {
        self.start_with(arguments, &[])
    }

    fn start_with(&self, arguments: &[&str], variables: &[(String, String)]) -> Operator {
        let pod = wait_for("the Deployment's pods", || {
            let selector = "--selector=app.kubernetes.io/component=operator";
            let pods =
                self.kubectl.run(&["--namespace", NAMESPACE, "get", "pods", selector, "--output=name"]);
            let mut pods = pods.lines().map(|name| name.trim_start_matches("pod/"));
            pods.find(|pod| pod.starts_with(&self.name)).map(str::to_owned)
        });
        let mut command = command(None, env!("CARGO_BIN_EXE_pgbackrest-keeper"));
        command
            .args(["operator", "--web.listen-address=127.0.0.1:0", "--log.format=json"])
            .arg(format!("--kubeconfig={}", self.kubeconfig.display()))
            .args(arguments)
            .envs([("POD_NAME", pod.as_str()), ("POD_NAMESPACE", NAMESPACE)])
            // On a busy machine the API server may be silent for longer than the default allows.
            .env("KEEPER_LEASE_DURATION", "2m")
            .envs(variables.iter().map(|(name, value)| (name, value)));
        let log = tempfile::Builder::new().prefix("operator-").tempfile_in(self.logs.path()).unwrap();
        let log = log.into_temp_path().keep().unwrap();
        let mut process = Running::start("pgbackrest-keeper operator", command, &log, Signal::SIGTERM);
        let address = process.wait_in_log("the operator's address", |log| {
            lines(log).find_map(|line| Some(line.get("address")?.as_str()?.to_owned()))
        });
        Operator { process, address }
    }

    /// What the operator's replicas have asked the API server for so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        // There is none before the first request.
        let Ok(log) = File::open(&self.audit_log) else { return Vec::new() };
        // A large fleet's does not fit in memory, and the last line may be half written.
        let lines = BufReader::new(log).lines().map_while(Result::ok);
        lines.filter_map(|line| Request::of(&serde_json::from_str(&line).ok()?)).collect()
    }

    /// As if it had expired.
    pub(crate) fn delete_lease(&self) {
        self.kubectl.run(&["--namespace", NAMESPACE, "delete", "lease", &self.name]);
    }

    /// Who holds the lease; `None`: nobody.
    pub(crate) fn leader(&self) -> Option<String> {
        let lease = self.kubectl.get(NAMESPACE, "lease", &self.name)?;
        let holder = lease["spec"]["holderIdentity"].as_str()?;
        (!holder.is_empty()).then(|| holder.to_owned())
    }
}

/// The image that deploy/base runs the operator in.
pub(crate) fn image_of_deployment(kubectl: &Kubectl) -> String {
    image_of(kubectl, NAME)
}

/// The image of one of several operators.
pub(crate) fn image_of(kubectl: &Kubectl, deployment: &str) -> String {
    let deployment = kubectl.get(NAMESPACE, "deployment", deployment).unwrap();
    deployment["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap().to_owned()
}

/// One request of the operator, as the API server has noted it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) verb: String,
    /// With the subresource, such as `postgresqls/status`.
    pub(crate) resource: String,
    pub(crate) place: String,
    pub(crate) code: i64,
}

impl Request {
    fn of(line: &Value) -> Option<Self> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        if !line["user"]["username"].as_str()?.starts_with(USER) {
            return None;
        }
        // A watch is noted when it begins, and again when it ends.
        let ends_watch = line["verb"] == "watch" && line["stage"] == "ResponseComplete";
        let object = &line["objectRef"];
        let subresource = object["subresource"].as_str().map(|name| format!("/{name}"));
        (!ends_watch).then(|| Self {
            verb: text(&line["verb"]),
            resource: format!("{}{}", text(&object["resource"]), subresource.unwrap_or_default()),
            place: format!("{}/{}", text(&object["namespace"]), text(&object["name"])),
            code: line["responseStatus"]["code"].as_i64().unwrap_or_default(),
        })
    }

    /// Beyond watching, holding the lease, and looking for pods to ask, which comes at an interval of its own.
    pub(crate) fn is_work(&self) -> bool {
        self.verb != "watch" && self.resource != "leases" && self.resource != "pods"
    }

    pub(crate) fn writes(&self) -> bool {
        self.is_work() && !matches!(self.verb.as_str(), "get" | "list")
    }
}

/// A replica.
pub(crate) struct Operator {
    process: Running,
    address: String,
}

impl Operator {
    pub(crate) fn get(&self, path: &str) -> Response {
        http::get(&format!("http://{}{path}", self.address), &[("accept", CLASSIC)]).unwrap()
    }

    pub(crate) fn samples(&self) -> Samples {
        Samples::parse(self.get("/metrics").text())
    }

    /// The status of /readyz, and what it says.
    pub(crate) fn ready(&self) -> (u16, String) {
        let answer = self.get("/readyz");
        (answer.status.as_u16(), answer.text().trim().to_owned())
    }

    pub(crate) fn wait_until_ready(&self) {
        wait_for("the operator to be ready", || (self.ready().0 == 200).then_some(()));
    }

    pub(crate) fn leads(&self) -> bool {
        self.samples().find("pgbackrest_operator_leader", &[]) == Some(1.0)
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn log(&self) -> String {
        self.process.log()
    }

    /// Lines of the log that hold this text.
    pub(crate) fn log_lines(&self, text: &str) -> usize {
        self.log().lines().filter(|line| line.contains(text)).count()
    }

    /// As a node does that loses power.
    pub(crate) fn kill(mut self) {
        killpg(Pid::from_raw(i32::try_from(self.process.id()).unwrap()), Signal::SIGKILL).unwrap();
        self.process.wait();
    }

    /// As a kubelet does; gives the exit code and the log.
    pub(crate) fn stop(mut self) -> (Option<i32>, String) {
        self.process.signal_group(Signal::SIGTERM);
        let code = self.process.wait().code();
        (code, self.process.log())
    }
}

fn lines(log: &str) -> impl Iterator<Item = Value> {
    log.lines().filter_map(|line| serde_json::from_str(line).ok())
}
