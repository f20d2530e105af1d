//! One reconcile: its phases in order.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use kube::core::DynamicObject;
use tokio::time::timeout;

use crate::cluster::address::IpFamilies;
use crate::cluster::desired::{self, BuildInputs, CertificatePem, Desired, VerifyInputs};
use crate::cluster::finding::{Finding, codes};
use crate::cluster::labels;
use crate::cluster::policy;
use crate::cluster::record::Record;
use crate::cluster::references::References;
use crate::cluster::resource::{KIND, Postgresql};
use crate::cluster::settings::Settings;
use crate::cluster::validate::{self, Conduct};
use crate::cluster::validated::ValidatedCluster;
use crate::collect::fleet::Subject;
use crate::pgbackrest::version::Version;
use crate::state::records::Records;
use crate::state::verification_history::VerificationHistory;

use super::action::Action;
use super::apply::{Applied, Owner, Writer};
use super::certificates::{self, Stored};
use super::locations::{Compared, Locations};
use super::mode::Mode;
use super::observe::{Observed, Observer};
use super::restore_tests::clusters::Look;
use super::scope::Key;
use super::stanza;
use super::verifications::{Verifications, VerifyRuns};

mod compare;
mod elsewhere;
mod error;

pub use error::ReconcileError;

/// The timeout of one reconcile, including commands in pods.
const DEADLINE: Duration = Duration::from_mins(15);
/// A cluster without changes is reconciled again after this time.
const USUAL: Duration = Duration::from_hours(1);
/// A resource with errors may become valid through an object that is not watched, such as its Secret.
const UNTIL_MENDED: Duration = Duration::from_secs(100);
/// The shortest time until the next reconcile.
const SOONEST: Duration = Duration::from_secs(1);

