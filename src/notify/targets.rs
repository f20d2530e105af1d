//! The state of each target: what it was told, what waits for it, and when it is called next.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use crate::check::facts::Place;
use crate::check::report::Severity;

use super::attempts::Attempts;
use super::body::{self, Message};
use super::changes::{News, Subject, Told};
use super::config::{Heartbeat, Webhook};
use super::judging::Verdicts;

#[derive(Debug)]
pub(super) struct HeartbeatState {
    pub(super) settings: Arc<Heartbeat>,
    /// Whether its conditions hold; none if that is not known.
    pub(super) holds: Option<bool>,
    due: Instant,
    attempts: Attempts,
    /// The call that is under way.
    call: Option<u64>,
}

#[derive(Debug)]
pub(super) struct WebhookState {
    pub(super) settings: Arc<Webhook>,
    told: Told,
    /// What it has accepted; a subject that is not there is ok.
    pub(super) delivered: BTreeMap<Subject, Severity>,
    /// Messages in the order in which they are delivered.
    pub(super) queue: VecDeque<Message>,
    /// Whether changes wait because the queue is full.
    pub(super) is_full: bool,
    /// Whether the first states by these settings are still to come.
    is_new: bool,
    due: Instant,
    attempts: Attempts,
    /// The call that is under way: of the first message.
    call: Option<u64>,
}

/// What is judged.
#[derive(Debug)]
pub(super) struct Moment<'a> {
    /// This host, or the pod of the operator.
    pub(super) source: &'a str,
    /// All that are known, whether a target is about them or not.
    pub(super) stanzas: &'a BTreeSet<Place>,
    pub(super) at: DateTime<Utc>,
    pub(super) now: Instant,
}

impl HeartbeatState {
    pub(super) fn new(settings: Arc<Heartbeat>, now: Instant) -> Self {
        Self { settings, holds: None, due: now, attempts: Attempts::default(), call: None }
    }

    /// The same target with other settings: nothing is known of its conditions. Reloads do not make calls more frequent, but what has
    /// failed may have been corrected.
    pub(super) fn reset(self, settings: Arc<Heartbeat>, now: Instant) -> Self {
        if self.settings.endpoint.url != settings.endpoint.url {
            return Self::new(settings, now);
        }
        let due = if self.attempts.is_failing() { now } else { self.due.min(now + settings.interval) };
        Self { settings, holds: None, due, ..self }
    }

    /// Whether it is to be called, provided that its conditions hold.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.call.is_none() && self.due <= now
    }

    pub(super) const fn start(&mut self, call: u64) {
        self.call = Some(call);
    }

    /// The next call is due after the interval, or earlier if this one has failed. Returns the pause; none if the call was one of
    /// another target that had the name.
    pub(super) fn ended(&mut self, call: u64, is_ok: bool, now: Instant) -> Option<Duration> {
        self.call.take_if(|own| *own == call)?;
        let interval = self.settings.interval;
        let pause = if is_ok {
            self.attempts.succeeded();
            interval
        } else {
            self.attempts.failed(rand::random()).min(interval)
        };
        self.due = now + pause;
        Some(pause)
    }
}

impl WebhookState {
    /// `delivered` is what it has accepted before.
    pub(super) fn new(settings: Arc<Webhook>, delivered: BTreeMap<Subject, Severity>, now: Instant) -> Self {
        let state = Self {
            told: Told::after(&delivered),
            delivered,
            queue: VecDeque::new(),
            is_full: false,
            is_new: true,
            due: now,
            attempts: Attempts::default(),
            call: None,
            settings: Arc::clone(&settings),
        };
        state.reset(settings, now)
    }

    /// The same target with other settings. What it is no longer about is forgotten, and not gone.
    pub(super) fn reset(self, settings: Arc<Webhook>, now: Instant) -> Self {
        let mut state = Self { settings, is_new: true, due: now, ..self };
        let settings = Arc::clone(&state.settings);
        state.keep(|subject| settings.conditions.concern(subject));
        state
    }

