//! Who gets in: how many connections there are, in all and from each address, and what each address has relayed.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::address::Household;
use crate::limits::{Limits, REFUSED_CONNECTIONS};
use crate::lock;
use crate::meter::{Meter, Quota, UsedUp};
use crate::metrics::Rejection;

/// Most addresses that are remembered for what they relayed today while nobody is connected from them.
const MAX_REMEMBERED: usize = 100_000;

/// Who gets in.
#[derive(Debug)]
pub(crate) struct Door {
    connections: usize,
    connections_per_address: usize,
    quota: Quota,
    open: AtomicUsize,
    refused: AtomicUsize,
    guests: Mutex<HashMap<Household, Guest>>,
}

/// What is known of one address.
#[derive(Debug)]
struct Guest {
    connections: usize,
    meter: Arc<Mutex<Meter>>,
}

/// One open connection, counted until this is dropped.
#[derive(Debug)]
pub(crate) struct Seat(Arc<Door>);

/// One connection that is only told why it may not come in, counted until this is dropped.
#[derive(Debug)]
pub(crate) struct Refusal(Arc<Door>);

/// One connection of one address, counted until this is dropped.
#[derive(Debug)]
pub(crate) struct Pass {
    door: Arc<Door>,
    household: Household,
    meter: Arc<Mutex<Meter>>,
    /// It was let in with a ticket of this node's, not with a token: for relay channels to which tickets lead, and no more.
    pub(crate) is_for_visits: bool,
}

impl Door {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            connections: limits.connections,
            connections_per_address: limits.connections_per_address,
            quota: Quota { rate: limits.relay_rate_per_address, day: limits.relay_per_day_per_address },
            open: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
            guests: Mutex::default(),
        }
    }

    /// Open connections.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Addresses that are remembered.
    pub(crate) fn addresses(&self) -> usize {
        lock(&self.guests).len()
    }

    /// Counts a connection. The second part tells whether it may do anything but hear why not; `None` is for those of whom
    /// there are so many that they cannot even hear that.
    pub(crate) fn sit(self: &Arc<Self>) -> Option<(Seat, Result<(), Rejection>)> {
        let before = self.open.fetch_add(1, Ordering::Relaxed);
        let seat = Seat(Arc::clone(self));
        if before >= self.connections.saturating_add(REFUSED_CONNECTIONS) {
            return None;
        }
        let welcome = if before < self.connections { Ok(()) } else { Err(Rejection::Connections) };
        Some((seat, welcome))
    }

    /// A place for somebody who may not come in, to hear why; `None` if too many hear that already: they are slow, and would
    /// take everybody's places.
    pub(crate) fn refuse(self: &Arc<Self>) -> Option<Refusal> {
        let before = self.refused.fetch_add(1, Ordering::Relaxed);
        let refusal = Refusal(Arc::clone(self));
        (before < REFUSED_CONNECTIONS).then_some(refusal)
    }

    /// Lets a connection of this address in.
    ///
    /// # Errors
    /// When there are as many as there may be.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr, now: Instant) -> Result<Pass, Rejection> {
        let household = Household::from(address);
        let mut guests = lock(&self.guests);
        let guest = guests
            .entry(household)
            .or_insert_with(|| Guest { connections: 0, meter: Arc::new(Mutex::new(Meter::new(now))) });
        if guest.connections >= self.connections_per_address {
            return Err(Rejection::ConnectionsPerAddress);
        }
        guest.connections += 1;
        Ok(Pass { door: Arc::clone(self), household, meter: Arc::clone(&guest.meter), is_for_visits: false })
    }

    /// Keeps no room for addresses that are forgotten.
    pub(crate) fn shrink(&self) {
        lock(&self.guests).shrink_to_fit();
    }

    /// Forgets addresses of which nothing need be remembered.
    pub(crate) fn sweep(&self, now: Instant) {
        let mut guests = lock(&self.guests);
        let too_many = guests.len() > MAX_REMEMBERED;
        guests.retain(|_, guest| guest.connections > 0 || !too_many && !lock(&guest.meter).is_clear(now));
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Refusal {
    fn drop(&mut self) {
        self.0.refused.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Pass {
    /// Counts relayed bytes, as [`Meter::charge`] does.
    pub(crate) fn charge(&self, now: Instant, bytes: u64) -> Result<Duration, UsedUp> {
        lock(&self.meter).charge(now, bytes, self.door.quota)
    }

    /// Whether its address may relay nothing more today.
    pub(crate) fn is_used_up(&self, now: Instant) -> bool {
        lock(&self.meter).left_of_day(now, self.door.quota) == 0
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut guests = lock(&self.door.guests);
        let Some(guest) = guests.get_mut(&self.household) else { return };
        guest.connections -= 1;
        if guest.connections == 0 && lock(&guest.meter).is_clear(Instant::now()) {
            guests.remove(&self.household);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door(change: impl FnOnce(&mut Limits)) -> Arc<Door> {
        let mut limits = Limits::default();
        change(&mut limits);
        Arc::new(Door::new(&limits))
    }

    #[test]
    fn above_the_bound_some_hear_why_and_the_rest_nothing() {
        let door = door(|limits| limits.connections = 2);
        let mut seats = Vec::new();
        for n in 0..2 + REFUSED_CONNECTIONS {
            let (seat, welcome) = door.sit().unwrap();
            assert_eq!(welcome.is_ok(), n < 2, "{n}");
            seats.push(seat);
        }
        assert!(door.sit().is_none());
        seats.clear();
        assert_eq!(door.open(), 0);
        assert!(door.sit().is_some_and(|(_, welcome)| welcome.is_ok()));
    }

    #[test]
    fn of_those_who_may_not_come_in_so_many_hear_why() {
        let door = door(|_| {});
        let refusals: Vec<_> = (0..REFUSED_CONNECTIONS).map(|_| door.refuse().unwrap()).collect();
        assert!(door.refuse().is_none());
        drop(refusals);
        assert!(door.refuse().is_some());
    }

    #[test]
    fn one_address_does_not_take_the_places_of_others_and_is_forgotten_when_it_goes() {
        let door = door(|limits| limits.connections_per_address = 2);
        let now = Instant::now();
        let enter = |text: &str| door.enter(text.parse().unwrap(), now);
        let passes = [enter("2001:db8::1").unwrap(), enter("2001:db8::2").unwrap()];
        assert_eq!(enter("2001:db8::3").unwrap_err(), Rejection::ConnectionsPerAddress);
        drop(enter("192.0.2.1").unwrap());
        assert_eq!(door.addresses(), 1);
        drop(passes);
        assert_eq!(door.addresses(), 0);
    }

    #[test]
    fn what_an_address_relayed_today_is_remembered_when_it_comes_again() {
        let door = door(|limits| limits.relay_per_day_per_address = 100);
        let now = Instant::now();
        let enter = || door.enter("192.0.2.1".parse().unwrap(), now).unwrap();
        enter().charge(now, 100).unwrap();
        assert_eq!(enter().charge(now, 1), Err(UsedUp));
        door.sweep(now);
        assert_eq!(door.addresses(), 1);
        door.sweep(now + Duration::from_secs(25 * 60 * 60));
        assert_eq!(door.addresses(), 0);
    }
}