/// Everything to report about one reconcile, as far as it got.
#[derive(Debug, Default)]
pub struct ReconcileOutcome {
    /// What is wrong or risky.
    pub findings: Vec<Finding>,
    /// Completed actions.
    pub actions: Vec<Action>,
    /// By kind: whether all objects are as desired. Empty if nothing was applied.
    pub in_place: Vec<(&'static str, bool)>,
    /// Objects that another client had changed, by kind.
    pub drift: Vec<&'static str>,
    /// When certificates expire: by name, ours and those of the resource.
    pub expiries: Vec<(String, DateTime<Utc>)>,
    /// Whether policies are met.
    pub policies: Vec<(&'static str, bool)>,
    /// Nothing may be written for this resource, not even its status.
    pub hands_off: bool,
    /// All objects have been released.
    pub released: bool,
    /// Something is not done yet.
    pub pending: bool,
    /// What to collect about the cluster from now on.
    pub collect: Collect,
    /// What verifications have shown; unchanged if `None`.
    pub(super) verifications: Option<Records<VerificationHistory>>,
    /// What restore tests may test from now on.
    pub(super) look: Look,
    /// Findings of the last apply.
    apply_findings: Vec<Finding>,
}

/// The effect of a reconcile on collection.
#[derive(Debug, Default)]
pub enum Collect {
    /// Unchanged.
    #[default]
    AsBefore,
    Nothing,
    Of(Box<Subject>),
    /// This, unless it is known what to collect.
    UnlessKnown(Box<Subject>),
}

impl ReconcileOutcome {
    fn add(&mut self, applied: Applied) -> Option<Duration> {
        self.apply_findings = applied.findings;
        self.actions.extend(applied.actions);
        self.in_place = applied.in_place;
        self.drift.extend(applied.drift);
        self.pending |= applied.again_after.is_some();
        applied.again_after
    }
}

/// Runs reconciles during one term of leadership.
pub(super) struct Reconciler {
    client: kube::Client,
    settings: Arc<Settings>,
    mode: Mode,
    writer: Writer,
    observer: Observer,
    verifications: Verifications,
    locations: Locations,
}

impl Reconciler {
    pub(super) fn new(
        client: kube::Client,
        settings: Arc<Settings>,
        inventory: Arc<super::inventory::Inventory>,
        mode: Mode,
        (locations, runs): (Locations, VerifyRuns),
    ) -> Self {
        let writer = Writer::new(client.clone(), Arc::clone(&inventory), Arc::clone(&settings));
        let observer = Observer::new(client.clone(), Arc::clone(&inventory), Arc::clone(&settings), &writer);
        let verifications =
            Verifications::new(client.clone(), inventory, Arc::clone(&settings), &writer, runs);
        Self { client, settings, mode, writer, observer, verifications, locations }
    }

    /// There is no such resource, but Jobs or pods that name it.
    pub(super) fn forget_runs(&self, key: &Key) {
        self.verifications.forget_runs(key);
    }

    /// The resource was deleted.
    pub(super) fn forget(&self, key: &Key) {
        self.locations.forget(key);
        self.verifications.forget(key);
        self.observer.forget(&key.namespace, &key.name);
        self.writer.forget(&key.namespace, &key.name);
    }

    /// Reconciling panicked. Other clusters need not wait for this one.
    pub(super) fn give_up(&self, key: &Key) {
        self.locations.give_up(key);
    }

    /// Reconciles one cluster, in whose pods this version of pgBackRest was seen. The first value is when to reconcile
    /// again at the latest.
    pub(super) async fn reconcile(
        &self,
        object: &DynamicObject,
        version: Option<Version>,
    ) -> (Result<Duration, ReconcileError>, ReconcileOutcome) {
        let mut outcome = ReconcileOutcome::default();
        let end = match timeout(DEADLINE, Box::pin(self.phases(object, version, &mut outcome))).await {
            Ok(end) => end,
            Err(_) => Err(ReconcileError::Deadline(DEADLINE)),
        };
        outcome.findings.append(&mut outcome.apply_findings);
        (end.map(|again| again.unwrap_or(USUAL).clamp(SOONEST, USUAL)), outcome)
    }

    async fn phases(
        &self,
        object: &DynamicObject,
        version: Option<Version>,
        outcome: &mut ReconcileOutcome,
    ) -> Result<Option<Duration>, ReconcileError> {
        let Some((key, uid)) = Key::of(object).zip(object.metadata.uid.as_deref()) else { return Ok(None) };
        let owner = Owner { kind: KIND, namespace: &key.namespace, name: &key.name, uid };
        let (resource, found) = validate::read(serde_json::to_value(object).unwrap_or_default());
        if object.metadata.deletion_timestamp.is_some() {
            // Its objects are being removed, and must not be recreated meanwhile.
            (outcome.hands_off, outcome.collect, outcome.look) = (true, Collect::Nothing, Look::Nothing);
            self.compare_unless_known(&key, object, &resource).await;
            return Ok(None);
        }
        if self.mode == Mode::Observe {
            return self.look(object, resource, found, version, outcome).await;
        }
        let conduct = validate::conduct(&resource, &self.settings);
        if conduct.other_controller {
            (outcome.hands_off, outcome.collect, outcome.look) = (true, Collect::Nothing, Look::Nothing);
            self.compare_unmanaged(object, &resource).await;
            return Ok(None);
        }
        let mut observed = match self.observer.observe(&resource).await {
            Ok(observed) => observed,
            Err(error) => {
                self.compare_unless_known(&key, object, &resource).await;
                return Err(ReconcileError::Observe(error));
            }
        };
        observed.references.version = version;
        outcome.expiries.clone_from(&observed.secret.expiries);
        let judge =
            |references: &References| validate::judge(&resource, found.clone(), references, &self.settings);
        let (mut cluster, mut findings) = judge(&observed.references);
        let compared = self.compare(object, &resource, cluster.as_ref(), conduct, &observed);
        let mut early = None;
        match compared {
            Compared::TooEarly(again) => early = Some(again),
            Compared::Conflicts(conflicts) if !conflicts.is_empty() => {
                observed.references.conflicts = conflicts;
                (cluster, findings) = judge(&observed.references);
            }
            Compared::Conflicts(_) => {}
        }
        let cluster = cluster.map(Arc::new);
        outcome.look = Look::of(cluster.as_ref());
        let secret = &observed.secret.options;
        outcome.collect = match &cluster {
            Some(cluster) => Collect::Of(Box::new(Subject::of(cluster, &self.settings, secret))),
            // What was valid before is what runs there.
            None => Subject::of_invalid(&resource, &self.settings, secret)
                .map_or(Collect::AsBefore, |subject| Collect::UnlessKnown(Box::new(subject))),
        };
        outcome.policies = cluster
            .as_ref()
            .map(|cluster| policy::followed(cluster, &observed.references))
            .unwrap_or_default();
        let has_errors = findings.iter().any(Finding::is_error);
        outcome.findings = findings;
        if conduct.release && !conduct.paused {
            let released = self.writer.release(owner).await.map_err(ReconcileError::Apply)?;
            outcome.released = true;
            return Ok(outcome.add(released));
        }
        match cluster {
            Some(cluster) if early.is_some() && !conduct.paused => {
                outcome.pending = true;
                self.verified(&cluster, outcome).await?;
                Ok(early)
            }
            Some(cluster) if !conduct.paused => {
                let again = self.keep(&cluster, conduct, observed, outcome).await?;
                if !has_errors {
                    return Ok(again);
                }
                self.observer.invalidate(owner.namespace, owner.name);
                Ok(Some(again.map_or(UNTIL_MENDED, |again| again.min(UNTIL_MENDED))))
            }
            Some(cluster) => {
                self.verified(&cluster, outcome).await?;
                Ok(None)
            }
            None => self.without_cluster(owner, conduct, outcome).await,
        }
    }

    /// In mode observe: nothing is written, and the references of a resource are not checked, whatever controller manages it.
    async fn look(
        &self,
        object: &DynamicObject,
        mut resource: Postgresql,
        found: Vec<Finding>,
        version: Option<Version>,
        outcome: &mut ReconcileOutcome,
    ) -> Result<Option<Duration>, ReconcileError> {
        // CPO has no repo host for it.
        resource.metadata.annotations.get_or_insert_default().remove(labels::BACKUP_STANDBY);
        let resource = &resource;
        let secret = self.observer.secret(resource).await;
        let facts = secret.as_ref().map(|(facts, _)| facts.clone()).unwrap_or_default();
        let conflicts = self.compare_all_in_use(object, resource, facts);
        let references = References { version, conflicts, ..References::default() };
        let (cluster, findings) = validate::judge(resource, found, &references, &self.settings);
        let secret = secret.map(|(_, words)| words.options);
        let cluster = cluster.map(Arc::new);
        outcome.look = Look::of(cluster.as_ref());
        outcome.collect = match cluster {
            Some(cluster) => {
                let secret = secret.map_err(ReconcileError::Observe)?;
                Collect::Of(Box::new(Subject::of(&cluster, &self.settings, &secret)))
            }
            None if asks_for_nothing(&findings) => {
                outcome.look = Look::Nothing;
                Collect::Nothing
            }
            None => Subject::of_invalid(resource, &self.settings, &secret.unwrap_or_default())
                .map_or(Collect::AsBefore, |subject| Collect::Of(Box::new(subject))),
        };
        outcome.findings = findings;
        Ok(None)
    }

    /// There is nothing to build, because the resource configures no backup or has errors that affect everything. Then
    /// existing objects stay as they are.
    async fn without_cluster(
        &self,
        owner: Owner<'_>,
        conduct: Conduct,
        outcome: &mut ReconcileOutcome,
    ) -> Result<Option<Duration>, ReconcileError> {
        if !asks_for_nothing(&outcome.findings) {
            self.observer.invalidate(owner.namespace, owner.name);
            outcome.findings.extend(self.verifications.last_findings(owner.namespace, owner.name));
            return Ok(Some(UNTIL_MENDED));
        }
        (outcome.collect, outcome.look) = (Collect::Nothing, Look::Nothing);
        if conduct.paused {
            return Ok(None);
        }
        let withdrawn = self.writer.withdraw(owner, conduct.authorize_removal).await;
        Ok(outcome.add(withdrawn.map_err(ReconcileError::Apply)?))
    }

    /// Builds and applies objects, and ensures stanzas and servers.
    async fn keep(
        &self,
        cluster: &ValidatedCluster,
        conduct: Conduct,
        observed: Observed,
        outcome: &mut ReconcileOutcome,
    ) -> Result<Option<Duration>, ReconcileError> {
        let mut again = Vec::new();
        let mut pem = None;
        let mut families = IpFamilies::default();
        if cluster.needs_repo_host() {
            families = self.families(cluster, conduct, &observed, outcome).await?;
            pem = Some(self.certificates(cluster, families, &observed, outcome, &mut again)?);
        }
        let repo_hashes = desired::repo_hashes(cluster, &self.settings);
        let verifications = self.verified(cluster, outcome).await?;
        let build = |record: &Record| -> Desired {
            let waiting = stanza::waiting(cluster, &repo_hashes, record);
            let (certificates, record) = (pem.clone(), record.clone());
            let verifications = verifications.clone();
            let inputs = BuildInputs { certificates, waiting, record, families, verifications };
            desired::build(cluster, &self.settings, &inputs)
        };
        let desired = build(&observed.record);
        again.extend(outcome.add(self.apply(cluster, &desired, conduct).await?));
        if stanza::is_due(cluster, &repo_hashes, &desired, &observed.record) {
            let ensured = stanza::ensure(
                &self.client,
                cluster,
                &self.settings,
                &repo_hashes,
                &desired,
                &observed.record,
            )
            .await;
            outcome.findings.extend(ensured.findings);
            outcome.actions.extend(ensured.actions);
            outcome.pending |= ensured.again_after.is_some();
            again.extend(ensured.again_after);
            // First the backups, then the record that they were started: the same request creates only one Job.
            for due in &ensured.due {
                self.start(cluster, due, outcome).await?;
            }
            if ensured.record != observed.record {
                again.extend(outcome.add(self.apply(cluster, &build(&ensured.record), conduct).await?));
            }
        }
        Ok(again.into_iter().min())
    }

    /// What is known of verifications, and of those that have ended since.
    async fn verified(
        &self,
        cluster: &ValidatedCluster,
        outcome: &mut ReconcileOutcome,
    ) -> Result<VerifyInputs, ReconcileError> {
        let known = self.verifications.look(cluster, Utc::now()).await.map_err(ReconcileError::Observe)?;
        outcome.verifications = Some(known.records);
        outcome.findings.extend(known.findings);
        Ok(known.inputs)
    }

    /// The families of addresses by which pods reach each other. The API server chooses them when it creates the Service of
    /// the pods, so that must exist first.
    async fn families(
        &self,
        cluster: &ValidatedCluster,
        conduct: Conduct,
        observed: &Observed,
        outcome: &mut ReconcileOutcome,
    ) -> Result<IpFamilies, ReconcileError> {
        if let Some(families) = observed.references.families {
            return Ok(families);
        }
        let service = desired::pods_service(cluster, &self.settings);
        let applied = self.writer.apply_first(cluster, &service, conduct).await;
        outcome.add(applied.map_err(ReconcileError::Apply)?);
        let families = self.observer.families(cluster).await.map_err(ReconcileError::Observe)?;
        Ok(families.unwrap_or_default())
    }

    fn certificates(
        &self,
        cluster: &ValidatedCluster,
        families: IpFamilies,
        observed: &Observed,
        outcome: &mut ReconcileOutcome,
        again: &mut Vec<Duration>,
    ) -> Result<CertificatePem, ReconcileError> {
        let now = Utc::now();
        let stored = observed.stored.as_ref();
        let in_use = stored
            .and_then(Stored::pem)
            .and_then(|pem| desired::servers_hash(cluster, &self.settings, families, &pem));
        let reloaded = in_use.is_some() && in_use == observed.record.servers;
        let made = certificates::renew(cluster, &self.settings, stored, reloaded, now)?;
        outcome.actions.extend(made.actions);
        outcome.expiries.extend(made.expiries.into_iter().map(|(name, end)| (name.to_owned(), end)));
        again.push((made.next - now).to_std().unwrap_or_default());
        Ok(made.pem)
    }

    async fn apply(
        &self,
        cluster: &ValidatedCluster,
        desired: &Desired,
        conduct: Conduct,
    ) -> Result<Applied, ReconcileError> {
        self.writer.apply(cluster, desired, conduct).await.map_err(ReconcileError::Apply)
    }

    async fn start(
        &self,
        cluster: &ValidatedCluster,
        due: &stanza::DueBackup,
        outcome: &mut ReconcileOutcome,
    ) -> Result<(), ReconcileError> {
        let job = desired::one_time_job(cluster, &self.settings, due.repo, due.backup_type, &due.token);
        let Some(job) = job else { return Ok(()) };
        if self.writer.create_job(&job).await.map_err(ReconcileError::Job)? {
            let name = job.metadata.name.as_deref().unwrap_or_default();
            let kind = due.backup_type.as_str();
            outcome.actions.push(Action::new(
                "BackupStarted",
                format!("started a {kind} backup into {} as Job {name}", due.repo),
            ));
        }
        Ok(())
    }
}

/// The resource is valid, but configures no backup.
fn asks_for_nothing(findings: &[Finding]) -> bool {
    let is_so = |finding: &Finding| *finding.code == codes::NO_BACKUP || *finding.code == codes::NO_REPOS;
    !findings.iter().any(Finding::is_error) && findings.iter().any(is_so)
}
