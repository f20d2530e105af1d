//! `verify`: verifies a repository on this host.

use std::fmt::Write as _;
use std::process::ExitCode;

use chrono::TimeDelta;

use crate::pgbackrest::command::Program;
use crate::source::proof_writer::Written;
use crate::state::human;
use crate::state::verification::{BackupResult, Files, Verification};
use crate::telemetry::{self, LogFormat};
use crate::verify::order::Order;
use crate::verify::run::{self, Basis};

use super::args::verify::VerifyArgs;
use super::build;
use super::output::{self, Format};
use super::turn::{self, Known, Turn};
use super::{settings, termination};

/// Files and backups in the summary.
const NAMED: usize = 20;

pub async fn run(args: VerifyArgs) -> anyhow::Result<ExitCode> {
    let _logging = telemetry::install(&args.output.log_level, LogFormat::Text)?;
    let key = match args.signing.key() {
        Ok(key) => key,
        Err(error) => return Ok(super::unusable(&error)),
    };
    let state_directory = &args.state.state_directory;
    let Turn { records, started, stop, listening } =
        match turn::begin(state_directory, &args.stanza, args.wait).await? {
            Ok(turn) => turn,
            Err(refused) => return Ok(refused),
        };
    let Known { snapshot, environment, recorded } =
        turn::look(settings::of_verify(&args)?, state_directory, &stop).await;
    let order = Order {
        source: args.pod.source(),
        stanza: args.stanza,
        repo: args.repo.into(),
        set: args.backup,
        timeout: args.time_limit,
        process_max: args.process_max,
    };
    let program = Program::from(&args.program);
    let basis = Basis {
        snapshot: &snapshot,
        program: &program,
        environment: &environment,
        records: &recorded,
        started,
        version: build::info().version,
    };
    let mut verification = run::run(&order, &basis, &stop).await;
    listening.abort();
    if let Some(file) = &args.pod.termination_log {
        termination::write(file, &verification.message()?);
    }
    let written = records.write(&mut verification, key.as_ref());
    output::print(&match args.output.output {
        Format::Text => summary(&verification, written.as_ref().ok()),
        Format::Json => turn::document(&verification, written.as_ref().ok())?,
    })?;
    written?;
    Ok(turn::exit_code(verification.outcome))
}

/// The result in a few lines. Writing to a String cannot fail.
fn summary(verification: &Verification, written: Option<&Written>) -> String {
    let mut summary = format!(
        "verification of {}, {}: {}\n",
        human::line(&verification.stanza, 60),
        human::repo_name(verification.repo),
        verification.outcome.as_str().replace('_', " ")
    );
    let mut line = |name: &str, value: &str| _ = writeln!(summary, "  {name:<8} {value}");
    if let Some(reason) = &verification.reason {
        line("reason", &format!("{}: {}", reason.class.as_str(), reason.message));
    }
    if let Some(set) = &verification.set {
        line("only", &format!("backup {set} and its WAL"));
    }
    if let Some(totals) = &verification.totals {
        let valid = format!("{} of {} valid", totals.valid_backups, human::count(totals.backups, "backup"));
        line("backups", &valid);
        line("files", &files(totals.files, "file"));
        line("WAL", &files(totals.wal, "segment"));
    }
    for archive in &verification.archives {
        if let Some(gaps) = archive.gaps.filter(|gaps| *gaps > 0) {
            let places = human::count(gaps, "gap");
            line(
                "gaps",
                &format!("{places} in the WAL of {}, which may be older than what is kept", archive.id),
            );
        }
    }
    for BackupResult { label, state, .. } in verification.backups.iter().take(NAMED) {
        line("backup", &format!("{label} {}", state.as_str()));
    }
    for file in verification.files.iter().take(NAMED) {
        line("file", &format!("{} {}", file.fault.as_str(), file.path));
    }
    let more = verification.files.len().saturating_sub(NAMED) as u64 + verification.more_faults;
    if more > 0 {
        line("", &format!("and {}", human::count(more, "other fault")));
    }
    let length = verification.duration().and_then(|duration| TimeDelta::from_std(duration).ok());
    line("duration", &human::known(length, human::duration));
    for (name, value) in written.iter().flat_map(|written| turn::written_lines(written)) {
        line(name, &value);
    }
    summary
}

/// `970 files, 1 missing, 2 checksum`
fn files(files: Files, unit: &str) -> String {
    let faults = files.by_result().into_iter().filter(|(result, count)| *result != "valid" && *count > 0);
    let total = human::count(files.checked, unit);
    faults.fold(total, |words, (result, count)| format!("{words}, {count} {result}"))
}
