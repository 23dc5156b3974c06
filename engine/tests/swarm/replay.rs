//! The same seed gives the same run.

use crate::scenario::{LIMIT, UNEVEN, leechers, small};
use crate::world::{Habits, MIXED, Setting, World};

fn run(seed: u64) -> (u64, u64) {
    let cut_every = Some(std::time::Duration::from_secs(1));
    let mut world = World::new(Setting { cut_every, relay_rate: Some(8 << 20), ..small(seed) });
    world.join(Habits { ways: MIXED, ..Habits::seeder(UNEVEN) });
    for n in 0..12 {
        world.join(Habits { ways: MIXED, walled: n % 2 == 0, ..Habits::new(UNEVEN) });
    }
    world.complete(&leechers(&world), LIMIT);
    (world.messages, world.trace())
}

#[test]
fn a_run_is_what_its_seed_says() {
    let (messages, trace) = run(7);
    assert_eq!((messages, trace), run(7));
    assert_ne!(trace, run(8).1);
    assert!(messages > 1000);
}
