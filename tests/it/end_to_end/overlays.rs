//! Overlays and components of deploy/ on a real node. The default one is what the other tests of the node install.

mod kinds;
mod scraping;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;

use serde_json::{Value, json};

use crate::operator::deploy::chart::Helm;
use crate::support::example::{Example, install_overlay, with_our_image};
use crate::support::exposition::Samples;
use crate::support::http;
use crate::support::kubernetes::images::KEEPER;
use crate::support::kubernetes::kubectl::Kubectl;
use crate::support::machine::{program, skip};
use crate::support::node::Node;
use crate::support::process::{call, successful};
use crate::support::prometheus::Prometheus;
use crate::support::web::Authority;

/// One part of the split fleet, which looks after this namespace.
const PART: &str = "shop";

/// With the rights of one namespace alone, from the example to its first backup; and what the exporter in its pod sees.
#[test]
fn a_part_of_a_fleet_is_backed_up_with_an_exporter_beside_postgresql() {
    let test = "a_part_of_a_fleet_is_backed_up_with_an_exporter_beside_postgresql";
    let Some(node) = Node::shared(test) else { return };
    let kubectl = node.kubectl();
    for namespace in ["bank", PART] {
        kubectl.create_restricted_namespace(namespace);
    }
    kubectl.apply(&with_our_image(node, "deploy/overlays/split"), &[]);
    // The exporter's own interval is ten minutes.
    let example =
        with_our_image(node, "deploy/examples/exporter").replace("registry.example/localhost/", "localhost/");
    let command = "        - exporter\n";
    assert_eq!(example.matches(command).count(), 1, "{example}");
    let example = example.replace(command, &format!("{command}        - --collect.interval=2\n"));
    let cluster = Example::apply_changed(node, PART, &example);
    for part in ["bank", PART] {
        let deployment = format!("deployment/pgbackrest-keeper-operator-{part}");
        kubectl.wait("pgbackrest-keeper", &deployment, "condition=Available");
        cluster.wait("the lease of each part", || {
            let lease =
                kubectl.get("pgbackrest-keeper", "lease", &format!("pgbackrest-keeper-operator-{part}"))?;
            lease["spec"]["holderIdentity"]
                .as_str()?
                .starts_with(&format!("pgbackrest-keeper-operator-{part}"))
                .then_some(())
        });
    }
    kubectl.wait(PART, "pod/cluster-0", "condition=Ready");
    let first = cluster.wait("the Job of the first full backup", || cluster.jobs().pop());
    cluster.wait_for_job(&first, "Complete");

    let address = kubectl.get(PART, "pod", "cluster-0").unwrap()["status"]["podIP"].clone();
    let url = format!("http://{}:9854/metrics", address.as_str().unwrap());
    let tells = |what: &str, name: &str, labels: &[(&str, &str)], value: f64| {
        cluster.wait(what, || {
            let answer = node.in_network(|| http::get(&url, &[])).ok()?;
            (Samples::parse(answer.text()).find(name, labels)? == value).then_some(())
        });
    };
    tells("a repo that is up", "pgbackrest_repo_up", &[("stanza", "db"), ("repo_key", "1")], 1.0);
    tells("the backup", "pgbackrest_backups", &[("repo_key", "1"), ("backup_type", "full")], 1.0);
    let lock = |value| {
        let name = "pgbackrest_stanza_backup_lock_status";
        tells(&format!("a lock that is {value}"), name, &[("stanza", "db")], value);
    };
    lock(0.0);
    // The backup waits for a checkpoint. With much to write, it takes minutes unless one is requested.
    cluster.psql("create table unwritten (id int); insert into unwritten select generate_series(1, 400000)");
    thread::scope(|scope| {
        let backup = scope.spawn(|| {
            let backup =
                ["pgbackrest", "backup", "--stanza=db", "--repo=1", "--type=full", "--no-start-fast"];
            cluster.said("cluster-pgbackrest-repo-host-0", "pgbackrest", &backup);
        });
        lock(1.0);
        cluster.psql("checkpoint");
        backup.join().unwrap();
    });
    lock(0.0);
    tells("both backups", "pgbackrest_backups", &[("repo_key", "1"), ("backup_type", "full")], 2.0);
    who_observes_sees_the_same(&cluster);
    prometheus_finds_the_exporter(test, &cluster);
}

