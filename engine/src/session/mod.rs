//! One torrent: puts swarm, metadata, pieces, picker, choker and uploads together.
//!
//! This file has the edge and the common path out ([`Session::settle`]); `config` says how a session begins; the ways in are in
//! - `linking`: links open and close, peers are reached for and greeted;
//! - `directing`: direct links: whom to try, by which way an offer goes, what becomes of it;
//! - `introducing`: peers introduce peers;
//! - `handover`: from relay to direct, and back;
//! - `incoming`: what a peer said;
//! - `learning`: the metadata, in both directions;
//! - `downloading`: blocks are asked for, come, and become pieces;
//! - `recalling`: requests are moved from who is busy to who is idle;
//! - `wanting`: what the user wants of it, and when;
//! - `uploading`: blocks are asked of us;
//! - `favouring`: newcomers are allowed some pieces while they are choked, and pieces are suggested;
//! - `revealing`: super-seeding;
//! - `withholding`: upload is off;
//! - `checking`: what is here is compared with its hashes again;
//! - `ticking`: what happens because time passes;
//! - `viewing`: what users are shown.

mod checking;
mod config;
mod directing;
mod downloading;
mod favouring;
mod handover;
mod incoming;
mod introducing;
mod learning;
mod linking;
mod recalling;
mod revealing;
mod ticking;
mod uploading;
mod viewing;
mod wanting;
mod withholding;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use shared::metainfo::{Info, MetainfoError};
use shared::wire::Bitfield;
use shared::{Geometry, InfoHash, OfferId, PeerId, PieceIndex};

use crate::api::{
    Action, CloseReason, DirectFailure, Found, LinkId, LoadId, Notice, Signal, State, StoreOutcome, Time,
    Transport, Ways,
};
use crate::choker::Choker;
use crate::direct::{Directs, Way};
use crate::fast_set::Allowance;
use crate::introductions::Forwards;
use crate::limits::Limits;
use crate::metadata::Fetch;
use crate::picker::Picker;
use crate::pieces::Pieces;
use crate::rate::Rate;
use crate::super_seeding::SuperSeeding;
use crate::swarm::Swarm;
use crate::uploads::Uploads;
use checking::Check;
use wanting::Wishes;

pub use config::{Content, SessionConfig};

/// A torrent whose metadata is known.
#[derive(Debug)]
struct Torrent {
    info: Arc<Info>,
    geometry: Geometry,
    pieces: Pieces,
    picker: Picker,
    wishes: Wishes,
    /// Peers that serve us and have something for us.
    servers: u32,
}

impl Torrent {
    fn new(info: Info, have: Bitfield) -> Self {
        let geometry = info.geometry();
        let mut picker = Picker::new(geometry);
        geometry.pieces().filter(|piece| !have.has(*piece)).for_each(|piece| picker.offer(piece));
        let wishes = Wishes::new(info.files().len(), geometry.piece_count());
        Self {
            info: Arc::new(info),
            geometry,
            pieces: Pieces::new(geometry, have),
            picker,
            wishes,
            servers: 0,
        }
    }
}

/// Where whole pieces go.
#[derive(Debug)]
enum Store {
    /// Asked for, or about to be. Pieces that are whole wait here, bounded as those being verified are.
    Opening(Vec<(PieceIndex, Bytes)>),
    /// Could not be opened; asked for again by `resume`.
    Failed(Vec<(PieceIndex, Bytes)>),
    Open,
}

/// The session of one torrent: decides when to send what, and does nothing itself.
///
/// Its methods are of four kinds:
/// - `handle_*`, `pause`, `resume` tell it what happened; events about links, loads or pieces that it does not know (any
///   more) are ignored;
/// - `poll_action` gives what is to be done: after every call of the first kind it must be drained until it says `None`,
///   and the actions performed in their order;
/// - `deadline` says when `handle_timeout` must be called, if nothing else happens before; it may change with every call of
///   the first kind;
/// - the others only look.
///
/// `now` must never go back.
#[derive(Debug)]
pub struct Session {
    info_hash: InfoHash,
    peer_id: PeerId,
    name_hint: String,
    client: String,
    max_peers: usize,
    ways: Ways,
    rng: Rng,
    actions: VecDeque<Action>,

