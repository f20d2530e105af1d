//! The StatefulSet of the repo host: a new pod template stops everything in the pod, so it is never applied during a
//! backup.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::DynamicObject;
use serde_json::Value;

use super::Owner;
use super::running;
use super::server::{Server, Trouble};
use crate::cluster::names;
use crate::cluster::target::PGBACKREST_CONTAINER;
use crate::cluster::validated::STANZA;
use crate::kubernetes::client::CallFailure;
use crate::operator::kinds::ObjectPath;
use crate::pgbackrest::command::{self, InfoQuery};
use crate::pgbackrest::info::view;
use crate::pgbackrest::sanitize;
use crate::source::pod::{self, NoEnd, Pods, Ran, RunInPod};
use crate::text;

/// The locks are known immediately, but reading the repos may take a while.
const INFO_TIMEOUT: Duration = Duration::from_secs(100);
/// Maximum characters of the reason why a lock is unknown.
const LONGEST: usize = 300;

/// The possible rollout.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Rollout {
    /// Nothing would be stopped.
    Open,
    /// The pod is replaced; nothing is running in it.
    Rolls,
    /// Immutable fields differ: it must be recreated around the same pod.
    Replace,
    /// A backup is running in the pod; contains a description.
    Busy(String),
}

/// Immutable fields that do not determine the volumes of the pod.
const FIXED: [&str; 3] = ["serviceName", "selector", "podManagementPolicy"];

/// Checks the effect of applying `body`.
pub(super) async fn check_rollout(
    server: &Server,
    owner: Owner<'_>,
    place: ObjectPath<'_>,
    body: &Value,
    known: &ObjectMeta,
) -> Result<Rollout, Trouble> {
    let Some(live) = server.get(place).await? else { return Ok(Rollout::Open) };
    let uid = known.uid.as_deref().unwrap_or_default();
    let check_rollout = match server.rehearse(place, body, uid).await {
        Ok(after) if template(&after) == template(&live) => return Ok(Rollout::Open),
        Ok(_) => Rollout::Rolls,
        Err(Trouble::Refused(error))
            if error.failure == CallFailure::Invalid && only_fixed_differ(&live.data, body) =>
        {
            Rollout::Replace
        }
        Err(trouble) => return Err(trouble),
    };
    Ok(busy(server, owner).await?.map_or(check_rollout, Rollout::Busy))
}

/// A description of the backup that is running on the repo host: that of a Job, or one that a user started in the
/// pod.
pub(super) async fn busy(server: &Server, owner: Owner<'_>) -> Result<Option<String>, Trouble> {
    let pod = names::repo_host_pod(owner.name);
    // A Job that waits for a pod that cannot start would wait forever if that pod waited for the Job.
    if !running::is_up(server, owner.namespace, &pod).await? {
        return Ok(None);
    }
    let jobs = running::jobs(server, owner).await?;
    if let Some(job) = jobs.into_iter().find(|job| job.on_repo_host) {
        return Ok(Some(format!("Job {} is still running", job.name)));
    }
    let place = pod::Place { namespace: owner.namespace, pod: &pod, container: PGBACKREST_CONTAINER };
    let command = command::info(&query());
    let answer = Pods::new(server.client.clone()).run(place, &command.in_pod(), INFO_TIMEOUT).await;
    Ok(lock(answer, &pod))
}

fn query() -> InfoQuery {
    InfoQuery { stanza: Some(STANZA.to_owned()), ..InfoQuery::default() }
}

