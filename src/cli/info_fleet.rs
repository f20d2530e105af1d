//! `info` for clusters in Kubernetes: reads their resources, and queries each pgBackRest once through exec in its pods.
//! Read-only: writes neither objects nor statuses.

use std::collections::BTreeMap;
use std::future::ready;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{anyhow, bail};
use chrono::{DateTime, Utc};
use futures_util::StreamExt;
use futures_util::stream;
use kube::Client;
use kube::core::DynamicObject;

use crate::cluster::finding::{Finding, codes};
use crate::cluster::key::Key;
use crate::cluster::labels;
use crate::cluster::references::References;
use crate::cluster::settings::Settings;
use crate::cluster::{target, validate};
use crate::collect::fleet::{self, Pace, Subject};
use crate::kubernetes::client::{self, CallFailure};
use crate::operator;
use crate::operator::observe::secret;
use crate::operator::resources::{self, ListError};
use crate::operator::restore_tests::records;
use crate::operator::scope::Scope;
use crate::pgbackrest::command::Program;
use crate::pgbackrest::conf::Conf;
use crate::source::call;
use crate::source::histories;
use crate::source::in_pod::InPod;
use crate::source::pod::{Place, Pods, RunInPod};
use crate::source::pods::FindPods;
use crate::source::primary;
use crate::source::process::Limits;
use crate::state::{restore, restore_tests, verifications};

use super::args::info::{ClusterName, FleetInfoArgs};
use super::fleet_report::{self, ClusterReport, QueryResult};
use super::info_table::Terminal;
use super::output::{self, Format, advise, terminal};
use super::restore_command::{self, Advice, Wish};
use super::settings::wal_once;

/// The requested output.
#[derive(Debug, Clone)]
pub(super) enum Wanted {
    /// The state, in this format.
    Facts(Format),
    /// The commands that restore to a point in time.
    RestoreCommand(Wish),
}

