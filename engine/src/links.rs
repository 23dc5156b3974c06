//! The links of one session, in the order of their ids, which is that in which they opened.
//!
//! Every event ends with questions about all links: who has something to say, who could be asked for a block, who waits for one?
//! Nearly always the answers are those of the event before, and a [`Peer`] is large. So beside the peers there is an
//! [`Outline`] of each, drawn anew only when somebody had the peer in hand to change it.

use std::cell::Cell;

use shared::PeerId;

use crate::api::LinkId;
use crate::peer::{Outline, Peer};

/// What iterators are made of: a link's id, and its peer.
type Entry = (LinkId, Box<Peer>);

/// All links.
///
/// Invariant: `entries` are sorted by id; an outline is that of the entry at the same place, unless it is marked as stale;
/// `peers` counts the ids of the entries' peers, which only [`Self::identify`] changes.
#[derive(Debug, Default)]
pub(crate) struct Links {
    entries: Vec<Entry>,
    outlines: Vec<Outline>,
    /// Who is at the other ends, in order, and how many links lead there; links whose peer has not said who it is are left out.
    peers: Vec<(PeerId, usize)>,
    /// Where a link was found last. What comes by a link is many messages, and each is about it.
    last: Cell<usize>,
}

impl Links {
    /// Number of links.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether there is this link.
    pub(crate) fn contains_key(&self, link: &LinkId) -> bool {
        self.place(*link).is_some()
    }

    /// The peer at this link.
    pub(crate) fn get(&self, link: &LinkId) -> Option<&Peer> {
        Some(&self.entries[self.place(*link)?].1)
    }

    /// The peer at this link.
    pub(crate) fn get_mut(&mut self, link: &LinkId) -> Option<&mut Peer> {
        let place = self.place(*link)?;
        Some(self.at_mut(place).1)
    }

    /// The id of the link at this place, counted from zero.
    ///
    /// # Panics
    /// If there are not so many.
    pub(crate) fn id(&self, place: usize) -> LinkId {
        self.entries[place].0
    }

    /// The link at this place, counted from zero.
    ///
    /// # Panics
    /// If there are not so many.
    pub(crate) fn at_mut(&mut self, place: usize) -> (LinkId, &mut Peer) {
        self.outlines[place].stale = true;
        let (link, peer) = &mut self.entries[place];
        (*link, peer)
    }

    /// One more link; or another peer at a link that is there.
    pub(crate) fn insert(&mut self, link: LinkId, peer: Peer) {
        self.remove(&link);
        self.count(peer.id);
        let place = self.entries.partition_point(|(other, _)| *other < link);
        self.outlines.insert(place, peer.outline());
        self.entries.insert(place, (link, Box::new(peer)));
    }

    /// Takes a link away.
    pub(crate) fn remove(&mut self, link: &LinkId) -> Option<Peer> {
        let place = self.place(*link)?;
        self.outlines.remove(place);
        let peer = *self.entries.remove(place).1;
        self.discount(peer.id);
        Some(peer)
    }

    /// The peer at this link says who it is.
    pub(crate) fn identify(&mut self, link: LinkId, id: PeerId) {
        let Some(peer) = self.get_mut(&link) else { return };
        let before = peer.id.replace(id);
        self.discount(before);
        self.count(Some(id));
    }

    /// Whether a link leads to this peer.
    pub(crate) fn lead_to(&self, peer: PeerId) -> bool {
        self.place_of(peer).is_ok()
    }

    /// The links to this peer, but for `except`.
    pub(crate) fn to(&self, peer: PeerId, except: LinkId) -> Vec<LinkId> {
        if !self.lead_to(peer) {
            return Vec::new();
        }
        let links = self.iter().filter(|(link, other)| **link != except && other.id == Some(peer));
        links.map(|(link, _)| *link).collect()
    }

    /// Number of peers, those with several links counted once.
    pub(crate) fn peer_count(&self) -> usize {
        let known = self.peers.iter().map(|(_, links)| links).sum::<usize>();
        self.peers.len() + self.entries.len() - known
    }

    fn count(&mut self, peer: Option<PeerId>) {
        let Some(peer) = peer else { return };
        match self.place_of(peer) {
            Ok(place) => self.peers[place].1 += 1,
            Err(place) => self.peers.insert(place, (peer, 1)),
        }
    }

    fn discount(&mut self, peer: Option<PeerId>) {
        let Some(place) = peer.and_then(|peer| self.place_of(peer).ok()) else { return };
        self.peers[place].1 -= 1;
        if self.peers[place].1 == 0 {
            self.peers.remove(place);
        }
    }

    fn place_of(&self, peer: PeerId) -> Result<usize, usize> {
        self.peers.binary_search_by_key(&peer, |(other, _)| *other)
    }

