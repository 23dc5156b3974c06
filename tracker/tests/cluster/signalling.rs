//! Announces, offers, answers and scrapes of clients of several nodes.

use shared::OfferId;
use shared::signal::{
    Announce, Answer, CLOSE_SUPERSEDED, Event, Forwarded, Offer, OfferRefused, Scrape, SessionDescription,
    TargetedOffer, ToPeer, ToTracker,
};

use crate::client::*;
use crate::place::{LOOK, World};

fn description(kind: &str, sdp: &str) -> SessionDescription {
    SessionDescription { kind: kind.to_owned(), sdp: sdp.to_owned() }
}

/// An announce of another program's client, with so many offers.
fn stranger(n: u8, offers: u8) -> Announce {
    let offer =
        |id| Offer { offer: description("offer", &format!("of {n}")), offer_id: OfferId::new([id; 20]) };
    Announce { enxame: None, offers: (0..offers).map(offer).collect(), ..ours(n) }
}

fn answer(from: u8, to: u8, id: u8) -> ToTracker {
    ToTracker::Answer(Answer {
        info_hash: hash(1),
        peer_id: peer(from),
        to_peer_id: peer(to),
        offer_id: OfferId::new([id; 20]),
        answer: description("answer", "yes"),
    })
}

async fn offered(client: &mut Client) -> Forwarded {
    match client.signal().await {
        ToPeer::Offer(forwarded) => forwarded,
        other => panic!("not an offer: {other:?}"),
    }
}

async fn scraped(client: &mut Client) -> (u32, u32, u32) {
    client.send(&ToTracker::Scrape(Scrape { info_hashes: vec![hash(1), hash(1)] })).await;
    match client.signal().await {
        ToPeer::Scraped(reply) => {
            let counts = reply.files[&hash(1)];
            (counts.complete, counts.incomplete, counts.downloaded)
        }
        other => panic!("not a scrape: {other:?}"),
    }
}

