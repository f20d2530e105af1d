//! The operator and `deploy/` on a real API server with its controllers, and without nodes.
//!
//! Covers what Kubernetes accepts and the operator maintains: objects, permissions, leases, Events, metrics of Jobs. Pods never start.

pub(crate) mod control_plane;
pub(crate) mod deploy;
pub(crate) mod objects;
pub(crate) mod process;
