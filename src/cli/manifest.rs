//! Manifest files: the `postgresql` and `RestoreTest` resources in them, and the objects that these refer to.

mod secret;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde_json::Value;
use thiserror::Error;

use crate::cluster::references::{Lookup, References, SecretFacts, StorageClassFacts};
use crate::cluster::resource::KIND;
use crate::cluster::restore_test;

/// Larger than any handwritten manifest.
const LARGEST: u64 = 8 << 20;

/// The API group of the resource; its version does not matter here.
const GROUP: &str = "cpo.opensource.cybertec.at/";

/// Input that cannot be checked.
#[derive(Debug, Error)]
pub enum Unusable {
    /// The file cannot be read.
    #[error("{file}: {error}; check the path and its permissions, or use - for standard input")]
    Unread {
        /// As given.
        file: String,
        /// Why.
        error: io::Error,
    },
    /// The file is not UTF-8.
    #[error("{file}: line {line}: not valid UTF-8; save the file as UTF-8")]
    NotText {
        /// As given.
        file: String,
        /// From 1.
        line: usize,
    },
    /// The file is longer than any manifest.
    #[error("{file}: larger than {} MiB; pass only the manifests of the clusters", LARGEST >> 20)]
    TooLong {
        /// As given.
        file: String,
    },
    /// The text is not YAML.
    #[error("{file}: line {line}: {reason}; fix the YAML")]
    NotYaml {
        /// As given.
        file: String,
        /// From 1.
        line: u64,
        /// The parser's message.
        reason: String,
    },
    /// The files contain no `postgresql` or `RestoreTest` resource.
    #[error(
        "{files}: no resource of kind postgresql ({GROUP}v1) or RestoreTest ({}) found; pass a manifest that contains one",
        restore_test::resource::API_VERSION
    )]
    NothingToDo {
        /// As given.
        files: String,
    },
}

/// A resource and its file.
#[derive(Debug)]
pub struct Found {
    /// The file, as given.
    pub file: String,
    /// The resource, unread.
    pub document: Value,
}

impl Found {
    /// `metadata.namespace`, or the default.
    #[must_use]
    pub fn namespace<'found>(&'found self, default: &'found str) -> &'found str {
        namespace(&self.document, default)
    }

    /// `metadata.name`, or nothing.
    #[must_use]
    pub fn name(&self) -> &str {
        self.document.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default()
    }
}

/// The relevant objects in a set of files. Other kinds are ignored.
#[derive(Debug, Default)]
pub struct Manifests {
    /// In the order of the files.
    pub resources: Vec<Found>,
    /// The `RestoreTest` resources, in the order of the files.
    pub restore_tests: Vec<Found>,
    /// By namespace and name.
    secrets: BTreeMap<(String, String), SecretFacts>,
    storage_classes: BTreeMap<String, StorageClassFacts>,
}

impl Manifests {
    /// Reads files; `-` is standard input. `default_namespace` is that of objects that name none.
    pub fn read(files: &[PathBuf], default_namespace: &str) -> Result<Self, Unusable> {
        let mut manifests = Self::default();
        for file in files {
            let name = if file == Path::new("-") { "stdin".to_owned() } else { file.display().to_string() };
            manifests.include(bytes(file, &name)?, &name, default_namespace)?;
        }
        if manifests.resources.is_empty() && manifests.restore_tests.is_empty() {
            let files: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
            return Err(Unusable::NothingToDo { files: files.join(", ") });
        }
        Ok(manifests)
    }

    /// Adds the objects of one file.
    pub fn include(&mut self, bytes: Vec<u8>, file: &str, default_namespace: &str) -> Result<(), Unusable> {
        for document in documents(&text(bytes, file)?, file)? {
            self.add(document, file, default_namespace);
        }
        Ok(())
    }