    paused: bool,
    error: Option<String>,
    checking: Option<Check>,
    /// Nobody is given a block.
    withholds: bool,

    swarm: Swarm,
    directs: Directs,
    forwards: Forwards,
    /// When direct links are to be looked after, and neighbours to be told of each other.
    direct_due: Option<Time>,
    gossip_due: Option<Time>,
    /// Something has happened by which one link may take over from another.
    stirred: bool,
    /// What happened may concern more links than the one it came by.
    wide: bool,
    /// Links were told that there is nothing to want although pieces are missing (BEP 21).
    told_upload_only: bool,
    /// When the first HAVE that waits for company must go out.
    haves_due: Option<Time>,
    fetch: Fetch,
    torrent: Option<Torrent>,
    store: Store,
    uploads: Uploads,
    choker: Choker,
    /// For newcomers that are choked, if anybody is done favours.
    allowance: Option<Allowance>,
    super_seeding: Option<SuperSeeding>,
    limits: Limits,
    /// When a limit that stopped something lets it go on.
    limit_ends: Option<Time>,
    /// Something has happened by which blocks may be sent that could not be before.
    serve_due: bool,
    /// Goes up when blocks may be asked for that could not before, so that peers for whom there was nothing are looked at
    /// again.
    epoch: u64,
    /// When a peer was banned last for what it sent.
    last_ban: Option<Time>,

    down: Rate,
    up: Rate,
    downloaded: u64,
    uploaded: u64,

    next_tick: Time,
    next_review: Time,
    next_beg: Time,
}

impl Session {
    /// Begins a session. `seed` decides everything that is left to chance.
    ///
    /// # Errors
    /// [`MetainfoError`] when the info dictionary cannot be used, or its hash is not the torrent's.
    pub fn new(now: Time, config: SessionConfig, seed: u64) -> Result<Self, MetainfoError> {
        let checked = |info| match Info::from_bytes(info)? {
            info if info.info_hash() == config.info_hash => Ok(info),
            _ => Err(MetainfoError::Field("info")),
        };
        let (torrent, store) = match config.content {
            Content::Unknown => (None, Store::Opening(Vec::new())),
            Content::Unopened { info } => {
                let info = checked(info)?;
                let none = Bitfield::none(info.geometry().piece_count());
                (Some(Torrent::new(info, none)), Store::Opening(Vec::new()))
            }
            Content::Known { info, have } => {
                let info = checked(info)?;
                let geometry = info.geometry();
                let have = match have {
                    None => Bitfield::all(geometry.piece_count()),
                    Some(have) => bitfield(&geometry, &have),
                };
                (Some(Torrent::new(info, have)), Store::Open)
            }
        };
        let unopened = torrent.is_some() && matches!(store, Store::Opening(_));
        let complete = torrent.as_ref().filter(|torrent| torrent.pieces.have().is_all());
        let super_seeding =
            complete.filter(|_| config.first_seeder).map(|torrent| SuperSeeding::new(&torrent.geometry));
        let mut session = Self {
            info_hash: config.info_hash,
            peer_id: config.peer_id,
            name_hint: config.name_hint,
            client: config.client,
            max_peers: config.max_peers,
            ways: config.ways,
            rng: Rng::with_seed(seed),
            actions: VecDeque::new(),
            paused: false,
            error: None,
            checking: None,
            withholds: !config.upload,
            swarm: Swarm::default(),
            directs: Directs::default(),
            forwards: Forwards::default(),
            direct_due: None,
            gossip_due: None,
            stirred: false,
            wide: false,
            told_upload_only: false,
            haves_due: None,
            fetch: Fetch::default(),
            torrent,
            store,
            uploads: Uploads::default(),
            choker: Choker::new(config.upload_slots),
            allowance: config.favours.then(Allowance::new),
            super_seeding,
            limits: config.limits,
            limit_ends: None,
            serve_due: false,
            epoch: 0,
            last_ban: None,
            down: Rate::default(),
            up: Rate::default(),
            downloaded: 0,
            uploaded: 0,
            next_tick: now,
            next_review: now,
            next_beg: now + Duration::from_secs(5),
        };
        if unopened {
            session.ask_for_store();
        }
        Ok(session)
    }

