//! The backups of a stanza over time, one lane per repository, as inline SVG that scales only horizontally.
//!
//! Types differ in shape and row, not only in colour. If there are more backups of a type than marks, neighbours share
//! one.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use maud::{Markup, html};

use crate::pgbackrest::label::BackupType;
use crate::state::answer;
use crate::state::health::Judged;
use crate::state::human;
use crate::state::recovery;
use crate::state::snapshot::{Backup, ByteCount, Repo, Stanza};

/// Maximum number of marks in all lanes of a page, distributed by [`marks_per_type`].
const MARK_BUDGET: usize = 500;
/// Height of the row of one type in CSS pixels.
const ROW_HEIGHT: usize = 16;
/// Margin in percent at both ends of a lane, so that marks at the ends are not cut off.
const MARGIN: f64 = 2.2;
/// Maximum number of lanes shown per stanza.
const LANE_LIMIT: usize = 16;

/// A mark for one backup, or for neighbouring backups of one type.
struct Mark {
    x: f64,
    title: String,
    has_errors: bool,
}

/// The time axis shared by all lanes of a stanza.
#[derive(Clone, Copy)]
struct Axis {
    start: DateTime<Utc>,
    end: DateTime<Utc>,
}

/// How many marks each type gets in each lane, to bound the size of the page.
pub(super) fn marks_per_type(entries: &[Judged<'_>]) -> usize {
    let lanes: usize = entries.iter().filter_map(|entry| entry.stanza).map(|stanza| stanza.repos.len()).sum();
    (MARK_BUDGET / lanes.max(1)).clamp(16, 90)
}

/// The shapes that marks refer to; once per page.
pub(super) fn shapes() -> Markup {
    html! {
        svg.unseen width="0" height="0" aria-hidden="true" focusable="false" {
            defs {
                rect #full x="-5" y="-5" width="10" height="10" rx="1.5" {}
                path #diff d="M0-6 6 0 0 6-6 0Z" {}
                circle #incr r="3.5" {}
                path #errors d="M-6-6 6 6M6-6-6 6" {}
            }
        }
    }
}

/// The lanes of one stanza; empty without backups.
pub(super) fn figure(stanza: &Stanza, marks: usize, now: DateTime<Utc>) -> Markup {
    let lanes: Vec<&Repo> =
        stanza.repos.iter().filter(|repo| !repo.backups.is_empty()).take(LANE_LIMIT).collect();
    let Some(axis) = Axis::over(&lanes, now) else { return html! {} };
    let types: Vec<BackupType> = BackupType::ALL
        .into_iter()
        .filter(|wanted| lanes.iter().any(|repo| repo.newest(*wanted).is_some()))
        .collect();
    html! {
        figure {
            @for repo in &lanes { (lane(repo, &types, axis, marks)) }
            div.lane {
                span {}
                svg.axis width="100%" height="18" aria-hidden="true" {
                    @for (x, text) in axis.ticks() { text x=(percents(x)) y="13" { (text) } }
                    text.end x=(percents(axis.x(now))) y="13" { "now" }
                }
            }
            figcaption.soft { (legend(&types, &lanes, marks)) }
        }
    }
}

fn lane(repo: &Repo, types: &[BackupType], axis: Axis, marks: usize) -> Markup {
    let height = types.len() * ROW_HEIGHT + 6;
    let description = description(repo);
    html! {
        div.lane {
            span { (human::repo_name(repo.key)) }
            svg role="img" aria-label=(description) width="100%" height=(height) {
                @for (x, _) in axis.ticks() { line.tick x1=(percents(x)) x2=(percents(x)) y1="0" y2=(height) {} }
                @if let Some(window) = recovery::window(repo) {
                    @let (left, right) = (axis.x(window.start()), axis.x(window.latest));
                    rect.window x=(percents(left)) width=(percents(right - left)) y="0" height=(height) {}
                }
                @for (row, backup_type) in types.iter().enumerate() {
                    @let y = row * ROW_HEIGHT + ROW_HEIGHT / 2 + 3;
                    @for mark in self::marks(repo, *backup_type, axis, marks) {
                        use class=(backup_type.as_str()) href={ "#" (backup_type.as_str()) }
                            x=(percents(mark.x)) y=(y) { title { (mark.title) } }
                        @if mark.has_errors {
                            use.errors href="#errors" x=(percents(mark.x)) y=(y) {}
                        }
                    }
                }
            }
        }
    }
}

fn legend(types: &[BackupType], lanes: &[&Repo], marks: usize) -> Markup {
    let is_shared = |repo: &&Repo| types.iter().any(|wanted| answer::kept(repo, *wanted) > marks);
    let has_errors = lanes.iter().flat_map(|repo| &repo.backups).any(|backup| backup.error == Some(true));
    html! {
        @for backup_type in types {
            span.key {
                svg width="14" height="14" aria-hidden="true" {
                    use class=(backup_type.as_str()) href={ "#" (backup_type.as_str()) } x="7" y="7" {}
                }
                " " (backup_type.as_str())
            }
        }
        @if has_errors {
            span.key {
                svg width="14" height="14" aria-hidden="true" { use.errors href="#errors" x="7" y="7" {} }
                " page checksum errors"
            }
        }
        span.key {
            svg width="14" height="14" aria-hidden="true" { rect.window width="14" height="14" {} }
            " restorable"
        }
        @if lanes.iter().any(is_shared) { span.key { "neighbours share a mark" } }
    }
}

/// One mark per backup, or per interval of the axis where there are more backups than `limit`.
fn marks(repo: &Repo, backup_type: BackupType, axis: Axis, limit: usize) -> Vec<Mark> {
    let own = || repo.dated_backups().filter(move |backup| backup.backup_type == backup_type);
    if answer::kept(repo, backup_type) <= limit {
        return own().map(|backup| mark(&[backup], axis)).collect();
    }
    let mut cells: BTreeMap<usize, Vec<&Backup>> = BTreeMap::new();
    for backup in own() {
        let cell = (axis.x(backup.stop) / 100.0 * limit as f64).clamp(0.0, limit as f64);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=limit")]
        cells.entry(cell as usize).or_default().push(backup);
    }
    cells.values().map(|backups| mark(backups, axis)).collect()
}

/// The mark of neighbouring backups, oldest first, at their middle.
fn mark(backups: &[&Backup], axis: Axis) -> Mark {
    let first = backups.iter().map(|backup| backup.stop).min().unwrap_or_default();
    let last = backups.iter().map(|backup| backup.stop).max().unwrap_or_default();
    let broken = backups.iter().filter(|backup| backup.error == Some(true)).count();
    let errors = if broken == 0 { "" } else { ", page checksum errors" };
    let kind = backups.first().map_or("", |backup| backup.backup_type.as_str());
    let title = match backups {
        [only] => {
            let took = only.duration().map_or_else(|| "an unknown time".to_owned(), human::duration);
            format!(
                "{kind} {}, {} in {took}{errors}",
                human::instant(only.stop),
                human::known(only.repo_delta.map(ByteCount::get), human::bytes)
            )
        }
        many => {
            let stored = human::known(
                many.iter().map(|backup| backup.repo_delta.map(ByteCount::get)).sum(),
                human::bytes,
            );
            let short = |at: DateTime<Utc>| at.format("%m-%d %H:%M").to_string();
            format!("{} {kind}, {} to {}, {stored}{errors}", many.len(), short(first), short(last))
        }
    };
    Mark { x: f64::midpoint(axis.x(first), axis.x(last)), title, has_errors: broken > 0 }
}

fn description(repo: &Repo) -> String {
    let kept = BackupType::ALL.map(|wanted| format!("{} {}", answer::kept(repo, wanted), wanted.as_str()));
    format!("Backups in {}: {}", human::repo_name(repo.key), kept.join(", "))
}

fn percents(x: f64) -> String {
    format!("{x:.1}%")
}

impl Axis {
    /// From the oldest backup to now; at least one minute, so that a single new backup can be placed.
    fn over(lanes: &[&Repo], now: DateTime<Utc>) -> Option<Self> {
        let stops = || lanes.iter().flat_map(|repo| repo.dated_backups()).map(|backup| backup.stop);
        let end = stops().max()?.max(now);
        let start = stops().min()?.min(end - TimeDelta::minutes(1));
        Some(Self { start, end })
    }

    /// Position in percent from the left.
    fn x(self, at: DateTime<Utc>) -> f64 {
        let whole = (self.end - self.start).num_seconds().max(1) as f64;
        let part = (at - self.start).num_seconds() as f64;
        MARGIN + (part / whole).clamp(0.0, 1.0) * (100.0 - 2.0 * MARGIN)
    }

    /// At most six round times, not too close to the ends.
    fn ticks(self) -> Vec<(f64, String)> {
        const HOUR: i64 = 3_600;
        const DAY: i64 = 24 * HOUR;
        const STEPS: [i64; 14] = [
            60,
            300,
            900,
            HOUR,
            3 * HOUR,
            6 * HOUR,
            12 * HOUR,
            DAY,
            2 * DAY,
            7 * DAY,
            14 * DAY,
            30 * DAY,
            90 * DAY,
            365 * DAY,
        ];
        let span = (self.end - self.start).num_seconds();
        let step = STEPS.into_iter().find(|step| span / step < 6).unwrap_or(span / 5);
        let format = match step {
            ..DAY => "%H:%M",
            DAY..=7_776_000 => "%m-%d",
            _ => "%Y-%m",
        };
        let first = self.start.timestamp().div_euclid(step) + 1;
        (first..)
            .map_while(|tick| DateTime::from_timestamp(tick * step, 0).filter(|at| *at < self.end))
            .map(|at| (self.x(at), at.format(format).to_string()))
            .filter(|(x, _)| (4.0..86.0).contains(x))
            .collect()
    }
}
