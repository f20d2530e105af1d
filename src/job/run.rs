//! The steps of a job, from choosing the pod to the proof.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use crate::cluster::target::{self, Pod};
use crate::pgbackrest::label::BackupType;
use crate::source::pod::{NoEnd, Place};
use crate::source::primary;

use super::access::Access;
use super::info_view::Claim;
use super::limits::{JobLimits, Stop};
use super::listen::Listener;
use super::outcome::{ExitReason, JobOutcome};
use super::process::{self, Found, Signal};
use super::step::{BackupEnd, Next, after, failed, may_have_made};
use super::task::{Patience, Task, longer};
use super::{ask, progress};

mod lost;

/// Maximum number of pgBackRest's lines waiting to be logged.
const LINES: usize = 1024;
/// How much longer than its job a backup may run if the job can no longer stop it.
const LEEWAY: Duration = Duration::from_secs(45);

/// Makes one backup, and returns how the pod should exit.
pub async fn run(access: &impl Access, task: &Task, patience: &Patience, limits: &JobLimits) -> JobOutcome {
    let job = Job { access, task, patience, limits };
    match Box::pin(job.go()).await {
        Ok((label, made)) => {
            let asked = task.backup_type;
            let instead = if made == asked {
                String::new()
            } else {
                format!(" ({}, because there was no prior backup for {})", made.as_str(), asked.as_str())
            };
            JobOutcome::made(&format!(
                "backup {label}{instead} is in repo{} of cluster {}",
                task.repo, task.cluster
            ))
        }
        Err(outcome) => outcome,
    }
}

/// One job.
struct Job<'a, A> {
    access: &'a A,
    task: &'a Task,
    patience: &'a Patience,
    limits: &'a JobLimits,
}

/// The result of one run of pgBackRest.
struct Ran {
    end: BackupEnd,
    said: Option<String>,
    /// Why it was stopped, if it was.
    stopped: Option<(Stop, Found)>,
}

