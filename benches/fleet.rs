//! Collects from a fleet of 1,000 clusters through slow commands, and serves the results.
//!
//! `make bench` runs it. The pods are simulated: a command takes as long as one through an API server does, and prints what
//! pgBackRest prints for a repository with 30 backups. `FLEET_CLUSTERS` and `FLEET_LATENCY_MS` make it smaller for a check.
//! Absolute figures depend on the machine.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a program that measures prints, and may stop at the first thing that is off"
)]

mod report;
mod usage;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use pgbackrest_keeper::cluster::key::Key;
use pgbackrest_keeper::cluster::labels;
use pgbackrest_keeper::cluster::settings::Settings;
use pgbackrest_keeper::cluster::target::Pod;
use pgbackrest_keeper::collect::fleet::{AskedRepo, FleetCollector, Pace, Subject};
use pgbackrest_keeper::collect::store::Store;
use pgbackrest_keeper::kubernetes::client::CallError;
use pgbackrest_keeper::memory::Bounds;
use pgbackrest_keeper::metrics::exposition::{
    ClusterMetrics, Dynamic, Format, StaticPart, dynamic_part, gzip, plain,
};
use pgbackrest_keeper::metrics::operator::Judgement;
use pgbackrest_keeper::metrics::options::BackupDetail;
use pgbackrest_keeper::metrics::{CollectionMetrics, OperatorMetrics, Options};
use pgbackrest_keeper::pgbackrest::label::BackupType;
use pgbackrest_keeper::source::pod::{NoEnd, Place, Ran, RunInPod};
use pgbackrest_keeper::source::pods::FindPods;
use pgbackrest_keeper::state::jobs::{
    ClusterKey, CronFact, JobEnd, JobFact, JobFailure, Slot, Suspension, Trigger,
};
use report::{Better, Figure, Report};
use usage::Usage;

/// What the program runs with.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const REPOS: u32 = 3;
const BACKUPS: u64 = 30;
const SCRAPES: usize = 200;
/// What a round took is free again, and the allocator has returned it.
const UNTIL_FREE: Duration = Duration::from_secs(10);
/// One in so many commands hangs until its timeout.
const HANGS: u64 = 200;

/// Pods of every cluster, in which commands take their time.
struct Simulated {
    latency: Duration,
    calls: Arc<AtomicU64>,
    settings: Settings,
    documents: Vec<Vec<u8>>,
}

impl FindPods for Simulated {
    async fn find(&self, _namespace: &str, selector: &str) -> Result<Vec<Pod>, CallError> {
        tokio::time::sleep(self.latency / 10).await;
        let key = format!("{}=", self.settings.cluster_name_label);
        let name = selector.split(',').find_map(|pair| pair.strip_prefix(&key)).unwrap();
        let pod = |suffix: &str, labels| Pod {
            name: format!("{name}-{suffix}"),
            labels,
            running: true,
            ready: true,
            ..Pod::default()
        };
        let mut of_primary = labels::cluster_selector(name, &self.settings);
        of_primary.insert(self.settings.role_label.clone(), "master".to_owned());
        Ok(vec![pod("0", of_primary), pod("host", labels::repo_host_selector(name, &self.settings))])
    }
}

impl RunInPod for Simulated {
    async fn run(&self, _: Place<'_>, command: &[&str], timeout: Duration) -> Result<Ran, NoEnd> {
        let repo: Option<usize> =
            command.iter().find_map(|word| word.strip_prefix("--repo=")).and_then(|repo| repo.parse().ok());
        let stdout =
            repo.map_or_else(|| b"pgBackRest 2.55.1\n".to_vec(), |repo| self.documents[repo - 1].clone());
        if self.calls.fetch_add(1, Ordering::Relaxed) % HANGS == HANGS - 1 {
            tokio::time::sleep(timeout).await;
            return Err(NoEnd::TimedOut(timeout));
        }
        tokio::time::sleep(self.latency).await;
        Ok(Ran { code: 0, stdout: stdout.into(), stderr: String::new() })
    }
}

