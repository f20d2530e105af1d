//! A manifest becomes findings that fit on a terminal, or the same objects each time, with a configuration that pgBackRest reads.

use pgbackrest_keeper::cli::manifest::Manifests;
use pgbackrest_keeper::cluster::desired::{self, BuildInputs};
use pgbackrest_keeper::cluster::finding::{Finding, codes};
use pgbackrest_keeper::cluster::settings::Settings;
use pgbackrest_keeper::cluster::{names, validate};
use pgbackrest_keeper::pgbackrest::conf::Conf;

const NAMESPACE: &str = "default";

pub(crate) fn check(bytes: &[u8]) {
    let mut manifests = Manifests::default();
    if let Err(unusable) = manifests.include(bytes.to_vec(), "fuzz.yaml", NAMESPACE) {
        assert!(unusable.to_string().len() < 8192, "{unusable}");
        return;
    }
    let settings = Settings::default();
    for resource in std::mem::take(&mut manifests.restore_tests) {
        let (test, findings) = validate::restore_test(resource.document, &settings);
        assert_eq!(test.is_none(), findings.iter().any(Finding::is_error), "{findings:?}");
        assert!(test.is_none_or(|test| names::is_object_name(&names::restore_test(&test.name))));
    }
    for resource in std::mem::take(&mut manifests.resources) {
        let references = manifests.references(&resource, NAMESPACE);
        let (cluster, findings) = validate::document(resource.document, &references, &settings);
        let Some(cluster) = cluster else {
            let explains = |finding: &Finding| {
                finding.is_error() || *finding.code == codes::NO_BACKUP || *finding.code == codes::NO_REPOS
            };
            assert!(findings.iter().any(explains), "{findings:?}");
            continue;
        };
        let built = desired::build(&cluster, &settings, &BuildInputs::default());
        let objects = serde_json::to_value(&built.objects).expect("objects are JSON");
        let again = desired::build(&cluster, &settings, &BuildInputs::default());
        assert_eq!(serde_json::to_value(&again.objects).expect("objects are JSON"), objects);
        for object in objects.as_array().into_iter().flatten() {
            let name = object.pointer("/metadata/name").and_then(|name| name.as_str()).unwrap_or_default();
            assert!(names::is_object_name(name), "{name:?}");
            assert!(object["kind"] != "CronJob" || name.len() <= 52, "{name:?}");
            if object["kind"] == "ConfigMap" {
                is_read_by_pgbackrest(&object["data"][names::CONFIGURATION_KEY]);
            }
        }
    }
}

fn is_read_by_pgbackrest(configuration: &serde_json::Value) {
    let text = configuration.as_str().expect("a configuration");
    assert!(text.chars().all(|letter| letter == '\n' || !letter.is_control()), "{text:?}");
    assert!(Conf::parse(&[(names::CONFIGURATION_KEY, text)]).is_ok(), "{text:?}");
}
