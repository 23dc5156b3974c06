use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use shared::OfferId;
use shared::signal::EnxameHello;

use super::*;
use crate::signal::{Offer, SessionDescription};

const INTERVAL: Duration = Duration::from_secs(120);

/// A registry with a clock and dice.
struct Bench {
    registry: Registry,
    now: Instant,
    rng: SmallRng,
}

impl Bench {
    fn new() -> Self {
        Self { registry: Registry::new(INTERVAL, None), now: Instant::now(), rng: SmallRng::seed_from_u64(7) }
    }

    fn try_announce(&mut self, connection: u64, mut announce: Announce) -> Result<Outcome, AnnounceError> {
        self.registry.announce(ConnectionId(connection), &mut announce, self.now, &mut self.rng)
    }

    fn announce(&mut self, connection: u64, announce: Announce) -> Outcome {
        self.try_announce(connection, announce).unwrap()
    }

    /// Announces, and gives the reply without the offers.
    fn reply(&mut self, connection: u64, announce: Announce) -> Announced {
        let outcome = self.announce(connection, announce);
        match &outcome.messages[0] {
            (to, ToPeer::Announced(reply)) if *to == ConnectionId(connection) => reply.clone(),
            other => panic!("the reply comes first, not {other:?}"),
        }
    }

    fn named(&mut self, connection: u64, announce: Announce) -> Vec<NamedPeer> {
        self.reply(connection, announce).enxame.expect("an extended reply").peers
    }

    fn answer(&mut self, connection: u64, from: u8, to: u8, offer: u8) -> Option<(ConnectionId, ToPeer)> {
        let answer = Answer {
            info_hash: hash(1),
            peer_id: peer(from),
            to_peer_id: peer(to),
            offer_id: OfferId::new([offer; 20]),
            answer: SessionDescription { kind: "answer".into(), sdp: "v=0".into() },
        };
        self.registry.answer(ConnectionId(connection), answer, self.now)
    }

    fn offer(&mut self, connection: u64, from: u8, to: u8, offer: u8) -> Option<(ConnectionId, ToPeer)> {
        let offer = TargetedOffer {
            info_hash: hash(1),
            peer_id: peer(from),
            to_peer_id: peer(to),
            offer_id: OfferId::new([offer; 20]),
            offer: SessionDescription { kind: "offer".into(), sdp: "v=0".into() },
        };
        self.registry.offer(ConnectionId(connection), offer, self.now)
    }

    /// How many strangers one of ours is told of.
    fn strangers(&mut self, connection: u64, announce: Announce) -> u32 {
        self.reply(connection, ours(announce)).enxame.expect("an extended reply").strangers
    }

    fn counts(&self, swarm: u8) -> SwarmCounts {
        self.registry.scrape(&Scrape { info_hashes: vec![hash(swarm)] }).files[&hash(swarm)]
    }
}

fn hash(n: u8) -> InfoHash {
    InfoHash::new([n; 20])
}

fn peer(n: u8) -> PeerId {
    PeerId::new([n; 20])
}

/// A leecher of another program, in swarm 1.
fn leecher(n: u8) -> Announce {
    Announce { left: Some(100), numwant: Some(50), ..Announce::new(hash(1), peer(n)) }
}

fn seeder(n: u8) -> Announce {
    Announce { left: Some(0), ..leecher(n) }
}

/// The same, of our own program.
fn ours(announce: Announce) -> Announce {
    Announce { enxame: Some(EnxameHello { v: 1, relay: true, rtc: false, key: None, open: 0 }), ..announce }
}

/// The same, with WebRTC, and with relay or without.
fn with_ways(announce: Announce, relay: bool, rtc: bool) -> Announce {
    Announce { enxame: Some(EnxameHello { v: 1, relay, rtc, key: None, open: 0 }), ..announce }
}

fn with_key(announce: Announce, key: &str) -> Announce {
    let hello = EnxameHello { v: 1, relay: true, rtc: false, key: Some(key.into()), open: 0 };
    Announce { enxame: Some(hello), ..announce }
}

