//! How blocks are asked for and given: their length, how many at once, to whom.

use std::time::Duration;

use engine::{Action, LinkId};
use shared::wire::{BlockRequest, Message};

use crate::wire::{Script, requests};
use crate::world::{Network, World, torrent};

#[test]
fn our_own_are_asked_for_long_blocks_and_strangers_for_short_ones() {
    let torrent = torrent(1, 16 << 20, 1 << 20);
    for (own, len) in [(true, 128 << 10), (false, 16 << 10)] {
        let mut script = Script::leeching(&torrent);
        let link = if own { script.own(1) } else { script.stranger(1, true) };
        script.heard(link);
        script.say(link, &[Message::HaveAll, Message::Unchoke]);
        let asked = requests(&script.heard(link));
        assert!(asked.iter().all(|block| block.len == len), "{asked:?}");
        let bytes: u32 = asked.iter().map(|block| block.len).sum();
        assert_eq!(bytes, if own { 512 << 10 } else { 160 << 10 });
    }
}

#[test]
fn many_requests_go_into_one_message() {
    let torrent = torrent(1, 16 << 20, 1 << 20);
    let mut script = Script::leeching(&torrent);
    let link = script.own(1);
    script.sends(link);
    script.say(link, &[Message::HaveAll, Message::Unchoke]);
    let sends = script.sends(link);
    assert_eq!(sends.len(), 1);
    assert_eq!(sends[0].len(), 5 + 4 * 17, "interested, and four requests");
}

#[test]
fn the_pipeline_grows_with_the_rate() {
    let torrent = torrent(1, 64 << 20, 1 << 20);
    let mut script = Script::leeching(&torrent);
    let link = script.own(1);
    script.say(link, &[Message::HaveAll, Message::Unchoke]);
    let mut waiting = requests(&script.heard(link));
    for _ in 0..200 {
        // 128 KiB in 10 ms: 12.5 MiB/s.
        script.wait(Duration::from_millis(10));
        let block = waiting.remove(0);
        script.say(
            link,
            &[Message::Piece { piece: block.piece, begin: block.begin, data: vec![0; 128 << 10].into() }],
        );
        let wanted: Vec<_> = script
            .actions
            .drain(..)
            .filter_map(|action| match action {
                Action::VerifyAndStore { piece, .. } => Some(piece),
                _ => None,
            })
            .collect();
        for piece in wanted {
            script.tell(|session, now| session.handle_stored(now, piece, engine::StoreOutcome::Stored));
        }
        waiting.extend(requests(&script.heard(link)));
    }
    let bytes = waiting.len() * (128 << 10);
    assert!((4 << 20..8 << 20).contains(&bytes), "{bytes} bytes are on the way");
}

/// A scripted peer that answers what it is asked.
pub(crate) struct Server {
    link: LinkId,
    pub(crate) owed: Vec<BlockRequest>,
}

impl Server {
    pub(crate) fn new(script: &mut Script, link: LinkId) -> Self {
        script.say(link, &[Message::HaveAll, Message::Unchoke]);
        Self { link, owed: requests(&script.heard(link)) }
    }

    /// One request each `pause`.
    pub(crate) fn serve(&mut self, script: &mut Script, pause: Duration, times: usize) {
        for _ in 0..times {
            script.wait(pause);
            let block = self.owed.remove(0);
            script.give(self.link, block);
            self.owed.extend(requests(&script.heard(self.link)));
        }
    }
}

#[test]
fn what_a_choking_peer_allows_is_asked_for_and_nothing_else() {
    let torrent = torrent(1, 64 * 65_536, 65_536);
    let mut script = Script::leeching(&torrent);
    let link = script.stranger(1, true);
    script.say(link, &[Message::HaveAll, Message::AllowedFast(7), Message::AllowedFast(9_999)]);
    let asked = requests(&script.heard(link));
    assert_eq!(asked.iter().map(|block| block.piece).collect::<Vec<_>>(), [7; 4]);
    // It would not have it after all: it is not asked again.
    let rejections: Vec<_> = asked.iter().map(|block| Message::RejectRequest(*block)).collect();
    script.say(link, &rejections);
    script.wait(Duration::from_secs(60));
    assert!(requests(&script.heard(link)).is_empty());
    script.say(link, &[Message::Unchoke]);
    assert!(requests(&script.heard(link)).len() > 4);
}

#[test]
fn what_a_peer_suggests_is_asked_for_first() {
    let torrent = torrent(1, 64 * 65_536, 65_536);
    let mut script = Script::leeching(&torrent);
    let link = script.stranger(1, true);
    script.say(link, &[Message::HaveAll, Message::SuggestPiece(9_999)]);
    script.say(link, &[Message::SuggestPiece(40), Message::SuggestPiece(41), Message::Unchoke]);
    let asked = requests(&script.heard(link));
    assert_eq!(
        asked.iter().take(8).map(|block| block.piece).collect::<Vec<_>>(),
        [41, 41, 41, 41, 40, 40, 40, 40]
    );
}

#[test]
fn a_slow_peer_owes_little_and_in_short_blocks() {
    let torrent = torrent(1, 64 << 20, 1 << 20);
    let mut script = Script::leeching(&torrent);
    let link = script.own(1);
    let mut slow = Server::new(&mut script, link);
    assert_eq!(slow.owed.len(), 4);
    // 64 KiB a second, for half a minute.
    let mut sent = 0;
    while sent < 2 << 20 {
        let len = slow.owed[0].len;
        slow.serve(&mut script, Duration::from_secs(1).mul_f64(f64::from(len) / 65_536.0), 1);
        sent += len;
    }
    assert!(slow.owed.iter().all(|block| block.len <= 96 << 10), "about a second: {:?}", slow.owed);
    assert!((2..=3).contains(&slow.owed.len()), "one, and one to come: {:?}", slow.owed);
}

