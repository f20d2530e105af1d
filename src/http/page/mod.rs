//! The status page: one snapshot as HTML that answers "to which second can I restore, and what broke?" first.
//!
//! Pure: depends only on the snapshot and `now`. Uses no script and no external resources, so that a saved copy looks
//! the same. Bounded: stanzas that do not fit are counted and can be shown with `?stanza=NAME`.

mod archiver;
mod collection;
pub mod fleet;
mod pieces;
mod repo;
mod restore_tests;
mod stanza;
mod summary;
mod timeline;
mod verifications;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use maud::{Markup, PreEscaped, html};

use crate::state::health::{self, Health, Judged};
use crate::state::human;
use crate::state::snapshot::Snapshot;

/// The `Content-Security-Policy` header of the page: allows only its inline style, by hash.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; \
    style-src 'sha256-AzVi8J0LBmuAKfgCgokXpRmCSWxudlzN/hMNf0ptAcQ='; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const STYLE: &str = include_str!("style.css");
/// Maximum size of all sections in bytes; sections are added worst stanza first.
const SECTION_BUDGET_BYTES: usize = 80_000;
/// Maximum number of rows in the table of stanzas.
const ROW_LIMIT: usize = 200;
/// With more stanzas than this, sections are collapsed.
const UNFOLDED_LIMIT: usize = 3;
/// Facts older than this many intervals count as outdated.
const FRESH_INTERVALS: u32 = 3;

/// The context of the page, in addition to the snapshot.
#[derive(Debug, Clone, Copy)]
pub struct PageContext<'a> {
    /// The title, such as the name of the host.
    pub title: &'a str,
    /// The path of the metrics, such as `/metrics`.
    pub metrics_path: &'a str,
    /// The interval of collections.
    pub interval: Duration,
    /// Whether backups are collected at all.
    pub collects: bool,
    /// Version of this program.
    pub version: &'a str,
    /// Show only this stanza, from the query `?stanza=NAME`.
    pub stanza: Option<&'a str>,
}

/// Renders the page.
#[must_use]
pub fn render(snapshot: &Snapshot, context: &PageContext<'_>, now: DateTime<Utc>) -> String {
    let mut entries = health::of_snapshot(snapshot, now, Some(fresh_for(context.interval)));
    if let Some(wanted) = context.stanza {
        entries.retain(|entry| entry.name == wanted);
    }
    let marks = timeline::marks_per_type(&entries);
    let fold = match entries.len() {
        1 => stanza::Fold::Alone,
        2..=UNFOLDED_LIMIT => stanza::Fold::Never,
        _ => stanza::Fold::Closed,
    };
    let mut sections = String::new();
    let mut shown = 0;
    for entry in &entries {
        let section = stanza::section(entry, fold, marks, now, fresh_for(context.interval)).into_string();
        if shown > 0 && sections.len() + section.len() > SECTION_BUDGET_BYTES {
            break;
        }
        sections.push_str(&section);
        shown += 1;
    }
    let headline = headline(snapshot, context, &entries);
    let body = html! {
        (header(snapshot, context, &headline, now))
        main {
            (collection::failures(&snapshot.collection, now))
            (collection::configuration(&snapshot.collection))
            (collection::records(&snapshot.collection))
            @if entries.len() > 1 { (summary::table(&entries, shown, ROW_LIMIT, now)) }
            (timeline::shapes())
            (PreEscaped(sections))
            @if shown < entries.len() && shown > 0 {
                p.soft {
                    "Details of " (human::count(entries.len() - shown, "more stanza"))
                    " are not shown here; use the links in the table."
                }
            }
            (collection::section(snapshot, now))
        }
        (footer(context, !entries.is_empty()))
    };
    pieces::document(&headline.text, context.title, &body)
}

/// The headline of the page.
struct Headline {
    health: Option<Health>,
    text: String,
    explanation: Option<&'static str>,
}

