//! The body of a webhook, and its signature.

use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use ring::hmac;
use serde::Serialize;

use crate::check::facts::clean;
use crate::check::output::PlaceEntry;
use crate::check::report::{Problem, Severity};
use crate::state::human;
use crate::text;

use super::changes::{Change, Subject};
use super::config::{Format, SigningKey};

/// Changes in one message.
pub(super) const MOST_CHANGES: usize = 50;
/// Problems of one change.
const MOST_PROBLEMS: usize = 10;
/// Characters of one problem.
const LONGEST_PROBLEM: usize = 400;
/// Characters of a name.
const LONGEST_NAME: usize = 255;

/// A message, and the states that it tells.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) body: Bytes,
    pub(super) states: Arc<[(Subject, Option<Severity>)]>,
}

/// The messages that tell the changes: usually one. `source` is the host, or the pod of the operator, and `id` is another one for each
/// message.
pub(super) fn messages(
    format: Format,
    changes: &[Change],
    (source, at): (&str, DateTime<Utc>),
    mut id: impl FnMut() -> u128,
) -> Vec<Message> {
    let parts = changes.chunks(MOST_CHANGES);
    parts
        .map(|part| {
            let body = match format {
                Format::Json => json(part, source, at, id()),
                Format::Slack => slack(part, source),
            };
            Message { body, states: part.iter().map(|change| (change.subject.clone(), change.to)).collect() }
        })
        .collect()
}

/// The value of the header with the signature of a body.
pub(super) fn signature(key: &SigningKey, body: &[u8]) -> String {
    format!("sha256={}", hex::encode(hmac::sign(&key.0, body)))
}

#[derive(Debug, Serialize)]
struct Document<'a> {
    version: u32,
    id: String,
    source: String,
    time: String,
    changes: Vec<ChangeEntry<'a>>,
}

#[derive(Debug, Serialize)]
struct ChangeEntry<'a> {
    service: &'a str,
    #[serde(flatten)]
    place: PlaceEntry,
    /// The exit code of `check`; none if the stanza is no longer known.
    state: Option<u8>,
    status: &'a str,
    previous: Option<&'a str>,
    since: String,
    problems: Vec<ProblemEntry<'a>>,
    /// Problems that have no room.
    omitted: usize,
}

#[derive(Debug, Serialize)]
struct ProblemEntry<'a> {
    status: &'a str,
    alert: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    repo_key: Option<u32>,
    text: String,
}

fn json(changes: &[Change], source: &str, at: DateTime<Utc>, id: u128) -> Bytes {
    let document = Document {
        version: 1,
        id: format!("{id:032x}"),
        source: name(source),
        time: time(at),
        changes: changes.iter().map(ChangeEntry::of).collect(),
    };
    // Strings, numbers and lists can always be written.
    let document = serde_json::to_string(&document).unwrap_or_default();
    Bytes::from(text::escaped_json(&document).into_owned())
}

impl<'a> ChangeEntry<'a> {
    fn of(change: &'a Change) -> Self {
        let (service, place) = &change.subject;
        Self {
            service: *service,
            place: PlaceEntry::of(place),
            state: change.to.map(Severity::code),
            status: word(change.to),
            previous: change.from.map(Severity::as_str),
            since: time(change.since),
            problems: change.problems.iter().take(MOST_PROBLEMS).map(ProblemEntry::of).collect(),
            omitted: change.problems.len().saturating_sub(MOST_PROBLEMS),
        }
    }
}

impl<'a> ProblemEntry<'a> {
    fn of(problem: &'a Problem) -> Self {
        Self {
            status: problem.severity.as_str(),
            alert: problem.alert,
            repo_key: problem.place.repo,
            text: clean(&problem.sentence(), LONGEST_PROBLEM),
        }
    }
}

/// `CRITICAL backups of demo on db1: demo repo1: the newest backup is 2 d old; 1 more problem (was OK)`, a line for each change.
fn slack(changes: &[Change], source: &str) -> Bytes {
    let lines: Vec<String> = changes.iter().map(|change| line(change, source)).collect();
    let document = serde_json::json!({ "text": escaped(&lines.join("\n")) }).to_string();
    Bytes::from(document)
}