fn with_offers(announce: Announce, offers: std::ops::Range<u8>) -> Announce {
    let offers = offers.map(|n| Offer {
        offer: SessionDescription { kind: "offer".into(), sdp: format!("v=0 {n}").into() },
        offer_id: OfferId::new([n; 20]),
    });
    Announce { offers: offers.collect(), ..announce }
}

/// Where the offers of an outcome go.
fn offers(outcome: &Outcome) -> Vec<(ConnectionId, OfferId)> {
    let offer = |(to, message): &(ConnectionId, ToPeer)| match message {
        ToPeer::Offer(offer) => Some((*to, offer.offer_id)),
        _ => None,
    };
    outcome.messages.iter().filter_map(offer).collect()
}

#[test]
fn the_reply_counts_seeders_and_leechers_and_asks_for_the_interval() {
    let mut bench = Bench::new();
    bench.announce(1, seeder(1));
    bench.announce(2, leecher(2));
    let reply = bench.reply(3, Announce { left: None, ..leecher(3) });
    assert_eq!((reply.complete, reply.incomplete, reply.interval), (1, 2, 120));
    assert_eq!(reply.enxame, None, "other programs never see the extension");
}

#[test]
fn swarms_know_nothing_of_each_other() {
    let mut bench = Bench::new();
    bench.announce(1, ours(seeder(1)));
    let elsewhere = Announce { info_hash: hash(2), ..with_offers(ours(leecher(2)), 0..5) };
    let outcome = bench.announce(2, elsewhere.clone());
    assert_eq!(offers(&outcome), []);
    assert_eq!(bench.named(2, elsewhere), []);
    assert_eq!(bench.registry.totals(), Totals { swarms: 2, peers: 2, seeders: 1 });
}

#[test]
fn each_offer_goes_to_one_other_peer_and_none_comes_back() {
    let mut bench = Bench::new();
    for n in 1..=3 {
        bench.announce(n.into(), leecher(n));
    }
    let mut sent = offers(&bench.announce(4, with_offers(leecher(4), 0..10)));
    sent.sort();
    let to: Vec<_> = sent.iter().map(|(to, _)| *to).collect();
    assert_eq!(to, [ConnectionId(1), ConnectionId(2), ConnectionId(3)]);
    sent.sort_by_key(|(_, offer)| *offer);
    sent.dedup_by_key(|(_, offer)| *offer);
    assert_eq!(sent.len(), 3, "no offer goes to two");
}

#[test]
fn no_more_offers_are_passed_on_than_peers_are_wanted() {
    let mut bench = Bench::new();
    for n in 1..=9 {
        bench.announce(n.into(), leecher(n));
    }
    let announce = Announce { numwant: Some(2), ..with_offers(leecher(20), 0..5) };
    assert_eq!(offers(&bench.announce(20, announce)).len(), 2);
    let unsaid = Announce { numwant: None, ..with_offers(leecher(20), 0..5) };
    assert_eq!(offers(&bench.announce(20, unsaid)).len(), 5);
}

#[test]
fn seeders_are_not_introduced_to_seeders() {
    let mut bench = Bench::new();
    bench.announce(1, ours(seeder(1)));
    bench.announce(2, seeder(2));
    assert_eq!(offers(&bench.announce(3, with_offers(seeder(3), 0..5))), []);
    assert_eq!(bench.named(5, ours(seeder(5))), []);
    let named = bench.named(4, ours(leecher(4)));
    assert_eq!(named.len(), 2);
    assert!(named.iter().all(|peer| peer.seeder));
}

#[test]
fn offers_go_only_to_peers_that_speak_webrtc() {
    let mut bench = Bench::new();
    bench.announce(1, ours(leecher(1)));
    assert_eq!(offers(&bench.announce(9, with_offers(leecher(9), 0..5))), []);
    let mut speaks = ours(leecher(2));
    speaks.enxame.as_mut().unwrap().rtc = true;
    bench.announce(2, speaks);
    assert_eq!(offers(&bench.announce(9, with_offers(leecher(9), 0..5)))[0].0, ConnectionId(2));
}

