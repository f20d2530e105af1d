//! `check`: a plugin for Icinga, Nagios, Zabbix and Sensu. Judges what one collection on this host, or a running exporter, says.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use chrono::{DateTime, TimeDelta, Utc};
use clap::builder::PossibleValuesParser;
use clap::{Args, Command, ValueEnum};
use hyper::Uri;
use hyper::header::{ACCEPT, AUTHORIZATION, DATE, HeaderMap, HeaderValue, USER_AGENT};
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::check::facts::{Facts, Place, Selection};
use crate::check::limits::{Level, Limits};
use crate::check::output::{json, plugin};
use crate::check::report::{Report, Severity};
use crate::check::services::{self, Question, Service};
use crate::collect::host;
use crate::http::outgoing::config::HttpConfig;
use crate::http::outgoing::fetch::Fetch;
use crate::metrics::collection::Collector;
use crate::metrics::options::BackupDetail;
use crate::metrics::{CollectionMetrics, Options, exposition};
use crate::shutdown::{Request, Signals};
use crate::state::archive::CLOCK_TOLERANCE;
use crate::state::human;
use crate::state::snapshot::Snapshot;
use crate::telemetry::{self, LogFormat};

use super::args::collect::SourceArgs;
use super::args::info::ClusterName;
use super::args::{SWITCH, duration, switch};
use super::{build, output, settings};

/// The name of the command.
pub(super) const NAME: &str = "check";
/// What asks for all services.
const ALL: &str = "all";
/// Bytes of a response. A fleet of 1,000 clusters has less.
const LARGEST_ANSWER: usize = 512 << 20;
/// Characters of a message of pgBackRest.
const MESSAGE_LIMIT: usize = 240;

/// Arguments of `check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// What to check. Can be repeated.
    #[arg(value_name = "SERVICE", default_value = ALL, value_parser = services_parser())]
    services: Vec<String>,

    /// Threshold of a warning, such as full-age=8d. The usual thresholds are those of the alert rules. Can be repeated.
    #[arg(long, short, value_name = "NAME=RANGE")]
    warning: Vec<String>,

    /// Critical threshold, such as age=26h. Can be repeated.
    #[arg(long, short, value_name = "NAME=RANGE")]
    critical: Vec<String>,

    /// Do not count problems of this alert, such as PgBackRestStopped. Can be repeated or comma-separated.
    #[arg(long, value_name = "ALERT", value_delimiter = ',', value_parser = alerts_parser())]
    ignore: Vec<String>,

    /// Query a running exporter or operator instead of pgBackRest, such as http://127.0.0.1:9854/metrics.
    #[arg(long, env = "KEEPER_CHECK_URL", value_name = "URL")]
    url: Option<Uri>,

    /// TLS and credentials for --url, in the format of Prometheus' http_config.
    #[arg(long = "http.config.file", env = "KEEPER_HTTP_CONFIG_FILE", value_name = "FILE")]
    http_config_file: Option<std::path::PathBuf>,

    /// Only this cluster of an operator: NAME or NAMESPACE/NAME. Can be repeated.
    #[arg(long = "cluster", value_name = "CLUSTER", requires = "url")]
    clusters: Vec<ClusterName>,

    /// Whether missing WAL is looked for. Without --url, this scans the WAL archives, which takes longer for large ones.
    #[arg(long, env = "KEEPER_CHECK_WAL", default_value = "true", value_name = SWITCH, value_parser = switch())]
    wal: bool,

    /// Maximum duration. After it, the state is unknown.
    #[arg(
        id = "within",
        long = "timeout",
        short = 't',
        env = "KEEPER_TIMEOUT",
        default_value = "50s",
        value_parser = duration,
        value_name = "DURATION"
    )]
    within: Duration,

    /// Output format.
    #[arg(long, env = "KEEPER_CHECK_OUTPUT", value_name = "FORMAT", value_enum, default_value_t = Format::Plugin)]
    output: Format,

    /// Log level or filter directives for messages on standard error.
    #[arg(long = "log.level", env = "KEEPER_LOG_LEVEL", value_name = "FILTER", default_value = "off")]
    log_level: String,

    #[command(flatten)]
    source: SourceArgs,
}

/// The output format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// That of the Monitoring Plugins.
    Plugin,
    /// One JSON document on one line.
    Json,
}

fn services_parser() -> PossibleValuesParser {
    PossibleValuesParser::new(services::ALL.iter().map(|service| service.name).chain([ALL]))
}

fn alerts_parser() -> PossibleValuesParser {
    let mut alerts: Vec<_> =
        services::ALL.iter().flat_map(|service| service.alerts.iter().copied()).collect();
    alerts.sort_unstable();
    alerts.dedup();
    PossibleValuesParser::new(alerts)
}

/// Names that people type often.
pub(super) fn with_short_names(command: Command) -> Command {
    command
        .mut_arg("stanza_include", |argument| argument.visible_alias("stanza"))
        .mut_arg("repo", |argument| argument.visible_alias("repo"))
        .mut_arg("ignore", |argument| argument.hide_possible_values(true))
}

