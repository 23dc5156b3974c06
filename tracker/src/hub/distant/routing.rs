//! Which shards what other nodes say is for, and what concerns all of them.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use shared::InfoHash;
use shared::signal::{RelayReason, Scrape, Scraped};

use crate::cluster::backend::{Ask, Counts, Draw, NodeId, Told};
use crate::cluster::line::Line;
use crate::cluster::message::Words;
use crate::cluster::tickets::{Tickets, Trip};
use crate::cluster::{OPENING_TIME, Request, Shared};
use crate::hub::Hub;
use crate::metrics::Rejection;
use crate::signal::ToPeer;
use crate::{ConnectionId, lock};

impl Hub {
    /// This node is one of many.
    pub(crate) fn share_with(&mut self, shared: Arc<Shared>) {
        let offers_held = Arc::new(AtomicUsize::new(0));
        for shard in &self.shards {
            lock(shard).share_with(Arc::clone(&shared), Arc::clone(&offers_held));
        }
        self.others = Some(shared);
    }

    /// The others have answered, or cannot (`None`).
    pub(crate) fn answer(&self, request: Request, told: Option<Vec<Told>>) {
        let swarm = match request {
            Request::Announce(ref asked) => asked.member.info_hash,
            Request::Leave { swarm, .. } => swarm,
            Request::Offer(_, ref offer) => offer.info_hash,
            Request::Open(_, ref open) => open.info_hash,
            Request::Scrape(connection, scrape, reply) => {
                let counts = told
                    .into_iter()
                    .flatten()
                    .map(|told| if let Told::Counted(counts) = told { counts } else { Counts::default() });
                self.send(connection, ToPeer::Scraped(add_counts(&scrape, reply, counts)));
                return self.relieve();
            }
        };
        self.decide(self.shard(&swarm), |shard| shard.answer(request, told));
        self.relieve();
    }

    /// Asks the others how many are in these swarms, and then replies.
    pub(in crate::hub) fn scrape(&self, connection: ConnectionId, mut scrape: Scrape) {
        // Of what is not served nothing is told, how often it was completed included.
        let asked = scrape.info_hashes.len();
        scrape.info_hashes.retain(|info_hash| self.access.permits(info_hash));
        if scrape.info_hashes.len() < asked {
            self.metrics.reject(Rejection::AccessList);
        }
        let mut reply = lock(&self.shards[0]).registry.scrape(&Scrape { info_hashes: Vec::new() });
        for info_hash in &scrape.info_hashes {
            let one = Scrape { info_hashes: vec![*info_hash] };
            reply.files.append(&mut lock(self.shard(info_hash)).registry.scrape(&one).files);
        }
        if let Some(shared) = self.others.as_ref().filter(|shared| shared.is_joined()) {
            // Each once: what is told is added up.
            scrape.info_hashes.sort_unstable();
            scrape.info_hashes.dedup();
            // With a shard's lock held, like all that is asked: who finds the others gone answers what was asked before.
            let held = lock(&self.shards[0]);
            let asked = shared.ask(Request::Scrape(connection, scrape, reply));
            drop(held);
            match asked {
                Err(Request::Scrape(_, _, given_back)) => reply = given_back,
                _ => return,
            }
            self.metrics.reject(Rejection::Cluster);
        }
        self.send(connection, ToPeer::Scraped(reply));
    }

    /// The swarms that have peers here.
    pub(crate) fn swarms(&self) -> Vec<InfoHash> {
        self.shards.iter().flat_map(|shard| lock(shard).registry.swarms()).collect()
    }

    /// What the others are to know of these swarms.
    pub(crate) fn entries(&self, swarms: &[InfoHash], lifetime: Duration) -> Vec<Ask> {
        let enter = |swarm: InfoHash, (peer, entry)| Ask::Enter {
            swarm,
            peer,
            entry,
            completed: false,
            lifetime,
            draws: [Draw::default(); 2],
        };
        let mut asks = Vec::new();
        for swarm in swarms {
            let shard = lock(self.shard(swarm));
            asks.extend(shard.registry.entries(swarm).map(|member| enter(*swarm, member)));
        }
        asks
    }

