//! What waits at one peer is taken back when another has nothing to do, and nothing comes twice for it.

use std::time::Duration;

use engine::LinkId;
use shared::wire::{BlockRequest, Message};

use crate::wire::{Script, requests};
use crate::world::torrent;

/// Longer than a request must have waited, and shorter than it takes until blocks are asked for twice.
const A_WHILE: Duration = Duration::from_millis(400);

/// All that there is, one piece of four blocks, is asked of the first peer; the second has it too, and serves us.
fn one_owes_all(fast: bool) -> (Script, LinkId, LinkId, Vec<BlockRequest>) {
    let torrent = torrent(1, 4 * 16_384, 4 * 16_384);
    let mut script = Script::leeching(&torrent);
    let (busy, idle) = (script.stranger(1, fast), script.stranger(2, true));
    let all = Message::Bitfield(vec![0x80].into());
    script.say(busy, &[all, Message::Unchoke]);
    let owed = requests(&script.heard(busy));
    assert_eq!(owed.len(), 4);
    script.say(idle, &[Message::HaveAll, Message::Unchoke]);
    (script, busy, idle, owed)
}

#[test]
fn what_was_asked_last_is_taken_back_and_asked_of_the_idle_one_once_it_was_rejected() {
    let (mut script, busy, idle, owed) = one_owes_all(true);
    assert!(script.heard(busy).is_empty());
    script.wait(A_WHILE);
    assert_eq!(script.heard(busy), [Message::Cancel(owed[3])]);
    assert!(requests(&script.heard(idle)).is_empty());
    script.say(busy, &[Message::RejectRequest(owed[3])]);
    assert_eq!(requests(&script.heard(idle)), [owed[3]]);
    // It is not asked of the first again.
    assert!(script.heard(busy).is_empty());
}

#[test]
fn what_comes_although_it_was_taken_back_is_asked_of_nobody_else() {
    let (mut script, busy, idle, owed) = one_owes_all(true);
    script.wait(A_WHILE);
    assert_eq!(script.heard(busy), [Message::Cancel(owed[3])]);
    let data = vec![0; owed[3].len as usize].into();
    script.say(busy, &[Message::Piece { piece: 0, begin: owed[3].begin, data }]);
    // The next one, since there is an answer.
    assert_eq!(script.heard(busy), [Message::Cancel(owed[2])]);
    assert!(requests(&script.heard(idle)).is_empty());
    assert_eq!(script.session.downloaded(), 16_384);
}

#[test]
fn an_idle_one_that_is_gone_in_the_meantime_costs_nothing() {
    let (mut script, busy, idle, owed) = one_owes_all(true);
    script.wait(A_WHILE);
    assert_eq!(script.heard(busy), [Message::Cancel(owed[3])]);
    script.tell(|session, now| session.handle_link_closed(now, idle));
    script.say(busy, &[Message::RejectRequest(owed[3])]);
    // It did not refuse: as soon as anything changes it is asked again.
    script.wait(Duration::from_secs(10));
    assert!(requests(&script.heard(busy)).contains(&owed[3]));
}

#[test]
fn of_who_would_not_answer_nothing_is_taken_back() {
    let (mut script, busy, _, _) = one_owes_all(false);
    script.wait(A_WHILE);
    assert!(script.heard(busy).is_empty());
}