    // Events.

    /// A tracker named these peers.
    pub fn handle_peers_found(&mut self, now: Time, peers: &[Found]) {
        for Found { peer, relay, direct } in peers.iter().copied() {
            if peer == self.peer_id || self.swarm.is_banned(peer) {
                continue;
            }
            if relay && self.ways.relay {
                self.swarm.found(now, peer);
            }
            if direct && self.takes_direct() {
                self.directs.named(now, peer);
            }
        }
        self.look_for_ways(now);
        self.settle(now);
    }

    /// A peer that was to be reached ([`Action::Dial`]) could not be.
    pub fn handle_dial_failed(&mut self, now: Time, peer: PeerId) {
        self.swarm.dial_failed(now, peer, &mut self.rng);
        self.look_for_ways(now);
        self.settle(now);
    }

    /// Our transport made an offer ([`Action::DialDirect`]) or an answer ([`Action::TakeSignal`]) for this peer.
    pub fn handle_signal_made(&mut self, now: Time, to: PeerId, signal: Signal) {
        self.signal_made(now, to, signal);
        self.settle(now);
    }

    /// A tracker brought an offer from this peer, made for us or for anybody. (Answers that trackers bring are for the
    /// transport alone.)
    pub fn handle_signal_came(&mut self, now: Time, from: PeerId, signal: Signal) {
        self.offer_came(now, from, signal, Way::Tracker);
        self.settle(now);
    }

    /// No tracker could carry this to that peer ([`Action::TellTracker`]), or it refused to.
    pub fn handle_signal_lost(&mut self, now: Time, to: PeerId, offer_id: OfferId) {
        self.signal_lost(now, to, offer_id);
        self.settle(now);
    }

    /// A direct link to this peer could not be made ([`Action::DialDirect`], or an offer in [`Action::TakeSignal`]).
    pub fn handle_direct_failed(&mut self, now: Time, peer: PeerId, why: DirectFailure) {
        self.direct_failed(now, peer, why);
        self.settle(now);
    }

    /// A link is open, whichever side wanted it. `remote` is who the transport says is there, and `initiator` whether it was
    /// this side that opened it. The link is taken to have no room until `handle_room` says so.
    pub fn handle_link_opened(
        &mut self,
        now: Time,
        link: LinkId,
        transport: Transport,
        remote: Option<PeerId>,
        initiator: bool,
    ) {
        self.link_opened(now, link, transport, remote, initiator);
        self.settle(now);
    }

    /// Bytes came over a link.
    pub fn handle_bytes(&mut self, now: Time, link: LinkId, bytes: Bytes) {
        self.bytes_came(now, link, bytes);
        self.settle_at(now, link);
    }

    /// The link would take so many bytes now without queueing much; counted behind everything that was sent already.
    pub fn handle_room(&mut self, now: Time, link: LinkId, room: usize) {
        if let Some(peer) = self.swarm.get_mut(link) {
            peer.set_room(room);
            self.serve_due = true;
            self.settle_at(now, link);
        }
    }

    /// A link is closed, by the other side or because it broke.
    pub fn handle_link_closed(&mut self, now: Time, link: LinkId) {
        self.link_lost(now, link);
        self.settle(now);
    }

    /// The store that [`Action::OpenStore`] asked for is open and has these pieces, in order.
    #[expect(clippy::needless_pass_by_value, reason = "an event hands over what it brings")]
    pub fn handle_store_opened(&mut self, now: Time, have: Vec<bool>) {
        self.store_opened(now, &have);
        self.settle(now);
    }

    /// The store that [`Action::OpenStore`] asked for could not be opened; the sentence is for the user.
    pub fn handle_store_failed(&mut self, now: Time, reason: String) {
        if let Store::Opening(waiting) = &mut self.store {
            self.store = Store::Failed(std::mem::take(waiting));
            self.fail(reason);
        }
        self.settle(now);
    }

    /// What became of a piece ([`Action::VerifyAndStore`]).
    pub fn handle_stored(&mut self, now: Time, piece: PieceIndex, outcome: StoreOutcome) {
        self.piece_answered(now, piece, outcome);
        self.settle(now);
    }