impl<A: Access> Job<'_, A> {
    async fn go(&self) -> Result<(String, BackupType), JobOutcome> {
        let mut claim = None;
        let mut lock_pause = self.patience.lock.0;
        let mut tries = 0;
        loop {
            let pod = self.until_stopped("waiting for a pod to back up from", self.target()).await??;
            let place = self.task.place(&pod);
            let ran = self.attempt(place, &mut claim).await?;
            if let Some((stop, found)) = &ran.stopped {
                let made = self.made_at_last(place, claim.as_ref(), &ran.end).await;
                return made.ok_or_else(|| interrupted(place, &ran.end, *stop, found));
            }
            if let Some(unexpired) = self.unexpired(place, claim.as_ref(), &ran).await {
                return Err(unexpired);
            }
            let failed = failed(&ran.end, ran.said.as_deref());
            match (after(&ran.end), &claim) {
                (Next::Prove, Some(claim)) => {
                    return self.until_stopped("verifying the backup", self.prove(claim)).await?;
                }
                (Next::WaitForLock, _) => {
                    tracing::info!(pause = ?lock_pause, "Waiting for another command of the stanza");
                    self.until_stopped("waiting for another command that holds the lock", sleep(lock_pause))
                        .await?;
                    lock_pause = longer(lock_pause, self.patience.lock.1);
                    continue;
                }
                (Next::CheckTarget, _) if self.is_still(&pod).await => return Err(failed),
                (Next::CheckTarget | Next::TryAgain, _) => {}
                (Next::Follow, Some(claim)) => {
                    tracing::warn!(reason = failed.message, "Connection lost; following the backup");
                    if let Some(made) = self.follow(place, claim).await? {
                        return Ok(made);
                    }
                }
                (Next::Fail | Next::Prove | Next::Follow, _) => return Err(failed),
            }
            tries += 1;
            if tries >= self.patience.tries {
                return Err(failed);
            }
            tracing::warn!(reason = failed.message, "Backup failed; retrying");
            self.until_stopped("waiting to retry the backup", sleep(self.patience.pause)).await?;
        }
    }

    /// Waits for the pod to back up from.
    async fn target(&self) -> Result<String, JobOutcome> {
        let until = Instant::now() + self.patience.target;
        let mut reported = String::new();
        loop {
            let seen = match self.access.pods().await {
                Ok(pods) => match self.choose(&pods).await {
                    Ok(pod) => return Ok(pod),
                    Err(reason) => reason,
                },
                Err(error) if error.is_retryable() => error.to_string(),
                Err(error) => return Err(JobOutcome::failed(ExitReason::NotStarted, &error.to_string())),
            };
            if Instant::now() >= until {
                let waited = humantime::format_duration(self.patience.target);
                let message = format!("no pod to back up from within {waited}: {seen}");
                return Err(JobOutcome::failed(ExitReason::NoTarget, &message));
            }
            if reported != seen {
                tracing::warn!(reason = seen, "Waiting for a pod to back up from");
                reported = seen;
            }
            sleep(self.patience.pause).await;
        }
    }

    async fn choose(&self, pods: &[Pod]) -> Result<String, String> {
        let Task { namespace, container, selector, .. } = self.task;
        let found = target::only(pods, selector);
        let pod = if self.task.is_primary {
            primary::confirmed(self.access, found, pods, namespace, container).await?
        } else {
            found.map_err(|reason| reason.to_string())?
        };
        if pod.containers.contains(&self.task.container) {
            return Ok(pod.name.clone());
        }
        Err(format!("pod {} has no container {}", pod.name, self.task.container))
    }

    /// Whether this pod would still be chosen; true if that cannot be determined.
    async fn is_still(&self, pod: &str) -> bool {
        let Ok(pods) = self.access.pods().await else { return true };
        self.choose(&pods).await.is_ok_and(|chosen| chosen == pod)
    }

    /// Lists the existing backups, then runs pgBackRest.
    async fn attempt(&self, place: Place<'_>, claim: &mut Option<Claim>) -> Result<Ran, JobOutcome> {
        if let Some(claim) = claim {
            return Ok(self.back_up(place, claim).await);
        }
        let asking = ask::claim(self.access, self.task, place, self.patience);
        match self.until_stopped("listing existing backups", asking).await? {
            Ok(first) => Ok(self.back_up(place, claim.insert(first)).await),
            Err((end, said)) => Ok(Ran { end, said, stopped: None }),
        }
    }

    /// Runs pgBackRest, forwards its log, and stops it when the job must end.
    async fn back_up(&self, place: Place<'_>, claim: &Claim) -> Ran {
        tracing::info!(
            pod = place.pod,
            repo = self.task.repo,
            backup_type = self.task.backup_type.as_str(),
            "Running pgBackRest"
        );
        let command = self.task.command(claim.annotates);
        let words = command.in_pod();
        let (sender, mut heard) = mpsc::channel(LINES);
        let mut listener = Listener::new();
        let bound = self.limits.left().saturating_add(LEEWAY);
        let mut running = Box::pin(self.access.follow(place, &words, bound, &sender));
        let mut reporting = Box::pin(progress::keep_reporting(self.access, self.task, place, self.patience));
        let mut reached = Box::pin(self.limits.reached());
        let end = loop {
            tokio::select! {
                biased;
                end = &mut running => break Ok(end),
                Some(line) = heard.recv() => listener.take(line),
                stop = &mut reached => break Err(stop),
                () = &mut reporting => {}
            }
        };
        drop(reporting);
        let (end, stopped) = match end {
            Ok(end) => (Some(end), None),
            Err(stop) => {
                let listening = async {
                    loop {
                        tokio::select! {
                            biased;
                            end = &mut running => break end,
                            Some(line) = heard.recv() => listener.take(line),
                        }
                    }
                };
                let ending = self.terminate(place, claim);
                let (found, end) = tokio::join!(ending, timeout(self.patience.grace, listening));
                (end.ok(), Some((stop, found)))
            }
        };
        while let Ok(line) = heard.try_recv() {
            listener.take(line);
        }
        let end = match end {
            Some(Ok(code)) => BackupEnd::Exited(code),
            Some(Err(NoEnd::NotStarted(said))) => BackupEnd::NotStarted(said),
            Some(Err(NoEnd::TimedOut(_))) => BackupEnd::TimedOut,
            Some(Err(
                NoEnd::Lost(said)
                | NoEnd::Silent(said)
                | NoEnd::TooLarge { message: said, .. }
                | NoEnd::NoMemory { message: said, .. },
            )) => BackupEnd::Lost(said),
            None => BackupEnd::Lost("it did not stop in time".to_owned()),
        };
        Ran { end, said: listener.error(), stopped }
    }

    /// Stops the process of our backup. Closing the connection would not.
    async fn terminate(&self, place: Place<'_>, claim: &Claim) -> Found {
        let found = if claim.annotates {
            let signalling = process::signal(self.access, self.task, place, Signal::Terminate);
            timeout(self.patience.grace, signalling)
                .await
                .unwrap_or_else(|_| Found::Unknown("no answer".to_owned()))
        } else {
            Found::Unknown("pgBackRest is too old to mark its process".to_owned())
        };
        match &found {
            Found::Yes => tracing::info!(pod = place.pod, "Sent SIGTERM to the backup"),
            Found::No => tracing::info!(pod = place.pod, "Backup has already ended"),
            Found::Unknown(reason) => tracing::warn!(
                pod = place.pod,
                reason,
                "Failed to stop the backup; it continues in its pod until it finishes"
            ),
        }
        found
    }

    /// The outcome if pgBackRest failed although the backup is made: it runs `expire` in the process of the backup
    /// (`cmdExpire` in its `main.c`), and ends with the error of that.
    async fn unexpired(&self, place: Place<'_>, claim: Option<&Claim>, ran: &Ran) -> Option<JobOutcome> {
        let BackupEnd::Exited(code) = ran.end else { return None };
        let claim = claim.filter(|_| may_have_made(code))?;
        let asking = ask::info(self.access, self.task, place);
        let view = self.limits.first(asking).await.ok()?.ok()?;
        let (label, _) = view.proof(claim)?;
        let said = ran.said.as_deref().unwrap_or_default();
        Some(JobOutcome::failed(
            ExitReason::ExpireFailed,
            &format!(
                "backup {label} is in repo{} of cluster {}, but then pgBackRest ended with exit code {code}: {said}",
                self.task.repo, self.task.cluster
            ),
        ))
    }

    /// The backup of a job that was stopped after pgBackRest had already succeeded.
    async fn made_at_last(
        &self,
        place: Place<'_>,
        claim: Option<&Claim>,
        end: &BackupEnd,
    ) -> Option<(String, BackupType)> {
        let claim = claim.filter(|_| *end == BackupEnd::Exited(0))?;
        let asking = ask::info(self.access, self.task, place);
        timeout(self.patience.grace, asking).await.ok()?.ok()?.proof(claim)
    }

    async fn follow(
        &self,
        place: Place<'_>,
        claim: &Claim,
    ) -> Result<Option<(String, BackupType)>, JobOutcome> {
        match self.limits.first(lost::follow(self, place, claim)).await {
            Ok(known) => known,
            Err(stop) => {
                let found = self.terminate(place, claim).await;
                Err(interrupted(place, &BackupEnd::Lost(String::new()), stop, &found))
            }
        }
    }

    /// Looks for the backup: an exit code of 0 alone proves nothing.
    async fn prove(&self, claim: &Claim) -> Result<(String, BackupType), JobOutcome> {
        let mut seen = String::new();
        for ask in 1..=self.patience.asks {
            let pod = self.target().await?;
            match ask::info(self.access, self.task, self.task.place(&pod)).await {
                Ok(view) => match view.proof(claim) {
                    Some(made) => return Ok(made),
                    None => "info shows no backup made by this job".clone_into(&mut seen),
                },
                Err(silence) => seen = format!("info failed: {}", silence.said),
            }
            if ask < self.patience.asks {
                sleep(self.patience.pause).await;
            }
        }
        Err(JobOutcome::failed(
            ExitReason::Unproven,
            &format!("pgBackRest ended with exit code 0, but {seen}"),
        ))
    }

    async fn until_stopped<T>(
        &self,
        doing: &str,
        something: impl Future<Output = T>,
    ) -> Result<T, JobOutcome> {
        let stopped = |stop| JobOutcome::stopped(stop, &format!("{} while {doing}", why(stop)));
        self.limits.first(something).await.map_err(stopped)
    }
}

/// The result of a job that was stopped while pgBackRest was running.
fn interrupted(place: Place<'_>, end: &BackupEnd, stop: Stop, found: &Found) -> JobOutcome {
    let reported = match (end, found) {
        (BackupEnd::Exited(code), _) => format!("pgBackRest ended with exit code {code}"),
        (_, Found::Yes) => "pgBackRest was sent SIGTERM".to_owned(),
        (_, Found::No) => "pgBackRest had already ended".to_owned(),
        (_, Found::Unknown(said)) => format!("pgBackRest may still be running in pod {}: {said}", place.pod),
    };
    JobOutcome::stopped(stop, &format!("{} during the backup; {reported}", why(stop)))
}

fn why(stop: Stop) -> &'static str {
    match stop {
        Stop::Terminated => "the pod is being terminated",
        Stop::TimeUp => "the deadline of the job is near",
    }
}
