//! The `postgresql` and `RestoreTest` resources and their objects. Pure: no I/O, no clock; referenced objects are passed in as data.
//!
//! Only `validate` creates a `ValidatedCluster` and a `ValidatedRestoreTest`, and only those are used to build objects.

pub mod address;
pub mod containers;
pub mod desired;
pub mod finding;
pub mod key;
pub mod labels;
pub mod line;
pub mod location;
pub mod names;
pub mod policy;
pub mod quantity;
pub mod record;
pub mod references;
pub mod resource;
pub mod restore_test;
pub mod settings;
pub mod target;
mod tolerant;
pub mod validate;
pub mod validated;
