//! The store: slow, failing, and what it had or lost.

use std::time::Duration;

use bytes::Bytes;
use engine::{Action, Content, Notice, State, StoreOutcome};
use shared::wire::extension::ExtendedHandshake;
use shared::wire::{BlockRequest, Message};

use crate::wire::Script;
use crate::world::{Habits, Network, World, torrent};

const LIMIT: Duration = Duration::from_secs(600);

#[test]
fn a_slow_store_slows_the_download_and_memory_stays_bounded() {
    let network = Network { rate: 200 << 20, window: 8 << 20, ..Network::default() };
    let mut world = World::new(1, torrent(1, 96 << 20, 4 << 20), network);
    world.seeder();
    world.seeder();
    let leecher =
        world.join(Content::Unknown, Habits { store_time: Duration::from_millis(400), ..Habits::default() });
    world.complete(&[leecher], LIMIT);
    let node = &world.nodes[leecher];
    assert!(node.most_buffered <= 64 << 20, "{} bytes", node.most_buffered);
    assert!(node.most_storing <= 14, "{} pieces", node.most_storing);
    // The store was what it waited for.
    let took = world.now.as_duration().as_secs_f64();
    assert!((9.6..11.5).contains(&took), "{took} s");
}

#[test]
fn a_store_that_fails_stops_the_download_until_it_is_resumed() {
    let mut world = World::new(1, torrent(1, 2_000_000, 65_536), Network::default());
    world.seeder();
    let leecher = world.join(Content::Unknown, Habits { store_fails_after: Some(5), ..Habits::default() });
    world.run_for(Duration::from_secs(30));
    let node = &world.nodes[leecher];
    assert_eq!(node.session.state(), State::Error);
    let failures: Vec<_> =
        node.notices.iter().filter(|notice| matches!(notice, Notice::StoreFailed(_))).collect();
    assert_eq!(failures, [&Notice::StoreFailed("the disk is full".into())]);
    let before = node.session.downloaded();
    world.run_for(Duration::from_secs(30));
    assert_eq!(world.nodes[leecher].session.downloaded(), before, "it stands still");
    world.nodes[leecher].habits.store_fails_after = None;
    world.tell(leecher, |session, now| session.resume(now));
    world.complete(&[leecher], LIMIT);
}

#[test]
fn a_store_that_cannot_be_opened_is_asked_for_again_on_resume() {
    let torrent = torrent(1, 65_536, 65_536);
    let mut script = Script::new(&torrent, Content::Unknown);
    let link = script.stranger(1, true);
    let raw = torrent.info.raw().clone();
    let said = ExtendedHandshake {
        ut_metadata: Some(1),
        metadata_size: Some(raw.len() as u32),
        ..Default::default()
    };
    let data =
        shared::wire::extension::MetadataMessage::Data { piece: 0, total_size: raw.len() as u32, data: raw };
    script.say(
        link,
        &[Message::HaveAll, Message::Unchoke, Message::Extended { id: 0, payload: said.encode() }],
    );
    script.say(link, &[Message::Extended { id: 1, payload: data.encode() }]);
    // Blocks are asked for while the store is being opened.
    for block in crate::wire::requests(&script.heard(link)) {
        script.give(link, block);
    }
    let verified =
        |script: &Script| script.actions.iter().any(|action| matches!(action, Action::VerifyAndStore { .. }));
    let opens =
        |script: &Script| script.actions.iter().filter(|a| matches!(a, Action::OpenStore { .. })).count();
    assert_eq!(opens(&script), 1);
    assert!(!verified(&script));
    script.tell(|session, now| session.handle_store_failed(now, "no room".into()));
    assert_eq!(script.session.state(), State::Error);
    script.tell(|session, now| session.resume(now));
    assert_eq!(opens(&script), 2);
    assert!(!verified(&script));
    script.tell(|session, now| session.handle_store_opened(now, vec![false]));
    assert!(verified(&script), "the piece that had come is not lost");
    assert_eq!(script.session.state(), State::Downloading);
}

