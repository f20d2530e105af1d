//! `verify-records`: checks records offline, for auditors.

use std::fmt::Write as _;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use chrono::{DateTime, Utc};
use clap::Args;
use serde::Serialize;

use crate::files;
use crate::operator::restore_tests::audit::{self, AuditedRepo, AuditedResult};
use crate::source::proofs::{self, StoredRecord, StoredRepo, UnreadableRecord};
use crate::state::chain::Digest;
use crate::state::human;
use crate::state::proofs::envelope::{MAX_KEYS, PublicKey};
use crate::state::proofs::signed::{self, SignatureState};
use crate::state::proofs::{Outcome, Record, RestoreTest};
use crate::state::verification::Verification;
use crate::telemetry::{self, LogFormat};
use crate::text;

use super::args::collect::{OutputArgs, StateArgs};
use super::output::{self, Format};

/// Characters of a path.
const MAX_PATH: usize = 4096;
/// Bytes of exported resources. One has at most 1.5 MiB.
const MAX_RESOURCES: usize = 64 << 20;

/// Names the files of public keys.
const KEYS: &str = "KEEPER_PUBLIC_KEY_FILE";

/// Arguments of `verify-records`.
#[derive(Debug, Args)]
pub struct VerifyRecordsArgs {
    /// RestoreTest resources in JSON, as `kubectl get restoretests --output=json` prints them; - is standard input. By default, the
    /// records in the state directory are checked.
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,

    /// Public key of a signer, in PEM. Every record must then be signed with one of the keys. Can be repeated or comma-separated.
    #[arg(long, env = KEYS, value_name = "FILE", value_delimiter = ',')]
    pub public_key_file: Vec<PathBuf>,

    /// Where the records are.
    #[command(flatten)]
    pub state: StateArgs,

    #[command(flatten)]
    pub output: OutputArgs,
}

/// All that was found.
#[derive(Debug, Default, Serialize)]
struct Report {
    records: usize,
    faults: usize,
    chains: Vec<Chain>,
    /// Files and directories that belong to no chain.
    unreadable: Vec<String>,
}

/// The records of one kind and repository.
#[derive(Debug, Serialize)]
struct Chain {
    kind: &'static str,
    /// Of a host.
    #[serde(skip_serializing_if = "Option::is_none")]
    stanza: Option<String>,
    /// Namespace and name of the resource, and the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    restore_test: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<String>,
    repo: u32,
    records: Vec<Checked>,
    faults: Vec<String>,
}

/// One record.
#[derive(Debug, Serialize)]
struct Checked {
    /// Absent if it was written by a version without chains.
    sequence: Option<u64>,
    /// SHA-256 of the file.
    digest: Option<Digest>,
    start: Option<DateTime<Utc>>,
    stop: Option<DateTime<Utc>>,
    outcome: Option<Outcome>,
    signature: SignatureState,
    /// Who signed it, or is said to have.
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
    /// What is wrong with the record or its signature.
    fault: Option<String>,
}