    fn keep(&mut self, is_kept: impl Fn(&Subject) -> bool) {
        self.told.retain(&is_kept);
        self.delivered.retain(|subject, _| is_kept(subject));
    }

    /// Puts what is news into the queue, as far as there is room. The rest stays untold; returns how many changes that are.
    pub(super) fn take(&mut self, verdicts: Verdicts, moment: &Moment<'_>) -> usize {
        let Verdicts { all, unlisted } = verdicts;
        if self.is_new {
            let judged: BTreeSet<Subject> =
                all.iter().map(|verdict| (verdict.service, verdict.place.clone())).collect();
            // What is known and not judged is not gone: the settings select only other repositories.
            self.keep(|subject| judged.contains(subject) || !moment.stanzas.contains(&subject.1));
            self.is_new = !unlisted.is_empty();
        }
        let settings = &self.settings;
        let room = settings.queue.saturating_sub(self.queue.len()).saturating_mul(body::MOST_CHANGES);
        let News { changes, waiting } =
            self.told.update(all, &unlisted, (settings.wait, room), (moment.now, moment.at));
        let origin = (moment.source, moment.at);
        self.queue.extend(body::messages(settings.format, &changes, origin, rand::random));
        waiting
    }

    /// The message to send now, if one is due.
    pub(super) fn start(&mut self, call: u64, now: Instant) -> Option<Message> {
        self.due().filter(|due| *due <= now)?;
        self.call = Some(call);
        self.queue.front().cloned()
    }

    /// When the next call is due; never while one is under way.
    pub(super) fn due(&self) -> Option<Instant> {
        (self.call.is_none() && !self.queue.is_empty()).then_some(self.due)
    }

