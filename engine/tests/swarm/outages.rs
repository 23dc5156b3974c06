//! What breaks: links, the tracker, the network between two halves.

use std::time::Duration;

use crate::scenario::{LIMIT, UNEVEN, flash_crowd, leechers, small, times};
use crate::world::{Habits, MIXED, Setting, World};

#[test]
fn links_that_are_cut_all_the_time_cost_time_and_nothing_else() {
    let setting = Setting { cut_every: Some(Duration::from_millis(200)), ..small(1) };
    let mut world = flash_crowd(setting, 15, UNEVEN);
    world.complete(&leechers(&world), LIMIT);
}

#[test]
fn the_two_halves_of_a_divided_swarm_go_on_and_are_one_again_afterwards() {
    let mut world = World::new(small(2));
    world.join(Habits { ways: MIXED, ..Habits::seeder(UNEVEN) });
    for _ in 0..20 {
        world.join(Habits { ways: MIXED, ..Habits::new(UNEVEN) });
    }
    // Direct links are there, and the file is not yet.
    world.run_for(Duration::from_secs(5));
    let here: Vec<_> = (1..11).collect();
    let there: Vec<_> = (11..21).collect();
    assert!(leechers(&world).iter().all(|node| !world.has_all(*node)));
    let union = |world: &World| {
        (0..64).filter(|piece| there.iter().any(|node| world.has_piece(*node, *piece))).count()
    };
    let least = |world: &World| {
        let counts = there.iter().map(|node| (0..64).filter(|piece| world.has_piece(*node, *piece)).count());
        counts.min().unwrap()
    };
    let before = least(&world);
    world.divide(|node| u8::from(node > 10));
    let known = union(&world);
    world.complete(&here, LIMIT);
    world.run_for(Duration::from_secs(60));
    eprintln!("the other half had {before} each of {known} pieces, then {}", least(&world));
    assert!(known < 64, "the half without seeder had everything");
    assert_eq!(least(&world), known, "they did not share what they had");
    let healed = world.now;
    world.divide(|_| 0);
    world.complete(&there, LIMIT);
    let took = world.now.since(healed).as_secs_f64();
    eprintln!("{took:.1} s after healing");
    assert!(took < 180.0, "{took} s");
}

#[test]
fn a_tracker_that_is_gone_half_of_the_time_is_hardly_missed() {
    let mut took = Vec::new();
    for gone in [false, true] {
        let mut world = World::new(small(3));
        world.join(Habits { ways: MIXED, ..Habits::seeder(UNEVEN) });
        for n in 0..20 {
            world.join(Habits { ways: MIXED, ..Habits::new(UNEVEN) });
            world.run_for(Duration::from_millis(500));
            if gone && n % 4 == 3 {
                world.set_tracker(!world.tracker);
            }
        }
        let all = leechers(&world);
        while !all.iter().all(|node| world.has_all(*node)) && world.now.as_duration() < LIMIT {
            world.run_for(Duration::from_secs(5));
            if gone {
                world.set_tracker(!world.tracker);
            }
        }
        world.complete(&all, Duration::from_secs(1));
        took.extend(times(&world, &all).last().copied());
    }
    eprintln!("with the tracker {:.1} s, with half of it {:.1} s", took[0], took[1]);
    assert!(took[1] < took[0] * 3.0, "{took:?}");
}
