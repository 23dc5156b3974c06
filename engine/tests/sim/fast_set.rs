//! What newcomers are allowed while they are choked, and what peers suggest to each other (BEP 6).

use std::collections::BTreeSet;
use std::time::Duration;

use engine::{Action, LinkId, StoreOutcome};
use shared::wire::{BlockRequest, Message};

use crate::wire::{Script, requests, stranger_id};
use crate::world::{Torrent, torrent};

const PIECE: u32 = 65_536;
const BLOCK: u32 = 16_384;
/// Of 64 pieces.
const SET: usize = 4;

fn many_pieces() -> Torrent {
    torrent(1, 64 * PIECE as usize, PIECE)
}

fn blocks(piece: u32) -> impl Iterator<Item = BlockRequest> {
    (0..PIECE / BLOCK).map(move |n| BlockRequest { piece, begin: n * BLOCK, len: BLOCK })
}

fn allowed(messages: &[Message]) -> Vec<u32> {
    let allowed =
        messages.iter().filter_map(|m| if let Message::AllowedFast(piece) = m { Some(*piece) } else { None });
    allowed.collect()
}

/// A newcomer that never says that it is interested, and so is choked for ever; and what it is allowed.
fn newcomer(script: &mut Script, number: u64) -> (LinkId, Vec<u32>) {
    let link = script.stranger(number, true);
    script.say(link, &[Message::HaveNone]);
    let set = allowed(&script.heard(link));
    (link, set)
}

/// Answers what was to be read; which pieces of it.
fn read(script: &mut Script) -> Vec<u32> {
    let mut pieces = Vec::new();
    for action in std::mem::take(&mut script.actions) {
        if let Action::Load { load, span } = action {
            pieces.push(span.piece().as_u32());
            let data = vec![0; span.len() as usize].into();
            script.tell(|session, now| session.handle_loaded(now, load, Some(data)));
        }
    }
    pieces
}

/// Asks for these; the bytes that come, and what is rejected.
fn take(
    script: &mut Script,
    link: LinkId,
    blocks: impl IntoIterator<Item = BlockRequest>,
) -> (u32, Vec<BlockRequest>) {
    let asked: Vec<_> = blocks.into_iter().map(Message::Request).collect();
    let (mut bytes, mut rejected) = (0, Vec::new());
    script.say(link, &asked);
    read(script);
    for message in script.heard(link) {
        match message {
            Message::Piece { data, .. } => bytes += data.len() as u32,
            Message::RejectRequest(block) => rejected.push(block),
            _ => {}
        }
    }
    (bytes, rejected)
}

#[test]
fn a_choked_newcomer_is_given_each_byte_of_its_set_once_and_everything_else_is_rejected() {
    let mut script = Script::seeding(&many_pieces());
    let (link, set) = newcomer(&mut script, 1);
    assert_eq!(set.len(), SET);
    let other = (0..64).find(|piece| !set.contains(piece)).unwrap();
    assert_eq!(take(&mut script, link, blocks(other)), (0, blocks(other).collect()));
    // What is taken back is not counted.
    script.tell(|session, now| session.handle_room(now, link, 0));
    let block = blocks(set[0]).next().unwrap();
    for _ in 0..100 {
        script.say(link, &[Message::Request(block), Message::Cancel(block)]);
        assert_eq!(script.heard(link), [Message::RejectRequest(block)]);
    }
    script.tell(|session, now| session.handle_room(now, link, 1 << 20));
    let all = || set.iter().copied().flat_map(blocks);
    assert_eq!(take(&mut script, link, all()), (SET as u32 * PIECE, Vec::new()));
    for _ in 0..100 {
        assert_eq!(take(&mut script, link, all()), (0, all().collect()));
    }
    script.assert_open(link);
}

#[test]
fn who_asks_for_one_allowed_piece_again_and_again_has_no_more_bytes_of_it_than_of_the_set() {
    let mut script = Script::seeding(&many_pieces());
    let (link, set) = newcomer(&mut script, 1);
    let taken: u32 = (0..100).map(|_| take(&mut script, link, blocks(set[0])).0).sum();
    assert_eq!(taken, SET as u32 * PIECE);
}

#[test]
fn who_has_as_many_pieces_as_a_set_is_no_newcomer() {
    let mut script = Script::seeding(&many_pieces());
    let (link, set) = newcomer(&mut script, 1);
    let got: Vec<_> = (0..64).filter(|piece| !set.contains(piece)).take(SET).map(Message::Have).collect();
    script.say(link, &got[..SET - 1]);
    assert_eq!(take(&mut script, link, blocks(set[0])).0, PIECE);
    script.say(link, &got[SET - 1..]);
    assert_eq!(take(&mut script, link, blocks(set[1])), (0, blocks(set[1]).collect()));
    let link = script.stranger(2, true);
    script.say(link, &[Message::Bitfield(vec![0xf0, 0, 0, 0, 0, 0, 0, 0].into())]);
    assert!(allowed(&script.heard(link)).is_empty());
}

