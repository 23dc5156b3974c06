//! Peers introduce peers: swarms whose tracker is away, and neighbours that mean harm.

use std::time::Duration;

use engine::{Action, DirectFailure, LinkId, Signal, Transport};
use shared::limits::MAX_INTRODUCED_SDP_BYTES;
use shared::signal::SessionDescription;
use shared::wire::Message;
use shared::wire::extension::{ExtendedHandshake, Introduction};

use crate::signals::{carried, member, offer_id, script, signal};
use crate::wire::{OUR_ID, Script, stranger_id};
use crate::world::{BOTH_WAYS, Network, RELAY_ONLY, World, torrent};

const LIMIT: Duration = Duration::from_secs(600);

// Swarms.

#[test]
fn a_third_that_knows_one_neighbour_reaches_the_others_without_a_tracker() {
    for seed in 0..10 {
        let network = Network { rate: 1 << 20, ..Network::default() };
        let mut world = World::new(seed, torrent(seed, 12_000_000, 65_536), network);
        let (seeder, first) = (world.seeder_by(BOTH_WAYS), world.leecher_by(BOTH_WAYS));
        world.run_until(LIMIT, |world| world.transports(seeder, first) == [Transport::Direct]);
        world.set_tracker(false);
        let third = world.leecher_by(BOTH_WAYS);
        world.connect(third, first, Transport::Direct);
        world.run_until(Duration::from_secs(10), |world| {
            world.transports(seeder, third) == [Transport::Direct]
        });
        for (node, of) in [(third, seeder), (seeder, third)] {
            let row = world.row(node, of);
            assert!(row.is_none_or(|row| row.introduced), "seed {seed}");
        }
        assert_eq!(world.carried, 0);
        // Who introduced them may go.
        world.leave(first);
        world.complete(&[third], LIMIT);
    }
}

#[test]
fn a_swarm_that_hangs_together_becomes_whole_without_a_tracker() {
    for seed in 0..4 {
        let network = Network { rate: 1 << 20, ..Network::default() };
        let mut world = World::new(seed, torrent(seed, 6_000_000, 65_536), network);
        world.set_tracker(false);
        let seeder = world.seeder_by(BOTH_WAYS);
        let mut chain = vec![seeder];
        for _ in 0..7 {
            let next = world.leecher_by(BOTH_WAYS);
            world.connect(next, chain[chain.len() - 1], Transport::Direct);
            chain.push(next);
        }
        world.complete(&chain[1..], LIMIT);
        let far = chain[chain.len() - 1];
        assert_ne!(world.transports(chain[1], far), [], "seed {seed}");
        let made: usize = world.nodes.iter().map(|node| node.made).sum();
        assert!(made <= 28 * 4, "seed {seed}: {made} connections for 28 pairs");
    }
}

#[test]
fn who_has_no_webrtc_introduces_others_all_the_same() {
    let network = Network { rate: 200_000, ..Network::default() };
    let mut world = World::new(1, torrent(1, 6_000_000, 65_536), network);
    let host = world.seeder_by(RELAY_ONLY);
    world.run_for(Duration::from_secs(1));
    // These know of the host alone: no tracker names them to each other.
    world.tracker = false;
    let (a, b) = (world.leecher_by(BOTH_WAYS), world.leecher_by(BOTH_WAYS));
    world.connect(a, host, Transport::Relay);
    world.connect(b, host, Transport::Relay);
    world.run_until(Duration::from_secs(10), |world| world.transports(a, b) == [Transport::Direct]);
    assert_eq!(world.transports(a, host), [Transport::Relay]);
    world.run_until(Duration::from_secs(1), |world| world.row(a, b).is_some_and(|row| row.introduced));
}

#[test]
fn a_tracker_that_dies_takes_nothing_with_it_that_is_direct() {
    for seed in 0..4 {
        let network = Network { rate: 100_000, ..Network::default() };
        let mut world = World::new(seed, torrent(seed, 12_000_000, 65_536), network);
        let seeder = world.seeder_by(BOTH_WAYS);
        let leechers: Vec<_> = (0..3).map(|_| world.leecher_by(BOTH_WAYS)).collect();
        world.run_for(Duration::from_secs(4));
        world.set_tracker(false);
        // One direct link breaks: a neighbour brings the two together again.
        world.cut_between(seeder, leechers[0], Transport::Direct);
        world.run_until(Duration::from_secs(30), |world| {
            world.transports(seeder, leechers[0]) == [Transport::Direct]
        });
        world.complete(&leechers, LIMIT);
    }
}

