//! What no golden file shows: what changes an answer, and what must hold for every test.

use k8s_openapi::api::batch::v1::CronJobSpec;
use k8s_openapi::api::core::v1::{Container, PodSpec};
use k8s_openapi::api::networking::v1::NetworkPolicySpec;
use serde_json::{Value, json};

use super::*;
use crate::cluster::labels::Labels;
use crate::cluster::references::References;
use crate::cluster::validate;
use crate::cluster::validated::RepoNumber;

fn cluster(change: impl FnOnce(&mut Value)) -> ValidatedCluster {
    let mut document = json!({
        "apiVersion": "cpo.opensource.cybertec.at/v1", "kind": "postgresql",
        "metadata": {"name": "orders", "namespace": "shop", "uid": "3f0c"},
        "spec": {
            "teamId": "till", "numberOfInstances": 2, "postgresql": {"version": "17"}, "volume": {"size": "70Gi"},
            "tolerations": [{"key": "db", "operator": "Exists"}],
            "backup": {"pgbackrest": {
                "image": "registry.example/pgbackrest:2.58",
                "global": {"repo1-retention-full": "3", "repo2-retention-full": "4", "repo1-path": "/orders"},
                "configuration": {"secret": "orders-vault"},
                "repos": [
                    {"name": "repo1", "storage": "s3", "resource": "bucket", "endpoint": "s3.example", "region": "here"},
                    {"name": "repo2", "storage": "pvc", "volume": {"size": "5Gi"}},
                ],
            }},
        },
    });
    change(&mut document);
    let (cluster, findings) = validate::document(document, &References::default(), &Settings::default());
    cluster.unwrap_or_else(|| panic!("{findings:?}"))
}

fn test(change: impl FnOnce(&mut Value)) -> ValidatedRestoreTest {
    let mut document = json!({
        "metadata": {"name": "nightly", "namespace": "shop", "uid": "77aa"},
        "spec": {"clusters": {"names": ["orders"]}, "schedule": "30 3 * * *"},
    });
    change(&mut document["spec"]);
    let (test, findings) = validate::restore_test(document, &Settings::default());
    test.unwrap_or_else(|| panic!("{findings:?}"))
}

fn of_repo(
    cluster: &ValidatedCluster,
    test: &ValidatedRestoreTest,
    repo: &str,
    inputs: &TestInputs,
) -> Vec<Object> {
    let turn = Turn { cluster: cluster.name.clone(), repo: RepoNumber::of_name(repo).unwrap() };
    build(test, cluster, &turn, &Settings::default(), inputs).unwrap()
}

fn cron_job(objects: &[Object]) -> &CronJobSpec {
    let found = objects.iter().find_map(|object| match object {
        Object::CronJob(job) => job.spec.as_ref(),
        _ => None,
    });
    found.unwrap()
}

fn pod(objects: &[Object]) -> &PodSpec {
    cron_job(objects).job_template.spec.as_ref().unwrap().template.spec.as_ref().unwrap()
}

fn container(objects: &[Object]) -> &Container {
    &pod(objects).containers[0]
}

fn policies(objects: &[Object]) -> Vec<&NetworkPolicySpec> {
    let policies = objects.iter().filter_map(|object| match object {
        Object::NetworkPolicy(policy) => policy.spec.as_ref(),
        _ => None,
    });
    policies.collect()
}

/// The ports and blocks that a test may reach, besides DNS.
fn reached(objects: &[Object]) -> Vec<String> {
    let rules = policies(objects)[0].egress.as_ref().unwrap();
    let texts = rules.iter().skip(1).map(|rule| {
        let port = serde_json::to_value(&rule.ports.as_ref().unwrap()[0].port).unwrap();
        let peer = rule.to.as_ref().map(|peers| serde_json::to_value(&peers[0]).unwrap());
        let block = peer.as_ref().map_or("any".to_owned(), |peer| match &peer["ipBlock"] {
            Value::Null => "pods".to_owned(),
            block => block["cidr"].as_str().unwrap().to_owned(),
        });
        format!("{block}:{port}")
    });
    texts.collect()
}

fn repo1(field: &'static str, value: &'static str) -> impl FnOnce(&mut Value) {
    move |document: &mut Value| document["spec"]["backup"]["pgbackrest"]["repos"][0][field] = json!(value)
}

fn global(field: &'static str, value: &'static str) -> impl FnOnce(&mut Value) {
    move |document: &mut Value| document["spec"]["backup"]["pgbackrest"]["global"][field] = json!(value)
}

