//! The server of a real pgBackRest with the generated configuration, in networks with IPv4, IPv6 and both.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use chrono::Utc;
use nix::sys::signal::Signal;
use pgbackrest_keeper::cluster::address::IpFamilies;
use pgbackrest_keeper::cluster::desired::{self, BuildInputs, CertificatePem, Object};
use pgbackrest_keeper::cluster::references::References;
use pgbackrest_keeper::cluster::settings::Settings;
use pgbackrest_keeper::cluster::validate;
use pgbackrest_keeper::cluster::validated::ValidatedCluster;
use pgbackrest_keeper::operator::certificates;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::machine::{Pgbackrest, is_root, skip};
use crate::support::process::{Running, call, command, output, wait_for};

const IPV4: &str = "192.0.2.7";
const IPV6: &str = "2001:db8::7";
/// As other pods find the repo host.
const HOST: &str = "ledger-pgbackrest-repo-host-0.ledger-clusterpods.shop.svc.cluster.local";

/// The network of the pods of a Kubernetes cluster.
struct Network {
    name: &'static str,
    /// Of each pod.
    addresses: &'static [&'static str],
    /// Of the Service of the pods.
    families: &'static [&'static str],
    /// Whether the kernel has sockets for IPv6.
    has_ipv6_sockets: bool,
}

const IPV4_ONLY: Network =
    Network { name: "IPv4", addresses: &[IPV4], families: &["IPv4"], has_ipv6_sockets: true };
const WITHOUT_IPV6: Network = Network { name: "a kernel without IPv6", has_ipv6_sockets: false, ..IPV4_ONLY };
const IPV6_ONLY: Network =
    Network { name: "IPv6", addresses: &[IPV6], families: &["IPv6"], has_ipv6_sockets: true };
const BOTH: Network =
    Network { name: "both", addresses: &[IPV4, IPV6], families: &["IPv4", "IPv6"], has_ipv6_sockets: true };

#[test]
fn the_server_is_reached_at_every_address_of_its_pod() {
    let test = "the_server_is_reached_at_every_address_of_its_pod";
    for version in [Pgbackrest::installed(), Pgbackrest::newest()] {
        let Some(version) = version_or_skip(test, version) else { return };
        for network in [IPV4_ONLY, WITHOUT_IPV6, IPV6_ONLY, BOTH] {
            let pod = Pod::new(&version, &network);
            let _server = pod.start_server(network.server_address());
            for address in network.addresses {
                pod.wait_for_probe(address, 0);
            }
            let info = pod.run_as_database(&["pgbackrest", "--stanza=db", "info"]);
            let said = String::from_utf8_lossy(&info.stdout);
            assert!(info.status.success() && said.contains("missing stanza path"), "{}: {info:?}", pod.name);
        }
    }
}

/// Why the address depends on the network: neither of the two serves all of them.
#[test]
fn neither_address_fits_everywhere() {
    let test = "neither_address_fits_everywhere";
    for version in [Pgbackrest::installed(), Pgbackrest::newest()] {
        let Some(version) = version_or_skip(test, version) else { return };
        let pod = Pod::new(&version, &WITHOUT_IPV6);
        let mut server = pod.start_server("::");
        assert_eq!(server.wait().code(), Some(41), "{}", server.log());

        // Reloaded as the operator does it, the server moves to the other address.
        let pod = Pod::new(&version, &IPV6_ONLY);
        let server = pod.start_server("*");
        pod.wait_for_probe("127.0.0.1", 0);
        assert_eq!(pod.probe(IPV6).status.code(), Some(49), "clients do not reach it");
        pod.write_repo_host("::");
        server.signal_group(Signal::SIGHUP);
        pod.wait_for_probe(IPV6, 0);
    }
}

fn version_or_skip(test: &str, version: Result<Pgbackrest, String>) -> Option<Pgbackrest> {
    let version = if is_root() { version } else { Err("only root makes network namespaces".to_owned()) };
    version.map_err(|missing| skip(test, missing)).ok()
}

impl Network {
    fn ip_families(&self) -> IpFamilies {
        let families: Vec<String> = self.families.iter().map(|family| (*family).to_owned()).collect();
        IpFamilies::of_service(&families)
    }

    fn server_address(&self) -> &'static str {
        self.ip_families().server_address()
    }
}

