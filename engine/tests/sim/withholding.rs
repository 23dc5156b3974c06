//! Upload is off: nobody gets a block, and everything else goes on.

use std::time::Duration;

use engine::{Action, LinkId};
use shared::wire::extension::MetadataMessage;
use shared::wire::{BlockRequest, Message};

use crate::wire::{Script, relayed, requests, stranger_id};
use crate::world::{Network, Torrent, World, torrent};

const PIECE: u32 = 65_536;
const BLOCK: u32 = 16_384;
/// What a choker round takes, and a second.
const ROUND: Duration = Duration::from_secs(11);

fn many_pieces() -> Torrent {
    torrent(1, 64 * PIECE as usize, PIECE)
}

fn block(piece: u32, n: u32) -> BlockRequest {
    BlockRequest { piece, begin: n * BLOCK, len: BLOCK }
}

/// Answers everything that was to be read, late or not.
fn read(script: &mut Script) {
    for action in std::mem::take(&mut script.actions) {
        if let Action::Load { load, span } = action {
            let data = vec![0; span.len() as usize].into();
            script.tell(|session, now| session.handle_loaded(now, load, Some(data)));
        }
    }
}

fn is_choked(script: &Script, link: LinkId) -> bool {
    let id = stranger_id(link.0).to_string();
    let peers = script.session.snapshot(script.now).peers;
    peers.into_iter().find(|peer| peer.id == id).unwrap().am_choking
}

#[test]
fn who_is_served_is_choked_and_what_it_asked_for_is_rejected_or_dropped() {
    let mut script = Script::seeding(&many_pieces());
    let (fast, plain) = (script.stranger(1, true), script.stranger(2, false));
    script.say(fast, &[Message::HaveNone, Message::Interested]);
    script.say(plain, &[Message::Interested]);
    script.wait(ROUND);
    assert!(!is_choked(&script, fast) && !is_choked(&script, plain));
    for link in [fast, plain] {
        script.heard(link);
        script.say(link, &[Message::Request(block(3, 0)), Message::Request(block(5, 1))]);
    }
    script.tell(|session, now| session.set_upload(now, false));
    let rejected = [block(3, 0), block(5, 1)].map(Message::RejectRequest);
    assert_eq!(script.heard(fast), [&[Message::Choke], &rejected[..]].concat());
    assert_eq!(script.heard(plain), [Message::Choke]);
    // What was being read for them comes, and goes nowhere.
    read(&mut script);
    assert_eq!((script.heard(fast), script.heard(plain)), (vec![], vec![]));
    assert_eq!(script.session.uploaded(), 0);
    // However long they ask.
    script.say(fast, &[Message::Request(block(3, 0)), Message::NotInterested, Message::Interested]);
    script.wait(6 * ROUND);
    assert_eq!(
        script.heard(fast).into_iter().filter(|m| *m != Message::KeepAlive).collect::<Vec<_>>(),
        [Message::RejectRequest(block(3, 0))]
    );
    assert!(is_choked(&script, fast) && is_choked(&script, plain));
}

#[test]
fn nobody_who_comes_is_unchoked_or_allowed_anything_and_the_metadata_is_given() {
    let mut script = Script::withholding(&many_pieces());
    let links = [script.own(1), script.stranger(2, true)];
    for link in links {
        script.say(link, &[Message::HaveNone, Message::Interested]);
    }
    script.wait(2 * ROUND);
    for link in links {
        let heard = script.heard(link);
        let gives = |m: &Message| matches!(m, Message::Unchoke | Message::AllowedFast(_));
        assert!(heard.contains(&Message::HaveAll) && !heard.iter().any(gives), "{heard:?}");
    }
    let ask = MetadataMessage::Request { piece: 0 }.encode();
    script.say(links[0], &[Message::Extended { id: 1, payload: ask }]);
    let heard = script.heard(links[0]);
    let [Message::Extended { id: 1, payload }] = &heard[..] else { panic!("{heard:?}") };
    let answer = MetadataMessage::decode(payload).unwrap();
    assert!(matches!(answer, Some(MetadataMessage::Data { piece: 0, .. })), "{answer:?}");
    // It still looks for others, since they look for it.
    script.tell(|session, now| session.handle_peers_found(now, &relayed(&[stranger_id(9)])));
    assert!(script.actions.iter().any(|action| matches!(action, Action::Dial { .. })));
}

#[test]
fn what_a_newcomer_was_allowed_is_taken_back_and_allowed_anew() {
    let mut script = Script::seeding(&many_pieces());
    let link = script.stranger(1, true);
    script.say(link, &[Message::HaveNone]);
    let allowed = |heard: &[Message]| -> Vec<u32> {
        heard
            .iter()
            .filter_map(|m| if let Message::AllowedFast(piece) = m { Some(*piece) } else { None })
            .collect()
    };
    let set = allowed(&script.heard(link));
    assert_eq!(set.len(), 4);
    script.say(link, &[Message::Request(block(set[0], 0))]);
    script.tell(|session, now| session.set_upload(now, false));
    read(&mut script);
    script.say(link, &[Message::Request(block(set[1], 0))]);
    let rejected = [block(set[0], 0), block(set[1], 0)].map(Message::RejectRequest);
    assert_eq!(script.heard(link), rejected);
    script.tell(|session, now| session.set_upload(now, true));
    assert_eq!(allowed(&script.heard(link)), set);
    script.say(link, &[Message::Request(block(set[1], 0))]);
    read(&mut script);
    assert!(matches!(script.heard(link)[..], [Message::Piece { .. }]));
}

#[test]
fn on_again_whoever_waits_is_served_at_once() {
    let mut script = Script::seeding(&many_pieces());
    script.tell(|session, now| session.set_upload(now, false));
    let link = script.stranger(1, true);
    script.say(link, &[Message::HaveNone, Message::Interested]);
    script.wait(2 * ROUND);
    script.heard(link);
    script.tell(|session, now| session.set_upload(now, true));
    assert!(script.heard(link).contains(&Message::Unchoke));
    script.say(link, &[Message::Request(block(7, 0))]);
    read(&mut script);
    assert!(matches!(script.heard(link)[..], [Message::Piece { piece: 7, .. }]));
    // Saying the same twice says nothing.
    script.tell(|session, now| session.set_upload(now, true));
    assert_eq!(script.heard(link), []);
}

#[test]
fn who_gives_nothing_still_asks_and_takes() {
    let mut script = Script::leeching(&many_pieces());
    script.tell(|session, now| session.set_upload(now, false));
    let link = script.stranger(1, true);
    script.say(link, &[Message::HaveAll, Message::Unchoke]);
    let heard = script.heard(link);
    assert!(heard.contains(&Message::Interested) && !requests(&heard).is_empty(), "{heard:?}");
}

#[test]
fn a_leecher_that_gives_nothing_completes_and_others_give_it_less_than_each_other() {
    let mut world =
        World::new(1, torrent(1, 24 << 20, PIECE), Network { rate: 1 << 20, ..Network::default() });
    world.seeder();
    let fair: Vec<_> = (0..5).map(|_| world.leecher()).collect();
    let free = world.leecher();
    world.tell(free, |session, now| session.set_upload(now, false));
    world.complete(&[free], Duration::from_secs(600));
    world.complete(&fair, Duration::from_secs(600));
    assert_eq!(world.nodes[free].session.uploaded(), 0);
    for node in fair {
        assert!(world.nodes[node].session.uploaded() > 0);
    }
}
