//! deploy/chart: Helm's output matches that of kubectl for the overlays, and the real API server accepts it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use clap::Parser;
use pgbackrest_keeper::cli::Cli;
use serde_json::Value;
use tempfile::TempDir;

use super::{CLUSTER_WIDE, build, kubectl, list, named, one, root, text};
use crate::golden::objects::schemas;
use crate::support::control_plane::ControlPlane;
use crate::support::machine::skip;
use crate::support::process::{output, wait_for};

/// Values, and the overlay that has the same objects.
const VARIANTS: [(&[&str], &str); 9] = [
    (&[], "default"),
    (&["mode=observe"], "observe"),
    (&["namespaces={cpo}"], "namespaced"),
    (&["prometheusOperator.enabled=true", "grafana.enabled=true"], "monitoring"),
    (&["restoreTests.enabled=true"], "restore-tests"),
    (&["verify.schedule=30 3 1 * *", "verify.jitter=4h"], "verifications"),
    (&["shards=2"], "shards"),
    (&["prometheusOperator.enabled=true", "networkPolicy.enabled=true", "webConfig.enabled=true"], "secured"),
    (&["networkPolicy.enabled=true", "notifications.enabled=true"], "notifications"),
];

/// What no overlay has.
const MORE: [&str; 15] = [
    "mode=observe",
    "namespaces={bank,shop}",
    "arguments={--collect.interval=60}",
    "nodeSelector.disk=fast",
    "tolerations[0].operator=Exists",
    "imagePullSecrets[0].name=registry",
    "image.pullPolicy=Always",
    "networkPolicy.enabled=true",
    "restoreTests.enabled=true",
    "notifications.enabled=true",
    "verify.schedule=@monthly",
    "verify.timeZone=Europe/Vienna",
    "verify.jitter=4h",
    "verify.timeout=12h",
    "recordSigning.enabled=true",
];

/// Helm, with directories of its own.
pub(crate) struct Helm {
    program: PathBuf,
    home: TempDir,
}

impl Helm {
    /// The one that the tests bring.
    pub(crate) fn find(test: &str) -> Option<Self> {
        let fetched = output(Command::new(root().join("scripts/fetch-kubernetes")).args(["--path", "helm"]));
        if !fetched.status.success() {
            skip(test, "Helm is not here; run scripts/fetch-kubernetes");
            return None;
        }
        let place = String::from_utf8(fetched.stdout).unwrap();
        let program = Path::new(place.trim()).join("helm");
        Some(Self { program, home: tempfile::tempdir().unwrap() })
    }

    fn output(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(&self.program);
        for kind in ["CACHE", "CONFIG", "DATA"] {
            command.env(format!("HELM_{kind}_HOME"), self.home.path().join(kind));
        }
        output(command.args(arguments).current_dir(root()))
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let said = self.output(arguments);
        assert!(said.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&said.stderr));
        String::from_utf8(said.stdout).unwrap()
    }

    /// What a release of the same name as the base makes, with these values.
    fn template(&self, version: &str, values: &[&str]) -> Output {
        self.template_of("deploy/chart", version, values)
    }

    fn template_of(&self, chart: &str, version: &str, values: &[&str]) -> Output {
        let version = format!("--kube-version={version}.0");
        let mut arguments = vec!["template", "pgbackrest-keeper", chart, &version];
        arguments.push("--namespace=pgbackrest-keeper");
        arguments.extend(values.iter().flat_map(|value| ["--set", *value]));
        self.output(&arguments)
    }

    fn objects(&self, values: &[&str]) -> Vec<Value> {
        let made = self.template(schemas::VERSIONS[2], values);
        assert!(made.status.success(), "{values:?}: {}", String::from_utf8_lossy(&made.stderr));
        let mut objects: Vec<Value> =
            serde_saphyr::from_multiple(std::str::from_utf8(&made.stdout).unwrap()).unwrap();
        objects.retain(|object| !object.is_null());
        objects
    }
}

