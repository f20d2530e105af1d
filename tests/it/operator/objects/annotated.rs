//! What annotations change about objects, and what they cannot change afterwards.

use serde_json::json;

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

#[test]
fn access_modes_of_a_volume_are_set_once() {
    let Some(shop) = Shop::open("access_modes_of_a_volume_are_set_once") else { return };
    let claim = "repo1-orders-pgbackrest-repo-host-0";
    let modes = || Some(shop.get("pvc", claim)?["spec"]["accessModes"].clone());
    let mut orders = with_volume("orders");
    orders["metadata"]["annotations"] = json!({"pgbackrest-keeper.io/volume-access-modes": "RWX"});
    shop.apply(&orders);
    shop.wait_until("the error", || shop.has_finding("orders", "annotation-invalid"));
    assert_eq!(modes(), None, "a volume with other modes cannot be corrected");
    shop.annotate("orders", "volume-access-modes=ReadWriteMany");
    shop.wait_until("the volume", || modes() == Some(json!(["ReadWriteMany"])));
    shop.annotate("orders", "volume-access-modes=ReadWriteOnce");
    shop.wait_until("the finding", || shop.has_finding("orders", "volume-modes-fixed"));
    // Everything else is kept as desired.
    shop.patch(
        "postgresql",
        "orders",
        &json!({"spec": {"backup": {"pgbackrest": {"global": {"process-max": "4"}}}}}),
    );
    shop.wait_until("the configuration", || {
        let map = shop.get("configmap", "orders-pgbackrest-config").unwrap();
        map["data"]["pgbackrest_instance.conf"].as_str().unwrap().contains("process-max=4")
    });
    assert_eq!(modes(), Some(json!(["ReadWriteMany"])));
    assert!(!shop.has_finding("orders", "object-refused"));
    shop.annotate("orders", "volume-access-modes=ReadWriteMany");
    shop.wait_until("the finding to go", || !shop.has_finding("orders", "volume-modes-fixed"));
}
