//! Whole downloads: through latency, loss of links, and a seeder that leaves.

use std::time::Duration;

use engine::{Content, Notice, PieceState, State};

use crate::world::{Habits, Network, World, torrent};

const LIMIT: Duration = Duration::from_secs(600);

#[test]
fn everybody_gets_the_file_from_the_hash_alone() {
    for seed in 0..4 {
        let mut world = World::new(seed, torrent(seed, 3_000_000, 65_536), Network::default());
        world.seeder();
        let leechers: Vec<_> = (0..3).map(|_| world.leecher()).collect();
        world.complete(&leechers, LIMIT);
        for leecher in leechers {
            let node = &world.nodes[leecher];
            assert_eq!(
                node.notices.iter().filter(|notice| **notice == Notice::Completed).count(),
                1,
                "seed {seed}"
            );
            assert_eq!(node.session.left(), Some(0));
            let spare = node.session.downloaded() - 3_000_000;
            assert!(spare < 600_000, "seed {seed}: {spare} bytes were thrown away");
        }
    }
}

#[test]
fn links_that_break_cost_time_but_nothing_else() {
    for seed in 0..4 {
        let network = Network {
            latency: Duration::from_millis(80),
            rate: 1 << 20,
            cut_every: Some(Duration::from_millis(700)),
            ..Network::default()
        };
        let mut world = World::new(seed, torrent(seed, 4_000_000, 262_144), network);
        world.seeder();
        let leechers: Vec<_> = (0..3).map(|_| world.leecher()).collect();
        world.complete(&leechers, LIMIT);
        for leecher in leechers {
            let session = &world.nodes[leecher].session;
            assert!(session.downloaded() < 8_000_000, "seed {seed}: {} bytes came", session.downloaded());
        }
    }
}

#[test]
fn a_seeder_may_leave_once_every_piece_is_elsewhere() {
    for seed in 0..4 {
        let mut world = World::new(seed, torrent(seed, 4_000_000, 65_536), Network::default());
        let seeder = world.seeder();
        let leechers: Vec<_> = (0..4).map(|_| world.leecher()).collect();
        world.run_until(LIMIT, |world| world.is_covered_by(&leechers));
        assert!(
            !leechers.iter().all(|leecher| world.has_all(*leecher)),
            "seed {seed}: nothing was left to do"
        );
        world.leave(seeder);
        world.complete(&leechers, LIMIT);
    }
}

#[test]
fn downloaders_serve_each_other_while_they_download() {
    let from_seeder = (0..6).map(|seed| {
        let mut world = World::new(seed, torrent(seed, 4_000_000, 65_536), Network::default());
        let seeder = world.seeder();
        let leechers: Vec<_> = (0..4).map(|_| world.leecher()).collect();
        world.complete(&leechers, LIMIT);
        world.nodes[seeder].session.uploaded()
    });
    let from_seeder: Vec<_> = from_seeder.collect();
    // What each had asked for before the others had anything is most of so small a file.
    let mean = from_seeder.iter().sum::<u64>() / 6;
    assert!(mean < 12_000_000, "the seeder sent {from_seeder:?} bytes of {}", 4 * 4_000_000);
}

#[test]
fn a_peer_that_leaves_in_the_middle_of_a_piece_costs_only_what_it_owed() {
    let network = Network { rate: 400_000, ..Network::default() };
    let mut world = World::new(1, torrent(1, 2 << 20, 1 << 20), network);
    let (first, second) = (world.seeder(), world.seeder());
    let leecher = world.leecher();
    world.run_until(LIMIT, |world| world.nodes[leecher].session.downloaded() > 600_000);
    assert_eq!(world.nodes[leecher].session.have().unwrap().count(), 0);
    world.leave(first);
    world.complete(&[leecher], LIMIT);
    assert!(world.nodes[leecher].session.downloaded() < (2 << 20) + 300_000);
    assert!(
        world.nodes[second].session.uploaded() < 2 << 20,
        "what the first had sent was not asked for again"
    );
}

#[test]
fn a_download_goes_on_from_the_pieces_that_the_store_had() {
    let torrent = torrent(1, 2_000_000, 65_536);
    let count = torrent.info.geometry().piece_count() as usize;
    let mut world = World::new(1, torrent.clone(), Network::default());
    let seeder = world.seeder();
    let have = (0..count).map(|index| index % 2 == 0).collect();
    let info = torrent.info.raw().clone();
    let leecher = world.join(Content::Known { info, have: Some(have) }, Habits::default());
    world.complete(&[leecher], LIMIT);
    assert!(world.nodes[seeder].session.uploaded() < 1_100_000);
}

