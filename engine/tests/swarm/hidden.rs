//! Hidden tabs, over lines that their links share and buffers that tell of room as the page's do.

use std::time::Duration;

use crate::scenario::{LIMIT, UNEVEN, leechers, small, times};
use crate::world::{DIRECT, Habits, RELAY, Setting, World};

#[test]
fn a_seeder_whose_timers_fire_once_a_minute_serves_two_as_fast_as_any() {
    // Data channels, and relay channels, which tell of room by credit alone.
    let window = Some(4 << 20);
    for (ways, relay_window) in [(DIRECT, None), (RELAY, window)] {
        let took = |timers_every: Duration| {
            let mut world = World::new(Setting { relay_window, ..small(1) });
            world.join(Habits { timers_every, ways, ..Habits::seeder(UNEVEN) });
            for _ in 0..2 {
                world.join(Habits { ways, ..Habits::new(UNEVEN) });
            }
            world.complete(&leechers(&world), LIMIT);
            let seconds = world.now.as_duration().as_secs();
            let most = seconds.checked_div(timers_every.as_secs()).unwrap_or(u64::MAX);
            assert!(world.nodes[0].woken <= most, "it is not hidden");
            times(&world, &leechers(&world)).last().copied().unwrap()
        };
        let visible = took(Duration::ZERO);
        for timers_every in [Duration::from_secs(1), Duration::from_secs(60)] {
            let hidden = took(timers_every);
            eprintln!("{ways:?}: {hidden:.2} s with timers every {timers_every:?}, {visible:.2} without");
            assert!(hidden < visible * 1.05, "{ways:?}: {hidden} s, {visible} s");
        }
    }
}
