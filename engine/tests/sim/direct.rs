//! From relay to direct, back, and again: whole swarms whose members may be linked from peer to peer.

use std::time::Duration;

use engine::{CloseReason, Direct, LinkId, Time, Transport, Ways, WhyRelayed};

use crate::world::{BOTH_WAYS, DIRECT_ONLY, Habits, Network, RELAY_ONLY, World, torrent};

const LIMIT: Duration = Duration::from_secs(600);

/// A seeder and a leecher that may be linked in these ways, over slow links so that there is time for everything.
fn two(seed: u64, len: usize, ways: [Ways; 2]) -> (World, usize, usize) {
    let network = Network { rate: 1 << 20, ..Network::default() };
    let mut world = World::new(seed, torrent(seed, len, 65_536), network);
    let (seeder, leecher) = (world.seeder_by(ways[0]), world.leecher_by(ways[1]));
    (world, seeder, leecher)
}

fn is_direct(world: &World, a: usize, b: usize) -> bool {
    world.transports(a, b) == [Transport::Direct]
}

fn why(world: &World, node: usize, of: usize) -> Option<WhyRelayed> {
    world.row(node, of).and_then(|row| row.why_relayed)
}

#[test]
fn the_relay_begins_the_direct_link_takes_over_and_no_block_is_asked_twice_or_lost() {
    for seed in 0..20 {
        let len = 6_000_000;
        let (mut world, seeder, leecher) = two(seed, len, [BOTH_WAYS; 2]);
        world.run_until(LIMIT, |world| world.transports(seeder, leecher).len() == 2);
        world.run_until(LIMIT, |world| is_direct(world, seeder, leecher));
        let bytes = world.nodes[leecher].session.downloaded();
        assert!(bytes > 0, "seed {seed}: the relay carried nothing");
        assert!(bytes < len as u64 / 2, "seed {seed}: the relay carried {bytes}");
        world.complete(&[leecher], LIMIT);
        assert_eq!(world.nodes[leecher].session.downloaded(), len as u64, "seed {seed}");
        assert_eq!(world.nodes[seeder].session.uploaded(), len as u64, "seed {seed}");
        let row = world.row(leecher, seeder).unwrap();
        assert_eq!((row.transport, row.why_relayed, row.introduced), (Transport::Direct, None, false));
        assert_eq!(row.downloaded, len as u64, "seed {seed}: what the relay carried counts too");
        assert_eq!(world.carried, 0, "seed {seed}: the tracker had nothing to carry");
        assert_eq!(world.nodes[seeder].made + world.nodes[leecher].made, 2, "seed {seed}");
    }
}

#[test]
fn where_no_path_leads_the_relay_carries_all_and_says_why() {
    let (mut world, seeder, leecher) = two(1, 60_000_000, [BOTH_WAYS; 2]);
    world.walls.insert((seeder, leecher));
    world.run_until(LIMIT, |world| why(world, leecher, seeder) == Some(WhyRelayed::Trying));
    world.run_for(Duration::from_secs(30));
    for (node, of) in [(seeder, leecher), (leecher, seeder)] {
        assert_eq!(why(&world, node, of), Some(WhyRelayed::NoPath));
    }
    world.complete(&[leecher], LIMIT);
    assert_eq!(world.nodes[leecher].session.downloaded(), 60_000_000);
    // In this minute there were few attempts.
    let made = world.nodes[leecher].made;
    assert!((2..=3).contains(&made), "{made} offers");
}

#[test]
fn attempts_that_fail_become_rare_but_never_end() {
    // Two that lack everything stay linked.
    let mut world = World::new(1, torrent(1, 100_000, 65_536), Network::default());
    let (a, b) = (world.leecher_by(BOTH_WAYS), world.leecher_by(BOTH_WAYS));
    world.walls.insert((a, b));
    world.run_for(Duration::from_secs(3600));
    let made = world.nodes[a].made + world.nodes[b].made;
    assert!((20..=40).contains(&made), "{made} connections in an hour");
    world.walls.clear();
    world.run_until(Duration::from_secs(600), |world| is_direct(world, a, b));
}

#[test]
fn a_direct_link_that_breaks_is_caught_by_the_relay_and_made_again() {
    for seed in 0..6 {
        let network = Network { rate: 1 << 20, notice: Duration::from_secs(12), ..Network::default() };
        let mut world = World::new(seed, torrent(seed, 30_000_000, 65_536), network);
        let (seeder, leecher) = (world.seeder_by(BOTH_WAYS), world.leecher_by(BOTH_WAYS));
        world.run_until(LIMIT, |world| is_direct(world, seeder, leecher));
        world.run_for(Duration::from_secs(2));
        let before = world.nodes[leecher].session.downloaded();
        world.walls.insert((seeder, leecher));
        world.cut_between(seeder, leecher, Transport::Direct);
        // The side that dials notices within twelve seconds, the other is told by the relay link.
        world.run_until(Duration::from_secs(16), |world| {
            world.nodes[leecher].session.downloaded() > before + 2_000_000
        });
        assert_eq!(world.transports(seeder, leecher), [Transport::Relay], "seed {seed}");
        assert_eq!(why(&world, leecher, seeder), Some(WhyRelayed::Lost), "seed {seed}");
        world.walls.clear();
        world.run_until(Duration::from_secs(60), |world| is_direct(world, seeder, leecher));
        world.complete(&[leecher], LIMIT);
        let spare = world.nodes[leecher].session.downloaded() - 30_000_000;
        assert!(spare < 2_000_000, "seed {seed}: {spare} bytes came twice");
    }
}

