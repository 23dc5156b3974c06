//! One session and a peer that is scripted, at two links: which of them is asked, and when one of them ends.

use std::time::Duration;

use engine::{CloseReason, LinkId, Transport, WhyRelayed};
use shared::wire::extension::ExtendedHandshake;
use shared::wire::{BlockRequest, Message};

use crate::wire::{Script, requests, stranger_id};
use crate::world::torrent;

const RELAY: LinkId = LinkId(1);
const DIRECT: LinkId = LinkId(2);

/// A link opens to the same peer, which has everything and serves us; what it was asked for over it.
fn open(script: &mut Script, link: LinkId, transport: Transport) -> Vec<BlockRequest> {
    let id = stranger_id(1);
    script.tell(|session, now| session.handle_link_opened(now, link, transport, Some(id), false));
    script.tell(|session, now| session.handle_room(now, link, 1 << 20));
    script.shake(link, id, true);
    let said = ExtendedHandshake { rtc: Some(true), ..ExtendedHandshake::default() };
    let said = Message::Extended { id: 0, payload: said.encode() };
    script.say(link, &[said, Message::HaveAll, Message::Unchoke]);
    requests(&script.heard(link))
}

fn serve(script: &mut Script, link: LinkId, blocks: &[BlockRequest]) {
    for block in blocks {
        script.give(link, *block);
    }
}

/// One whose torrent takes more requests than are asked at a time, and one whose does not.
fn long() -> Script {
    Script::leeching(&torrent(1, 100 * 16_384, 16_384))
}

fn short() -> Script {
    Script::leeching(&torrent(1, 10 * 16_384, 16_384))
}

fn why(script: &Script) -> Option<WhyRelayed> {
    let peers = script.session.snapshot(script.now).peers;
    assert_eq!(peers.len(), 1);
    peers[0].why_relayed
}

#[test]
fn what_the_relay_owes_is_finished_there_and_all_else_is_asked_directly() {
    let mut script = long();
    let owed = open(&mut script, RELAY, Transport::Relay);
    assert_eq!(owed.len(), 10);
    let asked = open(&mut script, DIRECT, Transport::Direct);
    assert_eq!(asked.len(), 10);
    assert!(!asked.iter().any(|block| owed.contains(block)));
    assert_eq!(why(&script), None);
    // The last word is kept until everything has come.
    serve(&mut script, RELAY, &owed[..9]);
    assert_eq!(script.heard(RELAY), []);
    script.assert_open(RELAY);
    serve(&mut script, RELAY, &owed[9..]);
    assert_eq!(script.heard(RELAY), [Message::NotInterested]);
    assert_eq!(script.close_reason(RELAY), Some(&CloseReason::Redundant));
    script.assert_open(DIRECT);
}

#[test]
fn the_relay_is_kept_while_the_other_side_needs_it_but_not_for_ever() {
    let mut script = Script::seeding(&torrent(1, 100_000, 65_536));
    let id = stranger_id(1);
    for (link, transport) in [(RELAY, Transport::Relay), (DIRECT, Transport::Direct)] {
        script.tell(|session, now| session.handle_link_opened(now, link, transport, Some(id), true));
        script.shake(link, id, true);
        script.say(link, &[Message::HaveNone, Message::Interested]);
    }
    script.wait(Duration::from_secs(9));
    script.assert_open(RELAY);
    let mut patient = 0;
    while script.close_reason(RELAY).is_none() {
        script.wait(Duration::from_millis(100));
        patient += 1;
        assert!(patient < 20, "it is never closed");
    }
    assert_eq!(script.close_reason(RELAY), Some(&CloseReason::Redundant));

    // Its last word ends it at once.
    let relay = LinkId(3);
    script.tell(|session, now| session.handle_link_opened(now, relay, Transport::Relay, Some(id), true));
    script.shake(relay, id, true);
    script.say(relay, &[Message::HaveNone, Message::Interested]);
    script.wait(Duration::from_millis(1));
    script.say(DIRECT, &[Message::KeepAlive]);
    script.assert_open(relay);
    script.say(relay, &[Message::NotInterested]);
    assert_eq!(script.close_reason(relay), Some(&CloseReason::Redundant));
}

#[test]
fn a_relay_that_was_retiring_goes_on_when_the_direct_link_breaks() {
    let mut script = long();
    let owed = open(&mut script, RELAY, Transport::Relay);
    let lost = open(&mut script, DIRECT, Transport::Direct);
    serve(&mut script, RELAY, &owed[..5]);
    script.tell(|session, now| session.handle_link_closed(now, DIRECT));
    assert_eq!(why(&script), Some(WhyRelayed::Lost));
    serve(&mut script, RELAY, &owed[5..]);
    script.assert_open(RELAY);
    let asked = requests(&script.heard(RELAY));
    assert!(!asked.is_empty() && asked.iter().all(|block| !owed.contains(block)));
    assert!(asked.iter().any(|block| lost.contains(block)), "what went down with the link is asked again");
}

