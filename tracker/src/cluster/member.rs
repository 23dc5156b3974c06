//! A node's life among the others: it joins, says that it lives, asks, tells, and joins again when it has lost them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::backend::{Ask, Backend, Hear, Lost, NodeId, Session, Told};
use super::message::Message;
use super::{ClusterSettings, Place, Request, Shared};
use crate::server::App;

/// Most requests that are asked together.
const BATCH: usize = 256;

/// Swarms whose peers are entered together when a node joins.
const SWARMS: usize = 64;

/// Waits between two attempts to join: the first, and the longest. Each is up to half as long again, at random, so
/// that not all nodes come at once when Redis is back.
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(5);

/// Time for leaving; a node that ends waits for so long at most where Redis does not answer.
const LEAVING_TIME: Duration = Duration::from_secs(3);

/// An entry counts no more after so many announce intervals without an announce. The node itself forgets a silent peer
/// after two, and says so; this is for nodes that are gone.
const INTERVALS: u32 = 3;

/// A node's life among the others, as a task.
#[derive(Debug)]
pub(crate) struct Member {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Member {
    pub(crate) fn start(
        settings: ClusterSettings,
        app: Arc<App>,
        shared: Arc<Shared>,
        requests: mpsc::Receiver<Request>,
        announce_interval: Duration,
    ) -> Self {
        let stop = CancellationToken::new();
        let life = Life {
            app,
            shared,
            requests,
            asked: Vec::with_capacity(BATCH),
            heartbeat: settings.heartbeat,
            lifetime: settings.lifetime,
            entry_lifetime: announce_interval * INTERVALS,
            stop: stop.clone(),
        };
        let task = match settings.place {
            Place::Memory(memory) => tokio::spawn(life.live(memory)),
            Place::Redis(redis) => tokio::spawn(life.live(redis)),
        };
        Self { stop, task }
    }

    /// Leaves the others.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the cluster's member failed");
        }
    }
}

struct Life {
    app: Arc<App>,
    shared: Arc<Shared>,
    requests: mpsc::Receiver<Request>,
    /// Those that were asked and are not answered yet.
    asked: Vec<Request>,
    heartbeat: Duration,
    /// Of the node, without a sign of life.
    lifetime: Duration,
    /// Of what is entered.
    entry_lifetime: Duration,
    stop: CancellationToken,
}

impl Life {
    async fn live<B: Backend>(mut self, backend: B) {
        let mut retry = FIRST_RETRY;
        let mut has_said = false;
        let mut before = None;
        while !self.stop.is_cancelled() {
            let (me, joined_at) = (NodeId::random(), Instant::now());
            let hear = hear(Arc::clone(&self.app), Arc::clone(&self.shared), me);
            let joined = tokio::select! {
                joined = backend.join(me, hear) => joined,
                () = self.stop.cancelled() => break,
            };
            let lost = match joined {
                Ok(session) => {
                    let lost = self.stay(&session, me, before.replace(me)).await;
                    self.alone();
                    if self.stop.is_cancelled() {
                        // If it fails, the others will notice by themselves.
                        let _ = timeout(LEAVING_TIME, session.bury(me)).await;
                        return;
                    }
                    has_said = false;
                    lost
                }
                Err(lost) => lost,
            };
            if joined_at.elapsed() > LAST_RETRY {
                retry = FIRST_RETRY;
            }
            if !has_said {
                tracing::warn!(%lost, "cannot reach the other nodes: serving the clients of this one");
                has_said = true;
            }
            let wait = retry.mul_f64(1.0 + rand::random::<f64>() / 2.0);
            retry = (retry * 2).min(LAST_RETRY);
            tokio::select! {
                () = sleep(wait) => {}
                () = self.stop.cancelled() => {}
            }
        }
        // It ends while it is alone: what it was before may count as living still, and its peers with it.
        if let Some(before) = before {
            let _ = timeout(LEAVING_TIME, self.take_leave(&backend, before)).await;
        }
    }

