//! Announces, offers, answers and scrapes, as WebTorrent's clients write and read them, and whose peer id it is.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde_json::{Value, json};
use shared::limits::MAX_OFFERS;
use shared::signal::{CLOSE_SUPERSEDED, Event, IceServer, NamedPeer, parse_ice_servers};
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
async fn a_scrape_names_one_swarm_or_several_or_none() {
    let tracker = Tracker::start().await;
    let mut a = tracker.connect().await;
    send(&mut a, &announce("a", &[])).await;
    receive(&mut a).await;
    let (swarm, empty) = ("s".repeat(20), "e".repeat(20));
    for (asked, told) in [
        (json!(swarm), vec![&swarm]),
        (json!([swarm]), vec![&swarm]),
        (json!([empty, swarm]), vec![&empty, &swarm]),
        (json!([]), vec![]),
        // bittorrent-tracker tells all that it has; ours tells nobody of swarms that he does not know.
        (json!(null), vec![]),
    ] {
        send(&mut a, &json!({"action": "scrape", "info_hash": asked})).await;
        let reply = receive(&mut a).await;
        assert_eq!(reply["files"].as_object().unwrap().keys().collect::<Vec<_>>(), told, "{asked}");
        assert_eq!(reply["flags"], json!({"min_request_interval": 600}));
    }
    tracker.stop().await;
}

#[tokio::test]
async fn events_of_every_client_are_answered_with_an_interval() {
    let tracker = Tracker::start().await;
    let mut a = tracker.connect().await;
    let events =
        [json!("update"), json!("paused"), json!("empty"), json!(""), json!("tomorrow"), json!(null)];
    for event in events.into_iter().chain([json!("started"), json!("completed"), json!("stopped")]) {
        let mut message = announce("a", &[]);
        message["event"] = event.clone();
        // What these two never carry.
        if event == "stopped" || event == "completed" {
            message.as_object_mut().unwrap().remove("offers");
            message.as_object_mut().unwrap().remove("numwant");
        }
        send(&mut a, &message).await;
        let reply = receive(&mut a).await;
        assert_eq!(reply["interval"], 120, "{event}: {reply}");
        let counts = match event.as_str() {
            Some("stopped") => (0, 0),
            Some("completed") => (1, 0),
            _ => (0, 1),
        };
        assert_eq!(
            (&reply["complete"], &reply["incomplete"]),
            (&json!(counts.0), &json!(counts.1)),
            "{event}"
        );
    }
    tracker.stop().await;
}

#[tokio::test]
async fn who_does_not_know_what_is_left_is_a_leecher() {
    let tracker = Tracker::start().await;
    let mut seeder = tracker.connect().await;
    let mut full = announce("z", &[]);
    full["left"] = json!(0);
    send(&mut seeder, &full).await;
    receive(&mut seeder).await;
    for (n, left) in [(1, Some(json!(null))), (2, None), (3, Some(json!("NaN")))] {
        let mut a = tracker.connect().await;
        let name = n.to_string();
        let mut message = announce(&name, &["o".repeat(20).as_str()]);
        let fields = message.as_object_mut().unwrap();
        fields.remove("left");
        fields.extend(left.clone().map(|left| ("left".to_owned(), left)));
        send(&mut a, &message).await;
        let reply = receive(&mut a).await;
        assert_eq!((&reply["complete"], &reply["incomplete"]), (&json!(1), &json!(1)), "{left:?}");
        // A seeder's offer would not go to the seeder.
        assert_eq!(receive(&mut seeder).await["peer_id"], name.repeat(20), "{left:?}");
        message["event"] = json!("stopped");
        send(&mut a, &message).await;
        receive(&mut a).await;
    }
    tracker.stop().await;
}

#[tokio::test]
async fn a_peer_that_leaves_makes_no_offers() {
    let tracker = Tracker::start().await;
    let (mut a, mut b) = (tracker.connect().await, tracker.connect().await);
    send(&mut a, &announce("a", &[])).await;
    receive(&mut a).await;
    let mut stopped = announce("b", &["o".repeat(20).as_str()]);
    stopped["event"] = json!("stopped");
    send(&mut b, &stopped).await;
    assert_eq!(receive(&mut b).await["incomplete"], 1);
    a.quiet().await;
    tracker.stop().await;
}

