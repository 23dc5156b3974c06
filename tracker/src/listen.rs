//! How the port is opened, and what the page's address is.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// Why the tracker cannot listen. The sentences are for the person who started it.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another program has the port.
    #[error(
        "port {port} is in use by another program: stop it, or choose another port, for example `--listen {example}`"
    )]
    PortInUse {
        /// The port.
        port: u16,
        /// Another address to try.
        example: SocketAddr,
    },
    /// Anything else.
    #[error("cannot listen on {address}: {source}")]
    Other {
        /// The address as given.
        address: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
}

/// Opens the port. An unspecified IPv6 address (`[::]`) takes IPv4 connections as well, and where the machine has no
/// IPv6 its IPv4 sibling (`0.0.0.0`) is opened instead.
///
/// # Errors
/// [`ListenError`] when that fails. Must be called inside a tokio runtime.
pub fn bind(address: SocketAddr) -> Result<TcpListener, ListenError> {
    let result = match open(address) {
        Err(error) if is_any_v6(address) && error.kind() != io::ErrorKind::AddrInUse => {
            tracing::debug!(%error, "no IPv6 here");
            open(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port()))
        }
        result => result,
    };
    result.map_err(|source| {
        if source.kind() == io::ErrorKind::AddrInUse {
            let other = address.port().checked_add(1).unwrap_or(8000);
            let example = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), other);
            ListenError::PortInUse { port: address.port(), example }
        } else {
            ListenError::Other { address, source }
        }
    })
}

fn is_any_v6(address: SocketAddr) -> bool {
    address.is_ipv6() && address.ip().is_unspecified()
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if is_any_v6(address) {
        socket.set_only_v6(false)?;
    }
    // A restarted tracker must not wait for the connections of its predecessor to be forgotten. (On Windows the option
    // means something else: there two programs could share the port.)
    #[cfg(not(windows))]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// The page's address for somebody at this machine. It says `localhost` wherever that leads here, since browsers give
/// pages from there what they keep from other plain HTTP pages (the private file system, hashing).
pub fn page_url(address: SocketAddr, is_tls: bool) -> String {
    let ip = address.ip();
    let local =
        ip.is_unspecified() || ip.is_loopback() && matches!(ip, IpAddr::V6(_)) || ip == Ipv4Addr::LOCALHOST;
    let scheme = if is_tls { "https" } else { "http" };
    if local { format!("{scheme}://localhost:{}/", address.port()) } else { format!("{scheme}://{address}/") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_at_localhost_wherever_that_leads_here() {
        let url = |address: &str| page_url(address.parse().unwrap(), false);
        assert_eq!(url("[::]:8000"), "http://localhost:8000/");
        assert_eq!(url("0.0.0.0:80"), "http://localhost:80/");
        assert_eq!(url("127.0.0.1:8001"), "http://localhost:8001/");
        assert_eq!(url("[::1]:8001"), "http://localhost:8001/");
        assert_eq!(url("127.0.0.2:8001"), "http://127.0.0.2:8001/");
        assert_eq!(url("192.168.0.7:8000"), "http://192.168.0.7:8000/");
        assert_eq!(url("[fe80::1]:8000"), "http://[fe80::1]:8000/");
    }

    #[tokio::test]
    async fn the_default_kind_of_address_is_reached_over_both_families() {
        let listener = bind("[::]:0".parse().unwrap()).unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        if listener.local_addr().unwrap().is_ipv6() {
            tokio::net::TcpStream::connect(("::1", port)).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_port_in_use_is_named_together_with_another_to_try() {
        let taken = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = taken.local_addr().unwrap();
        let error = bind(address).unwrap_err().to_string();
        assert!(error.contains(&format!("port {} is in use", address.port())), "{error}");
        assert!(error.contains("--listen 127.0.0.1:"), "{error}");
    }
}
