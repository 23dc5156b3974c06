//! Who has all that it wants says so (BEP 21), complete or not.

use std::time::Duration;

use engine::{Action, Content, Priority, State};
use shared::wire::extension::{ExtendedHandshake, HANDSHAKE_ID};
use shared::wire::{BlockRequest, Message};

use crate::wanting::{folder, informed, set};
use crate::wire::{Script, stranger_id};
use crate::world::{Network, World};

/// What it has said of itself in extended handshakes, in order.
fn said(heard: &[Message]) -> Vec<Option<bool>> {
    let handshakes = heard.iter().filter_map(|message| match message {
        Message::Extended { id: HANDSHAKE_ID, payload } => ExtendedHandshake::decode(payload).ok(),
        _ => None,
    });
    handshakes.map(|handshake| handshake.upload_only).collect()
}

/// A message that says whether the sender wants anything.
fn upload_only(yes: bool) -> Message {
    let payload = ExtendedHandshake { upload_only: Some(yes), ..ExtendedHandshake::default() }.encode();
    Message::Extended { id: HANDSHAKE_ID, payload }
}

#[test]
fn a_session_that_wants_nothing_more_says_so_and_takes_it_back() {
    let torrent = folder();
    let mut script = Script::leeching(&torrent);
    let link = script.stranger(1, true);
    assert_eq!(said(&script.heard(link)), [None]);
    for (priority, expected) in [(Priority::Skip, true), (Priority::Normal, false)] {
        for file in 0..3 {
            script.tell(|session, now| assert!(session.set_file_priority(now, file, priority)));
        }
        assert_eq!(said(&script.heard(link)), [Some(expected)]);
    }
    let mut seeder = Script::seeding(&torrent);
    let link = seeder.stranger(1, true);
    assert_eq!(said(&seeder.heard(link)), [Some(true)]);
    // A piece turns out to be gone: it is wanted again.
    seeder.say(link, &[Message::HaveNone, Message::Interested]);
    seeder.wait(Duration::from_secs(11));
    seeder.say(link, &[Message::Request(BlockRequest { piece: 0, begin: 0, len: 16_384 })]);
    let load = seeder.actions.iter().find_map(|action| match action {
        Action::Load { load, .. } => Some(*load),
        _ => None,
    });
    seeder.tell(|session, now| session.handle_loaded(now, load.unwrap(), None));
    assert_eq!(said(&seeder.heard(link)), [Some(false)]);
}

#[test]
fn who_wants_nothing_is_not_served_until_it_asks_to_be() {
    let torrent = folder();
    let mut script = Script::leeching(&torrent);
    let links: Vec<_> = (0..9).map(|n| script.stranger(n, true)).collect();
    for link in &links {
        script.say(*link, &[Message::HaveNone, Message::Interested]);
    }
    // It says so without having said that it is not interested.
    script.say(links[0], &[upload_only(true)]);
    script.wait(Duration::from_secs(60));
    let is_choked = |script: &Script, number: u64| {
        let peers = script.session.snapshot(script.now).peers;
        let id = stranger_id(number).to_string();
        peers.iter().find(|peer| peer.id == id).is_some_and(|peer| peer.am_choking)
    };
    assert_eq!(
        (0..9).filter(|n| is_choked(&script, *n)).collect::<Vec<_>>(),
        [0],
        "eight slots for the others"
    );
    script.say(links[1], &[Message::NotInterested]);
    script.say(links[0], &[upload_only(false), Message::Interested]);
    script.wait(Duration::from_secs(60));
    assert_eq!((0..9).filter(|n| is_choked(&script, *n)).collect::<Vec<_>>(), [1]);
}

#[test]
fn two_who_want_nothing_part_and_find_each_other_again_when_one_does() {
    let mut world = World::new(1, folder(), Network::default());
    let info = world.torrent.info.raw().clone();
    world.join(Content::Known { info, have: None }, crate::world::Habits::default());
    let leecher = informed(&mut world);
    set(&mut world, leecher, 1, Priority::Skip);
    world.run_until(Duration::from_secs(60), |world| world.nodes[leecher].session.state() == State::Seeding);
    world.run_for(Duration::from_secs(20));
    let links = |world: &World| world.nodes[leecher].session.snapshot(world.now).peers.len();
    assert_eq!(links(&world), 0);
    // And they stay apart.
    let closed = world.nodes[leecher].closed.len();
    world.run_for(Duration::from_secs(60));
    assert_eq!(world.nodes[leecher].closed.len(), closed);
    set(&mut world, leecher, 1, Priority::Normal);
    world.complete(&[leecher], Duration::from_secs(30));
}