/// By the PodMonitor, with the labels that the alerts go by.
fn prometheus_finds_the_exporter(test: &str, cluster: &Example<'_>) {
    let monitor = monitor(cluster.node, "PodMonitor");
    let job = scraping::job(&monitor, cluster.kubectl(), None);
    cluster.node.in_network(|| match Prometheus::start_with_jobs(&[job]) {
        Ok(prometheus) => {
            scraping::wait_for(&prometheus, "up{job=\"pgbackrest-keeper/pgbackrest-keeper-exporter\"}", 1.0);
            let backups = "pgbackrest_backups{namespace=\"shop\",pod=\"cluster-0\",pg_cluster=\"cluster\",\
                backup_type=\"full\"}";
            scraping::wait_for(&prometheus, backups, 2.0);
        }
        Err(missing) => skip(test, missing),
    });
}

/// As deploy/overlays/secured has it, which is the strictest.
fn monitor(node: &Node, kind: &str) -> Value {
    let overlay = with_our_image(node, "deploy/overlays/secured");
    let objects: Vec<Value> = serde_saphyr::from_multiple(&overlay).unwrap();
    objects.into_iter().find(|object| object["kind"] == kind).unwrap()
}

/// With the rights of deploy/overlays/observe, which are few, pgBackRest is asked all the same, also where a resource is not valid.
fn who_observes_sees_the_same(cluster: &Example<'_>) {
    let (node, namespace) = (cluster.node, "observer");
    let names = kinds::apply(cluster);
    let namespaces = format!("--namespaces={PART},{}", kinds::NAMESPACE);
    install_overlay(node, "observe", namespace, &[&namespaces, "--collect.interval=5"]);
    let others = names.iter().map(|name| (kinds::NAMESPACE, *name));
    for (of_cluster, name) in std::iter::once((PART, "cluster")).chain(others) {
        let labels =
            [("namespace", of_cluster), ("pg_cluster", name), ("repo_key", "1"), ("backup_type", "full")];
        cluster.wait(&format!("the observer to tell of both backups of {name}"), || {
            let pods = node.kubectl().list(namespace, "pod", "");
            let mut tells = pods.iter().filter_map(|pod| pod["status"]["podIP"].as_str()).map(|address| {
                let answer =
                    node.in_network(|| http::get(&format!("http://{address}:9854/metrics"), &[])).ok()?;
                Samples::parse(answer.text()).find("pgbackrest_backups", &labels)
            });
            tells.any(|count| count == Some(2.0)).then_some(())
        });
    }
    for name in names {
        let get = ["--namespace", kinds::NAMESPACE, "get", "postgresql", name, "--output=jsonpath={.status}"];
        assert_eq!(node.kubectl().run(&get), "", "who observes writes no status");
    }
    node.kubectl().delete_namespaces(&[namespace, kinds::NAMESPACE]);
}

/// Helm says that a release is there when its pods are ready.
#[test]
fn a_release_of_the_chart_runs() {
    let test = "a_release_of_the_chart_runs";
    let (Some(node), Some(helm)) = (Node::shared(test), Helm::find(test)) else { return };
    let (repository, tag) = KEEPER.rsplit_once(':').unwrap();
    node.kubectl().create_restricted_namespace("released");
    let kubeconfig = format!("--kubeconfig={}", node.plane().kubeconfig().display());
    let (repository, tag) =
        (format!("--set=image.repository={repository}"), format!("--set=image.tag={tag}"));
    node.in_network(|| {
        helm.run(&[
            "install",
            "backups",
            "deploy/chart",
            "--namespace=released",
            &kubeconfig,
            "--set=namespaces={released}",
            &repository,
            &tag,
            "--wait",
            "--timeout=10m",
        ])
    });
    node.kubectl().wait("released", "lease/backups-operator", "jsonpath={.spec.holderIdentity}");
    node.kubectl().delete_namespaces(&["released"]);
}

