//! On which addresses `pgbackrest server` listens.
//!
//! It listens on one: the first that `getaddrinfo` returns for `tls-server-address` (pgBackRest 2.41 to 2.59,
//! src/common/io/socket/server.c). For `*` that is `0.0.0.0`, so only IPv4 is served. `::` serves both families, because
//! `IPV6_V6ONLY` is not set. But a kernel without IPv6 (`ipv6.disable=1`) has no such sockets, and the server would not
//! start (error 41). A node of a cluster with IPv6 has them.

use core::net::IpAddr;

/// The families of the addresses by which pods reach each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IpFamilies {
    pub has_ipv6: bool,
}

impl IpFamilies {
    /// `spec.ipFamilies` of the Service that gives the pods their names.
    #[must_use]
    pub fn of_service(families: &[String]) -> Self {
        Self { has_ipv6: families.iter().any(|family| family == "IPv6") }
    }

    /// The value of `tls-server-address` that serves them wherever the pods run.
    #[must_use]
    pub const fn server_address(self) -> &'static str {
        if self.has_ipv6 { "::" } else { "*" }
    }

    /// The families that a server serves on all interfaces with this `tls-server-address`. `None` for a single address
    /// or a name.
    #[must_use]
    pub fn served_by(address: &str) -> Option<Self> {
        if address == "*" {
            return Some(Self::default());
        }
        let address: IpAddr = address.parse().ok()?;
        address.is_unspecified().then_some(Self { has_ipv6: address.is_ipv6() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_serves_all_families_of_the_service() {
        for (families, address) in [
            (&[] as &[&str], "*"),
            (&["IPv4"], "*"),
            (&["IPv6"], "::"),
            (&["IPv4", "IPv6"], "::"),
            (&["IPv6", "IPv4"], "::"),
        ] {
            let families: Vec<String> = families.iter().map(|family| (*family).to_owned()).collect();
            let families = IpFamilies::of_service(&families);
            assert_eq!(families.server_address(), address, "{families:?}");
            assert_eq!(IpFamilies::served_by(address), Some(families));
        }
    }

    #[test]
    fn only_all_interfaces_are_all_interfaces() {
        for (address, has_ipv6) in [("0.0.0.0", false), ("::", true), ("0::0", true)] {
            assert_eq!(IpFamilies::served_by(address), Some(IpFamilies { has_ipv6 }), "{address}");
        }
        for address in ["127.0.0.1", "::1", "[::]", "localhost", "orders-0", ""] {
            assert_eq!(IpFamilies::served_by(address), None, "{address}");
        }
    }
}