#[test]
fn only_peers_that_can_relay_are_named_and_never_the_asker() {
    let mut bench = Bench::new();
    bench.announce(1, ours(leecher(1)));
    bench.announce(2, leecher(2));
    let mut cannot = ours(leecher(3));
    cannot.enxame.as_mut().unwrap().relay = false;
    bench.announce(3, cannot);
    assert_eq!(
        bench.named(4, ours(leecher(4))),
        [NamedPeer { peer_id: peer(1), seeder: false, relay: true, rtc: false, channel: None }]
    );
    assert_eq!(bench.registry.relay_capable(&hash(1), &peer(1)), Some((ConnectionId(1), true)));
    assert_eq!(bench.registry.relay_capable(&hash(1), &peer(2)), Some((ConnectionId(2), false)));
    assert_eq!(bench.registry.relay_capable(&hash(2), &peer(1)), None);
}

#[test]
fn peers_are_named_by_the_ways_that_they_share_with_the_asker() {
    let mut bench = Bench::new();
    for (n, (relay, rtc)) in [(1, (true, false)), (2, (false, true)), (3, (true, true)), (4, (false, false))]
    {
        bench.announce(n.into(), with_ways(leecher(n), relay, rtc));
    }
    bench.announce(5, leecher(5));
    for (relay, rtc, expected) in [
        (true, false, vec![1, 3]),
        (false, true, vec![2, 3]),
        (true, true, vec![1, 2, 3]),
        (false, false, vec![]),
    ] {
        let mut named = bench.named(9, with_ways(leecher(9), relay, rtc));
        named.sort_by_key(|named| named.peer_id);
        let ids: Vec<_> = named.iter().map(|named| named.peer_id.as_bytes()[0]).collect();
        assert_eq!(ids, expected, "relay {relay}, rtc {rtc}");
        for named in named {
            let n = named.peer_id.as_bytes()[0];
            assert_eq!((named.relay, named.rtc), (n != 2, n != 1), "what it can, whoever asks");
        }
    }
}

#[test]
fn the_offers_of_ours_go_to_strangers_alone_and_those_of_strangers_to_everybody() {
    let mut bench = Bench::new();
    bench.announce(1, with_ways(leecher(1), true, true));
    bench.announce(2, leecher(2));
    let mine = bench.announce(3, with_offers(with_ways(leecher(3), true, true), 0..5));
    assert_eq!(offers(&mine).iter().map(|(to, _)| to.0).collect::<Vec<_>>(), [2]);
    let mut theirs: Vec<_> =
        offers(&bench.announce(4, with_offers(leecher(4), 0..5))).iter().map(|(to, _)| to.0).collect();
    theirs.sort_unstable();
    assert_eq!(theirs, [1, 2, 3]);
}

#[test]
fn ours_are_told_how_many_strangers_an_offer_could_reach() {
    let mut bench = Bench::new();
    assert_eq!(bench.strangers(9, leecher(9)), 0);
    bench.announce(1, leecher(1));
    bench.announce(2, seeder(2));
    bench.announce(3, ours(leecher(3)));
    assert_eq!(bench.strangers(9, leecher(9)), 2);
    assert_eq!(bench.strangers(9, seeder(9)), 1, "a seeder has nothing for the other seeder");
    bench.announce(1, seeder(1));
    assert_eq!(bench.strangers(9, seeder(9)), 0);
    assert_eq!(bench.strangers(9, leecher(9)), 2);
    bench.announce(1, Announce { event: Event::Stopped, ..seeder(1) });
    assert_eq!(bench.strangers(9, leecher(9)), 1);
    bench.registry.disconnect(ConnectionId(2));
    assert_eq!(bench.strangers(9, leecher(9)), 0);
}

#[test]
fn ice_servers_are_for_our_own_clients() {
    let ice = shared::signal::parse_ice_servers("stun:s.example").unwrap();
    let mut bench = Bench::new();
    bench.registry = Registry::new(INTERVAL, Some(ice.clone()));
    assert_eq!(bench.reply(1, ours(leecher(1))).enxame.unwrap().ice, Some(ice));
    assert_eq!(bench.reply(2, leecher(2)).enxame, None);
}

