//! Alerts, dashboards and scrapes with a real Prometheus and Alertmanager.
//!
//! Proves that what is served can be used: each alert fires and stays quiet, each panel has an answer.

pub(crate) mod alerts;
pub(crate) mod dashboards;
pub(crate) mod go_dashboard;
pub(crate) mod prometheus;
