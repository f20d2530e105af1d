//! Files that are read, and files that are refused.

use super::*;
use crate::check::report::Severity;
use crate::check::services;

const SECRET: &str = "hunter2/very-secret";

fn loaded(text: &str) -> Result<NotifyConfig, String> {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("notify.yml"), text).unwrap();
    std::fs::write(path("url"), format!("https://example.com/{SECRET}\n")).unwrap();
    std::fs::write(path("key"), "0123456789abcdef\n").unwrap();
    std::fs::write(path("short"), "0123456789abcde\n").unwrap();
    load(&path("notify.yml"))
        .map_err(|error| error.to_string().replace(&directory.path().display().to_string(), "DIR"))
}

#[test]
fn what_is_not_given_is_as_usual() {
    let config = loaded(
        "heartbeats:\n- {name: one, url: https://example.com/x, services: [stanza]}\nwebhooks:\n- {name: two, url_file: url, hmac_key_file: key}\n",
    )
    .unwrap();
    let (heartbeat, webhook) = (&config.heartbeats[0], &config.webhooks[0]);
    assert_eq!(
        (&*heartbeat.name, heartbeat.interval, heartbeat.allows_warnings),
        ("one", USUAL_INTERVAL, false)
    );
    assert_eq!(
        (&*webhook.name, webhook.format, webhook.wait, webhook.queue),
        ("two", Format::Json, USUAL_WAIT, 100)
    );
    assert!(webhook.key.is_some() && webhook.endpoint.tls.is_some());
    assert_eq!(
        (webhook.endpoint.url.path(), webhook.endpoint.timeout),
        ("/hunter2/very-secret", USUAL_TIMEOUT)
    );
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    let printed = format!("{config:?}");
    assert!(!printed.contains("hunter2") && !printed.contains("example"), "{printed}");
}

#[test]
fn everything_can_be_given() {
    let config = loaded(
        "heartbeats:\n- name: one\n  url: http://db1.example:8080/x\n  interval: 60\n  timeout: 2s\n  allow_warnings: true\n  \
         services: [backups]\n  critical: {age: 26h}\n  warning: {full-age: 9d}\n  ignore: [PgBackRestClockWrong]\n  \
         stanzas: [demo]\n  repos: [1, 2]\n  clusters: [shop/ledger, crm]\n  http_config:\n    authorization: {credentials_file: key}\n\
         webhooks:\n- {name: two, url: 'http://[::1]:1/', format: slack, for: 0s, queue: 5}\n",
    )
    .unwrap();
    let (heartbeat, webhook) = (&config.heartbeats[0], &config.webhooks[0]);
    assert_eq!((heartbeat.interval.as_secs(), heartbeat.allows_warnings), (60, true));
    assert_eq!(heartbeat.endpoint.timeout.as_secs(), 2);
    assert_eq!(heartbeat.endpoint.authorization.as_ref().unwrap(), "Bearer 0123456789abcdef");
    assert_eq!((webhook.format, webhook.wait, webhook.queue), (Format::Slack, Duration::ZERO, 5));
    // Only where others may listen.
    assert_eq!(config.warnings.len(), 1, "{:?}", config.warnings);
    assert!(config.warnings[0].starts_with("heartbeats: one: url: http sends"), "{:?}", config.warnings);
}