#[test]
fn two_programs_over_one_connection_meet() {
    // As two WebTorrents in one page do: they share a socket.
    let mut bench = Bench::new();
    bench.announce(1, leecher(1));
    let sent = offers(&bench.announce(1, with_offers(leecher(2), 7..9)));
    assert_eq!(sent.iter().map(|(to, _)| to.0).collect::<Vec<_>>(), [1]);
    let id = sent[0].1.as_bytes()[0];
    assert!(bench.answer(1, 1, 2, id).is_some());
    // A relay channel between them would lead nowhere.
    bench.announce(3, ours(leecher(3)));
    assert_eq!(bench.named(3, ours(leecher(4))), []);
}

#[test]
fn an_offer_for_a_named_peer_goes_to_it_alone_and_its_answer_comes_back_once() {
    let mut bench = Bench::new();
    for n in 1..=9 {
        bench.announce(n.into(), with_ways(leecher(n), true, true));
    }
    let (to, message) = bench.offer(1, 1, 5, 7).unwrap();
    assert_eq!(to, ConnectionId(5));
    let ToPeer::Offer(forwarded) = message else { panic!("not an offer: {message:?}") };
    assert_eq!((forwarded.peer_id, forwarded.offer_id), (peer(1), OfferId::new([7; 20])));
    assert_eq!(bench.answer(6, 6, 1, 7), None, "it was for another");
    assert_eq!(bench.answer(5, 5, 2, 7), None, "another offered it");
    assert_eq!(bench.answer(5, 5, 1, 8), None, "it has another id");
    let (to, message) = bench.answer(5, 5, 1, 7).unwrap();
    assert_eq!(to, ConnectionId(1));
    assert!(matches!(message, ToPeer::Answer(_)));
    assert_eq!(bench.answer(5, 5, 1, 7), None, "it is used up");
}

#[test]
fn an_offer_for_a_named_peer_can_be_answered_for_two_minutes() {
    let mut bench = Bench::new();
    bench.announce(1, with_ways(leecher(1), true, true));
    bench.announce(2, with_ways(leecher(2), true, true));
    bench.offer(1, 1, 2, 7).unwrap();
    bench.offer(1, 1, 2, 8).unwrap();
    bench.now += OFFER_LIFETIME;
    assert!(bench.answer(2, 2, 1, 7).is_some());
    bench.now += Duration::from_millis(1);
    assert_eq!(bench.answer(2, 2, 1, 8), None);
}

#[test]
fn offers_for_peers_that_are_not_there_or_take_none_go_nowhere() {
    let mut bench = Bench::new();
    bench.announce(1, with_ways(leecher(1), true, true));
    bench.announce(2, with_ways(leecher(2), true, false));
    bench.announce(3, with_ways(leecher(3), true, true));
    bench.announce(4, Announce { info_hash: hash(2), ..with_ways(leecher(4), true, true) });
    assert_eq!(bench.offer(1, 1, 2, 7), None, "it takes no offers");
    assert_eq!(bench.offer(1, 1, 4, 7), None, "it is in another swarm");
    assert_eq!(bench.offer(1, 1, 9, 7), None, "it never was");
    assert_eq!(bench.offer(1, 1, 1, 7), None, "that is itself");
    assert_eq!(bench.offer(1, 3, 2, 7), None, "it offers in another's name");
    assert_eq!(bench.offer(8, 8, 3, 7), None, "it is not in the swarm");
    assert!(bench.offer(1, 1, 3, 7).is_some());
    bench.registry.disconnect(ConnectionId(3));
    assert_eq!(bench.offer(1, 1, 3, 8), None, "it left");
    bench.announce(3, with_ways(leecher(3), true, true));
    assert_eq!(bench.answer(3, 3, 1, 8), None, "an offer that was refused cannot be answered");
}

#[test]
fn offers_that_nobody_answers_do_not_pile_up() {
    let mut bench = Bench::new();
    bench.announce(1, with_ways(leecher(1), true, true));
    bench.announce(2, with_ways(leecher(2), true, true));
    for offer in 0..=u8::MAX {
        assert!(bench.offer(1, 1, 2, offer).is_some());
    }
    let answered = (0..=u8::MAX).filter(|offer| bench.answer(2, 2, 1, *offer).is_some()).count();
    assert_eq!(answered, 5 * shared::limits::MAX_OFFERS);
}

