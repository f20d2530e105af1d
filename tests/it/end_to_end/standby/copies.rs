//! Two copies of a cluster's manifest, in the location that the cluster uses: one in another namespace, with a PostgreSQL that
//! archives, and one beside it as `spec.clone` asks for, which has no pods yet.

use serde_json::{Value, json};

use crate::support::example::{CLUSTER, Example, complete};
use crate::support::kubernetes::images::POSTGRES;

const NAMESPACE: &str = "copies";
const CLONE: &str = "clone";
const SECRET: &str = "cluster-s3-credential";

/// Makes both, and waits until both are reported and the archiver of the one has failed.
pub(super) fn apply<'node>(source: &Example<'node>) -> Example<'node> {
    let (node, kubectl) = (source.node, source.kubectl());
    node.provide_volumes(1, "10Gi");
    let text = complete(kubectl, POSTGRES, NAMESPACE);
    let mut objects: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    let resource = objects.iter_mut().find(|object| object["kind"] == "postgresql").unwrap();
    resource["spec"] = source.resource()["spec"].clone();
    resource["spec"]["numberOfInstances"] = json!(1);
    let mut clone = resource.clone();
    clone["metadata"] = json!({"name": CLONE, "namespace": source.namespace});
    clone["spec"]["clone"] = json!({"cluster": CLUSTER});
    let secret = kubectl.get(source.namespace, "secret", SECRET).unwrap();
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET, "namespace": NAMESPACE},
        "data": secret["data"]});
    objects.extend([clone, secret]);
    kubectl.apply(&json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string(), &[]);

    let copy = Example { node, namespace: NAMESPACE };
    for (namespace, name) in [(source.namespace, CLONE), (NAMESPACE, CLUSTER)] {
        let place = format!("repo2 of {}/{CLUSTER}: s3 backups at ", source.namespace);
        copy.wait(&format!("{namespace}/{name} to be reported"), || {
            let status = kubectl.get(namespace, "postgresql", name)?["status"].take();
            let message = status["BackupMessage"].as_str()?;
            let is_told = message.contains("location-shared") && message.contains(&place);
            (status["BackupStatus"] == "Error" && is_told).then_some(())
        });
        copy.wait("its Event, and none for its source", || {
            let get = ["get", "events", "--field-selector=reason=LocationShared"];
            let names = "--output=jsonpath={.items[*].involvedObject.name}";
            let names = kubectl.run(&[&["--namespace", namespace][..], &get, &[names]].concat());
            assert!(names.split(' ').all(|one| one == name || one.is_empty()), "{names}");
            (!names.is_empty()).then_some(())
        });
    }
    kubectl.wait(NAMESPACE, "pod/cluster-0", "condition=Ready");
    copy.psql("select from pg_switch_wal()");
    copy.wait("the archiver to fail", || {
        (copy.psql("select failed_count > 0 from pg_stat_archiver") == "t").then_some(())
    });
    copy
}

/// Whatever their source has done meanwhile. In another location, the one that has pods is set up without a hand.
pub(super) fn are_not_set_up_before_they_move(source: &Example<'_>, primary: &str, copy: &Example<'_>) {
    let kubectl = source.kubectl();
    for (namespace, name) in [(source.namespace, CLONE), (NAMESPACE, CLUSTER)] {
        for (kind, object) in [
            ("configmap", format!("{name}-pgbackrest-config")),
            ("cronjob", format!("pgbackrest-{name}-repo2-full")),
        ] {
            assert!(kubectl.get(namespace, kind, &object).is_none(), "{object}\n{}", copy.state());
        }
        let of_cluster = format!("labelSelector=cluster.cpo.opensource.cybertec.at/name={name}");
        assert_eq!(kubectl.list(namespace, "job", &of_cluster), [] as [Value; 0], "{}", copy.state());
    }
    assert_eq!(copy.psql("select archived_count from pg_stat_archiver"), "0");
    let archives = || source.said(primary, "postgres", &["pgbackrest", "check", "--stanza=db"]);
    archives();
    let databases = |example: &Example<'_>, pod: &str| example.info(pod, "postgres")[0]["db"].clone();
    let before = databases(source, primary);

    let path = json!({"repo2-path": "/elsewhere"});
    copy.patch("postgresql", CLUSTER, &json!({"spec": {"backup": {"pgbackrest": {"global": path}}}}));
    copy.wait("the stanza", || copy.record("stanzas").filter(|seen| seen.contains("repo2=")));
    copy.wake_archiver("cluster-0");
    let first = copy.wait("the Job of the first full backup", || copy.jobs().pop());
    copy.wait_for_job(&first, "Complete");
    let makers = copy.makers("cluster-0", "postgres");
    assert!(makers.len() == 1 && makers[0].starts_with(&format!("{first}/")), "{first}: {makers:?}");
    copy.wait("a status without the other cluster", || {
        let message = copy.resource()["status"]["BackupMessage"].take();
        (!message.as_str()?.contains("location-shared")).then_some(())
    });
    archives();
    assert_eq!(databases(source, primary), before, "nothing of another database is there");
    assert_ne!(databases(copy, "cluster-0"), before);
}