#[test]
fn a_direct_link_that_breaks_while_the_relay_retires_costs_nothing() {
    for seed in 0..20 {
        let (mut world, seeder, leecher) = two(seed, 6_000_000, [BOTH_WAYS; 2]);
        world.run_until(LIMIT, |world| {
            world.row(leecher, seeder).is_some_and(|row| row.transport == Transport::Direct)
        });
        assert_eq!(world.transports(seeder, leecher).len(), 2, "seed {seed}: the relay is there still");
        world.cut_between(seeder, leecher, Transport::Direct);
        world.walls.insert((seeder, leecher));
        world.complete(&[leecher], Duration::from_secs(20));
    }
}

#[test]
fn direct_alone_needs_no_relay() {
    let (mut world, seeder, leecher) = two(1, 3_000_000, [DIRECT_ONLY; 2]);
    world.complete(&[leecher], LIMIT);
    assert!(is_direct(&world, seeder, leecher));
    assert!(world.nodes.iter().flat_map(|node| &node.closed).count() == 0);
    // One of both is enough.
    for ways in [[DIRECT_ONLY, BOTH_WAYS], [BOTH_WAYS, DIRECT_ONLY]] {
        let (mut world, seeder, leecher) = two(1, 3_000_000, ways);
        world.complete(&[leecher], LIMIT);
        assert!(is_direct(&world, seeder, leecher));
    }
}

#[test]
fn who_takes_no_direct_links_is_relayed_and_says_why() {
    let absent = Ways::default();
    for (ways, whys) in [
        ([RELAY_ONLY, BOTH_WAYS], [WhyRelayed::SwitchedOff, WhyRelayed::NotThere]),
        ([BOTH_WAYS, absent], [WhyRelayed::NotThere, WhyRelayed::NotHere]),
        ([RELAY_ONLY, absent], [WhyRelayed::SwitchedOff, WhyRelayed::NotHere]),
    ] {
        let (mut world, seeder, leecher) = two(1, 3_000_000, ways);
        world.complete(&[leecher], LIMIT);
        assert_eq!(world.transports(seeder, leecher), [Transport::Relay]);
        assert_eq!(why(&world, seeder, leecher), Some(whys[0]));
        assert_eq!(why(&world, leecher, seeder), Some(whys[1]));
        assert_eq!(world.nodes[seeder].made + world.nodes[leecher].made, 0);
    }
}

#[test]
fn a_tab_that_has_too_many_connections_says_so() {
    let network = Network { rate: 200_000, ..Network::default() };
    let mut world = World::new(1, torrent(1, 30_000_000, 65_536), network);
    let seeder = world.seeder_by(BOTH_WAYS);
    let habits = Habits { ways: BOTH_WAYS, most_offers: 0, ..Habits::default() };
    let leecher = world.join(engine::Content::Unknown, habits);
    world.run_for(Duration::from_secs(3));
    assert_eq!(why(&world, leecher, seeder), Some(WhyRelayed::TooMany));
    // After a while the other side tries.
    world.run_until(LIMIT, |world| is_direct(world, seeder, leecher));
    assert!(world.now > Time::since_start(Duration::from_secs(20)));
}

#[test]
fn those_who_left_cost_no_connections() {
    for (ways, most) in [(BOTH_WAYS, 0), (DIRECT_ONLY, 1)] {
        let network = Network { rate: 200_000, ..Network::default() };
        let mut world = World::new(1, torrent(1, 3_000_000, 65_536), network);
        let stays = world.leecher_by(ways);
        let others: Vec<_> = (0..8).map(|_| world.leecher_by(ways)).collect();
        world.run_for(Duration::from_secs(10));
        for other in &others {
            assert!(is_direct(&world, stays, *other));
        }
        let before = world.nodes[stays].made;
        others.iter().for_each(|other| world.leave(*other));
        world.run_for(Duration::from_secs(3600));
        let made = world.nodes[stays].made - before;
        assert!(made <= 8 * most, "{made} connections to eight who are gone");
    }
}