    /// The next message is due at once, or this one again after a pause, which is returned; none if the call was one of another target
    /// that had the name.
    pub(super) fn ended(&mut self, call: u64, is_ok: bool, now: Instant) -> Option<Duration> {
        self.call.take_if(|own| *own == call)?;
        let pause = if is_ok {
            self.attempts.succeeded();
            for (subject, state) in self.queue.pop_front().iter().flat_map(|message| &*message.states) {
                match state {
                    None | Some(Severity::Ok) => self.delivered.remove(subject),
                    Some(problem) => self.delivered.insert(subject.clone(), *problem),
                };
            }
            Duration::ZERO
        } else {
            self.attempts.failed(rand::random())
        };
        self.due = now + pause;
        Some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::changes::Verdict;
    use crate::notify::config::{self, NotifyConfig};

    fn config(text: &str) -> NotifyConfig {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify.yml");
        std::fs::write(&path, text).unwrap();
        config::load(&path).unwrap()
    }

    fn webhook(more: &str) -> Arc<Webhook> {
        let text = format!("webhooks:\n- {{name: a, url: 'http://localhost/', for: 0s{more}}}\n");
        Arc::clone(&config(&text).webhooks[0])
    }

    fn heartbeat(more: &str) -> Arc<Heartbeat> {
        let text = format!("heartbeats:\n- {{name: a, services: [wal], interval: 1h, {more}}}\n");
        Arc::clone(&config(&text).heartbeats[0])
    }

    /// Judges stanzas that are critical, while others are known, too. Returns what waits.
    fn judge(state: &mut WebhookState, critical: &[&str], known: &[&str], now: Instant) -> usize {
        let all = critical.iter().map(|stanza| Verdict {
            service: "wal",
            place: Place::stanza(stanza),
            severity: Severity::Critical,
            problems: Vec::new(),
        });
        let verdicts = Verdicts { all: all.collect(), unlisted: Vec::new() };
        let stanzas = critical.iter().chain(known).map(|stanza| Place::stanza(stanza)).collect();
        let moment = Moment { source: "db1", stanzas: &stanzas, at: DateTime::UNIX_EPOCH, now };
        state.take(verdicts, &moment)
    }

    fn told(state: &WebhookState) -> Vec<(String, Option<Severity>)> {
        let states = state.queue.iter().flat_map(|message| &*message.states);
        states.map(|((_, place), severity)| (place.to_string(), *severity)).collect()
    }

    #[test]
    fn no_problem_is_lost_while_the_queue_is_full() {
        let now = Instant::now();
        let mut state = WebhookState::new(webhook(", queue: 1"), BTreeMap::new(), now);
        assert_eq!(judge(&mut state, &["a"], &[], now), 0);
        assert_eq!(judge(&mut state, &["a", "b"], &[], now), 1);
        assert_eq!(told(&state), [("a".to_owned(), Some(Severity::Critical))]);
        // Nor if a reload shortens it.
        state.queue.push_back(state.queue[0].clone());
        let mut state = state.reset(webhook(", queue: 1"), now);
        assert_eq!((judge(&mut state, &["a", "b"], &[], now), state.queue.len()), (1, 2));
        for call in [1, 2] {
            assert!(state.start(call, now).is_some());
            assert!(state.ended(call, true, now).is_some());
        }
        assert_eq!(judge(&mut state, &["a", "b"], &[], now), 0);
        assert_eq!(told(&state), [("b".to_owned(), Some(Severity::Critical))]);
    }

    #[test]
    fn what_leaves_the_scope_is_not_gone() {
        let now = Instant::now();
        for (more, judged, known) in [
            (", stanzas: [b]", &["b"][..], &["a"][..]),
            (", services: [stanza]", &[], &["a", "b"]),
            (", repos: [2]", &["b"], &["a"]),
            // It also vanishes at the same time.
            (", stanzas: [b]", &["b"], &[]),
        ] {
            let mut state = WebhookState::new(webhook(""), BTreeMap::new(), now);
            judge(&mut state, &["a", "b"], &[], now);
            state.start(1, now).unwrap();
            state.ended(1, true, now);
            let mut state = state.reset(webhook(more), now);
            judge(&mut state, judged, known, now);
            assert_eq!(told(&state), [], "{more}");
            assert_eq!(state.delivered.len(), judged.len(), "{more}");
            // What is gone later is told.
            judge(&mut state, &[], known, now);
            assert_eq!(
                told(&state),
                judged.iter().map(|name| ((*name).to_owned(), None)).collect::<Vec<_>>()
            );
        }
    }

    #[test]
    fn an_answer_counts_only_for_the_call_that_it_is_of() {
        let now = Instant::now();
        let mut state = WebhookState::new(webhook(""), BTreeMap::new(), now);
        judge(&mut state, &["a"], &[], now);
        state.start(2, now).unwrap();
        // The target had been removed, and was added again.
        assert_eq!(state.ended(1, true, now), None);
        assert_eq!((state.queue.len(), state.due(), state.delivered.len()), (1, None, 0));
        assert_eq!(state.ended(2, true, now), Some(Duration::ZERO));
        assert_eq!((state.queue.len(), state.delivered.len()), (0, 1));
    }

    #[test]
    fn reloads_do_not_change_when_a_heartbeat_is_due() {
        let (now, hour) = (Instant::now(), Duration::from_hours(1));
        let (one, other) = ("url: 'http://localhost/1'", "url: 'http://localhost/2'");
        let mut state = HeartbeatState::new(heartbeat(one), now);
        assert!(state.is_due(now));
        state.start(1);
        let mut state = state.reset(heartbeat(one), now);
        assert!(!state.is_due(now) && state.ended(1, true, now) == Some(hour));
        let state = state.reset(heartbeat(one), now + hour / 2);
        assert!(!state.is_due(now + hour / 2) && state.is_due(now + hour));
        let mut state = state.reset(heartbeat(other), now);
        assert!(state.is_due(now));
        state.start(2);
        // The old answer is none of the new URL.
        let mut state = state.reset(heartbeat(one), now);
        assert!(state.is_due(now) && state.ended(2, true, now).is_none() && state.is_due(now));
        state.start(3);
        assert!(state.ended(3, false, now).unwrap() < hour && state.reset(heartbeat(one), now).is_due(now));
    }
}
