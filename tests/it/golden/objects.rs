//! Every manifest in fixtures/clusters that is valid, against the objects in fixtures/objects; and these against the
//! schemas of three Kubernetes versions. `UPDATE_GOLDEN=1` regenerates the objects; read the diff before you
//! commit it.

mod pgbackrest;
pub(crate) mod schemas;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use pgbackrest_keeper::cli::manifest::Manifests;
use pgbackrest_keeper::cluster::desired::restore_test::TestInputs;
use pgbackrest_keeper::cluster::desired::{self, BuildInputs, Object};
use pgbackrest_keeper::cluster::restore_test::testable;
use pgbackrest_keeper::cluster::restore_test::turn::{self, Candidate, LastTests};
use pgbackrest_keeper::cluster::restore_test::validated::ValidatedRestoreTest;
use pgbackrest_keeper::cluster::settings::Settings;
use pgbackrest_keeper::cluster::validate;
use pgbackrest_keeper::cluster::validated::ValidatedCluster;

const HEAD: &str = "# Written by UPDATE_GOLDEN=1 from fixtures/clusters.\n";

#[test]
fn objects_are_as_recorded() {
    let actual: BTreeMap<PathBuf, String> = manifests().iter().flat_map(|manifest| files(manifest)).collect();
    assert!(actual.len() > 50, "only {} objects", actual.len());
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        if objects().exists() {
            fs::remove_dir_all(objects()).unwrap();
        }
        for (path, text) in &actual {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        return;
    }
    let recorded: BTreeMap<PathBuf, String> =
        recorded().into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect();
    let mut wrong: Vec<String> = Vec::new();
    for path in actual.keys().chain(recorded.keys().filter(|path| !actual.contains_key(*path))) {
        let (expected, found) = (recorded.get(path), actual.get(path));
        if expected != found {
            let said = |text: Option<&String>| text.map_or("nothing".to_owned(), String::clone);
            wrong.push(format!("{}\nrecorded: {}\nnow: {}", path.display(), said(expected), said(found)));
        }
    }
    assert!(wrong.is_empty(), "run with UPDATE_GOLDEN=1 if this is right:\n{}", wrong.join("\n"));
}

/// What others refer to is applied first.
#[test]
fn objects_come_in_the_order_in_which_they_are_needed() {
    const ORDER: [&str; 10] = [
        "ServiceAccount",
        "Role",
        "RoleBinding",
        "Secret",
        "ConfigMap",
        "PersistentVolumeClaim",
        "Service",
        "NetworkPolicy",
        "StatefulSet",
        "CronJob",
    ];
    for manifest in manifests() {
        for objects in build(&manifest) {
            let mut ranks: Vec<_> = objects
                .iter()
                .map(|object| ORDER.iter().position(|kind| *kind == object.kind()).unwrap())
                .collect();
            // The account of the repo host may follow the role of the jobs.
            ranks.retain(|rank| *rank > 2);
            assert!(ranks.is_sorted(), "{}", manifest.display());
        }
    }
}

/// The objects of one manifest as files.
fn files(manifest: &Path) -> Vec<(PathBuf, String)> {
    let directory = objects().join(manifest.file_stem().unwrap());
    let mut files = Vec::new();
    for objects in build(manifest) {
        for object in &objects {
            let file = format!("{}-{}.yaml", object.kind().to_lowercase(), object.name());
            let text = format!("{HEAD}{}", serde_saphyr::to_string(object).unwrap());
            assert!(files.iter().all(|(path, _): &(PathBuf, String)| !path.ends_with(&file)), "{file} twice");
            files.push((directory.join(file), text));
        }
    }
    files
}

/// The objects of each valid cluster and restore test of one manifest.
fn build(manifest: &Path) -> Vec<Vec<Object>> {
    let settings = Settings::default();
    // Some of them are no YAML on purpose.
    let Ok(manifests) = Manifests::read(&[manifest.to_owned()], &settings.default_namespace) else {
        return Vec::new();
    };
    let clusters: Vec<ValidatedCluster> = manifests
        .resources
        .iter()
        .filter_map(|found| {
            let references = manifests.references(found, &settings.default_namespace);
            validate::document(found.document.clone(), &references, &settings).0
        })
        .collect();
    let of_clusters =
        clusters.iter().map(|cluster| desired::build(cluster, &settings, &BuildInputs::default()).objects);
    let of_tests = manifests.restore_tests.iter().filter_map(|found| {
        let (test, _) = validate::restore_test(found.document.clone(), &settings);
        of_test(&test?, &clusters, &settings)
    });
    of_clusters.chain(of_tests).collect()
}

/// The objects of the first test. The manifests of these have one cluster each.
fn of_test(
    test: &ValidatedRestoreTest,
    clusters: &[ValidatedCluster],
    settings: &Settings,
) -> Option<Vec<Object>> {
    let [cluster] = clusters else { return None };
    let candidate = Candidate {
        name: cluster.name.clone(),
        repos: testable::repos(cluster, test.repo).ok()?,
        tested_now: Vec::new(),
        is_backed_up_now: false,
    };
    let turn = turn::next(&[candidate], test.repo, &LastTests::new()).unwrap();
    desired::restore_test::build(test, cluster, &turn, settings, &TestInputs::default())
}

fn manifests() -> Vec<PathBuf> {
    let found = yaml_files(&fixtures().join("clusters"));
    assert!(!found.is_empty(), "no manifests");
    found
}

/// Every recorded object.
pub(crate) fn recorded() -> Vec<PathBuf> {
    let Ok(clusters) = fs::read_dir(objects()) else { return Vec::new() };
    clusters.flat_map(|cluster| yaml_files(&cluster.unwrap().path())).collect()
}

fn yaml_files(directory: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    files
}

/// Says what this machine lacks; where everything must run, that is a failure.
fn skip(missing: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "cannot run: {missing}");
    println!("skipped: {missing}");
}

fn objects() -> PathBuf {
    fixtures().join("objects")
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}
