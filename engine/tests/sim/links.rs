//! Which links are opened, kept, and closed.

use std::time::Duration;

use engine::{Action, CloseReason, LinkId, Transport};
use shared::PeerId;
use shared::wire::Message;

use crate::wire::{OUR_ID, Script, relayed, stranger_id};
use crate::world::{Network, World, torrent};

fn dials(script: &mut Script) -> Vec<PeerId> {
    let dials = script
        .actions
        .drain(..)
        .filter_map(|action| if let Action::Dial { peer } = action { Some(peer) } else { None });
    dials.collect()
}

fn open(script: &mut Script, number: u64, transport: Transport, remote: PeerId, initiator: bool) -> LinkId {
    let link = LinkId(number);
    script.tell(|session, now| session.handle_link_opened(now, link, transport, Some(remote), initiator));
    link
}

#[test]
fn peers_found_are_dialed_but_not_ourselves_nor_the_linked() {
    let mut script = Script::leeching(&torrent(1, 100_000, 65_536));
    script.tell(|session, now| {
        session.handle_peers_found(now, &relayed(&[OUR_ID, stranger_id(1), stranger_id(2), stranger_id(1)]));
    });
    let mut dialed = dials(&mut script);
    dialed.sort();
    assert_eq!(dialed, [stranger_id(1), stranger_id(2)]);
    open(&mut script, 1, Transport::Relay, stranger_id(1), true);
    script.tell(|session, now| session.handle_peers_found(now, &relayed(&[stranger_id(1), stranger_id(2)])));
    assert!(dials(&mut script).is_empty());
}

#[test]
fn the_greeting_is_one_message_with_nothing_to_wait_for() {
    let torrent = torrent(1, 100_000, 65_536);
    let mut script = Script::seeding(&torrent);
    let remote = PeerId::with_prefix([7; 12]);
    let link = open(&mut script, 1, Transport::Relay, remote, true);
    // To our own, whom the tracker names: handshake, extended handshake, pieces, unchoke, at once.
    let sends = script.sends(link);
    assert_eq!(sends.len(), 1);
    assert!(sends[0].ends_with(&[0, 0, 0, 1, 0x0e, 0, 0, 0, 1, 1]));
    // To a stranger only the handshake, until its own has come.
    let link = open(&mut script, 2, Transport::Relay, stranger_id(2), true);
    assert_eq!(script.sends(link)[0].len(), 68);
    script.shake(link, stranger_id(2), true);
    let sends = script.sends(link);
    assert_eq!(sends.len(), 1);
    assert!(sends[0].ends_with(&[0, 0, 0, 1, 0x0e]));
    // Nothing is said twice.
    let again = script.session.snapshot(script.now);
    assert_eq!(again.peers.len(), 1, "the first has not shaken hands");
}

#[test]
fn of_two_links_to_one_peer_both_sides_keep_the_same() {
    let torrent = torrent(1, 100_000, 65_536);
    let (low, high) = (PeerId::new([0; 20]), PeerId::new([0xff; 20]));
    for (remote, first_is_ours, kept) in [(low, true, 2), (low, false, 1), (high, true, 1), (high, false, 2)]
    {
        let mut script = Script::seeding(&torrent);
        open(&mut script, 1, Transport::Relay, remote, first_is_ours);
        open(&mut script, 2, Transport::Relay, remote, !first_is_ours);
        assert_eq!(script.closed, [(LinkId(3 - kept), CloseReason::Redundant)]);
    }
    // A side that opens a second link has lost the first.
    let mut script = Script::seeding(&torrent);
    open(&mut script, 1, Transport::Relay, high, false);
    open(&mut script, 2, Transport::Relay, high, false);
    assert_eq!(script.closed, [(LinkId(1), CloseReason::Redundant)]);
}

#[test]
fn a_direct_link_replaces_the_relay_once_it_can_do_the_same() {
    let mut script = Script::seeding(&torrent(1, 100_000, 65_536));
    let remote = stranger_id(1);
    let relay = open(&mut script, 1, Transport::Relay, remote, true);
    script.shake(relay, remote, true);
    let direct = open(&mut script, 2, Transport::Direct, remote, false);
    assert!(script.closed.is_empty());
    script.shake(direct, remote, true);
    assert!(script.closed.is_empty(), "what it has is not known there");
    script.say(direct, &[Message::HaveNone]);
    assert_eq!(script.closed, [(relay, CloseReason::Redundant)]);
}

#[test]
fn our_own_echo_is_hung_up_on() {
    let mut script = Script::seeding(&torrent(1, 100_000, 65_536));
    let link = script.link(1, None);
    script.shake(link, OUR_ID, true);
    assert_eq!(script.close_reason(link), Some(&CloseReason::Redundant));
    script.tell(|session, now| session.handle_peers_found(now, &relayed(&[OUR_ID])));
    assert!(dials(&mut script).is_empty());
}

#[test]
fn a_lost_link_is_opened_again() {
    let mut script = Script::leeching(&torrent(1, 100_000, 65_536));
    let link = script.stranger(1, true);
    script.tell(|session, now| session.handle_link_closed(now, link));
    assert!(dials(&mut script).is_empty());
    script.wait(Duration::from_secs(10));
    assert_eq!(dials(&mut script), [stranger_id(1)]);
    // Failing attempts become rarer, and end.
    let mut attempts = 1;
    script.tell(|session, now| session.handle_dial_failed(now, stranger_id(1)));
    for _ in 0..600 {
        script.wait(Duration::from_secs(1));
        for peer in dials(&mut script) {
            attempts += 1;
            script.tell(|session, now| session.handle_dial_failed(now, peer));
        }
    }
    assert_eq!(attempts, 5);
}

#[test]
fn who_dialed_each_other_at_the_same_moment_end_up_with_one_link() {
    for seed in 0..10 {
        let mut world =
            World::new(seed, torrent(1, 300_000, 65_536), Network { rate: 100_000, ..Network::default() });
        let (a, b) = (world.seeder(), world.leecher());
        world.run_for(Duration::from_secs(2));
        for node in [a, b] {
            let peers = world.nodes[node].session.snapshot(world.now).peers;
            assert_eq!(peers.len(), 1, "seed {seed}");
        }
        world.complete(&[b], Duration::from_secs(60));
    }
}

#[test]
fn a_seeder_reaches_for_those_who_came_before_it() {
    let mut world = World::new(1, torrent(1, 300_000, 65_536), Network::default());
    let leecher = world.leecher();
    world.run_for(Duration::from_secs(1));
    let seeder = world.seeder();
    assert!(world.nodes[seeder].session.wants_peers());
    world.complete(&[leecher], Duration::from_secs(2));
}

#[test]
fn interest_is_shown_only_after_the_peer_has_said_what_it_has() {
    let mut script = Script::leeching(&torrent(1, 100_000, 65_536));
    let link = script.stranger(1, true);
    assert!(!script.heard(link).contains(&Message::Interested));
    script.say(link, &[Message::HaveNone]);
    assert!(!script.heard(link).contains(&Message::Interested));
    script.say(link, &[Message::Have(1)]);
    assert_eq!(script.heard(link), [Message::Interested]);
}
