//! The first phase: reads the objects that a resource refers to, and existing objects.

mod certificates;
pub mod secret;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Secret, Service};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use parking_lot::Mutex;

use crate::cluster::address::IpFamilies;
use crate::cluster::labels;
use crate::cluster::names;
use crate::cluster::record::Record;
use crate::cluster::references::{Lookup, References, SecretFacts, StorageClassFacts, VolumeFacts};
use crate::cluster::resource::{KIND, Pgbackrest, Postgresql};
use crate::cluster::settings::Settings;
use crate::cluster::validated::{RepoNumber, ValidatedCluster};
use crate::kubernetes::client::{CALL_DEADLINE, CallError, CallFailure, call};

use super::apply::{ApplyCache, Owner, Writer, is_ours, version};
use super::certificates::Stored;
use super::inventory::Inventory;
use super::shared::Shared;
use secret::SecretWords;

/// How long an object that is not watched is cached: the resource's Secret, a storage class, a Service of another owner.
const STAYS: Duration = Duration::from_hours(1);

/// Bounds the cache: there are few storage classes, but a resource can name any.
const MOST_CLASSES: usize = 256;

/// Everything that was read.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// For `validate`.
    pub references: References,
    /// The record of the cluster.
    pub record: Record,
    /// Keys and certificates in our two Secrets.
    pub stored: Option<Stored>,
    /// Contents of the resource's Secret that are not validated.
    pub secret: SecretWords,
}

/// Reads, and caches results until their version changes.
pub struct Observer {
    client: kube::Client,
    inventory: Arc<Inventory>,
    settings: Arc<Settings>,
    cache: Arc<ApplyCache>,
    clusters: Mutex<HashMap<(String, String), KnownCluster>>,
    /// What is known of the clusters' Secrets.
    secrets: Shared<SecretContents>,
    classes: Mutex<HashMap<String, (Instant, StorageClassFacts)>>,
}

impl std::fmt::Debug for Observer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Observer").finish_non_exhaustive()
    }
}

/// Cached results for one cluster.
#[derive(Default)]
struct KnownCluster {
    /// The UID of the resource. Another resource of the same name starts from scratch.
    uid: String,
    secret: Option<KnownSecret>,
    volumes: BTreeMap<RepoNumber, (u64, VolumeFacts)>,
    certificates: BTreeMap<String, (u64, BTreeMap<String, Vec<u8>>)>,
    service: Option<KnownService>,
}

#[derive(Clone, Copy)]
struct KnownService {
    version: u64,
    read: Instant,
    families: IpFamilies,
}

#[derive(Clone)]
struct KnownSecret {
    name: String,
    generation: Option<i64>,
    read: Instant,
    contents: Arc<SecretContents>,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct SecretContents {
    facts: SecretFacts,
    words: SecretWords,
}

impl SecretContents {
    fn found(&self) -> (Lookup<SecretFacts>, SecretWords) {
        (Lookup::Found(self.facts.clone()), self.words.clone())
    }
}

/// One observation of a resource.
struct Observation<'a> {
    observer: &'a Observer,
    owner: Owner<'a>,
    generation: Option<i64>,
}

impl Observer {
    /// Reads with `client` what `inventory` does not contain. Objects of `writer` are never taken to be older than
    /// its last write.
    #[must_use]
    pub fn new(
        client: kube::Client,
        inventory: Arc<Inventory>,
        settings: Arc<Settings>,
        writer: &Writer,
    ) -> Self {
        Self {
            client,
            inventory,
            settings,
            cache: writer.cache(),
            clusters: Mutex::default(),
            secrets: Shared::default(),
            classes: Mutex::default(),
        }
    }

    /// Reads. A missing object is not an error; an unavailable API server is.
    pub async fn observe(&self, resource: &Postgresql) -> Result<Observed, CallError> {
        let Some(observation) = self.observation(resource) else { return Ok(Observed::default()) };
        let mut observed = Observed { record: observation.record().await?, ..Observed::default() };
        // Objects of other owners are reported when they are found by `apply`; looking for them here would cost a
        // request each.
        observed.references.taken = Lookup::Missing;
        observed.references.established = observed.record.stanzas.keys().copied().collect();
        let Some(section) = resource.pgbackrest() else { return Ok(observed) };
        if let Some(secret) = secret::named(resource) {
            (observed.references.secret, observed.secret) = observation.secret(secret).await?;
        }
        observation.volumes(section, &mut observed.references).await?;
        // For a repo host, which both need.
        let is_from_standby = resource.annotation(labels::BACKUP_STANDBY).is_some();
        if is_from_standby || volume_repos(section).next().is_some() {
            observed.stored = observation.stored().await?;
            observed.references.families = observation.families().await?;
        }
        Ok(observed)
    }

