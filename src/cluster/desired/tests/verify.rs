//! The objects of verifications.

use chrono::DateTime;

use super::*;
use crate::cluster::desired::VerifyInputs;
use crate::cluster::settings::VerifySettings;

/// With a schedule for all clusters.
fn settings() -> Settings {
    let verify = VerifySettings { schedule: Some("30 3 1 * *".to_owned()), ..VerifySettings::default() };
    Settings { verify, ..Settings::default() }
}

fn verified(change: impl FnOnce(&mut Value)) -> ValidatedCluster {
    let mut document = json!(null);
    let _ = cluster(|given| {
        change(given);
        document = given.clone();
    });
    validate::document(document, &References::default(), &settings()).0.unwrap()
}

fn repo(name: &str) -> RepoNumber {
    RepoNumber::of_name(name).unwrap()
}

fn of(cluster: &ValidatedCluster, inputs: &BuildInputs) -> Desired {
    build(cluster, &settings(), inputs)
}

fn cron_job(desired: &Desired) -> Option<&CronJob> {
    desired.objects.iter().find_map(|object| match object {
        Object::CronJob(found) if found.metadata.name.as_deref() == Some("pgbackrest-orders-verify") => {
            Some(&**found)
        }
        _ => None,
    })
}

fn pod(desired: &Desired) -> &PodTemplateSpec {
    let spec = cron_job(desired).unwrap().spec.as_ref().unwrap();
    &spec.job_template.spec.as_ref().unwrap().template
}

fn arguments(desired: &Desired) -> &[String] {
    pod(desired).spec.as_ref().unwrap().containers[0].args.as_deref().unwrap()
}

fn has(desired: &Desired, argument: &str) -> bool {
    arguments(desired).iter().any(|given| given == argument)
}

#[test]
fn the_repo_whose_last_verification_is_the_oldest_is_next() {
    let cluster = verified(|_| {});
    let next = |last: &[(&str, i64)], waiting: &[&str]| {
        let last = last.iter().map(|(name, at)| (repo(name), DateTime::from_timestamp(*at, 0).unwrap()));
        let inputs = BuildInputs {
            verifications: VerifyInputs { last: last.collect(), ..VerifyInputs::default() },
            waiting: waiting.iter().map(|name| (repo(name), "no-stanza".to_owned())).collect(),
            ..BuildInputs::default()
        };
        let desired = of(&cluster, &inputs);
        let spec = cron_job(&desired).unwrap().spec.clone().unwrap();
        let labels = spec.job_template.metadata.unwrap().labels.unwrap();
        assert!(has(&desired, &format!("--repo={}", &labels[labels::REPO][4..])));
        (labels[labels::REPO].clone(), spec.suspend)
    };
    assert_eq!(next(&[], &[]), ("repo1".to_owned(), None));
    assert_eq!(next(&[("repo1", 10)], &[]), ("repo2".to_owned(), None));
    assert_eq!(next(&[("repo1", 10), ("repo2", 20)], &[]), ("repo1".to_owned(), None));
    assert_eq!(next(&[("repo2", 20)], &["repo1"]), ("repo2".to_owned(), None));
    assert_eq!(next(&[], &["repo1", "repo2"]), ("repo1".to_owned(), Some(true)));
}

#[test]
fn its_pod_has_no_rights_and_is_no_pod_of_the_cluster() {
    let cluster = verified(|document| {
        document["spec"]["env"] = json!([{"name": "PGBACKREST_REPO1_S3_KEY",
            "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]);
    });
    let desired = of(&cluster, &BuildInputs::default());
    let template = pod(&desired);
    let of_cluster = labels::cluster_selector("orders", &settings());
    let given = template.metadata.as_ref().unwrap().labels.clone().unwrap();
    assert!(of_cluster.keys().all(|key| !given.contains_key(key)), "{given:?}");
    let spec = template.spec.as_ref().unwrap();
    assert_eq!((spec.automount_service_account_token, &spec.service_account_name), (Some(false), &None));
    let container = &spec.containers[0];
    assert_eq!(container.image.as_deref(), Some("registry.example/pgbackrest:2.58"));
    assert!(has(&desired, "--timeout=86400s") && has(&desired, "--state-directory=/state"));
    let passed = "--collect.pass-env=PGBACKREST_REPO1_S3_KEY,AWS_ROLE_ARN,AWS_WEB_IDENTITY_TOKEN_FILE";
    assert!(has(&desired, passed), "{:?}", arguments(&desired));
    // Our own repo host lets it in.
    let policy = serde_json::to_value(&desired.objects).unwrap().to_string();
    assert!(
        policy.contains(
            r#"{"podSelector":{"matchLabels":{"pgbackrest-keeper.io/verified-cluster":"orders"}}}"#
        )
    );
}

#[test]
fn without_a_schedule_there_is_nothing() {
    let cluster = cluster(|_| {});
    let results = [("repo1.json".to_owned(), "[]".to_owned())].into();
    let inputs = BuildInputs {
        verifications: VerifyInputs { results, ..VerifyInputs::default() },
        ..BuildInputs::default()
    };
    assert_eq!(build(&cluster, &Settings::default(), &inputs), objects(&cluster));
    assert!(!format!("{:?}", objects(&cluster)).contains("verif"));
}

#[test]
fn results_are_kept_while_the_schedule_has_an_error() {
    let annotate = |value: &'static str| {
        move |document: &mut Value| {
            document["metadata"]["annotations"] = json!({"pgbackrest-keeper.io/verify-schedule": value});
        }
    };
    let results: BTreeMap<String, String> = [("repo1.json".to_owned(), "[]".to_owned())].into();
    let inputs = BuildInputs {
        verifications: VerifyInputs { results: results.clone(), ..VerifyInputs::default() },
        ..BuildInputs::default()
    };
    let stored = |desired: &Desired| {
        desired.objects.iter().find_map(|object| match object {
            Object::ConfigMap(map)
                if map.metadata.name.as_deref() == Some("orders-pgbackrest-verifications") =>
            {
                map.data.clone()
            }
            _ => None,
        })
    };
    let held = of(&verified(annotate("nonsense")), &inputs);
    assert!(cron_job(&held).is_none());
    assert_eq!(
        (stored(&held), held.held.as_slice()),
        (Some(results), &["pgbackrest-orders-verify".to_owned()][..])
    );
    let off = of(&verified(annotate("off")), &inputs);
    assert!(off.held.is_empty());
    assert_eq!((cron_job(&off), stored(&off)), (None, None));
    let inputs = BuildInputs {
        verifications: VerifyInputs { has_no_image: true, ..VerifyInputs::default() },
        ..BuildInputs::default()
    };
    let unknown = of(&verified(|_| {}), &inputs);
    assert_eq!((cron_job(&unknown), unknown.held.len()), (None, 1));
}