/// What is scraped is behind TLS and a password, and the kubelet finds the pods ready all the same.
#[test]
fn an_operator_is_scraped_by_tls_and_with_a_password() {
    let test = "an_operator_is_scraped_by_tls_and_with_a_password";
    let Some(node) = Node::shared(test) else { return };
    let curl = match program("curl") {
        Ok(curl) => curl,
        Err(missing) => return skip(test, missing),
    };
    let (kubectl, namespace) = (node.kubectl(), "secured");
    kubectl.create_restricted_namespace(namespace);
    let authority = Authority::new();
    let name = format!("{namespace}.{namespace}.svc");
    let mut monitor = monitor(node, "ServiceMonitor");
    let server_name = monitor["spec"]["endpoints"][0]["tlsConfig"]["serverName"].as_str().unwrap();
    let issued = authority.issue(&[&name, server_name]);
    let files = node.directory().join("secured");
    fs::create_dir(&files).unwrap();
    for (name, content) in [
        ("web-config.yml", include_str!("../../../deploy/components/web-config/web-config.example.yml")),
        ("tls.crt", &issued.certificate_pem),
        ("tls.key", &issued.key_pem),
        ("ca.crt", &authority.certificate_pem()),
        ("password", "YOUR_PASSWORD"),
    ] {
        fs::write(files.join(name), content).unwrap();
    }
    make_documented_secrets(kubectl, namespace, &files);
    install_overlay(node, "secured", namespace, &["--namespaces=secured"]);

    let pods =
        kubectl.run(&["--namespace", namespace, "get", "pods", "--output=jsonpath={.items[0].status.podIP}"]);
    let trusted = files.join("ca.crt");
    let ask = |path: &str, more: &[&str]| {
        node.in_network(|| {
            let mut command: Command = call(None, &curl);
            command
                .args(["--silent", "--show-error", "--write-out", "\n%{http_code}", "--cacert"])
                .arg(&trusted);
            command.args(["--connect-to", &format!("{name}:9854:{pods}:9854")]).args(more);
            successful(command.arg(format!("https://{name}:9854{path}")))
        })
    };
    assert!(ask("/metrics", &[]).ends_with("\n401"));
    assert!(ask("/readyz", &[]).ends_with("\n200"));
    assert!(ask("/metrics", &["--user", "prometheus:another"]).ends_with("\n401"));
    let metrics = ask("/metrics", &["--user", "prometheus:YOUR_PASSWORD"]);
    assert!(metrics.contains("\npgbackrest_operator_leader "), "{metrics}");
    assert!(metrics.ends_with("\n200"), "{metrics}");

    monitor["metadata"]["namespace"] = json!(namespace);
    let job = scraping::job(&monitor, kubectl, Some((&trusted, "YOUR_PASSWORD")));
    node.in_network(|| match Prometheus::start_with_jobs(&[job]) {
        Ok(prometheus) => {
            scraping::wait_for(&prometheus, "count(up == 1)", 2.0);
            scraping::wait_for(&prometheus, "sum(pgbackrest_operator_leader)", 1.0);
        }
        Err(missing) => skip(test, missing),
    });
    kubectl.delete_namespaces(&[namespace]);
}

/// By the commands of docs/operator.md, with files of this directory.
fn make_documented_secrets(kubectl: &Kubectl, namespace: &str, files: &Path) {
    let document = include_str!("../../../docs/operator.md");
    let commands = document.lines().filter(|line| line.contains(" create secret generic "));
    let mut made = 0;
    for command in commands {
        let words: Vec<String> = command
            .split(' ')
            .skip(1)
            .map(|word| match (word, word.strip_prefix("--from-file=")) {
                ("pgbackrest-keeper", _) => namespace.to_owned(),
                (_, Some(file)) => format!("--from-file={file}={}", files.join(file).display()),
                _ => word.to_owned(),
            })
            .collect();
        kubectl.run(&words.iter().map(String::as_str).collect::<Vec<_>>());
        made += 1;
    }
    assert_eq!(made, 3);
}
