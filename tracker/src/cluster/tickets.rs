//! What lets a client of another node come here for a relay channel: a pure state machine.
//!
//! A ticket is a random secret that is made here, goes to the client by way of its own node, and is good for some seconds and
//! for one pair of peers in one swarm: once at the door, where it stands in for a token, and once for the channel. That node
//! has checked that the client has the peer that asks, so nothing about it has to be known here. There is no signature, since
//! whoever checks a ticket has made it, and remembers it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use shared::signal::Ticket;
use shared::{InfoHash, PeerId};

use super::backend::NodeId;

/// Most that hold at the same time; who asks beyond gets a channel from node to node. One takes some 200 bytes. Those that one
/// node asks for are never more than what is left for all others, so half of them at most.
const MAX_TICKETS: usize = 10_000;

/// Whom a ticket is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Trip {
    pub(crate) swarm: InfoHash,
    /// The peer of another node that may come.
    pub(crate) from: PeerId,
    /// The peer of this one that is to be reached.
    pub(crate) to: PeerId,
}

/// The tickets that hold.
///
/// Invariants: `trips` is the inverse of `tickets`; `held` counts them by the node that asked, and has no zeros.
#[derive(Debug)]
pub(crate) struct Tickets {
    lifetime: Duration,
    tickets: HashMap<Trip, Granted>,
    trips: HashMap<Ticket, Trip>,
    held: HashMap<NodeId, usize>,
}

#[derive(Debug, Clone, Copy)]
struct Granted {
    ticket: Ticket,
    /// The node that asked for it.
    node: NodeId,
    until: Instant,
    /// A connection was let in with it.
    has_entered: bool,
    /// The peer that is here has asked for the same channel, and is owed an answer.
    is_awaited: bool,
}

impl Tickets {
    /// Each holds for so long.
    pub(crate) fn new(lifetime: Duration) -> Self {
        Self { lifetime, tickets: HashMap::new(), trips: HashMap::new(), held: HashMap::new() }
    }

    /// Those that were not used and not swept yet.
    pub(crate) fn len(&self) -> usize {
        self.tickets.len()
    }

    /// Makes `ticket` good for this trip, which `node` asks for, in place of an earlier one. Gives whether there was room; if not,
    /// all is as before. `is_awaited` if the peer that is here waits for the channel.
    pub(crate) fn grant(
        &mut self,
        node: NodeId,
        trip: Trip,
        ticket: Ticket,
        is_awaited: bool,
        now: Instant,
    ) -> bool {
        let held = self.held.get(&node).copied().unwrap_or_default();
        let is_full = held >= MAX_TICKETS.saturating_sub(self.tickets.len());
        if is_full && !self.tickets.contains_key(&trip) {
            return false;
        }
        let is_awaited = self.cancel(&trip) || is_awaited;
        let until = now + self.lifetime;
        self.tickets.insert(trip, Granted { ticket, node, until, has_entered: false, is_awaited });
        self.trips.insert(ticket, trip);
        *self.held.entry(node).or_default() += 1;
        true
    }

    /// Whether this one lets a connection in now, which it does once.
    pub(crate) fn admit(&mut self, ticket: &Ticket, now: Instant) -> bool {
        let granted = self.trips.get(ticket).and_then(|trip| self.tickets.get_mut(trip));
        let granted = granted.filter(|granted| now < granted.until && !granted.has_entered);
        granted.map(|granted| granted.has_entered = true).is_some()
    }

    /// Uses a ticket up. Gives whether the peer that is here waits for the channel; `None` if it was not good for this trip.
    pub(crate) fn take(&mut self, trip: &Trip, ticket: &Ticket, now: Instant) -> Option<bool> {
        let granted = self.tickets.get(trip)?;
        (granted.ticket == *ticket && now < granted.until).then(|| self.cancel(trip))
    }

