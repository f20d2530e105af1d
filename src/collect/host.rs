//! Collects from this host: runs pgBackRest as a process, and reads its configuration files before each collection.

use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio::sync::{Mutex, Notify};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cluster::key::Key;
use crate::metrics::CollectionMetrics;
use crate::metrics::collection;
use crate::pgbackrest::version::{Product, Version};
use crate::source::archivers::Archivers;
use crate::source::backup_logs::BackupLogs;
use crate::source::config_files::{ConfigFiles, Configuration};
use crate::source::environment::Environment;
use crate::source::leavers;
use crate::source::local::Local;
use crate::source::lock_files::LockFiles;
use crate::source::proofs::ProofFiles;
use crate::source::stop_files::StopFiles;
use crate::state::attempts;
use crate::state::programs::LockFile;
use crate::state::snapshot::Snapshot;
use crate::state::stopped::{StopListing, StopPlace};
use crate::state::test_history::TestHistory;
use crate::state::verification_history::VerificationHistory;

use super::caller::{Caller, Runners, Shared};
use super::registry::Job;
use super::request::{Proofs, Request, Subject};
use super::scheduler::{Scheduler, Site};
use super::settings::{Pace, Settings};
use super::store::Store;

/// This host.
#[derive(Debug)]
struct Host {
    settings: Settings,
    collecting: Arc<Local>,
    scanning: Arc<Local>,
    configuration: Mutex<ConfigurationState>,
}

/// pgBackRest's configuration files, as last read.
#[derive(Debug)]
struct ConfigurationState {
    files: ConfigFiles,
    current: Option<Arc<Configuration>>,
    /// When they were last read without an error, because they had changed or a reload was requested.
    loaded_at: Option<DateTime<Utc>>,
    is_reload: bool,
    /// The program that printed its version last.
    product: Option<Product>,
    lock_files: LockFiles,
    archivers: Archivers,
    stop_files: StopFiles,
    backup_logs: BackupLogs,
    restore_tests: ProofFiles<TestHistory>,
    verifications: ProofFiles<VerificationHistory>,
}

/// Collects until `shutdown`. A notification of `reload` starts a collection, which reads the configuration again.
pub async fn run(
    settings: Settings,
    store: Arc<Store>,
    metrics: Arc<CollectionMetrics>,
    reload: Arc<Notify>,
    shutdown: CancellationToken,
) {
    let host = Arc::new(Host::new(settings, &shutdown));
    let shared = Shared::of_host(host.pace(), metrics, Arc::clone(&store));
    let scheduler = Arc::new(Scheduler::new(store, shared));
    let key = no_name();
    scheduler.registry.set(&key, Subject::default());
    tokio::select! {
        () = scheduler.run(Arc::clone(&host), shutdown) => {}
        () = async {
            loop {
                reload.notified().await;
                host.configuration.lock().await.is_reload = true;
                scheduler.registry.plan(&key, Job::Collect, Instant::now());
            }
        } => {}
        end = leavers::end_with_their_calls() => {
            tracing::error!(error = ?end, "Daemons that calls leave behind are no longer ended");
        }
    }
}

/// Collects once. At `shutdown` it ends early with what is known.
pub async fn once(settings: Settings, shutdown: CancellationToken) -> Arc<Snapshot> {
    let host = Host::new(settings, &shutdown);
    let shared = Shared::new(host.pace(), Arc::new(CollectionMetrics::new()));
    let (key, subject) = (Arc::new(no_name()), Arc::default());
    let (request, runners) = host.prepare(&shared, &key, &subject, Job::Collect).await;
    let caller = Caller { shared: &shared, key: &key, request: &request, runners: &runners };
    let known = parking_lot::Mutex::new(Arc::default());
    caller.collect_once(&|snapshot| *known.lock() = Arc::clone(snapshot)).await;
    known.into_inner()
}

/// For single calls on this host.
#[must_use]
pub fn runner(settings: &Settings, shutdown: &CancellationToken) -> Local {
    let environment = Environment::inherit(&settings.pass_environment);
    Local::new(settings.program.clone(), environment, shutdown.clone())
}