#[test]
fn only_the_repo_can_be_reached() {
    let of = |cluster: ValidatedCluster, repo| {
        reached(&of_repo(&cluster, &test(|_| {}), repo, &TestInputs::default()))
    };
    assert_eq!(of(cluster(|_| {}), "repo1"), ["any:443"]);
    assert_eq!(of(cluster(|_| {}), "repo2"), ["pods:8432"]);
    assert_eq!(of(cluster(global("tls-server-port", "9000")), "repo2"), ["pods:9000"]);
    assert_eq!(of(cluster(repo1("endpoint", "https://s3.example:9000")), "repo1"), ["any:9000"]);
    assert_eq!(of(cluster(repo1("endpoint", "https://192.0.2.7:9000")), "repo1"), ["192.0.2.7/32:9000"]);
    assert_eq!(of(cluster(repo1("endpoint", "https://[2001:db8::1]")), "repo1"), ["2001:db8::1/128:443"]);
    assert_eq!(of(cluster(global("repo1-storage-port", "9100")), "repo1"), ["any:9100"]);
    let with_identity = cluster(global("repo1-s3-key-type", "auto"));
    assert_eq!(of(with_identity, "repo1"), ["any:443", "169.254.169.254/32:80", "169.254.169.252/32:988"]);
    assert_eq!(of(cluster(global("repo1-s3-key-type", "web-id")), "repo1"), ["any:443"]);
}

#[test]
fn nothing_reaches_the_pod() {
    let objects = of_repo(&cluster(|_| {}), &test(|_| {}), "repo1", &TestInputs::default());
    let [policy] = policies(&objects)[..] else { panic!("{objects:?}") };
    assert_eq!(policy.policy_types.as_ref().unwrap(), &["Ingress", "Egress"]);
    assert_eq!(policy.ingress, None);
    let selected = policy.pod_selector.as_ref().unwrap().match_labels.as_ref().unwrap();
    let template = &cron_job(&objects).job_template.spec.as_ref().unwrap().template;
    let labels = template.metadata.as_ref().unwrap().labels.as_ref().unwrap();
    assert!(selected.iter().all(|(key, value)| labels.get(key) == Some(value)));
}

/// No Service, policy, operator or Patroni takes the pod for one of the cluster.
#[test]
fn the_pod_does_not_belong_to_the_cluster() {
    let cluster = cluster(|_| {});
    let test = test(|spec| spec["pod"] = json!({"labels": {"application": "cpo", "cost": "a"}}));
    let objects = of_repo(&cluster, &test, "repo2", &TestInputs::default());
    let template = &cron_job(&objects).job_template.spec.as_ref().unwrap().template;
    let labels: &Labels = template.metadata.as_ref().unwrap().labels.as_ref().unwrap();
    assert_eq!(labels.get("cost").map(String::as_str), Some("a"));
    let settings = Settings::default();
    let of_cluster = labels::of_cluster(&cluster, &settings);
    let common: Vec<&String> =
        of_cluster.keys().filter(|key| labels.contains_key(*key) && *key != labels::MANAGED_BY).collect();
    assert!(common.is_empty(), "{common:?}");
    for object in &objects {
        assert!(!object.metadata().labels.as_ref().unwrap().contains_key(labels::CLUSTER));
        let owner = &object.metadata().owner_references.as_ref().unwrap()[0];
        assert_eq!((owner.kind.as_str(), owner.uid.as_str()), ("RestoreTest", "77aa"));
    }
    assert_eq!(pod(&objects).automount_service_account_token, Some(false));
}

#[test]
fn only_our_repo_host_gets_another_policy() {
    let cluster = cluster(|_| {});
    let count = |repo, inputs: &TestInputs| policies(&of_repo(&cluster, &test(|_| {}), repo, inputs)).len();
    let foreign = TestInputs { has_foreign_repo_host: true, ..TestInputs::default() };
    assert_eq!(count("repo2", &TestInputs::default()), 2);
    assert_eq!(count("repo2", &foreign), 1);
    assert_eq!(count("repo1", &TestInputs::default()), 1);
}

#[test]
fn the_volume_fits_what_is_known() {
    let size = |test: &ValidatedRestoreTest, inputs: &TestInputs| {
        let objects = of_repo(&cluster(|_| {}), test, "repo1", inputs);
        let volumes = serde_json::to_value(pod(&objects).volumes.as_ref().unwrap()).unwrap();
        let copy =
            volumes.as_array().unwrap().iter().find(|volume| volume["name"] == "copy").unwrap().clone();
        let places =
            ["/ephemeral/volumeClaimTemplate/spec/resources/requests/storage", "/emptyDir/sizeLimit"];
        places.iter().find_map(|place| Some(copy.pointer(place)?.as_str()?.to_owned())).unwrap()
    };
    let known =
        TestInputs { bytes: Some(CopyBytes { database: 20 << 30, wal: 1 << 30 }), ..TestInputs::default() };
    let by_default = test(|_| {});
    assert_eq!(
        (size(&by_default, &TestInputs::default()).as_str(), size(&by_default, &known).as_str()),
        ("82Gi", "26Gi")
    );
    let given = test(|spec| spec["storage"] = json!({"ephemeral": {"size": "5Gi"}}));
    assert_eq!(size(&given, &known), "5Gi");
    assert_eq!(size(&test(|spec| spec["storage"] = json!({"emptyDir": {}})), &known), "26Gi");
}

