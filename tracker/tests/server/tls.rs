//! TLS on the tracker's one port: who speaks it is served, who does not is told, and a new certificate costs nobody their
//! connection.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tracker::tls::Tls;

use crate::client::*;

/// A folder with a certificate that vouches for itself.
struct Certificate(TempDir);

impl Certificate {
    fn new() -> Self {
        let certificate = Self(TempDir::new().unwrap());
        certificate.renew();
        certificate
    }

    fn files(&self) -> (PathBuf, PathBuf) {
        (self.0.path().join("cert.pem"), self.0.path().join("key.pem"))
    }

    /// Writes another one to the same place.
    fn renew(&self) {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let (certificate, key) = self.files();
        std::fs::write(certificate, made.cert.pem()).unwrap();
        std::fs::write(key, made.signing_key.serialize_pem()).unwrap();
    }

    fn load(&self) -> Tls {
        let (certificate, key) = self.files();
        Tls::load(&certificate, &key).unwrap()
    }

    /// Somebody who trusts this certificate, as it is now, and no other.
    fn trusting(&self) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.files().0).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        TlsConnector::from(Arc::new(config))
    }
}

async fn connect(tracker: &Tracker, connector: &TlsConnector) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(tracker.address).await.unwrap();
    soon(connector.connect(ServerName::try_from("localhost").unwrap(), stream)).await
}

async fn socket(tracker: &Tracker, connector: &TlsConnector) -> WebSocketStream<TlsStream<TcpStream>> {
    let stream = connect(tracker, connector).await.unwrap();
    soon(tokio_tungstenite::client_async("wss://localhost/ws", stream)).await.unwrap().0
}

/// Sends something and reads until the tracker hangs up.
async fn say(mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin, text: &[u8]) -> String {
    stream.write_all(text).await.unwrap();
    let mut reply = Vec::new();
    // A tracker that hangs up without a word may reset the connection.
    let _ = soon(stream.read_to_end(&mut reply)).await;
    String::from_utf8_lossy(&reply).into_owned()
}

#[tokio::test]
async fn https_and_wss_share_the_port_and_plain_http_is_told_where_to_go() {
    let certificate = Certificate::new();
    let tls = certificate.load();
    let tracker = Tracker::start_with(|settings| settings.tls = Some(tls)).await;
    let trusting = certificate.trusting();
    let stream = connect(&tracker, &trusting).await.unwrap();
    let reply = say(stream, b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
    assert!(reply.starts_with("HTTP/1.1 200 OK\r\n") && reply.ends_with("{\"status\":\"ready\"}"), "{reply}");

    let mut a = Client { socket: socket(&tracker, &trusting).await };
    let mut b = Client { socket: socket(&tracker, &trusting).await };
    a.announced(ours(1)).await;
    b.announced(ours(2)).await;
    let (at_a, at_b) = (a.open_to(1, 2).await.channel, b.opened().await.channel);
    a.data(at_a, &[7; 100_000]).await;
    assert_eq!(b.read_data(at_b, 100_000, false).await, [7; 100_000]);

    let plain = TcpStream::connect(tracker.address).await.unwrap();
    let reply = say(plain, b"GET /x?y HTTP/1.1\r\nHost: tracker.example\r\nConnection: close\r\n\r\n").await;
    assert!(reply.starts_with("HTTP/1.1 308 "), "{reply}");
    assert!(
        reply.contains("location: https://tracker.example/x?y\r\n") && reply.contains("speaks TLS"),
        "{reply}"
    );
    let upgrade = TcpStream::connect(tracker.address).await.unwrap();
    let reply = say(upgrade, b"POST /ws HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(reply.starts_with("HTTP/1.1 400 ") && reply.contains("wss://"), "{reply}");
    tracker.stop().await;
}

#[tokio::test]
async fn a_new_certificate_is_shown_to_those_who_come_and_costs_nobody_a_connection() {
    let certificate = Certificate::new();
    let (tls, old) = (certificate.load(), certificate.trusting());
    let handle = tls.clone();
    let tracker = Tracker::start_with(|settings| settings.tls = Some(tls)).await;
    let mut a = Client { socket: socket(&tracker, &old).await };
    a.announced(ours(1)).await;

    std::fs::write(certificate.files().1, "no key").unwrap();
    assert!(handle.reload().unwrap_err().to_string().contains("key.pem"));
    connect(&tracker, &old).await.unwrap();

    // Without a ticket of an earlier visit, which would do instead of a certificate.
    let old = certificate.trusting();
    certificate.renew();
    handle.reload().unwrap();
    connect(&tracker, &old).await.unwrap_err();
    let mut b = Client { socket: socket(&tracker, &certificate.trusting()).await };
    b.announced(ours(2)).await;
    let (at_a, at_b) = (a.open_to(1, 2).await.channel, b.opened().await.channel);
    b.data(at_b, b"still here").await;
    assert_eq!(a.read_data(at_a, 10, false).await, b"still here");
    tracker.stop().await;
}

#[tokio::test]
async fn handshakes_that_fail_or_never_end_are_cut_off_and_disturb_nobody() {
    let certificate = Certificate::new();
    let tls = certificate.load();
    let tracker = Tracker::start_with(|settings| {
        settings.tls = Some(tls);
        settings.limits.handshake_time = Duration::from_millis(200);
    })
    .await;
    let garbage = TcpStream::connect(tracker.address).await.unwrap();
    let half_open = TcpStream::connect(tracker.address).await.unwrap();
    let half_said = TcpStream::connect(tracker.address).await.unwrap();
    assert_eq!(say(half_open, b"").await, "");
    assert_eq!(say(half_said, &[0x16, 3, 1]).await, "");
    let reply = say(garbage, &[&[0x16, 3, 1, 0, 5][..], &[0xff; 100]].concat()).await;
    assert!(!reply.contains("HTTP"), "{reply}");
    let mut a = Client { socket: socket(&tracker, &certificate.trusting()).await };
    a.announced(ours(1)).await;
    tracker.stop().await;
}

#[test]
fn certificates_that_cannot_be_used_are_named() {
    let (one, other) = (Certificate::new(), Certificate::new());
    let load = |certificate: PathBuf, key: PathBuf| Tls::load(&certificate, &key).unwrap_err().to_string();
    assert!(load("no-such.pem".into(), one.files().1).contains("no-such.pem cannot be read"));
    assert!(load(one.files().1, one.files().1).contains("there is no certificate in"));
    assert!(load(one.files().0, one.files().0).contains("private key"));
    assert!(load(one.files().0, other.files().1).contains("cannot be used"));
}
