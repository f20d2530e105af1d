//! Real PostgreSQL, pgBackRest, Prometheus, Kubernetes and our own program, started for a test and stopped after it.
//!
//! If one of them is not available, a test prints a message and passes; with `CI=true` it fails. `stack` starts the monitoring of a lab;
//! `fake_pods` and `fake_api` simulate rare faults.

pub(crate) mod added_repos;
pub(crate) mod alertmanager;
pub(crate) mod backup_jobs;
pub(crate) mod config;
pub(crate) mod control_plane;
pub(crate) mod damage;
pub(crate) mod evidence;
pub(crate) mod example;
pub(crate) mod exporter;
pub(crate) mod exposition;
pub(crate) mod fake_api;
#[allow(dead_code, reason = "unit tests use the rest")]
pub(crate) mod fake_pods;
pub(crate) mod http;
pub(crate) mod kubernetes;
pub(crate) mod lab;
pub(crate) mod limit;
pub(crate) mod machine;
pub(crate) mod memory;
pub(crate) mod node;
pub(crate) mod object_store;
pub(crate) mod operator;
pub(crate) mod postgres;
pub(crate) mod process;
pub(crate) mod prometheus;
pub(crate) mod registry;
pub(crate) mod relay;
pub(crate) mod sink;
pub(crate) mod stack;
pub(crate) mod throttle;
pub(crate) mod web;
pub(crate) mod week;
