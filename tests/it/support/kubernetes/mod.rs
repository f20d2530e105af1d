//! Parts of a real Kubernetes cluster: where its programs are and run, its certificates, and kubectl.

pub(crate) mod addresses;
pub(crate) mod certificates;
pub(crate) mod images;
pub(crate) mod kubectl;
pub(crate) mod kubelet;
pub(crate) mod namespaces;
pub(crate) mod place;
pub(crate) mod ports;
pub(crate) mod programs;
mod proxy;
pub(crate) mod shared;
