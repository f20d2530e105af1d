//! What must hold of everything that reads text from outside, whatever the text is: no panic, nothing that contradicts itself,
//! and no secret in what is told of it.
//!
//! `fuzz/fuzz_targets` hands these to libFuzzer, and `tests/it/fuzz.rs` runs them briefly with every `make test`.

mod accept;
mod conf;
mod history;
mod info;
mod label;
mod listing;
mod manifest;
mod metrics;
mod notify_config;
mod record;
mod sanitize;
mod verify;
mod wal;
mod web_config;

/// A target, and what to begin with.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// The name of its file in `fuzz/fuzz_targets`, and of its directory in `fuzz/seeds`.
    pub name: &'static str,
    /// Panics if something does not hold of these bytes.
    pub check: fn(&[u8]),
    /// Directories of fixtures that are good to begin with, beside its own seeds.
    pub fixtures: &'static [&'static str],
}

/// All targets.
pub const TARGETS: [Target; 14] = [
    ACCEPT,
    CONF,
    HISTORY,
    INFO,
    LABEL,
    LISTING,
    MANIFEST,
    METRICS,
    NOTIFY_CONFIG,
    RECORD,
    SANITIZE,
    VERIFY,
    WAL,
    WEB_CONFIG,
];

/// `Accept` and `Accept-Encoding`.
pub const ACCEPT: Target = Target { name: "accept", check: accept::check, fixtures: &[] };
/// `pgbackrest.conf`.
pub const CONF: Target = Target { name: "conf", check: conf::check, fixtures: &[] };
/// History files of timelines.
pub const HISTORY: Target = Target { name: "history", check: history::check, fixtures: &[] };
/// The output of `pgbackrest info`.
pub const INFO: Target = Target { name: "info", check: info::check, fixtures: &["fixtures/info"] };
/// Labels of backups.
pub const LABEL: Target = Target { name: "label", check: label::check, fixtures: &[] };
/// The output of `pgbackrest repo-ls`.
pub const LISTING: Target = Target { name: "listing", check: listing::check, fixtures: &[] };
/// Manifests with `postgresql` resources.
pub const MANIFEST: Target =
    Target { name: "manifest", check: manifest::check, fixtures: &["fixtures/clusters"] };
/// Metrics that `check` judges.
pub const METRICS: Target = Target { name: "metrics", check: metrics::check, fixtures: &[] };
/// The configuration of notifications.
pub const NOTIFY_CONFIG: Target =
    Target { name: "notify_config", check: notify_config::check, fixtures: &[] };
/// Records of restore tests and verifications, signed or not, and public keys.
pub const RECORD: Target = Target { name: "record", check: record::check, fixtures: &[] };
/// Output that is not quite JSON.
pub const SANITIZE: Target =
    Target { name: "sanitize", check: sanitize::check, fixtures: &["fixtures/info"] };
/// The output of `pgbackrest verify`.
pub const VERIFY: Target = Target { name: "verify", check: verify::check, fixtures: &[] };
/// Names and positions of WAL.
pub const WAL: Target = Target { name: "wal", check: wal::check, fixtures: &[] };
/// The web configuration.
pub const WEB_CONFIG: Target = Target {
    name: "web_config",
    check: web_config::check,
    fixtures: &["fixtures/web/bad", "fixtures/web/good"],
};
