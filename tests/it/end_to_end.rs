//! Real pods on a real node: the image, the operator, PostgreSQL, repo hosts, object stores and backup jobs.
//!
//! Covers what only running pods show: exec, volumes, certificates, names, and backups that arrive in a repo.

pub(crate) mod any_cluster;
pub(crate) mod backup;
pub(crate) mod fleet;
pub(crate) mod ipv6;
pub(crate) mod node;
pub(crate) mod object_stores;
pub(crate) mod operator;
pub(crate) mod overlays;
pub(crate) mod restore_tests;
pub(crate) mod standby;
pub(crate) mod verifications;
