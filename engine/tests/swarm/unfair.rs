//! Those who take and do not give, do not answer, or are slow.

use std::time::Duration;

use engine::Time;

use crate::scenario::{LIMIT, UNEVEN, flash_crowd, leechers, median, small, times};
use crate::traffic::Line;
use crate::world::{Habits, Setting, World};

/// How much later the median of those who never upload is complete than that of the others, of 40 peers of which 30 % are
/// such, and whose seeder has so many times their line.
fn lateness(seed: u64, seeder: u64) -> f64 {
    let mut world = World::new(Setting { seed, ..Setting::default() });
    world.join(Habits::seeder(Line { up: UNEVEN.up * seeder, ..UNEVEN }));
    let free = |n: usize| n % 10 < 3;
    for n in 0..40 {
        let slots = free(n).then_some(0);
        world.join(Habits { slots, ..Habits::new(UNEVEN) });
    }
    world.complete(&leechers(&world), LIMIT);
    let (riders, fair): (Vec<_>, Vec<_>) = leechers(&world).into_iter().partition(|node| free(node - 1));
    assert!(riders.iter().all(|rider| world.nodes[*rider].session.uploaded() == 0));
    let (riders, fair) = (median(&times(&world, &riders)), median(&times(&world, &fair)));
    eprintln!(
        "seeder times {seeder}: free riders {riders:.1} s, the others {fair:.1} s: {:.3}",
        riders / fair
    );
    riders / fair
}

#[test]
fn those_who_never_upload_take_1_3_times_as_long_as_those_who_do() {
    let ratio = lateness(1, 2);
    assert!(ratio > 1.3, "{ratio}");
}

#[test]
fn those_who_never_upload_finish_later_also_where_everybody_waits_for_the_seeder() {
    let ratio = lateness(1, 1);
    assert!(ratio > 1.1, "{ratio}");
}

/// How long ten honest ones take beside five of these.
fn beside(strange: &Habits) -> f64 {
    let mut world = flash_crowd(small(2), 10, UNEVEN);
    for _ in 0..5 {
        world.join(strange.clone());
    }
    let honest: Vec<_> = (1..11).collect();
    world.complete(&honest, LIMIT);
    times(&world, &honest).last().copied().unwrap()
}

#[test]
fn peers_that_fall_silent_choke_for_ever_promise_and_never_send_or_lie_about_what_they_have_do_not_stop_the_others()
 {
    let seeder = Habits::seeder(UNEVEN);
    let alone = {
        let mut world = flash_crowd(small(2), 10, UNEVEN);
        world.complete(&leechers(&world), LIMIT);
        times(&world, &leechers(&world)).last().copied().unwrap()
    };
    let silent = Some(Time::since_start(Duration::from_secs(4)));
    // They say that they have everything, and take requests for it.
    let lying = beside(&Habits { mute: true, first: false, ..seeder.clone() });
    let choking = beside(&Habits { slots: Some(0), ..seeder });
    let silent = beside(&Habits { freezes_at: silent, ..Habits::new(UNEVEN) });
    let mute = beside(&Habits { mute: true, ..Habits::new(UNEVEN) });
    eprintln!(
        "alone {alone:.1} s; beside those who choke {choking:.1}, fall silent {silent:.1}, never send {mute:.1}, lie {lying:.1}"
    );
    for (what, took) in [("choking", choking), ("silent", silent), ("mute", mute), ("lying", lying)] {
        assert!(took < alone * 2.5, "{what}: {took} s instead of {alone} s");
    }
}

#[test]
fn one_that_is_a_hundred_times_slower_holds_up_nobody_else() {
    let slow = Line { up: UNEVEN.up / 100, down: UNEVEN.down / 100 };
    let mut world = flash_crowd(small(3), 10, UNEVEN);
    let snail = world.join(Habits::new(slow));
    let others: Vec<_> = (1..11).collect();
    world.complete(&others, LIMIT);
    let took = times(&world, &others).last().copied().unwrap();
    eprintln!(
        "the others took {took:.1} s; the slow one has {:?} of 64",
        world.nodes[snail].session.have().map(shared::wire::Bitfield::count)
    );
    assert!(took < 20.0, "{took} s");
    assert!(!world.has_all(snail));
    world.complete(&[snail], LIMIT);
}
