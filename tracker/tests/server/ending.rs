//! How a tracker goes.

use futures::StreamExt;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::client::*;

#[tokio::test]
async fn clients_are_told_that_the_tracker_goes_away() {
    let tracker = Tracker::start().await;
    let address = tracker.address;
    let mut a = tracker.join(1).await;
    let stopping = tokio::spawn(tracker.stop());
    assert_eq!(a.closed().await.unwrap().code, CloseCode::Away);
    soon(stopping).await.unwrap();
    tokio::net::TcpStream::connect(address).await.unwrap_err();
}

#[tokio::test]
async fn a_client_that_closes_gets_its_close_answered() {
    let tracker = Tracker::start().await;
    let mut a = tracker.join(1).await;
    let frame = CloseFrame { code: CloseCode::Normal, reason: "bye".into() };
    a.socket.close(Some(frame.clone())).await.unwrap();
    assert_eq!(a.closed().await, Some(frame));
    assert!(soon(a.socket.next()).await.is_none());
    tracker.stop().await;
}

#[tokio::test]
async fn clients_that_do_not_read_do_not_keep_the_tracker() {
    let tracker = Tracker::start().await;
    let ((mut a, at_a), (_b, _)) = tracker.pair().await;
    for _ in 0..16 {
        a.data(at_a.channel, &vec![0; 128 * 1024]).await;
    }
    a.quiet().await;
    let _idle = tokio::net::TcpStream::connect(tracker.address).await.unwrap();
    tracker.stop().await;
}
