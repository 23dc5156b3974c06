//! The info dictionary by its hash alone.

use std::time::Duration;

use bytes::Bytes;
use engine::{Action, CloseReason, Content, State};
use shared::metainfo::{Info, Layout};
use shared::wire::Message;
use shared::wire::extension::{ExtendedHandshake, METADATA_PIECE_LEN, MetadataMessage};

use crate::wire::Script;
use crate::world::{Network, Torrent, World, torrent};

/// A torrent whose info dictionary is longer than one metadata piece; the bytes themselves do not matter.
fn many_pieces() -> Torrent {
    let hashes = vec![[7; 20]; 3000];
    let info = Info::create("big", &Layout::Single(3000 << 16), 1 << 16, &hashes, false).unwrap();
    Torrent { info, content: Bytes::new() }
}

fn offer(size: u32) -> Message {
    let said =
        ExtendedHandshake { ut_metadata: Some(9), metadata_size: Some(size), ..ExtendedHandshake::default() };
    Message::Extended { id: 0, payload: said.encode() }
}

fn asked(messages: &[Message]) -> Vec<u32> {
    let extended = messages.iter().filter_map(|message| match message {
        Message::Extended { id: 9, payload } => MetadataMessage::decode(payload).unwrap(),
        _ => None,
    });
    extended
        .filter_map(
            |message| if let MetadataMessage::Request { piece } = message { Some(piece) } else { None },
        )
        .collect()
}

fn data(info: &[u8], piece: u32) -> Message {
    let begin = piece as usize * METADATA_PIECE_LEN;
    let data = Bytes::copy_from_slice(&info[begin..info.len().min(begin + METADATA_PIECE_LEN)]);
    let payload = MetadataMessage::Data { piece, total_size: info.len() as u32, data }.encode();
    Message::Extended { id: 1, payload }
}

#[test]
fn all_of_it_is_asked_for_as_soon_as_a_peer_offers_it() {
    let torrent = many_pieces();
    let raw = torrent.info.raw();
    let mut script = Script::new(&torrent, Content::Unknown);
    assert_eq!(script.session.state(), State::Metadata);
    let link = script.stranger(1, true);
    script.say(link, &[offer(raw.len() as u32)]);
    let pieces = asked(&script.heard(link));
    assert_eq!(pieces, [0, 1, 2, 3]);
    for piece in pieces {
        script.say(link, &[data(raw, piece)]);
    }
    assert_eq!(script.session.state(), State::Downloading);
    assert!(script.actions.iter().any(|action| matches!(action, Action::OpenStore { info } if info == raw)));
    // Which pieces are here is said as soon as the metadata is known.
    assert!(script.heard(link).contains(&Message::HaveNone));
}

#[test]
fn one_peer_with_bad_metadata_is_banned_and_another_asked() {
    let torrent = many_pieces();
    let raw = torrent.info.raw();
    let mut bad = raw.to_vec();
    bad[20_000] ^= 1;
    let mut script = Script::new(&torrent, Content::Unknown);
    let liar = script.stranger(1, true);
    script.say(liar, &[offer(raw.len() as u32)]);
    let honest = script.stranger(2, true);
    script.say(honest, &[offer(raw.len() as u32)]);
    for piece in asked(&script.heard(liar)) {
        script.say(liar, &[data(&bad, piece)]);
    }
    assert_eq!(script.close_reason(liar), Some(&CloseReason::BadData));
    assert_eq!(script.session.state(), State::Metadata);
    for piece in asked(&script.heard(honest)) {
        script.say(honest, &[data(raw, piece)]);
    }
    assert_eq!(script.session.state(), State::Downloading);
    // It does not come back.
    let again = script.link(3, Some(crate::wire::stranger_id(1)));
    assert_eq!(script.close_reason(again), Some(&CloseReason::BadData));
}

#[test]
fn when_several_spoiled_it_one_at_a_time_is_asked_until_the_liar_is_found() {
    let torrent = many_pieces();
    let raw = torrent.info.raw();
    let mut bad = raw.to_vec();
    bad[20_000] ^= 1; // in piece 1
    let mut script = Script::new(&torrent, Content::Unknown);
    let (liar, honest) = (script.stranger(1, true), script.stranger(2, true));
    script.say(liar, &[offer(raw.len() as u32)]);
    assert_eq!(asked(&script.heard(liar)).len(), 4);
    script.say(honest, &[offer(raw.len() as u32)]);
    script.wait(Duration::from_secs(3));
    assert_eq!(asked(&script.heard(honest)).len(), 4, "what is late is asked of others too");
    script.say(liar, &[data(&bad, 0), data(&bad, 1)]);
    script.say(honest, &[data(raw, 2), data(raw, 3)]);
    assert_eq!(script.session.state(), State::Metadata);
    script.assert_open(liar);
    script.assert_open(honest);
    for _ in 0..3 {
        for (link, info) in [(liar, &bad[..]), (honest, &raw[..])] {
            for piece in asked(&script.heard(link)) {
                script.say(link, &[data(info, piece)]);
            }
        }
    }
    assert_eq!(script.session.state(), State::Downloading);
    script.assert_open(honest);
}