/// Without what the two ways of installing name differently: the release, and the version on what has none in overlays.
fn comparable(mut objects: Vec<Value>) -> Vec<Value> {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                fields.remove("app.kubernetes.io/instance");
                fields.remove("app.kubernetes.io/version");
                fields.values_mut().for_each(strip);
            }
            Value::Array(items) => items.iter_mut().for_each(strip),
            _ => {}
        }
    }
    // Helm makes the namespace by a flag, and the definition from a directory of its own.
    objects.retain(|object| !["CustomResourceDefinition", "Namespace"].contains(&text(object, "/kind")));
    objects.iter_mut().for_each(strip);
    objects.sort_by_key(named);
    objects
}

#[test]
fn the_chart_makes_what_the_overlays_make() {
    let test = "the_chart_makes_what_the_overlays_make";
    let (Some(helm), Some(kubectl)) = (Helm::find(test), kubectl(test)) else { return };
    for (values, overlay) in VARIANTS {
        let made = comparable(helm.objects(values));
        let expected = comparable(build(&kubectl, &root().join("deploy/overlays").join(overlay)));
        let names = |objects: &[Value]| objects.iter().map(named).collect::<Vec<_>>();
        assert_eq!(names(&made), names(&expected), "{overlay}");
        for (made, expected) in made.iter().zip(&expected) {
            assert!(made == expected, "{overlay}: {}\n{made:#}\nis not\n{expected:#}", named(made));
        }
    }
}

/// The kustomization that docs/evidence.md shows.
#[test]
fn the_documented_signing_is_that_of_the_chart() {
    let test = "the_documented_signing_is_that_of_the_chart";
    let (Some(helm), Some(kubectl)) = (Helm::find(test), kubectl(test)) else { return };
    let document = fs::read_to_string(root().join("docs/evidence.md")).unwrap();
    let (_, rest) = document.split_once("```yaml\n").unwrap();
    let scratch = tempfile::tempdir().unwrap();
    fs::write(scratch.path().join("kustomization.yaml"), rest.split_once("```").unwrap().0).unwrap();
    fs::create_dir(scratch.path().join("deploy")).unwrap();
    for directory in ["base", "components", "crd", "overlays"] {
        let from = root().join("deploy").join(directory);
        let copied =
            output(Command::new("cp").arg("--recursive").arg(from).arg(scratch.path().join("deploy")));
        assert!(copied.status.success(), "{copied:?}");
    }
    let made = comparable(helm.objects(&["restoreTests.enabled=true", "recordSigning.enabled=true"]));
    let documented = comparable(build(&kubectl, scratch.path()));
    for (made, documented) in made.iter().zip(&documented) {
        assert!(made == documented, "{}\n{made:#}\nis not\n{documented:#}", named(made));
    }
    assert_eq!(made.len(), documented.len());
}

/// Jobs run the operator's image, from the same registry.
#[test]
fn credentials_of_the_registry_reach_the_jobs() {
    let Some(helm) = Helm::find("credentials_of_the_registry_reach_the_jobs") else { return };
    let values =
        ["imagePullSecrets[0].name=registry", "imagePullSecrets[1].name=mirror", "image.pullPolicy=Always"];
    let objects = helm.objects(&values);
    let deployment = one(&objects, "Deployment");
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["imagePullPolicy"], "Always");
    let arguments: Vec<&str> = list(&container["args"]).iter().map(|word| word.as_str().unwrap()).collect();
    assert_eq!(arguments, ["operator", "--image-pull-secrets=registry,mirror", "--image-pull-policy=Always"]);
}

