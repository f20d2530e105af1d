//! The state of collection: failures at the top of the page, all scopes at the end.

use chrono::{DateTime, Utc};
use maud::{Markup, html};

use crate::state::health::Health;
use crate::state::human;
use crate::state::snapshot::{Collection, ScopeHealth, ScopeKind, Snapshot};

use super::pieces;

/// Maximum number of rows in the table of scopes.
const ROW_LIMIT: usize = 40;

/// Maximum characters of what is wrong with the configuration or with records.
const PROBLEM_LIMIT: usize = 400;

/// Failed calls with reason and remedy.
pub(super) fn failures(collection: &Collection, now: DateTime<Utc>) -> Markup {
    let failed = || collection.scopes.iter().filter(|(_, scope)| scope.kind == ScopeKind::Call && !scope.up);
    html! {
        @if failed().next().is_some() {
            section.notice aria-labelledby="no-answer" {
                h2 #no-answer { "The last collection failed" }
                @for (name, scope) in failed().take(ROW_LIMIT) {
                    p { strong { bdi { (human::line(name, 80)) } } ": " (human::failure(scope)) }
                    p.soft { "Last success: " (last_success(scope, now)) }
                }
            }
        }
    }
}

/// Why pgBackRest's configuration could not be read.
pub(super) fn configuration(collection: &Collection) -> Markup {
    let problem = collection.configuration.as_ref().and_then(|health| health.problem.as_deref());
    html! {
        @if let Some(problem) = problem {
            section.notice aria-labelledby="configuration" {
                h2 #configuration { "pgBackRest's configuration cannot be read" }
                p { (human::line(problem, PROBLEM_LIMIT)) }
                p.soft {
                    "Storage types, retention, the expiry of credentials and the stanzas that should exist are unknown."
                }
            }
        }
    }
}

/// Why records of restore tests and verifications cannot be used.
pub(super) fn records(collection: &Collection) -> Markup {
    let kinds = [
        ("restore-tests", "restore tests", collection.restore_tests.as_ref()),
        ("verifications", "verifications", collection.verifications.as_ref()),
    ];
    html! {
        @for (id, kind, health) in kinds {
            @if let Some((unusable, problem)) = health.and_then(|health| Some((health.unusable, health.problem.as_deref()?))) {
                section.notice aria-labelledby=(id) {
                    h2 id=(id) { "Records of " (kind) " cannot be used" }
                    p { (human::line(problem, PROBLEM_LIMIT)) }
                    @if let Some(more @ 1..) = unusable.checked_sub(1) { p.soft { (human::count(more, "more problem")) " of this kind" } }
                }
            }
        }
    }
}

/// All scopes, failed ones first.
pub(super) fn section(snapshot: &Snapshot, now: DateTime<Utc>) -> Markup {
    let mut scopes: Vec<_> = snapshot.collection.scopes.iter().collect();
    scopes.sort_by_key(|(name, scope)| (scope.up, scope.kind == ScopeKind::Stanza, *name));
    if scopes.is_empty() {
        return html! {};
    }
    html! {
        section aria-labelledby="collection" {
            h2 #collection { "Collection" }
            table.rows.scopes {
                thead {
                    tr { th scope="col" { "State" } th scope="col" { "Scope" } th scope="col" { "Last run" }
                        th scope="col" { "Last success" } }
                }
                tbody {
                    @for (name, scope) in scopes.iter().take(ROW_LIMIT) {
                        tr {
                            td { (badge(scope)) }
                            th scope="row" {
                                bdi { (human::line(name, 80)) }
                                @if !scope.up { p.reason.failed { (human::failure(scope)) } }
                            }
                            td { (pieces::age(scope.last_run, now)) }
                            td { (last_success(scope, now)) }
                        }
                    }
                }
            }
            @if let Some(rest) = scopes.get(ROW_LIMIT..).filter(|rest| !rest.is_empty()) {
                @let up = rest.iter().filter(|(_, scope)| scope.up).count();
                p.soft { (rest.len()) " more, " (up) " of them ok." }
            }
        }
    }
}

fn badge(scope: &ScopeHealth) -> Markup {
    if scope.up { pieces::badge(Health::Ok, "ok") } else { pieces::badge(Health::Failed, "failed") }
}

fn last_success(scope: &ScopeHealth, now: DateTime<Utc>) -> Markup {
    html! { @if let Some(at) = scope.last_success { (pieces::age(at, now)) } @else { "never" } }
}
