//! `render`: prints the objects generated from manifests, without a Kubernetes API.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, ValueEnum};
use serde_json::json;

use super::args::cluster::{ClusterArgs, NamespaceArgs};
use super::judged::{self, Judged, JudgedTest};
use super::manifest::Manifests;
use super::output;
use crate::cluster::desired::restore_test::{self, TestInputs};
use crate::cluster::desired::{self, BuildInputs, Object};
use crate::cluster::finding::{Finding, Severity};
use crate::cluster::settings::Settings;
use crate::text;

/// Arguments of `render`.
#[derive(Debug, Args)]
pub struct RenderArgs {
    /// Manifests with postgresql and RestoreTest resources; - reads standard input. Other kinds are ignored.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,

    /// Output format of the objects.
    #[arg(long, short = 'o', value_enum, default_value_t = RenderOutput::Yaml)]
    pub output: RenderOutput,

    /// The namespace of resources that do not specify one.
    #[command(flatten)]
    pub namespace: NamespaceArgs,

    /// Settings of all clusters.
    #[command(flatten)]
    pub clusters: ClusterArgs,
}

/// How objects are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RenderOutput {
    /// One YAML document per object, in the order in which they are applied.
    Yaml,
    /// One JSON list.
    Json,
}

/// Prints the objects, and errors and warnings on standard error. 0: success. 1: a resource has an error; nothing is
/// printed, so that no partial result gets applied. 2: a file could not be used.
pub fn run(args: RenderArgs) -> anyhow::Result<ExitCode> {
    let settings = Settings { default_namespace: args.namespace.namespace, ..Settings::from(args.clusters) };
    let manifests = match Manifests::read(&args.files, &settings.default_namespace) {
        Ok(manifests) => manifests,
        Err(unusable) => return Ok(super::unusable(&unusable)),
    };
    let mut objects = Vec::new();
    let mut reported = String::new();
    let mut failed = false;
    let mut report = |file: &str, findings: &[Finding]| {
        failed |= findings.iter().any(Finding::is_error);
        for finding in findings.iter().filter(|finding| finding.severity <= Severity::Warning) {
            writeln!(reported, "{file}: {finding}")?;
        }
        anyhow::Ok(())
    };
    let (clusters, tests) = judged::all(manifests, &settings);
    for Judged { file, cluster, findings, .. } in &clusters {
        report(file, findings)?;
        if let Some(cluster) = cluster {
            objects.extend(desired::build(cluster, &settings, &BuildInputs::default()).objects);
        }
    }
    for test in &tests {
        report(&test.file, &test.findings)?;
        objects.extend(of_test(test, &clusters, &settings).into_iter().flatten());
    }
    output::report(&reported);
    if failed {
        return Ok(ExitCode::FAILURE);
    }
    output::print(&printed(&objects, args.output)?)?;
    Ok(ExitCode::SUCCESS)
}

/// The objects of the first test. None if no cluster that is selected is in the files.
fn of_test(judged: &JudgedTest, clusters: &[Judged], settings: &Settings) -> Option<Vec<Object>> {
    let (test, turn) = (judged.test.as_ref()?, judged.turn.as_ref()?);
    let is_meant = |known: &&Judged| known.key.namespace == test.namespace && known.key.name == turn.cluster;
    let cluster = clusters.iter().find(is_meant)?.cluster.as_ref()?;
    restore_test::build(test, cluster, turn, settings, &TestInputs::default())
}

fn printed(objects: &[Object], format: RenderOutput) -> anyhow::Result<String> {
    if format == RenderOutput::Json {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
        return text::json(&list).context("cannot write JSON");
    }
    let mut documents = String::new();
    for object in objects {
        let yaml = serde_saphyr::to_string(object).context("cannot write YAML")?;
        documents.push_str("---\n");
        if yaml.chars().all(|character| character == '\n' || text::is_printable(character)) {
            documents.push_str(&yaml);
        } else {
            // Every JSON document is YAML, and can escape all characters.
            documents.push_str(&text::json(object).context("cannot write JSON")?);
        }
    }
    Ok(documents)
}
