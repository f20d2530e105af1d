//! A registry of container images on a node, which asks everyone for a password, and which the node's containerd trusts.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use nix::sys::signal::Signal;
use serde_json::json;

use super::machine::program;
use super::node::Node;
use super::process::{Running, successful};
use crate::support::web::Authority;

const USER: &str = "puller";
const PASSWORD: &str = "not-a-secret";

/// Ended when it is dropped.
pub(crate) struct Registry<'node> {
    node: &'node Node,
    /// What references to its images begin with.
    pub(crate) name: String,
    _process: Running,
}

impl<'node> Registry<'node> {
    /// Starts it on a new address of the node; an error tells what the machine lacks.
    pub(crate) fn start(node: &'node Node, name: &str) -> Result<Self, String> {
        let program = program("docker-registry")?;
        let host = node.host(name);
        let directory = node.directory().join(name);
        fs::create_dir(&directory).unwrap();
        let file = |name: &str, text: &str| -> PathBuf {
            let path = directory.join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let authority = Authority::new();
        let issued = authority.issue(&[&host.name]);
        let hash = bcrypt::hash(PASSWORD, 4).unwrap();
        let config = json!({
            "version": 0.1,
            "storage": {"filesystem": {"rootdirectory": directory.join("files")}},
            "auth": {"htpasswd": {"realm": "test", "path": file("htpasswd", &format!("{USER}:{hash}\n"))}},
            "http": {
                "addr": host.socket(),
                "tls": {
                    "certificate": file("server.crt", &issued.certificate_pem),
                    "key": file("server.key", &issued.key_pem),
                },
            },
        });
        let trusted = node.registries().join(&host.name);
        fs::create_dir_all(&trusted).unwrap();
        let roots = file("ca.crt", &authority.certificate_pem());
        fs::set_permissions(&roots, fs::Permissions::from_mode(0o644)).unwrap();
        let hosts = format!("[host.\"https://{}\"]\n  ca = \"{}\"\n", host.name, roots.display());
        fs::write(trusted.join("hosts.toml"), hosts).unwrap();

        let mut command = host.place.command(program);
        command.arg("serve").arg(file("config.json", &config.to_string()));
        let log = directory.join("log");
        let mut process = Running::start("docker-registry", command, &log, Signal::SIGKILL);
        process.wait_in_log("the registry to listen", |log| log.contains("listening on").then_some(()));
        Ok(Self { node, name: host.name, _process: process })
    }

    /// Stores an image that the node has, under another name, and gives its reference.
    pub(crate) fn push(&self, image: &str, name: &str) -> String {
        let (reference, user) = (format!("{}/{name}", self.name), format!("{USER}:{PASSWORD}"));
        let hosts = self.node.registries().display().to_string();
        let push = ["--namespace=k8s.io", "images", "push", "--hosts-dir", &hosts, "--user", &user];
        successful(&mut self.node.ctr(&[&push[..], &[&reference, image]].concat()));
        reference
    }

    /// Creates a Secret with which pods pull from it.
    pub(crate) fn create_secret(&self, namespace: &str, name: &str) {
        let user = [format!("--docker-username={USER}"), format!("--docker-password={PASSWORD}")];
        let server = format!("--docker-server={}", self.name);
        let create = ["--namespace", namespace, "create", "secret", "docker-registry", name];
        self.node.kubectl().run(&[&create[..], &[&server, &user[0], &user[1]]].concat());
    }
}
