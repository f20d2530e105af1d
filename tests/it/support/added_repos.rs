//! Object stores as further repos of an example's cluster.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::json;

use super::example::{CLUSTER, Example};
use super::object_store::ObjectStore;
use crate::support::web::Authority;

impl Example<'_> {
    /// Writes them into the resource as repo2 and following, with what is secret in a Secret.
    pub(crate) fn add_repos(&self, stores: &[ObjectStore], authority: &Authority) {
        let mut secrets = "[global]\n".to_owned();
        let mut global = json!({});
        let mut repos = self.resource()["spec"]["backup"]["pgbackrest"]["repos"].clone();
        for (store, number) in stores.iter().zip(2u8..) {
            for (name, value) in store.secrets(number) {
                writeln!(secrets, "{name}={value}").unwrap();
            }
            let mut options: BTreeMap<String, String> = store.options(number).into_iter().collect();
            let mut take = |name: &str| options.remove(&format!("repo{number}-{name}"));
            let storage = take("type").unwrap();
            if storage == "gcs" {
                writeln!(secrets, "repo{number}-gcs-key=/etc/pgbackrest/conf.d/token").unwrap();
            }
            // What the resource has a field for stands in the field.
            let field = |name: &str| format!("{storage}-{name}");
            let repo = json!({
                "name": format!("repo{number}"),
                "storage": storage,
                "resource": take(&field("bucket")).or_else(|| take(&field("container"))),
                "endpoint": take(&field("endpoint")),
                "region": take(&field("region")),
                "account": take(&field("account")),
                "keyType": take(&field("key-type")),
                "schedule": {"full": format!("{number} 5 * * 0")},
            });
            let mut repo = repo;
            repo.as_object_mut().unwrap().retain(|_, value| !value.is_null());
            repos.as_array_mut().unwrap().push(repo);
            options
                .insert(format!("repo{number}-storage-ca-file"), "/etc/pgbackrest/conf.d/ca.crt".to_owned());
            options.insert(format!("repo{number}-retention-full"), "2".to_owned());
            global
                .as_object_mut()
                .unwrap()
                .extend(options.into_iter().map(|(name, value)| (name, json!(value))));
        }
        let secret = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "cluster-s3-credential", "namespace": self.namespace},
            "stringData": {"repos.conf": secrets, "ca.crt": authority.certificate_pem(), "token": "any"},
        });
        self.kubectl().apply(&secret.to_string(), &[]);
        let asked = json!({"spec": {"backup": {"pgbackrest": {
            "configuration": {"secret": "cluster-s3-credential"}, "repos": repos, "global": global}}}});
        self.patch("postgresql", CLUSTER, &asked);
    }
}