    /// Another node says something.
    pub(crate) fn hear(&self, node: NodeId, words: Words, now: Instant) {
        let line = |number| self.line(number).map(|line| line.open.info_hash);
        let swarm = match &words {
            Words::Offer { offer: described, .. } | Words::Answer(described) => Some(described.swarm),
            Words::OfferRefused { swarm, .. }
            | Words::Superseded { swarm, .. }
            | Words::Open { swarm, .. } => Some(*swarm),
            Words::Opened { to, .. }
            | Words::Visit { to, .. }
            | Words::Refused { to, .. }
            | Words::Unknown { to } => line(*to),
            Words::Credit { on, .. } | Words::Closed { on, .. } => line(on.to),
            Words::Cancelled { line: theirs } => {
                let (theirs, is_it) = (*theirs, |line: &Line| line.node == node);
                self.drop_lines(RelayReason::PeerLeft, |line| is_it(line) && line.theirs() == Some(theirs));
                return self.relieve();
            }
        };
        // Of a line that is none here, any shard can say so.
        let shard = swarm.map_or(&self.shards[0], |swarm| self.shard(&swarm));
        self.decide(shard, |shard| shard.hear(node, words, now));
        self.relieve();
    }

    /// A node is gone: so are the channels to its peers.
    pub(crate) fn lose_node(&self, node: NodeId) {
        self.drop_lines(RelayReason::PeerLeft, |line| line.node == node);
    }

    /// All other nodes are out of reach.
    pub(crate) fn lose_all_nodes(&self) {
        self.drop_lines(RelayReason::PeerLeft, |_| true);
        // Nobody sweeps these while this node is alone.
        self.await_no_more(Tickets::clear);
        for shard in &self.shards {
            lock(shard).forget_offers();
        }
    }

    /// Gives up what other nodes do not answer, and forgets offers that nobody may answer any more.
    pub(crate) fn sweep_lines(&self, now: Instant) {
        for shard in &self.shards {
            lock(shard).sweep_offers(now);
        }
        self.await_no_more(|tickets| tickets.sweep(now));
        let is_late =
            |line: &Line| line.is_pending() && now.saturating_duration_since(line.since) > OPENING_TIME;
        for line in self.lines(is_late) {
            self.decide(self.shard(&line.open.info_hash), |shard| shard.give_up(&line));
        }
    }

    /// Tickets are given up: who waits for somebody to come with one is told.
    fn await_no_more(&self, give_up: impl FnOnce(&mut Tickets) -> Vec<Trip>) {
        let in_vain = self.others.as_ref().map(|shared| give_up(&mut lock(&shared.tickets)));
        for trip in in_vain.into_iter().flatten() {
            self.decide(self.shard(&trip.swarm), |shard| shard.await_no_more(&trip));
        }
    }

    /// Ends a line in both directions, because something on it is wrong.
    pub(super) fn break_line(&self, line: &Line, reason: RelayReason) {
        self.decide(self.shard(&line.open.info_hash), |shard| shard.break_line(line, reason));
    }

    fn drop_lines(&self, reason: RelayReason, which: impl Fn(&Line) -> bool) {
        for line in self.lines(which) {
            self.decide(self.shard(&line.open.info_hash), |shard| shard.drop_line(line.number, reason));
        }
    }

    fn lines(&self, which: impl Fn(&Line) -> bool) -> Vec<Arc<Line>> {
        let Some(shared) = &self.others else { return Vec::new() };
        lock(&shared.lines).values().filter(|line| which(line)).map(Arc::clone).collect()
    }

    fn line(&self, number: u64) -> Option<Arc<Line>> {
        self.others.as_ref()?.line(number)
    }
}

fn add_counts(scrape: &Scrape, mut reply: Scraped, counts: impl Iterator<Item = Counts>) -> Scraped {
    for (swarm, counts) in scrape.info_hashes.iter().zip(counts) {
        if let Some(own) = reply.files.get_mut(swarm) {
            let [our_leechers, our_seeders, leechers, seeders] = counts.kinds;
            own.complete = own.complete.saturating_add(our_seeders + seeders);
            own.incomplete = own.incomplete.saturating_add(our_leechers + leechers);
            // Kept here since before there were others, maybe.
            own.downloaded = own.downloaded.max(counts.completed);
        }
    }
    reply
}