#[test]
fn named_peers_are_different_at_each_time_and_at_most_as_many_as_wanted() {
    let mut bench = Bench::new();
    for n in 0..200 {
        bench.announce(n.into(), ours(leecher(n)));
    }
    let five = || Announce { numwant: Some(5), ..ours(leecher(255)) };
    let first = bench.named(255, five());
    let second = bench.named(255, five());
    assert_eq!((first.len(), second.len()), (5, 5));
    assert_ne!(first, second);
    let greedy = Announce { numwant: Some(usize::MAX), ..ours(leecher(255)) };
    assert_eq!(bench.named(255, greedy).len(), MAX_NUMWANT);
    let unsaid = Announce { numwant: None, ..ours(leecher(255)) };
    assert_eq!(bench.named(255, unsaid).len(), MAX_NUMWANT);
}

#[test]
fn an_answer_finds_its_way_back_once() {
    let mut bench = Bench::new();
    bench.announce(1, leecher(1));
    bench.announce(2, with_offers(leecher(2), 7..8));
    let (to, message) = bench.answer(1, 1, 2, 7).unwrap();
    assert_eq!(to, ConnectionId(2));
    let ToPeer::Answer(forwarded) = message else { panic!("not an answer: {message:?}") };
    assert_eq!((forwarded.peer_id, forwarded.offer_id), (peer(1), OfferId::new([7; 20])));
    assert_eq!(bench.answer(1, 1, 2, 7), None, "the offer is used up");
}

#[test]
fn answers_that_nobody_asked_for_go_nowhere() {
    let mut bench = Bench::new();
    bench.announce(1, leecher(1));
    bench.announce(2, with_offers(leecher(2), 7..8));
    bench.announce(3, leecher(3));
    assert_eq!(bench.answer(3, 3, 2, 7), None, "the offer went to another peer");
    assert_eq!(bench.answer(3, 1, 2, 7), None, "the peer id is another connection's");
    assert_eq!(bench.answer(1, 1, 2, 8), None, "there was no such offer");
    assert_eq!(bench.answer(1, 1, 9, 7), None, "there is no such peer");
    assert!(bench.answer(1, 1, 2, 7).is_some());
}

#[test]
fn an_answer_that_comes_too_late_goes_nowhere() {
    let mut bench = Bench::new();
    bench.announce(1, leecher(1));
    bench.announce(2, with_offers(leecher(2), 7..9));
    bench.announce(3, leecher(3));
    bench.now += OFFER_LIFETIME;
    assert!(bench.answer(1, 1, 2, 7).or_else(|| bench.answer(1, 1, 2, 8)).is_some());
    bench.announce(2, with_offers(leecher(2), 20..22));
    bench.now += OFFER_LIFETIME + Duration::from_secs(1);
    for offer in 20..22 {
        assert_eq!(bench.answer(1, 1, 2, offer), None);
        assert_eq!(bench.answer(3, 3, 2, offer), None);
    }
}

#[test]
fn a_peer_id_in_use_is_refused_to_other_connections() {
    let mut bench = Bench::new();
    bench.announce(1, leecher(1));
    assert_eq!(bench.try_announce(2, leecher(1)), Err(AnnounceError::PeerIdTaken));
    assert_eq!(bench.try_announce(2, with_key(leecher(1), "guess")), Err(AnnounceError::PeerIdTaken));
    let stopped = Announce { event: Event::Stopped, ..leecher(1) };
    assert_eq!(bench.try_announce(2, stopped), Err(AnnounceError::PeerIdTaken));
    assert_eq!(bench.counts(1).incomplete, 1);
    bench.registry.disconnect(ConnectionId(1));
    bench.announce(2, leecher(1));
}

