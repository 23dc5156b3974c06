//! What lets a client of another node come here for a relay channel: a pure state machine.
//!
//! A ticket is a random secret that is made here, goes to the client by way of its own node, and is good once, for some
//! seconds, and for one pair of peers in one swarm. That node has checked that the client has the peer that asks, so nothing
//! about it has to be known here. There is no signature, since whoever checks a ticket has made it, and remembers it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use shared::signal::Ticket;
use shared::{InfoHash, PeerId};

/// Most that hold at the same time; who asks beyond gets a channel from node to node. One takes some 200 bytes.
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
/// Invariant: `trips` is the inverse of `tickets`.
#[derive(Debug)]
pub(crate) struct Tickets {
    lifetime: Duration,
    tickets: HashMap<Trip, Granted>,
    trips: HashMap<Ticket, Trip>,
}

#[derive(Debug, Clone, Copy)]
struct Granted {
    ticket: Ticket,
    until: Instant,
    /// The peer that is here has asked for the same channel, and is owed an answer.
    is_awaited: bool,
}

impl Tickets {
    /// Each holds for so long.
    pub(crate) fn new(lifetime: Duration) -> Self {
        Self { lifetime, tickets: HashMap::new(), trips: HashMap::new() }
    }

    /// Those that were not used and not swept yet.
    pub(crate) fn len(&self) -> usize {
        self.tickets.len()
    }

    /// Makes `ticket` good for this trip, in place of an earlier one. Gives whether there was room. `is_awaited` if the peer
    /// that is here waits for the channel.
    pub(crate) fn grant(&mut self, trip: Trip, ticket: Ticket, is_awaited: bool, now: Instant) -> bool {
        let before = self.revoke(&trip);
        if self.tickets.len() >= MAX_TICKETS {
            return false;
        }
        let is_awaited = is_awaited || before.is_some_and(|before| before.is_awaited);
        self.tickets.insert(trip, Granted { ticket, until: now + self.lifetime, is_awaited });
        self.trips.insert(ticket, trip);
        true
    }

    /// Whether this one would open a channel now.
    pub(crate) fn holds(&self, ticket: &Ticket, now: Instant) -> bool {
        let granted = self.trips.get(ticket).and_then(|trip| self.tickets.get(trip));
        granted.is_some_and(|granted| now < granted.until)
    }

    /// Uses a ticket up. Gives whether it was good for this trip.
    pub(crate) fn take(&mut self, trip: &Trip, ticket: &Ticket, now: Instant) -> bool {
        let is_good = self.holds(ticket, now) && self.trips.get(ticket) == Some(trip);
        if is_good {
            self.revoke(trip);
        }
        is_good
    }

    /// The peer that is here asks for the channel, too. Gives whether it only has to wait.
    pub(crate) fn wait(&mut self, trip: &Trip, now: Instant) -> bool {
        let granted = self.tickets.get_mut(trip).filter(|granted| now < granted.until);
        granted.is_some_and(|granted| {
            granted.is_awaited = true;
            true
        })
    }

    /// The trip will not be made, or otherwise.
    pub(crate) fn cancel(&mut self, trip: &Trip) {
        self.revoke(trip);
    }

    fn revoke(&mut self, trip: &Trip) -> Option<Granted> {
        let granted = self.tickets.remove(trip)?;
        self.trips.remove(&granted.ticket);
        Some(granted)
    }

    /// Forgets those that hold no more. Gives the trips for which somebody has waited in vain.
    pub(crate) fn sweep(&mut self, now: Instant) -> Vec<Trip> {
        let late = self.tickets.extract_if(|_, granted| now >= granted.until);
        let late: Vec<(Trip, Granted)> = late.collect();
        for (_, granted) in &late {
            self.trips.remove(&granted.ticket);
        }
        late.into_iter().filter(|(_, granted)| granted.is_awaited).map(|(trip, _)| trip).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFETIME: Duration = Duration::from_secs(15);

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
        assert!(tickets.grant(trip(1, 2), ticket(1), false, now));
        for wrong in [trip(2, 1), trip(1, 3), Trip { swarm: InfoHash::new([2; 20]), ..trip(1, 2) }] {
            assert!(!tickets.take(&wrong, &ticket(1), now));
        }
        assert!(!tickets.take(&trip(1, 2), &ticket(2), now));
        assert!(tickets.take(&trip(1, 2), &ticket(1), now));
        assert!(!tickets.take(&trip(1, 2), &ticket(1), now));

        assert!(tickets.grant(trip(1, 2), ticket(3), false, now));
        assert!(tickets.holds(&ticket(3), now));
        assert!(!tickets.holds(&ticket(3), now + LIFETIME));
        assert!(!tickets.take(&trip(1, 2), &ticket(3), now + LIFETIME));
    }

    #[test]
    fn only_the_latest_of_a_pair_is_good() {
        let (now, mut tickets) = (Instant::now(), Tickets::new(LIFETIME));
        assert!(tickets.grant(trip(1, 2), ticket(1), false, now));
        assert!(tickets.grant(trip(1, 2), ticket(2), false, now));
        assert!(!tickets.take(&trip(1, 2), &ticket(1), now));
        assert_eq!((tickets.len(), tickets.trips.len()), (1, 1));
        tickets.cancel(&trip(1, 2));
        assert!(!tickets.take(&trip(1, 2), &ticket(2), now));
        assert_eq!((tickets.len(), tickets.trips.len()), (0, 0));
    }

    #[test]
    fn who_waits_for_somebody_that_does_not_come_is_told() {
        let (now, mut tickets) = (Instant::now(), Tickets::new(LIFETIME));
        assert!(!tickets.wait(&trip(1, 2), now), "nobody was let in");
        assert!(tickets.grant(trip(1, 2), ticket(1), false, now));
        assert!(tickets.grant(trip(3, 2), ticket(2), false, now));
        assert!(tickets.wait(&trip(1, 2), now));
        // That one asked again: the other still waits.
        assert!(tickets.grant(trip(1, 2), ticket(3), false, now));
        assert_eq!(tickets.sweep(now), []);
        assert!(!tickets.wait(&trip(3, 2), now + LIFETIME));
        assert_eq!(tickets.sweep(now + LIFETIME), [trip(1, 2)]);
        assert_eq!((tickets.len(), tickets.trips.len()), (0, 0));
    }

    #[test]
    fn there_are_only_so_many() {
        let (now, mut tickets) = (Instant::now(), Tickets::new(LIFETIME));
        let pair = |n: usize| Trip { from: PeerId::new([(n % 256) as u8; 20]), ..trip(0, (n / 256) as u8) };
        for n in 0..MAX_TICKETS {
            assert!(tickets.grant(pair(n), ticket(n as u16), false, now));
        }
        assert!(!tickets.grant(pair(MAX_TICKETS), ticket(u16::MAX), false, now));
        assert!(tickets.grant(pair(0), ticket(u16::MAX), false, now), "in place of its own");
        assert_eq!(tickets.sweep(now + LIFETIME), []);
        assert!(tickets.grant(pair(MAX_TICKETS), ticket(u16::MAX), false, now));
    }
}
