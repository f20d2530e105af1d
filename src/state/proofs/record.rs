//! What all kinds of records have in common.

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::state::chain::Link;
use crate::text;

use super::envelope::{self, EnvelopeError};
use super::{MAX_BYTES, MAX_TEXT, Outcome};

/// A document about a repository of a stanza, which is stored in a file of its own (see [`super::file`]).
pub trait Record: Serialize + DeserializeOwned {
    /// What it is about, such as `restore test`.
    const NAME: &'static str;
    /// The directory of all records of this kind, below the state directory.
    const DIRECTORY: &'static str;
    /// The version of the format; increased when the meaning of a member changes.
    const FORMAT: u32;

    fn stanza(&self) -> &str;

    /// Number of the repository.
    fn repo(&self) -> u32;

    fn start(&self) -> DateTime<Utc>;

    fn stop(&self) -> DateTime<Utc>;

    fn outcome(&self) -> Outcome;

    /// Its place among the records of this kind and repository.
    fn chain(&mut self) -> &mut Option<Link>;

    /// Reads a record, with or without an envelope.
    fn parse(document: &[u8]) -> Result<Self, RecordError> {
        Self::read(&envelope::open(document)?.payload)
    }

    /// Reads a record without an envelope.
    fn read(document: &[u8]) -> Result<Self, RecordError> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        if document.len() > MAX_BYTES {
            return Err(RecordError::TooLarge);
        }
        let malformed = |error: serde_json::Error| RecordError::Malformed {
            kind: Self::NAME,
            why: text::one_line(&error.to_string(), MAX_TEXT),
        };
        let Format { format } = serde_json::from_slice(document).map_err(malformed)?;
        if format > Self::FORMAT {
            return Err(RecordError::Newer { format, known: Self::FORMAT });
        }
        serde_json::from_slice(document).map_err(malformed)
    }

    /// The document. A writer keeps it below [`MAX_BYTES`] by limiting lists and texts.
    fn document(&self) -> serde_json::Result<String> {
        text::json(self)
    }
}

/// A document that is not a record.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RecordError {
    #[error("it is larger than {MAX_BYTES} bytes")]
    TooLarge,
    #[error("it has format {format}, and this version reads formats up to {known}; update pgbackrest-keeper")]
    Newer { format: u32, known: u32 },
    #[error("it is not a record of a {kind}: {why}")]
    Malformed { kind: &'static str, why: String },
    #[error("its signature cannot be read: {0}")]
    Envelope(#[from] EnvelopeError),
}

/// The place in a chain that a record of any kind and format has.
#[must_use]
pub fn link(document: &[u8]) -> Option<Link> {
    #[derive(Deserialize)]
    struct Linked {
        chain: Link,
    }
    if document.len() > MAX_BYTES {
        return None;
    }
    serde_json::from_slice(document).ok().map(|Linked { chain }| chain)
}