#[test]
fn what_a_peer_that_falls_silent_owes_is_asked_of_others_within_seconds() {
    let torrent = torrent(1, 64 << 20, 64 << 20);
    let mut script = Script::leeching(&torrent);
    let (silent, other) = (script.stranger(1, true), script.stranger(2, true));
    let mut silent = Server::new(&mut script, silent);
    silent.serve(&mut script, Duration::from_millis(20), 200);
    assert!(silent.owed.len() > 15, "{}", silent.owed.len());
    let mut other = Server::new(&mut script, other);
    let mut asked = Vec::new();
    for (tenths, late) in [(39, false), (10, true)] {
        for _ in 0..tenths {
            other.serve(&mut script, Duration::from_millis(100), 1);
            asked.extend(other.owed.clone());
        }
        let taken = silent.owed.iter().filter(|block| asked.contains(block)).count();
        // It is believed in for four seconds, and is risked one block with after that.
        assert_eq!(taken > 0, late, "{taken} of {}", silent.owed.len());
        assert!(!late || taken >= 10, "{taken}");
    }
}

#[test]
fn a_round_of_haves_goes_into_one_message() {
    let torrent = torrent(1, 64 * 16_384, 16_384);
    let mut script = Script::leeching(&torrent);
    let source = script.own(1);
    let other = script.own(2);
    script.say(other, &[Message::HaveNone]);
    script.say(source, &[Message::HaveAll, Message::Unchoke]);
    for block in requests(&script.heard(source)) {
        script.give(source, block);
    }
    script.sends(other);
    let pieces: Vec<_> = script
        .actions
        .drain(..)
        .filter_map(|action| match action {
            Action::VerifyAndStore { piece, .. } => Some(piece),
            _ => None,
        })
        .collect();
    assert!(pieces.len() > 10);
    for piece in &pieces {
        script.tell(|session, now| session.handle_stored(now, *piece, engine::StoreOutcome::Stored));
    }
    script.wait(Duration::from_millis(100));
    let sends = script.sends(other);
    assert_eq!(sends.len(), 1);
    assert_eq!(sends[0].len(), pieces.len() * 9);
}

#[test]
fn the_choked_and_the_greedy_are_rejected() {
    let torrent = torrent(1, 64 << 20, 1 << 20);
    let mut script = Script::seeding(&torrent);
    let link = script.stranger(1, true);
    script.heard(link);
    let block = |n: u32| BlockRequest { piece: n / 64, begin: n % 64 * 16_384, len: 16_384 };
    script.say(link, &[Message::Request(block(0))]);
    assert_eq!(script.heard(link), [Message::RejectRequest(block(0))]);
    script.say(link, &[Message::HaveNone, Message::Interested]);
    let heard = script.heard(link);
    assert!(matches!(heard[..], [Message::AllowedFast(_), Message::Unchoke]), "{heard:?}");
    let flood: Vec<_> = (0..3000).map(|n| Message::Request(block(n))).collect();
    script.say(link, &flood);
    let rejected =
        script.heard(link).iter().filter(|message| matches!(message, Message::RejectRequest(_))).count();
    assert_eq!(rejected, 3000 - 1024);
    script.assert_open(link);
    // What is taken back is answered too.
    script.say(link, &[Message::Cancel(block(7))]);
    assert_eq!(script.heard(link), [Message::RejectRequest(block(7))]);
}

#[test]
fn more_than_the_slots_are_served_by_turns() {
    let torrent = torrent(1, 64 << 20, 1 << 20);
    let mut script = Script::seeding(&torrent);
    let links: Vec<_> = (0..20).map(|n| script.stranger(n, true)).collect();
    for link in &links {
        script.say(*link, &[Message::HaveNone, Message::Interested]);
    }
    let mut served = std::collections::BTreeSet::new();
    for _ in 0..120 {
        script.wait(Duration::from_secs(10));
        for link in &links {
            script.say(*link, &[Message::KeepAlive]);
            if script.heard(*link).contains(&Message::Unchoke) {
                served.insert(*link);
            }
        }
        let snapshot = script.session.snapshot(script.now);
        assert_eq!(snapshot.peers.iter().filter(|peer| !peer.am_choking).count(), 12);
    }
    assert_eq!(served.len(), 20);
}

#[test]
fn at_the_end_what_a_slow_peer_owes_is_asked_of_others_and_cancelled() {
    let torrent = torrent(1, 4 * 16_384, 4 * 16_384);
    let mut script = Script::leeching(&torrent);
    let (slow, quick) = (script.stranger(1, true), script.stranger(2, true));
    script.say(slow, &[Message::HaveAll, Message::Unchoke]);
    let owed = requests(&script.heard(slow));
    assert_eq!(owed.len(), 4);
    script.say(quick, &[Message::HaveAll, Message::Unchoke]);
    assert!(requests(&script.heard(quick)).is_empty());
    script.wait(Duration::from_secs(1));
    assert_eq!(requests(&script.heard(quick)), owed);
    script.heard(slow);
    let block = owed[0];
    script.say(
        quick,
        &[Message::Piece { piece: block.piece, begin: block.begin, data: vec![0; 16_384].into() }],
    );
    assert_eq!(script.heard(slow), [Message::Cancel(block)]);
}

#[test]
fn few_sends_move_many_bytes() {
    let mut world =
        World::new(1, torrent(1, 16 << 20, 256 << 10), Network { rate: 20 << 20, ..Network::default() });
    world.seeder();
    let leecher = world.leecher();
    world.complete(&[leecher], Duration::from_secs(60));
    // 128 blocks, and less than one other message for each.
    assert!(world.sends < 300, "{} messages", world.sends);
}