    /// The resource's Secret.
    pub async fn secret(
        &self,
        resource: &Postgresql,
    ) -> Result<(Lookup<SecretFacts>, SecretWords), CallError> {
        let Some((observation, secret)) = self.observation(resource).zip(secret::named(resource)) else {
            return Ok(Default::default());
        };
        observation.secret(secret).await
    }

    /// The record of a cluster of another shard, of which nothing is watched.
    pub async fn record_elsewhere(&self, resource: &Postgresql) -> Result<Record, CallError> {
        match self.observation(resource) {
            Some(observation) => observation.read_record().await,
            None => Ok(Record::default()),
        }
    }

    /// The families of the Service of a cluster's pods, if it exists.
    pub async fn families(&self, cluster: &ValidatedCluster) -> Result<Option<IpFamilies>, CallError> {
        let Some(owner) = Owner::of(cluster) else { return Ok(None) };
        Observation { observer: self, owner, generation: None }.families().await
    }

    fn observation<'a>(&'a self, resource: &'a Postgresql) -> Option<Observation<'a>> {
        let metadata = &resource.metadata;
        let (name, uid) = metadata.name.as_deref().zip(metadata.uid.as_deref())?;
        let namespace = metadata.namespace.as_deref().unwrap_or(self.settings.default_namespace.as_str());
        Some(Observation {
            observer: self,
            owner: Owner { kind: KIND, namespace, name, uid },
            generation: metadata.generation,
        })
    }

    /// Removes the resource's Secret from the cache: the resource has errors, and the Secret may be the cause.
    pub fn invalidate(&self, namespace: &str, name: &str) {
        if let Some(known) = self.clusters.lock().get_mut(&(namespace.to_owned(), name.to_owned())) {
            known.secret = None;
        }
    }

    /// Removes a cluster whose resource was deleted.
    pub fn forget(&self, namespace: &str, name: &str) {
        self.clusters.lock().remove(&(namespace.to_owned(), name.to_owned()));
    }

    async fn class(&self, name: &str) -> Result<Lookup<StorageClassFacts>, CallError> {
        if let Some((read, facts)) = self.classes.lock().get(name)
            && read.elapsed() < STAYS
        {
            return Ok(Lookup::Found(*facts));
        }
        let api: Api<StorageClass> = Api::all(self.client.clone());
        let class =
            lookup(call(format!("read StorageClass {name}"), CALL_DEADLINE, api.get_opt(name)).await)?;
        Ok(match class {
            Lookup::NotChecked => Lookup::NotChecked,
            Lookup::Missing => Lookup::Missing,
            Lookup::Found(class) => {
                let facts =
                    StorageClassFacts { allows_expansion: class.allow_volume_expansion.unwrap_or_default() };
                let mut classes = self.classes.lock();
                if classes.len() >= MOST_CLASSES {
                    classes.clear();
                }
                classes.insert(name.to_owned(), (Instant::now(), facts));
                Lookup::Found(facts)
            }
        })
    }
}