/// Waits until so many are counted.
async fn counts(client: &mut Client, complete: u32, incomplete: u32) {
    soon(async {
        loop {
            let (seeders, leechers, _) = scraped(client).await;
            if (seeders, leechers) == (complete, incomplete) {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    })
    .await;
}

async fn an_announce_is_told_of_the_peers_of_all_nodes(world: World) {
    let [a, b, c] = world.nodes().await;
    let _here = a.join(1).await;
    let _there = b.join(2).await;
    let mut seeder = c.connect().await;
    seeder.announced(Announce { left: Some(0), ..ours(3) }).await;
    let mut other = c.connect().await;
    other.announced(stranger(4, 0)).await;
    let mut newcomer = a.connect().await;
    let reply = newcomer.announced(ours(5)).await;
    assert_eq!((reply.complete, reply.incomplete), (1, 4));
    let enxame = reply.enxame.unwrap();
    assert_eq!(enxame.strangers, 1);
    let mut named: Vec<_> = enxame.peers.iter().map(|named| (named.peer_id, named.seeder)).collect();
    named.sort();
    assert_eq!(named, [(peer(1), false), (peer(2), false), (peer(3), true)]);
    // Seeders have nothing for each other.
    let named = newcomer.announced(Announce { left: Some(0), ..ours(5) }).await.enxame.unwrap().peers;
    assert!(named.len() == 2 && named.iter().all(|named| !named.seeder), "{named:?}");
}

async fn no_more_are_named_than_wanted_and_some_of_each_node(world: World) {
    let [a, b] = world.nodes().await;
    let mut clients = Vec::new();
    for n in 1..=8 {
        clients.push(if n % 2 == 0 { a.join(n).await } else { b.join(n).await });
    }
    let mut newcomer = a.connect().await;
    let mut there = 0;
    for _ in 0..20 {
        let named = newcomer.announced(Announce { numwant: Some(4), ..ours(9) }).await.enxame.unwrap().peers;
        assert_eq!(named.len(), 4);
        there += named.iter().filter(|named| named.peer_id.as_bytes()[0] % 2 == 1).count();
    }
    assert!((20..60).contains(&there), "{there} of 80 at the other node, which has half");
}

async fn offers_reach_peers_of_other_nodes_and_answers_come_back_once(world: World) {
    let [a, b] = world.nodes().await;
    let mut answerer = b.connect().await;
    answerer.announced(stranger(2, 0)).await;
    let mut offerer = a.connect().await;
    offerer.announced(stranger(1, 3)).await;
    let offer = offered(&mut answerer).await;
    assert_eq!((offer.info_hash, offer.peer_id), (hash(1), peer(1)));
    assert_eq!(offer.description.sdp, "of 1");
    // One peer gets one of them.
    answerer.quiet().await;
    let id = offer.offer_id.as_bytes()[0];
    answerer.send(&answer(2, 1, id + 1)).await;
    answerer.send(&answer(2, 1, id)).await;
    answerer.send(&answer(2, 1, id)).await;
    match offerer.signal().await {
        ToPeer::Answer(answer) => {
            assert_eq!((answer.peer_id, answer.offer_id), (peer(2), offer.offer_id));
            assert_eq!(answer.description.sdp, "yes");
        }
        other => panic!("not an answer: {other:?}"),
    }
    answerer.quiet().await;
    assert_eq!(b.rejections("unknown-answer").await, 2);
    offerer.quiet().await;
}

async fn offers_go_to_the_peers_of_all_nodes_one_each(world: World) {
    let [a, b] = world.nodes().await;
    let mut others = Vec::new();
    for n in 2..=5 {
        let mut client = if n % 2 == 0 { a.connect().await } else { b.connect().await };
        client.announced(stranger(n, 0)).await;
        others.push(client);
    }
    let mut offerer = a.connect().await;
    offerer.announced(stranger(1, 4)).await;
    let mut ids = Vec::new();
    for other in &mut others {
        ids.push(offered(other).await.offer_id);
        other.quiet().await;
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 4);
}

async fn an_offer_for_a_named_peer_finds_it_at_its_node_or_is_refused(world: World) {
    let [a, b] = world.nodes().await;
    let mut there = b.connect().await;
    there.announced(with_rtc(2)).await;
    let _relay_only = b.join(3).await;
    let mut offerer = a.connect().await;
    offerer.announced(with_rtc(1)).await;
    let offer = |from, to| {
        ToTracker::Offer(TargetedOffer {
            info_hash: hash(1),
            peer_id: peer(from),
            to_peer_id: peer(to),
            offer_id: OfferId::new([to; 20]),
            offer: description("offer", "for you"),
        })
    };
    offerer.send(&offer(1, 2)).await;
    assert_eq!(offered(&mut there).await.peer_id, peer(1));
    there.send(&answer(2, 1, 2)).await;
    assert!(matches!(offerer.signal().await, ToPeer::Answer(_)));
    // Who takes none, who is nowhere, and in the name of somebody else.
    for (from, to) in [(1, 3), (1, 4), (9, 2)] {
        offerer.send(&offer(from, to)).await;
        let refused =
            OfferRefused { info_hash: hash(1), to_peer_id: peer(to), offer_id: OfferId::new([to; 20]) };
        assert_eq!(offerer.signal().await, ToPeer::OfferRefused(refused));
    }
    there.quiet().await;
}

async fn a_scrape_counts_the_peers_and_completions_of_all_nodes(world: World) {
    let [a, b] = world.nodes().await;
    let mut here = a.join(1).await;
    let mut there = b.join(2).await;
    assert_eq!(scraped(&mut here).await, (0, 2, 0));
    there.announced(Announce { event: Event::Completed, left: Some(0), ..ours(2) }).await;
    assert_eq!(scraped(&mut here).await, (1, 1, 1));
    here.announced(Announce { event: Event::Completed, left: Some(0), ..ours(1) }).await;
    for client in [&mut here, &mut there] {
        assert_eq!(scraped(client).await, (2, 0, 2));
    }
}

async fn who_stops_or_goes_is_gone_at_all_nodes(world: World) {
    let [a, b] = world.nodes().await;
    let mut here = a.join(1).await;
    let mut stops = b.join(2).await;
    let goes = b.join(3).await;
    counts(&mut here, 0, 3).await;
    stops.announced(Announce { event: Event::Stopped, ..ours(2) }).await;
    counts(&mut here, 0, 2).await;
    drop(goes);
    counts(&mut here, 0, 1).await;
}

async fn a_peer_id_of_another_node_is_refused_unless_the_key_is_shown(world: World) {
    let [a, b] = world.nodes().await;
    let mut owner = a.connect().await;
    owner.announced(with_key(1, "mine")).await;
    let mut thief = b.connect().await;
    for announce in [with_key(1, "theirs"), ours(1)] {
        thief.send(&ToTracker::Announce(announce)).await;
        assert_eq!(thief.failed().await.reason, "this peer id is in use by another connection");
    }
    thief.ask_to_open(1, 2).await;
    assert_eq!(thief.refused().await, shared::signal::RelayReason::NotInSwarm);
    owner.quiet().await;
    let mut again = b.connect().await;
    again.announced(with_key(1, "mine")).await;
    assert_eq!(u16::from(owner.closed().await.unwrap().code), CLOSE_SUPERSEDED);
    counts(&mut again, 0, 1).await;
}

in_memory_and_in_redis! {
    an_announce_is_told_of_the_peers_of_all_nodes,
    no_more_are_named_than_wanted_and_some_of_each_node,
    offers_reach_peers_of_other_nodes_and_answers_come_back_once,
    offers_go_to_the_peers_of_all_nodes_one_each,
    an_offer_for_a_named_peer_finds_it_at_its_node_or_is_refused,
    a_scrape_counts_the_peers_and_completions_of_all_nodes,
    who_stops_or_goes_is_gone_at_all_nodes,
    a_peer_id_of_another_node_is_refused_unless_the_key_is_shown,
}
