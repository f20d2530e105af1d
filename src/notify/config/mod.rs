//! `--notify.config.file`: who is notified, and of what.
//!
//! URLs and keys are secrets: they are never printed, and problems name the file, the line and the key only.

mod conditions;
mod document;
mod endpoint;

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ring::hmac;
use serde_saphyr::Location;

use crate::config_file::{self, ConfigFileError, ConfigHandle, Configuration, Files, Problem, Text};
use crate::http::outgoing;

pub use conditions::Conditions;
pub use endpoint::Endpoint;

use document::{Document, Section};

/// The current configuration.
pub type NotifyConfigHandle = ConfigHandle<NotifyConfig>;

/// Targets of both kinds.
const MOST_TARGETS: usize = 50;
/// Characters of the name of a target, which is a label value.
const LONGEST_NAME: usize = 60;
/// Bytes of a key: half of what SHA-256 needs for its full strength.
const SHORTEST_KEY: usize = 16;
/// Messages that wait for a webhook.
const USUAL_QUEUE: usize = 100;
const LONGEST_QUEUE: usize = 1000;

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_hours(24);
const USUAL_INTERVAL: Duration = Duration::from_mins(5);
const USUAL_WAIT: Duration = Duration::from_mins(5);
const USUAL_TIMEOUT: Duration = Duration::from_secs(10);
const LONGEST_TIMEOUT: Duration = Duration::from_mins(1);

/// Who is notified. Without a file, nobody.
#[derive(Debug, Default)]
pub struct NotifyConfig {
    pub heartbeats: Vec<Arc<Heartbeat>>,
    pub webhooks: Vec<Arc<Webhook>>,
    warnings: Vec<String>,
}

/// A URL that is called as long as conditions hold.
#[derive(Debug)]
pub struct Heartbeat {
    pub name: Arc<str>,
    pub endpoint: Endpoint,
    pub conditions: Conditions,
    pub interval: Duration,
    /// Whether the conditions hold if there are only warnings.
    pub allows_warnings: bool,
}

/// A URL to which changes of state are posted.
#[derive(Debug)]
pub struct Webhook {
    pub name: Arc<str>,
    pub endpoint: Endpoint,
    pub conditions: Conditions,
    pub format: Format,
    /// What bodies are signed with.
    pub key: Option<SigningKey>,
    /// How long a new state must last before it is told.
    pub wait: Duration,
    /// How many messages may wait.
    pub queue: usize,
}

/// The format of the body of a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Json,
    /// As Slack, Mattermost, Rocket.Chat and Discord (`/slack`) read it.
    Slack,
}

/// An HMAC key. It is never printed.
pub struct SigningKey(pub hmac::Key);

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("<secret>")
    }
}

/// Reads and validates a file and the files that it references. Blocks on file I/O.
pub fn load(file: &Path) -> Result<NotifyConfig, ConfigFileError> {
    config_file::load(file)
}

impl Configuration for NotifyConfig {
    const NAME: &'static str = "notification configuration";

    fn check(text: &str, files: &mut Files) -> Result<Self, Problem> {
        let known = [document::KEYS, outgoing::config::KEYS].concat();
        let document: Document = config_file::parse_strictly(text, &known, Self::NAME)?;
        // As while it is being written.
        if document.heartbeats.is_none() && document.webhooks.is_none() {
            let text = "it is empty; list heartbeats or webhooks, or write webhooks: [] to call nobody";
            return Err(Problem::of_file(text));
        }
        let mut config = Self::default();
        let mut names = BTreeSet::new();
        for (list, sections) in [("heartbeats", &document.heartbeats), ("webhooks", &document.webhooks)] {
            for section in sections.iter().flatten() {
                let target = Target::of(list, section.referenced, &section.value)?;
                if !names.insert(Arc::clone(&target.name)) {
                    return Err(target.wrong("name", "another target has this name; choose another one"));
                }
                if names.len() > MOST_TARGETS {
                    return Err(Problem::at(section.referenced, "more than 50 targets; remove some"));
                }
                if list == "heartbeats" {
                    config.heartbeats.push(Arc::new(heartbeat(&target, files, &mut config.warnings)?));
                } else {
                    config.webhooks.push(Arc::new(webhook(&target, files, &mut config.warnings)?));
                }
            }
        }
        Ok(config)
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

/// A section of the file with its name, for problems.
struct Target<'a> {
    list: &'static str,
    place: Location,
    name: Arc<str>,
    section: &'a Section,
}

impl<'a> Target<'a> {
    fn of(list: &'static str, place: Location, section: &'a Section) -> Result<Self, Problem> {
        let Some(name) = &section.name else {
            return Err(Problem::at(
                place,
                format!("{list}: name is missing; add one, such as name: oncall"),
            ));
        };
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if name.value.is_empty() || name.value.len() > LONGEST_NAME || !name.value.bytes().all(is_plain) {
            let text =
                format!("{list}: name: must be 1 to 60 letters, digits and - _ . (it is shown in metrics)");
            return Err(Problem::at(name.referenced, text));
        }
        Ok(Self { list, place, name: name.value.as_str().into(), section })
    }

    /// A problem with a key, at the line of the target.
    fn wrong(&self, key: &str, reason: &str) -> Problem {
        self.wrong_at(self.place, key, reason)
    }

