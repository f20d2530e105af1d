//! deploy/examples: `lint` accepts them, and the complete one provides what the generated objects depend on.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use pgbackrest_keeper::cli::manifest::Manifests;
use pgbackrest_keeper::cluster::desired::{self, BuildInputs, Object};
use pgbackrest_keeper::cluster::settings::Settings;
use pgbackrest_keeper::cluster::{labels, names, validate};
use serde_json::Value;

use super::{build, directories, kubectl, kustomize, list, objects, one, text};
use crate::support::fake_pods::primary_labels;
use crate::support::process::{output, successful};

#[test]
fn lint_finds_nothing_wrong_with_examples() {
    let Some(kubectl) = kubectl("lint_finds_nothing_wrong_with_examples") else { return };
    let scratch = tempfile::tempdir().unwrap();
    let mut examples = 0;
    for directory in directories().iter().filter(|directory| directory.starts_with(root_of_examples())) {
        let file = scratch.path().join("manifest.yaml");
        fs::write(&file, kustomize(&kubectl, directory)).unwrap();
        let mut lint = Command::new(env!("CARGO_BIN_EXE_pgbackrest-keeper"));
        let linted = output(lint.args(["lint", "--output=json"]).arg(&file));
        let said = String::from_utf8_lossy(&linted.stdout);
        assert_eq!(linted.status.code(), Some(0), "{}: {said}", directory.display());
        let report: Value = serde_json::from_str(&said).unwrap();
        let findings = list(&report["clusters"][0]["findings"]);
        let warnings: Vec<&str> = findings
            .iter()
            .filter(|finding| finding["severity"] == "warning")
            .map(|finding| text(finding, "/code"))
            .collect();
        // The documented schedules of these two meet, as a comment there says.
        let name = directory.file_name().unwrap().to_str().unwrap();
        let expected: &[&str] =
            if ["s3", "encryption"].contains(&name) { &["schedules-collide"] } else { &[] };
        assert_eq!(warnings, expected, "{name}");
        examples += 1;
    }
    assert!(examples >= 6, "only {examples} examples");
}

/// What the operator would make of each: to read, and to see in a change what it changes.
#[test]
fn the_objects_of_each_example_stand_beside_it() {
    let Some(kubectl) = kubectl("the_objects_of_each_example_stand_beside_it") else { return };
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("manifest.yaml");
    let mut examples = 0;
    // Another has the resource of one of these.
    let own = |directory: &&PathBuf| directory.join("postgresql.yaml").exists();
    for directory in directories().iter().filter(own) {
        fs::write(&file, kustomize(&kubectl, directory)).unwrap();
        let rendered =
            successful(Command::new(env!("CARGO_BIN_EXE_pgbackrest-keeper")).arg("render").arg(&file));
        let made = format!("# What `pgbackrest-keeper render` makes of this example.\n{rendered}");
        let beside = directory.join("expected.yaml");
        if env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&beside, &made).unwrap();
        }
        let stands = fs::read_to_string(&beside).unwrap_or_default();
        assert!(stands == made, "{} is old; run with UPDATE_GOLDEN=1", beside.display());
        examples += 1;
    }
    assert!(examples >= 6, "only {examples} examples");
}

/// Nobody must take them for real, and no real one must end up here.
#[test]
fn secrets_of_examples_are_placeholders() {
    let Some(kubectl) = kubectl("secrets_of_examples_are_placeholders") else { return };
    let mut secrets = 0;
    for object in directories().iter().flat_map(|directory| build(&kubectl, directory)) {
        if object["kind"] != "Secret" {
            continue;
        }
        assert!(object["data"].is_null());
        for (file, content) in object["stringData"].as_object().unwrap() {
            for line in content.as_str().unwrap().lines() {
                let is_secret =
                    ["-key=", "-secret=", "-pass=", "\"private_key"].iter().any(|word| line.contains(word));
                assert!(!is_secret || line.contains("YOUR_"), "{file}: {line}");
                secrets += usize::from(is_secret);
            }
        }
    }
    assert!(secrets >= 7, "only {secrets} secrets");
}

