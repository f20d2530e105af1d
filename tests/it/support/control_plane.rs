//! A real Kubernetes without nodes: etcd, the API server with RBAC and pod security, and the controller manager.
//!
//! Objects are admitted, validated and reconciled as in any cluster; pods stay pending.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::kubernetes::addresses::{Addresses, DUAL_STACK, everywhere};
use super::kubernetes::certificates::{client, server};
use super::kubernetes::kubectl::{Credentials, Kubectl, write_kubeconfig};
use super::kubernetes::place::Place;
use super::kubernetes::ports::free_port;
use super::kubernetes::programs::Programs;
use super::kubernetes::shared::{on_a_lasting_thread, remove_afterwards};
use super::limit::{CONTROL_PLANES, Permit, waiting};
use super::machine::skip;
use super::process::{Running, wait_up_to};
use crate::support::web::{Authority, Issued};

/// It takes some ten seconds on an idle machine with two cores.
const LONGEST_START: Duration = Duration::from_mins(10);

/// What is noted in the audit log: what service accounts outside of Kubernetes' own namespaces ask for.
const AUDIT_POLICY: &str = r#"
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - {level: None, userGroups: ["system:serviceaccounts:kube-system"]}
  - {level: Metadata, userGroups: ["system:serviceaccounts"]}
"#;

/// How a control plane is embedded where it runs.
pub(crate) struct Surroundings {
    pub(crate) place: Place,
    /// Where it makes its directory.
    pub(crate) directory: PathBuf,
    pub(crate) addresses: &'static Addresses,
    /// Whether pods and kubelets reach it at the node's address, besides 127.0.0.1. Otherwise nobody but this host does.
    pub(crate) has_node: bool,
}

impl Surroundings {
    fn host() -> Self {
        Self { place: Place::Host, directory: std::env::temp_dir(), addresses: &DUAL_STACK, has_node: false }
    }

    fn node_address(&self) -> Option<IpAddr> {
        self.has_node.then(|| self.addresses.node())
    }
}

/// Ended when it is dropped, with everything that it knows.
pub(crate) struct ControlPlane {
    // In the order of their ends, and their directory last.
    clients: Vec<Running>,
    api_server: Option<Running>,
    etcd: Running,
    programs: Programs,
    surroundings: Surroundings,
    ports: Ports,
    authority: Authority,
    admin: Admin,
    kubectl: Kubectl,
    directory: TempDir,
    /// Of one that is not shared.
    #[expect(dead_code, reason = "held until all of the others are gone")]
    permit: Option<Permit>,
}

struct Ports {
    api_server: u16,
    etcd: u16,
    etcd_peers: u16,
}

/// What an HTTP client needs to be an administrator of the cluster.
pub(crate) struct Admin {
    pub(crate) url: String,
    /// The client certificate.
    pub(crate) identity: Issued,
}

impl ControlPlane {
    /// One of the test's own; `None` where the machine lacks something, which is said.
    ///
    /// It ends with the thread that starts it, so start it on the thread of the test.
    pub(crate) fn start(test: &str) -> Option<Self> {
        match Programs::find() {
            Ok(programs) => {
                let permit = CONTROL_PLANES.take();
                Some(Self { permit: Some(permit), ..Self::start_in(Surroundings::host(), programs) })
            }
            Err(missing) => {
                skip(test, missing);
                None
            }
        }
    }