#[test]
fn the_image_is_that_of_the_running_database() {
    let with_image =
        cluster(|document| document["spec"]["dockerImage"] = json!("registry.example/of-resource:1"));
    let image = |cluster: &ValidatedCluster, test: &ValidatedRestoreTest, running: Option<&str>| {
        let inputs = TestInputs { image: running.map(str::to_owned), ..TestInputs::default() };
        container(&of_repo(cluster, test, "repo1", &inputs)).image.clone().unwrap()
    };
    let (running, by_default) = (Some("registry.example/running:1"), test(|_| {}));
    assert_eq!(image(&with_image, &by_default, running), "registry.example/running:1");
    assert_eq!(image(&with_image, &by_default, None), "registry.example/of-resource:1");
    assert_eq!(image(&cluster(|_| {}), &by_default, None), "<image-of-postgresql>");
    let given = test(|spec| spec["pod"] = json!({"image": "registry.example/given:1"}));
    assert_eq!(image(&with_image, &given, running), "registry.example/given:1");
}

#[test]
fn credentials_come_from_the_resource_or_from_the_test() {
    let cluster = cluster(|document| {
        document["spec"]["env"] = json!([
            {"name": "PGBACKREST_REPO1_S3_KEY", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
            {"name": "LANG", "value": "C"},
        ]);
    });
    let objects = of_repo(&cluster, &test(|_| {}), "repo1", &TestInputs::default());
    let env = container(&objects).env.as_ref().unwrap();
    assert_eq!(
        env.iter().map(|variable| variable.name.as_str()).collect::<Vec<_>>(),
        ["PGBACKREST_REPO1_S3_KEY"]
    );
    let arguments = container(&objects).args.as_ref().unwrap();
    let passed = "--collect.pass-env=PGBACKREST_REPO1_S3_KEY,AWS_ROLE_ARN,AWS_WEB_IDENTITY_TOKEN_FILE";
    assert!(arguments.iter().any(|argument| argument == passed), "{arguments:?}");
    let secrets = |test: &ValidatedRestoreTest| {
        let objects = of_repo(&cluster, test, "repo1", &TestInputs::default());
        let volumes = serde_json::to_string(&pod(&objects).volumes).unwrap();
        ["orders-vault", "read-only"].map(|name| volumes.contains(name))
    };
    assert_eq!(secrets(&test(|_| {})), [true, false]);
    assert_eq!(secrets(&test(|spec| spec["configuration"] = json!({"secret": "read-only"}))), [false, true]);
}

#[test]
fn the_pod_goes_where_the_cluster_goes_unless_told_otherwise() {
    let tolerations = |test: &ValidatedRestoreTest| {
        let objects = of_repo(&cluster(|_| {}), test, "repo1", &TestInputs::default());
        pod(&objects)
            .tolerations
            .as_ref()
            .unwrap()
            .iter()
            .map(|one| one.key.clone().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(tolerations(&test(|_| {})), ["db"]);
    let given = test(|spec| spec["pod"] = json!({"tolerations": [{"key": "test", "operator": "Exists"}]}));
    assert_eq!(tolerations(&given), ["test"]);
}

#[test]
fn variables_are_not_expanded_in_arguments() {
    let test = test(|spec| {
        spec["postgresql"] = json!({"parameters": {"search_path": "\"$user\", $(HOME)"}});
        spec["target"] = json!("random");
    });
    let objects = of_repo(&cluster(|_| {}), &test, "repo1", &TestInputs::default());
    let arguments = container(&objects).args.as_ref().unwrap();
    assert!(
        arguments.contains(&"--postgres-option=search_path=\"$$user\", $$(HOME)".to_owned()),
        "{arguments:?}"
    );
}

#[test]
fn a_test_is_suspended_by_the_user_or_by_us() {
    let suspended = |test: &ValidatedRestoreTest, because| {
        let inputs = TestInputs { suspended_because: because, ..TestInputs::default() };
        let objects = of_repo(&cluster(|_| {}), test, "repo1", &inputs);
        let job = objects.iter().find(|object| object.kind() == "CronJob").unwrap();
        let reason =
            job.metadata().annotations.as_ref().and_then(|all| all.get(labels::SUSPENDED_BECAUSE).cloned());
        (cron_job(&objects).suspend, reason)
    };
    let by_user = test(|spec| spec["suspend"] = json!(true));
    assert_eq!(suspended(&test(|_| {}), None), (None, None));
    assert_eq!(suspended(&by_user, None), (Some(true), None));
    assert_eq!(suspended(&test(|_| {}), Some("backup-runs")), (Some(true), Some("backup-runs".to_owned())));
}

#[test]
fn a_repo_that_the_cluster_does_not_have_leads_to_nothing() {
    let turn = Turn { cluster: "orders".to_owned(), repo: RepoNumber::of_name("repo4").unwrap() };
    let built = build(&test(|_| {}), &cluster(|_| {}), &turn, &Settings::default(), &TestInputs::default());
    assert_eq!(built, None);
}