impl Host {
    fn new(settings: Settings, shutdown: &CancellationToken) -> Self {
        let environment = Environment::inherit(&settings.pass_environment);
        // Each has its own memory of the warnings that were logged.
        let local = || runner(&settings, shutdown);
        let files = ConfigFiles::of(&settings.program, &environment);
        let configuration = ConfigurationState {
            files,
            current: None,
            loaded_at: None,
            is_reload: true,
            product: None,
            lock_files: LockFiles::default(),
            archivers: Archivers::default(),
            stop_files: StopFiles::default(),
            backup_logs: BackupLogs::default(),
            restore_tests: ProofFiles::default(),
            verifications: ProofFiles::default(),
        };
        Self {
            collecting: Arc::new(local()),
            scanning: Arc::new(local()),
            configuration: Mutex::new(configuration),
            settings,
        }
    }

    /// Without `info` it is not known which WAL archives there are.
    fn pace(&self) -> Pace {
        Pace { wal: self.settings.pace.wal.filter(|_| self.settings.info), ..self.settings.pace }
    }
}

impl Site for Host {
    async fn prepare<'a>(
        &'a self,
        shared: &'a Shared,
        key: &'a Arc<Key>,
        _subject: &'a Arc<Subject>,
        job: Job,
    ) -> (Request, Runners<'a>) {
        if job == Job::Scan {
            self.scanning.begin_run();
            let configuration = self.configuration.lock().await;
            let (current, health) = (configuration.current.clone(), configuration.files.health());
            let runners = Runners::single(Arc::clone(&self.scanning) as _);
            return (Request::of_host(&self.settings, current, health), runners);
        }
        self.collecting.begin_run();
        let runners = Runners::single(Arc::clone(&self.collecting) as _);
        // It decides where the configuration is, and how info can be asked.
        let unconfigured = Request::of_host(&self.settings, None, None);
        let caller = Caller { shared, key, request: &unconfigured, runners: &runners };
        let version = caller.version(None).await.and_then(Result::ok);
        let mut configuration = self.configuration.lock().await;
        configuration.read(version, &shared.metrics).await;
        let (lock_files, stop_files, backup_logs, proofs) =
            configuration.read_other_files(&self.settings.state_directory).await;
        let current = configuration.current.clone();
        // Before info is called: what is archived by now is in its answer.
        let archivers = configuration.archivers.observe(current.as_deref(), &self.settings.filter).await;
        let mut request = Request::of_host(&self.settings, current, configuration.files.health());
        (request.version, request.backup_logs) = (version, backup_logs);
        request.proofs = proofs;
        request.lock_files = lock_files.into();
        request.stop_places = [StopPlace { pod: None, listing: stop_files }].into();
        request.archivers = Arc::new(archivers);
        (request, runners)
    }
}

impl ConfigurationState {
    /// Lists lock files of other programs, and stop files, and reads the logs of backups and the records.
    async fn read_other_files(
        &mut self,
        state_directory: &Path,
    ) -> (Vec<LockFile>, StopListing, attempts::BackupLogs, Proofs) {
        let Self {
            current, product, lock_files, stop_files, backup_logs, restore_tests, verifications, ..
        } = self;
        let (shared, current) = (current.clone(), current.as_deref());
        let of_others = async {
            match *product {
                Some(product) => lock_files.of_others(product, current).await,
                None => Vec::new(),
            }
        };
        let (lock_files, stop_files, backup_logs, restore_tests, verifications) = tokio::join!(
            of_others,
            stop_files.list(current),
            backup_logs.read(shared),
            restore_tests.read(state_directory.to_owned()),
            verifications.read(state_directory.to_owned())
        );
        (lock_files, stop_files, backup_logs, Proofs { restore_tests, verifications })
    }

    /// Reads the files that have changed. They are those of the program that last said what it is.
    async fn read(&mut self, version: Option<Version>, metrics: &CollectionMetrics) {
        self.product = version.map(|version| version.product).or(self.product);
        let before = self.current.take();
        self.current = self.files.refresh(self.product).await;
        let is_ok = self.files.is_ok();
        let is_same = match (&before, &self.current) {
            (Some(before), Some(now)) => Arc::ptr_eq(before, now),
            (None, None) => self.loaded_at.is_some(),
            _ => false,
        };
        let is_reload = std::mem::take(&mut self.is_reload);
        if is_ok && (is_reload || !is_same) {
            self.loaded_at = Some(Utc::now());
        }
        metrics.config_read(collection::ConfigurationKind::PgBackRest, is_ok, self.loaded_at);
    }
}

/// The key of this host, whose series have no labels of a cluster.
fn no_name() -> Key {
    Key::new("", "")
}