    /// The one that all tests share which only need namespaces of their own in it.
    pub(crate) fn shared(test: &str) -> Option<&'static Self> {
        static SHARED: LazyLock<Result<(ControlPlane, std::process::Child), String>> = LazyLock::new(|| {
            let programs = Programs::find()?;
            Ok(on_a_lasting_thread(move || {
                let started = ControlPlane::start_in(Surroundings::host(), programs);
                let remover = remove_afterwards(started.directory.path(), &started.processes());
                (started, remover)
            }))
        });
        match waiting("the shared control plane", || &*SHARED) {
            Ok((shared, _)) => Some(shared),
            Err(missing) => {
                skip(test, missing);
                None
            }
        }
    }

    /// Starts it and waits until it works.
    pub(crate) fn start_in(surroundings: Surroundings, programs: Programs) -> Self {
        let directory =
            tempfile::Builder::new().prefix("kubernetes-").tempdir_in(&surroundings.directory).unwrap();
        let ports = Ports { api_server: free_port(), etcd: free_port(), etcd_peers: free_port() };
        let authority = Authority::new();
        write_identities(directory.path(), &authority, &surroundings);
        fs::write(directory.path().join("audit-policy.yaml"), AUDIT_POLICY).unwrap();
        let url = format!("https://127.0.0.1:{}", ports.api_server);
        let admin = Admin { url, identity: client(&authority, "admin", &["system:masters"]) };
        let kubectl = Kubectl {
            place: surroundings.place,
            program: programs.kubernetes("kubectl"),
            kubeconfig: directory.path().join("kubeconfig"),
        };
        let etcd = start_etcd(&programs, surroundings.place, &ports, directory.path());
        let mut started = Self {
            clients: Vec::new(),
            api_server: None,
            etcd,
            programs,
            surroundings,
            ports,
            authority,
            admin,
            kubectl,
            directory,
            permit: None,
        };
        started.write_kubeconfig(started.kubeconfig(), &Credentials::Certificate(&started.admin.identity));
        started.start_client("kubectl-proxy", started.kubectl.proxy());
        started.start_api_server();
        started.start_controller_manager();
        started
    }

    /// A file with the rights of an administrator.
    pub(crate) fn kubeconfig(&self) -> &Path {
        &self.kubectl.kubeconfig
    }

    pub(crate) fn admin(&self) -> &Admin {
        &self.admin
    }

    /// The authority of every certificate in the cluster, the API server's too.
    pub(crate) fn authority(&self) -> &Authority {
        &self.authority
    }

    /// kubectl with the rights of an administrator.
    pub(crate) fn kubectl(&self) -> &Kubectl {
        &self.kubectl
    }

    /// A kubeconfig file with the rights of a service account, by a token that the cluster makes.
    pub(crate) fn service_account(&self, namespace: &str, name: &str) -> PathBuf {
        let token = self.kubectl.run(&["--namespace", namespace, "create", "token", name, "--duration=24h"]);
        let file = self.directory.path().join(format!("{namespace}-{name}.kubeconfig"));
        self.write_kubeconfig(&file, &Credentials::Token(token.trim()));
        file
    }

    /// A kubeconfig file of a user with a certificate.
    pub(crate) fn user(&self, user: &str, groups: &[&str]) -> PathBuf {
        let file = self.directory.path().join(format!("{}.kubeconfig", user.replace(':', "-")));
        self.write_kubeconfig(&file, &Credentials::Certificate(&client(&self.authority, user, groups)));
        file
    }

    /// Where its files and those of its surroundings are.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// One JSON object for each request of a service account.
    pub(crate) fn audit_log(&self) -> PathBuf {
        self.directory.path().join("audit.log")
    }

    /// Kills the API server, as a crash would. What it knew stays.
    pub(crate) fn stop_api_server(&mut self) {
        self.api_server = None;
    }

    /// Starts it, again at the same address, and waits until it is ready.
    pub(crate) fn start_api_server(&mut self) {
        let file = |name: &str| self.directory.path().join(name).display().to_string();
        let mut command = self.surroundings.place.command(self.programs.kubernetes("kube-apiserver"));
        command
            .arg(format!("--etcd-servers=http://127.0.0.1:{}", self.ports.etcd))
            .arg(format!("--secure-port={}", self.ports.api_server))
            .arg(format!("--service-cluster-ip-range={}", self.surroundings.addresses.services))
            .arg(format!("--tls-cert-file={}", file("api-server.crt")))
            .arg(format!("--tls-private-key-file={}", file("api-server.key")))
            .arg(format!("--client-ca-file={}", file("ca.crt")))
            .arg(format!("--kubelet-client-certificate={}", file("kubelet-client.crt")))
            .arg(format!("--kubelet-client-key={}", file("kubelet-client.key")))
            .arg(format!("--service-account-key-file={}", file("service-accounts.crt")))
            .arg(format!("--service-account-signing-key-file={}", file("service-accounts.key")))
            .arg("--service-account-issuer=https://kubernetes.default.svc")
            .arg(format!("--audit-policy-file={}", file("audit-policy.yaml")))
            .arg(format!("--audit-log-path={}", self.audit_log().display()))
            // In MB. Without it, the API server starts a new file at 100 MB.
            .arg("--audit-log-maxsize=100000")
            .arg("--authorization-mode=Node,RBAC")
            .arg("--enable-admission-plugins=NodeRestriction")
            .arg("--kubelet-preferred-address-types=InternalIP,Hostname");
        match self.surroundings.node_address() {
            Some(address) => command
                .arg(format!("--bind-address={}", everywhere(address)))
                .arg(format!("--advertise-address={address}")),
            // No pod is to find it through the service kubernetes.
            None => command.args([
                "--bind-address=127.0.0.1",
                "--advertise-address=127.0.0.1",
                "--endpoint-reconciler-type=none",
            ]),
        };
        let mut server = self.start_one("kube-apiserver", command);
        wait_until(&mut server, "the API server to be ready", || self.kubectl.raw("/readyz").is_ok());
        self.api_server = Some(server);
    }

    /// Starts another process of the cluster, which ends before the API server does.
    pub(crate) fn start_client(&mut self, name: &str, command: std::process::Command) {
        let client = self.start_one(name, command);
        self.clients.push(client);
    }

    /// A program of Kubernetes, to be started where the control plane runs.
    pub(crate) fn program(&self, name: &str) -> std::process::Command {
        self.surroundings.place.command(self.programs.kubernetes(name))
    }

    fn start_controller_manager(&mut self) {
        let kubeconfig = self.user("system:kube-controller-manager", &[]);
        let key = self.directory.path().join("service-accounts.key");
        let mut command = self.program("kube-controller-manager");
        command
            .arg(format!("--kubeconfig={}", kubeconfig.display()))
            .arg(format!("--service-account-private-key-file={}", key.display()))
            .arg(format!("--root-ca-file={}", self.directory.path().join("ca.crt").display()))
            .args(["--use-service-account-credentials=true", "--leader-elect=false", "--secure-port=0"]);
        let mut manager = self.start_one("kube-controller-manager", command);
        wait_until(&mut manager, "the controller manager to make service accounts", || {
            self.kubectl.get("default", "serviceaccount", "default").is_some()
        });
        self.clients.push(manager);
    }

    fn start_one(&self, name: &str, mut command: std::process::Command) -> Running {
        // Programs in Go use less of a processor, and more memory, where they collect garbage more rarely.
        command.env("GOGC", "300");
        let log = self.directory.path().join(format!("{name}.log"));
        // Nothing that they could still write is of use.
        Running::start(name, command, &log, Signal::SIGKILL)
    }

    fn write_kubeconfig(&self, file: &Path, credentials: &Credentials<'_>) {
        write_kubeconfig(file, &self.admin.url, &self.authority.certificate_pem(), credentials);
    }

    fn processes(&self) -> Vec<u32> {
        let all = self.clients.iter().chain(&self.api_server).chain([&self.etcd]);
        all.map(Running::id).collect()
    }
}