/// The network and the files of a pod. Clients are in it too.
struct Pod<'a> {
    name: String,
    version: &'a Pgbackrest,
    network: &'a Network,
    container: Value,
    namespaces: Running,
    directory: TempDir,
}

impl<'a> Pod<'a> {
    fn new(version: &'a Pgbackrest, network: &'a Network) -> Self {
        let directory = tempfile::Builder::new().prefix("addresses-").tempdir().unwrap();
        let path = directory.path();
        for name in ["certs", "bin", "repo1"] {
            fs::create_dir(path.join(name)).unwrap();
        }
        std::os::unix::fs::symlink(&version.program, path.join("bin/pgbackrest")).unwrap();
        let cluster = cluster();
        let settings = Settings::default();
        let made = certificates::renew(&cluster, &settings, None, false, Utc::now()).unwrap();
        let container = write_objects(&cluster, network.ip_families(), made.pem, path);
        let namespaces = start_namespaces(network, path);
        let name = format!("pgBackRest {} in {}", version.version, network.name);
        Self { name, version, network, container, namespaces, directory }
    }

    fn write_repo_host(&self, address: &str) {
        let file = self.directory.path().join("repo-host.conf");
        let text = fs::read_to_string(&file).unwrap();
        let generated = format!("tls-server-address={}\n", self.network.server_address());
        assert!(text.contains(&generated), "{text}");
        let text = text.replace(&generated, &format!("tls-server-address={address}\n"));
        fs::write(self.directory.path().join("server.conf"), text).unwrap();
    }

    fn start_server(&self, address: &str) -> Running {
        self.write_repo_host(address);
        let command =
            self.inside(command(None, "nsenter"), "server.conf", &words(&self.container["command"]));
        let log = self.directory.path().join("server.log");
        Running::start(&format!("the server of {}", self.name), command, &log, Signal::SIGTERM)
    }

    fn probe(&self, address: &str) -> Output {
        let words = words(&self.container["readinessProbe"]["exec"]["command"]);
        let mut probe = self.inside(call(None, "nsenter"), "server.conf", &words);
        // As from the pod's own field.
        let variable = &self.container["env"][0];
        assert_eq!(variable["valueFrom"]["fieldRef"]["fieldPath"], "status.podIP");
        output(probe.env(variable["name"].as_str().unwrap(), address))
    }

    fn wait_for_probe(&self, address: &str, code: i32) {
        let what = format!("{} to answer at {address}", self.name);
        wait_for(&what, || (self.probe(address).status.code() == Some(code)).then_some(()));
    }

    fn run_as_database(&self, words: &[&str]) -> Output {
        output(&mut self.inside(call(None, "nsenter"), "database.conf", words))
    }

    /// `nsenter` runs the words in the pod, with this configuration and nothing else of this machine.
    fn inside(&self, mut nsenter: Command, configuration: &str, words: &[&str]) -> Command {
        let path = self.directory.path();
        let search = std::env::var("PATH").unwrap_or_default();
        nsenter.arg(format!("--target={}", self.namespaces.id())).args(["--net", "--mount", "--"]);
        if !self.network.has_ipv6_sockets {
            nsenter.args(["python3", "-c", NO_IPV6_SOCKETS]);
        }
        nsenter.args(words);
        nsenter.env("PATH", format!("{}:{search}", path.join("bin").display()));
        nsenter.env("PGBACKREST_CONFIG", path.join(configuration));
        for option in ["LOG", "LOCK", "SPOOL"] {
            nsenter.env(format!("PGBACKREST_{option}_PATH"), path);
        }
        if self.version.minor() >= 59 {
            nsenter.env("PGBACKREST_ALLOW_ROOT", "y");
        }
        nsenter
    }
}

fn cluster() -> ValidatedCluster {
    let resource = json!({
        "apiVersion": "cpo.opensource.cybertec.at/v1",
        "kind": "postgresql",
        "metadata": {"name": "ledger", "namespace": "shop", "uid": "1"},
        "spec": {"teamId": "shop", "numberOfInstances": 1, "postgresql": {"version": "15"}, "volume": {"size": "1Gi"},
            "backup": {"pgbackrest": {"image": "registry.example/pgbackrest:2",
                "global": {"repo1-retention-full": "2"},
                "repos": [{"name": "repo1", "storage": "pvc", "volume": {"size": "2Gi"}}]}}},
    });
    let (cluster, findings) = validate::document(resource, &References::default(), &Settings::default());
    cluster.unwrap_or_else(|| panic!("{findings:?}"))
}