// One session and neighbours that are scripted.

#[test]
fn neighbours_are_told_of_each_other_not_of_themselves_and_not_too_often() {
    let mut script = script();
    let (a, b) = (script.neighbour(1), script.neighbour(2));
    assert_eq!(script.introductions(a), [Introduction::Members(vec![stranger_id(2)])]);
    script.wait(Duration::from_secs(6));
    assert_eq!(script.introductions(b), []);
    script.neighbour(3);
    let all = vec![stranger_id(2), stranger_id(3)];
    assert_eq!(script.introductions(a), [Introduction::Members(all)]);
    // Changes that come fast are told together.
    script.neighbour(4);
    script.tell(|session, now| session.handle_link_closed(now, LinkId(3)));
    script.neighbour(5);
    assert_eq!(script.introductions(a), []);
    script.wait(Duration::from_secs(6));
    let all = vec![stranger_id(2), stranger_id(4), stranger_id(5)];
    assert_eq!(script.introductions(a), [Introduction::Members(all)]);
}

#[test]
fn those_who_have_everything_are_not_told_of_each_other() {
    let mut script = script();
    let (a, b, c) = (script.neighbour(1), script.neighbour(2), script.neighbour(3));
    let geometry = script.session.info().unwrap().geometry();
    for link in [a, b] {
        script.say(link, &geometry.pieces().map(|piece| Message::Have(piece.as_u32())).collect::<Vec<_>>());
    }
    script.wait(Duration::from_secs(6));
    script.neighbour(4);
    script.wait(Duration::from_secs(6));
    let told = script.introductions(a).pop();
    assert_eq!(told, Some(Introduction::Members(vec![stranger_id(3), stranger_id(4)])));
    let told = script.introductions(c).pop();
    assert_eq!(told, Some(Introduction::Members([1, 2, 4].map(stranger_id).to_vec())));
}

#[test]
fn a_peer_of_which_a_neighbour_speaks_is_offered_a_link_through_it() {
    let mut script = script();
    let link = script.neighbour(1);
    script.direct_dials();
    script.introduce(link, &Introduction::Members(vec![OUR_ID, stranger_id(1), member(5)]));
    assert_eq!(script.direct_dials(), [member(5)], "neither ourselves nor the neighbour");
    script.made(member(5), signal(1, "offer"));
    assert_eq!(script.introductions(link), [carried("offer", None, member(5), 1)]);
    script.introduce(link, &carried("answer", Some(member(5)), OUR_ID, 1));
    assert_eq!(script.taken(), [(member(5), signal(1, "answer"))]);
    script.assert_open(link);
    let direct = LinkId(50);
    script.tell(|session, now| {
        session.handle_link_opened(now, direct, Transport::Direct, Some(member(5)), true);
    });
    script.shake(direct, member(5), true);
    let rows = script.session.snapshot(script.now).peers;
    assert!(rows.iter().any(|row| row.id == member(5).to_string() && row.introduced), "{rows:?}");
    assert!(rows.iter().any(|row| row.id == stranger_id(1).to_string() && !row.introduced));
}

