//! All connections of a tab, and what each event of the browser means for the one it is about.
//!
//! Nothing here is borrowed while the owner is told something, so that the owner may call back.

use std::cell::{Cell, RefCell, RefMut};
use std::rc::{Rc, Weak};

use bytes::Bytes;
use gloo_timers::callback::Timeout;
use shared::order::SortedMap;
use shared::signal::{IceServer, SessionDescription};
use wasm_bindgen_futures::spawn_local;
use web_sys::{RtcDataChannel, RtcPeerConnectionState};

use super::collect;
use super::connection::{Connection, OnEvent, timer};
use super::description::{Kind, check, without_trickle};
use super::{
    CONNECT_TIMEOUT, DISCONNECTED_AT_MOST, GATHER_AT_MOST, GATHER_MORE, MAX_CONNECTIONS, RtcEnd, RtcError,
    RtcEvent, RtcId,
};
use crate::browser_error;

/// All connections.
pub(super) struct Table {
    connections: RefCell<SortedMap<RtcId, Connection>>,
    /// Refused by the browser just now, and tried again soon.
    waiting: RefCell<SortedMap<RtcId, Waiting>>,
    /// Ended within a call of the owner, who hears of it from the event loop.
    ended: RefCell<SortedMap<RtcId, RtcEnd>>,
    last_id: Cell<u64>,
    made: Cell<u64>,
    on_event: OnEvent,
    this: Weak<Self>,
}

/// What a connection is made from.
struct Plan {
    ice: Vec<IceServer>,
    /// To be answered, and the longest message that its sender takes, in bytes. None to make an offer.
    offer: Option<(SessionDescription, usize)>,
    /// Times that the browser refused, having too many.
    tries: u32,
}

/// A connection that does not exist yet.
struct Waiting {
    plan: Plan,
    _until: Timeout,
}

impl Table {
    pub(super) fn new(on_event: impl Fn(RtcId, RtcEvent) + 'static) -> Rc<Self> {
        Rc::new_cyclic(|this| Self {
            connections: RefCell::default(),
            waiting: RefCell::default(),
            ended: RefCell::default(),
            last_id: Cell::new(0),
            made: Cell::new(0),
            on_event: Box::new(on_event),
            this: this.clone(),
        })
    }

    pub(super) fn alive(&self) -> usize {
        self.connections.borrow().len() + self.waiting.borrow().len()
    }

    pub(super) fn made(&self) -> u64 {
        self.made.get()
    }

    // What the owner asks for.

    pub(super) fn offer(&self, ice: &[IceServer]) -> Result<RtcId, RtcError> {
        self.make(ice, None)
    }

    pub(super) fn answer(&self, ice: &[IceServer], offer: &SessionDescription) -> Result<RtcId, RtcError> {
        match check(offer, Kind::Offer) {
            Ok(longest) => self.make(ice, Some((offer.clone(), longest))),
            Err(why) => {
                // Costs no connection.
                let id = self.next_id();
                self.end_later(id, RtcEnd::BadDescription(why));
                Ok(id)
            }
        }
    }

    pub(super) fn accept(&self, id: RtcId, answer: &SessionDescription) {
        let Some(mut connection) = self.connection(id) else { return };
        let progress = &mut connection.progress;
        if !progress.initiator || !progress.described || progress.answered {
            log::debug!("{id}: an answer that nobody asked for");
            return;
        }
        progress.answered = true;
        match check(answer, Kind::Answer) {
            Ok(longest) => {
                connection.limit_messages(longest);
                connection.accept(answer.clone(), &self.this, id);
                connection.time_connecting(CONNECT_TIMEOUT, &self.this, id);
            }
            Err(why) => {
                drop(connection);
                self.end_later(id, RtcEnd::BadDescription(why));
            }
        }
    }

    pub(super) fn send(&self, id: RtcId, bytes: Bytes) {
        let Some(mut connection) = self.connection(id) else { return };
        if !connection.progress.opened {
            return;
        }
        if let Err(error) = connection.send(bytes) {
            drop(connection);
            log::debug!("{id}: a channel cannot be sent to: {}", browser_error::sentence(&error));
            self.end_later(id, RtcEnd::Lost);
        }
    }

    pub(super) fn room(&self, id: RtcId) -> usize {
        self.connection(id)
            .map_or(0, |connection| if connection.progress.opened { connection.room() } else { 0 })
    }