#[test]
fn a_torrent_without_pieces_is_complete_as_soon_as_it_is_known() {
    let mut world = World::new(1, torrent(1, 0, 65_536), Network::default());
    let seeder = world.seeder();
    assert_eq!(world.nodes[seeder].session.state(), State::Seeding);
    let leecher = world.leecher();
    world.complete(&[leecher], LIMIT);
    world.run_for(Duration::from_secs(1));
    assert!(world.nodes[leecher].notices.contains(&Notice::Completed));
}

#[test]
fn two_who_have_everything_part_once_both_know() {
    let mut world = World::new(1, torrent(1, 500_000, 65_536), Network::default());
    let (seeder, leecher) = (world.seeder(), world.leecher());
    world.complete(&[leecher], LIMIT);
    assert_eq!(world.nodes[seeder].session.snapshot(world.now).peers.len(), 1);
    world.run_for(Duration::from_secs(30));
    for node in [seeder, leecher] {
        assert!(world.nodes[node].session.snapshot(world.now).peers.is_empty());
        assert!(world.nodes[node].session.deadline().is_none(), "nothing is left to wait for");
    }
}

#[test]
fn the_link_is_kept_full() {
    let network =
        Network { latency: Duration::from_millis(50), rate: 10 << 20, window: 2 << 20, ..Network::default() };
    let mut world = World::new(1, torrent(1, 32 << 20, 256 << 10), network);
    world.seeder();
    let leecher = world.leecher();
    world.complete(&[leecher], LIMIT);
    let ideal = 3.2;
    let took = world.now.as_duration().as_secs_f64();
    assert!(took < ideal + 0.8, "it took {took} s");
}

#[test]
fn a_long_way_is_kept_full_too() {
    // A round trip of 600 ms: at full rate 4.8 MiB are on the way.
    let latency = Duration::from_millis(300);
    let network = Network { latency, rate: 8 << 20, window: 16 << 20, ..Network::default() };
    let mut world = World::new(1, torrent(1, 128 << 20, 1 << 20), network);
    world.seeder();
    let leecher = world.leecher();
    world.complete(&[leecher], LIMIT);
    let took = world.now.as_duration().as_secs_f64();
    // Sixteen seconds at full rate, and before them a doubling a round trip from half a mebibyte on.
    assert!(took < 16.0 + 6.0, "it took {took} s");
}

#[test]
fn the_first_piece_comes_within_a_few_round_trips() {
    let latency = Duration::from_millis(50);
    let network = Network { latency, rate: 100 << 20, ..Network::default() };
    let mut world = World::new(1, torrent(1, 8 << 20, 64 << 10), network);
    world.seeder();
    world.run_for(Duration::from_secs(1));
    let leecher = world.leecher();
    let start = world.now;
    world.run_until(LIMIT, |world| world.nodes[leecher].session.have().is_some_and(|have| !have.is_none()));
    // One way each: announce, dial; greeting, metadata asked, metadata, blocks asked, blocks.
    let ways = world.now.since(start).as_secs_f64() / latency.as_secs_f64();
    assert!(ways < 7.5, "{ways} times the latency");
}

#[test]
fn each_piece_is_shown_as_missing_with_its_rarity_then_under_way_then_here() {
    let mut world = World::new(0, torrent(0, 3_000_000, 65_536), Network::default());
    let (_, _) = (world.seeder(), world.seeder());
    let leecher = world.leecher();
    assert_eq!(world.nodes[leecher].session.piece_states(), [], "nothing is known yet");
    let count = |world: &World, wanted: fn(PieceState) -> bool| {
        let states = world.nodes[leecher].session.piece_states();
        states.into_iter().filter(|state| wanted(*state)).count()
    };
    let under_way = |state| state == PieceState::InFlight;
    world.run_until(LIMIT, |world| {
        count(world, under_way) > 0 && count(world, |state| state == PieceState::Missing { peers: 2 }) > 0
    });
    assert_eq!(world.nodes[leecher].session.piece_states().len(), 3_000_000_usize.div_ceil(65_536));
    world.complete(&[leecher], LIMIT);
    assert_eq!(count(&world, |state| state != PieceState::Have), 0);
}