    /// The peer that is here asks for the channel, too. Gives whether it only has to wait.
    pub(crate) fn wait(&mut self, trip: &Trip, now: Instant) -> bool {
        let granted = self.tickets.get_mut(trip).filter(|granted| now < granted.until);
        granted.is_some_and(|granted| {
            granted.is_awaited = true;
            true
        })
    }

    /// The trip will not be made, or otherwise. Gives whether the peer that is here waits for the channel.
    pub(crate) fn cancel(&mut self, trip: &Trip) -> bool {
        self.tickets.remove(trip).is_some_and(|granted| {
            self.forget(&granted);
            granted.is_awaited
        })
    }

    /// Forgets those that hold no more. Gives the trips for which somebody has waited in vain.
    pub(crate) fn sweep(&mut self, now: Instant) -> Vec<Trip> {
        self.drop_if(|granted| now >= granted.until)
    }

    /// Forgets all. Gives the trips for which somebody waits.
    pub(crate) fn clear(&mut self) -> Vec<Trip> {
        self.drop_if(|_| true)
    }

    fn drop_if(&mut self, which: impl Fn(&Granted) -> bool) -> Vec<Trip> {
        let dropped: Vec<(Trip, Granted)> = self.tickets.extract_if(|_, granted| which(granted)).collect();
        for (_, granted) in &dropped {
            self.forget(granted);
        }
        dropped.into_iter().filter(|(_, granted)| granted.is_awaited).map(|(trip, _)| trip).collect()
    }