#[test]
fn a_set_is_the_same_at_everybody_and_for_whoever_comes_again() {
    let torrent = many_pieces();
    let (mut one, mut other) = (Script::seeding(&torrent), Script::seeding(&torrent));
    let (link, set) = newcomer(&mut one, 1);
    assert_eq!(newcomer(&mut other, 1).1, set);
    assert_ne!(newcomer(&mut other, 2).1, set);
    one.tell(|session, now| session.handle_link_closed(now, link));
    let again = one.link(7, None);
    one.shake(again, stranger_id(1), true);
    one.say(again, &[Message::HaveNone]);
    assert_eq!(allowed(&one.heard(again)), set);
}

#[test]
fn however_many_newcomers_come_they_are_together_given_little() {
    let mut script = Script::seeding(&many_pieces());
    let coming: Vec<_> = (0..40).map(|n| newcomer(&mut script, n)).collect();
    // 8 MiB are set aside at most, 256 KiB for each.
    let sets: Vec<_> = coming.iter().map(|(_, set)| set.len()).collect();
    assert_eq!(sets, [[SET; 32].as_slice(), &[0; 8]].concat());
    let (first, set) = &coming[0];
    take(&mut script, *first, blocks(set[0]));
    script.tell(|session, now| session.handle_link_closed(now, *first));
    // What it did not take is there for the next.
    assert_eq!(newcomer(&mut script, 100).1.len(), SET - 1);
}

#[test]
fn nothing_is_allowed_in_a_small_torrent_nor_by_one_who_has_nothing_nor_by_a_first_seeder() {
    let mut script = Script::seeding(&torrent(1, 15 * PIECE as usize, PIECE));
    assert!(newcomer(&mut script, 1).1.is_empty());
    let mut script = Script::leeching(&many_pieces());
    assert!(newcomer(&mut script, 1).1.is_empty());
    let mut script = Script::first_seeder(&many_pieces());
    assert!((0..3).all(|n| newcomer(&mut script, n).1.is_empty()));
}

#[test]
fn who_does_not_know_the_extension_is_allowed_nothing() {
    let mut script = Script::seeding(&many_pieces());
    let link = script.stranger(1, false);
    script.say(link, &[Message::Bitfield(vec![0; 8].into())]);
    assert!(allowed(&script.heard(link)).is_empty());
    script.assert_open(link);
}

/// Has so many others come that this peer is choked in its turn, and says what it is refused then.
fn rejected_by_a_choke(script: &mut Script, link: LinkId) -> Vec<Message> {
    let others: Vec<_> = (1..40).map(|n| script.stranger(n, true)).collect();
    others.iter().for_each(|other| script.say(*other, &[Message::HaveNone, Message::Interested]));
    let mut heard = Vec::new();
    while !heard.contains(&Message::Choke) {
        assert!(script.now.as_duration() < Duration::from_secs(3600), "it is served for ever");
        script.wait(Duration::from_secs(10));
        script.say(link, &[Message::KeepAlive]);
        others.iter().for_each(|other| script.say(*other, &[Message::KeepAlive]));
        heard = script.heard(link);
    }
    heard.into_iter().filter(|message| matches!(message, Message::RejectRequest(_))).collect()
}

#[test]
fn what_waits_from_one_choke_to_the_next_counts_once_against_the_set() {
    let mut script = Script::seeding(&many_pieces());
    let (link, set) = newcomer(&mut script, 0);
    script.tell(|session, now| session.handle_room(now, link, 0));
    let all: Vec<_> = set.iter().copied().flat_map(blocks).map(Message::Request).collect();
    script.say(link, &all);
    script.say(link, &[Message::Interested]);
    assert!(script.heard(link).contains(&Message::Unchoke));
    assert_eq!(rejected_by_a_choke(&mut script, link), []);
}

#[test]
fn a_choke_leaves_the_requests_that_are_allowed() {
    let mut script = Script::seeding(&many_pieces());
    let (link, set) = newcomer(&mut script, 0);
    script.tell(|session, now| session.handle_room(now, link, 0));
    script.say(link, &[Message::Interested]);
    assert!(script.heard(link).contains(&Message::Unchoke));
    let other = (0..64).find(|piece| !set.contains(piece)).unwrap();
    let asked: Vec<_> = blocks(set[0]).chain(blocks(other)).map(Message::Request).collect();
    script.say(link, &asked);
    let rejected = rejected_by_a_choke(&mut script, link);
    assert_eq!(rejected, blocks(other).map(Message::RejectRequest).collect::<Vec<_>>());
    script.tell(|session, now| session.handle_room(now, link, 1 << 20));
    read(&mut script);
    let come = script.heard(link).iter().filter(|m| matches!(m, Message::Piece { .. })).count();
    assert_eq!(come, 4);
}

