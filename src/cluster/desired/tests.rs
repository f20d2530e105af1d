//! What no golden file shows: what must hold for every cluster, and what changes an answer.

mod backup_options;
mod lines;
mod verify;

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::batch::v1::CronJob;
use k8s_openapi::api::core::v1::{ConfigMap, PodTemplateSpec};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{BuildInputs, CertificatePem, Configurations, Desired, Object, build, one_time_job};
use crate::cluster::references::References;
use crate::cluster::settings::Settings;
use crate::cluster::validated::{RepoNumber, ValidatedCluster};
use crate::cluster::{labels, validate};
use crate::pgbackrest::conf::Conf;
use crate::pgbackrest::label::BackupType;

/// A cluster with a volume as repo2 and a bucket as repo1, changed by `change`.
fn cluster(change: impl FnOnce(&mut Value)) -> ValidatedCluster {
    let mut document = json!({
        "apiVersion": "cpo.opensource.cybertec.at/v1",
        "kind": "postgresql",
        "metadata": {"name": "orders", "namespace": "shop", "uid": "3f0c"},
        "spec": {
            "teamId": "till", "numberOfInstances": 2, "postgresql": {"version": "17"}, "volume": {"size": "1Gi"},
            "backup": {"pgbackrest": {
                "image": "registry.example/pgbackrest:2.58",
                "global": {"repo1-retention-full": "3", "repo2-retention-full": "4", "repo1-path": "/orders"},
                "configuration": {"secret": "orders-vault"},
                "repos": [
                    {"name": "repo2", "storage": "pvc", "volume": {"size": "5Gi"}, "schedule": {"full": "0 1 * * *"}},
                    {"name": "repo1", "storage": "s3", "resource": "bucket", "endpoint": "s3.example",
                     "region": "here", "schedule": {"full": "0 2 * * *", "incr": "0 3 * * *"}},
                ],
            }},
        },
    });
    change(&mut document);
    let (cluster, findings) = validate::document(document, &References::default(), &Settings::default());
    cluster.unwrap_or_else(|| panic!("{findings:?}"))
}

fn option(name: &str, value: &str) -> impl FnOnce(&mut Value) {
    move |document: &mut Value| document["spec"]["backup"]["pgbackrest"]["global"][name] = json!(value)
}

fn objects(cluster: &ValidatedCluster) -> Desired {
    build(cluster, &Settings::default(), &BuildInputs::default())
}

/// The file in a ConfigMap, by section and option.
fn configuration(desired: &Desired, config_map: &str) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut sections: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    let mut section = String::new();
    for line in text(desired, config_map).lines().skip(1) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            name.clone_into(&mut section);
            assert!(
                sections.insert(section.clone(), BTreeMap::new()).is_none(),
                "[{section}] is there twice"
            );
            continue;
        }
        let (option, value) = line.split_once('=').unwrap();
        assert!(!value.trim().is_empty(), "{option} is empty");
        let earlier = sections.get_mut(&section).unwrap().insert(option.to_owned(), value.to_owned());
        assert_eq!(earlier, None, "{option} is there twice");
    }
    sections
}

fn text<'a>(desired: &'a Desired, config_map: &str) -> &'a str {
    let map = config_maps(desired).find(|map| map.metadata.name.as_deref() == Some(config_map)).unwrap();
    &map.data.as_ref().unwrap()["pgbackrest_instance.conf"]
}

fn config_maps(desired: &Desired) -> impl Iterator<Item = &ConfigMap> {
    desired.objects.iter().filter_map(|object| match object {
        Object::ConfigMap(map) => Some(&**map),
        _ => None,
    })
}

fn cron_jobs(desired: &Desired) -> Vec<&CronJob> {
    let jobs = desired.objects.iter().filter_map(|object| match object {
        Object::CronJob(job) => Some(&**job),
        _ => None,
    });
    jobs.collect()
}

fn pod_templates(desired: &Desired) -> Vec<&PodTemplateSpec> {
    let templates = desired.objects.iter().filter_map(|object| match object {
        Object::CronJob(job) => {
            Some(&job.spec.as_ref().unwrap().job_template.spec.as_ref().unwrap().template)
        }
        Object::StatefulSet(set) => Some(&set.spec.as_ref().unwrap().template),
        _ => None,
    });
    templates.collect()
}

