//! The calls of one run: as many at once as allowed, and the answers published as they come where others take long.

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, sleep_until};

use crate::metrics::collection::Collector;
use crate::pgbackrest::command::InfoQuery;
use crate::pgbackrest::exit_code::{self, Reason};
use crate::pgbackrest::version::Version;
use crate::source::pgbackrest::{Call, Document};
use crate::state::filter::UNLISTED;
use crate::state::merge::{Answer, Reply, Run, Target};
use crate::state::snapshot::{Failure, FailureReason, Snapshot};

use super::plan::{Outcome, Plan, Verdict};
use super::poller::Poller;

/// What has come in is published once nothing more has come for this long …
const QUIET: Duration = Duration::from_millis(500);
/// … or the first of it has waited for this long.
const PATIENCE: Duration = Duration::from_secs(2);
/// pgBackRest's exit code for a value that an option does not take, such as the number of an unknown repository.
const INVALID_VALUE: i32 = 32;

/// Answers that scrapes do not see yet.
#[derive(Debug, Default)]
struct Unpublished {
    first: Option<Instant>,
    last: Option<Instant>,
}

impl Unpublished {
    fn add(&mut self) {
        let now = Instant::now();
        self.first.get_or_insert(now);
        self.last = Some(now);
    }

    fn due(&self) -> Option<Instant> {
        Some((self.last? + QUIET).min(self.first? + PATIENCE))
    }
}

impl Poller {
    /// Asks for everything; none when shutdown came in between. Part of the answers may have been published before.
    pub(super) async fn ask_info(
        &mut self,
        previous: &Arc<Snapshot>,
        version: Option<Version>,
        began: Instant,
    ) -> Option<Vec<Answer>> {
        let max_parallel = self.settings.max_processes;
        let mut plan = Plan::begin(&self.memory, self.known(previous), &self.settings.filter, max_parallel);
        let time_is_up = began + self.settings.interval.saturating_sub(self.settings.limits.timeout);
        let (mut answers, mut unpublished, mut is_up) = (Vec::new(), Unpublished::default(), false);
        let mut survivors = Vec::new();
        {
            let this = &*self;
            let mut calls = FuturesUnordered::new();
            loop {
                while let Some(target) = plan.start_next() {
                    if this.is_blocked(Some(&target)) {
                        plan.finished(&target, Outcome::Failed(survived()));
                        continue;
                    }
                    this.metrics.run_started(Collector::Info, Utc::now());
                    calls.push(this.call(target));
                }
                answers.extend(plan.take_verdicts().into_iter().map(settled));
                if calls.is_empty() {
                    break;
                }
                let due = unpublished.due();
                tokio::select! {
                    Some((target, call)) = calls.next() => {
                        let Call { answer, survivor, .. } = call;
                        survivors.extend(survivor.map(|survivor| (Some(target.clone()), survivor)));
                        // Only shutdown cancels calls; the others end as this one did.
                        let Some(answer) = answer else { wait_for_all(&mut calls).await; return None };
                        let outcome = judged(&target, &answer);
                        plan.finished(&target, outcome);
                        if let Ok(Document { stanzas, complete }) = answer {
                            answers.push(Answer { target, at: Utc::now(), reply: Reply::Stanzas { stanzas, complete } });
                            unpublished.add();
                        }
                    }
                    () = sleep_until(due.unwrap_or(began)), if due.is_some() => {
                        let run = Run { answers: answers.clone(), finished: false, version };
                        this.publish_merged(previous.clone(), run).await;
                        unpublished = Unpublished::default();
                    }
                    () = sleep_until(time_is_up), if !is_up => {
                        plan.abandon_suspects();
                        is_up = true;
                    }
                }
                this.beat();
            }
        }
        self.survivors.extend(survivors);
        self.memory = plan.into_memory();
        Some(answers)
    }

