//! The section of one stanza: recovery window, findings, backups over time, then each repository.

use chrono::{DateTime, TimeDelta, Utc};
use maud::{Markup, html};

use crate::state::answer::{self, Restorable};
use crate::state::health::{self, Judged};
use crate::state::human;
use crate::state::recovery::RecoveryWindow;
use crate::state::snapshot::{Activity, Backup, Stanza};

use super::{archiver, pieces, repo, timeline};

/// Maximum number of findings shown per stanza.
const FINDING_LIMIT: usize = 20;
/// Maximum number of repositories shown per stanza; pgBackRest allows up to 256.
const REPO_LIMIT: usize = 16;

/// Whether a section is collapsed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fold {
    /// The only stanza of the page, which the headline already names.
    Alone,
    /// Always visible.
    Never,
    /// Collapsed until opened.
    Closed,
}

/// One stanza in full; `marks` limits the timeline.
pub(super) fn section(
    entry: &Judged<'_>,
    fold: Fold,
    marks: usize,
    now: DateTime<Utc>,
    fresh_for: TimeDelta,
) -> Markup {
    let health = entry.assessment.health;
    let anchor = pieces::anchor(entry.name);
    let heading = html! {
        h2 { bdi { (entry.title(80)) } " " (pieces::badge(health, health.as_str())) }
    };
    let content = html! {
        @if let Some(stanza) = entry.stanza { (banner(stanza)) }
        (findings(entry))
        @if let Some(stanza) = entry.stanza {
            (answer(stanza, entry.archiver.and_then(health::window_end), now))
        }
        (archiver::line(entry, now))
        @if let Some(stanza) = entry.stanza {
            (activity("Backup or expire", &stanza.backup_lock, now))
            (activity("Restore", &stanza.restore_lock, now))
            (timeline::figure(stanza, marks, now))
            div.repos {
                @for one in stanza.repos.iter().take(REPO_LIMIT) { (repo::card(one, now, fresh_for)) }
            }
        }
    };
    let unseen_heading = html! { h2.unseen { bdi { (entry.title(80)) } } };
    // The id is inside the collapsed part: a link to it opens the part without a script.
    html! {
        section class=(pieces::class("stanza", health)) {
            @match fold {
                Fold::Alone => { div id=(anchor) { (unseen_heading) (content) } }
                Fold::Never => { div id=(anchor) { (heading) (content) } }
                Fold::Closed => { details { summary { (heading) } div id=(anchor) { (content) } } }
            }
        }
    }
}

/// Where a plain `pgbackrest restore` does not lead to the live data.
fn banner(stanza: &Stanza) -> Markup {
    let found = stanza
        .repos
        .iter()
        .take(REPO_LIMIT)
        .filter_map(|repo| Some((repo.key, health::default_restore_sentence(repo)?)));
    html! {
        @for (key, sentence) in found {
            p.banner role="alert" { strong { (human::repo_name(key)) } " " (sentence) }
        }
    }
}

fn findings(entry: &Judged<'_>) -> Markup {
    let findings = &entry.assessment.findings;
    html! {
        @if !findings.is_empty() {
            ul.findings {
                @for finding in findings.iter().take(FINDING_LIMIT) {
                    li class=(finding.health) {
                        (pieces::symbol(Some(finding.health))) " "
                        span.unseen { (finding.health) ": " }
                        @if let Some(key) = finding.repo_key { strong { (human::repo_name(key)) } " " }
                        (finding.text)
                    }
                }
            }
        }
    }
}

fn answer(stanza: &Stanza, end: Option<&str>, now: DateTime<Utc>) -> Markup {
    html! {
        dl.answer {
            @match answer::restorable(stanza) {
                Some(restorable) => { (window(&restorable, end, now)) }
                None => {
                    div { dt { "Restorable" } dd { strong { "nothing" } }
                        dd.soft { "no usable backup" } }
                }
            }
            @if let Some(newest) = answer::newest_backup(stanza) { (newest_backup(newest, now)) }
        }
    }
}

fn window(restorable: &Restorable, end: Option<&str>, now: DateTime<Utc>) -> Markup {
    let Restorable { repo_key, is_up, window, later_wal } = restorable;
    html! {
        div {
            dt { "Restorable " (window.bound()) " to" }
            dd { strong { (pieces::instant(window.latest)) } }
            dd.soft {
                (human::age(window.latest, now)) " · " (human::repo_name(*repo_key))
                @if !is_up { ", not responding" }
                (proof(window))
                @if let Some(end) = end { ", " (end) }
                @if let Some(segment) = later_wal {
                    br; "WAL archived up to " span.mono { (segment) }
                }
            }
        }
        div {
            dt { "from" }
            dd { strong { (pieces::instant(window.start())) } }
            dd.soft {
                @if window.length().is_zero() { "one point in time" }
                @else { (human::duration(window.length())) " of history" }
            }
        }
    }
}

const fn proof(window: &RecoveryWindow) -> &'static str {
    if window.verified { " · proven" } else { " · not verified" }
}

fn newest_backup(newest: &Backup, now: DateTime<Utc>) -> Markup {
    html! {
        div {
            dt { "Newest backup" }
            dd { strong { (pieces::age(newest.stop, now)) } }
            dd.soft { (newest.backup_type.as_str()) " · " span.mono { (human::line(&newest.label, 60)) } }
        }
    }
}

fn activity(what: &str, activity: &Activity, now: DateTime<Utc>) -> Markup {
    if activity.held != Some(true) {
        return html! {};
    }
    html! {
        p.running {
            strong { (what) " running" }
            @if let Some(since) = activity.since { ", first seen " (pieces::age(since, now)) }
            @if let Some(progress) = activity.progress {
                " " progress max="100" value=(human::percent(progress)) aria-label="progress" {}
                " " (human::progress(progress))
            }
        }
    }
}
