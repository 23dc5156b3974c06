//! What is here is compared with its hashes once more.

use std::time::Duration;

use engine::{Action, Content, Notice, State, StoreOutcome};
use shared::PieceIndex;
use shared::wire::{Bitfield, BlockRequest, Message};

use crate::wire::{Script, requests};
use crate::world::{Habits, Network, Torrent, World, torrent};

const PIECE: u32 = 65_536;
const LIMIT: Duration = Duration::from_secs(60);

fn four_pieces() -> Torrent {
    torrent(1, 4 * PIECE as usize, PIECE)
}

/// The pieces that are to be read, in order.
fn asked(script: &mut Script) -> Vec<PieceIndex> {
    let checks = std::mem::take(&mut script.actions).into_iter();
    checks
        .filter_map(|action| if let Action::Check { piece, .. } = action { Some(piece) } else { None })
        .collect()
}

fn check(script: &mut Script) -> Vec<PieceIndex> {
    script.tell(|session, now| assert!(session.check(now)));
    asked(script)
}

/// What a check that has ended found missing.
fn found_wrong(script: &mut Script) -> Vec<u32> {
    let notices = std::mem::take(&mut script.actions).into_iter();
    notices
        .filter_map(|action| match action {
            Action::Notice(Notice::Checked { wrong }) => Some(wrong),
            _ => None,
        })
        .collect()
}

#[test]
fn damaged_pieces_are_found_fetched_again_and_never_given_to_anybody() {
    for (seed, complete) in [(1, true), (2, false)] {
        let mut world = World::new(
            seed,
            torrent(seed, 4_000_000, PIECE),
            Network { rate: 1 << 20, ..Network::default() },
        );
        let seeder = world.seeder();
        let damaged = world.leecher();
        let count = |world: &World| world.nodes[damaged].session.have().map_or(0, |have| have.count());
        world.run_until(LIMIT, |world| if complete { world.has_all(damaged) } else { count(world) > 20 });
        let stored: Vec<u32> = {
            let have = world.nodes[damaged].session.have().unwrap();
            let pieces = world.torrent.info.geometry().pieces();
            pieces.filter(|piece| have.has(*piece)).map(PieceIndex::as_u32).take(3).collect()
        };
        stored.iter().for_each(|piece| world.damage(damaged, *piece));
        world.tell(damaged, |session, now| assert!(session.check(now)));
        assert_eq!(world.nodes[damaged].session.state(), State::Hashing);
        world.run_until(LIMIT, |world| world.nodes[damaged].session.state() != State::Hashing);
        assert!(world.nodes[damaged].notices.contains(&Notice::Checked { wrong: 3 }), "seed {seed}");
        let have = world.nodes[damaged].session.have().unwrap();
        assert!(stored.iter().all(|piece| !have.has(world.torrent.info.geometry().piece(*piece).unwrap())));
        world.announce(damaged, Duration::from_millis(10));
        world.complete(&[damaged], LIMIT);
        // Whoever can ask it alone gets nothing but what is right.
        world.leave(seeder);
        let third = world.leecher();
        world.complete(&[third], LIMIT);
        let told = |notice: &Notice| matches!(notice, Notice::Banned { .. } | Notice::HashMismatch { .. });
        assert!(!world.nodes[third].notices.iter().any(told), "seed {seed}");
    }
}

#[test]
fn it_is_linked_with_nobody_meanwhile_and_tells_whoever_links_afterwards_what_is_here_then() {
    let mut script = Script::seeding(&four_pieces());
    let before = script.stranger(1, true);
    script.say(before, &[Message::HaveNone, Message::Interested]);
    script.say(before, &[Message::Request(BlockRequest { piece: 0, begin: 0, len: 16_384 })]);
    let pieces = check(&mut script);
    assert_eq!(pieces.iter().map(|piece| piece.as_u32()).collect::<Vec<_>>(), [0, 1, 2, 3]);
    script.assert_takes_no_links(before);
    for (done, piece) in pieces.iter().enumerate() {
        let snapshot = script.session.snapshot(script.now);
        assert_eq!(
            (snapshot.state, snapshot.bytes.verified),
            (State::Hashing, done as u64 * u64::from(PIECE))
        );
        assert!(found_wrong(&mut script).is_empty());
        script.tell(|session, now| session.handle_checked(now, *piece, piece.as_u32() != 2));
    }
    assert!(script.actions.iter().any(|action| matches!(action, Action::Dial { .. })), "it goes on");
    assert_eq!(found_wrong(&mut script), [1]);
    assert_eq!((script.session.state(), script.session.left()), (State::Downloading, Some(u64::from(PIECE))));
    let after = script.stranger(4, true);
    let heard = script.heard(after);
    let mut have = Bitfield::all(4);
    have.remove(pieces[2]);
    assert!(heard.contains(&Message::Bitfield(have.to_wire())), "{heard:?}");
    script.say(after, &[Message::HaveAll, Message::Unchoke]);
    assert!(requests(&script.heard(after)).iter().all(|block| block.piece == 2));
}