#[test]
fn an_offer_takes_the_next_way_when_one_is_closed() {
    let mut script = script();
    let link = script.neighbour(1);
    script.direct_dials();
    // The tracker knows it, and so does a neighbour.
    script.find(member(5), false);
    script.introduce(link, &Introduction::Members(vec![member(5)]));
    assert_eq!(script.direct_dials(), [member(5)]);
    script.made(member(5), signal(1, "offer"));
    assert_eq!(script.told_tracker(), [(member(5), signal(1, "offer"))]);
    assert_eq!(script.introductions(link), []);
    script.tell(|session, now| session.handle_signal_lost(now, member(5), offer_id(1)));
    assert_eq!(script.introductions(link), [carried("offer", None, member(5), 1)]);
    // That fails too; then another neighbour turns up.
    script.introduce(link, &Introduction::Lost { to: member(5), offer_id: offer_id(1) });
    assert_eq!(script.introductions(link), []);
    assert_eq!(script.told_tracker(), []);
    let other = script.neighbour(2);
    script.introduce(other, &Introduction::Members(vec![member(5)]));
    assert_eq!(script.introductions(other).last(), Some(&carried("offer", None, member(5), 1)));
    // It leaves before the answer has come; a link to the peer itself is the best way of all.
    script.tell(|session, now| session.handle_link_closed(now, other));
    let its = LinkId(9);
    script.tell(|session, now| session.handle_link_opened(now, its, Transport::Relay, Some(member(5)), true));
    script.tell(|session, now| session.handle_room(now, its, 1 << 20));
    script.shake(its, member(5), true);
    let said = ExtendedHandshake { enxame_signal: Some(7), rtc: Some(true), ..ExtendedHandshake::default() };
    script.say(its, &[Message::Extended { id: 0, payload: said.encode() }]);
    assert!(script.introductions(its).contains(&carried("offer", None, member(5), 1)));
    script.introduce(its, &carried("answer", None, OUR_ID, 1));
    assert_eq!(script.taken(), [(member(5), signal(1, "answer"))]);
}

#[test]
fn an_answer_goes_back_the_way_its_offer_came() {
    let mut script = script();
    let link = script.neighbour(1);
    script.taken();
    // Through a neighbour.
    script.introduce(link, &carried("offer", Some(member(5)), OUR_ID, 1));
    assert_eq!(script.taken(), [(member(5), signal(1, "offer"))]);
    script.made(member(5), signal(1, "answer"));
    assert_eq!(script.introductions(link), [carried("answer", None, member(5), 1)]);
    // From the peer itself.
    script.introduce(link, &carried("offer", None, OUR_ID, 2));
    assert_eq!(script.taken(), [(stranger_id(1), signal(2, "offer"))]);
    script.made(stranger_id(1), signal(2, "answer"));
    assert_eq!(script.introductions(link), [carried("answer", None, stranger_id(1), 2)]);
    // Through the tracker.
    script.tell(|session, now| session.handle_signal_came(now, member(6), signal(3, "offer")));
    assert_eq!(script.taken(), [(member(6), signal(3, "offer"))]);
    script.made(member(6), signal(3, "answer"));
    assert_eq!(script.told_tracker(), [(member(6), signal(3, "answer"))]);
    // Once each, and none for what was not asked.
    script.made(member(6), signal(3, "answer"));
    script.made(member(6), signal(4, "answer"));
    script.made(member(7), signal(3, "answer"));
    assert_eq!(script.told_tracker(), []);
}

#[test]
fn offers_and_answers_are_forwarded_between_neighbours_once() {
    let mut script = script();
    let (a, b, c) = (script.neighbour(1), script.neighbour(2), script.neighbour(3));
    for link in [a, b, c] {
        script.introductions(link);
    }
    script.introduce(a, &carried("offer", None, stranger_id(2), 1));
    assert_eq!(script.introductions(b), [carried("offer", Some(stranger_id(1)), stranger_id(2), 1)]);
    script.introduce(b, &carried("answer", None, stranger_id(1), 1));
    assert_eq!(script.introductions(a), [carried("answer", Some(stranger_id(2)), stranger_id(1), 1)]);
    assert_eq!(script.introductions(c), []);
    // To somebody who is not here, it is lost.
    script.introduce(a, &carried("offer", None, member(9), 2));
    assert_eq!(script.introductions(a), [Introduction::Lost { to: member(9), offer_id: offer_id(2) }]);
    for link in [a, b, c] {
        script.assert_open(link);
    }
    // A second answer nobody asked for.
    script.introduce(b, &carried("answer", None, stranger_id(1), 1));
    script.assert_protocol_close(b);
    assert_eq!(script.introductions(a), []);
    script.assert_open(a);
}