    pub(super) fn close(&self, id: RtcId) {
        self.ended.borrow_mut().remove(&id);
        self.release(id);
    }

    pub(super) fn close_all(&self) {
        self.ended.borrow_mut().clear();
        self.waiting.borrow_mut().clear();
        let connections = self.connections.take();
        connections.into_iter().for_each(|(_, connection)| connection.release());
    }

    // What the browser tells.

    /// The local description is set; candidates may have come already.
    pub(super) fn gathering_began(&self, id: RtcId) {
        let Some(mut connection) = self.connection(id) else { return };
        connection.progress.gathering = true;
        connection.describe_after(GATHER_AT_MOST, &self.this, id);
        let done = connection.has_gathered();
        drop(connection);
        if done {
            self.gathered(id);
        }
    }

    /// A candidate was found.
    pub(super) fn candidate(&self, id: RtcId) {
        let Some(mut connection) = self.connection(id) else { return };
        let progress = &mut connection.progress;
        if !progress.described && !progress.has_candidate {
            progress.has_candidate = true;
            connection.describe_after(GATHER_MORE, &self.this, id);
        }
    }

    pub(super) fn gathering_changed(&self, id: RtcId) {
        if self.connection(id).is_some_and(|connection| connection.has_gathered()) {
            self.gathered(id);
        }
    }

    /// There are no more candidates, or no more time for them.
    pub(super) fn gathered(&self, id: RtcId) {
        let Some(mut connection) = self.connection(id) else { return };
        if !connection.progress.gathering || connection.progress.described {
            return;
        }
        let Some(sdp) = connection.local_sdp() else { return };
        connection.progress.described = true;
        let kind = if connection.progress.initiator {
            Kind::Offer
        } else {
            // The answerer has both now.
            connection.time_connecting(CONNECT_TIMEOUT, &self.this, id);
            Kind::Answer
        };
        drop(connection);
        let description = SessionDescription { kind: kind.word().into(), sdp: without_trickle(&sdp) };
        self.tell(id, RtcEvent::Described(description));
    }

    /// The other side made a channel. One is enough: more are closed.
    pub(super) fn channel_came(&self, id: RtcId, channel: RtcDataChannel) {
        let Some(mut connection) = self.connection(id) else { return };
        if connection.has_channel() {
            drop(connection);
            log::debug!("{id}: one channel too many");
            channel.close();
            return;
        }
        connection.use_channel(channel, &self.this, id);
        // Some browsers hand it over when it is open already.
        let open = connection.is_open();
        drop(connection);
        if open {
            self.opened(id);
        }
    }

    pub(super) fn opened(&self, id: RtcId) {
        let Some(mut connection) = self.connection(id) else { return };
        if connection.progress.opened {
            return;
        }
        connection.progress.opened = true;
        connection.stop_connecting();
        drop(connection);
        self.tell(id, RtcEvent::Opened);
    }

    pub(super) fn received(&self, id: RtcId, bytes: Bytes) {
        // Gone, if the owner closed it when told that it is open.
        self.opened(id);
        if !bytes.is_empty() && self.connection(id).is_some() {
            self.tell(id, RtcEvent::Data(bytes));
        }
    }

    /// The browser's buffer has fallen to its threshold.
    pub(super) fn drained(&self, id: RtcId) {
        let Some(mut connection) = self.connection(id) else { return };
        let drained = connection.drained();
        drop(connection);
        match drained {
            Ok(true) => self.tell(id, RtcEvent::Room),
            Ok(false) => {}
            Err(error) => {
                log::debug!("{id}: a channel cannot be sent to: {}", browser_error::sentence(&error));
                self.end(id, RtcEnd::Lost);
            }
        }
    }

    pub(super) fn state_changed(&self, id: RtcId) {
        let Some(mut connection) = self.connection(id) else { return };
        let opened = connection.progress.opened;
        match connection.state() {
            RtcPeerConnectionState::Failed => {
                drop(connection);
                self.end(id, if opened { RtcEnd::Lost } else { RtcEnd::NoPath });
            }
            RtcPeerConnectionState::Closed => {
                drop(connection);
                self.end(id, RtcEnd::ByPeer);
            }
            RtcPeerConnectionState::Disconnected if opened => {
                connection.time_disconnected(DISCONNECTED_AT_MOST, &self.this, id);
            }
            RtcPeerConnectionState::Connected => connection.stop_disconnected(),
            _ => {}
        }
    }

