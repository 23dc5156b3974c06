//! What waits at one peer is taken back when another has nothing to do, and nothing comes twice for it.

use std::time::Duration;

use engine::LinkId;
use shared::wire::{BlockRequest, Message};

use crate::wire::{Script, requests};
use crate::world::torrent;

/// Longer than a request must have waited, and shorter than it takes until blocks are asked for twice.
const A_WHILE: Duration = Duration::from_millis(400);

const BLOCK: u32 = 131_072;

/// All that there is, one piece of four blocks, is asked of the first peer; the second has it too, and serves us.
fn one_owes_all() -> (Script, LinkId, LinkId, Vec<BlockRequest>) {
    let torrent = torrent(1, 4 * BLOCK as usize, 4 * BLOCK);
    let mut script = Script::leeching(&torrent);
    let (busy, idle) = (script.own(1), script.own(2));
    let all = Message::Bitfield(vec![0x80].into());
    script.say(busy, &[all, Message::Unchoke]);
    let owed = requests(&script.heard(busy));
    assert_eq!(owed.len(), 4);
    script.say(idle, &[Message::HaveAll, Message::Unchoke]);
    (script, busy, idle, owed)
}

fn cancels(messages: &[Message]) -> Vec<BlockRequest> {
    let cancels = messages.iter().filter_map(|message| match message {
        Message::Cancel(block) => Some(*block),
        _ => None,
    });
    cancels.collect()
}

#[test]
fn what_was_asked_last_is_taken_back_and_asked_of_the_idle_one_once_it_was_rejected() {
    let (mut script, busy, idle, owed) = one_owes_all();
    assert!(script.heard(busy).is_empty());
    script.wait(A_WHILE);
    assert_eq!(cancels(&script.heard(busy)), [owed[3]]);
    assert!(requests(&script.heard(idle)).is_empty());
    script.say(busy, &[Message::RejectRequest(owed[3])]);
    assert_eq!(requests(&script.heard(idle)), [owed[3]]);
    // It is not asked of the first again.
    assert!(requests(&script.heard(busy)).is_empty());
}

#[test]
fn what_comes_although_it_was_taken_back_is_asked_of_nobody_else() {
    let (mut script, busy, idle, owed) = one_owes_all();
    script.wait(A_WHILE);
    assert_eq!(cancels(&script.heard(busy)), [owed[3]]);
    script.give(busy, owed[3]);
    // The next one, since there is an answer.
    assert_eq!(cancels(&script.heard(busy)), [owed[2]]);
    assert!(requests(&script.heard(idle)).is_empty());
    assert_eq!(script.session.downloaded(), u64::from(BLOCK));
}

#[test]
fn an_idle_one_that_is_gone_in_the_meantime_costs_nothing() {
    let (mut script, busy, idle, owed) = one_owes_all();
    script.wait(A_WHILE);
    assert_eq!(cancels(&script.heard(busy)), [owed[3]]);
    script.tell(|session, now| session.handle_link_closed(now, idle));
    script.say(busy, &[Message::RejectRequest(owed[3])]);
    // It did not refuse: it is asked again at once.
    assert_eq!(requests(&script.heard(busy)), [owed[3]]);
}

#[test]
fn what_was_handed_on_stays_where_it_is_for_a_while() {
    let (mut script, busy, idle, owed) = one_owes_all();
    script.wait(A_WHILE);
    script.say(busy, &[Message::RejectRequest(owed[3])]);
    assert_eq!(requests(&script.heard(idle)), [owed[3]]);
    // Now it is the first that has nothing to do, and the second that does not answer.
    for block in &owed[..3] {
        script.give(busy, *block);
    }
    script.wait(A_WHILE);
    assert!(cancels(&script.heard(idle)).is_empty());
    // It is asked of both in the end.
    script.heard(busy);
    script.wait(Duration::from_secs(5));
    assert_eq!(requests(&script.heard(busy)), [owed[3]]);
}

#[test]
fn what_was_handed_on_is_handed_back_after_a_second_if_it_is_not_the_end() {
    let torrent = torrent(1, 8 * BLOCK as usize, 4 * BLOCK);
    let mut script = Script::leeching(&torrent);
    let (busy, idle, other) = (script.own(1), script.own(2), script.own(3));
    let has = |bits: u8| Message::Bitfield(vec![bits].into());
    // There is another piece, of one that chokes us.
    script.say(other, &[has(0x40)]);
    script.say(busy, &[has(0x80), Message::Unchoke]);
    let owed = requests(&script.heard(busy));
    script.say(idle, &[has(0x80), Message::Unchoke]);
    script.wait(A_WHILE);
    script.say(busy, &[Message::RejectRequest(owed[3])]);
    assert_eq!(requests(&script.heard(idle)), [owed[3]]);
    for block in &owed[..3] {
        script.give(busy, *block);
    }
    script.wait(A_WHILE);
    assert!(cancels(&script.heard(idle)).is_empty());
    script.wait(Duration::from_secs(1));
    assert_eq!(cancels(&script.heard(idle)), [owed[3]]);
    script.heard(busy);
    script.say(idle, &[Message::RejectRequest(owed[3])]);
    assert_eq!(requests(&script.heard(busy)), [owed[3]]);
}

#[test]
fn of_who_might_not_answer_nothing_is_taken_back() {
    let torrent = torrent(1, 4 * 16_384, 4 * 16_384);
    let mut script = Script::leeching(&torrent);
    let (busy, idle) = (script.stranger(1, true), script.own(2));
    script.say(busy, &[Message::HaveAll, Message::Unchoke]);
    assert_eq!(requests(&script.heard(busy)).len(), 4);
    script.say(idle, &[Message::HaveAll, Message::Unchoke]);
    script.wait(A_WHILE);
    assert!(script.heard(busy).is_empty());
}
