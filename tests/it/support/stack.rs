//! What watches a lab: our exporter, a Prometheus that scrapes it and, where it has rules, an Alertmanager.

use std::fs;
use std::path::Path;

use super::alertmanager::{Alertmanager, hurried};
use super::exporter::Exporter;
use super::lab::{Lab, Site};
use super::machine::{Pgbackrest, program, skip};
use super::prometheus::Prometheus;
use super::relay::Relay;

/// The shipped example of a configuration of Alertmanager.
pub(crate) const ALERTMANAGER: &str = "alerts/alertmanager.example.yml";

/// The job of the exporter.
pub(crate) const JOB: &str = "pgbackrest";

/// A site for a test with a stack. Where the machine lacks something for one, that is said.
pub(crate) fn site(test: &str, pgbackrest: Result<Pgbackrest, String>) -> Option<Site> {
    let programs = ["prometheus", "promtool", "prometheus-alertmanager"];
    let missing = programs.into_iter().find_map(|name| program(name).err());
    missing.map_or_else(|| Site::new(pgbackrest), Err).map_err(|missing| skip(test, missing)).ok()
}

/// The directory of the project.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A shipped file, with `for` in seconds that are minutes in it.
pub(crate) fn shipped(file: &str) -> String {
    hurried(&fs::read_to_string(root().join(file)).unwrap())
}

/// Ended in this order.
pub(crate) struct Stack {
    pub(crate) prometheus: Prometheus,
    _relay: Option<Relay>,
    pub(crate) exporter: Exporter,
}

/// A stack as it is going to be.
pub(crate) struct Plan<'a> {
    lab: &'a Lab<'a>,
    flags: &'a [&'a str],
    others: &'a [(&'a str, &'a str)],
    has_relay: bool,
    past: Option<fn(&str) -> String>,
}

/// With an exporter that has these flags.
pub(crate) fn stack<'a>(lab: &'a Lab<'a>, flags: &'a [&str]) -> Plan<'a> {
    Plan { lab, flags, others: &[], has_relay: false, past: None }
}

impl<'a> Plan<'a> {
    /// Jobs that Prometheus has as well: name and address.
    pub(crate) fn beside(self, others: &'a [(&str, &str)]) -> Self {
        Self { others, ..self }
    }

    /// Prometheus scrapes the classic format too, in a job of that name.
    pub(crate) fn in_both_formats(self) -> Self {
        Self { has_relay: true, ..self }
    }

    /// Prometheus remembers this OpenMetrics text, which is made of the exporter's address.
    pub(crate) fn with_past(self, past: fn(&str) -> String) -> Self {
        Self { past: Some(past), ..self }
    }

    pub(crate) fn start(self) -> Stack {
        self.start_with(|jobs, _| Prometheus::start(jobs).unwrap())
    }

    /// The same with a file of shipped rules, and who is told of alerts. The Alertmanager is there before them.
    pub(crate) fn alerting(self, rules: &str) -> (Alertmanager, Stack) {
        let mut alertmanager = None;
        let stack = self.start_with(|jobs, past| {
            let (told, prometheus) = alerting(jobs, rules, past);
            alertmanager = Some(told);
            prometheus
        });
        (alertmanager.unwrap(), stack)
    }

    fn start_with(self, watch: impl FnOnce(&[(&str, &str)], Option<&str>) -> Prometheus) -> Stack {
        let exporter = Exporter::start(self.lab.site, &self.lab.both, self.flags);
        let relay = self.has_relay.then(|| Relay::start(&exporter.address));
        let mut jobs = vec![(JOB, exporter.address.as_str())];
        jobs.extend(relay.iter().map(|relay| ("classic", relay.address.as_str())));
        jobs.extend(self.others);
        let past = self.past.map(|past| past(&exporter.address));
        let prometheus = watch(&jobs, past.as_deref());
        Stack { prometheus, _relay: relay, exporter }
    }
}

/// An Alertmanager with our example, and a Prometheus with a file of shipped rules.
pub(crate) fn alerting(jobs: &[(&str, &str)], rules: &str, past: Option<&str>) -> (Alertmanager, Prometheus) {
    let alertmanager = Alertmanager::start(&fs::read_to_string(root().join(ALERTMANAGER)).unwrap()).unwrap();
    let prometheus = Prometheus::start_alerting(jobs, &shipped(rules), &alertmanager.address, past).unwrap();
    (alertmanager, prometheus)
}
