//! The configuration of containerd, the kubelet and CoreDNS in the namespaces of a node.

use std::path::Path;

use serde_json::{Value, json};

use super::addresses::Addresses;
use super::images::PAUSE;

/// containerd's configuration. What it writes lies in /var/lib and /run, which are the node's own.
pub(crate) fn containerd(
    network_directory: &Path,
    programs: &Path,
    runc: &Path,
    registries: &Path,
) -> String {
    format!(
        r#"version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  # Where a container may not make itself less likely to be killed than its parent.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{programs}"
    conf_dir = "{network}"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{registries}"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      BinaryName = "{runc}"
      SystemdCgroup = false
[plugins."io.containerd.internal.v1.opt"]
  path = "/var/lib/containerd/opt"
"#,
        programs = programs.display(),
        network = network_directory.display(),
        runc = runc.display(),
        registries = registries.display(),
    )
}

/// Every packet from a pod goes through the node, so that the addresses of services work between its own pods.
pub(crate) fn network(addresses: &Addresses) -> Value {
    let ranges: Vec<Value> = addresses.pods.iter().map(|range| json!([{"subnet": range}])).collect();
    let everything = |range: &&str| if range.contains(':') { "::/0" } else { "0.0.0.0/0" };
    let routes: Vec<Value> = addresses.pods.iter().map(|range| json!({"dst": everything(range)})).collect();
    json!({
        "cniVersion": "0.4.0",
        "name": "pods",
        "plugins": [{
            "type": "ptp",
            "ipam": {"type": "host-local", "ranges": ranges, "routes": routes},
        }],
    })
}

/// The kubelet's configuration.
pub(crate) fn kubelet(addresses: &Addresses, directory: &Path, authority: &Path, group: &str) -> Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": addresses.node(),
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": false},
            "x509": {"clientCAFile": authority},
        },
        "authorization": {"mode": "AlwaysAllow"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{group}"),
        "clusterDNS": [addresses.node()],
        "clusterDomain": "cluster.local",
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        // The machine's disk and memory are not this node's to judge.
        "evictionHard": {"imagefs.available": "1%", "nodefs.available": "1%", "memory.available": "50Mi"},
        "imageGCHighThresholdPercent": 100,
        // Images that were imported have the contents of those that were pulled.
        "imagePullCredentialsVerificationPolicy": "NeverVerify",
        "failCgroupV1": false,
        "failSwapOn": false,
        "resolvConf": directory.join("resolv.conf"),
        "volumePluginDir": directory.join("volume-plugins"),
        // How soon a pod sees that a Secret or ConfigMap has changed.
        "syncFrequency": "3s",
        // Nobody asks how full volumes are.
        "volumeStatsAggPeriod": "-1s",
    })
}

/// CoreDNS's configuration: every name of the cluster, those of a file under `test`, and no others.
pub(crate) fn coredns(kubeconfig: &Path, names: &Path) -> String {
    format!(
        "cluster.local in-addr.arpa ip6.arpa {{
    errors
    kubernetes {{
        kubeconfig {}
        ttl 1
    }}
}}
test {{
    errors
    hosts {} {{
        reload 500ms
        ttl 1
    }}
}}
. {{
    template ANY ANY {{
        rcode NXDOMAIN
    }}
}}
",
        kubeconfig.display(),
        names.display()
    )
}
