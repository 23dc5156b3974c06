//! Whatever a peer says can end its own link, and nothing else.

use bytes::{BufMut, Bytes, BytesMut};
use engine::{Content, LinkId, State};
use proptest::prelude::*;
use shared::wire::extension::{ExtendedHandshake, MetadataMessage};
use shared::wire::{BlockRequest, Handshake, Message};
use shared::{InfoHash, PeerId};

use crate::wire::{Script, requests};
use crate::world::{Torrent, torrent};

fn ten_pieces() -> Torrent {
    torrent(1, 10 * 65_536, 65_536)
}

/// Says these to a session that another, well-behaved peer is linked to; only the first link must end.
fn breaks_the_protocol(content: fn(&Torrent) -> Script, fast: bool, messages: &[Message]) {
    let mut script = content(&ten_pieces());
    let good = script.stranger(2, true);
    script.say(good, &[Message::HaveAll]);
    let bad = script.stranger(1, fast);
    script.say(bad, messages);
    script.assert_protocol_close(bad);
    script.assert_open(good);
    assert_eq!(script.session.snapshot(script.now).peers.len(), 1, "{messages:?}");
}

#[test]
fn claims_and_requests_that_cannot_be_end_the_link() {
    let block = |piece, begin, len| Message::Request(BlockRequest { piece, begin, len });
    for messages in [
        vec![Message::HaveNone, Message::Have(10)],
        vec![Message::Have(u32::MAX)],
        vec![Message::Bitfield(Bytes::from_static(&[0xff]))],
        vec![Message::Bitfield(Bytes::from_static(&[0xff, 0xff, 0xff]))],
        vec![Message::Bitfield(Bytes::from_static(&[0xff, 0xe0]))],
        vec![Message::HaveAll, Message::HaveNone],
        vec![Message::HaveAll, Message::Bitfield(Bytes::from_static(&[0, 0]))],
        vec![block(10, 0, 16_384)],
        vec![block(0, 65_536, 1)],
        vec![block(0, 1, 65_536)],
        vec![block(0, 0, 0)],
        vec![block(0, u32::MAX, 2)],
        vec![block(0, 0, 131_073)],
        vec![Message::Extended { id: 0, payload: Bytes::from_static(b"nonsense") }],
        vec![Message::Extended { id: 1, payload: Bytes::from_static(b"d8:msg_typei7") }],
        vec![Message::Extended { id: 2, payload: Bytes::from_static(b"\0") }],
        vec![Message::Extended { id: 2, payload: Bytes::from_static(&[0, 0, 0, 10]) }],
    ] {
        breaks_the_protocol(Script::seeding, true, &messages);
        breaks_the_protocol(Script::leeching, true, &messages);
    }
}

#[test]
fn the_fast_extension_is_for_those_who_announced_it() {
    let block = BlockRequest { piece: 0, begin: 0, len: 16_384 };
    for message in [
        Message::HaveAll,
        Message::HaveNone,
        Message::SuggestPiece(0),
        Message::AllowedFast(0),
        Message::RejectRequest(block),
    ] {
        breaks_the_protocol(Script::seeding, false, &[message]);
    }
    // And it is not used to those who did not.
    let mut script = Script::seeding(&ten_pieces());
    let link = script.stranger(1, false);
    assert!(script.heard(link).contains(&Message::Bitfield(Bytes::from_static(&[0xff, 0xc0]))));
    script.say(link, &[Message::Request(block)]);
    assert!(script.heard(link).is_empty(), "a choked peer's request is dropped, not rejected");
    script.assert_open(link);
}

#[test]
fn handshakes_that_do_not_fit_end_the_link() {
    let torrent = ten_pieces();
    let shake = |info_hash, peer_id| Handshake { info_hash, peer_id, extended: true, fast: true }.encode();
    let right = torrent.info.info_hash();
    let id = crate::wire::stranger_id(1);

    let mut script = Script::seeding(&torrent);
    let link = script.link(1, None);
    script.say_bytes(link, &shake(InfoHash::new([0; 20]), id));
    script.assert_protocol_close(link);

    let link = script.link(2, Some(id));
    script.say_bytes(link, &shake(right, PeerId::new([9; 20])));
    script.assert_protocol_close(link);

    let link = script.link(3, None);
    script.say_bytes(link, b"GET / HTTP/1.1\r\n");
    script.assert_protocol_close(link);

    // A second handshake is a message of 0x13426974 bytes.
    let link = script.link(4, None);
    script.say_bytes(link, &shake(right, id));
    script.say_bytes(link, &shake(right, id));
    script.assert_protocol_close(link);
}

#[test]
fn blocks_nobody_asked_for_are_forgiven_but_not_without_end() {
    let mut script = Script::leeching(&ten_pieces());
    let link = script.stranger(1, true);
    script.say(link, &[Message::HaveAll]);
    let block = |begin| Message::Piece { piece: 0, begin, data: vec![0; 1000].into() };
    for _ in 0..100 {
        script.say(link, &[block(0), block(u32::MAX)]);
    }
    script.assert_open(link);
    assert_eq!(script.session.downloaded(), 200_000);
    for _ in 0..100 {
        script.say(link, &[block(0)]);
    }
    script.assert_protocol_close(link);
    assert_eq!(script.session.buffered(), 0);
}

#[test]
fn a_peer_that_asks_and_never_reads_is_hung_up_on() {
    let mut script = Script::seeding(&ten_pieces());
    let link = script.stranger(1, true);
    script.tell(|session, now| session.handle_room(now, link, 0));
    let block = BlockRequest { piece: 0, begin: 0, len: 16_384 };
    let flood = vec![Message::Request(block); 10_000];
    for _ in 0..20 {
        script.say(link, &flood);
        script.assert_open(link);
    }
    for _ in 0..10 {
        script.say(link, &flood);
    }
    script.assert_protocol_close(link);
}