/// Answers whatever is asked at this link, until nothing is; the pieces of which that was.
fn serve(script: &mut Script, link: LinkId) -> BTreeSet<u32> {
    let mut pieces = BTreeSet::new();
    for _ in 0..10_000 {
        let asked = requests(&script.heard(link));
        let Some(first) = asked.first() else { break };
        pieces.insert(first.piece);
        for block in asked {
            pieces.insert(block.piece);
            script.give(link, block);
        }
        for action in std::mem::take(&mut script.actions) {
            if let Action::VerifyAndStore { piece, .. } = action {
                script.tell(|session, now| session.handle_stored(now, piece, StoreOutcome::Stored));
            }
        }
    }
    pieces
}

#[test]
fn of_all_that_a_choking_peer_allows_a_few_pieces_are_taken_and_none_that_are_not_there() {
    let torrent = torrent(1, 1000 * BLOCK as usize, BLOCK);
    let mut script = Script::leeching(&torrent);
    let link = script.stranger(1, true);
    let wrong = [1000, 1001, u32::MAX].map(Message::AllowedFast);
    script.say(link, &[&[Message::HaveAll][..], &wrong].concat());
    script.wait(Duration::from_secs(1));
    assert!(requests(&script.heard(link)).is_empty());
    let flood: Vec<_> = (0..1000).rev().chain(0..1000).map(Message::AllowedFast).collect();
    (0..50).for_each(|_| script.say(link, &flood));
    script.assert_open(link);
    assert_eq!(serve(&mut script, link), (936..1000).collect());
    // What is here already is not asked for again.
    script.say(link, &[Message::AllowedFast(999)]);
    assert!(requests(&script.heard(link)).is_empty());
}

#[test]
fn however_much_a_peer_suggests_what_is_clearly_rarer_comes_first() {
    let torrent = torrent(1, 1000 * BLOCK as usize, BLOCK);
    let mut script = Script::leeching(&torrent);
    let mut bits = vec![0xff; 125];
    // Ten pieces that only one peer has.
    (bits[0], bits[1]) = (0, 0x3f);
    for number in 2..6 {
        let other = script.stranger(number, true);
        script.say(other, &[Message::Bitfield(bits.clone().into())]);
    }
    let link = script.stranger(1, true);
    // The first piece is any.
    script.say(link, &[Message::HaveAll, Message::AllowedFast(500)]);
    assert_eq!(serve(&mut script, link), [500].into());
    let flood: Vec<_> = (0..1000).rev().cycle().take(50_000).map(Message::SuggestPiece).collect();
    script.say(link, &flood);
    script.say(link, &[Message::SuggestPiece(u32::MAX), Message::Unchoke]);
    script.assert_open(link);
    let asked: Vec<_> = requests(&script.heard(link)).iter().map(|block| block.piece).collect();
    assert_eq!(asked.len(), 10);
    assert_eq!(asked.iter().copied().collect::<BTreeSet<_>>(), (0..10).collect());
}

fn suggested(messages: &[Message]) -> Vec<u32> {
    let them = messages
        .iter()
        .filter_map(|m| if let Message::SuggestPiece(piece) = m { Some(*piece) } else { None });
    them.collect()
}

#[test]
fn a_seeder_suggests_what_it_reads_to_others_that_lack_it_if_there_are_other_copies() {
    let torrent = many_pieces();
    let mut script = Script::seeding(&torrent);
    let links: Vec<_> = (0..4).map(|n| script.stranger(n, true)).collect();
    // The last two have piece 7.
    for (n, link) in links.iter().enumerate() {
        let has =
            if n < 2 { Message::HaveNone } else { Message::Bitfield(vec![1, 0, 0, 0, 0, 0, 0, 0].into()) };
        script.say(*link, &[has, Message::Interested]);
        script.heard(*link);
    }
    let ask = |script: &mut Script, piece| {
        script.say(links[0], &blocks(piece).map(Message::Request).collect::<Vec<_>>());
        assert_eq!(read(script), [piece]);
        script.wait(Duration::from_secs(1));
        links.iter().map(|link| suggested(&script.heard(*link))).collect::<Vec<_>>()
    };
    assert_eq!(ask(&mut script, 7), [vec![], vec![7], vec![], vec![]]);
    // What nobody else has is better fetched by one alone.
    assert_eq!(ask(&mut script, 8), vec![Vec::<u32>::new(); 4]);
    // It is read once.
    script.say(links[1], &blocks(7).map(Message::Request).collect::<Vec<_>>());
    assert!(read(&mut script).is_empty());
    assert!(suggested(&script.heard(links[0])).is_empty());
}