/// Exit code 0: everything is as expected. 1: warning. 2: critical. 3: something could not be determined, or wrong arguments.
pub async fn run(args: CheckArgs) -> ExitCode {
    let started = Instant::now();
    let logging = telemetry::install(&args.log_level, LogFormat::Text);
    let name = match &args.services[..] {
        [one] if one != ALL => one.as_str(),
        _ => "",
    };
    let report = match logging {
        Ok(_logging) => check(&args, started).await,
        Err(error) => Err(anyhow::Error::from(error).context("--log.level")),
    };
    let report = report.unwrap_or_else(|error| Report::unknown(format!("{error:#}")));
    tell(name, &report, args.output)
}

/// Arguments that are wrong, or a request for help: never a good state.
pub(super) fn refuse(usage: &clap::Error) -> ExitCode {
    let text = usage.to_string();
    let first = text.lines().next().unwrap_or_default();
    let first = if usage.use_stderr() { first } else { "nothing was checked, this is help" };
    let shown = plugin("", &Report::unknown(first.to_owned()));
    // If standard output cannot be written, there is no other way to report it.
    let _ = output::print(&format!("{shown}{text}"));
    ExitCode::from(Severity::Unknown.code())
}

/// The check could not even start.
pub(super) fn fail(error: &anyhow::Error) -> ExitCode {
    tell("", &Report::unknown(format!("{error:#}")), Format::Plugin)
}

fn tell(name: &str, report: &Report, format: Format) -> ExitCode {
    let shown = match format {
        Format::Plugin => Ok(plugin(name, report)),
        Format::Json => json(name, report).map_err(Into::into),
    };
    match shown.and_then(|shown| output::print(&shown)) {
        Ok(()) => ExitCode::from(report.severity().code()),
        Err(error) => {
            output::report(&format!("pgbackrest-keeper: {error:#}\n"));
            ExitCode::from(Severity::Unknown.code())
        }
    }
}

async fn check(args: &CheckArgs, started: Instant) -> anyhow::Result<Report> {
    let is_wanted = |service: &&&'static Service| {
        args.services.iter().any(|wanted| wanted == ALL || wanted == service.name)
    };
    let services: Vec<&'static Service> = services::ALL.iter().filter(is_wanted).copied().collect();
    let mut limits = Limits::default();
    for (level, flag, given) in
        [(Level::Warning, "--warning", &args.warning), (Level::Critical, "--critical", &args.critical)]
    {
        for text in given {
            limits.set(text, level, services::quantities()).context(flag)?;
        }
    }
    let mut facts = match &args.url {
        Some(url) => of_exporter(args, url, started).await?,
        None => of_this_host(args, &services, started).await?,
    };
    let clusters = args.clusters.iter().map(|cluster| (cluster.namespace.clone(), cluster.name.clone()));
    facts.select(Selection { filter: settings::filter(&args.source)?, clusters: clusters.collect() });
    let question = Question {
        services: &services,
        limits: &limits,
        ignored: &args.ignore,
        expects_scan: args.wal,
        demands_proof: false,
    };
    Ok(services::judge(&question, &facts, seconds(Utc::now())))
}

/// Reads the metrics of an exporter. They contain everything that is judged, and are ready when they are asked for.
async fn of_exporter(args: &CheckArgs, url: &Uri, started: Instant) -> anyhow::Result<Facts> {
    let url = complete(url)?;
    let http = HttpConfig::load(args.http_config_file.as_deref()).context("--http.config.file")?;
    let tls = (url.scheme_str() == Some("https")).then(|| http.tls()).transpose();
    let tls = tls.map_err(anyhow::Error::msg).context("--http.config.file")?;
    let mut headers = HeaderMap::new();
    // Unlike the older format, it has an end, so that what is cut off is noticed.
    headers.insert(ACCEPT, HeaderValue::from_static("application/openmetrics-text;version=1.0.0"));
    headers.insert(USER_AGENT, HeaderValue::from_static("pgbackrest-keeper-check"));
    headers.extend(http.authorization.clone().map(|value| (AUTHORIZATION, value)));
    let (mut reader, mut length) = (services::reader(), 0);
    let tls = tls.map(Arc::new);
    let fetch = Fetch { url: &url, tls, server_name: http.server_name(), headers, body: None };
    let fetched = fetch.run_on_this_host(|status, piece| {
        length += piece.len();
        if !status.is_success() {
            return Err(format!("returned {status}"));
        }
        if length > LARGEST_ANSWER {
            return Err("the response is larger than 512 MiB".to_owned());
        }
        reader.feed(piece).map_err(|error| error.to_string())
    });
    let within = humantime::format_duration(args.within);
    let head = timeout_at(started + args.within.mul_f64(0.9), fetched)
        .await
        .with_context(|| format!("{url}: no response within {within}"))?
        .map_err(|error| anyhow::anyhow!("{url}: {error}"))?;
    if !head.status.is_success() {
        bail!("{url}: returned {}", head.status);
    }
    let mut facts = reader.end(true).with_context(|| url.to_string())?;
    let date = head.headers.get(DATE).and_then(|date| DateTime::parse_from_rfc2822(date.to_str().ok()?).ok());
    if let Some(apart) =
        date.map(|date| Utc::now().signed_duration_since(date)).filter(|apart| apart.abs() > CLOCK_TOLERANCE)
    {
        let (apart, which) =
            (human::duration(apart.abs()), if apart > TimeDelta::zero() { "ahead of" } else { "behind" });
        let text = format!("the clock of this host is {apart} {which} that of {url}, so ages are unknown");
        facts.explain(Place::default(), text);
    }
    Ok(facts)
}

