//! What the relay carries.

use crate::scenario::{LIMIT, UNEVEN, leechers, small, times};
use crate::world::{DIRECT, Habits, MIXED, RELAY, Setting, World};
use engine::Ways;

/// The share of all payload that went through a relay of 8 MiB/s, and when the last of 15 was complete.
fn share(ways: Ways, walled: usize) -> (f64, f64) {
    let mut world = World::new(Setting { relay_rate: Some(8 << 20), ..small(1) });
    world.join(Habits { ways, ..Habits::seeder(UNEVEN) });
    for n in 0..15 {
        world.join(Habits { ways, walled: n < walled, ..Habits::new(UNEVEN) });
    }
    let all = leechers(&world);
    world.complete(&all, LIMIT);
    let share = world.traffic.relayed as f64 / (all.len() as f64 * world.total() as f64);
    (share, times(&world, &all).last().copied().unwrap())
}

#[test]
fn the_relays_load_falls_as_direct_links_open() {
    let (relay, direct) = (share(RELAY, 0), share(DIRECT, 0));
    let (mixed, half) = (share(MIXED, 0), share(MIXED, 8));
    eprintln!("relay {relay:.3?}, direct {direct:.3?}, mixed {mixed:.3?}, mixed with walls {half:.3?}");
    assert!(relay.0 > 0.99 && direct.0 == 0.0);
    assert!(mixed.0 < 0.3 && half.0 < relay.0 * 0.6, "{mixed:?} {half:?}");
    assert!(mixed.1 < relay.1 * 1.3, "{mixed:?} {relay:?}");
}