#[test]
fn a_peer_that_is_silent_or_unwilling_is_replaced() {
    let torrent = many_pieces();
    let raw = torrent.info.raw();
    let mut script = Script::new(&torrent, Content::Unknown);
    let (silent, unwilling, willing) =
        (script.stranger(1, true), script.stranger(2, true), script.stranger(3, true));
    script.say(silent, &[offer(raw.len() as u32)]);
    script.say(unwilling, &[offer(raw.len() as u32)]);
    script.wait(Duration::from_secs(11));
    for piece in asked(&script.heard(unwilling)) {
        let payload = MetadataMessage::Reject { piece }.encode();
        script.say(unwilling, &[Message::Extended { id: 1, payload }]);
    }
    script.say(willing, &[offer(raw.len() as u32)]);
    script.wait(Duration::from_secs(3));
    for piece in asked(&script.heard(willing)) {
        script.say(willing, &[data(raw, piece)]);
    }
    assert_eq!(script.session.state(), State::Downloading);
}

#[test]
fn impossible_sizes_are_not_asked_for() {
    let torrent = many_pieces();
    let mut script = Script::new(&torrent, Content::Unknown);
    for (number, size) in [(1, 10_000_001), (2, u32::MAX), (3, 0)] {
        let link = script.stranger(number, true);
        script.say(link, &[offer(size)]);
        assert!(asked(&script.heard(link)).is_empty(), "{size}");
    }
}

#[test]
fn it_is_served_to_whoever_asks_but_not_without_end() {
    let torrent = many_pieces();
    let mut script = Script::seeding(&torrent);
    let link = script.own(1);
    script.heard(link);
    let ask = |piece| Message::Extended { id: 1, payload: MetadataMessage::Request { piece }.encode() };
    let mut info = Vec::new();
    for piece in 0..4 {
        script.say(link, &[ask(piece)]);
        let heard = script.heard(link);
        let [Message::Extended { id: 1, payload }] = &heard[..] else { panic!("{heard:?}") };
        let Ok(Some(MetadataMessage::Data { data, .. })) = MetadataMessage::decode(payload) else { panic!() };
        info.extend_from_slice(&data);
    }
    assert_eq!(&info, torrent.info.raw());
    for _ in 0..1000 {
        script.say(link, &[ask(0), ask(u32::MAX)]);
    }
    let bytes: usize = script.sends(link).iter().map(Bytes::len).sum();
    assert!(bytes < 4 * info.len() + 2000 * 60, "{bytes}");
    script.assert_open(link);
}

#[test]
fn what_peers_said_before_the_metadata_came_counts() {
    let torrent = torrent(1, 10 * 65_536, 65_536);
    let raw = torrent.info.raw();
    for (number, early, is_right) in [
        (1, Message::Bitfield(Bytes::from_static(&[0xff, 0xc0])), true),
        (2, Message::HaveAll, true),
        (3, Message::Have(9), true),
        (4, Message::Bitfield(Bytes::from_static(&[0xff, 0xff])), false),
        (5, Message::Bitfield(Bytes::from_static(&[0xff])), false),
        (6, Message::Have(10), false),
    ] {
        let mut script = Script::new(&torrent, Content::Unknown);
        let link = script.stranger(number, true);
        script.say(link, std::slice::from_ref(&early));
        let teller = script.stranger(99, true);
        script.say(teller, &[offer(raw.len() as u32)]);
        script.say(teller, &[data(raw, 0)]);
        assert_eq!(script.session.state(), State::Downloading);
        if is_right {
            assert!(script.heard(link).contains(&Message::Interested), "{early:?}");
        } else {
            script.assert_protocol_close(link);
        }
    }
}

#[test]
fn those_who_look_for_it_too_are_told_when_it_has_come() {
    let torrent = torrent(1, 100_000, 65_536);
    let raw = torrent.info.raw();
    let mut script = Script::new(&torrent, Content::Unknown);
    let seeker = script.own(1);
    let sizes = |messages: Vec<Message>| -> Vec<Option<u32>> {
        let said = messages.into_iter().filter_map(|message| match message {
            Message::Extended { id: 0, payload } => Some(ExtendedHandshake::decode(&payload).unwrap()),
            _ => None,
        });
        said.map(|said| said.metadata_size).collect()
    };
    assert_eq!(sizes(script.heard(seeker)), [None]);
    let source = script.stranger(2, true);
    script.say(source, &[offer(raw.len() as u32)]);
    script.say(source, &[data(raw, 0)]);
    assert_eq!(sizes(script.heard(seeker)), [Some(raw.len() as u32)]);
    // And who says it anew is asked.
    let mut script = Script::new(&torrent, Content::Unknown);
    let link = script.own(1);
    script.heard(link);
    script.say(link, &[offer(raw.len() as u32)]);
    assert_eq!(asked(&script.heard(link)), [0]);
}

#[test]
fn downloaders_give_the_metadata_on() {
    let mut world =
        World::new(1, torrent(1, 4_000_000, 65_536), Network { rate: 200_000, ..Network::default() });
    let seeder = world.seeder();
    let first = world.leecher();
    world.run_until(Duration::from_secs(60), |world| {
        world.nodes[first].session.have().is_some_and(|have| !have.is_none())
    });
    world.leave(seeder);
    let second = world.leecher();
    world.run_until(Duration::from_secs(60), |world| {
        world.nodes[second].session.have().is_some_and(|have| !have.is_none())
    });
}
