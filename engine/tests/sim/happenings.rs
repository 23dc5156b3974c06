//! Whatever happens around direct links, in whatever order.

use std::time::Duration;

use engine::{DirectFailure, Found, LinkId, Transport};
use proptest::prelude::*;
use shared::PeerId;
use shared::wire::Message;
use shared::wire::extension::{ExtendedHandshake, Introduction};

use crate::signals::{carried, member, offer_id, script, signal};
use crate::wire::{OUR_ID, stranger_id};

/// Anything that may happen around direct links.
#[derive(Debug, Clone)]
enum Happening {
    Says(u64, Introduction),
    Found(u8, bool, bool),
    Made(u8, u64, &'static str),
    Came(u8, u64, &'static str),
    Lost(u8, u64),
    Failed(u8, DirectFailure),
    Opened(u8, Transport, bool),
    Shakes(u8),
    Closed(u64),
    Passes(u64),
}

/// One of few peers: ourselves, neighbours, others.
fn someone(number: u8) -> PeerId {
    match number {
        0 => OUR_ID,
        1..4 => stranger_id(number.into()),
        _ => member(number.into()),
    }
}

fn any_happening() -> impl Strategy<Value = Happening> {
    let who = 0u8..7;
    let kind = prop_oneof![Just("offer"), Just("answer")];
    let why = prop_oneof![
        Just(DirectFailure::NoAnswer),
        Just(DirectFailure::NoPath),
        Just(DirectFailure::TooMany),
        Just(DirectFailure::Refused)
    ];
    let transport = prop_oneof![Just(Transport::Relay), Just(Transport::Direct)];
    let says = prop_oneof![
        proptest::collection::vec(who.clone().prop_map(someone), 0..5).prop_map(Introduction::Members),
        (who.clone(), 0u64..4)
            .prop_map(|(to, id)| Introduction::Lost { to: someone(to), offer_id: offer_id(id) }),
        (kind.clone(), proptest::option::of(who.clone()), who.clone(), 0u64..4)
            .prop_map(|(kind, from, to, id)| carried(kind, from.map(someone), someone(to), id)),
    ];
    prop_oneof![
        (1u64..4, says).prop_map(|(link, what)| Happening::Says(link, what)),
        (who.clone(), any::<bool>(), any::<bool>()).prop_map(|(who, r, d)| Happening::Found(who, r, d)),
        (who.clone(), 0u64..4, kind.clone()).prop_map(|(who, id, kind)| Happening::Made(who, id, kind)),
        (who.clone(), 0u64..4, kind).prop_map(|(who, id, kind)| Happening::Came(who, id, kind)),
        (who.clone(), 0u64..4).prop_map(|(who, id)| Happening::Lost(who, id)),
        (who.clone(), why).prop_map(|(who, why)| Happening::Failed(who, why)),
        (who.clone(), transport, any::<bool>()).prop_map(|(who, t, i)| Happening::Opened(who, t, i)),
        who.prop_map(Happening::Shakes),
        (1u64..30).prop_map(Happening::Closed),
        (0u64..40).prop_map(Happening::Passes),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_around_direct_links_is_borne(
        happenings in proptest::collection::vec(any_happening(), 0..80),
    ) {
        let mut script = script();
        for number in 1..4 {
            script.neighbour(number);
        }
        let mut last = 20;
        let (mut attempts, mut answers) = (0, 0);
        for happening in happenings {
            match happening {
                Happening::Says(link, what) => script.introduce(LinkId(link), &what),
                Happening::Found(who, relay, direct) => {
                    let found = [Found { peer: someone(who), relay, direct }];
                    script.tell(|session, now| session.handle_peers_found(now, &found));
                }
                Happening::Made(who, id, kind) => script.made(someone(who), signal(id, kind)),
                Happening::Came(who, id, kind) => {
                    script.tell(|session, now| session.handle_signal_came(now, someone(who), signal(id, kind)));
                }
                Happening::Lost(who, id) => {
                    script.tell(|session, now| session.handle_signal_lost(now, someone(who), offer_id(id)));
                }
                Happening::Failed(who, why) => {
                    script.tell(|session, now| session.handle_direct_failed(now, someone(who), why));
                }
                Happening::Opened(who, transport, initiator) => {
                    last += 1;
                    let (link, remote) = (LinkId(last), Some(someone(who)));
                    script.tell(|session, now| {
                        session.handle_link_opened(now, link, transport, remote, initiator);
                        session.handle_room(now, link, 1 << 20);
                    });
                }
                Happening::Shakes(who) => {
                    let link = LinkId(last);
                    script.shake(link, someone(who), true);
                    let said = ExtendedHandshake { enxame_signal: Some(7), rtc: Some(true), ..Default::default() };
                    script.say(link, &[Message::Extended { id: 0, payload: said.encode() }, Message::HaveAll]);
                }
                Happening::Closed(link) => {
                    script.tell(|session, now| session.handle_link_closed(now, LinkId(link)));
                }
                Happening::Passes(seconds) => script.wait(Duration::from_secs(seconds)),
            }
            attempts += script.direct_dials().len();
            answers += script.taken().iter().filter(|(_, signal)| signal.description.kind == "offer").count();
            let peers = script.session.snapshot(script.now).peers;
            prop_assert!(peers.iter().all(|peer| peer.id != OUR_ID.to_string()));
            prop_assert!(peers.iter().all(|peer| (peer.transport == Transport::Direct) == peer.why_relayed.is_none()));
        }
        prop_assert!(attempts < 400 && answers < 100, "{attempts} attempts, {answers} answers");
        script.tell(|session, now| session.pause(now));
        prop_assert!(script.session.snapshot(script.now).peers.is_empty());
        prop_assert_eq!(script.session.deadline(), None);
    }
}
