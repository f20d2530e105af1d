//! The file as written: its keys, and the line of each value.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_saphyr::Spanned;

use crate::config_file::{List, Secret, Text};
use crate::http::outgoing::config::HttpSections;

/// The keys but those of `http_config`.
pub(super) const KEYS: &[&str] = &[
    "heartbeats",
    "webhooks",
    "name",
    "url",
    "url_file",
    "timeout",
    "http_config",
    "services",
    "warning",
    "critical",
    "ignore",
    "stanzas",
    "repos",
    "clusters",
    "interval",
    "allow_warnings",
    "format",
    "hmac_key_file",
    "for",
    "queue",
];

/// The whole file.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Document {
    pub(super) heartbeats: Option<Vec<Spanned<Section>>>,
    pub(super) webhooks: Option<Vec<Spanned<Section>>>,
}

/// One target of either kind.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Section {
    pub(super) name: Option<Text>,
    pub(super) url: Option<Spanned<Secret>>,
    pub(super) url_file: Option<Text>,
    pub(super) timeout: Option<Text>,
    pub(super) http_config: Option<Spanned<HttpSections>>,
    pub(super) services: Option<List>,
    pub(super) warning: Option<BTreeMap<String, Text>>,
    pub(super) critical: Option<BTreeMap<String, Text>>,
    pub(super) ignore: Option<List>,
    pub(super) stanzas: Option<List>,
    pub(super) repos: Option<List>,
    pub(super) clusters: Option<List>,
    /// Of heartbeats.
    pub(super) interval: Option<Text>,
    /// Of heartbeats.
    pub(super) allow_warnings: Option<Text>,
    /// Of webhooks.
    pub(super) format: Option<Text>,
    /// Of webhooks.
    pub(super) hmac_key_file: Option<Text>,
    /// Of webhooks.
    #[serde(rename = "for")]
    pub(super) wait: Option<Text>,
    /// Of webhooks.
    pub(super) queue: Option<Text>,
}