#[test]
fn an_answer_is_forwarded_for_two_minutes_and_only_for_whom_the_offer_was() {
    let mut script = script();
    let (a, b, c) = (script.neighbour(1), script.neighbour(2), script.neighbour(3));
    script.introduce(a, &carried("offer", None, stranger_id(2), 1));
    script.introduce(a, &carried("offer", None, stranger_id(3), 2));
    for link in [a, b, c] {
        script.introductions(link);
    }
    script.introduce(c, &carried("answer", None, stranger_id(1), 1));
    script.assert_protocol_close(c);
    for _ in 0..13 {
        script.wait(Duration::from_secs(10));
        script.say(a, &[Message::KeepAlive]);
        script.say(b, &[Message::KeepAlive]);
    }
    script.introduce(b, &carried("answer", None, stranger_id(1), 1));
    script.assert_protocol_close(b);
    script.assert_open(a);
}

#[test]
fn who_speaks_for_others_or_answers_what_was_not_asked_loses_its_link() {
    for what in [
        // Forged: it makes others' words its own to forward.
        carried("offer", Some(member(9)), stranger_id(2), 1),
        carried("answer", Some(member(9)), stranger_id(2), 1),
        // Forged: it introduces us to ourselves.
        carried("offer", Some(OUR_ID), OUR_ID, 1),
        carried("answer", Some(OUR_ID), OUR_ID, 1),
        // Nobody asked.
        carried("answer", None, OUR_ID, 1),
        carried("answer", Some(member(9)), OUR_ID, 1),
        carried("answer", None, stranger_id(2), 1),
    ] {
        let mut script = script();
        let (bad, good) = (script.neighbour(1), script.neighbour(2));
        script.introductions(good);
        script.introduce(bad, &what);
        script.assert_protocol_close(bad);
        script.assert_open(good);
        assert_eq!(script.introductions(good), [], "{what:?}");
        assert_eq!(script.taken(), []);
    }
}

#[test]
fn malformed_introductions_end_the_link_and_unknown_ones_are_ignored() {
    let too_many = Introduction::Members((0..51).map(member).collect()).encode();
    let too_long = Introduction::Signal {
        from: None,
        to: OUR_ID,
        offer_id: offer_id(1),
        description: SessionDescription {
            kind: "offer".into(),
            sdp: "x".repeat(MAX_INTRODUCED_SDP_BYTES + 1),
        },
    }
    .encode();
    for payload in [too_many, too_long, bytes::Bytes::from_static(b"nonsense")] {
        let mut script = script();
        let link = script.neighbour(1);
        script.say(link, &[Message::Extended { id: 3, payload }]);
        script.assert_protocol_close(link);
    }
    let mut script = script();
    let link = script.neighbour(1);
    script.say(link, &[Message::Extended { id: 3, payload: b"d4:type5:latere"[..].into() }]);
    script.assert_open(link);
}

#[test]
fn who_floods_loses_its_link_and_costs_few_connections_before() {
    let mut script = script();
    let (bad, good) = (script.neighbour(1), script.neighbour(2));
    let mut taken = 0;
    for number in 0..31 {
        script.introduce(bad, &carried("offer", None, OUR_ID, number));
        taken += script.taken().len();
    }
    script.assert_protocol_close(bad);
    script.assert_open(good);
    assert_eq!(taken, 1, "further ones come too soon");

    // Through it come offers of many.
    let bad = script.neighbour(3);
    for number in 0..31 {
        script.introduce(bad, &carried("offer", Some(member(number)), OUR_ID, number));
        taken += script.taken().len();
    }
    script.assert_protocol_close(bad);
    assert_eq!(taken, 1 + 4);

    // And to others it may not send more either.
    let bad = script.neighbour(4);
    script.introductions(good);
    for number in 0..31 {
        script.introduce(bad, &carried("offer", None, stranger_id(2), number));
    }
    script.assert_protocol_close(bad);
    script.assert_open(good);
    let forwarded = script.introductions(good);
    let offers = forwarded.iter().filter(|what| matches!(what, Introduction::Signal { .. })).count();
    assert!((1..=16).contains(&offers), "{offers}");
}

