//! Options of pgBackRest in the Jobs of backups.

use super::*;

#[test]
fn jobs_get_the_options_of_their_backups() {
    let annotate = |document: &mut Value| {
        document["metadata"]["annotations"] = json!({
            "pgbackrest-keeper.io/backup-options": "--process-max=2",
            "pgbackrest-keeper.io/backup-options.full": "--annotation=why='every night'",
            "pgbackrest-keeper.io/backup-options.incr": "--annotation=cost='$$ $(POD_NAME)'",
            "pgbackrest-keeper.io/backup-now": "full@repo2 --process-max=8",
        });
    };
    let cluster = cluster(annotate);
    let of_schedule = |name: &str| {
        let desired = objects(&cluster);
        let job =
            cron_jobs(&desired).into_iter().find(|job| job.metadata.name.as_deref() == Some(name)).unwrap();
        job.spec.as_ref().unwrap().job_template.spec.as_ref().unwrap().template.clone()
    };
    let options = |template: PodTemplateSpec| {
        let arguments = template.spec.unwrap().containers.remove(0).args.unwrap();
        arguments.into_iter().find(|argument| argument.starts_with("--backup-options=")).unwrap_or_default()
    };
    assert_eq!(
        options(of_schedule("pgbackrest-orders-repo1-full")),
        "--backup-options=--annotation=why='every night' --process-max=2"
    );
    assert_eq!(
        options(of_schedule("pgbackrest-orders-repo1-incr")),
        "--backup-options=--annotation=cost='$$$$ $$(POD_NAME)' --process-max=2",
        "what Kubernetes replaces is escaped"
    );
    let once = |token: &str| {
        let repo2 = RepoNumber::of_name("repo2").unwrap();
        let job = one_time_job(&cluster, &Settings::default(), repo2, BackupType::Full, token).unwrap();
        options(job.spec.unwrap().template)
    };
    let asked = "full@repo2 --process-max=8";
    assert_eq!(once(asked), "--backup-options=--annotation=why='every night' --process-max=8");
    assert_eq!(once("first"), "--backup-options=--annotation=why='every night' --process-max=2");
}
