//! A whole Kubernetes of one node, with real pods, in namespaces of its own, over both families of addresses or one.
//!
//! Network policies are taken and not enforced: nothing on the node knows them.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::json;

use super::control_plane::{ControlPlane, Surroundings};
use super::kubernetes::addresses::{Addresses, DUAL_STACK};
use super::kubernetes::kubectl::Kubectl;
use super::kubernetes::namespaces::Namespaces;
use super::kubernetes::programs::{Programs, coredns};
use super::kubernetes::shared::on_a_lasting_thread;
use super::kubernetes::{images, kubelet};
use super::limit::{STARTING_NODES, waiting};
use super::machine::{program, skip};
use super::object_store::Host;
use super::process::{successful, wait_up_to};

/// The name of the only node.
pub(crate) const NODE: &str = "node";

/// The storage class of all volumes, which is the default one.
pub(crate) const STORAGE_CLASS: &str = "local";

const REGISTRIES: &str = "registries";

/// How long a part of the node may take to start.
const LONGEST_START: Duration = Duration::from_mins(10);

/// Ended when it is dropped, with all of its pods.
pub(crate) struct Node {
    // In the order of their ends.
    plane: ControlPlane,
    namespaces: Namespaces,
    addresses: &'static Addresses,
    volumes: AtomicU32,
    hosts: AtomicU32,
}

impl Node {
    /// One of the test's own, with these addresses; `None` where the machine lacks something, which is said.
    ///
    /// It ends with the thread that starts it, so start it on the thread of the test.
    pub(crate) fn start(test: &str, addresses: &'static Addresses) -> Option<Self> {
        let _turn = STARTING_NODES.take();
        Self::try_start(addresses).map_err(|missing| skip(test, missing)).ok()
    }