impl Observation<'_> {
    fn with<T>(&self, act: impl FnOnce(&mut KnownCluster) -> T) -> T {
        let key = (self.owner.namespace.to_owned(), self.owner.name.to_owned());
        let mut clusters = self.observer.clusters.lock();
        let known = clusters.entry(key).or_default();
        if known.uid != self.owner.uid {
            *known = KnownCluster { uid: self.owner.uid.to_owned(), ..KnownCluster::default() };
        }
        act(known)
    }

    /// The watched metadata of an object, unless it is older than our last write.
    fn known(&self, kind: &str, name: &str) -> Option<ObjectMeta> {
        let Owner { namespace, name: cluster, .. } = self.owner;
        let known = self.observer.inventory.find(kind, namespace, name)?;
        let written = self.observer.cache.version(namespace, cluster, kind, name).unwrap_or_default();
        (version(&known) >= written).then_some(known)
    }

    /// From the annotations of our ConfigMap.
    async fn record(&self) -> Result<Record, CallError> {
        let Owner { namespace, name: cluster, .. } = self.owner;
        let name = names::instance_configuration(cluster);
        if let Some(known) = self.known("ConfigMap", &name) {
            return Ok(self.record_in(&known));
        }
        if self.observer.cache.version(namespace, cluster, "ConfigMap", &name).is_none() {
            return Ok(Record::default());
        }
        self.read_record().await
    }

    async fn read_record(&self) -> Result<Record, CallError> {
        let name = names::instance_configuration(self.owner.name);
        let api: Api<k8s_openapi::api::core::v1::ConfigMap> =
            Api::namespaced(self.observer.client.clone(), self.owner.namespace);
        let found =
            call(format!("look for ConfigMap {name}"), CALL_DEADLINE, api.get_metadata_opt(&name)).await?;
        Ok(found.map(|found| self.record_in(&found.metadata)).unwrap_or_default())
    }

    fn record_in(&self, metadata: &ObjectMeta) -> Record {
        let annotations = metadata.annotations.as_ref();
        let ours = annotations.filter(|_| is_ours(metadata, "ConfigMap", self.owner));
        ours.map(Record::read).unwrap_or_default()
    }

    async fn secret(&self, name: &str) -> Result<(Lookup<SecretFacts>, SecretWords), CallError> {
        let still_good = |known: &&KnownSecret| {
            known.name == name && known.generation == self.generation && known.read.elapsed() < STAYS
        };
        let known = self.with(|known| known.secret.as_ref().filter(still_good).cloned());
        if let Some(known) = known {
            return Ok(known.contents.found());
        }
        let found = match lookup(read_secret(&self.observer.client, self.owner.namespace, name).await)? {
            Lookup::NotChecked => return Ok((Lookup::NotChecked, SecretWords::default())),
            Lookup::Missing => return Ok((Lookup::Missing, SecretWords::default())),
            Lookup::Found(found) => found,
        };
        let data = found.data.unwrap_or_default();
        let facts = SecretFacts::read(data.iter().map(|(key, content)| (key.as_str(), content.0.as_slice())));
        let words = SecretWords::read(&data);
        let contents = self.observer.secrets.share(SecretContents { facts, words });
        let found = contents.found();
        let (name, generation) = (name.to_owned(), self.generation);
        let known = KnownSecret { name, generation, read: Instant::now(), contents };
        self.with(|of_cluster| of_cluster.secret = Some(known));
        Ok(found)
    }

    /// From the Service of the pods, which may have another owner.
    async fn families(&self) -> Result<Option<IpFamilies>, CallError> {
        let name = names::pods_service(self.owner.name);
        let watched = self.known("Service", &name).map(|known| version(&known));
        let still_good = |known: &KnownService| {
            known.read.elapsed() < STAYS && watched.is_none_or(|watched| watched <= known.version)
        };
        if let Some(known) = self.with(|known| known.service.filter(still_good)) {
            return Ok(Some(known.families));
        }
        let api: Api<Service> = Api::namespaced(self.observer.client.clone(), self.owner.namespace);
        let found = call(format!("read Service {name}"), CALL_DEADLINE, api.get_opt(&name)).await?;
        let known = found.map(|found| KnownService {
            version: version(&found.metadata),
            read: Instant::now(),
            families: IpFamilies::of_service(&found.spec.unwrap_or_default().ip_families.unwrap_or_default()),
        });
        self.with(|of_cluster| of_cluster.service = known);
        Ok(known.map(|known| known.families))
    }

    async fn volumes(&self, section: &Pgbackrest, references: &mut References) -> Result<(), CallError> {
        for (repo, class) in volume_repos(section) {
            if let Some(class) = class
                && !references.storage_classes.contains_key(class)
            {
                references.storage_classes.insert(class.to_owned(), self.observer.class(class).await?);
            }
            if let Some(facts) = self.volume(repo).await? {
                references.volumes.insert(repo, facts);
            }
        }
        Ok(())
    }

    async fn volume(&self, repo: RepoNumber) -> Result<Option<VolumeFacts>, CallError> {
        let name = names::volume_claim(self.owner.name, repo);
        let watched = self.known("PersistentVolumeClaim", &name).map(|known| version(&known));
        let read = self.with(|known| known.volumes.get(&repo).cloned());
        if let (Some(watched), Some((read, facts))) = (watched, read)
            && watched <= read
        {
            return Ok(Some(facts));
        }
        let api: Api<PersistentVolumeClaim> =
            Api::namespaced(self.observer.client.clone(), self.owner.namespace);
        let found =
            call(format!("read PersistentVolumeClaim {name}"), CALL_DEADLINE, api.get_opt(&name)).await?;
        let facts = found.and_then(|found| Some((version(&found.metadata), facts(&found)?)));
        self.with(|known| match &facts {
            Some(facts) => _ = known.volumes.insert(repo, facts.clone()),
            None => _ = known.volumes.remove(&repo),
        });
        Ok(facts.map(|(_, facts)| facts))
    }

    /// Only our own: certificates of other authorities are not renewed.
    async fn stored(&self) -> Result<Option<Stored>, CallError> {
        let authority = self.own_secret(&names::certificate_authority(self.owner.name)).await?;
        let pods = self.own_secret(&names::certificates(self.owner.name)).await?;
        if authority.is_none() && pods.is_none() {
            return Ok(None);
        }
        Ok(Some(Stored { authority: authority.unwrap_or_default(), pods: pods.unwrap_or_default() }))
    }

    /// The content of one of our Secrets. It is read even if the watches have not reported it: treating an authority
    /// as missing would create another one.
    async fn own_secret(&self, name: &str) -> Result<Option<BTreeMap<String, Vec<u8>>>, CallError> {
        let watched = self.known("Secret", name).map(|known| version(&known));
        let read = self.with(|known| known.certificates.get(name).cloned());
        if let (Some(watched), Some((read, data))) = (watched, read)
            && watched <= read
        {
            return Ok(Some(data));
        }
        let found = read_secret(&self.observer.client, self.owner.namespace, name).await?;
        let ours = found.filter(|found| is_ours(&found.metadata, "Secret", self.owner));
        let entry = ours.map(|found| {
            let data = found.data.unwrap_or_default();
            let data: BTreeMap<String, Vec<u8>> =
                data.into_iter().map(|(key, content)| (key, content.0)).collect();
            (version(&found.metadata), data)
        });
        self.with(|known| match &entry {
            Some(entry) => _ = known.certificates.insert(name.to_owned(), entry.clone()),
            None => _ = known.certificates.remove(name),
        });
        Ok(entry.map(|(_, data)| data))
    }
}