fn headline(snapshot: &Snapshot, context: &PageContext<'_>, entries: &[Judged<'_>]) -> Headline {
    let scopes = &snapshot.collection.scopes;
    if let Some(wanted) = context.stanza.filter(|_| entries.is_empty()) {
        return Headline {
            health: Some(Health::Failed),
            text: format!("Stanza {} not found", human::line(wanted, 60)),
            explanation: Some("Check the name. The stanza may not have been collected yet."),
        };
    }
    if !context.collects {
        return Headline {
            health: None,
            text: "Collection is disabled".to_owned(),
            explanation: Some("Only the version of pgBackRest is collected (--collector.pgbackrest=false)."),
        };
    }
    if scopes.is_empty() && entries.is_empty() {
        return Headline {
            health: None,
            text: "The first collection is running".to_owned(),
            explanation: Some("pgBackRest has not responded yet. Reload the page in a moment."),
        };
    }
    if entries.is_empty() && scopes.values().all(|scope| !scope.up) {
        return Headline {
            health: Some(Health::Failed),
            text: "pgBackRest does not respond".to_owned(),
            explanation: Some("The state of the backups is unknown until a collection succeeds."),
        };
    }
    if entries.is_empty() {
        return Headline {
            health: Some(Health::Warning),
            text: "pgBackRest has no stanzas".to_owned(),
            explanation: Some(
                "Its list is empty. Create a stanza with `pgbackrest stanza-create`, or check which configuration \
                 and stanza filters are used here.",
            ),
        };
    }
    let health = entries.iter().map(|entry| entry.assessment.health).max();
    let stanzas: Vec<&Judged<'_>> = entries.iter().filter(|entry| entry.is_stanza()).collect();
    if stanzas.is_empty() {
        return Headline {
            health,
            text: "No stanza is known".to_owned(),
            explanation: Some("The repository cannot be listed, so its stanzas are unknown."),
        };
    }
    let configuration = snapshot.collection.configuration.as_ref();
    let is_incomplete = configuration.is_some_and(|health| health.problem.is_some());
    let records = [&snapshot.collection.restore_tests, &snapshot.collection.verifications];
    let has_unusable = records.into_iter().flatten().any(|health| health.unusable > 0);
    Headline {
        health: if is_incomplete || has_unusable { health.max(Some(Health::Warning)) } else { health },
        text: count_sentence(&stanzas) + if stanzas.len() < entries.len() { UNLISTED_TOO } else { "" },
        explanation: is_incomplete
            .then_some("pgBackRest's configuration cannot be read, so stanzas may be missing here."),
    }
}

/// Follows the sentence about stanzas.
const UNLISTED_TOO: &str = ", and a repository cannot be listed";

fn count_sentence(entries: &[&Judged<'_>]) -> String {
    let count = |health| entries.iter().filter(|entry| entry.assessment.health == health).count();
    let (failed, warned) = (count(Health::Failed), count(Health::Warning));
    let total = entries.len();
    if let [only] = entries {
        let words = match only.assessment.health {
            Health::Ok => "is ok",
            Health::Warning => "needs attention",
            Health::Failed => "has failed",
        };
        return format!("{} {words}", human::line(only.name, 60));
    }
    let needs = if warned == 1 { "needs" } else { "need" };
    match (failed, warned) {
        (0, 0) => format!("All {total} stanzas are ok"),
        (0, _) => format!("{warned} of {total} stanzas {needs} attention"),
        (_, 0) => format!("{failed} of {total} stanzas failed"),
        _ => format!("{failed} of {total} stanzas failed, {warned} {needs} attention"),
    }
}

fn header(snapshot: &Snapshot, context: &PageContext<'_>, headline: &Headline, now: DateTime<Utc>) -> Markup {
    let last_run = snapshot.collection.scopes.values().map(|scope| scope.last_run).max();
    html! {
        header {
            p.soft { "pgBackRest backups · " bdi { (human::line(context.title, 120)) } }
            h1 { (pieces::symbol(headline.health)) " " (headline.text) }
            @if let Some(explanation) = headline.explanation { p { (explanation) } }
            p.soft {
                @if let Some(last_run) = last_run { "Last collection " (pieces::age(last_run, now)) " · " }
                "every " (human::duration(interval(context)))
                @if let Some(version) = snapshot.version { " · " (version.with_name()) }
                " · times in UTC"
                @if context.stanza.is_some() { " · " a href="?" { "all stanzas" } }
            }
        }
    }
}

fn footer(context: &PageContext<'_>, has_stanzas: bool) -> Markup {
    html! {
        footer {
            @if has_stanzas { (pieces::provenance()) }
            (pieces::last_line(context.version, context.metrics_path))
        }
    }
}

fn interval(context: &PageContext<'_>) -> TimeDelta {
    TimeDelta::from_std(context.interval).unwrap_or(TimeDelta::MAX)
}

fn fresh_for(interval: Duration) -> TimeDelta {
    TimeDelta::from_std(interval.saturating_mul(FRESH_INTERVALS)).unwrap_or(TimeDelta::MAX)
}

#[cfg(test)]
mod tests {
    use rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;

    use super::*;

    /// Base64 (RFC 4648) of the 32 bytes of a SHA-256.
    fn base64(digest: &[u8]) -> String {
        const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = String::new();
        for group in digest.chunks(3) {
            let bits =
                group.iter().fold(0, |bits, byte| bits << 8 | usize::from(*byte)) << (8 * (3 - group.len()));
            for digit in 0..=group.len() {
                text.push(char::from(DIGITS[bits >> (18 - 6 * digit) & 63]));
            }
            text.push_str(&"=".repeat(3 - group.len()));
        }
        text
    }

    #[test]
    fn the_policy_names_the_style() {
        let suite = TLS13_AES_128_GCM_SHA256.tls13().unwrap();
        let hash = base64(suite.common.hash_provider.hash(STYLE.as_bytes()).as_ref());
        assert!(CONTENT_SECURITY_POLICY.contains(&format!("'sha256-{hash}'")), "the style's hash is {hash}");
    }
}
