//! Swarms drawn at random: whatever the lengths, links, ways, walls, liars and leavers, and whenever the tracker is away,
//! everybody gets the file.

use std::time::Duration;

use engine::{Content, Direct, Notice, Ways};
use fastrand::Rng;

use crate::world::{BOTH_WAYS, DIRECT_ONLY, Habits, Network, RELAY_ONLY, World, torrent};

/// Seeds that every run tries; `ENXAME_SEEDS=first..end` tries others.
const SEEDS: std::ops::Range<u64> = 0..25;

fn seeds() -> std::ops::Range<u64> {
    let Ok(text) = std::env::var("ENXAME_SEEDS") else { return SEEDS };
    let (first, end) = text.split_once("..").unwrap();
    first.parse().unwrap()..end.parse().unwrap()
}

#[test]
fn any_swarm_with_an_honest_source_completes() {
    for seed in seeds() {
        let mut rng = Rng::with_seed(seed);
        let piece_length = 1 << rng.u32(14..20);
        let len = rng.usize(1..3_000_000);
        let network = Network {
            latency: Duration::from_millis(rng.u64(1..200)),
            rate: rng.u64(200_000..10_000_000),
            window: rng.usize(64 << 10..2 << 20),
            cut_every: rng.bool().then(|| Duration::from_millis(rng.u64(1000..20_000))),
            notice: Duration::from_millis(rng.u64(0..15_000)),
        };
        let mut world = World::new(seed, torrent(seed, len, piece_length), network);
        let info = world.torrent.info.raw().clone();
        // Any two have a way to each other: through the tracker, when it is there; or directly.
        let all_direct = rng.u8(0..4) == 0;
        let draw = |rng: &mut Rng| match rng.u8(0..4) {
            _ if all_direct => *rng.choice(&[DIRECT_ONLY, BOTH_WAYS]).unwrap(),
            0 => RELAY_ONLY,
            1 => Ways { relay: true, direct: Direct::Absent },
            _ => BOTH_WAYS,
        };
        if !all_direct {
            world.walls = (0..10).map(|_| (rng.usize(0..9), rng.usize(0..9))).collect();
        }
        let timers_every = Duration::from_millis(*rng.choice(&[0, 0, 1000]).unwrap());
        let seeder = world.seeder_by(draw(&mut rng));
        let mut liars = Vec::new();
        for _ in 0..rng.usize(0..3) {
            let lies =
                (0..world.torrent.info.geometry().piece_count()).filter(|_| rng.u8(0..4) == 0).collect();
            let habits = Habits { lies, ways: draw(&mut rng), ..Habits::default() };
            liars.push(world.join(Content::Known { info: info.clone(), have: None }, habits));
        }
        let mut leechers = Vec::new();
        for _ in 0..rng.usize(1..6) {
            let store_time = Duration::from_millis(rng.u64(0..30));
            let habits = Habits { store_time, ways: draw(&mut rng), timers_every, ..Habits::default() };
            leechers.push(world.join(Content::Unknown, habits));
            world.run_for(Duration::from_millis(rng.u64(0..2000)));
        }
        if rng.bool() {
            world.set_tracker(false);
            world.run_for(Duration::from_secs(rng.u64(0..60)));
            world.set_tracker(true);
        }
        let limit = Duration::from_secs(1200);
        if rng.bool() {
            world.run_until(limit, |world| world.is_covered_by(&leechers));
            world.leave(seeder);
        }
        world.complete(&leechers, limit);
        let liars: Vec<_> = liars.into_iter().map(|liar| world.nodes[liar].id).collect();
        for leecher in leechers {
            for notice in &world.nodes[leecher].notices {
                let wronged = matches!(notice, Notice::Banned { peer, .. } if !liars.contains(peer));
                assert!(!wronged, "seed {seed}: an honest peer was banned");
            }
        }
    }
}