#[test]
fn events_about_unknown_links_are_ignored() {
    let mut script = Script::seeding(&ten_pieces());
    let link = LinkId(404);
    script.tell(|session, now| {
        session.handle_bytes(now, link, Bytes::from_static(b"hello"));
        session.handle_room(now, link, 1000);
        session.handle_link_closed(now, link);
        session.handle_dial_failed(now, PeerId::new([1; 20]));
        session.handle_timeout(now);
    });
    assert!(script.closed.is_empty() && script.actions.is_empty());
    assert_eq!(script.session.state(), State::Seeding);
}

fn any_message() -> impl Strategy<Value = Message> {
    let index = prop_oneof![0u32..12, any::<u32>()];
    let offset = prop_oneof![(0u32..5).prop_map(|n| n * 16_384), any::<u32>()];
    let len = prop_oneof![Just(16_384u32), Just(65_536), any::<u32>()];
    let block = (index.clone(), offset.clone(), len).prop_map(|(piece, begin, len)| BlockRequest {
        piece,
        begin,
        len,
    });
    let bytes = proptest::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from);
    prop_oneof![
        Just(Message::KeepAlive),
        Just(Message::Choke),
        Just(Message::Unchoke),
        Just(Message::Interested),
        Just(Message::NotInterested),
        Just(Message::HaveAll),
        Just(Message::HaveNone),
        (0u32..10).prop_map(Message::Have),
        index.clone().prop_map(Message::Have),
        proptest::collection::vec(any::<u8>(), 2).prop_map(|mut bits| {
            bits[1] &= 0xc0;
            Message::Bitfield(bits.into())
        }),
        block.clone().prop_map(Message::Request),
        block.clone().prop_map(Message::Cancel),
        block.prop_map(Message::RejectRequest),
        (0u32..10, offset).prop_map(|(piece, begin)| Message::Piece {
            piece,
            begin,
            data: vec![0; 16_384].into()
        }),
        index.prop_map(Message::AllowedFast),
        (0u8..4, bytes).prop_map(|(id, payload)| Message::Extended { id, payload }),
        (0u32..3, 0u32..200_000).prop_map(|(piece, size)| {
            let said = ExtendedHandshake {
                ut_metadata: Some(1 + (piece as u8)),
                metadata_size: Some(size),
                block: Some(131_072),
                ..Default::default()
            };
            Message::Extended { id: 0, payload: said.encode() }
        }),
        (0u32..13, 1u32..200_000).prop_map(|(piece, total_size)| {
            let data = vec![b'x'; (total_size as usize).min(16_384)].into();
            Message::Extended { id: 1, payload: MetadataMessage::Data { piece, total_size, data }.encode() }
        }),
        (0u32..4).prop_map(|piece| Message::Extended {
            id: 1,
            payload: MetadataMessage::Request { piece }.encode()
        }),
    ]
}

fn scripts(kind: u8) -> Script {
    let torrent = ten_pieces();
    match kind {
        0 => Script::seeding(&torrent),
        1 => Script::leeching(&torrent),
        _ => Script::new(&torrent, Content::Unknown),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_bytes_never_panic(kind in 0u8..3, shaken: bool, bytes: Vec<u8>, cut in 1usize..50) {
        let mut script = scripts(kind);
        let link = if shaken { script.stranger(1, true) } else { script.link(1, None) };
        for chunk in bytes.chunks(cut) {
            script.say_bytes(link, chunk);
        }
        script.wait(std::time::Duration::from_secs(3));
    }

    #[test]
    fn any_messages_in_any_order_never_panic(
        kind in 0u8..3,
        fast: bool,
        messages in proptest::collection::vec((0u64..3, any_message(), 0u64..40), 0..60),
        answer in 0u8..3,
    ) {
        let mut script = scripts(kind);
        let links: Vec<_> = (0..3).map(|n| script.stranger(n, fast || n > 0)).collect();
        for (link, message, seconds) in messages {
            script.say(links[link as usize], &[message]);
            // Now and then somebody answers what was asked.
            for link in &links {
                for block in requests(&script.heard(*link)).into_iter().step_by(2) {
                    script.give(*link, block);
                }
            }
            for action in std::mem::take(&mut script.actions) {
                script.tell(|session, now| match action {
                    engine::Action::VerifyAndStore { piece, .. } => {
                        let outcome = match answer {
                            0 => engine::StoreOutcome::Stored,
                            1 => engine::StoreOutcome::HashMismatch,
                            _ => engine::StoreOutcome::Failed("full".into()),
                        };
                        session.handle_stored(now, piece, outcome);
                    }
                    engine::Action::Load { load, span } => {
                        let data = (answer == 0).then(|| Bytes::from(vec![0; span.len() as usize]));
                        session.handle_loaded(now, load, data);
                    }
                    _ => {}
                });
            }
            script.wait(std::time::Duration::from_secs(seconds));
        }
        script.tell(|session, now| session.pause(now));
        prop_assert!(script.session.snapshot(script.now).peers.is_empty());
        script.tell(|session, now| session.resume(now));
    }

    #[test]
    fn perturbed_streams_never_panic(
        kind in 0u8..3,
        messages in proptest::collection::vec(any_message(), 1..20),
        changes in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..5),
    ) {
        let mut script = scripts(kind);
        let link = script.stranger(1, true);
        let mut stream = BytesMut::new();
        messages.iter().for_each(|message| message.encode(&mut stream));
        stream.put_u8(0);
        for (at, value) in changes {
            let len = stream.len();
            stream[at % len] = value;
        }
        for chunk in stream.chunks(5000) {
            script.say_bytes(link, chunk);
        }
    }
}
