//! The operator and `deploy/` on a real API server with its controllers, and without nodes.
//!
//! Proves what Kubernetes accepts and the operator keeps: objects, rights, leases, Events, metrics of Jobs. Pods never start here.

pub(crate) mod control_plane;
pub(crate) mod deploy;
pub(crate) mod objects;
pub(crate) mod process;
