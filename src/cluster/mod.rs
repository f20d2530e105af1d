//! The `postgresql` resource and what it asks for. Pure: no I/O, no clock; what the resource refers to is handed
//! in as data.
//!
//! `validate` alone makes a `ValidatedCluster`; whatever builds objects sees nothing else of the resource.

pub mod desired;
pub mod finding;
pub mod key;
pub mod labels;
pub mod names;
pub mod policy;
pub mod quantity;
pub mod record;
pub mod references;
pub mod resource;
pub mod settings;
pub mod target;
pub mod validate;
pub mod validated;
