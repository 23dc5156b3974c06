//! Every wait has an end.

use std::time::Duration;

use engine::{Action, CloseReason, Content, Notice, Time};
use shared::wire::Message;

use crate::wire::{Script, requests};
use crate::world::{Habits, Network, World, torrent};

#[test]
fn a_link_on_which_nobody_shakes_hands_is_closed() {
    let mut script = Script::leeching(&torrent(1, 100_000, 65_536));
    let link = script.link(1, None);
    script.wait(Duration::from_secs(24));
    script.assert_open(link);
    script.wait(Duration::from_secs(2));
    assert_eq!(script.close_reason(link), Some(&CloseReason::TimedOut));
}

#[test]
fn a_silent_peer_is_gone_after_two_minutes_but_keep_alives_keep_it() {
    let mut script = Script::leeching(&torrent(1, 100_000, 65_536));
    let (silent, alive) = (script.stranger(1, true), script.stranger(2, true));
    for _ in 0..11 {
        script.wait(Duration::from_secs(10));
        script.say(alive, &[Message::KeepAlive]);
    }
    script.assert_open(silent);
    script.wait(Duration::from_secs(11));
    assert_eq!(script.close_reason(silent), Some(&CloseReason::TimedOut));
    script.assert_open(alive);
    let heard = script.heard(alive);
    assert_eq!(heard.iter().filter(|message| **message == Message::KeepAlive).count(), 2, "one every 55 s");
}

#[test]
fn requests_that_are_not_answered_go_to_others() {
    let mut script = Script::leeching(&torrent(1, 20 * 16_384, 10 * 16_384));
    let (snail, other) = (script.stranger(1, true), script.stranger(2, true));
    script.say(snail, &[Message::HaveAll, Message::Unchoke]);
    let owed = requests(&script.heard(snail));
    assert_eq!(owed.len(), 10);
    for _ in 0..31 {
        script.say(snail, &[Message::KeepAlive]);
        script.wait(Duration::from_secs(1));
    }
    script.heard(snail);
    script.say(other, &[Message::HaveAll, Message::Unchoke]);
    let asked = requests(&script.heard(other));
    // One block is risked with the snail.
    assert_eq!(asked.iter().filter(|block| owed.contains(block)).count(), 9, "{asked:?}");
    // What it sends after all is taken, and it is trusted again.
    let late = owed[5];
    script
        .say(snail, &[Message::Piece { piece: late.piece, begin: late.begin, data: vec![0; 16_384].into() }]);
    script.assert_open(snail);
    assert!(script.heard(other).contains(&Message::Cancel(late)));
}

#[test]
fn a_seeder_that_freezes_does_not_hold_up_the_others() {
    let mut world =
        World::new(1, torrent(1, 2_000_000, 65_536), Network { rate: 300_000, ..Network::default() });
    let info = world.torrent.info.raw().clone();
    let freezes_at = Some(Time::since_start(Duration::from_secs(2)));
    world.join(Content::Known { info, have: None }, Habits { freezes_at, ..Habits::default() });
    world.seeder();
    let leecher = world.leecher();
    world.complete(&[leecher], Duration::from_secs(60));
}

#[test]
fn a_peer_that_goes_on_choking_is_shown_interest_anew() {
    let mut script = Script::leeching(&torrent(1, 100_000, 65_536));
    let link = script.stranger(1, true);
    script.say(link, &[Message::HaveAll]);
    assert!(script.heard(link).contains(&Message::Interested));
    script.wait(Duration::from_secs(11));
    assert_eq!(script.heard(link), [Message::NotInterested, Message::Interested]);
    script.wait(Duration::from_secs(11));
    assert!(script.heard(link).is_empty(), "ever more rarely");
}

#[test]
fn the_tracker_is_asked_again_while_there_is_nobody() {
    let mut script = Script::leeching(&torrent(1, 100_000, 65_536));
    script.wait(Duration::from_secs(60));
    let asked =
        script.actions.iter().filter(|action| matches!(action, Action::Notice(Notice::WantPeers))).count();
    assert!((3..=6).contains(&asked), "{asked}");
    // Who has everything waits to be found.
    let mut script = Script::seeding(&torrent(1, 100_000, 65_536));
    script.wait(Duration::from_secs(60));
    assert!(script.actions.is_empty());
    assert_eq!(script.session.deadline(), None);
}

#[test]
fn a_block_rejected_for_good_is_asked_of_others_and_not_without_end() {
    let mut script = Script::leeching(&torrent(1, 4 * 16_384, 4 * 16_384));
    let link = script.stranger(1, true);
    script.say(link, &[Message::HaveAll, Message::Unchoke]);
    let mut asked = 0;
    for _ in 0..60 {
        let blocks = requests(&script.heard(link));
        asked += blocks.len();
        for block in blocks {
            script.say(link, &[Message::RejectRequest(block)]);
        }
        script.wait(Duration::from_secs(1));
    }
    assert!((8..60).contains(&asked), "{asked} requests in a minute");
}
