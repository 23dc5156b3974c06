//! Peers that send bytes which fail their hash.

use std::collections::BTreeSet;
use std::time::Duration;

use engine::{CloseReason, Content, Notice};

use crate::world::{Habits, Network, World, torrent};

const LIMIT: Duration = Duration::from_secs(600);

fn liar(world: &mut World, pieces: impl IntoIterator<Item = u32>) -> usize {
    let info = world.torrent.info.raw().clone();
    let habits = Habits { lies: pieces.into_iter().collect::<BTreeSet<_>>(), ..Habits::default() };
    world.join(Content::Known { info, have: None }, habits)
}

#[test]
fn a_peer_that_sends_bad_data_is_banned_and_the_download_completes() {
    for seed in 0..6 {
        let mut world = World::new(seed, torrent(seed, 3_000_000, 65_536), Network::default());
        let liar = liar(&mut world, 0..46);
        world.seeder();
        let leechers = [world.leecher(), world.leecher()];
        world.complete(&leechers, LIMIT);
        world.run_for(Duration::from_secs(60));
        let id = world.nodes[liar].id;
        for leecher in leechers {
            let node = &world.nodes[leecher];
            let banned = |notice: &Notice| matches!(notice, Notice::Banned { peer, .. } if *peer == id);
            assert!(node.notices.iter().any(banned), "seed {seed}");
            assert!(node.closed.contains(&(id, CloseReason::BadData)), "seed {seed}");
            let others = |notice: &&Notice| matches!(notice, Notice::Banned { peer, .. } if *peer != id);
            assert_eq!(node.notices.iter().find(others), None, "seed {seed}: an honest peer was banned");
        }
    }
}

#[test]
fn of_several_who_sent_parts_of_a_bad_piece_the_liar_is_found() {
    for seed in 0..6 {
        // Large pieces on slow links, so that all peers work on each.
        let network = Network { rate: 1 << 20, ..Network::default() };
        let mut world = World::new(seed, torrent(seed, 4 << 20, 2 << 20), network);
        let liar = liar(&mut world, 0..2);
        world.seeder();
        world.seeder();
        let leecher = world.leecher();
        world.complete(&[leecher], LIMIT);
        let notices = &world.nodes[leecher].notices;
        let id = world.nodes[liar].id;
        assert!(
            notices.iter().any(|notice| matches!(notice, Notice::HashMismatch { .. })),
            "seed {seed}: {notices:?}"
        );
        let banned = notices
            .iter()
            .filter_map(|n| if let Notice::Banned { peer, .. } = n { Some(*peer) } else { None });
        assert!(banned.clone().all(|peer| peer == id), "seed {seed}: an honest peer was banned");
    }
}

#[test]
fn without_an_honest_source_nothing_bad_is_kept() {
    let mut world = World::new(1, torrent(1, 1_000_000, 65_536), Network::default());
    liar(&mut world, 3..4);
    let leecher = world.leecher();
    world.run_for(Duration::from_secs(120));
    let session = &world.nodes[leecher].session;
    assert!(session.have().unwrap().count() < 16);
    assert!(session.snapshot(world.now).peers.is_empty());
    assert!(world.nodes[leecher].notices.iter().any(|notice| matches!(notice, Notice::Banned { .. })));
}
