//! The `postgresql` resource and its objects. Pure: no I/O, no clock; referenced objects are passed in as data.
//!
//! Only `validate` creates a `ValidatedCluster`, and only that is used to build objects.

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
pub mod settings;
pub mod target;
pub mod validate;
pub mod validated;
