//! Calls of heartbeats and webhooks, by target.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use parking_lot::Mutex;

use super::catalogue::exporter as catalogue;
use super::catalogue::{Labels, Metric};
use super::family::{Families, Value};

/// What a target is called for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TargetKind {
    /// Conditions hold.
    Heartbeat,
    /// A state has changed.
    Webhook,
}

/// Why a call has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallFailure {
    Connect,
    Tls,
    Timeout,
    /// Anything but 200 to 299, apart from redirects.
    Status,
    Redirect,
    /// It is not HTTP, or ended early.
    Response,
}

/// The targets of the configuration. Empty while nobody is notified.
#[derive(Debug, Default)]
pub struct NotificationMetrics(Mutex<BTreeMap<(TargetKind, Arc<str>), TargetState>>);

#[derive(Debug, Clone, Default)]
struct TargetState {
    delivered: u64,
    /// In the order of [`CallFailure::ALL`].
    failures: [u64; CallFailure::ALL.len()],
    queued: u64,
    last_success: Option<DateTime<Utc>>,
    /// Whether the last call succeeded.
    is_up: Option<bool>,
    /// Whether the conditions of a heartbeat hold.
    holds: Option<bool>,
}

impl NotificationMetrics {
    /// From now on, there are these targets. Those that were there before keep their values.
    pub fn set_targets(&self, targets: impl Iterator<Item = (TargetKind, Arc<str>)>) {
        let mut all = self.0.lock();
        let mut before = std::mem::take(&mut *all);
        all.extend(targets.map(|target| {
            let state = before.remove(&target).unwrap_or_default();
            (target, state)
        }));
    }

    /// From now on, there is none.
    pub fn clear(&self) {
        self.0.lock().clear();
    }

    /// Records a call, and returns whether the one before succeeded.
    pub fn called(
        &self,
        kind: TargetKind,
        name: &Arc<str>,
        failure: Option<CallFailure>,
        at: DateTime<Utc>,
    ) -> Option<bool> {
        let mut all = self.0.lock();
        let state = all.get_mut(&(kind, Arc::clone(name)))?;
        match failure {
            None => {
                state.delivered += 1;
                state.last_success = Some(at);
            }
            Some(failure) => {
                let counters = CallFailure::ALL.iter().zip(&mut state.failures);
                counters.filter(|(known, _)| **known == failure).for_each(|(_, count)| *count += 1);
            }
        }
        state.is_up.replace(failure.is_none())
    }

    /// Records whether the conditions of a heartbeat hold; none if that is not known.
    pub fn held(&self, name: &Arc<str>, holds: Option<bool>) {
        if let Some(state) = self.0.lock().get_mut(&(TargetKind::Heartbeat, Arc::clone(name))) {
            state.holds = holds;
        }
    }

    /// Records how many messages wait for a webhook.
    pub fn queued(&self, name: &Arc<str>, queued: u64) {
        if let Some(state) = self.0.lock().get_mut(&(TargetKind::Webhook, Arc::clone(name))) {
            state.queued = queued;
        }
    }

    pub(super) fn write(&self, families: &mut Families<'_, '_>) -> fmt::Result {
        let all = self.0.lock().clone();
        families.family(&catalogue::NOTIFICATION_DELIVERIES_TOTAL, |family| {
            all.iter().try_for_each(|((kind, name), state)| {
                family.add_count(&[kind.as_str().into(), (&**name).into()], state.delivered)
            })
        })?;
        families.family(&catalogue::NOTIFICATION_FAILURES_TOTAL, |family| {
            all.iter().try_for_each(|((kind, name), state)| {
                CallFailure::ALL.iter().zip(&state.failures).try_for_each(|(failure, count)| {
                    family
                        .add_count(&[kind.as_str().into(), failure.as_str().into(), (&**name).into()], *count)
                })
            })
        })?;
        write_known(families, &all, &catalogue::NOTIFICATION_UP, |state| state.is_up.map(Value::from))?;
        write_known(families, &all, &catalogue::NOTIFICATION_LAST_SUCCESS_TIMESTAMP_SECONDS, |state| {
            state.last_success.map(|at| at.timestamp().into())
        })?;
        let mut webhooks = all.iter().filter(|((kind, _), _)| *kind == TargetKind::Webhook);
        families.family(&catalogue::NOTIFICATION_QUEUE_LENGTH, |family| {
            webhooks.try_for_each(|((_, name), state)| family.add(&[(&**name).into()], state.queued))
        })?;
        families.family(&catalogue::HEARTBEAT_CONDITIONS_MET, |family| {
            all.iter().try_for_each(|((_, name), state)| family.add_known(&[(&**name).into()], state.holds))
        })
    }
}

fn write_known(
    families: &mut Families<'_, '_>,
    all: &BTreeMap<(TargetKind, Arc<str>), TargetState>,
    metric: &Metric<Labels<2>>,
    value: fn(&TargetState) -> Option<Value>,
) -> fmt::Result {
    families.family(metric, |family| {
        all.iter().try_for_each(|((kind, name), state)| {
            family.add_known(&[kind.as_str().into(), (&**name).into()], value(state))
        })
    })
}

impl TargetKind {
    /// The label value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Heartbeat => "heartbeat",
            Self::Webhook => "webhook",
        }
    }
}

impl CallFailure {
    const ALL: [Self; 6] =
        [Self::Connect, Self::Tls, Self::Timeout, Self::Status, Self::Redirect, Self::Response];

    /// The label value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Status => "status",
            Self::Redirect => "redirect",
            Self::Response => "response",
        }
    }
}
