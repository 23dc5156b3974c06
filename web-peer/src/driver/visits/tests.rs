//! What trackers and nodes say to a peer without sockets.
#![allow(clippy::unwrap_used, reason = "clippy does not see that these are tests")]

use engine::{Session, SessionConfig};
use futures::channel::mpsc;
use shared::order::SortedMap;
use shared::signal::{Ticket, ToPeer};
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};

use super::super::torrent::Phase;
use super::*;
use crate::driver::Settings;
use crate::snapshot::{RateLimits, TrackerKind, TransportMode};
use crate::transport::socket::SocketEvent;

wasm_bindgen_test_configure!(run_in_browser);

const KEY: u32 = 1;

fn swarm() -> InfoHash {
    InfoHash::new([1; 20])
}

fn them() -> PeerId {
    PeerId::new([2; 20])
}

/// A peer with one torrent, whose tracker is connected.
pub(in crate::driver) fn peer() -> Peer {
    let settings = Settings {
        tracker: "wss://own.example/ws".to_owned(),
        tracker_is_foreign: false,
        transport: TransportMode::Relay,
        ice: None,
        limits: RateLimits::default(),
        page_address: String::new(),
        peer_id: PeerId::new([3; 20]),
        key: String::new(),
        seed: 1,
    };
    let session = Session::new(Time::default(), SessionConfig::new(swarm(), settings.peer_id), 1).unwrap();
    // Nobody hears what happens: no socket is opened.
    let mut peer = Peer::new(settings, mpsc::unbounded().0);
    let own = peer.trackers.own().id;
    let tracker = peer.trackers.get_mut(own).unwrap();
    tracker.state = TrackerState::Connected;
    tracker.kind = Some(TrackerKind::Enxame);
    let mut torrent = Torrent::new(KEY, 0, Phase::Live(Box::new(session)));
    torrent.trackers = vec![own];
    peer.torrents.push(torrent);
    peer
}

/// What is dialed, where, and whether it may be sent elsewhere.
fn dialing(peer: &Peer) -> &SortedMap<(PeerId, TrackerId), bool> {
    &peer.torrents[0].dialing
}

fn say(peer: &mut Peer, at: TrackerId, message: &ToPeer) {
    peer.socket_event(Time::default(), at, 0, SocketEvent::Text(message.to_json()));
}

fn refused() -> ToPeer {
    ToPeer::RelayRefused { info_hash: swarm(), to_peer_id: them(), reason: RelayReason::UnknownPeer }
}

#[wasm_bindgen_test]
fn what_a_tracker_refuses_is_dialed_on_elsewhere() {
    let mut peer = peer();
    let own = peer.trackers.own().id;
    let other = peer.trackers.take(Time::default(), &["wss://other.example/".to_owned()])[1];
    let node = peer.trackers.node("wss://node.example/").unwrap();
    peer.torrents[0].dialing.insert((them(), node), false);
    say(&mut peer, other, &refused());
    say(&mut peer, own, &refused());
    assert_eq!(dialing(&peer).get(&(them(), node)), Some(&false), "it was not asked there");
    // Whom it was asked of may refuse.
    say(&mut peer, node, &refused());
    assert_eq!(dialing(&peer).keys().collect::<Vec<_>>(), [&(them(), own)]);
    say(&mut peer, own, &refused());
    assert!(dialing(&peer).is_empty());
}

#[wasm_bindgen_test]
fn a_tracker_that_sends_elsewhere_again_is_not_asked_again_at_once() {
    let mut peer = peer();
    let own = peer.trackers.own().id;
    // Nobody goes there.
    let at = RelayAt {
        info_hash: swarm(),
        to_peer_id: them(),
        url: "ws://less.safe/".to_owned(),
        ticket: Ticket::new([7; _]),
    };
    say(&mut peer, own, &ToPeer::RelayAt(at.clone()));
    assert!(dialing(&peer).is_empty(), "nobody asked");
    peer.dial(Time::default(), KEY, them());
    assert_eq!(dialing(&peer).get(&(them(), own)), Some(&true));
    say(&mut peer, own, &ToPeer::RelayAt(at.clone()));
    assert_eq!(dialing(&peer).get(&(them(), own)), Some(&false), "asked not to send it elsewhere");
    say(&mut peer, own, &ToPeer::RelayAt(at));
    assert!(dialing(&peer).is_empty(), "the dial failed");
}
