//! The repo host's StatefulSet: a new pod template ends what runs in the pod, so it is never applied during a backup.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::DynamicObject;
use serde_json::Value;

use super::Owner;
use super::kinds::Place;
use super::running;
use super::server::{Server, Trouble};
use crate::cluster::names;
use crate::cluster::target::PGBACKREST_CONTAINER;
use crate::cluster::validated::STANZA;
use crate::kubernetes::client::CallFailure;
use crate::pgbackrest::{info, sanitize};
use crate::source::pod::{self, Pods, RunInPod};

/// Locks are told at once; the repos beside them may take a while.
const INFO_TIMEOUT: Duration = Duration::from_mins(1);

/// What may be done with it now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Gate {
    /// Nothing that runs would end.
    Open,
    /// Its pod is replaced; nothing runs in there.
    Rolls,
    /// Fields differ that cannot be changed: it has to be made anew, around the same pod.
    Replace,
    /// A backup runs in there, in words.
    Busy(String),
}

/// Fields that Kubernetes lets nobody change, and that do not decide which volumes the pod has.
const FIXED: [&str; 3] = ["serviceName", "selector", "podManagementPolicy"];

/// Looks what applying `body` would lead to.
pub(super) async fn gate(
    server: &Server,
    owner: Owner<'_>,
    place: Place<'_>,
    body: &Value,
    known: &ObjectMeta,
) -> Result<Gate, Trouble> {
    let Some(live) = server.get(place).await? else { return Ok(Gate::Open) };
    let uid = known.uid.as_deref().unwrap_or_default();
    let gate = match server.rehearse(place, body, uid).await {
        Ok(after) if template(&after) == template(&live) => return Ok(Gate::Open),
        Ok(_) => Gate::Rolls,
        Err(Trouble::Refused(error))
            if error.failure == CallFailure::Invalid && only_fixed_differ(&live.data, body) =>
        {
            Gate::Replace
        }
        Err(trouble) => return Err(trouble),
    };
    Ok(busy(server, owner).await?.map_or(gate, Gate::Busy))
}

/// The backup that runs on the repo host, in words: of a Job, or of a person, who starts it in the pod itself.
pub(super) async fn busy(server: &Server, owner: Owner<'_>) -> Result<Option<String>, Trouble> {
    let pod = names::repo_host_pod(owner.name);
    // What waits for a pod that cannot start would wait for ever if that pod waited for it.
    if !running::is_up(server, owner.namespace, &pod).await? {
        return Ok(None);
    }
    let jobs = running::jobs(server, owner).await?;
    if let Some(job) = jobs.into_iter().find(|job| job.on_repo_host) {
        return Ok(Some(format!("Job {} is still running", job.name)));
    }
    let place = pod::Place { namespace: owner.namespace, pod: &pod, container: PGBACKREST_CONTAINER };
    let stanza = format!("--stanza={STANZA}");
    let ask = ["pgbackrest", "info", &stanza, "--output=json", "--log-level-console=off"];
    let answer = Pods::new(server.client.clone()).run(place, &ask, INFO_TIMEOUT).await;
    // Where pgBackRest cannot even be asked, it makes no backup either.
    let locked = answer.is_ok_and(|answer| holds_lock(&answer.stdout));
    Ok(locked.then(|| format!("pgBackRest in {pod} holds its backup lock")))
}

/// Whether `info` says that the lock of backups is held on its host.
fn holds_lock(stdout: &[u8]) -> bool {
    let cleaned = sanitize::clean(stdout);
    let Ok(document) = info::parse(&cleaned.text) else { return false };
    document
        .stanzas
        .iter()
        .any(|stanza| stanza.status.lock.backup.as_ref().is_some_and(|lock| lock.held == Some(true)))
}

fn template(set: &DynamicObject) -> Option<&Value> {
    set.data.pointer("/spec/template")
}

/// Whether a fixed field differs. Whether another one does that cannot change either shows when it is made anew.
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
    fn a_lock_is_read_from_info() {
        let info = |held: &str| {
            format!(
                r#"[{{"name":"db","status":{{"code":0,"message":"ok","lock":{{"backup":{{"held":{held}}}}}}},"db":[],
                "archive":[],"backup":[],"repo":[]}}]"#
            )
        };
        assert!(holds_lock(info("true").as_bytes()));
        assert!(!holds_lock(info("false").as_bytes()));
        for other in ["", "[]", "ERROR: [031]: option 'x' cannot be set multiple times"] {
            assert!(!holds_lock(other.as_bytes()), "{other}");
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
