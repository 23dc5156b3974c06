//! A flash crowd: everybody comes at once, and one has the file.

use std::time::Duration;

use crate::cost::{most_memory, processor_time};
use crate::scenario::{EVEN, LIMIT, UNEVEN, flash_crowd, leechers, over_bound, small, times, wasted_share};
use crate::world::{Habits, World};

#[test]
fn ten_have_a_small_file_at_most_half_later_than_is_possible_at_all() {
    // Two thirds later, where the line down is as narrow as the line up.
    for (line, most) in [(UNEVEN, 1.5), (EVEN, 1.66)] {
        let mut world = flash_crowd(small(1), 10, line);
        world.complete(&leechers(&world), LIMIT);
        let ratio = over_bound(&world);
        eprintln!("{line:?}: {ratio:.3}, wasted {:.4}", wasted_share(&world));
        assert!(ratio < most, "{line:?}: {ratio}");
        assert!(wasted_share(&world) < 0.08, "{line:?}: {}", wasted_share(&world));
    }
}

#[test]
fn a_hundred_have_a_small_file_at_most_nine_tenths_later_than_is_possible_at_all() {
    let mut world = flash_crowd(small(1), 100, UNEVEN);
    world.complete(&leechers(&world), LIMIT);
    let (ratio, waste) = (over_bound(&world), wasted_share(&world));
    eprintln!("{ratio:.3}, wasted {waste:.4}");
    assert!(ratio < 1.9, "{ratio}");
    assert!(waste < 0.03, "{waste}");
}

#[test]
fn a_thousand_have_it_a_few_seconds_later_and_cost_less_than_a_minute_and_half_a_gibibyte() {
    let before = processor_time();
    let mut world = flash_crowd(small(1), 1000, UNEVEN);
    world.complete(&leechers(&world), LIMIT);
    let (ratio, waste) = (over_bound(&world), wasted_share(&world));
    let took = processor_time().zip(before).map(|(after, before)| after.saturating_sub(before));
    let memory = most_memory();
    eprintln!("{ratio:.3}, wasted {waste:.4}, {} messages, {took:?}, {memory:?} bytes", world.messages);
    assert!(ratio < 2.3, "{ratio}");
    assert!(waste < 0.02, "{waste}");
    // Only where the system tells.
    assert!(took.is_none_or(|took| took < Duration::from_secs(60)), "{took:?} of processor time");
    assert!(memory.is_none_or(|bytes| bytes < 512 << 20), "{memory:?} bytes");
}

#[test]
fn four_times_as_many_take_less_than_half_as_long_again() {
    let mut took = Vec::new();
    for count in [10, 40] {
        let mut world = flash_crowd(small(2), count, UNEVEN);
        world.complete(&leechers(&world), LIMIT);
        took.extend(times(&world, &leechers(&world)).last().copied());
    }
    eprintln!("{took:?}");
    assert!(took[1] < took[0] * 1.5, "{took:?}");
}

#[test]
fn a_first_seeder_sends_clearly_less_until_there_is_another_copy() {
    let copies = |first| {
        let mut world = World::new(small(3));
        world.join(Habits { first, ..Habits::seeder(UNEVEN) });
        for _ in 0..30 {
            world.join(Habits::new(UNEVEN));
        }
        assert!(world.run_until(LIMIT, |world| world.is_covered_by(1..31)));
        world.traffic.sent(0) as f64 / world.total() as f64
    };
    let (usual, super_seeding) = (copies(false), copies(true));
    eprintln!("{usual:.3} copies, super-seeding {super_seeding:.3}");
    assert!(super_seeding < usual * 0.9, "{usual}, super-seeding {super_seeding}");
}

#[test]
fn when_the_seeder_leaves_behind_one_copy_spread_over_all_everybody_completes() {
    for seed in 0..3 {
        let mut world = flash_crowd(small(seed), 20, UNEVEN);
        assert!(world.run_until(LIMIT, |world| world.is_covered_by(1..21)));
        assert!(leechers(&world).iter().any(|node| !world.has_all(*node)), "nothing was left to do");
        world.leave(0);
        world.complete(&leechers(&world), LIMIT);
    }
}

#[test]
fn peers_come_and_go_and_nobody_asks_twice_for_what_is_verified() {
    let mut world = World::new(small(4));
    world.join(Habits::seeder(UNEVEN));
    let mut rng = fastrand::Rng::with_seed(4);
    let mut staying = Vec::new();
    for round in 0..60 {
        let node = world.join(Habits::new(UNEVEN));
        world.run_for(Duration::from_millis(rng.u64(200..1500)));
        // Two in three leave again, whatever they have.
        if round % 3 == 0 {
            staying.push(node);
        } else if round > 5 {
            let gone = rng.usize(1..world.nodes.len());
            if !staying.contains(&gone) {
                world.leave(gone);
            }
        }
    }
    world.complete(&staying, LIMIT);
    for node in staying {
        assert!(
            world.nodes[node].verified.iter().all(|times| *times == 1),
            "node {node} fetched a piece twice"
        );
        assert_eq!(world.nodes[node].needless, 0, "node {node} asked for what it had");
    }
}
