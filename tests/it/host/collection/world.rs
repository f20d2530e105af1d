//! A fake pgBackRest made of files: one answer or fault per combination of stanza and repository.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use pgbackrest_keeper::collect::host;
use pgbackrest_keeper::collect::settings::Settings;
use pgbackrest_keeper::collect::store::{Published, Store};
use pgbackrest_keeper::metrics::exposition::{Dynamic, Format, dynamic_part};
use pgbackrest_keeper::metrics::{CollectionMetrics, Options};
use pgbackrest_keeper::pgbackrest::command::Program;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::host::fake::{assert_groups_vanish, script};
use crate::support::web::PATIENCE;

/// Looks up `STANZA.REPO[.SET]`, `all` for what was not asked for: runs `….sh` if there is one, then prints the file.
/// A repository without any file is one that is not configured.
const PROGRAM: &str = r#"
here=${0%/*}
echo "$$" >> "$here/numbers"
echo "$*" >> "$here/calls"
[ "$1" = version ] && { cat "$here/version"; exit; }
stanza=all repo=all set=
for argument in "$@"; do
    case $argument in
    --stanza=*) stanza=${argument#*=} ;;
    --repo=*) repo=${argument#*=} ;;
    --set=*) set=.${argument#*=} ;;
    esac
done
answer=$here/answers/$stanza.$repo$set
[ -e "$answer.sh" ] && . "$answer.sh"
[ -e "$answer" ] && exec cat "$answer"
echo "ERROR: [032]: key '$repo' is not valid for 'repo' option" >&2
exit 32
"#;

/// The files.
pub(super) struct World {
    directory: TempDir,
    pub(super) program: PathBuf,
}

impl World {
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("answers")).unwrap();
        std::fs::write(directory.path().join("version"), "pgBackRest 2.45\n").unwrap();
        std::fs::write(directory.path().join("pgbackrest.conf"), "[global]\n").unwrap();
        let program = script(directory.path(), "pgbackrest", PROGRAM);
        Self { directory, program }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// All calls for these stanzas in these repositories are answered well.
    pub(super) fn answer_all(&self, stanzas: &[String], repos: &[u32]) {
        let one = |name: &String, repos: &[u32]| stanza(name, repos);
        for repo in repos {
            self.answer(&format!("all.{repo}"), &stanzas.iter().map(|name| one(name, &[*repo])).collect());
            for name in stanzas {
                self.answer(&format!("{name}.{repo}"), &json!([one(name, &[*repo])]));
            }
        }
        for name in stanzas {
            self.answer(&format!("{name}.all"), &json!([one(name, repos)]));
        }
        self.answer("all.all", &stanzas.iter().map(|name| one(name, repos)).collect());
    }

    pub(super) fn answer(&self, key: &str, document: &Value) {
        self.answer_raw(key, document.to_string().as_bytes());
    }

    pub(super) fn answer_raw(&self, key: &str, bytes: &[u8]) {
        // In one step, since a call may be on its way.
        let draft = self.path("draft");
        std::fs::write(&draft, bytes).unwrap();
        std::fs::rename(draft, self.path("answers").join(key)).unwrap();
    }

    /// Before it answers for `key` the program does this.
    pub(super) fn misbehave(&self, key: &str, shell: &str) {
        self.answer_raw(&format!("{key}.sh"), format!("{shell}\n").as_bytes());
    }

    pub(super) fn hang(&self, keys: &[&str]) {
        for key in keys {
            self.misbehave(key, "exec sleep 300");
        }
    }

    pub(super) fn behave(&self, key: &str) {
        std::fs::remove_file(self.path("answers").join(format!("{key}.sh"))).unwrap();
    }

    /// Arguments of all calls of `info` so far, in order.
    pub(super) fn calls(&self) -> Vec<String> {
        let calls = std::fs::read_to_string(self.path("calls")).unwrap_or_default();
        calls.lines().filter_map(|line| line.strip_prefix("info ")).map(short).collect()
    }

    pub(super) fn groups(&self) -> Vec<i32> {
        crate::host::fake::numbers_in(&self.path("numbers"))
    }

    pub(super) fn settings(&self, interval_ms: u64, timeout_ms: u64) -> Settings {
        let program = Program {
            binary: self.program.clone(),
            config: Some(self.path("pgbackrest.conf")),
            config_include_path: None,
        };
        let timeout = Some(Duration::from_millis(timeout_ms));
        let mut settings = Settings::new(program, Duration::from_millis(interval_ms), timeout, None);
        settings.pace.limits.grace = Duration::from_millis(200);
        settings
    }
}

/// What is asked for, without what every call has.
fn short(arguments: &str) -> String {
    let is_subject = |argument: &&str| {
        ["--stanza=", "--repo=", "--set="].iter().any(|option| argument.starts_with(option))
    };
    arguments.split_whitespace().filter(is_subject).collect::<Vec<_>>().join(" ")
}

/// One stanza with one full backup in each repository.
pub(super) fn stanza(name: &str, repos: &[u32]) -> Value {
    let per_repo = |of: fn(u32) -> Value| repos.iter().map(|repo| of(*repo)).collect::<Value>();
    json!({
        "name": name,
        "cipher": "none",
        "status": {"code": 0, "message": "ok", "lock": {"backup": {"held": false}}},
        "db": per_repo(|repo| json!({"id": 1, "repo-key": repo, "system-id": 7, "version": "15"})),
        "repo": per_repo(|repo| json!({"key": repo, "cipher": "none", "status": {"code": 0, "message": "ok"}})),
        "archive": per_repo(|repo| json!({
            "database": {"id": 1, "repo-key": repo}, "id": "15-1",
            "min": "000000010000000000000001", "max": "000000010000000000000009",
        })),
        "backup": per_repo(|repo| backup(repo, "20261122-092719F")),
    })
}

pub(super) fn backup(repo: u32, label: &str) -> Value {
    json!({
        "label": label, "type": "full", "timestamp": {"start": 1_795_339_639, "stop": 1_795_339_650},
        "database": {"id": 1, "repo-key": repo}, "backrest": {"format": 5, "version": "2.45"},
        "archive": {"start": "000000010000000000000002", "stop": "000000010000000000000003"},
        "info": {"size": 100, "delta": 100, "repository": {"size": 10, "delta": 10}},
        "prior": null, "reference": null, "error": false,
    })
}

/// A running poller.
pub(super) struct Poll {
    pub(super) store: Arc<Store>,
    metrics: Arc<CollectionMetrics>,
    pub(super) reload: Arc<Notify>,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Poll {
    pub(super) fn start(settings: Settings) -> Self {
        let store = Arc::new(Store::new(Arc::new(Options::default())).unwrap());
        let (metrics, reload) = (Arc::new(CollectionMetrics::new()), Arc::new(Notify::new()));
        let shutdown = CancellationToken::new();
        let run = host::run(settings, store.clone(), metrics.clone(), reload.clone(), shutdown.clone());
        Self { store, metrics, reload, shutdown, task: tokio::spawn(run) }
    }

    /// Waits until what is published is as it should be.
    pub(super) async fn until(&self, what: &str, is_so: impl Fn(&Published) -> bool) -> Arc<Published> {
        let end = Instant::now() + PATIENCE;
        loop {
            let published = self.store.load();
            if is_so(&published) {
                return published;
            }
            assert!(
                Instant::now() < end,
                "waited in vain until {what}: {:#?}",
                published.snapshot.collection
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(super) async fn until_ready(&self) -> Arc<Published> {
        let end = Instant::now() + PATIENCE;
        while !self.store.ready() {
            assert!(Instant::now() < end, "no run has ended");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.store.load()
    }

    /// The value of a series that changes from scrape to scrape, by its line without the value.
    pub(super) fn metric(&self, series: &str) -> Option<f64> {
        let published = self.store.load();
        let dynamic = Dynamic {
            static_part: &published.body,
            collection: &self.metrics,
            operator: None,
            process: None,
            options: &Arc::new(Options::default()),
        };
        let text = dynamic_part(&dynamic, Format::Classic).unwrap();
        text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
    }

    /// Ends the poller in order, without waiting for what hangs; nothing of it stays behind.
    pub(super) async fn stop(self, world: &World) {
        self.shutdown.cancel();
        tokio::time::timeout(PATIENCE, self.task).await.expect("it ends").unwrap();
        assert_groups_vanish(&world.groups());
    }

    /// Drops the poller where it stands.
    pub(super) async fn drop_it(self, world: &World) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
        assert_groups_vanish(&world.groups());
    }
}

/// Where the exact outputs of pgBackRest are kept.
pub(super) fn raw_fixture(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/info").join(name)).unwrap()
}
