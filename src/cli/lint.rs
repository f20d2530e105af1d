//! `lint`: errors and risks in manifests, each finding with its field and its remedy.

use std::fmt::Write;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::styling::{AnsiColor, Style};
use clap::{Args, ValueEnum};
use serde::Serialize;

use super::args::cluster::{ClusterArgs, NamespaceArgs};
use super::manifest::Manifests;
use super::{judged, output};
use crate::cluster::finding::{Finding, Severity};
use crate::cluster::key::Key;
use crate::cluster::settings::Settings;
use crate::text::{self, escaped};

/// Longer titles are cut; names in a manifest may contain anything.
const LONGEST_TITLE: usize = 1000;

/// Arguments of `lint`.
#[derive(Debug, Args)]
pub struct LintArgs {
    /// Manifests with postgresql and RestoreTest resources; - reads standard input. Secrets and storage classes in them are
    /// checked too, other kinds are ignored.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,

    /// Output format of the findings.
    #[arg(long, short = 'o', value_enum, default_value_t = LintOutput::Text)]
    pub output: LintOutput,

    /// Also fail on warnings.
    #[arg(long)]
    pub strict: bool,

    /// The namespace of resources that do not specify one.
    #[command(flatten)]
    pub namespace: NamespaceArgs,

    /// Settings of all clusters.
    #[command(flatten)]
    pub clusters: ClusterArgs,
}

/// How findings are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LintOutput {
    /// Plain text, with colours on a terminal unless NO_COLOR is set.
    Text,
    /// One JSON document.
    Json,
}

/// Prints the findings. 0: no errors. 1: errors. 2: a file could not be used.
pub fn run(args: LintArgs) -> anyhow::Result<ExitCode> {
    let settings = Settings { default_namespace: args.namespace.namespace, ..Settings::from(args.clusters) };
    let manifests = match Manifests::read(&args.files, &settings.default_namespace) {
        Ok(manifests) => manifests,
        Err(unusable) => return Ok(super::unusable(&unusable)),
    };
    let report = Report::of(manifests, &settings);
    match args.output {
        LintOutput::Json => output::print(&text::json(&report)?)?,
        LintOutput::Text => output::print(&report.text(on_a_terminal()))?,
    }
    let fails = report.summary.errors > 0 || args.strict && report.summary.warnings > 0;
    Ok(if fails { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn on_a_terminal() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// All findings about all resources.
#[derive(Debug, Serialize)]
struct Report {
    clusters: Vec<Judged>,
    restore_tests: Vec<Judged>,
    summary: Summary,
}

/// The findings about one resource.
#[derive(Debug, Serialize)]
struct Judged {
    file: String,
    namespace: String,
    name: String,
    /// Whether everything in it can be set up.
    valid: bool,
    findings: Vec<Finding>,
}

#[derive(Debug, Default, Serialize)]
struct Summary {
    errors: usize,
    warnings: usize,
    infos: usize,
    not_checked: usize,
}

impl Summary {
    const fn count(&mut self, severity: Severity) {
        match severity {
            Severity::Error => self.errors += 1,
            Severity::Warning => self.warnings += 1,
            Severity::Info => self.infos += 1,
            Severity::NotChecked => self.not_checked += 1,
        }
    }
}

impl Report {
    fn of(manifests: Manifests, settings: &Settings) -> Self {
        let mut summary = Summary::default();
        let mut judged = |file: String, key: Key, findings: Vec<Finding>| {
            for finding in &findings {
                summary.count(finding.severity);
            }
            let valid = !findings.iter().any(Finding::is_error);
            Judged { file, namespace: key.namespace, name: key.name, valid, findings }
        };
        let (clusters, tests) = judged::all(manifests, settings);
        let clusters = clusters.into_iter().map(|one| judged(one.file, one.key, one.findings)).collect();
        let restore_tests = tests.into_iter().map(|one| judged(one.file, one.key, one.findings)).collect();
        Self { clusters, restore_tests, summary }
    }

    fn text(&self, colour: bool) -> String {
        let mut text = String::new();
        let clusters = self.clusters.iter().map(|cluster| (cluster, ""));
        let tests = self.restore_tests.iter().map(|test| (test, "RestoreTest "));
        for (judged, kind) in clusters.chain(tests) {
            let title = format!("{}: {kind}{}/{}", judged.file, judged.namespace, judged.name);
            // Writing to a String cannot fail.
            let _ =
                writeln!(text, "{}", painted(&escaped(&title, LONGEST_TITLE), Style::new().bold(), colour));
            for finding in &judged.findings {
                let word = painted(finding.severity.as_str(), style(finding.severity), colour);
                let value = finding.value.as_ref().map(|value| format!(" = \"{value}\"")).unwrap_or_default();
                let _ = writeln!(text, "  {word} {}", finding.code.word);
                let _ = writeln!(text, "    {}{value}", finding.field);
                let _ = writeln!(text, "    {}", finding.message);
                let _ = writeln!(text, "    remedy: {}", finding.remedy);
            }
        }
        let Summary { errors, warnings, infos, not_checked } = &self.summary;
        let clusters = self.clusters.len();
        let tests = match self.restore_tests.len() {
            0 => String::new(),
            tests => format!(", {tests} restore test{}", plural(tests)),
        };
        let _ = writeln!(
            text,
            "{clusters} cluster{}{tests}: {errors} error{}, {warnings} warning{}, {infos} info, {not_checked} not checked",
            plural(clusters),
            plural(*errors),
            plural(*warnings),
        );
        text
    }
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

fn style(severity: Severity) -> Style {
    let colour = match severity {
        Severity::Error => AnsiColor::Red,
        Severity::Warning => AnsiColor::Yellow,
        Severity::Info => AnsiColor::Cyan,
        Severity::NotChecked => AnsiColor::BrightBlack,
    };
    colour.on_default().bold()
}

fn painted(text: &str, style: Style, colour: bool) -> String {
    if colour { format!("{style}{text}{style:#}") } else { text.to_owned() }
}
