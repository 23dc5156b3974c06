//! Who a client is, by address: behind proxies, the address that they tell; for counting, one for each household.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use hyper::header::{FORWARDED, HeaderMap};

/// Most addresses that are read from one request's headers, from its end; nobody stands behind more proxies of ours.
const MAX_HOPS: usize = 16;

const X_FORWARDED_FOR: &str = "x-forwarded-for";

/// Some networks: `10.0.0.0/8`, `2001:db8::/32`, or single addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks(Vec<Network>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Networks {
    /// Whether one of them holds this address. An IPv4 address inside IPv6 (`::ffff:192.0.2.1`) is an IPv4 address.
    pub fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(address))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Network {
    fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(mine), IpAddr::V4(other)) => {
                let host = u32::MAX.checked_shr(self.prefix.into()).unwrap_or(0);
                (u32::from(mine) ^ u32::from(other)) & !host == 0
            }
            (IpAddr::V6(mine), IpAddr::V6(other)) => {
                let host = u128::MAX.checked_shr(self.prefix.into()).unwrap_or(0);
                (u128::from(mine) ^ u128::from(other)) & !host == 0
            }
            _ => false,
        }
    }
}

/// A text that names no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no network; one is written like 10.0.0.0/8, 2001:db8::/32 or 192.0.2.1")]
pub struct NetworkError(String);

impl FromStr for Networks {
    type Err = NetworkError;

    /// Reads networks with commas between them; nothing is none.
    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        items.map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let read = || {
            let (address, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
            let address: IpAddr = address.parse().ok()?;
            let longest = if address.is_ipv4() { 32 } else { 128 };
            let prefix = prefix.map_or(Some(longest), |prefix| prefix.parse().ok())?;
            (prefix <= longest).then_some(Self { address, prefix })
        };
        read().ok_or_else(|| NetworkError(text.to_owned()))
    }
}

impl fmt::Display for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, network) in self.0.iter().enumerate() {
            let comma = if n == 0 { "" } else { "," };
            write!(f, "{comma}{}/{}", network.address, network.prefix)?;
        }
        Ok(())
    }
}

/// Where the proxies write for whom they ask. One header alone is read: another one passes through a proxy as the client
/// wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ProxyHeader {
    /// `X-Forwarded-For`, which nearly all proxies write.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

impl fmt::Display for ProxyHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::XForwardedFor => X_FORWARDED_FOR,
            Self::Forwarded => FORWARDED.as_str(),
        })
    }
}

impl FromStr for ProxyHeader {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let known = [Self::XForwardedFor, Self::Forwarded];
        let named = known.into_iter().find(|header| text.eq_ignore_ascii_case(&header.to_string()));
        named.ok_or("it is x-forwarded-for or forwarded")
    }
}

/// The address of the client behind these headers: the last one named that is none of the `proxies`, as far as proxies
/// named it. What stands in front of it may be made up, and what a stranger's headers say is not read at all.
pub(crate) fn client(peer: IpAddr, headers: &HeaderMap, proxies: &Networks, header: ProxyHeader) -> IpAddr {
    let peer = peer.to_canonical();
    if !proxies.contain(peer) {
        return peer;
    }
    let values = |name: &str| -> Vec<&str> {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).collect()
    };
    let named: Vec<Option<IpAddr>> = match header {
        ProxyHeader::Forwarded => values(FORWARDED.as_str()).into_iter().map(forwarded_for).collect(),
        ProxyHeader::XForwardedFor => {
            values(X_FORWARDED_FOR).into_iter().map(|item| node(item.trim())).collect()
        }
    };
    let mut client = peer;
    for address in named.into_iter().rev().take(MAX_HOPS) {
        // Something that is no address (`unknown`, `_hidden`): nothing behind it can be trusted.
        let Some(address) = address else { break };
        client = address;
        if !proxies.contain(address) {
            break;
        }
    }
    client
}

/// The `for` of one element of a `Forwarded` header.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let pairs = element.split(';').filter_map(|pair| pair.split_once('='));
    let mut named = pairs.filter(|(name, _)| name.trim().eq_ignore_ascii_case("for"));
    node(named.next()?.1.trim().trim_matches('"'))
}

/// An address, maybe with a port, IPv6 in brackets or not.
fn node(text: &str) -> Option<IpAddr> {
    let address = text.parse::<IpAddr>().ok();
    let address = address.or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()));
    let address = address.or_else(|| text.strip_prefix('[')?.strip_suffix(']')?.parse().ok());
    address.map(|address| address.to_canonical())
}

/// What an address counts as: one IPv4 address, or the IPv6 network of 64 bits that a household or a machine gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Household(IpAddr);

