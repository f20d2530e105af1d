//! The line about the archiver.

use chrono::{DateTime, Utc};
use maud::{Markup, html};

use crate::state::health::{self, Judged};

/// The state of the archiver, if the PostgreSQL cluster is on this host or in Kubernetes.
pub(super) fn line(entry: &Judged<'_>, now: DateTime<Utc>) -> Markup {
    html! {
        @if let Some(archiver) = entry.archiver {
            p.soft { "Archiver: " (health::archiver_line(archiver, now)) }
        }
    }
}