    /// Comes back only to say that this node is gone.
    async fn take_leave<B: Backend>(&self, backend: &B, before: NodeId) -> Result<(), Lost> {
        let me = NodeId::random();
        let hear = hear(Arc::clone(&self.app), Arc::clone(&self.shared), me);
        backend.join(me, hear).await?.bury(before).await
    }

    /// From when the node has joined to when it has lost the others.
    async fn stay<S: Session>(&mut self, session: &S, me: NodeId, before: Option<NodeId>) -> Lost {
        // What this node was before may count as living still, and its peers with it.
        if let Some(before) = before
            && let Err(lost) = session.bury(before).await
        {
            return lost;
        }
        let shared = &self.shared;
        shared.stale.store(false, Ordering::Relaxed);
        shared.bus.clear();
        shared.me.store(me.0, Ordering::Relaxed);
        // From here on what changes is queued, behind what is told of at first; and others, who learn next that this node
        // lives, are heard.
        shared.set_joined(true);
        let others = match session.live(self.lifetime).await {
            Ok(others) => others,
            Err(lost) => return lost,
        };
        shared.nodes.store(others.len() + 1, Ordering::Relaxed);
        shared.counted.joins.add(1);
        tracing::info!(%me, nodes = others.len() + 1, "joined the cluster");
        let (tell_alive, alive) = watch::channel(others);
        // Apart from `self`, so that asking may have it.
        let (app, shared) = (Arc::clone(&self.app), Arc::clone(&self.shared));
        let times = (self.heartbeat, self.lifetime);
        let stop = self.stop.clone();
        let asking = async {
            match self.enter_all(session).await {
                Ok(()) => self.ask(session, alive).await,
                Err(lost) => lost,
            }
        };
        tokio::select! {
            lost = session.lost() => lost,
            lost = beat(session, &app, &shared, times, tell_alive) => lost,
            lost = tell(session, &app, &shared) => lost,
            lost = asking => lost,
            () = stop.cancelled() => Lost("this tracker ends".to_owned()),
        }
    }

    /// The others cannot be reached any more. What waits for them is answered with what is known here.
    fn alone(&mut self) {
        let hub = &self.app.hub;
        // The hub asks with a shard's lock held: nothing comes behind what is answered here.
        hub.hold(|| self.shared.set_joined(false));
        self.shared.nodes.store(1, Ordering::Relaxed);
        self.shared.bus.clear();
        hub.lose_all_nodes();
        for request in self.asked.drain(..) {
            hub.answer(request, None);
        }
        while let Ok(request) = self.requests.try_recv() {
            self.shared.request_bytes.fetch_sub(request.cost(), Ordering::Relaxed);
            hub.answer(request, None);
        }
    }

    /// Enters the peers that were here before the node joined.
    async fn enter_all<S: Session>(&self, session: &S) -> Result<(), Lost> {
        let swarms = self.app.hub.swarms();
        for swarms in swarms.chunks(SWARMS) {
            let asks = self.app.hub.entries(swarms, self.entry_lifetime);
            for asks in asks.chunks(BATCH) {
                // Without others, nothing is checked or drawn: whose id it is was settled when they came.
                session.ask(&[], asks).await?;
            }
        }
        Ok(())
    }

    /// Asks what the hub wants to know, and has it go on.
    async fn ask<S: Session>(&mut self, session: &S, alive: watch::Receiver<Vec<NodeId>>) -> Lost {
        loop {
            // The hub has a sender, and outlives this.
            if self.requests.recv_many(&mut self.asked, BATCH).await == 0 {
                return Lost("this tracker ends".to_owned());
            }
            let others = alive.borrow().clone();
            let bytes = self.asked.iter().map(Request::cost).sum();
            self.shared.request_bytes.fetch_sub(bytes, Ordering::Relaxed);
            let asks: Vec<Vec<Ask>> =
                self.asked.iter().map(|request| asks(request, self.entry_lifetime)).collect();
            self.shared.counted.asked.add(asks.iter().map(|asks| asks.len() as u64).sum());
            let began = Instant::now();
            // What fails is answered when this stay is over.
            let mut told = match session.ask(&others, &asks.concat()).await {
                Ok(told) => told.into_iter(),
                Err(lost) => return lost,
            };
            self.shared.counted.asking.observe(began.elapsed());
            for (request, asks) in self.asked.drain(..).zip(asks) {
                let told: Vec<Told> = told.by_ref().take(asks.len()).collect();
                self.app.hub.answer(request, Some(told));
            }
        }
    }
}

