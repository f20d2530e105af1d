//! Identifies clients by their address.

use std::net::{IpAddr, Ipv6Addr};

/// The address of a client. For IPv6, only the first 64 bits count, because a client can choose the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientAddress(IpAddr);

/// The bits of an IPv6 address that belong to a network.
const NETWORK: u128 = !0 << 64;

impl From<IpAddr> for ClientAddress {
    fn from(address: IpAddr) -> Self {
        // A socket for both protocols shows an IPv4 address within an IPv6 one.
        Self(match address.to_canonical() {
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & NETWORK).into(),
            v4 @ IpAddr::V4(_) => v4,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_cannot_choose_who_it_is() {
        let of = |text: &str| ClientAddress::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
    }
}