/// Writes both configurations and the certificates. Gives the container of the repo host.
fn write_objects(
    cluster: &ValidatedCluster,
    families: IpFamilies,
    pem: CertificatePem,
    directory: &Path,
) -> Value {
    let inputs = BuildInputs { certificates: Some(pem), families, ..BuildInputs::default() };
    let built = desired::build(cluster, &Settings::default(), &inputs);
    let mut container = Value::Null;
    for object in &built.objects {
        match object {
            Object::ConfigMap(map) => {
                let is_repo_host = object.name().contains("repohost");
                let file = if is_repo_host { "repo-host.conf" } else { "database.conf" };
                let text = map.data.iter().flatten().map(|(_, text)| text.as_str()).collect::<String>();
                let text = text.replace("/etc/pgbackrest/certs", directory.join("certs").to_str().unwrap());
                let text = text.replace("/data/pgbackrest/repo1", directory.join("repo1").to_str().unwrap());
                fs::write(directory.join(file), text).unwrap();
            }
            Object::Secret(secret) if object.name().ends_with("-cert") => {
                for (name, content) in secret.data.iter().flatten() {
                    let file = directory.join("certs").join(name);
                    fs::write(&file, &content.0).unwrap();
                    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
                }
            }
            Object::StatefulSet(_) => {
                let set = serde_json::to_value(object).unwrap();
                container = set["spec"]["template"]["spec"]["containers"][0].clone();
            }
            _ => {}
        }
    }
    container
}

/// A network with nothing but the addresses of the pod, and a file with its names.
fn start_namespaces(network: &Network, directory: &Path) -> Running {
    const SET_UP: &str = r#"
        hosts=$1
        shift
        ip link set lo up
        case "$*" in
        *:*) ;;
        *) echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6 ;;
        esac
        for address; do
            ip address add "$address" dev lo
        done
        mount --bind "$hosts" /etc/hosts
        echo ready
        exec sleep infinity
    "#;
    let hosts = directory.join("hosts");
    let lines: Vec<String> = network.addresses.iter().map(|address| format!("{address} {HOST}\n")).collect();
    fs::write(&hosts, lines.concat()).unwrap();
    let mut unshare = command(None, "unshare");
    unshare.args(["--net", "--mount", "--", "sh", "-euc", SET_UP, "sh"]).arg(&hosts);
    unshare.args(network.addresses);
    let log = directory.join("namespaces.log");
    let mut namespaces = Running::start("the namespaces of a pod", unshare, &log, Signal::SIGKILL);
    namespaces.wait_in_log("the network", |log| log.contains("ready").then_some(()));
    namespaces
}

fn words(command: &Value) -> Vec<&str> {
    command.as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect()
}

/// Runs a command as on a kernel that was started with `ipv6.disable=1`: it refuses sockets of that family.
const NO_IPV6_SOCKETS: &str = r"
import ctypes, os, platform, socket, errno, sys
call = {'x86_64': 41, 'aarch64': 198}[platform.machine()]
class Step(ctypes.Structure):
    _fields_ = [('code', ctypes.c_uint16), ('jt', ctypes.c_uint8), ('jf', ctypes.c_uint8), ('k', ctypes.c_uint32)]
class Program(ctypes.Structure):
    _fields_ = [('length', ctypes.c_ushort), ('steps', ctypes.POINTER(Step))]
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
steps = [
    (LOAD, 0, 0, 0), (EQUAL, 0, 3, call),
    (LOAD, 0, 0, 16), (EQUAL, 0, 1, socket.AF_INET6),
    (RETURN, 0, 0, 0x00050000 | errno.EAFNOSUPPORT), (RETURN, 0, 0, 0x7fff0000),
]
program = Program(len(steps), (Step * len(steps))(*steps))
library = ctypes.CDLL(None, use_errno=True)
assert library.prctl(38, 1, 0, 0, 0) == 0
assert library.prctl(22, 2, ctypes.byref(program)) == 0
os.execvp(sys.argv[1], sys.argv[1:])
";
