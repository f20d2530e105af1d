//! The one integration test binary: a module per subject.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::float_cmp,
    reason = "a test that meets the unexpected must stop, and says what it skips; facts are copied, so equal"
)]

mod alerts;
mod any_cluster;
mod apply_faults;
mod backup_docs;
mod backup_faults;
mod backup_pgbackrest;
mod cli_docs;
mod collection;
mod control_plane;
mod dashboards;
mod demo;
mod deploy;
mod differential;
mod documents;
mod exporter;
mod fake;
mod fixtures;
mod go_dashboard;
mod golden;
mod healthcheck;
mod http_limits;
mod info_fleet;
mod info_table;
mod install;
mod kubernetes_client;
mod kubernetes_exec;
mod kubernetes_lease;
mod lint;
mod metric_docs;
mod node;
mod node_backup;
mod node_fleet;
mod node_operator;
mod node_overlays;
mod object_stores;
mod objects;
mod operator;
mod operator_objects;
mod operator_telling;
mod package;
mod page;
mod process_limits;
mod real_pgbackrest;
mod real_prometheus;
mod real_repository;
mod real_restore;
mod real_trouble;
mod real_wal;
mod render;
mod stanza_care;
mod support;
mod tidy;
mod tls_auth;
mod web_client;
mod web_config;
mod web_gate;
