//! Limits hold, alone and shared.

use std::time::Duration;

use engine::{Limit, Limits};

use crate::scenario::{UNEVEN, small};
use crate::world::{Habits, World};

#[test]
fn a_seeders_limit_up_and_a_leechers_limit_down_are_kept_and_used() {
    for (up, down) in [(Some(256 << 10), None), (None, Some(256 << 10))] {
        let mut world = World::new(small(1));
        let limit = |rate: Option<u64>| rate.map_or_else(Limit::default, Limit::bytes_a_second);
        let (up, down) = (limit(up), limit(down));
        world.join(Habits { limits: Limits { up, ..Limits::default() }, ..Habits::seeder(UNEVEN) });
        let leecher =
            world.join(Habits { limits: Limits { down, ..Limits::default() }, ..Habits::new(UNEVEN) });
        world.complete(&[leecher], Duration::from_secs(60));
        let took = world.nodes[leecher].took().unwrap().as_secs_f64();
        eprintln!("{took:.1} s");
        // 8 MiB, and what is under way when the limit first bites.
        assert!((28.0..36.0).contains(&took), "{took} s");
    }
}

#[test]
fn of_two_sessions_that_share_a_limit_neither_starves() {
    let mut world = World::new(small(2));
    let shared_up = Limit::bytes_a_second(512 << 10);
    for _ in 0..2 {
        let limits = Limits { shared_up: shared_up.clone(), ..Limits::default() };
        world.join(Habits { limits, ..Habits::seeder(UNEVEN) });
    }
    for _ in 0..6 {
        world.join(Habits::new(UNEVEN));
    }
    world.run_for(Duration::from_secs(12));
    let sent = [0, 1].map(|node| world.nodes[node].session.uploaded() as f64);
    let rate = (sent[0] + sent[1]) / 12.0 / f64::from(512 << 10);
    eprintln!("{sent:?}, {rate:.2} of the limit");
    assert!((0.85..1.1).contains(&rate), "{rate}");
    assert!(sent.iter().all(|one| *one > 0.3 * (sent[0] + sent[1])), "{sent:?}");
}