/// As many Deployments as shards, each with a Lease that the Role names, and with notifications of its own.
#[test]
fn each_shard_is_an_operator_of_its_own() {
    let Some(helm) = Helm::find("each_shard_is_an_operator_of_its_own") else { return };
    let objects = helm.objects(&["shards=3", "notifications.enabled=true"]);
    let deployments: Vec<&Value> = objects.iter().filter(|object| object["kind"] == "Deployment").collect();
    assert_eq!(deployments.len(), 3);
    let role = objects.iter().find(|object| object["kind"] == "Role").unwrap();
    let leases = list(&role["rules"][1]["resourceNames"]);
    assert_eq!(leases.len(), 4);
    for (index, deployment) in deployments.into_iter().enumerate() {
        let name = text(deployment, "/metadata/name");
        assert_eq!(name, format!("pgbackrest-keeper-operator-{index}-of-3"));
        assert!(leases.iter().any(|lease| lease == name), "{leases:?}");
        let container = &deployment["spec"]["template"]["spec"]["containers"][0];
        let arguments: Vec<&str> =
            list(&container["args"]).iter().map(|word| word.as_str().unwrap()).collect();
        let notify = format!("--notify.config.file=/etc/pgbackrest-keeper/notifications/notify-{index}.yml");
        assert!(arguments.contains(&notify.as_str()), "{arguments:?}");
        let labels = &deployment["spec"]["selector"]["matchLabels"];
        assert_eq!(labels["pgbackrest-keeper.io/shard"], format!("{index}-of-3"));
        assert!(Cli::try_parse_from([&["pgbackrest-keeper"], &arguments[..]].concat()).is_ok());
    }
}

/// Packed, it holds what its links lead to.
#[test]
fn a_packed_chart_is_whole() {
    let Some(helm) = Helm::find("a_packed_chart_is_whole") else { return };
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path().display().to_string();
    helm.run(&["package", "deploy/chart", "--destination", &directory]);
    let packed = format!("{directory}/pgbackrest-keeper-{}.tgz", env!("CARGO_PKG_VERSION"));
    let values = ["grafana.enabled=true", "prometheusOperator.enabled=true"];
    let version = schemas::VERSIONS[0];
    let made = helm.template_of(&packed, version, &values);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    assert!(made.stdout == helm.template(version, &values).stdout);
    let has_definition = |values: &[&str]| {
        let made = helm.template_of(&packed, version, values);
        String::from_utf8(made.stdout).unwrap().contains("name: restoretests.pgbackrest-keeper.io")
    };
    assert!(has_definition(&["restoreTests.enabled=true"]) && !has_definition(&[]));
    let definition = fs::read_to_string(root().join("deploy/crd/crd.yaml")).unwrap();
    assert!(helm.run(&["show", "crds", &packed]).contains(definition.trim()));
}

#[test]
fn the_chart_passes_lint_and_strict_schemas() {
    let test = "the_chart_passes_lint_and_strict_schemas";
    let (Some(helm), Some(package)) = (Helm::find(test), schemas::package()) else { return };
    let variants: Vec<&[&str]> = VARIANTS.iter().map(|(values, _)| *values).chain([&MORE[..]]).collect();
    let scratch = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for values in variants {
        let mut arguments = vec!["lint", "--strict", "deploy/chart"];
        arguments.extend(values.iter().flat_map(|value| ["--set", *value]));
        helm.run(&arguments);
        for object in helm.objects(values) {
            let label = &object["metadata"]["labels"]["app.kubernetes.io/instance"];
            assert_eq!(label, "pgbackrest-keeper", "{}", named(&object));
            assert_eq!(
                object["metadata"]["namespace"].is_null(),
                CLUSTER_WIDE.contains(&text(&object, "/kind")),
                "{}",
                named(&object)
            );
            if !text(&object, "/apiVersion").starts_with("monitoring.coreos.com/") {
                files.push(scratch.path().join(format!("{}.json", files.len())));
                fs::write(&files[files.len() - 1], object.to_string()).unwrap();
            }
        }
    }
    let (judged, complaints) =
        schemas::judge(&package, &files).unwrap_or_else(|complaints| panic!("{complaints}"));
    assert_eq!(judged, files.len() * schemas::VERSIONS.len(), "{complaints}");
    for version in schemas::VERSIONS {
        assert!(helm.template(version, &[]).status.success(), "{version}");
    }
    assert!(!helm.template("1.30", &[]).status.success());
}

