//! The state of each target: what it was told, what waits for it, and when it is called next.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::check::report::Severity;

use super::body::Message;
use super::changes::{Subject, Told};
use super::config::{Heartbeat, Webhook};
use super::queue::{Attempts, Queue};

#[derive(Debug)]
pub(super) struct HeartbeatState {
    pub(super) settings: Arc<Heartbeat>,
    /// Whether its conditions hold; none if that is not known.
    pub(super) holds: Option<bool>,
    pub(super) due: Instant,
    attempts: Attempts,
    pub(super) is_called: bool,
}

#[derive(Debug)]
pub(super) struct WebhookState {
    pub(super) settings: Arc<Webhook>,
    pub(super) told: Told,
    /// What it has accepted; a subject that is not there is ok.
    pub(super) delivered: BTreeMap<Subject, Severity>,
    pub(super) queue: Queue<Message>,
    due: Instant,
    attempts: Attempts,
    pub(super) is_called: bool,
}

impl HeartbeatState {
    pub(super) fn new(settings: Arc<Heartbeat>, now: Instant) -> Self {
        Self { settings, holds: None, due: now, attempts: Attempts::default(), is_called: false }
    }

    /// The same target with other settings: nothing is known of its conditions.
    pub(super) fn reset(self, settings: Arc<Heartbeat>, now: Instant) -> Self {
        Self { settings, holds: None, due: now, ..self }
    }

    /// The next call is due after the interval, or earlier if this one has failed. Returns the pause.
    pub(super) fn ended(&mut self, is_ok: bool, now: Instant) -> Duration {
        self.is_called = false;
        let interval = self.settings.interval;
        let pause = if is_ok {
            self.attempts.succeeded();
            interval
        } else {
            self.attempts.failed(rand::random()).min(interval)
        };
        self.due = now + pause;
        pause
    }
}

impl WebhookState {
    /// `delivered` is what it has accepted before.
    pub(super) fn new(settings: Arc<Webhook>, delivered: BTreeMap<Subject, Severity>, now: Instant) -> Self {
        let (queue, attempts) = (Queue::default(), Attempts::default());
        let told = Told::after(&delivered);
        Self { settings, told, delivered, queue, due: now, attempts, is_called: false }
    }

    /// The same target with other settings.
    pub(super) fn reset(self, settings: Arc<Webhook>, now: Instant) -> Self {
        Self { settings, due: now, ..self }
    }

    /// When the next call is due; never while one is under way.
    pub(super) fn due(&self) -> Option<Instant> {
        (!self.is_called && self.queue.len() > 0).then_some(self.due)
    }

    /// The next message is due at once, or this one again after a pause, which is returned.
    pub(super) fn ended(
        &mut self,
        is_ok: bool,
        (number, message): (u64, &Message),
        now: Instant,
    ) -> Duration {
        self.is_called = false;
        let pause = if is_ok {
            self.queue.delivered(number);
            self.attempts.succeeded();
            for (subject, state) in &*message.states {
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
        pause
    }
}
