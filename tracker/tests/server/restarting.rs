//! How a tracker is replaced: clients are told to go, in their own time, and what they relay meanwhile arrives.

use std::time::Duration;

use futures::StreamExt;
use shared::signal::ToPeer;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_util::sync::CancellationToken;
use tracker::Settings;

use crate::client::*;
use crate::page::get;

const WITHIN: Duration = Duration::from_millis(200);

/// A tracker that restarts when the token is cancelled.
async fn start(restart: &CancellationToken, change: impl FnOnce(&mut Settings)) -> Tracker {
    Tracker::start_with(|settings| {
        settings.restart = restart.clone();
        settings.reconnect_within = WITHIN;
        change(settings);
    })
    .await
}

async fn told(client: &mut Client) -> u32 {
    match client.signal().await {
        ToPeer::Reconnect { within } => within,
        other => panic!("not told to go: {other:?}"),
    }
}

#[tokio::test]
async fn ours_are_told_to_go_and_relay_on_until_they_do() {
    let restart = CancellationToken::new();
    let tracker = start(&restart, |_| {}).await;
    let address = tracker.address;
    let ((mut a, at_a), (mut b, at_b)) = tracker.pair().await;
    restart.cancel();
    assert_eq!((told(&mut a).await, told(&mut b).await), (200, 200));
    // Well beyond the time in which they were to go: their own moment is theirs.
    tokio::time::sleep(WITHIN * 2).await;
    a.data(at_a.channel, &[7; 100_000]).await;
    assert_eq!(b.read_data(at_b.channel, 100_000, true).await, [7; 100_000]);
    tokio::net::TcpStream::connect(address).await.unwrap_err();
    drop((a, b));
    // Nobody is left: it does not wait for its time to be over.
    tracker.ended().await;
}

#[tokio::test]
async fn strangers_are_closed_one_after_another_with_a_code_that_means_come_again() {
    let restart = CancellationToken::new();
    // So long that a machine that stops for a moment does not make all of it one moment.
    let within = Duration::from_secs(2);
    let tracker = start(&restart, |settings| settings.reconnect_within = within).await;
    let mut strangers = Vec::new();
    for n in 1..=20 {
        let mut stranger = tracker.connect().await;
        stranger.announced(shared::signal::Announce { enxame: None, ..ours(n) }).await;
        strangers.push(stranger);
    }
    let began = std::time::Instant::now();
    restart.cancel();
    let ends = strangers.into_iter().map(async |mut stranger| {
        // Not a word that they do not know comes before.
        match soon(stranger.socket.next()).await {
            Some(Ok(Message::Close(Some(frame)))) => assert_eq!(frame.code, CloseCode::Restart),
            other => panic!("{other:?}"),
        }
        began.elapsed()
    });
    let ends: Vec<Duration> = futures::future::join_all(ends).await;
    let (first, last) = (ends.iter().min().unwrap(), ends.iter().max().unwrap());
    assert!(*last - *first > within / 10, "all at once: {first:?} to {last:?}");
    tracker.ended().await;
}

#[tokio::test]
async fn those_who_do_not_go_are_closed_in_the_end() {
    let restart = CancellationToken::new();
    let tracker = start(&restart, |settings| settings.drain_time = Duration::from_millis(300)).await;
    let mut a = tracker.join(1).await;
    restart.cancel();
    told(&mut a).await;
    assert_eq!(a.closed().await.unwrap().code, CloseCode::Away);
    tracker.ended().await;
}

#[tokio::test]
async fn a_balancer_reads_that_it_is_draining_while_clients_are_still_served() {
    let restart = CancellationToken::new();
    let tracker = start(&restart, |settings| settings.drain_delay = Duration::from_secs(3600)).await;
    assert_eq!(get(&tracker, "/health", &[]).await.status, 200);
    restart.cancel();
    let draining = async {
        loop {
            let health = get(&tracker, "/health", &[]).await;
            if health.status == 503 {
                break assert_eq!(health.body, br#"{"status":"draining"}"#);
            }
        }
    };
    soon(draining).await;
    tracker.join(1).await.quiet().await;
    assert_eq!(tracker.metric("draining").await, 1);
    tracker.stop().await;
}
