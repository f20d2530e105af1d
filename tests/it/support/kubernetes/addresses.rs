//! The addresses of a cluster: of its node, its pods and its Services.

use std::net::IpAddr;

/// Each cluster is in a network of its own, so all of a kind have the same.
#[derive(Debug)]
pub(crate) struct Addresses {
    /// What all addresses of the node begin with.
    node: &'static str,
    /// A range of each family that pods have an address of.
    pub(crate) pods: &'static [&'static str],
    /// Ranges, separated by commas. Services get the first family unless they say otherwise.
    pub(crate) services: &'static str,
    /// By which pods find the API server: the first of the first range of Services.
    pub(crate) api_server: &'static str,
}

/// Pods and Services have addresses of both families, IPv4 first, and the node is reached over IPv4.
pub(crate) static DUAL_STACK: Addresses = Addresses {
    node: "10.77.0.",
    pods: &["10.88.0.0/24", "fd00:10:88::/64"],
    services: "10.0.0.0/24,fd00:10::/112",
    api_server: "10.0.0.1",
};

/// Besides 127.0.0.1, nothing has an address of IPv4.
pub(crate) static IPV6_ONLY: Addresses = Addresses {
    node: "fd00:10:77::",
    pods: &["fd00:10:88::/64"],
    services: "fd00:10::/112",
    api_server: "fd00:10::1",
};

impl Addresses {
    /// By which the node is known to its cluster.
    pub(crate) fn node(&self) -> IpAddr {
        self.of_node(2)
    }

    /// One more of the node, with a number above nine.
    pub(crate) fn more_of_node(&self, number: u32) -> IpAddr {
        assert!(number > 9, "{number} is not free");
        self.of_node(number)
    }

    fn of_node(&self, number: u32) -> IpAddr {
        format!("{}{number}", self.node).parse().unwrap()
    }
}

/// To listen on all interfaces, over this family at least.
pub(crate) fn everywhere(family: IpAddr) -> &'static str {
    if family.is_ipv6() { "::" } else { "0.0.0.0" }
}
