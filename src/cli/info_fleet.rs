//! `info` of clusters in Kubernetes: reads their resources, and asks each pgBackRest once by exec in its pods. Reads
//! alone: neither an object nor a status is written.

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
use crate::operator::observe::secret;
use crate::operator::resources::{self, ListError};
use crate::operator::scope::Scope;
use crate::pgbackrest::command::Program;
use crate::pgbackrest::conf::Conf;
use crate::source::pod::{Pods, RunInPod};
use crate::source::pods::FindPods;

use super::args::info::{ClusterName, FleetInfoArgs};
use super::fleet_report::{self, Known, Told};
use super::info::{Output, advise, terminal};
use super::info_table::Terminal;
use super::output;
use super::restore_command::{self, Advice};
use super::settings::wal_once;

/// What is to be printed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wanted {
    /// What is known, in this form.
    Facts(Output),
    /// The command that restores to this time.
    RestoreCommand(DateTime<Utc>),
}

/// Exit code 0: each pgBackRest answered for all that was asked. 1: one did not, or a resource is not valid; what is
/// known is printed all the same.
pub(super) async fn run(
    args: FleetInfoArgs,
    timeout: Option<Duration>,
    lists_wal: bool,
    wanted: Wanted,
) -> anyhow::Result<ExitCode> {
    let scopes = Scope::of(&args.places());
    let client = client::connect(&args.kubernetes.clone().into()).await.map_err(|error| {
        let here = "without them, --kubernetes, --namespaces and CLUSTER pgBackRest on this host is asked";
        anyhow!("{error}; check --kubeconfig and --context ({here})")
    })?;
    let found = resources::list(&client, &scopes).await.map_err(|error| unlisted(&error, &scopes))?;
    let chosen = chosen(found, &args.clusters, &scopes)?;
    if let (Wanted::RestoreCommand(_), [_, _, ..] | []) = (wanted, chosen.as_slice()) {
        bail!("--restore-command is for one cluster, and {} fit; name one: NAMESPACE/NAME", chosen.len());
    }
    let concurrency = usize::from(args.concurrency.collect_concurrency);
    let pace = Pace::new(Pace::USUAL_INTERVAL, timeout, concurrency, None).with_wal(wal_once(lists_wal));
    let (settings, pods) = (Settings::from(args.labels), Pods::new(client.clone()));
    let secrets = secrets(&client, &chosen, concurrency).await;
    let fleet = ask(&pods, chosen, &secrets, &settings, pace).await;
    let text = match (wanted, fleet.as_slice()) {
        (Wanted::RestoreCommand(target), [one, ..]) => {
            return advise(&restore_advice(&pods, one, &settings, target, Utc::now()).await);
        }
        (Wanted::Facts(Output::Json), fleet) => fleet_report::json(fleet, Utc::now())?,
        (_, fleet) => fleet_report::text(fleet, Utc::now(), terminal()),
    };
    output::print(text.as_bytes())?;
    Ok(if fleet.iter().all(Told::is_whole) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// pgBackRest's options in the Secrets that the resources name, as far as those may be read.
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
                tracing::warn!("storage and retention of {key} are told without its Secret: {error}");
                None
            }
        }
    });
    stream::iter(reads).buffer_unordered(concurrency.max(1)).filter_map(ready).collect().await
}

/// Asks each of the clusters once, and gives back what is known of them by namespace and name.
pub async fn ask<P: FindPods + RunInPod>(
    pods: &P,
    resources: Vec<(Key, DynamicObject)>,
    secrets: &BTreeMap<Key, Conf>,
    settings: &Settings,
    pace: Pace,
) -> Vec<Told> {
    let none = Conf::default();
    let (mut told, mut asked) = (Vec::new(), Vec::new());
    for (key, object) in resources {
        let document = serde_json::to_value(object).unwrap_or_default();
        // What they refer to matters to those who keep the objects.
        match validate::document(document, &References::default(), settings) {
            (Some(cluster), _) => {
                let subject = Subject::of(&cluster, settings, secrets.get(&key).unwrap_or(&none));
                asked.push((key, subject));
            }
            (None, findings) => told.push(Told { key, known: unasked(findings) }),
        }
    }
    let answers = fleet::once(pods, asked, settings, pace).await;
    told.extend(
        answers.into_iter().map(|(key, snapshot)| Told { key, known: Known::Facts(Box::new(snapshot)) }),
    );
    told.sort_by(|a, b| a.key.cmp(&b.key));
    told
}

fn unasked(mut findings: Vec<Finding>) -> Known {
    if findings.iter().any(Finding::is_error) {
        findings.retain(Finding::is_error);
        return Known::Invalid(findings);
    }
    findings.retain(|finding| *finding.code == codes::NO_BACKUP || *finding.code == codes::NO_REPOS);
    Known::WithoutBackups(findings)
}

/// Those that are named; all where none is. Each name must fit one at least.
fn chosen(
    found: Vec<DynamicObject>,
    names: &[ClusterName],
    scopes: &[Scope],
) -> anyhow::Result<Vec<(Key, DynamicObject)>> {
    let mut all: Vec<_> = found.into_iter().filter_map(|object| Some((Key::of(&object)?, object))).collect();
    if let Some(unknown) = names.iter().find(|name| !all.iter().any(|(key, _)| name.fits(key))) {
        bail!(
            "there is no postgresql resource {unknown} in {}; without CLUSTER all are shown",
            places(scopes)
        );
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
            CallFailure::NotFound => "the kind is not defined there: check --context, or install deploy/base",
            CallFailure::Forbidden if scopes == [Scope::All] => {
                "name the namespaces that you may read with --namespaces, or use another --context"
            }
            CallFailure::Forbidden => "use another --context or --kubeconfig, or have the right given",
            _ => "check --kubeconfig and --context",
        },
        ListError::TooMany(_) => "name some namespaces with --namespaces",
    };
    anyhow!("{error}; {remedy}")
}

/// The command to restore one cluster, with where it is to be run.
pub async fn restore_advice(
    pods: &impl FindPods,
    told: &Told,
    settings: &Settings,
    target: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Advice {
    let snapshot = match &told.known {
        Known::Facts(snapshot) if !snapshot.stanzas.is_empty() => snapshot,
        _ => {
            let plain = Terminal { has_colours: false, ..terminal() };
            let why = fleet_report::text(std::slice::from_ref(told), now, plain);
            return Advice { command: None, remarks: format!("no command to restore {why}") };
        }
    };
    let program = Program { binary: "pgbackrest".into(), config: None, config_include_path: None };
    let mut advice = restore_command::advice(snapshot, &program, target, now);
    if advice.command.is_some() {
        advice.remarks.push_str(&place(pods, &told.key, settings).await);
    }
    advice
}

/// Where the command to restore is to be run.
async fn place(pods: &impl FindPods, key: &Key, settings: &Settings) -> String {
    let selector = labels::selector_text(&labels::cluster_selector(&key.name, settings));
    let found = pods.find(&key.namespace, &selector).await.unwrap_or_default();
    let pod = match target::primary(&found, &key.name, settings) {
        Ok(primary) => format!("pod {}, the primary now", primary.name),
        Err(_) => "the PostgreSQL pod whose data directory it is to fill; no primary is ready".to_owned(),
    };
    format!(
        "run it in namespace {}, in container {} of {pod}; what starts PostgreSQL there, such as Patroni, must be paused\n",
        key.namespace, settings.database_container
    )
}