    fn wrong_at(&self, place: Location, key: &str, reason: &str) -> Problem {
        Problem::at(place, format!("{}: {}: {key}: {reason}", self.list, self.name))
    }

    /// A duration within limits, or the usual one.
    fn duration(
        &self,
        key: &str,
        given: Option<&Text>,
        usual: Duration,
        limits: (Duration, Duration),
    ) -> Result<Duration, Problem> {
        let Some(text) = given else { return Ok(usual) };
        let (least, most) = limits;
        let parsed = match text.value.trim().parse() {
            Ok(seconds) => Some(Duration::from_secs(seconds)),
            Err(_) => humantime::parse_duration(&text.value).ok(),
        };
        parsed.filter(|duration| (least..=most).contains(duration)).ok_or_else(|| {
            let (least, most) = (humantime::format_duration(least), humantime::format_duration(most));
            self.wrong_at(
                text.referenced,
                key,
                &format!("must be a duration from {least} to {most}, such as 30s"),
            )
        })
    }

    /// Rejects keys that belong to the other kind of target.
    fn refuse(&self, keys: &[(&str, Option<&Text>)], instead: &str) -> Result<(), Problem> {
        match keys.iter().find_map(|(key, text)| Some((key, (*text)?))) {
            Some((key, text)) => {
                Err(self.wrong_at(text.referenced, key, &format!("only {instead} have it; remove it")))
            }
            None => Ok(()),
        }
    }
}

fn heartbeat(
    target: &Target<'_>,
    files: &mut Files,
    warnings: &mut Vec<String>,
) -> Result<Heartbeat, Problem> {
    let Section { format, hmac_key_file, wait, queue, interval, allow_warnings, .. } = target.section;
    let of_webhooks = [
        ("format", format.as_ref()),
        ("hmac_key_file", hmac_key_file.as_ref()),
        ("for", wait.as_ref()),
        ("queue", queue.as_ref()),
    ];
    target.refuse(&of_webhooks, "webhooks")?;
    let allows_warnings = match allow_warnings.as_ref().map(|text| (text.value.as_str(), text.referenced)) {
        None | Some(("false", _)) => false,
        Some(("true", _)) => true,
        Some((_, place)) => return Err(target.wrong_at(place, "allow_warnings", "must be true or false")),
    };
    let interval = target.duration("interval", interval.as_ref(), USUAL_INTERVAL, (SECOND, DAY))?;
    if target.section.services.is_none() {
        return Err(target.wrong("services", "is missing; list what must be fine, such as [backups, wal]"));
    }
    Ok(Heartbeat {
        name: Arc::clone(&target.name),
        interval,
        // A heartbeat is relied on, so what was never tried is not fine.
        conditions: conditions::read(target, true)?,
        endpoint: endpoint::read(target, files, warnings)?,
        allows_warnings,
    })
}

fn webhook(target: &Target<'_>, files: &mut Files, warnings: &mut Vec<String>) -> Result<Webhook, Problem> {
    let Section { format, hmac_key_file, wait, queue, interval, allow_warnings, .. } = target.section;
    let of_heartbeats = [("interval", interval.as_ref()), ("allow_warnings", allow_warnings.as_ref())];
    target.refuse(&of_heartbeats, "heartbeats")?;
    let format = match format.as_ref().map(|text| (text.value.as_str(), text.referenced)) {
        None | Some(("json", _)) => Format::Json,
        Some(("slack", _)) => Format::Slack,
        Some((_, place)) => return Err(target.wrong_at(place, "format", "must be json or slack")),
    };
    let queue = match queue {
        None => USUAL_QUEUE,
        Some(text) => {
            let length = text.value.parse().ok().filter(|length| (1..=LONGEST_QUEUE).contains(length));
            length
                .ok_or_else(|| target.wrong_at(text.referenced, "queue", "must be a number from 1 to 1000"))?
        }
    };
    Ok(Webhook {
        name: Arc::clone(&target.name),
        wait: target.duration("for", wait.as_ref(), USUAL_WAIT, (Duration::ZERO, DAY))?,
        key: hmac_key_file.as_ref().map(|file| signing_key(target, file, files)).transpose()?,
        conditions: conditions::read(target, false)?,
        endpoint: endpoint::read(target, files, warnings)?,
        format,
        queue,
    })
}

/// The key is the text of the file without the line break at its end.
fn signing_key(target: &Target<'_>, file: &Text, files: &mut Files) -> Result<SigningKey, Problem> {
    let wrong = |reason: &str| target.wrong_at(file.referenced, "hmac_key_file", reason);
    let bytes = files.read_secret(&file.value).map_err(|reason| wrong(&reason))?;
    let end = bytes.iter().rposition(|byte| !b"\r\n".contains(byte)).map_or(0, |last| last + 1);
    let key = bytes.get(..end).unwrap_or_default();
    if key.len() < SHORTEST_KEY {
        return Err(wrong("the key is shorter than 16 bytes; make one with: openssl rand -hex 32"));
    }
    Ok(SigningKey(hmac::Key::new(hmac::HMAC_SHA256, key)))
}

#[cfg(test)]
mod tests;