#[test]
fn a_neighbour_that_names_peers_that_do_not_exist_is_soon_not_believed() {
    for answers_lost in [true, false] {
        let mut script = script();
        let liar = script.neighbour(1);
        script.direct_dials();
        let (mut number, mut dialed) = (0, 0);
        for minute in 0..60 {
            let names = (0..50).map(|n| member(minute * 50 + n)).collect();
            script.introduce(liar, &Introduction::Members(names));
            for _ in 0..6 {
                let dials = script.direct_dials();
                assert!(dials.len() <= 6);
                for peer in dials {
                    // The neighbour itself is tried, too.
                    dialed += u32::from(peer != stranger_id(1));
                    number += 1;
                    script.made(peer, signal(number, "offer"));
                    let went = !script.introductions(liar).is_empty();
                    if went && answers_lost {
                        let lost = Introduction::Lost { to: peer, offer_id: offer_id(number) };
                        script.introduce(liar, &lost);
                    }
                    if !script.told_tracker().is_empty() {
                        script.tell(|session, now| session.handle_signal_lost(now, peer, offer_id(number)));
                    }
                    script.tell(|session, now| {
                        session.handle_direct_failed(now, peer, DirectFailure::NoAnswer);
                    });
                }
                script.wait(Duration::from_secs(10));
                script.say(liar, &[Message::KeepAlive]);
            }
        }
        assert!((6..=20).contains(&dialed), "{dialed} connections for nobody");
    }
}

#[test]
fn an_offer_by_a_neighbour_does_not_displace_who_is_linked() {
    let mut script = script();
    let (liar, victim) = (script.neighbour(1), script.neighbour(2));
    script.taken();
    script.introduce(liar, &carried("offer", Some(stranger_id(2)), OUR_ID, 1));
    assert_eq!(script.taken(), []);
    script.assert_open(victim);
    // Nor does a direct link that calls itself so, before it has shaken hands and said what it has.
    let forged = LinkId(9);
    script.tell(|session, now| {
        session.handle_link_opened(now, forged, Transport::Direct, Some(stranger_id(2)), false);
    });
    script.shake(forged, stranger_id(3), true);
    script.assert_protocol_close(forged);
    script.assert_open(victim);
}

#[test]
fn of_two_offers_that_cross_both_sides_take_the_lower() {
    for (ours, theirs, taken) in [(5, 3, true), (3, 5, false)] {
        let mut script = script();
        let link = script.neighbour_by(1, Transport::Relay, true);
        assert_eq!(script.direct_dials(), [stranger_id(1)], "the side that opened the relay offers");
        script.made(stranger_id(1), signal(ours, "offer"));
        assert!(script.introductions(link).contains(&carried("offer", None, stranger_id(1), ours)));
        script.introduce(link, &carried("offer", None, OUR_ID, theirs));
        assert_eq!(script.taken().len(), usize::from(taken));
        // Theirs is answered, ours completed: never both.
        script.introduce(link, &carried("answer", None, OUR_ID, ours));
        script.assert_open(link);
        assert_eq!(script.taken().len(), usize::from(!taken));
    }
}

#[test]
fn the_side_that_did_not_open_the_relay_offers_only_after_a_while() {
    let mut script = script();
    let link = script.neighbour(1);
    for _ in 0..19 {
        script.wait(Duration::from_secs(1));
        script.say(link, &[Message::KeepAlive]);
    }
    assert_eq!(script.direct_dials(), []);
    script.wait(Duration::from_secs(2));
    assert_eq!(script.direct_dials(), [stranger_id(1)]);
}

#[test]
fn who_is_banned_or_beyond_the_limit_is_neither_dialed_nor_answered() {
    let torrent = torrent(1, 100_000, 65_536);
    let mut script = Script::leeching(&torrent);
    // It sends a piece that is wrong.
    let liar = script.neighbour(1);
    script.say(liar, &[Message::Have(1), Message::Unchoke]);
    let asked = crate::wire::requests(&script.heard(liar));
    for block in asked {
        script.give(liar, block);
    }
    let piece = torrent.info.geometry().piece(1).unwrap();
    script.tell(|session, now| session.handle_stored(now, piece, engine::StoreOutcome::HashMismatch));
    assert!(script.close_reason(liar).is_some());
    script.actions.clear();

    let good = script.neighbour(2);
    script.introduce(good, &Introduction::Members(vec![stranger_id(1)]));
    script.find(stranger_id(1), false);
    script.introduce(good, &carried("offer", Some(stranger_id(1)), OUR_ID, 1));
    script.tell(|session, now| session.handle_signal_came(now, stranger_id(1), signal(2, "offer")));
    script.wait(Duration::from_secs(1));
    script.actions.retain(|action| !matches!(action, Action::Notice(_)));
    assert!(script.actions.is_empty(), "{:?}", script.actions);

    for number in 3..52 {
        script.neighbour(number);
    }
    script.actions.clear();
    assert!(!script.session.wants_peers());
    script.find(member(1), false);
    script.tell(|session, now| session.handle_signal_came(now, member(1), signal(3, "offer")));
    script.actions.retain(|action| !matches!(action, Action::Notice(_)));
    assert!(script.actions.is_empty(), "{:?}", script.actions);
    // Those who are linked may still change to a direct link.
    script.introduce(good, &carried("offer", None, OUR_ID, 4));
    assert_eq!(script.taken(), [(stranger_id(2), signal(4, "offer"))]);
}