/// Asks until it is so.
///
/// # Panics
/// With the log of the process, if it ends or takes too long.
pub(crate) fn wait_until(process: &mut Running, what: &str, mut is_so: impl FnMut() -> bool) {
    wait_up_to(LONGEST_START, what, || {
        if let Some(status) = process.ended() {
            panic!("waiting for {what}: it ended ({status}):\n{}", process.log());
        }
        is_so().then_some(())
    });
}

fn start_etcd(programs: &Programs, place: Place, ports: &Ports, directory: &Path) -> Running {
    let (clients, peers) =
        (format!("http://127.0.0.1:{}", ports.etcd), format!("http://127.0.0.1:{}", ports.etcd_peers));
    let mut command = place.command(&programs.etcd);
    command
        .arg(format!("--data-dir={}", directory.join("etcd").display()))
        .arg(format!("--listen-client-urls={clients}"))
        .arg(format!("--advertise-client-urls={clients}"))
        .arg(format!("--listen-peer-urls={peers}"))
        .arg(format!("--initial-advertise-peer-urls={peers}"))
        .arg(format!("--initial-cluster=default={peers}"))
        // No power cut has to be survived.
        .arg("--unsafe-no-fsync");
    Running::start("etcd", command, &directory.join("etcd.log"), Signal::SIGKILL)
}

fn write_identities(directory: &Path, authority: &Authority, surroundings: &Surroundings) {
    let node_address = surroundings.node_address().map(|address| address.to_string());
    let mut names = vec![
        "127.0.0.1",
        surroundings.addresses.api_server,
        "localhost",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
    ];
    names.extend(node_address.as_deref());
    let write = |name: &str, text: &str| fs::write(directory.join(name), text).unwrap();
    write("ca.crt", &authority.certificate_pem());
    for (name, issued) in [
        ("api-server", server(authority, &names)),
        ("kubelet-client", client(authority, "apiserver-kubelet-client", &["system:masters"])),
        // Only its key is used, for signing tokens and for checking them.
        ("service-accounts", client(authority, "service-accounts", &[])),
    ] {
        write(&format!("{name}.crt"), &issued.certificate_pem);
        write(&format!("{name}.key"), &issued.key_pem);
    }
}
