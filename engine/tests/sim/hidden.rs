//! Hidden tabs: browsers let their timers fire once a second, later once a minute. Nothing in the data's path waits for one.

use std::time::Duration;

use engine::{Action, Content, StoreOutcome, Transport};
use shared::wire::Message;

use crate::wire::{Script, requests};
use crate::world::{BOTH_WAYS, Habits, Network, World, torrent};

/// How long a chain of three takes, of which all but the seeder have such timers: seeder, then two who also serve each
/// other.
fn takes(timers_every: Duration) -> Duration {
    let network = Network { rate: 2 << 20, ..Network::default() };
    let mut world = World::new(3, torrent(3, 16_000_000, 65_536), network);
    let hidden = Habits { ways: BOTH_WAYS, timers_every, ..Habits::default() };
    let info = world.torrent.info.raw().clone();
    let seeder = world.join(Content::Known { info, have: None }, hidden.clone());
    let leechers: Vec<_> = (0..2).map(|_| world.join(Content::Unknown, hidden.clone())).collect();
    let limit = Duration::from_secs(600);
    world.run_until(limit, |world| world.transports(seeder, leechers[0]) == [Transport::Direct]);
    assert!(world.now.as_duration() < Duration::from_secs(2), "the hand-over waited for a timer");
    world.complete(&leechers, limit);
    world.now.as_duration()
}

#[test]
fn tabs_whose_timers_fire_once_a_minute_transfer_as_fast_as_others() {
    let visible = takes(Duration::ZERO);
    for timers_every in [Duration::from_secs(1), Duration::from_secs(60)] {
        let hidden = takes(timers_every);
        let ratio = visible.as_secs_f64() / hidden.as_secs_f64();
        assert!(ratio > 0.95, "{hidden:?} with timers every {timers_every:?}, {visible:?} without");
    }
}

#[test]
fn the_last_piece_is_announced_at_once() {
    let mut script = Script::leeching(&torrent(1, 4 * 16_384, 16_384));
    let (source, other) = (script.stranger(1, true), script.stranger(2, true));
    script.say(other, &[Message::HaveNone]);
    script.say(source, &[Message::HaveNone, Message::Have(1), Message::Have(2), Message::Unchoke]);
    script.heard(other);
    let asked = requests(&script.heard(source));
    assert_eq!(asked.len(), 2);
    for (count, block) in asked.into_iter().enumerate() {
        script.give(source, block);
        for action in std::mem::take(&mut script.actions) {
            if let Action::VerifyAndStore { piece, .. } = action {
                script.tell(|session, now| session.handle_stored(now, piece, StoreOutcome::Stored));
            }
        }
        // The first waits for company, the second has no more to wait for.
        assert_eq!(script.heard(other).len(), count * 2);
    }
}
