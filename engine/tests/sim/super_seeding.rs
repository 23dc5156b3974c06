//! The first seeder, message by message (BEP 16).

use std::collections::BTreeSet;
use std::time::Duration;

use engine::LinkId;
use shared::wire::Message;
use shared::wire::extension::{OUR_LT_DONTHAVE, encode_dont_have};

use crate::wire::Script;
use crate::world::torrent;

fn shown(script: &mut Script, link: LinkId) -> BTreeSet<u32> {
    let heard = script.heard(link);
    heard
        .iter()
        .filter_map(|message| if let Message::Have(piece) = message { Some(*piece) } else { None })
        .collect()
}

fn lost(piece: u32) -> Message {
    Message::Extended { id: OUR_LT_DONTHAVE, payload: encode_dont_have(piece) }
}

/// A first seeder of eight pieces, two peers that were told everything, and one that is shown pieces one by one.
fn first_seeder() -> (Script, [LinkId; 2], LinkId) {
    let mut script = Script::first_seeder(&torrent(1, 8 * 16_384, 16_384));
    let told = [script.stranger(1, true), script.stranger(2, true)];
    let third = script.stranger(3, true);
    for link in told {
        script.say(link, &[Message::HaveNone, Message::Interested]);
        assert!(script.heard(link).contains(&Message::HaveAll));
    }
    script.say(third, &[Message::HaveNone, Message::Interested]);
    script.wait(Duration::from_secs(1));
    (script, told, third)
}

#[test]
fn while_the_only_other_copy_of_a_piece_may_be_lost_it_goes_on() {
    let (mut script, [one, other], third) = first_seeder();
    let all_but_the_last: Vec<_> = (0..7).map(Message::Have).collect();
    script.say(one, &all_but_the_last);
    assert!(script.session.is_super_seeding());
    // A piece is lost again; so the last one alone does not end it, although every piece was somewhere once.
    script.say(one, &[lost(3)]);
    script.say(other, &[Message::Have(7)]);
    assert!(script.session.is_super_seeding());
    // What is said twice counts once.
    script.say(one, &[lost(3), lost(3)]);
    script.say(other, &[Message::Have(3), Message::Have(3)]);
    assert!(!script.session.is_super_seeding());
    // Then everybody is told of everything.
    let shown = shown(&mut script, third);
    assert_eq!(shown, (0..8).collect());
}

#[test]
fn a_piece_that_the_third_lost_can_be_had_again_when_it_ends() {
    let (mut script, [one, _], third) = first_seeder();
    let before = shown(&mut script, third);
    let piece = *before.first().unwrap();
    script.say(third, &[Message::Have(piece), lost(piece)]);
    assert!(script.session.is_super_seeding());
    script.assert_open(third);
    script.say(one, &(0..7).map(Message::Have).collect::<Vec<_>>());
    script.say(third, &[Message::Have(7)]);
    assert!(!script.session.is_super_seeding());
    let mut all = before;
    all.extend(shown(&mut script, third));
    assert_eq!(all, (0..8).collect());
}

#[test]
fn who_loses_a_piece_that_does_not_exist_is_gone_and_its_pieces_with_it() {
    let (mut script, [one, other], _) = first_seeder();
    script.say(one, &(0..7).map(Message::Have).collect::<Vec<_>>());
    script.say(one, &[lost(8)]);
    script.assert_protocol_close(one);
    script.say(other, &[Message::Have(7)]);
    assert!(script.session.is_super_seeding());
}