#[test]
fn a_store_that_has_everything_already_ends_the_download() {
    let torrent = torrent(1, 1_000_000, 65_536);
    let mut world = World::new(1, torrent, Network { rate: 100_000, ..Network::default() });
    let seeder = world.seeder();
    let leecher = world.leecher();
    world.fill_store(leecher);
    world.complete(&[leecher], LIMIT);
    assert!(world.nodes[seeder].session.uploaded() < 800_000);
}

#[test]
fn a_piece_that_cannot_be_read_any_more_is_rejected_and_counts_as_missing() {
    let torrent = torrent(1, 4 * 65_536, 65_536);
    let mut script = Script::seeding(&torrent);
    let link = script.own(1);
    script.say(link, &[Message::HaveNone, Message::Interested]);
    let block = BlockRequest { piece: 2, begin: 0, len: 65_536 };
    script.say(link, &[Message::Request(block)]);
    let load = script.actions.iter().find_map(|action| match action {
        Action::Load { load, .. } => Some(*load),
        _ => None,
    });
    script.heard(link);
    script.tell(|session, now| session.handle_loaded(now, load.unwrap(), None));
    let heard = script.heard(link);
    let [Message::RejectRequest(rejected), Message::Extended { id: 0, payload }] = &heard[..] else {
        panic!("{heard:?}")
    };
    assert_eq!(*rejected, block);
    // A seeder that is none any more takes that back (BEP 21).
    assert_eq!(ExtendedHandshake::decode(payload).unwrap().upload_only, Some(false));
    assert_eq!(script.session.have().unwrap().count(), 3);
    assert_eq!(script.session.state(), State::Downloading);
    assert_eq!(script.session.left(), Some(65_536));
}

#[test]
fn answers_about_unknown_pieces_and_loads_are_ignored() {
    let torrent = torrent(1, 4 * 65_536, 65_536);
    let mut script = Script::leeching(&torrent);
    let piece = torrent.info.geometry().piece(1).unwrap();
    for outcome in [StoreOutcome::Stored, StoreOutcome::HashMismatch, StoreOutcome::Failed("?".into())] {
        script.tell(|session, now| session.handle_stored(now, piece, outcome));
    }
    script.tell(|session, now| session.handle_loaded(now, engine::LoadId(77), None));
    script.tell(|session, now| session.handle_store_opened(now, vec![true; 4]));
    script.tell(|session, now| session.handle_store_failed(now, "?".into()));
    assert_eq!(script.session.state(), State::Downloading);
    assert_eq!(script.session.have().unwrap().count(), 0);
}

#[test]
fn loads_run_ahead_of_the_blocks_that_are_sent() {
    let torrent = torrent(1, 8 << 20, 4 << 20);
    let mut script = Script::seeding(&torrent);
    let link = script.own(1);
    script.say(link, &[Message::HaveNone, Message::Interested]);
    script.tell(|session, now| session.handle_room(now, link, 0));
    let ask: Vec<_> =
        (0..32).map(|n| Message::Request(BlockRequest { piece: 0, begin: n << 17, len: 1 << 17 })).collect();
    script.say(link, &ask);
    let loads: Vec<_> = script
        .actions
        .drain(..)
        .filter_map(|action| match action {
            Action::Load { load, span } => Some((load, span)),
            _ => None,
        })
        .collect();
    assert_eq!(
        loads.iter().map(|(_, span)| (span.begin(), span.len())).collect::<Vec<_>>(),
        [0, 1, 2, 3].map(|n| (n * (512 << 10), 512 << 10))
    );
    for (load, span) in loads {
        let range = torrent.info.geometry().absolute(span);
        let data = torrent.content.slice(range.start as usize..range.end as usize);
        script.tell(|session, now| session.handle_loaded(now, load, Some(data)));
    }
    script.heard(link);
    // Sent only while there is room, a block and its header at once.
    script.tell(|session, now| session.handle_room(now, link, 1));
    let sends = script.sends(link);
    assert_eq!(sends.iter().map(Bytes::len).collect::<Vec<_>>(), [(128 << 10) + 13]);
    script.tell(|session, now| session.handle_room(now, link, 1 << 20));
    assert_eq!(script.sends(link).len(), 8);
    assert!(
        script
            .actions
            .iter()
            .any(|action| matches!(action, Action::Load { span, .. } if span.begin() == 2 << 20))
    );
}