    /// The bytes of an [`Action::Load`]; `None` if they could not be read. Then the piece counts as missing.
    pub fn handle_loaded(&mut self, now: Time, load: LoadId, data: Option<Bytes>) {
        if self.load_answered(now, load, data) {
            self.settle(now);
        } else {
            // Nothing but blocks can follow from it.
            self.serve(now);
        }
    }

    /// The deadline has come.
    pub fn handle_timeout(&mut self, now: Time) {
        if self.next_tick <= now {
            self.tick(now);
        }
        self.settle(now);
    }

    /// Stops: closes every link and forgets what was under way, a check included.
    pub fn pause(&mut self, now: Time) {
        self.paused = true;
        self.checking = None;
        self.stand_still(now);
    }

    fn stand_still(&mut self, now: Time) {
        let links: Vec<_> = self.swarm.links.keys().copied().collect();
        for link in links {
            self.close(now, link, CloseReason::Stopped);
        }
        self.swarm.stop_dialing();
        self.directs.stop();
        self.forwards.clear();
        self.uploads.clear();
        if let Some(torrent) = &mut self.torrent {
            for piece in torrent.pieces.drop_all_begun() {
                torrent.picker.offer(piece);
            }
        }
    }

    /// Goes on, also after a failure of the store.
    pub fn resume(&mut self, now: Time) {
        self.paused = false;
        self.error = None;
        self.next_beg = now;
        self.look_for_ways(now);
        if let Store::Failed(waiting) = &mut self.store {
            self.store = Store::Opening(std::mem::take(waiting));
            self.ask_for_store();
        }
        self.epoch += 1;
        self.settle(now);
    }

    // Actions.

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When `handle_timeout` must be called, if nothing happens before.
    pub fn deadline(&self) -> Option<Time> {
        let tick = (!self.swarm.links.is_empty()).then_some(self.next_tick);
        let dial = self.swarm.deadline().filter(|_| self.is_running());
        let beg = (self.is_running() && !self.is_complete()).then_some(self.next_beg);
        let direct = self.direct_due.into_iter().chain(self.gossip_due).min().filter(|_| self.is_running());
        [tick, self.haves_due, self.limit_ends, dial, beg, direct].into_iter().flatten().min()
    }

    // Views.

    /// The torrent's hash.
    pub fn info_hash(&self) -> InfoHash {
        self.info_hash
    }

    /// What it is doing.
    pub fn state(&self) -> State {
        match &self.torrent {
            _ if self.error.is_some() => State::Error,
            _ if self.checking.is_some() => State::Hashing,
            _ if self.paused => State::Paused,
            None => State::Metadata,
            Some(torrent) if torrent.is_complete() => State::Seeding,
            Some(_) => State::Downloading,
        }
    }

    /// Whether it stands still because it was told to, or will after a check.
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// The metadata, once it is known.
    pub fn info(&self) -> Option<&Arc<Info>> {
        self.torrent.as_ref().map(|torrent| &torrent.info)
    }

    /// Which pieces are verified and stored, once the metadata is known.
    pub fn have(&self) -> Option<&Bitfield> {
        self.torrent.as_ref().map(|torrent| torrent.pieces.have())
    }

    /// Bytes that are not verified and stored, once the metadata is known.
    pub fn left(&self) -> Option<u64> {
        self.torrent.as_ref().map(|torrent| torrent.geometry.total() - torrent.pieces.had_bytes())
    }

    /// Bytes received as blocks, also those thrown away.
    pub fn downloaded(&self) -> u64 {
        self.downloaded
    }

    /// Bytes sent as blocks.
    pub fn uploaded(&self) -> u64 {
        self.uploaded
    }

    /// Bytes of pieces that are held in memory, in flight or being stored: bounded, however slow the store is.
    pub fn buffered(&self) -> u64 {
        self.torrent.as_ref().map_or(0, |torrent| torrent.pieces.buffered_bytes())
    }

    /// Whether it would link to more peers: so does one that has everything, since others may be waiting for it who
    /// came before it.
    pub fn wants_peers(&self) -> bool {
        self.is_running() && self.swarm.peer_count() + self.swarm.dialing() < self.max_peers
    }

    // Within.