    /// One was taken out: so it is here.
    fn forget(&mut self, granted: &Granted) {
        self.trips.remove(&granted.ticket);
        if let Some(held) = self.held.get_mut(&granted.node) {
            *held -= 1;
            if *held == 0 {
                self.held.remove(&granted.node);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFETIME: Duration = Duration::from_secs(15);
    const NODE: NodeId = NodeId(7);

    fn trip(from: u8, to: u8) -> Trip {
        Trip { swarm: InfoHash::new([1; 20]), from: PeerId::new([from; 20]), to: PeerId::new([to; 20]) }
    }

    fn ticket(n: u16) -> Ticket {
        let mut bytes = [0; 16];
        bytes[..2].copy_from_slice(&n.to_be_bytes());
        Ticket::new(bytes)
    }

    #[test]
    fn a_ticket_is_good_once_for_its_pair_and_in_its_time() {
        let (now, mut tickets) = (Instant::now(), Tickets::new(LIFETIME));
        assert!(tickets.grant(NODE, trip(1, 2), ticket(1), false, now));
        for wrong in [trip(2, 1), trip(1, 3), Trip { swarm: InfoHash::new([2; 20]), ..trip(1, 2) }] {
            assert_eq!(tickets.take(&wrong, &ticket(1), now), None);
        }
        assert_eq!(tickets.take(&trip(1, 2), &ticket(2), now), None);
        assert_eq!(tickets.take(&trip(1, 2), &ticket(1), now), Some(false));
        assert_eq!(tickets.take(&trip(1, 2), &ticket(1), now), None);

        assert!(tickets.grant(NODE, trip(1, 2), ticket(3), false, now));
        assert_eq!(tickets.take(&trip(1, 2), &ticket(3), now + LIFETIME), None);
    }

    #[test]
    fn a_ticket_lets_one_connection_in_and_is_good_for_its_channel_then() {
        let (now, mut tickets) = (Instant::now(), Tickets::new(LIFETIME));
        assert!(tickets.grant(NODE, trip(1, 2), ticket(1), false, now));
        assert!(!tickets.admit(&ticket(2), now), "nobody made it");
        assert!(!tickets.admit(&ticket(1), now + LIFETIME), "late");
        assert!(tickets.admit(&ticket(1), now));
        assert!(!tickets.admit(&ticket(1), now), "used at the door");
        assert_eq!(tickets.take(&trip(1, 2), &ticket(1), now), Some(false));
        assert!(!tickets.admit(&ticket(1), now), "used up");
    }

    #[test]
    fn only_the_latest_of_a_pair_is_good() {
        let (now, mut tickets) = (Instant::now(), Tickets::new(LIFETIME));
        assert!(tickets.grant(NODE, trip(1, 2), ticket(1), false, now));
        assert!(tickets.grant(NODE, trip(1, 2), ticket(2), false, now));
        assert_eq!(tickets.take(&trip(1, 2), &ticket(1), now), None);
        assert_eq!((tickets.len(), tickets.trips.len()), (1, 1));
        tickets.cancel(&trip(1, 2));
        assert_eq!(tickets.take(&trip(1, 2), &ticket(2), now), None);
        assert_eq!((tickets.len(), tickets.trips.len()), (0, 0));
    }

    #[test]
    fn who_waits_for_somebody_that_does_not_come_is_told() {
        let (now, mut tickets) = (Instant::now(), Tickets::new(LIFETIME));
        assert!(!tickets.wait(&trip(1, 2), now), "nobody was let in");
        assert!(tickets.grant(NODE, trip(1, 2), ticket(1), false, now));
        assert!(tickets.grant(NODE, trip(3, 2), ticket(2), false, now));
        assert!(tickets.wait(&trip(1, 2), now));
        // That one asked again: the other still waits.
        assert!(tickets.grant(NODE, trip(1, 2), ticket(3), false, now));
        assert_eq!(tickets.sweep(now), []);
        assert!(!tickets.wait(&trip(3, 2), now + LIFETIME));
        assert_eq!(tickets.sweep(now + LIFETIME), [trip(1, 2)]);
        assert_eq!((tickets.len(), tickets.trips.len()), (0, 0));
    }

    #[test]
    fn who_uses_one_up_or_cancels_it_hears_that_somebody_waits() {
        let (now, mut tickets) = (Instant::now(), Tickets::new(LIFETIME));
        assert!(tickets.grant(NODE, trip(1, 2), ticket(1), true, now));
        assert_eq!(tickets.take(&trip(1, 2), &ticket(1), now), Some(true));
        assert!(tickets.grant(NODE, trip(1, 2), ticket(2), true, now));
        assert!(tickets.cancel(&trip(1, 2)));
        assert!(!tickets.cancel(&trip(1, 2)));
        assert!(tickets.grant(NODE, trip(1, 2), ticket(3), true, now));
        assert!(tickets.grant(NODE, trip(3, 2), ticket(4), false, now));
        assert_eq!(tickets.clear(), [trip(1, 2)]);
        assert_eq!((tickets.len(), tickets.trips.len(), tickets.held.len()), (0, 0, 0));
    }

    #[test]
    fn there_are_only_so_many_and_one_node_leaves_room_for_the_others() {
        let (now, mut tickets) = (Instant::now(), Tickets::new(LIFETIME));
        let pair = |n: usize| Trip { from: PeerId::new([(n % 256) as u8; 20]), ..trip(0, (n / 256) as u8) };
        let mut granted = 0;
        for node in 1..=20 {
            let room = MAX_TICKETS - granted;
            let mut grant = |n: usize| tickets.grant(NodeId(node), pair(n), ticket(n as u16), true, now);
            let before = granted;
            while grant(granted) {
                granted += 1;
            }
            assert_eq!(granted - before, room.div_ceil(2), "half of what is left");
            if granted > before {
                assert!(grant(before), "in place of its own");
            }
        }
        assert_eq!((granted, tickets.len(), tickets.trips.len()), (MAX_TICKETS, MAX_TICKETS, MAX_TICKETS));
        assert!(tickets.cancel(&pair(0)), "what was refused has changed nothing");
        assert_eq!(tickets.sweep(now + LIFETIME).len(), MAX_TICKETS - 1);
        assert_eq!((tickets.trips.len(), tickets.held.len()), (0, 0));
        assert!(tickets.grant(NodeId(1), pair(MAX_TICKETS), ticket(u16::MAX), false, now));
    }
}
