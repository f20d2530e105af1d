//! Reloads certificates and options of every running `pgbackrest server` by SIGHUP.

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use ring::digest::{SHA256, digest};

use crate::cluster::desired::certificates::{ROOTS, Side};
use crate::cluster::desired::{Desired, Object};
use crate::cluster::names;
use crate::cluster::target::{self, PGBACKREST_CONTAINER};
use crate::cluster::validated::ValidatedCluster;
use crate::operator::action::Action;
use crate::source::pod::{NoEnd, Place, RunInPod};

use super::{Attempt, Ensured, SOON, StanzaTask, findings};

const TIMEOUT: Duration = Duration::from_secs(20);
/// The exit code of the script below if no server is running.
const NO_SERVER: i32 = 3;

/// Sends SIGHUP to the server, but not to its children for connections. A constant: nothing is inserted into it. It
/// uses a shell because few images contain `kill`.
const SIGNAL: &str = r#"
is_server() {
    [ -r "$1/cmdline" ] || return 1
    words="$(tr '\0' ' ' 2>/dev/null <"$1/cmdline") "
    # By its first word: the shell of this script has the others among its arguments.
    case "${words%% *}" in
    pgbackrest | */pgbackrest) ;;
    *) return 1 ;;
    esac
    case "$words" in
    *" server "*) return 0 ;;
    esac
    return 1
}
end=3
for process in /proc/[0-9]*; do
    is_server "$process" || continue
    parent=
    while read -r name value; do
        [ "$name" = PPid: ] && parent=$value
    done 2>/dev/null <"$process/status"
    [ -n "$parent" ] && [ "$parent" != 0 ] && is_server "/proc/$parent" && continue
    if kill -HUP "${process#/proc/}"; then
        [ "$end" = 3 ] && end=0
    else
        end=4
    fi
done
exit "$end"
"#;

/// Reloads every server whose pod has the new files.
pub(super) async fn reload(attempt: &Attempt<'_, impl RunInPod>, ensured: &mut Ensured) {
    let StanzaTask { cluster, settings, desired, pods, .. } = *attempt.task;
    let repo_host = match target::repo_host(pods, &cluster.name, settings) {
        Ok(repo_host) => repo_host,
        Err(reason) => {
            // It loads everything when it starts, and is checked then.
            if attempt.is_late {
                ensured.find(findings::no_repo_host(&reason.to_string(), cluster.has_volumes()));
            }
            ensured.retry_after(SOON);
            return;
        }
    };
    let mut servers = vec![(repo_host, PGBACKREST_CONTAINER.to_owned(), Side::RepoHost)];
    let databases = target::databases(pods, &cluster.name, cluster.instances);
    servers.extend(databases.into_iter().map(|pod| (pod, pod.server_container(settings), Side::Database)));
    let all = servers.len();
    let mut reloaded = 0;
    for (pod, container, side) in servers {
        let place = Place { namespace: &cluster.namespace, pod: &pod.name, container: &container };
        if one(attempt, place, side, ensured).await {
            reloaded += 1;
        }
    }
    if reloaded < all {
        ensured.retry_after(SOON);
        return;
    }
    ensured.record.servers.clone_from(&desired.servers_hash);
    let message = format!("Reloaded certificates and options of {reloaded} pgBackRest servers");
    ensured.actions.push(Action::new("ServersReloaded", message));
}

/// Reloads one server. Returns whether that succeeded.
async fn one(
    attempt: &Attempt<'_, impl RunInPod>,
    place: Place<'_>,
    side: Side,
    ensured: &mut Ensured,
) -> bool {
    let desired = attempt.task.desired;
    let configuration = match side {
        Side::Database => Some(&desired.instance_configuration_hash),
        Side::RepoHost => desired.repo_host_configuration_hash.as_ref(),
    };
    if !attempt.is_visible(place, configuration.map(String::as_str).unwrap_or_default(), ensured).await {
        return false;
    }
    match certificates(attempt, place, side).await {
        Ok(true) => {}
        Ok(false) => {
            ensured.find(findings::not_visible(place.pod, "certificates", attempt.is_late));
            return false;
        }
        Err(error) => {
            attempt.failed(place, "sha256sum", &error, ensured);
            return false;
        }
    }
    match attempt.runner.run(place, &["sh", "-c", SIGNAL], TIMEOUT).await {
        Ok(ran) if ran.code == 0 => return true,
        // It may be starting.
        Ok(ran) if ran.code == NO_SERVER => {
            if attempt.is_late {
                ensured.find(findings::server_missing(place.pod));
            }
        }
        Ok(ran) => ensured.find(findings::pod_failed(place.pod, "kill -HUP", &ran.said())),
        Err(error) => attempt.failed(place, "kill -HUP", &error, ensured),
    }
    false
}

/// Compares hashes of roots and certificate; the key is updated together with them.
async fn certificates(
    attempt: &Attempt<'_, impl RunInPod>,
    place: Place<'_>,
    side: Side,
) -> Result<bool, NoEnd> {
    let files = [ROOTS, side.certificate()];
    let secret = secret(attempt.task.cluster, attempt.task.desired);
    let expected = files.map(|file| {
        let content = secret.and_then(|secret| secret.data.as_ref()?.get(file));
        content.map(|content| hex::encode(digest(&SHA256, &content.0))).unwrap_or_default()
    });
    let [roots, certificate] = &files.map(crate::cluster::desired::certificates::path);
    let ran = attempt.runner.run(place, &["sha256sum", roots, certificate], TIMEOUT).await?;
    let shown = ran.text();
    let sums: Vec<&str> = shown.lines().filter_map(|line| line.split_whitespace().next()).collect();
    Ok(sums == expected)
}

fn secret<'desired>(cluster: &ValidatedCluster, desired: &'desired Desired) -> Option<&'desired Secret> {
    let name = names::certificates(&cluster.name);
    desired.objects.iter().find_map(|object| match object {
        Object::Secret(secret) if object.name() == name => Some(&**secret),
        _ => None,
    })
}