    fn is_running(&self) -> bool {
        !self.is_stopped() && self.error.is_none()
    }

    /// Whether it is linked with nobody.
    fn is_stopped(&self) -> bool {
        self.paused || self.checking.is_some()
    }

    fn is_complete(&self) -> bool {
        self.torrent.as_ref().is_some_and(Torrent::is_complete)
    }

    /// Whether too few peers are a reason to ask the tracker before its time.
    fn may_beg(&self) -> bool {
        !self.is_complete() && self.wants_peers()
    }

    fn notice(&mut self, notice: Notice) {
        self.actions.push_back(Action::Notice(notice));
    }

    /// Stands still, and says why, once.
    fn fail(&mut self, reason: String) {
        if self.error.is_none() {
            self.notice(Notice::StoreFailed(reason.clone()));
            self.error = Some(reason);
            self.checking = None;
        }
    }

    fn ask_for_store(&mut self) {
        if let Some(torrent) = &self.torrent {
            self.actions.push_back(Action::OpenStore { info: torrent.info.raw().clone() });
        }
    }

    /// Everything that may follow from what came by one link. Most of it, and all that there is much of (HAVEs, requests,
    /// blocks, room), concerns that link alone: looking at every other would be most of the work in a large swarm.
    fn settle_at(&mut self, now: Time, link: LinkId) {
        if std::mem::take(&mut self.wide) || self.stirred {
            self.settle(now);
            return;
        }
        if self.is_running() {
            self.ask_for_blocks_at(now, link);
            // Somebody else has something to be told now.
            if self.wide {
                return self.settle(now);
            }
        }
        let Some(peer) = self.swarm.links.get_mut(&link) else { return };
        peer.take_outbox(now, false, |bytes| self.actions.push_back(Action::Send { link, bytes }));
        if peer.is_deaf() || peer.retiring.is_some() {
            self.settle(now);
        } else if self.serve_due {
            self.read_ahead(link);
            self.serve(now);
        }
    }

    /// Everything that may follow from any event, in the order in which it should reach the wire: control before blocks.
    fn settle(&mut self, now: Time) {
        self.limit_ends = self.limit_ends.filter(|time| now < *time);
        self.go_on_checking(now);
        // Each round but the last closes a link.
        loop {
            if self.is_running() {
                self.dial(now);
                self.dial_direct(now);
                self.gossip(now);
                self.hand_over(now);
                self.beg(now);
                self.ask_for_metadata(now);
                self.ask_for_blocks(now);
            }
            self.reveal();
            self.tell_what_is_wanted();
            self.take_leave(now);
            let mut closed = self.flush(now);
            self.serve(now);
            closed |= self.end_retirements(now);
            if !closed {
                break;
            }
        }
        // Also what was said to others within has gone out.
        self.wide = false;
    }

    /// Sends what has been said. Whether a link was closed.
    fn flush(&mut self, now: Time) -> bool {
        // A hidden tab's timer may be a minute late, and others wait for what they hear of.
        let is_verifying = self.torrent.as_ref().is_some_and(|torrent| torrent.pieces.is_verifying());
        let links = &mut self.swarm.links;
        let the_last = !is_verifying && links.outlines().iter().all(|outline| outline.is_idle);
        let mut deaf = Vec::new();
        self.haves_due = None;
        for place in 0..links.len() {
            let mut outline = links.outline(place);
            if outline.has_outbox(now, the_last) {
                let (link, peer) = links.at_mut(place);
                peer.take_outbox(now, the_last, |bytes| {
                    self.actions.push_back(Action::Send { link, bytes });
                });
                outline = peer.outline();
            }
            self.haves_due = self.haves_due.into_iter().chain(outline.haves_due()).min();
            if outline.is_deaf {
                deaf.push(links.id(place));
            }
        }
        for link in &deaf {
            self.close(now, *link, CloseReason::Protocol("it makes us talk and does not listen".into()));
        }
        !deaf.is_empty()
    }
}

fn bitfield(geometry: &Geometry, have: &[bool]) -> Bitfield {
    let mut field = Bitfield::none(geometry.piece_count());
    for (piece, _) in geometry.pieces().zip(have).filter(|(_, have)| **have) {
        field.insert(piece);
    }
    field
}
