//! The table of all stanzas, worst first: one line each with its recovery window and worst finding.

use chrono::{DateTime, Utc};
use maud::{Markup, html};

use crate::state::answer;
use crate::state::health::{Health, Judged};
use crate::state::human;

use super::pieces;

/// The first `limit` stanzas; the sections of the first `with_section` of them are on this page.
pub(super) fn table(entries: &[Judged<'_>], with_section: usize, limit: usize, now: DateTime<Utc>) -> Markup {
    html! {
        section aria-labelledby="stanzas" {
            h2 #stanzas { "Stanzas" }
            table.rows.stanzas {
                thead {
                    tr { th scope="col" { "State" } th scope="col" { "Stanza" }
                        th scope="col" { "Restorable to" } th scope="col" { "Newest backup" } }
                }
                tbody {
                    @for (position, entry) in entries.iter().take(limit).enumerate() {
                        (row(entry, position < with_section, now))
                    }
                }
            }
            @if let Some(rest) = entries.get(limit..).filter(|rest| !rest.is_empty()) {
                p.soft {
                    (human::count(rest.len(), "more stanza")) " not shown, "
                    (rest.iter().filter(|entry| entry.assessment.health == Health::Ok).count()) " of them ok."
                }
            }
        }
    }
}

fn row(entry: &Judged<'_>, has_section: bool, now: DateTime<Utc>) -> Markup {
    let health = entry.assessment.health;
    let address =
        if has_section { format!("#{}", pieces::anchor(entry.name)) } else { pieces::address(entry.name) };
    let restorable = entry.stanza.and_then(answer::restorable);
    let newest = entry.stanza.and_then(answer::newest_backup);
    let worst = entry.assessment.findings.first();
    html! {
        tr {
            td { (pieces::badge(health, health.as_str())) }
            th scope="row" {
                a href=(address) { bdi { (entry.title(80)) } }
                @if let Some(worst) = worst {
                    p class={ "reason " (worst.health) } {
                        @if let Some(key) = worst.repo_key { (human::repo_name(key)) ": " }
                        (human::line(&worst.text, 120))
                        @if let Some(more @ 1..) = entry.assessment.findings.len().checked_sub(1) {
                            span.soft { " +" (more) " more" }
                        }
                    }
                }
            }
            td {
                @if let Some(restorable) = restorable { (pieces::instant(restorable.window.latest)) }
                @else { "nothing" }
            }
            td {
                @if let Some(newest) = newest { (pieces::age(newest.stop, now)) } @else { "none" }
            }
        }
    }
}
