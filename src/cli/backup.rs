//! `backup`: makes one backup in a pod of the cluster, and exits with its result.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use tokio_util::sync::CancellationToken;

use crate::cluster::labels;
use crate::cluster::settings::Settings;
use crate::cluster::target::PGBACKREST_CONTAINER;
use crate::job::access::ClusterAccess;
use crate::job::deadline;
use crate::job::limits::JobLimits;
use crate::job::outcome::JobOutcome;
use crate::job::run;
use crate::job::task::{Patience, Task};
use crate::kubernetes::client;
use crate::shutdown::{Request, Signals};
use crate::telemetry;

use super::args::backup::{BackupOrder, EndArgs, TargetArg, TargetArgs};
use super::args::log::LogArgs;
use super::args::operator::KubernetesArgs;
use super::startup::Flags;
use super::termination;

/// Arguments of `backup`.
#[derive(Debug, Args)]
pub struct BackupArgs {
    #[command(flatten)]
    order: BackupOrder,
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    end: EndArgs,
    #[command(flatten)]
    kubernetes: KubernetesArgs,
    #[command(flatten)]
    log: LogArgs,
}

/// 0: the backup exists. Otherwise pgBackRest's exit code, or one of `job::outcome::ExitReason`.
pub async fn run(args: BackupArgs, flags: &Flags) -> anyhow::Result<ExitCode> {
    let _logging = telemetry::install(&args.log.level, args.log.format)?;
    flags.log("backup");
    let terminated = CancellationToken::new();
    let signals = Signals::install().context("cannot install signal handlers")?;
    let listening = tokio::spawn(listen(signals, terminated.clone()));
    let client = client::connect(&args.kubernetes.clone().into()).await?;

    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let (job, pod) = (variable("JOB_NAME"), variable("POD_NAME"));
    let namespace = args.target.namespace.clone().or_else(|| variable("POD_NAMESPACE"));
    let namespace = namespace.unwrap_or_else(|| client.default_namespace().to_owned());
    let task = task(&args, namespace, &mark(job.as_deref(), pod));
    let deadline = deadline::until(&client, &task.namespace, job.as_deref(), args.end.job_deadline).await;
    let limits = JobLimits { terminated, until: deadline };
    let access = ClusterAccess::new(client, &task.namespace, &task.selector);
    let outcome = run::run(&access, &task, &Patience::default(), &limits).await;
    listening.abort();
    report(&outcome, &args.end.termination_log);
    Ok(ExitCode::from(outcome.code))
}

async fn listen(mut signals: Signals, terminated: CancellationToken) {
    let signal = loop {
        if let Request::Stop(signal) = signals.next().await {
            break signal;
        }
    };
    tracing::info!(cause = signal, "Shutting down");
    terminated.cancel();
}

/// A mark that is unique to this run.
fn mark(job: Option<&str>, pod: Option<String>) -> String {
    let pod = pod.unwrap_or_else(|| format!("{:016x}", rand::random::<u64>()));
    format!("{}/{pod}", job.unwrap_or("by-hand"))
}

fn task(args: &BackupArgs, namespace: String, mark: &str) -> Task {
    let settings = Settings::default();
    let BackupOrder { cluster, stanza, repo, backup_type, backup_options } = args.order.clone();
    let (selector, container) = match args.target.target {
        TargetArg::RepoHost => {
            (labels::repo_host_selector(&cluster, &settings).into(), PGBACKREST_CONTAINER.to_owned())
        }
        TargetArg::Primary => {
            (labels::primary_selector(&cluster, &settings), settings.database_container.clone())
        }
    };
    Task {
        namespace,
        cluster,
        stanza,
        repo,
        backup_type: backup_type.into(),
        options: backup_options.unwrap_or_default(),
        container: args.target.container.clone().unwrap_or(container),
        selector: args.target.selector.clone().unwrap_or_else(|| selector.to_string()),
        is_primary: args.target.target == TargetArg::Primary,
        mark: mark.to_owned(),
    }
}

/// Reports the result in the log, and to Kubernetes in the pod's termination message.
fn report(outcome: &JobOutcome, termination_log: &Path) {
    let line = outcome.line();
    if outcome.code == 0 {
        tracing::info!(result = line, "Backup succeeded");
    } else {
        tracing::error!(exit_code = outcome.code, reason = line, "Backup failed");
    }
    termination::write(termination_log, &line);
}