#[test]
fn signals_stay_within_their_swarm() {
    // Two sessions of one tab, both linked to the same peer: what comes to one concerns only its own links.
    let (mut one, mut other) = (script(), Script::leeching(&torrent(2, 100_000, 65_536)));
    let (a, b) = (one.neighbour(1), other.neighbour(2));
    other.introductions(b);
    one.introductions(a);
    one.introduce(a, &carried("offer", None, stranger_id(2), 1));
    assert_eq!(one.introductions(a), [Introduction::Lost { to: stranger_id(2), offer_id: offer_id(1) }]);
    assert_eq!(other.introductions(b), []);
    other.introduce(b, &carried("answer", None, stranger_id(1), 1));
    other.assert_protocol_close(b);
    assert_eq!(one.introductions(a), []);
}

#[test]
fn a_description_that_is_too_long_for_neighbours_goes_through_the_tracker() {
    let mut script = script();
    let link = script.neighbour_by(1, Transport::Relay, true);
    script.direct_dials();
    let sdp = "x".repeat(MAX_INTRODUCED_SDP_BYTES + 1);
    let long =
        Signal { offer_id: offer_id(1), description: SessionDescription { kind: "offer".into(), sdp } };
    script.made(stranger_id(1), long.clone());
    assert_eq!(script.introductions(link), []);
    assert_eq!(script.told_tracker(), [(stranger_id(1), long)]);
}

#[test]
fn strangers_on_direct_links_are_greeted_as_their_program_needs() {
    let torrent = torrent(1, 100_000, 65_536);
    for initiator in [true, false] {
        let mut script = Script::leeching(&torrent);
        let (link, id) = (LinkId(1), stranger_id(1));
        script.tell(|session, now| {
            session.handle_link_opened(now, link, Transport::Direct, Some(id), initiator);
        });
        script.tell(|session, now| session.handle_room(now, link, 1 << 20));
        // Nothing of BEP 6 or BEP 10 before both handshakes.
        let sends = script.sends(link);
        assert_eq!(sends.iter().map(|bytes| bytes.len()).collect::<Vec<_>>(), [68]);
        script.shake(link, id, true);
        let sends = script.sends(link);
        assert_eq!(sends.len(), 1);
        assert!(sends[0].ends_with(&[0, 0, 0, 1, 0x0f]), "HAVE_NONE, and no INTERESTED behind it");
        let theirs = ExtendedHandshake { ut_metadata: Some(1), ..ExtendedHandshake::default() };
        script.say(link, &[Message::Extended { id: 0, payload: theirs.encode() }]);
        assert_eq!(script.sends(link).len(), 0);
        script.say(link, &[Message::Bitfield(vec![0xc0].into())]);
        assert_eq!(script.sends(link), [&[0, 0, 0, 1, 2][..]]);
        // It does not know our extension, so it hears nothing of it.
        let other = script.neighbour(2);
        script.wait(Duration::from_secs(20));
        assert!(script.heard_only_bep3(link));
        assert_eq!(script.introductions(other), [], "and is named to nobody");
    }
}

impl Script {
    fn heard_only_bep3(&mut self, link: LinkId) -> bool {
        self.sends(link)
            .iter()
            .all(|bytes| bytes.chunks(5).all(|message| message.len() == 5 && message[4] < 4))
    }
}