#[test]
fn whoever_shows_the_key_takes_the_peer_id_over() {
    let mut bench = Bench::new();
    bench.announce(1, with_key(leecher(1), "secret"));
    assert_eq!(bench.try_announce(2, with_key(leecher(1), "")), Err(AnnounceError::PeerIdTaken));
    assert_eq!(bench.try_announce(2, with_key(leecher(1), "Secret")), Err(AnnounceError::PeerIdTaken));
    let outcome = bench.announce(2, with_key(leecher(1), "secret"));
    assert_eq!(outcome.superseded, Some(ConnectionId(1)));
    assert_eq!(bench.registry.relay_capable(&hash(1), &peer(1)), Some((ConnectionId(2), true)));
    bench.registry.disconnect(ConnectionId(1));
    assert_eq!(bench.counts(1).incomplete, 1, "the old connection's end does not touch it");
}

#[test]
fn an_empty_key_is_no_key() {
    let mut bench = Bench::new();
    bench.announce(1, with_key(leecher(1), ""));
    assert_eq!(bench.try_announce(2, with_key(leecher(1), "")), Err(AnnounceError::PeerIdTaken));
}

#[test]
fn a_peer_that_stops_is_gone_and_hears_how_many_are_left() {
    let mut bench = Bench::new();
    bench.announce(1, leecher(1));
    bench.announce(2, ours(leecher(2)));
    let reply = bench.reply(1, Announce { event: Event::Stopped, ..leecher(1) });
    assert_eq!((reply.complete, reply.incomplete), (0, 1));
    let again = bench.reply(1, Announce { event: Event::Stopped, ..leecher(1) });
    assert_eq!(again.incomplete, 1);
    bench.announce(2, Announce { event: Event::Stopped, ..ours(leecher(2)) });
    assert_eq!(bench.registry.totals(), Totals::default());
}

#[test]
fn a_completed_download_is_counted_once() {
    let mut bench = Bench::new();
    bench.announce(9, leecher(9));
    bench.announce(1, leecher(1));
    let completed = Announce { event: Event::Completed, ..seeder(1) };
    bench.announce(1, completed.clone());
    bench.announce(1, completed.clone());
    assert_eq!(bench.counts(1), SwarmCounts { complete: 1, incomplete: 1, downloaded: 1 });
    bench.announce(2, Announce { peer_id: peer(2), ..completed });
    assert_eq!(bench.counts(1).downloaded, 1, "nobody saw that one download");
}

#[test]
fn a_count_that_was_forgotten_stays_forgotten_while_its_swarm_lives() {
    let mut bench = Bench::new();
    bench.registry = Registry::new(INTERVAL, None).with_bounds(Bounds { remembered: 1, ..Bounds::default() });
    for swarm in [1, 2] {
        let comes = Announce { info_hash: hash(swarm), ..leecher(swarm) };
        bench.announce(swarm.into(), comes.clone());
        assert!(bench.announce(swarm.into(), Announce { event: Event::Completed, ..comes }).completed);
    }
    assert_eq!((bench.counts(1).downloaded, bench.counts(2).downloaded), (0, 1));
    bench.registry.take_changed();
    assert!(!bench.announce(1, Announce { info_hash: hash(1), ..seeder(1) }).completed);
    assert_eq!(bench.registry.take_changed(), []);
    assert_eq!((bench.counts(1).downloaded, bench.counts(2).downloaded), (0, 1));
}

#[test]
fn silent_peers_are_forgotten_and_announcing_ones_stay() {
    let mut bench = Bench::new();
    bench.announce(1, leecher(1));
    bench.announce(2, leecher(2));
    bench.now += INTERVAL;
    bench.announce(2, leecher(2));
    bench.now += INTERVAL;
    assert_eq!(bench.registry.expire(bench.now), []);
    bench.now += Duration::from_secs(1);
    let gone = Membership { connection: ConnectionId(1), info_hash: hash(1), peer_id: peer(1) };
    assert_eq!(bench.registry.expire(bench.now), [gone]);
    assert_eq!(bench.counts(1).incomplete, 1);
}

