//! Stanzas and their repositories: whether they can be read, belong together, are stopped, and how long credentials last.

use std::collections::BTreeSet;

use crate::check::facts::{Place, clean};
use crate::check::judge::{Judge, Reading, repositories};
use crate::check::quantity::Quantity;
use crate::check::report::Severity;
use crate::check::unit::Unit;
use crate::metrics::catalogue::backups as metrics;
use crate::metrics::catalogue::compat::STANZA_STATUS;
use crate::metrics::catalogue::operator::CERTIFICATE_EXPIRY_TIMESTAMP_SECONDS;

use super::Service;

pub(super) const SERVICE: Service = Service {
    name: "stanza",
    about: "Whether the repositories can be read and belong to the same database, stop files, other programs, credentials",
    metrics: &[
        &CERTIFICATE_EXPIRY_TIMESTAMP_SECONDS,
        &metrics::OTHER_PROGRAM_SEEN_TIMESTAMP_SECONDS,
        &metrics::REPO_CREDENTIAL_EXPIRY_TIMESTAMP_SECONDS,
        &metrics::REPO_UP,
        &metrics::STANZA_REPO_SYSTEM_ID_MATCH,
        &STANZA_STATUS,
        &metrics::STANZA_STOPPED,
    ],
    quantities: &[&CREDENTIAL],
    alerts: &[
        "PgBackRestRepoDown",
        "PgBackRestStanzaNotOk",
        "PgBackRestRepoMismatch",
        "PgBackRestStopped",
        "PgBackRestOtherProgram",
        "PgBackRestCredentialExpiring",
    ],
    judge,
};

const CREDENTIAL: Quantity = Quantity {
    name: "credential",
    unit: Unit::Seconds,
    is_everywhere: false,
    warning: Some("14d:"),
    critical: Some("2d:"),
    alert: Some("PgBackRestCredentialExpiring"),
    about: "time until a certificate or a signature expires",
};

fn judge(judge: &mut Judge<'_>) {
    judge.expect_facts_of("info");
    let facts = judge.facts;
    let repos = facts.repos();
    for (repo, series) in facts.of(&metrics::REPO_UP) {
        if series.value == 0.0 {
            let text = format!("the repository is not available: {}", facts.reason(repo));
            judge.problem(Severity::Critical, "PgBackRestRepoDown", repo, text);
        }
    }
    for repo in &repos {
        if facts.value(&metrics::REPO_UP, repo).is_none() {
            judge.unknown(repo, "it is not known whether it can be read");
        }
    }
    for (stanza, series) in facts.of(&STANZA_STATUS) {
        let mut of_it = facts.of(&metrics::REPO_UP).filter(|(repo, _)| repo.of_stanza() == *stanza);
        if series.value > 0.0 && !of_it.any(|(_, up)| up.value == 0.0) {
            let text = format!("pgBackRest reports status {} ({})", series.value, words_of(series.value));
            judge.problem(Severity::Warning, "PgBackRestStanzaNotOk", stanza, text);
        }
    }
    for (stanza, series) in facts.of(&metrics::STANZA_REPO_SYSTEM_ID_MATCH) {
        if series.value == 0.0 {
            let text = "the repositories belong to different PostgreSQL clusters";
            judge.problem(Severity::Critical, "PgBackRestRepoMismatch", stanza, text);
        }
    }
    for (stanza, series) in facts.of(&metrics::STANZA_STOPPED) {
        if series.is_true() {
            let text = "pgbackrest stop was run, so backups and archiving are disabled";
            judge.problem(Severity::Warning, "PgBackRestStopped", stanza, text);
        }
    }
    let stanzas: BTreeSet<Place> = repos.iter().map(|repo| repo.of_stanza()).collect();
    for stanza in &stanzas {
        if facts.value(&metrics::STANZA_STOPPED, stanza).is_none() {
            judge.unchecked("stop files: the configuration or the lock directory cannot be read");
        }
    }
    for (stanza, series) in facts.of(&metrics::OTHER_PROGRAM_SEEN_TIMESTAMP_SECONDS) {
        if series.value > 0.0 {
            let product = clean(series.label("product"), 40);
            let product = if product.is_empty() { "another program".to_owned() } else { product };
            let text = format!("{product} works on the stanza, too");
            judge.problem(Severity::Warning, "PgBackRestOtherProgram", stanza, text);
        }
    }
    credentials(judge);
    let up = facts.of(&metrics::REPO_UP).filter(|(_, series)| series.is_true()).count();
    judge.report.summaries.push(format!("available: {up} of {}", repositories(repos.len())));
}

fn credentials(judge: &mut Judge<'_>) {
    let facts = judge.facts;
    let of_repos = facts.of(&metrics::REPO_CREDENTIAL_EXPIRY_TIMESTAMP_SECONDS);
    let of_repos = of_repos.map(|(place, series)| (place, series.value, series.label("kind")));
    let own = facts.of(&CERTIFICATE_EXPIRY_TIMESTAMP_SECONDS);
    let own = own.map(|(place, series)| (place, series.value, series.label("certificate")));
    for (place, expiry, kind) in of_repos.chain(own) {
        let (left, kind) = (expiry - judge.now, clean(kind, 60));
        let text = if left > 0.0 {
            format!("the credential {kind} expires in {}", Unit::Seconds.words(left))
        } else {
            format!("the credential {kind} has expired")
        };
        judge.measure(&Reading { detail: &kind, ..Reading::new(&CREDENTIAL, place, left, text) });
    }
}

/// In pgBackRest's words.
fn words_of(status: f64) -> &'static str {
    #[expect(clippy::cast_possible_truncation, reason = "codes are small")]
    match status as i64 {
        1 => "missing stanza path",
        2 => "no valid backups",
        3 => "missing stanza data",
        4 => "different across repos",
        5 => "database mismatch across repos",
        6 => "requested backup not found",
        _ => "other",
    }
}
