//! A pgBackRest configuration that tests create and change.

use std::fmt::Write;
use std::net::TcpListener;

/// The passphrase of an encrypted repo.
pub(crate) const CIPHER_PASS: &str = "lab-cipher-pass-not-secret";

/// Options of `[global]` and of each stanza, written in the order in which they were set.
#[derive(Debug, Clone, Default)]
pub(crate) struct Config {
    sections: Vec<(String, Vec<(String, String)>)>,
}

impl Config {
    /// Sets an option of `[global]`, in place of its earlier value.
    pub(crate) fn global(self, key: &str, value: &str) -> Self {
        self.set("global", key, value)
    }

    /// Sets an option of a section, in place of its earlier value.
    pub(crate) fn set(mut self, section: &str, key: &str, value: &str) -> Self {
        let index = self.sections.iter().position(|(name, _)| name == section).unwrap_or_else(|| {
            self.sections.push((section.to_owned(), Vec::new()));
            self.sections.len() - 1
        });
        let options = &mut self.sections[index].1;
        options.retain(|(name, _)| name != key);
        options.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Removes every option that starts so, such as `repo2-`.
    pub(crate) fn without(mut self, prefix: &str) -> Self {
        for (_, options) in &mut self.sections {
            options.retain(|(key, _)| !key.starts_with(prefix));
        }
        self
    }

    /// Makes a repo of a section an S3 bucket whose server takes connections and never says a word.
    pub(crate) fn with_silent_repo(mut self, section: &str, repo: u32, server: &TcpListener) -> Self {
        if let Some((_, options)) = self.sections.iter_mut().find(|(name, _)| name == section) {
            options.retain(|(key, _)| !key.starts_with(&format!("repo{repo}-")));
        }
        let port = server.local_addr().unwrap().port().to_string();
        let options = [
            ("type", "s3"),
            ("path", "/repo"),
            ("s3-bucket", "bucket"),
            ("s3-region", "region"),
            ("s3-endpoint", "s3.local"),
            ("s3-key", "key"),
            ("s3-key-secret", "secret"),
            ("s3-uri-style", "path"),
            ("storage-host", "127.0.0.1"),
            ("storage-port", &port),
            ("storage-verify-tls", "n"),
        ];
        options
            .iter()
            .fold(self, |config, (key, value)| config.set(section, &format!("repo{repo}-{key}"), value))
    }

    /// As the file that pgBackRest reads.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for (section, options) in &self.sections {
            writeln!(text, "[{section}]").unwrap();
            for (key, value) in options {
                writeln!(text, "{key}={value}").unwrap();
            }
        }
        text
    }
}