#[test]
fn one_connection_cannot_fill_the_memory() {
    let mut bench = Bench::new();
    let swarm = |n: usize| {
        let mut bytes = [0; 20];
        bytes[..8].copy_from_slice(&n.to_be_bytes());
        Announce { info_hash: InfoHash::new(bytes), ..leecher(1) }
    };
    for n in 0..MAX_MEMBERSHIPS {
        bench.announce(1, swarm(n));
    }
    assert_eq!(
        bench.try_announce(1, swarm(MAX_MEMBERSHIPS)),
        Err(AnnounceError::TooManyMemberships(MAX_MEMBERSHIPS))
    );
    bench.announce(1, swarm(0));
    bench.announce(1, Announce { event: Event::Stopped, ..swarm(0) });
    bench.announce(1, swarm(MAX_MEMBERSHIPS));
    bench.registry.disconnect(ConnectionId(1));
    assert_eq!(bench.registry.totals(), Totals::default());
}

#[test]
fn unknown_swarms_are_scraped_as_empty_ones() {
    let bench = Bench::new();
    assert_eq!(bench.counts(5), SwarmCounts::default());
    assert_eq!(bench.registry.scrape(&Scrape { info_hashes: Vec::new() }).files.len(), 0);
}

#[derive(Debug, Clone)]
enum Step {
    Announce { connection: u64, swarm: u8, peer: u8, seeder: bool, ours: bool, event: Event },
    Disconnect(u64),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let event =
        prop_oneof![Just(Event::Started), Just(Event::Update), Just(Event::Completed), Just(Event::Stopped)];
    prop_oneof![
        8 => (0..4_u64, 0..3_u8, 0..4_u8, any::<[bool; 2]>(), event).prop_map(
            |(connection, swarm, peer, [seeder, ours], event)| Step::Announce {
                connection, swarm, peer, seeder, ours, event
            }
        ),
        1 => (0..4_u64).prop_map(Step::Disconnect),
        1 => (0..200_u64).prop_map(Step::Wait),
    ]
}

proptest! {
    /// Against a plain map from (swarm, peer) to (connection, seeder, ours).
    #[test]
    fn the_counts_are_those_of_a_plain_map(steps in proptest::collection::vec(step(), 0..100)) {
        let mut bench = Bench::new();
        let mut model: HashMap<(u8, u8), (u64, bool, bool)> = HashMap::new();
        for step in steps {
            match step {
                Step::Announce { connection, swarm, peer: id, seeder: full, ours: mine, event } => {
                    let announce = if full { seeder(id) } else { leecher(id) };
                    let announce = if mine { ours(announce) } else { announce };
                    let announce = Announce { info_hash: hash(swarm), event, ..announce };
                    let free = model.get(&(swarm, id)).is_none_or(|(owner, ..)| *owner == connection);
                    prop_assert_eq!(bench.try_announce(connection, announce).is_ok(), free);
                    if free && event == Event::Stopped {
                        model.remove(&(swarm, id));
                    } else if free {
                        model.insert((swarm, id), (connection, full || event == Event::Completed, mine));
                    }
                }
                Step::Disconnect(connection) => {
                    bench.registry.disconnect(ConnectionId(connection));
                    model.retain(|_, (owner, ..)| *owner != connection);
                }
                Step::Wait(seconds) => {
                    bench.now += Duration::from_secs(seconds);
                    for gone in bench.registry.expire(bench.now) {
                        let key = (gone.info_hash.as_bytes()[0], gone.peer_id.as_bytes()[0]);
                        prop_assert_eq!(model.remove(&key).map(|(owner, ..)| owner), Some(gone.connection.0));
                    }
                }
            }
            let swarms: HashSet<u8> = model.keys().map(|(swarm, _)| *swarm).collect();
            let seeders = model.values().filter(|(_, seeder, _)| *seeder).count();
            let totals = Totals { swarms: swarms.len(), peers: model.len(), seeders };
            prop_assert_eq!(bench.registry.totals(), totals);
            for swarm in swarms {
                let strangers = |seeders: bool| {
                    let fits = |((of, _), (_, seeder, ours)): &(&(u8, u8), &(u64, bool, bool))| {
                        *of == swarm && !ours && (seeders || !seeder)
                    };
                    u32::try_from(model.iter().filter(fits).count()).unwrap()
                };
                let found = &bench.registry.swarms[&hash(swarm)];
                prop_assert_eq!(found.strangers_for(false), strangers(true));
                prop_assert_eq!(found.strangers_for(true), strangers(false));
            }
        }
    }
}