/// What is to be asked for a request.
fn asks(request: &Request, lifetime: Duration) -> Vec<Ask> {
    match request {
        Request::Announce(asked) => vec![Ask::Enter {
            swarm: asked.member.info_hash,
            peer: asked.member.peer_id,
            entry: asked.entry,
            completed: asked.completed,
            lifetime,
            draws: asked.draws,
        }],
        Request::Leave { swarm, peer } => vec![Ask::Leave { swarm: *swarm, peer: *peer }],
        Request::Scrape(_, scrape, _) => {
            scrape.info_hashes.iter().map(|swarm| Ask::Count { swarm: *swarm }).collect()
        }
        Request::Offer(_, offer) => vec![Ask::Find { swarm: offer.info_hash, peer: offer.to_peer_id }],
        Request::Open(_, open) => vec![Ask::Find { swarm: open.info_hash, peer: open.to_peer_id }],
    }
}

/// Takes what other nodes tell this one, as long as it has this number.
fn hear(app: Arc<App>, shared: Arc<Shared>, me: NodeId) -> Hear {
    Arc::new(move |bytes: Bytes| {
        shared.counted.heard.add(1);
        shared.counted.heard_bytes.add(bytes.len() as u64);
        if shared.me() != me || !shared.is_joined() {
            return;
        }
        match Message::decode(&bytes) {
            Some(Message::Data { from, on, payload }) => {
                crate::hub::hear_data(&app, &shared, from, on, payload);
            }
            Some(Message::Words(from, words)) => app.hub.hear(from, words, std::time::Instant::now()),
            None => tracing::warn!(bytes = bytes.len(), "another node said something that makes no sense"),
        }
    })
}

/// Says again and again that this node lives, and notices which others do not any more.
async fn beat<S: Session>(
    session: &S,
    app: &App,
    shared: &Shared,
    (heartbeat, lifetime): (Duration, Duration),
    alive: watch::Sender<Vec<NodeId>>,
) -> Lost {
    let mut beats = tokio::time::interval(heartbeat);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        beats.tick().await;
        let others = match session.live(lifetime).await {
            Ok(others) => others,
            Err(lost) => return lost,
        };
        let gone: Vec<NodeId> =
            alive.borrow().iter().filter(|node| !others.contains(node)).copied().collect();
        shared.nodes.store(others.len() + 1, Ordering::Relaxed);
        alive.send_replace(others);
        let hub = &app.hub;
        for node in gone {
            tracing::info!(%node, "a node is gone");
            hub.lose_node(node);
        }
        hub.sweep_lines(std::time::Instant::now());
        if shared.stale.load(Ordering::Relaxed) {
            return Lost("too much changed at once: the others are told everything anew".to_owned());
        }
    }
}

/// Tells other nodes what waits for them.
async fn tell<S: Session>(session: &S, app: &App, shared: &Shared) -> Lost {
    loop {
        let batch = shared.bus.take().await;
        let heard = match session.tell(&batch).await {
            Ok(heard) => heard,
            Err(lost) => return lost,
        };
        shared.counted.told.add(batch.len() as u64);
        shared.counted.told_bytes.add(batch.iter().map(|(_, message)| message.len() as u64).sum());
        let mut deaf: Vec<NodeId> =
            batch.iter().zip(heard).filter(|(_, heard)| !heard).map(|((node, _), _)| *node).collect();
        deaf.sort_unstable();
        deaf.dedup();
        for node in deaf {
            tracing::debug!(%node, "a node does not listen any more");
            app.hub.lose_node(node);
        }
    }
}