/// With the usual path if it has none.
fn complete(url: &Uri) -> anyhow::Result<Uri> {
    if !matches!(url.scheme_str(), Some("http" | "https")) || url.host().is_none_or(str::is_empty) {
        bail!("--url: not a full URL; use one such as http://127.0.0.1:9854/metrics");
    }
    if url.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        bail!("--url: every user of this host can see a password here; use --http.config.file");
    }
    if url.path() != "/" {
        return Ok(url.clone());
    }
    let mut parts = url.clone().into_parts();
    parts.path_and_query = Some(hyper::http::uri::PathAndQuery::from_static("/metrics"));
    Ok(Uri::from_parts(parts)?)
}

/// Queries pgBackRest. If it does not end in time, what is known by then counts, and the rest is unknown.
async fn of_this_host(args: &CheckArgs, services: &[&Service], started: Instant) -> anyhow::Result<Facts> {
    let scans = args.wal && services.iter().any(|service| service.needs_scan());
    let settings = settings::within(&args.source, args.within, scans)?;
    let (interval, timeout) = (settings.pace.interval, settings.pace.limits.timeout);
    let mut signals = Signals::install().context("cannot install signal handlers")?;
    let stop = CancellationToken::new();
    // What is stopped has two seconds to end in order.
    let end = started + args.within.mul_f64(0.95);
    let stop_at = (end - Duration::from_millis(2500)).max(started + args.within / 2);
    let collecting = host::once(settings, stop.clone());
    tokio::pin!(collecting);
    let mut cut = None;
    let snapshot = loop {
        tokio::select! {
            snapshot = &mut collecting => break snapshot,
            request = signals.next() => if let Request::Stop(signal) = request {
                cut = Some(format!("ended by {signal}"));
                stop.cancel();
            },
            () = sleep_until(stop_at), if cut.is_none() => {
                let within = humantime::format_duration(args.within);
                cut = Some(format!("pgBackRest did not answer within {within}"));
                stop.cancel();
            },
            () = sleep_until(end) => break Arc::default(),
        }
    };
    let collection = Arc::new(CollectionMetrics::new());
    if cut.is_none() {
        collection.set_cadence(Collector::Info, interval, timeout);
        if scans {
            collection.set_cadence(Collector::Wal, interval, timeout);
        }
    }
    let options = Options { backup_detail: BackupDetail::None, build: build::info(), ..Options::default() };
    let text = exposition::written(&snapshot, &collection, &Arc::new(options), Utc::now())?;
    let mut reader = services::reader();
    reader.feed(text.as_bytes())?;
    let mut facts = reader.end(false)?;
    explain(&mut facts, &snapshot);
    if let Some(cut) = cut {
        facts.explain(Place::default(), cut);
    }
    Ok(facts)
}

/// Adds what metrics do not tell: messages.
fn explain(facts: &mut Facts, snapshot: &Snapshot) {
    let collection = &snapshot.collection;
    for (name, scope) in collection.wal.iter().chain(&collection.scopes).filter(|(_, scope)| !scope.up) {
        facts.explain(Place::stanza(name), human::failure(scope));
    }
    for stanza in &snapshot.stanzas {
        for repo in stanza.repos.iter().filter(|repo| !repo.is_up()) {
            let place = Place { repo: Some(repo.key), ..Place::stanza(&stanza.name) };
            let message = human::line(&repo.status_message, MESSAGE_LIMIT);
            let known = if message.is_empty() { human::state_words(repo.state).to_owned() } else { message };
            facts.explain(place, known);
        }
    }
}

fn seconds(at: DateTime<Utc>) -> f64 {
    at.timestamp_millis() as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_completed_and_holds_no_password() {
        let completed = |url: &str| complete(&url.parse().unwrap()).map(|url| url.to_string());
        for (url, expected) in [
            ("http://db1:9854", "http://db1:9854/metrics"),
            ("https://db1:9854/", "https://db1:9854/metrics"),
            ("http://[::1]:9854/custom", "http://[::1]:9854/custom"),
        ] {
            assert_eq!(completed(url).unwrap(), expected);
        }
        for (url, part) in
            [("/metrics", "full URL"), ("ftp://x/", "full URL"), ("http://bob:secret@db1/", "password")]
        {
            let error = completed(url).unwrap_err().to_string();
            assert!(error.contains(part) && !error.contains("secret"), "{error}");
        }
    }
}
