//! Configurations that cannot be used: refused at start, and the previous one stays in effect after a reload.

use nix::sys::signal::Signal;

use super::trial::{DAY, KEY, TOKEN, Trial};
use crate::support::process::{call, output, wait_for};
use crate::support::sink::Sink;

const PROGRAM: &str = env!("CARGO_BIN_EXE_pgbackrest-keeper");

#[test]
fn what_cannot_be_used_is_refused_without_its_secrets() {
    let trial = Trial::new();
    let url = format!("https://example.com/{TOKEN}");
    for command in ["exporter", "operator"] {
        for (text, told) in [
            (
                format!("webhooks:\n- name: a\n  url: {url}\n  fore: 1m\n"),
                "notify.yml:4: unknown key; fix or remove it",
            ),
            (format!("webhooks:\n- name: a\n  url: [{url}]\n"), "notify.yml:3: url: expected a string"),
            (
                format!("webhooks:\n- name: a\n  url: ftp://{TOKEN}/\n"),
                "notify.yml:3: webhooks: a: url: is not a full URL",
            ),
            (format!("webhooks:\n- url: {url}\n"), "notify.yml:2: webhooks: name is missing"),
            (
                format!("webhooks:\n- {{name: a, url: '{url}', hmac_key_file: none}}\n"),
                "hmac_key_file: the file cannot be read: No such file",
            ),
            (
                format!("webhooks:\n- {{name: a, url: '{url}', hmac_key: {KEY}}}\n"),
                "notify.yml:2: unknown key; fix or remove it",
            ),
            (format!("{url}: {KEY}\n"), "notify.yml:1: unknown key; fix or remove it"),
            (format!("heartbeats: {url}\n"), "notify.yml:1: heartbeats: expected a list"),
            (
                format!("webhooks:\n- name: a\n  url: {url}\n  hmac_key_file:\n"),
                "notify.yml:4: hmac_key_file: has no value",
            ),
            ("# heartbeats:\n".to_owned(), "notify.yml: it is empty"),
        ] {
            trial.write("notify.yml", &text);
            let mut program = call(None, PROGRAM);
            program.args([command, "--web.listen-address=127.0.0.1:0"]);
            program.arg(format!("--notify.config.file={}", trial.path("notify.yml").display()));
            let ended = output(&mut program);
            let said = String::from_utf8_lossy(&[ended.stdout, ended.stderr].concat()).into_owned();
            assert_eq!(ended.status.code(), Some(1), "{said}");
            assert!(said.contains(told), "{told}: {said}");
            assert!(!said.contains("hunter2"), "{said}");
        }
    }
}

/// Otherwise each would overwrite what the other one has told.
#[test]
fn a_state_directory_is_one_exporters() {
    let (mut trial, sink) = (Trial::new(), Sink::start());
    let config = format!("webhooks:\n- {{name: a, url: 'http://{}/'}}\n", sink.address);
    trial.start(&config);
    let second = |with_config: bool| {
        let mut program = call(None, PROGRAM);
        program.args(["exporter", "--web.listen-address=nowhere"]);
        program.arg(format!("--state-directory={}", trial.path("state").display()));
        if with_config {
            program.arg(format!("--notify.config.file={}", trial.path("notify.yml").display()));
        }
        let ended = output(&mut program);
        assert_eq!(ended.status.code(), Some(1), "{ended:?}");
        String::from_utf8_lossy(&[ended.stdout, ended.stderr].concat()).into_owned()
    };
    let said = second(true);
    assert!(said.contains("another exporter keeps in") && said.contains("--state-directory"), "{said}");
    // One that does not notify keeps nothing there.
    let said = second(false);
    assert!(said.contains("nowhere") && !said.contains("another exporter"), "{said}");
    trial.end(Signal::SIGKILL);
    trial.start(&config);
    trial.end(Signal::SIGTERM);
}

#[test]
fn a_reload_takes_over_what_is_good() {
    let (mut trial, sink) = (Trial::new(), Sink::start());
    let heartbeat = |path: &str| {
        format!(
            "heartbeats:\n- {{name: clock, url: 'http://{}/{path}', interval: 1s, services: [backups]}}\n",
            sink.address
        )
    };
    let called = |path: &str| {
        let before = sink.at(path).len();
        wait_for(path, || (sink.at(path).len() > before).then_some(()));
    };
    trial.start(&heartbeat(&format!("one/{TOKEN}")));
    let (one, two) = (format!("/one/{TOKEN}"), format!("/two/{TOKEN}"));
    called(&one);
    trial.reload(&format!("heartbeats:\n- {{name: clock, url: {TOKEN}}}\n"));
    trial.wait("pgbackrest_exporter_config_reload_success", &[], |success| success == 0.0);
    called(&one);
    trial.reload(&heartbeat(&format!("two/{TOKEN}")));
    called(&two);
    trial.wait("pgbackrest_exporter_config_reload_success", &[], |success| success == 1.0);
    trial.assert_no_secret();
    // A change is noticed without a signal, and so is one of a file that is referred to.
    trial.write("url", &format!("http://{}{one}\n", sink.address));
    trial.write(
        "notify.yml",
        "heartbeats:\n- {name: clock, url_file: url, interval: 1s, services: [backups]}\n",
    );
    called(&one);
    trial.write("url", &format!("http://{}{two}\n", sink.address));
    called(&two);
    let log = trial.log();
    assert!(log.contains("Failed to reload notification configuration"), "{log}");
    trial.end(Signal::SIGTERM);
}

/// The configuration is another one each time that states were judged, but means the same.
#[test]
fn frequent_reloads_silence_nobody() {
    let (mut trial, sink) = (Trial::new(), Sink::start());
    let config = format!(
        "heartbeats:\n- {{name: clock, url: 'http://{at}/clock', interval: 1s, services: [collection]}}\n\
         webhooks:\n- {{name: pager, url: 'http://{at}/hook', services: [backups], for: 1s}}\n",
        at = sink.address
    );
    trial.start(&config);
    let (calls, told) = (|| sink.at("/clock").len(), || sink.at("/hook").len());
    wait_for("a call", || (calls() > 0).then_some(()));
    let before = calls();
    trial.set_age(2 * DAY);
    wait_for("calls in spite of reloads", || {
        trial.reload(&config);
        (calls() > before + 2 && told() > 0).then_some(())
    });
    trial.end(Signal::SIGTERM);
}
