//! What the hub tells those who wait for a channel that comes to nothing, and what it keeps when the others are gone. The other node
//! is played by hand. And how those who are here and there share a draw.

use futures::FutureExt;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use shared::signal::{EnxameHello, RelayVisit, Ticket};

use super::*;
use crate::cluster::message::Message;
use crate::cluster::{ClusterSettings, HEARTBEAT, Memory, Place, queue};
use crate::hub::tests::waiting;
use crate::hub::{Connection, Hub};
use crate::lock;
use crate::outbox::{Next, Queues};
use crate::page::Page;
use crate::settings::Settings;
use crate::signal::ToTracker;

const OTHER: NodeId = NodeId(9);
/// What the other node calls its line.
const THEIRS: u64 = 77;
const SWARM: InfoHash = InfoHash::new([1; 20]);

fn peer(n: u8) -> PeerId {
    PeerId::new([n; 20])
}

/// A node with a public address, of which each client may have one channel. The peer 2 is here, and the peer 1 at the other node.
struct Bench {
    hub: Hub,
    shared: Arc<Shared>,
    host: Connection,
}

impl Bench {
    fn new() -> Self {
        let mut settings = Settings::new(Page::embedded());
        settings.limits.channels_per_connection = 1;
        let mut cluster = ClusterSettings::new(Place::Memory(Memory::default()), HEARTBEAT);
        cluster.public_url = Some("wss://here.example/ws".to_owned());
        // Nothing is asked by itself: the queue has nobody at its other end.
        let (shared, _) = queue(&cluster, &settings.limits);
        let queues = Arc::new(Queues::new(&settings.limits));
        let mut hub = Hub::new(&settings, Arc::default(), queues);
        hub.share_with(Arc::clone(&shared));
        let host = hub.connect();
        let bench = Self { hub, shared, host };
        bench.announce(&bench.host, 2);
        bench.shared.set_joined(true);
        bench
    }

    fn announce(&self, who: &Connection, n: u8) {
        let hello = EnxameHello { v: 1, relay: true, rtc: false, key: None, open: 0 };
        let announce = Announce { left: Some(1), enxame: Some(hello), ..Announce::new(SWARM, peer(n)) };
        self.hub.handle(who, ToTracker::Announce(announce), Instant::now());
        assert!(matches!(waiting(&who.outbox), Some(Next::Signal(ToPeer::Announced(_)))));
    }

    /// The host has its one channel, with somebody else.
    fn fill(&self) -> Connection {
        self.shared.set_joined(false);
        let friend = self.hub.connect();
        self.announce(&friend, 3);
        let open = RelayOpen { info_hash: SWARM, peer_id: peer(2), to_peer_id: peer(3), visit: false };
        self.hub.handle(&self.host, ToTracker::RelayOpen(open), Instant::now());
        assert!(matches!(waiting(&self.host.outbox), Some(Next::Opened(..))));
        self.shared.set_joined(true);
        friend
    }

    /// The peer of the other node asks for a channel to the one that is here.
    fn hear_open(&self, visit: bool) {
        let words = Words::Open { swarm: SWARM, from: peer(1), to: peer(2), line: THEIRS, visit };
        self.hub.hear(OTHER, words, Instant::now());
    }

    /// The peer that is here asks for a channel to that of the other node, which was found there.
    fn open_there(&self) {
        let open = RelayOpen { info_hash: SWARM, peer_id: peer(2), to_peer_id: peer(1), visit: false };
        let entry = Entry { seeder: false, ours: true, relay: true, rtc: false, key: None };
        let found = Told::Found(Some(Distant { node: OTHER, peer: peer(1), entry }));
        self.hub.answer(Request::Open(self.host.id, open), Some(vec![found]));
    }

    /// Why the peer that is here is told that it gets no channel, if it is.
    fn host_is_refused(&self) -> Option<RelayReason> {
        match waiting(&self.host.outbox)? {
            Next::Signal(ToPeer::RelayRefused { info_hash, to_peer_id, reason }) => {
                assert_eq!((info_hash, to_peer_id), (SWARM, peer(1)));
                Some(reason)
            }
            _ => panic!("it is told something else"),
        }
    }