#[tokio::test]
async fn peers_of_both_address_families_are_in_one_swarm() {
    let listener = tracker::listen::bind("[::]:0".parse().unwrap()).unwrap();
    let dual = listener.local_addr().unwrap().is_ipv6();
    let tracker = Tracker::start_on(listener, |_| {});
    let port = tracker.address.port();
    let mut a = tracker.connect_to((Ipv4Addr::LOCALHOST, port).into()).await;
    send(&mut a, &announce("a", &[])).await;
    receive(&mut a).await;
    // Where the machine has no IPv6 there is no second family.
    let other = if dual { (Ipv6Addr::LOCALHOST, port).into() } else { (Ipv4Addr::LOCALHOST, port).into() };
    let mut b = tracker.connect_to(other).await;
    let id = "o".repeat(20);
    send(&mut b, &announce("b", &[&id])).await;
    assert_eq!(receive(&mut b).await["incomplete"], 2);
    assert_eq!(receive(&mut a).await["offer_id"], id);
    let answer = json!({
        "action": "announce", "info_hash": "s".repeat(20), "peer_id": "a".repeat(20), "to_peer_id": "b".repeat(20),
        "offer_id": id, "answer": {"type": "answer", "sdp": "v=0"},
    });
    send(&mut a, &answer).await;
    assert_eq!(receive(&mut b).await["offer_id"], id);
    tracker.stop().await;
}