#[tokio::main(worker_threads = 2)]
async fn main() {
    let of = |name: &str, usual: u64| std::env::var(name).map_or(usual, |value| value.parse().unwrap());
    let clusters = of("FLEET_CLUSTERS", 1000);
    let latency = Duration::from_millis(of("FLEET_LATENCY_MS", 500));
    let options = Options { compat: false, backup_detail: BackupDetail::None, ..Options::default() };
    let options = Arc::new(options);
    let store = Arc::new(Store::new(Arc::clone(&options)).unwrap());
    let collection = Arc::new(CollectionMetrics::in_pods());
    let pace = Pace::default();
    let poller = FleetCollector::new(Arc::clone(&store), Arc::default(), pace, Arc::clone(&collection));
    let poller = Arc::new(poller);
    let calls = Arc::new(AtomicU64::new(0));
    let pods = Simulated {
        latency,
        calls: Arc::clone(&calls),
        settings: Settings::default(),
        documents: (1..=REPOS).map(|repo| document(repo).into_bytes()).collect(),
    };

    let (before, began) = (used(), Instant::now());
    let polling = tokio::spawn(Arc::clone(&poller).run(pods));
    for number in 0..clusters {
        poller.set(&Key::new("fleet", &format!("cluster-{number}")), subject());
    }
    while store.load().fleet.clusters.len() < clusters as usize {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (wall, cpu) = (began.elapsed(), used().cpu_seconds - before.cpu_seconds);
    tokio::time::sleep(UNTIL_FREE).await;
    let grown = used().settled_mib - before.settled_mib;
    let case = format!(
        "{clusters} clusters of {REPOS} repos with {BACKUPS} backups each, commands of {latency:?}, {} at once",
        pace.concurrency
    );
    let figure = |name: &str, unit, value: f64| Figure::new(name, unit, &[value]);
    let figures = vec![
        figure("one round", "s", wall.as_secs_f64()),
        figure("commands", "", calls.load(Ordering::Relaxed) as f64),
        figure("series", "", store.load().body.series() as f64).better(Better::Neither),
        figure("CPU per round", "s", cpu),
        figure("memory per cluster", "KiB", grown * 1024.0 / clusters as f64),
    ];
    let mut report = Report::new("fleet");
    report.add(&case, figures);
    polling.abort();
    let _ = polling.await;
    scrapes(&store, &collection, &options, clusters, &mut report);
    report.write().unwrap();
}

fn subject() -> Subject {
    let repo = |key| AskedRepo { key, on_volume: key == 1, on_repo_host: key == 1, settings: None };
    Subject { instances: 1, repos: (1..=REPOS).map(repo).collect(), ..Subject::default() }
}

/// What `info` says of one repository.
fn document(repo: u32) -> String {
    let now = Utc::now().timestamp();
    let mut backups = String::new();
    let first = chrono::DateTime::from_timestamp(now - 30 * 86_400, 0).unwrap().format("%Y%m%d-%H%M%SF");
    for number in 0..BACKUPS {
        let stop = now - (BACKUPS - number).cast_signed() * 86_400;
        let at = chrono::DateTime::from_timestamp(stop, 0).unwrap();
        let (label, kind, prior) = if number == 0 {
            (first.to_string(), "full", String::from("null"))
        } else {
            (format!("{first}_{}I", at.format("%Y%m%d-%H%M%S")), "incr", format!("\"{first}\""))
        };
        let comma = if number == 0 { "" } else { "," };
        write!(
            backups,
            r#"{comma}{{"label":"{label}","type":"{kind}","prior":{prior},"reference":null,"error":false,
            "archive":{{"start":"0000000100000000000000{number:02X}","stop":"0000000100000000000000{number:02X}"}},
            "backrest":{{"format":5,"version":"2.55.1"}},"database":{{"id":1,"repo-key":{repo}}},
            "lsn":{{"start":"0/{number:X}000028","stop":"0/{number:X}000100"}},
            "info":{{"delta":2369190,"repository":{{"delta":2369190,"size":2369190}},"size":23691900}},
            "timestamp":{{"start":{},"stop":{stop}}}}}"#,
            stop - 60
        )
        .unwrap();
    }
    format!(
        r#"[{{"archive":[{{"database":{{"id":1,"repo-key":{repo}}},"id":"15-1","max":"000000010000000000000020",
        "min":"000000010000000000000000"}}],"backup":[{backups}],"cipher":"none",
        "db":[{{"id":1,"repo-key":{repo},"system-id":7575577330,"version":"15"}}],"name":"db",
        "repo":[{{"cipher":"none","key":{repo},"status":{{"code":0,"message":"ok"}}}}],
        "status":{{"code":0,"lock":{{"backup":{{"held":false}}}},"message":"ok"}}}}]"#
    )
}

/// What reconciles and the watches of Jobs have told of a cluster: a full backup at night and an incremental one every
/// six hours for each repo, all of which have run, and one in ten of which has failed once.
fn happens(operator: &OperatorMetrics, number: u64) {
    let (name, now) = (format!("cluster-{number}"), Utc::now());
    operator.reconciled("fleet", &name, Ok(()), Duration::from_millis(5), now);
    let kinds =
        ["CertificateSecret", "ConfigMap", "CronJob", "NetworkPolicy", "Role", "Service", "StatefulSet"];
    operator.applied("fleet", &name, &kinds.map(|kind| (kind, true)), &[]);
    let certificate = |name: &str| (name.to_owned(), now + TimeDelta::days(90));
    let judgement = Judgement {
        ok: true,
        status: "Ok",
        findings: BTreeMap::from([(("warning", "retention-unset"), 1)]),
        policies: vec![("encryption", true), ("retention", true)],
        expiries: ["authority", "client", "server"].map(certificate).to_vec(),
        ..Judgement::default()
    };
    operator.judged("fleet", &name, judgement);
    let cluster = ClusterKey::new("fleet", &name);
    let mut timers = Vec::new();
    for repo_key in 1..=REPOS {
        for (backup_type, expression) in [(BackupType::Full, "0 2 * * *"), (BackupType::Incr, "30 */6 * * *")]
        {
            let slot = Slot { repo_key, backup_type };
            timers.push(cron_job(&cluster, slot, expression, now));
            let failures = u64::from((number + u64::from(repo_key)).is_multiple_of(10));
            for (run, hours) in [(0, 9), (1, 3)] {
                let fact = job(&cluster, slot, run, now - TimeDelta::hours(hours), run < failures);
                operator.jobs.job(&fact, true, now);
            }
        }
    }
    operator.jobs.with_index(|index| index.cron_jobs(timers, now));
}