    /// The one that all tests share which only need namespaces of their own in it. Its pods have addresses of both families.
    pub(crate) fn shared(test: &str) -> Option<&'static Self> {
        static SHARED: LazyLock<Result<Node, String>> = LazyLock::new(|| {
            let _turn = STARTING_NODES.take();
            on_a_lasting_thread(|| Node::try_start(&DUAL_STACK))
        });
        waiting("the shared node", || SHARED.as_ref()).map_err(|missing| skip(test, missing)).ok()
    }

    fn try_start(addresses: &'static Addresses) -> Result<Self, String> {
        let programs = Programs::find()?;
        let coredns = coredns()?;
        let containerd = program("containerd")?;
        let runc = program("runc")?;
        let postgres = images::postgres()?;
        let networks = Path::new("/usr/lib/cni");
        if !networks.join("ptp").exists() {
            return Err("there are no network plugins; run scripts/setup-debian as root".to_owned());
        }
        let namespaces = Namespaces::make(addresses.node())?;
        let directory = namespaces.directory().to_owned();
        let surroundings = Surroundings {
            place: namespaces.place(),
            directory: directory.clone(),
            addresses,
            has_node: true,
        };
        let plane = ControlPlane::start_in(surroundings, programs);
        let (volumes, hosts) = (AtomicU32::new(0), AtomicU32::new(10));
        let mut node = Self { plane, namespaces, addresses, volumes, hosts };

        let network = directory.join("network");
        fs::create_dir(&network).unwrap();
        fs::write(network.join("pods.conflist"), kubelet::network(addresses).to_string()).unwrap();
        let config = directory.join("containerd.toml");
        fs::write(&config, kubelet::containerd(&network, networks, &runc, &directory.join(REGISTRIES)))
            .unwrap();
        let mut command = node.namespaces.place().command(containerd);
        command.arg("--config").arg(config);
        // Its shims, when they are ended amid an exec, leave a file there.
        command.env("XDG_RUNTIME_DIR", &directory).env("TMPDIR", &directory);
        node.plane.start_client("containerd", command);
        wait_up_to(LONGEST_START, "containerd to answer", || {
            node.ctr(&["version"]).output().unwrap().status.success().then_some(())
        });
        node.import(&images::pause(&directory));

        node.start_scheduler();
        node.start_kubelet();
        node.start_proxy();
        let config = directory.join("Corefile");
        fs::write(node.names(), "").unwrap();
        fs::write(&config, kubelet::coredns(node.plane.kubeconfig(), &node.names())).unwrap();
        let mut command = node.namespaces.place().command(coredns);
        command.arg("-conf").arg(config);
        node.plane.start_client("coredns", command);

        node.import(&postgres);
        node.import(&images::keeper(&directory));
        node.make_storage_class();
        node.wait_until_ready();
        Ok(node)
    }

    /// The control plane of the node: its administrator, its service accounts.
    pub(crate) fn plane(&self) -> &ControlPlane {
        &self.plane
    }

    /// To stop and start its API server.
    pub(crate) fn plane_mut(&mut self) -> &mut ControlPlane {
        &mut self.plane
    }

    /// kubectl with the rights of an administrator.
    pub(crate) fn kubectl(&self) -> &Kubectl {
        self.plane.kubectl()
    }

    /// Runs it on a thread in the node's network, where it reaches the API server and pods; so do all threads and
    /// processes that it starts.
    pub(crate) fn in_network<T: Send>(&self, run: impl FnOnce() -> T + Send) -> T {
        self.namespaces.place().in_network(run)
    }

    /// Makes so many more volumes to claim, of this size, such as `1Gi`.
    pub(crate) fn provide_volumes(&self, count: u32, size: &str) {
        for _ in 0..count {
            let name = format!("volume-{}", self.volumes.fetch_add(1, Ordering::Relaxed));
            let path = self.namespaces.directory().join("volumes").join(&name);
            fs::create_dir_all(&path).unwrap();
            self.add_volume(&name, &path, size, STORAGE_CLASS);
        }
    }

    /// Makes a volume that is really no larger than this, in memory and with a storage class of its own.
    pub(crate) fn provide_small_volume(&self, class: &str, mebibytes: u32) {
        let path = self.namespaces.directory().join("volumes").join(class);
        fs::create_dir_all(&path).unwrap();
        let mut mount = self.namespaces.place().call("mount");
        successful(mount.args(["-t", "tmpfs", "-o"]).arg(format!("size={mebibytes}m")).arg(class).arg(&path));
        let size = format!("{mebibytes}Mi");
        let storage_class = json!({
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": class},
            "provisioner": "kubernetes.io/no-provisioner",
            "volumeBindingMode": "WaitForFirstConsumer",
        });
        self.kubectl().apply(&storage_class.to_string(), &[]);
        self.add_volume(class, &path, &size, class);
    }

    fn add_volume(&self, name: &str, path: &Path, size: &str, class: &str) {
        let here = json!({"key": "kubernetes.io/hostname", "operator": "In", "values": [NODE]});
        let volume = json!({
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": name},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "capacity": {"storage": size},
                // Unlike a hostPath, it is given to the pod's group.
                "local": {"path": path},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
                "persistentVolumeReclaimPolicy": "Retain",
                "storageClassName": class,
            },
        });
        self.kubectl().apply(&volume.to_string(), &[]);
    }

    /// A new address of the node, which pods resolve by `NAME.test` a second later, for a server on its port 443.
    pub(crate) fn host(&self, name: &str) -> Host {
        let address = self.addresses.more_of_node(self.hosts.fetch_add(1, Ordering::Relaxed));
        let mut command = self.namespaces.place().call("ip");
        command.args(["address", "add", &address.to_string(), "dev", "node0"]);
        if address.is_ipv6() {
            // Usable at once: nobody else can have it.
            command.arg("nodad");
        }
        successful(&mut command);
        let name = format!("{name}.test");
        // One is read by CoreDNS, the other by what runs on the node itself.
        for file in [self.names(), self.namespaces.directory().join("hosts")] {
            let mut file = File::options().append(true).open(file).unwrap();
            file.write_all(format!("{address} {name}\n").as_bytes()).unwrap();
        }
        Host { place: self.namespaces.place(), name, address, port: 443 }
    }

    /// For files of what runs on the node. It goes with the node.
    pub(crate) fn directory(&self) -> &Path {
        self.namespaces.directory()
    }

    fn names(&self) -> PathBuf {
        self.namespaces.directory().join("names")
    }

    /// Imports an OCI archive, as if it had been pulled.
    pub(crate) fn import(&self, archive: &Path) {
        let archive = archive.display().to_string();
        successful(&mut self.ctr(&["--namespace=k8s.io", "images", "import", "--all-platforms", &archive]));
    }

    /// A directory for each registry that its containerd pulls from.
    pub(crate) fn registries(&self) -> PathBuf {
        self.namespaces.directory().join(REGISTRIES)
    }

    /// A client of containerd.
    pub(crate) fn ctr(&self, arguments: &[&str]) -> Command {
        let mut command = self.namespaces.place().call("ctr");
        command.args(arguments);
        command
    }

    fn start_scheduler(&mut self) {
        let kubeconfig = self.plane.user("system:kube-scheduler", &[]);
        let mut command = self.plane.program("kube-scheduler");
        command.arg(format!("--kubeconfig={}", kubeconfig.display()));
        command.args(["--leader-elect=false", "--bind-address=127.0.0.1"]);
        self.plane.start_client("kube-scheduler", command);
    }

    fn start_kubelet(&mut self) {
        let directory = self.namespaces.directory();
        // Names outside of the cluster are nobody's.
        fs::write(directory.join("resolv.conf"), "nameserver 127.0.0.1\n").unwrap();
        let group = format!("keeper-{}", directory.file_name().unwrap().display());
        let authority = self.plane.directory().join("ca.crt");
        let config = directory.join("kubelet.json");
        fs::write(&config, kubelet::kubelet(self.addresses, directory, &authority, &group).to_string())
            .unwrap();
        let kubeconfig = self.plane.user(&format!("system:node:{NODE}"), &["system:nodes"]);
        let mut command = self.plane.program("kubelet");
        command
            .arg(format!("--config={}", config.display()))
            .arg(format!("--kubeconfig={}", kubeconfig.display()))
            .arg(format!("--hostname-override={NODE}"))
            .arg(format!("--node-ip={}", self.addresses.node()));
        self.plane.start_client("kubelet", command);
    }

    fn start_proxy(&mut self) {
        let kubeconfig = self.plane.user("system:kube-proxy", &[]);
        let mut command = self.plane.program("kube-proxy");
        command
            .arg(format!("--kubeconfig={}", kubeconfig.display()))
            .arg(format!("--hostname-override={NODE}"))
            .arg(format!("--cluster-cidr={}", self.addresses.pods[0]))
            .arg("--proxy-mode=iptables")
            // Limits of the whole machine.
            .args(["--conntrack-max-per-core=0", "--conntrack-tcp-timeout-established=0"])
            .arg("--conntrack-tcp-timeout-close-wait=0");
        self.plane.start_client("kube-proxy", command);
    }

    fn make_storage_class(&self) {
        let class = json!({
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {
                "name": STORAGE_CLASS,
                "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
            },
            "provisioner": "kubernetes.io/no-provisioner",
            "volumeBindingMode": "WaitForFirstConsumer",
        });
        self.kubectl().apply(&class.to_string(), &[]);
    }

    fn wait_until_ready(&self) {
        wait_up_to(LONGEST_START, "the node to be ready", || {
            let waited = ["wait", "--for=condition=Ready", "node", NODE, "--timeout=20s"];
            self.kubectl().output(&waited).status.success().then_some(())
        });
    }
}