fn line(change: &Change, source: &str) -> String {
    let (service, place) = &change.subject;
    let place = place.to_string();
    let of = if place.is_empty() { String::new() } else { format!(" of {place}") };
    let mut line = format!("{} {service}{of} on {}", word(change.to), name(source));
    if let Some((worst, others)) = change.problems.split_first() {
        line = format!("{line}: {}", clean(&worst.sentence(), LONGEST_PROBLEM));
        if !others.is_empty() {
            let more = human::count(others.len(), "more problem");
            line = format!("{line}; {more}");
        }
    }
    let was = change.from.map(|from| format!(" (was {})", from.as_str())).unwrap_or_default();
    format!("{line}{was}")
}

/// Slack replaces only these, and takes what is in angle brackets for links, or for everybody in the channel.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn word(state: Option<Severity>) -> &'static str {
    state.map_or("GONE", Severity::as_str)
}

fn name(name: &str) -> String {
    clean(name, LONGEST_NAME)
}

fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::check::facts::Place;

    fn change(stanza: &str, problems: usize) -> Change {
        let problem = Problem {
            severity: Severity::Critical,
            alert: Some("PgBackRestBackupStale"),
            place: Place { repo: Some(1), ..Place::stanza(stanza) },
            text: "the newest backup is 2 d old".to_owned(),
            is_ignored: false,
        };
        Change {
            subject: ("backups", Place::stanza(stanza)),
            from: Some(Severity::Ok),
            to: Some(Severity::Critical),
            since: DateTime::UNIX_EPOCH,
            problems: vec![problem; problems],
        }
    }

    fn bodies(format: Format, changes: &[Change]) -> Vec<Value> {
        let all = messages(format, changes, ("db1", DateTime::UNIX_EPOCH), || 7);
        all.iter().map(|message| serde_json::from_slice(&message.body).unwrap()).collect()
    }

    #[test]
    fn a_change_is_told() {
        let time = "1970-01-01T00:00:00Z";
        assert_eq!(
            bodies(Format::Json, &[change("demo", 1)]),
            [json!({
                "version": 1, "id": "00000000000000000000000000000007", "source": "db1", "time": time,
                "changes": [{
                    "service": "backups", "stanza": "demo", "state": 2, "status": "CRITICAL", "previous": "OK", "since": time,
                    "problems": [{
                        "status": "CRITICAL", "alert": "PgBackRestBackupStale", "repo_key": 1,
                        "text": "demo repo1: the newest backup is 2 d old",
                    }],
                    "omitted": 0,
                }],
            })]
        );
        assert_eq!(
            bodies(Format::Slack, &[change("demo", 2), Change { to: None, ..change("<!channel>", 0) }]),
            [json!({
                "text": "CRITICAL backups of demo on db1: demo repo1: the newest backup is 2 d old; 1 more problem (was OK)\n\
                         GONE backups of &lt;!channel&gt; on db1 (was OK)",
            })]
        );
    }

    /// A receiver can compare it with the name of the stanza.
    #[test]
    fn a_name_is_told_as_it_is() {
        let bodies = bodies(Format::Json, &[change("a|b\u{1b}ä", 0)]);
        assert_eq!(bodies[0]["changes"][0]["stanza"], "a|b\u{1b}ä");
    }

    #[test]
    fn bodies_are_bounded() {
        let long = "\u{1b}ä".repeat(5000);
        let changes = vec![change(&long, 30); 120];
        for format in [Format::Json, Format::Slack] {
            let all = messages(format, &changes, (&long, DateTime::UNIX_EPOCH), || 7);
            assert_eq!(all.len(), 3);
            assert!(all.iter().all(|message| message.body.len() < 1024 * 1024));
            assert_eq!(all.iter().map(|message| message.states.len()).sum::<usize>(), 120);
        }
        let first = &bodies(Format::Json, &changes)[0]["changes"][0];
        assert_eq!((&first["omitted"], first["problems"].as_array().unwrap().len()), (&20.into(), 10));
    }

    /// RFC 4231, test case 2.
    #[test]
    fn a_body_is_signed() {
        let key = SigningKey(hmac::Key::new(hmac::HMAC_SHA256, b"Jefe"));
        assert_eq!(
            signature(&key, b"what do ya want for nothing?"),
            "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert_eq!(format!("{key:?}"), "<secret>");
    }
}
