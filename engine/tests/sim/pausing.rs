//! Pause and resume.

use std::time::Duration;

use engine::State;
use shared::wire::Message;

use crate::wire::{Script, requests};
use crate::world::{Network, World, torrent};

#[test]
fn pausing_closes_every_link_and_resuming_goes_on_from_the_verified_pieces() {
    let mut world =
        World::new(1, torrent(1, 4_000_000, 65_536), Network { rate: 1 << 20, ..Network::default() });
    let seeder = world.seeder();
    let leecher = world.leecher();
    let count = |world: &World| world.nodes[leecher].session.have().map_or(0, |have| have.count());
    world.run_until(Duration::from_secs(60), |world| count(world) > 10);
    world.tell(leecher, |session, now| session.pause(now));
    world.run_for(Duration::from_secs(1));
    let at_pause = count(&world);
    world.run_for(Duration::from_secs(120));
    assert_eq!(count(&world), at_pause);
    assert_eq!(world.nodes[leecher].session.state(), State::Paused);
    assert_eq!(world.nodes[leecher].session.buffered(), 0);
    assert!(world.nodes[seeder].session.snapshot(world.now).peers.is_empty());
    world.tell(leecher, |session, now| session.resume(now));
    world.announce(leecher, Duration::from_millis(10));
    world.complete(&[leecher], Duration::from_secs(60));
    assert!(world.nodes[leecher].session.downloaded() < 5_500_000);
}

#[test]
fn a_paused_torrent_takes_no_links() {
    let mut script = Script::leeching(&torrent(1, 100_000, 65_536));
    let before = script.stranger(1, true);
    script.tell(|session, now| session.pause(now));
    script.assert_takes_no_links(before);
    assert_eq!(script.session.deadline(), None);
}

#[test]
fn a_piece_that_was_being_stored_when_paused_is_not_lost() {
    let mut script = Script::leeching(&torrent(1, 16_384, 16_384));
    let link = script.stranger(1, true);
    script.say(link, &[Message::HaveAll, Message::Unchoke]);
    let block = requests(&script.heard(link))[0];
    script.say(link, &[Message::Piece { piece: 0, begin: 0, data: vec![0; block.len as usize].into() }]);
    script.tell(|session, now| session.pause(now));
    let Some(engine::Action::VerifyAndStore { piece, .. }) = script.actions.pop() else { panic!() };
    script.tell(|session, now| session.handle_stored(now, piece, engine::StoreOutcome::Stored));
    assert_eq!(script.session.state(), State::Paused);
    script.tell(|session, now| session.resume(now));
    assert_eq!(script.session.state(), State::Seeding);
}
