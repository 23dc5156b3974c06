//! Announces, offers, answers and scrapes, as WebTorrent's clients write and read them, and whose peer id it is.

use serde_json::{Value, json};
use shared::signal::{CLOSE_SUPERSEDED, Event};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::client::*;

/// An announce as WebTorrent writes it.
fn announce(peer: &str, offers: &[&str]) -> Value {
    let offers: Vec<_> = offers
        .iter()
        .map(|id| json!({"offer": {"type": "offer", "sdp": format!("v=0 {id}")}, "offer_id": id}))
        .collect();
    json!({
        "action": "announce", "info_hash": "s".repeat(20), "peer_id": peer.repeat(20), "numwant": 5, "uploaded": 0,
        "downloaded": 0, "left": 1, "event": "started", "offers": offers,
    })
}

async fn send(client: &mut Client, message: &Value) {
    client.send_text(&message.to_string()).await;
}

async fn receive(client: &mut Client) -> Value {
    serde_json::from_str(&client.text().await).unwrap()
}

#[tokio::test]
async fn an_offer_and_its_answer_cross_as_webtorrent_writes_them() {
    let tracker = Tracker::start().await;
    let (mut a, mut b) = (tracker.connect().await, tracker.connect().await);
    send(&mut a, &announce("a", &[])).await;
    let reply = json!({"action": "announce", "info_hash": "s".repeat(20), "interval": 120, "complete": 0, "incomplete": 1});
    assert_eq!(receive(&mut a).await, reply);

    let id = "0123456789abcdefÿ\u{0}..";
    send(&mut b, &announce("b", &[id])).await;
    assert_eq!(receive(&mut b).await["incomplete"], 2);
    let offer = json!({
        "action": "announce", "info_hash": "s".repeat(20), "peer_id": "b".repeat(20), "offer_id": id,
        "offer": {"type": "offer", "sdp": format!("v=0 {id}")},
    });
    assert_eq!(receive(&mut a).await, offer);

    let mut answer = json!({
        "action": "announce", "info_hash": "s".repeat(20), "peer_id": "a".repeat(20), "to_peer_id": "b".repeat(20),
        "offer_id": id, "answer": {"type": "answer", "sdp": "v=0 yes"},
    });
    send(&mut a, &answer).await;
    let object = answer.as_object_mut().unwrap();
    object.remove("to_peer_id");
    assert_eq!(receive(&mut b).await, answer);
    a.quiet().await;
    tracker.stop().await;
}

#[tokio::test]
async fn an_answer_without_an_offer_is_dropped_without_a_word() {
    let tracker = Tracker::start().await;
    let (mut a, mut b) = (tracker.connect().await, tracker.connect().await);
    for (client, name) in [(&mut a, "a"), (&mut b, "b")] {
        send(client, &announce(name, &[])).await;
        receive(client).await;
    }
    let answer = json!({
        "action": "announce", "info_hash": "s".repeat(20), "peer_id": "a".repeat(20), "to_peer_id": "b".repeat(20),
        "offer_id": "o".repeat(20), "answer": {"type": "answer", "sdp": "v=0 surprise"},
    });
    send(&mut a, &answer).await;
    a.quiet().await;
    b.quiet().await;
    tracker.stop().await;
}

#[tokio::test]
async fn a_scrape_tells_counts_by_swarm() {
    let tracker = Tracker::start().await;
    let mut a = tracker.connect().await;
    send(&mut a, &announce("a", &[])).await;
    receive(&mut a).await;
    let mut completed = announce("a", &[]);
    completed["event"] = json!("completed");
    completed["left"] = json!(0);
    send(&mut a, &completed).await;
    receive(&mut a).await;
    let (swarm, empty) = ("s".repeat(20), "e".repeat(20));
    send(&mut a, &json!({"action": "scrape", "info_hash": [swarm, empty]})).await;
    let reply = receive(&mut a).await;
    assert_eq!(reply["action"], "scrape");
    assert_eq!(reply["files"][&swarm], json!({"complete": 1, "incomplete": 0, "downloaded": 1}));
    assert_eq!(reply["files"][&empty], json!({"complete": 0, "incomplete": 0, "downloaded": 0}));
    tracker.stop().await;
}

#[tokio::test]
async fn unknown_events_and_counts_are_no_reason_to_refuse() {
    let tracker = Tracker::start().await;
    let mut a = tracker.connect().await;
    let mut odd = announce("a", &[]);
    odd["event"] = json!("paused");
    odd["left"] = Value::Null;
    odd["numwant"] = json!("fifty");
    send(&mut a, &odd).await;
    assert_eq!(receive(&mut a).await["incomplete"], 1);
    tracker.stop().await;
}

#[tokio::test]
async fn peers_of_ours_are_named_to_each_other() {
    let tracker = Tracker::start().await;
    let mut a = tracker.connect().await;
    let first = a.announced(ours(1)).await.enxame.unwrap();
    assert_eq!((first.v, first.peers.len()), (1, 0));
    let mut b = tracker.connect().await;
    let named = b.announced(ours(2)).await.enxame.unwrap().peers;
    assert_eq!(named.iter().map(|named| named.peer_id).collect::<Vec<_>>(), [peer(1)]);
    a.quiet().await;
    tracker.stop().await;
}

#[tokio::test]
async fn a_stolen_peer_id_is_refused_with_a_reason() {
    let tracker = Tracker::start().await;
    let (mut owner, mut thief) = (tracker.connect().await, tracker.connect().await);
    send(&mut owner, &announce("a", &[])).await;
    receive(&mut owner).await;
    send(&mut thief, &announce("a", &[])).await;
    let refusal = receive(&mut thief).await;
    assert_eq!((&refusal["action"], &refusal["info_hash"]), (&json!("announce"), &json!("s".repeat(20))));
    assert!(refusal["failure reason"].as_str().unwrap().contains("in use"), "{refusal}");
    owner.quiet().await;
    tracker.stop().await;
}

#[tokio::test]
async fn the_owner_of_the_key_takes_its_peer_id_over_and_the_old_connection_is_closed() {
    let tracker = Tracker::start().await;
    let mut old = tracker.connect().await;
    old.announced(with_key(1, "secret")).await;
    let mut thief = tracker.connect().await;
    thief.send(&shared::signal::ToTracker::Announce(with_key(1, "guess"))).await;
    assert!(thief.failed().await.reason.contains("in use"));
    let mut new = tracker.connect().await;
    assert_eq!(new.announced(with_key(1, "secret")).await.incomplete, 1);
    assert_eq!(old.closed().await.unwrap().code, CloseCode::from(CLOSE_SUPERSEDED));
    let mut other = tracker.join(2).await;
    other.ask_to_open(2, 1).await;
    assert_eq!(new.opened().await.peer_id, peer(2));
    tracker.stop().await;
}

#[tokio::test]
async fn a_connection_that_ends_takes_its_peers_along() {
    let tracker = Tracker::start().await;
    let mut a = tracker.join(1).await;
    let (mut b, at_b) = (tracker.join(2).await, a.open_to(1, 2).await);
    b.opened().await;
    drop(b);
    assert_eq!(a.relay_closed().await.0, at_b.channel);
    assert_eq!(a.announced(ours(1)).await.incomplete, 1);
    let mut stopped = ours(1);
    stopped.event = Event::Stopped;
    assert_eq!(a.announced(stopped).await.incomplete, 0);
    tracker.stop().await;
}
