//! The `RestoreTest` resource: which clusters are tested by restoring their backups, when, and how.
//!
//! `resource` is a tolerant view, `schema` its definition, `validated` what `cluster::validate` makes of it. `turn` chooses the cluster
//! whose turn it is, and `volume` the size of the volume for its copy. `cluster::desired` builds the objects.

pub mod resource;
pub mod schema;
pub mod testable;
pub mod turn;
pub mod validated;
pub mod volume;