    async fn call(&self, target: Target) -> (Target, Call<Document>) {
        let query =
            InfoQuery { stanza: target.stanza.as_deref().map(str::to_owned), repo: target.repo, set: None };
        let call = self.client.info(&query, &self.shutdown).await;
        // Whether a repository exists was a question, and that it does not is an answer.
        let failure = call.failure().filter(|failure| !is_unknown_repo(&target, failure));
        self.report(Collector::Info, &call, failure);
        (target, call)
    }

    /// Asks for the databases of backups that are not known yet, for half an interval at most.
    pub(super) async fn count_databases(&mut self, began: Instant) {
        let snapshot = self.store.load().snapshot.clone();
        let mut questions =
            self.counts.questions(&snapshot, self.settings.database_counts, self.version).into_iter();
        if questions.len() == 0 {
            return;
        }
        let end = began + self.settings.interval / 2;
        let mut silent: Vec<Target> = Vec::new();
        let mut learned = false;
        let mut learn = Vec::new();
        let mut survivors = Vec::new();
        {
            let this = &*self;
            let mut calls = FuturesUnordered::new();
            loop {
                let is_time = Instant::now() < end && !this.shutdown.is_cancelled();
                while is_time && calls.len() < this.settings.database_processes.max(1) {
                    let is_open =
                        |target: &Target| !silent.contains(target) && !this.is_blocked(Some(target));
                    let Some(question) = questions.find(|question| is_open(&question.target())) else {
                        break;
                    };
                    this.metrics.run_started(Collector::Info, Utc::now());
                    calls.push(async move {
                        let call = this.client.info(&question.query(), &this.shutdown).await;
                        this.report_detail(&call, call.failure());
                        (question, call)
                    });
                }
                let Some((question, call)) = calls.next().await else { break };
                this.beat();
                let target = question.target();
                survivors.extend(call.survivor.map(|survivor| (Some(target.clone()), survivor)));
                match call.answer {
                    Some(Ok(document)) => learn.push((question, document.stanzas)),
                    Some(Err(failure)) => {
                        tracing::debug!(reason = failure.message, "Failed to count databases");
                        silent.push(target);
                    }
                    None => (),
                }
            }
        }
        self.survivors.extend(survivors);
        for (question, stanzas) in learn {
            learned |= self.counts.learn(question, &stanzas);
        }
        if learned && !self.shutdown.is_cancelled() {
            self.publish(move |_| Snapshot::clone(&snapshot)).await;
        }
    }
}

async fn wait_for_all<F: Future>(calls: &mut FuturesUnordered<F>) {
    while calls.next().await.is_some() {}
}

fn settled(verdict: Verdict) -> Answer {
    let at = Utc::now();
    match verdict {
        Verdict::NotConfigured(target) => Answer { target, at, reply: Reply::NotConfigured },
        Verdict::Silent(target, failure) => Answer { target, at, reply: Reply::Silent(failure) },
    }
}

/// What the end of a call means for the calls to come.
fn judged(target: &Target, answer: &Result<Document, Failure>) -> Outcome {
    let failure = match answer {
        Ok(document) => {
            let names = document.stanzas.iter().map(|stanza| stanza.name.clone());
            return Outcome::Answered(names.filter(|name| **name != *UNLISTED).collect());
        }
        Err(failure) => failure.clone(),
    };
    let is_common = match failure.reason {
        FailureReason::Spawn | FailureReason::RootRefused => true,
        FailureReason::Exit => {
            failure.exit_code.is_some_and(|code| exit_code::reason(code) == Reason::Config)
        }
        _ => false,
    };
    if is_unknown_repo(target, &failure) {
        Outcome::NotConfigured(failure)
    } else if is_common {
        Outcome::Hopeless(failure)
    } else {
        Outcome::Failed(failure)
    }
}

fn is_unknown_repo(target: &Target, failure: &Failure) -> bool {
    target.repo.is_some() && failure.reason == FailureReason::Exit && failure.exit_code == Some(INVALID_VALUE)
}

pub(super) fn survived() -> Failure {
    Failure {
        reason: FailureReason::Timeout,
        exit_code: None,
        message:
            "the process of the last call hangs in the kernel and cannot be killed; check for a dead mount"
                .to_owned(),
    }
}