#[tokio::test]
async fn offers_are_passed_on_whatever_numwant_is_and_up_to_the_limit() {
    let tracker = Tracker::start().await;
    let mut others = Vec::new();
    for n in 0..MAX_OFFERS + 5 {
        let mut other = tracker.connect().await;
        let mut message = announce("x", &[]);
        message["peer_id"] = json!(format!("{n:020}"));
        send(&mut other, &message).await;
        receive(&mut other).await;
        others.push(other);
    }
    let ids: Vec<String> = (0..MAX_OFFERS + 5).map(|n| format!("{n:020}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let mut a = tracker.connect().await;
    for (numwant, expected) in [
        (json!(2), 2),
        (json!(1e9), MAX_OFFERS),
        (json!(null), MAX_OFFERS),
        (json!("many"), MAX_OFFERS),
        (json!(0), 0),
    ] {
        let mut message = announce("a", &ids);
        message["numwant"] = numwant.clone();
        send(&mut a, &message).await;
        receive(&mut a).await;
        a.quiet().await;
        let mut offered = 0;
        for other in &mut others {
            send(other, &json!({"action": "scrape"})).await;
            let mut message = receive(other).await;
            if message["action"] == "announce" {
                offered += 1;
                message = receive(other).await;
            }
            assert_eq!(message["action"], "scrape", "one offer each");
        }
        assert_eq!(offered, expected, "{numwant}");
    }
    tracker.stop().await;
}

#[tokio::test]
async fn nobody_is_sent_its_own_offers() {
    let tracker = Tracker::start().await;
    let mut a = tracker.connect().await;
    let id = "o".repeat(20);
    for _ in 0..3 {
        send(&mut a, &announce("a", &[&id])).await;
        assert_eq!(receive(&mut a).await["incomplete"], 1);
    }
    a.quiet().await;
    tracker.stop().await;
}

#[tokio::test]
async fn what_other_clients_add_is_ignored_and_nothing_comes_that_they_do_not_know() {
    let tracker = Tracker::start_with(|settings| {
        settings.ice = Some(parse_ice_servers("stun:127.0.0.1:3478").unwrap());
    })
    .await;
    let mut ours_too = tracker.connect().await;
    ours_too.announced(with_rtc(1)).await;
    let mut a = tracker.connect().await;
    let mut message = announce("a", &[]);
    message["trackerid"] = json!("t");
    message["key"] = json!("deadbeef");
    message["compact"] = json!(1);
    message["peer_id"] = json!("a".repeat(20));
    send(&mut a, &message).await;
    let reply = receive(&mut a).await;
    let mut fields: Vec<_> = reply.as_object().unwrap().keys().map(String::as_str).collect();
    fields.sort_unstable();
    assert_eq!(fields, ["action", "complete", "incomplete", "info_hash", "interval"]);
    tracker.stop().await;
}

#[tokio::test]
async fn ids_that_are_no_twenty_bytes_are_refused_in_the_name_of_their_swarm() {
    let tracker = Tracker::start().await;
    let mut a = tracker.connect().await;
    for id in
        ["".to_owned(), "a".repeat(19), "a".repeat(21), "Ā".repeat(20), "€".to_owned() + &"a".repeat(19)]
    {
        let mut message = announce("a", &[]);
        message["peer_id"] = json!(id);
        send(&mut a, &message).await;
        let refusal = receive(&mut a).await;
        assert_eq!(
            (&refusal["action"], &refusal["info_hash"]),
            (&json!("announce"), &json!("s".repeat(20))),
            "{id}: {refusal}"
        );
        assert!(refusal["failure reason"].is_string(), "{id}: {refusal}");
    }
    let mut highest = announce("a", &[]);
    highest["peer_id"] = json!("ÿ".repeat(20));
    send(&mut a, &highest).await;
    assert_eq!(receive(&mut a).await["incomplete"], 1);
    tracker.stop().await;
}

#[tokio::test]
async fn an_offer_for_a_named_peer_and_its_answer_cross() {
    let tracker = Tracker::start().await;
    let (mut a, mut b) = (tracker.connect().await, tracker.connect().await);
    a.announced(with_rtc(1)).await;
    let named = b.announced(with_rtc(2)).await.enxame.unwrap().peers;
    assert_eq!(named, [NamedPeer { peer_id: peer(1), seeder: false, relay: true, rtc: true, channel: None }]);
    let (one, two, swarm) = ("\u{1}".repeat(20), "\u{2}".repeat(20), "\u{1}".repeat(20));
    let id = "0123456789abcdefÿ\u{0}..";
    let mut offer = json!({
        "action": "announce", "info_hash": swarm, "peer_id": two, "to_peer_id": one, "offer_id": id,
        "offer": {"type": "offer", "sdp": "v=0 hello"},
    });
    send(&mut b, &offer).await;
    offer.as_object_mut().unwrap().remove("to_peer_id");
    assert_eq!(receive(&mut a).await, offer);
    b.quiet().await;
    let mut answer = json!({
        "action": "announce", "info_hash": swarm, "peer_id": one, "to_peer_id": two, "offer_id": id,
        "answer": {"type": "answer", "sdp": "v=0 yes"},
    });
    send(&mut a, &answer).await;
    send(&mut a, &answer).await;
    answer.as_object_mut().unwrap().remove("to_peer_id");
    assert_eq!(receive(&mut b).await, answer);
    b.quiet().await;
    a.quiet().await;
    tracker.stop().await;
}

#[tokio::test]
async fn an_offer_for_a_peer_that_left_is_refused() {
    let tracker = Tracker::start().await;
    let (mut a, mut b) = (tracker.connect().await, tracker.connect().await);
    a.announced(with_rtc(1)).await;
    b.announced(with_rtc(2)).await;
    let mut stopped = with_rtc(1);
    stopped.event = Event::Stopped;
    a.announced(stopped).await;
    let offer = json!({
        "action": "announce", "info_hash": "\u{1}".repeat(20), "peer_id": "\u{2}".repeat(20),
        "to_peer_id": "\u{1}".repeat(20), "offer_id": "o".repeat(20), "offer": {"type": "offer", "sdp": "v=0"},
    });
    send(&mut b, &offer).await;
    let refused = json!({
        "action": "offer-refused", "info_hash": "\u{1}".repeat(20), "to_peer_id": "\u{1}".repeat(20),
        "offer_id": "o".repeat(20),
    });
    assert_eq!(receive(&mut b).await, refused);
    a.quiet().await;
    tracker.stop().await;
}

#[tokio::test]
async fn ours_are_handed_the_ice_servers_of_the_setting() {
    for ice in [None, Some(Vec::new()), Some(parse_ice_servers("stun:127.0.0.1:3478,stun:[::1]").unwrap())] {
        let tracker = Tracker::start_with(|settings| settings.ice.clone_from(&ice)).await;
        let told: Option<Vec<IceServer>> =
            tracker.connect().await.announced(ours(1)).await.enxame.unwrap().ice;
        assert_eq!(told, ice);
        tracker.stop().await;
    }
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