    /// The objects that a resource refers to, if the files contain them.
    #[must_use]
    pub fn references(&self, resource: &Found, default_namespace: &str) -> References {
        let namespace = resource.namespace(default_namespace).to_owned();
        let secret = resource.document.pointer("/spec/backup/pgbackrest/configuration/secret");
        let secret = secret.and_then(Value::as_str).unwrap_or_default().to_owned();
        let classes = self.storage_classes.iter().map(|(name, facts)| (name.clone(), Lookup::Found(*facts)));
        References {
            secret: self.secrets.get(&(namespace, secret)).cloned().map_or(Lookup::NotChecked, Lookup::Found),
            storage_classes: classes.collect(),
            ..References::default()
        }
    }

    fn add(&mut self, document: Value, file: &str, default_namespace: &str) {
        let field = |name: &str| document.get(name).and_then(Value::as_str).unwrap_or_default();
        let (version, kind) = (field("apiVersion"), field("kind"));
        let name = document.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned();
        match (version, kind) {
            ("v1", "List") => {
                let Value::Object(mut list) = document else { return };
                let Some(Value::Array(items)) = list.remove("items") else { return };
                for item in items {
                    self.add(item, file, default_namespace);
                }
            }
            ("v1", "Secret") => {
                let namespace = namespace(&document, default_namespace).to_owned();
                self.secrets.extend(secret::read(&document).map(|facts| ((namespace, name), facts)));
            }
            ("storage.k8s.io/v1", "StorageClass") => {
                let expansion = document.get("allowVolumeExpansion").and_then(Value::as_bool);
                let facts = StorageClassFacts { allows_expansion: expansion.unwrap_or_default() };
                self.storage_classes.insert(name, facts);
            }
            (version, KIND) if version.starts_with(GROUP) => {
                self.resources.push(Found { file: file.to_owned(), document });
            }
            (version, restore_test::resource::KIND) if is_ours(version) => {
                self.restore_tests.push(Found { file: file.to_owned(), document });
            }
            _ => {}
        }
    }
}

/// Whether this is our API group, in any version.
fn is_ours(version: &str) -> bool {
    version.split_once('/').is_some_and(|(group, _)| group == restore_test::resource::GROUP)
}

fn namespace<'document>(document: &'document Value, default: &'document str) -> &'document str {
    let given = document.pointer("/metadata/namespace").and_then(Value::as_str);
    given.filter(|namespace| !namespace.is_empty()).unwrap_or(default)
}

/// The beginning of a file; one byte more than may be read if it is too long.
fn bytes(file: &Path, name: &str) -> Result<Vec<u8>, Unusable> {
    let mut bytes = Vec::new();
    let read = if file == Path::new("-") {
        io::stdin().lock().take(LARGEST + 1).read_to_end(&mut bytes)
    } else {
        File::open(file).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes))
    };
    read.map_err(|error| Unusable::Unread { file: name.to_owned(), error })?;
    Ok(bytes)
}

fn text(bytes: Vec<u8>, name: &str) -> Result<String, Unusable> {
    if u64::try_from(bytes.len()).is_ok_and(|length| length > LARGEST) {
        return Err(Unusable::TooLong { file: name.to_owned() });
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
        let line = String::from_utf8_lossy(good).matches('\n').count() + 1;
        Unusable::NotText { file: name.to_owned(), line }
    })
}

/// The non-empty documents of a text.
fn documents(text: &str, name: &str) -> Result<Vec<Value>, Unusable> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_depth: 64, max_nodes: 200_000 },
        with_snippet: false,
    };
    serde_saphyr::from_multiple_with_options::<Value>(text, options)
        .map(|documents| documents.into_iter().filter(|document| !document.is_null()).collect())
        .map_err(|error| Unusable::NotYaml {
            file: name.to_owned(),
            line: error.location().map_or(1, |location| location.line()),
            reason: without_place(&error.render_with_formatter(&serde_saphyr::UserMessageFormatter)),
        })
}

/// The parser's message without the location, which precedes it.
fn without_place(reason: &str) -> String {
    reason.rsplit_once(" at line ").map_or(reason, |(reason, _)| reason).trim_end_matches(':').to_owned()
}