/// Exit code 0: every pgBackRest answered every query. 1: one did not, or a resource is invalid; what is known is
/// printed anyway.
pub(super) async fn run(
    args: FleetInfoArgs,
    timeout: Option<Duration>,
    lists_wal: bool,
    wanted: Wanted,
) -> anyhow::Result<ExitCode> {
    let scopes = Scope::of(&args.places());
    let client = client::connect(&args.kubernetes.clone().into()).await.map_err(|error| {
        let here = "without them, --kubernetes, --namespaces and CLUSTER, pgBackRest on this host is queried";
        anyhow!("{error}; check --kubeconfig and --context ({here})")
    })?;
    let found = resources::list(&client, &scopes).await.map_err(|error| unlisted(&error, &scopes))?;
    let chosen = chosen(found, &args.clusters, &scopes)?;
    if let (Wanted::RestoreCommand(_), [_, _, ..] | []) = (&wanted, chosen.as_slice()) {
        bail!("--restore-command takes one cluster, but {} match; specify one: NAMESPACE/NAME", chosen.len());
    }
    let concurrency = usize::from(args.concurrency.collect_concurrency);
    let pace = |wal| Pace::new(Pace::USUAL_INTERVAL, timeout, concurrency, None).with_wal(wal_once(wal));
    let (settings, pods) = (Settings::from(args.labels), Pods::new(client.clone()));
    let secrets = secrets(&client, &chosen, concurrency).await;
    let mut fleet = ask(&pods, chosen.clone(), &secrets, &settings, pace(lists_wal)).await;
    add_results(&client, &scopes, &mut fleet).await?;
    let limits = &pace(false).limits;
    if let (Wanted::RestoreCommand(_), false, [one]) = (&wanted, lists_wal, fleet.as_slice())
        && needs_scan(&pods, one, &settings, limits).await
    {
        fleet = ask(&pods, chosen, &secrets, &settings, pace(true)).await;
        add_results(&client, &scopes, &mut fleet).await?;
    }
    let text = match (wanted, fleet.as_slice()) {
        (Wanted::RestoreCommand(wish), [one, ..]) => {
            return advise(&restore_advice(&pods, one, &settings, &wish, limits, Utc::now()).await);
        }
        (Wanted::Facts(Format::Json), fleet) => fleet_report::json(fleet, Utc::now())?,
        (_, fleet) => fleet_report::text(fleet, Utc::now(), terminal()),
    };
    output::print(&text)?;
    Ok(if fleet.iter().all(ClusterReport::is_whole) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What restore tests have shown, from the statuses of their resources, and verifications, from their ConfigMaps.
async fn add_results(client: &Client, scopes: &[Scope], fleet: &mut [ClusterReport]) -> anyhow::Result<()> {
    let of_tests = records::list(client, scopes).await?;
    let known = fleet.iter().filter(|report| report.facts().is_some()).map(|report| &report.key);
    let of_verifications = operator::verifications::list(client, known).await?;
    for report in fleet {
        let QueryResult::Facts(snapshot) = &mut report.result else { continue };
        if let Some(records) = of_tests.get(&report.key) {
            restore_tests::judge_into(snapshot, records);
        }
        if let Some(records) = of_verifications.get(&report.key) {
            verifications::judge_into(snapshot, records);
        }
    }
    Ok(())
}

/// pgBackRest's options from the Secrets of the resources, if they may be read.
pub async fn secrets(
    client: &Client,
    resources: &[(Key, DynamicObject)],
    concurrency: usize,
) -> BTreeMap<Key, Conf> {
    let reads = resources.iter().map(|(key, object)| async move {
        let (resource, _) = validate::read(serde_json::to_value(object).unwrap_or_default());
        match secret::options_of(client, &resource).await {
            Ok(options) => Some((key.clone(), options)),
            Err(error) => {
                tracing::warn!(
                    namespace = key.namespace,
                    pg_cluster = key.name,
                    %error,
                    "Failed to read Secret; reporting storage and retention without it"
                );
                None
            }
        }
    });
    stream::iter(reads).buffer_unordered(concurrency.max(1)).filter_map(ready).collect().await
}

/// Queries each cluster once, and returns the results sorted by namespace and name.
pub async fn ask<P: FindPods + RunInPod + Clone + Send>(
    pods: &P,
    resources: Vec<(Key, DynamicObject)>,
    secrets: &BTreeMap<Key, Conf>,
    settings: &Settings,
    pace: Pace,
) -> Vec<ClusterReport> {
    let none = Conf::default();
    let (mut report, mut asked, mut errors) = (Vec::new(), Vec::new(), BTreeMap::new());
    for (key, object) in resources {
        let document = serde_json::to_value(object).unwrap_or_default();
        // References matter only when managing the objects.
        let (resource, found) = validate::read(document);
        let secret = secrets.get(&key).unwrap_or(&none);
        let (cluster, mut findings) = validate::judge(&resource, found, &References::default(), settings);
        let is_invalid = findings.iter().any(Finding::is_error);
        let subject = match cluster {
            Some(cluster) => Some(Subject::of(&cluster, settings, secret)),
            None if is_invalid => Subject::of_invalid(&resource, settings, secret),
            None => None,
        };
        let is_reason =
            |finding: &Finding| *finding.code == codes::NO_BACKUP || *finding.code == codes::NO_REPOS;
        findings.retain(|finding| if is_invalid { finding.is_error() } else { is_reason(finding) });
        if let Some(subject) = subject {
            asked.push((key.clone(), subject));
            errors.insert(key, findings);
        } else {
            let result = if is_invalid { QueryResult::Invalid } else { QueryResult::WithoutBackups };
            report.push(ClusterReport { key, result, findings });
        }
    }
    let answers = fleet::once(pods, asked, settings, pace).await;
    report.extend(answers.into_iter().map(|(key, snapshot)| {
        let findings = errors.remove(&key).unwrap_or_default();
        ClusterReport { key, result: QueryResult::Facts(Box::new(snapshot)), findings }
    }));
    report.sort_by(|a, b| a.key.cmp(&b.key));
    report
}

/// The named clusters, or all if none is named. Each name must match at least one.
fn chosen(
    found: Vec<DynamicObject>,
    names: &[ClusterName],
    scopes: &[Scope],
) -> anyhow::Result<Vec<(Key, DynamicObject)>> {
    let mut all: Vec<_> = found.into_iter().filter_map(|object| Some((Key::of(&object)?, object))).collect();
    if let Some(unknown) = names.iter().find(|name| !all.iter().any(|(key, _)| name.fits(key))) {
        bail!("no postgresql resource {unknown} in {}; omit CLUSTER to show all", places(scopes));
    }
    all.retain(|(key, _)| names.is_empty() || names.iter().any(|name| name.fits(key)));
    Ok(all)
}

fn places(scopes: &[Scope]) -> String {
    scopes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn unlisted(error: &ListError, scopes: &[Scope]) -> anyhow::Error {
    let remedy = match error {
        ListError::Call(call) => match call.failure {
            CallFailure::NotFound => {
                "the resource is not defined there: check --context, or install deploy/base"
            }
            CallFailure::Forbidden if scopes == [Scope::All] => {
                "limit the query to namespaces that you may read with --namespaces, or use another --context"
            }
            CallFailure::Forbidden => "use another --context or --kubeconfig, or request the permission",
            _ => "check --kubeconfig and --context",
        },
        ListError::TooMany(..) => "limit the query with --namespaces",
    };
    anyhow!("{error}; {remedy}")
}

/// The restore commands of one cluster, with where to run it.
pub async fn restore_advice(
    pods: &(impl FindPods + RunInPod),
    report: &ClusterReport,
    settings: &Settings,
    wish: &Wish,
    limits: &Limits,
    now: DateTime<Utc>,
) -> Advice {
    let snapshot = match &report.result {
        QueryResult::Facts(snapshot) if !snapshot.stanzas.is_empty() => snapshot,
        _ => {
            let plain = Terminal { has_colours: false, ..terminal() };
            let why = fleet_report::text(std::slice::from_ref(report), now, plain);
            return Advice::none(format!("no restore command for {why}"));
        }
    };
    let program = Program { binary: "pgbackrest".into(), config: None, config_include_path: None };
    let mut advice = restore_command::advice(snapshot, &program, wish, now);
    let Some(query) = &advice.backup else { return advice };
    let key = &report.key;
    let primary = primary(pods, key, settings).await;
    if let Some(primary) = &primary {
        let outside = call::outside_files(&in_pod(pods, key, primary, settings), query, limits).await;
        advice.remarks.push_str(&restore_command::outside_remarks(&outside, &wish.copy));
    }
    advice.remarks.push_str(&place(key, primary.as_deref(), settings));
    advice
}

/// The same as [`histories::needs_scan`], with pgBackRest in the pod of the current primary.
async fn needs_scan(
    pods: &(impl FindPods + RunInPod),
    report: &ClusterReport,
    settings: &Settings,
    limits: &Limits,
) -> bool {
    let Some(snapshot) = report.facts() else { return false };
    match primary(pods, &report.key, settings).await {
        Some(primary) => {
            histories::needs_scan(snapshot, &in_pod(pods, &report.key, &primary, settings), limits).await
        }
        None => snapshot.stanzas.iter().any(restore::needs_scan),
    }
}

/// Name of the pod of the current primary.
async fn primary(pods: &(impl FindPods + RunInPod), key: &Key, settings: &Settings) -> Option<String> {
    let selector = labels::selector_text(&labels::cluster_selector(&key.name, settings));
    let found = pods.find(&key.namespace, &selector).await.unwrap_or_default();
    let chosen = target::primary(&found, &key.name, settings);
    let container = &settings.database_container;
    primary::confirmed(pods, chosen, &found, &key.namespace, container).await.ok().map(|pod| pod.name.clone())
}

fn in_pod<'a, P>(pods: &'a P, key: &Key, pod: &str, settings: &Settings) -> InPod<'a, P> {
    let container = &settings.database_container;
    InPod::new(pods, Place { namespace: &key.namespace, pod, container })
}

/// Where to run the restore commands.
fn place(key: &Key, primary: Option<&str>, settings: &Settings) -> String {
    let pod = match primary {
        Some(primary) => format!("pod {primary}, the current primary"),
        None => "the PostgreSQL pod whose data directory is to be restored; no primary is ready".to_owned(),
    };
    format!(
        "run them in namespace {}, in container {} of {pod}; pause whatever starts PostgreSQL there, such as Patroni\n",
        key.namespace, settings.database_container
    )
}