/// Each is told at its line, without secrets.
fn assert_refused(cases: &[(String, &str)]) {
    for (text, expected) in cases {
        let error = loaded(text).unwrap_err();
        assert!(error.starts_with(expected), "{expected}\n{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn mistakes_in_targets_are_named_with_their_line_and_without_secrets() {
    let url = format!("https://example.com/{SECRET}");
    assert_refused(&[
        (
            format!("heartbeats:\n- name: a\n  url: {url}\n  interval: 0s\n"),
            "DIR/notify.yml:4: heartbeats: a: interval: must be a duration",
        ),
        (
            format!("heartbeats:\n- name: a\n  url: {url}\n  queue: 5\n"),
            "DIR/notify.yml:4: heartbeats: a: queue: only webhooks have it",
        ),
        (
            format!("webhooks:\n- name: a\n  url: {url}\n  interval: 5s\n"),
            "DIR/notify.yml:4: webhooks: a: interval: only heartbeats",
        ),
        (
            format!("heartbeats:\n- name: a\n  url: {url}\n"),
            "DIR/notify.yml:2: heartbeats: a: services: is missing",
        ),
        (format!("webhooks:\n- name: a b\n  url: {url}\n"), "DIR/notify.yml:2: webhooks: name: must be"),
        (
            format!("webhooks:\n- name: a\n  url: {url}\n- {{name: a, url: '{url}'}}\n"),
            "DIR/notify.yml:4: webhooks: a: name: another",
        ),
        ("webhooks:\n- name: a\n".to_owned(), "DIR/notify.yml:2: webhooks: a: url: is missing"),
        (
            format!("webhooks:\n- name: a\n  url: {url}\n  url_file: url\n"),
            "DIR/notify.yml:4: webhooks: a: url_file: url is also set",
        ),
        (
            format!("webhooks:\n- name: a\n  url_file: {url}\n"),
            "DIR/notify.yml:3: webhooks: a: url_file: the file cannot be read",
        ),
        (
            format!("webhooks:\n- name: a\n  url: //{SECRET}\n"),
            "DIR/notify.yml:3: webhooks: a: url: is not a",
        ),
        (
            format!("webhooks:\n- name: a\n  url: https://hunter2:{SECRET}@example.com/\n"),
            "DIR/notify.yml:3: webhooks: a: url: ",
        ),
        (
            format!("webhooks:\n- name: a\n  url: https://hunter2@example.com/{SECRET}\n"),
            "DIR/notify.yml:3: webhooks: a: url: contains a user",
        ),
        (
            format!("webhooks:\n- name: a\n  url: {url}\n  hmac_key_file: short\n"),
            "DIR/notify.yml:4: webhooks: a: hmac_key_file: the key is shorter",
        ),
        (
            format!("webhooks:\n- name: a\n  url: {url}\n  format: xml\n"),
            "DIR/notify.yml:4: webhooks: a: format: must be json or slack",
        ),
        (
            format!("webhooks:\n- name: a\n  url: {url}\n  queue: 0\n"),
            "DIR/notify.yml:4: webhooks: a: queue: must be a number",
        ),
    ]);
}

#[test]
fn mistakes_in_conditions_are_named_with_their_line_and_without_secrets() {
    let url = format!("https://example.com/{SECRET}");
    assert_refused(&[
        (
            format!("webhooks:\n- name: a\n  url: {url}\n  services: [backup]\n"),
            "DIR/notify.yml:4: webhooks: a: services: not a service; known are backups",
        ),
        (
            format!("webhooks:\n- name: a\n  url: {url}\n  services: []\n"),
            "DIR/notify.yml:4: webhooks: a: services: is empty",
        ),
        (
            format!("webhooks:\n- name: a\n  url: {url}\n  critical: {{age: {SECRET}}}\n"),
            "DIR/notify.yml:4: webhooks: a: critical: age: not a range",
        ),
        (
            format!("webhooks:\n- name: a\n  url: {url}\n  critical: {{hunter2: 1}}\n"),
            "DIR/notify.yml:4: webhooks: a: critical: not measured",
        ),
        (
            format!("webhooks:\n- name: a\n  url: {url}\n  services: [stanza]\n  critical: {{age: 1d}}\n"),
            "DIR/notify.yml:5: webhooks: a: critical: age: none of the services",
        ),
        (
            format!("webhooks:\n- name: a\n  url: {url}\n  ignore: [Nothing]\n"),
            "DIR/notify.yml:4: webhooks: a: ignore: not an alert",
        ),
        (
            format!("webhooks:\n- name: a\n  url: {url}\n  repos: [0]\n"),
            "DIR/notify.yml:4: webhooks: a: repos: must be a number",
        ),
        (
            format!("webhooks:\n- name: a\n  url: {url}\n  clusters: [a/b/c]\n"),
            "DIR/notify.yml:4: webhooks: a: clusters: must be NAME",
        ),
        (
            format!(
                "webhooks:\n- name: a\n  url: {url}\n  http_config:\n    basic_auth: {{username: bob}}\n"
            ),
            "DIR/notify.yml:5: webhooks: a: http_config: basic_auth: password is missing",
        ),
        (
            format!("webhooks:\n- name: a\n  url: {url}\n  http_config: {{proxy_url: '{url}'}}\n"),
            "DIR/notify.yml:4: unknown key; fix",
        ),
        (format!("webhook:\n- {{name: a, url: '{url}'}}\n"), "DIR/notify.yml:1: unknown key; fix"),
    ]);
}

#[test]
fn a_key_without_a_value_is_not_as_one_that_is_not_given() {
    let url = format!("https://example.com/{SECRET}");
    let keys = [
        "timeout",
        "services",
        "warning",
        "critical",
        "ignore",
        "stanzas",
        "repos",
        "clusters",
        "http_config",
        "format",
        "hmac_key_file",
        "for",
        "queue",
    ];
    for key in keys {
        for null in ["", " ~", " null", " # later"] {
            let text = format!("webhooks:\n- name: a\n  url: {url}\n  {key}:{null}\n");
            let expected = format!("DIR/notify.yml:4: {key}: has no value; set one, or remove it");
            assert_refused(&[(text, &expected)]);
        }
    }
    let webhook = format!("webhooks:\n- name: a\n  url: {url}\n");
    assert_refused(&[
        (format!("heartbeats:\n{webhook}"), "DIR/notify.yml:1: heartbeats: has no value"),
        (format!("{webhook}  critical: {{age: }}\n"), "DIR/notify.yml:4: a key or an entry: has no value"),
        (
            format!("{webhook}  stanzas:\n  - main\n  -\n"),
            "DIR/notify.yml:6: a key or an entry: has no value",
        ),
        (
            format!("{webhook}  http_config:\n    tls_config: {{ca_file: }}\n"),
            "DIR/notify.yml:5: ca_file: has no value",
        ),
    ]);
}

#[test]
fn a_file_that_lists_nothing_must_say_so() {
    for empty in ["", "\n", "# heartbeats: []\n", "{}", "null", "~\n", "---\n"] {
        assert_refused(&[(empty.to_owned(), "DIR/notify.yml: it is empty; list heartbeats")]);
    }
    for none in ["heartbeats: []\n", "webhooks: []\n", "heartbeats: []\nwebhooks: []\n"] {
        let config = loaded(none).unwrap();
        assert!(config.heartbeats.is_empty() && config.webhooks.is_empty());
    }
}

/// Whatever a secret is taken for because it is not quoted.
#[test]
fn no_text_is_shown_but_known_keys() {
    let before = "webhooks:\n- name: a\n";
    assert_refused(&[
        (format!("{before}  url: https://example.com/?hunter2: b\n"), "DIR/notify.yml:3: "),
        (
            format!("{before}  url: https://example.com/\n  hunter2: b\n"),
            "DIR/notify.yml:4: unknown key; fix",
        ),
        (format!("{before}  url: |\n    https://example.com/\n  hunter2\n"), "DIR/notify.yml:"),
        (format!("{before}  url:\n    hunter2: b\n"), "DIR/notify.yml:"),
        (format!("{before}  hunter2: a\n  hunter2: b\n"), "DIR/notify.yml:"),
        (
            format!("{before}  warning: {{hunter2: a, hunter2: b}}\n"),
            "DIR/notify.yml:3: warning: a key is given twice",
        ),
        (
            format!("{before}  url: https://a/\n  http_config: {{hunter2: b}}\n"),
            "DIR/notify.yml:4: unknown key",
        ),
        (
            format!("{before}  url: https://a/\n  http_config: {{tls_config: {{ca_file: hunter2}}}}\n"),
            "DIR/notify.yml:4: webhooks: a: http_config: tls_config: ca_file: No such file",
        ),
        (
            format!(
                "{before}  url: https://a/\n  http_config: {{tls_config: {{cert_file: key, key_file: 'a: hunter2'}}}}\n"
            ),
            "DIR/notify.yml:4: webhooks: a: http_config: tls_config: key_file: No such file",
        ),
    ]);
}

#[test]
fn the_number_of_targets_is_limited() {
    let list = |count: usize| {
        let targets = (0..count)
            .map(|number| format!("- {{name: n{number}, url: 'http://localhost/', services: [wal]}}\n"));
        format!("heartbeats:\n{}", targets.collect::<String>())
    };
    assert_eq!(loaded(&list(50)).unwrap().heartbeats.len(), 50);
    assert!(loaded(&list(51)).unwrap_err().contains("more than 50 targets"));
}

/// The same words mean the same as flags of `check`.
#[test]
fn conditions_are_those_of_check() {
    let config = loaded(
        "heartbeats:\n- {name: a, url: 'http://localhost/', services: [backups], critical: {age: 2h}, stanzas: [demo]}\n",
    )
    .unwrap();
    let conditions = &config.heartbeats[0].conditions;
    let state = |age: f64, stanza: &str| {
        let now = 1_800_000_000.0;
        let repo = format!("repo_key=\"1\",stanza=\"{stanza}\"");
        let text = format!(
            "pgbackrest_repo_up{{{repo}}} 1\npgbackrest_backups{{backup_type=\"full\",{repo}}} 1\n\
             pgbackrest_backup_last_completion_timestamp_seconds{{backup_type=\"full\",{repo}}} {}\n",
            now - age
        );
        let mut reader = services::reader();
        reader.feed(text.as_bytes()).unwrap();
        let mut facts = reader.end(false).unwrap();
        conditions.select(&mut facts);
        conditions.judge(&conditions.services, &facts, true, now).severity()
    };
    assert_eq!(state(3600.0, "demo"), Severity::Ok);
    assert_eq!(state(7201.0, "demo"), Severity::Critical);
    assert_eq!(state(3600.0, "other"), Severity::Unknown);
}