#[test]
fn values_that_cannot_be_meant_are_refused() {
    let Some(helm) = Helm::find("values_that_cannot_be_meant_are_refused") else { return };
    for (value, place) in [
        ("mode=watch", "/mode"),
        ("replicas=-1", "/replicas"),
        ("shards=0", "/shards"),
        ("shards=65", "/shards"),
        ("namespaces={Shop}", "/namespaces/0"),
        ("arguments={collect.interval}", "/arguments/0"),
        ("image.tags=1", "/image"),
        ("verify.schedule=monthly", "/verify/schedule"),
        ("networkPolicy.apiServerPorts={0}", "/networkPolicy/apiServerPorts/0"),
        ("unknown=1", "''"),
    ] {
        let refused = helm.template(schemas::VERSIONS[0], &[value]);
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success() && said.contains(place), "{value}: {said}");
    }
}

/// The chart's version is the program's, and every value is in the schema.
#[test]
fn the_chart_is_of_the_programs_version() {
    let read = |file: &str| fs::read_to_string(root().join("deploy/chart").join(file)).unwrap();
    let chart: Value = serde_saphyr::from_str(&read("Chart.yaml")).unwrap();
    assert_eq!(chart["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
    let values: Value = serde_saphyr::from_str(&read("values.yaml")).unwrap();
    let schema: Value = serde_json::from_str(&read("values.schema.json")).unwrap();
    for (name, value) in values.as_object().unwrap() {
        let known = &schema["properties"][name];
        assert!(known.is_object(), "{name}");
        for field in value.as_object().into_iter().flatten().map(|(field, _)| field) {
            assert!(
                known["properties"].is_null() || known["properties"][field].is_object(),
                "{name}.{field}"
            );
        }
    }
}

/// Installed, changed and removed on the real API server, where pods are restricted; the resources outlive it.
#[test]
fn a_release_comes_and_goes_and_resources_stay() {
    let test = "a_release_comes_and_goes_and_resources_stay";
    let Some(helm) = Helm::find(test) else { return };
    let Some(plane) = ControlPlane::start(test) else { return };
    let kubectl = plane.kubectl();
    kubectl.create_restricted_namespace("keeper");
    let kubeconfig = format!("--kubeconfig={}", plane.kubeconfig().display());
    let helm = |arguments: &[&str]| {
        let common = ["--namespace=keeper", &kubeconfig];
        helm.run(&[arguments, &common[..]].concat())
    };
    helm(&["install", "backups", "deploy/chart", "--set=networkPolicy.enabled=true"]);
    let definition = "customresourcedefinition/postgresqls.cpo.opensource.cybertec.at";
    kubectl.run(&["wait", "--for=condition=Established", "--timeout=60s", definition]);
    let pods = "--selector=app.kubernetes.io/instance=backups";
    wait_for("both replicas", || {
        let listed = kubectl.run(&["--namespace=keeper", "get", "pods", pods, "--output=name"]);
        (listed.lines().count() == 2).then_some(())
    });
    let may = |asked: &str| {
        let mut account = kubectl.clone();
        account.kubeconfig = plane.service_account("keeper", "backups-operator");
        let mut arguments = vec!["auth", "can-i", "--quiet", "--namespace=default"];
        arguments.extend(asked.split(' '));
        account.output(&arguments).status.success()
    };
    assert!(may("create cronjobs.batch"));
    assert!(may("update leases.coordination.k8s.io/backups-operator --namespace=keeper"));
    let resource = r#"{"apiVersion": "cpo.opensource.cybertec.at/v1", "kind": "postgresql",
        "metadata": {"name": "orders", "namespace": "default"}, "spec": {}}"#;
    kubectl.apply(resource, &[]);

    helm(&["upgrade", "backups", "deploy/chart", "--set=mode=observe", "--set=replicas=1"]);
    let deployment = kubectl.get("keeper", "deployment", "backups-operator").unwrap();
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(list(&container["args"])[1], "--mode=observe");
    assert!(kubectl.get("keeper", "networkpolicy", "backups-operator").is_none());
    wait_for("the rights to be fewer", || (!may("create cronjobs.batch")).then_some(()));

    helm(&["uninstall", "backups"]);
    assert!(kubectl.get("keeper", "deployment", "backups-operator").is_none());
    assert!(kubectl.get("default", "postgresql", "orders").is_some());
}
