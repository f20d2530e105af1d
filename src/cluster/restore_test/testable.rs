//! From which repos of a cluster a test in a pod of its own can restore.

use super::validated::RepoWish;
use crate::cluster::validated::{
    GcsCredentials, KeyFile, RepoNumber, Storage, Suspension, ValidatedCluster, ValidatedRepo,
};

/// The repos, or why there is none.
pub fn repos(cluster: &ValidatedCluster, wish: RepoWish) -> Result<Vec<RepoNumber>, &'static str> {
    if cluster.encrypted_data_directory.is_some() {
        return Err("its data directory is encrypted, and the pod of a test does not have the key");
    }
    if cluster.suspension == Some(Suspension::Standby) {
        return Err("it is a standby cluster, and its backups are those of its primary");
    }
    let wanted: Vec<&ValidatedRepo> = match wish {
        RepoWish::Any => cluster.repos.iter().collect(),
        RepoWish::Repo(number) => cluster.repos.iter().filter(|repo| repo.number == number).collect(),
    };
    if wanted.is_empty() {
        return Err("it does not have the repo");
    }
    let with_key: Vec<RepoNumber> =
        wanted.into_iter().filter(|repo| has_its_key(repo)).map(|repo| repo.number).collect();
    if with_key.is_empty() {
        return Err("the key file of the repo is on a volume of PostgreSQL's pods, and not in the Secret");
    }
    Ok(with_key)
}

/// Whether the key is in what a pod of its own mounts.
#[must_use]
pub fn has_its_key(repo: &ValidatedRepo) -> bool {
    let on_a_volume = matches!(
        repo.storage,
        Storage::Gcs { credentials: GcsCredentials::Service(KeyFile::Mounted(_)), .. }
    );
    !on_a_volume
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::cluster::references::References;
    use crate::cluster::settings::Settings;
    use crate::cluster::validate;

    fn cluster(change: impl FnOnce(&mut Value)) -> ValidatedCluster {
        let mut document = json!({
            "metadata": {"name": "orders", "namespace": "shop"},
            "spec": {
                "teamId": "till", "numberOfInstances": 1, "postgresql": {"version": "17"}, "volume": {"size": "1Gi"},
                "backup": {"pgbackrest": {
                    "image": "registry.example/pgbackrest:2.58",
                    "configuration": {"secret": "keys"},
                    "repos": [
                        {"name": "repo1", "storage": "pvc", "volume": {"size": "5Gi"}},
                        {"name": "repo2", "storage": "gcs", "resource": "bucket", "key": "gcs.json", "keyType": "service"},
                    ],
                }},
            },
        });
        change(&mut document["spec"]);
        let (cluster, findings) = validate::document(document, &References::default(), &Settings::default());
        cluster.unwrap_or_else(|| panic!("{findings:?}"))
    }

    #[test]
    fn what_a_pod_of_its_own_lacks_is_left_out() {
        let [first, second, third] =
            ["repo1", "repo2", "repo3"].map(|name| RepoNumber::of_name(name).unwrap());
        let whole = cluster(|_| {});
        assert_eq!(repos(&whole, RepoWish::Any), Ok(vec![first, second]));
        assert_eq!(repos(&whole, RepoWish::Repo(second)), Ok(vec![second]));
        assert!(repos(&whole, RepoWish::Repo(third)).unwrap_err().contains("does not have the repo"));
        let mounted =
            cluster(|spec| spec["backup"]["pgbackrest"]["repos"][1]["key"] = json!("/etc/keys/gcs.json"));
        assert_eq!(repos(&mounted, RepoWish::Any), Ok(vec![first]));
        assert!(repos(&mounted, RepoWish::Repo(second)).unwrap_err().contains("key file"));
        let standby = cluster(|spec| spec["standby"] = json!({"standby_host": "primary.example"}));
        assert!(repos(&standby, RepoWish::Any).unwrap_err().contains("standby"));
        let encrypted = cluster(|spec| spec["tde"] = json!({"enable": true}));
        assert!(repos(&encrypted, RepoWish::Any).unwrap_err().contains("encrypted"));
    }
}