fn cron_job(cluster: &ClusterKey, slot: Slot, expression: &str, now: DateTime<Utc>) -> CronFact {
    let name = format!("pgbackrest-{}-repo{}-{}", cluster.name, slot.repo_key, slot.backup_type.as_str());
    CronFact {
        cluster: cluster.clone(),
        slot,
        uid: name.as_str().into(),
        name: name.as_str().into(),
        expression: expression.into(),
        time_zone: Some("Europe/Vienna".into()),
        suspension: Suspension::None,
        created: now - TimeDelta::days(30),
        deadline: Some(TimeDelta::hours(6)),
        last_success: None,
    }
}

fn job(cluster: &ClusterKey, slot: Slot, run: u64, started: DateTime<Utc>, fails: bool) -> JobFact {
    let failure = fails.then_some(JobFailure { reason: "archive_timeout", exit_code: Some(82) });
    JobFact {
        cluster: cluster.clone(),
        slot,
        uid: format!("{slot} {run}").as_str().into(),
        trigger: Trigger::Schedule,
        started: Some(started),
        failed_pods: u64::from(fails) * 6,
        succeeded_pods: u64::from(!fails),
        end: Some(JobEnd { at: started + TimeDelta::minutes(20), failure }),
    }
}

/// What a scrape costs beside a copy of the same bytes.
fn scrapes(
    store: &Store,
    collection: &Arc<CollectionMetrics>,
    options: &Arc<Options>,
    count: u64,
    report: &mut Report,
) {
    let operator = Arc::new(OperatorMetrics::new(&["apply"]));
    operator.leads(true);
    for number in 0..count {
        happens(&operator, number);
    }
    let published = store.load();
    let began = Instant::now();
    let clusters = ClusterMetrics::new(Arc::clone(&operator));
    clusters.encode(options, Utc::now()).unwrap();
    let took = began.elapsed();
    let format = Format::OpenMetrics;
    let joined = || clusters.joined(&published.body.at(Utc::now(), format).unwrap(), format);
    let of_operator = joined().series() - published.body.series();
    let dynamic = |body: &StaticPart| {
        let parts =
            Dynamic { static_part: body, collection, operator: Some(&operator), process: None, options };
        dynamic_part(&parts, format).unwrap()
    };
    let zipped = || {
        let body = joined();
        gzip(&body, &dynamic(&body)).unwrap().iter().map(Bytes::len).sum::<usize>()
    };
    let text = || {
        let body = joined();
        plain(&body, dynamic(&body), Bounds::of_process().shared_text())
            .unwrap()
            .map(|chunk| chunk.unwrap().len())
            .sum::<usize>()
    };
    let (zipped_body, text_body) = (vec![7_u8; zipped()], vec![7_u8; text()]);
    let mut figures = vec![
        Figure::new("series of the operator", "", &[of_operator as f64]).better(Better::Neither),
        Figure::new("encoding them", "ms", &[milliseconds(took)]),
    ];
    figures.extend(answers("gzip", &zipped_body, zipped));
    figures.extend(answers("text", &text_body, text));
    report.add("scrapes, with series of jobs, schedules and reconciles", figures);
}

/// What an answer costs, and a copy of its body.
fn answers(name: &str, body: &[u8], answer: impl Fn() -> usize) -> [Figure; 3] {
    let times = |work: &dyn Fn() -> usize| {
        let mut times: Vec<f64> = (0..SCRAPES)
            .map(|_| {
                let began = Instant::now();
                assert!(std::hint::black_box(work()) > 0);
                milliseconds(began.elapsed())
            })
            .collect();
        times.sort_by(f64::total_cmp);
        (times[SCRAPES / 2], times[SCRAPES * 99 / 100])
    };
    let (p50, p99) = times(&answer);
    let (copy, slow_copy) = times(&|| std::hint::black_box(body).to_vec().len());
    let figure = |what: &str, unit, value| Figure::new(&format!("{name}, {what}"), unit, &[value]);
    [
        figure("p50", "ms", p50).limit(Some(copy)),
        figure("p99", "ms", p99).limit(Some(slow_copy)),
        figure("body", "MB", body.len() as f64 / 1e6),
    ]
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn used() -> Usage {
    Usage::of(std::process::id()).unwrap()
}
