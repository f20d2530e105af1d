//! Which of several pods with the labels of the primary is the primary. Patroni cannot take the label from a pod on a node that
//! died, and for a moment during a failover two have it.

use std::time::Duration;

use futures_util::future::join_all;

use crate::cluster::target::{NoTarget, Pod};

use super::pod::{Place, RunInPod};

/// Prints `t` on a standby and `f` on a primary.
const IS_IN_RECOVERY: [&str; 8] = [
    "psql",
    "--no-psqlrc",
    "--no-password",
    "--tuples-only",
    "--no-align",
    "--username=postgres",
    "--dbname=postgres",
    "--command=SELECT pg_is_in_recovery()",
];
const TIMEOUT: Duration = Duration::from_secs(10);
/// More pods are not asked.
const MAX_PODS: usize = 5;

/// What PostgreSQL in a pod says of itself.
enum Role {
    Primary,
    Standby,
    Unknown(String),
}

/// The pod that was found; if several are ready, the one whose PostgreSQL alone is a primary. Others must say that they are
/// standbys: one that does not answer can be a primary, too.
pub async fn confirmed<'pods>(
    runner: &impl RunInPod,
    found: Result<&'pods Pod, NoTarget>,
    pods: &'pods [Pod],
    namespace: &str,
    container: &str,
) -> Result<&'pods Pod, String> {
    let names = match found {
        Ok(pod) => return Ok(pod),
        Err(NoTarget::Several(names)) if names.len() <= MAX_PODS => names,
        Err(reason) => return Err(reason.to_string()),
    };
    let roles = join_all(names.iter().map(|pod| role(runner, Place { namespace, pod, container }))).await;
    let is_primary = |(_, role): &(&String, &Role)| matches!(role, Role::Primary);
    let unknown = roles.iter().any(|role| matches!(role, Role::Unknown(_)));
    let primaries: Vec<&String> = names.iter().zip(&roles).filter(is_primary).map(|(name, _)| name).collect();
    match primaries.as_slice() {
        [name] if !unknown => {
            let pod = pods.iter().find(|pod| pod.name == **name);
            pod.ok_or_else(|| format!("pod {name} is gone"))
        }
        _ => {
            let told = names.iter().zip(&roles).map(|(name, role)| match role {
                Role::Primary => format!("{name} is a primary"),
                Role::Standby => format!("{name} is a standby"),
                Role::Unknown(why) => format!("{name} does not answer ({why})"),
            });
            let told: Vec<String> = told.collect();
            Err(format!(
                "more than one ready pod has the labels, and PostgreSQL does not settle it: {}",
                told.join(", ")
            ))
        }
    }
}

async fn role(runner: &impl RunInPod, place: Place<'_>) -> Role {
    match runner.run(place, &IS_IN_RECOVERY, TIMEOUT).await {
        Ok(ran) if ran.code == 0 => match ran.stdout.trim_ascii() {
            b"f" => Role::Primary,
            b"t" => Role::Standby,
            _ => Role::Unknown("psql printed something else".to_owned()),
        },
        Ok(ran) => Role::Unknown(format!("psql exited with {}", ran.code)),
        Err(error) => Role::Unknown(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::target::only;
    use crate::fake_pods::{Does, FakePods, pod, ran};
    use crate::source::pod::NoEnd;

    async fn chosen(answers: &[(&str, Does)]) -> Result<String, String> {
        let pods: Vec<Pod> = answers.iter().map(|(name, _)| pod(name, &["postgres"])).collect();
        let fake = FakePods::new(pods.clone());
        for (name, does) in answers {
            let _ = fake.when(&format!("{name}/postgres: psql*pg_is_in_recovery"), [does.clone()]);
        }
        let found = confirmed(&fake, only(&pods, "role=master"), &pods, "shop", "postgres").await;
        found.map(|pod| pod.name.clone())
    }

    #[tokio::test]
    async fn of_several_pods_the_one_that_is_not_in_recovery_is_the_primary() {
        let (primary, standby) = (|| Does::from(ran(0, "f\n")), || Does::from(ran(0, "t\n")));
        assert_eq!(chosen(&[("a-0", standby()), ("a-1", primary())]).await, Ok("a-1".to_owned()));
        // A single one is not asked.
        assert_eq!(chosen(&[("a-0", Does::Hang)]).await, Ok("a-0".to_owned()));
        let lost = || Does::End(Err(NoEnd::Lost("closed".to_owned())));
        let undecided = [
            (vec![primary(), primary()], "a-0 is a primary, a-1 is a primary"),
            (vec![standby(), standby()], "a-0 is a standby, a-1 is a standby"),
            (vec![primary(), lost()], "a-1 does not answer (the connection to the command was lost: closed)"),
            (vec![ran(2, "").into(), primary()], "a-0 does not answer (psql exited with 2)"),
            (vec![ran(0, "maybe").into(), primary()], "a-0 does not answer (psql printed something else)"),
        ];
        for (answers, told) in undecided {
            let answers: Vec<(&str, Does)> = ["a-0", "a-1"].into_iter().zip(answers).collect();
            let why = chosen(&answers).await.unwrap_err();
            assert!(why.contains(told), "{why}");
        }
    }
}