/// The reason in the answer of `info` not to stop the pod. A lock of unknown state counts as held.
fn lock(answer: Result<Ran, NoEnd>, pod: &str) -> Option<String> {
    let why = match answer {
        Ok(ran) if ran.code == 0 => {
            let cleaned = sanitize::clean(&ran.stdout);
            let document = view::answer(&cleaned.text, &query());
            match document.and_then(|document| Ok(document.stanza(STANZA)?.is_backup_locked())) {
                Ok(Some(true)) => return Some(format!("pgBackRest in {pod} holds its backup lock")),
                // Also if a repo cannot be read, whose lock pgBackRest does not report: no backup to it would work
                // either.
                Ok(Some(false)) => return None,
                Ok(None) => "info does not report locks".to_owned(),
                Err(error) => text::one_line(&error.to_string(), LONGEST),
            }
        }
        // If pgBackRest cannot run at all, it makes no backup either. A new pod may be the remedy.
        Ok(_) | Err(NoEnd::NotStarted(_)) => return None,
        Err(error) => error.to_string(),
    };
    Some(format!("it is unknown whether a backup is running in {pod} ({why}; if none is, delete the pod)"))
}

fn template(set: &DynamicObject) -> Option<&Value> {
    set.data.pointer("/spec/template")
}

/// Whether one of the fields above differs. Others that are immutable too show up when it is recreated.
fn only_fixed_differ(live: &Value, body: &Value) -> bool {
    let field = |object: &Value, name: &str| object.pointer(&format!("/spec/{name}")).cloned();
    let differs = |name: &&str| field(live, name) != field(body, name);
    let claims =
        field(live, "volumeClaimTemplates").is_none_or(|claims| claims.as_array().is_some_and(Vec::is_empty));
    claims && FIXED.iter().any(differs)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_lock_that_is_known_to_be_free_lets_a_pod_end() {
        let ran = |code, text: &str| Ok(Ran { code, stdout: text.into(), stderr: String::new() });
        let info = |name: &str, lock: &str, code: u8| {
            let status = format!(r#"{{"code":{code},"message":"m","lock":{{"backup":{{{lock}}}}}}}"#);
            ran(
                0,
                &format!(
                    r#"[{{"name":"{name}","status":{status},"repo":[{{"key":1,"status":{{"code":{code}}}}}]}}]"#
                ),
            )
        };
        let held = Some("holds its backup lock");
        let unknown = |why: &'static str| Some(why);
        let table = [
            (info("db", r#""held":true"#, 0), held),
            (info("db", r#""held":true"#, 2), held),
            (info("db", r#""held":false"#, 0), None),
            // No stanza; a repo that cannot be read.
            (info("db", r#""held":false"#, 1), None),
            (info("db", r#""held":false"#, 99), None),
            (info("db", "", 0), unknown("info does not report locks")),
            (info("other", r#""held":false"#, 0), unknown("does not mention stanza db")),
            (ran(0, "[]"), unknown("does not mention stanza db")),
            (ran(0, ""), unknown("no readable JSON document")),
            (ran(31, "P00  ERROR: [031]: option 'x' cannot be set multiple times"), None),
            (ran(127, ""), None),
            (Err(NoEnd::NotStarted("no such container".to_owned())), None),
            (Err(NoEnd::TimedOut(INFO_TIMEOUT)), unknown("terminated after 1m 40s")),
            (Err(NoEnd::Lost("reset".to_owned())), unknown("connection to the command was lost")),
        ];
        for (answer, expected) in table {
            let found = lock(answer.clone(), "host-0");
            assert_eq!(found.is_some(), expected.is_some(), "{answer:?}");
            assert!(
                found.is_none_or(|words| expected.is_some_and(|part| words.contains(part))),
                "{answer:?}"
            );
        }
    }

    #[test]
    fn a_set_is_made_anew_only_for_what_cannot_change() {
        let set = |service: &str| json!({"spec": {"serviceName": service, "selector": {"matchLabels": {"a": "b"}}}});
        assert!(only_fixed_differ(&set("a"), &set("b")));
        assert!(!only_fixed_differ(&set("a"), &set("a")));
        let mut with_claims = set("a");
        with_claims["spec"]["volumeClaimTemplates"] = json!([{"metadata": {"name": "repo1"}}]);
        assert!(!only_fixed_differ(&with_claims, &set("b")));
    }
}