/// Exit code 1: a fault was found, or there are no records. 2: a key cannot be used.
pub(super) fn run(args: &VerifyRecordsArgs) -> anyhow::Result<ExitCode> {
    let _logging = telemetry::install(&args.output.log_level, LogFormat::Text)?;
    // An empty variable would otherwise mean that no signature is checked.
    if args.public_key_file.is_empty() && std::env::var_os(KEYS).is_some_and(|value| value.is_empty()) {
        return Ok(super::unusable(&format!("{KEYS} is empty: unset it to check no signatures")));
    }
    let mut keys = Vec::new();
    for file in &args.public_key_file {
        match read_keys(file) {
            Ok(of_file) => keys.extend(of_file),
            Err(why) => return Ok(super::unusable(&format!("--public-key-file {}: {why}", file.display()))),
        }
    }
    let mut report = Report::default();
    if let Some(file) = &args.file {
        match read_resources(file) {
            Ok(repos) => report.chains.extend(repos.into_iter().map(|repo| Chain::of_resource(repo, &keys))),
            Err(why) => return Ok(super::unusable(&format!("{}: {why}", file.display()))),
        }
        report.count(file);
    } else {
        let directory = &args.state.state_directory;
        report.read::<RestoreTest>(directory, &keys);
        report.read::<Verification>(directory, &keys);
        report.count(directory);
    }
    output::print(&match args.output.output {
        Format::Text => report.text(),
        Format::Json => text::json(&report)?,
    })?;
    Ok(if report.faults == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn read_keys(file: &Path) -> Result<Vec<PublicKey>, String> {
    let pem = files::read(file, MAX_KEYS).map_err(|error| error.to_string())?;
    let pem = pem.ok_or_else(|| format!("is larger than {MAX_KEYS} bytes"))?;
    PublicKey::all(&pem).map_err(|error| error.to_string())
}

fn read_resources(file: &Path) -> Result<Vec<AuditedRepo>, String> {
    let too_large = || format!("it is larger than {MAX_RESOURCES} bytes");
    let document = if file == Path::new("-") {
        let mut document = Vec::new();
        let limit = MAX_RESOURCES as u64 + 1;
        io::stdin().lock().take(limit).read_to_end(&mut document).map_err(|error| error.to_string())?;
        if document.len() > MAX_RESOURCES {
            return Err(too_large());
        }
        document
    } else {
        files::read(file, MAX_RESOURCES).map_err(|error| error.to_string())?.ok_or_else(too_large)?
    };
    audit::read(&document)
}

impl Report {
    fn read<R: Record>(&mut self, directory: &Path, keys: &[PublicKey]) {
        let unlisted = proofs::read_stored(directory, |repo: StoredRepo<R>| {
            self.chains.push(Chain {
                kind: R::NAME,
                stanza: Some(repo.stanza.to_string()),
                namespace: None,
                restore_test: None,
                cluster: None,
                repo: repo.repo,
                faults: repo.faults().map(|fault| in_words(&fault)).collect(),
                records: repo.records.into_iter().map(|record| Checked::of_file(record, keys)).collect(),
            });
        });
        self.unreadable.extend(unlisted.iter().map(in_words));
    }

    fn count(&mut self, place: &Path) {
        self.records = self.chains.iter().map(|chain| chain.records.len()).sum();
        let of_chain = |chain: &Chain| {
            chain.faults.len() + chain.records.iter().filter(|record| record.fault.is_some()).count()
        };
        self.faults = self.unreadable.len() + self.chains.iter().map(of_chain).sum::<usize>();
        if self.records == 0 && self.faults == 0 {
            self.unreadable.push(format!("{}: there are no records", place.display()));
            self.faults = 1;
        }
    }

    /// Writing to a String cannot fail.
    fn text(&self) -> String {
        let mut out = String::new();
        for chain in &self.chains {
            let Chain { records, faults, .. } = chain;
            let _ = writeln!(out, "{}", chain.title());
            for record in records {
                let _ = writeln!(out, "  {}", record.line());
            }
            if let Some(digest) =
                records.iter().max_by_key(|record| record.sequence).and_then(|one| one.digest)
            {
                let _ = writeln!(out, "  SHA-256 of the newest: {digest}");
            }
            let of_records = records.iter().filter_map(|record| {
                let name = record.file.as_deref().map(in_one_line);
                let name = name.unwrap_or_else(|| {
                    format!("record {}", human::known(record.sequence, |number| number.to_string()))
                });
                Some(format!("{name}: {}", record.fault.as_ref()?))
            });
            for fault in of_records.chain(faults.iter().cloned()) {
                let _ = writeln!(out, "  fault: {fault}");
            }
        }
        for fault in &self.unreadable {
            let _ = writeln!(out, "fault: {fault}");
        }
        let faults =
            if self.faults == 0 { "no fault".to_owned() } else { human::count(self.faults as u64, "fault") };
        let _ = writeln!(out, "{} checked, {faults} found", human::count(self.records as u64, "record"));
        out
    }
}

fn in_words(fault: &UnreadableRecord) -> String {
    format!("{}: {}", in_one_line(&fault.path), fault.why)
}

/// A name of a directory may contain line breaks.
fn in_one_line(path: &Path) -> String {
    text::escaped(&path.display().to_string(), MAX_PATH)
}

impl Chain {
    fn of_resource(repo: AuditedRepo, keys: &[PublicKey]) -> Self {
        Self {
            kind: RestoreTest::NAME,
            stanza: None,
            namespace: Some(repo.test.namespace),
            restore_test: Some(repo.test.name),
            cluster: Some(repo.cluster),
            repo: repo.repo,
            records: repo.results.into_iter().map(|result| Checked::of(result, None, keys)).collect(),
            faults: repo.faults.iter().map(ToString::to_string).collect(),
        }
    }

    /// `restore tests of demo, repo1`
    fn title(&self) -> String {
        let names = [&self.stanza, &self.namespace, &self.cluster].into_iter().flatten();
        let names: Vec<String> = names.map(|name| human::line(name, 63)).collect();
        let by = self.restore_test.as_ref().map(|name| format!(", by {}", human::line(name, 63)));
        let repo = human::repo_name(self.repo);
        format!("{}s of {}, {repo}{}", self.kind, names.join("/"), by.unwrap_or_default())
    }
}

impl Checked {
    fn of(audited: AuditedResult, file: Option<PathBuf>, keys: &[PublicKey]) -> Self {
        let AuditedResult { found, payload, signatures, result } = audited;
        let (signature, key) = signed::check(&payload, &signatures, keys);
        let fault = match &result {
            Err(why) => Some(why.clone()),
            Ok(_) => signature.fault(!keys.is_empty()).map(str::to_owned),
        };
        let result = result.ok();
        Self {
            sequence: found.link.map(|link| link.sequence),
            digest: found.digest,
            start: result.map(|(start, ..)| start),
            stop: result.map(|(_, stop, _)| stop),
            outcome: result.map(|(.., outcome)| outcome),
            signature,
            key,
            file,
            fault,
        }
    }

    fn of_file<R: Record>(stored: StoredRecord<R>, keys: &[PublicKey]) -> Self {
        let StoredRecord { path, found, record, payload, signatures } = stored;
        let result = record.map(|record| (record.start(), record.stop(), record.outcome()));
        Self::of(AuditedResult { found, payload, signatures, result }, Some(path), keys)
    }

    /// `   12  2026-11-22 10:00:00 UTC  passed        signed by 0123456789abcdef`
    fn line(&self) -> String {
        let sequence = human::known(self.sequence, |number| number.to_string());
        let start = human::known(self.start, human::instant);
        let outcome = human::known(self.outcome, |outcome| outcome.as_str().replace('_', " "));
        let key = self.key.as_deref().map(|key| key.chars().take(16).collect::<String>()).unwrap_or_default();
        let signature = match self.signature {
            SignatureState::Unsigned => "not signed".to_owned(),
            SignatureState::NotChecked => format!("signed by {key}, not checked"),
            SignatureState::Valid => format!("signed by {key}"),
            SignatureState::Invalid => format!("signature of {key} not valid"),
            SignatureState::UnknownKey => format!("signed by unknown key {key}"),
        };
        format!("{sequence:>6}  {start:<23}  {outcome:<12}  {signature}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_on_one_line() {
        let fault = UnreadableRecord { path: "/a\nno fault\u{1b}[2J".into(), why: "gone".to_owned() };
        let words = in_words(&fault);
        assert!(words.starts_with("/a") && words.ends_with(": gone"), "{words}");
        assert!(!words.contains(['\n', '\u{1b}']), "{words}");
    }
}
