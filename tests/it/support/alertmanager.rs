//! A real Alertmanager with the project's example configuration, and its receivers.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use regex::Regex;
use serde_json::Value;
use tempfile::TempDir;

use super::http;
use super::machine;
use super::process::{Running, command};

type Labels = BTreeMap<String, String>;

/// What somebody was told about one alert.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Notice {
    pub(crate) receiver: String,
    /// `firing` or `resolved`.
    pub(crate) status: String,
    pub(crate) labels: Labels,
    pub(crate) annotations: Labels,
}

impl Notice {
    pub(crate) fn name(&self) -> &str {
        &self.labels["alertname"]
    }

    /// Whether it carries these labels, and maybe more.
    pub(crate) fn has(&self, labels: &[(&str, &str)]) -> bool {
        labels.iter().all(|(key, value)| self.labels.get(*key).is_some_and(|has| has == value))
    }
}

/// Minutes become seconds, and hours minutes, wherever somebody waits: what is waited for stays as it is.
pub(crate) fn hurried(text: &str) -> String {
    let waiting =
        r"(?m)^(?P<what> *(?:for|group_wait|group_interval|repeat_interval): [0-9]+)(?P<unit>[mh])$";
    let shorter = |found: &regex::Captures<'_>| {
        format!("{}{}", &found["what"], if &found["unit"] == "h" { "m" } else { "s" })
    };
    Regex::new(waiting).unwrap().replace_all(text, shorter).into_owned()
}

/// Ended before its directory goes.
pub(crate) struct Alertmanager {
    _process: Running,
    pub(crate) address: String,
    inbox: Inbox,
    _directory: TempDir,
}

impl Alertmanager {
    /// Starts it with a configuration whose receivers have a name and nothing else, and become ours. An error tells what
    /// the machine lacks.
    pub(crate) fn start(config: &str) -> Result<Self, String> {
        let program = machine::program("prometheus-alertmanager")?;
        let directory = tempfile::Builder::new().prefix("alertmanager-").tempdir().unwrap();
        let inbox = Inbox::open();
        let (rest, receivers) = config.split_once("\nreceivers:\n").unwrap();
        let mut ours = format!("{}\nreceivers:\n", hurried(rest));
        for receiver in receivers.lines() {
            let name = receiver.trim().strip_prefix("- name: ").unwrap();
            let hook = format!("{{url: 'http://{}/', send_resolved: true}}", inbox.address);
            writeln!(ours, "- {{name: {name}, webhook_configs: [{hook}]}}").unwrap();
        }
        let file = directory.path().join("alertmanager.yml");
        fs::write(&file, ours).unwrap();
        let mut command = command(None, program);
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.path={}", directory.path().join("data").display()))
            .args(["--web.listen-address=127.0.0.1:0", "--cluster.listen-address="]);
        let log = directory.path().join("log");
        let mut process = Running::start("alertmanager", command, &log, Signal::SIGTERM);
        let address = process.wait_in_log("Alertmanager to listen", |log| {
            let line = log.lines().find(|line| line.contains("msg=\"Listening on\""))?;
            line.split("address=").nth(1).map(|address| address.trim().to_owned())
        });
        Ok(Self { _process: process, address, inbox, _directory: directory })
    }

    /// Everything that anybody was told, in its order.
    pub(crate) fn told(&self) -> Vec<Notice> {
        self.inbox.notices.lock().unwrap().clone()
    }

    /// From now on only what is told later counts.
    pub(crate) fn forget(&self) {
        self.inbox.notices.lock().unwrap().clear();
    }

    /// Waits until somebody was told about an alert, which must be this receiver.
    ///
    /// # Panics
    /// After two minutes, with what was told instead.
    pub(crate) fn wait(&self, receiver: &str, status: &str, name: &str, labels: &[(&str, &str)]) -> Notice {
        let deadline = Instant::now() + Duration::from_mins(10);
        let is_it = |notice: &&Notice| notice.status == status && notice.name() == name && notice.has(labels);
        loop {
            let told = self.told();
            if let Some(found) = told.iter().find(is_it) {
                assert_eq!(found.receiver, receiver, "{found:#?}");
                return found.clone();
            }
            assert!(
                Instant::now() < deadline,
                "nobody was told that {name}{labels:?} is {status}, but: {told:#?}"
            );
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// The alerts of a name that it knows of and tells nobody, because others say more: by their labels, with the names
    /// of those others.
    pub(crate) fn inhibited(&self, name: &str) -> Vec<(Labels, Vec<String>)> {
        let answer = http::get(&format!("http://{}/api/v2/alerts", self.address), &[]).unwrap();
        let alerts: Value = serde_json::from_slice(&answer.body).unwrap();
        let alerts = alerts.as_array().unwrap();
        let by_print = |print: &Value| -> String {
            let found = alerts.iter().find(|alert| alert["fingerprint"] == *print);
            found.map(|alert| labels(&alert["labels"])["alertname"].clone()).unwrap_or_default()
        };
        let silenced = alerts
            .iter()
            .filter(|alert| alert["labels"]["alertname"] == name && alert["status"]["state"] == "suppressed");
        silenced
            .map(|alert| {
                let by = alert["status"]["inhibitedBy"].as_array().unwrap();
                (labels(&alert["labels"]), by.iter().map(by_print).collect())
            })
            .collect()
    }
}

fn labels(of: &Value) -> Labels {
    let pairs = of.as_object().unwrap().iter();
    pairs.map(|(key, value)| (key.clone(), value.as_str().unwrap().to_owned())).collect()
}

/// A web server that takes what Alertmanager sends to webhooks.
struct Inbox {
    address: String,
    notices: Arc<Mutex<Vec<Notice>>>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Inbox {
    fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (notices, ended) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (kept, told) = (Arc::clone(&notices), Arc::clone(&ended));
        let thread = thread::spawn(move || {
            for connection in listener.incoming() {
                if told.load(Ordering::Relaxed) {
                    return;
                }
                // Alertmanager sends again what was not taken.
                let _ = connection.and_then(|connection| take(connection, &kept));
            }
        });
        Self { address, notices, ended, thread: Some(thread) }
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // The thread waits for a connection.
        let _ = TcpStream::connect(&self.address);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn take(connection: TcpStream, notices: &Mutex<Vec<Notice>>) -> io::Result<()> {
    connection.set_read_timeout(Some(Duration::from_mins(2)))?;
    let mut reader = BufReader::new(connection);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(told) = line.to_lowercase().strip_prefix("content-length:") {
            length = told.trim().parse().map_err(io::Error::other)?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let message: Value = serde_json::from_slice(&body)?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    for alert in message["alerts"].as_array().into_iter().flatten() {
        notices.lock().unwrap().push(Notice {
            receiver: text(&message["receiver"]),
            status: text(&alert["status"]),
            labels: labels(&alert["labels"]),
            annotations: labels(&alert["annotations"]),
        });
    }
    reader.into_inner().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
}