#[test]
fn what_a_peer_owes_on_one_link_is_not_asked_of_it_on_another() {
    let mut script = short();
    let owed = open(&mut script, RELAY, Transport::Relay);
    assert_eq!(owed.len(), 10);
    script.wait(Duration::from_secs(2));
    assert_eq!(open(&mut script, DIRECT, Transport::Direct), []);
    script.wait(Duration::from_secs(2));
    assert_eq!(requests(&script.heard(DIRECT)), []);
    // Somebody else is.
    let other = script.stranger(7, true);
    script.say(other, &[Message::HaveAll, Message::Unchoke]);
    script.wait(Duration::from_secs(1));
    assert!(!requests(&script.heard(other)).is_empty());
}

#[test]
fn a_relay_link_beside_a_direct_one_casts_doubt_on_it() {
    let mut script = long();
    assert_eq!(open(&mut script, DIRECT, Transport::Direct).len(), 10);
    script.wait(Duration::from_secs(1));
    let asked = open(&mut script, RELAY, Transport::Relay);
    assert_eq!(asked.len(), 10, "the direct link may be dead without our knowing");
    assert_eq!(script.heard(DIRECT), [Message::KeepAlive]);
    assert_eq!(why(&script), Some(WhyRelayed::Lost));
    script.wait(Duration::from_secs(6));
    assert_eq!(script.close_reason(DIRECT), Some(&CloseReason::TimedOut));
    script.assert_open(RELAY);

    // Where it shows life, the relay link retires.
    let mut script = long();
    let first = open(&mut script, DIRECT, Transport::Direct);
    let asked = open(&mut script, RELAY, Transport::Relay);
    script.heard(DIRECT);
    script.wait(Duration::from_millis(20));
    serve(&mut script, DIRECT, &first);
    assert!(!requests(&script.heard(DIRECT)).is_empty());
    assert_eq!(why(&script), None);
    serve(&mut script, RELAY, &asked);
    assert_eq!(script.close_reason(RELAY), Some(&CloseReason::Redundant));
    script.wait(Duration::from_secs(6));
    script.assert_open(DIRECT);
}

#[test]
fn who_is_served_by_relay_is_served_directly_at_once() {
    let torrent = torrent(1, 100_000, 65_536);
    let mut script = Script::seeding(&torrent);
    // Slots for eight, and nine that want them.
    for number in 10..19 {
        let link = script.stranger(number, true);
        script.say(link, &[Message::HaveNone, Message::Interested]);
    }
    let served = |script: &Script| {
        let peers = script.session.snapshot(script.now).peers;
        peers.into_iter().filter(|peer| !peer.am_choking).map(|peer| peer.id).collect::<Vec<_>>()
    };
    let lucky = served(&script).into_iter().next().unwrap().parse().unwrap();
    let direct = LinkId(50);
    script.tell(|session, now| {
        session.handle_link_opened(now, direct, Transport::Direct, Some(lucky), false);
    });
    script.shake(direct, lucky, true);
    assert!(script.heard(direct).contains(&Message::Unchoke));
}

#[test]
fn of_two_direct_links_both_sides_keep_the_same_and_of_two_far_apart_the_one_that_lives() {
    let torrent = torrent(1, 100_000, 65_536);
    for (pause, is_heard, kept) in
        [(1, false, None), (20, false, Some(LinkId(2))), (20, true, Some(LinkId(1)))]
    {
        for first_is_ours in [true, false] {
            let mut script = Script::seeding(&torrent);
            let id = stranger_id(1);
            for (number, initiator) in [(1, first_is_ours), (2, !first_is_ours)] {
                let link = LinkId(number);
                script.tell(|session, now| {
                    session.handle_link_opened(now, link, Transport::Direct, Some(id), initiator);
                });
                assert!(script.closed.is_empty(), "the second may never work");
                script.shake(link, id, true);
                script.wait(Duration::from_secs(pause));
                if is_heard && number == 1 {
                    script.say(link, &[Message::KeepAlive]);
                }
            }
            // Ours is the lower id, so ours is the link that both keep.
            let ours = LinkId(if first_is_ours { 1 } else { 2 });
            let kept = kept.unwrap_or(ours);
            assert_eq!(script.closed, [(LinkId(3 - kept.0), CloseReason::Redundant)]);
        }
    }
}