    /// What the other node is told.
    fn told(&self) -> Vec<Words> {
        let told = self.shared.bus.take().now_or_never().unwrap_or_default();
        let read = |(to, message)| match Message::decode(&message) {
            Some(Message::Words(_, words)) if to == OTHER => words,
            other => panic!("{to} {other:?}"),
        };
        told.into_iter().map(read).collect()
    }

    /// The other node's peer was let in, and the one that is here waits for it.
    fn let_in(&self) -> Ticket {
        self.hear_open(true);
        let ticket = match &self.told()[..] {
            [Words::Visit { to: THEIRS, ticket, .. }] => *ticket,
            other => panic!("{other:?}"),
        };
        self.open_there();
        assert_eq!((self.host_is_refused(), self.told().len()), (None, 0));
        ticket
    }
}

#[test]
fn who_waits_for_a_visitor_that_gets_no_channel_is_told() {
    let bench = Bench::new();
    let ticket = bench.let_in();
    let _friend = bench.fill();
    let visitor = bench.hub.connect();
    let visit = RelayVisit { info_hash: SWARM, peer_id: peer(1), to_peer_id: peer(2), ticket };
    bench.hub.handle(&visitor, ToTracker::RelayVisit(visit), Instant::now());
    let refused = waiting(&visitor.outbox);
    assert!(matches!(refused, Some(Next::Signal(ToPeer::RelayRefused { .. }))));
    assert_eq!(bench.host_is_refused(), Some(RelayReason::UnknownPeer));
}

#[test]
fn who_waits_for_a_visitor_that_stays_at_home_and_gets_no_channel_is_told() {
    let bench = Bench::new();
    bench.let_in();
    let _friend = bench.fill();
    bench.hear_open(false);
    let told = bench.told();
    assert!(matches!(told[..], [Words::Refused { to: THEIRS, .. }]), "{told:?}");
    assert_eq!(bench.host_is_refused(), Some(RelayReason::UnknownPeer));
}

#[test]
fn who_waits_for_a_visitor_when_the_others_are_gone_is_told() {
    let bench = Bench::new();
    bench.let_in();
    bench.shared.set_joined(false);
    bench.hub.lose_all_nodes();
    assert_eq!(bench.host_is_refused(), Some(RelayReason::UnknownPeer));
    assert_eq!(lock(&bench.shared.tickets).len(), 0);
}

#[test]
fn a_channel_that_is_asked_for_when_the_others_are_gone_is_not_kept() {
    let bench = Bench::new();
    bench.open_there();
    assert!(matches!(bench.told()[..], [Words::Open { .. }]));
    bench.shared.set_joined(false);
    bench.hub.lose_all_nodes();
    assert_eq!(bench.host_is_refused(), Some(RelayReason::PeerLeft));
    // What was heard just before.
    bench.hear_open(false);
    assert_eq!((lock(&bench.shared.lines).len(), bench.hub.counts().channels), (0, 0));
    assert!(waiting(&bench.host.outbox).is_none());
}

#[test]
fn who_gave_up_its_wish_for_another_s_that_comes_to_nothing_is_told() {
    let bench = Bench::new();
    bench.open_there();
    // The other node asked at the same moment, and its wish is the one that holds.
    bench.shared.set_joined(false);
    bench.hear_open(false);
    assert_eq!(bench.host_is_refused(), Some(RelayReason::UnknownPeer));
    assert_eq!((lock(&bench.shared.lines).len(), bench.hub.counts().channels), (0, 0));
}

#[test]
fn peers_here_and_there_are_equally_likely() {
    let mut rng = SmallRng::seed_from_u64(1);
    let mine: usize = (0..1000).map(|_| share(10, 30, 8, &mut rng)).sum();
    assert!((1800..2200).contains(&mine), "{mine} of 8000, not about a quarter");
    assert_eq!(share(3, 2, 50, &mut rng), 3);
    assert_eq!(share(0, 9, 5, &mut rng), 0);
    assert_eq!(share(9, 0, 5, &mut rng), 5);
    assert_eq!(share(0, 0, 5, &mut rng), 0);
}