#[test]
fn pieces_that_are_right_though_they_were_not_known_to_be_here_are_had() {
    let mut script = Script::leeching(&four_pieces());
    for piece in check(&mut script) {
        script.tell(|session, now| session.handle_checked(now, piece, true));
    }
    assert_eq!(script.session.state(), State::Seeding);
    assert!(script.actions.iter().any(|action| matches!(action, Action::Notice(Notice::Completed))));
    assert_eq!(found_wrong(&mut script), [0]);
}

#[test]
fn pausing_ends_a_check_and_what_it_found_stays_found() {
    let mut script = Script::seeding(&four_pieces());
    let pieces = check(&mut script);
    script.tell(|session, now| session.handle_checked(now, pieces[0], false));
    script.tell(|session, now| session.pause(now));
    assert_eq!(script.session.state(), State::Paused);
    // Answers that were on their way.
    script.tell(|session, now| session.handle_checked(now, pieces[1], false));
    assert_eq!(script.session.left(), Some(u64::from(PIECE)));
    assert!(found_wrong(&mut script).is_empty());
    script.tell(|session, now| session.resume(now));
    assert_eq!(script.session.state(), State::Downloading);
    // Another one begins at the beginning, and no answer counts twice.
    let again = check(&mut script);
    assert_eq!(again, pieces);
    for piece in [again[0], again[0], again[1], again[2]] {
        script.tell(|session, now| session.handle_checked(now, piece, true));
        assert_eq!(script.session.state(), State::Hashing);
    }
    script.tell(|session, now| session.handle_checked(now, again[3], true));
    assert_eq!(script.session.state(), State::Seeding);
}

#[test]
fn what_stands_still_is_checked_too_and_stands_still_afterwards() {
    let mut script = Script::seeding(&four_pieces());
    script.tell(|session, now| session.pause(now));
    let pieces = check(&mut script);
    assert!(script.session.is_paused());
    script.tell(|session, now| assert!(!session.check(now), "one at a time"));
    assert!(asked(&mut script).is_empty());
    for piece in pieces {
        script.tell(|session, now| session.handle_checked(now, piece, true));
    }
    assert_eq!(script.session.state(), State::Paused);
}

#[test]
fn no_more_is_read_at_a_time_than_memory_is_meant_for() {
    let torrent = torrent(1, 20 << 20, 1 << 20);
    let mut script = Script::seeding(&torrent);
    let mut reading = check(&mut script);
    let mut most = reading.len();
    while let Some(piece) = reading.pop() {
        script.tell(|session, now| session.handle_checked(now, piece, true));
        reading.extend(asked(&mut script));
        most = most.max(reading.len());
    }
    assert_eq!((most, script.session.state()), (4, State::Seeding));
}

#[test]
fn a_piece_that_is_just_being_stored_is_not_read_as_well() {
    let mut script = Script::leeching(&four_pieces());
    let link = script.stranger(1, true);
    script.say(link, &[Message::HaveAll, Message::Unchoke]);
    let mut first = None;
    let stored = loop {
        for block in requests(&script.heard(link)) {
            if block.piece == *first.get_or_insert(block.piece) {
                script.give(link, block);
            }
        }
        let verified = script.actions.drain(..).find_map(|action| match action {
            Action::VerifyAndStore { piece, .. } => Some(piece),
            _ => None,
        });
        if let Some(piece) = verified {
            break piece;
        }
    };
    let pieces = check(&mut script);
    assert!(pieces.len() == 3 && !pieces.contains(&stored), "{pieces:?}");
    script.tell(|session, now| session.handle_stored(now, stored, StoreOutcome::Stored));
    for piece in pieces {
        script.tell(|session, now| session.handle_checked(now, piece, false));
    }
    assert!(script.session.have().unwrap().has(stored));
    assert_eq!(found_wrong(&mut script), [0]);
}

#[test]
fn without_a_store_there_is_nothing_to_check() {
    let torrent = four_pieces();
    for content in [Content::Unknown, Content::Unopened { info: torrent.info.raw().clone() }] {
        let mut script = Script::new(&torrent, content);
        script.tell(|session, now| assert!(!session.is_open() && !session.check(now)));
        script.tell(|session, now| session.handle_store_failed(now, "no room".into()));
        assert!(!script.session.is_open());
    }
    let mut world = World::new(1, torrent, Network::default());
    world.seeder();
    let failed = world.join(Content::Unknown, Habits { store_fails_after: Some(0), ..Habits::default() });
    world.run_until(LIMIT, |world| world.nodes[failed].session.state() == State::Error);
    // It is open, and cannot be written to.
    world.tell(failed, |session, now| assert!(session.is_open() && !session.check(now)));
}
