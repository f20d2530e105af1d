//! Alerts, dashboards and scrapes with a real Prometheus and Alertmanager.
//!
//! Covers the use of the metrics: each alert fires and stays quiet, each panel has data, and `check` agrees with the alerts.

pub(crate) mod alerts;
pub(crate) mod dashboards;
pub(crate) mod go_dashboard;
pub(crate) mod plugins;
pub(crate) mod prometheus;
