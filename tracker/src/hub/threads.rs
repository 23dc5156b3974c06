//! Several threads that come, announce, take over, relay and go at the same time: whatever they do, it ends, and nothing is left.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use shared::PeerId;
use shared::signal::{EnxameHello, Event, RelayClose, RelayOpen};

use super::tests::waiting;
use super::*;
use crate::outbox::Next;
use crate::page::Page;
use crate::signal::Announce;

const THREADS: u64 = 4;
const STEPS: usize = 3000;
const CLIENTS: usize = 3;
/// Few of both, so that they meet, and take each other's place in swarms of several shards.
const SWARMS: u8 = 6;
const PEERS: u8 = 5;
/// After so long every peer is forgotten.
const SILENCE: Duration = Duration::from_secs(24 * 60 * 60);

/// Announces with a key that all have: whoever says a peer id takes it over.
fn announce(info_hash: InfoHash, peer_id: PeerId, event: Event) -> ToTracker {
    let hello = EnxameHello { v: 1, relay: true, rtc: false, key: Some("everybody's".to_owned()), open: 2 };
    let announce = Announce::new(info_hash, peer_id);
    ToTracker::Announce(Announce { event, left: Some(1), enxame: Some(hello), ..announce })
}

/// One thread's story. Gives how many channels it was told of.
fn live(hub: &Hub, seed: u64) -> usize {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut clients: Vec<Connection> = (0..CLIENTS).map(|_| hub.connect()).collect();
    let mut channels = Vec::new();
    let mut opened = 0;
    for _ in 0..STEPS {
        let n = rng.random_range(0..CLIENTS);
        let (info_hash, peer_id) =
            (InfoHash::new([rng.random_range(0..SWARMS); 20]), PeerId::new([rng.random_range(0..PEERS); 20]));
        let to_peer_id = PeerId::new([rng.random_range(0..PEERS); 20]);
        let now = Instant::now();
        match rng.random_range(0..20) {
            0..8 => hub.handle(&clients[n], announce(info_hash, peer_id, Event::Started), now),
            8 => hub.handle(&clients[n], announce(info_hash, peer_id, Event::Stopped), now),
            9..14 => {
                let open = RelayOpen { info_hash, peer_id, to_peer_id, visit: false };
                hub.handle(&clients[n], ToTracker::RelayOpen(open), now);
            }
            14..17 => {
                if let Some((n, channel)) = channels.pop() {
                    let close = RelayClose { channel, reason: RelayReason::Done };
                    let near: &Connection = &clients[n];
                    if let Some(far) = hub.far_end(near, channel) {
                        // It may be closed by now.
                        let _ = far.data(Bytes::from_static(b"bytes"));
                    }
                    hub.handle(near, ToTracker::RelayClose(close), now);
                }
            }
            // Now nobody has been silent for long; later everybody has.
            17 => hub.expire(if rng.random() { now + SILENCE } else { now }),
            18 => _ = hub.counts(),
            _ => {
                hub.disconnect(clients[n].id);
                clients[n] = hub.connect();
                channels.retain(|(of, _)| *of != n);
            }
        }
        for (n, client) in clients.iter_mut().enumerate() {
            while let Some(next) = waiting(&client.outbox) {
                match next {
                    Next::Opened(channel, _) => {
                        opened += 1;
                        channels.push((n, channel));
                    }
                    // Somebody took over one of its peers.
                    Next::End(_) => {
                        hub.disconnect(client.id);
                        *client = hub.connect();
                        channels.retain(|(of, _)| *of != n);
                    }
                    _ => {}
                }
            }
        }
    }
    clients.iter().for_each(|client| hub.disconnect(client.id));
    opened
}

#[test]
fn whatever_threads_do_at_the_same_time_nothing_is_left_of_it() {
    let mut settings = Settings::new(Page::embedded());
    settings.limits.channels = 8;
    let queues = Arc::new(Queues::new(&settings.limits));
    let hub = Hub::new(&settings, Arc::default(), Arc::clone(&queues));
    // Says something once, and nobody takes it over.
    let silent = hub.connect();
    let (info_hash, peer_id) = (InfoHash::new([SWARMS; 20]), PeerId::new([PEERS; 20]));
    hub.handle(&silent, announce(info_hash, peer_id, Event::Started), Instant::now());
    assert_eq!(hub.counts().totals.peers, 1);
    let opened: usize = std::thread::scope(|scope| {
        let hub = &hub;
        let threads: Vec<_> = (0..THREADS).map(|seed| scope.spawn(move || live(hub, seed))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert!(opened > 0, "nobody relayed");
    assert_eq!((hub.counts().connections, hub.counts().totals), (1, Totals::default()), "it was forgotten");
    hub.disconnect(silent.id);
    let counts = hub.counts();
    assert_eq!((counts.connections, counts.channels, queues.held()), (0, 0, 0));
    assert_eq!(counts.totals, Totals::default());
    // Nor in what they share: every map is empty.
    let shared = format!("{:?}", hub.common);
    assert!(shared.contains("peers: 0,") && shared.contains("open: 0,"), "{shared}");
    for map in ["memberships: Mutex { data: {}", "sides: {}", "allowances: Mutex { data: {}"] {
        assert!(shared.contains(map), "{map} is not in {shared}");
    }
}