/// Everything that the generated configuration names in PostgreSQL's pod is there.
#[test]
fn the_complete_example_provides_what_the_objects_rely_on() {
    let test = "the_complete_example_provides_what_the_objects_rely_on";
    let Some(kubectl) = kubectl(test) else { return };
    let yaml = kustomize(&kubectl, Path::new("deploy/examples/complete"));
    let settings = Settings::default();
    let made = objects_of(&yaml, &settings);
    let example = objects(&yaml);
    let set = one(&example, "StatefulSet");
    let pod = &set["spec"]["template"]["spec"];
    let cluster = text(set, "/metadata/name");
    let configuration = configuration(&made, &names::instance_configuration(cluster));

    let resource = one(&example, "postgresql");
    assert_eq!(resource["metadata"]["name"], cluster);
    assert_eq!(resource["spec"]["numberOfInstances"], set["spec"]["replicas"]);
    assert_eq!(set["spec"]["serviceName"], names::pods_service(cluster));
    let mut wanted = primary_labels(cluster, &settings);
    wanted.insert(settings.member_type_label.clone(), labels::DATABASE.to_owned());
    for (key, value) in &wanted {
        assert_eq!(set["spec"]["template"]["metadata"]["labels"][key], *value);
        assert_eq!(one(&example, "Service")["spec"]["selector"][key], *value);
    }
    assert_eq!(pod["securityContext"]["runAsUser"], settings.repo_host_user.unwrap());
    assert_eq!(pod["securityContext"]["fsGroup"], settings.repo_host_fs_group.unwrap());

    let database = container(pod, &settings.database_container);
    let command: Vec<&str> = list(&database["command"]).iter().map(|word| word.as_str().unwrap()).collect();
    assert_eq!(command[1..3], ["-D", configuration["pg1-path"].as_str()]);
    assert!(command.contains(&"--archive_mode=on"));
    assert!(command.contains(&"--archive_command=pgbackrest --stanza=db archive-push %p"));
    let socket = &configuration["pg1-socket-path"];
    assert!(command.contains(&format!("--unix_socket_directories={socket}").as_str()));
    assert_eq!(database["ports"][0]["containerPort"].to_string(), configuration["pg1-port"]);

    // Directories that are to exist are made, below the volume of the database.
    let init = &pod["initContainers"][0];
    let script = init["args"][0].as_str().unwrap();
    let volume = mount(init, "pgdata");
    let made_there = script.lines().find_map(|line| line.strip_prefix("mkdir -p ")).unwrap();
    for option in ["log-path", "spool-path"] {
        let inside = configuration[option].strip_prefix(&format!("{volume}/")).unwrap();
        assert!(made_there.split(' ').any(|directory| directory == inside), "{option}: {script}");
    }

    // The server on the other side of the repo host, with the same view as PostgreSQL.
    let repo_host = statefulset(&made);
    let repo_host = &list(&repo_host["spec"]["template"]["spec"]["containers"])[0];
    let server = container(pod, text(repo_host, "/name"));
    assert!(server["args"][0].as_str().unwrap().ends_with("\nexec pgbackrest server\n"));
    assert_eq!(server["ports"][0]["containerPort"].to_string(), configuration["tls-server-port"]);
    for container in [database, server] {
        for name in ["pgbackrest-config", "cert-secret"] {
            assert_eq!(mount(container, name), mount(repo_host, name));
        }
        assert_eq!(mount(container, "socket"), *socket);
        // pgBackRest's locks are below it.
        assert_eq!(mount(container, "tmp"), "/tmp");
        assert!(configuration["pg1-path"].starts_with(mount(container, "pgdata")));
    }
    let sources = |volume: &str| -> Vec<Value> {
        let volume = list(&pod["volumes"]).iter().find(|one| one["name"] == volume).unwrap();
        list(&volume["projected"]["sources"]).to_vec()
    };
    assert_eq!(sources("pgbackrest-config")[0]["configMap"]["name"], names::instance_configuration(cluster));
    let certificates = &sources("cert-secret")[0]["secret"];
    assert_eq!(certificates["name"], names::certificates(cluster));
    let directory = mount(server, "cert-secret");
    let files: Vec<String> = list(&certificates["items"])
        .iter()
        .inspect(|item| assert_eq!(item["key"], item["path"]))
        .map(|item| format!("{directory}/{}", text(item, "/path")))
        .collect();
    let named: Vec<&String> = configuration
        .iter()
        .filter(|(option, _)| option.starts_with("tls-server-") && option.ends_with("-file"))
        .map(|(_, file)| file)
        .collect();
    assert_eq!(named.len(), 3);
    assert!(named.iter().all(|file| files.contains(file)), "{named:?} {files:?}");
}

/// What the program makes of the resource in it.
fn objects_of(yaml: &str, settings: &Settings) -> Vec<Object> {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("manifest.yaml");
    fs::write(&file, yaml).unwrap();
    let manifests = Manifests::read(&[file], &settings.default_namespace).unwrap();
    let found = &manifests.resources[0];
    let references = manifests.references(found, &settings.default_namespace);
    let (cluster, findings) = validate::document(found.document.clone(), &references, settings);
    let cluster = cluster.unwrap_or_else(|| panic!("{findings:?}"));
    desired::build(&cluster, settings, &BuildInputs::default()).objects
}

/// The options of a configuration, of whatever section.
fn configuration(objects: &[Object], name: &str) -> BTreeMap<String, String> {
    let map = objects.iter().find_map(|object| match object {
        Object::ConfigMap(map) if object.name() == name => map.data.clone(),
        _ => None,
    });
    let text = map.unwrap().remove(names::CONFIGURATION_KEY).unwrap();
    let options =
        text.lines().filter(|line| !line.starts_with(['#', '['])).filter_map(|line| line.split_once('='));
    options.map(|(option, value)| (option.to_owned(), value.to_owned())).collect()
}

fn statefulset(objects: &[Object]) -> Value {
    let set = objects.iter().find(|object| matches!(object, Object::StatefulSet(_))).unwrap();
    serde_json::to_value(set).unwrap()
}

fn container<'pod>(pod: &'pod Value, name: &str) -> &'pod Value {
    list(&pod["containers"]).iter().find(|container| container["name"] == name).unwrap()
}

/// Where a container has a volume.
fn mount<'container>(container: &'container Value, volume: &str) -> &'container str {
    let mounts = list(&container["volumeMounts"]);
    let mount = mounts.iter().find(|mount| mount["name"] == volume);
    text(mount.unwrap_or_else(|| panic!("{volume} is not mounted")), "/mountPath")
}

fn root_of_examples() -> PathBuf {
    super::root().join("deploy/examples")
}
