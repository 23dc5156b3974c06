//! A peer, as far as all links are looked through for it at every event.

use shared::PieceIndex;

use super::Peer;
use super::speaking::{BACKLOG_BELIEVED, MANY_HAVES};
use crate::api::Time;

/// What a session asks about every link at every event, side by side in memory for all of them (see
/// [`Links`](crate::links::Links)).
///
/// Nothing in it may depend on anything but the peer itself, nor on the time at which it was drawn.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outline {
    /// The peer may have changed since.
    pub(crate) stale: bool,
    /// It serves us and has something for us.
    pub(crate) serves_us: bool,
    /// [`Peer::may_be_asked`].
    pub(crate) may_be_asked: bool,
    /// [`Peer::is_idle`].
    pub(crate) is_idle: bool,
    /// [`Peer::snubbed`].
    pub(crate) snubbed: bool,
    /// It is being replaced by another link ([`Peer::retiring`]).
    pub(crate) retires: bool,
    /// [`Peer::is_deaf`].
    pub(crate) is_deaf: bool,
    /// There is something to be said to it that does not wait.
    speaks: bool,
    /// There are HAVEs for it, which may wait.
    has_haves: bool,
    haves_due: Option<Time>,
    /// [`Peer::nothing_at`].
    pub(crate) nothing_at: Option<u64>,
    /// The piece of which it waits for a block, if its link takes one.
    pub(crate) waits_for: Option<PieceIndex>,
    /// [`Peer::is_in_debt`].
    pub(crate) in_debt: bool,
    /// [`Peer::served_at`].
    pub(crate) served_at: Time,
    unsent: usize,
    block_sent: Time,
}

impl Outline {
    /// Whether [`Peer::take_outbox`] would have something to send.
    pub(crate) fn has_outbox(&self, now: Time, the_last: bool) -> bool {
        self.speaks || (self.has_haves && (the_last || self.haves_due.is_some_and(|due| due <= now)))
    }

    /// [`Peer::haves_due`].
    pub(crate) fn haves_due(&self) -> Option<Time> {
        self.haves_due
    }

    /// Bytes that wait in the link's buffer, as far as that is known, and until when that is believed: not every link says
    /// when it is empty.
    pub(crate) fn backlog(&self, now: Time) -> (usize, Time) {
        let until = self.block_sent + BACKLOG_BELIEVED;
        if until <= now { (0, until) } else { (self.unsent, until) }
    }
}

impl Peer {
    /// What there is to know of it at a glance.
    pub(crate) fn outline(&self) -> Outline {
        Outline {
            stale: false,
            serves_us: self.am_interested && !self.peer_choking,
            may_be_asked: self.may_be_asked(),
            is_idle: self.is_idle(),
            snubbed: self.snubbed,
            retires: self.retiring.is_some(),
            is_deaf: self.is_deaf(),
            speaks: !self.out.is_empty() || !self.full.is_empty() || self.haves.len() >= MANY_HAVES,
            has_haves: !self.haves.is_empty(),
            haves_due: self.haves_due,
            nothing_at: self.nothing_at,
            waits_for: self.requests.front().filter(|_| self.has_room()).map(|span| span.piece()),
            in_debt: self.is_in_debt(),
            served_at: self.served_at,
            unsent: self.most_room - self.room,
            block_sent: self.block_sent,
        }
    }
}