    pub(super) fn still_disconnected(&self, id: RtcId) {
        let state = self.connection(id).map(|connection| connection.state());
        if state == Some(RtcPeerConnectionState::Disconnected) {
            self.end(id, RtcEnd::Lost);
        }
    }

    pub(super) fn not_in_time(&self, id: RtcId) {
        if self.connection(id).is_some_and(|connection| !connection.progress.opened) {
            self.end(id, RtcEnd::TimedOut);
        }
    }

    /// A connection ended by itself; the owner is told.
    pub(super) fn end(&self, id: RtcId, end: RtcEnd) {
        if self.release(id) {
            log::debug!("{id}: a direct connection ended: {end:?}");
            self.tell(id, RtcEvent::Closed(end));
        }
    }

    // Below them.

    fn tell(&self, id: RtcId, event: RtcEvent) {
        (self.on_event)(id, event);
    }

    fn connection(&self, id: RtcId) -> Option<RefMut<'_, Connection>> {
        RefMut::filter_map(self.connections.borrow_mut(), |connections| connections.get_mut(&id)).ok()
    }

    fn next_id(&self) -> RtcId {
        let id = self.last_id.get() + 1;
        self.last_id.set(id);
        RtcId(id)
    }

    fn make(&self, ice: &[IceServer], offer: Option<(SessionDescription, usize)>) -> Result<RtcId, RtcError> {
        if self.alive() >= MAX_CONNECTIONS {
            return Err(RtcError::TooMany);
        }
        let id = self.next_id();
        self.try_to_make(id, Plan { ice: ice.to_vec(), offer, tries: 0 })?;
        Ok(id)
    }

    /// Makes a connection now, or waits to try again.
    fn try_to_make(&self, id: RtcId, mut plan: Plan) -> Result<(), RtcError> {
        if let Some(mut connection) = Connection::new(&plan.ice, &self.this, id)? {
            self.made.set(self.made.get() + 1);
            match plan.offer {
                None => {
                    connection.progress.initiator = true;
                    connection.make_channel(&self.this, id);
                    connection.describe(None, &self.this, id);
                }
                Some((offer, longest)) => {
                    connection.limit_messages(longest);
                    connection.expect_channel(&self.this, id);
                    connection.describe(Some(offer), &self.this, id);
                }
            }
            self.connections.borrow_mut().insert(id, connection);
            return Ok(());
        }
        plan.tries += 1;
        if plan.tries > collect::MAX_TRIES {
            return Err(RtcError::Refused("it has too many connections, though they are closed".into()));
        }
        log::debug!("{id}: the browser has too many connections, try {}", plan.tries);
        // One for all who wait.
        if self.waiting.borrow().keys().all(|other| *other > id) {
            collect::encourage();
        }
        let until = timer(collect::BETWEEN_TRIES, &self.this, move |table| table.try_again(id));
        self.waiting.borrow_mut().insert(id, Waiting { plan, _until: until });
        Ok(())
    }

    fn try_again(&self, id: RtcId) {
        let waiting = self.waiting.borrow_mut().remove(&id);
        if let Some(waiting) = waiting
            && let Err(error) = self.try_to_make(id, waiting.plan)
        {
            self.tell(id, RtcEvent::Closed(RtcEnd::Refused(error.to_string())));
        }
    }

    /// Returns false if there was no such connection.
    fn release(&self, id: RtcId) -> bool {
        let waited = self.waiting.borrow_mut().remove(&id).is_some();
        let connection = self.connections.borrow_mut().remove(&id);
        connection.map(Connection::release).is_some() || waited
    }

    /// Ends a connection within a call of the owner, who is told when it has returned.
    fn end_later(&self, id: RtcId, end: RtcEnd) {
        self.release(id);
        self.ended.borrow_mut().insert(id, end);
        let table = self.this.clone();
        spawn_local(async move {
            let Some(table) = table.upgrade() else { return };
            // Gone, if it was closed in the meantime.
            let end = table.ended.borrow_mut().remove(&id);
            if let Some(end) = end {
                log::debug!("{id}: a direct connection ended: {end:?}");
                table.tell(id, RtcEvent::Closed(end));
            }
        });
    }
}