#[test]
fn a_swarm_goes_direct_all_over() {
    for seed in 0..2 {
        let network = Network { rate: 400_000, ..Network::default() };
        let mut world = World::new(seed, torrent(seed, 12_000_000, 65_536), network);
        let seeder = world.seeder_by(BOTH_WAYS);
        let leechers: Vec<_> = (0..5).map(|_| world.leecher_by(BOTH_WAYS)).collect();
        world.run_for(Duration::from_secs(6));
        let all: Vec<_> = leechers.iter().copied().chain([seeder]).collect();
        for (place, a) in all.iter().enumerate() {
            for b in &all[..place] {
                assert!(is_direct(&world, *a, *b), "seed {seed}: {:?}", world.transports(*a, *b));
            }
        }
        let made: usize = world.nodes.iter().map(|node| node.made).sum();
        // Each of fifteen pairs needs two; both may have begun at once.
        assert!(made <= 15 * 3, "seed {seed}: {made} connections");
        world.complete(&leechers, LIMIT);
    }
}

#[test]
fn both_sides_may_dial_at_once() {
    for seed in 0..20 {
        // Who cannot relay dials directly as soon as the tracker names the other.
        let (mut world, seeder, leecher) = two(seed, 3_000_000, [DIRECT_ONLY; 2]);
        world.announce(seeder, Duration::ZERO);
        world.announce(leecher, Duration::ZERO);
        world.run_for(Duration::from_secs(1));
        assert!(is_direct(&world, seeder, leecher), "seed {seed}");
        assert!(world.nodes[seeder].offers.len() + world.nodes[leecher].offers.len() <= 1, "seed {seed}");
        // The offer that nobody answered lapses without harm.
        world.complete(&[leecher], LIMIT);
        world.run_for(Duration::from_secs(60));
        assert!(world.nodes.iter().all(|node| node.offers.is_empty()), "seed {seed}");
    }
}

#[test]
fn peers_are_counted_once_however_many_links_they_have() {
    let network = Network { rate: 400_000, ..Network::default() };
    let mut world = World::new(1, torrent(1, 3_000_000, 65_536), network);
    world.seeder_by(BOTH_WAYS);
    let leechers: Vec<_> = (0..3).map(|_| world.leecher_by(BOTH_WAYS)).collect();
    world.run_until(LIMIT, |world| {
        for node in &world.nodes {
            let mut ids: Vec<_> =
                node.session.snapshot(world.now).peers.into_iter().map(|peer| peer.id).collect();
            let rows = ids.len();
            ids.sort();
            ids.dedup();
            assert_eq!(ids.len(), rows, "two rows for one peer");
        }
        leechers.iter().all(|leecher| world.has_all(*leecher))
    });
}

#[test]
fn a_relay_link_beside_a_sound_direct_one_is_closed_again() {
    let (mut world, seeder, leecher) = two(1, 30_000_000, [BOTH_WAYS; 2]);
    world.run_until(LIMIT, |world| is_direct(world, seeder, leecher));
    world.run_for(Duration::from_secs(1));
    let closed = world.nodes[seeder].closed.len() + world.nodes[leecher].closed.len();
    world.connect(leecher, seeder, Transport::Relay);
    assert_eq!(world.transports(seeder, leecher).len(), 2);
    world.run_until(Duration::from_secs(1), |world| is_direct(world, seeder, leecher));
    let reasons: Vec<_> =
        world.nodes.iter().flat_map(|node| &node.closed).map(|(_, reason)| reason.clone()).collect();
    assert_eq!(reasons.len(), closed + 1);
    assert!(reasons.iter().all(|reason| *reason == CloseReason::Redundant), "{reasons:?}");
    world.complete(&[leecher], LIMIT);
    assert_eq!(world.nodes[leecher].session.downloaded(), 30_000_000);
}

#[test]
fn pausing_drops_what_was_under_way() {
    let (mut world, seeder, leecher) = two(1, 3_000_000, [DIRECT_ONLY; 2]);
    world.run_until(LIMIT, |world| world.nodes[leecher].made + world.nodes[seeder].made > 0);
    world.tell(leecher, |session, now| session.pause(now));
    world.run_for(Duration::from_secs(120));
    assert!(world.transports(seeder, leecher).is_empty());
    world.tell(leecher, |session, now| session.resume(now));
    world.announce(leecher, Duration::ZERO);
    world.complete(&[leecher], LIMIT);
}

#[test]
fn links_of_a_kind_that_is_switched_off_are_refused() {
    for (ways, transport) in [
        (RELAY_ONLY, Transport::Direct),
        (Ways { relay: true, direct: Direct::Absent }, Transport::Direct),
        (DIRECT_ONLY, Transport::Relay),
    ] {
        let mut world = World::new(1, torrent(1, 100_000, 65_536), Network::default());
        let node = world.seeder_by(ways);
        let session = &mut world.nodes[node].session;
        session.handle_link_opened(Time::default(), LinkId(9), transport, None, false);
        let closed = std::iter::from_fn(|| session.poll_action())
            .any(|action| matches!(action, engine::Action::CloseLink { link: LinkId(9), .. }));
        assert!(closed, "{ways:?}");
    }
}
