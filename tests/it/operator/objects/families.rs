//! Servers listen on the families of addresses that the API server gives to the Service of the pods.

use serde_json::{Value, json};

use super::{Shop, with_volume};

#[test]
fn servers_listen_on_the_families_of_the_service() {
    let Some(shop) = Shop::open("servers_listen_on_the_families_of_the_service") else { return };
    // A Service of another owner, with IPv6 only.
    shop.apply(&json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "ledger-clusterpods"},
        "spec": {"clusterIP": "None", "selector": {"application": "cpo"}, "ipFamilies": ["IPv6"]}}));
    shop.apply(&with_volume("ledger"));
    // Ours, which gets the first family of the cluster.
    shop.apply(&with_volume("orders"));
    shop.wait_until("the servers of the first to listen on IPv6", || {
        addresses(&shop, "ledger") == ["::", "::"]
    });
    shop.wait_until("the others to listen on IPv4", || addresses(&shop, "orders") == ["*", "*"]);

    // The Service gets the second one, too.
    shop.patch("service", "orders-clusterpods", &json!({"spec": {"ipFamilyPolicy": "PreferDualStack"}}));
    shop.wait_until("the others to listen on both", || addresses(&shop, "orders") == ["::", "::"]);
    let set = shop.get("statefulset", "orders-pgbackrest-repo-host").unwrap();
    assert_eq!(set["metadata"]["generation"], 1, "the server is only reloaded");
    let service = shop.get("service", "orders-clusterpods").unwrap();
    assert_eq!(service["spec"]["ipFamilies"], json!(["IPv4", "IPv6"]));

    // An address of the resource is used. It is reported if it leaves out a family.
    for (address, is_reported) in [("0.0.0.0", true), ("::", false), ("ledger-0", true), ("::0", false)] {
        let global = json!({"spec": {"backup": {"pgbackrest": {"global": {"tls-server-address": address}}}}});
        shop.patch("postgresql", "ledger", &global);
        shop.wait_until("the address of the resource", || addresses(&shop, "ledger") == [address, address]);
        shop.wait_until("the finding, or its end", || {
            shop.has_finding("ledger", "option-overrides") == is_reported
        });
    }
}

/// In PostgreSQL's pods and on the repo host, as far as there is a configuration.
fn addresses(shop: &Shop, cluster: &str) -> Vec<String> {
    let maps = [format!("{cluster}-pgbackrest-config"), format!("{cluster}-pgbackrest-repohost-config")];
    let address = |map: &Value| {
        let text = map["data"]["pgbackrest_instance.conf"].as_str()?;
        Some(text.lines().find_map(|line| line.strip_prefix("tls-server-address="))?.to_owned())
    };
    maps.iter().filter_map(|map| address(&shop.get("configmap", map)?)).collect()
}