#[test]
fn each_side_knows_the_repos_that_it_can_reach() {
    let desired = objects(&cluster(|_| {}));
    let instances = configuration(&desired, "orders-pgbackrest-config");
    let global = &instances["global"];
    assert_eq!(global["repo1-type"], "s3");
    assert_eq!(
        global["repo2-host"],
        "orders-pgbackrest-repo-host-0.orders-clusterpods.shop.svc.cluster.local"
    );
    assert!(!global.contains_key("repo2-type"));
    assert_eq!(instances["db"]["pg1-path"], "/home/postgres/pgdata/pgroot/data");

    let repo_host = configuration(&desired, "orders-pgbackrest-repohost-config");
    let global = &repo_host["global"];
    assert_eq!(global["repo2-path"], "/data/pgbackrest/repo2");
    assert_eq!(global["repo2-retention-full"], "4");
    let phantom: Vec<_> = global.keys().filter(|option| option.starts_with("repo1-")).collect();
    assert!(phantom.is_empty(), "repo1 would be on the container's disk: {phantom:?}");
    assert_eq!(repo_host["db"]["pg2-host"], "orders-1.orders-clusterpods.shop.svc.cluster.local");
    assert!(!repo_host["db"].contains_key("pg3-host"));
}

#[test]
fn what_global_says_wins_where_it_works() {
    let of = |path: &str| {
        let desired = objects(&cluster(option("log-path", path)));
        ["orders-pgbackrest-config", "orders-pgbackrest-repohost-config"]
            .map(|map| configuration(&desired, map)["global"]["log-path"].clone())
    };
    assert_eq!(of("/tmp/log"), ["/tmp/log", "/tmp/log"]);
    assert_eq!(
        of("/somewhere/else"),
        ["/somewhere/else", "/var/log/pgbackrest"],
        "the repo host is read-only"
    );
    let desired = objects(&cluster(option("backup-standby", "y")));
    let has = |map: &str| configuration(&desired, map)["global"].contains_key("backup-standby");
    assert!(!has("orders-pgbackrest-config") && has("orders-pgbackrest-repohost-config"));
}

#[test]
fn backups_from_a_standby_need_no_volume() {
    let desired = objects(&cluster(|document| {
        document["metadata"]["annotations"] = json!({"pgbackrest-keeper.io/backup-standby": "y"});
        document["spec"]["backup"]["pgbackrest"]["repos"].as_array_mut().unwrap().remove(0);
    }));
    let repo_host = configuration(&desired, "orders-pgbackrest-repohost-config");
    let global = &repo_host["global"];
    assert_eq!((global["backup-standby"].as_str(), global["repo1-type"].as_str()), ("y", "s3"));
    assert_eq!(global["repo1-path"], "/orders");
    assert!(repo_host["db"].contains_key("pg1-host") && repo_host["db"].contains_key("pg2-host"));
    let instances = configuration(&desired, "orders-pgbackrest-config");
    assert!(instances["global"].contains_key("tls-server-address"));
    assert!(
        !instances["global"].contains_key("backup-standby") && !instances.contains_key("global:archive-push")
    );
    for job in cron_jobs(&desired) {
        let job = job.spec.as_ref().unwrap().job_template.spec.as_ref().unwrap();
        let arguments = job.template.spec.as_ref().unwrap().containers[0].args.as_ref().unwrap();
        assert!(arguments.contains(&"--target=repo-host".to_owned()), "{arguments:?}");
    }
    assert!(!desired.objects.iter().any(|object| matches!(object, Object::PersistentVolumeClaim(_))));
}

#[test]
fn archiving_waits_for_a_repo_host_as_long_as_is_sensible() {
    let section = "global:archive-push";
    let of = |options: &[(&str, &str)]| {
        let cluster = cluster(|document| {
            for (name, value) in options {
                option(name, value)(document);
            }
        });
        configuration(&objects(&cluster), "orders-pgbackrest-config").remove(section)
    };
    let filled = of(&[("db-timeout", "3600")]).unwrap();
    assert_eq!((filled["protocol-timeout"].as_str(), filled["db-timeout"].as_str()), ("60", "30"));
    assert_eq!(of(&[("archive-async", "n")]), Some(filled));
    assert_eq!(of(&[("protocol-timeout", "2000")]), None, "what global says stands");
    assert_eq!(of(&[("archive-async", "y")]), None);
    let repo_host = configuration(&objects(&cluster(|_| {})), "orders-pgbackrest-repohost-config");
    assert!(!repo_host.contains_key(section));
}