impl From<IpAddr> for Household {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(address) => Ipv6Addr::from(u128::from(address) & !u128::from(u64::MAX)).into(),
            address => address,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn networks_hold_what_their_prefix_says() {
        let networks: Networks = "10.0.0.0/8, 192.0.2.1,2001:db8::/32,::1".parse().unwrap();
        for inside in ["10.255.1.2", "192.0.2.1", "2001:db8:1::2", "::1", "::ffff:10.0.0.1"] {
            assert!(networks.contain(address(inside)), "{inside}");
        }
        for outside in ["11.0.0.0", "192.0.2.2", "2001:db9::", "::2", "::ffff:192.0.2.2"] {
            assert!(!networks.contain(address(outside)), "{outside}");
        }
        let everything: Networks = "0.0.0.0/0,::/0".parse().unwrap();
        assert!(everything.contain(address("203.0.113.9")) && everything.contain(address("2001::1")));
        assert_eq!(networks.to_string().parse(), Ok(networks));
        assert_eq!("".parse(), Ok(Networks::default()));
        for wrong in ["10.0.0.0/33", "::/129", "localhost", "10.0.0/8", "1.2.3.4/", "1.2.3.4/-1"] {
            assert!(wrong.parse::<Networks>().is_err(), "{wrong}");
        }
    }

    fn seen(peer: &str, headers: &[(&'static str, &str)]) -> IpAddr {
        seen_in(ProxyHeader::XForwardedFor, peer, headers)
    }

    fn seen_in(header: ProxyHeader, peer: &str, headers: &[(&'static str, &str)]) -> IpAddr {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        client(address(peer), &map, &"127.0.0.1,10.0.0.0/8".parse().unwrap(), header)
    }

    #[test]
    fn only_named_proxies_are_believed_and_only_as_far_as_they_reach() {
        let told = |value| seen("127.0.0.1", &[("x-forwarded-for", value)]);
        assert_eq!(
            seen("192.0.2.7", &[("x-forwarded-for", "203.0.113.1")]),
            address("192.0.2.7"),
            "a stranger"
        );
        assert_eq!(seen("127.0.0.1", &[]), address("127.0.0.1"));
        assert_eq!(told("203.0.113.1"), address("203.0.113.1"));
        assert_eq!(told("1.1.1.1, 203.0.113.1, 10.0.0.2"), address("203.0.113.1"), "the first is made up");
        assert_eq!(told("203.0.113.1:4711"), address("203.0.113.1"));
        assert_eq!(told("[2001:db8::1]:4711"), address("2001:db8::1"));
        assert_eq!(told("1.1.1.1, nonsense, 10.0.0.2"), address("10.0.0.2"));
        assert_eq!(told(""), address("127.0.0.1"));
        let two = [("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "203.0.113.2")];
        assert_eq!(seen("127.0.0.1", &two), address("203.0.113.2"), "two headers are one list");
        assert_eq!(seen("::ffff:127.0.0.1", &two), address("203.0.113.2"));
    }

    #[test]
    fn only_the_header_that_the_proxy_writes_is_read() {
        let headers = [("forwarded", "for=1.1.1.1"), ("x-forwarded-for", "9.9.9.9")];
        assert_eq!(seen("127.0.0.1", &headers), address("9.9.9.9"));
        assert_eq!(seen_in(ProxyHeader::Forwarded, "127.0.0.1", &headers), address("1.1.1.1"));
        assert_eq!(seen("127.0.0.1", &headers[..1]), address("127.0.0.1"), "the client's own");
        assert_eq!(ProxyHeader::default().to_string().parse(), Ok(ProxyHeader::XForwardedFor));
        assert_eq!("Forwarded".parse(), Ok(ProxyHeader::Forwarded));
        assert!("via".parse::<ProxyHeader>().is_err());
    }

    #[test]
    fn forwarded_is_read_as_its_rfc_writes_it() {
        let told = |value| seen_in(ProxyHeader::Forwarded, "127.0.0.1", &[("forwarded", value)]);
        assert_eq!(told("for=192.0.2.60;proto=http;by=203.0.113.43"), address("192.0.2.60"));
        assert_eq!(told("For=\"[2001:db8:cafe::17]:4711\""), address("2001:db8:cafe::17"));
        assert_eq!(told("for=192.0.2.43, for=198.51.100.17"), address("198.51.100.17"));
        assert_eq!(told("for=_hidden, for=10.0.0.3"), address("10.0.0.3"));
        assert_eq!(told("proto=https"), address("127.0.0.1"));
    }

    #[test]
    fn a_household_is_one_address_or_one_network() {
        let of = |text| Household::from(address(text));
        assert_eq!(of("2001:db8::1"), of("2001:db8::2:3"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }
}
