//! What annotations change about objects.

use super::{Shop, with_volume};

#[test]
fn options_of_backups_reach_their_cron_jobs() {
    let Some(shop) = Shop::open("options_of_backups_reach_their_cron_jobs") else { return };
    shop.apply(&with_volume("orders"));
    let arguments = |backup_type: &str| {
        let job = shop.get("cronjob", &format!("pgbackrest-orders-repo1-{backup_type}"))?;
        let arguments = &job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["args"];
        let options = arguments.as_array().unwrap().iter().find_map(|argument| {
            Some(argument.as_str().unwrap().strip_prefix("--backup-options=")?.to_owned())
        });
        Some(options.unwrap_or_default())
    };
    shop.wait_until("the CronJobs", || arguments("full") == Some(String::new()));
    shop.annotate("orders", "backup-options=--process-max=2");
    shop.annotate("orders", "backup-options.full=--process-max=8 --repo1-path=/elsewhere");
    shop.wait_until("the options", || arguments("full").as_deref() == Some("--process-max=8"));
    shop.wait_until("those of the other type", || arguments("incr").as_deref() == Some("--process-max=2"));
    shop.wait_until("the finding", || shop.has_finding("orders", "option-not-allowed"));
    shop.annotate("orders", "backup-options.full-");
    shop.wait_until("those for all", || arguments("full").as_deref() == Some("--process-max=2"));
    assert_eq!(shop.keeper.drift(), [""; 0]);
}