#[test]
fn another_port_is_told_to_everybody() {
    let desired = objects(&cluster(option("tls-server-port", "9432")));
    let instances = &configuration(&desired, "orders-pgbackrest-config")["global"];
    assert_eq!(
        (instances["repo2-host-port"].as_str(), instances["tls-server-port"].as_str()),
        ("9432", "9432")
    );
    let repo_host = configuration(&desired, "orders-pgbackrest-repohost-config");
    assert_eq!(repo_host["global"]["tls-server-port"], "9432");
    assert_eq!(repo_host["db"]["pg1-host-port"], "9432");
    let everything = serde_json::to_string(&desired.objects).unwrap();
    assert!(everything.contains(r#""containerPort":9432"#) && everything.contains(r#""port":9432"#));
    assert!(!everything.contains("8432"));
}

#[test]
fn without_instances_the_repo_host_still_has_a_stanza() {
    let none = |document: &mut Value| document["spec"]["numberOfInstances"] = json!(0);
    let desired = objects(&cluster(none));
    assert!(configuration(&desired, "orders-pgbackrest-repohost-config")["db"].contains_key("pg1-path"));
    for job in cron_jobs(&desired) {
        assert_eq!(job.spec.as_ref().unwrap().suspend, Some(true));
        let reason = &job.metadata.annotations.as_ref().unwrap()[labels::SUSPENDED_BECAUSE];
        assert_eq!(reason, "no-instances");
    }
}

#[test]
fn the_hash_is_in_file_and_annotation_and_follows_the_content() {
    let one = objects(&cluster(|_| {}));
    let first_line = text(&one, "orders-pgbackrest-config").lines().next().unwrap();
    assert_eq!(
        first_line,
        format!("# pgbackrest-keeper.io/config-hash: {}", one.instance_configuration_hash)
    );
    assert_eq!(one.instance_configuration_hash.len(), 16);
    for map in config_maps(&one) {
        let hash = &map.metadata.annotations.as_ref().unwrap()[labels::CONFIGURATION_HASH];
        assert!(
            map.data.as_ref().unwrap()["pgbackrest_instance.conf"]
                .starts_with(&format!("# {}: {hash}\n", labels::CONFIGURATION_HASH))
        );
    }
    let other = objects(&cluster(option("process-max", "4")));
    assert_ne!(one.instance_configuration_hash, other.instance_configuration_hash);
    assert_ne!(one.repo_host_configuration_hash, other.repo_host_configuration_hash);
}

#[test]
fn a_change_of_the_configuration_rolls_no_pod() {
    let (one, other) = (objects(&cluster(|_| {})), objects(&cluster(option("process-max", "4"))));
    assert_eq!(pod_templates(&one), pod_templates(&other));
}

#[test]
fn a_repo_that_waits_suspends_its_own_jobs_alone() {
    let repo1 = RepoNumber::of_name("repo1").unwrap();
    let inputs =
        BuildInputs { waiting: BTreeMap::from([(repo1, "no-stanza".to_owned())]), ..BuildInputs::default() };
    let desired = build(&cluster(|_| {}), &Settings::default(), &inputs);
    for job in cron_jobs(&desired) {
        let waits = job.metadata.labels.as_ref().unwrap()[labels::REPO] == "repo1";
        assert_eq!(job.spec.as_ref().unwrap().suspend, waits.then_some(true));
        assert_eq!(job.metadata.annotations.is_some(), waits);
    }
}

#[test]
fn a_job_outside_of_the_schedule_is_that_of_the_cron_job_and_does_not_stay() {
    let (cluster, settings) = (cluster(|_| {}), Settings::default());
    let repo = |name| RepoNumber::of_name(name).unwrap();
    let one = |name, token| one_time_job(&cluster, &settings, repo(name), BackupType::Incr, token);
    let job = one("repo1", "incr@repo1").unwrap();
    let desired = objects(&cluster);
    let all = cron_jobs(&desired);
    let scheduled =
        all.iter().find(|job| job.metadata.name.as_deref() == Some("pgbackrest-orders-repo1-incr")).unwrap();
    let scheduled = scheduled.spec.as_ref().unwrap().job_template.spec.as_ref().unwrap();
    assert_eq!(job.spec.as_ref().unwrap().template, scheduled.template);
    assert_eq!(job.spec.as_ref().unwrap().ttl_seconds_after_finished, Some(604_800));
    assert_eq!(one("repo1", "incr@repo1"), Some(job.clone()));
    assert_ne!(one("repo1", "incr@repo1#again").unwrap().metadata.name, job.metadata.name);
    assert_eq!(one("repo3", "incr@repo3"), None);
}

#[test]
fn volumes_alone_have_no_owner() {
    let desired = objects(&cluster(|_| {}));
    for object in &desired.objects {
        let owner = object.metadata().owner_references.as_ref().map(|owners| owners[0].uid.as_str());
        let expected = (object.kind() != "PersistentVolumeClaim").then_some("3f0c");
        assert_eq!(owner, expected, "{} {}", object.kind(), object.name());
        assert_eq!(object.metadata().namespace.as_deref(), Some("shop"));
        assert_eq!(object.metadata().labels.as_ref().unwrap()[labels::MANAGED_BY], labels::MANAGER);
    }
    let names: BTreeSet<_> = desired.objects.iter().map(|object| (object.kind(), object.name())).collect();
    assert_eq!(names.len(), desired.objects.len(), "two objects share a name");
}

#[test]
fn every_pod_is_restricted() {
    for template in pod_templates(&objects(&cluster(|_| {}))) {
        let spec = template.spec.as_ref().unwrap();
        let pod = spec.security_context.as_ref().unwrap();
        assert_eq!(pod.run_as_non_root, Some(true));
        assert_eq!(pod.seccomp_profile.as_ref().unwrap().type_, "RuntimeDefault");
        for container in &spec.containers {
            let container = container.security_context.as_ref().unwrap();
            assert_eq!(container.allow_privilege_escalation, Some(false));
            assert_eq!(container.capabilities.as_ref().unwrap().drop, Some(vec!["ALL".to_owned()]));
            assert_eq!(container.read_only_root_filesystem, Some(true));
        }
    }
}

#[test]
fn given_certificates_are_in_secrets_and_nowhere_else() {
    let pem = |name: &str| format!("-----{name}-----");
    let certificates = CertificatePem {
        authority_certificate: pem("authority"),
        authority_key: pem("authority key"),
        roots: pem("roots"),
        database_certificate: pem("database"),
        database_key: pem("database key"),
        repo_host_certificate: pem("repo host"),
        repo_host_key: pem("repo host key"),
    };
    assert!(!format!("{certificates:?}").contains("-----"));
    let inputs = BuildInputs { certificates: Some(certificates), ..BuildInputs::default() };
    let desired = build(&cluster(|_| {}), &Settings::default(), &inputs);
    let mut found = BTreeMap::new();
    for object in &desired.objects {
        let Object::Secret(secret) = object else { continue };
        assert_eq!(secret.string_data, None);
        for (key, value) in secret.data.as_ref().unwrap() {
            found.insert(format!("{}/{key}", object.name()), String::from_utf8(value.0.clone()).unwrap());
        }
    }
    let expected = [
        ("orders-pgbackrest-ca/ca.crt", "authority"),
        ("orders-pgbackrest-ca/ca.key", "authority key"),
        ("orders-pgbackrest-cert/pgbackrest-client.crt", "database"),
        ("orders-pgbackrest-cert/pgbackrest-client.key", "database key"),
        ("orders-pgbackrest-cert/pgbackrest-repo-host.crt", "repo host"),
        ("orders-pgbackrest-cert/pgbackrest-repo-host.key", "repo host key"),
        ("orders-pgbackrest-cert/pgbackrest.ca-roots", "roots"),
    ];
    assert_eq!(found, expected.map(|(key, name)| (key.to_owned(), pem(name))).into());
    let others: Vec<_> = desired.objects.iter().filter(|object| object.kind() != "Secret").collect();
    assert!(!serde_json::to_string(&others).unwrap().contains("-----"));
}

fn storage(number: u8) -> impl Strategy<Value = Value> {
    let (name, place) = (format!("repo{number}"), format!("place-{number}"));
    prop_oneof![
        Just(json!({"name": name, "storage": "pvc", "volume": {"size": "5Gi"}})),
        Just(
            json!({"name": name, "storage": "s3", "resource": place, "endpoint": "e.example", "region": "r"})
        ),
        Just(json!({"name": name, "storage": "azure", "resource": place, "account": "a"})),
        Just(json!({"name": name, "storage": "azure", "resource": place})),
        Just(
            json!({"name": name, "storage": "gcs", "resource": place, "key": "k.json", "keyType": "service"})
        ),
        Just(json!({"name": name, "storage": "gcs", "resource": place, "keyType": "auto"})),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// `configuration` refuses options that are there twice or empty.
    #[test]
    fn files_are_ones_that_pgbackrest_reads(
        (one, two, three, four) in (storage(1), storage(2), storage(3), storage(4)),
        order in Just(vec![0_usize, 1, 2, 3]).prop_shuffle(),
        count in 1_usize..=4,
        options in proptest::collection::btree_map(
            prop_oneof!["repo[1-4]-retention-full", Just("log-path".to_owned()), Just("process-max".to_owned()),
                Just("tls-server-port".to_owned()), "repo[1-4]-bundle", Just("spool-path".to_owned())],
            Just(()), 0..5),
        instances in 0_u32..4,
        encrypted in any::<bool>(),
    ) {
        let all = [one, two, three, four];
        let repos: Vec<_> = order.iter().take(count).map(|index| all[*index].clone()).collect();
        let names: Vec<_> = repos.iter().map(|repo| repo["name"].as_str().unwrap().to_owned()).collect();
        let options: BTreeMap<_, _> = options.into_keys().filter(|option| {
            !option.starts_with("repo") || names.iter().any(|name| option.starts_with(name.as_str()))
        }).map(|option| {
            let value = if option.ends_with("path") { "/x" } else if option.ends_with("bundle") { "y" } else { "9" };
            (option, value)
        }).collect();
        let cluster = cluster(|document| {
            document["spec"]["numberOfInstances"] = json!(instances);
            document["spec"]["tde"] = json!({"enable": encrypted});
            let section = &mut document["spec"]["backup"]["pgbackrest"];
            section["repos"] = json!(repos);
            section["global"] = json!(options);
        });
        let desired = objects(&cluster);
        prop_assert_eq!(&desired, &objects(&cluster));
        let with_volume = repos.iter().any(|repo| repo["storage"] == "pvc");
        prop_assert_eq!(config_maps(&desired).count(), if with_volume { 2 } else { 1 });
        let files: Vec<_> = config_maps(&desired).map(|map| map.metadata.name.clone().unwrap()).collect();
        for file in files {
            let sections = configuration(&desired, &file);
            for (option, value) in &options {
                let elsewhere = file.contains("repohost") && repos.iter().any(|repo| {
                    repo["storage"] != "pvc" && option.starts_with(repo["name"].as_str().unwrap())
                });
                let expected = match option.as_str() {
                    "log-path" if file.contains("repohost") => Some("/var/log/pgbackrest".to_owned()),
                    _ => (!elsewhere).then(|| (*value).to_owned()),
                };
                prop_assert_eq!(sections["global"].get(option), expected.as_ref(), "{} in {}", option, file);
            }
        }
    }
}

#[test]
fn what_is_configured_is_told_for_each_repo_where_it_is_asked() {
    let cluster = cluster(option("repo1-retention-full-type", "time"));
    let secret =
        Conf::parse(&[("s.conf", "[global]\nrepo1-retention-diff=2\nrepo2-retention-full=9\n")]).unwrap();
    let options = Configurations::of(&cluster, &Settings::default(), &secret).repo_options(&cluster);
    let [first, second] = ["repo1", "repo2"].map(|name| options.get(&RepoNumber::of_name(name).unwrap()));
    let first = first.unwrap();
    assert_eq!((first.storage, first.retention_full, first.retention_diff), ("s3", Some(3), Some(2)));
    assert_eq!(second, None, "pgBackRest takes no option twice");
    let options = Configurations::of(&cluster, &Settings::default(), &Conf::default()).repo_options(&cluster);
    assert_eq!(
        options[&RepoNumber::of_name("repo2").unwrap()].storage,
        "posix",
        "it is asked at the repo host"
    );
}
