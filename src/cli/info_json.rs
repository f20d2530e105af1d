//! The snapshot as JSON: its facts, and the same conclusions as in the tables.
//!
//! Pure: the caller passes the time.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::pgbackrest::version::Product;
use crate::state::answer::{self, Restorable};
use crate::state::health::{self, Assessment, Health, Judged};
use crate::state::recovery::{self, RecoveryWindow};
use crate::state::snapshot::{Repo, Snapshot};

/// The JSON document of one snapshot.
#[derive(Debug, Serialize)]
pub struct SnapshotDocument<'a> {
    #[serde(flatten)]
    snapshot: &'a Snapshot,
    /// pgBackRest, or a fork of it.
    product: Option<Product>,
    /// The assessment of each stanza, worst first.
    assessments: Vec<OfStanza<'a>>,
}

#[derive(Debug, Serialize)]
struct OfStanza<'a> {
    stanza: &'a str,
    #[serde(flatten)]
    assessment: Assessment,
    /// The best repository to restore from; null if nothing can be restored.
    restorable: Option<Restorable>,
    repos: Vec<OfRepo>,
}

#[derive(Debug, Serialize)]
struct OfRepo {
    key: u32,
    health: Health,
    recovery_window: Option<RecoveryWindow>,
}

impl<'a> SnapshotDocument<'a> {
    /// The facts of `snapshot`, assessed at `now`.
    #[must_use]
    pub fn of(snapshot: &'a Snapshot, now: DateTime<Utc>) -> Self {
        let all = health::of_snapshot(snapshot, now, None);
        let product = snapshot.version.map(|version| version.product);
        Self {
            snapshot,
            product,
            assessments: all.into_iter().map(|judged| OfStanza::of(judged, now)).collect(),
        }
    }
}

impl<'a> OfStanza<'a> {
    fn of(judged: Judged<'a>, now: DateTime<Utc>) -> Self {
        let repos = judged.stanza.map_or(&[][..], |stanza| &stanza.repos);
        Self {
            stanza: judged.name,
            assessment: judged.assessment,
            restorable: judged.stanza.and_then(answer::restorable),
            repos: repos.iter().map(|repo| OfRepo::of(repo, now)).collect(),
        }
    }
}

impl OfRepo {
    fn of(repo: &Repo, now: DateTime<Utc>) -> Self {
        Self {
            key: repo.key,
            health: health::of_repo(repo, now, None).health,
            recovery_window: recovery::window(repo),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::pgbackrest::{info, sanitize, version};
    use crate::state::assemble;

    fn reported(text: &[u8]) -> Value {
        let cleaned = sanitize::clean(text);
        let document = info::parse(&cleaned.text).unwrap();
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let stanzas = document.stanzas().map(|stanza| assemble::stanza(stanza, now)).collect();
        let snapshot =
            Snapshot { stanzas, version: version::parse("pgBackRest 2.60.0"), ..Snapshot::default() };
        serde_json::to_value(SnapshotDocument::of(&snapshot, now)).unwrap()
    }

    #[test]
    fn every_backup_stands_there_in_the_words_of_pgbackrest() {
        let text = include_bytes!("../../fixtures/info/2.60.0/two_repos_one_encrypted.json");
        let (raw, reported): (Value, Value) = (serde_json::from_slice(text).unwrap(), reported(text));
        let backups = |repo: &Value| repo["backups"].as_array().unwrap().clone();
        let reported_backups: Vec<Value> =
            reported["stanzas"][0]["repos"].as_array().unwrap().iter().flat_map(backups).collect();
        let raw_backups = raw[0]["backup"].as_array().unwrap();
        assert_eq!(reported_backups.len(), raw_backups.len());
        for (reported, raw) in reported_backups.iter().zip(raw_backups) {
            for (name, place) in [
                ("label", "/label"),
                ("backup_type", "/type"),
                ("wal_start", "/archive/start"),
                ("wal_stop", "/archive/stop"),
                ("lsn_start", "/lsn/start"),
                ("lsn_stop", "/lsn/stop"),
                ("size", "/info/size"),
                ("delta", "/info/delta"),
                ("repo_size", "/info/repository/size"),
                ("repo_delta", "/info/repository/delta"),
                ("prior", "/prior"),
                ("error", "/error"),
            ] {
                assert_eq!(Some(&reported[name]), raw.pointer(place), "{name}");
            }
        }
        assert_eq!((&reported["product"], &reported["version"]), (&json!("pgBackRest"), &json!("2.60.0")));
    }

    #[test]
    fn the_conclusions_stand_beside_the_facts() {
        let reported = reported(include_bytes!("../../fixtures/info/2.60.0/two_repos_repo2_wrong_pass.json"));
        let demo = &reported["assessments"][0];
        assert_eq!((&demo["stanza"], &demo["health"]), (&json!("demo"), &json!("warning")));
        assert_eq!(demo["findings"][0]["repo_key"], 2);
        assert_eq!(demo["restorable"]["repo_key"], 1);
        let newest = reported["stanzas"][0]["repos"][0]["backups"].as_array().unwrap().last().unwrap();
        assert_eq!(demo["restorable"]["window"]["latest"], newest["stop"]);
        assert_eq!(demo["repos"][0]["recovery_window"], demo["restorable"]["window"]);
        assert_eq!(
            (&demo["repos"][1]["health"], &demo["repos"][1]["recovery_window"]),
            (&json!("failed"), &Value::Null)
        );
    }
}