    /// Every link's id.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &LinkId> {
        self.entries.iter().map(|(link, _)| link)
    }

    /// Every link's peer.
    pub(crate) fn values(&self) -> impl Iterator<Item = &Peer> {
        self.entries.iter().map(|(_, peer)| &**peer)
    }

    /// Every link's peer. All their outlines have to be drawn anew after this.
    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut Peer> {
        self.iter_mut().map(|(_, peer)| peer)
    }

    /// Every link.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&LinkId, &Peer)> {
        self.entries.iter().map(|(link, peer)| (link, &**peer))
    }

    /// Every link. All their outlines have to be drawn anew after this.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&LinkId, &mut Peer)> {
        let Self { entries, outlines, .. } = self;
        let marked = outlines.iter_mut().map(|outline| outline.stale = true);
        entries.iter_mut().zip(marked).map(|((link, peer), ())| (&*link, &mut **peer))
    }

    /// What there is to know of every link at a glance; each at its place.
    pub(crate) fn outlines(&mut self) -> &[Outline] {
        for (outline, (_, peer)) in self.outlines.iter_mut().zip(&self.entries) {
            if outline.stale {
                *outline = peer.outline();
            }
        }
        &self.outlines
    }

    /// What there was to know of the link at this place when [`Self::outlines`] was called last.
    ///
    /// # Panics
    /// If there are not so many.
    pub(crate) fn outline(&self, place: usize) -> Outline {
        self.outlines[place]
    }

    fn place(&self, link: LinkId) -> Option<usize> {
        let last = self.last.get();
        if self.entries.get(last).is_some_and(|(other, _)| *other == link) {
            return Some(last);
        }
        let place = self.entries.binary_search_by_key(&link, |(other, _)| *other).ok()?;
        self.last.set(place);
        Some(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Time, Transport};
    use shared::wire::Message;

    fn id(n: u8) -> PeerId {
        PeerId::new([n; 20])
    }

    fn peer(id: Option<PeerId>) -> Peer {
        Peer::new(Time::default(), Transport::Relay, id, true)
    }

    #[test]
    fn links_are_found_in_the_order_of_their_ids_however_they_come_and_go() {
        let (mut links, mut rng) = (Links::default(), fastrand::Rng::with_seed(1));
        let mut known = std::collections::BTreeMap::new();
        for _ in 0..2000 {
            let link = LinkId(rng.u64(..40));
            let who = rng.choice([None, Some(id(1)), Some(id(2)), Some(id(3))]).flatten();
            if rng.bool() {
                links.insert(link, peer(who));
                known.insert(link, who);
            } else if rng.bool() {
                assert_eq!(links.remove(&link).is_some(), known.remove(&link).is_some());
            } else if let Some(known) = known.get_mut(&link) {
                links.identify(link, id(4));
                *known = Some(id(4));
            }
            assert!(
                links.iter().map(|(link, peer)| (*link, peer.id)).eq(known.iter().map(|(l, who)| (*l, *who)))
            );
            assert!((0..40).all(|n| links.contains_key(&LinkId(n)) == known.contains_key(&LinkId(n))));
            let named: std::collections::BTreeSet<_> = known.values().flatten().collect();
            let unnamed = known.values().filter(|who| who.is_none()).count();
            assert_eq!(links.peer_count(), named.len() + unnamed);
            for n in 1..5 {
                let to = known.iter().filter(|(other, who)| **who == Some(id(n)) && **other != link);
                assert!(links.to(id(n), link).iter().eq(to.map(|(link, _)| link)));
                assert_eq!(links.lead_to(id(n)), named.contains(&id(n)));
            }
        }
    }

    #[test]
    fn an_outline_shows_what_was_changed_by_whichever_way() {
        let mut links = Links::default();
        (0..3).for_each(|n| links.insert(LinkId(n), peer(None)));
        let speaking = |links: &mut Links| {
            let speaks = |outline: &Outline| outline.has_outbox(Time::default(), false);
            links.outlines().iter().map(speaks).collect::<Vec<_>>()
        };
        assert_eq!(speaking(&mut links), [false, false, false]);
        links.get_mut(&LinkId(1)).unwrap().say(&Message::KeepAlive);
        assert_eq!(speaking(&mut links), [false, true, false]);
        links.at_mut(0).1.say(&Message::KeepAlive);
        links.values_mut().skip(2).for_each(|peer| peer.say(&Message::KeepAlive));
        assert_eq!(speaking(&mut links), [true, true, true]);
        links.iter_mut().for_each(|(_, peer)| peer.take_outbox(Time::default(), false, drop));
        assert_eq!(speaking(&mut links), [false, false, false]);
    }
}
