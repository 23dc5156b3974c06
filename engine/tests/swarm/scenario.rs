//! Swarms to try, and what came of them.

use std::time::Duration;

use crate::traffic::Line;
use crate::world::{Habits, Node, Setting, World};

/// Bytes a second, up and down alike: whoever does not serve all the time costs time.
pub(crate) const EVEN: Line = Line { up: 1 << 20, down: 1 << 20 };
/// As most lines into homes are.
pub(crate) const UNEVEN: Line = Line { up: 1 << 20, down: 4 << 20 };

/// Longer than any of these swarms may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(1800);

/// 8 MiB in pieces of 128 KiB: small enough for a build without optimizations.
pub(crate) fn small(seed: u64) -> Setting {
    Setting { seed, pieces: 64, ..Setting::default() }
}

/// A seeder, and this many others who all come at once.
pub(crate) fn flash_crowd(setting: Setting, leechers: usize, line: Line) -> World {
    let mut world = World::new(setting);
    world.join(Habits::seeder(line));
    for _ in 0..leechers {
        world.join(Habits::new(line));
    }
    world
}

/// All but the seeders.
pub(crate) fn leechers(world: &World) -> Vec<usize> {
    (0..world.nodes.len()).filter(|node| !world.nodes[*node].habits.seeds).collect()
}

/// No swarm of these nodes can have the file everywhere sooner: the seeder has to send it once, each leecher to take it
/// once, and all of them together to send it once for each leecher (Mundinger, Weber and Weiss 2008).
pub(crate) fn lower_bound(world: &World) -> Duration {
    let total = world.total() as f64;
    let (seeders, leechers): (Vec<_>, Vec<_>) =
        world.nodes.iter().map(|node| &node.habits).partition(|habits| habits.seeds);
    let from_seeders = total / seeders.iter().map(|habits| habits.line.up as f64).sum::<f64>();
    let into_slowest = leechers.iter().map(|habits| total / habits.line.down as f64).fold(0.0, f64::max);
    let all_up = world.nodes.iter().map(|node| node.habits.line.up as f64).sum::<f64>();
    let together = leechers.len() as f64 * total / all_up;
    Duration::from_secs_f64(from_seeders.max(into_slowest).max(together))
}

/// How long each of these took from joining to having everything, shortest first; those who did not are left out.
pub(crate) fn times(world: &World, nodes: &[usize]) -> Vec<f64> {
    let took = nodes.iter().filter_map(|node| Node::took(&world.nodes[*node]));
    let mut times: Vec<_> = took.map(|took| took.as_secs_f64()).collect();
    times.sort_by(f64::total_cmp);
    times
}

/// The middle one of them.
pub(crate) fn median(times: &[f64]) -> f64 {
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Time to the last completion, over the lower bound.
pub(crate) fn over_bound(world: &World) -> f64 {
    let times = times(world, &leechers(world));
    times.last().copied().unwrap_or(f64::NAN) / lower_bound(world).as_secs_f64()
}

/// Bytes that came as blocks and were not kept, over those that were.
pub(crate) fn wasted_share(world: &World) -> f64 {
    world.waste() as f64 / (world.total() as f64 * leechers(world).len() as f64)
}
