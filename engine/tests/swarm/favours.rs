//! What is done for peers beyond what they ask (BEP 6): for who comes late into a swarm in which everybody is busy, and for a
//! seeder's disk.

use std::time::Duration;

use shared::wire::Bitfield;

use crate::scenario::{LIMIT, UNEVEN, leechers, median};
use crate::traffic::Line;
use crate::world::{Habits, Setting, World};

/// Seconds from coming to the first piece of eight who come one after the other to forty who have been at it for ten seconds;
/// and how many pieces the forty had by then.
fn first_pieces(seed: u64, favours: bool) -> (Vec<f64>, u32) {
    let mut world = World::new(Setting { seed, ..Setting::default() });
    world.join(Habits { favours, ..Habits::seeder(UNEVEN) });
    for _ in 0..40 {
        world.join(Habits { favours, ..Habits::new(UNEVEN) });
    }
    let early = leechers(&world);
    world.run_for(Duration::from_secs(10));
    let mut late = Vec::new();
    for _ in 0..8 {
        late.push(world.join(Habits { favours, ..Habits::new(UNEVEN) }));
        world.run_for(Duration::from_secs(1));
    }
    world.run_for(Duration::from_secs(8));
    let had = early.iter().filter_map(|node| world.nodes[*node].session.have()).map(Bitfield::count).sum();
    let mut times: Vec<_> =
        late.iter().map(|node| world.nodes[*node].first_piece.unwrap().as_secs_f64()).collect();
    times.sort_by(f64::total_cmp);
    (times, had)
}

#[test]
fn newcomers_have_a_first_piece_sooner_and_those_who_were_there_lose_little() {
    let (mut with, mut without, mut had) = (Vec::new(), Vec::new(), [0, 0]);
    for seed in 0..2 {
        let (allowed, choked) = (first_pieces(seed, true), first_pieces(seed, false));
        with.extend(allowed.0);
        without.extend(choked.0);
        had[0] += allowed.1;
        had[1] += choked.1;
    }
    for times in [&mut with, &mut without] {
        times.sort_by(f64::total_cmp);
    }
    let [last, last_without] = [&with, &without].map(|times| times[times.len() - 1]);
    eprintln!(
        "first piece after {:.2} s, the last {last:.2}; with nothing allowed {:.2} and {last_without:.2}; the others had {had:?} pieces",
        median(&with),
        median(&without)
    );
    assert!(median(&with) < median(&without) * 0.8, "{with:?} {without:?}");
    assert!(f64::from(had[0]) > f64::from(had[1]) * 0.95, "{had:?}");
}

#[test]
fn who_is_never_served_has_its_set_and_not_a_piece_more() {
    let mut world = World::new(Setting::default());
    for _ in 0..5 {
        world.join(Habits { slots: Some(0), first: false, ..Habits::seeder(UNEVEN) });
    }
    let newcomer = world.join(Habits::new(UNEVEN));
    world.run_for(Duration::from_secs(600));
    let node = &world.nodes[newcomer];
    // Eight of 256, the same at each of the five, and no byte twice.
    assert_eq!(node.session.have().unwrap().count(), 8);
    assert_eq!(node.session.downloaded(), 8 * (128 << 10));
    eprintln!("first piece after {:?}", node.first_piece);
}

/// How often a seeder reads while eight fetch 48 MiB in pieces of 1 MiB; whether they serve each other, too.
fn reads(favours: bool, slots: Option<usize>) -> u64 {
    let mut world = World::new(Setting { pieces: 48, piece_length: 1 << 20, ..Setting::default() });
    world.join(Habits { favours, first: false, ..Habits::seeder(Line { up: 8 << 20, down: 8 << 20 }) });
    for _ in 0..8 {
        world.join(Habits { favours, slots, ..Habits::new(UNEVEN) });
    }
    world.complete(&leechers(&world), LIMIT);
    world.nodes[0].reads
}

#[test]
fn a_seeder_that_suggests_reads_less_for_those_who_have_nobody_else() {
    let (with, without) = (reads(true, Some(0)), reads(false, Some(0)));
    let (among, among_without) = (reads(true, None), reads(false, None));
    eprintln!(
        "{with} reads instead of {without}; where they serve each other, {among} instead of {among_without}"
    );
    assert!(with < without, "{with}, {without}");
}