/// What we may not read counts as not checked; `validate` reports that.
async fn read_secret(
    client: &kube::Client,
    namespace: &str,
    name: &str,
) -> Result<Option<Secret>, CallError> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    call(format!("read Secret {name}"), CALL_DEADLINE, api.get_opt(name)).await
}

fn lookup<T>(read: Result<Option<T>, CallError>) -> Result<Lookup<T>, CallError> {
    match read {
        Ok(Some(found)) => Ok(Lookup::Found(found)),
        Ok(None) => Ok(Lookup::Missing),
        Err(error) if error.failure == CallFailure::Forbidden => Ok(Lookup::NotChecked),
        Err(error) => Err(error),
    }
}

/// Repos on volumes, with the storage class that the resource names.
fn volume_repos(section: &Pgbackrest) -> impl Iterator<Item = (RepoNumber, Option<&str>)> {
    let repos = section.repos.iter().filter(|repo| repo.storage.as_deref() == Some("pvc"));
    repos.filter_map(|repo| {
        let class = repo.volume.as_ref().and_then(|volume| volume.storage_class.as_deref());
        Some((
            RepoNumber::of_name(repo.name.as_deref()?)?,
            class.filter(|class| names::is_object_name(class)),
        ))
    })
}

fn facts(claim: &PersistentVolumeClaim) -> Option<VolumeFacts> {
    let spec = claim.spec.as_ref()?;
    let size = spec.resources.as_ref()?.requests.as_ref()?.get("storage")?.0.clone();
    Some(VolumeFacts {
        size,
        storage_class: spec.storage_class_name.clone(),
        access_modes: spec.access_modes.clone().unwrap_or_default(),
    })
}
