//! What the user wants of a torrent: some of its files, some of them first, in order, or by a time.

use std::time::Duration;

use engine::{Content, Notice, Priority, State};
use fastrand::Rng;
use sha1::{Digest, Sha1};
use shared::metainfo::{Info, Layout};
use shared::wire::Message;

use crate::blocks::Server;
use crate::wire::{Script, requests};
use crate::world::{Habits, Network, Torrent, World, torrent};

const LIMIT: Duration = Duration::from_secs(600);
const PIECE: usize = 65_536;

/// A folder of three files, of 20 pieces, 20 pieces and a half, and 20 pieces.
pub(crate) fn folder() -> Torrent {
    let lengths = [20 * PIECE, 20 * PIECE + PIECE / 2, 20 * PIECE];
    let mut content = vec![0; lengths.iter().sum()];
    Rng::with_seed(1).fill(&mut content);
    let hashes: Vec<[u8; 20]> = content.chunks(PIECE).map(|piece| Sha1::digest(piece).into()).collect();
    let files = lengths.iter().enumerate().map(|(n, len)| (vec![format!("{n}")], *len as u64)).collect();
    let info = Info::create("folder", &Layout::Folder(files), PIECE as u32, &hashes, false).unwrap();
    Torrent { info, content: content.into() }
}

/// A node that knows the metadata and has nothing else.
pub(crate) fn informed(world: &mut World) -> usize {
    let have = Some(vec![false; world.torrent.info.geometry().piece_count() as usize]);
    let info = world.torrent.info.raw().clone();
    world.join(Content::Known { info, have }, Habits::default())
}

/// How many of these pieces a node has.
fn had(world: &World, node: usize, pieces: std::ops::Range<u32>) -> usize {
    let geometry = world.torrent.info.geometry();
    let have = world.nodes[node].session.have().unwrap();
    pieces.filter(|index| have.has(geometry.piece(*index).unwrap())).count()
}

pub(crate) fn set(world: &mut World, node: usize, file: usize, priority: Priority) {
    world.tell(node, |session, now| assert!(session.set_file_priority(now, file, priority)));
}

#[test]
fn a_file_that_is_skipped_is_not_fetched_until_it_is_wanted() {
    let mut world = World::new(1, folder(), Network::default());
    world.seeder();
    let leecher = informed(&mut world);
    set(&mut world, leecher, 1, Priority::Skip);
    world.run_until(LIMIT, |world| world.nodes[leecher].session.state() == State::Seeding);
    // The piece in which it ends begins the third file.
    assert_eq!(had(&world, leecher, 20..40), 0);
    assert_eq!([had(&world, leecher, 0..20), had(&world, leecher, 40..61)], [20, 21]);
    let completed =
        |world: &World| world.nodes[leecher].notices.iter().filter(|n| **n == Notice::Completed).count();
    assert_eq!(completed(&world), 1);
    assert_eq!(world.nodes[leecher].session.left(), Some(20 * PIECE as u64));
    world.run_for(Duration::from_secs(20));
    assert_eq!(had(&world, leecher, 20..40), 0);
    set(&mut world, leecher, 1, Priority::Normal);
    assert_eq!(world.nodes[leecher].session.state(), State::Downloading);
    world.complete(&[leecher], LIMIT);
    assert_eq!(completed(&world), 2);
}

#[test]
fn what_is_skipped_while_it_comes_is_cancelled() {
    let torrent = folder();
    let mut script = Script::leeching(&torrent);
    let link = script.stranger(1, true);
    script.say(link, &[Message::HaveAll, Message::Unchoke]);
    let asked = requests(&script.heard(link));
    for file in 0..3 {
        script.tell(|session, now| assert!(session.set_file_priority(now, file, Priority::Skip)));
    }
    let heard = script.heard(link);
    assert!(asked.iter().all(|block| heard.contains(&Message::Cancel(*block))), "{heard:?}");
    assert!(heard.contains(&Message::NotInterested));
    assert_eq!(script.session.state(), State::Seeding);
    script.tell(|session, now| assert!(!session.set_file_priority(now, 3, Priority::Skip)));
    assert_eq!(script.session.file_priority(2), Some(Priority::Skip));
    assert_eq!(script.session.file_priority(3), None);
}

#[test]
fn a_file_of_high_priority_comes_first() {
    let mut world = World::new(1, folder(), Network { rate: 500_000, ..Network::default() });
    world.seeder();
    world.seeder();
    let leecher = informed(&mut world);
    set(&mut world, leecher, 2, Priority::High);
    world.run_until(LIMIT, |world| had(world, leecher, 41..61) == 20);
    let others = had(&world, leecher, 0..40);
    assert!(others < 10, "{others} pieces came before");
    world.complete(&[leecher], LIMIT);
}

#[test]
fn in_sequential_mode_pieces_come_in_order_from_where_it_is_played() {
    let network = Network { rate: 500_000, ..Network::default() };
    let mut world = World::new(1, torrent(1, 128 * PIECE, PIECE as u32), network);
    (0..3).for_each(|_| {
        world.seeder();
    });
    let leecher = informed(&mut world);
    let from = 40 * PIECE as u64 + 1000;
    world.tell(leecher, |session, now| session.set_sequential(now, Some(from)));
    for share in [30, 50, 70] {
        world.run_until(LIMIT, |world| had(world, leecher, 0..128) >= share);
        let run = (41..128).find(|end| had(&world, leecher, 40..*end) < *end as usize - 40).unwrap() - 41;
        // What three peers owe at a time, eight pieces each, may be out of order.
        assert!(run as usize >= share - 24, "a run of {run} out of {share}");
    }
    // Then it is played from elsewhere.
    world.tell(leecher, |session, now| session.set_sequential(now, Some(0)));
    world.run_until(LIMIT, |world| had(world, leecher, 0..20) == 20);
    assert!(had(&world, leecher, 0..128) < 70 + 20 + 24);
    world.tell(leecher, |session, now| session.set_sequential(now, None));
    world.complete(&[leecher], LIMIT);
}

#[test]
fn what_is_due_soon_comes_first_and_is_asked_of_another_when_it_is_late() {
    for is_due in [true, false] {
        let torrent = torrent(1, 256 * PIECE, PIECE as u32);
        let mut script = Script::leeching(&torrent);
        let (slow, quick) = (script.stranger(1, true), script.stranger(2, true));
        // One has only piece 200, is asked for it, and lets us wait.
        script.say(slow, &[Message::Have(200), Message::Unchoke]);
        let owed = requests(&script.heard(slow));
        assert_eq!(owed.len(), 4);
        if is_due {
            let due = script.now + Duration::from_secs(3);
            let bytes = 200 * PIECE as u64..203 * PIECE as u64;
            script.tell(|session, now| session.set_deadline(now, bytes, due));
        }
        let mut quick = Server::new(&mut script, quick);
        let next = |index: u32| quick.owed.iter().any(|block| block.piece == index);
        assert_eq!(next(201) && next(202), is_due);
        let mut asked = Vec::new();
        for _ in 0..150 {
            quick.serve(&mut script, Duration::from_millis(10), 1);
            asked.extend(quick.owed.clone());
        }
        assert_eq!(owed.iter().all(|block| asked.contains(block)), is_due);
    }
}
